"""Assistants in SQLite: a row that points to a version, and a row for each version."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from api.access_filter import AccessFilter, permits
from api.schemas import Assistant, AssistantSort, Json
from api.serde import dumps, loads
from api.storage.base import Assistants
from api.storage.sqlite.database import Database, first
from api.storage.sqlite.rows import (
    Parameters,
    fetched,
    micros,
    moment,
    now,
    page,
    permitted,
    search_parameters,
    text,
)
from api.storage.sqlite.searches import Searches

_RENAMING = (
    "rename_assistant",
    "rename_assistant_versions",
    "rename_assistant_of_crons",
    "rename_assistant_of_runs",
)


class SqliteAssistants(Assistants):
    """The assistants of a database.

    Args:
        database: where they are.
        searches: of it.
        queries: the statements by name.
        max_bytes: of what one search finds.
    """

    def __init__(self, database: Database, searches: Searches, queries: Mapping[str, str], max_bytes: int) -> None:
        self._database = database
        self._searches = searches
        self._max_bytes = max_bytes
        self._queries = queries

    async def create(self, assistant: Assistant) -> Assistant | None:
        parameters = _parameters(assistant)

        def create(connection: sqlite3.Connection) -> sqlite3.Row | None:
            if connection.execute(self._queries["insert_assistant"], parameters).rowcount == 0:
                return self._current(connection, assistant.assistant_id)
            connection.execute(self._queries["insert_assistant_version"], parameters)
            return None

        return _assistant(await self._database.write(create))

    async def register(self, assistant: Assistant, new_id: str) -> tuple[Assistant | None, bool]:
        parameters = _parameters(assistant)
        renaming = {"assistant_id": assistant.assistant_id, "new_id": new_id}

        def register(connection: sqlite3.Connection) -> tuple[sqlite3.Row | None, bool]:
            holder = first(connection.execute(self._queries["holder_of_assistant_id"], parameters))
            if holder is not None and holder["is_default"]:
                return self._current(connection, assistant.assistant_id), False
            if holder is not None:
                connection.execute("PRAGMA defer_foreign_keys=ON")  # until this transaction ends
                for statement in _RENAMING:
                    connection.execute(self._queries[statement], renaming)
            connection.execute(self._queries["insert_default_assistant"], parameters)
            connection.execute(self._queries["insert_assistant_version"], parameters)
            return None, holder is not None

        held, renamed = await self._database.write(register)
        return _assistant(held), renamed

    async def get(self, assistant_id: str) -> Assistant | None:
        return _assistant(
            await self._database.read(lambda connection: self._current(connection, assistant_id), quick=True)
        )

    def _current(self, connection: sqlite3.Connection, assistant_id: str) -> sqlite3.Row | None:
        return first(connection.execute(self._queries["get_assistant"], {"assistant_id": assistant_id}))

    async def patch(self, assistant_id: str, changes: Json) -> Assistant | None:
        changes = loads(dumps(changes))
        at = now()

        def patch(connection: sqlite3.Connection) -> sqlite3.Row | None:
            held = _assistant(self._current(connection, assistant_id))
            if held is None:
                return None
            for name, value in changes.items():
                setattr(held, name, {**held.metadata, **value} if name == "metadata" else value)
            parameters = {"assistant_id": assistant_id}
            held.version = connection.execute(self._queries["next_assistant_version"], parameters).fetchone()[0]
            version = {**_parameters(held), "created_at": at, "now": at}
            connection.execute(self._queries["insert_assistant_version"], version)
            connection.execute(self._queries["set_assistant_version"], version)
            return self._current(connection, assistant_id)

        return _assistant(await self._database.write(patch))

    async def delete(self, assistant_id: str) -> bool:
        parameters = {"assistant_id": assistant_id}
        return await self._database.write(
            lambda connection: connection.execute(self._queries["delete_assistant"], parameters).rowcount > 0
        )

    async def search(
        self,
        *,
        graph_ids: Collection[str],
        name: str | None = None,
        metadata: Json | None = None,
        access: AccessFilter | None = None,
        shared: Collection[str] = (),
        sort_by: AssistantSort = "created_at",
        descending: bool = True,
        limit: int = 10,
        offset: int = 0,
    ) -> tuple[Sequence[Assistant], int]:
        parameters = {
            "graph_ids": dumps(list(graph_ids)).decode(),
            "name_lower": name.lower() if name else None,
            "access": None if access is None else access.text(),
            "shared": dumps(list(shared)).decode(),
            **search_parameters(metadata, sort_by, descending=descending, limit=limit, offset=offset),
        }

        def find(connection: sqlite3.Connection) -> tuple[Sequence[Assistant], int]:
            cursor = connection.execute(self._queries["search_assistants"], parameters)
            found = page(fetched(cursor, self._max_bytes), _record)
            return permitted(found, lambda each: each.assistant_id in shared or permits(access, each.metadata))

        return await self._searches.run(find)

    async def versions(
        self, assistant_id: str, *, metadata: Json | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Assistant]:
        parameters = {
            "assistant_id": assistant_id,
            "metadata": text(metadata) if metadata else None,
            "limit": limit,
            "offset": offset,
        }

        def find(connection: sqlite3.Connection) -> Sequence[Assistant]:
            cursor = connection.execute(self._queries["assistant_versions"], parameters)
            return [_record(row) for row in fetched(cursor, self._max_bytes)]

        return await self._searches.run(find)

    async def set_latest(self, assistant_id: str, version: int) -> Assistant | None:
        parameters = {"assistant_id": assistant_id, "version": version, "now": now()}

        def restore(connection: sqlite3.Connection) -> sqlite3.Row | None:
            if connection.execute(self._queries["set_assistant_version"], parameters).rowcount == 0:
                return None
            return self._current(connection, assistant_id)

        return _assistant(await self._database.write(restore))

    async def active_runs(self, assistant_id: str) -> Sequence[str]:
        return await self._ids("active_runs_of_assistant", assistant_id)

    async def threads(self, assistant_id: str) -> Sequence[str]:
        return await self._ids("threads_of_assistant", assistant_id)

    async def _ids(self, query: str, assistant_id: str) -> Sequence[str]:
        rows = await self._database.read(
            lambda connection: connection.execute(self._queries[query], {"assistant_id": assistant_id}).fetchall()
        )
        return [row[0] for row in rows]


def _parameters(assistant: Assistant) -> Parameters:
    """The columns of an assistant and of its version."""
    return {
        "assistant_id": assistant.assistant_id,
        "version": assistant.version,
        "created_at": micros(assistant.created_at),
        "updated_at": micros(assistant.updated_at),
        "graph_id": assistant.graph_id,
        "config": text(assistant.config),
        "context": text(assistant.context),
        "metadata": text(assistant.metadata),
        "name": assistant.name,
        "name_lower": assistant.name.lower(),
        "description": assistant.description,
    }


def _assistant(row: sqlite3.Row | None) -> Assistant | None:
    return None if row is None else _record(row)


def _record(row: sqlite3.Row) -> Assistant:
    return Assistant(
        assistant_id=row["assistant_id"],
        graph_id=row["graph_id"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        config=loads(row["config"]),
        context=loads(row["context"]),
        metadata=loads(row["metadata"]),
        name=row["name"],
        description=row["description"],
        version=row["version"],
    )
