"""Telemetry: what leaves the process about runs, if the environment says where to: OTLP, and LangSmith.

LangChain sends runs to LangSmith by itself when LANGSMITH_TRACING is set; what is left to do is to wait for the last.
"""

import asyncio
import contextlib
import importlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Literal

from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith.utils import tracing_is_enabled

from api.aside import aside
from api.errors import ConfigError
from api.metrics import Metrics
from api.tracing import Tracing, Untraced

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 3.0
"""That the end of the process may wait for what is not sent yet."""
_PROTOCOL = "http/protobuf"


@contextlib.asynccontextmanager
async def telemetry(metrics: Metrics, refresh: Callable[[], Awaitable[None]]) -> AsyncIterator[Tracing]:
    """Sends traces and metrics while it is open; at its end what waits is sent, within a bound.

    Args:
        metrics: to be sent.
        refresh: brings them up to date.

    Raises:
        ConfigError: OTEL_* variables ask for what cannot be done, or the extra `otel` is not installed.
    """
    traces, figures = (exports(signal, os.environ) for signal in ("TRACES", "METRICS"))
    tracing: Tracing = Untraced()
    closing: list[Callable[[], Awaitable[None]]] = [_flush_langsmith]
    try:
        if traces or figures:
            exporters = _exporters()
            if figures:
                measuring = exporters.MetricExport(metrics.registry, refresh)
                measuring.start()
                closing.append(partial(measuring.close, _FLUSH_SECONDS))
            if traces:
                spanning = exporters.SpanExport()
                closing.append(partial(spanning.close, _FLUSH_SECONDS))
                tracing = spanning.tracing
        yield tracing
    finally:
        # Side by side: the end of the process waits for the slowest, not for one after another.
        await asyncio.gather(*(close() for close in closing))


def _exporters() -> ModuleType:
    try:
        return importlib.import_module("api.otel.exporters")
    except ImportError as exc:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'threadline[otel]'"
        ) from exc


def exports(signal: Literal["TRACES", "METRICS"], environment: Mapping[str, str]) -> bool:
    """Whether a signal is exported, as OpenTelemetry's variables say; without an endpoint it is not.

    Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

    Raises:
        ConfigError: an exporter or a protocol that is not there.
    """

    def value(*names: str) -> tuple[str, str]:
        return next(((name, found) for name in names if (found := environment.get(name, "").strip())), ("", ""))

    if value("OTEL_SDK_DISABLED")[1].lower() == "true":
        return False
    prefix = "OTEL_EXPORTER_OTLP"
    if not value(f"{prefix}_{signal}_ENDPOINT", f"{prefix}_ENDPOINT")[1]:
        return False
    name, exporter = value(f"OTEL_{signal}_EXPORTER")
    if exporter not in ("", "otlp", "none"):
        raise ConfigError(f"{name}: {exporter!r} is not there, only otlp and none.")
    name, protocol = value(f"{prefix}_{signal}_PROTOCOL", f"{prefix}_PROTOCOL")
    if exporter != "none" and protocol not in ("", _PROTOCOL):
        raise ConfigError(f"{name}: {protocol!r} is not there, only {_PROTOCOL}.")
    return exporter != "none"


def sends_to_langsmith() -> bool:
    """Whether LangChain sends runs to LangSmith, as it decides that itself from the environment."""
    return bool(tracing_is_enabled())


async def _flush_langsmith() -> None:
    _, late = await asyncio.wait([aside(wait_for_all_tracers, "threadline-langsmith")], timeout=_FLUSH_SECONDS)
    if late:
        logger.warning("traces could not be sent to LangSmith in %g s: the last are lost", _FLUSH_SECONDS)
