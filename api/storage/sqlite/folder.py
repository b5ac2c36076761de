"""The data folder: who may read it, and that its files belong together.

    lock ──> check ──> the files are opened, made if need be ──> mark ──> unlock ──> ... ──> closed ──> mark

Each file has the folder's id and a generation, which every start and every end of a server makes greater. So a file
that is missing, of another folder, or an older copy, is found before anything has been read or deleted by what it says.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from api.errors import StorageError
from api.storage.sqlite.database import INCREMENTAL, use_wal
from api.storage.sqlite.files import FILES
from api.storage.sqlite.mark import Mark, check_pages, has_rows, opened, read_mark, write_mark

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
"""How long a start waits for another one."""
_LOOK_SECONDS = 0.02

_RECORDS, *_OTHERS = FILES
_TABLES = dict(zip(FILES, ("threads", "checkpoints", "store"), strict=True))
"""What a file would lose most."""
_REMEDY = (
    "Nothing was changed. Put back the file that was there, or all files of one backup; after `threadline adopt` a "
    "server goes on with the files as they are."
)


class Folder:
    """A data folder.

    Args:
        path: where it is; made if it does not exist.
        records: whether the records are in it too; without them what is there is not known to be right or wrong.
    """

    def __init__(self, path: Path, *, records: bool = True) -> None:
        self._path = path
        self._records = records
        self._marked = False

    @contextlib.asynccontextmanager
    async def opening(self) -> AsyncIterator[None]:
        """Checks the files, has them opened by who enters it, and marks them; other processes wait meanwhile.

        Raises:
            StorageError: the files do not belong together; or one of them is damaged, or cannot be read or written.
        """
        await asyncio.to_thread(self._make_private)
        async with self._locked():
            await asyncio.to_thread(self._prepare)
            yield
            if self._records:
                await asyncio.to_thread(self._mark)
                self._marked = True

    async def close(self) -> None:
        """Marks the files again, if they have been marked and that can be done."""
        if not self._marked:
            return
        try:
            async with self._locked():
                await asyncio.to_thread(self._mark)
        except StorageError as exc:
            logger.warning("the data folder could not be marked: %s", exc.message)

    async def adopt(self) -> None:
        """Lets the files belong together as they are; one that is missing is made.

        Raises:
            StorageError: a file cannot be read or written.
        """
        self._make_private()
        async with self._locked():
            _make(self._path, FILES)
            self._mark_all(Mark(uuid.uuid4().hex, 1))

    def _make_private(self) -> None:
        """Makes the folder, and takes away what others of the machine may do with it and its files.

        A folder that was there, and holds other files too, keeps its mode.
        """
        if not self._path.is_dir():
            self._path.mkdir(parents=True, mode=0o700)
        elif all(entry.name.startswith(FILES) for entry in self._path.iterdir()):
            _restrict(self._path, 0o700)
        for path in self._path.iterdir():
            if path.name.startswith(FILES):
                _restrict(path, 0o700 if path.is_dir() else 0o600)

    def _prepare(self) -> None:
        if self._records:
            self._check()
        _make(self._path, FILES if self._records else _OTHERS)

    def _check(self) -> None:
        """Looks whether the files belong together, and for damage as far as that is quickly done.

        Raises:
            StorageError: they do not, or one of them is damaged, or cannot be read.
        """
        marks = {name: self._examined(name) for name in FILES if self._is_there(name)}
        if marks and (fault := self._fault(marks)):
            raise StorageError(f"The files in {self._path} do not belong together: {fault}. {_REMEDY}")

    def _mark(self) -> None:
        """Gives all files the next generation; all of them are there.

        Raises:
            StorageError: a file cannot be read or written.
        """
        with opened(self._path / _RECORDS) as connection:
            last = read_mark(connection) or Mark(uuid.uuid4().hex, 0)
        # What died on the way here has left some files with the generation before: these get this one first.
        self._mark_all(Mark(last.folder, last.generation + 1 if last.settled else last.generation))

    def _mark_all(self, mark: Mark) -> None:
        self._mark_one(_RECORDS, Mark(mark.folder, mark.generation, settled=False))
        for name in _OTHERS:
            self._mark_one(name, mark)
        self._mark_one(_RECORDS, mark)

    def _mark_one(self, name: str, mark: Mark) -> None:
        """Marks a file, which is made if need be; returns when the mark is on the disk."""
        with opened(self._path / name) as connection:
            connection.execute(INCREMENTAL)
            use_wal(connection)
            # What the next file says rests on it, also after the power was cut.
            connection.execute("PRAGMA synchronous=FULL")
            write_mark(connection, mark)

    def _is_there(self, name: str) -> bool:
        """Whether a file holds anything: one that is empty was just made."""
        path = self._path / name
        return path.is_file() and path.stat().st_size > 0

    def _examined(self, name: str) -> Mark | None:
        path = self._path / name
        with opened(path) as connection:
            check_pages(path, connection)
            return read_mark(connection)

    def _fault(self, marks: Mapping[str, Mark | None]) -> str | None:
        """Why files do not belong together, if so."""
        records = marks.get(_RECORDS)
        missing = [name for name in FILES if name not in marks]
        if missing and self._is_loss(marks):
            return f"{missing[0]} is missing"
        for name in _OTHERS:
            if name in marks and (fault := _misfit(name, records, marks[name])):
                return fault
        return None

    def _is_loss(self, marks: Mapping[str, Mark | None]) -> bool:
        """Whether a file that is missing has been there: what was never marked may be in the making."""
        return any(marks.values()) or any(self._has_rows(name) for name in marks)

    def _has_rows(self, name: str) -> bool:
        with opened(self._path / name) as connection:
            return has_rows(connection, _TABLES[name])

    @contextlib.asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """One process at a time opens, looks and marks; a process that dies lets go.

        Raises:
            StorageError: another one has not let go for long.
        """
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            until = time.monotonic() + _LOCK_SECONDS
            while not _lock(descriptor):
                if time.monotonic() > until:
                    raise StorageError(f"Another process has been opening {self._path} for {_LOCK_SECONDS:g} s.")
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        logger.warning("the data folder cannot be locked, so start one process after the other: %s", exc)
    return True


def _make(folder: Path, names: Sequence[str]) -> None:
    """Makes files that are not there, empty: SQLite would let everybody read them."""
    for name in names:
        # Where that fails, to open them says why.
        with contextlib.suppress(OSError):
            os.close(os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600))


def _misfit(name: str, records: Mark | None, other: Mark | None) -> str | None:
    """Why a file does not belong to the records, if so."""
    if records is None:
        return None if other is None else f"{_RECORDS} is older than {name}"
    lowest = records.generation if records.settled else records.generation - 1
    if other is None:
        return None if lowest == 0 else f"{name} is older than {_RECORDS}"
    if other.folder != records.folder:
        return f"{name} and {_RECORDS} are of different folders"
    if other.generation > records.generation:
        return f"{_RECORDS} is older than {name}"
    return f"{name} is older than {_RECORDS}" if other.generation < lowest else None


def _restrict(path: Path, mode: int) -> None:
    """Takes away what the mode does not have."""
    try:
        before = path.stat().st_mode & 0o777
        if before & ~mode:
            path.chmod(before & mode)
    except FileNotFoundError:
        return  # another process has closed it
    except OSError as exc:
        logger.warning("others of this machine may read %s: %s", path, exc)
