"""Records in SQLite: threads and runs as rows."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from api.errors import ConflictError
from api.schemas import TERMINAL, Json, Run, RunStatus, Thread, ThreadStatus
from api.serde import loads
from api.storage.base import Records
from api.storage.sqlite import rows
from api.storage.sqlite.database import Database, first


class SqliteRecords(Records):
    """Threads and runs of a database.

    Args:
        database: where they are.
        queries: the statements by name.
        forget: told of the runs that were deleted, for what else is held of them.
    """

    def __init__(self, database: Database, queries: Mapping[str, str], forget: Callable[[Sequence[str]], None]) -> None:
        self._database = database
        self._queries = queries
        self._forget = forget

    async def create_thread(self, thread: Thread) -> Thread | None:
        parameters = rows.thread_parameters(thread)

        def create(connection: sqlite3.Connection) -> sqlite3.Row | None:
            if connection.execute(self._queries["insert_thread"], parameters).rowcount:
                return None
            return first(connection.execute(self._queries["get_thread"], parameters))

        return _thread(await self._database.write(create))

    async def get_thread(self, thread_id: str) -> Thread | None:
        parameters = {"thread_id": thread_id}
        return _thread(await self._database.read(lambda db: first(db.execute(self._queries["get_thread"], parameters))))

    async def patch_thread(self, thread_id: str, metadata: Json) -> Thread | None:
        patch = loads(rows.text(metadata))
        parameters = {"thread_id": thread_id, "now": rows.now()}

        def merge(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row = first(connection.execute(self._queries["get_thread"], parameters))
            if row is None:
                return None
            merged = rows.text({**loads(row["metadata"]), **patch})
            return first(connection.execute(self._queries["set_thread_metadata"], {**parameters, "metadata": merged}))

        return _thread(await self._database.write(merge))

    async def delete_thread(self, thread_id: str) -> bool:
        parameters = {"thread_id": thread_id}

        def delete(connection: sqlite3.Connection) -> tuple[bool, Sequence[str]]:
            if first(connection.execute(self._queries["active_run_of_thread"], parameters)):
                raise ConflictError(f"Thread {thread_id!r} has a run under way.")
            runs = connection.execute(self._queries["run_ids_of_thread"], parameters).fetchall()
            deleted = connection.execute(self._queries["delete_thread"], parameters).rowcount > 0
            return deleted, [row["run_id"] for row in runs]

        deleted, run_ids = await self._database.write(delete)
        self._forget(run_ids)
        return deleted

    async def search_threads(
        self, *, metadata: Json | None = None, status: ThreadStatus | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Thread]:
        parameters = {
            "metadata": rows.text(metadata) if metadata else None,
            "status": status,
            "limit": limit,
            "offset": offset,
        }
        found = await self._database.read(lambda db: db.execute(self._queries["search_threads"], parameters).fetchall())
        return [rows.thread(row) for row in found]

    async def get_run(self, run_id: str) -> Run | None:
        parameters = {"run_id": run_id}
        row = await self._database.read(lambda db: first(db.execute(self._queries["get_run"], parameters)))
        return None if row is None else rows.run(row)

    async def list_runs(
        self, thread_id: str, *, status: RunStatus | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Run]:
        parameters = {"thread_id": thread_id, "status": status, "limit": limit, "offset": offset}
        found = await self._database.read(lambda db: db.execute(self._queries["list_runs"], parameters).fetchall())
        return [rows.run(row) for row in found]

    async def active_runs(self, thread_id: str | None = None) -> Sequence[Run]:
        parameters = {"thread_id": thread_id}
        found = await self._database.read(lambda db: db.execute(self._queries["active_runs"], parameters).fetchall())
        return [rows.run(row) for row in found]

    async def temporary_threads(self) -> Sequence[str]:
        found = await self._database.read(lambda db: db.execute(self._queries["temporary_threads"]).fetchall())
        return [row["thread_id"] for row in found]

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


def _thread(row: sqlite3.Row | None) -> Thread | None:
    return None if row is None else rows.thread(row)
