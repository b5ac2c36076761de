"""LangGraph's own store on a SQLite file; the database itself supplies most of what it lacks."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiosqlite
from langgraph.store.base import Op, PutOp, Result, SearchOp, TTLConfig
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.store.sqlite.base import SqliteIndexConfig

from api.serde import dumps, loads
from api.storage.sql import store_script
from api.storage.sqlite.database import INCREMENTAL, SHORT_LOG, synchronous
from api.storage.sqlite.failure import failure

BUSY_SECONDS = 30.0
"""How long a statement waits for another process to end its transaction."""


class SqliteStore(AsyncSqliteStore):
    """LangGraph's store, whose failures are the storage's and not those of the graph that used it.

    What nodes put or ask for at one time is one batch: a value that JSON does not have would fail all of it, so
    values are written as everywhere in this service.
    """

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As LangGraph's, but for errors.

        Raises:
            StorageError: the file cannot be read or written.
        """
        try:
            return await super().abatch([_written(op) for op in ops])
        except sqlite3.Error as exc:
            await self._end_transaction()
            raise failure(exc, "store.sqlite") from exc

    async def _end_transaction(self) -> None:
        """What could not be committed, for a full disk say, would be in the way of all that comes later."""
        async with self.lock:
            if self.conn.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    await self.conn.execute("ROLLBACK")


def _written(op: Op) -> Op:
    if isinstance(op, PutOp) and op.value is not None:
        return op._replace(value=loads(dumps(op.value)))
    if isinstance(op, SearchOp) and op.filter:
        return op._replace(filter=loads(dumps(op.filter)))
    return op


@contextlib.asynccontextmanager
async def open_store(
    path: Path, *, ttl: TTLConfig, index: SqliteIndexConfig | None = None, wait_for_disk: bool = False
) -> AsyncIterator[SqliteStore]:
    """The store, set up, and swept of expired items at once and then at the interval that `ttl` gives.

    Args:
        path: the file; its folder must exist.
        ttl: how long items live.
        index: for semantic search; without it items are not embedded.
        wait_for_disk: whether each commit does.
    """
    async with aiosqlite.connect(
        path, isolation_level=None, timeout=BUSY_SECONDS, factory=connection_class(index)
    ) as connection:
        await connection.execute(INCREMENTAL)
        await use_wal(connection)
        await connection.execute(SHORT_LOG)
        await connection.execute(synchronous(wait_for_disk=wait_for_disk))
        # The schema of the vectors counts on it: those of an item go with the item.
        await connection.execute("PRAGMA foreign_keys=ON")
        store = SqliteStore(connection, index=index, ttl=ttl)
        await store.setup()
        await connection.executescript(store_script())
        await store.sweep_ttl()
        await store.start_ttl_sweeper()
        try:
            yield store
        finally:
            await store.stop_ttl_sweeper()


async def use_wal(connection: aiosqlite.Connection) -> None:
    """Switches to WAL, also while another process does the same: SQLite refuses then, rather than wait."""
    try:
        await connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("ROLLBACK")
        await connection.execute("PRAGMA journal_mode=WAL")


def connection_class(index: SqliteIndexConfig | None) -> type[sqlite3.Connection]:
    """What a connection to the store is: one that knows vectors, if there is an index."""
    if index is None:
        return sqlite3.Connection
    # Imported only when used: numpy is slow to import, and few configure an index.
    from api.storage.sqlite.vectors import VectorConnection

    return VectorConnection
