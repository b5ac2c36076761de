"""Finds what a text asks for: in each sentence what is arithmetic, what is only dressing, and what cannot be read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .expression import Expression, Translation, UnreadableError, parsed, place
from .numbers import Number, digits, words
from .tokens import Token, tokens

LONGEST = 10_000
"""Characters of the longest text that is read."""

_DRESSING = words(
    """a about again all also an answer answers are ask be begin both calculate can compute could do does each
    equal equals evaluate exactly expression figure find first following for get give gives good happens have
    hello help hey hi how i i'd i'm i've if in is just know let let's like made make makes math me much my need
    next no now number of ok okay out please pls plz problem problems question questions quick quickly result
    results say separately simplify so solve start step take tell thank thanks the them then these they're
    thx today tool tools try up us use using value values want we well were what what's whats when
    which will work working would yes you your"""
)
_OTHER = "it is not arithmetic"


@dataclass(frozen=True)
class Problem:
    """A part of the text that asks for something, but cannot be read."""

    text: str
    reason: str


def read(text: str, previous: Number | None = None) -> list[Expression | Problem]:
    """Return what a text asks for, in its order; nothing if it holds no arithmetic.

    Args:
        text: What someone wrote: one question or several, dressed in words or not.
        previous: What "that", "the result", or a question that begins with an operator, stands for at first; later in
            the text it is the question before. None if nothing came before.
    """
    if len(text) > LONGEST:
        return [Problem(text, f"it is longer than {LONGEST} characters")]
    asked = _read(text, previous)
    if any(isinstance(each, Problem) for each in asked):
        # "One hundred and five" is one number, but in "the sum of one hundred and five" there are two.
        other = _read(re.sub(r"(?i)\band\b", ", and", text), previous)
        return asked if any(isinstance(each, Problem) for each in other) else other
    return asked


def _read(text: str, previous: Number | None) -> list[Expression | Problem]:
    before = None if previous is None else parsed(digits(previous))
    found: dict[Expression | Problem, None] = {}
    for sentence in _sentences(text):
        asked, before = _asked(text, sentence, before)
        found |= dict.fromkeys(asked)
    if any(isinstance(each, Expression) and not each.is_number for each in found):
        # The 2 of "2. What is 3 + 4?" and the 5 of "Take 5, add 3" are not questions.
        return [each for each in found if isinstance(each, Problem) or not each.is_number]
    return [] if all(isinstance(each, Problem) and each.reason == _OTHER for each in found) else list(found)


def _sentences(text: str) -> Iterator[list[Token]]:
    sentence: list[Token] = []
    for token in tokens(text):
        sentence.append(token)
        if token.kind == "stop":
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _asked(
    text: str, sentence: list[Token], previous: Expression | None
) -> tuple[list[Expression | Problem], Expression | None]:
    """Return what a sentence asks for, and what the next one may go on from."""
    found, fault = _expressions(sentence, previous)
    kinds = {token.kind for token in sentence}
    has_operand = bool(kinds & {"number", "reference"})
    if unknown := next((token for token in sentence if _is_unknown(token)), None):
        found, fault = [], _OTHER if sentence[-1].text == "?" else ""
        if has_operand and kinds & {"operator", "power", "noun", "verb", "unreadable"}:
            fault = f"{place(unknown)} is not arithmetic it knows"
    elif not fault or not has_operand:
        return [*found], found[-1] if found else previous
    last = sentence[-1]
    problem = Problem(text[sentence[0].start : last.start + len(last.text)], fault)
    return [*found, problem] if fault else [], None


def _is_unknown(token: Token) -> bool:
    return token.kind == "unreadable" or (token.kind == "word" and token.name not in _DRESSING)


def _expressions(sentence: list[Token], previous: Expression | None) -> tuple[list[Expression], str]:
    """Return the expressions in a sentence as far as they can be read, and why not farther."""
    found: list[Expression] = []
    at = 0
    while at < len(sentence):
        if not _starts_expression(*sentence[at : at + 2]):
            at += 1
            continue
        translation = Translation(sentence, at, previous)
        try:
            previous = translation.read()
        except UnreadableError as fault:
            return found, str(fault)
        at = translation.at
        if at < len(sentence) and sentence[at].starts_operand:
            return found, f"an operator is missing before {place(sentence[at])}"
        found.append(previous)
    return found, ""


def _starts_expression(token: Token, after: Token | None = None) -> bool:
    if token.kind == "reference":
        return after is not None and after.kind in ("operator", "power")
    if token.kind == "verb":
        return after is not None and (after.starts_operand or after.kind == "joint")
    return token.kind in ("operator", "power", "close") or token.starts_operand
