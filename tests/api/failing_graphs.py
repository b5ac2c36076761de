"""A graph whose steps use the storage, or fail as if it had failed."""

import sqlite3
from typing import Any

from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph


async def remember(state: MessagesState) -> dict[str, Any]:
    """Puts an item, whose size the question says, into the store."""
    asked = str(state["messages"][-1].content)
    match asked:
        case "its own":
            raise sqlite3.OperationalError("no such table: mine")
        case "wrapped":
            try:
                await _put(asked)
            except Exception as exc:
                raise ValueError("could not remember") from exc
        case _:
            await _put(asked)
    return {"messages": [("ai", f"remembered {asked}")]}


async def _put(key: str) -> None:
    await get_store().aput(("kept",), key, {"text": "x" * 50_000})


async def close(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("ai", "closed " * 10_000)]}


storing: Any = StateGraph(MessagesState).add_node("remember", remember).add_node("close", close)
storing.add_edge(START, "remember").add_edge("remember", "close")
