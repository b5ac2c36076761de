"""The message list and its reducer, and what a thread takes on disk."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite

from graph import build_graph
from graph.history import repaired, turn_of, unanswered
from graph.reducer import reduce_messages
from graph.state import Context
from tests.graph.scripted import ScriptedModel, answer, say

THREAD: RunnableConfig = {"configurable": {"thread_id": "0190b6a7-1b1b-7000-8000-000000000001"}}

IDS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.text("xyz", max_size=2)
MESSAGES = st.one_of(
    TEXTS,
    st.tuples(st.sampled_from(["user", "ai", "system"]), TEXTS),
    st.builds(lambda text: {"role": "user", "content": text}, TEXTS),
    st.builds(lambda text, id_: {"type": "ai", "content": text, "id": id_}, TEXTS, IDS),
    st.builds(lambda text, id_: HumanMessage(text, id=id_), TEXTS, st.none() | IDS),
    st.builds(lambda text, id_: AIMessageChunk(text, id=id_), TEXTS, st.none() | IDS),
    st.builds(lambda id_: RemoveMessage(id=id_), IDS | st.just(REMOVE_ALL_MESSAGES)),
)
WRITES = st.lists(st.one_of(st.none(), MESSAGES, st.lists(MESSAGES, max_size=4)), max_size=6)


@given(WRITES, WRITES, WRITES)
def test_batches_do_not_matter(before: list[Any], xs: list[Any], ys: list[Any]) -> None:
    state = reduce_messages([], before)
    assert reduce_messages(reduce_messages(state, xs), ys) == reduce_messages(state, xs + ys)


@given(WRITES)
def test_what_comes_out_is_a_list_of_whole_messages_with_ids_of_their_own(writes: list[Any]) -> None:
    messages = reduce_messages([], writes)
    assert all(isinstance(message, BaseMessage) and message.id for message in messages)
    assert len({message.id for message in messages}) == len(messages)
    assert not any(isinstance(message, AIMessageChunk | RemoveMessage) for message in messages)
    assert reduce_messages(messages, []) == messages


@given(st.lists(MESSAGES, max_size=5), WRITES)
def test_a_state_that_was_never_reduced_counts_as_a_first_write(raw: list[Any], writes: list[Any]) -> None:
    state = [item for item in raw if not isinstance(item, BaseMessage)]
    assert reduce_messages(state, writes) == reduce_messages([], [state, *writes])


def test_a_known_id_is_replaced_in_place() -> None:
    state = reduce_messages([], [[HumanMessage("1", id="a"), HumanMessage("2", id="b")]])
    changed = reduce_messages(state, [{"role": "user", "content": "one", "id": "a"}])
    assert [(message.id, message.content) for message in changed] == [("a", "one"), ("b", "2")]


def test_removing() -> None:
    state = reduce_messages([], [[HumanMessage("1", id="a"), HumanMessage("2", id="b")]])
    assert [m.id for m in reduce_messages(state, [RemoveMessage(id="a")])] == ["b"]
    assert [m.id for m in reduce_messages(state, [RemoveMessage(id="unknown")])] == ["a", "b"]
    start_over = [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("3", id="c")]
    assert [m.id for m in reduce_messages(state, [start_over])] == ["c"]


def test_equal_messages_are_two_messages() -> None:
    first = reduce_messages([], ["x", "a"])
    shifted = reduce_messages(first, [RemoveMessage(id=first[0].id or "")])
    assert [m.content for m in reduce_messages(shifted, ["a", "a"])] == ["a", "a", "a"]


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="role"):
        reduce_messages([], [[{"text": "hello"}]])


async def test_a_refused_input_does_not_spoil_the_thread() -> None:
    graph = build_graph(ScriptedModel(answer("1"), answer("2")), checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": "first"}, THREAD)
    with pytest.raises(ValueError, match="role"):
        await graph.ainvoke({"messages": [{"text": "hello"}]}, THREAD)
    result = await graph.ainvoke({"messages": "second"}, THREAD)
    assert [m.content for m in result["messages"]] == ["first", "1", "second", "2"]


async def test_overwriting_the_messages() -> None:
    graph = build_graph(ScriptedModel(answer("1"), answer("2")), checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": "first"}, THREAD)
    result = await graph.ainvoke({"messages": Overwrite([{"role": "user", "content": "anew"}])}, THREAD)
    assert [(m.type, m.content) for m in result["messages"]] == [("human", "anew"), ("ai", "2")]
    assert (await graph.aget_state(THREAD)).values["messages"] == result["messages"]


async def test_ids_survive_a_replay() -> None:
    graph = build_graph(ScriptedModel(answer("1"), answer("2")), checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": "first"}, THREAD)
    result = await graph.ainvoke({"messages": [("user", "second")]}, THREAD)
    for _ in range(2):
        assert (await graph.aget_state(THREAD)).values["messages"] == result["messages"]


CALLS = [
    {"name": "add", "args": {}, "id": "1", "type": "tool_call"},
    {"name": "add", "args": {}, "id": "2", "type": "tool_call"},
]
ASKS = AIMessage("", tool_calls=CALLS)
ONE, TWO = ToolMessage("one", tool_call_id="1"), ToolMessage("two", tool_call_id="2")


def test_turn_of() -> None:
    assert turn_of([]) == []
    assert turn_of([ASKS, ONE]) == [ASKS, ONE]
    assert turn_of([HumanMessage("a"), ASKS, HumanMessage("b"), ONE]) == [ONE]


def test_unanswered() -> None:
    assert unanswered([]) == []
    assert unanswered([ASKS]) == CALLS
    assert unanswered([ASKS, TWO]) == CALLS[:1]
    assert unanswered([ASKS, TWO, ONE]) == []
    assert unanswered([ASKS, HumanMessage("b")]) == []


MODEL_LISTS = st.lists(
    st.one_of(
        st.builds(lambda text: HumanMessage(text), TEXTS),
        st.builds(lambda text: SystemMessage(text), TEXTS),
        st.builds(
            lambda ids: AIMessage(
                "", tool_calls=[{"name": "add", "args": {}, "id": id_, "type": "tool_call"} for id_ in ids]
            ),
            st.lists(IDS, unique=True, max_size=3),
        ),
        st.builds(lambda id_: ToolMessage("result", tool_call_id=id_), IDS),
    ),
    max_size=12,
)


def assert_sound(messages: list[BaseMessage]) -> None:
    """Check that each call has one result, right after its message, and that there are no other results."""
    rest = list(messages)
    while rest:
        message = rest.pop(0)
        assert not isinstance(message, ToolMessage)
        if isinstance(message, AIMessage):
            results, rest = rest[: len(message.tool_calls)], rest[len(message.tool_calls) :]
            assert all(isinstance(result, ToolMessage) for result in results)
            answered = sorted(result.tool_call_id for result in results if isinstance(result, ToolMessage))
            assert answered == sorted(call["id"] or "" for call in message.tool_calls)


@given(MODEL_LISTS)
def test_a_repaired_list_is_sound(messages: list[BaseMessage]) -> None:
    sound = repaired(messages)
    assert_sound(sound)
    assert repaired(sound) == sound
    assert [m for m in sound if not isinstance(m, ToolMessage)] == [
        m for m in messages if not isinstance(m, ToolMessage)
    ]


def test_a_call_without_a_result_gets_one() -> None:
    human = HumanMessage("next")
    sound = repaired([ASKS, TWO, human])
    assert sound[:2] == [ASKS, TWO]
    assert isinstance(sound[2], ToolMessage)
    assert (sound[2].tool_call_id, sound[2].status) == ("1", "error")
    assert sound[2].content == "The call was cancelled before it finished."
    assert sound[3:] == [human]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_iterations": 0},
        {"max_iterations": 5001},
        {"max_iterations": 1.5},
        {"max_iterations": True},
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"temperature": "hot"},
        {"model": 4},
        {"system_prompt": None},
    ],
)
def test_a_context_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Context(**wrong)


def test_the_context_has_a_form() -> None:
    properties = build_graph(ScriptedModel()).get_context_jsonschema()["properties"]  # type: ignore[index]
    assert list(properties) == ["model", "temperature", "system_prompt", "max_iterations"]
    assert properties["max_iterations"]["minimum"] == 1
    assert all(field["description"] for field in properties.values())


class NumberingSaver(AsyncSqliteSaver):
    """Numbers a channel's versions, as savers do by default and the service's does; LangGraph's writes texts of 49."""

    get_next_version = BaseCheckpointSaver.get_next_version


async def test_a_thread_grows_linearly(tmp_path: Path) -> None:
    """200 turns of a question and an answer take at most 1.2 MB, and each the same."""
    replies = [answer(f"The answer to question {n} is one hundred and seventy-five, as was asked.") for n in range(200)]
    path = tmp_path / "thread.sqlite"
    sizes = [0]
    async with NumberingSaver.from_conn_string(str(path)) as saver:
        graph = build_graph(ScriptedModel(*replies), checkpointer=saver)
        for turn in range(1, 201):
            await graph.ainvoke({"messages": [{"role": "user", "content": "What is 7 times 25?"}]}, THREAD)
            if turn % 50 == 0:
                await saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                sizes.append(path.stat().st_size)
        assert len((await graph.aget_state(THREAD)).values["messages"]) == 400
    assert sizes[-1] <= 1_200_000
    growth = [after - before for before, after in pairwise(sizes[1:])]
    assert max(growth) <= 1.1 * min(growth)


async def test_the_answer_of_a_turn_is_gone_when_the_next_begins() -> None:
    saver = InMemorySaver()
    graph = build_graph(ScriptedModel(say("1"), say("2")), checkpointer=saver)
    await graph.ainvoke({"messages": "first"}, THREAD)
    assert (await graph.aget_state(THREAD)).values["final_answer"] == {"answer": "1", "tools_used": []}
    values = [v async for v in graph.astream({"messages": "second"}, THREAD, stream_mode="values")]
    assert [value.get("final_answer") for value in values] == [None, None, {"answer": "2", "tools_used": []}]
