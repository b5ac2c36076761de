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
AssistantSort = Literal["assistant_id", "created_at", "updated_at", "name", "graph_id"]

Json = dict[str, Any]

TERMINAL: frozenset[RunStatus] = frozenset({"success", "error", "timeout", "interrupted"})


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
    """Events of the thread before this run's first."""
    due_at: datetime | None = None
    """Not to be started before; None: at once."""
    cancel: CancelAction | None = None
    """Set when a client asked to cancel it."""
    worker_id: str | None = None
    lease_until: datetime | None = None


@dataclass(slots=True)
class Outcome:
    """How an attempt of a run ended, and what becomes of its thread."""

    status: EndStatus
    thread_status: ThreadStatus
    values: bytes | None = None
    """The state's JSON to keep on the thread; None leaves what is there."""
    interrupts: bytes = b"{}"
    error: str | None = None


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
