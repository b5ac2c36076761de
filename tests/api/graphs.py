"""Small graphs that the service's tests serve: one for each behaviour that a real graph may show."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableGenerator
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import interrupt


class Gate:
    """Lets a test hold a node and see that it is held, or was cancelled."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


GATES: dict[str, Gate] = {}
"""By the text of the human message that a gated node reads."""


@contextlib.contextmanager
def gate(name: str) -> Any:
    """A gate for the runs whose input is `name`."""
    GATES[name] = Gate()
    try:
        yield GATES[name]
    finally:
        del GATES[name]


class Scripted(BaseChatModel):
    """Streams what `script` gives for the messages: text word by word, tool calls as fragments."""

    script: Callable[[list[BaseMessage]], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[each.name for each in tools])

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.script(messages))])

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = self.script(messages)
        for word in re.findall(r"\S+\s*", str(reply.content)):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        for index, call in enumerate(reply.tool_calls):
            arguments = json.dumps(call["args"])
            for start in range(0, len(arguments), 4):
                name, call_id = (call["name"], call["id"]) if start == 0 else (None, None)
                fragment = ToolCallChunk(name=name, args=arguments[start : start + 4], id=call_id, index=index)
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[fragment]))
        if reply.usage_metadata:
            yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=reply.usage_metadata))


def _react(model: BaseChatModel, tools: list[Any]) -> Any:
    async def agent(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder


def _secretive() -> BaseChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("secret inner words")]))


@tool
async def ask_model(question: str) -> str:
    """Asks another model, whose tokens are not the answer."""
    reply = await _secretive().ainvoke(question)
    return f"it said {len(str(reply.text).split())} words"


@tool
async def ask_beside(question: str, config: RunnableConfig) -> str:
    """Asks another model with the config that LangChain gives a tool, which is its caller's."""
    reply = await _secretive().ainvoke(question, config)
    return f"it said {len(str(reply.text).split())} words"


def _preamble(messages: list[BaseMessage]) -> AIMessage:
    if messages[-1].type == "human":
        names = ("ask_model", "ask_beside") if messages[-1].content == "both" else ("ask_model",)
        calls = [{"name": name, "args": {"question": "why"}, "id": f"call_{at}"} for at, name in enumerate(names, 1)]
        return AIMessage("Let me ask.", tool_calls=calls)
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    return AIMessage("The reply is in.", usage_metadata=usage)


inner = _react(Scripted(script=_preamble), [ask_model, ask_beside])
"""Not compiled: text before a tool call, a tool that runs a model of its own, then the answer."""


@tool
def transfer(amount: int) -> str:
    """Transfers money, if a human agrees."""
    return f"transferred {amount}: {interrupt({'question': f'Transfer {amount}?'})}"


def _transferring(messages: list[BaseMessage]) -> AIMessage:
    if messages[-1].type == "human":
        return AIMessage("", tool_calls=[{"name": "transfer", "args": {"amount": 5}, "id": "call_t"}])
    return AIMessage(f"Done: {messages[-1].content}.")


approval = _react(Scripted(script=_transferring), [transfer]).compile()
"""Stops at an interrupt inside a tool."""


@dataclass
class Greeting:
    """The context of `chat`."""

    greeting: str = "Hello"
    times: int = 1


def _chat() -> Any:
    async def respond(state: MessagesState, runtime: Runtime[Greeting], config: RunnableConfig) -> dict[str, Any]:
        words = " ".join([runtime.context.greeting] * runtime.context.times)
        model = Scripted(script=lambda messages: AIMessage(f"{words}, this is turn {len(messages) // 2 + 1}."))
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    builder = StateGraph(MessagesState, context_schema=Greeting)
    builder.add_node("respond", respond)
    builder.add_edge(START, "respond")
    return builder.compile()


chat = _chat()
"""Answers with a greeting from its context and the number of the turn."""


class Steps(TypedDict, total=False):
    """A state without messages."""

    number: int
    doubled: int
    trail: Annotated[list[str], lambda old, new: [*old, *new]]


def _steps() -> Any:
    async def double(state: Steps) -> Steps:
        get_stream_writer()({"name": "progress", "done": 0.5})
        await adispatch_custom_event("halfway", {"number": state["number"]})
        if state["number"] == -2:
            raise TimeoutError("of the graph's own")
        if state["number"] < 0:
            raise ArithmeticError("/etc/secret must not reach a client")
        return {"doubled": state["number"] * 2, "trail": ["double"]}

    builder = StateGraph(Steps)
    builder.add_node("double", double)
    builder.add_edge(START, "double")
    return builder.compile()


steps = _steps()
"""No messages: writes custom events, fails on negative numbers, on -2 by a timeout of its own."""


def _gated() -> Any:
    async def hold(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        get_stream_writer()({"name": "held"})
        if (held := GATES.get(str(state["messages"][-1].content))) is not None:
            await held.wait()
        return {"messages": [AIMessage("released")]}

    builder = StateGraph(MessagesState)
    builder.add_node("hold", hold)
    builder.add_edge(START, "hold")
    builder.add_edge("hold", END)
    return builder.compile()


gated = _gated()
"""Holds at the gate that is named like its input."""


def _outer() -> Any:
    def ask(state: Steps) -> Steps:
        return {"trail": [f"asked: {interrupt('Go on?')}"]}

    child = StateGraph(Steps).add_node("ask", ask).add_edge(START, "ask").compile()
    return StateGraph(Steps).add_node("child", child).add_edge(START, "child").compile()


outer = _outer()
"""Stops at an interrupt in a graph inside."""


def _unserializable() -> Any:
    class State(TypedDict):
        messages: Annotated[list[Any], add_messages]

    def write(_: State) -> dict[str, Any]:
        get_stream_writer()(object())
        return {}

    builder = StateGraph(State)
    builder.add_node("write", write)
    builder.add_edge(START, "write")
    return builder.compile()


unserializable = _unserializable()
"""Writes a custom event that has no JSON form."""


async def _words(texts: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for text in texts:
        for word in str(text).split():
            yield f"<{word}>"


words = RunnableGenerator(_words)
"""A plain Runnable that streams text."""


async def _totals(numbers: AsyncIterator[Any]) -> AsyncIterator[dict[str, int]]:
    async for chunk in numbers:
        for count in range(1, int(chunk["upto"]) + 1):
            yield {"total": count}


totals = RunnableGenerator(_totals)
"""A plain Runnable that streams objects."""


async def made(config: RunnableConfig) -> Any:
    """A factory: the graph is built for each run, from its config."""
    thread_id = config["configurable"].get("thread_id") if "configurable" in config else None

    async def respond(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"made for {thread_id}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("respond", respond)
    builder.add_edge(START, "respond")
    return builder
