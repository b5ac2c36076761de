"""The tools that the agent has unless it is given others: arithmetic, and final_answer, whose call ends the turn.

Whole numbers stay whole. A result that is not a finite real number is an error, and so is one beyond the range of a
float (about 1.8e308): the model hears of it at once instead of waiting for a number that no one can read.
"""

import math
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, get_args, get_type_hints

from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools import BaseTool, StructuredTool, tool

_LARGEST = int(sys.float_info.max)

Number = int | float


def _real(result: object) -> Number:
    if isinstance(result, int):
        if abs(result) > _LARGEST:
            raise OverflowError("The result is too large.")
        return result
    if isinstance(result, float) and math.isfinite(result):
        return result
    raise ArithmeticError(f"The result is not a finite real number: {result}.")


@tool
def add(x: Number, y: Number) -> Number:
    """Add two numbers (x + y)."""
    return _real(x + y)


@tool
def subtract(x: Number, y: Number) -> Number:
    """Subtract y from x (x - y)."""
    return _real(x - y)


@tool
def multiply(x: Number, y: Number) -> Number:
    """Multiply two numbers (x * y)."""
    return _real(x * y)


@tool
def divide(x: Number, y: Number) -> Number:
    """Divide x by y (x / y)."""
    if y == 0:
        raise ZeroDivisionError("Cannot divide by zero.")
    if isinstance(x, int) and isinstance(y, int) and x % y == 0:
        return _real(x // y)
    return _real(x / y)


@tool
def exponentiate(x: Number, y: Number) -> Number:
    """Raise x to the power of y (x ** y)."""
    if x == 0 and y < 0:
        raise ZeroDivisionError("Cannot raise zero to a negative power.")
    # Python would compute a whole power of any size to its last digit before there is anything to check.
    if isinstance(x, int) and isinstance(y, int) and y > 0 and (abs(x).bit_length() - 1) * y > _LARGEST.bit_length():
        raise OverflowError("The result is too large.")
    try:
        return _real(x**y)
    except OverflowError as error:
        raise OverflowError("The result is too large.") from error


@tool(parse_docstring=True)
def final_answer(answer: str, tools_used: list[str]) -> str:
    """Give the final answer to the user. This ends the turn.

    Args:
        answer: The whole answer, as the user should read it.
        tools_used: Names of the tools whose results the answer rests on.
    """
    return answer


TOOLS: tuple[BaseTool, ...] = (add, subtract, multiply, divide, exponentiate)


def under_its_own_run(given: BaseTool | Callable[..., Any]) -> BaseTool:
    """Return the tool, so that what it runs with its config shows as run by the tool.

    LangChain hands a tool's function the config that the tool was called with. What the function passes that on to
    appears beside the tool in events and traces, not under it.
    """
    tool_ = given if isinstance(given, BaseTool) else tool(given)
    if not isinstance(tool_, StructuredTool):
        return tool_
    update = {"func": _with_own_config(tool_.func), "coroutine": _with_own_config(tool_.coroutine)}
    return tool_ if update == {"func": tool_.func, "coroutine": tool_.coroutine} else tool_.model_copy(update=update)


def _with_own_config(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):  # LangChain cannot tell either then, and hands over no config
        hints = {}
    name = next((name for name, hint in hints.items() if RunnableConfig in (hint, *get_args(hint))), None)
    if function is None or name is None:
        return function

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{**kwargs, name: ensure_config()})

    return run
