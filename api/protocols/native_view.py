"""A run of the LangGraph API as readers of the native API see it, as far as its stream modes allow.

    metadata, messages, updates, values, custom, error, end ──feed──> NativeFold ──> run, tool_call, token, answer, ...

Tokens come from `messages-tuple` or `messages`; tool calls from `updates`, else `values`, else the messages; the answer
from all of these. A run that has none of the four modes has no native view.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks, add_usage
from langgraph.types import Interrupt
from pydantic import ValidationError

from api.errors import ConflictError
from api.events import END, Entry, Event, entry
from api.protocols.native import NativeFold, messages_in
from api.schemas import Run
from api.serde import loads

MODES = ("messages-tuple", "messages", "updates", "values")
"""Stream modes that a native view can be made of."""

_INTERRUPT = "__interrupt__"
_CLASSES: dict[str, type[BaseMessage]] = {"ai": AIMessage, "AIMessageChunk": AIMessageChunk, "tool": ToolMessage}
"""The messages that the fold looks at, by their `type`."""


class NativeView:
    """Folds the log of a run of the LangGraph API, from its first event on.

    Args:
        run: the run.

    Raises:
        ConflictError: its stream modes tell neither messages nor values.
    """

    def __init__(self, run: Run) -> None:
        modes = run.kwargs["stream_mode"]
        if not set(modes) & set(MODES):
            raise ConflictError(
                f"This run streams {', '.join(modes)}; its native stream needs one of {', '.join(MODES)}.",
                field="run_id",
            )
        self._run = run
        self._modes = frozenset(modes)
        self._begin()

    def _begin(self) -> None:
        """An attempt begins with nothing of the one before it."""
        self._inner: set[str] = set()
        resuming = bool((self._run.kwargs.get("command") or {}).get("resume") is not None)
        self._fold = NativeFold(self._inner, resuming=resuming)
        self._open: dict[str, list[AIMessage]] = {}
        """Messages that are coming, in pieces, by id; whole when others follow."""
        self._seen: set[str] | None = None
        """Ids of messages in the values so far."""
        self._last: AIMessage | None = None
        self._usage: UsageMetadata | None = None
        self._failure: str | None = None

    def feed(self, event: Event) -> Iterator[Entry]:
        """What one event of the log becomes; nothing for what the native API does not show, as subgraphs' events."""
        if "|" in event.kind:
            return
        payload = loads(event.data)
        match event.kind:
            case "metadata":
                self._begin()
                yield from self._fold.begin(replace(self._run, attempt=payload["attempt"]))
            case "messages":
                yield from self._chunk(_revived(payload[0]))
            case "messages/partial":
                yield from self._partial(_revived(payload[0]))
            case "messages/complete":
                yield from self._chunk(_revived(payload[0]))
            case "updates":
                yield from self._update(payload)
            case "values":
                yield from self._values(payload)
            case "custom":
                yield from self._fold.feed("custom", payload)
            case "error":
                self._failure = payload["message"]
            case kind if kind == END:
                yield from self._end(payload["status"])
                yield Entry(END, event.data)

    def _chunk(self, message: Any) -> Iterator[Entry]:
        """A piece of a message, or a whole one that did not stream."""
        match message:
            case AIMessage():
                yield from self._piece(message)
            case ToolMessage():
                yield from self._close()
                yield from self._whole(message, of="messages")

    def _partial(self, whole: Any) -> Iterator[Entry]:
        """All of a message so far: what it has more than the last time is its new piece."""
        if not isinstance(whole, AIMessage):
            return
        message_id = whole.id or ""
        told = sum(len(str(message.text)) for message in self._open.get(message_id, ()))
        piece = whole if whole.tool_calls else AIMessageChunk(content=str(whole.text)[told:], id=whole.id)
        yield from self._piece(piece)
        if message_id in self._open:
            self._open[message_id] = [whole]

    def _piece(self, piece: AIMessage) -> Iterator[Entry]:
        message_id = piece.id or ""
        if message_id not in self._open:
            yield from self._close()
            if self._fold.tools_run:
                self._inner.add(message_id)
        if message_id in self._inner:
            return
        self._open.setdefault(message_id, []).append(piece)
        yield from self._fold.feed("messages", (piece, {}))

    def _close(self) -> Iterator[Entry]:
        """The messages that were coming are whole."""
        messages, self._open = self._open, {}
        for pieces in messages.values():
            chunks = [piece for piece in pieces if isinstance(piece, AIMessageChunk)]
            whole = message_chunk_to_message(add_ai_message_chunks(*chunks)) if chunks else pieces[-1]
            yield from self._whole(whole, of="messages")

    def _whole(self, message: BaseMessage, *, of: str) -> Iterator[Entry]:
        """A whole message; of the sources that tell it, the best one counts."""
        best = next((mode for mode in ("updates", "values") if mode in self._modes), "messages")
        if of != best:
            return
        if isinstance(message, AIMessage):
            if message.usage_metadata:
                self._usage = add_usage(self._usage, message.usage_metadata)
            if not message.tool_calls:
                self._last = message
        yield from self._fold.feed("updates", {of: {"messages": [message]}})

    def _update(self, payload: Any) -> Iterator[Entry]:
        if not isinstance(payload, Mapping):
            return
        for node, written in payload.items():
            if node == _INTERRUPT:
                yield from self._interrupted(written)
                continue
            for value in written if isinstance(written, list) else (written,):
                revived = _revived(value)
                yield from self._final(revived)
                for message in self._counting(revived):
                    yield from self._whole(message, of="updates")

    def _values(self, payload: Any) -> Iterator[Entry]:
        if not isinstance(payload, Mapping):
            yield from self._fold.feed("values", payload)  # a Runnable's output
            return
        revived = _revived(payload)
        yield from self._fold.feed("values", revived)
        messages = list(messages_in(revived))
        if self._seen is not None:
            if "updates" not in self._modes:
                yield from self._final(revived)
            for message in self._counting(revived):
                if (message.id or "") not in self._seen:
                    yield from self._whole(message, of="values")
        self._seen = {message.id or "" for message in messages}
        if payload.get(_INTERRUPT) is not None and "updates" not in self._modes:
            yield from self._interrupted(payload[_INTERRUPT])

    def _counting(self, written: Any) -> Iterator[BaseMessage]:
        """What is told of it: of words that are noted beside the conversation, none."""
        for part, counts in self._fold.parts(written):
            for message in messages_in(part):
                if counts or not isinstance(message, AIMessage) or message.tool_calls:
                    yield message

    def _final(self, values: Any) -> Iterator[Entry]:
        if isinstance(values, Mapping):
            named = {name: values[name] for name in ("final_answer", "answer") if name in values}
            yield from self._fold.feed("updates", {"": named})

    def _interrupted(self, interrupts: Any) -> Iterator[Entry]:
        new = [each for each in interrupts if each["id"] not in self._fold.interrupts]
        revived = [Interrupt(value=each["value"], id=each["id"]) for each in new]
        yield from self._fold.feed("updates", {_INTERRUPT: revived})

    def _end(self, status: str) -> Iterator[Entry]:
        yield from self._close()
        if status == "success":
            if self._fold.values is None and self._last is not None:
                self._fold.values = {"messages": [self._last]}
            yield from self._fold.finish(self._usage)
            return
        yield from self._fold.flush()
        if self._failure is not None:
            # Of a graph that ran out of its own time, the error has the same name.
            code = "timeout" if status == "timeout" else "graph_error"
            yield entry("error", {"code": code, "message": self._failure})
        elif status == "interrupted":
            yield entry("error", {"code": "cancelled", "message": "The run was cancelled."})


def _revived(value: Any) -> Any:
    """JSON of a state or an update with its messages as objects."""
    match value:
        case {"type": str(kind), "content": _} if kind in _CLASSES:
            try:
                return _CLASSES[kind].model_validate(value)
            except ValidationError:
                return value
        case dict():
            return {name: _revived(item) for name, item in value.items()}
        case list():
            return [_revived(item) for item in value]
    return value
