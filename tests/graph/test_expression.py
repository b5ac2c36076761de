"""What is read out of plain English: the expressions, what "that" means in them, and what cannot be read."""

import ast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graph.offline.expression import MOST, Expression
from graph.offline.numbers import Number, digits, in_words
from graph.offline.question import LONGEST, Problem, read
from graph.offline.tokens import tokens

Reading = list[Expression | Problem]


def values(reading: Reading) -> list[Number | str]:
    """Compute what is asked; a problem is given as its reason."""
    return [asked.reason if isinstance(asked, Problem) else eval(asked.text) for asked in reading]


def shown(text: str, previous: Number | None = None) -> list[str]:
    return [asked.reason if isinstance(asked, Problem) else asked.text for asked in read(text, previous)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("24 / 4 / 2", 3),
        ("2 ^ 3 ^ 2", 512),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("(-2) ** 2", 4),
        ("2 ** -1", 0.5),
        ("--5 + +1", 6),
        ("-(3 + 4) * 2", -14),
        ("3 - -4", 7),
        ("5 − 2 – 1", 2),
        (".5 + 1e3 + 2.5E-1", 1000.75),
        ("1,000 + 12,345.5", 13345.5),
        ("2 × 3 · 4 ÷ 8", 3),
        ("3x4", 12),
        ("3 x (1 + 1) x -2", -12),
        ("3² + 2³", 17),
        ("(1 +\n2) *\n3", 9),
        ("((((7))))", 7),
    ],
)
def test_symbols(text: str, value: Number) -> None:
    assert values(read(text)) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("three plus four times two", 11),
        ("3 added to 4 multiplied by 2", 11),
        ("twenty-five minus one hundred and five", -80),
        ("two million three hundred thousand and one divided by a hundred", 23000.01),
        ("1.5 million over 3", 500_000),
        ("2 to the power of 3 plus 1", 9),
        ("2 raised to the power of 3", 8),
        ("2 raised to 3", 8),
        ("3 squared plus 2 cubed", 17),
        ("negative five plus 3", -2),
        ("add 3 and 4", 7),
        ("add 3 to 4 and 5", 12),
        ("add 1, 2, and 3", 6),
        ("multiply 3 and 4 by 5", 60),
        ("the sum of 3, half of 4 and 5", 10),
        ("subtract 3 from 10", 7),
        ("multiply 6 by 7", 42),
        ("divide 10 by 4", 2.5),
        ("raise 2 to the power of 5", 32),
        ("raise 2 to 5", 32),
        ("the sum of 3 and 4", 7),
        ("the sum of one hundred and five", 105),
        ("the sum of 1, 2 and 3", 6),
        ("the difference between 10 and 3", 7),
        ("the product of 2, 3 and 4", 24),
        ("the quotient of 10 and 4", 2.5),
        ("the sum of the product of 2 and 3 and the quotient of 8 and 4", 8),
        ("multiply the sum of 1 and 2 by the difference of 9 and 4", 15),
        ("the sum of 3 and 4 times 5", 35),
        ("the sum of 3 and 4*5", 23),
        ("divide 10 by 2 plus 3", 8),
        ("divide 10 by 2+3", 2),
        ("the square root of 16", 4),
        ("twice 4 plus half of 10", 13),
        ("square 3", 9),
        ("What do you get when you multiply 6 by 7?", 42),
        ("Use the add tool to add 3 and 4, please.", 7),
    ],
)
def test_words(text: str, value: Number) -> None:
    assert values(read(text)) == [pytest.approx(value)]


@pytest.mark.parametrize(
    "text",
    [
        "What is 10 + 10?",
        "what's 10 + 10",
        "Calculate: 10 + 10 =",
        "10 + 10 = ?",
        "Hi! Could you please tell me how much is 10 + 10? Thanks!",
        "How much is the result of 10 + 10?",
        "What is 10 + 10? Write it in French.",
        "1. What is 10 + 10?",
        "“10 + 10” 🙂",
    ],
)
def test_dressing_is_ignored(text: str) -> None:
    assert shown(text) == ["10 + 10"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is 2+2, and what is 3*7?", [4, 21]),
        ("2+2; 3*7", [4, 21]),
        ("2+2\n3*7\n", [4, 21]),
        ("What is 2+2? What is 3*7?", [4, 21]),
        ("2+2, 3*7 and 10/4", [4, 21, 2.5]),
        ("the sum of 3 and 4 and the product of 2 and 5", [7, 10]),
        ("2+2 and 2+2", [4]),
        ("Add 3 and 4, then multiply the result by 5. And subtract 1 from it.", [7, 35, 34]),
        ("Take 5, add 3, double it", [8, 16]),
        ("2 + 2 and 3 + * 4", [4, 'a number is missing before "*" at character 15']),
        ("What is 2+2? Who is the president?", [4, "it is not arithmetic"]),
    ],
)
def test_each_question_is_read(text: str, expected: list[Number | str]) -> None:
    assert values(read(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("times 3", "12 * 3"),
        ("and divided by 4?", "12 / 4"),
        ("minus 3", "12 - 3"),
        ("+ 5 * 2", "12 + 5 * 2"),
        ("^ 2", "12 ** 2"),
        ("-3", "-3"),
        ("−3", "-3"),
        ("Negative 3", "-3"),
        ("squared?", "12 ** 2"),
        ("add 5", "12 + 5"),
        ("add 5 to that", "5 + 12"),
        ("subtract 3", "12 - 3"),
        ("subtract it from 20", "20 - 12"),
        ("multiply by 4", "12 * 4"),
        ("divide 100 by the result", "100 / 12"),
        ("what is that plus it", "12 + 12"),
        ("raise it to the power of 3", "12 ** 3"),
        ("square it", "12 ** 2"),
        ("what is half of the answer?", "12 / 2"),
        ("(it + 1) * 2", "(12 + 1) * 2"),
        ("What is the answer to 3 + 4?", "3 + 4"),
        ("that is 3 + 4", "3 + 4"),
    ],
)
def test_what_came_before_is_gone_on_from(text: str, expected: str) -> None:
    assert shown(text, 12) == [expected]


@pytest.mark.parametrize("text", ["times 3", "add 5", "square it", "that + 1"])
def test_nothing_came_before(text: str) -> None:
    assert shown(text) == ["there is no earlier result to go on from"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3 + * 4", '"*" at character 5'),
        ("3 // 4", '"/" at character 4'),
        ("3 +", 'after "+" at character 3'),
        ("What is (3 + 4?", '"(" at character 9 is never closed'),
        ("3 + 4)", '")" at character 6 has no "("'),
        ("2 (3 + 4)", 'an operator is missing before "("'),
        ("3 4", 'an operator is missing before "4"'),
        ("1.5.2 + 1", 'an operator is missing before ".2"'),
        ("3 + ()", 'a number is missing before ")"'),
        ("divide 5", '"divide" at character 1 needs two numbers'),
        ("15% of 80", '"%" at character 3'),
        ("sqrt 16 + 9", '"sqrt" at character 1'),
        ("10 + 5 apples", '"apples" at character 8'),
        ("x + 3 = 7", '"x" at character 1'),
        ("$5 + $3", '"$"'),
        ("What is 5!", '"!"'),
        ("What is 10 + 10!", '"!"'),
        ("My teacher asked what 10 + 10 is", '"teacher" at character 4'),
        ("twelve hundred plus 1", '"twelve hundred" at character 1'),
        ("five six + 1", '"five six"'),
        ("10 = 5 + 5", '"=" at character 4'),
        ("What is 5! + 1?", '"!"'),
        ("0x10 + 1", '"0x10"'),
        ("1e999 + 1", "too large"),
        ("9" * 400 + " + 1", "too large"),
        ("1 + " * (LONGEST // 4) + "1", "longer than"),
        ("(" * 300 + "1" + ")" * 300, "more than 64 operations and parentheses"),
        ("-" * 300 + "1", "more than 64 operations"),
        ("2 ** " * 300 + "2", "more than 64 operations"),
        ("1+" * 4_999 + "1", "more than 64 operations"),
        ("half of " * 300 + "1", "more than 64 operations"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, reason: str) -> None:
    (found,) = shown(text)
    assert reason in found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello!",
        "ſix pluſ ſix",
        "Hi :)",
        "What can you do?",
        "Who was president in 1990?",
        "I have 3 apples and 4 pears.",
        "a - b",
        "3 subtracted from 10",
        "The total: 1, 2 and 3",
    ],
)
def test_no_arithmetic(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "1" + "+1" * MOST,
        "-" * MOST + "1",
        "2**" * MOST + "1",
        "(" * MOST + "1" + ")" * MOST,
        "half of " * MOST + "1",
        "add 1" + " and 1" * (MOST - 1),
        "the sum of (" * (MOST // 3) + "1" + ") and 1" * (MOST // 3) + " + 1",
    ],
)
def test_as_much_as_an_expression_may_have(text: str) -> None:
    (asked,) = read(text)
    assert isinstance(asked, Expression)
    assert asked.size == MOST
    assert ast.dump(ast.parse(asked.text, mode="eval").body) == ast.dump(asked.tree)


def test_what_is_gone_on_from_counts() -> None:
    *done, refused = shown("1 + 1" + ". that + that" * 6)
    assert [len(text.split("1")) for text in done] == [3, 5, 9, 17, 33, 65]
    assert "more than 64" in refused


_HOSTILE = ["(", ")", "-", "2^", "a ", "add ", "111,", "one hundred and ", "the sum of ", "1 and ", "that ", "1e", "\n"]


@pytest.mark.parametrize("piece", [*_HOSTILE, "raised to ", "to the ", "twenty ", "((1)+", "1+1;", "'", "½", "\ud800"])
def test_hostile_repetition_is_read(piece: str) -> None:
    for asked in read(piece * (LONGEST // len(piece)), 1):
        assert isinstance(asked, Problem) or asked.size <= MOST


_WORDS = [
    "add",
    "3",
    "and",
    "(",
    ")",
    "+",
    "-",
    "that",
    "sum of",
    "x",
    ",",
    ".",
    "?",
    "hundred",
    "five",
    "%",
    "=",
    "foo",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(_WORDS)).map(" ".join)), st.none() | st.integers())
def test_any_text_gives_a_sound_plan(text: str, previous: int | None) -> None:
    for asked in read(text, previous):
        assert isinstance(asked, Problem) or ast.dump(ast.parse(asked.text, mode="eval").body) == ast.dump(asked.tree)
    for token in tokens(text):
        assert text.startswith(token.text, token.start)


_OPERATIONS = st.sampled_from(["({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} ** {})", "(-{} - {})"])


@given(
    st.recursive(
        st.integers(-3, 3).map(str),
        lambda part: st.tuples(_OPERATIONS, part, part).map(lambda each: each[0].format(each[1], each[2])),
        max_leaves=12,
    )
)
def test_what_is_shown_is_read_as_the_same(text: str) -> None:
    tree = ast.parse(text, mode="eval").body
    (asked,) = read(ast.unparse(tree))
    assert isinstance(asked, Expression)
    assert ast.dump(asked.tree) == ast.dump(tree)


@given(st.integers(-(10**15) + 1, 10**15 - 1))
@example(0)
@example(-(10**15) + 1)
@example(1_000_005)
def test_numbers_in_words_are_read_back(value: int) -> None:
    assert values(read(f"what is {in_words(value)}")) == [value]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"),
        (175, "one hundred seventy-five"),
        (-21, "minus twenty-one"),
        (1_000_013, "one million thirteen"),
        (900_000_000_000_100, "nine hundred trillion one hundred"),
    ],
)
def test_numbers_in_words(value: int, words: str) -> None:
    assert in_words(value) == words


@pytest.mark.parametrize(
    ("value", "written"),
    [(175.0, "175"), (-0.0, "0"), (0.1, "0.1"), (1e16, "1e+16"), (10**20, "100000000000000000000"), (-2.5, "-2.5")],
)
def test_numbers_in_digits(value: Number, written: str) -> None:
    assert digits(value) == written
