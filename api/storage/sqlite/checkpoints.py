"""Checkpoints in SQLite: LangGraph's saver on the threads of a Database, one hop for each operation.

    graph ──aput, aput_writes──> writer: all that wait share a commit
    graph ──aget_tuple, alist──> reader: which checkpoint is meant ──> LangGraph's own SqliteSaver

The latest checkpoint is the one that was stored last, and older is what was stored before: a row's place in the table
says so. Ids are times, and clocks are set back: LangGraph's savers, for which the greatest id is the latest, then go on
from an old state in silence.

LangGraph's AsyncSqliteSaver goes to its thread three or four times for each of these, which costs a short run more than
its supersteps do; and it cannot roll back, copy or prune. The statements that write know the saver's tables, which are
not a public interface: tests/contract/test_checkpoints.py fails if they change.
"""

import asyncio
import contextlib
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    EXCLUDED_METADATA_KEYS,
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from api.errors import FencedError, StorageError, UnserializableError
from api.serde import dumps
from api.storage.sql import queries, saver_script
from api.storage.sqlite.database import QUICK_BYTES, QUICK_ROWS, Database, first
from api.storage.sqlite.space import reclaim

_QUICK_STATE = 1 << 16
"""Bytes of a checkpoint that is read on the loop: messages take a tenth of a millisecond each to be made again."""

T = TypeVar("T")

_PAGE = 100
"""Checkpoints read or deleted at one time: others wait meanwhile."""
_DELETED_ROWS = 200
_DELETED_BYTES = 256 << 10
"""Deleted in one transaction of a thread that goes, give or take a row."""

_UUID_EPOCH = datetime(1582, 10, 15, tzinfo=UTC)

_Key = tuple[str, str]
"""Namespace and id of a checkpoint."""


@contextlib.asynccontextmanager
async def open_checkpoints(
    path: Path, serde: SerializerProtocol | None = None, *, wait_for_disk: bool = False
) -> "AsyncIterator[SqliteCheckpoints]":
    """The saver of a file.

    Args:
        path: the file; its folder must exist.
        serde: writes and reads the values; LangGraph's own if not given.
        wait_for_disk: whether each commit does.

    Raises:
        ThreadlineError: the file is not a database, or cannot be read or written.
    """
    database = Database(path, migrations=(), wait_for_disk=wait_for_disk)
    await database.open()
    try:
        checkpoints = SqliteCheckpoints(database, serde)
        await asyncio.to_thread(_make_tables, path)
        yield checkpoints
    finally:
        await database.close()


def _make_tables(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        SqliteSaver(connection).setup()
        connection.executescript(saver_script())


class _LargeError(Exception):
    """A checkpoint is too large to be read on the loop."""


class SqliteCheckpoints(BaseCheckpointSaver[Any]):
    """The saver of a database that has the tables.

    A thread other than the loop's calls the methods that are no coroutines, as the nodes of a graph do that are plain
    functions and run graphs of their own.

    Args:
        database: the file.
        serde: writes and reads the values; LangGraph's own if not given.
    """

    def __init__(self, database: Database, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self._database = database
        self._queries = queries("checkpoints.sql")
        self._loop = asyncio.get_running_loop()

    def get_next_version(self, current: Any, channel: None) -> Any:
        """A number, as BaseCheckpointSaver has it by default.

        The versions of LangGraph's SQLite savers are texts of 49 characters; every checkpoint has several of them. A
        thread that one of those began goes on with texts.
        """
        if isinstance(current, str):
            return f"{int(current.partition('.')[0]) + 1:032}.{0:016}"
        return super().get_next_version(current, channel)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint; its metadata also says where it was made, which LangGraph's saver would leave out.

        LangGraph's own server keeps it, and clients see it in a state's metadata.

        Raises:
            FencedError: a later attempt of the same run has stored one.
        """
        given = {**(config.get("metadata") or {}), "checkpoint_map": config["configurable"].get("checkpoint_map")}
        places: Any = {name: given[name] for name in EXCLUDED_METADATA_KEYS if given.get(name)}
        kept = get_checkpoint_metadata(config, {**places, **metadata})
        type_, data = self.serde.dumps_typed(checkpoint)
        place = {
            "thread_id": str(config["configurable"]["thread_id"]),
            "checkpoint_ns": config["configurable"]["checkpoint_ns"],
            "checkpoint_id": checkpoint["id"],
        }
        row = {
            **place,
            "parent_checkpoint_id": config["configurable"].get("checkpoint_id"),
            "type": type_,
            "checkpoint": data,
            "metadata": json.dumps(kept, ensure_ascii=False).encode("utf-8", "ignore"),
        }
        await self._put(row)
        return {"configurable": place}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores what a task has written; what it wrote before stays, but for errors, interrupts and the like."""
        special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        statement = self._queries["replace_write" if special else "put_write"]
        task = {
            "thread_id": str(config["configurable"]["thread_id"]),
            "checkpoint_ns": str(config["configurable"]["checkpoint_ns"]),
            "checkpoint_id": str(config["configurable"]["checkpoint_id"]),
            "task_id": task_id,
            "task_path": task_path,
        }
        values = [_stored(self.serde, channel, value) for channel, value in writes]
        rows = [
            {**task, "idx": WRITES_IDX_MAP.get(channel, index), "channel": channel, "type": type_, "value": value}
            for index, ((channel, _), (type_, value)) in enumerate(zip(writes, values, strict=True))
        ]
        quick = len(rows) <= QUICK_ROWS and sum(len(value) for _, value in values) <= QUICK_BYTES
        await self._database.write(lambda db: db.executemany(statement, rows).rowcount, quick=quick)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the latest of its thread; None if there is none."""

        def read(saver: SqliteSaver, most: int | None = None) -> CheckpointTuple | None:
            found = self._meant(saver, config)
            if found is not None and most is not None and self._size(saver, found) > most:
                raise _LargeError
            return None if found is None else saver.get_tuple(found)

        try:
            return await self._read(partial(read, most=_QUICK_STATE), quick=True)
        except _LargeError:
            return await self._read(read)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # BaseCheckpointSaver calls it so
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, those that were stored last first.

        Args:
            config: of a thread, and perhaps of a namespace in it; None: of all threads.
            filter: what their metadata must have.
            before: names a checkpoint; only what was stored before it.
            limit: how many at most.
        """
        left, place = limit, None
        while left is None or left > 0:
            page = await self._page(config, filter, before, place, _PAGE if left is None else min(left, _PAGE))
            for _, found in page:
                yield found
            if len(page) < _PAGE:
                return
            place = page[-1][0]
            left = None if left is None else left - len(page)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What channels that are kept as changes were made of, back to their last whole value."""

        def read(saver: SqliteSaver) -> Mapping[str, DeltaChannelHistory]:
            found = self._meant(saver, config) or config
            return saver.get_delta_channel_history(config=found, channels=channels)

        return await self._read(read)

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread, with their writes, in small steps.

        A process that dies meanwhile leaves the rest: `athread_ids` still has the thread.
        """
        parameters = {"thread_id": str(thread_id), "rows": _DELETED_ROWS, "bytes": _DELETED_BYTES}
        for name in ("delete_some_writes_of_thread", "delete_some_checkpoints_of_thread"):
            statement = self._queries[name]
            while await self._database.write(lambda db: db.execute(statement, parameters).rowcount):  # noqa: B023
                pass

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that runs made, with their writes: their threads are as before.

        Args:
            run_ids: the runs.
        """
        runs = {"run_ids": dumps(list(run_ids)).decode()}
        await self._write(runs, "delete_writes_of_runs", "delete_checkpoints_of_runs")

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints of a thread, with their writes, in one transaction.

        Args:
            source_thread_id: the thread.
            target_thread_id: one that has none.
        """
        threads = {"source": source_thread_id, "target": target_thread_id}
        await self._write(threads, "copy_checkpoints", "copy_writes")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes the checkpoints that the latest state of a thread does not need, or all of them.

        The latest of each namespace stays, and the ancestors that hold what it has as changes only. What a run adds
        meanwhile stays too.

        Args:
            thread_ids: the threads.
            strategy: `keep_latest` or `delete`.
        """
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self._keep_latest(thread_id)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`, for another thread."""
        return self._outside(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # BaseCheckpointSaver calls it so
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`, for another thread."""
        found = self.alist(config, filter=filter, before=before, limit=limit)
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self._outside(_next(found))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`, for another thread."""
        return self._outside(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`, for another thread."""
        self._outside(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`, for another thread."""
        self._outside(self.adelete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `aget_delta_channel_history`, for another thread."""
        return self._outside(self.aget_delta_channel_history(config=config, channels=channels))

    def _outside(self, work: Coroutine[Any, Any, T]) -> T:
        """Does the work on the loop, and waits for it in another thread."""
        if _running_loop() is self._loop:
            work.close()
            raise asyncio.InvalidStateError("On the event loop, use the methods that are coroutines.")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _meant(self, saver: SqliteSaver, config: RunnableConfig) -> RunnableConfig | None:
        """On the reader: a config that names a checkpoint, if need be the one that was stored last."""
        if get_checkpoint_id(config):
            return config
        given = config["configurable"]
        place = {"thread_id": str(given["thread_id"]), "checkpoint_ns": given.get("checkpoint_ns", "")}
        found = first(saver.conn.execute(self._queries["latest_checkpoint"], place))
        return None if found is None else {"configurable": {**place, "checkpoint_id": found["checkpoint_id"]}}

    def _size(self, saver: SqliteSaver, config: RunnableConfig) -> int:
        """On the reader: bytes of a checkpoint and of its writes."""
        given = config["configurable"]
        place = {"thread_id": str(given["thread_id"]), "checkpoint_ns": given.get("checkpoint_ns", "")}
        parameters = {**place, "checkpoint_id": get_checkpoint_id(config)}
        return int(saver.conn.execute(self._queries["checkpoint_size"], parameters).fetchone()[0])

    async def _page(
        self,
        config: RunnableConfig | None,
        filter_: dict[str, Any] | None,
        before: RunnableConfig | None,
        place: int | None,
        limit: int,
    ) -> Sequence[tuple[int, CheckpointTuple]]:
        """A page of what `alist` gives, each with its place; all of them are before `place`."""
        where, given = search_where(config, filter_)

        def read(saver: SqliteSaver) -> Sequence[tuple[int, CheckpointTuple]]:
            conditions, values = [where.removeprefix("WHERE ")] if where else [], [*given]
            if place is not None:
                conditions.append("rowid < ?")
                values.append(place)
            if before is not None:
                condition, more = self._before(saver.conn, config, before)
                conditions.append(condition)
                values += more
            clause = f"WHERE {' AND '.join(conditions)}" if conditions else ""
            statement = self._queries["places"].replace("/*where*/", clause)
            found = saver.conn.execute(statement, (*values, limit)).fetchall()
            return [(row["place"], each) for row in found if (each := saver.get_tuple(_named(row))) is not None]

        return await self._read(read)

    def _before(
        self, connection: sqlite3.Connection, config: RunnableConfig | None, before: RunnableConfig
    ) -> tuple[str, Sequence[Any]]:
        """On the reader: the condition, and its values, that a checkpoint was there before another one."""
        given = (config or before)["configurable"]
        namespace = given.get("checkpoint_ns")
        wanted = get_checkpoint_id(before)
        parameters = {"thread_id": given.get("thread_id"), "checkpoint_id": wanted}
        found = first(connection.execute(self._queries["place"], parameters))
        if found is None:
            # It was deleted, or never was: what is left of it is its time.
            return "checkpoint_id < ?", [wanted]
        if namespace in (None, found["checkpoint_ns"]):
            return "rowid < ?", [found["place"]]
        # Of a graph around: with `durability="exit"` it stores a checkpoint after those of the graphs inside, though it
        # made it before.
        return "rowid < ? AND checkpoint_id < ?", [found["place"], wanted]

    async def _read(self, read: Callable[[SqliteSaver], T], *, quick: bool = False) -> T:
        serde = self.serde

        def job(connection: sqlite3.Connection) -> T:
            saver = SqliteSaver(connection, serde=serde)
            # The tables are there, and this connection may not make them.
            saver.is_setup = True
            return read(saver)

        return await self._database.read(job, quick=quick)

    async def _write(self, parameters: Mapping[str, str], *names: str) -> None:
        """Executes statements in one transaction: all of them, or none."""

        def job(connection: sqlite3.Connection) -> None:
            for name in names:
                connection.execute(self._queries[name], parameters)

        await self._database.write(job)

    async def _put(self, row: Mapping[str, Any]) -> None:
        quick = len(row["checkpoint"]) <= QUICK_BYTES
        try:
            await self._database.write(
                lambda db: db.execute(self._queries["put_checkpoint"], row).rowcount, quick=quick
            )
        except StorageError as exc:
            if isinstance(exc.__cause__, sqlite3.IntegrityError):
                raise FencedError(f"A later attempt has thread {row['thread_id']!r}.") from exc
            raise

    async def _keep_latest(self, thread_id: str) -> None:
        nodes = await self._nodes(thread_id)
        kept: set[_Key] = set()
        namespaces: set[str] = set()
        for namespace, checkpoint_id in nodes:
            if namespace not in namespaces:
                namespaces.add(namespace)
                kept |= _needed(nodes, (namespace, checkpoint_id))
        gone = [key for key in reversed(nodes) if key not in kept]
        for start in range(0, len(gone), _PAGE):
            parameters = {"thread_id": thread_id, "chosen": dumps(gone[start : start + _PAGE]).decode()}
            await self._write(parameters, "delete_chosen_writes", "delete_chosen_checkpoints")

    async def athread_ids(self, *, after: str = "", limit: int = _PAGE) -> Sequence[str]:
        """Ids of threads that have checkpoints or writes, in order.

        Args:
            after: only ids greater than this one.
            limit: how many at most.
        """
        parameters = {"after": after, "limit": limit}
        found = await self._database.read(lambda db: db.execute(self._queries["thread_ids"], parameters).fetchall())
        return [row[0] for row in found]

    async def alast_made(self, thread_id: str) -> datetime | None:
        """When the last checkpoint of a thread was made, as its id says; None if there is none, or it does not say."""
        parameters = {"thread_id": thread_id}
        found = await self._database.read(lambda db: db.execute(self._queries["last_of_thread"], parameters).fetchall())
        return max((made for row in found if (made := _made(row[0])) is not None), default=None)

    async def areclaim(self) -> None:
        """Gives free pages of the file back to the disk, in small steps."""
        await reclaim(self._database)

    async def _nodes(self, thread_id: str) -> "dict[_Key, _Node]":
        """All checkpoints of a thread, those that were stored last first."""
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        return {_key(found.config): _node(found) async for found in self.alist(config)}


def _made(checkpoint_id: str) -> datetime | None:
    """The time in an id, which is a UUID of version 6: tenths of microseconds since 1582."""
    try:
        given = uuid.UUID(checkpoint_id)
    except ValueError:
        return None
    tenths = given.time_low << 28 | given.time_mid << 12 | given.time_hi_version & 0xFFF
    return _UUID_EPOCH + timedelta(microseconds=tenths // 10) if given.version == 6 else None


async def _next(found: AsyncIterator[T]) -> T:
    return await anext(found)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@dataclass(frozen=True, slots=True)
class _Node:
    """What has to be known of a checkpoint to find the ancestors that it needs."""

    parent: _Key | None
    stored: frozenset[str]
    """Channels whose value it holds itself."""
    deltas: frozenset[str]
    """Channels that it may hold as changes since an ancestor."""


def _node(found: CheckpointTuple) -> _Node:
    return _Node(
        parent=None if found.parent_config is None else _key(found.parent_config),
        stored=frozenset(found.checkpoint["channel_values"]),
        deltas=frozenset(found.metadata.get("counters_since_delta_snapshot") or ()),
    )


def _needed(nodes: Mapping[_Key, _Node], latest: _Key) -> set[_Key]:
    """The checkpoint and its ancestors, up to where every channel has a stored value."""
    needed: set[_Key] = set()
    missing = nodes[latest].deltas - nodes[latest].stored
    at: _Key | None = latest
    while at is not None and at in nodes and at not in needed:
        needed.add(at)
        missing -= nodes[at].stored
        at = nodes[at].parent if missing else None
    return needed


def _named(row: sqlite3.Row) -> RunnableConfig:
    """The config that names a row's checkpoint."""
    return {"configurable": {name: row[name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}}


def _key(config: RunnableConfig) -> _Key:
    return config["configurable"]["checkpoint_ns"], config["configurable"]["checkpoint_id"]


def _stored(serde: SerializerProtocol, channel: str, value: Any) -> tuple[str, bytes]:
    try:
        return serde.dumps_typed(value)
    except UnserializableError as exc:
        raise exc.inside(channel) from exc
