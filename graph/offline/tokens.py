"""Splits a text into numbers, operators, phrases and words."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from .numbers import ANY, END, SCALES, digits, said, spoken, written

_OPERATORS = {
    "exponentiate": ("**", rf"\*\*|\^|(?:(?:raised\s+)?to\s+the\s+power(?:\s+of)?|raised\s+to(?:\s+the)?){END}"),
    "add": ("+", rf"\+|(?:plus|added\s+to){END}"),
    "subtract": ("-", rf"[-−–]|(?:minus|negative){END}"),
    "multiply": ("*", rf"[*×·⋅∙]|(?:times|multiplied\s+by){END}"),
    "divide": ("/", rf"[/÷∕]|(?:divided\s+by|over){END}"),
}
_POWERS = {"squared": "**2", "²": "**2", "cubed": "**3", "³": "**3"}
_LISTS = {"sum of": "+", "difference of": "-", "difference between": "-", "product of": "*", "quotient of": "/"}
_NOUNS = _LISTS | {"square root of": "**0.5", "square of": "**2", "cube of": "**3", "half of": "/2", "twice": "*2"}
_VERBS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "raise": "**", "square": "**2", "double": "*2"}


@dataclass(frozen=True)
class Token:
    """A piece of the text.

    Args:
        kind: What it is: number, operator, power (squared, cubed), noun (sum of, half of, ...), verb (add, double,
            ...), joint (and, to, from, by, with), reference (that, ...), open, close, comma, stop, word,
            unreadable or other.
        text: As written.
        start: Where it begins, in characters from the start of the text.
        python: How Python writes a number (empty if it is too large), an operator, or a power. Of a noun or a verb, the
            operator between its operands, or what comes after its one operand.
    """

    kind: str
    text: str
    start: int
    python: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.text.lower().replace("’", "'").split()).removeprefix("the ")

    @property
    def starts_operand(self) -> bool:
        """Whether nothing but an operand begins with it."""
        return self.kind in ("number", "open", "noun", "reference") or (self.kind, self.python) == ("operator", "-")

    @property
    def reach(self) -> int:
        """How near to its operands an operator stands: 2 for a power, 1 for a symbol, 0 for a word."""
        return 2 if self.python[:2] == "**" else int(len(self.text) == 1)


def tokens(text: str) -> Iterator[Token]:
    """Split a text into its pieces."""
    last = Token("stop", "", 0)
    for match in _lexer().finditer(text):
        kind = match.lastgroup or ""
        # An expression goes on in the next line where the line cannot be its end.
        if kind == "space" or (match[0] == "\n" and last.kind in ("operator", "open", "comma")):
            continue
        if match[0] in ("x", "X") and last.kind in ("number", "close"):
            kind = "multiply"
        last = _token(kind, match[0], match.start())
        yield last


def _token(kind: str, text: str, start: int) -> Token:
    token = Token(kind, text, start)
    if kind in ("digits", "spoken"):
        value = written(text) if kind == "digits" else said(token.name)
        is_word = value is None and kind == "spoken"
        return Token("word" if is_word else "number", text, start, "" if value is None else digits(value))
    if kind in _OPERATORS:
        return Token("operator", text, start, _OPERATORS[kind][0])
    python = {"power": _POWERS, "noun": _NOUNS, "verb": _VERBS}.get(kind, {}).get(token.name, "")
    return Token(kind, text, start, python)


@cache
def _lexer() -> re.Pattern[str]:
    patterns = {
        "space": r"(?u:[^\S\n]+)|=(?=\s*(?:[=?.,;!\n]|what|$))",
        # Among them bases other than ten, dates, and factorials.
        "unreadable": r"0[xbo][0-9a-f]+|[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])|(?<=[0-9)])!"
        r"|[%=<>√π∞∑∫≠≤≥$€£°#@&|~_\[\]{}\\']",
        "digits": r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
        rf"(?:e[-+]?[0-9]+|\s+(?:{ANY(SCALES)}){END})?",
        "spoken": spoken(),
        **{kind: pattern for kind, (_, pattern) in _OPERATORS.items()},
        "power": rf"[²³]|(?:squared|cubed){END}",
        "noun": rf"(?:the\s+)?{_phrases(_NOUNS)}",
        "verb": _phrases(_VERBS),
        "joint": rf"(?:(?:,\s*)?and|to|from|by|with){END}",
        "reference": rf"(?:that|it|this|ans|(?:the\s+)?(?:(?:previous|last)\s+)?(?:result|answer)){END}",
        "open": r"\(",
        "close": r"\)",
        "comma": ",",
        "stop": r"[.;?!\n]",
        "word": r"(?u:[^\W\d_]+(?:['’-][^\W\d_]+)*)",
        "other": r"(?s:.)",
    }
    # In ASCII: without regard to case, Unicode has more than one letter that is an "s" or a "k" to a pattern.
    flags = re.IGNORECASE | re.ASCII
    return re.compile(ANY(rf"(?P<{kind}>{pattern})" for kind, pattern in patterns.items()), flags)


def _phrases(names: Iterable[str]) -> str:
    longest_first = (name.replace(" ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return rf"(?:{ANY(longest_first)}){END}"
