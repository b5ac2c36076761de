"""Two clients of one backend: whatever one does, and whoever waits for it in the other learns of it.

Each wake-up is tried with the news that clients pass on, and without: then the look under them finds it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.events import Entry
from api.schemas import Cron, Delivery, FiredCron
from api.storage.base import Storage
from tests.contract.backends import DONE, claimed, enqueued, make_run, make_thread, silence
from tests.contract.conftest import Open
from tests.contract.test_crons import HOUR, NOON, stored

PATIENCE = 60.0
"""Much longer than any wait takes that is woken."""


@pytest.fixture(params=["news", "look"])
async def pair(request: pytest.FixtureRequest, open_storage: Open, monkeypatch: pytest.MonkeyPatch) -> list[Storage]:
    """Two clients; with news between them, or without."""
    if request.param == "news":
        # No look comes within the test.
        silence(monkeypatch, longest_look=3600.0, news=True)
    else:
        silence(monkeypatch, longest_look=0.05, news=False)
    return [await open_storage(), await open_storage()]


async def _settled(storage: Storage) -> None:
    """Takes the news of what was done until now."""
    await storage.queue.wait(0)
    await storage.queue.wait(0.05)


async def _claims(storage: Storage) -> str:
    """As a worker does: the id of the run that it claims at last."""
    while (run := await storage.queue.claim("there", 30)) is None:
        due = await storage.queue.next_due()
        await storage.queue.wait(None if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds()))
    return run.run_id


async def _woken(waiting: Awaitable[object], act: Callable[[], Awaitable[object]]) -> object:
    task = asyncio.ensure_future(waiting)
    await asyncio.sleep(0.05)
    assert not task.done()
    await act()
    return await asyncio.wait_for(task, PATIENCE)


async def test_what_a_full_process_enqueues_is_taken_by_an_idle_one(pair: list[Storage]) -> None:
    full, idle = pair
    run = make_run((thread := make_thread()).thread_id)
    assert await _woken(_claims(idle), lambda: full.queue.enqueue(run, thread=thread)) == run.run_id


async def test_what_waits_when_a_process_becomes_full_is_taken_by_an_idle_one(pair: list[Storage]) -> None:
    full, idle = pair
    waiting = asyncio.create_task(full.queue.wait(None))
    await asyncio.sleep(0)
    await _settled(idle)
    runs = [await enqueued(full) for _ in range(2)]
    await waiting
    assert (await claimed(full)).run_id == runs[0].run_id

    async def become_full() -> None:
        full.queue.pass_on()

    taken = asyncio.create_task(_claims(idle))
    await become_full()
    assert await asyncio.wait_for(taken, PATIENCE) == runs[1].run_id


async def test_news_of_another_process_is_not_passed_back(open_storage: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch, longest_look=3600.0, news=True)
    one, other = await open_storage(), await open_storage()
    waiting = asyncio.create_task(one.queue.wait(None))
    await enqueued(other)
    await asyncio.wait_for(waiting, PATIENCE)
    await _settled(one)
    await _settled(other)
    woken = asyncio.create_task(other.queue.wait(None))
    one.queue.pass_on()
    _, pending = await asyncio.wait([woken], timeout=0.5)
    woken.cancel()
    assert pending


async def test_run_that_is_due_later_is_known_to_all(pair: list[Storage]) -> None:
    maker, other = pair
    due = datetime.now(UTC) + timedelta(seconds=0.5)
    run = make_run((thread := make_thread()).thread_id, due_at=due)
    assert await _woken(_claims(other), lambda: maker.queue.enqueue(run, thread=thread)) == run.run_id
    assert datetime.now(UTC) >= due


@pytest.mark.parametrize("ending", ["finish", "release"])
async def test_room_that_one_makes_is_used_by_the_other(pair: list[Storage], ending: str) -> None:
    one, other = pair
    thread = make_thread()
    first, second = await enqueued(one, thread), await enqueued(one, thread)
    assert (await claimed(one)).run_id == first.run_id
    await _settled(other)
    if ending == "finish":
        taken = await _woken(_claims(other), lambda: one.queue.finish(first.run_id, 1, DONE, events=0))
    else:
        taken = await _woken(_claims(other), lambda: one.queue.release(first.run_id, 1))
    assert taken == (second if ending == "finish" else first).run_id


@pytest.mark.parametrize("change", ["create", "change"])
async def test_cron_that_one_makes_wakes_the_other(pair: list[Storage], change: str) -> None:
    one, other = pair
    cron = await stored(one)
    await other.crons.wait()

    def sooner(cron: Cron) -> None:
        cron.next_run_date = NOON - HOUR

    async def act() -> None:
        await (stored(one) if change == "create" else one.crons.change(cron.cron_id, sooner))

    waiting = asyncio.create_task(other.crons.wait())
    await act()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_events_of_one_wake_the_others_readers(pair: list[Storage]) -> None:
    one, other = pair
    run = await claimed(one)
    assert await _woken(
        other.log.wait(run.run_id, 0, 3600), lambda: one.log.append(run.run_id, 1, [Entry("token", b"1")])
    )


@pytest.mark.parametrize("what", ["claim", "finish", "update", "delete"])
async def test_what_becomes_of_a_thread_wakes_the_others_readers(pair: list[Storage], what: str) -> None:
    one, other = pair
    thread = make_thread()
    if what in ("claim", "finish"):
        run = await enqueued(one, thread)
    else:
        await one.records.create_thread(thread)
    after = 0
    if what == "finish":
        await claimed(one)
        await one.queue.finish(run.run_id, 1, DONE, events=1)
        await enqueued(one, thread)
        after = 1

    async def act() -> None:
        match what:
            case "claim" | "finish":
                await claimed(one)
            case "update":
                await one.records.set_thread_state(
                    thread.thread_id, status="idle", values=None, interrupts=b"{}", event=b"{}"
                )
            case "delete":
                await one.records.delete_thread(thread.thread_id)

    assert await _woken(other.thread_log.wait(thread.thread_id, after, 3600), act)


async def test_cron_that_one_fired_is_not_fired_by_the_other(pair: list[Storage]) -> None:
    one, other = pair
    cron = await stored(one)
    await one.queue.enqueue(make_run((thread := make_thread()).thread_id), thread=thread, fired=FiredCron(cron, None))
    assert await other.crons.due(NOON + HOUR, 10) == []


async def test_webhook_that_one_has_sent_again_wakes_the_other(pair: list[Storage]) -> None:
    one, other = pair
    run, now = await claimed(one), datetime.now(UTC)
    call = Delivery("msg_1", run.run_id, run.thread_id, "https://hooks.test/", b"{}", now, now, now)
    await one.queue.finish(run.run_id, 1, replace(DONE, delivery=call), events=0)
    taken = await one.outbox.take(3600)
    assert taken is not None
    assert await other.outbox.take(3600) is None, "it is with the other one"
    await one.outbox.settle(taken, "failed", problem="no answer")
    await other.outbox.wait(0)

    async def taking() -> str:
        while (again := await other.outbox.take(3600)) is None:
            await other.outbox.wait(None)
        return again.delivery_id

    assert await _woken(taking(), lambda: one.outbox.again(run.run_id, "msg_1")) == "msg_1"
