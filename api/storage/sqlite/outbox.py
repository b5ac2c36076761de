"""The outbox in SQLite: the calls of webhooks as rows, and an event that wakes who makes them.

the end of a run ──> pending ──take──> settle: delivered, failed, or pending again later
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from api.schemas import Delivery, DeliveryStatus
from api.storage.base import LONGEST_LOOK, Outbox
from api.storage.sqlite import rows
from api.storage.sqlite.database import QUICK_BYTES, Database, first
from api.storage.sqlite.neighbours import Neighbours
from api.storage.sqlite.rows import Parameters


class SqliteOutbox(Outbox):
    """The outbox of a database.

    Args:
        database: where it is.
        queries: the statements by name.
        process: the name of this process among its neighbours.
        neighbours: the other processes that have the database open.
        tell: called when a call is due, to tell other processes.
    """

    def __init__(
        self,
        database: Database,
        queries: Mapping[str, str],
        process: str,
        neighbours: Neighbours,
        tell: Callable[[], None],
    ) -> None:
        self._database = database
        self._queries = queries
        self._process = process
        self._neighbours = neighbours
        self._tell = tell
        self._wake = asyncio.Event()

    async def take(self, lease_seconds: float) -> Delivery | None:
        now = rows.now()
        lease_until = now + round(lease_seconds * 1_000_000)
        parameters = {"now": now, "lease_until": lease_until, "process": self._process}
        row = await self._database.write(lambda db: first(db.execute(self._queries["take_delivery"], parameters)))
        return None if row is None else _delivery(row)

    async def settle(
        self, taken: Delivery, status: DeliveryStatus, *, due_at: datetime | None = None, problem: str | None = None
    ) -> None:
        now = rows.now()
        parameters = {
            "delivery_id": taken.delivery_id,
            "attempts": taken.attempts,
            "status": status,
            "due_at": now if due_at is None else rows.micros(due_at),
            "problem": problem,
            "now": now,
        }
        query = self._queries["settle_delivery"]
        await self._database.write(lambda db: db.execute(query, parameters).rowcount, self.added)

    async def next_due(self) -> datetime | None:
        query = self._queries["next_delivery"]
        row = await self._database.read(lambda db: first(db.execute(query)), quick=True)
        return None if row is None else rows.moment(row["due_at"])

    async def of_run(self, run_id: str) -> Sequence[Delivery]:
        parameters = {"run_id": run_id}
        query = self._queries["deliveries_of_run"]
        found = await self._database.read(lambda db: db.execute(query, parameters).fetchall())
        return [_delivery(row) for row in found]

    async def newest(self, status: DeliveryStatus | None = None, *, limit: int = 100) -> Sequence[Delivery]:
        parameters = {"status": status, "limit": limit}
        query = self._queries["list_deliveries"]
        found = await self._database.read(lambda db: db.execute(query, parameters).fetchall())
        return [_delivery(row) for row in found]

    async def again(self, run_id: str, delivery_id: str) -> bool:
        parameters = {"run_id": run_id, "delivery_id": delivery_id, "now": rows.now()}
        query = self._queries["send_delivery_again"]
        return await self._database.write(lambda db: db.execute(query, parameters).rowcount > 0, self._due)

    async def delete_done(self, before: datetime, *, limit: int = 100) -> int:
        parameters = {"before": rows.micros(before), "limit": limit}
        query = self._queries["delete_deliveries"]
        return await self._database.write(lambda db: db.execute(query, parameters).rowcount)

    async def wait(self, timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_LOOK if timeout is None else min(timeout, LONGEST_LOOK)):
                await self._wake.wait()
        self._wake.clear()

    def added(self) -> None:
        """A call was added, or is due at another time."""
        self._wake.set()

    def _due(self) -> None:
        self.added()
        self._tell()

    async def free_dead(self) -> None:
        """What processes that are gone have taken is due now."""
        query = self._queries["delivering_processes"]
        holders = await self._database.read(lambda db: [row["process"] for row in db.execute(query)])
        dead = [process for process in holders if not self._neighbours.is_alive(process)]

        def free(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute(self._queries["free_deliveries"], {"process": process, "now": rows.now()}).rowcount
                for process in dead
            )

        if dead:
            await self._database.write(free, self.added)


def insert(db: sqlite3.Connection, queries: Mapping[str, str], delivery: Delivery) -> None:
    """On the writer's thread: adds a call, due at once."""
    parameters: Parameters = {
        "delivery_id": delivery.delivery_id,
        "run_id": delivery.run_id,
        "thread_id": delivery.thread_id,
        "url": delivery.url,
        "payload": delivery.payload,
        "created_at": rows.micros(delivery.created_at),
    }
    db.execute(queries["insert_delivery"], parameters)


def is_small(delivery: Delivery | None) -> bool:
    """Whether a quick job may write it."""
    return delivery is None or len(delivery.payload) <= QUICK_BYTES // 2


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        delivery_id=row["delivery_id"],
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        url=row["url"],
        payload=row["payload"],
        created_at=rows.moment(row["created_at"]),
        updated_at=rows.moment(row["updated_at"]),
        due_at=rows.moment(row["due_at"]),
        status=row["status"],
        attempts=row["attempts"],
        problem=row["problem"],
    )
