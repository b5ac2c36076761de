"""Nothing that a client, a tenant or a model chooses holds up others: every place once, each with another shape.

`make fuzz` drives all of them through all sizes, and holds them to a bound; here the machine may be busy with others.
"""

import itertools
from collections.abc import Iterator

import pytest

from tests.hostile.stalls import STRUCTURES, TEXTS, Driver, Places, Request, nested, places, served, text

SIZE = 1 << 17
ROOM = 10.0
"""Seconds that `/ok` may wait here: what is quadratic takes minutes at this size."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with served(tmp_path_factory.mktemp("stalls")) as driver:
        driver.rest()
        yield driver


@pytest.fixture(scope="module")
def of(driver: Driver) -> Places:
    return places(driver)


def check(driver: Driver, name: str, request: Request, *, failing: bool = False) -> None:
    wait = driver.send(name, SIZE, request)
    assert wait.longest < driver.idle + ROOM, wait
    assert 200 <= wait.status < 500 or wait.status in (501, 503) or (failing and wait.status == 500), wait


def test_texts(driver: Driver, of: Places) -> None:
    units = itertools.cycle(TEXTS.items())
    for name, send in of.of_text():
        unit, repeated = next(units)
        check(driver, f"{name}: {unit}", send(text(repeated, SIZE // 4)))


def test_structures(driver: Driver, of: Places) -> None:
    shapes = itertools.cycle(STRUCTURES.items())
    for name, fill in of.of_structures():
        shape, make = next(shapes)
        check(driver, f"{name}: {shape}", fill(make(SIZE // 2)))


def test_what_models_and_nodes_write(driver: Driver, of: Places) -> None:
    for name, of_size in of.of_sizes():
        if not name.startswith("model") or name.endswith("colons"):
            check(driver, name, of_size(SIZE), failing="raise" in name)


def test_what_once_stopped_the_server(driver: Driver, of: Places) -> None:
    sends = dict(of.of_text())
    for name in ("role", "as_node", "superstep", "goto"):
        check(driver, name, sends[name](text("://:", SIZE)))
    fills = dict(of.of_structures())
    check(driver, "search metadata", fills["search metadata"]([1] * 4000))
    check(driver, "command goto", fills["command goto"](["a"] * 9000))
    check(driver, "command update", fills["command update"]({f"k{number}": number for number in range(9000)}))
    check(driver, "messages", fills["messages"](nested(24, 8 << 20)))
    check(driver, "item filters", fills["item filters"]({f"k{number}": number for number in range(900)}))
