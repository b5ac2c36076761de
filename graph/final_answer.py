"""Decodes the final_answer call out of a model's reply, so that the answer is text from its first token on.

A model that must call a tool answers with one more call, whose arguments arrive as fragments of JSON:

    model:    {"ans   wer": "10 +    10 = 20",   "tools_used": []}
                        │                │
    content:         "10 +"          " 10 = 20"      additional_kwargs["final_answer"] = {"tools_used": []}

`FinalAnswerDecoder` reads the arguments of one call, `_Reply` applies it to the chunks of one message, and
`FinalAnswerModel` wraps any chat model with it. What calls, clients and the history see is what was said, not JSON.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self, TypeGuard, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolCallChunk,
    message_chunk_to_message,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import BaseModel, model_validator

FINAL_ANSWER = "final_answer"
"""Name of the tool whose call ends a turn, and key of its other arguments in `additional_kwargs`."""

_ANSWER = "answer"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_SPACE = re.compile(r"[ \t\n\r]*")
_UNQUOTED = re.compile(r'[^"{}\[\],]*')
_QUOTED = re.compile(r'[^"\\]*')
_PLAIN = re.compile(r'[^"\\\ud800-\udfff]*')

_CALL_BLOCKS = frozenset(
    {"function_call", "tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "input_json_delta"}
)
# Merging two of the same value gives that value, so these may go on every piece that a chunk is split into.
_ROUTING_METADATA = ("model_provider", "output_version")

_Content = str | list[str | dict[str, Any]]


class FinalAnswerError(ValueError):
    """The arguments of a final_answer call are not a JSON object with a string under "answer"."""


class FinalAnswerDecoder:
    """Decodes the arguments of one final_answer call as they arrive.

    The work is linear in the length of the arguments, however they are split. Text is decoded as JSON is, control
    characters allowed; an unpaired surrogate becomes U+FFFD, so that the text can always be encoded as UTF-8.
    Where a key is given twice, the first counts, as it has been streamed already.
    """

    def __init__(self) -> None:
        self._fragments: list[str] = []
        self._read: Callable[[str, int, list[str]], int] = self._object
        self._name: list[str] = []
        self._found = False
        self._in_string = False
        self._escaped = False
        self._depth = 0
        self._escape = ""
        self._high: int | None = None

    def feed(self, fragment: str) -> str:
        """Take the next fragment of the arguments.

        Args:
            fragment: JSON text, split anywhere.

        Returns:
            The text that it adds to the answer; may be empty.
        """
        self._fragments.append(fragment)
        out: list[str] = []
        at = 0
        while at < len(fragment):
            at = self._read(fragment, at, out)
        return "".join(out)

    def finish(self) -> dict[str, Any]:
        """Return the call's other arguments.

        Raises:
            FinalAnswerError: If the JSON is incomplete or invalid, or has no string under "answer".
        """
        try:
            arguments = json.loads("".join(self._fragments), strict=False, object_pairs_hook=_first_of_each)
            return _split(arguments)[1]
        except FinalAnswerError:
            raise
        except (ValueError, RecursionError) as error:
            raise FinalAnswerError(f"the arguments are not valid JSON: {error}") from error

    # Each reader below takes what it can from `text` at `at`, which is not its end, and returns where it stopped.

    def _object(self, text: str, at: int, out: list[str]) -> int:
        return self._expect("{", self._member, text, at)

    def _member(self, text: str, at: int, out: list[str]) -> int:
        self._name = []
        self._in_string = True
        return self._expect('"', self._member_name, text, at)

    def _member_name(self, text: str, at: int, out: list[str]) -> int:
        end = self._string(text, at)
        self._name.append(text[at:end])
        if not self._in_string:
            self._read = self._colon
        return end

    def _colon(self, text: str, at: int, out: list[str]) -> int:
        return self._expect(":", self._value, text, at)

    def _value(self, text: str, at: int, out: list[str]) -> int:
        at = _after(_SPACE, text, at)
        if at == len(text):
            return at
        self._read = self._other
        if not self._found and _is_answer(self._name):
            self._found = True
            if text[at] == '"':
                self._read = self._answer
                return at + 1
        return at

    def _other(self, text: str, at: int, out: list[str]) -> int:
        if self._in_string:
            return self._string(text, at)
        at = _after(_UNQUOTED, text, at)
        if at == len(text):
            return at
        match text[at]:
            case '"':
                self._in_string = True
            case "{" | "[":
                self._depth += 1
            case ",":
                self._read = self._other if self._depth else self._member
            case _ if self._depth:
                self._depth -= 1
            case _:
                self._read = self._rest
        return at + 1

    def _answer(self, text: str, at: int, out: list[str]) -> int:
        if self._escape:
            return self._continue_escape(text, at, out)
        end = _after(_PLAIN, text, at)
        if end > at:
            self._end_pair(out)
            out.append(text[at:end])
        if end == len(text):
            return end
        match text[end]:
            case '"':
                self._end_pair(out)
                self._read = self._other
            case "\\":
                self._escape = "\\"
            case surrogate:
                self._unit(ord(surrogate), out)
        return end + 1

    def _rest(self, text: str, at: int, out: list[str]) -> int:
        return len(text)

    def _expect(self, char: str, then: Callable[[str, int, list[str]], int], text: str, at: int) -> int:
        at = _after(_SPACE, text, at)
        if at < len(text):
            self._read = then if text[at] == char else self._rest
            at += 1
        return at

    def _string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        at = _after(_QUOTED, text, at)
        if at == len(text):
            return at
        if text[at] == "\\":
            self._escaped = True
        else:
            self._in_string = False
        return at + 1

    def _continue_escape(self, text: str, at: int, out: list[str]) -> int:
        self._escape += text[at]
        if self._escape.startswith("\\u") and len(self._escape) < 6:
            return at + 1
        escape, self._escape = self._escape[1:], ""
        if escape in _ESCAPES:
            self._unit(ord(_ESCAPES[escape]), out)
        elif _HEX.fullmatch(escape, 1):
            self._unit(int(escape[1:], 16), out)
        else:
            self._read = self._rest
        return at + 1

    def _unit(self, unit: int, out: list[str]) -> None:
        """Add one UTF-16 code unit: the halves of a pair may come as escapes or, from some servers, as they are."""
        if self._high is not None and 0xDC00 <= unit <= 0xDFFF:
            out.append(chr(0x10000 + ((self._high - 0xD800) << 10) + (unit - 0xDC00)))
            self._high = None
            return
        self._end_pair(out)
        if 0xD800 <= unit <= 0xDBFF:
            self._high = unit
        else:
            out.append(_REPLACEMENT if 0xDC00 <= unit <= 0xDFFF else chr(unit))

    def _end_pair(self, out: list[str]) -> None:
        if self._high is not None:
            out.append(_REPLACEMENT)
            self._high = None


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where the run of a pattern's characters ends; every pattern here matches the empty run."""
    return cast("re.Match[str]", pattern.match(text, at)).end()


def _is_answer(name: list[str]) -> bool:
    try:
        return bool(json.loads('"' + "".join(name), strict=False) == _ANSWER)
    except ValueError:
        return False


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    first: dict[str, Any] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    return first


def _split(arguments: object) -> tuple[str, dict[str, Any]]:
    """Split parsed arguments into the answer and the others."""
    if not isinstance(arguments, dict):
        raise FinalAnswerError(f"the arguments are not a JSON object but {type(arguments).__name__}")
    others = {key: value for key, value in arguments.items() if key != _ANSWER}
    answer = arguments.get(_ANSWER)
    if not isinstance(answer, str):
        raise FinalAnswerError(f'the arguments have no string under "{_ANSWER}"')
    return _well_formed(answer), cast("dict[str, Any]", _well_formed(others))


def _well_formed(value: Any) -> Any:
    """Replace unpaired surrogates, which JSON can hold and UTF-8 cannot, in every string of a JSON value."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return value
        case dict():
            return {_well_formed(key): _well_formed(item) for key, item in value.items()}
        case list():
            return [_well_formed(item) for item in value]
        case _:
            return value


def _outcome(finish: Callable[[], dict[str, Any]], *, answered: bool) -> dict[str, Any]:
    """Return what goes under `additional_kwargs["final_answer"]`: the other arguments, or why there are none."""
    try:
        return finish()
    except FinalAnswerError as error:
        return {"truncated": True} if answered else {"error": str(error)}


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


class _Reply:
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
            outcome = _outcome(self._decoder.finish, answered=self._answered)
            yield _changed(
                last,
                additional_kwargs={**last.message.additional_kwargs, FINAL_ANSWER: outcome},
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


def _as_chunk(generation: ChatGeneration, llm_output: dict[str, Any] | None = None) -> ChatGenerationChunk:
    """Return a whole reply as the one chunk of its stream."""
    message = generation.message
    metadata = {**(llm_output or {}), **message.response_metadata}
    fields = dict(message) | {"type": "AIMessageChunk", "response_metadata": metadata, "chunk_position": "last"}
    return ChatGenerationChunk(message=AIMessageChunk(**fields), generation_info=generation.generation_info)


def _settled(generation: ChatGeneration, *, hold_text: bool) -> ChatGeneration:
    """Return a whole reply as the chunks of `_Reply` would have added up."""
    message = generation.message
    if not isinstance(message, AIMessage):
        return generation
    names = [call["name"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    if FINAL_ANSWER not in names:
        return generation
    reply = _Reply(hold_text=hold_text)
    first, *more = (chunk.message for chunk in [*reply.feed(_as_chunk(generation)), *reply.finish()])
    whole = message_chunk_to_message(sum(more, first))
    others_pass = names[0] != FINAL_ANSWER
    # The calls that pass stay as they were parsed.
    calls = [call for call in message.tool_calls if others_pass and call["name"] != FINAL_ANSWER]
    invalid = [call for call in message.invalid_tool_calls if others_pass and call["name"] != FINAL_ANSWER]
    return ChatGeneration(
        message=whole.model_copy(update={"tool_calls": calls, "invalid_tool_calls": invalid}),
        generation_info=generation.generation_info,
    )


async def _ones(chunk: ChatGenerationChunk) -> AsyncGenerator[ChatGenerationChunk, None]:
    yield chunk


def _overrides(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)


class FinalAnswerModel(BaseChatModel):
    """Any chat model, with the answer that it gives by calling final_answer as the text of its message.

    A message with a dict under `additional_kwargs["final_answer"]` is a final answer. The dict holds the call's other
    arguments; or `{"truncated": True}` if the call broke off after some of the answer, which then stands; or
    `{"error": "<why>"}` if there was none to be read. Such a message has no tool calls.

    Cache, callbacks, tags, metadata, rate limiter, profile and the like are those of `inner`.

    Args:
        inner: The model that is called.
        tools_bound: Whether tools were bound by `bind_tools`, under whatever name that passes them.
    """

    inner: BaseChatModel
    tools_bound: bool = False
    streaming: bool = False
    """Set only where `inner` sets it: the base class asks whether it is."""

    @model_validator(mode="after")
    def _take_after_inner(self) -> Self:
        for name in (
            "name",
            "cache",
            "verbose",
            "callbacks",
            "tags",
            "metadata",
            "custom_get_token_ids",
            "rate_limiter",
            "disable_streaming",
            "output_version",
            "profile",
        ):
            setattr(self, name, getattr(self.inner, name))
        if "streaming" in self.inner.model_fields_set:
            self.streaming = bool(getattr(self.inner, "streaming", False))
        return self

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools as `inner` does.

        Raises:
            TypeError: If `inner.bind_tools` gives something else than a chat model with arguments bound.
        """
        bound = self.inner.bind_tools(tools, tool_choice=tool_choice, **kwargs)
        return self._around(bound, tools_bound=bool(tools))

    def _around(
        self, bound: Runnable[LanguageModelInput, AIMessage], *, tools_bound: bool
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if isinstance(bound, RunnableBinding):
            again = self._around(bound.bound, tools_bound=tools_bound)
            return again.bind(**bound.kwargs).with_config(bound.config)
        if isinstance(bound, BaseChatModel):
            return self.model_copy(update={"inner": bound, "tools_bound": tools_bound})
        raise TypeError(f"{type(self.inner).__name__}.bind_tools gave a {type(bound).__name__}, not a chat model")

    def with_structured_output(
        self, schema: dict[str, Any] | type, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Structured output is `inner`'s: there is no final answer in it."""
        return self.inner.with_structured_output(schema, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Count tokens as `inner` does."""
        return self.inner.get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Count tokens as `inner` does."""
        return self.inner.get_num_tokens_from_messages(messages, tools)

    # The run manager is never handed on to `inner`: callbacks would get the fragments as the model sends them.

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.inner._generate(messages, stop=stop, **kwargs), kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self.inner._agenerate(messages, stop=stop, **kwargs), kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = _Reply(hold_text=self._has_tools(kwargs))
        if _overrides(self.inner, "_stream"):
            chunks = self.inner._stream(messages, stop=stop, **kwargs)
        else:
            result = self.inner._generate(messages, stop=stop, **kwargs)
            chunks = iter([_as_chunk(result.generations[0], result.llm_output)])
        for chunk in chain(chain.from_iterable(map(reply.feed, chunks)), reply.finish()):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._adecoded(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _adecoded(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        reply = _Reply(hold_text=self._has_tools(kwargs))
        if _overrides(self.inner, "_astream") or _overrides(self.inner, "_stream"):
            chunks = self.inner._astream(messages, stop=stop, **kwargs)
        else:
            result = await self.inner._agenerate(messages, stop=stop, **kwargs)
            chunks = _ones(_as_chunk(result.generations[0], result.llm_output))
        try:
            async for chunk in chunks:
                for out in reply.feed(chunk):
                    yield out
            for out in reply.finish():
                yield out
        finally:
            # Only this closes the connection at once when the stream is not read to its end.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _result(self, result: ChatResult, kwargs: dict[str, Any]) -> ChatResult:
        hold_text = self._has_tools(kwargs)
        generations = [_settled(generation, hold_text=hold_text) for generation in result.generations]
        return ChatResult(generations=generations, llm_output=result.llm_output)

    def _has_tools(self, kwargs: dict[str, Any]) -> bool:
        return self.tools_bound or bool(kwargs.get("tools"))

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return self.inner._identifying_params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.inner._get_ls_params(stop, **kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # What `inner` itself has put into a shared cache is not decoded.
        return f"{FINAL_ANSWER}:{self.inner._get_llm_string(stop, **kwargs)}"

    @property
    def _serialized(self) -> dict[str, Any]:
        # There is no public way to choose the name that traces and events show.
        return self.inner._serialized
