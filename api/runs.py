"""Runs: create, follow, join and cancel them. Every stream and every answer is a reader of the run's log."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from langchain_core.utils.uuid import uuid7

from api.access_filter import AccessFilter
from api.callers import owner_of
from api.checkpointer_config import ThreadTtl
from api.errors import FencedError, GapError, NotFoundError, OverloadedError, ShuttingDownError, ThreadlineError
from api.events import END, Event, end
from api.executor import Executor
from api.origins import current_kwargs
from api.schemas import (
    TERMINAL,
    CancelAction,
    Delivery,
    EndStatus,
    FiredCron,
    Json,
    MultitaskStrategy,
    Run,
    RunStatus,
    Source,
    Thread,
)
from api.serde import dumps, loads
from api.settings import Settings
from api.storage.base import QueueLimits, Storage
from api.worker import Worker

logger = logging.getLogger(__name__)

PAGE = 4000
"""Events read at one time."""

_RESUMABLE_SECONDS = 120.0
"""How long a stateless run can be rejoined after its end."""

_UNREAD_SECONDS = 1.0
"""How long one that nobody reads yet waits for the reader who made it."""


@dataclass(slots=True, kw_only=True)
class RunRequest:
    """What is needed to create a run, whichever protocol asks."""

    assistant_id: str
    graph_id: str
    source: Source
    kwargs: Json
    """Goes to the executor: `input` or `resume`, `context`, `config`, `durability`, `filters`."""
    thread_id: str | None = None
    """None makes a new thread."""
    new_thread: Thread | None = None
    """Made if it does not exist."""
    thread_config: Json | None = None
    """What an existing thread's config becomes; None leaves it."""
    metadata: Json = field(default_factory=dict)
    given_metadata: Json | None = None
    """What of it the client itself, and the handlers that it is asked about, gave; None: all. A thread that is made for
    the run has only this: the assistant's own metadata, its owner's name for one, would make it that owner's."""
    multitask_strategy: MultitaskStrategy = "reject"
    due_at: datetime | None = None
    """Not to be started before; None: at once."""
    access: AccessFilter | None = None
    """Matches the metadata of an existing thread; one that it does not match is not found."""


class Runs:
    """The runs of this service.

    Args:
        storage: where they are.
        worker: executes those of this process.
        executor: ends those that never start.
        settings: limits.
        ttl: of threads that are made for a run.
    """

    def __init__(
        self, storage: Storage, worker: Worker, executor: Executor, settings: Settings, ttl: ThreadTtl | None = None
    ) -> None:
        self._storage = storage
        self._worker = worker
        self._executor = executor
        self._settings = settings
        self._ttl = ttl or ThreadTtl()
        self._limits = QueueLimits(
            active=settings.max_queued_runs,
            delayed=settings.max_delayed_runs,
            active_of_owner=settings.max_queued_runs_per_caller,
            delayed_of_owner=settings.max_delayed_runs_per_caller,
        )
        self._readers: Counter[str] = Counter()
        self._ending = False
        self._doomed: dict[str, Run] = {}
        """Runs that have ended and are to be deleted, by id."""
        self._deletions: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Deletes what stateless runs, and those that were rolled back, of processes that are gone left; what can still
        be rejoined stays until its time.
        """
        records = self._storage.records
        for run_id in await records.rolled_back_runs(left=True):
            await records.delete_run(run_id)
        for thread_id in await records.temporary_threads(left=True):
            newest = await records.list_runs(thread_id, limit=1)
            left = _remaining_seconds(newest[0]) if newest else 0
            if left > 0:
                self._doomed[newest[0].run_id] = newest[0]
                self._delete_soon(newest[0].run_id, left)
            else:
                await self._delete_thread(thread_id)

    @property
    def doomed(self) -> Collection[str]:
        """Ids of runs that have ended and that this process will delete."""
        return self._doomed.keys()

    def end_streams(self) -> None:
        """Whoever follows a run that has not ended gets a ShuttingDownError, now and from now on."""
        self._ending = True
        self._storage.log.end_waits()

    async def close(self) -> None:
        """Ends what waits to delete something."""
        deletions = list(self._deletions.values())
        for task in deletions:
            task.cancel()
        await asyncio.gather(*deletions, return_exceptions=True)

    async def create(self, request: RunRequest, fired: FiredCron | None = None) -> Run:
        """Creates a pending run, and its thread if none is named; it starts at once.

        Args:
            request: what is needed.
            fired: the cron that the run is made for, if it is; moved on with it.

        Raises:
            NotFoundError: the thread does not exist.
            ConflictError: the thread has a run under way, or waits at no interrupt that the request could resume.
            FencedError: the cron was fired, changed or deleted meanwhile.
            OverloadedError: too many runs wait, of all or of the thread.
            RateLimitedError: too many of the caller.
        """
        await self._check_waiting(request)
        thread, run = self._records_of(request)
        for marked in await self._storage.queue.enqueue(
            run,
            thread=thread,
            thread_config=request.thread_config,
            access=request.access,
            limits=self._limits,
            fired=fired,
            resuming="resume" in request.kwargs,
        ):
            await self._stop(marked, marked.cancel or "interrupt")
        return run

    def _records_of(self, request: RunRequest) -> tuple[Thread | None, Run]:
        """The run that is asked for, and its thread if that is to be made."""
        now = datetime.now(UTC)
        identity = {"graph_id": request.graph_id, "assistant_id": request.assistant_id}
        given = request.metadata if request.given_metadata is None else request.given_metadata
        thread = request.new_thread
        if thread is None and request.thread_id is None:
            thread = Thread(str(uuid7()), now, now, metadata={**given, **identity}, status="busy")
        if thread is not None and thread.ttl is None:
            thread.ttl = self._ttl.from_now()
        return thread, Run(
            run_id=str(uuid7()),
            thread_id=request.thread_id if thread is None else thread.thread_id,  # type: ignore[arg-type]  # one is there
            assistant_id=request.assistant_id,
            created_at=now,
            updated_at=now,
            metadata=request.metadata,
            kwargs={**request.kwargs, "source": request.source, "graph_id": request.graph_id, **current_kwargs()},
            multitask_strategy=request.multitask_strategy,
            due_at=request.due_at,
            owner=owner_of(request.kwargs),
        )

    async def _check_waiting(self, request: RunRequest) -> None:
        """Refuses one more run that would only wait, behind so many others of its thread."""
        limit = self._settings.max_queued_runs_per_thread
        if request.thread_id is None or request.multitask_strategy != "enqueue":
            return
        if await self._storage.records.list_runs(request.thread_id, status="pending", limit=1, offset=limit - 1):
            raise OverloadedError(f"{limit} runs of this thread wait already.", field="thread_id", retry_after=1)

    async def get(self, run_id: str, thread_id: str | None = None) -> Run:
        """A run's record.

        Args:
            run_id: the run.
            thread_id: the thread that it must belong to, if given.

        Raises:
            NotFoundError: there is none.
        """
        run = await self._record(run_id)
        if thread_id not in (None, run.thread_id) or self._is_rolled_back(run_id):
            raise no_run(run_id)
        return run

    async def delete(self, run_id: str) -> None:
        """Deletes a finished run with its events.

        Raises:
            ConflictError: it is pending or running.
        """
        await self._storage.records.delete_run(run_id)

    async def of_thread(
        self, thread_id: str, *, status: RunStatus | None = None, limit: int = 10, offset: int = 0
    ) -> list[Run]:
        """A thread's runs, newest first."""
        found = await self._storage.records.list_runs(thread_id, status=status, limit=limit, offset=offset)
        return [run for run in found if not self._is_rolled_back(run.run_id)]

    async def _record(self, run_id: str) -> Run:
        run = await self._storage.records.get_run(run_id)
        if run is None:
            raise no_run(run_id)
        return run

    def _is_rolled_back(self, run_id: str) -> bool:
        """Whether it is there only for those who still read it."""
        run = self._doomed.get(run_id)
        return run is not None and run.cancel == "rollback"

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """The run's events past a cursor, in batches, until the terminal one; an empty batch is a heartbeat.

        Args:
            run_id: the run.
            after: the last seq that the reader has; 0 for all.

        Raises:
            NotFoundError: there is no such run.
            GapError: events past the cursor are no longer kept.
            ShuttingDownError: the server ends before the run does.
        """
        self._readers[run_id] += 1
        deletion = None
        try:
            async for events in self._events(run_id, after):
                yield events
        finally:
            self._readers[run_id] -= 1
            if not self._readers[run_id]:
                del self._readers[run_id]
                deletion = self._left(run_id)
        if deletion is not None:
            # Who has been told of the end finds it deleted.
            await asyncio.wait([deletion])

    def _left(self, run_id: str) -> asyncio.Task[None] | None:
        """The run's last reader has gone; its deletion, if that is now."""
        if (run := self._doomed.get(run_id)) is None:
            return None
        seconds = self._keep_seconds(run)
        deletion = self._delete_soon(run_id, seconds)
        return None if seconds else deletion

    async def _events(self, run_id: str, after: int) -> AsyncGenerator[Sequence[Event]]:
        log, silence = self._storage.log, self._settings.heartbeat_interval
        ended = (await self._record(run_id)).status in TERMINAL
        while True:
            if events := await log.read(run_id, after, PAGE):
                yield events
                if events[-1].kind == END:
                    return
                after = events[-1].seq
            elif ended:
                async for last in self._conclude(run_id, after):
                    yield last
                return
            elif self._ending:
                raise ShuttingDownError("The server is shutting down; the run goes on when it is back.")
            elif not await log.wait(run_id, after, silence):
                ended = (await self._record(run_id)).status in TERMINAL
                if not ended:
                    yield ()

    async def _conclude(self, run_id: str, after: int) -> AsyncGenerator[Sequence[Event]]:
        """The row says that the run has ended, and the log has nothing past the cursor.

        Either the reader has everything; or the process died between the run's last commit and its terminal event,
        which then follows from the row, with the same seq for every reader.
        """
        log = self._storage.log
        last = await log.last_seq(run_id)
        if after > last:
            return
        if (tail := await log.read(run_id, last - 1)) and tail[-1].kind == END:
            if after < last:
                yield tail
            return
        status: EndStatus = (await self._record(run_id)).status  # type: ignore[assignment]  # terminal, as seen above
        yield (Event(last + 1, *end(status)),)

    async def check_cursor(self, run_id: str, after: int) -> None:
        """Fails now rather than inside the stream, if the run cannot be followed from there.

        Raises:
            GapError: events past the cursor are no longer kept.
        """
        await self._storage.log.read(run_id, after, 1)

    async def collect(self, run_id: str, kinds: Collection[str]) -> list[Event]:
        """Waits for the run's end.

        Args:
            run_id: the run.
            kinds: of the events to return; there are none if they are no longer kept.
        """
        return await gathered(self.follow(run_id), kinds)

    async def result_of_run(self, run: Run) -> bytes:
        """JSON of what the last run of the run's thread left: its error, its interrupts, or its values."""
        thread = await self._storage.records.get_thread(run.thread_id)
        if thread is None:
            return b"{}"
        if thread.status == "error" and thread.error is not None:
            return b'{"__error__":%b}' % thread.error.encode()
        interrupts = [each for waiting in loads(thread.interrupts).values() for each in waiting]
        if thread.status == "interrupted" and interrupts:
            return dumps({"__interrupt__": interrupts})
        return thread.values or b"{}"

    async def cancel(self, run_id: str, action: CancelAction = "interrupt") -> Run:
        """Stops a run: recorded first, then done at once.

        Raises:
            NotFoundError: there is no such run, or it has ended.
        """
        run = await self._storage.queue.request_cancel(run_id, action)
        if run is None:
            raise no_active_run(run_id)
        await self._stop(run, action)
        return run

    async def cancel_if_active(self, run_id: str) -> None:
        """Stops a run, unless it has ended."""
        try:
            await self.cancel(run_id)
        except NotFoundError:
            return

    async def deliveries(self, run: Run) -> Sequence[Delivery]:
        """The calls of the run's webhook, and what came of them."""
        return await self._storage.outbox.of_run(run.run_id)

    async def deliver_again(self, run: Run, delivery_id: str) -> None:
        """Calls the run's webhook again, with what it was told.

        Raises:
            NotFoundError: there is no such call that is done with.
        """
        if not await self._storage.outbox.again(run.run_id, delivery_id):
            raise NotFoundError(f"No webhook {delivery_id!r} of the run can be sent again.", field="webhook_id")

    async def active(
        self, status: str, *, thread_id: str | None = None, run_ids: Collection[str] | None = None
    ) -> list[Run]:
        """Runs that are pending or running.

        Args:
            status: `pending`, `running`, or `all` for both.
            thread_id: only those of this thread.
            run_ids: only these.
        """
        found = await self._storage.records.active_runs(thread_id)
        return [run for run in found if status in ("all", run.status) and (run_ids is None or run.run_id in run_ids)]

    async def ended(self, run: Run) -> None:
        """Called when a run has ended: one that was rolled back goes, and a stateless one with its thread.

        Whoever still reads it gets all of it first; a stateless run that is resumable stays a while.
        """
        if run.cancel != "rollback" and not run.kwargs.get("temporary"):
            return
        self._doomed[run.run_id] = run
        if self._readers[run.run_id]:
            return
        if run.cancel == "rollback":
            await self._delete(run.run_id)
        else:
            self._delete_soon(run.run_id, self._keep_seconds(run) or _UNREAD_SECONDS)

    def _keep_seconds(self, run: Run) -> float:
        return _RESUMABLE_SECONDS if run.kwargs.get("resumable") else 0

    def _delete_soon(self, run_id: str, seconds: float) -> asyncio.Task[None]:
        if (earlier := self._deletions.get(run_id)) is not None:
            earlier.cancel()
        task = asyncio.create_task(self._delete_later(run_id, seconds))
        self._deletions[run_id] = task
        task.add_done_callback(lambda done: self._forget_deletion(run_id, done))
        return task

    def _forget_deletion(self, run_id: str, done: asyncio.Task[None]) -> None:
        if self._deletions.get(run_id) is done:
            del self._deletions[run_id]

    async def _delete_later(self, run_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if not self._readers[run_id]:
            await self._delete(run_id)

    async def _delete(self, run_id: str) -> None:
        run = self._doomed.pop(run_id, None)
        if run is None:
            return
        try:
            if run.kwargs.get("temporary"):
                await self._delete_thread(run.thread_id)
            else:
                await self._storage.records.delete_run(run_id)
        except ThreadlineError as exc:
            logger.warning("run %s was not deleted: %s", run_id, exc.message)

    async def _delete_thread(self, thread_id: str) -> None:
        # No checkpoints: a stateless run has none.
        await self._storage.records.delete_thread(thread_id)

    async def _stop(self, run: Run, action: CancelAction) -> None:
        if self._worker.cancel(run.run_id, action) or run.status != "pending":
            return
        try:
            await self._executor.abandon(run)
        except FencedError:
            # Claimed meanwhile: either the claim read the mark, or the run is with the worker by now.
            self._worker.cancel(run.run_id, action)


def _remaining_seconds(run: Run) -> float:
    """How long a stateless run that has ended can still be rejoined."""
    if not run.kwargs.get("resumable"):
        return 0
    return _RESUMABLE_SECONDS - (datetime.now(UTC) - run.updated_at).total_seconds()


def no_run(run_id: str) -> NotFoundError:
    """There is no run of that id."""
    return NotFoundError(f"Run {run_id} not found", field="run_id")


def no_active_run(run_id: str) -> NotFoundError:
    """There is no run of that id that could be cancelled."""
    return NotFoundError(f"No run {run_id!r} is pending or running.", field="run_id")


async def gathered(batches: AsyncGenerator[Sequence[Event]], kinds: Collection[str]) -> list[Event]:
    """Events of some kinds of a run that is followed to its end; none if they are no longer kept."""
    try:
        return [event async for batch in batches for event in batch if event.kind in kinds]
    except GapError:
        # Only a run that has ended loses its events.
        return []
