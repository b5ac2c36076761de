"""The tools that the agent has unless it is given others: arithmetic, and final_answer, whose call ends the turn.

Whole numbers stay whole. A result that is not a finite real number is an error, and so is one beyond the range of a
float (about 1.8e308): the model hears of it at once instead of waiting for a number that no one can read.
"""

import math
import sys

from langchain_core.tools import BaseTool, tool

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
"""What the agent has unless it is given others. final_answer is always there besides."""
