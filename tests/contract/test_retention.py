"""What is found to be old, and that it goes in steps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from langgraph.graph import START, MessagesState, StateGraph

from api.events import Entry
from api.schemas import Run, Ttl
from api.storage.base import Storage
from api.storage.sqlite.checkpoints import open_checkpoints
from tests.contract.backends import DONE, WORKER, claimed, enqueued, make_run, make_thread


async def _ended(storage: Storage) -> Run:
    run = await claimed(storage)
    await storage.log.append(run.run_id, 1, [Entry("token", b"{}")])
    await storage.log.flush(run.run_id)
    await storage.queue.finish(run.run_id, 1, DONE, events=1)
    return run


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


async def test_ended_runs_are_found_by_their_end(storage: Storage) -> None:
    first = await _ended(storage)
    between = datetime.now(UTC)
    second = await _ended(storage)
    await claimed(storage)
    records = storage.records

    assert list(await records.ended_runs(between)) == [first.run_id]
    assert list(await records.ended_runs(_soon())) == [first.run_id, second.run_id]
    assert list(await records.ended_runs(_soon(), limit=1)) == [first.run_id]
    await storage.log.drop([first.run_id])
    assert list(await records.ended_runs(_soon(), with_events=True)) == [second.run_id]
    assert list(await records.ended_runs(_soon())) == [first.run_id, second.run_id]


async def test_runs_to_be_rolled_back_are_found_once_they_ended(storage: Storage) -> None:
    await _ended(storage)
    run = await claimed(storage)
    await storage.queue.request_cancel(run.run_id, "rollback")
    assert list(await storage.records.rolled_back_runs()) == []
    await storage.queue.finish(run.run_id, 1, DONE, events=0)
    assert list(await storage.records.rolled_back_runs()) == [run.run_id]
    assert list(await storage.records.rolled_back_runs(ended_before=run.created_at)) == []


async def test_temporary_threads_are_found_by_their_end(storage: Storage) -> None:
    run = await enqueued(storage, kwargs={"temporary": True})
    await storage.queue.claim(WORKER, 30)
    assert list(await storage.records.temporary_threads()) == []
    await storage.queue.finish(run.run_id, 1, DONE, events=0)
    assert list(await storage.records.temporary_threads()) == [run.thread_id]
    assert list(await storage.records.temporary_threads(ended_before=_soon())) == [run.thread_id]
    assert list(await storage.records.temporary_threads(ended_before=run.created_at)) == []


async def test_unchanged_threads_come_in_pages_without_those_under_way(storage: Storage) -> None:
    idle = sorted([(await _ended(storage)).thread_id for _ in range(3)])
    await claimed(storage)
    records = storage.records

    assert list(await records.unchanged_threads(_soon())) == idle
    assert list(await records.unchanged_threads(_soon(), limit=2)) == idle[:2]
    assert list(await records.unchanged_threads(_soon(), after=idle[1])) == idle[2:]
    assert list(await records.unchanged_threads(datetime(2020, 1, 1, tzinfo=UTC))) == []
    assert set(await records.known_threads([*idle, "nobody's"])) == set(idle)


async def test_ttl_that_was_cleared_begins_anew_with_the_next_run(storage: Storage) -> None:
    thread = make_thread(ttl=Ttl("keep_latest", 5.0, datetime(2020, 1, 1, tzinfo=UTC)))
    await storage.records.create_thread(thread)
    await storage.records.clear_ttl(thread.thread_id)
    assert await storage.records.next_expiry() is None

    await storage.queue.enqueue(make_run(thread.thread_id))

    found = await storage.records.get_thread(thread.thread_id)
    assert found is not None
    assert found.ttl is not None
    assert (found.ttl.strategy, found.ttl.minutes) == ("keep_latest", 5.0)
    assert timedelta(minutes=4) < found.ttl.expires_at - datetime.now(UTC) <= timedelta(minutes=5)


async def test_checkpoints_of_a_thread_go_in_steps(tmp_path: Path) -> None:
    async with open_checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda _: {"messages": [("ai", "word " * 50_000)]})
        builder.add_edge(START, "reply")
        graph = builder.compile(checkpointer=checkpoints)
        for thread_id in ("one", "two", "two", "two"):
            await graph.ainvoke({"messages": "hi"}, {"configurable": {"thread_id": thread_id}})
        assert list(await checkpoints.athread_ids()) == ["one", "two"]
        assert list(await checkpoints.athread_ids(limit=1)) == ["one"]
        assert list(await checkpoints.athread_ids(after="one")) == ["two"]

        await checkpoints.adelete_thread("two")

        assert list(await checkpoints.athread_ids()) == ["one"]
        assert (await graph.aget_state({"configurable": {"thread_id": "two"}})).values == {}
        assert len((await graph.aget_state({"configurable": {"thread_id": "one"}})).values["messages"]) == 2
