"""Splits a text into numbers, operators, phrases and words."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from .numbers import ANY, END, SCALES, Number, said, spoken, written

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_REFERENCE = r"that|it|this|ans|(?:the\s+)?(?:(?:previous|last)\s+)?(?:result|answer)"
_OPERATORS = {
    "exponentiate": rf"\*\*|\^|(?:(?:raised\s+)?to\s+the\s+power(?:\s+of)?|raised\s+to(?:\s+the)?){END}",
    "add": rf"\+|(?:plus|added\s+to){END}",
    "subtract": rf"[-−–]|minus{END}",
    "multiply": rf"[*×·⋅∙]|(?:times|multiplied\s+by){END}",
    "divide": rf"[/÷∕]|(?:divided\s+by|over){END}",
    "subtracted": rf"subtracted\s+from{END}",
}
_POWERS = {"squared": 2, "²": 2, "cubed": 3, "³": 3}
UNARY: dict[str, tuple[str, Number]] = {
    "square": ("exponentiate", 2),
    "square of": ("exponentiate", 2),
    "cube": ("exponentiate", 3),
    "cube of": ("exponentiate", 3),
    "square root of": ("exponentiate", 0.5),
    "twice": ("multiply", 2),
    "double": ("multiply", 2),
    "triple": ("multiply", 3),
    "half": ("divide", 2),
    "half of": ("divide", 2),
    "halve": ("divide", 2),
}


@dataclass(frozen=True)
class Phrase:
    """An operation whose operands are in a list: the words that join them, and how they are taken."""

    tool: str
    joints: tuple[str, ...]
    many: bool = False
    swapped: bool = False
    """The second operand comes first: subtract 3 from 10."""
    continues: bool = False
    """With one operand, the result before is the other."""


NOUNS = {
    "sum of": Phrase("add", ("and",), many=True),
    "total of": Phrase("add", ("and",), many=True),
    "difference of": Phrase("subtract", ("and",)),
    "difference between": Phrase("subtract", ("and",)),
    "product of": Phrase("multiply", ("and",), many=True),
    "quotient of": Phrase("divide", ("and",)),
}
VERBS = {
    "add": Phrase("add", ("to", "and"), many=True, continues=True),
    "subtract": Phrase("subtract", ("from",), swapped=True, continues=True),
    "multiply": Phrase("multiply", ("by", "and", "with"), many=True),
    "divide": Phrase("divide", ("by",)),
    "raise": Phrase("exponentiate", ("to",)),
}


def _phrases(names: Iterable[str]) -> str:
    longest_first = (name.replace(" ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return rf"(?:{ANY(longest_first)}){END}"


@cache
def _lexer(spoken_and: bool) -> re.Pattern[str]:
    patterns = {
        "space": r"(?u:[^\S\n]+)",
        "other_number": r"0[xXbBoO][0-9a-fA-F]+|[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])",
        "number": rf"(?:{_DIGITS})(?:[eE][-+]?[0-9]+)?(?:\s+(?:{ANY(SCALES)}){END})?",
        "spoken": spoken(r"(?:and\s+)?" if spoken_and else "") + END,
        **_OPERATORS,
        "power": rf"[²³]|(?:squared|cubed){END}",
        "noun": rf"(?:the\s+)?{_phrases(NOUNS)}",
        "unary_verb": rf"(?:halve|(?:square|cube|double|triple)(?=\s+(?:{_REFERENCE}){END})){END}",
        "unary": rf"(?:the\s+)?{_phrases(UNARY)}",
        "verb": _phrases(VERBS),
        "reference": rf"(?:{_REFERENCE}){END}",
        "sign": rf"negative{END}",
        "open": r"\(",
        "close": r"\)",
        "comma": ",",
        "factorial": r"(?<=[0-9)])!(?=\s*[-?=+*/^)])",
        "stop": r"[.;?!\n]",
        "word": r"(?u:[^\W\d_]+(?:['’-][^\W\d_]+)*)",
        "other": r"(?s:.)",
    }
    # In ASCII: without regard to case, Unicode has more than one letter that is an "s" or a "k" to a pattern.
    flags = re.IGNORECASE | re.ASCII
    return re.compile(ANY(rf"(?P<{kind}>{pattern})" for kind, pattern in patterns.items()), flags)


@dataclass(frozen=True)
class Token:
    """A piece of the text.

    Args:
        kind: What it is: number, operator, power (squared, cubed), unary (half of, ...), noun (sum of, ...), verb
            (add, ...), reference (that, ...), sign (negative), open, close, comma, stop, word or other.
        text: As written.
        start: Where it begins, in characters from the start of the text.
        value: Of a number its value, None if it is too large; of an operator, power or phrase what it does.
    """

    kind: str
    text: str
    start: int
    value: Number | str | None = None

    @property
    def name(self) -> str:
        return " ".join(self.text.lower().replace("’", "'").split())


def tokens(text: str, *, spoken_and: bool = True) -> Iterator[Token]:
    """Split a text into its pieces.

    Args:
        text: The text.
        spoken_and: Whether "one hundred and five" is one number.
    """
    last = Token("stop", "", 0)
    for match in _lexer(spoken_and).finditer(text):
        kind = match.lastgroup or "other"
        # An expression goes on in the next line where the line cannot be its end.
        if kind == "space" or (match[0] == "\n" and last.kind in ("operator", "open", "comma")):
            continue
        last = _token(kind, match[0], match.start())
        yield last


def _token(kind: str, text: str, start: int) -> Token:
    token = Token(kind, text, start)
    if kind == "number":
        return replace(token, value=written(text))
    if kind == "spoken":
        return replace(token, kind="number", value=said(token.name))
    if kind in _OPERATORS:
        return replace(token, kind="operator", value=kind)
    if kind == "power":
        return replace(token, value=_POWERS[token.name])
    return replace(token, kind="other") if kind in ("other_number", "factorial") else token
