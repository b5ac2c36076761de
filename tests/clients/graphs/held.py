"""A chat whose answer stops halfway until another message opens its gate: so a test knows what "in the middle" is.

`hold NAME` is answered up to a point, then waits; `open NAME`, on any thread, lets it go on.
"""

import asyncio
import collections
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from scripted import Scripted

GATES: dict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)


def _script(messages: list[BaseMessage]) -> AIMessage:
    turn = sum(message.type == "human" for message in messages)
    return AIMessage(f"Turn {turn}: the first half, and then the second half of it.")


class Held(Scripted):
    """Waits at the gate that the last message names."""

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        verb, _, name = messages[-1].text.partition(" ")
        async for chunk in super()._astream(messages, stop, run_manager, **options):
            if verb == "hold" and chunk.text.startswith("then"):
                await GATES[name].wait()
            yield chunk


async def respond(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Opens a gate, if the last message says so, and calls the model."""
    verb, _, name = state["messages"][-1].text.partition(" ")
    if verb == "open":
        GATES[name].set()
    return {"messages": [await Held(script=_script).ainvoke(state["messages"], config)]}


graph = StateGraph(MessagesState).add_node(respond).add_edge(START, "respond").compile()
