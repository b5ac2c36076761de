"""A figure: one number of the service beside those of other servers, held to a target, as a line of the table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Numbers are in `unit`."""

    name: str
    unit: str
    ours: float
    bare: float | None = None
    target: str = ""
    met: bool | None = None
    """None where there is no target."""
    peer: float | None = None
    """The number of `langgraph dev`."""

    @classmethod
    def at_least(
        cls, name: str, unit: str, ours: float, bare: float, share: float, *, peer: float | None = None
    ) -> Self:
        """Ours is to be at least this share of the bare server's."""
        return cls(name, unit, ours, bare, f">= {share:g} of bare", ours >= share * bare, peer)

    @classmethod
    def at_most_more(cls, name: str, unit: str, ours: float, bare: float, more: float) -> Self:
        """Ours is to be at most so much more than the bare server's."""
        return cls(name, unit, ours, bare, f"<= {more:g} {unit} over bare", ours <= bare + more)

    @classmethod
    def at_most(cls, name: str, unit: str, ours: float, limit: float, bare: float | None = None) -> Self:
        """Ours is to be at most so much, whatever the bare server's is."""
        return cls(name, unit, ours, bare, f"<= {limit:g} {unit}", ours <= limit)

    def cells(self) -> tuple[str, ...]:
        """What the table shows of it."""
        beside = (*self._beside(self.bare), *self._beside(self.peer))
        verdict = {None: "", True: "ok", False: "MISSED"}[self.met]
        return (f"{self.name}, {self.unit}", _number(self.ours), *beside, self.target, verdict)

    def _beside(self, other: float | None) -> tuple[str, str]:
        return ("", "") if other is None else (_number(other), _number(self.ours / other, "x"))


_HEADINGS = ("figure", "threadline", "bare", "ratio", "dev", "ratio", "target", "")


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, one a line."""
    rows = [_HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    aligned = (str.ljust, *(str.rjust,) * 5, str.ljust, str.ljust)
    return "\n".join(
        "  ".join(align(cell, width) for cell, width, align in zip(row, widths, aligned, strict=True)).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all are not above.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _number(value: float, suffix: str = "") -> str:
    if value and abs(value) < 100:
        return f"{value:.3g}{suffix}"
    return f"{value:,.0f}{suffix}"
