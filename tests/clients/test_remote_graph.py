"""RemoteGraph against a live server behaves like the graph itself, in both colours, alone and inside another graph."""

import uuid
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from typing_extensions import TypedDict

SAID: Any = {"messages": [{"role": "user", "content": "hi", "id": "human-1"}]}


@pytest.fixture
def config() -> RunnableConfig:
    """A thread of the test's own."""
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


def _async(name: str, client: LangGraphClient) -> RemoteGraph:
    return RemoteGraph(name, client=client)


def _sync(name: str, client: SyncLangGraphClient) -> RemoteGraph:
    return RemoteGraph(name, sync_client=client)


class TestAsync:
    async def test_invoke(self, client: LangGraphClient, config: RunnableConfig) -> None:
        graph = _async("steps", client)
        assert await graph.ainvoke({"number": 1}) == {"number": 3, "trail": ["double", "increase"]}
        assert (await graph.ainvoke({"number": 1}, config))["number"] == 3

    async def test_turns_of_a_thread(self, client: LangGraphClient, config: RunnableConfig) -> None:
        graph = _async("chat", client)
        await graph.ainvoke(SAID, config)
        values = await graph.ainvoke({"messages": [HumanMessage("again")]}, config)
        assert values["messages"][-1]["content"] == "Hello, turn 2: again"

    async def test_context(self, client: LangGraphClient) -> None:
        values = await _async("chat", client).ainvoke(SAID, context={"greeting": "Hi"})
        assert values["messages"][-1]["content"] == "Hi, turn 1: hi"

    @pytest.mark.parametrize(
        ("mode", "first"),
        [
            ("values", {"number": 1, "trail": []}),
            ("updates", {"double": {"number": 2, "trail": ["double"]}}),
            ("custom", {"name": "progress", "done": 0.5}),
        ],
    )
    async def test_stream(self, client: LangGraphClient, mode: Any, first: Any) -> None:
        chunks = [chunk async for chunk in _async("steps", client).astream({"number": 1}, stream_mode=mode)]
        assert chunks[0] == first

    @pytest.mark.parametrize("mode", ["tasks", "checkpoints", "debug"])
    async def test_stream_of_steps(self, client: LangGraphClient, config: RunnableConfig, mode: Any) -> None:
        graph = _async("steps", client)
        chunks = [chunk async for chunk in graph.astream({"number": 1}, config, stream_mode=mode)]
        assert len(chunks) == {"tasks": 4, "checkpoints": 4, "debug": 8}[mode]

    async def test_stream_of_messages(self, client: LangGraphClient) -> None:
        chunks: Any = [chunk async for chunk in _async("chat", client).astream(SAID, stream_mode="messages")]
        assert "".join(message["content"] for message, _ in chunks) == "Hello, turn 1: hi"
        assert {metadata["langgraph_node"] for _, metadata in chunks} == {"respond"}

    async def test_stream_of_several_modes_and_subgraphs(self, client: LangGraphClient) -> None:
        graph = _async("nested", client)
        chunks = [chunk async for chunk in graph.astream(SAID, stream_mode=["updates", "values"], subgraphs=True)]
        inside = [(mode, data) for ns, mode, data in chunks if ns and ns[0].startswith("child:")]
        assert [mode for mode, _ in inside] == ["values", "updates", "values"]
        assert {mode for ns, mode, _ in chunks if not ns} == {"updates", "values"}

    async def test_failures_are_raised(self, client: LangGraphClient) -> None:
        with pytest.raises(RemoteException, match="a value that nobody likes"):
            await _async("failing", client).ainvoke({"how": "builtin"})

    async def test_interrupt_and_resume(self, client: LangGraphClient, config: RunnableConfig) -> None:
        graph = _async("hitl", client)
        values = await graph.ainvoke({"topic": "cats"}, config)
        assert values["__interrupt__"][0]["value"]["question"] == "Publish?"
        state = await graph.aget_state(config)
        assert state.next == ("ask",)
        assert state.tasks[0].interrupts[0].value["draft"] == "About cats"
        values = await graph.ainvoke(Command(resume="Better"), config)
        assert values == {"topic": "cats", "draft": "Better", "published": True}

    async def test_states(self, client: LangGraphClient, config: RunnableConfig) -> None:
        graph = _async("steps", client)
        await graph.ainvoke({"number": 1}, config)
        history = [state async for state in graph.aget_state_history(config)]
        assert [state.next for state in history] == [(), ("increase",), ("double",), ("__start__",)]
        assert (await graph.aget_state(history[1].config)).values["number"] == 2
        edited = await graph.aupdate_state(history[1].config, {"number": 60})
        assert (await graph.ainvoke(None, edited))["number"] == 61
        latest = await graph.aget_state(config)
        assert latest.values["number"] == 61
        assert latest.metadata is not None
        assert latest.metadata["source"] == "loop"

    async def test_history_is_limited(self, client: LangGraphClient, config: RunnableConfig) -> None:
        graph = _async("steps", client)
        await graph.ainvoke({"number": 1}, config)
        assert len([state async for state in graph.aget_state_history(config, limit=2)]) == 2

    async def test_drawing(self, client: LangGraphClient) -> None:
        drawn = await _async("nested", client).aget_graph()
        assert list(drawn.nodes) == ["__start__", "child", "close", "__end__"]
        deep = await _async("nested", client).aget_graph(xray=True)
        assert "child:speak" in deep.nodes

    async def test_as_a_node(self, client: LangGraphClient, config: RunnableConfig) -> None:
        builder = StateGraph(MessagesState)
        builder.add_node("remote", _async("chat", client))
        builder.add_edge(START, "remote")
        outer: Any = builder.compile(checkpointer=InMemorySaver())
        modes: Any = ["messages", "updates"]
        chunks = [chunk async for chunk in outer.astream(SAID, config, stream_mode=modes, subgraphs=True)]
        inside = [ns for ns, mode, _ in chunks if ns and mode == "messages"]
        assert inside
        assert all(ns[0].startswith("remote:") for ns in inside)
        state = await outer.aget_state(config)
        assert [message.content for message in state.values["messages"]] == ["hi", "Hello, turn 1: hi"]

    async def test_interrupt_inside_of_another_graph(self, client: LangGraphClient, config: RunnableConfig) -> None:
        class Outer(TypedDict, total=False):
            topic: str
            draft: str
            published: bool

        builder = StateGraph(Outer)
        builder.add_node("remote", _async("hitl", client))
        builder.add_edge(START, "remote")
        outer = builder.compile(checkpointer=InMemorySaver())
        values = await outer.ainvoke({"topic": "cats"}, config)
        assert [each.value["question"] for each in values["__interrupt__"]] == ["Publish?"]
        assert (await outer.aget_state(config)).next == ("remote",)


class TestSync:
    def test_invoke(self, sync_client: SyncLangGraphClient, config: RunnableConfig) -> None:
        graph = _sync("steps", sync_client)
        assert graph.invoke({"number": 1})["number"] == 3
        assert graph.invoke({"number": 1}, config)["number"] == 3

    @pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "checkpoints", "debug"])
    def test_stream(self, sync_client: SyncLangGraphClient, config: RunnableConfig, mode: Any) -> None:
        assert list(_sync("steps", sync_client).stream({"number": 1}, config, stream_mode=mode))

    def test_stream_of_messages(self, sync_client: SyncLangGraphClient) -> None:
        chunks: Any = list(_sync("chat", sync_client).stream(SAID, stream_mode="messages"))
        assert "".join(message["content"] for message, _ in chunks) == "Hello, turn 1: hi"

    def test_states(self, sync_client: SyncLangGraphClient, config: RunnableConfig) -> None:
        graph = _sync("steps", sync_client)
        graph.invoke({"number": 1}, config)
        history = list(graph.get_state_history(config))
        assert [state.values.get("number") for state in history] == [3, 2, 1, None]
        edited = graph.update_state(history[1].config, {"number": 60})
        assert graph.invoke(None, edited)["number"] == 61
        assert graph.get_state(config).values["number"] == 61

    def test_interrupt_and_resume(self, sync_client: SyncLangGraphClient, config: RunnableConfig) -> None:
        graph = _sync("pair", sync_client)
        graph.invoke({"votes": []}, config)
        ids = {each.value: each.id for task in graph.get_state(config).tasks for each in task.interrupts}
        resume = {ids["first?"]: "yes", ids["second?"]: "no"}
        assert graph.invoke(Command(resume=resume), config) == {"votes": ["first: yes", "second: no"]}

    def test_drawing(self, sync_client: SyncLangGraphClient) -> None:
        assert list(_sync("steps", sync_client).get_graph().nodes) == [
            "__start__",
            "double",
            "increase",
            "aside",
            "__end__",
        ]
