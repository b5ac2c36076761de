"""The files of a data folder, and a copy of them all as of one moment, while a server writes.

    lock the records ──> begin reading each file ──> unlock ──> copy what each reader sees

While the records are locked no run is created, claimed or ended. So the copies are what a process that was killed at
that moment would have left: no run has ended whose checkpoints are missing, no checkpoint is of a run that the records
do not know. What then was under way goes on from its last checkpoint, as it does after a kill. They are marked as a
folder of their own: a single one of them does not fit the files that it was copied from.
"""

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from api.errors import ThreadlineError
from api.storage.sqlite.mark import Mark, write_mark

FILES = ("threadline.sqlite", "checkpoints.sqlite", "store.sqlite")
"""The records with the events, the states of threads, and the store."""

_BUSY_SECONDS = 30.0
_STEP_PAGES = 1024


def data_files(folder: Path) -> Sequence[Path]:
    """Those files that are in the folder."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def back_up(source: Path, target: Path) -> Sequence[Path]:
    """Copies a data folder as of one moment; a server may use it meanwhile and is not held up.

    The folder of the copy is complete or, if anything fails, as it was.

    Args:
        source: the data folder.
        target: where the copies go; made if it does not exist.

    Returns:
        The copies.

    Raises:
        ThreadlineError: there is nothing to copy, or the target has files of these names already; or a file cannot be
            read, or is damaged.
        OSError: the target cannot be written.
    """
    files = data_files(source)
    if source / FILES[0] not in files:
        raise ThreadlineError(f"There is nothing in {source}: no server has kept its data there.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    if taken := [name for name in FILES if (target / name).exists()]:
        raise ThreadlineError(f"{target / taken[0]} exists already: name another folder.")
    try:
        _copy_all(files, target)
    except sqlite3.Error as exc:
        raise ThreadlineError(f"The data cannot be copied: {exc}.") from exc
    return [target / path.name for path in files]


def _copy_all(files: Sequence[Path], target: Path) -> None:
    with contextlib.ExitStack() as stack:
        pairs = [(connection, target / f"{path.name}.partial") for path, connection in _pinned(files, stack)]
        for _, partial in pairs:
            stack.callback(partial.unlink, missing_ok=True)
        mark = Mark(uuid.uuid4().hex, 1)
        for connection, partial in pairs:
            _copy(connection, partial, mark)
        for _, partial in pairs:
            partial.rename(partial.with_suffix(""))


def _pinned(files: Sequence[Path], stack: contextlib.ExitStack) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """Connections that all see the files as of the same moment."""
    with _connected(files[0]) as lock:
        connections = [(path, stack.enter_context(_connected(path))) for path in files]
        lock.execute("BEGIN IMMEDIATE")
        for _, connection in connections:
            connection.execute("BEGIN")
            # A reader begins with its first look.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        lock.execute("ROLLBACK")
    return iter(connections)


def _connected(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None))


def _copy(source: sqlite3.Connection, path: Path, mark: Mark) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
        source.backup(copy, pages=_STEP_PAGES, sleep=0)
        write_mark(copy, mark)
        # Else the first to open it would have to find room for a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        damage = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise ThreadlineError(f"{path.stem} is damaged: {damage}.")
    with path.open("rb") as written:
        os.fsync(written.fileno())
