"""The arithmetic tools, called as the agent calls them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.utils.function_calling import convert_to_openai_tool

from graph.tools import TOOLS, add, divide, exponentiate, final_answer, multiply, subtract

NUMBERS = st.one_of(st.integers(), st.floats())


def use(tool: Any, x: Any, y: Any) -> Any:
    return tool.invoke({"x": x, "y": y})


@pytest.mark.parametrize(
    ("tool", "x", "y", "result"),
    [
        (add, 2, 3, 5),
        (add, 0.5, 2, 2.5),
        (subtract, 2, 3, -1),
        (multiply, 7, 25, 175),
        (multiply, 1.5, 2, 3.0),
        (divide, 10, 4, 2.5),
        (divide, 6, 3, 2),
        (divide, 10**30, 10**29, 10),
        (exponentiate, 2, 10, 1024),
        (exponentiate, 2, -1, 0.5),
        (exponentiate, 9, 0.5, 3.0),
        (exponentiate, -1, 10**12, 1),
        (exponentiate, 0, 0, 1),
        (add, "2", "2.5", 4.5),
    ],
)
def test_results(tool: Any, x: Any, y: Any, result: Any) -> None:
    found = use(tool, x, y)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("tool", "x", "y", "error", "text"),
    [
        (divide, 1, 0, ZeroDivisionError, "divide by zero"),
        (divide, 1, 0.0, ZeroDivisionError, "divide by zero"),
        (exponentiate, 0, -1, ZeroDivisionError, "negative power"),
        (exponentiate, 9, 9**9, OverflowError, "too large"),
        (exponentiate, 2.5, 10**9, OverflowError, "too large"),
        (exponentiate, -8, 1 / 3, ArithmeticError, "not a finite real number"),
        (multiply, 10**300, 10**300, OverflowError, "too large"),
        (multiply, 1e300, 1e300, ArithmeticError, "not a finite real number"),
        (add, math.nan, 1, ArithmeticError, "not a finite real number"),
        (subtract, math.inf, 1, ArithmeticError, "not a finite real number"),
    ],
)
def test_errors(tool: Any, x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        use(tool, x, y)


@given(NUMBERS, NUMBERS)
def test_any_numbers_give_a_finite_real_number_or_an_arithmetic_error(x: float, y: float) -> None:
    for tool in TOOLS:
        try:
            result = use(tool, x, y)
        except ArithmeticError:
            continue
        assert isinstance(result, int | float)
        assert math.isfinite(result)


@given(st.integers(-(10**40), 10**40), st.integers(-(10**40), 10**40))
def test_whole_numbers_are_exact(x: int, y: int) -> None:
    assert use(add, x, y) == x + y
    assert use(subtract, x, y) == x - y
    assert use(multiply, x, y) == x * y


def test_the_model_is_told_which_number_is_taken_from_which() -> None:
    assert convert_to_openai_tool(subtract)["function"]["description"] == "Subtract y from x (x - y)."


def test_final_answer_takes_the_answer_and_the_tools_used() -> None:
    function = convert_to_openai_tool(final_answer)["function"]
    assert function["name"] == "final_answer"
    assert function["parameters"]["required"] == ["answer", "tools_used"]
    assert final_answer.invoke({"answer": "Yes.", "tools_used": []}) == "Yes."
