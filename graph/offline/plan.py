"""What is to be computed, as a plan of steps for tools to do.

    nodes      0: 3   1: 4   2: add(0, 1)   3: 5   4: multiply(2, 3)   5: 2   6: exponentiate(5, 1)
    asked      2, 4, 6

Equal parts of a text are one node, and a node comes after the nodes it needs.
"""

from dataclasses import dataclass, field

from .numbers import Number, digits

BINDING = {"add": 1, "subtract": 1, "multiply": 2, "divide": 2, "exponentiate": 4}
"""How tightly each tool's operator binds its operands."""

_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "exponentiate": "**"}


@dataclass(frozen=True)
class Step:
    """A call of a tool.

    Args:
        tool: add, subtract, multiply, divide or exponentiate.
        x: The node that the first operand comes from.
        y: The node that the second operand comes from.
    """

    tool: str
    x: int
    y: int

    @property
    def symbol(self) -> str:
        return _SYMBOLS[self.tool]


@dataclass(frozen=True)
class Problem:
    """A part of the text that asks for something, but cannot be read."""

    text: str
    reason: str


@dataclass
class Reading:
    """What was read.

    Args:
        nodes: Numbers, and steps over the nodes before them.
        asked: In the order of the text, the nodes whose values it asks for, and what could not be read.
    """

    nodes: list[Number | Step] = field(default_factory=list)
    asked: list[int | Problem] = field(default_factory=list)
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def number(self, value: Number) -> int:
        return self._node(value, (type(value), value))

    def step(self, tool: str, x: int, y: int) -> int:
        return self._node(Step(tool, x, y), (tool, x, y))

    def _node(self, node: Number | Step, key: tuple[object, ...]) -> int:
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def show(self, node: int) -> str:
        """Write a node as an expression, in digits and symbols, with no more parentheses than it needs."""
        written: list[str] = []
        left: list[str | int] = [node]
        while left:
            item = left.pop()
            if isinstance(item, str):
                written.append(item)
            elif isinstance(step := self.nodes[item], Step):
                x, y = self._operand(step, step.x, is_left=True), self._operand(step, step.y, is_left=False)
                left += reversed([*x, f" {step.symbol} ", *y])
            else:
                written.append(digits(step))
        return "".join(written)

    def _operand(self, parent: Step, node: int, *, is_left: bool) -> list[str | int]:
        operand = self.nodes[node]
        is_power = parent.tool == "exponentiate"
        if isinstance(operand, Step):
            binding = BINDING[operand.tool]
            # Of equal operators, the left one is done first; of powers, the right one.
            bare = binding > BINDING[parent.tool] or (binding == BINDING[parent.tool] and is_left != is_power)
        else:
            bare = operand >= 0 or not (is_power and is_left)
        return [node] if bare else ["(", node, ")"]
