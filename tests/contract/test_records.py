"""Threads and runs as rows."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import ConflictError
from api.events import Entry
from api.schemas import Json, Run, Thread, ThreadSort, Ttl
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
        state_updated_at=datetime(2025, 3, 30, 2, 0, tzinfo=UTC),
        ttl=Ttl("keep_latest", 1.5, datetime(2999, 1, 1, tzinfo=UTC)),
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


async def test_patch_replaces_the_ttl_only_if_one_is_given(storage: Storage) -> None:
    first, second = (Ttl("delete", minutes, datetime(2999, 1, 1, tzinfo=UTC)) for minutes in (1.0, 2.0))
    thread = make_thread(ttl=first)
    await storage.records.create_thread(thread)

    kept = await storage.records.patch_thread(thread.thread_id, {"a": 1})
    replaced = await storage.records.patch_thread(thread.thread_id, {}, ttl=second)

    assert kept is not None
    assert kept.ttl == first
    assert replaced is not None
    assert replaced.ttl == second
    await storage.records.clear_ttl(thread.thread_id)
    cleared = await storage.records.get_thread(thread.thread_id)
    assert cleared is not None
    assert cleared.ttl is None


async def test_threads_expire_when_no_run_is_under_way(storage: Storage) -> None:
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    expired, busy = (make_thread(ttl=Ttl("delete", 1.0, past)) for _ in range(2))
    later = make_thread(ttl=Ttl("delete", 1.0, future))
    for thread in (expired, later, make_thread()):
        await storage.records.create_thread(thread)
    await enqueued(storage, busy)

    assert await storage.records.expired_threads() == [expired]
    assert await storage.records.next_expiry() == past
    await storage.records.delete_thread(expired.thread_id)
    assert await storage.records.next_expiry() == future
    await finished(storage)
    assert [thread.thread_id for thread in await storage.records.expired_threads()] == [busy.thread_id]
    assert await storage.records.expired_threads(limit=0) == []


async def test_nothing_expires_by_itself(storage: Storage) -> None:
    await storage.records.create_thread(make_thread())

    assert await storage.records.next_expiry() is None
    assert await storage.records.expired_threads() == []


async def test_update_of_the_state_is_recorded(storage: Storage) -> None:
    thread = make_thread(status="error", error='{"error":"x"}', values=b'{"a":1}')
    await storage.records.create_thread(thread)
    set_state = storage.records.set_thread_state

    changed = await set_state(thread.thread_id, status="interrupted", values=b'{"a":2}', interrupts=b'{"t":[]}')
    kept = await set_state(thread.thread_id, status="idle", values=None, interrupts=b"{}")

    assert changed is not None
    assert kept is not None
    assert (changed.status, changed.values, changed.interrupts, changed.error) == (
        "interrupted",
        b'{"a":2}',
        b'{"t":[]}',
        None,
    )
    assert changed.updated_at == changed.state_updated_at
    assert changed.updated_at > thread.updated_at
    assert (kept.status, kept.values) == ("idle", b'{"a":2}')
    assert await set_state(str(uuid.uuid4()), status="idle", values=None, interrupts=b"{}") is None


async def test_thread_with_a_run_stays_busy_when_its_state_is_updated(storage: Storage) -> None:
    run = await enqueued(storage)

    changed = await storage.records.set_thread_state(run.thread_id, status="idle", values=None, interrupts=b"{}")

    assert changed is not None
    assert changed.status == "busy"


async def test_end_of_a_run_dates_the_state(storage: Storage) -> None:
    run = await enqueued(storage)
    before = await storage.records.get_thread(run.thread_id)
    await finished(storage)
    after = await storage.records.get_thread(run.thread_id)

    assert before is not None
    assert before.state_updated_at is None
    assert after is not None
    assert after.state_updated_at == after.updated_at


async def test_search_is_last_changed_first_and_pages(storage: Storage) -> None:
    threads = [make_thread() for _ in range(5)]
    for thread in threads:
        await storage.records.create_thread(thread)
    await storage.records.patch_thread(threads[0].thread_id, {})

    found, total = await storage.records.search_threads(limit=2, offset=1)

    assert [thread.thread_id for thread in found] == [threads[4].thread_id, threads[3].thread_id]
    assert total == 5
    assert await storage.records.search_threads(limit=2, offset=5) == ([], 5)
    assert await storage.records.search_threads(limit=0) == ([], 5)


async def test_search_by_status_and_ids(storage: Storage) -> None:
    idle, failed = make_thread(), make_thread(status="error")
    await storage.records.create_thread(idle)
    await storage.records.create_thread(failed)

    assert await storage.records.search_threads(status="error") == ([failed], 1)
    assert await storage.records.search_threads(status="busy") == ([], 0)
    assert await storage.records.search_threads(ids=[idle.thread_id, str(uuid.uuid4())]) == ([idle], 1)
    assert await storage.records.search_threads(ids=[idle.thread_id], status="error") == ([], 0)


@pytest.mark.parametrize(
    ("sort_by", "ascending"),
    [
        ("thread_id", "bca"),
        ("status", "acb"),
        ("created_at", "abc"),
        ("updated_at", "bca"),
        ("state_updated_at", "acb"),
    ],
)
async def test_search_sorts(storage: Storage, sort_by: ThreadSort, ascending: str) -> None:
    for thread in _differing():
        await storage.records.create_thread(thread)

    up, _ = await storage.records.search_threads(sort_by=sort_by, descending=False)
    down, _ = await storage.records.search_threads(sort_by=sort_by)

    assert "".join(thread.metadata["name"] for thread in up) == ascending
    assert [thread.thread_id for thread in down] == [thread.thread_id for thread in reversed(up)]


def _differing() -> list[Thread]:
    """Threads a, b and c, in another order by each field."""
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in range(10)[1:]]
    ids = [f"00000000-0000-0000-0000-00000000000{digit}" for digit in range(4)]
    return [
        Thread(ids[3], days[0], days[7], {"name": "a"}, "busy"),
        Thread(ids[1], days[1], days[5], {"name": "b"}, "interrupted", state_updated_at=days[5]),
        Thread(ids[2], days[2], days[6], {"name": "c"}, "idle"),
    ]


async def test_equals_stay_in_the_order_of_creation(storage: Storage) -> None:
    threads = [make_thread() for _ in range(3)]
    for thread in threads:
        await storage.records.create_thread(thread)

    for descending in (True, False):
        found, _ = await storage.records.search_threads(sort_by="status", descending=descending)
        assert found == threads


async def test_search_by_values(storage: Storage) -> None:
    thread = make_thread(values=b'{"topic":"cats","draft":{"words":3},"votes":["a","b"]}')
    for each in (thread, make_thread(values=b'{"topic":"dogs"}'), make_thread()):
        await storage.records.create_thread(each)

    for values in ({"topic": "cats"}, {"draft": {"words": 3}}, {"votes": ["a", "b"]}):
        assert await storage.records.search_threads(values=values) == ([thread], 1)
    for values in ({"topic": "ants"}, {"votes": ["a"]}, {"votes": ["b", "a"]}):
        assert await storage.records.search_threads(values=values) == ([], 0)


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
        ({"tags": ["a", {"b": 1}]}, True),
        ({"tags": ["a"]}, False),
        ({"tags": []}, False),
    ],
)
async def test_search_by_metadata(storage: Storage, wanted: Json, found: bool) -> None:
    nested = {"a": 1, "b": 2}
    metadata = {"user": "ann", "tier": 1, "nested": nested, "none": None, "on": True, 'quo"te.d': "x"}
    metadata["tags"] = ["a", {"b": 1}]
    thread = make_thread(metadata=metadata)
    await storage.records.create_thread(thread)

    assert await storage.records.search_threads(metadata=wanted) == (([thread], 1) if found else ([], 0))


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

    found, _ = await storage.records.search_threads(metadata={key: metadata[key] for key in keys}, limit=1000)

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
