"""Decides what to call next, and says what came of it.

    last question ──> expression.read ──> plan
                                            │
    results of this turn's calls ──> _Work <┘
                                       │
                                       ├─ steps whose operands are known: call their tools, all in one reply
                                       └─ none left: the answer

Nothing is held from one call to the next, and nothing computed: what a tool returned is read from the messages.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ..final_answer import FINAL_ANSWER
from .expression import read
from .numbers import Number, digits, in_words
from .plan import Problem, Reading, Step
from .replies import ABOUT, EXAMPLE, REAL_MODEL, Reply, last_turn, short

_NOT_COMPUTED = "cannot be computed"
_NUMBER = r"[-−]?\d[\d,]{0,320}(?:\.\d{1,320})?(?:[eE][-+]?\d{1,3})?"
_QUOTED = re.compile(r'"[^"\n]*"')
_STATED = re.compile(rf"(?:\b(?:is|are|equals):?|=)\s*[*`]*({_NUMBER})(?![\w%])")


def arithmetic(messages: Sequence[BaseMessage], bound: Collection[str], allowed: Collection[str]) -> Reply:
    """Reply to the last question: with the calls that can be made now, or with the answer.

    Args:
        messages: The conversation.
        bound: Names of the tools that there are.
        allowed: Those that may be called in this reply.
    """
    asked, before, turn = last_turn(messages)
    work = _Work(read(asked, _earlier_result(before)), _Calls(turn), bound)
    if calls := [(tool, {"x": x, "y": y}) for tool, x, y in work.ready if tool in allowed]:
        return Reply(calls=calls)
    if FINAL_ANSWER in allowed:
        return Reply(calls=[(FINAL_ANSWER, {"answer": work.answer(), "tools_used": work.calls.used})])
    return Reply(work.answer())


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
        return _Failure(short(text.removeprefix("Error: ").split("\n")[0]).rstrip(".") or "it failed")
    value = _as_number(text)
    return _Failure(f'it returned "{short(text)}", which is not a number') if value is None else value


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
            return f"{ABOUT}: {EXAMPLE}. {REAL_MODEL}"
        if all(isinstance(asked, Problem) for asked in self.plan.asked):
            sentences.append(f"{ABOUT}: {EXAMPLE}.")
        if any(isinstance(asked, int) and asked not in self.values for asked in self.plan.asked):
            sentences.append(self._progress())
        return " ".join(sentences)

    def _sentence(self, asked: int | Problem) -> str:
        if isinstance(asked, Problem):
            return f'I could not read "{short(asked.text)}": {asked.reason}.'
        shown = short(self.plan.show(asked))
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
            short(f"{self.plan.show(at)} gives {digits(value)}")
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
