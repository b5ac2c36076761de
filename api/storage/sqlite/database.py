"""The database: one SQLite file, a thread that writes and a thread that reads.

    write(job) ──> queue ──> writer: BEGIN, all jobs that wait, COMMIT ──one call──> loop: every caller's future
    read(job)  ──> queue ──> reader: BEGIN, the jobs that wait, COMMIT ──one call──> loop: every caller's future

The more callers write at one time, the more of them share a commit and a wake-up of the loop.

A quick job, of a few rows, runs on the loop itself while its thread has nothing to do: some 40 µs, where the way to a
thread and back takes a busy interpreter several times that. It never waits there: not for the disk, because a commit in
WAL mode only writes to the page cache and the thread moves the log into the file; not for another process, because a
locked database sends it to the thread, and so does a row of a state or a request that is large, which takes a quarter
of a second to write; and if one was slow all the same, the thread does all the work for a while.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from api.errors import OverloadedError, StorageError, ThreadlineError
from api.storage.sqlite.failure import failure

logger = logging.getLogger(__name__)

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]
"""What one caller does in a transaction; a function of the connection alone, as it may run again after a rollback."""

_BUSY_SECONDS = 10.0
"""How long a transaction waits for another process to finish its own."""
QUICK_BYTES = 128 << 10
"""What a quick job may write, give or take the columns that are always small."""
QUICK_ROWS = 100
"""Likewise."""
_QUICK_ROW = 1 << 20
"""Bytes of the largest row that the loop reads or writes: an UPDATE of a few columns writes all of them again."""
_LONGEST_ROW = (1 << 31) - 1
"""Any, as far as SQLite has them."""
_SLOW_SECONDS = 0.02
"""A quick job that takes longer has had to wait: for memory, or for a disk that cannot keep up."""
_REST_SECONDS = 1.0
"""How long the thread does all the work then."""
_TURN_SECONDS = 0.01
"""Of one turn of the loop, in which jobs may be quick: who awaits many of them would else never let it go round."""
_CHECKPOINT_COMMITS = 256
"""Between moves of the log into the file: about as many as make the thousand pages at which SQLite does so itself."""
INCREMENTAL = "PRAGMA auto_vacuum=INCREMENTAL"
"""Before a file has tables: the pages of deleted rows can be given back in small steps; see `space`."""
SHORT_LOG = f"PRAGMA journal_size_limit={16 << 20}"
"""What the log of a connection that writes may keep of the disk once it has been moved into the file."""
_FOR_THREAD = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_TOOBIG})
"""Why a quick job is run again, by the thread."""
_READ_BATCH = 8
"""Few, because the first read of a batch gets its result together with the last."""


class Database:
    """A SQLite file, used from the event loop that opened it.

    Args:
        path: the file; made if it does not exist.
        migrations: the statements of each version of the schema.
        max_jobs: that may wait at one time, of each kind; one more is refused.
        wait_for_disk: whether each commit does; none is then made on the loop.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[Sequence[str]],
        *,
        max_jobs: int = 20_000,
        wait_for_disk: bool = False,
    ) -> None:
        self._path = path
        self._wait_for_disk = wait_for_disk
        self._migrations = migrations
        self._writer = _Lane(
            "write",
            path.name,
            self._connect_writer,
            "BEGIN IMMEDIATE",
            batch=max_jobs,
            max_jobs=max_jobs,
            checkpoints=True,
            here=not wait_for_disk,
        )
        self._reader = _Lane("read", path.name, self._connect_reader, "BEGIN", batch=_READ_BATCH, max_jobs=max_jobs)

    @property
    def commits(self) -> int:
        """How many transactions the writer has committed."""
        return self._writer.commits

    @property
    def waiting_writes(self) -> int:
        """How many jobs wait for the writer, or are with it."""
        return self._writer.waiting

    async def open(self) -> None:
        """Starts the threads; makes or migrates the schema.

        Raises:
            ThreadlineError: the file is not a database, is of a newer version, or cannot be read or written.
        """
        await self._writer.start()
        try:
            await self._reader.start()
        except BaseException:
            await self._writer.stop()
            raise

    async def close(self) -> None:
        """Runs what waits, then ends the threads; a job that is given later fails."""
        await self._writer.stop()
        await self._reader.stop()

    def write(
        self, job: Job[T], on_commit: Callable[[], None] | None = None, *, quick: bool = False
    ) -> asyncio.Future[T]:
        """Runs a job in a write transaction, alone or with others; a job that raises is rolled back alone.

        A caller that is cancelled takes nothing back: the job runs.

        Args:
            job: what to do.
            on_commit: called on the loop once the job is durable, even if its caller is gone.
            quick: it writes a few rows, found by an index, of QUICK_BYTES in all: it may run on the loop, but not
                if it finds a large one.

        Returns:
            The job's result, or what it raised. A failure of the database itself is a StorageError.
        """
        return self._writer.submit(job, on_commit, quick=quick)

    def post(self, job: Job[None]) -> None:
        """Runs a job in a write transaction; called on any thread, also while the event loop is blocked.

        Nobody waits for it: a failure is logged.
        """
        self._writer.post(job)

    def read(self, job: Job[T], *, quick: bool = False) -> asyncio.Future[T]:
        """Runs a job on a snapshot of all that is committed.

        Args:
            job: what to do.
            quick: it reads a few rows, found by an index: it may run on the loop, unless one is large.
        """
        return self._reader.submit(job, None, quick=quick)

    def _connect(self) -> sqlite3.Connection:
        # The loop uses it too, but never while its thread does.
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, cached_statements=256, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            connection.execute(INCREMENTAL)
            use_wal(connection)
            connection.execute(SHORT_LOG)
            connection.execute(synchronous(wait_for_disk=self._wait_for_disk))
            # It waits for the disk, so it must not come with a commit on the loop.
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA foreign_keys=ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(self._migrations):
            raise ThreadlineError(f"The database is of version {version}, newer than this server.")
        for statements in self._migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(self._migrations)}")
        connection.execute("COMMIT")


def synchronous(*, wait_for_disk: bool) -> str:
    """The pragma that says what a commit waits for: with WAL a killed process loses nothing either way."""
    return f"PRAGMA synchronous={'FULL' if wait_for_disk else 'NORMAL'}"


def use_wal(connection: sqlite3.Connection) -> None:
    """Switches to WAL, also while another process does the same: SQLite refuses then, rather than wait."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA journal_mode=WAL")


def first(cursor: sqlite3.Cursor) -> sqlite3.Row | None:
    """The first row, or None; the statement is run to its end, as a RETURNING must be before a commit."""
    rows = cursor.fetchall()
    return rows[0] if rows else None


class _Task:
    """A job, who waits for it, and what came of it."""

    __slots__ = ("_file", "_future", "_job", "_on_commit", "_result", "error")

    def __init__(
        self, job: Job[Any], file: str, future: asyncio.Future[Any] | None, on_commit: Callable[[], None] | None
    ) -> None:
        self.error: Exception | None = None
        self._file = file
        self._job = job
        self._future = future
        self._on_commit = on_commit
        self._result: Any = None

    @property
    def awaited(self) -> bool:
        """Whether it counts among those that wait."""
        return self._future is not None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self._result = self._job(connection)
            self.error = None
        except sqlite3.Error as exc:
            self.error = failure(exc, self._file)
        except Exception as exc:  # noqa: BLE001  # the boundary to the caller, who gets it raised
            self.error = exc

    def resolve(self) -> None:
        if self.error is None and self._on_commit is not None:
            self._on_commit()
        if self._future is None:
            if self.error is not None:
                logger.error("writing to the database failed: %s", self.error)
            return
        if self._future.done():
            return
        if self.error is None:
            self._future.set_result(self._result)
        else:
            self._future.set_exception(self.error)


class _Lane:
    """A thread with a connection of its own that runs the jobs of its queue, all that wait in one transaction.

    While no job waits or runs, the loop may use the connection.
    """

    def __init__(
        self,
        name: str,
        file: str,
        connect: Callable[[], sqlite3.Connection],
        begin: str,
        *,
        batch: int,
        max_jobs: int,
        checkpoints: bool = False,
        here: bool = True,
    ) -> None:
        self.commits = 0
        self._name = name
        self._file = file
        self._connect = connect
        self._begin = begin
        self._batch = batch
        self._max_jobs = max_jobs
        self._checkpoints = checkpoints
        self._here = here
        self._checkpoint_at = _CHECKPOINT_COMMITS
        self._waiting = 0
        self._accepting = False
        self._patient = True
        self._in_use = threading.Lock()
        self._rest_until = 0.0
        self._turn_began: float | None = None

    @property
    def waiting(self) -> int:
        return self._waiting

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        connected: asyncio.Future[None] = self._loop.create_future()
        name = f"threadline-sqlite-{self._name}"
        self._thread = threading.Thread(target=self._main, args=(connected,), name=name, daemon=True)
        self._thread.start()
        try:
            await connected
        except asyncio.CancelledError:
            self._tasks.put(None)
            raise
        self._accepting = True

    async def stop(self) -> None:
        if self._accepting:
            self._accepting = False
            self._tasks.put(None)
            await self._stopped
            self._thread.join()

    def submit(self, job: Job[T], on_commit: Callable[[], None] | None, *, quick: bool = False) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._accepting:
            future.set_exception(ThreadlineError("The database is closed."))
        elif self._waiting >= self._max_jobs:
            future.set_exception(OverloadedError("Too many operations wait for the database."))
        else:
            task = _Task(job, self._file, future, on_commit)
            if not (quick and self._here and self._waiting == 0 and self._run_here(task)):
                self._waiting += 1
                self._tasks.put(task)
        return future

    def _run_here(self, task: _Task) -> bool:
        """On the loop: runs a task while the thread sleeps; False if it must be left to the thread."""
        started = time.monotonic()
        if self._turn_began is None:
            self._turn_began = started
            self._loop.call_soon(self._end_turn)
        if started < self._rest_until or started - self._turn_began > _TURN_SECONDS:
            return False
        if not self._in_use.acquire(blocking=False):
            return False
        try:
            self._be_patient(patient=False)
            self._execute(self._connection, [task])
        finally:
            self._in_use.release()
        if _is_for_thread(task.error):
            return False
        ended = time.monotonic()
        if ended - started > _SLOW_SECONDS:
            self._rest_until = ended + _REST_SECONDS
        task.resolve()
        if self._checkpoint_due():
            self.submit(_nothing, None)
        return True

    def _end_turn(self) -> None:
        """The loop has come round: others have had their turn."""
        self._turn_began = None

    def _be_patient(self, *, patient: bool) -> None:
        """Whether the connection waits for other processes, and takes rows of any size."""
        if patient != self._patient:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_ROW if patient else _QUICK_ROW)
            self._connection.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000) if patient else 0}")
            self._patient = patient

    def _checkpoint_due(self) -> bool:
        return self._checkpoints and self.commits >= self._checkpoint_at

    def post(self, job: Job[None]) -> None:
        if self._accepting:
            self._tasks.put(_Task(job, self._file, None, None))

    def _main(self, connected: asyncio.Future[None]) -> None:
        try:
            self._connection = connection = self._connect()
        except Exception as exc:  # noqa: BLE001  # the boundary to who opens the database, who gets it raised
            self._call(_settle, connected, _failure(exc, self._file))
            return
        self._call(_settle, connected, None)
        with contextlib.closing(connection):
            while tasks := self._take():
                with self._in_use:
                    self._be_patient(patient=True)
                    self._execute(connection, tasks)
                    if self._checkpoint_due():
                        self._checkpoint(connection)
                self._call(self._resolve, tasks)
        self._call(_settle, self._stopped, None)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        # If the loop is closed, so are all who waited on it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def _take(self) -> list[_Task]:
        """What waits, at least one; nothing when the lane is to stop."""
        tasks: list[_Task] = []
        task = self._tasks.get()
        while task is not None:
            tasks.append(task)
            if len(tasks) == self._batch:
                return tasks
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return tasks
        if tasks:
            self._tasks.put(None)
        return tasks

    def _execute(self, connection: sqlite3.Connection, tasks: Sequence[_Task]) -> None:
        """Savepoints only if some job failed: each costs two statements, and with them two waits for the GIL."""
        try:
            if not self._transact(connection, tasks):
                self._transact_isolated(connection, tasks)
        except Exception as exc:  # noqa: BLE001  # the thread lives on; every caller of the batch gets it raised
            with contextlib.suppress(sqlite3.Error):
                _roll_back(connection)
            for task in tasks:
                task.error = _failure(exc, self._file)

    def _transact(self, connection: sqlite3.Connection, tasks: Sequence[_Task]) -> bool:
        """Runs the jobs in one transaction; False if one failed and the others are to be run again without it."""
        connection.execute(self._begin)
        for task in tasks:
            task.run(connection)
            if task.error is not None:
                _roll_back(connection)
                return len(tasks) == 1
        self._commit(connection)
        return True

    def _transact_isolated(self, connection: sqlite3.Connection, tasks: Sequence[_Task]) -> None:
        """Runs the jobs in one transaction, each in a savepoint."""
        connection.execute(self._begin)
        for task in tasks:
            connection.execute("SAVEPOINT job")
            task.run(connection)
            if task.error is not None:
                if not connection.in_transaction:
                    # SQLite itself rolls all back when the disk is full or fails.
                    raise task.error
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        self._commit(connection)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Moves the log into the file, as far as no reader needs it."""
        self._checkpoint_at = self.commits + _CHECKPOINT_COMMITS
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as exc:
            logger.warning("the database's log could not be moved into its file: %s", exc)

    def _commit(self, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")
        self.commits += 1

    def _resolve(self, tasks: Sequence[_Task]) -> None:
        self._waiting -= sum(task.awaited for task in tasks)
        for task in tasks:
            task.resolve()


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _nothing(_: sqlite3.Connection) -> None:
    """A job that only wakes the thread."""


def _is_for_thread(error: Exception | None) -> bool:
    """Whether another process has the database locked, or a row is too large for the loop."""
    cause = None if error is None else error.__cause__
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _FOR_THREAD


def _failure(exc: Exception, file: str) -> ThreadlineError:
    """A new error for each caller, because raising one changes it."""
    if isinstance(exc, ThreadlineError):
        return type(exc)(exc.message, field=exc.field)
    if isinstance(exc, sqlite3.Error):
        return failure(exc, file)
    unknown = StorageError(f"The database {file} failed: {exc}.")
    unknown.__cause__ = exc
    return unknown


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
