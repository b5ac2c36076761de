"""Exporters: send spans and metrics to an OTLP endpoint (http/protobuf), from threads of their own.

    spans ──> bounded queue ──batches──> /v1/traces         readings, once a minute ──> /v1/metrics

What OTEL_* variables say is read by OpenTelemetry itself. An endpoint that fails or hangs costs spans, never a run.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry

from api.aside import aside
from api.errors import ConfigError
from api.otel.content import Content
from api.otel.readings import readings
from api.otel.spans import OtelTracing

logger = logging.getLogger(__name__)

_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_INTERVAL_MILLISECONDS = 60_000


class SpanExport:
    """Exports spans. Its provider is its own: what a host app does with OpenTelemetry is left alone."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        captures = os.environ.get(_CAPTURE, "").strip().lower() in ("true", "1", "span_only", "span_and_event")
        tracer = self._provider.get_tracer("threadline", version("threadline"))
        self.tracing = OtelTracing(tracer, Content() if captures else None)

    async def close(self, seconds: float) -> None:
        """Sends what waits, for so long at most."""
        closing = aside(self._provider.shutdown, "threadline-otel-traces")
        _, late = await asyncio.wait([closing], timeout=seconds)
        if late:
            logger.warning("spans could not be exported in %g s: the last are lost", seconds)
            # Ends the wait between two attempts of the thread that is left.
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


class MetricExport:
    """Exports readings of a registry.

    Args:
        registry: Prometheus'.
        refresh: brings it up to date, before each reading.

    Raises:
        ConfigError: the interval is no number of milliseconds.
    """

    def __init__(self, registry: CollectorRegistry, refresh: Callable[[], Awaitable[None]]) -> None:
        self._exporter = OTLPMetricExporter()
        self._resource = _resource()
        self._registry = registry
        self._refresh = refresh
        self._interval = _interval()
        self._began = time.time_ns()
        self._exporting = threading.Lock()

    def start(self) -> None:
        """Begins to export."""
        self._task = asyncio.create_task(self._export_forever(), name="threadline-otel-metrics")

    async def close(self, seconds: float) -> None:
        """Exports a last time, for so long at most."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        _, late = await asyncio.wait([aside(self._export, "threadline-otel-metrics")], timeout=seconds)
        if late:
            logger.warning("metrics could not be exported in %g s", seconds)
        self._exporter.shutdown()

    async def _export_forever(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._refresh()
            except Exception:
                logger.exception("metrics could not be brought up to date")
            await aside(self._export, "threadline-otel-metrics")

    def _export(self) -> None:
        # The last export may find the one before it still on its way.
        with self._exporting:
            self._exporter.export(readings(self._registry, self._resource, self._began, time.time_ns()))


def _interval() -> float:
    given = os.environ.get(_INTERVAL) or _INTERVAL_MILLISECONDS
    try:
        seconds = float(given) / 1000
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ConfigError(f"{_INTERVAL}: not a number of milliseconds.")
    return seconds


def _resource() -> Resource:
    """As the environment says; without a name there, the service has its own."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "threadline"}))
    return Resource({"service.version": version("threadline")}).merge(resource)
