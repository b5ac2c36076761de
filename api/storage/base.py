"""What the service needs of a backend: Records, Assistants, Crons, RunQueue, Outbox, EventLog and ThreadLog.

    create ──> RunQueue.enqueue ──(wake)──> claim ──> heartbeat ... ──> finish
                                              │
    executor ──> EventLog.append ──(wake)──> read <── every stream, from its own cursor

A run has one status in one place, its row; the queue is a view of those rows. Every write of an attempt is fenced:
after another attempt has claimed the run it changes nothing and raises FencedError.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from api.access_filter import AccessFilter
from api.events import Entry, Event
from api.schemas import (
    Assistant,
    AssistantSort,
    CancelAction,
    Cron,
    CronSort,
    Delivery,
    DeliveryStatus,
    FiredCron,
    Json,
    Outcome,
    Run,
    RunStatus,
    Thread,
    ThreadPart,
    ThreadSort,
    ThreadStatus,
    Ttl,
)

LONGEST_LOOK = 5.0
"""Seconds after which whoever waits for news looks by itself: the net for news that a process did not pass on before it
died."""


class Records(Protocol):
    """Threads and finished runs: plain rows, created, read, changed and deleted."""

    async def create_thread(self, thread: Thread) -> Thread | None:
        """Inserts the thread; returns the one that is there if its id is taken, else None."""

    async def get_thread(self, thread_id: str) -> Thread | None:
        """The thread, or None."""

    async def patch_thread(self, thread_id: str, metadata: Json, *, ttl: Ttl | None = None) -> Thread | None:
        """Merges top-level keys into the metadata; the changed thread, or None if there is none.

        Args:
            thread_id: the thread.
            metadata: what to merge.
            ttl: replaces the one that is there; None leaves it.
        """

    async def set_thread_state(
        self,
        thread_id: str,
        *,
        status: ThreadStatus,
        values: bytes | None,
        interrupts: bytes,
        event: bytes | None = None,
    ) -> Thread | None:
        """Records what an update of the state left; the changed thread, or None if there is none.

        Args:
            thread_id: the thread.
            status: what it becomes; busy, if a run of it is pending or running.
            values: the state's JSON; None leaves what is there.
            interrupts: JSON of the pending interrupts by task id.
            event: what the thread's readers are told of it: an event of its own among those of the runs, after them.
        """

    async def clear_ttl(self, thread_id: str) -> None:
        """The thread no longer expires, until its next run: then the time that it was given begins anew."""

    async def next_expiry(self) -> datetime | None:
        """When the next thread expires that has no run under way; None if none will."""

    async def expired_threads(self, *, limit: int = 100) -> Sequence[Thread]:
        """Threads that have expired and have no run under way, longest ago first."""

    async def delete_thread(self, thread_id: str) -> bool:
        """Deletes the thread with its runs and their events; False if there is none.

        Raises:
            ConflictError: a run of it is pending or running.
        """

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
        """A page of the threads that match, and how many match in all.

        Args:
            ids: only these, if any are given.
            metadata: only those whose metadata contains these pairs; a list is to be as long as the wanted one.
            values: only those whose values contain these, likewise.
            status: only those.
            access: only those whose metadata it matches.
            sort_by: equals stay in the order of creation.
            descending: the greatest, or newest, first.
            limit: how many at most; 0 only counts.
            offset: how many to skip.
            with_values: or without them, which may be large.

        Raises:
            SearchTimeoutError: it takes too long.
            AnswerTooLargeError: what was found has more bytes than an answer may have.
        """

    async def extract(
        self, thread_ids: Collection[str], places: Mapping[str, tuple[ThreadPart, Sequence[str | int]]]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Parts of threads' documents, each value or `Fragment` by its name, by the thread's id; None for nothing.

        Args:
            thread_ids: the threads.
            places: by name a document, and the keys and indexes that lead to the part; an index below 0 counts from
                the end, a key has no quotation mark, backslash or control character.

        Raises:
            SearchTimeoutError: it takes too long.
            AnswerTooLargeError: the parts have more bytes than an answer may have.
        """

    async def get_run(self, run_id: str) -> Run | None:
        """The run, or None."""

    async def list_runs(
        self, thread_id: str, *, status: RunStatus | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Run]:
        """Runs of a thread, newest first."""

    async def active_runs(self, thread_id: str | None = None) -> Sequence[Run]:
        """Runs that are pending or running, of one thread or of all, oldest first."""

    async def temporary_threads(self, *, ended_before: datetime | None = None, left: bool = False) -> Sequence[str]:
        """Ids of threads whose run has ended and was stateless (`temporary` in its kwargs).

        Args:
            ended_before: only those whose run ended before a time, if one is given.
            left: only those whose run was ended by a process that is gone.
        """

    async def rolled_back_runs(self, *, ended_before: datetime | None = None, left: bool = False) -> Sequence[str]:
        """Ids of runs that have ended and were to be rolled back; the arguments are as above."""

    async def ended_runs(self, before: datetime, *, with_events: bool = False, limit: int = 100) -> Sequence[str]:
        """Ids of runs that ended before a time, longest ago first.

        Args:
            before: the time.
            with_events: only those whose events were not dropped yet.
            limit: how many at most.
        """

    async def unchanged_threads(self, before: datetime, *, after: str = "", limit: int = 100) -> Sequence[str]:
        """Ids of threads that nothing has changed since a time and that have no run under way, in the order of ids.

        Args:
            before: the time.
            after: only ids greater than this one.
            limit: how many at most.
        """

    async def known_threads(self, thread_ids: Collection[str]) -> Collection[str]:
        """Those of the ids that are of threads."""

    async def delete_run(self, run_id: str) -> bool:
        """Deletes a finished run and its events; False if there is none.

        Raises:
            ConflictError: it is pending or running.
        """


class QueueLimits(NamedTuple):
    """How many runs may be in the queue when one more is added; None: any number."""

    active: int | None = None
    """That wait for their turn or execute."""
    delayed: int | None = None
    """That wait for their time."""
    active_of_owner: int | None = None
    delayed_of_owner: int | None = None


class RunQueue(Protocol):
    """The runs table as a queue: first in, first out; one run of a thread at a time."""

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
        """Adds a pending run, and its thread if that is given and does not exist, in one transaction; wakes a worker.

        A run of a cron moves that on to its following date, in the same transaction: neither happens without the other.

        The run's `multitask_strategy` decides about other pending or running runs of the thread: `reject` refuses,
        `enqueue` waits behind them, `interrupt` and `rollback` mark them to be cancelled so. The thread's metadata gets
        the run's `assistant_id`, and `graph_id` of its kwargs; its config becomes `thread_config`, if that is given.

        Returns:
            The runs that it marked, for the caller to stop.

        Raises:
            NotFoundError: no such thread, and none given; or `access` does not match its metadata.
            ConflictError: the thread is busy and the strategy is `reject`; or the run's id is taken; or the run is
                `resuming`, and the thread waits at no interrupt.
            FencedError: the cron was fired, changed or deleted meanwhile.
            OverloadedError: as many runs wait or execute already as `limits` allow.
            RateLimitedError: as many of its owner.
        """

    async def claim(self, worker_id: str, lease_seconds: float, *, full: Collection[str] = ()) -> Run | None:
        """Takes the oldest run that may start: pending, due, the first such of a thread with none running; or running
        with an expired lease. Sets running, worker, lease, attempt + 1, `base` (on the first attempt); the thread
        becomes busy. A run that has begun and was given back goes before the others of its thread. Owners take turns:
        of pending runs it is the oldest of the one after the owner whose run this client claimed last.

        Args:
            worker_id: the worker.
            lease_seconds: how long it holds the run without a heartbeat.
            full: owners whose runs are to wait, also those with an expired lease.
        """

    def wake(self) -> None:
        """Ends the `wait` of this client: what it left may be claimed now."""

    async def next_due(self, *, full: Collection[str] = ()) -> datetime | None:
        """When the next run that waits for a time or a lease may be claimed; None if no run waits for one.

        Args:
            full: owners whose leases do not count: a claim leaves their runs.
        """

    async def heartbeat(self, worker_id: str, lease_seconds: float, run_ids: Collection[str]) -> Sequence[Run]:
        """Extends the leases of these runs, as far as they are the worker's; returns them, their `cancel` included."""

    def hold(
        self,
        worker_id: str,
        lease_seconds: float,
        held: Callable[[], Collection[str]],
        on_mark: Callable[[], None],
    ) -> AbstractContextManager[None]:
        """Extends the leases of the runs that the worker holds until its end, whatever holds up the event loop.

        Args:
            worker_id: the worker.
            lease_seconds: from each beat on.
            held: ids of the runs that it executes; may be called on another thread.
            on_mark: called on the loop when a run of the worker may have been marked to be cancelled, elsewhere.
        """
        return nullcontext()

    async def request_cancel(self, run_id: str, action: CancelAction) -> Run | None:
        """Records that a pending or running run is to be cancelled; the run as it then is.

        None if there is no such run, or it has ended: nothing is changed.
        """

    async def finish(self, run_id: str, attempt: int, outcome: Outcome, *, events: int) -> None:
        """Ends the attempt: the run's final status, its thread's status (busy, if other runs of it wait), values,
        interrupts, error and count of events, in one transaction; wakes a worker.

        It comes before the terminal event is appended, so that whoever sees that event finds the thread free.

        A run that never started (attempt 0) leaves the thread's values, interrupts and error as they are.

        A run that ends without having begun, while another of its thread is under way, gets its `base` when that one
        ends: until then it is -1.

        Args:
            events: how many events the run has logged, the terminal one included; added to the thread's count.

        Raises:
            FencedError: the attempt is not the run's current one, or the run has ended.
        """

    async def release(self, run_id: str, attempt: int) -> None:
        """Gives a running run back to the queue, as pending, for the next claim; does nothing if fenced."""

    def pass_on(self) -> None:
        """The worker here has all the runs that it takes: others are to look whether one waits."""

    async def wait(self, timeout: float | None) -> None:
        """Returns when a run may have become claimable since the last return, or `next_due` may have changed, whichever
        client did it; after `timeout` seconds, or LONGEST_LOOK, at the latest.
        """


class EventLog(Protocol):
    """The events of every run: appended by its executor, read by all.

    An event is visible to readers only when it is durable, so nothing that a client has seen is ever renumbered.
    Appends are fenced by the attempt alone: the attempt that finished a run still appends its terminal event.
    """

    async def append(self, run_id: str, attempt: int, entries: Sequence[Entry]) -> int:
        """Adds entries in order and returns the seq of the last; waits only if too much is not durable yet.

        Without entries it only makes this attempt the writer, so that a `flush` is of this one and not an earlier one.

        Raises:
            FencedError: another attempt has the run (this can show on a later call than the one that wrote).
        """

    async def flush(self, run_id: str) -> int:
        """Waits until all that was appended is durable and visible; the seq of the last event.

        Raises:
            FencedError: another attempt has the run; what this attempt appended is dropped.
        """

    async def read(self, run_id: str, after: int, limit: int = 4000) -> Sequence[Event]:
        """Visible events with seq > after, in order, at most `limit`.

        Raises:
            GapError: events after the cursor existed, but are no longer kept.
        """

    def end_waits(self) -> None:
        """Every `wait` that is under way returns now, as if its time were up; so that a stream can be told to end."""
        return None  # noqa: RET501  # not abstract: waits of a backend may also end by their timeout

    async def wait(self, run_id: str, after: int, timeout: float) -> bool:
        """Waits until an event with seq > after is visible; False after `timeout` seconds. A run that does not exist
        has none.
        """

    async def last_seq(self, run_id: str) -> int:
        """The seq of the last visible event; 0 if there is none."""

    async def close_run(self, run_id: str) -> None:
        """Says that the run's writer is done: what is in memory for it may go once no reader waits."""

    async def drop(self, run_ids: Sequence[str]) -> None:
        """Deletes the events of finished runs, in small steps; a read of them is a GapError if the run still exists."""


class Span(NamedTuple):
    """A stretch of a thread's events: those of a run, or the one of an update of the state."""

    base: int
    """The position before its first event; an event's position is this plus its seq."""
    run_id: str | None
    data: bytes | None
    """The update's event, whose seq is 1; None for a run."""


class ThreadLog(Protocol):
    """The events of a thread in one order: its runs, and between them the updates of its state.

    Positions count up and never repeat; what is deleted leaves a gap. Of the updates the last STATE_UPDATES are kept.
    """

    async def spans(self, thread_id: str, after: int, limit: int = 100) -> Sequence[Span] | None:
        """What has events past a position, in order, at most `limit`; None if there is no such thread.

        The first may be a run that has none past it.
        """

    async def wait(self, thread_id: str, after: int, timeout: float) -> bool:
        """Waits until a span begins at a position or past it, or the thread is gone; False after `timeout` seconds."""


STATE_UPDATES = 100
"""How many events of state updates are kept of a thread."""


class Assistants(Protocol):
    """Assistants with all their versions; one of them is the latest, and is what the assistant says."""

    async def create(self, assistant: Assistant) -> Assistant | None:
        """Inserts the assistant as its first version; returns the one that is there if its id is taken, else None."""

    async def register(self, assistant: Assistant, new_id: str) -> tuple[Assistant | None, bool]:
        """Inserts a graph's own assistant, unless it is there.

        Args:
            assistant: as its first version.
            new_id: becomes the id of the assistant that a client made with this one's, if there is one; its versions,
                its crons and its runs that are under way go along.

        Returns:
            The one that is there, as of its latest version, else None; and whether a client's was renamed.
        """

    async def get(self, assistant_id: str) -> Assistant | None:
        """The assistant as of its latest version, or None."""

    async def patch(self, assistant_id: str, changes: Json) -> Assistant | None:
        """Adds a version, numbered after all others, and makes it the latest; None if there is no such assistant.

        Args:
            assistant_id: the assistant.
            changes: new values by field name; those of `metadata` are merged into what is there.
        """

    async def delete(self, assistant_id: str) -> bool:
        """Deletes the assistant with its versions; False if there is none."""

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
        """A page of the assistants that match, and how many match in all.

        Args:
            graph_ids: only those of these graphs.
            name: only those with this in their name, in upper or lower case.
            metadata: only those whose metadata contains these pairs.
            access: only those whose metadata it matches.
            shared: ids of those that `access` does not rule out.
            sort_by: names and graphs are sorted without regard to case; equals stay in the order of creation.
            descending: the greatest, or newest, first.
            limit: how many at most; 0 only counts.
            offset: how many to skip.
        """

    async def versions(
        self, assistant_id: str, *, metadata: Json | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Assistant]:
        """Versions whose metadata contains the given pairs, highest first; each with the time it was created at."""

    async def set_latest(self, assistant_id: str, version: int) -> Assistant | None:
        """Makes a version the latest; the assistant as it then is, or None if there is no such version."""

    async def active_runs(self, assistant_id: str) -> Sequence[str]:
        """Ids of its runs that are pending or running, oldest first."""

    async def threads(self, assistant_id: str) -> Sequence[str]:
        """Ids of the threads whose metadata names it as their assistant, oldest first."""


class Crons(Protocol):
    """Crons, and which of them are due: enabled ones, at their date, up to their end."""

    async def create(self, cron: Cron, *, limit: int | None = None) -> bool:
        """Inserts the cron; False if its assistant or its thread does not exist. It goes when one of them goes.

        Raises:
            RateLimitedError: its caller has `limit` crons already.
        """

    async def get(self, cron_id: str) -> Cron | None:
        """The cron, or None."""

    async def change(self, cron_id: str, change: Callable[[Cron], None]) -> Cron | None:
        """Changes the cron in one transaction; the changed one, or None if there is none.

        Args:
            cron_id: the cron.
            change: gets the cron as it is and sets what is to be different; a function of the cron alone, as it may be
                called again. What it raises is raised, and nothing is changed.
        """

    async def delete(self, cron_id: str) -> bool:
        """Deletes the cron; False if there is none."""

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
        """A page of the crons that match, and how many match in all.

        Args:
            assistant_id: only those of this assistant.
            thread_id: only those of this thread.
            enabled: only those that are, or are not.
            metadata: only those whose metadata contains these pairs.
            access: only those whose metadata it matches.
            sort_by: equals stay in the order of creation; a missing thread is the greatest, a missing time the least.
            descending: the greatest, or newest, first.
            limit: how many at most; 0 only counts.
            offset: how many to skip.
        """

    async def due(self, now: datetime, limit: int) -> Sequence[Cron]:
        """Crons that are to fire, the longest due first, at most `limit`."""

    async def next_due(self, now: datetime) -> datetime | None:
        """When a cron will be due next, or was due first; None if none will be."""

    async def claim(self, cron: Cron, following: datetime | None) -> Cron | None:
        """Moves a due cron on to its following date, if nobody else has done so.

        Args:
            cron: as it was when it was due.
            following: its next date.

        Returns:
            The cron as it now is; None if it was claimed, changed or deleted meanwhile.
        """

    async def wait(self) -> None:
        """Returns when a cron may have become due earlier than was known at the last return, whichever client did it;
        after LONGEST_LOOK at the latest.
        """


class Outbox(Protocol):
    """The calls of webhooks that are to be made; `RunQueue.finish` adds them."""

    async def take(self, lease_seconds: float) -> Delivery | None:
        """The one that is due longest, for an attempt, which is counted. It is due again after the lease, or when this
        process dies, unless `settle` says before what came of it.
        """

    async def settle(
        self, taken: Delivery, status: DeliveryStatus, *, due_at: datetime | None = None, problem: str | None = None
    ) -> None:
        """What came of an attempt; does nothing if another one was begun meanwhile.

        Args:
            taken: as `take` gave it.
            status: `pending`: to be tried again.
            due_at: when; at once, if not given.
            problem: what was wrong.
        """

    async def next_due(self) -> datetime | None:
        """When the next one is due; None if none waits."""

    async def of_run(self, run_id: str) -> Sequence[Delivery]:
        """Those of a run, without their payloads, oldest first."""

    async def newest(self, status: DeliveryStatus | None = None, *, limit: int = 100) -> Sequence[Delivery]:
        """Those of all runs, or those of a status, without their payloads, newest first."""

    async def again(self, run_id: str, delivery_id: str) -> bool:
        """Has one that is done with made again, from the first attempt on; False if there is none, or what it says is
        not kept.
        """

    async def delete_done(self, before: datetime, *, limit: int = 100) -> int:
        """Deletes those that were done with before a time, oldest first; how many."""

    async def wait(self, timeout: float | None) -> None:
        """Returns when `next_due` may have changed since the last return, whichever client did it; after `timeout`
        seconds, or LONGEST_LOOK, at the latest.
        """


class Storage(Protocol):
    """A backend: all of them, opened and closed together."""

    @property
    def records(self) -> Records:
        """Threads and runs."""

    @property
    def assistants(self) -> Assistants:
        """Graphs with settings of their own."""

    @property
    def crons(self) -> Crons:
        """Runs on a schedule."""

    @property
    def queue(self) -> RunQueue:
        """The runs that wait and execute."""

    @property
    def log(self) -> EventLog:
        """What the runs wrote."""

    @property
    def outbox(self) -> Outbox:
        """The calls of webhooks."""

    @property
    def thread_log(self) -> ThreadLog:
        """The same, and updates of the state, thread by thread."""

    async def reclaim(self) -> None:
        """Gives the disk back that deleted rows took, in small steps, if the backend does not see to it by itself."""

    async def open(self) -> None:
        """Connects, and creates or migrates the schema."""

    async def close(self) -> None:
        """Makes everything durable and ends every thread, task and connection that it started."""
