"""A graph that uses the store, and embeddings without a model, for the store's tests."""

from collections.abc import Sequence
from typing import TypedDict

from langchain_core.embeddings import Embeddings
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

WORDS = ("apple", "pear", "car", "bus")


class Memory(TypedDict, total=False):
    """What to keep, where, and what was there."""

    place: str
    keep: str
    found: str | None


async def _look(state: Memory, runtime: Runtime[None]) -> Memory:
    assert runtime.store is not None
    item = await runtime.store.aget(("memory", state["place"]), "kept")
    return {"found": item.value["text"] if item else None}


def _keep(state: Memory) -> Memory:
    get_store().put(("memory", state["place"]), "kept", {"text": state["keep"]})
    return {}


remember = (
    StateGraph(Memory).add_node("look", _look).add_node("keep", _keep).add_edge(START, "look").add_edge("look", "keep")
).compile()
"""Replaces what is kept: an asynchronous node reads the store, a synchronous one writes it."""


def embed(texts: Sequence[str]) -> list[list[float]]:
    """How often each of WORDS is in a text.

    Raises:
        RuntimeError: a text is "out of order", as a model's server may be.
    """
    if "out of order" in " ".join(texts):
        raise RuntimeError("the embedding is out of order")
    return [[0.01 + text.count(word) for word in WORDS] for text in texts]


async def aembed(texts: Sequence[str]) -> list[list[float]]:
    """The same, asynchronously."""
    return embed(texts)


class _Counting(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embed(texts)

    def embed_query(self, text: str) -> list[float]:
        return embed([text])[0]


embeddings = _Counting()
"""The same, as LangChain's class."""

number = 4
"""Nothing that embeds."""
