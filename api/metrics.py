"""Metrics for Prometheus: runs by status, tokens, time to first token, open streams, requests."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from langchain_core.messages.ai import UsageMetadata
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.schemas import EndStatus, Run

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


@dataclass(slots=True)
class Measured:
    """What is known of a run when it ends."""

    status: EndStatus | None = None
    first_token_at: float | None = None
    usage: UsageMetadata | None = None


class Metrics:
    """The app's metrics, in a registry of their own: two apps in one process do not share them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._runs = Counter("threadline_runs", "Runs ended", ["status"], registry=self._registry)
        self._running = Gauge("threadline_runs_running", "Runs that execute now", registry=self._registry)
        self._seconds = Histogram(
            "threadline_run_seconds", "Time a run took", buckets=_SECONDS, registry=self._registry
        )
        self._first_token = Histogram(
            "threadline_first_token_seconds",
            "From a run's start to its first token",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "threadline_tokens", "Tokens, as models reported them", ["direction"], registry=self._registry
        )
        self.streams = Gauge("threadline_open_streams", "Streams that clients read now", registry=self._registry)

    @contextlib.contextmanager
    def running(self, run: Run) -> Iterator[Measured]:
        """Measures an attempt; the caller fills in how it ended."""
        started = time.perf_counter()
        measured = Measured()
        with self._running.track_inprogress():
            yield measured
        if measured.status is None:
            return
        self._runs.labels(measured.status).inc()
        self._seconds.observe(time.perf_counter() - started)
        if measured.first_token_at is not None:
            self._first_token.observe(measured.first_token_at - started)
        if measured.usage is not None:
            self._tokens.labels("input").inc(measured.usage["input_tokens"])
            self._tokens.labels("output").inc(measured.usage["output_tokens"])

    def render(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self._registry)
