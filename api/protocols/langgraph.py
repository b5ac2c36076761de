"""The LangGraph API's runs: the request, the graph's stream as its events, and the SSE frames of langgraph_sdk.

    RunCreate ──> kwargs of the run ──> graph.astream(modes) ──feed──> entries of the log ──frames──> SSE with CRLF

Names, payloads and order are those of LangGraph's own server (langgraph-api 0.16.7).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal
from uuid import uuid4

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.callers import CALLER_SETTINGS
from api.configs import Config, Metadata, Place, Settings
from api.errors import InvalidRequestError, RunError, ThreadlineError
from api.events import END, UNNUMBERED, Entry, Event, end, entry
from api.origins import KEY as ORIGIN
from api.schemas import CancelAction, EndStatus, Json, MultitaskStrategy, OnDisconnect, Run
from api.serde import Fragment, dumps, exception_payload, loads

StreamMode = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "custom", "debug", "tasks", "checkpoints"
]

LANGGRAPH = version("langgraph")

_INTERRUPT = "__interrupt__"
_MOST_TARGETS = 1000
"""Of one command: LangGraph logs each name that it does not know, and looks at all of them on the event loop."""
_UNSAFE = re.compile(r"[\r\n\0\ud800-\udfff]")


class RunCommand(BaseModel):
    """A Command as JSON."""

    update: Any = None
    resume: Any = None
    goto: Any = None

    @field_validator("goto")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) > _MOST_TARGETS:
            raise ValueError(f"A command goes to {_MOST_TARGETS} nodes at most")
        return value

    def build(self) -> Command[Any]:
        """The Command for the graph."""
        goto = self.goto if isinstance(self.goto, list) or self.goto is None else [self.goto]
        update = self.update
        if isinstance(update, list) and all(_is_pair(item) for item in update):
            update = [tuple(item) for item in update]
        targets = [item if isinstance(item, str) else Send(item["node"], item["input"]) for item in goto or ()]
        return Command(update=update, resume=self.resume, goto=targets)


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)


class RunCreate(BaseModel):
    """The body of a request that creates a run; names that are not known are ignored, as the reference does."""

    model_config = ConfigDict(extra="ignore")

    assistant_id: str
    input: Any = None
    command: RunCommand | None = None
    checkpoint_id: str | None = None
    checkpoint: Place | None = None
    metadata: Metadata | None = None
    config: Config | None = None
    context: Settings | None = None
    webhook: str | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    on_disconnect: OnDisconnect = "continue"
    on_completion: Literal["delete", "keep"] = "delete"
    multitask_strategy: MultitaskStrategy = "enqueue"
    stream_mode: list[StreamMode] = ["values"]
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    feedback_keys: list[str] | None = None
    after_seconds: float = Field(default=0, ge=0, le=10 * 365 * 24 * 3600)
    if_not_exists: Literal["create", "reject"] = "reject"
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None

    @field_validator(
        "on_disconnect", "on_completion", "multitask_strategy", "if_not_exists", "stream_subgraphs", "stream_resumable",
        "after_seconds", mode="before",
    )  # fmt: skip
    @classmethod
    def _default_for_null(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @field_validator("stream_mode", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        modes = [value] if isinstance(value, str) else value or ["values"]
        if isinstance(modes, list) and (newer := sorted({"tools", "lifecycle"} & {str(mode) for mode in modes})):
            message = f"stream_mode entries {newer!r} are only supported on the v2 event streaming endpoints."
            raise InvalidRequestError(message, field="stream_mode")
        return modes

    def options(self) -> Json:
        """What the executor needs of it, besides config and context."""
        durability = self.durability or ("exit" if self.checkpoint_during is False else "async")
        return {
            "input": self.input,
            "command": self.command.model_dump(exclude_unset=True) if self.command else None,
            "stream_mode": self.stream_mode,
            "interrupt_before": self.interrupt_before,
            "interrupt_after": self.interrupt_after,
            "webhook": self.webhook,
            "feedback_keys": self.feedback_keys,
            "subgraphs": self.stream_subgraphs,
            "resumable": self.stream_resumable,
            "checkpoint_during": True if self.checkpoint_during is None else self.checkpoint_during,
            "durability": durability,
        }


class LangGraphFold:
    """Turns the stream of one attempt of a run into the reference's events.

    Args:
        stream_mode: what the client asked for.
        subgraphs: whether events of subgraphs are streamed too.
    """

    def __init__(self, stream_mode: Collection[str], *, subgraphs: bool) -> None:
        self.values: Any = None
        """The graph's latest state."""
        self.interrupts: dict[str, Any] = {}
        """Values of the pending interrupts by id."""
        self.interrupted = False
        self.subgraphs = subgraphs
        self._wanted = set(stream_mode)
        self._messages: dict[str, BaseMessage] = {}

    @property
    def events(self) -> bool:
        """Whether the graph is to be driven by `astream_events`."""
        return "events" in self._wanted

    @property
    def modes(self) -> list[str]:
        """Stream modes for the graph; `values` and `updates` tell how the run ends, wanted or not."""
        asked = {"messages" if mode == "messages-tuple" else mode for mode in self._wanted - {"events"}}
        return sorted(asked | {"values", "updates"})

    def begin(self, run: Run) -> Iterator[Entry]:
        """The first event."""
        yield entry("metadata", {"run_id": run.run_id, "attempt": run.attempt})

    def feed(self, namespace: Sequence[str], mode: str, payload: Any) -> Iterator[Entry]:
        """One part of the graph's stream.

        Args:
            namespace: of the subgraph that it comes from; empty for the root.
            mode: the stream mode.
            payload: as LangGraph gives it.
        """
        if not namespace:
            self._note(mode, payload)
        match mode:
            case "messages" if "messages-tuple" in self._wanted:
                yield entry(_name(mode, namespace), payload)
            case "messages":
                yield from self._accumulate(*payload)
            case "debug" if payload["type"] == "checkpoint":
                yield entry(_name(mode, namespace), {**payload, "payload": _debug_checkpoint(payload["payload"])})
            case "checkpoints" if mode in self._wanted:
                yield entry(_name(mode, namespace), _anonymous(payload))
            case _ if mode in self._wanted:
                yield entry(_name(mode, namespace), payload)

    def feed_event(self, event: Mapping[str, Any], run_id: str) -> Iterator[Entry]:
        """One event of `astream_events`: the root's own stream is what `feed` takes, anything else goes on as it is."""
        if event["event"] == "on_chain_stream" and event["run_id"] == run_id:
            chunk = event["data"]["chunk"]
            namespace, mode, payload = chunk if self.subgraphs else ((), *chunk)
            yield from self.feed(namespace, mode, payload)
        elif "langsmith:hidden" not in (event.get("tags") or ()):
            if event["event"] in _ENDS:
                _identify(event["data"])
            yield entry("events", event)

    def end(self, status: EndStatus, error: RunError | None) -> Iterator[Entry]:
        """What closes the run; a cancelled one ends without an error event."""
        if error is not None and status != "interrupted":
            yield entry("error", error_payload(error))
        yield end(status)

    def _note(self, mode: str, payload: Any) -> None:
        if not isinstance(payload, Mapping):
            if mode == "values":
                self.values = payload
            return
        if mode == "values":
            self.values = {key: value for key, value in payload.items() if key != _INTERRUPT}
        if mode in ("values", "updates") and _INTERRUPT in payload:
            self.interrupted = True
            for interrupt in payload[_INTERRUPT]:
                if isinstance(interrupt, Interrupt):
                    self.interrupts[interrupt.id] = interrupt.value

    def _accumulate(self, message: Any, metadata: Any) -> Iterator[Entry]:
        """`messages`: the whole of each message so far, at each of its chunks."""
        if message.id in self._messages:
            self._messages[message.id] = self._messages[message.id] + message
        else:
            self._messages[message.id] = message
            yield entry("messages/metadata", {message.id: {"metadata": metadata}})
        whole = self._messages[message.id]
        kind = "messages/partial" if isinstance(message, BaseMessageChunk) else "messages/complete"
        yield entry(kind, [message_chunk_to_message(whole) if isinstance(whole, BaseMessageChunk) else whole])


def _name(mode: str, namespace: Sequence[str]) -> str:
    # A node's name is its author's; a line break in it would forge frames, a lone surrogate has no bytes.
    return _UNSAFE.sub(" ", "|".join((mode, *namespace)))


_ENDS = frozenset({"on_tool_end", "on_chain_stream", "on_chain_end"})


def _identify(data: Any, depth: int = 4) -> None:
    """Gives messages that a node returned the ids that the state's reducer would give them right after.

    An event is written down when it happens; without this, it would depend on the moment whether its messages have ids.
    LangGraph does the same to the messages of a node in stream mode `messages`.
    """
    if isinstance(data, BaseMessage):
        data.id = data.id or str(uuid4())
    elif isinstance(data, Command):
        _identify(data.update, depth - 1)
    elif depth > 0 and isinstance(data, Mapping):
        for value in data.values():
            _identify(value, depth - 1)
    elif depth > 0 and isinstance(data, list | tuple):
        for value in data:
            _identify(value, depth - 1)


def _debug_checkpoint(payload: Mapping[str, Any]) -> Json:
    return {
        **_anonymous(payload),
        "checkpoint": checkpoint_of(payload.get("config")),
        "parent_checkpoint": checkpoint_of(payload.get("parent_config")),
        "tasks": [_debug_task(task) for task in payload["tasks"]],
    }


def _anonymous(payload: Mapping[str, Any]) -> Json:
    """A checkpoint's payload without the fields of who made the run: others may follow it too."""
    configs = {name: payload[name] for name in ("config", "parent_config") if payload.get(name)}
    return {**payload, **{name: _without_caller(config) for name, config in configs.items()}}


def _without_caller(config: Mapping[str, Any]) -> Json:
    named = config.get("configurable", {}).items()
    return {**config, "configurable": {name: item for name, item in named if name not in CALLER_SETTINGS}}


def _debug_task(task: Mapping[str, Any]) -> Json:
    if not (configurable := (task.get("state") or {}).get("configurable")):
        return dict(task)
    return {**{name: value for name, value in task.items() if name != "state"}, "checkpoint": configurable}


def checkpoint_of(config: Any) -> Json | None:
    """A config as langgraph_sdk's Checkpoint; None if it names none."""
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("thread_id") or not configurable.get("checkpoint_id"):
        return None
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: configurable[name] for name in names if name in configurable}


def error_payload(error: RunError, cancel: CancelAction | None = None) -> Json:
    """An error as the reference tells it: its class, and its message if that may be shown.

    Args:
        error: the error.
        cancel: how the run was cancelled, if it was.
    """
    cause = error.cause
    if cause is None or isinstance(cause, ThreadlineError):
        cancelled = "UserRollback" if cancel == "rollback" else "UserInterrupt"
        name = {"cancelled": cancelled, "timeout": "TimeoutError"}.get(error.code, "RunError")
        return {"error": name, "message": error.message}
    return exception_payload(cause)


_ALWAYS = frozenset({"error", "feedback"})


class Frames:
    """Encodes events as the SDK's SSE: CRLF lines, an id only on resumable runs, no event for the end.

    Args:
        ids: whether frames carry ids.
        modes: stream modes to show, beside errors; empty for all.
    """

    def __init__(self, *, ids: bool, modes: Collection[str] = ()) -> None:
        self._ids = ids
        self._modes = modes

    def __call__(self, events: Sequence[Event]) -> bytes:
        """The frames of a batch."""
        if events and events[-1].kind == END:
            events = _without_end(events)
        return b"".join(self._frame(event) for event in events if self._shows(event.kind))

    def _frame(self, event: Event) -> bytes:
        frame = b"event: %b\r\ndata: %b\r\n" % (event.kind.encode(), event.data)
        return frame + (b"id: %d\r\n\r\n" % event.seq if self._ids and event.seq else b"\r\n")

    def _shows(self, kind: str) -> bool:
        mode = kind.partition("|")[0]
        return not self._modes or mode in _ALWAYS or mode in self._modes or self._shows_messages(mode)

    def _shows_messages(self, mode: str) -> bool:
        if mode == "messages":
            return "messages-tuple" in self._modes
        return mode.startswith("messages/") and "messages" in self._modes


def _without_end(events: Sequence[Event]) -> Sequence[Event]:
    """What comes with the end, which no client sees, has its id."""
    *rest, last = events
    return [*rest[:-1], rest[-1]._replace(seq=last.seq)] if rest and rest[-1].seq == UNNUMBERED else rest


def stream_modes(parameters: Sequence[str] | None) -> list[str]:
    """The `stream_mode`s of a query, each a name or a JSON list of names."""
    return [mode for parameter in parameters or () for mode in _listed(parameter)]


def _listed(parameter: str) -> list[str]:
    if not parameter.startswith("["):
        return [parameter] if parameter else []
    try:
        return [str(name) for name in loads(parameter)]
    except ValueError:
        return [parameter]


class Result:
    """What wait and join answer: the last values, or the interrupts, or the error."""

    KINDS = ("values", "updates", "error", "feedback")

    def __init__(self, events: Iterable[Event]) -> None:
        self._latest: bytes | None = None
        self._interrupts: list[bytes] = []
        self._failed = False
        self._feedback: bytes | None = None
        for event in events:
            self._absorb(event)

    def _absorb(self, event: Event) -> None:
        match event.kind:
            case "error":
                self._latest = dumps({"__error__": Fragment(event.data)})
                self._failed = True
            case "feedback":
                self._feedback = event.data
            case "values" | "updates":
                interrupted = b'"__interrupt__"' in event.data and bool(_interrupts(event.data))
                if interrupted:
                    self._interrupts.append(event.data)
                if interrupted or event.kind == "values":
                    self._latest = event.data

    def body(self, fallback: bytes) -> bytes:
        """The response's body.

        Args:
            fallback: for a run whose stream has no values: the thread's.
        """
        latest = fallback if self._latest is None else self._latest
        if self._interrupts and not self._failed:
            latest = self._interrupts[-1]
            if len(self._interrupts) > 1:
                latest = dumps({_INTERRUPT: [each for data in self._interrupts for each in _interrupts(data)]})
        if self._feedback is None:
            return latest
        return dumps({**loads(latest), "__feedback__": Fragment(self._feedback)})


def _interrupts(data: bytes) -> list[Any]:
    payload = loads(data)
    found = payload.get(_INTERRUPT) if isinstance(payload, dict) else None
    return found if isinstance(found, list) else []


def run_record(run: Run) -> Json:
    """A run as langgraph_sdk's Run."""
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "created_at": run.due_at or run.created_at,
        "updated_at": run.updated_at,
        "status": run.status,
        "metadata": run.metadata,
        "kwargs": _kwargs(run),
        "multitask_strategy": run.multitask_strategy,
    }


_OURS = ("source", "graph_id", "caller", "context_given", ORIGIN)


def _kwargs(run: Run) -> Json:
    """A run's arguments as the reference shows them: with the ids that its graph is given, without what is ours."""
    kwargs = {name: value for name, value in run.kwargs.items() if name not in _OURS}
    config = kwargs.get("config") or {}
    ids = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "graph_id": run.kwargs.get("graph_id"),
        "assistant_id": run.assistant_id,
    }
    attempt = {"run_attempt": run.attempt, "langgraph_version": LANGGRAPH} if run.attempt else {}
    kwargs["config"] = {
        **config,
        "configurable": {**config.get("configurable", {}), **ids},
        "metadata": {**config.get("metadata", {}), **attempt},
    }
    return kwargs
