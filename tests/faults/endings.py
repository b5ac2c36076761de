"""Endings that fail: imported by the server's graph, if asked for, so that ends of runs raise now and then."""

import itertools
from typing import Any

from api.storage.sqlite.checkpoints import SqliteCheckpoints
from api.storage.sqlite.queue import SqliteRunQueue

_FAILING = (3, 4, 5)
"""Of ten calls: as often in a row as an ending is tried."""


class BrokenEndingError(Exception):
    """The fault."""


def break_endings() -> None:
    """From now on calls that end a run fail, some of them again and again."""
    for owner, name in ((SqliteRunQueue, "finish"), (SqliteCheckpoints, "adelete_for_runs")):
        _break(owner, name)


def _break(owner: Any, name: str) -> None:
    real, numbers = getattr(owner, name), itertools.count()

    async def broken(*args: Any, **named: Any) -> Any:
        if next(numbers) % 10 in _FAILING:
            raise BrokenEndingError(name)
        return await real(*args, **named)

    setattr(owner, name, broken)
