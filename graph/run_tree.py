"""Where the runs are that a callback handler sees: whose words are the answer, and whose are nobody's.

    a graph ── its nodes ─┬─ models                      speak at once
                          ├─ a graph that is the node    speaks at once, as it would alone
                          ├─ a graph that it calls       speaks once the node has written it
                          └─ tools, and what is in them  never
    a chain ── models                                    speak at once

A handler sees runs and no graphs. It takes a graph for a node where it is handed the node's own input as it is, and
of the edges knows those from START only. The tag `answer` lets a graph that is called speak at once; LangGraph's
`nostream` keeps a graph or a model silent until a node writes what it said (one that decides in an edge, say), and
structured output is never heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from langgraph.constants import START

ANSWER_TAG = "answer"
"""On what a node calls: that it speaks for the node."""

_NO_STREAM = "nostream"
_STRUCTURED = "ls_structured_output_format"


class Voice(Enum):
    """Whether what is said in a run is the answer."""

    SURE = "it is"
    MAYBE = "it is if a node writes it"
    NONE = "it is not"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is."""

    voice: Voice
    given: Any = None
    """Its input."""
    graph: UUID | None = None
    """The graph that it is a node of; None if it is no node."""
    node: UUID | None = None
    """The node of the outermost graph that it is in."""
    handed: bool = False
    """Whether it has a node's input as it is."""


_NOWHERE = Place(Voice.NONE)


class RunTree:
    """The runs under way."""

    def __init__(self) -> None:
        self.root: UUID | None = None
        self._places: dict[UUID, Place] = {}
        self._callers: dict[UUID, UUID | None] = {}
        """The run that called each tool that is running: a tool with a parameter for the config gets its caller's, and
        what it passes that on to appears beside it."""

    def begin_root(self, run_id: UUID, given: Any) -> None:
        """Take a run for the handler's own."""
        self.root = run_id
        self._places[run_id] = Place(Voice.SURE, given)

    def begin(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        given: Any,
        name: str | None,
        tags: Sequence[str] | None,
        metadata: dict[str, Any] | None,
    ) -> Place:
        """Note a run that is no model's and no tool's."""
        around = self._around(parent_run_id)
        place = _NOWHERE
        node = (metadata or {}).get("langgraph_node")
        if around.voice is not Voice.NONE and node != START:  # an edge's function is no node
            is_node = node == name and any(tag.startswith("graph:step:") for tag in tags or ())
            place = Place(
                voice=self._voice(around, tags) if is_node else around.voice,
                given=given,
                graph=parent_run_id if is_node else None,
                node=run_id if is_node and around.node is None else around.node,
                handed=around.graph is not None and given is around.given,
            )
        self._places[run_id] = place
        return place

    def _voice(self, graph: Place, tags: Sequence[str] | None) -> Voice:
        """Return the voice of a graph's nodes. What is a node in a node is a task of LangGraph's functional API."""
        if graph.node is not None and _NO_STREAM in (tags or ()):
            return Voice.MAYBE
        if graph.node is None or graph.handed or graph.graph is not None:
            return graph.voice
        return Voice.SURE if ANSWER_TAG in (tags or ()) else Voice.MAYBE

    def of_model(self, parent_run_id: UUID | None, tags: Sequence[str] | None, options: dict[str, Any] | None) -> Place:
        """Return the place of a model's run."""
        if _NO_STREAM in (tags or ()) or _STRUCTURED in (options or {}):
            return _NOWHERE
        return self._around(parent_run_id)

    def _around(self, run_id: UUID | None) -> Place:
        if run_id is None or run_id in self._callers.values():
            return _NOWHERE
        return self._places.get(run_id, _NOWHERE)

    def begin_tool(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        """Note a tool's run."""
        self._places[run_id] = _NOWHERE
        self._callers[run_id] = parent_run_id

    def end(self, run_id: UUID) -> Place:
        """Forget a run that is over; return where it was."""
        self._callers.pop(run_id, None)
        return self._places.pop(run_id, _NOWHERE)
