"""What one caller may follow: runs in any protocol, and whole threads."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from api.events import Event
from api.guard.access import Access, uuid_or_text
from api.guard.runs import GuardedRuns
from api.schemas import Run

if TYPE_CHECKING:
    from api.app import Threadline


class GuardedViews:
    """Views, asked for by one caller. `Views` has the operations' descriptions.

    Args:
        threadline: has the operations.
        runs: the caller's.
    """

    def __init__(self, threadline: "Threadline", runs: GuardedRuns) -> None:
        self._views = threadline.views
        self._runs = runs

    async def langgraph(self, run: Run, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """The run's events as the LangGraph API names them."""
        await self._runs.check_read(run.run_id)
        async with aclosing(self._views.langgraph(run, after)) as batches:
            async for batch in batches:
                yield batch

    async def collect(self, run: Run, kinds: Collection[str]) -> list[Event]:
        """The run's events of some kinds, once it has ended."""
        await self._runs.check_read(run.run_id)
        return await self._views.collect(run, kinds)

    async def native(self, run: Run, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """Likewise as the native API names them."""
        await self._runs.check_read(run.run_id)
        async with aclosing(self._views.native(run, after)) as batches:
            async for batch in batches:
                yield batch

    async def check(self, run: Run, after: int, *, native: bool) -> None:
        """Fails if the run cannot be followed from there."""
        await self._runs.check_read(run.run_id)
        await self._views.check(run, after, native=native)


class GuardedThreadStreams:
    """Streams of threads, asked for by one caller. `ThreadStreams` has the operations' descriptions.

    Args:
        threadline: has the operations.
        access: the caller's.
    """

    def __init__(self, threadline: "Threadline", access: Access) -> None:
        self._streams = threadline.thread_streams
        self._threads = threadline.threads
        self._access = access

    async def position(self, thread_id: str, cursor: int | None) -> int:
        """Where a reader begins."""
        await self._check(thread_id)
        return await self._streams.position(thread_id, cursor)

    async def follow(self, thread_id: str, after: int) -> AsyncGenerator[Sequence[Event]]:
        """The thread's events past a position."""
        await self._check(thread_id)
        async with aclosing(self._streams.follow(thread_id, after)) as batches:
            async for batch in batches:
                yield batch

    async def _check(self, thread_id: str) -> None:
        access = await self._access.ask("threads", "read", {"thread_id": uuid_or_text(thread_id)})
        await self._threads.get(thread_id, access=access)
