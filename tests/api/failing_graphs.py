"""Graphs whose steps use the storage, or fail as if it had failed, or do away with what they run on."""

import asyncio
import contextlib
import sqlite3
from typing import Any

import httpx
from langchain_core.runnables import RunnableConfig
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


async def delete(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Deletes its own thread at the server that the question names, and waits for that whatever is done to it."""
    thread_id = config["configurable"]["thread_id"]
    async with httpx.AsyncClient(base_url=str(state["messages"][-1].content), timeout=60) as client:
        deleting = asyncio.ensure_future(client.delete(f"/threads/{thread_id}"))
        while not deleting.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(deleting)
    DELETIONS.append(deleting.result().status_code)
    return {"messages": []}


DELETIONS: list[int] = []
"""How the server answered."""

deleting: Any = StateGraph(MessagesState).add_node("delete", delete)
deleting.add_edge(START, "delete")
