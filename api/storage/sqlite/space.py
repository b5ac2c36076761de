"""Space: what deleted rows leave in a SQLite file, given back to the disk in small steps.

A file that was made before it knew how keeps its free pages, and uses them again, until `vacuum` writes it anew.
"""

import contextlib
import sqlite3
from pathlib import Path

from api.errors import ThreadlineError
from api.storage.sqlite.database import INCREMENTAL, Database

_STEP_PAGES = 64
"""Moved in one transaction: the lock is held for about a millisecond."""
_SPARE_PAGES = 256
"""Left free, as new rows would only take them from the disk again."""
_BUSY_SECONDS = 30.0


async def reclaim(database: Database) -> None:
    """Gives free pages at the end of the file back; others write between the steps.

    Args:
        database: the file.
    """
    while await database.write(_step):
        pass


def _step(connection: sqlite3.Connection) -> bool:
    """Moves some pages, in the transaction that is under way; whether there is more to do."""
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0:
        return False
    free = connection.execute("PRAGMA freelist_count").fetchone()[0] - _SPARE_PAGES
    for _ in range(min(free, _STEP_PAGES)):
        # One at a time: for each page SQLite gives a row without columns, after which Python takes it to be done.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return bool(free > _STEP_PAGES)


def vacuum(path: Path) -> None:
    """Writes a file anew, without free pages; others wait meanwhile.

    Args:
        path: the file; it takes as much again on the disk until that is done.

    Raises:
        ThreadlineError: another process has it locked for too long, or the disk is full.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute(INCREMENTAL)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as exc:
        raise ThreadlineError(f"{path.name} was not vacuumed: {exc}.") from exc
