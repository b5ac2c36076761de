"""Thread streams: all events of a thread, from a position on, for as long as the thread is there.

    ThreadLog.spans ──run──> Views.langgraph ──┐
           │   └──state update─────────────────┴──> events with positions ──> the reader
           └── none: ThreadLog.wait

A reader of the log with a cursor, as every other stream: positions are the same for all readers and survive every cut.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from api.errors import GapError, InvalidCursorError, NotFoundError
from api.events import UNNUMBERED, Event
from api.protocols.thread_stream import STATE_UPDATE, of_run
from api.runs import Runs
from api.schemas import Thread
from api.serde import dumps
from api.settings import Settings
from api.states import no_thread
from api.storage.base import Span, Storage
from api.views import Views


class ThreadStreams:
    """Follows threads.

    Args:
        storage: the order of their events.
        runs: theirs.
        views: the runs' events, as the LangGraph API names them.
        settings: how long a silence may be.
    """

    def __init__(self, storage: Storage, runs: Runs, views: Views, settings: Settings) -> None:
        self._storage = storage
        self._runs = runs
        self._views = views
        self._settings = settings

    async def position(self, thread_id: str, cursor: int | None) -> int:
        """Where a reader begins.

        Args:
            thread_id: the thread.
            cursor: the last position that it has; None for the thread's present end.

        Raises:
            NotFoundError: no such thread.
            InvalidCursorError: the thread has no such position yet.
            GapError: events past the cursor are no longer kept.
        """
        thread = await self._storage.records.get_thread(thread_id)
        if thread is None:
            raise no_thread(thread_id)
        end = await self._end(thread)
        if cursor is None:
            return end
        if cursor > end:
            raise InvalidCursorError("Last-Event-ID is past the thread's last event.", field="Last-Event-ID")
        for span in await self._storage.thread_log.spans(thread_id, cursor, 1) or ():
            if span.run_id is not None:
                run = await self._runs.get(span.run_id)
                await self._views.check(run, max(0, cursor - span.base), native=False)
        return cursor

    async def _end(self, thread: Thread) -> int:
        """The position of the thread's last event; a run under way counts as far as it has come."""
        spans = await self._storage.thread_log.spans(thread.thread_id, thread.events) or ()
        runs = [span for span in spans if span.run_id is not None]
        if not runs or runs[-1].run_id is None:
            return thread.events
        return max(thread.events, runs[-1].base + await self._storage.log.last_seq(runs[-1].run_id))

    async def follow(self, thread_id: str, after: int) -> AsyncGenerator[Sequence[Event]]:
        """The thread's events past a position, in batches; an empty one is a heartbeat. Ends when the thread is gone.

        A run whose events are no longer kept ends it with an error event.
        """
        log = self._storage.thread_log
        followed: str | None = None
        while (spans := await log.spans(thread_id, after)) is not None:
            for span in [each for each in spans if each.run_id is None or each.run_id != followed]:
                try:
                    async with aclosing(self._events(span, after)) as batches:
                        async for batch in batches:
                            yield batch
                            after = max([after, *(event.seq for event in batch[-1:])])
                except NotFoundError:
                    # Deleted, or rolled back: it has no event to show. Nor is it to be waited for again.
                    after = max(after, span.base + 1)
                except GapError as exc:
                    yield (Event(UNNUMBERED, "error", dumps({"error": "GapError", "message": exc.message})),)
                    return
                followed = span.run_id
            while not await log.wait(thread_id, after, self._settings.heartbeat_interval):
                yield ()

    async def _events(self, span: Span, after: int) -> AsyncGenerator[Sequence[Event]]:
        if span.data is not None:
            yield (Event(span.base + 1, STATE_UPDATE, span.data),)
        elif span.run_id is not None:
            run = await self._runs.get(span.run_id)
            async with aclosing(self._views.langgraph(run, max(0, after - span.base))) as batches:
                async for batch in batches:
                    yield list(of_run(run.run_id, span.base, batch))
