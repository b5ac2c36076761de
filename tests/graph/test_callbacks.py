"""The queue of a run's events, as an embedder reads it."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from graph import QueueCallbackHandler, build_graph
from graph.callbacks import End, Error, Event, Token, ToolCall, ToolResult
from tests.graph.scripted import Reply, ScriptedModel, answer, call, say

HI: dict[str, Any] = {"messages": "hi"}


def start(graph: Any, handler: QueueCallbackHandler, given: Any = HI, **config: Any) -> asyncio.Task[Any]:
    return handler.watch(asyncio.create_task(graph.ainvoke(given, {"callbacks": [handler], **config})))


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_the_events_of_a_run() -> None:
    model = ScriptedModel(
        call(("add", {"x": 1, "y": 2}, "a"), ("divide", {"x": 1, "y": 0}, "b")), answer("It is three, I think.")
    )
    handler = QueueCallbackHandler()
    run = start(build_graph(model), handler)
    events = [event async for event in handler]
    assert events[:2] == [ToolCall("a", "add", {"x": 1, "y": 2}), ToolCall("b", "divide", {"x": 1, "y": 0})]
    assert sorted(events[2:4], key=lambda event: getattr(event, "id", "")) == [
        ToolResult("a", "add", "3", "success"),
        ToolResult("b", "divide", "Error: Cannot divide by zero.", "error"),
    ]
    assert len(events[4:-1]) > 3
    assert all(isinstance(event, Token) for event in events[4:-1])
    assert text(events) == "It is three, I think."
    assert events[-1] == End("It is three, I think.", ["add", "divide"])
    assert (await run)["final_answer"]["answer"] == "It is three, I think."


@pytest.mark.parametrize("stream_mode", ["messages", "values", "updates"])
async def test_the_run_may_be_a_stream(stream_mode: Any) -> None:
    handler = QueueCallbackHandler()

    async def run() -> None:
        graph = build_graph(ScriptedModel(answer("It is three.")))
        async for _ in graph.astream(HI, {"callbacks": [handler]}, stream_mode=stream_mode):
            pass

    task = handler.watch(asyncio.create_task(run()))
    events = [event async for event in handler]
    assert text(events) == "It is three."
    assert events[-1] == End("It is three.")
    await task


async def test_calls_that_never_reach_a_tool_are_told_too() -> None:
    model = ScriptedModel(call(("nothing", {}, "a"), ("add", "{]", "b")), answer("ok"))
    handler = QueueCallbackHandler()
    run = start(build_graph(model), handler)
    events = [event async for event in handler]
    assert [e.id for e in events if isinstance(e, ToolCall)] == ["a", "b"]
    assert sorted((e.id, e.status) for e in events if isinstance(e, ToolResult)) == [("a", "error"), ("b", "error")]
    await run


async def test_a_repaired_history_is_no_event() -> None:
    model = ScriptedModel(call(("add", {"x": 1, "y": 2}, "a")), answer("next"))
    graph = build_graph(model, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke(HI, thread, interrupt_before=["tools"])
    handler = QueueCallbackHandler()
    run = start(graph, handler, {"messages": "again"}, **thread)
    events = [event async for event in handler]
    assert {type(event) for event in events} == {Token, End}
    assert text(events) == "next"
    await run


async def test_what_models_in_tools_say_is_not_the_answer() -> None:
    inner = build_graph(ScriptedModel(answer("secret thoughts"), repeats=True))

    @tool
    async def think(config: RunnableConfig) -> str:
        """Ask another agent, and a model."""
        await ScriptedModel(say("more secrets")).ainvoke("think!", config)
        result = await inner.ainvoke({"messages": "think!"}, config)
        return str(result["final_answer"]["answer"])

    handler = QueueCallbackHandler()
    run = start(build_graph(ScriptedModel(call(("think", {}, "t")), answer("The public answer.")), [think]), handler)
    events = [event async for event in handler]
    assert text(events) == "The public answer."
    assert [e.content for e in events if isinstance(e, ToolResult)] == ["secret thoughts"]
    await run


async def test_text_that_leads_to_calls_is_not_the_answer() -> None:
    """Told by the first chunk of a call, which comes no later than the text that it makes a preamble."""
    handler = QueueCallbackHandler()
    root, node, model = uuid4(), uuid4(), uuid4()
    await handler.on_chain_start({}, {}, run_id=root)
    await handler.on_chain_start({}, {}, run_id=node, parent_run_id=root, metadata={"langgraph_node": "agent"})
    await handler.on_chat_model_start({}, [], run_id=model, parent_run_id=node)
    asks = AIMessageChunk("", tool_call_chunks=[{"name": "add", "args": "", "id": "a", "index": 0}])
    await handler.on_llm_new_token("", chunk=ChatGenerationChunk(message=asks), run_id=model, parent_run_id=node)
    said = ChatGenerationChunk(message=AIMessageChunk("Let me see."))
    await handler.on_llm_new_token("Let me see.", chunk=said, run_id=model, parent_run_id=node)
    await handler.on_chain_end({}, run_id=root)
    assert [event async for event in handler] == [End(None)]


@pytest.mark.parametrize("script", [[call(("add", {"x": 1, "y": 2}, "a"))] * 2, [say("")] * 2])
async def test_what_is_said_in_the_models_place_is_a_token(script: list[Reply]) -> None:
    handler = QueueCallbackHandler()
    graph = build_graph(ScriptedModel(*script))
    run = handler.watch(asyncio.create_task(graph.ainvoke(HI, {"callbacks": [handler]}, context={"max_iterations": 1})))
    events = [event async for event in handler]
    result = (await run)["final_answer"]
    assert text(events) == result["answer"] != ""
    assert events[-1] == End(result["answer"], result["tools_used"])


async def test_a_model_that_cannot_stream_gives_one_token() -> None:
    handler = QueueCallbackHandler()
    run = start(build_graph(ScriptedModel(answer("It is three."), disable_streaming=True)), handler)
    assert [event async for event in handler] == [Token("It is three."), End("It is three.")]
    await run


async def test_a_run_that_waits_for_a_human_ends_without_an_answer() -> None:
    @tool
    def ask() -> str:
        """Ask a human."""
        return str(interrupt("well?"))

    graph = build_graph(ScriptedModel(call(("ask", {}, "a"))), [ask], checkpointer=InMemorySaver())
    handler = QueueCallbackHandler()
    run = start(graph, handler, configurable={"thread_id": "t"})
    assert [event async for event in handler] == [ToolCall("a", "ask", {}), End(None)]
    await run


async def test_a_run_that_fails_ends_with_the_error() -> None:
    handler = QueueCallbackHandler()
    run = start(build_graph(ScriptedModel(RuntimeError("no connection"))), handler)
    (event,) = [event async for event in handler]
    assert isinstance(event, Error)
    assert str(event.error).startswith("no connection")
    with pytest.raises(RuntimeError, match="no connection"):
        await run


async def test_a_run_that_is_cancelled_ends_with_the_cancellation() -> None:
    speaking = asyncio.Event()
    handler = QueueCallbackHandler()
    run = start(build_graph(ScriptedModel(Reply("Well, ", holds=speaking))), handler)
    await speaking.wait()
    run.cancel()
    events = [event async for event in handler]
    assert isinstance(events[-1], Error)
    assert isinstance(events[-1].error, asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize("cancel", [True, False])
async def test_a_task_that_dies_before_its_run_begins_ends_the_events(cancel: bool) -> None:
    handler = QueueCallbackHandler()

    async def die() -> None:
        raise RuntimeError("too early")

    run = handler.watch(asyncio.create_task(die()))
    if cancel:
        run.cancel()
    (event,) = [event async for event in handler]
    assert isinstance(event, Error)
    assert isinstance(event.error, asyncio.CancelledError if cancel else RuntimeError)


async def test_a_task_without_a_run_ends_the_events() -> None:
    handler = QueueCallbackHandler()

    async def nothing() -> None:
        return None

    handler.watch(asyncio.create_task(nothing()))
    assert [event async for event in handler] == [End(None)]


async def test_a_run_waits_for_its_reader() -> None:
    """With one place in the queue, the model is at most one piece ahead of what is read."""
    said: list[str] = []
    read: list[str] = []

    class Watched(ScriptedModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            async for chunk in super()._astream(*args, **kwargs):
                said.append(chunk.text)
                assert len(said) - len(read) <= 4
                yield chunk

    handler = QueueCallbackHandler(size=1)
    run = start(build_graph(Watched(answer("word " * 200))), handler)
    async for event in handler:
        if isinstance(event, Token):
            read.append(event.text)
    assert "".join(read) == "word " * 200
    await run


@pytest.mark.parametrize("leave", ["break", "aclose", "exception"])
async def test_a_reader_that_leaves_does_not_stop_the_run(leave: str) -> None:
    handler = QueueCallbackHandler(size=1)
    run = start(build_graph(ScriptedModel(answer("word " * 200))), handler)
    if leave == "aclose":
        await handler.aclose()
    elif leave == "break":
        async for _ in handler:
            break
    else:
        with pytest.raises(LookupError):
            await fail_at_the_first(handler)
    assert (await run)["final_answer"]["answer"] == "word " * 200


async def fail_at_the_first(handler: QueueCallbackHandler) -> None:
    async for _ in handler:
        raise LookupError


async def test_cancelling_a_run_does_not_wait_for_a_reader() -> None:
    handler = QueueCallbackHandler(size=1)
    full = asyncio.Event()

    class Filling(ScriptedModel):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            async for number, chunk in _numbered(super()._astream(*args, **kwargs)):
                if number == 4:
                    full.set()
                yield chunk

    run = start(build_graph(Filling(answer("word " * 200))), handler)
    await full.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    events = [event async for event in handler]
    assert isinstance(events[-1], Error)
    assert len(events) == 2


async def _numbered(chunks: Any) -> Any:
    number = 0
    async for chunk in chunks:
        yield number, chunk
        number += 1


async def test_a_handler_serves_one_run() -> None:
    graph = build_graph(ScriptedModel(answer("1"), answer("2")))
    handler = QueueCallbackHandler()
    run = start(graph, handler)
    events = [event async for event in handler]
    assert events[-1] == End("1")
    await run
    with pytest.raises(RuntimeError, match="serves one run"):
        await graph.ainvoke(HI, {"callbacks": [handler]})
    with pytest.raises(RuntimeError, match="read once"):
        handler.__aiter__()


async def test_a_runnable_that_is_no_agent_ends_too() -> None:
    handler = QueueCallbackHandler()
    run = start(RunnableLambda(lambda given: given), handler)
    assert [event async for event in handler] == [End(None)]
    await run


def test_a_queue_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        QueueCallbackHandler(size=0)
