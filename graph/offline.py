"""The chat model that needs no key: it does arithmetic with the tools that it is given, and says so of all else.

    last human message ──> expression.read ──> plan
                                                 │
    results of this turn's calls ──> _Work <─────┘
                                       │
                                       ├─ steps whose operands are known: call their tools, all in one reply
                                       └─ none left: final_answer, or text where it is not bound

It holds nothing from one call to the next and computes nothing itself: what a tool returned is read from the messages.
Without tools it replies in text: it quotes the sentences of a given context that are nearest to the question, sorts the
pieces of a text into a JSON object if JSON is asked for, and else says what it is.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from .expression import LONGEST, Number, Problem, Reading, Step, digits, in_words, read, tokens
from .final_answer import FINAL_ANSWER

_NAME = "offline"
_ABOUT = "This is Threadline's offline model. All it can do is arithmetic, by calling tools"
_EXAMPLE = 'ask it "What is (3 + 4) * 5?", for example'
_REAL_MODEL = "Set OPENAI_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server, to use a real model."
_NOT_COMPUTED = "cannot be computed"
_NOT_IN_CONTEXT = "The context does not say."

_PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]{1,3}|\s+")
_NUMBER = r"[-−]?\d[\d,]{0,320}(?:\.\d{1,320})?(?:[eE][-+]?\d{1,3})?"
_QUOTED = re.compile(r'"[^"\n]*"')
_STATED = re.compile(rf"(?:\b(?:is|are|equals):?|=)\s*[*`]*({_NUMBER})(?![\w%])")
_CONTEXT = re.compile(r"^[ \t]*context:[ \t]*", re.IGNORECASE | re.MULTILINE)
_ANNOUNCED = re.compile(r"\b(?:context|passages|documents|sources)\b", re.IGNORECASE)
_QUESTION = re.compile(r"^[ \t]*question:[ \t]*", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_COMMON_WORDS = frozenset({"the", "and", "for", "does", "what", "how", "are", "can", "that", "this", "with", "from"})


@dataclass(frozen=True)
class _Reply:
    """What the model says: text, or calls as (tool, arguments)."""

    text: str = ""
    calls: Sequence[tuple[str, dict[str, Any]]] = ()


class OfflineChatModel(BaseChatModel):
    """A chat model that plans arithmetic and streams as OpenAI's models do.

    Usage is an estimate: a token is up to eight letters or digits, or up to three other characters, with the space
    before them.

    Args:
        delay: Seconds between two chunks, to slow a demonstration down.
        streaming: Whether callbacks get its tokens under `invoke` too; where it is not set, if one of them asks.
    """

    delay: float = Field(default=0.0, ge=0.0)
    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return _NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": _NAME}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "threadline"
        params["ls_model_name"] = _NAME
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind the tools that may be called.

        Args:
            tools: Anything that LangChain takes for a tool.
            tool_choice: "any", "required" or True to demand a call, "auto", False or None to leave it open, "none" to
                forbid calls, or the one tool that may be called, as its name or in OpenAI's form.
            **kwargs: Bound as they are.

        Raises:
            ValueError: If the chosen tool is not among the tools.
        """
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        if choice := _choice(tool_choice, [_tool_name(tool) for tool in formatted]):
            kwargs["tool_choice"] = choice
        return self.bind(tools=formatted, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, _reply(messages, stop, kwargs)):
            yield chunk
            if self.delay:
                time.sleep(self.delay)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, _reply(messages, stop, kwargs)):
            yield chunk
            await asyncio.sleep(self.delay)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))


def _choice(chosen: str | dict[str, Any] | bool | None, names: Collection[str]) -> str | dict[str, Any] | None:
    if chosen is True or chosen == "any":
        return "required"
    if chosen is False or chosen in (None, "", "required", "auto", "none"):
        return chosen or None
    choice = {"type": "function", "function": {"name": chosen}} if isinstance(chosen, str) else chosen
    if (name := _tool_name(choice)) not in names:
        raise ValueError(f"tool_choice names {name!r}, which is not one of the tools: {', '.join(names) or 'none'}")
    return choice


def _tool_name(tool: dict[str, Any]) -> str:
    """Return the name in OpenAI's form of a tool, or of the choice of one."""
    return str(tool.get("function", tool).get("name"))


def _chunks(messages: Sequence[BaseMessage], reply: _Reply) -> Iterator[ChatGenerationChunk]:
    said = 0
    yield ChatGenerationChunk(message=AIMessageChunk(content=""))
    for piece in _PIECE.findall(reply.text):
        said += 1
        yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
    for index, (name, args) in enumerate(reply.calls):
        opening = tool_call_chunk(name=name, args="", id=f"call_{uuid4().hex}", index=index)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[opening]))
        for piece in _PIECE.findall(json.dumps(args, ensure_ascii=False)):
            said += 1
            fragment = tool_call_chunk(args=piece, index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[fragment]))
    heard = sum(_count(message) for message in messages)
    last = AIMessageChunk(
        content="",
        response_metadata={"finish_reason": "tool_calls" if reply.calls else "stop", "model_name": _NAME},
        usage_metadata=UsageMetadata(input_tokens=heard, output_tokens=said, total_tokens=heard + said),
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)


def _count(message: BaseMessage) -> int:
    said: list[str] = [message.text]
    if isinstance(message, AIMessage):
        said += [json.dumps(call["args"], ensure_ascii=False) for call in message.tool_calls]
    return sum(len(_PIECE.findall(text)) for text in said)


def _reply(messages: Sequence[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> _Reply:
    bound = {_tool_name(tool) for tool in options.get("tools") or ()}
    choice = options.get("tool_choice")
    allowed = bound
    if isinstance(choice, dict):
        allowed = {_tool_name(choice)}
    elif choice == "none":
        allowed = set()
    if bound:
        reply = _arithmetic(messages, bound, allowed)
    else:
        asks_json = str((options.get("response_format") or {}).get("type", "")).startswith("json")
        reply = _Reply(_in_text(messages, asks_json=asks_json))
    ends = [at for end in stop or () if end and (at := reply.text.find(end)) >= 0]
    return _Reply(reply.text[: min(ends)]) if ends else reply


def _arithmetic(messages: Sequence[BaseMessage], bound: Collection[str], allowed: Collection[str]) -> _Reply:
    asked, before, turn = _last_turn(messages)
    work = _Work(read(asked, _earlier_result(before)), _Calls(turn), bound)
    if calls := [(tool, {"x": x, "y": y}) for tool, x, y in work.ready if tool in allowed]:
        return _Reply(calls=calls)
    if FINAL_ANSWER in allowed:
        return _Reply(calls=[(FINAL_ANSWER, {"answer": work.answer(), "tools_used": work.calls.used})])
    return _Reply(work.answer())


def _last_turn(messages: Sequence[BaseMessage]) -> tuple[str, Sequence[BaseMessage], Sequence[BaseMessage]]:
    """Return the last question, the messages before it, and those after it."""
    for at in reversed(range(len(messages))):
        if isinstance(messages[at], HumanMessage):
            return messages[at].text, messages[:at], messages[at + 1 :]
    return "", (), messages


@dataclass(frozen=True)
class _Failure:
    reason: str


_Call = tuple[str, Number, Number]


class _Calls:
    """The calls that the messages of a turn made, and what came of them."""

    def __init__(self, messages: Iterable[BaseMessage]) -> None:
        self.results: dict[_Call, Number | _Failure] = {}
        names: dict[str, None] = {}
        made: dict[str, _Call] = {}
        for message in messages:
            if isinstance(message, AIMessage):
                for call in message.tool_calls:
                    names[call["name"]] = None
                    x, y = call["args"].get("x"), call["args"].get("y")
                    if isinstance(x, int | float) and isinstance(y, int | float):
                        made[call["id"] or ""] = (call["name"], x, y)
            elif isinstance(message, ToolMessage) and (done := made.get(message.tool_call_id)):
                self.results[done] = _result(message)
        self.used = [name for name in names if name != FINAL_ANSWER]


def _result(message: ToolMessage) -> Number | _Failure:
    text = message.text.strip()
    if message.status == "error":
        return _Failure(_short(text.removeprefix("Error: ").split("\n")[0]).rstrip(".") or "it failed")
    value = _as_number(text)
    return _Failure(f'it returned "{_short(text)}", which is not a number') if value is None else value


def _as_number(text: str) -> Number | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass
class _Work:
    """How far a plan has come.

    Args:
        plan: What is asked.
        calls: What has been called in this turn.
        bound: Names of the tools that there are.
    """

    plan: Reading
    calls: _Calls
    bound: Collection[str]
    values: dict[int, Number | _Failure] = field(default_factory=dict)
    """Nodes whose value is known, or known not to exist."""
    ready: dict[_Call, None] = field(default_factory=dict)
    """Calls to make, whose operands are known."""

    def __post_init__(self) -> None:
        needed = {node for node in self.plan.asked if isinstance(node, int)}
        for at in reversed(range(len(self.plan.nodes))):
            if at in needed and isinstance(node := self.plan.nodes[at], Step):
                needed |= {node.x, node.y}
        for at in sorted(needed):
            node = self.plan.nodes[at]
            value = self._do(node) if isinstance(node, Step) else node
            if value is not None:
                self.values[at] = value

    def _do(self, step: Step) -> Number | _Failure | None:
        """Return what a step comes to, None if that is not known yet."""
        x, y = self.values.get(step.x), self.values.get(step.y)
        if isinstance(x, _Failure) or isinstance(y, _Failure):
            return x if isinstance(x, _Failure) else y
        if step.tool not in self.bound and not self.is_over:
            return _Failure(f'the tool "{step.tool}" is not available')
        if x is None or y is None:
            return None
        call = (step.tool, x, y)
        result = self.calls.results.get(call)
        if result is None:
            self.ready[call] = None
        elif isinstance(result, _Failure):
            return _Failure(f"{step.tool}({digits(x)}, {digits(y)}) failed: {result.reason}")
        return result

    @property
    def is_over(self) -> bool:
        """Whether nothing but the answer is left to call."""
        return set(self.bound) == {FINAL_ANSWER}

    def answer(self) -> str:
        sentences = [self._sentence(asked) for asked in self.plan.asked]
        if not sentences:
            return f"{_ABOUT}: {_EXAMPLE}. {_REAL_MODEL}"
        if all(isinstance(asked, Problem) for asked in self.plan.asked):
            sentences.append(f"{_ABOUT}: {_EXAMPLE}.")
        if any(isinstance(asked, int) and asked not in self.values for asked in self.plan.asked):
            sentences.append(self._progress())
        return " ".join(sentences)

    def _sentence(self, asked: int | Problem) -> str:
        if isinstance(asked, Problem):
            return f'I could not read "{_short(asked.text)}": {asked.reason}.'
        shown = _short(self.plan.show(asked))
        value = self.values.get(asked)
        if value is None:
            return f"{shown} is not done: I had to stop early, as no more tools may be called."
        if isinstance(value, _Failure):
            return f"{shown} {_NOT_COMPUTED}: {value.reason}."
        words = f" ({in_words(int(value))})" if value == int(value) and abs(value) < 10**15 else ""
        return f"{shown} is {digits(value)}{words}."

    def _progress(self) -> str:
        computed = {at: node for at, node in enumerate(self.plan.nodes) if isinstance(node, Step) and at in self.values}
        # What another step has gone on from is not worth mentioning beside it.
        used = {operand for step in computed.values() for operand in (step.x, step.y)}
        found = [
            _short(f"{self.plan.show(at)} gives {digits(value)}")
            for at, value in self.values.items()
            if at in computed and at not in used and at not in self.plan.asked and not isinstance(value, _Failure)
        ]
        return f"So far {', '.join(found)}." if found else "Nothing else has been computed."


def _earlier_result(messages: Sequence[BaseMessage]) -> Number | None:
    """Return the last number that an earlier turn came to: as its answer states it, or else a tool's last result."""
    returned: Number | None = None
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and returned is not None:
            break
        if isinstance(message, ToolMessage):
            result = _result(message)
            if isinstance(result, _Failure):
                break
            returned = result if returned is None else returned
        elif isinstance(message, AIMessage) and (answer := _answer_in(message)):
            # What is quoted was asked, not answered.
            if stated := _STATED.findall(_QUOTED.sub("", answer)):
                return _as_number(stated[-1].replace(",", "").replace("−", "-"))
            if _NOT_COMPUTED in answer:
                break
    return returned


def _answer_in(message: AIMessage) -> str:
    for call in message.tool_calls:
        if call["name"] == FINAL_ANSWER:
            return str(call["args"].get("answer", ""))
    return "" if message.tool_calls else message.text


def _short(text: str, longest: int = 80) -> str:
    # A quoted text may hold half a surrogate pair, which no reply can.
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"


def _in_text(messages: Sequence[BaseMessage], *, asks_json: bool) -> str:
    asked, _, _ = _last_turn(messages)
    instructions = [message.text for message in messages if isinstance(message, SystemMessage)]
    if asks_json or any("JSON" in text for text in (*instructions, asked)):
        return _sorted_pieces(asked)
    if marked := _CONTEXT.search(asked):
        # The question is in the same message: after the context, or before it.
        passages, *question = _QUESTION.split(asked[marked.end() :], maxsplit=1)
        return _nearest(passages, question[0] if question else asked[: marked.start()])
    for text in reversed(instructions):
        if passages := _given_context(text):
            return _nearest(passages, asked)
    about = f"{_ABOUT}, and here it has none. {_REAL_MODEL}"
    words = asked.split()
    quoted = _short(" ".join(words[:8]) + ("…" if len(words) > 8 else ""))
    return f'You wrote "{quoted}". {about}' if quoted else about


def _given_context(instructions: str) -> str:
    """Return the context in a system message: what comes after "Context:", or after a paragraph that speaks of it."""
    if marked := _CONTEXT.search(instructions):
        return instructions[marked.end() :]
    announcement, _, rest = instructions.partition("\n\n")
    return rest if _ANNOUNCED.search(announcement) else ""


def _nearest(context: str, question: str) -> str:
    """Return the one or two sentences of a context that share the most words with a question.

    Words are compared without case and plural "s"; very common ones do not count.
    """
    asked = _content_words(question)
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(context) if sentence.strip()]
    shared = [len(asked & _content_words(sentence)) for sentence in sentences]
    best = max(shared, default=0)
    if not best:
        return _NOT_IN_CONTEXT
    return _short(" ".join([s for s, count in zip(sentences, shared, strict=True) if count == best][:2]), 1_000)


def _content_words(text: str) -> set[str]:
    words = (word.lower() for word in re.findall(r"\w+", text))
    return {word.removesuffix("s") for word in words if len(word) > 2 and word not in _COMMON_WORDS}


def _sorted_pieces(text: str) -> str:
    """Return a JSON object of the numbers, operators and words in a text, in order."""
    numbers: list[Number] = []
    operators: list[str] = []
    words: list[str] = []
    for token in tokens(text[:LONGEST]):
        if token.kind == "number" and isinstance(token.value, int | float):
            numbers.append(token.value)
        elif token.kind in ("operator", "power"):
            operators.append(token.name)
        elif token.text[0].isalpha():
            words += token.text.split()
    return json.dumps({"numbers": numbers, "operators": operators, "words": words}, ensure_ascii=False)
