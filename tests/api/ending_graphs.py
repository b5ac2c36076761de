"""Graphs whose nodes, tools and factories raise what is no error, as the input's text says where and what."""

import asyncio
import contextlib
import os
import sys
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from tests.api.graphs import GATES


class Unusual(BaseException):
    """Of the kind that `except Exception` does not see."""


RAISED: dict[str, Any] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "Unusual": Unusual,
}


def _raise(text: str) -> None:
    what = text.rpartition(" ")[2]
    if what == "exit":
        os._exit(7)
    raise RAISED[what]("on purpose")


def _text(state: MessagesState) -> str:
    return str(state["messages"][-1].content)


async def node(state: MessagesState) -> None:
    text = _text(state)
    get_stream_writer()({"name": "begun"})
    if text.startswith("hold"):
        await GATES[text].wait()
        return
    if text.startswith("stubborn"):
        with contextlib.suppress(asyncio.CancelledError):
            await GATES[text].wait()
        for number in range(1000):
            get_stream_writer()({"name": "goes on", "number": number})
            await asyncio.sleep(0)
        return
    if text.startswith("task"):
        await asyncio.gather(asyncio.create_task(_later(text)), asyncio.sleep(0))
    elif text.startswith("thread"):
        await asyncio.to_thread(_raise, text)
    elif text.startswith("runnable"):
        await RunnableParallel(a=RunnableLambda(_later_of), b=RunnableLambda(lambda _: 1)).ainvoke(text)
    else:
        _raise(text)


async def _later(text: str) -> None:
    await asyncio.sleep(0)
    _raise(text)


async def _later_of(text: str) -> None:
    await _later(text)


def sync_node(state: MessagesState) -> None:
    _raise(_text(state))


async def beside(state: MessagesState) -> None:
    await asyncio.sleep(0.01)


def _built(*names: str, **nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(MessagesState)
    for name, each in nodes.items():
        builder.add_node(name, each)
        builder.add_edge(START, name)
        builder.add_edge(name, END)
    return builder


alone = _built(node=node)
abreast = _built(node=node, beside=beside)
in_a_thread = _built(node=sync_node)
inside = _built(node=_built(node=node, beside=beside).compile())


@tool
async def leave(text: str) -> str:
    """Raises what the text says."""
    await _later(text)
    return ""


@tool
def leave_in_a_thread(text: str) -> str:
    """Likewise."""
    _raise(text)
    return ""


async def _ask(state: MessagesState) -> dict[str, Any]:
    text = _text(state)
    calls = [{"id": f"call-{n}", "name": n, "args": {"text": text}} for n in ("leave", "leave_in_a_thread")]
    return {"messages": [AIMessage("", tool_calls=calls)]}


_tools = StateGraph(MessagesState)
_tools.add_node("ask", _ask)
_tools.add_node("tools", ToolNode([leave, leave_in_a_thread]))
_tools.add_edge(START, "ask")
_tools.add_edge("ask", "tools")
tools = _tools
chain = RunnableLambda(lambda given: str(given)) | RunnableLambda(_later_of)


async def factory() -> Any:
    """Raises while it makes the graph."""
    await asyncio.gather(asyncio.create_task(_exit()))


async def _exit() -> None:
    sys.exit("on purpose")
