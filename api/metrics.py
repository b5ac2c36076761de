"""Metrics: what the service counts and times, in Prometheus' text format or as OTLP.

No label holds an id or anything else that a client could make up at will: agents are those of langgraph.json, models
beyond the first few are one, and requests are told apart by their route.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from langchain_core.messages.ai import UsageMetadata
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from api.schemas import EndStatus, Run

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_MAX_MODELS = 50
_OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class Measured:
    """What is known of a run when it ends."""

    status: EndStatus | None = None
    first_token_at: float | None = None
    usage: Mapping[str, UsageMetadata] = field(default_factory=dict)
    """By the model's name."""


class Metrics:
    """The app's metrics, in a registry of their own: two apps in one process do not share them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._runs = Counter("threadline_runs", "Runs ended", ["status"], registry=registry)
        self._running = Gauge("threadline_runs_running", "Runs that execute here now", registry=registry)
        self._pending = Gauge("threadline_runs_pending", "Runs that wait in the queue", registry=registry)
        self._wait = _histogram(registry, "queue_wait", "From when a run could start to its start", _SECONDS)
        self._seconds = _histogram(registry, "run", "Time an attempt of a run took", _SECONDS)
        self._first_token = _histogram(registry, "first_token", "From a run's start to its first token", _SECONDS)
        self._tokens = Counter(
            "threadline_tokens",
            "Tokens, as models reported them",
            ["direction", "agent", "model"],
            registry=registry,
        )
        self._models: set[str] = set()
        self.streams = Gauge("threadline_open_streams", "Streams that clients read now", registry=registry)
        self.loop_lag = _histogram(registry, "event_loop_lag", "How late the event loop was, twice a second", _SHORT)
        self._requests = Counter(
            "threadline_http_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._request_seconds = _histogram(
            registry, "http_request", "From a request to the first byte of its answer", _SECONDS, "method", "route"
        )
        self._events = Counter("threadline_events", "Events of runs stored", registry=registry)
        self._flush = _histogram(registry, "log_flush", "Time a flush of the event log took", _SHORT)
        self.database_writes = Gauge(
            "threadline_database_writes_waiting", "Writes that wait for the database", registry=registry
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    @contextlib.contextmanager
    def running(self, run: Run) -> Iterator[Measured]:
        """Measures an attempt; the caller fills in how it ended."""
        if run.attempt == 1:
            could_start = run.due_at or run.created_at
            self._wait.observe(max(0.0, (datetime.now(UTC) - could_start).total_seconds()))
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
        for model, usage in measured.usage.items():
            self._count_tokens(run.kwargs["graph_id"], model, usage)

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Counts a request.

        Args:
            method: HTTP's.
            route: the template of its path; None if no route took it.
            status: of the answer.
            seconds: till the answer began.
        """
        labels = (method if method in _METHODS else _OTHER, route or _OTHER)
        self._requests.labels(*labels, str(status)).inc()
        self._request_seconds.labels(*labels).observe(seconds)

    def flushed(self, events: int, seconds: float) -> None:
        """Counts a flush of the event log."""
        self._events.inc(events)
        self._flush.observe(seconds)

    async def refresh(self, storage: object) -> None:
        """Asks the storage for what only it knows."""
        if isinstance(storage, Observable):
            self._pending.set(await storage.pending_runs())

    def render(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self.registry)

    def _count_tokens(self, agent: str, model: str, usage: UsageMetadata) -> None:
        if model not in self._models and len(self._models) >= _MAX_MODELS:
            model = _OTHER
        self._models.add(model)
        self._tokens.labels("input", agent, model).inc(usage["input_tokens"])
        self._tokens.labels("output", agent, model).inc(usage["output_tokens"])


@runtime_checkable
class Observable(Protocol):
    """A storage that tells how it is doing."""

    def observe(self, metrics: Metrics) -> None:
        """Reports to these from now on."""

    async def pending_runs(self) -> int:
        """How many runs wait."""


def _histogram(
    registry: CollectorRegistry, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
) -> Histogram:
    return Histogram(f"threadline_{name}_seconds", documentation, labels, buckets=buckets, registry=registry)
