"""The mark of a file: which folder it is of, and how new it is, by its own word."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from api.errors import StorageError
from api.storage.sql import queries
from api.storage.sqlite.database import first

_BUSY_SECONDS = 30.0
_WHOLE_BYTES = 16 << 20
"""A file of this size is read in some 30 ms."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file says of itself."""

    folder: str
    """An id that all files of a folder share."""
    generation: int
    """Grows with every start and every end of a server: a file with a smaller one is an older copy."""
    settled: bool = True
    """False in the records while the others may not have this generation yet."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file.

    Raises:
        StorageError: the file is not a database, is damaged, or cannot be read or written.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as exc:
        raise StorageError(f"{path.name} cannot be used: {exc}.") from exc


def read_mark(connection: sqlite3.Connection) -> Mark | None:
    """The mark of a file; None if it has none yet."""
    statements = queries("folder.sql")
    if "threadline_folder" not in tables(connection):
        return None
    row = first(connection.execute(statements["read_mark"]))
    return None if row is None else Mark(row["folder"], row["generation"], bool(row["settled"]))


def write_mark(connection: sqlite3.Connection, mark: Mark) -> None:
    """Marks a file."""
    statements = queries("folder.sql")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(statements["make_mark"])
    connection.execute(statements["write_mark"], asdict(mark))
    connection.execute("COMMIT")


def has_rows(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table is there, and has a row."""
    return table in tables(connection) and first(connection.execute(f"SELECT 1 FROM {table} LIMIT 1")) is not None  # noqa: S608  # our own name


def tables(connection: sqlite3.Connection) -> list[str]:
    """The names of a file's tables."""
    return [row["name"] for row in connection.execute(queries("folder.sql")["tables"])]


def check_pages(path: Path, connection: sqlite3.Connection) -> None:
    """Looks for damage: everywhere in a small file; in a large one only at both ends of each table.

    Raises:
        StorageError: there is some.
    """
    if path.stat().st_size <= _WHOLE_BYTES:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise StorageError(f"{path.name} is damaged: {damage}.")
        return
    for table in tables(connection):
        columns = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})") if row["pk"]]
        order = ", ".join(f'"{name}"' for name in columns) or "rowid"
        for direction in ("ASC", "DESC"):
            way = ", ".join(f"{name} {direction}" for name in order.split(", "))
            connection.execute(f'SELECT * FROM "{table}" ORDER BY {way} LIMIT 1').fetchall()  # noqa: S608  # names of the file's own
