"""Records in SQLite: threads and runs as rows."""

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from api.access_filter import AccessFilter, permits
from api.errors import ConflictError
from api.schemas import TERMINAL, Json, Run, RunStatus, Thread, ThreadPart, ThreadSort, ThreadStatus, Ttl
from api.serde import Fragment, dumps, loads
from api.storage.base import Records
from api.storage.sqlite import rows, thread_log
from api.storage.sqlite.database import Database, first
from api.storage.sqlite.searches import Searches


class SqliteRecords(Records):
    """Threads and runs of a database.

    Args:
        database: where they are.
        searches: of it.
        queries: the statements by name.
        forget: told of the runs that were deleted, for what else is held of them.
        moved: told of the thread that was deleted, or got an event of its own.
        is_alive: whether a process that shares the database lives, by its name.
        max_bytes: of what one search or list finds.
    """

    def __init__(
        self,
        database: Database,
        searches: Searches,
        queries: Mapping[str, str],
        forget: Callable[[Sequence[str]], None],
        moved: Callable[[str], None],
        is_alive: Callable[[str], bool],
        max_bytes: int,
    ) -> None:
        self._database = database
        self._searches = searches
        self._max_bytes = max_bytes
        self._queries = queries
        self._forget = forget
        self._moved = moved
        self._is_alive = is_alive

    async def create_thread(self, thread: Thread) -> Thread | None:
        parameters = rows.thread_parameters(thread)

        def create(connection: sqlite3.Connection) -> sqlite3.Row | None:
            if connection.execute(self._queries["insert_thread"], parameters).rowcount:
                return None
            return first(connection.execute(self._queries["get_thread"], parameters))

        return _thread(await self._database.write(create))

    async def get_thread(self, thread_id: str) -> Thread | None:
        parameters = {"thread_id": thread_id}
        query = self._queries["get_thread"]
        return _thread(await self._database.read(lambda db: first(db.execute(query, parameters)), quick=True))

    async def patch_thread(self, thread_id: str, metadata: Json, *, ttl: Ttl | None = None) -> Thread | None:
        patch = loads(rows.text(metadata))
        parameters = {"thread_id": thread_id, "now": rows.now(), **rows.ttl_parameters(ttl)}

        def merge(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row = first(connection.execute(self._queries["get_thread"], parameters))
            if row is None:
                return None
            if ttl is not None:
                connection.execute(self._queries["set_thread_ttl"], parameters)
            merged = rows.text({**loads(row["metadata"]), **patch})
            return first(connection.execute(self._queries["set_thread_metadata"], {**parameters, "metadata": merged}))

        return _thread(await self._database.write(merge))

    async def set_thread_state(
        self,
        thread_id: str,
        *,
        status: ThreadStatus,
        values: bytes | None,
        interrupts: bytes,
        event: bytes | None = None,
    ) -> Thread | None:
        parameters = {
            "thread_id": thread_id,
            "status": status,
            "values": values,
            "interrupts": interrupts,
            "now": rows.now(),
        }

        def change(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row = first(connection.execute(self._queries["set_thread_state"], parameters))
            if row is not None and event is not None:
                thread_log.add_update(connection, self._queries, row, event)
            return row

        return _thread(await self._database.write(change, partial(self._moved, thread_id)))

    async def clear_ttl(self, thread_id: str) -> None:
        parameters = {"thread_id": thread_id}
        await self._database.write(lambda db: db.execute(self._queries["suspend_thread_ttl"], parameters).rowcount)

    async def next_expiry(self) -> datetime | None:
        row = await self._database.read(lambda db: db.execute(self._queries["next_expiry"]).fetchone())
        return None if row[0] is None else rows.moment(row[0])

    async def expired_threads(self, *, limit: int = 100) -> Sequence[Thread]:
        parameters = {"now": rows.now(), "limit": limit}
        query = self._queries["expired_threads"]
        found = await self._database.read(lambda db: db.execute(query, parameters).fetchall())
        return [rows.thread(row) for row in found]

    async def delete_thread(self, thread_id: str) -> bool:
        parameters = {"thread_id": thread_id}

        def delete(connection: sqlite3.Connection) -> tuple[bool, Sequence[str]]:
            if first(connection.execute(self._queries["active_run_of_thread"], parameters)):
                raise ConflictError(f"Thread {thread_id!r} has a run under way.")
            runs = connection.execute(self._queries["run_ids_of_thread"], parameters).fetchall()
            connection.execute(self._queries["delete_deliveries_of_thread"], parameters)
            deleted = connection.execute(self._queries["delete_thread"], parameters).rowcount > 0
            return deleted, [row["run_id"] for row in runs]

        deleted, run_ids = await self._database.write(delete, partial(self._moved, thread_id))
        self._forget(run_ids)
        return deleted

    async def search_threads(
        self,
        *,
        ids: Collection[str] | None = None,
        metadata: Json | None = None,
        values: Json | None = None,
        status: ThreadStatus | None = None,
        access: AccessFilter | None = None,
        sort_by: ThreadSort = "updated_at",
        descending: bool = True,
        limit: int = 10,
        offset: int = 0,
        with_values: bool = True,
    ) -> tuple[Sequence[Thread], int]:
        parameters = {
            "with_values": with_values,
            "ids": dumps(list(ids)).decode() if ids else None,
            "values": rows.text(values) if values else None,
            "status": status,
            "access": None if access is None else access.text(),
            **rows.search_parameters(metadata, sort_by, descending=descending, limit=limit, offset=offset),
        }

        def search(connection: sqlite3.Connection) -> tuple[Sequence[Thread], int]:
            cursor = connection.execute(self._queries["search_threads"], parameters)
            found = rows.page(rows.fetched(cursor, self._max_bytes), rows.thread)
            return rows.permitted(found, lambda thread: permits(access, thread.metadata))

        return await self._searches.run(search)

    async def extract(
        self, thread_ids: Collection[str], places: Mapping[str, tuple[ThreadPart, Sequence[str | int]]]
    ) -> Mapping[str, Mapping[str, Any]]:
        wanted = [{"name": name, "part": part, "path": rows.json_path(steps)} for name, (part, steps) in places.items()]
        parameters = {"ids": dumps(list(thread_ids)).decode(), "wanted": dumps(wanted).decode()}

        def find(connection: sqlite3.Connection) -> Mapping[str, Mapping[str, Any]]:
            found: dict[str, dict[str, Any]] = {thread_id: {} for thread_id in thread_ids}
            cursor = connection.execute(self._queries["extract_from_threads"], parameters)
            for row in rows.fetched(cursor, self._max_bytes):
                found[row["thread_id"]][row["name"]] = _extracted(row)
            return found

        return await self._searches.run(find)

    async def get_run(self, run_id: str) -> Run | None:
        parameters = {"run_id": run_id}
        row = await self._database.read(lambda db: first(db.execute(self._queries["get_run"], parameters)), quick=True)
        return None if row is None else rows.run(row)

    async def list_runs(
        self, thread_id: str, *, status: RunStatus | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Run]:
        parameters = {"thread_id": thread_id, "status": status, "limit": limit, "offset": offset}

        def find(connection: sqlite3.Connection) -> Sequence[Run]:
            cursor = connection.execute(self._queries["list_runs"], parameters)
            return [rows.run(row) for row in rows.fetched(cursor, self._max_bytes)]

        return await self._searches.run(find)

    async def active_runs(self, thread_id: str | None = None) -> Sequence[Run]:
        parameters = {"thread_id": thread_id}
        found = await self._database.read(lambda db: db.execute(self._queries["active_runs"], parameters).fetchall())
        return [rows.run(row) for row in found]

    async def temporary_threads(self, *, ended_before: datetime | None = None, left: bool = False) -> Sequence[str]:
        return await self._ended("temporary_threads", ended_before, left=left)

    async def rolled_back_runs(self, *, ended_before: datetime | None = None, left: bool = False) -> Sequence[str]:
        return await self._ended("rolled_back_runs", ended_before, left=left)

    async def _ended(self, name: str, ended_before: datetime | None, *, left: bool) -> Sequence[str]:
        living = None
        if left:
            processes = await self._ids("ending_processes", {})
            living = dumps([process for process in processes if self._is_alive(process)]).decode()
        return await self._ids(name, {"ended_before": rows.optional_micros(ended_before), "living": living})

    async def ended_runs(self, before: datetime, *, with_events: bool = False, limit: int = 100) -> Sequence[str]:
        name = "ended_runs_with_events" if with_events else "ended_runs"
        return await self._ids(name, {"before": rows.micros(before), "limit": limit})

    async def unchanged_threads(self, before: datetime, *, after: str = "", limit: int = 100) -> Sequence[str]:
        return await self._ids("unchanged_threads", {"before": rows.micros(before), "after": after, "limit": limit})

    async def known_threads(self, thread_ids: Collection[str]) -> Collection[str]:
        return await self._ids("known_threads", {"thread_ids": dumps(list(thread_ids)).decode()})

    async def _ids(self, name: str, parameters: rows.Parameters) -> Sequence[str]:
        found = await self._database.read(lambda db: db.execute(self._queries[name], parameters).fetchall())
        return [row[0] for row in found]

    async def delete_run(self, run_id: str) -> bool:
        parameters = {"run_id": run_id}

        def delete(connection: sqlite3.Connection) -> bool:
            row = first(connection.execute(self._queries["get_run"], parameters))
            if row is None:
                return False
            if row["status"] not in TERMINAL:
                raise ConflictError(f"Run {run_id!r} is under way.")
            return connection.execute(self._queries["delete_run"], parameters).rowcount > 0

        deleted = await self._database.write(delete)
        self._forget([run_id])
        return deleted


def _extracted(row: sqlite3.Row) -> Any:
    """A list or an object as it is written; another value out of the list that the database makes of it, twice."""
    if row["whole"] is not None:
        return Fragment(row["whole"].encode())
    return None if row["twice"] is None else loads(row["twice"])[0]


def _thread(row: sqlite3.Row | None) -> Thread | None:
    return None if row is None else rows.thread(row)
