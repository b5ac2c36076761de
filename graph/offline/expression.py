"""Reads one expression: English into Python, whose own `ast` knows precedence, parentheses and signs.

    add 3 and 4     multiply that by 5     minus half of 10
    ((3)+(4))       ((that)*(5))           -((10)/2)
    3 + 4           (3 + 4) * 5            -(10 / 2)

Nothing is computed here. What is too long for a parser or a printer that recurses is refused before it is parsed.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from .tokens import Token

MOST = 64
"""Operations and parentheses that an expression may have, with those of the earlier one that it goes on from."""


class UnreadableError(Exception):
    """The arithmetic has a fault."""


@dataclass(frozen=True)
class Expression:
    """What is to be computed; equal if it is written the same.

    Args:
        text: As Python writes it.
        tree: As Python reads it, of numbers, signs and operations alone.
        size: How many operations and parentheses it was made of.
    """

    text: str
    tree: ast.expr = field(compare=False)
    size: int = field(default=0, compare=False)

    @property
    def is_number(self) -> bool:
        return is_number(self.tree)


def is_number(tree: ast.expr) -> bool:
    """Return whether there is nothing to compute."""
    return is_number(tree.operand) if isinstance(tree, ast.UnaryOp) else isinstance(tree, ast.Constant)


def parsed(source: str, that: Expression | None = None, size: int = 0) -> Expression:
    """Return the expression that a Python text stands for; `that` is what the name stands for in it."""

    class InPlace(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return that.tree if that else name

    tree = InPlace().visit(ast.parse(source, mode="eval").body)
    return Expression(ast.unparse(tree), tree, size)


class Translation:
    """An expression in a sentence, from its first token on.

    Args:
        tokens: The sentence.
        at: Its first token; after `read`, the one after its last.
        previous: What came before.
    """

    def __init__(self, tokens: Sequence[Token], at: int, previous: Expression | None) -> None:
        self.at = at
        self._tokens = tokens
        self._previous = previous
        self._size = 0

    def read(self) -> Expression:
        """Return the expression.

        Raises:
            UnreadableError: If it has a fault.
        """
        first = self._peek()
        is_signed = first.python in ("+", "-") and (self._previous is None or first.name in ("-", "−", "–", "negative"))
        goes_on = first.kind in ("operator", "power") and not is_signed
        source = self._operations(self._that() if goes_on else self._operand())
        if self._peek().kind == "close":
            raise UnreadableError(f'{place(self._peek())} has no "(" before it')
        return parsed(source, self._previous, self._size)

    def _peek(self, ahead: int = 0) -> Token:
        at = self.at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("stop", "", at)

    def _take(self, size: int = 0) -> Token:
        self._grow(size)
        self.at += 1
        return self._tokens[self.at - 1]

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MOST:
            raise UnreadableError(f"it has more than {MOST} operations and parentheses")

    def _that(self) -> str:
        if self._previous is None:
            raise UnreadableError("there is no earlier result to go on from")
        self._grow(self._previous.size)
        return "that"

    def _operations(self, source: str, reach: int = 0) -> str:
        """Return an operand with the operations that follow it and reach as far."""
        while (token := self._peek()).reach >= reach and token.kind in ("operator", "power"):
            source += self._take(1).python
            if token.kind == "operator":
                source += self._operand()
        return source

    def _operand(self) -> str:
        token = self._peek()
        if token.kind == "reference":
            self._take()
            return self._that()
        if token.kind == "number" and token.python:
            return self._take().python
        if token.kind in ("noun", "verb"):
            return self._phrase(self._take(1))
        if token.python in ("+", "-"):
            return self._take(1).python.replace("+", "") + self._operand()
        if token.kind == "open":
            return self._parenthesis(self._take(1))
        if token.kind == "number":
            raise UnreadableError("a number in it is too large")
        missing = f"before {place(token)}" if token.text else f"after {place(self._tokens[-1])}"
        raise UnreadableError(f"a number is missing {missing}")

    def _parenthesis(self, opening: Token) -> str:
        source = self._operations(self._operand())
        token = self._peek()
        if token.kind == "stop":
            raise UnreadableError(f"{place(opening)} is never closed")
        if token.kind != "close":
            raise UnreadableError(f"an operator is missing before {place(token)}")
        self._take()
        return f"({source})"

    def _phrase(self, opening: Token) -> str:
        """Return the operation of a noun or verb: "the sum of 3 and 4 times 5" is 35, but "3 and 4*5" is 23."""
        if opening.python[-1].isdigit():
            return f"(({self._operations(self._operand(), reach=2)}){opening.python})"
        joint = opening
        if opening.kind == "verb" and self._joins(opening, joint):
            # "Multiply by 4" leaves out what is multiplied.
            operands = [self._that()]
        else:
            operands = [self._operations(self._operand())]
        while self._joins(opening, joint):
            joint = self._take(1)
            operands.append(self._operations(self._operand(), reach=int(joint.kind == "joint")))
        if len(operands) == 1 and opening.name in ("add", "subtract"):
            operands.insert(0, self._that())
        elif len(operands) == 1 and opening.name != "raise":
            raise UnreadableError(f"{place(opening)} needs two numbers")
        if joint.name == "from":
            operands.reverse()
        return f"(({f'){opening.python}('.join(operands)}))"

    def _joins(self, opening: Token, joint: Token) -> bool:
        """Return whether another operand of a noun or verb comes next; `joint` is what came before the last one."""
        token, after = self._peek(), self._peek(1)
        takes_many = opening.python in ("+", "*")
        is_joint = token.kind == "joint" and (opening.kind == "verb" or token.name.endswith("and"))
        if not after.starts_operand:
            return False
        if joint.kind == "joint":
            # "The sum of 1 and 2 and the product of 3 and 4" are two.
            return takes_many and is_joint and after.kind in ("number", "open")
        return is_joint or (takes_many and token.kind == "comma")


def place(token: Token) -> str:
    """Return where a token is, for people."""
    return f'"{token.text.strip()}" at character {token.start + 1}'
