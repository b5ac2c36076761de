"""The queue of events wherever the handler is put: around the agent, beside it, on chains, in threads."""

import asyncio
import threading
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command

from graph import (
    Custom,
    End,
    Error,
    Event,
    QueueCallbackHandler,
    Reasoning,
    Token,
    ToolCall,
    ToolResult,
    build_graph,
)
from tests.api import embedded
from tests.graph.scripted import Reply, ScriptedModel, answer, say
from tests.openai_server import Call, openai_server

HI: dict[str, Any] = {"messages": "hi"}


async def run(graph: Any, given: Any = HI, **config: Any) -> list[Event]:
    handler = QueueCallbackHandler()
    task = handler.watch(asyncio.create_task(graph.ainvoke(given, {"callbacks": [handler], **config})))
    events = [event async for event in handler]
    await task
    return events


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def kinds(events: list[Event]) -> list[type]:
    return [kind for kind, _ in groupby(map(type, events))]


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


ALONE = [ToolCall, ToolResult, Token, End]

EMBEDDED = [
    "as_node",
    "as_node_with_saver",
    "deep",
    "called",
    "called_whole",
    "called_sync",
    "called_with_saver",
    "rewritten",
    "tagged",
    "called_with_config",
]


@pytest.mark.parametrize("name", EMBEDDED)
async def test_a_graph_around_the_agent(name: str) -> None:
    events = await run(getattr(embedded, name))
    assert kinds(events) == ALONE
    assert of(events, ToolCall) == [ToolCall("call_ann", "add", {"x": 2, "y": 3})]
    assert of(events, ToolResult) == [ToolResult("call_ann", "add", "5", "success")]
    assert len(of(events, Token)) > 2
    assert text(events) == "ann says it is 5."
    assert events[-1] == End("ann says it is 5.", ["add"])


async def test_a_whole_turn_of_a_node_comes_in_order() -> None:
    events = await run(embedded.whole_turn)
    assert events == [
        ToolCall("c1", "look", {}),
        ToolResult("c1", "look", "r", "success"),
        Token("done"),
        End("done", ["look"]),
    ]


@pytest.mark.parametrize("shape", embedded.SHAPES)
async def test_a_whole_turn_in_any_form(shape: str) -> None:
    assert await run(embedded.writing(shape)) == [
        ToolCall("c1", "look", {}),
        ToolResult("c1", "look", "r", "success"),
        Token("done"),
        End("done", ["look"]),
    ]


@pytest.mark.parametrize("name", ["numbered_alone", "numbered_node", "numbered_called"])
async def test_calls_whose_ids_come_again_are_told_each(name: str) -> None:
    events = await run(getattr(embedded, name))
    assert kinds(events) == [*[ToolCall, ToolResult] * 2, Token, End]
    assert [result.content for result in of(events, ToolResult)] == ["2", "4"]


async def test_a_message_without_an_id_in_a_graph_inside() -> None:
    inner = embedded.in_sequence({"speak": lambda _: {"messages": [AIMessage("once")]}})
    assert await run(embedded.in_sequence({"inner": embedded.in_sequence({"inner": inner})})) == [
        Token("once"),
        End("once"),
    ]


async def test_a_node_whose_result_is_cached() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node(
        "speak", lambda _: {"messages": [AIMessage("known")]}, cache_policy=CachePolicy(key_func=lambda _: "it")
    )
    graph = builder.add_edge(START, "speak").compile(cache=InMemoryCache())
    assert [(await run(graph))[-1] for _ in range(2)] == [End("known")] * 2


@pytest.mark.parametrize("name", ["in_tool", "in_tool_of_node"])
async def test_an_agent_in_a_tool_says_nothing(name: str) -> None:
    events = await run(getattr(embedded, name))
    assert kinds(events) == ALONE
    assert [each.name for each in of(events, ToolCall)] == ["consult"]
    assert text(events) == "Consulted."


@pytest.mark.parametrize("note", [embedded.note, embedded.note_from_agent])
async def test_a_helper_says_nothing(note: Any) -> None:
    events = await run(embedded.in_sequence({"note": note, "speak": embedded.says("Public.")}, embedded.Noted))
    assert text(events) == "Public."
    assert isinstance(events[-1], End)
    assert events[-1].answer == "Public."


async def test_a_helper_with_the_state_as_it_is_needs_a_tag() -> None:
    helper = embedded.says("secret helper words", "helper")

    async def note(state: embedded.Noted) -> dict[str, Any]:
        await helper.ainvoke(state, {"tags": ["nostream"]})
        return {"notes": "noted"}

    graph = embedded.in_sequence({"note": note, "speak": embedded.says("Public.")}, embedded.Noted)
    assert text(await run(graph)) == "Public."


async def test_a_model_that_decides_where_to_begin_says_nothing() -> None:
    assert text(await run(embedded.routed_at_once)) == "The public answer."


async def test_what_is_said_side_by_side_does_not_mix() -> None:
    events = await run(embedded.parallel)
    texts = ["all the words on the left ", "and those on the right "]
    assert text(events) in ("".join(texts), "".join(reversed(texts)))
    assert events[-1] == End(text(events))


async def test_a_supervisor_and_its_workers() -> None:
    events = await run(embedded.supervised)
    calls = [each.id for each in of(events, ToolCall)]
    assert calls == ["call_ask_ann", "call_ann", "call_ask_bob", "call_bob"] == [e.id for e in of(events, ToolResult)]
    assert text(events) == "ann says it is 5.bob says it is 9.Both are done."


async def test_a_call_inside_of_a_node() -> None:
    """The handler is on the agent's run alone: the graph around it is none of its business."""
    handler = QueueCallbackHandler()
    agent = embedded.adds("ann", 2, 3)

    async def ask(state: MessagesState) -> dict[str, Any]:
        await ScriptedModel(say("before")).ainvoke("x")
        result = await agent.ainvoke({"messages": state["messages"]}, {"callbacks": [handler]})
        return {"messages": [AIMessage(result["final_answer"]["answer"] + " So there.")]}

    outer = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    task = handler.watch(asyncio.create_task(outer.ainvoke({"messages": [HumanMessage("hi")]})))
    events = [event async for event in handler]
    assert kinds(events) == ALONE
    assert events[-1] == End("ann says it is 5.", ["add"])
    assert (await task)["messages"][-1].text == "ann says it is 5. So there."


async def test_an_interrupt_inside_and_its_resume() -> None:
    graph = embedded.approving.copy({"checkpointer": InMemorySaver()})
    thread = {"thread_id": "t"}
    first = await run(graph, configurable=thread)
    assert [each.id for each in of(first, ToolCall)] == ["call_1", "call_2"]
    assert first[-1] == End(None)
    second = await run(graph, Command(resume="yes"), configurable=thread)
    assert kinds(second) == [ToolResult, Token, End]
    assert second[0] == ToolResult("call_2", "approve", "approved 7: yes", "success")
    assert text(second) == "It is approved."


async def test_an_interrupt_of_a_call_inside_of_a_node_is_no_failure() -> None:
    handler = QueueCallbackHandler()
    agent = embedded.approving.nodes["calc"].bound

    async def ask(state: MessagesState) -> dict[str, Any]:
        result = await agent.ainvoke({"messages": state["messages"]}, {"callbacks": [handler]})
        return {"messages": result["messages"][-1:]}

    outer = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile(InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    task = handler.watch(asyncio.create_task(outer.ainvoke({"messages": [HumanMessage("hi")]}, thread)))
    events = [event async for event in handler]
    assert kinds(events) == [ToolCall, ToolResult, ToolCall, End]
    assert events[-1] == End(None)
    await task


PROMPT = ChatPromptTemplate.from_messages([("human", "{question}")])


async def test_chains() -> None:
    model = ScriptedModel(say("One two three four."), repeats=True)
    chains: list[Any] = [
        PROMPT | model | StrOutputParser(),
        PROMPT | model,
        PROMPT | RunnableLambda(lambda _: model) | StrOutputParser(),
    ]
    for chain in chains:
        events = await run(chain, {"question": "?"})
        assert kinds(events) == [Token, End]
        assert len(events) > 3
        assert text(events) == "One two three four."
        assert events[-1] == End("One two three four.")
    assert (await run(model, "?"))[-1] == End("One two three four.")
    whole = await run(
        PROMPT | ScriptedModel(say("At once."), disable_streaming=True) | StrOutputParser(), {"question": "?"}
    )
    assert whole == [Token("At once."), End("At once.")]
    nothing = await run(RunnableLambda(lambda _: {"a": 1}), {"question": "?"})
    assert nothing == [End(None)]


async def test_a_chain_with_the_agent_in_it() -> None:
    events = await run(embedded.adds("ann", 2, 3) | RunnableLambda(lambda state: state["messages"][-1].text))
    assert kinds(events) == ALONE
    assert events[-1] == End("ann says it is 5.", ["add"])


async def test_custom_events() -> None:
    events = await run(embedded.reporting_node)
    assert of(events, Custom) == [Custom("dispatched", {"step": 1}), Custom("dispatched", {"step": 2})]
    assert kinds(events) == [*[ToolCall, Custom, ToolResult] * 2, Token, End]


@pytest.mark.parametrize("name", ["thinking", "thinking_blocks"])
async def test_reasoning(name: str) -> None:
    events = await run(getattr(embedded, name))
    assert kinds(events) == [Reasoning, Token, End]
    assert of(events, Reasoning) == [Reasoning("Let me "), Reasoning("think.")]
    assert events[-1] == End("The answer.")


async def test_a_failure_inside() -> None:
    handler = QueueCallbackHandler()
    outer = embedded.in_sequence({"calc": build_graph(ScriptedModel(RuntimeError("no connection")))})
    task = handler.watch(asyncio.create_task(outer.ainvoke(HI, {"callbacks": [handler]})))
    (event,) = [event async for event in handler]
    assert isinstance(event, Error)
    with pytest.raises(RuntimeError, match="no connection"):
        await task


async def test_a_cancel_inside() -> None:
    speaking = asyncio.Event()
    handler = QueueCallbackHandler()
    outer = embedded.in_sequence({"calc": build_graph(ScriptedModel(Reply("Well, ", holds=speaking)))})
    task = handler.watch(asyncio.create_task(outer.ainvoke(HI, {"callbacks": [handler]})))
    await speaking.wait()
    task.cancel()
    events = [event async for event in handler]
    assert [type(event) for event in events].count(Error) == 1
    assert isinstance(events[-1], Error)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("size", [1, 256])
async def test_a_sync_run_in_a_thread(size: int) -> None:
    handler = QueueCallbackHandler(size)
    agent = embedded.adds("ann", 2, 3)
    task = handler.watch(asyncio.create_task(asyncio.to_thread(agent.invoke, HI, {"callbacks": [handler]})))
    events = [event async for event in handler]
    assert kinds(events) == ALONE
    assert events[-1] == End("ann says it is 5.", ["add"])
    await task


def test_a_sync_reader() -> None:
    handler = QueueCallbackHandler(size=1)
    agent = embedded.adds("ann", 2, 3)
    run = threading.Thread(target=agent.invoke, args=(HI, {"callbacks": [handler]}))
    run.start()
    events = [*handler]
    run.join()
    assert kinds(events) == ALONE
    assert text(events) == "ann says it is 5."


def test_a_sync_reader_that_leaves_stops_nothing() -> None:
    handler = QueueCallbackHandler(size=1)
    agent = build_graph(ScriptedModel(answer("word " * 50)))
    results: list[Any] = []
    run = threading.Thread(target=lambda: results.append(agent.invoke(HI, {"callbacks": [handler]})))
    run.start()
    reader = iter(handler)
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    run.join()
    assert results[0]["final_answer"]["answer"] == "word " * 50


async def test_through_an_openai_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.reply(Call("add", '{"x": 1,', ' "y": 2}', call_id="c1"))
        server.reply(Call("final_answer", '{"answer": "It ', "is ", '3.", "tools_used": []}'))
        events = await run(embedded.in_sequence({"calc": build_graph()}))
    assert events == [
        ToolCall("c1", "add", {"x": 1, "y": 2}),
        ToolResult("c1", "add", "3", "success"),
        Token("It "),
        Token("is "),
        Token("3."),
        End("It is 3.", ["add"]),
    ]


class Collecting(BaseCallbackHandler):
    """Any handler: nothing says that it streams."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.said.append(token)


async def test_the_default_model_streams_to_any_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    offline, sync = Collecting(), Collecting()
    question = {"messages": "What is 6 * 7?"}
    await build_graph().ainvoke(question, {"callbacks": [offline]})
    build_graph().invoke(question, {"callbacks": [sync]})
    for handler in (offline, sync):
        assert "".join(handler.said) == "6 * 7 is 42 (forty-two)."
        assert len([*filter(None, handler.said)]) > 3
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.reply(Call("final_answer", '{"answer": "It ', "is ", '3.", "tools_used": []}'))
        handler = Collecting()
        result = await build_graph().ainvoke(HI, {"callbacks": [handler]})
    assert [*filter(None, handler.said)] == ["It ", "is ", "3."]
    assert result["messages"][-1].usage_metadata["total_tokens"] == 18


class CourseHandler(AsyncCallbackHandler):
    """The handler of the course, but for how it knows the final answer: here that is text with a mark at its end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.final_answer_seen = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            token = await self.queue.get()
            if token == "<<DONE>>":
                return
            if token:
                yield token

    async def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        chunk: ChatGenerationChunk = kwargs["chunk"]
        if "final_answer" in chunk.message.additional_kwargs:
            self.final_answer_seen = True
        self.queue.put_nowait(chunk.message)

    async def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.queue.put_nowait("<<DONE>>" if self.final_answer_seen else "<<STEP_END>>")


async def test_the_handler_of_the_course() -> None:
    handler = CourseHandler()
    task = asyncio.create_task(build_graph().ainvoke({"messages": "What is 6 * 7?"}, {"callbacks": [handler]}))
    seen = [token async for token in handler]
    steps = "".join(each if isinstance(each, str) else str(each.content) for each in seen)
    assert steps == "<<STEP_END>>6 * 7 is 42 (forty-two)."
    calls = [chunk["name"] for each in seen if isinstance(each, AIMessageChunk) for chunk in each.tool_call_chunks]
    assert [*filter(None, calls)] == ["multiply"]
    await task
