"""A plain Runnable as a graph of one node, so that threads, stream modes and every API work as they do for graphs.

input ──> runnable ──> output: the whole of it, which is the state
             └─ custom events: the chunks of its stream, as they come
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.channels import EphemeralValue, LastValue
from langgraph.config import get_stream_writer
from langgraph.pregel import NodeBuilder, Pregel
from langgraph.pregel.protocol import PregelProtocol

AnyRunnable = Runnable[Any, Any]

_NODE, _INPUT, _OUTPUT = "runnable", "input", "output"


class OutputChunk(dict[str, Any]):
    """The custom event for one chunk: `{"name": "output", "data": ...}`."""

    def __init__(self, chunk: Any) -> None:
        super().__init__(name=_OUTPUT, data=chunk)

    @property
    def data(self) -> Any:
        """The chunk."""
        return self["data"]


class RunnableGraph(Pregel[Any, Any, Any, Any]):
    """The graph; it has the schemas and the drawing of its Runnable.

    Args:
        runnable: what its node runs.
        pregel: attributes of the graph.
    """

    def __init__(self, *, runnable: AnyRunnable, **pregel: Any) -> None:
        super().__init__(**pregel)
        self.runnable = runnable

    @classmethod
    def of(cls, runnable: AnyRunnable, name: str) -> "RunnableGraph":
        """The graph of a Runnable.

        Args:
            runnable: any but a graph.
            name: of the graph.
        """
        return cls(
            runnable=runnable,
            nodes={_NODE: NodeBuilder().subscribe_only(_INPUT).do(_Node(runnable)).write_to(_OUTPUT)},
            channels={
                _INPUT: EphemeralValue(_type(runnable, "InputType")),
                _OUTPUT: LastValue(_type(runnable, "OutputType")),
            },
            input_channels=_INPUT,
            output_channels=_OUTPUT,
            stream_channels=_OUTPUT,
            name=name,
        )

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The Runnable's."""
        return self.runnable.get_input_jsonschema(config)

    def get_output_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The Runnable's."""
        return self.runnable.get_output_jsonschema(config)

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Any:
        """The Runnable's own steps."""
        return self.runnable.get_graph(config)

    async def aget_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Any:
        """The Runnable's own steps."""
        return self.runnable.get_graph(config)


def is_told(update: Mapping[str, Any]) -> bool:
    """Whether an update of the graph is but the output that its chunks have told; a message may have calls besides."""
    return _NODE in update and not isinstance(update[_NODE], BaseMessage)


def _type(runnable: AnyRunnable, which: str) -> Any:
    try:
        return getattr(runnable, which)
    except TypeError:  # it declares none, and none can be inferred
        return Any


class _Node(Runnable[Any, Any]):
    """Streams the Runnable and returns the whole output. A function in its place would be traced as one run more."""

    name = None

    def __init__(self, runnable: AnyRunnable) -> None:
        self._runnable = runnable

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        raise NotImplementedError("the service is asynchronous")

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        write = get_stream_writer()
        last = _last_step(self._runnable)
        if isinstance(last, PregelProtocol):
            # What a graph streams are the updates of its nodes, not pieces of its output.
            write(OutputChunk(output := await self._runnable.ainvoke(input, config)))
            return output
        whole = _Snapshots() if _gives_snapshots(last) else _Sum()
        async with aclosing(cast("AsyncGenerator[Any]", self._runnable.astream(input, config))) as chunks:
            async for chunk in chunks:
                whole.add(chunk)
                write(OutputChunk(chunk))
        return whole.value


def _last_step(runnable: AnyRunnable) -> AnyRunnable:
    while isinstance(runnable, RunnableSequence | RunnableBindingBase):
        runnable = runnable.last if isinstance(runnable, RunnableSequence) else runnable.bound
    return runnable


def _gives_snapshots(runnable: AnyRunnable) -> bool:
    return isinstance(runnable, BaseCumulativeTransformOutputParser) and not runnable.diff


class _Snapshots:
    """The output of a stream whose every chunk is all that there is so far, as JsonOutputParser's are."""

    def __init__(self) -> None:
        self.value: Any = None

    def add(self, chunk: Any) -> None:
        self.value = chunk


class _Sum:
    """The output of a stream whose chunks add up; of those that do not, LangChain takes the last one, and so does this.

    Text, and messages of a model, are put together once, as adding each to all before it takes quadratic time.
    """

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        """All that there is as long as all of it is text, or messages of a model."""
        self._sum: Any = None

    def add(self, chunk: Any) -> None:
        if self._sum is None and self._is_piece(chunk):
            self._pieces.append(chunk)
            return
        whole, self._pieces = self._joined(), []
        try:
            self._sum = chunk if whole is None else whole + chunk
        except TypeError:
            self._sum = chunk

    def _is_piece(self, chunk: Any) -> bool:
        kind = type(self._pieces[0]) if self._pieces else str | AIMessageChunk
        return isinstance(chunk, kind)

    @property
    def value(self) -> Any:
        """The whole, with whole messages in place of their chunks."""
        return _whole(self._joined())

    def _joined(self) -> Any:
        if not self._pieces:
            return self._sum
        if isinstance(self._pieces[0], str):
            return "".join(self._pieces)
        return add_ai_message_chunks(*self._pieces)


def _whole(value: Any) -> Any:
    match value:
        case BaseMessageChunk():
            return message_chunk_to_message(value)
        case dict():
            return {name: _whole(item) for name, item in value.items()}
    return value
