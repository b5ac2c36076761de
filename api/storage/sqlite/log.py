"""The event log in SQLite: appended to in memory, stored in segments, read from whichever has the events.

    append ──> Tail ──┐
    append ──> Tail ──┴──flush: one job, one commit──> segments ──> visible ──> readers wake
                                                          └──pages──> a reader that is far behind

One flush is under way at a time and takes all that was appended before it, of all runs: under load a commit carries
more, and an idle log writes an event at once. No timers.
"""

import asyncio
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial

from api.errors import FencedError, GapError, StorageError, ThreadlineError
from api.events import Entry, Event
from api.storage.base import LONGEST_LOOK, EventLog
from api.storage.sqlite import segments
from api.storage.sqlite.database import QUICK_BYTES, Database, first
from api.storage.sqlite.tail import Tail

logger = logging.getLogger(__name__)

_PAGE_BYTES = 1 << 18
"""Data read from segments at one time, give or take an event: what each reader who stalls keeps in memory."""
_MAX_RETIRED = 1000
_DROPPED_ROWS = 200
_DROPPED_BYTES = 256 << 10
"""Deleted in one transaction, give or take a segment."""
_PACE = 0.002
"""Seconds between writes, so that a token of a busy server shares its commit with others."""

Batch = Sequence[tuple[Tail, Sequence[Event]]]


class SqliteEventLog(EventLog):
    """The log of a database.

    Args:
        database: where segments are.
        queries: the statements by name.
        max_unflushed_bytes: held of events that are not durable, of all runs; more makes `append` wait.
        tail_bytes: kept in memory of the visible events of each run under way, and of all finished ones together.
        tell: called when events were written, to tell other processes.
    """

    def __init__(
        self,
        database: Database,
        queries: Mapping[str, str],
        *,
        max_unflushed_bytes: int,
        tail_bytes: int,
        tell: Callable[[], None],
    ) -> None:
        self._database = database
        self._queries = queries
        self._tell = tell
        self._max_unflushed_bytes = max_unflushed_bytes
        self._tail_bytes = tail_bytes
        self._tails: dict[str, Tail] = {}
        self._retired: OrderedDict[str, Tail] = OrderedDict()
        """Those of `_tails` that may go, oldest first."""
        self._retired_bytes = 0
        self._dirty: dict[Tail, None] = {}
        """To be written by the next flush, in order."""
        self._flushing = False
        self._flushed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unflushed_bytes = 0
        self._readers: dict[str, dict[asyncio.Future[bool | None], int]] = {}
        """Who waits for an event of a run past a seq."""
        self.on_flush: Callable[[int, float], None] | None = None
        """Told of each flush: how many events it stored, and how many seconds it took."""

    async def close(self) -> None:
        """Makes everything durable that can be, and ends every wait."""
        for tail in [tail for tail in self._tails.values() if tail.unflushed]:
            try:
                await self._durable(tail)
            except ThreadlineError as exc:
                logger.error("run %s: its last events are lost: %s", tail.run_id, exc.message)
        self.end_waits()

    def end_waits(self) -> None:
        for waiting in self._readers.values():
            for future in waiting:
                _resolve(future, value=False)

    def changed(self) -> None:
        """Another process may have written events: whoever waits for them looks."""
        for run_id, waiting in self._readers.items():
            tail = self._tails.get(run_id)
            # One that is written here is as its tail says.
            if tail is None or not tail.complete:
                for future in waiting:
                    _resolve(future, value=None)

    async def append(self, run_id: str, attempt: int, entries: Sequence[Entry]) -> int:
        tail = self._tails.get(run_id)
        if tail is None or tail.attempt != attempt or not tail.complete:
            tail = await self._open(run_id, attempt)
        self._unflushed_bytes += tail.append(entries)
        last = tail.last
        self._schedule(tail)
        if self._unflushed_bytes > self._max_unflushed_bytes:
            await self._durable(tail)
        return last

    async def flush(self, run_id: str) -> int:
        tail = self._tails.get(run_id)
        if tail is None or (tail.closed and not tail.unflushed):
            return await self.last_seq(run_id)
        last = tail.last
        await self._durable(tail)
        return last

    async def read(self, run_id: str, after: int, limit: int = 4000) -> Sequence[Event]:
        after = max(after, 0)
        tail = self._tails.get(run_id)
        if tail is not None and tail.covers(after):
            if after < tail.visible:
                return tail.read(after, limit)
            if tail.complete:
                return ()
        return await self._database.read(partial(self._read_segments, run_id, after, limit))

    async def wait(self, run_id: str, after: int, timeout: float) -> bool:
        tail = self._tails.get(run_id)
        if tail is not None and tail.visible > after:
            return True
        until = asyncio.get_running_loop().time() + timeout
        while (woken := await self._wait_once(run_id, after, until)) is None:
            pass
        return woken

    async def _wait_once(self, run_id: str, after: int, until: float) -> bool | None:
        """Waits for an event of this process, or for news from another; None if those were of something else, or
        if they may be missing.
        """
        tail = self._tails.get(run_id)
        loop = asyncio.get_running_loop()
        # Registered before the database is asked: an event that comes in between wakes it.
        future: asyncio.Future[bool | None] = loop.create_future()
        self._readers.setdefault(run_id, {})[future] = after
        elsewhere = tail is None or not tail.complete
        timer = loop.call_at(until, partial(_resolve, future, value=False))
        look = loop.call_later(LONGEST_LOOK, partial(_resolve, future, value=None)) if elsewhere else timer
        try:
            if elsewhere and await self._stored_past(run_id, after):
                return True
            woken = await future
            return woken or await self._stored_past(run_id, after) or woken
        finally:
            timer.cancel()
            look.cancel()
            self._unregister(run_id, future)

    async def last_seq(self, run_id: str) -> int:
        tail = self._tails.get(run_id)
        if tail is not None and tail.complete:
            return tail.visible
        position = await self._position(run_id)
        return (position["last_seq"] or 0) if position else 0

    async def close_run(self, run_id: str) -> None:
        tail = self._tails.get(run_id)
        if tail is None or tail.closed:
            return
        tail.closed = True
        if not tail.unflushed:
            self._retire(tail)

    async def drop(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            while left := await self._database.write(partial(self._drop_some, run_id)):
                pass
            if left is not None:
                self._forget_events(run_id)

    def _forget_events(self, run_id: str) -> None:
        if run_id in self._retired:
            self._remove(self._retired[run_id])
        elif run_id in self._tails:
            self._tails[run_id].forget_events()

    def _drop_some(self, run_id: str, connection: sqlite3.Connection) -> bool | None:
        """On the writer's thread: deletes some events of a finished run; whether there are more, or None for another.

        The first step says that all of them are gone.
        """
        parameters = {"run_id": run_id, "rows": _DROPPED_ROWS, "bytes": _DROPPED_BYTES}
        if not first(connection.execute(self._queries["drop_events"], parameters)):
            return None
        connection.execute(self._queries["delete_some_segments"], parameters)
        left = bool(connection.execute(self._queries["has_segments"], parameters).fetchone()[0])
        if not left:
            connection.execute(self._queries["set_events_gone"], parameters)
        return left

    def forget(self, run_ids: Sequence[str]) -> None:
        """Lets go of runs that were deleted."""
        for run_id in run_ids:
            if run_id in self._tails:
                self._remove(self._tails[run_id])

    async def _open(self, run_id: str, attempt: int) -> Tail:
        """The tail that this attempt writes; it goes on from what is stored.

        Raises:
            FencedError: another attempt has the run, or the run is gone.
        """
        position = await self._position(run_id)
        if position is None or position["attempt"] != attempt:
            raise FencedError(f"Attempt {attempt} of run {run_id!r} is not its current one.")
        tail = self._tails.get(run_id)
        if tail is not None:
            if tail.attempt == attempt:
                return self._reopen(tail)
            self._fence(tail)
            self._remove(tail)
        last = position["last_seq"] or position["events_dropped_to"]
        tail = self._tails[run_id] = Tail(run_id, attempt, last)
        self._wake(tail)
        return tail

    def _reopen(self, tail: Tail) -> Tail:
        if tail.fenced:
            raise tail.fenced_error()
        tail.closed = False
        if self._retired.pop(tail.run_id, None):
            self._retired_bytes -= tail.held_bytes
        return tail

    def _retire(self, tail: Tail) -> None:
        """Keeps the tail of a run that has ended for those who read its end; the oldest such go."""
        if tail.fenced:
            self._remove(tail)
            return
        self._retired[tail.run_id] = tail
        self._retired_bytes += tail.held_bytes
        while self._retired_bytes > self._tail_bytes or len(self._retired) > _MAX_RETIRED:
            self._remove(next(iter(self._retired.values())))

    def _remove(self, tail: Tail) -> None:
        if self._tails.get(tail.run_id) is tail:
            del self._tails[tail.run_id]
        if self._retired.get(tail.run_id) is tail:
            del self._retired[tail.run_id]
            self._retired_bytes -= tail.held_bytes

    async def _durable(self, tail: Tail) -> None:
        """Waits until all that was appended to the tail is durable.

        Raises:
            FencedError: another attempt has the run.
            ThreadlineError: the database failed.
        """
        if tail.fenced:
            raise tail.fenced_error()
        if not tail.unflushed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tail.waiters.append((tail.last, future))
        self._schedule(tail)
        await future

    def _schedule(self, tail: Tail) -> None:
        if tail.dirty:
            self._dirty[tail] = None
        self._go_on()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = [(tail, tail.take()) for tail in self._dirty if tail.dirty]
        self._dirty.clear()
        self._flushing = bool(batch)
        if batch:
            flushed = partial(self._flushed, batch, time.perf_counter())
            quick = sum(len(event.data) for _, events in batch for event in events) <= QUICK_BYTES
            written = self._database.write(partial(self._insert, batch), self._tell, quick=quick)
            if written.done():
                flushed(written)
            else:
                written.add_done_callback(flushed)

    def _insert(self, batch: Batch, connection: sqlite3.Connection) -> Sequence[bool]:
        """On the writer's thread: stores the events of each tail; whether its attempt still has the run."""
        return [self._insert_events(connection, tail.run_id, tail.attempt, events) for tail, events in batch]

    def _insert_events(
        self, connection: sqlite3.Connection, run_id: str, attempt: int, events: Sequence[Event]
    ) -> bool:
        for first_seq, last_seq, data in segments.encode(events):
            segment = {
                "run_id": run_id,
                "attempt": attempt,
                "first_seq": first_seq,
                "last_seq": last_seq,
                "data": data,
            }
            if connection.execute(self._queries["insert_segment"], segment).rowcount == 0:
                return False
        return True

    def _flushed(self, batch: Batch, began: float, written: asyncio.Future[Sequence[bool]]) -> None:
        error = written.exception()
        if error is not None:
            self._not_written([tail for tail, _ in batch], error)
            return
        self._flushing = False
        self._flushed_at = asyncio.get_running_loop().time()
        if self.on_flush is not None:
            self.on_flush(sum(len(events) for _, events in batch), time.perf_counter() - began)
        for (tail, _), current in zip(batch, written.result(), strict=True):
            if not tail.fenced:
                self._written(tail, current=current)
        self._go_on()

    def _go_on(self) -> None:
        """Sees to what is not written yet: at once, if somebody waits for that."""
        if self._flushing or not self._dirty:
            return
        if any(tail.waiters for tail in self._dirty):
            self._flush()
        elif self._timer is None:
            # Not now: what others append meanwhile goes along.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._flushed_at + _PACE), self._flush)

    def _written(self, tail: Tail, *, current: bool) -> None:
        if current:
            self._unflushed_bytes -= tail.written(self._tail_bytes)
            self._wake(tail)
        else:
            self._fence(tail)
        if tail.closed and not tail.unflushed:
            self._retire(tail)

    def _not_written(self, tails: Sequence[Tail], error: BaseException) -> None:
        """Keeps the events for the next flush, which comes with the next append or at once if there was one."""
        logger.error("events could not be written: %s", error)
        appended_meanwhile = bool(self._dirty)
        for tail in tails:
            if tail.fenced:
                continue
            if tail.closed:
                # Nobody is left to try again for it.
                logger.error("run %s: its last events are lost", tail.run_id)
                self._fence(tail)
                self._retire(tail)
            else:
                tail.restore(error if isinstance(error, ThreadlineError) else StorageError(str(error)))
                self._dirty[tail] = None
        self._flushing = False
        if appended_meanwhile:
            self._go_on()

    def _fence(self, tail: Tail) -> None:
        self._unflushed_bytes -= tail.fence()

    def _wake(self, tail: Tail) -> None:
        for future, after in self._readers.get(tail.run_id, {}).items():
            if after < tail.visible:
                _resolve(future, value=True)

    def _unregister(self, run_id: str, future: asyncio.Future[bool | None]) -> None:
        waiting = self._readers[run_id]
        del waiting[future]
        if not waiting:
            del self._readers[run_id]

    async def _stored_past(self, run_id: str, after: int) -> bool:
        """Whether the database has an event past a seq, whichever process wrote it."""
        position = await self._position(run_id)
        stored = (position["last_seq"] or 0) if position else 0
        tail = self._tails.get(run_id)
        if tail is not None and stored > tail.last:
            # Another process has the run, which its writer here does not know yet.
            self._fence(tail)
        return stored > after

    async def _position(self, run_id: str) -> sqlite3.Row | None:
        parameters = {"run_id": run_id}
        return await self._database.read(
            lambda db: first(db.execute(self._queries["log_position"], parameters)), quick=True
        )

    def _read_segments(self, run_id: str, after: int, limit: int, connection: sqlite3.Connection) -> Sequence[Event]:
        """On the reader's thread: a page of events past a cursor."""
        parameters = {"run_id": run_id, "after": after}
        with closing(connection.execute(self._queries["read_segments"], parameters)) as found:
            events = _page(found, after, limit)
        if not events or events[0].seq > after + 1:
            position = first(connection.execute(self._queries["log_position"], parameters))
            if position is not None and position["events_dropped_to"] > after:
                raise GapError(f"Events of run {run_id!r} after {after} are no longer kept.")
        return events


def _page(found: Iterable[sqlite3.Row], after: int, limit: int) -> Sequence[Event]:
    events: list[Event] = []
    size = 0
    for row in found:
        events += segments.decode(row["first_seq"], row["data"], after)
        size += len(row["data"])
        if len(events) >= limit or size >= _PAGE_BYTES:
            break
    return events[:limit]


def _resolve(future: asyncio.Future[bool | None], *, value: bool | None) -> None:
    if not future.done():
        future.set_result(value)
