"""The native protocol: a graph's stream folded into run, tool_call, tool_result, token, answer, error and end.

    graph.astream(messages, updates, custom, values) ──feed──> entries of the log ──frames──> SSE, NDJSON, text

The answer is an allowlist: text that a node of the root graph writes as a message without tool calls. It comes

    piece by piece      from a model that a node calls, of the root or of a graph that is itself a node and shares
                        `messages`; and from whatever a node calls with the tag `answer`
    once it is written  from everything else: a graph that a node calls may be a helper, whose words are nobody's
                        answer; and from what LangGraph's tag `nostream` is on

and never from what runs inside a tool or a conditional edge, nor from structured output. Messages that are written side
by side come one after the other. The answer equals the tokens since the last tool_call, joined.

Whether a called graph is a helper shows only in what its node returns. An agent that ends in final_answer may be one
too: a node that has it look something up, and keeps that as a note, would put the note into the answer. So it is never
guessed; `agent.with_config(tags=["answer"])` says it once and for all.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langgraph.types import Interrupt, Overwrite
from pydantic import BaseModel, ConfigDict, Field

from api.configs import Written
from api.errors import RunError
from api.events import END, Entry, Event, end, entry
from api.protocols.speech import Message, Speech
from api.protocols.tool_calls import ToolCalls
from api.schemas import EndStatus, Json, OnDisconnect, Run
from api.serde import dumps, loads

STREAM_MODES: tuple[Literal["messages", "updates", "custom", "values"], ...] = (
    "messages",
    "updates",
    "custom",
    "values",
)
"""What the fold needs of `graph.astream`; `values` is only remembered, never logged."""

Namespace = tuple[str, ...]
"""Where a graph runs inside another: the tasks that it is in, from the outermost on; empty for the root."""

ANSWER_TAG = "answer"
"""On what a node calls: that it speaks for the node."""

_INTERRUPT = "__interrupt__"


class Dispatched(NamedTuple):
    """What `dispatch_custom_event` said, as a part of the graph's stream."""

    name: str
    data: Any


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
    metadata: Written = Field(default_factory=dict)
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
    metadata: Written = Field(default_factory=dict)
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
        namespaces: of graphs that nodes run, and no tool; may grow likewise. What happens in others is not told.
        apart: tasks of graphs that nodes call with a thread of their own, whose messages come as the root's; likewise.
        broken_off: ids of messages of which nothing more comes, since their model failed; likewise.
        resuming: whether the run goes on from an interrupt, so that calls of the run before it get results here.
    """

    def __init__(
        self,
        inner_messages: Collection[str] = (),
        namespaces: Collection[Namespace] = (),
        apart: Collection[str] = (),
        broken_off: Collection[str] = (),
        *,
        resuming: bool = False,
    ) -> None:
        self.values: Any = None
        """The graph's latest state; of a plain Runnable its whole output."""
        self.interrupts: dict[str, Any] = {}
        """Values of the pending interrupts by id."""
        self.interrupted = False
        self.speaks: Callable[[Namespace], bool] = _is_root
        """Whether what the graph of a namespace writes is surely the root's."""
        self._inner = inner_messages
        self._namespaces = namespaces
        self._apart = apart
        self._broken_off = broken_off
        self._resuming = resuming
        self._speech = Speech()
        self._messages: dict[str, Message] = {}
        """Those that came in pieces in this superstep, by id."""
        self._told: set[str] = set()
        """Ids of messages that need not be told any more."""
        self._nameless = False
        """Whether a message was told that gets its id from the state."""
        self._calls = ToolCalls()
        self._tools_used: dict[str, None] = {}
        self._final: Mapping[str, Any] | None = None
        self._final_tools: dict[str, None] | None = None
        self._started: set[Namespace] = set()
        self._converses = False
        self._again = False
        """Whether this attempt goes on from an earlier one's checkpoint, which may hold the answer already."""

    @property
    def tools_run(self) -> bool:
        """Whether calls wait for their results: what a model writes meanwhile is inside a tool."""
        return self._calls.waiting

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

    def feed(self, mode: str, payload: Any, namespace: Namespace = ()) -> Iterable[Entry]:
        """One part of the graph's stream.

        Args:
            mode: the stream mode.
            payload: as LangGraph gives it.
            namespace: of the graph inside that it comes from.
        """
        match mode:
            case "messages":
                return self._piece(payload[0], payload[1], namespace)
            case "updates":
                return self._update(payload, namespace)
            case "custom":
                return (_custom(payload),)
            case "values":
                return self._remember(payload, namespace)
        return ()

    def feed_output(self, chunk: Any) -> Iterable[Entry]:
        """One chunk of a plain Runnable's stream: text is the answer, anything else a custom event."""
        match chunk:
            case str():
                return self._say(chunk)
            case AIMessage():
                return self._piece(chunk, {}, ())
            case BaseMessage():
                return self._say(str(chunk.text))
            case _:
                return (entry("custom", {"name": "output", "data": chunk}),)

    def flush(self) -> Iterable[Entry]:
        """What waits for a message that is being told: it is whole."""
        return self._speech.flush()

    def finish(self, usage: UsageMetadata | None) -> Iterator[Entry]:
        """The answer, after the stream has ended well; nothing if the run waits at an interrupt."""
        yield from self._speech.flush()
        if self.interrupted:
            return
        said = self._speech.answer()
        answer = self._result(said)
        if isinstance(answer, str):
            yield from self._say(answer[len(said) :] if answer.startswith(said) else "")
            answer = self._speech.answer()
        tools_used = list(self._tools_used if self._final_tools is None else self._final_tools)
        yield entry("answer", {"answer": answer, "tools_used": tools_used, "usage": _usage(usage)})

    def end(self, status: EndStatus, error: RunError | None) -> Iterator[Entry]:
        """What closes the run: the error, if there is one, and the end."""
        yield from self.flush()
        if error is not None:
            yield entry("error", {"code": error.code, "message": error.message})
        yield end(status)

    def _result(self, said: str) -> Any:
        if self._final is not None:
            return self._final.get("answer", said)
        return said if said or self.values is None else self._last_text()

    def _last_text(self) -> Any:
        """For a graph that said nothing: its last message, or its whole output if it has no messages."""
        if isinstance(self.values, dict) and (messages := self.values.get("messages")):
            last = messages[-1]
            return str(last.text) if isinstance(last, AIMessage) and not last.tool_calls else ""
        return self.values

    def _say(self, text: str) -> Sequence[Entry]:
        """Text that comes from no message in pieces."""
        if not text:
            return ()
        whole = Message(ended=True)
        return self._speech.piece(whole, text)

    def _remember(self, values: Any, namespace: Namespace) -> Sequence[Entry]:
        if namespace not in self._started:
            self._started.add(namespace)
            self._converses |= not namespace and isinstance(values, Mapping) and "messages" in values
            if not namespace or namespace in self._namespaces:
                self._note_earlier(values, told=self.speaks(namespace))
            if self._again and not namespace:
                self._note_final(values)
        elif self._nameless and self.speaks(namespace):
            self._nameless = False
            self._told |= _spoken_in(messages_in(values))
        if namespace:
            return ()
        if isinstance(values, dict) and _INTERRUPT in values:
            values = {key: value for key, value in values.items() if key != _INTERRUPT}
        self.values = values
        # The superstep is over, and with it whatever its nodes had to say.
        self._messages.clear()
        return self._speech.flush()

    def _note_earlier(self, values: Any, *, told: bool) -> None:
        """What is there when a graph begins is not this run's, should a node write its whole history again."""
        earlier = list(messages_in(values))
        self._calls.note_earlier(earlier, unanswered=self._resuming or self._again)
        if told:
            self._told |= _spoken_in(earlier)

    def _note_final(self, written: Any) -> None:
        """What a graph itself names its answer, and the tools that it used for it."""
        if not isinstance(written, Mapping):
            return
        if isinstance(final := written.get("final_answer"), Mapping):
            self._final = final
            self._final_tools = (self._final_tools or {}) | dict.fromkeys(final.get("tools_used", ()))
        elif written.get("answer") is not None:
            self._final = {"answer": written["answer"]}

    def _piece(self, chunk: Any, metadata: Mapping[str, Any], namespace: Namespace) -> Sequence[Entry]:
        """A piece of a message. What does not come in pieces is told when a node has written it."""
        if not isinstance(chunk, AIMessage):
            return list(self._returned(chunk)) if isinstance(chunk, ToolMessage) and self._is_apart(metadata) else ()
        told: Sequence[Entry] = ()
        message = self._messages.get(chunk.id or "")
        if message is None:
            if not isinstance(chunk, AIMessageChunk):
                return ()
            message = self._begin(chunk.id or "", metadata, namespace)
            told = self._end_broken_off()
        content = chunk.content
        if chunk.additional_kwargs or not isinstance(content, str):
            told = (*told, *self._thought(message, chunk))
            content = str(chunk.text)
        last = isinstance(chunk, AIMessageChunk) and chunk.chunk_position == "last"
        if chunk.tool_calls or (isinstance(chunk, AIMessageChunk) and chunk.tool_call_chunks) or message.calls:
            message.silent = True
            told = (*told, *self._speech.end(message), *self._calling(message, chunk, last=last))
        elif content and not message.silent:
            spoken = self._speech.piece(message, content)
            told = (*told, *spoken) if told else spoken
        return (*told, *self._speech.end(message)) if last else told

    def _begin(self, message_id: str, metadata: Mapping[str, Any], namespace: Namespace) -> Message:
        apart = self._is_apart(metadata)
        if message_id in self._inner or (namespace and namespace not in self._namespaces):
            message = Message(counts=False, silent=True)
        else:
            surely = not apart and (not namespace or self.speaks(namespace))
            path = _path(namespace, metadata.get("langgraph_node", ""))
            message = Message(counts=surely or ANSWER_TAG in (metadata.get("tags") or ()), path=path, apart=apart)
            if message.counts:
                self._told.add(message_id)
        self._messages[message_id] = message
        return message

    def _end_broken_off(self) -> Sequence[Entry]:
        """A node that is tried again speaks anew: what it began to say before keeps nobody waiting."""
        told: list[Entry] = []
        for message_id in self._broken_off:
            if (message := self._messages.get(message_id)) is not None and not message.ended:
                told += self._speech.end(message)
        return told

    def _is_apart(self, metadata: Mapping[str, Any]) -> bool:
        return bool(self._apart) and metadata.get("langgraph_checkpoint_ns") in self._apart

    def _calling(self, message: Message, chunk: AIMessage, *, last: bool) -> Iterator[Entry]:
        """Calls of a graph that tells nothing but messages: there is no update to take them from."""
        if message.apart and isinstance(chunk, AIMessageChunk):
            message.calls.append(chunk)
            if last:
                yield from self._called(add_ai_message_chunks(*message.calls))
                message.calls.clear()

    def _thought(self, message: Message, of: AIMessage) -> Sequence[Entry]:
        text = "" if message.silent and not message.counts else reasoning(of)
        return self._speech.thought(message, text) if text else ()

    def _update(self, update: Any, namespace: Namespace) -> Iterator[Entry]:
        if not isinstance(update, Mapping) or (namespace and namespace not in self._namespaces):
            return
        surely = not namespace or self.speaks(namespace)
        for node, written in update.items():
            if node == _INTERRUPT:
                if not namespace:
                    yield from self._interrupt(written)
                continue
            for value in written if isinstance(written, list) else (written,):
                if not namespace:
                    self._note_final(value)
                for part, counts in self.parts(value):
                    messages = list(messages_in(part))
                    for message in messages:
                        yield from self._written(message, messages, _path(namespace, node), surely=surely and counts)

    def parts(self, value: Any) -> Iterator[tuple[Any, bool]]:
        """What a node has written, and whether its words may be the answer: where there is a conversation, only those
        that are in it, and not what is noted beside it.
        """
        beside = isinstance(value, Mapping) and self._converses and value.keys() - {"messages"}
        if beside:
            yield {name: value[name] for name in value if name in beside}, False
            value = {"messages": value.get("messages", [])}
        yield value, True

    def _written(
        self, message: BaseMessage, write: Sequence[BaseMessage], path: tuple[str, ...], *, surely: bool
    ) -> Iterator[Entry]:
        """A message that a node has written.

        Args:
            message: it.
            write: all that was written with it.
            path: the node, below those that it is in.
            surely: whether the root's state has it then.
        """
        match message:
            case AIMessage() if message.tool_calls:
                if (begun := self._messages.get(message.id or "")) is not None:
                    yield from self._speech.end(begun)
                yield from self._called(message, write)
            case AIMessage() if surely:
                yield from self._spoken(message, path)
            case ToolMessage():
                yield from self._returned(message, write)

    def _called(self, message: AIMessage, write: Sequence[BaseMessage] = ()) -> Iterator[Entry]:
        for call in self._calls.new_calls(message, write):
            told = entry("tool_call", {"id": call["id"], "name": call["name"], "args": call["args"]})
            yield from self._speech.happen((told,), is_call=True)

    def _returned(self, message: ToolMessage, write: Sequence[BaseMessage] = ()) -> Iterator[Entry]:
        if not self._calls.is_new(message, write):
            return
        if message.name:
            self._tools_used[message.name] = None
        payload = {
            "id": message.tool_call_id,
            "name": message.name,
            "content": message.content,
            "status": message.status,
        }
        yield from self._speech.happen((entry("tool_result", payload),))

    def _spoken(self, message: AIMessage, path: tuple[str, ...]) -> Iterator[Entry]:
        """A message that counts, whole: told, or what is left of it."""
        message_id, text = message.id or "", str(message.text)
        if message_id in self._inner:
            return
        begun = self._messages.get(message_id)
        if begun is None:
            if message_id in self._told:
                return
            begun = self._same(text, path) or Message()
            if begun.waiting == [] and not begun.text:
                yield from self._thought(begun, message)
        begun.written = True
        if message_id:
            self._told.add(message_id)
        else:
            self._nameless = True
        said = begun.said()
        if text.startswith(said) and len(text) > len(said):
            yield from self._speech.piece(begun, text[len(said) :])
        yield from self._speech.count(begun)

    def _same(self, text: str, path: tuple[str, ...]) -> Message | None:
        """What a model has said in a node and the node has not written: if it writes its text anew, it writes that."""
        for message in self._messages.values():
            if message.written or message.silent or not text or message.said() != text:
                continue
            if message.apart or message.path[: len(path)] == path:
                return message
        return None

    def _interrupt(self, interrupts: Iterable[Interrupt]) -> Iterator[Entry]:
        self.interrupted = True
        yield from self._speech.flush()
        for interrupt in interrupts:
            if interrupt.id not in self.interrupts:
                self.interrupts[interrupt.id] = interrupt.value
                yield entry("interrupt", {"id": interrupt.id, "value": interrupt.value})


def _path(namespace: Namespace, node: str) -> tuple[str, ...]:
    return (*(task.partition(":")[0] for task in namespace), node)


def _is_root(namespace: Namespace) -> bool:
    return not namespace


def reasoning(message: AIMessage) -> str:
    """What a model thinks aloud, in a message or a piece of one."""
    if isinstance(kept := message.additional_kwargs.get("reasoning_content"), str):
        return kept
    content = message.content
    if isinstance(content, str) or all(isinstance(block, str) or block.get("type") == "text" for block in content):
        return ""
    return "".join(str(block.get("reasoning", "")) for block in message.content_blocks if block["type"] == "reasoning")


def _spoken_in(messages: Iterable[BaseMessage]) -> set[str]:
    return {message.id for message in messages if isinstance(message, AIMessage) and message.id}


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """Messages in a state or an update, whatever the channel is called; dicts and tuples only in `messages`."""
    if isinstance(value, BaseMessage):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name == "messages":
                yield from _as_messages(item)
            elif isinstance(item, BaseMessage | list | Overwrite):
                yield from messages_in(item)
    elif isinstance(value, Overwrite):
        yield from messages_in(value.value)
    elif isinstance(value, list):
        yield from (message for message in value if isinstance(message, BaseMessage))


def _as_messages(written: Any) -> Sequence[BaseMessage]:
    given = written.value if isinstance(written, Overwrite) else written
    given = given if isinstance(given, list) else [given]
    try:
        return convert_to_messages(given)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError):  # no messages, whatever their name
        return [message for message in given if isinstance(message, BaseMessage)]


def _custom(payload: Any) -> Entry:
    if isinstance(payload, Dispatched):
        return entry("custom", {"name": payload.name, "data": payload.data})
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
