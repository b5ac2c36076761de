"""Wire models and records, named as langgraph_sdk names them. Times are UTC, ids are UUIDs as text."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

RunStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
EndStatus = Literal["success", "error", "timeout", "interrupted"]
MultitaskStrategy = Literal["reject", "enqueue", "interrupt", "rollback"]
CancelAction = Literal["interrupt", "rollback"]
OnDisconnect = Literal["cancel", "continue"]
IfNotExists = Literal["create", "reject"]
Source = Literal["native", "events", "langgraph"]
"""Which stream a run writes to its log: the native events, `astream_events`, or LangGraph's stream modes."""
ThreadStreamMode = Literal["run_modes", "lifecycle", "state_update"]
ThreadSort = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]
ThreadPart = Literal["config", "interrupts", "metadata", "values"]
"""A JSON document of a thread's record."""
TtlStrategy = Literal["delete", "keep_latest"]
AssistantSort = Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"]
CronSort = Literal["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"]
OnRunCompleted = Literal["delete", "keep"]

DeliveryStatus = Literal["pending", "delivered", "failed"]

Json = dict[str, Any]

TERMINAL: frozenset[RunStatus] = frozenset({"success", "error", "timeout", "interrupted"})


@dataclass(slots=True, frozen=True)
class Ttl:
    """When a thread expires, and what then goes: all of it, or what its latest state does not need."""

    strategy: TtlStrategy
    minutes: float
    """As the client asked, counted from then."""
    expires_at: datetime


@dataclass(slots=True)
class Thread:
    """A thread's record; its messages and values live in the checkpoints, `values` is a copy of the latest."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    metadata: Json = field(default_factory=dict)
    status: ThreadStatus = "idle"
    config: Json = field(default_factory=dict)
    values: bytes | None = None
    """JSON of the state after the last run, encoded."""
    interrupts: bytes = b"{}"
    """JSON of the pending interrupts by task id, encoded."""
    error: str | None = None
    events: int = 0
    """How many events the thread's runs have logged: the base of its next run."""
    state_updated_at: datetime | None = None
    """When a run or an update last left a state; None: never."""
    ttl: Ttl | None = None


@dataclass(slots=True)
class Run:
    """A run's record. `kwargs` is everything the executor needs to (re)start it."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: datetime
    updated_at: datetime
    status: RunStatus = "pending"
    metadata: Json = field(default_factory=dict)
    kwargs: Json = field(default_factory=dict)
    multitask_strategy: MultitaskStrategy = "reject"
    attempt: int = 0
    """How often a worker has claimed it."""
    base: int = 0
    """Events of the thread before this run's first; -1 while that is open (see RunQueue.finish)."""
    due_at: datetime | None = None
    """Not to be started before; None: at once."""
    cancel: CancelAction | None = None
    """Set when a client asked to cancel it."""
    worker_id: str | None = None
    lease_until: datetime | None = None
    crashes: int = 0
    """How often its process died while it was under way."""
    trials: int = 0
    """How often of these it may be to blame: it was the only one, or on trial."""
    owner: str = ""
    """Whose run it is: the identity of its caller; empty where nobody is asked."""


@dataclass(slots=True)
class Delivery:
    """The call of a webhook: what is told, to whom, and what came of it."""

    delivery_id: str
    """The same at each attempt, so that a receiver knows what it has had."""
    run_id: str
    thread_id: str
    url: str
    payload: bytes
    """JSON, an object. Empty: not kept any more, or not asked for."""
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    """When the next attempt is."""
    status: DeliveryStatus = "pending"
    attempts: int = 0
    problem: str | None = None
    """What was wrong with the last attempt."""


@dataclass(slots=True)
class Outcome:
    """How an attempt of a run ended, and what becomes of its thread."""

    status: EndStatus
    thread_status: ThreadStatus
    values: bytes | None = None
    """The state's JSON to keep on the thread; None leaves what is there."""
    interrupts: bytes = b"{}"
    error: str | None = None
    delivery: Delivery | None = None
    """The call of the run's webhook, kept in the transaction that ends the run."""


@dataclass(slots=True)
class Assistant:
    """A graph with settings of its own, as of one of its versions."""

    assistant_id: str
    graph_id: str
    created_at: datetime
    updated_at: datetime
    config: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    name: str = "Untitled"
    description: str | None = None
    version: int = 1


@dataclass(slots=True)
class Cron:
    """A run that is created again and again, as a schedule says. `payload` is the request that made it."""

    cron_id: str
    assistant_id: str
    schedule: str
    created_at: datetime
    updated_at: datetime
    next_run_date: datetime | None
    """None: the schedule has no further date."""
    thread_id: str | None = None
    """None: a new thread each time."""
    timezone: str | None = None
    """The schedule's, by its IANA name; None is UTC."""
    end_time: datetime | None = None
    """Not fired any more after it."""
    payload: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    on_run_completed: OnRunCompleted | None = None
    enabled: bool = True
    caller: Json | None = None
    """Who made it, and whose its runs are; None: nobody had to say who they are."""


@dataclass(frozen=True, slots=True)
class FiredCron:
    """A cron that a run is made for."""

    cron: Cron
    """As it was when it was due."""
    following: datetime | None
    """Its next date."""
