"""Views: the log of a run as readers of another protocol than its own follow it.

Runs.follow, from the first event ──LangGraphView / NativeView──> events past the reader's cursor
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

from api.events import END, Entry, Event, numbered
from api.protocols.langgraph_view import LangGraphView
from api.protocols.native_view import NativeView
from api.runs import Runs, gathered
from api.schemas import Run
from api.states import States

Translation = Callable[[Event, Any], Sequence[Entry]]
"""One event of the log, and the state that the run left for the event that ends it."""


class Views:
    """Follows runs in a protocol of choice.

    Args:
        runs: followed.
        states: what native runs left, which their logs do not hold.
    """

    def __init__(self, runs: Runs, states: States) -> None:
        self._runs = runs
        self._states = states

    async def langgraph(self, run: Run, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """The run's events past a cursor as the LangGraph API names them, in batches; an empty one is a heartbeat.

        Raises:
            GapError: events that are needed are no longer kept.
        """
        if run.kwargs["source"] == "langgraph":
            following = self._runs.follow(run.run_id, after)
        else:
            view = LangGraphView(run)
            following = self._translated(run, after, lambda event, values: list(view.feed(event, values)))
        async with aclosing(following):
            async for batch in following:
                yield batch

    async def collect(self, run: Run, kinds: Collection[str]) -> list[Event]:
        """Waits for the end and returns the run's events of some kinds, as the LangGraph API names them.

        Args:
            run: the run.
            kinds: of the events to return; there are none if they are no longer kept.
        """
        return await gathered(self.langgraph(run), kinds)

    async def native(self, run: Run, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """Likewise as the native API names them.

        Raises:
            ConflictError: what the run logs has no native form.
            GapError: events that are needed are no longer kept.
        """
        if run.kwargs["source"] != "langgraph":
            following = self._runs.follow(run.run_id, after)
        else:
            view = NativeView(run)
            following = self._translated(run, after, lambda event, _: list(view.feed(event)), values=False)
        async with aclosing(following):
            async for batch in following:
                yield batch

    async def check(self, run: Run, after: int, *, native: bool) -> None:
        """Fails now rather than inside the stream, if the run cannot be followed from there.

        Raises:
            ConflictError: what the run logs has no native form.
            GapError: events that are needed are no longer kept.
        """
        translated = (run.kwargs["source"] == "langgraph") is native
        if translated and native:
            NativeView(run)
        await self._runs.check_cursor(run.run_id, 0 if translated else after)

    async def _translated(
        self, run: Run, after: int, translate: Translation, *, values: bool = True
    ) -> AsyncGenerator[Sequence[Event]]:
        """Folds from the first event on, so that what a view keeps of earlier ones is right."""
        async with aclosing(self._runs.follow(run.run_id)) as batches:
            async for batch in batches:
                events: list[Event] = []
                for event in batch:
                    ended = values and event.kind == END and event.seq > after
                    entries = translate(event, await self._states.left_by(run) if ended else None)
                    if event.seq > after:
                        events += numbered(event.seq, entries)
                if events or not batch:
                    yield events
                # A long replay out of memory never waits: other requests go on between its batches.
                await asyncio.sleep(0)
