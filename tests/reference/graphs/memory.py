"""A node that reads and writes the store that the API shows."""

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Memory(TypedDict, total=False):
    """What to keep, where, and what was there."""

    place: str
    keep: str
    found: str | None


async def remember(state: Memory, runtime: Runtime[None]) -> Memory:
    """Replaces what is kept."""
    assert runtime.store is not None
    before = await runtime.store.aget(("memory", state["place"]), "kept")
    await runtime.store.aput(("memory", state["place"]), "kept", {"text": state["keep"]})
    return {"found": before.value["text"] if before else None}


graph = StateGraph(Memory).add_node(remember).add_edge(START, "remember").compile()
