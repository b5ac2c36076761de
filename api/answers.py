"""What the operations answer: the forms of their bodies, for the OpenAPI document.

They describe and do not check: routes write JSON themselves. Tests compare what is answered with what stands here.
"""

from datetime import datetime
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from api.schemas import EndStatus, Json, MultitaskStrategy, OnRunCompleted, RunStatus, ThreadStatus, TtlStrategy


class ErrorDetail(TypedDict):
    """What went wrong: a stable code, a sentence, and the part of the request that it is about."""

    code: str
    message: str
    field: NotRequired[str]


class Error(TypedDict):
    """The body of every refusal; `detail` repeats the message."""

    error: ErrorDetail
    detail: str


class Health(TypedDict):
    """The server is up."""

    ok: Literal[True]


class Info(TypedDict):
    """Versions, and what is supported."""

    version: str
    langgraph_py_version: str
    flags: dict[str, bool]
    host: Json
    agents: list[str]


class AgentSummary(TypedDict):
    """An agent that is served."""

    assistant_id: str
    graph_id: str
    description: str | None


class Agent(AgentSummary):
    """An agent with its JSON schemas."""

    input_schema: Json | None
    output_schema: Json | None
    context_schema: Json | None


class Drawing(TypedDict):
    """A graph."""

    nodes: list[Json]
    edges: list[Json]


class RunFailure(TypedDict):
    """Why a run failed."""

    code: str
    message: str


class RunResult(TypedDict):
    """How a run ended, in the native API."""

    run_id: str
    thread_id: str
    status: EndStatus | None
    answer: NotRequired[Any]
    tools_used: NotRequired[list[str]]
    usage: NotRequired[dict[str, int] | None]
    interrupts: NotRequired[list[Json]]
    error: NotRequired[RunFailure]


class BatchResult(TypedDict):
    """Results in the order of the inputs."""

    results: list[RunResult]


class Cancelled(TypedDict):
    """A run that has stopped."""

    run_id: str
    thread_id: str
    status: RunStatus


class AssistantVersion(TypedDict):
    """An assistant as of one of its versions."""

    assistant_id: str
    graph_id: str
    config: Json
    context: Json
    metadata: Json
    name: str
    created_at: datetime
    version: int
    description: str | None


class AssistantRecord(AssistantVersion):
    """An assistant: a graph with settings of its own."""

    updated_at: datetime


class GraphSchemas(TypedDict):
    """The JSON schemas of a graph; null where there is none."""

    graph_id: NotRequired[str]
    input_schema: Json | None
    output_schema: Json | None
    state_schema: Json | None
    config_schema: Json | None
    context_schema: Json | None


class Expiry(TypedDict):
    """When a thread expires, and what then goes."""

    strategy: TtlStrategy
    ttl_minutes: float
    expires_at: datetime


class ThreadRecord(TypedDict):
    """A thread, with the values that its last run left."""

    thread_id: str
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime
    metadata: Json
    status: ThreadStatus
    config: Json
    values: Any
    error: NotRequired[Any]
    interrupts: NotRequired[Json]
    ttl: NotRequired[Expiry]
    extracted: NotRequired[Json]


class Pruned(TypedDict):
    """How many threads were pruned."""

    pruned_count: int


class State(TypedDict):
    """A state of a thread, as a checkpoint holds it."""

    values: Any
    next: list[str]
    tasks: list[Json]
    metadata: Json | None
    created_at: datetime | None
    checkpoint: Json | None
    parent_checkpoint: Json | None
    interrupts: list[Json]
    checkpoint_id: str | None
    parent_checkpoint_id: str | None


class StateUpdated(TypedDict):
    """The checkpoint that an update made."""

    checkpoint: Json
    configurable: Json
    checkpoint_id: str


class RunRecord(TypedDict):
    """A run."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: datetime
    updated_at: datetime
    status: RunStatus
    metadata: Json
    kwargs: Json
    multitask_strategy: MultitaskStrategy


class CronRecord(TypedDict):
    """A run that is created again and again."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    user_id: str
    end_time: str | None
    schedule: str
    timezone: str | None
    payload: Json
    next_run_date: datetime | None
    metadata: Json
    on_run_completed: OnRunCompleted | None
    enabled: bool
    created_at: datetime
    updated_at: datetime


class StoreItem(TypedDict):
    """An item of the store."""

    namespace: list[str]
    key: str
    value: Json
    created_at: datetime
    updated_at: datetime
    score: NotRequired[float | None]


class StoreItems(TypedDict):
    """Items that were found."""

    items: list[StoreItem]


class Namespaces(TypedDict):
    """Namespaces that have items."""

    namespaces: list[list[str]]
