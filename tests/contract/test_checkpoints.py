"""What the saver leaves out and rollbacks, copies and prunes of threads need."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base import id as checkpoint_id
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from api.errors import FencedError, ThreadlineError
from api.storage.sql import queries
from api.storage.sqlite.checkpoints import SqliteCheckpoints, open_checkpoints
from api.storage.sqlite.space import vacuum


async def test_deleting_a_runs_checkpoints_restores_the_state_before_it(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda state: {"messages": [("ai", f"reply {len(state['messages'])}")]})
        builder.add_edge(START, "reply")
        graph: Any = builder.compile(checkpointer=checkpoints)
        thread = {"thread_id": "thread"}
        await graph.ainvoke({"messages": "one"}, {"configurable": thread, "metadata": {"run_id": "first"}})
        before = await graph.aget_state({"configurable": thread})
        await graph.ainvoke({"messages": "two"}, {"configurable": thread, "metadata": {"run_id": "second"}})
        other = {"configurable": {"thread_id": "other"}, "metadata": {"run_id": "third"}}
        await graph.ainvoke({"messages": "elsewhere"}, other)

        await checkpoints.adelete_for_runs(["second", "unknown"])

        assert await graph.aget_state({"configurable": thread}) == before
        assert len((await graph.aget_state(other)).values["messages"]) == 2
        after = await graph.ainvoke({"messages": "three"}, {"configurable": thread})
        assert [message.content for message in after["messages"]] == ["one", "reply 1", "three", "reply 3"]
        orphans = (
            "SELECT count(*) FROM writes WHERE (thread_id, checkpoint_id) NOT IN "
            "(SELECT thread_id, checkpoint_id FROM checkpoints)"
        )
        assert _rows(tmp_path, orphans) == [(0,)]


async def test_a_large_state_is_not_read_on_the_loop(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda _: {"messages": [("ai", "b")]})
        builder.add_edge(START, "reply")
        graph: Any = builder.compile(checkpointer=checkpoints)
        read_on: list[bool] = []
        loads = checkpoints.serde.loads_typed

        def noted(data: tuple[str, bytes]) -> Any:
            read_on.append(threading.current_thread() is threading.main_thread())
            return loads(data)

        checkpoints.serde.loads_typed = noted  # type: ignore[method-assign]
        for text in ("a", "a" * 100_000):
            config = {"configurable": {"thread_id": text[:9]}}
            await graph.ainvoke({"messages": text}, config)
            read_on.clear()
            assert (await graph.aget_state(config)).values["messages"][0].content == text
            assert set(read_on) == {len(text) == 1}


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("checkpoints", {"parent_checkpoint_id", "type", "checkpoint", "metadata"}),
        ("writes", {"task_id", "task_path", "idx", "channel", "type", "value"}),
    ],
)
async def test_tables_are_as_the_statements_know_them(tmp_path: Path, table: str, columns: set[str]) -> None:
    async with _opened(tmp_path):
        found = {row[1] for row in _rows(tmp_path, f"PRAGMA table_info({table})")}
    assert found == {"thread_id", "checkpoint_ns", "checkpoint_id"} | columns


@contextlib.asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[SqliteCheckpoints]:
    async with open_checkpoints(folder / "checkpoints.sqlite") as checkpoints:
        yield checkpoints


def _rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "checkpoints.sqlite")) as connection:
        return connection.execute(statement).fetchall()


def _counting(checkpoints: SqliteCheckpoints, *, frequency: int = 1000) -> Any:
    """A graph whose lists are kept as changes, in a child graph too, with two nodes that write at the same time."""

    class Counted(TypedDict, total=False):
        trail: Annotated[list[str], DeltaChannel(_appended, snapshot_frequency=frequency)]

    child: Any = StateGraph(Counted).add_node("inner", lambda _: {"trail": ["inner"]}).add_edge(START, "inner")
    builder: Any = StateGraph(Counted)
    builder.add_node("first", lambda found: {"trail": [f"first {len(found['trail'])}"]})
    builder.add_node("second", lambda _: {"trail": ["second"]})
    builder.add_node("child", child.compile())
    builder.add_node("ask", lambda _: {"trail": [f"asked: {interrupt('Go on?')}"]})
    for node in ("first", "second"):
        builder.add_edge(START, node).add_edge(node, "child")
    return builder.add_edge("child", "ask").compile(checkpointer=checkpoints)


def _appended(trail: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*trail, *(word for write in writes for word in write)]


async def _turns(graph: Any, thread_id: str, count: int) -> list[str]:
    config = {"configurable": {"thread_id": thread_id}}
    for turn in range(count):
        await graph.ainvoke({"trail": [f"turn {turn}"]}, config)
        await graph.ainvoke(Command(resume="yes"), config)
    return list((await graph.aget_state(config)).values["trail"])


async def _history(graph: Any, thread_id: str) -> list[Any]:
    return [
        (state.values, state.next, [(task.id, task.interrupts) for task in state.tasks], state.created_at)
        async for state in graph.aget_state_history({"configurable": {"thread_id": thread_id}})
    ]


async def _threads_in_metadata(checkpoints: SqliteCheckpoints, thread_id: str) -> set[Any]:
    found = checkpoints.alist({"configurable": {"thread_id": thread_id}})
    return {dict(each.metadata).get("thread_id") async for each in found}


async def test_copy_has_the_whole_history_and_goes_its_own_way(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        graph = _counting(checkpoints)
        await _turns(graph, "source", 2)
        await graph.ainvoke({"trail": ["waits"]}, {"configurable": {"thread_id": "source"}})
        before = await _history(graph, "source")

        await checkpoints.acopy_thread("source", "target")

        assert await _history(graph, "target") == before
        resumed = await graph.ainvoke(Command(resume="in the copy"), {"configurable": {"thread_id": "target"}})
        assert resumed["trail"][-1] == "asked: in the copy"
        assert await _history(graph, "source") == before
        assert await _threads_in_metadata(checkpoints, "target") == {"target"}


@pytest.mark.parametrize(("frequency", "kept"), [(1, 1), (5, 3), (1000, 15)])
async def test_keeping_the_latest_loses_nothing_of_it(tmp_path: Path, frequency: int, kept: int) -> None:
    async with _opened(tmp_path) as checkpoints:
        graph = _counting(checkpoints, frequency=frequency)
        trail = await _turns(graph, "pruned", 3)
        other = await _turns(graph, "other", 1)
        history = await _history(graph, "other")

        await checkpoints.aprune(["pruned", "unknown"])

        assert len(await _history(graph, "pruned")) == kept
        assert await _turns(graph, "pruned", 0) == trail
        assert (await _turns(graph, "pruned", 1))[: len(trail)] == trail
        assert (await _turns(graph, "other", 0), await _history(graph, "other")) == (other, history)


async def test_keeping_the_latest_deletes_what_is_before_a_stored_value(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        builder: Any = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": "hello"})
        builder.add_edge(START, "reply")
        graph: Any = builder.compile(checkpointer=checkpoints)
        config: Any = {"configurable": {"thread_id": "thread"}}
        for _ in range(60):
            await graph.ainvoke({"messages": "hi"}, config)
        latest = await graph.aget_state(config)

        await checkpoints.aprune(["thread"], strategy="keep_latest")

        assert await graph.aget_state(config) == latest
        assert len(await _history(graph, "thread")) == 1
        await checkpoints.aprune(["thread"], strategy="delete")
        assert await _history(graph, "thread") == []


async def test_keeping_the_latest_keeps_what_waits_in_a_graph_inside(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        child: Any = StateGraph(MessagesState).add_node("ask", lambda _: {"messages": interrupt("?")})
        builder: Any = StateGraph(MessagesState).add_node("child", child.add_edge(START, "ask").compile())
        builder.add_edge(START, "child")
        graph: Any = builder.compile(checkpointer=checkpoints)
        config: Any = {"configurable": {"thread_id": "thread"}}
        await graph.ainvoke({"messages": "hi"}, config)

        await checkpoints.aprune(["thread"])

        assert (await graph.aget_state(config, subgraphs=True)).tasks[0].state.next == ("ask",)
        after = await graph.ainvoke(Command(resume="yes"), config)
        assert [message.content for message in after["messages"]] == ["hi", "yes"]


async def test_failed_statement_changes_nothing(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        graph = _counting(checkpoints)
        await _turns(graph, "source", 1)
        _rows(tmp_path, "DROP TABLE writes")

        with pytest.raises(ThreadlineError):
            await checkpoints.acopy_thread("source", "target")

        assert _rows(tmp_path, "SELECT count(*) FROM checkpoints WHERE thread_id = 'target'") == [(0,)]


async def test_metadata_says_where_a_checkpoint_was_made(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        await _turns(_counting(checkpoints), "thread", 1)

        assert await _threads_in_metadata(checkpoints, "thread") == {"thread"}


async def test_plain_function_runs_a_graph_of_its_own_with_the_same_saver(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        inner = _counting(checkpoints)

        def run_inner(_: Any) -> dict[str, str]:
            config: Any = {"configurable": {"thread_id": "inner"}}
            inner.invoke({"trail": ["sync"]}, config)
            inner.invoke(Command(resume="yes"), config)
            assert len(list(inner.get_state_history(config))) > 3
            return {"messages": inner.get_state(config).values["trail"][-1]}

        builder: Any = StateGraph(MessagesState).add_node("run", run_inner).add_edge(START, "run")
        graph = builder.compile(checkpointer=checkpoints)
        done = await graph.ainvoke({"messages": "go"}, {"configurable": {"thread_id": "outer"}})
        assert done["messages"][-1].content == "asked: yes"
        await asyncio.to_thread(checkpoints.delete_thread, "inner")
        assert await _history(inner, "inner") == []
        with pytest.raises(asyncio.InvalidStateError):
            checkpoints.get_tuple({"configurable": {"thread_id": "inner"}})


async def test_thread_of_langgraphs_own_saver_goes_on(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "checkpoints.sqlite", check_same_thread=False)) as connection:
        graph = _counting(SqliteSaver(connection))  # type: ignore[arg-type]
        config: Any = {"configurable": {"thread_id": "thread"}}
        graph.invoke({"trail": ["before"]}, config)
    async with _opened(tmp_path) as checkpoints:
        graph = _counting(checkpoints)
        done = await graph.ainvoke(Command(resume="yes"), config)
        assert done["trail"][0] == "before"
        assert done["trail"][-1] == "asked: yes"
        assert (await _turns(graph, "thread", 1))[: len(done["trail"])] == done["trail"]
        assert len([found async for found in checkpoints.alist(config, limit=3)]) == 3


async def test_listing_goes_on_past_a_page(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        builder: Any = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": "hello"})
        graph: Any = builder.add_edge(START, "reply").compile(checkpointer=checkpoints)
        config: Any = {"configurable": {"thread_id": "thread"}}
        for _ in range(45):
            await graph.ainvoke({"messages": "hi"}, config)
        everything = [found.config async for found in checkpoints.alist(config)]
        assert len(everything) == 45 * 3
        assert [found.config async for found in checkpoints.alist(config, limit=110)] == everything[:110]
        older = checkpoints.alist(config, before=everything[20], filter={"source": "input"}, limit=2)
        assert [found.metadata["source"] async for found in older] == ["input", "input"]


@pytest.mark.parametrize("name", ["delete_writes_of_runs", "delete_checkpoints_of_runs"])
async def test_rollback_does_not_walk_through_all_threads(tmp_path: Path, name: str) -> None:
    async with _opened(tmp_path):
        statement = queries("checkpoints.sql")[name].replace(":run_ids", "'[]'")
        plan = " ".join(row[3] for row in _rows(tmp_path, f"EXPLAIN QUERY PLAN {statement}"))
    assert "threadline_checkpoints_of_run" in plan
    assert "SCAN checkpoints" not in plan
    assert "SCAN writes" not in plan


class _Clock:
    """What LangGraph makes ids of, for a test that sets it back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._offset = 0

    def set_back(self, seconds: float) -> None:
        """As over a restart: what has been given out before is forgotten."""
        self._offset -= int(seconds * 1e9)
        offset = self._offset
        self._monkeypatch.setattr(checkpoint_id.time, "time_ns", lambda: time.clock_gettime_ns(0) + offset)
        self._monkeypatch.setattr(checkpoint_id, "_last_v6_timestamp", None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


async def _put(checkpoints: SqliteCheckpoints, *ids: str, namespace: str = "") -> None:
    for each in ids:
        config: Any = {"configurable": {"thread_id": "thread", "checkpoint_ns": namespace}}
        await checkpoints.aput(config, {**empty_checkpoint(), "id": each}, {"source": "loop"}, {})


async def _listed(checkpoints: SqliteCheckpoints, namespace: str = "", **options: Any) -> list[str]:
    config: Any = {"configurable": {"thread_id": "thread", "checkpoint_ns": namespace}}
    return [found.checkpoint["id"] async for found in checkpoints.alist(config, **options)]


def _before(checkpoint_id: str) -> dict[str, Any]:
    return {"configurable": {"checkpoint_id": checkpoint_id}}


async def test_latest_is_what_was_stored_last_whatever_its_id(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        await _put(checkpoints, "5", "7", "3")
        await _put(checkpoints, "9", namespace="child")

        latest = await checkpoints.aget_tuple({"configurable": {"thread_id": "thread", "checkpoint_ns": ""}})
        assert latest is not None
        assert latest.config["configurable"] == {"thread_id": "thread", "checkpoint_ns": "", "checkpoint_id": "3"}
        assert await _listed(checkpoints) == ["3", "7", "5"]
        assert await _listed(checkpoints, before=_before("3"), limit=1) == ["7"]
        # A checkpoint that is stored again is no later for that.
        await _put(checkpoints, "7")
        assert await _listed(checkpoints) == ["3", "7", "5"]
        # Another place than a checkpoint's of this namespace: what was made before it, as far as can be told.
        assert await _listed(checkpoints, before=_before("6")) == ["3", "5"]
        await _put(checkpoints, "8", namespace="child")
        await _put(checkpoints, "4")
        assert await _listed(checkpoints, "child", before=_before("4")) == []
        assert await _listed(checkpoints, "child", before=_before("7")) == []
        assert [found.checkpoint["id"] async for found in checkpoints.alist(None, limit=2)] == ["4", "8"]


async def test_order_outlives_a_copy_of_the_thread_and_a_vacuum(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:
        await _put(checkpoints, *(str(number) for number in range(30)))
        await checkpoints.adelete_for_runs(["none"])
        await _put(checkpoints, "9a", "7a", "5a")
        await checkpoints.acopy_thread("thread", "copy")
        listed = await _listed(checkpoints)
        found = checkpoints.alist({"configurable": {"thread_id": "copy"}})
        assert [each.checkpoint["id"] async for each in found] == listed
        await checkpoints.adelete_thread("thread")
        await checkpoints.acopy_thread("copy", "thread")
    vacuum(tmp_path / "checkpoints.sqlite")
    async with _opened(tmp_path) as checkpoints:
        assert await _listed(checkpoints) == listed
        await checkpoints.aprune(["thread"])
        assert await _listed(checkpoints) == ["5a"]


async def test_turns_after_the_clock_was_set_back_follow_those_before(tmp_path: Path, clock: _Clock) -> None:
    trail: list[str] = []
    for turn in range(3):
        async with _opened(tmp_path) as checkpoints:
            graph = _counting(checkpoints)
            before = trail
            trail = await _turns(graph, "thread", 1)
            assert trail[: len(before)] == before, turn
            assert len(trail) > len(before)
            clock.set_back(45)
    async with _opened(tmp_path) as checkpoints:
        graph = _counting(checkpoints)
        history = [each async for each in graph.aget_state_history({"configurable": {"thread_id": "thread"}})]
        assert history[0].values["trail"] == trail
        assert [len(each.values.get("trail", [])) for each in history] == sorted(
            (len(each.values.get("trail", [])) for each in history), reverse=True
        )
        # The middle one, as a client pages.
        config: Any = {"configurable": {"thread_id": "thread"}}
        older = [each.config async for each in graph.aget_state_history(config, before=history[7].config)]
        assert older == [each.config for each in history[8:]]
        await checkpoints.aprune(["thread"])
        assert await _turns(graph, "thread", 0) == trail
        await checkpoints.acopy_thread("thread", "copy")
        assert await _turns(graph, "copy", 0) == trail


async def test_fence_holds_after_the_clock_was_set_back(tmp_path: Path) -> None:
    async with _opened(tmp_path) as checkpoints:

        async def put(checkpoint: str, attempt: int) -> None:
            config: Any = {
                "configurable": {"thread_id": "thread", "checkpoint_ns": ""},
                "metadata": {"run_id": "run", "run_attempt": attempt},
            }
            await checkpoints.aput(config, {**empty_checkpoint(), "id": checkpoint}, {"source": "loop"}, {})

        await put("5", 1)
        await put("3", 2)
        with pytest.raises(FencedError):
            await put("6", 1)
        assert await _listed(checkpoints) == ["3", "5"]
