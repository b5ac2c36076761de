"""The thread log: positions across the runs and state updates of a thread are unique, in order, and stay."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api.schemas import Thread
from api.storage.base import STATE_UPDATES, Span, Storage
from tests.contract.backends import DONE, WORKER, claimed, enqueued, make_thread


async def _update(storage: Storage, thread: Thread, event: bytes = b"{}") -> None:
    await storage.records.set_thread_state(thread.thread_id, status="idle", values=b"{}", interrupts=b"{}", event=event)


async def _spans(storage: Storage, thread: Thread, after: int = 0) -> list[Span]:
    found = await storage.thread_log.spans(thread.thread_id, after)
    assert found is not None
    return list(found)


async def _count(storage: Storage, thread: Thread) -> int:
    found = await storage.records.get_thread(thread.thread_id)
    assert found is not None
    return found.events


async def test_runs_and_updates_in_order(storage: Storage) -> None:
    thread = make_thread()
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)
    assert await _spans(storage, thread) == [Span(0, first.run_id, None)]
    await storage.queue.finish(first.run_id, 1, DONE, events=5)
    await _update(storage, thread, b'{"n":1}')
    await claimed(storage)

    assert await _spans(storage, thread) == [
        Span(0, first.run_id, None),
        Span(5, None, b'{"n":1}'),
        Span(6, second.run_id, None),
    ]
    assert (await _spans(storage, thread, 5))[-2:] == [Span(5, None, b'{"n":1}'), Span(6, second.run_id, None)]
    assert await _spans(storage, thread, 6) == [Span(6, second.run_id, None)]
    assert await _spans(storage, thread, 100) == [Span(6, second.run_id, None)]


async def test_what_ends_beside_a_run_has_its_place_after_it(storage: Storage) -> None:
    thread = make_thread()
    running = await enqueued(storage, thread)
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)

    await storage.queue.finish(second.run_id, 0, DONE, events=2)
    await storage.queue.finish(first.run_id, 0, DONE, events=3)
    await _update(storage, thread, b'{"n":1}')
    assert await _spans(storage, thread) == [Span(0, running.run_id, None)]
    assert await _count(storage, thread) == 0

    await storage.queue.finish(running.run_id, 1, DONE, events=10)
    assert await _spans(storage, thread) == [
        Span(0, running.run_id, None),
        Span(10, None, b'{"n":1}'),
        Span(11, first.run_id, None),
        Span(14, second.run_id, None),
    ]
    assert await _count(storage, thread) == 16
    later = await enqueued(storage, thread)
    await claimed(storage)
    assert (await _spans(storage, thread))[-1] == Span(16, later.run_id, None)


async def test_a_run_that_was_given_back_goes_on_before_others_begin(storage: Storage) -> None:
    thread = make_thread()
    abandoned = await enqueued(storage, thread)
    await storage.queue.finish(abandoned.run_id, 0, DONE, events=2)
    begun = await enqueued(storage, thread)
    await claimed(storage)
    other = await enqueued(storage, thread)
    await storage.queue.release(begun.run_id, 1)
    await storage.queue.finish(other.run_id, 0, DONE, events=1)
    assert await _spans(storage, thread, 2) == [Span(2, begun.run_id, None)]

    again = await storage.queue.claim(WORKER, 30)
    assert again is not None
    assert (again.run_id, again.attempt, again.base) == (begun.run_id, 2, 2)
    await storage.queue.finish(begun.run_id, 2, DONE, events=7)
    assert (await _spans(storage, thread))[-1] == Span(9, other.run_id, None)


async def test_a_run_that_becomes_due_waits_for_the_one_that_was_given_back(storage: Storage) -> None:
    thread = make_thread()
    early = await enqueued(storage, thread, due_at=datetime.now(UTC) + timedelta(milliseconds=50))
    begun = await enqueued(storage, thread)
    assert (await claimed(storage)).run_id == begun.run_id
    await asyncio.sleep(0.06)  # what becomes due is a matter of time
    await storage.queue.release(begun.run_id, 1)

    again = await storage.queue.claim(WORKER, 30)
    assert again is not None
    assert again.run_id == begun.run_id
    await storage.queue.finish(begun.run_id, 2, DONE, events=4)
    after = await storage.queue.claim(WORKER, 30)
    assert after is not None
    assert (after.run_id, after.base) == (early.run_id, 4)


async def test_a_deleted_run_leaves_a_gap(storage: Storage) -> None:
    thread = make_thread()
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    for run in (first, second):
        await claimed(storage)
        await storage.queue.finish(run.run_id, 1, DONE, events=3)
    await storage.records.delete_run(first.run_id)

    assert await _spans(storage, thread) == [Span(3, second.run_id, None)]
    assert await _spans(storage, thread, 2) == [Span(3, second.run_id, None)]


async def test_updates_are_bounded(storage: Storage) -> None:
    thread = make_thread()
    await storage.records.create_thread(thread)
    for number in range(STATE_UPDATES + 5):
        await _update(storage, thread, b"%d" % number)

    kept = await storage.thread_log.spans(thread.thread_id, 0, limit=1000)
    assert kept is not None
    assert [(span.base, span.data) for span in kept] == [(n, b"%d" % n) for n in range(5, STATE_UPDATES + 5)]


@pytest.mark.parametrize("what", ["update", "claim", "deletion"])
async def test_wait_is_woken(storage: Storage, what: str) -> None:
    thread = make_thread()
    await storage.records.create_thread(thread)
    waiting = asyncio.create_task(storage.thread_log.wait(thread.thread_id, 0, 30))
    await asyncio.sleep(0)
    if what == "update":
        await _update(storage, thread)
    elif what == "claim":
        await enqueued(storage, thread)
        assert not waiting.done()
        await claimed(storage)
    else:
        await storage.records.delete_thread(thread.thread_id)

    async with asyncio.timeout(10):
        assert await waiting


async def test_wait_is_woken_by_the_place_of_what_ended_beside_a_run(storage: Storage) -> None:
    thread = make_thread()
    running, other = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)
    waiting = asyncio.create_task(storage.thread_log.wait(thread.thread_id, 1, 30))
    await storage.queue.finish(other.run_id, 0, DONE, events=2)
    assert not waiting.done()
    await storage.queue.finish(running.run_id, 1, DONE, events=1)
    async with asyncio.timeout(10):
        assert await waiting


async def test_wait_gives_up(storage: Storage) -> None:
    thread = make_thread()
    await storage.records.create_thread(thread)

    assert not await storage.thread_log.wait(thread.thread_id, 0, 0.02)
    assert await storage.thread_log.wait("no such thread", 0, 0.02)
    assert await storage.thread_log.spans("no such thread", 0) is None
