"""The run queue: order, one run of a thread at a time, leases, fencing, cancellation, wake-ups."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from api.errors import ConflictError, FencedError, NotFoundError, OverloadedError, RateLimitedError
from api.schemas import Outcome, Run, Thread
from api.storage.base import QueueLimits, Storage
from tests.contract.backends import DONE, WORKER, claimed, enqueued, make_run, make_thread
from tests.contract.conftest import Open


async def claim(storage: Storage, worker_id: str = WORKER, lease_seconds: float = 30.0) -> Run | None:
    return await storage.queue.claim(worker_id, lease_seconds)


async def thread_of(storage: Storage, run: Run) -> Thread:
    thread = await storage.records.get_thread(run.thread_id)
    assert thread is not None
    return thread


async def run_of(storage: Storage, run: Run) -> Run:
    found = await storage.records.get_run(run.run_id)
    assert found is not None
    return found


async def test_first_in_first_out(storage: Storage) -> None:
    runs = [await enqueued(storage) for _ in range(5)]

    assert [(await claimed(storage)).run_id for _ in runs] == [run.run_id for run in runs]
    assert await claim(storage) is None


async def test_claim_stamps_the_run(storage: Storage) -> None:
    run = await enqueued(storage, kwargs={"input": "hi"})
    before = datetime.now(UTC)

    got = await claim(storage, lease_seconds=30)

    assert got is not None
    assert (got.run_id, got.status, got.attempt, got.worker_id) == (run.run_id, "running", 1, WORKER)
    assert got.kwargs == {"input": "hi"}
    assert got.lease_until is not None
    assert timedelta(seconds=29) < got.lease_until - before < timedelta(seconds=60)
    assert await run_of(storage, run) == got


async def test_runs_of_a_thread_are_serial(storage: Storage) -> None:
    thread = make_thread()
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    other = await enqueued(storage)

    assert (await claimed(storage)).run_id == first.run_id
    assert (await claimed(storage)).run_id == other.run_id
    assert await claim(storage) is None

    await storage.queue.finish(first.run_id, 1, DONE, events=0)
    assert (await claimed(storage)).run_id == second.run_id


async def test_base_counts_the_events_of_earlier_runs(storage: Storage) -> None:
    thread = make_thread()
    for base, events in ((0, 5), (5, 7), (12, 1)):
        await enqueued(storage, thread)
        run = await claimed(storage)
        assert run.base == base
        await storage.queue.finish(run.run_id, run.attempt, DONE, events=events)

    stored = await storage.records.get_thread(thread.thread_id)
    assert stored is not None
    assert stored.events == 13


async def test_base_stays_over_attempts(storage: Storage) -> None:
    thread = make_thread(events=4)
    await enqueued(storage, thread)
    first = await claimed(storage, lease_seconds=0)
    second = await claimed(storage)

    assert (first.base, second.base) == (4, 4)


async def test_thread_is_busy_from_enqueue_to_the_end_of_its_last_run(storage: Storage) -> None:
    thread = make_thread()
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    assert (await thread_of(storage, first)).status == "busy"
    assert (await thread_of(storage, first)).updated_at > thread.updated_at

    await claimed(storage)
    await storage.queue.finish(first.run_id, 1, DONE, events=0)
    assert (await thread_of(storage, first)).status == "busy"

    await claimed(storage)
    outcome = Outcome("interrupted", "interrupted", values=b'{"a":1}', interrupts=b'{"t":[]}', error="e")
    await storage.queue.finish(second.run_id, 1, outcome, events=0)
    after = await thread_of(storage, second)
    assert (after.status, after.values, after.interrupts, after.error) == (
        "interrupted",
        b'{"a":1}',
        b'{"t":[]}',
        "e",
    )
    assert (await run_of(storage, second)).status == "interrupted"


async def test_finish_without_values_leaves_those_of_the_thread(storage: Storage) -> None:
    run = await enqueued(storage, make_thread(values=b'{"old":1}'))
    await claimed(storage)

    await storage.queue.finish(run.run_id, 1, DONE, events=0)

    assert (await thread_of(storage, run)).values == b'{"old":1}'


async def test_finished_run_has_no_worker(storage: Storage) -> None:
    run = await claimed(storage)

    await storage.queue.finish(run.run_id, 1, DONE, events=0)

    done = await run_of(storage, run)
    assert (done.status, done.worker_id, done.lease_until) == ("success", None, None)


@pytest.mark.parametrize("missing", ["thread", "none given"])
async def test_enqueue_needs_a_thread(storage: Storage, missing: str) -> None:
    thread = make_thread()
    run = make_run(thread.thread_id)

    if missing == "thread":
        await storage.queue.enqueue(run, thread=thread)
        assert (await thread_of(storage, run)).status == "busy"
    else:
        with pytest.raises(NotFoundError):
            await storage.queue.enqueue(run)
        assert await storage.records.get_run(run.run_id) is None


async def test_enqueue_keeps_the_thread_that_exists(storage: Storage) -> None:
    thread = make_thread(metadata={"old": 1})
    await storage.records.create_thread(thread)

    run = await enqueued(storage, make_thread(thread_id=thread.thread_id, metadata={"new": 1}))

    stored = await storage.records.get_thread(thread.thread_id)
    assert stored is not None
    assert stored.metadata == {"old": 1, "assistant_id": run.assistant_id}


async def test_a_refused_run_leaves_nothing_behind(storage: Storage) -> None:
    thread = make_thread()
    taken = await enqueued(storage)

    with pytest.raises(ConflictError):
        await storage.queue.enqueue(make_run(thread.thread_id, run_id=taken.run_id), thread=thread)

    assert await storage.records.get_thread(thread.thread_id) is None


async def test_limit_counts_pending_and_running_runs(storage: Storage) -> None:
    for _ in range(2):
        await enqueued(storage)
    running = await claimed(storage)
    thread = make_thread()

    with pytest.raises(OverloadedError):
        await storage.queue.enqueue(make_run(thread.thread_id), thread=thread, limits=QueueLimits(active=2))
    await storage.queue.enqueue(make_run(thread.thread_id), thread=thread, limits=QueueLimits(active=3))
    await storage.queue.finish(running.run_id, 1, DONE, events=0)
    await storage.queue.enqueue(make_run(thread.thread_id), limits=QueueLimits(active=3))


async def test_limits_count_delayed_runs_and_those_of_an_owner_apart(storage: Storage) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    limits = QueueLimits(active=3, delayed=3, active_of_owner=2, delayed_of_owner=2)

    async def add(owner: str, due_at: datetime | None = None) -> None:
        thread = make_thread()
        run = make_run(thread.thread_id, owner=owner, due_at=due_at)
        await storage.queue.enqueue(run, thread=thread, limits=limits)

    for due_at in (later, None):
        await add("a", due_at)
        await add("a", due_at)
        with pytest.raises(RateLimitedError):
            await add("a", due_at)
        await add("b", due_at)
        with pytest.raises(OverloadedError):
            await add("b", due_at)


async def test_runs_of_nobody_have_the_limit_of_all(storage: Storage) -> None:
    for _ in range(3):
        thread = make_thread()
        limits = QueueLimits(active=3, active_of_owner=1)
        await storage.queue.enqueue(make_run(thread.thread_id), thread=thread, limits=limits)


async def test_owners_take_turns(storage: Storage, open_storage: Open) -> None:
    for owner in ("a", "a", "a", "b", "b", "", "c"):
        await enqueued(storage, owner=owner)
    for client in (storage, await open_storage()):
        first = await claim(client)
        assert first is not None
        assert first.owner == "a"

    owners = [run.owner for _ in range(5) if (run := await claim(storage)) is not None]
    assert owners == ["b", "c", "", "a", "b"]
    assert await claim(storage) is None


async def test_the_oldest_of_an_owner_goes_first(storage: Storage) -> None:
    runs = [await enqueued(storage, owner=owner) for owner in ("b", "a", "b", "a")]
    order = [run.run_id for _ in runs if (run := await claim(storage)) is not None]
    assert order == [runs[at].run_id for at in (1, 0, 3, 2)]


async def test_owners_who_are_full_wait(storage: Storage) -> None:
    first, second = await enqueued(storage, owner="a"), await enqueued(storage, owner="b")

    assert await storage.queue.claim(WORKER, 30.0, full=("a", "b")) is None
    for owner, run in (("a", second), ("b", first)):
        taken = await storage.queue.claim(WORKER, 30.0, full=(owner,))
        assert taken is not None
        assert taken.run_id == run.run_id
    assert await storage.queue.claim(WORKER, 30.0, full=()) is None


async def test_a_run_whose_worker_died_waits_for_no_turn(storage: Storage) -> None:
    run = await enqueued(storage, owner="a")
    assert await claim(storage, lease_seconds=-1) is not None
    again = await claim(storage)
    assert again is not None
    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_runs_of_a_dead_worker_take_no_more_than_their_owners_share(storage: Storage) -> None:
    run = await enqueued(storage, owner="a")
    expired = await storage.queue.claim(WORKER, -1)
    assert expired is not None
    other = await enqueued(storage, owner="b")

    taken = await storage.queue.claim(WORKER, 30.0, full=("a",))
    assert taken is not None
    assert taken.run_id == other.run_id
    assert await storage.queue.claim(WORKER, 30.0, full=("a",)) is None
    assert await storage.queue.next_due(full=("a",)) == taken.lease_until
    assert await storage.queue.next_due() == expired.lease_until
    again = await claim(storage)
    assert again is not None
    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_wake_ends_a_wait(storage: Storage) -> None:
    waiting = asyncio.create_task(storage.queue.wait(None))
    storage.queue.wake()
    await waiting


async def test_reject_refuses_while_a_run_is_pending_or_running(storage: Storage) -> None:
    thread = make_thread()
    run = await enqueued(storage, thread)
    rejecting = make_run(thread.thread_id, multitask_strategy="reject")

    with pytest.raises(ConflictError):
        await storage.queue.enqueue(rejecting)
    await claimed(storage)
    with pytest.raises(ConflictError):
        await storage.queue.enqueue(rejecting)
    await storage.queue.finish(run.run_id, 1, DONE, events=0)
    assert await storage.queue.enqueue(rejecting) == []


async def test_only_a_thread_that_waits_at_an_interrupt_can_be_resumed(storage: Storage) -> None:
    thread = make_thread()
    await enqueued(storage, thread)
    resuming = make_run(thread.thread_id, multitask_strategy="reject")
    with pytest.raises(ConflictError, match="already running"):
        await storage.queue.enqueue(resuming, resuming=True)
    run = await claimed(storage)
    waiting = Outcome(status="success", thread_status="interrupted", interrupts=b'{"t":[{"id":"i","value":1}]}')
    await storage.queue.finish(run.run_id, 1, waiting, events=0)
    assert await storage.queue.enqueue(resuming, resuming=True) == []
    run = await claimed(storage)
    await storage.queue.finish(run.run_id, 1, DONE, events=0)
    late = make_run(thread.thread_id, multitask_strategy="reject")
    with pytest.raises(ConflictError, match="waits at no interrupt"):
        await storage.queue.enqueue(late, resuming=True)
    with pytest.raises(NotFoundError):
        await storage.queue.enqueue(make_run(str(uuid.uuid4())), resuming=True)
    assert await storage.queue.enqueue(late) == []


async def test_of_many_rejecting_runs_exactly_one_wins(storage: Storage) -> None:
    thread = make_thread()
    runs = [make_run(thread.thread_id, multitask_strategy="reject") for _ in range(100)]

    results = await asyncio.gather(*(storage.queue.enqueue(run, thread=thread) for run in runs), return_exceptions=True)

    assert sum(result == [] for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 99
    assert len(await storage.records.list_runs(thread.thread_id, limit=100)) == 1


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_interrupt_and_rollback_mark_the_others(
    storage: Storage, strategy: Literal["interrupt", "rollback"]
) -> None:
    thread = make_thread()
    running, pending = await enqueued(storage, thread), await enqueued(storage, thread)
    bystander = await enqueued(storage)
    await claimed(storage)
    new = make_run(thread.thread_id, multitask_strategy=strategy)

    marked = await storage.queue.enqueue(new)

    assert {run.run_id: run.cancel for run in marked} == {running.run_id: strategy, pending.run_id: strategy}
    assert (await run_of(storage, bystander)).cancel is None
    assert (await run_of(storage, new)).cancel is None


async def test_cancelled_pending_run_can_be_claimed(storage: Storage) -> None:
    run = await enqueued(storage)
    await storage.queue.request_cancel(run.run_id, "interrupt")

    got = await claimed(storage)

    assert (got.run_id, got.cancel) == (run.run_id, "interrupt")


async def test_cancelled_pending_run_can_be_finished(storage: Storage) -> None:
    thread = make_thread()
    running, pending = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)

    await storage.queue.finish(pending.run_id, 0, Outcome("interrupted", "idle"), events=1)

    assert (await run_of(storage, pending)).status == "interrupted"
    assert (await thread_of(storage, running)).status == "busy"
    await storage.queue.finish(running.run_id, 1, DONE, events=0)
    assert await claim(storage) is None


async def test_request_cancel(storage: Storage) -> None:
    run = await claimed(storage)

    marked = await storage.queue.request_cancel(run.run_id, "rollback")
    again = await storage.queue.request_cancel(run.run_id, "interrupt")

    assert marked is not None
    assert again is not None
    assert (marked.cancel, again.cancel, marked.status) == ("rollback", "rollback", "running")
    await storage.queue.finish(run.run_id, 1, DONE, events=0)
    assert await storage.queue.request_cancel(run.run_id, "interrupt") is None
    assert await storage.queue.request_cancel(str(uuid.uuid4()), "interrupt") is None


async def test_expired_lease_is_claimed_again_and_fences_the_old_attempt(storage: Storage) -> None:
    run = await claimed(storage, lease_seconds=0)
    again = await claim(storage, "another-host:2:worker")

    assert again is not None
    assert (again.run_id, again.attempt, again.worker_id) == (run.run_id, 2, "another-host:2:worker")
    with pytest.raises(FencedError):
        await storage.queue.finish(run.run_id, 1, DONE, events=5)
    await storage.queue.release(run.run_id, 1)
    assert await run_of(storage, run) == again
    assert (await thread_of(storage, run)).events == 0

    await storage.queue.finish(run.run_id, 2, DONE, events=5)
    assert (await thread_of(storage, run)).events == 5


async def test_ended_run_cannot_be_finished_again(storage: Storage) -> None:
    run = await claimed(storage)
    await storage.queue.finish(run.run_id, 1, DONE, events=2)

    with pytest.raises(FencedError):
        await storage.queue.finish(run.run_id, 1, Outcome("error", "error"), events=2)
    with pytest.raises(FencedError):
        await storage.queue.finish(str(uuid.uuid4()), 1, DONE, events=2)

    assert (await run_of(storage, run)).status == "success"
    assert (await thread_of(storage, run)).events == 2


async def test_released_run_is_next_again(storage: Storage) -> None:
    thread = make_thread()
    first, second = await enqueued(storage, thread), await enqueued(storage, thread)
    await claimed(storage)

    await storage.queue.release(first.run_id, 1)

    released = await run_of(storage, first)
    assert (released.status, released.worker_id, released.lease_until) == ("pending", None, None)
    again = await claimed(storage)
    assert (again.run_id, again.attempt) == (first.run_id, 2)
    assert (await run_of(storage, second)).status == "pending"


async def test_heartbeat_extends_the_leases_of_the_runs_that_a_worker_holds(storage: Storage) -> None:
    mine = [await claimed(storage, lease_seconds=5) for _ in range(2)]
    gone = await claimed(storage, lease_seconds=5)
    ids = [run.run_id for run in mine]
    await enqueued(storage)
    other = await claim(storage, "another-host:2:worker", 5)
    await storage.queue.request_cancel(mine[0].run_id, "interrupt")

    assert other is not None
    held = await storage.queue.heartbeat(WORKER, 60, [*ids, other.run_id])

    assert {run.run_id: run.cancel for run in held} == {mine[0].run_id: "interrupt", mine[1].run_id: None}
    for before, after in zip(mine, [await run_of(storage, run) for run in mine], strict=True):
        assert before.lease_until is not None
        assert after.lease_until is not None
        assert after.lease_until - before.lease_until > timedelta(seconds=50)
    assert (await run_of(storage, other)).lease_until == other.lease_until
    assert (await run_of(storage, gone)).lease_until == gone.lease_until
    assert await storage.queue.heartbeat("another-host:3:worker", 60, ids) == []


async def test_due_time_is_waited_for(storage: Storage) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await storage.queue.next_due() is None
    delayed = await enqueued(storage, due_at=later)
    await enqueued(storage, due_at=later + timedelta(hours=1))
    past = await enqueued(storage, due_at=datetime.now(UTC) - timedelta(seconds=1))

    assert (await claimed(storage)).run_id == past.run_id
    await storage.queue.finish(past.run_id, 1, DONE, events=0)
    assert await claim(storage) is None
    assert await storage.queue.next_due() == later
    assert (await run_of(storage, delayed)).status == "pending"


async def test_next_due_is_the_end_of_a_lease(storage: Storage) -> None:
    run = await claimed(storage, lease_seconds=30)
    await enqueued(storage, due_at=datetime.now(UTC) + timedelta(hours=1))

    assert await storage.queue.next_due() == run.lease_until


async def test_run_behind_another_is_not_due(storage: Storage) -> None:
    """Or a worker would claim, and be told to come back at once, until the first run ends."""
    thread = make_thread()
    await enqueued(storage, thread)
    running = await claimed(storage)
    await enqueued(storage, thread, due_at=datetime.now(UTC) - timedelta(seconds=1))

    assert await storage.queue.next_due() == running.lease_until


async def test_delayed_run_does_not_hold_up_its_thread(storage: Storage) -> None:
    thread = make_thread()
    await enqueued(storage, thread, due_at=datetime.now(UTC) + timedelta(hours=1))
    run = await enqueued(storage, thread)

    assert (await claimed(storage)).run_id == run.run_id


async def test_wake_before_the_wait_is_not_lost(storage: Storage) -> None:
    await enqueued(storage)

    await asyncio.wait_for(storage.queue.wait(None), 10)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(storage.queue.wait(None), 0.01)


async def test_wait_ends_at_its_timeout(storage: Storage) -> None:
    await storage.queue.wait(0)
    await storage.queue.wait(0.01)

    assert await claim(storage) is None


@pytest.mark.parametrize("what", ["enqueue", "finish", "release"])
async def test_what_wakes_a_waiting_worker(storage: Storage, what: str) -> None:
    run = await claimed(storage)
    await storage.queue.wait(0)
    waiting = asyncio.create_task(storage.queue.wait(None))

    match what:
        case "enqueue":
            await enqueued(storage)
        case "finish":
            await storage.queue.finish(run.run_id, 1, DONE, events=0)
        case "release":
            await storage.queue.release(run.run_id, 1)

    await asyncio.wait_for(waiting, 10)


async def test_caller_who_is_gone_still_wakes_the_worker(storage: Storage) -> None:
    enqueuing = asyncio.create_task(enqueued(storage))
    await asyncio.sleep(0)
    enqueuing.cancel()

    await asyncio.wait_for(storage.queue.wait(None), 10)

    assert await claim(storage) is not None


async def test_two_clients_never_claim_the_same_run(open_storage: Open) -> None:
    clients = [await open_storage(), await open_storage()]
    threads = [make_thread() for _ in range(10)]
    for _ in range(4):
        for thread in threads:
            await enqueued(clients[0], thread)
    executed: list[str] = []
    running: set[str] = set()

    async def work(client: Storage, worker_id: str) -> None:
        while (run := await claim(client, worker_id)) is not None:
            assert run.thread_id not in running
            running.add(run.thread_id)
            executed.append(run.run_id)
            assert await client.records.get_run(run.run_id) == run
            running.remove(run.thread_id)
            await client.queue.finish(run.run_id, run.attempt, DONE, events=0)

    await asyncio.gather(*(work(client, f"another-host:{n}:{i}") for n, client in enumerate(clients) for i in range(4)))

    assert len(executed) == len(set(executed)) == 40


async def test_run_that_never_started_leaves_the_threads_state(storage: Storage) -> None:
    thread = make_thread()
    first = await enqueued(storage, thread)
    assert (await claim(storage)) is not None
    interrupts = b'{"task":[{"value":1}]}'
    outcome = Outcome(status="success", thread_status="interrupted", values=b'{"kept":1}', interrupts=interrupts)
    await storage.queue.finish(first.run_id, 1, outcome, events=3)
    waiting = await enqueued(storage, thread)

    abandoned = Outcome(status="interrupted", thread_status="interrupted", values=b"{}", error="cancelled")
    await storage.queue.finish(waiting.run_id, 0, abandoned, events=1)

    left = await storage.records.get_thread(thread.thread_id)
    assert left is not None
    assert (left.values, left.interrupts, left.error) == (b'{"kept":1}', interrupts, None)
    assert (left.status, left.events) == ("interrupted", 4)


async def test_runs_whose_time_has_come_go_on_in_their_threads_order(storage: Storage) -> None:
    thread, soon = make_thread(), datetime.now(UTC) + timedelta(seconds=0.3)
    delayed = [await enqueued(storage, thread, due_at=soon) for _ in range(2)]
    last = await enqueued(storage, thread)
    order = []
    for _ in range(3):
        while (run := await claim(storage)) is None:
            await storage.queue.wait(0.05)
        order.append(run.run_id)
        await storage.queue.finish(run.run_id, 1, DONE, events=0)
    assert order == [last.run_id, *(run.run_id for run in delayed)]
