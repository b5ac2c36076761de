"""OpenTelemetry: traces and metrics over OTLP. Imported only when the environment asks for it; see `api.telemetry`."""
