"""Searches of the store that clients ask for: beside those of graphs, each with a time by which it ends, and bounded.

run(op) ──> one of a few stores on the same file ──> LangGraph's own search, its values left as JSON
                └── out of time, or its client is gone: SQLite is interrupted
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.store.base import Op, TTLConfig
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.store.sqlite.base import SqliteIndexConfig

from api.errors import AnswerTooLargeError, SearchTimeoutError
from api.serde import Fragment
from api.storage.sqlite.store import BUSY_SECONDS, connection_class

_STORES = 2
_AGAIN_SECONDS = 0.05
"""Between interrupts: one that comes between two statements stops neither."""


class StoreSearches:
    """Stores that are searched, one search in each at a time.

    Args:
        stores: on connections whose rows count what they hold.
        rows: the counts, in the same order.
        seconds: that one search may take, its waiting included.
    """

    def __init__(self, stores: list[tuple[AsyncSqliteStore, "_Rows"]], *, seconds: float) -> None:
        self._seconds = seconds
        self._free: asyncio.Queue[tuple[AsyncSqliteStore, _Rows]] = asyncio.Queue()
        for each in stores:
            self._free.put_nowait(each)

    async def run(self, op: Op) -> Any:
        """What LangGraph's store answers; the values of items are Fragments.

        Raises:
            SearchTimeoutError: it takes too long.
            AnswerTooLargeError: what was found has more bytes than an answer may have.
        """
        try:
            async with asyncio.timeout(self._seconds):
                store, rows = await self._free.get()
                try:
                    rows.size = 0
                    return await _interruptible(store, op)
                finally:
                    self._free.put_nowait((store, rows))
        except TimeoutError:
            raise SearchTimeoutError(f"The search took longer than {self._seconds:g} s: ask for less.") from None


async def _interruptible(store: AsyncSqliteStore, op: Op) -> Any:
    """Runs an operation to its end; if its caller is cancelled, by way of an interrupt."""
    working = asyncio.ensure_future(store.abatch([op]))
    try:
        return (await asyncio.shield(working))[0]
    finally:
        while not working.done():
            await store.conn.interrupt()
            await asyncio.wait({working}, timeout=_AGAIN_SECONDS)
        # Else its failure is said to have been forgotten.
        with contextlib.suppress(asyncio.CancelledError):
            working.exception()


class _Rows:
    """Counts what a connection's rows hold; they stay as they are.

    Args:
        most: characters or bytes.
    """

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most

    def __call__(self, _: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self.size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if self.size > self._most:
            raise AnswerTooLargeError(self._most)
        return row


@contextlib.asynccontextmanager
async def open_store_searches(
    path: Path, *, ttl: TTLConfig, index: SqliteIndexConfig | None, seconds: float, max_bytes: int
) -> AsyncIterator[StoreSearches]:
    """Opens them on the file of a store that is open.

    Args:
        path: the file.
        ttl: how long items live.
        index: for semantic search.
        seconds: that one search may take.
        max_bytes: of what it finds.
    """
    async with contextlib.AsyncExitStack() as stack:
        stores = []
        for _ in range(_STORES):
            connection = await stack.enter_async_context(
                aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS, factory=connection_class(index))
            )
            await connection.execute("PRAGMA synchronous=NORMAL")
            store = AsyncSqliteStore(connection, index=index, ttl=ttl, deserializer=_as_written)
            await store.setup()
            connection.row_factory = rows = _Rows(max_bytes)  # type: ignore[assignment]  # sqlite3 takes any callable
            stores.append((store, rows))
        yield StoreSearches(stores, seconds=seconds)


def _as_written(value: Any) -> Any:
    """JSON that need not be read, as it is only passed on."""
    return value if isinstance(value, Fragment) else Fragment(value)
