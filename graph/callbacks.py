"""What happens in one run of the agent, as a queue that is read while the run goes on.

    run, in its task ──callbacks──> bounded queue ──async for──> embedder

The run waits when the queue is full, so a slow reader slows it down and memory stays bounded. A reader that leaves (a
`break`, an exception, `aclose`) stops nothing: from then on events are dropped and the run goes on by itself. The last
event has a place of its own in the queue, so that the end of a run never waits for anyone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langgraph.types import Command

from .agent import AGENT, TOOLS_NODE

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer. The pieces of a run join to its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    id: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool call is over."""

    id: str
    name: str | None
    content: str | list[str | dict[str, Any]]
    status: Literal["success", "error"]


@dataclass(frozen=True, slots=True)
class End:
    """The run is over, with an answer unless it was interrupted to be resumed. Always last."""

    answer: str | None
    tools_used: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Error:
    """The run failed or was cancelled. Always last."""

    error: BaseException


Event = Token | ToolCall | ToolResult | End | Error


class QueueCallbackHandler(AsyncCallbackHandler):
    """Feeds the events of one asynchronous run of the agent to an `async for`.

        handler = QueueCallbackHandler()
        run = handler.watch(asyncio.create_task(graph.ainvoke(inputs, {"callbacks": [handler]})))
        async for event in handler:
            if isinstance(event, Token):
                print(event.text, end="")
        result = await run

    What models that tools call say is not among the tokens. The handler is for the graph's own run, and for one run.

    Args:
        size: How many events may wait to be read.

    Raises:
        ValueError: If `size` is less than 1.
        RuntimeError: On a second run, or a second `async for`.
    """

    raise_error = True

    def __init__(self, size: int = 256) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._size = size
        self._queue: asyncio.Queue[Event] = asyncio.Queue(size + 1)
        self._room = asyncio.Event()
        self._over = False
        self._left = False
        self._reading = False
        self._root: UUID | None = None
        self._nodes: dict[UUID, str] = {}
        self._answering: UUID | None = None
        self._said = False

    def watch(self, run: "asyncio.Task[_T]") -> "asyncio.Task[_T]":
        """End the events with the task, even if it dies before its run has begun. Returns the task."""
        run.add_done_callback(self._task_done)
        return run

    def _task_done(self, run: "asyncio.Task[Any]") -> None:
        if run.cancelled():
            self._end(Error(asyncio.CancelledError()))
        elif error := run.exception():
            self._end(Error(error))
        else:
            self._end(End(None))

    def __aiter__(self) -> AsyncIterator[Event]:
        if self._reading:
            raise RuntimeError("the events of a run can be read once")
        self._reading = True
        return self._events()

    async def _events(self) -> AsyncIterator[Event]:
        try:
            while not (self._left and self._queue.empty()):
                event = await self._queue.get()
                self._room.set()
                yield event
                if isinstance(event, End | Error):
                    return
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop reading: what is queued is dropped, and the run no longer waits for anyone."""
        self._left = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._room.set()

    async def _emit(self, event: Event) -> None:
        while not (self._left or self._over):
            if self._queue.qsize() < self._size:
                self._queue.put_nowait(event)
                return
            self._room.clear()
            await self._room.wait()

    def _end(self, event: End | Error) -> None:
        if not self._over:
            self._over = True
            self._room.set()
            self._queue.put_nowait(event)

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
        """Take the first run seen for the graph's, and note its nodes."""
        if self._root is None:
            self._root = run_id
        elif parent_run_id is None:
            raise RuntimeError("a QueueCallbackHandler serves one run")
        elif parent_run_id == self._root:
            self._nodes[run_id] = (metadata or {}).get("langgraph_node", "")

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
        """Note the agent's own call of the model: it may become the answer."""
        if parent_run_id and self._nodes.get(parent_run_id) == AGENT:
            self._answering = run_id
            self._said = False

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
        """Emit a piece of the answer."""
        if run_id != self._answering:
            return
        if isinstance(chunk, ChatGenerationChunk) and getattr(chunk.message, "tool_call_chunks", None):
            self._answering = None
        elif isinstance(token, str) and token:
            self._said = True
            await self._emit(Token(token))

    async def on_chain_end(
        self,
        outputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit what a node wrote, or the end."""
        if run_id == self._root:
            answer = (outputs or {}).get("final_answer") if isinstance(outputs, dict) else None
            if answer and answer["answer"] and not self._said:
                await self._emit(Token(answer["answer"]))
            self._end(End(answer["answer"], answer["tools_used"]) if answer else End(None))
        elif (node := self._nodes.pop(run_id, None)) in (AGENT, TOOLS_NODE):
            messages = list(_messages_in(outputs))
            for event in _tool_events(_since_reply(messages) if node == AGENT else messages):
                await self._emit(event)

    async def on_chain_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Emit the end of a run that failed or was cancelled."""
        self._nodes.pop(run_id, None)
        if run_id == self._root:
            self._end(Error(error))

    # With these two the handler counts as a streaming one, which makes models stream into it also under `ainvoke`.

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[_T]) -> AsyncIterator[_T]:
        """Return what a run streams as it is."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[_T]) -> Iterator[_T]:
        """Return what a run streams as it is."""
        return output


def _messages_in(update: Any) -> Iterator[BaseMessage]:
    """Find the messages in what a node returned: an update, commands, or a list of either."""
    if isinstance(update, BaseMessage):
        yield update
    elif isinstance(update, Command):
        yield from _messages_in(update.update)
    elif isinstance(update, dict):
        yield from _messages_in(update.get("messages"))
    elif isinstance(update, list | tuple):
        for item in update:
            yield from _messages_in(item)


def _since_reply(messages: list[BaseMessage]) -> list[BaseMessage]:
    """Leave out what the agent node wrote to repair the history."""
    replies = [at for at, message in enumerate(messages) if isinstance(message, AIMessage)]
    return messages[replies[-1] :] if replies else []


def _tool_events(messages: Iterable[BaseMessage]) -> Iterator[Event]:
    for message in messages:
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                yield ToolCall(call["id"] or "", call["name"], call["args"])
        elif isinstance(message, ToolMessage):
            yield ToolResult(message.tool_call_id, message.name, message.content, message.status)
