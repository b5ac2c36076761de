"""Decides what to call next, and says what came of it.

    last question ──> question.read ──> expressions
                                             │
    results of this turn's calls ──> _Work <─┘
                                       │
                                       ├─ operations whose operands are known: call their tools, all in one reply
                                       └─ none left: the answer

Nothing is held from one call to the next, and nothing computed: what a tool returned is read from the messages.
"""

import ast
import math
import re
from collections.abc import Collection, Iterator, Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from ..final_answer import FINAL_ANSWER
from .expression import Expression, is_number
from .numbers import Number, digits, in_words
from .question import Problem, read
from .replies import ABOUT, EXAMPLE, REAL_MODEL, Reply, last_turn, short

_TOOLS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "exponentiate"}
_NOT_COMPUTED = "cannot be computed"
_NUMBER = r"[-−]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
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
    work = _Work(read(asked, _earlier_result(before)), _results(turn), bound)
    if ready := [(tool, {"x": x, "y": y}) for tool, x, y in work.ready if tool in allowed]:
        return Reply(calls=ready)
    if FINAL_ANSWER in allowed:
        used = list(dict.fromkeys(call["name"] for call in _calls(turn) if call["name"] != FINAL_ANSWER))
        return Reply(calls=[(FINAL_ANSWER, {"answer": work.answer(), "tools_used": used})])
    return Reply(work.answer())


_Call = tuple[str, Number, Number]
_Result = Number | str
"""A number, or why there is none."""


def _results(turn: Sequence[BaseMessage]) -> dict[_Call, _Result]:
    """Return what the calls of a turn came to."""
    returned = {message.tool_call_id: _result(message) for message in turn if isinstance(message, ToolMessage)}
    results: dict[_Call, _Result] = {}
    for call in _calls(turn):
        x, y = call["args"].get("x"), call["args"].get("y")
        if isinstance(x, int | float) and isinstance(y, int | float) and call["id"] in returned:
            results[call["name"], x, y] = returned[call["id"]]
    return results


def _calls(turn: Sequence[BaseMessage]) -> Iterator[ToolCall]:
    for message in turn:
        if isinstance(message, AIMessage):
            yield from message.tool_calls


def _result(message: ToolMessage) -> _Result:
    text = message.text.strip()
    if message.status == "error":
        return short(text.removeprefix("Error: ").split("\n")[0]).rstrip(".") or "it failed"
    value = _as_number(text)
    return f'it returned "{short(text)}", which is not a number' if value is None else value


def _as_number(text: str) -> Number | None:
    text = text.replace(",", "").replace("−", "-")
    if not re.fullmatch(_NUMBER, text):
        return None
    if len(text) < 4_000 and text.lstrip("-").isdigit():
        return int(text)
    return value if math.isfinite(value := float(text)) else None


class _Work:
    """How far what is asked has come.

    Args:
        asked: What is asked.
        results: What the calls of this turn came to.
        bound: Names of the tools that there are.
    """

    def __init__(
        self, asked: Sequence[Expression | Problem], results: dict[_Call, _Result], bound: Collection[str]
    ) -> None:
        self.ready: dict[_Call, None] = {}
        """Calls to make, whose operands are known."""
        self._results = results
        self._bound = bound
        self._asked = [(each, self._value(each.tree) if isinstance(each, Expression) else "") for each in asked]

    def _value(self, tree: ast.expr) -> _Result | None:
        """Return what an expression comes to, None if that is not known yet."""
        match tree:
            case ast.BinOp(left, operator, right):
                return self._called(_TOOLS[type(operator)], self._value(left), self._value(right))
            case ast.UnaryOp(_, operand):
                value = self._value(operand)
                if is_number(operand) and isinstance(value, int | float):
                    return -value
                return self._called("subtract", 0, value)
            case ast.Constant(int() | float() as number):
                return number
        raise AssertionError(f"{ast.dump(tree)} is no arithmetic")

    def _called(self, tool: str, x: _Result | None, y: _Result | None) -> _Result | None:
        if isinstance(x, str) or isinstance(y, str):
            return x if isinstance(x, str) else y
        # Where nothing but the answer may be called, it stopped early.
        if tool not in self._bound and set(self._bound) != {FINAL_ANSWER}:
            return f'the tool "{tool}" is not available'
        if x is None or y is None:
            return None
        result = self._results.get((tool, x, y))
        if result is None:
            self.ready[tool, x, y] = None
        return f"{tool}({digits(x)}, {digits(y)}) failed: {result}" if isinstance(result, str) else result

    def answer(self) -> str:
        if not self._asked:
            return f"{ABOUT}: {EXAMPLE}. {REAL_MODEL}"
        sentences = [_sentence(asked, value) for asked, value in self._asked]
        if all(isinstance(asked, Problem) for asked, _ in self._asked):
            sentences.append(f"{ABOUT}: {EXAMPLE}.")
        undone = [asked.tree for asked, value in self._asked if isinstance(asked, Expression) and value is None]
        if done := ", ".join(dict.fromkeys(part for tree in undone for part in self._done_in(tree))):
            sentences.append(f"So far {done}.")
        elif undone:
            sentences.append("Nothing else has been computed.")
        return " ".join(sentences)

    def _done_in(self, tree: ast.AST) -> Iterator[str]:
        """Yield the largest parts that are computed, each with its value."""
        for part in ast.iter_child_nodes(tree):
            value = self._value(part) if isinstance(part, ast.BinOp) else None
            if isinstance(value, int | float):
                yield short(f"{ast.unparse(part)} gives {digits(value)}")
            else:
                yield from self._done_in(part)


def _sentence(asked: Expression | Problem, value: _Result | None) -> str:
    if isinstance(asked, Problem):
        return f'I could not read "{short(asked.text)}": {asked.reason}.'
    shown = short(asked.text)
    if value is None:
        return f"{shown} is not done: I had to stop early, as no more tools may be called."
    if isinstance(value, str):
        return f"{shown} {_NOT_COMPUTED}: {value}."
    words = f" ({in_words(int(value))})" if value == int(value) and abs(value) < 10**15 else ""
    return f"{shown} is {digits(value)}{words}."


def _earlier_result(messages: Sequence[BaseMessage]) -> Number | None:
    """Return the last number that an earlier turn came to: as its answer states it, or else a tool's last result."""
    returned: Number | None = None
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and returned is not None:
            break
        if isinstance(message, ToolMessage):
            result = _result(message)
            if isinstance(result, str):
                break
            returned = result if returned is None else returned
        answer = _answer_in(message)
        # What is quoted was asked, not answered.
        if stated := _STATED.findall(_QUOTED.sub("", answer)):
            return _as_number(stated[-1])
        if _NOT_COMPUTED in answer:
            break
    return returned


def _answer_in(message: BaseMessage) -> str:
    if not isinstance(message, AIMessage):
        return ""
    if not message.tool_calls:
        return message.text
    return "".join(str(call["args"].get("answer", "")) for call in message.tool_calls if call["name"] == FINAL_ANSWER)
