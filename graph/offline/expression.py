"""Reads the arithmetic in plain English, as a plan of steps. Nothing is computed here.

    "Please add 3 and 4, then multiply that by 5. And 2 ** 3?"
           │
           │  tokens: numbers, operators, phrases, words
           │  sentences: what is arithmetic in each, what is only dressing, what cannot be read
           v
    3 + 4,   (3 + 4) * 5,   2 ** 3

Python's own `ast` reads symbols, but not the words between them: how far "the sum of 3 and 4 times 5" goes, what "that"
is, which part of a text is no arithmetic. It also names no place in the text where it fails, and its depth is bounded
by that of Python's stack. Nothing here recurses deeper than a text is nested, which is bounded, as its length is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .numbers import Number
from .plan import BINDING, Problem, Reading, Step
from .tokens import NOUNS, UNARY, VERBS, Phrase, Token, tokens

LONGEST = 10_000
"""Characters of the longest text that is read."""

DEEPEST = 200
"""Levels of the deepest nesting that is read."""

_SIGN_BINDING = 3


def read(text: str, previous: Number | None = None) -> Reading:
    """Read the arithmetic in a text.

    Args:
        text: What someone wrote: one question or several, dressed in words or not.
        previous: What "that", "the result", or a question that begins with an operator, stands for at first; later in
            the text it is the question before. None if nothing came before.

    Returns:
        The plan. Nothing is asked in it if the text holds no arithmetic.
    """
    if len(text) > LONGEST:
        return Reading(asked=[Problem(text, f"it is longer than {LONGEST} characters")])
    reading = _read(text, previous, spoken_and=True)
    if _has_problem(reading) and not _has_problem(other := _read(text, previous, spoken_and=False)):
        # "The sum of one hundred and five" has two numbers, "one hundred and five" is one.
        return other
    return reading


class _UnreadableError(Exception):
    """The arithmetic has a fault."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DRESSING = _words(
    """a about again all also an and answer answers are ask be begin both by calculate can compute could do does each
    equal equals evaluate exactly expression figure find first following for get give gives good happens have
    hello help hey hi how i i'd i'm i've if in is just know let let's like made make makes math me much my need
    next no now number of ok okay out please pls plz problem problems question questions quick quickly result
    results say separately simplify so solve start step sum take tell thank thanks the them then these they're
    thx to today tool tools total try up us use using value values want we well were what what's whats when
    which will with work working would yes you your"""
)
_OPENERS = _words("and calculate compute do does evaluate find is much simplify so solve then what what's whats")
_CLOSERS = _words("and but equal equals for is make makes please so then using with")
_UNREADABLE_SYMBOLS = frozenset("0123456789%=<>√π∞∑∫≠≤≥$€£°#@&|~_[]{}\\!'")
_STARTS_OPERAND = frozenset({"number", "open", "noun", "unary", "sign"})
_OTHER = "it is not arithmetic"
_NO_RESULT = "there is no earlier result to go on from"


@dataclass(frozen=True)
class _Span:
    """An expression in a sentence, and whether the words around it leave its meaning as it is."""

    node: int
    follows: bool
    is_clear: bool


class _Sentence:
    """A sentence, read from left to right by precedence climbing."""

    def __init__(self, text: str, tokens: list[Token], reading: Reading, previous: int | None) -> None:
        self.previous = previous
        self._text = text
        self._tokens = tokens
        self._reading = reading
        self._at = 0
        self._depth = 0
        self._spans: list[_Span] = []
        self._unknown: Token | None = None

    def ask(self) -> list[int | Problem]:
        """Return what the sentence asks for, and leave in `previous` what its last question does."""
        fault = None
        try:
            self._walk()
        except _UnreadableError as unreadable:
            fault = self._problem(str(unreadable))
        if self._is_factorial():
            self._spans.clear()
            fault = self._problem('"!" is not arithmetic it knows')
        if self._unknown is not None:
            return self._ask_among_words(self._unknown, fault)
        asked: list[int | Problem] = [span.node for span in self._spans]
        if fault and any(token.kind in ("number", "reference") for token in self._tokens):
            asked.append(fault)
            self.previous = None
        return asked

    def _ask_among_words(self, unknown: Token, fault: Problem | None) -> list[int | Problem]:
        """Return the expressions that words with no meaning here do not touch."""
        computed = [span for span in self._spans if isinstance(self._reading.nodes[span.node], Step)]
        clear = [span.node for span in computed if span.is_clear and not span.follows]
        if clear and len(clear) == len(computed) and not fault:
            self.previous = clear[-1]
            return list(clear)
        self.previous = None
        has_number = any(token.kind == "number" for token in self._tokens)
        # A hyphen is in many words, other operators are not.
        has_operator = any(token.kind == "operator" and token.text != "-" for token in self._tokens)
        if computed or (has_number and (has_operator or unknown.text[0] in _UNREADABLE_SYMBOLS)):
            return [self._problem(f'"{unknown.text}" at character {unknown.start + 1} is not arithmetic it knows')]
        if self._tokens[-1].text == "?":
            return [self._problem(_OTHER)]
        return []

    def _is_factorial(self) -> bool:
        """Return whether a "!" at the end is more than emphasis: "What is 5!" asks for something else than 5."""
        last, before = self._tokens[-1], self._tokens[-2] if len(self._tokens) > 1 else None
        is_bare = not any(isinstance(self._reading.nodes[span.node], Step) for span in self._spans)
        return last.text == "!" and before is not None and before.kind == "number" and bool(self._spans) and is_bare

    def _problem(self, reason: str) -> Problem:
        last = self._tokens[-1]
        return Problem(self._text[self._tokens[0].start : last.start + len(last.text)], reason)

    def _walk(self) -> None:
        while token := self._peek():
            if not self._starts_question(token):
                self._skip(token)
                continue
            before = self._peek(-1)
            self._depth = 0
            follows = self._follows(token)
            node = self._question(token, follows=follows)
            after = self._peek()
            if after and after.kind == "close":
                raise _UnreadableError(_unopened(after))
            if after and after.kind in (_STARTS_OPERAND | {"reference"}):
                raise _UnreadableError(f"an operator is missing before {_place(after)}")
            is_clear = (not before or before.name in _OPENERS or not before.name[0].isalnum()) and (
                not after or after.name in _CLOSERS or after.kind in ("comma", "stop") or after.text in "=:"
            )
            self._spans.append(_Span(node, follows, is_clear))
            self.previous = node

    def _skip(self, token: Token) -> None:
        if token.kind == "close":
            raise _UnreadableError(_unopened(token))
        self._at += 1
        after = self._peek()
        if token.text == "=":
            is_known = after is None or after.kind in ("stop", "comma", "word") or after.text == "="
        elif token.kind == "word":
            is_known = token.name in _DRESSING
        else:
            is_known = token.kind != "other" or token.text[0] not in _UNREADABLE_SYMBOLS
        if not is_known and self._unknown is None:
            self._unknown = token

    def _peek(self, ahead: int = 0) -> Token | None:
        at = self._at + ahead
        return self._tokens[at] if 0 <= at < len(self._tokens) else None

    def _starts_question(self, token: Token) -> bool:
        if token.kind == "reference":
            after = self._peek(1)
            return after is not None and after.kind in ("operator", "power")
        if token.kind == "verb":
            after = self._peek(1)
            return after is not None and (self._is_operand(after) or after.name in VERBS[token.name].joints)
        return token.kind in _STARTS_OPERAND or token.kind in ("operator", "power", "unary_verb")

    def _is_operand(self, token: Token) -> bool:
        return token.kind in _STARTS_OPERAND or token.kind == "reference" or token.text == "-"

    def _follows(self, token: Token) -> bool:
        """Return whether a question that begins with this token goes on from the result before."""
        if token.kind == "operator" and token.value in ("add", "subtract"):
            return self.previous is not None and token.text != "-"
        return token.kind in ("operator", "power")

    def _question(self, token: Token, *, follows: bool) -> int:
        if follows:
            return self._operators(self._before(), 0)
        if token.kind == "verb":
            return self._operators(self._command(token), 0)
        return self._expression()

    def _before(self) -> int:
        if self.previous is None:
            raise _UnreadableError(_NO_RESULT)
        return self.previous

    def _expression(self, least: int = 0, *, symbols_only: bool = False) -> int:
        """Read an expression as far as its operators bind at least so tightly.

        Args:
            least: The loosest binding.
            symbols_only: Stop before an operator that is a word, other than a power: in "the sum of 3 and 4 times 5"
                it belongs to the sum.
        """
        self._depth += 1
        if self._depth > DEEPEST:
            raise _UnreadableError(f"it is nested more than {DEEPEST} levels deep")
        node = self._operators(self._operand(), least, symbols_only=symbols_only)
        self._depth -= 1
        return node

    def _operators(self, left: int, least: int, *, symbols_only: bool = False) -> int:
        while token := self._peek():
            if token.kind == "power" and isinstance(token.value, int):
                self._at += 1
                left = self._reading.step("exponentiate", left, self._reading.number(token.value))
                continue
            tool = self._operator(token)
            if tool is None or BINDING[tool] < least:
                break
            if symbols_only and token.text[0].isalpha() and token.name != "x" and tool != "exponentiate":
                break
            self._at += 1
            # A power takes what is to its right first, the others what is to their left.
            right = self._expression(BINDING[tool] + (tool != "exponentiate"), symbols_only=symbols_only)
            x, y = (right, left) if token.value == "subtracted" else (left, right)
            left = self._reading.step(tool, x, y)
        return left

    def _operator(self, token: Token) -> str | None:
        if token.kind == "operator":
            return "subtract" if token.value == "subtracted" else str(token.value)
        after = self._peek(1)
        is_factor = after is not None and (after.kind in ("number", "open") or after.text == "-")
        return "multiply" if token.name == "x" and is_factor else None

    def _operand(self) -> int:
        token = self._peek()
        if token is None:
            raise _UnreadableError(f"a number is missing after {_place(self._tokens[-1])}")
        self._at += 1
        match token.kind, token.value:
            case "number", int() | float() as value:
                return self._reading.number(value)
            case "number", _:
                raise _UnreadableError("a number in it is too large")
            case "open", _:
                return self._parenthesis(token)
            case "sign", _:
                return self._negated()
            case "operator", "subtract":
                return self._negated()
            case "operator", "add":
                return self._expression(_SIGN_BINDING)
            case "noun", _:
                phrase = NOUNS[token.name.removeprefix("the ")]
                return self._fold(token, phrase, self._list(phrase, [self._expression()]))
            case (("unary" | "unary_verb"), _):
                tool, other = UNARY[token.name.removeprefix("the ")]
                return self._reading.step(tool, self._expression(_SIGN_BINDING), self._reading.number(other))
            case "reference", _:
                return self._before()
        raise _UnreadableError(f"a number is missing before {_place(token)}")

    def _parenthesis(self, opening: Token) -> int:
        node = self._expression()
        token = self._peek()
        if token is None or token.kind == "stop":
            raise _UnreadableError(f"{_place(opening)} is never closed")
        if token.kind != "close":
            raise _UnreadableError(f"an operator is missing before {_place(token)}")
        self._at += 1
        return node

    def _negated(self) -> int:
        node = self._expression(_SIGN_BINDING)
        value = self._reading.nodes[node]
        if isinstance(value, Step):
            return self._reading.step("subtract", self._reading.number(0), node)
        return self._reading.number(-value)

    def _command(self, verb: Token) -> int:
        self._at += 1
        phrase = VERBS[verb.name]
        token = self._peek()
        first = self._before() if token and token.name in phrase.joints else self._expression()
        operands = self._list(phrase, [first])
        if len(operands) == 1 and phrase.continues:
            operands = [first, self._before()] if phrase.swapped else [self._before(), first]
        is_power = isinstance(step := self._reading.nodes[first], Step) and step.tool == "exponentiate"
        if len(operands) == 1 and verb.name == "raise" and is_power:
            return first
        return self._fold(verb, phrase, operands)

    def _list(self, phrase: Phrase, operands: list[int]) -> list[int]:
        joint = None
        while (phrase.many or len(operands) < 2) and (joint := self._joint(phrase, closed=joint not in (None, ","))):
            operands.append(self._expression(symbols_only=joint != ","))
        return operands

    def _joint(self, phrase: Phrase, *, closed: bool) -> str | None:
        """Take what joins the next operand to those before, if one follows: a comma, or the word before the last."""
        token = self._peek()
        if token is None:
            return None
        if phrase.many and not closed and token.kind == "comma":
            after = self._peek(1)
            length = 2 if after and after.name == "and" else 1
        elif token.name in phrase.joints and (token.name == "and" or not closed):
            length = 1
        else:
            return None
        operand = self._peek(length)
        if operand is None:
            return None
        is_last = closed and operand.kind not in ("number", "open")
        if is_last or not self._is_operand(operand):
            return None
        self._at += length
        return token.name if length == 1 else "and"

    def _fold(self, token: Token, phrase: Phrase, operands: list[int]) -> int:
        if len(operands) < 2:
            raise _UnreadableError(f"{_place(token)} needs two numbers")
        if phrase.swapped:
            operands = operands[::-1]
        node = operands[0]
        for operand in operands[1:]:
            node = self._reading.step(phrase.tool, node, operand)
        return node


def _unopened(token: Token) -> str:
    return f'{_place(token)} has no "(" before it'


def _place(token: Token) -> str:
    return f'"{token.text.strip()}" at character {token.start + 1}'


def _read(text: str, previous: Number | None, *, spoken_and: bool) -> Reading:
    reading = Reading()
    before = None if previous is None else reading.number(previous)
    for sentence in _sentences(text, spoken_and=spoken_and):
        part = _Sentence(text, sentence, reading, before)
        reading.asked += part.ask()
        before = part.previous
    reading.asked = list(dict.fromkeys(reading.asked))
    if any(isinstance(asked, int) and isinstance(reading.nodes[asked], Step) for asked in reading.asked):
        # The 2 of "2. What is 3 + 4?" and the 5 of "Take 5, add 3" are not questions.
        reading.asked = [a for a in reading.asked if isinstance(a, Problem) or isinstance(reading.nodes[a], Step)]
    elif all(isinstance(asked, Problem) and asked.reason == _OTHER for asked in reading.asked):
        reading.asked = []
    return reading


def _sentences(text: str, *, spoken_and: bool) -> Iterator[list[Token]]:
    sentence: list[Token] = []
    for token in tokens(text, spoken_and=spoken_and):
        sentence.append(token)
        if token.kind == "stop":
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _has_problem(reading: Reading) -> bool:
    return any(isinstance(asked, Problem) for asked in reading.asked)
