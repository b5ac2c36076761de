"""What happens in a run of the agent, or of what it is a part of, as a queue that is read while the run goes on.

    run, in its task or thread ──callbacks──> bounded queue ──async for──> embedder

The run waits when the queue is full, so a slow reader slows it down and memory stays bounded. A reader that leaves (a
`break`, an exception, `aclose`) stops nothing: from then on events are dropped and the run goes on by itself. The last
event has a place of its own in the queue, so that the end of a run never waits for anyone.

A handler of one's own gets the answer as text, token by token, and never a tool call named final_answer: the model's
last chunk has `additional_kwargs["final_answer"]` instead, which says that `on_llm_end` ends the answer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from threading import Lock
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

from .event_queue import EventQueue
from .events import Custom, End, Error, Event, Reasoning, Token, ToolCall, ToolResult
from .story import Story

__all__ = [
    "Custom",
    "End",
    "Error",
    "Event",
    "QueueCallbackHandler",
    "Reasoning",
    "Token",
    "ToolCall",
    "ToolResult",
]

_T = TypeVar("_T")


class QueueCallbackHandler(AsyncCallbackHandler):
    """Feeds the events of one run to an `async for`, or to a `for` in another thread than the run's.

        handler = QueueCallbackHandler()
        run = handler.watch(asyncio.create_task(graph.ainvoke(inputs, {"callbacks": [handler]})))
        async for event in handler:
            if isinstance(event, Token):
                print(event.text, end="")
        result = await run

    It may be put on the agent, on a graph that the agent is a part of, on a chain, or on a call inside of a node; the
    run may be async, or sync in a thread of its own. Each call, result and answer comes once, in order. What counts as
    the answer, `run_tree` says: words of models inside tools, and of graphs that are but asked, are not among the
    tokens. A graph that a node asks with its own state, as it is, looks like one that is the node: a helper gets a
    state of its own, or the tag `nostream`. The handler is for one run.

    Args:
        size: How many events may wait to be read.

    Raises:
        ValueError: If `size` is less than 1.
        RuntimeError: On a second run, or a second loop over the events.
    """

    raise_error = True

    def __init__(self, size: int = 256) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._queue: EventQueue[Event] = EventQueue(size)
        self._reading = False
        self._story = Story()
        self._lock = Lock()

    def watch(self, run: "asyncio.Task[_T]") -> "asyncio.Task[_T]":
        """End the events with the task, even if it dies before its run has begun. Returns the task."""
        run.add_done_callback(self._task_done)
        return run

    def _task_done(self, run: "asyncio.Task[Any]") -> None:
        if run.cancelled():
            self._queue.close(Error(asyncio.CancelledError()))
        elif error := run.exception():
            self._queue.close(Error(error))
        else:
            self._queue.close(End(None))

    def __aiter__(self) -> AsyncIterator[Event]:
        self._read_once()
        return self._events()

    def __iter__(self) -> Iterator[Event]:
        self._read_once()
        return self._events_here()

    def _read_once(self) -> None:
        if self._reading:
            raise RuntimeError("the events of a run can be read once")
        self._reading = True

    async def _events(self) -> AsyncIterator[Event]:
        try:
            while (event := await self._queue.get()) is not None:
                yield event
                if isinstance(event, End | Error):
                    return
        finally:
            self._queue.leave()

    def _events_here(self) -> Iterator[Event]:
        try:
            while (event := self._queue.get_here()) is not None:
                yield event
                if isinstance(event, End | Error):
                    return
        finally:
            self._queue.leave()

    async def aclose(self) -> None:
        """Stop reading: what is queued is dropped, and the run no longer waits for anyone."""
        self._queue.leave()

    def _tell(self, events: Iterator[Event]) -> None:
        """Queue what the story makes of something; sync nodes tell it from threads of their own."""
        with self._lock:
            told = [*events]
            self._queue.put(event for event in told if not isinstance(event, End | Error))
            if told and isinstance(told[-1], End | Error):
                self._queue.close(told[-1])

    async def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the first run seen for the handler's own, and note the others."""
        with self._lock:
            self._story.chain_starts(run_id, parent_run_id, inputs, kwargs.get("name"), tags, metadata)

    async def on_chain_end(
        self,
        outputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell what a node wrote, or the end."""
        await self._queue.room()
        self._tell(self._story.chain_ends(run_id, outputs))

    async def on_chain_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell the end of a run that failed or was cancelled."""
        self._tell(self._story.fails(run_id, error))

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note whether what the model says may be the answer."""
        with self._lock:
            self._story.model_starts(run_id, parent_run_id, tags, kwargs.get("options"))

    async def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Tell a piece of the answer."""
        if self._story.listens(run_id) and isinstance(chunk, ChatGenerationChunk):
            await self._queue.room()
            self._tell(self._story.model_says(run_id, chunk))

    async def on_llm_end(
        self,
        response: LLMResult,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Let the next message be told."""
        await self._queue.room()
        self._tell(self._story.model_ends(run_id, response))

    async def on_llm_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Let the next message be told; a model that is the whole run has failed it."""
        self._tell(self._story.fails(run_id, error))

    async def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Note that what runs now is inside a tool."""
        with self._lock:
            self._story.tool_starts(run_id, parent_run_id)

    async def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that the tool is over."""
        self._tell(self._story.chain_ends(run_id, None))

    async def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Note that the tool is over."""
        self._tell(self._story.fails(run_id, error))

    async def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Tell what a tool or a node dispatches."""
        await self._queue.room()
        self._tell(iter([Custom(name, data)]))

    # With these two the handler counts as a streaming one, which makes models stream into it also under `ainvoke`.

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[_T]) -> AsyncIterator[_T]:
        """Return what a run streams as it is."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[_T]) -> Iterator[_T]:
        """Return what a run streams as it is."""
        return output
