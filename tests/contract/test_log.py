"""The event log: every reader, from any cursor, sees the same events, each once, in order."""

import asyncio
import contextlib
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import FencedError, GapError
from api.events import Entry, Event
from api.schemas import Run
from api.storage.base import Storage
from tests.contract.backends import BACKENDS, DONE, WORKER, address, claimed, connect, enqueued
from tests.contract.conftest import Open


def entries(count: int, start: int = 1, size: int = 0) -> list[Entry]:
    """Entries that know their place."""
    return [Entry("token", b'{"n":%d}' % n + b" " * size) for n in range(start, start + count)]


async def written(storage: Storage, count: int, *, size: int = 0) -> Run:
    """A running run with durable events."""
    run = await claimed(storage)
    await storage.log.append(run.run_id, run.attempt, entries(count, size=size))
    assert await storage.log.flush(run.run_id) == count
    return run


async def read_all(storage: Storage, run_id: str, after: int = 0, limit: int = 1000) -> list[Event]:
    found: list[Event] = []
    while page := await storage.log.read(run_id, found[-1].seq if found else after, limit):
        assert len(page) <= limit
        found += page
    return found


async def append_and_flush(storage: Storage, run_id: str, attempt: int) -> None:
    """A stale attempt may notice only at the flush."""
    await storage.log.append(run_id, attempt, entries(1, start=99))
    await storage.log.flush(run_id)


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.seq for event in events]


async def test_events_come_back_as_they_were(storage: Storage, open_storage: Open) -> None:
    run = await claimed(storage)
    given_entries = [Entry("run", b"{}"), Entry("messages|outer:1|ïnner", b'"\xe2\x98\x83"'), Entry("", b"")]

    assert await storage.log.append(run.run_id, 1, given_entries[:1]) == 1
    assert await storage.log.append(run.run_id, 1, given_entries[1:]) == 3
    assert await storage.log.append(run.run_id, 1, []) == 3
    assert await storage.log.flush(run.run_id) == 3

    expected = [Event(seq, *item) for seq, item in enumerate(given_entries, 1)]
    for client in (storage, await open_storage()):
        assert list(await client.log.read(run.run_id, 0)) == expected
        assert list(await client.log.read(run.run_id, -1)) == expected
        assert list(await client.log.read(run.run_id, 1, limit=1)) == expected[1:2]
        assert list(await client.log.read(run.run_id, 3)) == []
        assert list(await client.log.read(run.run_id, 99)) == []
        assert await client.log.last_seq(run.run_id) == 3


async def test_runs_have_their_own_numbers(storage: Storage) -> None:
    runs = [await claimed(storage) for _ in range(20)]

    await asyncio.gather(*(storage.log.append(run.run_id, 1, entries(n)) for n, run in enumerate(runs)))

    for n, run in enumerate(runs):
        await storage.log.flush(run.run_id)
        assert numbers(await storage.log.read(run.run_id, 0)) == list(range(1, n + 1))


async def test_run_without_events(storage: Storage) -> None:
    run = await claimed(storage)

    for run_id in (run.run_id, str(uuid.uuid4())):
        assert list(await storage.log.read(run_id, 0)) == []
        assert await storage.log.last_seq(run_id) == 0
        assert await storage.log.flush(run_id) == 0
        assert await storage.log.wait(run_id, 0, 0.01) is False
        await storage.log.close_run(run_id)


async def test_long_run_is_read_in_pages(open_storage: Open) -> None:
    storage = await open_storage(tail_bytes=1 << 16)
    run = await written(storage, 5000, size=1000)

    first = await storage.log.read(run.run_id, 0, limit=5000)

    assert 0 < sum(len(event.data) for event in first) < 2 << 20
    assert [event.data for event in await read_all(storage, run.run_id, limit=5000)] == [
        item.data for item in entries(5000, size=1000)
    ]
    assert numbers(await read_all(storage, run.run_id, after=4321, limit=7)) == list(range(4322, 5001))


async def test_one_event_larger_than_a_page(open_storage: Open) -> None:
    storage = await open_storage(tail_bytes=1000, max_unflushed_bytes=1000)
    run = await claimed(storage)
    large = [Entry("custom", bytes([65 + n]) * (3 << 20)) for n in range(3)]

    await storage.log.append(run.run_id, 1, large)
    await storage.log.flush(run.run_id)

    assert [event.data for event in await read_all(storage, run.run_id)] == [item.data for item in large]


async def test_append_waits_while_too_much_is_not_durable(open_storage: Open) -> None:
    storage = await open_storage(max_unflushed_bytes=10_000)
    run = await claimed(storage)

    last = await storage.log.append(run.run_id, 1, entries(100, size=1000))

    assert await storage.log.last_seq(run.run_id) == last == 100


async def test_wait_returns_when_an_event_is_visible(storage: Storage) -> None:
    run = await claimed(storage)
    waiting = [asyncio.create_task(storage.log.wait(run.run_id, 0, 30)) for _ in range(5)]
    later = asyncio.create_task(storage.log.wait(run.run_id, 1, 30))

    await storage.log.append(run.run_id, 1, entries(1))

    assert await asyncio.gather(*waiting) == [True] * 5
    assert numbers(await storage.log.read(run.run_id, 0)) == [1]
    assert not later.done()
    await storage.log.append(run.run_id, 1, entries(1, start=2))
    assert await later is True


async def test_wait_returns_at_once_if_there_is_an_event(storage: Storage, open_storage: Open) -> None:
    run = await written(storage, 3)
    another = await open_storage()

    for client in (storage, another):
        assert await client.log.wait(run.run_id, 2, 30) is True
        assert await client.log.wait(run.run_id, 3, 0.01) is False


async def test_wait_begun_before_the_run_wakes(storage: Storage) -> None:
    run = await enqueued(storage)
    waiting = asyncio.create_task(storage.log.wait(run.run_id, 0, 30))
    await storage.log.wait(run.run_id, 0, 0.01)

    got = await claimed(storage)
    await storage.log.append(got.run_id, got.attempt, entries(1))

    assert await waiting is True


async def test_wait_that_times_out_has_seen_what_another_process_wrote(storage: Storage, open_storage: Open) -> None:
    writer = await open_storage()
    run = await claimed(writer)
    waiting = asyncio.create_task(storage.log.wait(run.run_id, 0, 0.2))
    await storage.log.wait(run.run_id, 0, 0.01)

    await writer.log.append(run.run_id, 1, entries(1))
    await writer.log.flush(run.run_id)

    assert await waiting is True


async def test_cancelled_waits_and_flushes_harm_nobody(storage: Storage) -> None:
    run = await claimed(storage)
    gone = [asyncio.create_task(storage.log.wait(run.run_id, 0, 30)) for _ in range(3)]
    stays = asyncio.create_task(storage.log.wait(run.run_id, 0, 30))
    await storage.log.wait(run.run_id, 0, 0.01)
    for task in gone:
        task.cancel()
    await storage.log.append(run.run_id, 1, entries(1))
    flushing = asyncio.create_task(storage.log.flush(run.run_id))
    await asyncio.sleep(0)
    flushing.cancel()

    assert await stays is True
    assert await storage.log.flush(run.run_id) == 1
    assert all(isinstance(gone, asyncio.CancelledError) for gone in await asyncio.gather(*gone, return_exceptions=True))


async def test_closed_run_is_read_and_waited_for(storage: Storage) -> None:
    run = await written(storage, 3)
    waiting = asyncio.create_task(storage.log.wait(run.run_id, 4, 0.05))
    await storage.log.append(run.run_id, 1, entries(1, start=4))

    await storage.log.close_run(run.run_id)

    assert await waiting is False
    assert await storage.log.flush(run.run_id) == 4
    assert numbers(await storage.log.read(run.run_id, 0)) == [1, 2, 3, 4]
    assert await storage.log.last_seq(run.run_id) == 4


async def test_closed_runs_are_let_go_and_still_read(open_storage: Open) -> None:
    storage = await open_storage(tail_bytes=2000)
    runs = [await written(storage, 10) for _ in range(30)]
    for run in runs:
        await storage.log.close_run(run.run_id)

    for run in runs:
        assert numbers(await read_all(storage, run.run_id)) == list(range(1, 11))
        assert await storage.log.wait(run.run_id, 9, 30) is True


async def test_terminal_event_comes_after_finish(storage: Storage) -> None:
    run = await written(storage, 2)
    await storage.queue.finish(run.run_id, run.attempt, DONE, events=3)

    assert await storage.log.append(run.run_id, run.attempt, [Entry("end", b"{}")]) == 3
    assert await storage.log.flush(run.run_id) == 3

    assert (await storage.log.read(run.run_id, 2))[0] == Event(3, "end", b"{}")


async def test_abandoned_run_has_events_of_attempt_0(storage: Storage) -> None:
    run = await enqueued(storage)
    await storage.queue.finish(run.run_id, 0, DONE, events=1)

    await storage.log.append(run.run_id, 0, [Entry("end", b"{}")])

    assert await storage.log.flush(run.run_id) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_next_attempt_goes_on_with_the_numbers(storage: Storage, open_storage: Open, elsewhere: bool) -> None:
    next_storage = await open_storage() if elsewhere else storage
    run = await claimed(storage, lease_seconds=0)
    await storage.log.append(run.run_id, 1, entries(3))
    await storage.log.flush(run.run_id)
    again = await claimed(next_storage)

    assert (again.run_id, again.attempt) == (run.run_id, 2)
    assert await next_storage.log.append(run.run_id, 2, entries(2, start=4)) == 5
    await next_storage.log.flush(run.run_id)

    with pytest.raises(FencedError):
        await append_and_flush(storage, run.run_id, 1)
    for client in (storage, next_storage):
        assert [event.data for event in await read_all(client, run.run_id)] == [item.data for item in entries(5)]


async def test_stale_attempt_loses_what_was_not_durable(storage: Storage, open_storage: Open) -> None:
    run = await claimed(storage, lease_seconds=0)
    await storage.log.append(run.run_id, 1, entries(3))
    await storage.log.flush(run.run_id)
    another = await open_storage()
    assert (await claimed(another)).attempt == 2

    await storage.log.append(run.run_id, 1, [Entry("token", b"stale")] * 5)
    with pytest.raises(FencedError):
        await storage.log.flush(run.run_id)
    with pytest.raises(FencedError):
        await storage.log.append(run.run_id, 1, entries(1))
    with pytest.raises(FencedError):
        await storage.log.flush(run.run_id)
    await another.log.append(run.run_id, 2, entries(1, start=4))
    await another.log.flush(run.run_id)

    assert await storage.log.wait(run.run_id, 3, 30) is True
    for client in (storage, another):
        assert [event.data for event in await read_all(client, run.run_id)] == [item.data for item in entries(4)]


async def test_readers_of_a_stale_attempt_see_the_next_one(storage: Storage, open_storage: Open) -> None:
    """The writer here hangs and does not know yet that it has lost the run."""
    run = await claimed(storage, lease_seconds=0)
    await storage.log.append(run.run_id, 1, entries(1))
    await storage.log.flush(run.run_id)
    another = await open_storage()
    await claimed(another)
    await another.log.append(run.run_id, 2, entries(2, start=2))
    await another.log.flush(run.run_id)

    assert await storage.log.wait(run.run_id, 1, 0.01) is True
    assert numbers(await read_all(storage, run.run_id)) == [1, 2, 3]
    assert await storage.log.last_seq(run.run_id) == 3
    with pytest.raises(FencedError):
        await storage.log.append(run.run_id, 1, entries(1))


async def test_flush_of_a_closed_run_knows_what_another_process_wrote(storage: Storage, open_storage: Open) -> None:
    run = await written(storage, 2)
    await storage.log.close_run(run.run_id)
    await storage.queue.release(run.run_id, 1)
    another = await open_storage()
    await claimed(another)
    await another.log.append(run.run_id, 2, entries(3, start=3))
    await another.log.flush(run.run_id)

    assert await storage.log.flush(run.run_id) == 5
    assert await storage.log.last_seq(run.run_id) == 5
    assert numbers(await read_all(storage, run.run_id)) == [1, 2, 3, 4, 5]


async def test_run_that_does_not_exist_cannot_be_written(storage: Storage) -> None:
    with pytest.raises(FencedError):
        await storage.log.append(str(uuid.uuid4()), 1, entries(1))


async def test_dropped_events_are_a_gap(storage: Storage, open_storage: Open) -> None:
    run = await written(storage, 5)
    kept = await written(storage, 2)
    await storage.queue.finish(run.run_id, 1, DONE, events=5)
    await storage.log.close_run(run.run_id)

    await storage.log.drop([run.run_id, kept.run_id, str(uuid.uuid4())])

    for client in (storage, await open_storage()):
        for after in (0, 4):
            with pytest.raises(GapError):
                await client.log.read(run.run_id, after)
        assert list(await client.log.read(run.run_id, 5)) == []
        assert await client.log.last_seq(run.run_id) == 0
        assert numbers(await client.log.read(kept.run_id, 0)) == [1, 2]
    await storage.records.delete_run(run.run_id)
    assert list(await storage.log.read(run.run_id, 0)) == []


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_numbers_go_on_after_a_drop(storage: Storage, open_storage: Open, elsewhere: bool) -> None:
    run = await written(storage, 5)
    await storage.queue.finish(run.run_id, 1, DONE, events=6)
    await storage.log.drop([run.run_id])
    writer = await open_storage() if elsewhere else storage

    assert await writer.log.append(run.run_id, 1, [Entry("end", b"{}")]) == 6
    await writer.log.flush(run.run_id)

    with pytest.raises(GapError):
        await storage.log.read(run.run_id, 4)
    assert numbers(await writer.log.read(run.run_id, 5)) == [6]


async def test_closing_makes_all_durable(at: str, open_storage: Open) -> None:
    storage = connect(at)
    await storage.open()
    run = await claimed(storage)
    await storage.log.append(run.run_id, 1, entries(100))
    await storage.close()

    reopened = await open_storage()

    assert numbers(await reopened.log.read(run.run_id, 0)) == list(range(1, 101))


_STEPS = st.lists(
    st.one_of(
        st.integers(1, 60).map(lambda count: ("append", count)),
        st.integers(1, 5).map(lambda turns: ("yield", turns)),
        st.just(("flush", 0)),
        st.just(("replace", 0)),
        st.just(("close", 0)),
    ),
    min_size=1,
    max_size=30,
)
_READERS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 99), st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=6
)
"""For each: turns of the loop until it comes, its cursor in percent of what is visible then, its limit, and the turns
that it takes to digest a page."""


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(steps=_STEPS, readers=_READERS, tail_bytes=st.sampled_from([0, 2_000, 1 << 20]))
async def test_every_reader_sees_every_event_once(
    backend: str, steps: list[tuple[str, int]], readers: list[tuple[int, int, int, int]], tail_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = connect(address(backend, Path(folder)), tail_bytes=tail_bytes, max_unflushed_bytes=5_000)
        await storage.open()
        try:
            await _interleave(storage, steps, readers)
        finally:
            await storage.close()


async def _interleave(storage: Storage, steps: list[tuple[str, int]], readers: list[tuple[int, int, int, int]]) -> None:
    run = await claimed(storage, lease_seconds=0)
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(_follow(storage, run.run_id, *reader)) for reader in readers]
        last = await _write(storage, run, steps)
    stored = await read_all(storage, run.run_id)

    assert numbers(stored) == list(range(1, last + 1))
    for after, events in (task.result() for task in following):
        assert events == stored[after:]


async def _write(storage: Storage, run: Run, steps: list[tuple[str, int]]) -> int:
    """Takes the steps, then ends the run; the seq of its last event."""
    attempt, appended = run.attempt, 0
    for what, count in steps:
        match what:
            case "append":
                batch = [Entry("token", b"%d %d" % (attempt, appended + n)) for n in range(count)]
                appended += count
                await storage.log.append(run.run_id, attempt, batch)
            case "yield":
                await _turns(count)
            case "flush" if appended or attempt == 1:
                await storage.log.flush(run.run_id)
            case "flush":
                # What is there to flush is the attempt's before: refused, unless all of it was durable already.
                with contextlib.suppress(FencedError):
                    await storage.log.flush(run.run_id)
            case "close":
                await storage.log.close_run(run.run_id)
            case "replace":
                attempt, appended = (await claimed(storage, lease_seconds=0)).attempt, 0
    last = await storage.log.append(run.run_id, attempt, [Entry("end", b"")])
    assert await storage.log.flush(run.run_id) == last
    await storage.log.close_run(run.run_id)
    return last


async def _follow(
    storage: Storage, run_id: str, come: int, percent: int, limit: int, digest: int
) -> tuple[int, list[Event]]:
    """Where it began, and what it saw from there to the end."""
    await _turns(come)
    start = after = await storage.log.last_seq(run_id) * percent // 100
    seen: list[Event] = []
    while not seen or seen[-1].kind != "end":
        page = await storage.log.read(run_id, after, limit)
        if not page:
            assert await storage.log.wait(run_id, after, 30)
            page = await storage.log.read(run_id, after, limit)
        assert 0 < len(page) <= limit
        assert numbers(page) == list(range(after + 1, after + len(page) + 1))
        after = page[-1].seq
        seen += page
        await _turns(digest)
    return start, seen


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kill_after", [1, 300])
async def test_nothing_visible_is_lost_when_the_process_is_killed(at: str, open_storage: Open, kill_after: int) -> None:
    storage = await open_storage()
    run = await claimed(storage)
    command = [sys.executable, "-m", "tests.contract.crash", at, run.run_id, str(run.attempt)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    visible = 0
    while visible < kill_after:
        visible = int(await process.stdout.readline())
    process.kill()
    rest: Any = await process.stdout.read()
    await process.wait()
    # The last line may be cut.
    visible = max([visible, *(int(line) for line in rest.split(b"\n")[:-1])])

    events = await read_all(await open_storage(), run.run_id)

    assert len(events) >= visible
    assert events == [Event(n, "token", b'{"n":%d}' % n) for n in range(1, len(events) + 1)]
    assert await storage.log.append(run.run_id, run.attempt, entries(1)) == len(events) + 1


async def test_attempt_that_appends_nothing_is_the_writer_all_the_same(storage: Storage) -> None:
    run = await claimed(storage, lease_seconds=0)
    await storage.log.append(run.run_id, 1, [Entry("token", b"1")])
    assert await storage.log.flush(run.run_id) == 1
    again = await storage.queue.claim(WORKER, 30)
    assert again is not None
    await storage.log.append(run.run_id, 1, [Entry("token", b"lost")])
    with pytest.raises(FencedError):
        await storage.log.flush(run.run_id)

    assert await storage.log.append(run.run_id, 2, ()) == 1
    assert await storage.log.flush(run.run_id) == 1
