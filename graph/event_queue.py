"""A bounded queue between a run and the one who reads its events.

asyncio's own would do for a run on the reader's loop. But a sync node of an async graph runs in a thread, and LangChain
calls its handlers there, on a loop of their own; so the two sides may be in different threads and loops.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """Events that wait to be read.

    Args:
        size: How many may wait before the run does.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._events: deque[T] = deque()
        self._waiting: list[Future[None]] = []
        self._closed = False
        self._left = False

    async def room(self) -> None:
        """Wait until an event may be put; not for a reader that has left."""
        while (waiter := self._wait_for_room()) is not None:
            await asyncio.wrap_future(waiter)

    def _wait_for_room(self) -> "Future[None] | None":
        with self._lock:
            if len(self._events) < self._size or self._closed or self._left:
                return None
            return self._waiter()

    def _waiter(self) -> "Future[None]":
        waiter: Future[None] = Future()
        self._waiting.append(waiter)
        return waiter

    def put(self, events: Iterable[T]) -> None:
        """Add events, at once; nothing after the last one, nor for a reader that has left."""
        with self._lock:
            if not (self._closed or self._left):
                self._events.extend(events)
            self._wake()

    def close(self, last: T) -> None:
        """Add the last event, which has a place of its own; only the first time."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._events.append(last)
            self._wake()

    def leave(self) -> None:
        """Drop what waits, and what comes."""
        with self._lock:
            self._left = True
            self._events.clear()
            self._wake()

    async def get(self) -> T | None:
        """Wait for the next event; None if the reader has left."""
        while isinstance(found := self._next(), Future):
            await asyncio.wrap_future(found)
        return found

    def get_here(self) -> T | None:
        """Wait likewise, and hold up the thread."""
        while isinstance(found := self._next(), Future):
            found.result()
        return found

    def _next(self) -> "T | Future[None] | None":
        with self._lock:
            if self._events:
                event = self._events.popleft()
                self._wake()
                return event
            return None if self._left else self._waiter()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(None)
