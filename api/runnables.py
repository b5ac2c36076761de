"""A plain Runnable as a graph of one node, so that threads, stream modes and every API work as they do for graphs.

input ──> runnable ──> output: the whole of it, which is the state
             └─ custom events: the chunks of its stream, as they come
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.channels import EphemeralValue, LastValue
from langgraph.config import get_stream_writer
from langgraph.pregel import NodeBuilder, Pregel

from api.outputs import output_of

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
        output = output_of(self._runnable)
        if output is None:
            whole = await self._runnable.ainvoke(input, config)
            write(OutputChunk(whole))
            return whole
        async with aclosing(cast("AsyncGenerator[Any]", self._runnable.astream(input, config))) as chunks:
            async for chunk in chunks:
                output.add(chunk)
                write(OutputChunk(chunk))
        return output.value
