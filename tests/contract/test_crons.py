"""Crons as rows: which of them are due, and who may fire them."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.errors import ConflictError, InvalidRequestError
from api.schemas import Assistant, Cron, CronSort, FiredCron, Json
from api.storage.base import Storage
from tests.contract.backends import make_run, make_thread
from tests.contract.conftest import Open

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def assistant(storage: Storage) -> str:
    """The id of an assistant that is stored."""
    made = Assistant(str(uuid.uuid4()), "one", NOON, NOON)
    assert await storage.assistants.create(made) is None
    return made.assistant_id


async def stored(storage: Storage, **fields: Any) -> Cron:
    """A cron that is stored; due at noon, of an assistant of its own if none is given."""
    if "assistant_id" not in fields:
        fields["assistant_id"] = await assistant(storage)
    defaults = {
        "cron_id": str(uuid.uuid4()),
        "schedule": "0 * * * *",
        "created_at": NOON - HOUR,
        "updated_at": NOON - HOUR,
        "next_run_date": NOON,
    }
    cron = Cron(**{**defaults, **fields})
    assert await storage.crons.create(cron)
    return cron


async def on_thread(storage: Storage) -> str:
    """The id of a thread that is stored."""
    thread = make_thread()
    assert await storage.records.create_thread(thread) is None
    return thread.thread_id


async def found(storage: Storage, **criteria: Any) -> list[str]:
    """The ids of those that a search finds."""
    page, total = await storage.crons.search(**criteria)
    assert total == len(page)
    return [cron.cron_id for cron in page]


async def due(storage: Storage, now: datetime) -> list[str]:
    """The ids of those that are due."""
    return [cron.cron_id for cron in await storage.crons.due(now, 10)]


async def test_cron_comes_back_as_it_was(storage: Storage, open_storage: Open) -> None:
    cron = await stored(
        storage,
        schedule="*/5 * * * *",
        created_at=datetime(2025, 3, 30, 1, 59, 59, 999_999, tzinfo=UTC),
        thread_id=await on_thread(storage),
        timezone="Europe/Zurich",
        end_time=NOON + 99 * HOUR,
        payload={"input": {"messages": ["naïve ☃"]}, "config": {"tags": ["a"]}},
        metadata={"nested": {"a": [1, 2.5, None, True]}},
        on_run_completed="keep",
        enabled=False,
    )
    plain = await stored(storage, next_run_date=None)

    another = await open_storage()
    for each in (storage, another):
        assert await each.crons.get(cron.cron_id) == cron
        assert await each.crons.get(plain.cron_id) == plain
    assert await storage.crons.get(str(uuid.uuid4())) is None


async def test_cron_needs_its_assistant_and_its_thread(storage: Storage) -> None:
    known = await assistant(storage)
    times = {"schedule": "* * * * *", "created_at": NOON, "updated_at": NOON, "next_run_date": NOON}
    orphans = [
        Cron("a", str(uuid.uuid4()), **times),
        Cron("b", known, thread_id=str(uuid.uuid4()), **times),
    ]

    assert [await storage.crons.create(cron) for cron in orphans] == [False, False]
    assert await found(storage) == []


async def test_cron_goes_with_its_assistant_or_its_thread(storage: Storage) -> None:
    with_thread = await stored(storage, thread_id=await on_thread(storage))
    plain = await stored(storage)
    assert with_thread.thread_id

    assert await storage.records.delete_thread(with_thread.thread_id)
    assert await found(storage) == [plain.cron_id]
    assert await storage.assistants.delete(plain.assistant_id)
    assert await found(storage) == []


async def test_delete_tells_whether_there_was_one(storage: Storage) -> None:
    cron = await stored(storage)

    assert await storage.crons.delete(cron.cron_id)
    assert not await storage.crons.delete(cron.cron_id)


async def test_changes_at_one_time_all_apply(storage: Storage, open_storage: Open) -> None:
    cron = await stored(storage, metadata={"count": 0})
    storages = [storage, await open_storage()]

    def count(cron: Cron) -> None:
        cron.metadata = {"count": cron.metadata["count"] + 1}

    await asyncio.gather(*(storages[n % 2].crons.change(cron.cron_id, count) for n in range(20)))

    held = await storage.crons.get(cron.cron_id)
    assert held is not None
    assert held.metadata == {"count": 20}


async def test_change_sets_what_it_is_told_to(storage: Storage) -> None:
    cron = await stored(storage)

    def change(cron: Cron) -> None:
        cron.schedule, cron.timezone, cron.end_time = "0 0 * * *", "Asia/Tokyo", NOON + HOUR
        cron.next_run_date, cron.updated_at, cron.enabled = None, NOON, False
        cron.payload, cron.on_run_completed = {"input": 1}, "delete"

    changed = await storage.crons.change(cron.cron_id, change)
    change(cron)
    assert changed == cron == await storage.crons.get(cron.cron_id)
    assert await storage.crons.change(str(uuid.uuid4()), change) is None


async def test_change_that_fails_changes_nothing(storage: Storage) -> None:
    cron = await stored(storage)

    def fail(cron: Cron) -> None:
        cron.schedule = "changed"
        raise InvalidRequestError("no")

    with pytest.raises(InvalidRequestError):
        await storage.crons.change(cron.cron_id, fail)
    assert await storage.crons.get(cron.cron_id) == cron


async def test_search_filters(storage: Storage) -> None:
    thread_id = await on_thread(storage)
    one = await stored(storage, metadata={"team": "a", "tags": [1, 2]}, thread_id=thread_id)
    two = await stored(storage, metadata={"team": "b"}, enabled=False)

    wanted: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [one.cron_id, two.cron_id]),
        ({"assistant_id": two.assistant_id}, [two.cron_id]),
        ({"thread_id": thread_id}, [one.cron_id]),
        ({"thread_id": str(uuid.uuid4())}, []),
        ({"enabled": False}, [two.cron_id]),
        ({"enabled": True}, [one.cron_id]),
        ({"metadata": {"team": "a"}}, [one.cron_id]),
        ({"metadata": {"team": "a", "more": 1}}, []),
        ({"metadata": {"tags": [1, 2]}}, [one.cron_id]),
        ({"metadata": {"tags": [1]}}, []),
        ({"metadata": {}}, [one.cron_id, two.cron_id]),
    ]
    for criteria, ids in wanted:
        assert await found(storage, **criteria) == ids, criteria


async def test_page_comes_with_the_total(storage: Storage) -> None:
    crons = [await stored(storage, created_at=NOON - n * HOUR) for n in range(5)]
    ids = [cron.cron_id for cron in crons]

    for limit, offset, expected in ((2, 0, ids[:2]), (2, 4, ids[4:]), (10, 9, []), (0, 0, [])):
        page, total = await storage.crons.search(limit=limit, offset=offset)
        assert ([cron.cron_id for cron in page], total) == (expected, 5)


@pytest.mark.parametrize(
    ("sort_by", "fields", "order"),
    [
        ("created_at", [{"created_at": NOON}, {"created_at": NOON - HOUR}], [1, 0]),
        ("updated_at", [{"updated_at": NOON}, {"updated_at": NOON + HOUR}], [0, 1]),
        ("cron_id", [{"cron_id": "b"}, {"cron_id": "a"}], [1, 0]),
        ("next_run_date", [{"next_run_date": NOON}, {"next_run_date": None}], [1, 0]),
        ("end_time", [{"end_time": NOON + HOUR}, {"end_time": NOON}, {}], [2, 1, 0]),
        ("thread_id", [{}, {"thread_id": True}], [1, 0]),
        ("created_at", [{}, {}, {}], [0, 1, 2]),
    ],
)
async def test_search_sorts(storage: Storage, sort_by: CronSort, fields: list[Json], order: list[int]) -> None:
    shared = await assistant(storage)
    for each in fields:
        if "thread_id" in each:
            each = {"thread_id": await on_thread(storage)}  # parameters are shared between backends
        await stored(storage, metadata={"n": len(await found(storage))}, assistant_id=shared, **each)

    async def numbers(*, descending: bool) -> list[int]:
        page, _ = await storage.crons.search(sort_by=sort_by, descending=descending)
        return [cron.metadata["n"] for cron in page]

    assert await numbers(descending=False) == order
    equal = fields == [{}] * len(fields)
    assert await numbers(descending=True) == (order if equal else order[::-1])


@pytest.mark.parametrize(
    ("fields", "now", "is_due", "following"),
    [
        ({}, NOON - HOUR, False, NOON),
        ({}, NOON, True, NOON),
        ({}, NOON + 99 * HOUR, True, NOON),
        ({"enabled": False}, NOON, False, None),
        ({"next_run_date": None}, NOON, False, None),
        ({"end_time": NOON}, NOON, True, NOON),
        ({"end_time": NOON + HOUR}, NOON + 2 * HOUR, False, None),
        ({"end_time": NOON - HOUR}, NOON - 2 * HOUR, False, None),
        ({"end_time": NOON + HOUR}, NOON - HOUR, False, NOON),
    ],
)
async def test_due_is_what_may_fire_now(
    storage: Storage, fields: Json, now: datetime, is_due: bool, following: datetime | None
) -> None:
    cron = await stored(storage, **fields)

    assert await due(storage, now) == [cron.cron_id] * is_due
    assert await storage.crons.next_due(now) == following


async def test_longest_due_comes_first(storage: Storage) -> None:
    crons = [await stored(storage, next_run_date=NOON - n * HOUR) for n in range(4)]

    assert await due(storage, NOON) == [cron.cron_id for cron in reversed(crons)]
    assert [cron.cron_id for cron in await storage.crons.due(NOON, 1)] == [crons[-1].cron_id]
    assert await storage.crons.next_due(NOON) == NOON - 3 * HOUR


async def test_one_of_all_claims_succeeds(storage: Storage, open_storage: Open) -> None:
    cron = await stored(storage)
    storages = [storage, *[await open_storage() for _ in range(3)]]
    seen = [(await each.crons.due(NOON, 1))[0] for each in storages]

    claims = await asyncio.gather(
        *(each.crons.claim(was, NOON + HOUR) for each, was in zip(storages, seen, strict=True))
    )

    cron.next_run_date = NOON + HOUR
    assert [claim for claim in claims if claim] == [cron]
    assert await due(storage, NOON) == []
    assert await storage.crons.next_due(NOON) == NOON + HOUR


async def test_claim_gives_the_cron_as_it_now_is(storage: Storage) -> None:
    cron = await stored(storage)

    def rename(cron: Cron) -> None:
        cron.payload = {"input": "new"}

    await storage.crons.change(cron.cron_id, rename)
    claim = await storage.crons.claim(cron, None)

    assert claim is not None
    assert (claim.payload, claim.next_run_date) == ({"input": "new"}, None)


def _disable(cron: Cron) -> None:
    cron.enabled = False


def _postpone(cron: Cron) -> None:
    cron.next_run_date = NOON + HOUR


@pytest.mark.parametrize("change", [_disable, _postpone, None])
async def test_cron_that_changed_since_it_was_due_is_not_claimed(storage: Storage, change: Any) -> None:
    cron = await stored(storage)
    if change is None:
        await storage.crons.delete(cron.cron_id)
    else:
        await storage.crons.change(cron.cron_id, change)

    assert await storage.crons.claim(cron, NOON + 2 * HOUR) is None
    held = await storage.crons.get(cron.cron_id)
    assert held is None or held.next_run_date != NOON + 2 * HOUR


async def test_wait_returns_after_a_change(storage: Storage) -> None:
    made = await stored(storage)
    await storage.crons.wait()

    waiting = asyncio.create_task(storage.crons.wait())
    await storage.crons.get(made.cron_id)
    assert not waiting.done()
    await storage.crons.change(made.cron_id, _postpone)
    await waiting


async def test_run_of_a_cron_and_its_next_date_come_together(storage: Storage, open_storage: Open) -> None:
    cron = await stored(storage)
    fired = FiredCron(cron, NOON + HOUR)
    other = await open_storage()
    thread = make_thread()
    runs = [make_run(thread.thread_id) for _ in range(2)]
    results = await asyncio.gather(
        *(
            each.queue.enqueue(run, thread=thread, fired=fired)
            for each, run in zip((storage, other), runs, strict=True)
        ),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["FencedError", "list"]
    assert len(await storage.records.active_runs(thread.thread_id)) == 1
    now = await storage.crons.get(cron.cron_id)
    assert now is not None
    assert now.next_run_date == NOON + HOUR

    refused = make_run(thread.thread_id, multitask_strategy="reject")
    with pytest.raises(ConflictError):
        await storage.queue.enqueue(refused, fired=FiredCron(now, NOON + 2 * HOUR))
    assert await storage.crons.get(cron.cron_id) == now
