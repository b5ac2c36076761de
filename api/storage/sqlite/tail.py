"""The tail: what is in memory of one run's log, between its writer, the database and its readers.

append ──> pending ──take──> writing ──written──> events (visible, the recent ones) ──> readers
              └────────────<──restore──┘ if the write failed
"""

import asyncio
from collections.abc import Callable, Sequence

from api.errors import FencedError, ThreadlineError
from api.events import Entry, Event

_OVERHEAD = 160
"""Bytes that an event takes in memory besides its data."""


class Tail:
    """The end of a run's log as one attempt writes it.

    Args:
        run_id: the run.
        attempt: who writes.
        last: the seq of the last event that is stored.
    """

    __slots__ = (
        "_events",
        "_pending",
        "_pending_bytes",
        "_writing",
        "_writing_bytes",
        "attempt",
        "closed",
        "fenced",
        "held_bytes",
        "last",
        "run_id",
        "visible",
        "waiters",
    )

    def __init__(self, run_id: str, attempt: int, last: int) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self.last = last
        """The seq of the last event that was appended."""
        self.visible = last
        """The seq of the last event that is durable."""
        self.closed = False
        """Its writer is done: another process may go on with the run."""
        self.fenced = False
        """Another attempt has the run: nothing of what is appended here will ever be stored."""
        self.held_bytes = 0
        """Of the visible events in memory."""
        self.waiters: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits until events up to a seq are durable."""
        self._events: list[Event] = []
        self._pending: list[Event] = []
        self._pending_bytes = 0
        self._writing: list[Event] = []
        self._writing_bytes = 0

    @property
    def complete(self) -> bool:
        """Whether memory alone says that a run has no event past `visible`."""
        return not (self.closed or self.fenced)

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self._pending)

    @property
    def unflushed(self) -> bool:
        """Whether something is not durable yet."""
        return bool(self._pending or self._writing)

    def append(self, entries: Sequence[Entry]) -> int:
        """Numbers entries and keeps them to be written; how many bytes they take."""
        seq, size = self.last, 0
        for kind, data in entries:
            seq += 1
            size += _OVERHEAD + len(data)
            self._pending.append(Event(seq, kind, data))
        self.last = seq
        self._pending_bytes += size
        return size

    def take(self) -> Sequence[Event]:
        """What is to be written now."""
        self._writing, self._pending = self._pending, []
        self._writing_bytes, self._pending_bytes = self._pending_bytes, 0
        return self._writing

    def written(self, keep_bytes: int) -> int:
        """What was taken is durable: it becomes visible, and wakes who waits for that.

        Args:
            keep_bytes: how much may stay in memory; the oldest goes first.

        Returns:
            How many bytes became durable.
        """
        written = self._writing_bytes
        self.visible = self._writing[-1].seq
        self._events += self._writing
        self.held_bytes += written
        self._writing, self._writing_bytes = [], 0
        if self.held_bytes > keep_bytes:
            self._trim(keep_bytes // 2)
        due = [future for seq, future in self.waiters if seq <= self.visible]
        self.waiters = [waiter for waiter in self.waiters if waiter[0] > self.visible]
        for future in due:
            if not future.done():
                future.set_result(None)
        return written

    def restore(self, error: ThreadlineError) -> None:
        """What was taken could not be written and is pending again; who waits is told why."""
        self._pending = self._writing + self._pending
        self._pending_bytes += self._writing_bytes
        self._writing, self._writing_bytes = [], 0
        self._fail(lambda: type(error)(error.message))

    def fence(self) -> int:
        """Drops what is not durable, for good; how many bytes."""
        self.fenced = True
        dropped = self._pending_bytes + self._writing_bytes
        self._pending, self._pending_bytes = [], 0
        self._writing, self._writing_bytes = [], 0
        self.last = self.visible
        self._fail(self.fenced_error)
        return dropped

    def fenced_error(self) -> FencedError:
        """What a writer gets that another has replaced."""
        return FencedError(f"Attempt {self.attempt} of run {self.run_id!r} is not its current one.")

    def covers(self, after: int) -> bool:
        """Whether all visible events past a cursor are in memory."""
        return after >= self.visible - len(self._events)

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """Visible events past a cursor that the tail covers."""
        start = max(0, len(self._events) - (self.visible - after))
        return self._events[start : start + limit]

    def forget_events(self) -> None:
        """Lets go of the visible events."""
        self._events = []
        self.held_bytes = 0

    def _trim(self, keep_bytes: int) -> None:
        """Drops the oldest, many at a time: that is cheap for each."""
        cut = 0
        while self.held_bytes > keep_bytes:
            self.held_bytes -= _OVERHEAD + len(self._events[cut].data)
            cut += 1
        del self._events[:cut]

    def _fail(self, error: Callable[[], ThreadlineError]) -> None:
        waiters, self.waiters = self.waiters, []
        for _, future in waiters:
            if not future.done():
                future.set_exception(error())
