"""Two graphs of one file, of one state: what the first collects, the second reviews in the same thread."""

import operator
from typing import Annotated, Any, TypedDict

from events import Note, Parcel, different, taken
from holding import hold
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt


class State(TypedDict, total=False):
    """The thread; that notes are in it, no annotation says."""

    text: str
    notes: Annotated[list, operator.add]
    seen: Annotated[list[Any], operator.add]


class Sent(TypedDict):
    """To one node."""

    parcel: Any


def take(state: State) -> dict[str, Any]:
    """Writes down."""
    return {"notes": [taken(state["text"])]}


def stop(state: State) -> dict[str, Any]:
    """Reads what was written, after the kill."""
    hold("collect")
    return {"seen": [different(state["notes"][-1], taken(state["text"]))]}


def send(state: State) -> Send:
    """Sends the last one off, with a copy for its author."""
    note = state["notes"][-1]
    return Send("file", Parcel(note, copies=[note.by]))


def file(parcel: Parcel) -> dict[str, Any]:
    """Asks, with an object in the question, and reads what it was sent again."""
    wanted = taken(parcel.note.text)
    answer = interrupt({"file": parcel.note.place, "note": parcel.note})
    return {"seen": [different(parcel, Parcel(wanted, copies=[wanted.by])), answer]}


def look(state: State) -> dict[str, Any]:
    """Reads what the other graph has kept: all of it still what it was."""
    assert all(isinstance(note, Note) for note in state["notes"])
    return {"seen": [sorted(note.text for note in state["notes"])]}


def _collect() -> Any:
    builder = StateGraph(State)
    builder.add_node("take", take)
    builder.add_node("stop", stop)
    builder.add_node("file", file)
    builder.add_edge(START, "take")
    builder.add_edge("take", "stop")
    builder.add_conditional_edges("stop", send, ["file"])
    return builder.compile()


collect = _collect()
review = StateGraph(State).add_node("look", look).add_edge(START, "look").compile()
