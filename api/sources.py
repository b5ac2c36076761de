"""Sources: what each kind of run reads of its graph, and the fold that makes entries of the log of it.

run ──fold_of──> NativeFold, EventsFold or LangGraphFold
graph.astream / astream_events ──entries──> what the executor appends
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Protocol, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel

from api.errors import RunError
from api.events import Entry
from api.protocols.astream_events import EventsFold
from api.protocols.langgraph import LangGraphFold
from api.protocols.native import STREAM_MODES, Dispatched, Namespace, NativeFold
from api.registry import AnyGraph
from api.runnables import OutputChunk, RunnableGraph, is_told
from api.schemas import EndStatus, Run
from api.tracker import RunTracker

Entries = AsyncGenerator[Iterable[Entry]]


class Fold(Protocol):
    """What a source of events has in common, whatever it folds."""

    values: Any

    def begin(self, run: Run) -> Iterator[Entry]:
        """The first entries of an attempt."""

    def end(self, status: EndStatus, error: RunError | None) -> Iterator[Entry]:
        """The last entries: an error if there is one, and the end."""


def fold_of(run: Run, tracker: RunTracker) -> Fold:
    """The fold for what the run was asked for.

    Args:
        run: the run.
        tracker: sees the attempt's callbacks.
    """
    match run.kwargs["source"]:
        case "events":
            return EventsFold(run.kwargs.get("filters", {}))
        case "langgraph":
            return LangGraphFold(run.kwargs["stream_mode"], subgraphs=run.kwargs["subgraphs"])
        case _:
            resuming = "resume" in run.kwargs
            return NativeFold(
                tracker.inner_messages, tracker.namespaces, tracker.apart, tracker.broken_off, resuming=resuming
            )


async def entries(
    fold: Fold, graph: AnyGraph, graph_input: Any, config: RunnableConfig, options: Mapping[str, Any]
) -> Entries:
    """What the graph streams, folded: a part of the log for each part of the stream.

    Args:
        fold: from `fold_of`.
        graph: the graph.
        graph_input: its input.
        config: with the run's id and its callbacks.
        options: further arguments of a graph's `astream`.
    """
    match fold:
        case EventsFold():
            parts = _events(fold, graph, graph_input, config, options)
        case LangGraphFold() if fold.events:
            parts = _modes_among_events(fold, graph, graph_input, config, options)
        case LangGraphFold():
            parts = _modes(fold, graph, graph_input, config, options)
        case NativeFold():
            parts = _native(fold, graph, graph_input, config, options)
        case _:
            raise TypeError(f"{type(fold).__name__} has no source")
    async with aclosing(parts):
        async for part in parts:
            yield part


def leaves_out(fold: Fold, graph: AnyGraph | None) -> bool:
    """Whether the graph keeps more in its state than it tells the fold: its output is not all."""
    return isinstance(fold, LangGraphFold) and not fold.events and graph is not None and not _tells_all(graph)


def _tells_all(graph: AnyGraph) -> bool:
    output, state = graph.output_channels, graph.stream_channels_asis
    return ({state} if isinstance(state, str) else {*state}) <= ({output} if isinstance(output, str) else {*output})


async def _native(
    fold: NativeFold, graph: AnyGraph, graph_input: Any, config: RunnableConfig, options: Mapping[str, Any]
) -> Entries:
    config = {**config, "callbacks": [*cast("list[BaseCallbackHandler]", config["callbacks"]), _Dispatched()]}
    fold.speaks = lambda namespace: _speaks(graph, namespace)
    plain = isinstance(graph, RunnableGraph)
    # What a Runnable streams is its output: what models say inside of it is not told beside that.
    modes = [mode for mode in STREAM_MODES if mode != "messages" or not plain]
    stream = graph.astream(graph_input, config, stream_mode=modes, subgraphs=True, **options)
    async with aclosing(cast("AsyncGenerator[tuple[Namespace, str, Any]]", stream)) as parts:
        async for namespace, mode, payload in parts:
            if isinstance(payload, OutputChunk):
                yield fold.feed_output(payload.data)
            elif not (plain and mode == "updates" and is_told(payload)):
                yield fold.feed(mode, payload, namespace)


def _speaks(graph: AnyGraph, namespace: Namespace) -> bool:
    """Whether the graph of a namespace is a node, all the way down, and shares its messages with the graph around it:
    what its nodes write is then the root's.
    """
    for task in namespace:
        node = graph.nodes.get(task.partition(":")[0])
        inside = None if node is None else node.bound
        if not isinstance(inside, Pregel) or not {"messages"} <= inside.channels.keys() & graph.channels.keys():
            return False
        graph = inside
    return True


def routers(graph: object) -> set[tuple[str, str]]:
    """The conditional edges of a graph and of those that are nodes in it: the node, and the name of what decides."""
    if not isinstance(graph, CompiledStateGraph):
        return set()
    inside = (routers(node.bound) for node in graph.nodes.values())
    return {(node, name) for node, edges in graph.builder.branches.items() for name in edges}.union(*inside)


class _Dispatched(BaseCallbackHandler):
    """Puts what `dispatch_custom_event` says into the graph's stream, in its place."""

    run_inline = True

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        """Writes it as a node would."""
        get_stream_writer()(Dispatched(name, data))


async def _events(
    fold: EventsFold, graph: AnyGraph, graph_input: Any, config: RunnableConfig, options: Mapping[str, Any]
) -> Entries:
    stream = graph.astream_events(graph_input, config, version="v2", **options)
    async with aclosing(cast("AsyncGenerator[Mapping[str, Any]]", stream)) as events:
        async for event in events:
            yield fold.feed(event)


async def _modes(
    fold: LangGraphFold, graph: AnyGraph, graph_input: Any, config: RunnableConfig, options: Mapping[str, Any]
) -> Entries:
    modes: dict[str, Any] = {"stream_mode": fold.modes, "subgraphs": fold.subgraphs}
    # As LangGraph's own server: what is no part of the graph's output is the graph's own affair.
    stream = graph.astream(graph_input, config, output_keys=graph.output_channels, **modes, **options)
    async with aclosing(cast("AsyncGenerator[Any]", stream)) as parts:
        async for part in parts:
            namespace, mode, payload = part if fold.subgraphs else ((), *part)
            yield fold.feed(namespace, mode, payload)


async def _modes_among_events(
    fold: LangGraphFold, graph: AnyGraph, graph_input: Any, config: RunnableConfig, options: Mapping[str, Any]
) -> Entries:
    modes: dict[str, Any] = {"stream_mode": fold.modes, "subgraphs": fold.subgraphs}
    stream = graph.astream_events(graph_input, config, version="v2", **modes, **options)
    async with aclosing(cast("AsyncGenerator[Mapping[str, Any]]", stream)) as events:
        async for event in events:
            yield fold.feed_event(event, str(config["run_id"]))
