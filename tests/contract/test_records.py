"""Threads and runs as rows."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import ConflictError
from api.events import Entry
from api.schemas import Json, Run
from api.storage.base import Storage
from tests.contract.backends import DONE, claimed, enqueued, make_run, make_thread
from tests.contract.conftest import Open


async def finished(storage: Storage, events: int = 0) -> Run:
    run = await claimed(storage)
    if events:
        await storage.log.append(run.run_id, run.attempt, [Entry("token", b"{}")] * events)
        await storage.log.flush(run.run_id)
    await storage.queue.finish(run.run_id, run.attempt, DONE, events=events)
    return run


async def test_thread_comes_back_as_it_was(storage: Storage, open_storage: Open) -> None:
    thread = make_thread(
        created_at=datetime(2025, 3, 30, 1, 59, 59, 999_999, tzinfo=UTC),
        metadata={"name": "naïve ☃", "nested": {"a": [1, 2.5, None, True]}, "nul": "\x00"},
        status="interrupted",
        config={"configurable": {"model": "m"}},
        values=b'{"messages":[]}',
        interrupts=b'{"task":[]}',
        error="bad",
        events=7,
    )

    assert await storage.records.create_thread(thread) is None

    assert await storage.records.get_thread(thread.thread_id) == thread
    another = await open_storage()
    assert await another.records.get_thread(thread.thread_id) == thread


async def test_run_comes_back_as_it_was(storage: Storage) -> None:
    thread = make_thread()
    due = datetime(2999, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    run = make_run(thread.thread_id, metadata={"a": "b"}, kwargs={"input": {"messages": ["☃"]}}, due_at=due)

    await storage.queue.enqueue(run, thread=thread)

    assert await storage.records.get_run(run.run_id) == run


async def test_create_thread_returns_the_one_that_is_there(storage: Storage) -> None:
    thread = make_thread(metadata={"first": True})
    await storage.records.create_thread(thread)

    assert await storage.records.create_thread(make_thread(thread_id=thread.thread_id)) == thread
    assert await storage.records.get_thread(thread.thread_id) == thread


async def test_what_does_not_exist(storage: Storage) -> None:
    missing = str(uuid.uuid4())

    assert await storage.records.get_thread(missing) is None
    assert await storage.records.patch_thread(missing, {"a": 1}) is None
    assert await storage.records.delete_thread(missing) is False
    assert await storage.records.get_run(missing) is None
    assert await storage.records.delete_run(missing) is False
    assert await storage.records.list_runs(missing) == []


async def test_patch_merges_top_level_keys(storage: Storage) -> None:
    thread = make_thread(metadata={"keep": 1, "change": {"old": 1}, "clear": 1})
    await storage.records.create_thread(thread)

    patched = await storage.records.patch_thread(thread.thread_id, {"change": {"new": 2}, "clear": None, "add": []})

    assert patched is not None
    assert patched.metadata == {"keep": 1, "change": {"new": 2}, "clear": None, "add": []}
    assert patched.updated_at > thread.updated_at
    assert await storage.records.get_thread(thread.thread_id) == patched


async def test_search_is_newest_first_and_pages(storage: Storage) -> None:
    threads = [make_thread() for _ in range(5)]
    for thread in threads:
        await storage.records.create_thread(thread)

    found = await storage.records.search_threads(limit=2, offset=1)

    assert [thread.thread_id for thread in found] == [threads[3].thread_id, threads[2].thread_id]


async def test_search_by_status(storage: Storage) -> None:
    idle, failed = make_thread(), make_thread(status="error")
    await storage.records.create_thread(idle)
    await storage.records.create_thread(failed)

    assert await storage.records.search_threads(status="error") == [failed]
    assert await storage.records.search_threads(status="busy") == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"user": "ann"}, True),
        ({"user": "ann", "tier": 1}, True),
        ({"nested": {"a": 1}}, True),
        ({"nested": {}}, True),
        ({"none": None}, True),
        ({"on": True}, True),
        ({'quo"te.d': "x"}, True),
        ({}, True),
        ({"user": "bob"}, False),
        ({"user": "ann", "tier": 2}, False),
        ({"tier": "1"}, False),
        ({"on": 1}, False),
        ({"nested": {"a": 2}}, False),
        ({"nested": {"a": 1, "c": 3}}, False),
        ({"absent": None}, False),
        ({"user": None}, False),
    ],
)
async def test_search_by_metadata(storage: Storage, wanted: Json, found: bool) -> None:
    nested = {"a": 1, "b": 2}
    metadata = {"user": "ann", "tier": 1, "nested": nested, "none": None, "on": True, 'quo"te.d': "x"}
    thread = make_thread(metadata=metadata)
    await storage.records.create_thread(thread)

    assert await storage.records.search_threads(metadata=wanted) == ([thread] if found else [])


_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
_METADATA = st.dictionaries(
    st.text(max_size=6), _SCALARS | st.dictionaries(st.text(max_size=4), _SCALARS, max_size=3), max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=_METADATA, data=st.data())
async def test_any_part_of_the_metadata_finds_it(storage: Storage, metadata: Json, data: Any) -> None:
    thread = make_thread(metadata=metadata)
    await storage.records.create_thread(thread)
    keys = data.draw(st.sets(st.sampled_from(sorted(metadata)))) if metadata else set()

    found = await storage.records.search_threads(metadata={key: metadata[key] for key in keys}, limit=1000)

    assert thread in found


async def test_runs_are_listed_newest_first_by_status(storage: Storage) -> None:
    thread = make_thread()
    runs = [await enqueued(storage, thread) for _ in range(4)]
    await finished(storage)

    listed = await storage.records.list_runs(thread.thread_id)
    pending = await storage.records.list_runs(thread.thread_id, status="pending", limit=1, offset=1)

    assert [run.run_id for run in listed] == [run.run_id for run in reversed(runs)]
    assert [run.run_id for run in pending] == [runs[2].run_id]
    assert [run.run_id for run in await storage.records.list_runs(thread.thread_id, status="success")] == [
        runs[0].run_id
    ]


async def test_deleting_a_thread_takes_its_runs_and_events(storage: Storage, open_storage: Open) -> None:
    kept = await finished(storage, events=3)
    run = await finished(storage, events=3)

    assert await storage.records.delete_thread(run.thread_id) is True

    for client in (storage, await open_storage()):
        assert await client.records.get_thread(run.thread_id) is None
        assert await client.records.get_run(run.run_id) is None
        assert list(await client.log.read(run.run_id, 0)) == []
        assert await client.log.last_seq(run.run_id) == 0
        assert len(await client.log.read(kept.run_id, 0)) == 3


async def test_deleting_a_run_takes_its_events_and_leaves_the_thread(storage: Storage) -> None:
    run = await finished(storage, events=3)

    assert await storage.records.delete_run(run.run_id) is True

    assert await storage.records.get_run(run.run_id) is None
    assert list(await storage.log.read(run.run_id, 0)) == []
    assert await storage.records.get_thread(run.thread_id) is not None


async def test_what_is_under_way_cannot_be_deleted(storage: Storage) -> None:
    thread = make_thread()
    running, pending = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)

    for run in (running, pending):
        with pytest.raises(ConflictError):
            await storage.records.delete_run(run.run_id)
        with pytest.raises(ConflictError):
            await storage.records.delete_thread(thread.thread_id)

    assert await storage.records.get_run(running.run_id) is not None
    assert await storage.records.get_run(pending.run_id) is not None
