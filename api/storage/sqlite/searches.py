"""Searches: reads that may take long, on threads of their own, each with a time by which it ends.

    run(job) ──> quick threads ──it takes longer than a slice──> slow threads ──> loop: the caller's future
                                                                     └── out of time, or its caller is gone: interrupted

What a search costs is for its client to choose. So none is in the way of the reads of `Database`, and a slow one soon
leaves the way of the others. Nothing is asked of the interpreter while one runs: SQLite itself is interrupted.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from api.errors import OverloadedError, SearchTimeoutError, ThreadlineError
from api.storage.sqlite.failure import failure

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]

_SLICE_SECONDS = 0.25
"""What a search may take among the quick ones."""
_AGAIN_SECONDS = 0.05
"""Between interrupts: one that comes between two statements of a job stops neither."""
_QUICK_THREADS = 2
_SLOW_THREADS = 2
_MAX_SEARCHES = 1000
"""That may wait or run; one more is refused."""


class Searches:
    """The searches of a database, used from the event loop that opened it.

    Args:
        path: the file; it must exist when `open` is called.
        seconds: that one search may take, its waiting included.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._quick: queue.SimpleQueue[_Search | None] = queue.SimpleQueue()
        self._slow: queue.SimpleQueue[_Search | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open: set[_Search] = set()
        self._none_open = asyncio.Event()
        self._accepting = False

    async def open(self) -> None:
        """Starts the threads."""
        self._loop = asyncio.get_running_loop()
        for waiting, count in ((self._quick, _QUICK_THREADS), (self._slow, _SLOW_THREADS)):
            for _ in range(count):
                thread = threading.Thread(
                    target=self._main, args=(waiting,), name="threadline-sqlite-search", daemon=True
                )
                thread.start()
                self._threads.append(thread)
        self._accepting = True

    async def close(self) -> None:
        """Ends all searches, then the threads; a job that is given later fails."""
        self._accepting = False
        for search in self._open:
            self._end(search, ThreadlineError("The database is closed."))
        if self._open:
            await self._none_open.wait()
        for waiting, count in ((self._quick, _QUICK_THREADS), (self._slow, _SLOW_THREADS)):
            for _ in range(count):
                waiting.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def run(self, job: Job[T]) -> asyncio.Future[T]:
        """Runs a job on a snapshot of all that is committed. Its caller's cancellation ends it.

        Returns:
            The job's result, or what it raised. A failure of the database itself is a StorageError, a search that
            takes too long a SearchTimeoutError.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._accepting:
            future.set_exception(ThreadlineError("The database is closed."))
        elif len(self._open) >= _MAX_SEARCHES:
            future.set_exception(OverloadedError("Too many searches are under way."))
        else:
            search = _Search(job, self._path.name, future)
            self._open.add(search)
            search.timers.append(self._loop.call_later(_SLICE_SECONDS, self._demote, search))
            search.timers.append(self._loop.call_later(self._seconds, self._end, search, self._too_slow()))
            future.add_done_callback(lambda ended: self._end(search, None) if ended.cancelled() else None)
            self._quick.put(search)
        return future

    def _too_slow(self) -> SearchTimeoutError:
        return SearchTimeoutError(f"The search took longer than {self._seconds:g} s: ask for less.")

    def _demote(self, search: "_Search") -> None:
        """A search that has run among the quick ones for its slice leaves them; one that waits there stays."""
        if search.ended or search.slow:
            return
        left = _SLICE_SECONDS - search.running_for()
        if left <= 0:
            search.interrupt(demoting=True)
        search.timers.append(self._loop.call_later(max(left, _AGAIN_SECONDS), self._demote, search))

    def _end(self, search: "_Search", error: ThreadlineError | None) -> None:
        """Ends a search before its time; interrupts it until it has."""
        if search.ended:
            return
        search.refusal = search.refusal or error or ThreadlineError("The search was cancelled.")
        search.interrupt()
        search.timers.append(self._loop.call_later(_AGAIN_SECONDS, self._end, search, error))

    def _main(self, waiting: "queue.SimpleQueue[_Search | None]") -> None:
        connection: sqlite3.Connection | None = None
        while (search := waiting.get()) is not None:
            try:
                if connection is None:
                    connection = self._connect()
            except sqlite3.Error as exc:
                search.error = failure(exc, self._path.name)
            else:
                search.run(connection)
            # If the loop is closed, nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._settle, search)
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        # Only to be interrupted is it used on another thread, the loop's.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _settle(self, search: "_Search") -> None:
        if search.demoted and search.refusal is None:
            search.demoted, search.slow, search.error = False, True, None
            self._slow.put(search)
            return
        self._open.discard(search)
        search.settle()
        if not self._open:
            self._none_open.set()


class _Search:
    """A job, who waits for it, and what came of it."""

    def __init__(self, job: Job[Any], file: str, future: asyncio.Future[Any]) -> None:
        self.refusal: ThreadlineError | None = None
        """Why it must end before its time."""
        self.error: Exception | None = None
        self.demoted = False
        """Interrupted, to be run again among the slow ones."""
        self.slow = False
        self.ended = False
        self.timers: list[asyncio.TimerHandle] = []
        self._job = job
        self._file = file
        self._future = future
        self._result: Any = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._started_at = 0.0

    def run(self, connection: sqlite3.Connection) -> None:
        """On a thread."""
        with self._lock:
            if self.refusal is not None:
                return
            self._connection, self._started_at = connection, time.monotonic()
        try:
            connection.execute("BEGIN")
            self._result = self._job(connection)
        except sqlite3.Error as exc:
            self.error = failure(exc, self._file)
        except Exception as exc:  # noqa: BLE001  # the boundary to the caller, who gets it raised
            self.error = exc
        finally:
            with self._lock:
                self._connection = None
                if self.demoted and self.error is None:
                    self.demoted = False  # it came to its end all the same
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def running_for(self) -> float:
        """Seconds since it began to run; 0 if it waits."""
        with self._lock:
            return 0.0 if self._connection is None else time.monotonic() - self._started_at

    def interrupt(self, *, demoting: bool = False) -> None:
        """On the loop: stops the statement that runs, if one does."""
        with self._lock:
            if self._connection is not None:
                self.demoted = self.demoted or demoting
                self._connection.interrupt()

    def settle(self) -> None:
        """On the loop: tells its caller."""
        self.ended = True
        for timer in self.timers:
            timer.cancel()
        if self._future.done():
            return
        if (error := self.refusal or self.error) is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(self._result)
