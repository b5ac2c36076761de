"""Crons in SQLite: a row each, and an event that wakes the schedulers of all processes."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from api.access_filter import AccessFilter, permits
from api.errors import RateLimitedError
from api.schemas import Cron, CronSort, FiredCron, Json
from api.serde import loads
from api.storage.base import LONGEST_LOOK, Crons
from api.storage.sqlite.database import Database, first
from api.storage.sqlite.rows import (
    Parameters,
    fetched,
    micros,
    moment,
    optional_micros,
    page,
    permitted,
    search_parameters,
    text,
)
from api.storage.sqlite.searches import Searches


class SqliteCrons(Crons):
    """The crons of a database.

    Args:
        database: where they are.
        searches: of it.
        queries: the statements by name.
        tell: called when a cron may have become due earlier, to tell other processes.
        max_bytes: of what one search finds.
    """

    def __init__(
        self,
        database: Database,
        searches: Searches,
        queries: Mapping[str, str],
        tell: Callable[[], None],
        max_bytes: int,
    ) -> None:
        self._database = database
        self._searches = searches
        self._max_bytes = max_bytes
        self._queries = queries
        self._tell = tell
        self._wake = asyncio.Event()

    async def create(self, cron: Cron, *, limit: int | None = None) -> bool:
        parameters = _parameters(cron)
        owner = None if cron.caller is None else cron.caller["user"]["identity"]

        def create(connection: sqlite3.Connection) -> bool:
            if owner is not None and limit is not None:
                count = connection.execute(self._queries["count_crons_of_owner"], {"owner": owner}).fetchone()[0]
                if count >= limit:
                    raise RateLimitedError(f"You have {limit} crons already.")
            return connection.execute(self._queries["insert_cron"], parameters).rowcount > 0

        return await self._database.write(create, self._added)

    async def get(self, cron_id: str) -> Cron | None:
        return _cron(await self._database.read(lambda connection: self._current(connection, cron_id)))

    def _current(self, connection: sqlite3.Connection, cron_id: str) -> sqlite3.Row | None:
        return first(connection.execute(self._queries["get_cron"], {"cron_id": cron_id}))

    async def change(self, cron_id: str, change: Callable[[Cron], None]) -> Cron | None:
        def apply(connection: sqlite3.Connection) -> sqlite3.Row | None:
            cron = _cron(self._current(connection, cron_id))
            if cron is None:
                return None
            change(cron)
            connection.execute(self._queries["update_cron"], _parameters(cron))
            return self._current(connection, cron_id)

        return _cron(await self._database.write(apply, self._added))

    async def delete(self, cron_id: str) -> bool:
        parameters = {"cron_id": cron_id}
        return await self._database.write(
            lambda connection: connection.execute(self._queries["delete_cron"], parameters).rowcount > 0
        )

    async def search(
        self,
        *,
        assistant_id: str | None = None,
        thread_id: str | None = None,
        enabled: bool | None = None,
        metadata: Json | None = None,
        access: AccessFilter | None = None,
        sort_by: CronSort = "created_at",
        descending: bool = True,
        limit: int = 10,
        offset: int = 0,
    ) -> tuple[Sequence[Cron], int]:
        parameters = {
            "assistant_id": assistant_id,
            "thread_id": thread_id,
            "enabled": enabled,
            "access": None if access is None else access.text(),
            **search_parameters(metadata, sort_by, descending=descending, limit=limit, offset=offset),
        }

        def find(connection: sqlite3.Connection) -> tuple[Sequence[Cron], int]:
            cursor = connection.execute(self._queries["search_crons"], parameters)
            found = page(fetched(cursor, self._max_bytes), _record)
            return permitted(found, lambda cron: permits(access, cron.metadata))

        return await self._searches.run(find)

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        parameters = {"now": micros(now), "limit": limit}
        rows = await self._database.read(
            lambda connection: connection.execute(self._queries["due_crons"], parameters).fetchall()
        )
        return [_record(row) for row in rows]

    async def next_due(self, now: datetime) -> datetime | None:
        parameters = {"now": micros(now)}
        row = await self._database.read(
            lambda connection: first(connection.execute(self._queries["next_cron_date"], parameters))
        )
        return None if row is None else moment(row[0])

    async def claim(self, cron: Cron, following: datetime | None) -> Cron | None:
        parameters = claim_parameters(FiredCron(cron, following))
        row = await self._database.write(
            lambda connection: first(connection.execute(self._queries["claim_cron"], parameters))
        )
        return _cron(row)

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_LOOK):
                await self._wake.wait()
        self._wake.clear()

    def _added(self) -> None:
        self._wake.set()
        self._tell()

    def changed(self) -> None:
        """Another process may have changed a cron, or has died: whoever waits looks."""
        self._wake.set()


def claim_parameters(fired: FiredCron) -> Parameters:
    """Of `claim_cron` and `fire_cron`."""
    return {
        "cron_id": fired.cron.cron_id,
        "updated_at": micros(fired.cron.updated_at),
        "next_run_date": optional_micros(fired.cron.next_run_date),
        "following": optional_micros(fired.following),
    }


def _optional_moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)


def _parameters(cron: Cron) -> Parameters:
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "end_time": optional_micros(cron.end_time),
        "next_run_date": optional_micros(cron.next_run_date),
        "created_at": micros(cron.created_at),
        "updated_at": micros(cron.updated_at),
        "payload": text(cron.payload),
        "metadata": text(cron.metadata),
        "on_run_completed": cron.on_run_completed,
        "enabled": cron.enabled,
        "caller": None if cron.caller is None else text(cron.caller),
    }


def _cron(row: sqlite3.Row | None) -> Cron | None:
    return None if row is None else _record(row)


def _record(row: sqlite3.Row) -> Cron:
    return Cron(
        cron_id=row["cron_id"],
        assistant_id=row["assistant_id"],
        schedule=row["schedule"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        next_run_date=_optional_moment(row["next_run_date"]),
        thread_id=row["thread_id"],
        timezone=row["timezone"],
        end_time=_optional_moment(row["end_time"]),
        payload=loads(row["payload"]),
        metadata=loads(row["metadata"]),
        on_run_completed=row["on_run_completed"],
        enabled=bool(row["enabled"]),
        caller=None if row["caller"] is None else loads(row["caller"]),
    )
