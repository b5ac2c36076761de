"""The thread log in SQLite: where each run and each update of a thread's state has its place among the thread's events.

    claim ──> a run's base        set_thread_state ──> an update's base
    finish ──> the thread's count of events, then the places of those that had to wait

Whoever waits for something of a thread is woken in whichever process it waits.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from api.storage.base import LONGEST_LOOK, STATE_UPDATES, Span, ThreadLog
from api.storage.sqlite.database import Database, first


class SqliteThreadLog(ThreadLog):
    """The thread log of a database.

    Args:
        database: where the threads are.
        queries: the statements by name.
        tell: called when something of a thread is new, to tell other processes.
    """

    def __init__(self, database: Database, queries: Mapping[str, str], tell: Callable[[], None]) -> None:
        self._database = database
        self._queries = queries
        self._tell = tell
        self._waiting: dict[str, set[asyncio.Event]] = {}
        """Who waits for something new of a thread."""

    async def spans(self, thread_id: str, after: int, limit: int = 100) -> Sequence[Span] | None:
        parameters = {"thread_id": thread_id, "after": after, "limit": limit}

        def read(connection: sqlite3.Connection) -> Sequence[Span] | None:
            found = connection.execute(self._queries["thread_spans"], parameters).fetchall()
            if not found and first(connection.execute(self._queries["get_thread"], parameters)) is None:
                return None
            return [Span(row["base"], row["run_id"], row["data"]) for row in found]

        return await self._database.read(read)

    async def wait(self, thread_id: str, after: int, timeout: float) -> bool:
        woken = asyncio.Event()
        # Registered before the database is asked: what comes in between wakes it.
        self._waiting.setdefault(thread_id, set()).add(woken)
        try:
            async with asyncio.timeout(timeout):
                while not await self._is_past(thread_id, after):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LONGEST_LOOK):
                            await woken.wait()
                    woken.clear()
        except TimeoutError:
            return False
        finally:
            self._waiting[thread_id].discard(woken)
            if not self._waiting[thread_id]:
                del self._waiting[thread_id]
        return True

    async def _is_past(self, thread_id: str, after: int) -> bool:
        spans = await self.spans(thread_id, after)
        return spans is None or any(span.base >= after for span in spans)

    def wake(self, thread_id: str) -> None:
        """Something of the thread is new."""
        for woken in self._waiting.get(thread_id, ()):
            woken.set()
        self._tell()

    def changed(self) -> None:
        """Something of some thread is new, by another process: whoever waits looks."""
        for waiting in self._waiting.values():
            for woken in waiting:
                woken.set()


def add_update(connection: sqlite3.Connection, queries: Mapping[str, str], thread: sqlite3.Row, event: bytes) -> None:
    """On the writer's thread: gives the event of a state update its place; the oldest such go."""
    parameters = {"thread_id": thread["thread_id"]}
    waits = first(connection.execute(queries["begun_run_of_thread"], parameters)) is not None
    base = -1 if waits else thread["events"]
    connection.execute(queries["insert_state_update"], {**parameters, "base": base, "data": event})
    connection.execute(queries["trim_state_updates"], {**parameters, "keep": STATE_UPDATES})
    if not waits:
        first(connection.execute(queries["add_thread_events"], {**parameters, "events": 1}))


def place(connection: sqlite3.Connection, queries: Mapping[str, str], thread_id: str) -> None:
    """On the writer's thread: the thread's run under way has ended, and what waited for that gets its place."""
    for row in connection.execute(queries["unplaced_of_thread"], {"thread_id": thread_id}).fetchall():
        counted = {"thread_id": thread_id, "events": row["events"]}
        end = connection.execute(queries["add_thread_events"], counted).fetchall()[0]["events"]
        kind = "place_state_update" if row["run_id"] is None else "place_run"
        place_of = {"seq": row["seq"], "run_id": row["run_id"], "base": end - row["events"]}
        connection.execute(queries[kind], place_of)
