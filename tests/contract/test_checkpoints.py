"""What the saver leaves out and a rollback needs."""

from pathlib import Path

import aiosqlite
import pytest
from langgraph.graph import START, MessagesState, StateGraph

from api.storage.sqlite.checkpoints import SqliteCheckpoints


async def test_deleting_a_runs_checkpoints_restores_the_state_before_it(tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "checkpoints.sqlite") as connection:
        checkpoints = SqliteCheckpoints(connection)
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda state: {"messages": [("ai", f"reply {len(state['messages'])}")]})
        builder.add_edge(START, "reply")
        graph = builder.compile(checkpointer=checkpoints)
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
        left = await connection.execute_fetchall(
            "SELECT count(*) FROM writes WHERE (thread_id, checkpoint_id) NOT IN "
            "(SELECT thread_id, checkpoint_id FROM checkpoints)"
        )
        assert next(iter(left))[0] == 0


@pytest.mark.parametrize("table", ["checkpoints", "writes"])
async def test_tables_are_as_the_statements_know_them(tmp_path: Path, table: str) -> None:
    async with aiosqlite.connect(tmp_path / "checkpoints.sqlite") as connection:
        await SqliteCheckpoints(connection).setup()
        columns = {row[1] for row in await connection.execute_fetchall(f"PRAGMA table_info({table})")}
        assert columns >= {"thread_id", "checkpoint_ns", "checkpoint_id"}
