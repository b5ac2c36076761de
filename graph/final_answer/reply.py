"""What of one message is text, what passes and what is held back, decided while its chunks arrive.

    chunks ──> which call comes first?
                 none yet         text is held: an answer, or a preamble that an answer would replace
                 final_answer     its answer is the text; of the rest only reasoning, usage and metadata pass
                 another          the text that was held, then everything but final_answer

Decoding the whole message would be shorter, but then nothing of an answer could be sent on before its end. Servers also
differ in how they number and name the fragments of calls, and here is the one place that knows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk, message_chunk_to_message
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from .decoder import FINAL_ANSWER, FinalAnswerDecoder, outcome

_CALL_BLOCKS = frozenset(
    {"function_call", "tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "input_json_delta"}
)
# Merging two of the same value gives that value, so these may go on every piece that a chunk is split into.
_ROUTING_METADATA = ("model_provider", "output_version")

_Content = str | list[str | dict[str, Any]]


def _introduced(kept: ChatGenerationChunk, preamble: list[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
    """Yield the chunk that begins a call and the preamble, with blocks of content in the order of the whole reply."""
    content = kept.message.content
    if not preamble or not isinstance(content, list):
        yield kept
        yield from preamble
        return
    yield _changed(kept, content=[])
    yield from preamble
    yield _changed(kept, tool_call_chunks=[])


@dataclass
class _Call:
    """A tool call of a message. Until its name has come, its arguments are kept back."""

    index: int | None
    id: str | None
    name: str | None = None
    kept_back: str = ""

    @property
    def is_final_answer(self) -> bool:
        return self.name == FINAL_ANSWER

    def is_continued_by(self, part: ToolCallChunk) -> bool:
        """Tell whether a fragment belongs to this call, the latest of those that it may belong to."""
        id_, index = part.get("id"), part.get("index")
        if index is not None:
            # Some servers give every parallel call index 0, others give every fragment an id of its own.
            begins = bool(part.get("name") and id_ and self.id and id_ != self.id)
            return index == self.index and not begins
        return id_ == self.id if id_ else not (self.name and part.get("name"))

    def owns(self, block: dict[str, Any]) -> bool:
        """Tell whether a content block is this call's."""
        if self.index is not None and block.get("index") == self.index:
            return True
        return self.id is not None and self.id in (block.get("id"), block.get("call_id"))


class Reply:
    """One message on its way: decides what of it is text, what passes and what is dropped.

    The first call decides. If it is final_answer, its answer is the message's text, and of the rest only reasoning,
    other content, usage and metadata pass. If it is another call, everything passes but final_answer. While no call
    has come, text may be the answer or a preamble that a final_answer call replaces, so it is held.

    Args:
        hold_text: Whether text waits until it is known what it is. It need not where no tool can be called.
    """

    def __init__(self, *, hold_text: bool) -> None:
        self._hold_text = hold_text
        self._calls: list[_Call] = []
        self._deciding: _Call | None = None
        self._decoder = FinalAnswerDecoder()
        self._answered = False
        self._held: list[ChatGenerationChunk] = []
        self._last: ChatGenerationChunk | None = None
        self._metadata: dict[str, Any] = {}
        self._id: str | None = None
        self._empty: _Content = ""

    def feed(self, chunk: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """Take the next chunk of the model's; yield what to send on now."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk):
            yield chunk
            return
        self._id = message.id or self._id
        self._empty = [] if isinstance(message.content, list) else self._empty
        if self._last is not None:
            yield _changed(self._last, chunk_position=None)
            self._last = None
        undecided = self._deciding is None
        passed, answer = self._sort(message.tool_call_chunks)
        # Behind the chunk that begins a call, so that a reader knows by then that this text is no answer.
        preamble: list[ChatGenerationChunk] = []
        if undecided and self._deciding is not None:
            held, self._held = self._held, []
            preamble = [] if self._answering else held
        kept = self._kept(chunk, message, passed, answer)
        if kept is not None and message.chunk_position == "last":
            self._last = kept
            yield from preamble
        elif kept is not None:
            self._metadata.update(message.response_metadata)
            yield from _introduced(kept, preamble)

    def finish(self) -> Iterator[ChatGenerationChunk]:
        """Yield what is left when the model has ended the message."""
        yield from self._held
        last = self._last
        if self._answering:
            last = last or self._piece(self._empty)
            others = outcome(self._decoder.finish, answered=self._answered)
            yield _changed(
                last,
                additional_kwargs={**last.message.additional_kwargs, FINAL_ANSWER: others},
                chunk_position="last",
            )
            return
        if nameless := [call for call in self._calls if not call.name]:
            parts = [tool_call_chunk(args=call.kept_back, id=call.id, index=call.index) for call in nameless]
            yield _changed(self._piece(self._empty), tool_call_chunks=parts)
        if last is not None:
            yield last

    @property
    def _answering(self) -> bool:
        return self._deciding is not None and self._deciding.is_final_answer

    @property
    def _holding(self) -> bool:
        return self._hold_text and self._deciding is None

    def _sort(self, parts: list[ToolCallChunk]) -> tuple[list[ToolCallChunk], str]:
        """Split the fragments of calls into those that pass and the text of the answer; the rest is dropped."""
        passed: list[ToolCallChunk] = []
        answer = ""
        for part in parts:
            call = self._call_of(part)
            if (named := _named(call, part)) is None:
                continue
            if self._deciding is None:
                self._deciding = call
            if self._answering and call is self._deciding:
                answer += self._decoder.feed(named["args"] or "")
            elif not self._answering and not call.is_final_answer:
                passed.append(named)
        self._answered = self._answered or bool(answer)
        return passed, answer

    def _call_of(self, part: ToolCallChunk) -> _Call:
        for call in reversed(self._calls):
            if call.is_continued_by(part):
                call.id = call.id or part.get("id")
                return call
        call = _Call(index=part.get("index"), id=part.get("id"))
        self._calls.append(call)
        return call

    def _kept(
        self, chunk: ChatGenerationChunk, message: AIMessageChunk, passed: list[ToolCallChunk], answer: str
    ) -> ChatGenerationChunk | None:
        """Return the chunk as it is to be sent on, or None if nothing of it is."""
        content = cast("_Content", message.content)
        if self._holding and (text := _only_text(content)):
            metadata = {key: message.response_metadata.get(key) for key in _ROUTING_METADATA}
            self._held.append(self._piece(text, {key: value for key, value in metadata.items() if value}))
        kept = self._content(content, answer)
        if kept == content and passed == message.tool_call_chunks:
            return chunk
        changed = _changed(chunk, content=kept, tool_call_chunks=passed)
        return changed if self._carries_anything(changed) else None

    def _content(self, content: _Content, answer: str) -> _Content:
        if isinstance(content, str):
            return (content if self._keeps_text else "") + answer
        kept = [block for block in content if self._keeps(block)]
        if answer and self._deciding is not None:
            # Blocks of one index are merged; blocks without one stay apart.
            index = "lc_final_answer" if self._deciding.index is None else self._deciding.index
            kept.append({"type": "text", "text": answer, "index": index})
        return kept

    @property
    def _keeps_text(self) -> bool:
        return not self._hold_text or not (self._holding or self._answering)

    def _keeps(self, block: str | dict[str, Any]) -> bool:
        if _is_text(block):
            return self._keeps_text
        if not _is_call(block):
            return True
        return not self._answering and not any(call.is_final_answer and call.owns(block) for call in self._calls)

    def _carries_anything(self, chunk: ChatGenerationChunk) -> bool:
        message = cast("AIMessageChunk", chunk.message)
        return bool(
            message.content
            or message.tool_call_chunks
            or message.additional_kwargs
            or message.usage_metadata
            or message.chunk_position
            or chunk.generation_info
            or any(self._metadata.get(key) != value for key, value in message.response_metadata.items())
        )

    def _piece(self, content: _Content, metadata: dict[str, Any] | None = None) -> ChatGenerationChunk:
        message = AIMessageChunk(content=content, id=self._id, response_metadata=metadata or {})
        return ChatGenerationChunk(message=message)


def _named(call: _Call, part: ToolCallChunk) -> ToolCallChunk | None:
    """Return the fragment with what was kept back for the call's name, or None if that has not come yet."""
    args = part["args"] or ""
    if call.name:
        return part
    if not part["name"]:
        call.kept_back += args
        return None
    call.name = part["name"]
    return cast("ToolCallChunk", {**part, "id": call.id, "args": call.kept_back + args}) if call.kept_back else part


def _changed(chunk: ChatGenerationChunk, **changes: Any) -> ChatGenerationChunk:
    """Return a chunk with some fields changed, and the parsed calls as its fragments of calls have them."""
    message = cast("AIMessageChunk", chunk.message)
    parsed: dict[str, Any] = {"tool_calls": [], "invalid_tool_calls": []}
    if changes.get("tool_call_chunks", message.tool_call_chunks):
        message = AIMessageChunk(**{**dict(message), **parsed, **changes})
    else:
        # Copying takes a fifth of the time, and this is done for every token of an answer.
        message = message.model_copy(update=parsed | changes)
    return ChatGenerationChunk(message=message, generation_info=chunk.generation_info)


def _is_text(block: str | dict[str, Any]) -> bool:
    return isinstance(block, str) or block.get("type") == "text"


def _is_call(block: str | dict[str, Any]) -> TypeGuard[dict[str, Any]]:
    return isinstance(block, dict) and block.get("type") in _CALL_BLOCKS


def _only_text(content: _Content) -> _Content:
    return content if isinstance(content, str) else [block for block in content if _is_text(block)]


def as_chunk(generation: ChatGeneration, llm_output: dict[str, Any] | None = None) -> ChatGenerationChunk:
    """Return a whole reply as the one chunk of its stream."""
    message = generation.message
    metadata = {**(llm_output or {}), **message.response_metadata}
    fields = dict(message) | {"type": "AIMessageChunk", "response_metadata": metadata, "chunk_position": "last"}
    return ChatGenerationChunk(message=AIMessageChunk(**fields), generation_info=generation.generation_info)


def settled(generation: ChatGeneration, *, hold_text: bool) -> ChatGeneration:
    """Return a whole reply as the chunks of `Reply` would have added up."""
    message = generation.message
    if not isinstance(message, AIMessage):
        return generation
    names = [call["name"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if FINAL_ANSWER not in names:
        return generation
    reply = Reply(hold_text=hold_text)
    first, *more = (chunk.message for chunk in [*reply.feed(as_chunk(generation)), *reply.finish()])
    whole = message_chunk_to_message(sum(more, first))
    others_pass = names[0] != FINAL_ANSWER
    # The calls that pass stay as they were parsed.
    calls = [call for call in message.tool_calls if others_pass and call["name"] != FINAL_ANSWER]
    invalid = [call for call in message.invalid_tool_calls if others_pass and call["name"] != FINAL_ANSWER]
    return ChatGeneration(
        message=whole.model_copy(update={"tool_calls": calls, "invalid_tool_calls": invalid}),
        generation_info=generation.generation_info,
    )
