"""The SQLite backend: the database and all that use it, opened and closed together."""

import contextlib
import logging
import uuid
from functools import partial
from pathlib import Path

from api.metrics import Metrics
from api.storage.sql import migrations, queries
from api.storage.sqlite.assistants import SqliteAssistants
from api.storage.sqlite.crons import SqliteCrons
from api.storage.sqlite.database import Database
from api.storage.sqlite.log import SqliteEventLog
from api.storage.sqlite.neighbours import Neighbours
from api.storage.sqlite.outbox import SqliteOutbox
from api.storage.sqlite.queue import SqliteRunQueue
from api.storage.sqlite.records import SqliteRecords
from api.storage.sqlite.searches import Searches
from api.storage.sqlite.space import reclaim
from api.storage.sqlite.thread_log import SqliteThreadLog

logger = logging.getLogger(__name__)

_FLUSHED = b"f"
"""News for other processes: events were written."""
_MOVED = b"t"
"""News for other processes: a thread has a new span, or is gone."""
_SCHEDULED = b"s"
"""News for other processes: a cron was made or changed."""
_DELIVERS = b"d"
"""News for other processes: a webhook is to be called."""


class SqliteStorage:
    """Records, assistants, crons, queue and log in one SQLite file; several processes may have it open.

    Args:
        path: the file; its folder must exist.
        max_unflushed_bytes: held of events that are not durable yet; more makes the writers of runs wait.
        tail_bytes: kept in memory of the events of each run under way, and of all finished ones together.
        search_seconds: that one search may take.
        max_answer_bytes: of what one search finds.
        wait_for_disk: whether each commit does: what is acknowledged then outlives a power cut too.
    """

    records: SqliteRecords
    assistants: SqliteAssistants
    crons: SqliteCrons
    queue: SqliteRunQueue
    outbox: SqliteOutbox
    log: SqliteEventLog
    thread_log: SqliteThreadLog

    def __init__(
        self,
        path: Path,
        *,
        max_unflushed_bytes: int = 8 << 20,
        tail_bytes: int = 4 << 20,
        search_seconds: float = 5.0,
        max_answer_bytes: int = 64 << 20,
        wait_for_disk: bool = False,
    ) -> None:
        self._queries = statements = queries()
        self.database = Database(path, migrations(), wait_for_disk=wait_for_disk)
        self._searches = Searches(path, seconds=search_seconds)
        self._process = uuid.uuid4().hex
        self._neighbours = Neighbours(
            path.with_name(f"{path.name}-processes"), on_change=self._changed, on_death=self._died
        )
        self.log = SqliteEventLog(
            self.database,
            statements,
            max_unflushed_bytes=max_unflushed_bytes,
            tail_bytes=tail_bytes,
            tell=partial(self._neighbours.tell, _FLUSHED),
        )
        self.thread_log = SqliteThreadLog(self.database, statements, partial(self._neighbours.tell, _MOVED))
        tell = partial(self._neighbours.tell, _DELIVERS)
        self.outbox = SqliteOutbox(self.database, statements, self._process, self._neighbours, tell)
        self.queue = SqliteRunQueue(
            self.database, statements, self.thread_log.wake, self.outbox.added, self._process, self._neighbours
        )
        self.records = SqliteRecords(
            self.database,
            self._searches,
            statements,
            self.log.forget,
            self.thread_log.wake,
            self._neighbours.is_alive,
            max_answer_bytes,
        )
        self.assistants = SqliteAssistants(self.database, self._searches, statements, max_answer_bytes)
        tell = partial(self._neighbours.tell, _SCHEDULED)
        self.crons = SqliteCrons(self.database, self._searches, statements, tell, max_answer_bytes)

    async def open(self) -> None:
        """Starts the threads, makes or migrates the schema, ends the leases of dead workers.

        Raises:
            ThreadlineError: the file is not a database, is of a newer version, or cannot be read or written.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self.database.open()
            stack.push_async_callback(self.database.close)
            await self._searches.open()
            stack.push_async_callback(self._searches.close)
            self._meet()
            stack.callback(self._neighbours.close)
            await self.queue.expire_dead()
            await self.outbox.free_dead()
            stack.pop_all()

    async def reclaim(self) -> None:
        """Gives free pages of the file back to the disk, in small steps."""
        await reclaim(self.database)

    def observe(self, metrics: Metrics) -> None:
        """Reports flushes of the log and what waits for the writer."""
        self.log.on_flush = metrics.flushed
        metrics.database_writes.set_function(lambda: self.database.waiting_writes)

    async def pending_runs(self) -> int:
        """How many runs wait."""
        rows = await self.database.read(lambda db: db.execute(self._queries["count_pending_runs"]).fetchone())
        return int(rows[0])

    async def close(self) -> None:
        """Stores what is not stored yet, and ends the threads."""
        await self.log.close()
        await self.queue.close()
        self._neighbours.close()
        await self._searches.close()
        await self.database.close()

    def _meet(self) -> None:
        try:
            self._neighbours.open(self._process)
        except OSError as exc:
            logger.warning("processes that share the database see each other late: %s", exc)

    def _changed(self, news: bytes) -> None:
        self.queue.changed(news)
        if _FLUSHED in news:
            self.log.changed()
        if _MOVED in news:
            self.thread_log.changed()
        if _SCHEDULED in news:
            self.crons.changed()
        if _DELIVERS in news:
            self.outbox.added()

    def _died(self) -> None:
        self.queue.died(self.outbox.free_dead)
        self.crons.changed()
