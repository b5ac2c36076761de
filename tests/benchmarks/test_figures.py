"""A figure holds its number to its target, and the table says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Figure, percentile, table


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure.at_least("runs", "1/s", 80, 100, 0.8), True),
        (Figure.at_least("runs", "1/s", 79, 100, 0.8), False),
        (Figure.at_most_more("time", "ms", 11, 1, 10), True),
        (Figure.at_most_more("time", "ms", 11.1, 1, 10), False),
        (Figure.at_most("disk", "MB", 1.5, 1.5), True),
        (Figure.at_most("disk", "MB", 1.6, 1.5, bare=0.1), False),
        (Figure("CPU", "us", 1), None),
    ],
)
def test_figure_is_held_to_its_target(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_table_shows_ratio_and_verdict() -> None:
    lines = table([Figure.at_least("runs", "1/s", 70, 140, 0.8), Figure.at_most("disk", "MB", 1.2, 1.5)]).splitlines()
    assert lines[1].split() == ["runs,", "1/s", "70", "140", "0.5x", ">=", "0.8", "of", "bare", "MISSED"]
    assert lines[2].split() == ["disk,", "MB", "1.2", "<=", "1.5", "MB", "ok"]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_percentile_has_its_share_at_or_below(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100
