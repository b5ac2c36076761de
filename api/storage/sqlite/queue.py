"""The run queue in SQLite: the runs table, ordered by when a run was added, and an event that wakes the worker.

    enqueue ──> waits for its time ──> waits for its turn ──> its thread's head ──claim──> running

Whoever makes room for a thread's next run (an end, a time that has come) makes it the head in the same transaction, so
a claim looks at heads alone, however many runs wait behind them. A transaction holds the write lock from its first
statement on, so a claim is atomic between processes too. What another process should know of (a run that it may
claim, a time to wait for, a cancel of a run that it executes) wakes it as well.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from api.access_filter import AccessFilter
from api.errors import ConflictError, FencedError, NotFoundError, OverloadedError, RateLimitedError
from api.schemas import CancelAction, FiredCron, Json, Outcome, Run, Thread
from api.serde import dumps, loads
from api.storage.base import LONGEST_LOOK, QueueLimits, RunQueue
from api.storage.sqlite import outbox, rows, thread_log
from api.storage.sqlite.crons import claim_parameters
from api.storage.sqlite.database import QUICK_BYTES, Database, first
from api.storage.sqlite.heartbeat import Heartbeat
from api.storage.sqlite.neighbours import Neighbours
from api.storage.sqlite.rows import Parameters

logger = logging.getLogger(__name__)

CLAIMABLE = b"c"
"""News for other processes: a run may be claimed."""
MARKED = b"m"
"""News for other processes: a run is to be cancelled."""
_DELAYS = 50
"""That one claim ends at most."""
_TRIAL = 5_000_000
"""Microseconds of a run's first trial."""


class SqliteRunQueue(RunQueue):
    """The queue of a database.

    Args:
        database: where the runs are.
        queries: the statements by name.
        moved: told of the thread one of whose runs began or ended.
        delivers: told that a webhook is to be called.
        process: the name of this process among its neighbours.
        neighbours: the other processes that have the database open.
    """

    def __init__(
        self,
        database: Database,
        queries: Mapping[str, str],
        moved: Callable[[str], None],
        delivers: Callable[[], None],
        process: str,
        neighbours: Neighbours,
    ) -> None:
        self._database = database
        self._queries = queries
        self._moved = moved
        self._delivers = delivers
        self._process = process
        self._neighbours = neighbours
        self._wake = asyncio.Event()
        self._turn = ""
        """Whose run was claimed last."""
        self._idle = 0
        """How many wait here for something to claim."""
        self._untold = False
        """Whether there are runs that others do not know of: one waited here for them."""
        self._expiring: set[asyncio.Task[None]] = set()
        self._on_mark: Callable[[], None] | None = None

    async def enqueue(
        self,
        run: Run,
        *,
        thread: Thread | None = None,
        thread_config: Json | None = None,
        access: AccessFilter | None = None,
        limits: QueueLimits | None = None,
        fired: FiredCron | None = None,
        resuming: bool = False,
    ) -> Sequence[Run]:
        run_columns = rows.run_parameters(run)
        changes = {
            "identity": rows.text({"assistant_id": run.assistant_id, **_named(run.kwargs, "graph_id")}),
            "config": None if thread_config is None else rows.text(thread_config),
        }
        thread_columns = None if thread is None else rows.thread_parameters(thread)
        claim = None if fired is None else claim_parameters(fired)

        def enqueue(connection: sqlite3.Connection) -> Sequence[sqlite3.Row]:
            if claim is not None and connection.execute(self._queries["fire_cron"], claim).rowcount == 0:
                raise FencedError("The cron was fired, changed or deleted meanwhile.")
            return self._enqueue(connection, run_columns, thread_columns, changes, access, limits, resuming=resuming)

        quick = len(run_columns["kwargs"]) <= QUICK_BYTES
        # On the commit, even if the caller is gone by then.
        added = partial(self._added, delayed=run.due_at is not None)
        marked = await self._database.write(enqueue, added, quick=quick)
        if marked:
            self._neighbours.tell(MARKED)
        return [rows.run(row) for row in marked]

    def _enqueue(
        self,
        db: sqlite3.Connection,
        run: Parameters,
        thread: Parameters | None,
        changes: Parameters,
        access: AccessFilter | None,
        limits: QueueLimits | None,
        *,
        resuming: bool,
    ) -> Sequence[sqlite3.Row]:
        made = thread is not None and db.execute(self._queries["insert_thread"], thread).rowcount > 0
        if access is not None and not made:
            # Before anything that tells a thread of somebody else from one that does not exist.
            held = first(db.execute(self._queries["get_thread"], {"thread_id": run["thread_id"]}))
            if held is None or not access.matches(loads(held["metadata"])):
                raise NotFoundError("Thread or assistant not found.", field="thread_id")
        marked = self._make_way(db, run)
        if resuming:
            self._check_waits(db, run["thread_id"])
        if limits is not None:
            self._check_limits(db, run, limits)
        busy = {"thread_id": run["thread_id"], "now": rows.now(), **changes}
        if db.execute(self._queries["set_thread_busy"], busy).rowcount == 0:
            raise NotFoundError("Thread or assistant not found.", field="thread_id")
        if db.execute(self._queries["insert_run"], {**run, "now": busy["now"]}).rowcount == 0:
            raise ConflictError(f"There is a run {run['run_id']!r} already.", field="run_id")
        return marked

    def _make_way(self, db: sqlite3.Connection, run: Parameters) -> Sequence[sqlite3.Row]:
        """Does with the other runs of the thread as the strategy says; those that it marked."""
        strategy, thread_id = run["multitask_strategy"], run["thread_id"]
        if strategy == "enqueue":
            return []
        if strategy == "reject":
            if first(db.execute(self._queries["active_run_of_thread"], {"thread_id": thread_id})):
                raise ConflictError(
                    "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
                    field="thread_id",
                )
            return []
        marks = {"thread_id": thread_id, "action": strategy, "now": rows.now()}
        return db.execute(self._queries["mark_active_runs_of_thread"], marks).fetchall()

    def _check_limits(self, db: sqlite3.Connection, run: Parameters, limits: QueueLimits) -> None:
        def reached(statement: str, limit: int | None) -> bool:
            return (
                limit is not None
                and db.execute(self._queries[statement], {"owner": run["owner"]}).fetchone()[0] >= limit
            )

        if run["due_at"] is not None:
            if reached("count_delayed_runs_of_owner", limits.delayed_of_owner):
                raise RateLimitedError(
                    f"{limits.delayed_of_owner} runs of yours wait for their time already.", retry_after=60
                )
            if reached("count_delayed_runs", limits.delayed):
                raise OverloadedError(f"{limits.delayed} runs wait for their time already.")
            return
        if reached("count_active_runs_of_owner", limits.active_of_owner):
            raise RateLimitedError(f"{limits.active_of_owner} runs of yours wait or execute already.", retry_after=1)
        if reached("count_active_runs", limits.active):
            raise OverloadedError(f"{limits.active} runs wait or execute already.")

    def _check_waits(self, db: sqlite3.Connection, thread_id: str) -> None:
        held = first(db.execute(self._queries["get_thread"], {"thread_id": thread_id}))
        if held is not None and not loads(held["interrupts"]):
            raise ConflictError("The thread waits at no interrupt: there is nothing to resume.", field="resume")

    async def claim(self, worker_id: str, lease_seconds: float, *, full: Collection[str] = ()) -> Run | None:
        waiting = _listed(full)

        def claim(connection: sqlite3.Connection) -> sqlite3.Row | None:
            parameters: Parameters = {"worker_id": worker_id, "process": self._process, **_lease(lease_seconds)}
            parameters |= {"trial": _TRIAL, "full": waiting}
            self._end_delays(connection, parameters["now"])
            connection.execute(self._queries["end_trials"], parameters)
            parameters["head"] = self._head(connection, full)
            return first(connection.execute(self._queries["claim_run"], parameters))

        claiming = self._database.write(claim, quick=True)
        try:
            row = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The claim happens all the same; a run that nobody holds would wait for its lease to expire.
            if row := await claiming:
                await self.release(row["run_id"], row["attempt"])
            raise
        if row is None:
            return None
        self._turn = row["owner"]
        self._moved(row["thread_id"])
        return rows.run(row)

    def _head(self, db: sqlite3.Connection, full: Collection[str]) -> int | None:
        """The oldest run that may start, of the next owner who has one and is not full; each is looked at once."""
        owner, seen = self._turn, set[str]()
        while True:
            found = db.execute(self._queries["next_owner"], {"owner": owner}).fetchone()
            found = found or db.execute(self._queries["first_owner"]).fetchone()
            if found is None or (owner := found["owner"]) in seen:
                return None
            if owner not in full:
                head = db.execute(self._queries["head_of_owner"], {"owner": owner}).fetchone()
                return None if head is None else head["seq"]
            seen.add(owner)

    def _end_delays(self, db: sqlite3.Connection, now: int) -> None:
        """Runs whose time has come wait for their turn, or have it."""
        due = db.execute(self._queries["end_delays"], {"now": now, "limit": _DELAYS}).fetchall()
        for thread_id in dict.fromkeys(row["thread_id"] for row in due):
            db.execute(self._queries["next_of_thread"], {"thread_id": thread_id})

    async def next_due(self, *, full: Collection[str] = ()) -> datetime | None:
        parameters = {"process": self._process, "full": _listed(full)}
        query = self._queries["next_due"]
        row = await self._database.read(lambda db: db.execute(query, parameters).fetchone(), quick=True)
        return None if row[0] is None else rows.moment(row[0])

    async def heartbeat(self, worker_id: str, lease_seconds: float, run_ids: Collection[str]) -> Sequence[Run]:
        def extend(connection: sqlite3.Connection) -> Sequence[sqlite3.Row]:
            parameters = _beat(worker_id, lease_seconds, run_ids)
            return connection.execute(self._queries["extend_leases"], parameters).fetchall()

        return [rows.run(row) for row in await self._database.write(extend)]

    async def request_cancel(self, run_id: str, action: CancelAction) -> Run | None:
        parameters = {"run_id": run_id, "action": action, "now": rows.now()}
        row = await self._database.write(
            lambda db: first(db.execute(self._queries["mark_run"], parameters)),
            partial(self._neighbours.tell, MARKED),
            quick=True,
        )
        return None if row is None else rows.run(row)

    async def finish(self, run_id: str, attempt: int, outcome: Outcome, *, events: int) -> None:
        fence = {
            "run_id": run_id,
            "attempt": attempt,
            "process": self._process,
            "status": outcome.status,
            "events": events,
            "now": rows.now(),
        }
        thread_id, followed, delivery = "", False, outcome.delivery
        parameters = {
            "status": outcome.thread_status,
            "values": outcome.values,
            "interrupts": outcome.interrupts,
            "error": outcome.error,
            "now": fence["now"],
        }

        def finish(connection: sqlite3.Connection) -> None:
            nonlocal thread_id, followed
            row = first(connection.execute(self._queries["finish_run"], fence))
            if row is None:
                raise FencedError(f"Attempt {attempt} of run {run_id!r} is not its current one.")
            thread_id = row["thread_id"]
            counted = events if row["base"] >= 0 else 0
            statement = "finish_thread" if attempt else "finish_thread_untouched"
            connection.execute(self._queries[statement], {**parameters, "thread_id": thread_id, "events": counted})
            if attempt > 0:
                thread_log.place(connection, self._queries, thread_id)
            if delivery is not None:
                outbox.insert(connection, self._queries, delivery)
            followed = connection.execute(self._queries["next_of_thread"], {"thread_id": thread_id}).rowcount > 0

        def wake() -> None:
            if followed:
                self._claimable()
            self._moved(thread_id)

            if delivery is not None:
                self._delivers()

        small = len(outcome.values or b"") <= QUICK_BYTES and outbox.is_small(delivery)
        await self._database.write(finish, wake, quick=small)

    async def release(self, run_id: str, attempt: int) -> None:
        parameters = {"run_id": run_id, "attempt": attempt, "now": rows.now()}
        await self._database.write(
            lambda connection: connection.execute(self._queries["release_run"], parameters).rowcount, self._claimable
        )

    def _added(self, *, delayed: bool) -> None:
        """Wakes who can take a new run, or is to know of its time: others too, unless one waits here for just that."""
        self._wake.set()
        if delayed or not self._idle:
            self._tell()
        else:
            self._untold = True

    def wake(self) -> None:
        self._wake.set()

    def pass_on(self) -> None:
        # Not what others told: two that are full would wake each other for ever.
        if self._untold:
            self._tell()

    def _claimable(self) -> None:
        """Wakes whoever may claim a run now: in this process, and, as this one may be about to end, in others."""
        self._wake.set()
        self._tell()

    def _tell(self) -> None:
        self._untold = False
        self._neighbours.tell(CLAIMABLE)

    def changed(self, news: bytes) -> None:
        """Another process changed something.

        Args:
            news: of `CLAIMABLE` and `MARKED`.
        """
        if CLAIMABLE in news:
            self._wake.set()
        if MARKED in news and self._on_mark is not None:
            self._on_mark()

    async def wait(self, timeout: float | None) -> None:
        self._idle += 1
        try:
            async with asyncio.timeout(LONGEST_LOOK if timeout is None else min(timeout, LONGEST_LOOK)):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._idle -= 1
        self._wake.clear()

    @contextlib.contextmanager
    def hold(
        self,
        worker_id: str,
        lease_seconds: float,
        held: Callable[[], Collection[str]],
        on_mark: Callable[[], None],
    ) -> Iterator[None]:
        def extend(connection: sqlite3.Connection) -> None:
            connection.execute(self._queries["extend_leases"], _beat(worker_id, lease_seconds, held())).fetchall()

        self._on_mark = on_mark
        with Heartbeat(lambda: self._database.post(extend), lease_seconds / 3, lambda: bool(held())):
            yield
        self._on_mark = None

    async def expire_dead(self) -> int:
        """Ends the leases of processes that are gone, so that their runs go on at once.

        Returns:
            The number of runs that may be claimed.
        """
        holders = await self._database.read(
            lambda db: [row["process"] for row in db.execute(self._queries["running_processes"])]
        )
        dead = [process for process in holders if not self._neighbours.is_alive(process)]

        def expire(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute(self._queries["expire_leases"], {"process": process, "now": rows.now()}).rowcount
                for process in dead
            )

        return await self._database.write(expire, self._wake.set) if dead else 0

    def died(self, also: Callable[[], Awaitable[None]]) -> None:
        """Another process died: its runs go on here, at once, and so does what it alone may have known of.

        Args:
            also: takes over what it had besides.
        """
        self._wake.set()
        task = asyncio.get_running_loop().create_task(self._take_over(also))
        self._expiring.add(task)
        task.add_done_callback(self._expired)

    async def _take_over(self, also: Callable[[], Awaitable[None]]) -> None:
        await self.expire_dead()
        await also()

    def _expired(self, task: asyncio.Task[None]) -> None:
        self._expiring.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("what a process that died had waits for the end of its leases: %s", error)

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._expiring:
            task.cancel()
        await asyncio.gather(*self._expiring, return_exceptions=True)


def _lease(seconds: float) -> dict[str, int]:
    now = rows.now()
    return {"now": now, "lease_until": now + round(seconds * 1_000_000)}


def _beat(worker_id: str, seconds: float, run_ids: Collection[str]) -> Parameters:
    return {"worker_id": worker_id, "run_ids": _listed(run_ids), **_lease(seconds)}


def _listed(names: Collection[str]) -> str:
    """As `json_each` reads them."""
    return dumps(list(names)).decode()


def _named(values: Json, name: str) -> Json:
    return {name: values[name]} if name in values else {}
