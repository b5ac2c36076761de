"""The native protocol: a graph's stream folded into run, tool_call, tool_result, token, answer, error and end.

    graph.astream(messages, updates, custom, values) ──feed──> entries of the log ──frames──> SSE, NDJSON, text

The answer is an allowlist: text of the root graph's own messages, never of a model inside a tool or a subgraph, never
of a message that calls tools. The answer equals the tokens since the last tool_call, joined.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.types import Interrupt
from pydantic import BaseModel, ConfigDict, Field

from api.errors import RunError
from api.events import END, Entry, Event, end, entry
from api.schemas import EndStatus, Json, OnDisconnect, Run
from api.serde import dumps, loads

STREAM_MODES: tuple[Literal["messages", "updates", "custom", "values"], ...] = (
    "messages",
    "updates",
    "custom",
    "values",
)
"""What the fold needs of `graph.astream`; `values` is only remembered, never logged."""

_INTERRUPT = "__interrupt__"


class AgentRequest(BaseModel):
    """The body of `/invoke` and `/stream`. A field that is not named here is refused."""

    model_config = ConfigDict(extra="forbid")

    input: Any = None
    """Text, a list of messages, or the graph's own input."""
    thread_id: str | None = None
    """Goes on with a thread; without it a new one is made."""
    resume: Any = None
    """The answer to the interrupt that the thread waits at, in place of `input`."""
    context: Json | None = None
    """The graph's runtime context."""
    metadata: Json = Field(default_factory=dict)
    on_disconnect: OnDisconnect = "continue"
    """What becomes of the run when the client goes before its end."""


class EventsRequest(AgentRequest):
    """The body of `/events`: filters of `astream_events` (v2) besides."""

    include_names: list[str] | None = None
    include_types: list[str] | None = None
    include_tags: list[str] | None = None
    exclude_names: list[str] | None = None
    exclude_types: list[str] | None = None
    exclude_tags: list[str] | None = None


class BatchRequest(BaseModel):
    """The body of `/batch`: inputs that run side by side, each on a thread of its own."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[Any] = Field(min_length=1)
    context: Json | None = None
    metadata: Json = Field(default_factory=dict)
    on_disconnect: OnDisconnect = "continue"


RESULT_KINDS = frozenset({"answer", "interrupt", "error", END})
"""The events that make up what `/invoke` answers."""


def result(run: Run, events: Iterable[Event]) -> Json:
    """What `/invoke` answers: `{"run_id", "thread_id", "status", "answer", "tools_used", "usage"}`, and `interrupts` or
    `error` where there are any.

    Args:
        run: the run.
        events: those of RESULT_KINDS, in order.
    """
    body: Json = {"run_id": run.run_id, "thread_id": run.thread_id, "status": None}
    for event in events:
        payload = loads(event.data)
        match event.kind:
            case "answer":
                body |= payload
            case "interrupt":
                body.setdefault("interrupts", []).append(payload)
            case "error":
                body["error"] = payload
            case _:
                body["status"] = payload["status"]
    if "interrupts" in body and body["status"] == "success":
        body["status"] = "interrupted"
    return body


class NativeFold:
    """Folds the stream of one attempt of a run into native events.

    Args:
        inner_messages: ids of messages that are not part of the answer; may grow while the run goes on.
        resuming: whether the run goes on from an interrupt, so that calls of the run before it get results here.
    """

    def __init__(self, inner_messages: Collection[str] = (), *, resuming: bool = False) -> None:
        self.values: Any = None
        """The graph's latest state; of a plain Runnable its whole output."""
        self.interrupts: dict[str, Any] = {}
        """Values of the pending interrupts by id."""
        self.interrupted = False
        self._inner = inner_messages
        self._resuming = resuming
        self._answer: list[str] = []
        self._calls: set[str] = set()
        self._results: set[str] = set()
        self._tools_used: dict[str, None] = {}
        self._calling_messages: set[str] = set()
        self._final: Mapping[str, Any] | None = None
        self._started = False
        self._again = False
        """Whether this attempt goes on from an earlier one's checkpoint, which may hold the answer already."""

    @property
    def tools_run(self) -> bool:
        """Whether calls wait for their results: what a model writes meanwhile is inside a tool."""
        return bool(self._calls - self._results)

    def begin(self, run: Run) -> Iterator[Entry]:
        """The first event."""
        payload: dict[str, Any] = {
            "run_id": run.run_id,
            "thread_id": run.thread_id,
            "assistant_id": run.assistant_id,
        }
        if run.attempt > 1:
            payload["attempt"] = run.attempt
            self._again = True
        yield entry("run", payload)

    def feed(self, mode: str, payload: Any) -> Iterator[Entry]:
        """One part of the root graph's stream.

        Args:
            mode: the stream mode.
            payload: as LangGraph gives it.
        """
        match mode:
            case "messages":
                yield from self._message(payload[0])
            case "updates":
                yield from self._update(payload)
            case "custom":
                yield _custom(payload)
            case "values":
                self._remember(payload)

    def feed_output(self, chunk: Any) -> Iterator[Entry]:
        """One chunk of a plain Runnable's stream: text is the answer, anything else a custom event."""
        match chunk:
            case str():
                yield from self._token(chunk)
            case BaseMessage():
                yield from self._token(str(chunk.text))
            case _:
                yield entry("custom", {"name": "output", "data": chunk})

    def finish(self, usage: UsageMetadata | None) -> Iterator[Entry]:
        """The answer, after the stream has ended well; nothing if the run waits at an interrupt."""
        if self.interrupted:
            return
        joined = "".join(self._answer)
        answer, tools_used = self._result(joined)
        if isinstance(answer, str) and answer != joined and answer.startswith(joined):
            yield from self._token(answer[len(joined) :])
        yield entry("answer", {"answer": answer, "tools_used": tools_used, "usage": _usage(usage)})

    def end(self, status: EndStatus, error: RunError | None) -> Iterator[Entry]:
        """What closes the run: the error, if there is one, and the end."""
        if error is not None:
            yield entry("error", {"code": error.code, "message": error.message})
        yield end(status)

    def _result(self, joined: str) -> tuple[Any, list[str]]:
        if self._final is not None:
            return self._final.get("answer", joined), list(self._final.get("tools_used", ()))
        if joined or not self._has_output():
            return joined, list(self._tools_used)
        return self._last_text(), list(self._tools_used)

    def _has_output(self) -> bool:
        return self.values is not None

    def _last_text(self) -> Any:
        """For a graph that streamed no text: its last message, or its whole output if it has no messages."""
        if isinstance(self.values, dict) and (messages := self.values.get("messages")):
            last = messages[-1]
            return str(last.text) if isinstance(last, AIMessage) else ""
        return self.values

    def _remember(self, values: Any) -> None:
        if not self._started:
            self._started = True
            for message in messages_in(values):
                self._note_earlier(message)
            if self._again:
                self._note_final(values)
        if isinstance(values, dict) and _INTERRUPT in values:
            values = {key: value for key, value in values.items() if key != _INTERRUPT}
        self.values = values

    def _note_earlier(self, message: BaseMessage) -> None:
        """Calls of earlier turns are not this run's, should a node write its whole history again."""
        match message:
            case AIMessage():
                ids = {call["id"] for call in message.tool_calls if call["id"]}
                self._calls |= ids
                if not self._resuming:
                    self._results |= ids
            case ToolMessage():
                self._results.add(message.tool_call_id)

    def _note_final(self, written: Any) -> None:
        """What a graph itself names its answer."""
        if not isinstance(written, Mapping):
            return
        if isinstance(final := written.get("final_answer"), Mapping):
            self._final = final
        elif written.get("answer") is not None:
            self._final = {"answer": written["answer"], "tools_used": self._tools_used}

    def _message(self, message: Any) -> Iterator[Entry]:
        if not isinstance(message, AIMessage):
            return
        message_id = message.id or ""
        if message.tool_calls or (isinstance(message, AIMessageChunk) and message.tool_call_chunks):
            self._calling_messages.add(message_id)
            return
        if message_id in self._calling_messages or message_id in self._inner:
            return
        content = message.content
        text = content if isinstance(content, str) else str(message.text)
        if text:
            yield from self._token(text)

    def _token(self, text: str) -> Iterator[Entry]:
        if text:
            self._answer.append(text)
            yield Entry("token", b'{"text":%s}' % dumps(text))

    def _update(self, update: Any) -> Iterator[Entry]:
        if not isinstance(update, Mapping):
            return
        for node, written in update.items():
            if node == _INTERRUPT:
                yield from self._interrupt(written)
                continue
            for value in written if isinstance(written, list) else (written,):
                self._note_final(value)
                for message in messages_in(value):
                    yield from self._whole_message(message)

    def _whole_message(self, message: BaseMessage) -> Iterator[Entry]:
        match message:
            case AIMessage():
                for call in message.tool_calls:
                    if call["id"] not in self._calls:
                        self._calls.add(call["id"] or "")
                        self._answer.clear()
                        yield entry("tool_call", {"id": call["id"], "name": call["name"], "args": call["args"]})
            case ToolMessage() if message.tool_call_id not in self._results:
                self._results.add(message.tool_call_id)
                if message.name:
                    self._tools_used[message.name] = None
                yield entry(
                    "tool_result",
                    {
                        "id": message.tool_call_id,
                        "name": message.name,
                        "content": message.content,
                        "status": message.status,
                    },
                )

    def _interrupt(self, interrupts: Iterable[Interrupt]) -> Iterator[Entry]:
        self.interrupted = True
        for interrupt in interrupts:
            self.interrupts[interrupt.id] = interrupt.value
            yield entry("interrupt", {"id": interrupt.id, "value": interrupt.value})


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """Messages in a state or an update, whatever the channel is called."""
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            if isinstance(item, BaseMessage):
                yield item
            elif isinstance(item, list):
                yield from (message for message in item if isinstance(message, BaseMessage))
    elif isinstance(value, list):
        yield from (message for message in value if isinstance(message, BaseMessage))


def _custom(payload: Any) -> Entry:
    name = payload.get("name") if isinstance(payload, Mapping) else None
    return entry("custom", {"name": name if isinstance(name, str) else None, "data": payload})


def _usage(usage: UsageMetadata | None) -> Mapping[str, int] | None:
    if usage is None:
        return None
    return {name: usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")}


Framing = Callable[[Sequence[Event]], bytes]
"""Encodes a batch of events into bytes of one response."""


def sse_frames(events: Sequence[Event]) -> bytes:
    """`event:`, `id:` and `data:` for each event; no id for an UNNUMBERED one."""
    return b"".join(
        b"event: %b\nid: %d\ndata: %b\n\n" % (kind.encode(), seq, data)
        if seq
        else b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
        for seq, kind, data in events
    )


def ndjson_lines(events: Sequence[Event]) -> bytes:
    """One JSON object a line: `{"event", "id", "data"}`; the id of an UNNUMBERED one is null."""
    return b"".join(
        b'{"event":%b,"id":%b,"data":%b}\n' % (dumps(kind), b"%d" % seq if seq else b"null", data)
        for seq, kind, data in events
    )


def answer_text(events: Sequence[Event]) -> bytes:
    """Just the text of the answer; a failure shows as a last line in brackets."""
    return b"".join(_text(event) for event in events)


def _text(event: Event) -> bytes:
    match event.kind:
        case "token":
            return str(loads(event.data)["text"]).encode()
        case "error":
            return f"\n[{loads(event.data)['message']}]".encode()
        case kind if kind == END:
            return b"\n"
    return b""
