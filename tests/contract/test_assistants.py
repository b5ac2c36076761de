"""Assistants and their versions as rows."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.schemas import Assistant, AssistantSort, Cron, Json
from api.storage.base import Storage
from tests.contract.backends import DONE, WORKER, enqueued, make_thread
from tests.contract.conftest import Open

GRAPHS = ("one", "Two")


def make_assistant(**fields: Any) -> Assistant:
    """An assistant that nobody has stored."""
    now = datetime.now(UTC)
    defaults = {"assistant_id": str(uuid.uuid4()), "graph_id": "one", "created_at": now, "updated_at": now}
    return Assistant(**{**defaults, **fields})


async def stored(storage: Storage, **fields: Any) -> Assistant:
    """An assistant that is stored."""
    assistant = make_assistant(**fields)
    assert await storage.assistants.create(assistant) is None
    return assistant


async def found(storage: Storage, **criteria: Any) -> list[str]:
    """The names of those that a search finds."""
    page, total = await storage.assistants.search(graph_ids=GRAPHS, **criteria)
    assert total == len(page)
    return [assistant.name for assistant in page]


async def test_assistant_comes_back_as_it_was(storage: Storage, open_storage: Open) -> None:
    assistant = await stored(
        storage,
        created_at=datetime(2025, 3, 30, 1, 59, 59, 999_999, tzinfo=UTC),
        config={"configurable": {"model": "m"}, "recursion_limit": 5},
        context={"model": "m"},
        metadata={"name": "naïve ☃", "nested": {"a": [1, 2.5, None, True]}},
        name="Ärger",
        description="naïve",
    )

    assert await storage.assistants.get(assistant.assistant_id) == assistant
    another = await open_storage()
    assert await another.assistants.get(assistant.assistant_id) == assistant
    assert await storage.assistants.get(str(uuid.uuid4())) is None


async def test_a_graphs_own_assistant_takes_its_id_from_a_client(storage: Storage, open_storage: Open) -> None:
    taken = await stored(storage, name="mine", metadata={"created_by": "system", "owner": "bob"})
    await storage.assistants.patch(taken.assistant_id, {"context": {"prompt": "mine"}})
    cron = Cron(str(uuid.uuid4()), taken.assistant_id, "0 * * * *", taken.created_at, taken.created_at, None)
    assert await storage.crons.create(cron)
    run = await enqueued(storage, assistant_id=taken.assistant_id)
    own, new_id = make_assistant(assistant_id=taken.assistant_id, name="of the graph"), str(uuid.uuid4())

    assert await storage.assistants.register(own, new_id) == (None, True)

    another = await open_storage()
    assert await another.assistants.get(own.assistant_id) == own
    renamed = await another.assistants.get(new_id)
    assert renamed is not None
    assert (renamed.name, renamed.version, renamed.context) == ("mine", 2, {"prompt": "mine"})
    assert [version.version for version in await another.assistants.versions(new_id)] == [2, 1]
    assert [version.version for version in await another.assistants.versions(own.assistant_id)] == [1]
    moved = await another.crons.get(cron.cron_id)
    assert moved is not None
    assert moved.assistant_id == new_id
    assert list(await another.assistants.active_runs(new_id)) == [run.run_id]
    assert await another.assistants.register(own, str(uuid.uuid4())) == (own, False)


async def test_a_graphs_own_assistant_stays_as_it_was_changed(storage: Storage) -> None:
    own = make_assistant()
    assert await storage.assistants.register(own, str(uuid.uuid4())) == (None, False)
    changed = await storage.assistants.patch(own.assistant_id, {"metadata": {"created_by": "me"}})
    assert await storage.assistants.register(own, str(uuid.uuid4())) == (changed, False)


async def test_create_returns_the_one_that_is_there(storage: Storage) -> None:
    assistant = await stored(storage, name="first")

    assert await storage.assistants.create(make_assistant(assistant_id=assistant.assistant_id)) == assistant
    assert len(await storage.assistants.versions(assistant.assistant_id)) == 1


async def test_patch_adds_a_version_and_merges_metadata(storage: Storage) -> None:
    first = await stored(storage, metadata={"a": 1, "b": {"c": 2}}, config={"tags": ["t"]}, description="d")

    changed = await storage.assistants.patch(
        first.assistant_id, {"name": "second", "metadata": {"b": {"d": 3}}, "context": {"x": 1}}
    )

    assert changed is not None
    assert (changed.version, changed.name, changed.description) == (2, "second", "d")
    assert changed.metadata == {"a": 1, "b": {"d": 3}}
    assert (changed.config, changed.context) == ({"tags": ["t"]}, {"x": 1})
    assert changed.created_at == first.created_at
    assert changed.updated_at > first.updated_at
    assert await storage.assistants.get(first.assistant_id) == changed
    assert await storage.assistants.patch(str(uuid.uuid4()), {"name": "nobody"}) is None


async def test_set_latest_restores_all_of_a_version(storage: Storage) -> None:
    first = await stored(
        storage, config={"tags": ["t"]}, context={"x": 1}, metadata={"a": 1}, name="first", description="d"
    )
    everything = {"graph_id": "Two", "config": {}, "context": {}, "metadata": {"b": 2}, "name": "n", "description": "e"}
    await storage.assistants.patch(first.assistant_id, everything)

    restored = await storage.assistants.set_latest(first.assistant_id, 1)

    assert restored is not None
    assert restored.updated_at > first.updated_at
    restored.updated_at = first.updated_at
    assert restored == first
    assert await storage.assistants.set_latest(first.assistant_id, 3) is None
    assert await storage.assistants.set_latest(str(uuid.uuid4()), 1) is None


async def test_a_version_after_going_back_builds_on_the_restored_one_and_is_numbered_last(storage: Storage) -> None:
    first = await stored(storage, name="first", context={"x": 1})
    await storage.assistants.patch(first.assistant_id, {"context": {"x": 2}})
    await storage.assistants.set_latest(first.assistant_id, 1)

    changed = await storage.assistants.patch(first.assistant_id, {"name": "third"})

    assert changed is not None
    assert (changed.version, changed.name, changed.context) == (3, "third", {"x": 1})


async def test_patches_at_one_time_are_versions_of_their_own(storage: Storage) -> None:
    assistant_id = (await stored(storage)).assistant_id

    changed = await asyncio.gather(
        *(storage.assistants.patch(assistant_id, {"metadata": {f"key_{at}": at}}) for at in range(20))
    )

    assert sorted(each.version for each in changed if each) == list(range(2, 22))
    latest = await storage.assistants.get(assistant_id)
    assert latest is not None
    assert latest.metadata == {f"key_{at}": at for at in range(20)}


async def test_versions_are_listed_from_the_highest_in_pages(storage: Storage) -> None:
    first = await stored(storage, metadata={"v": 1})
    for number in (2, 3):
        await storage.assistants.patch(first.assistant_id, {"metadata": {"v": number}})

    async def numbers(**criteria: Any) -> list[int]:
        return [each.version for each in await storage.assistants.versions(first.assistant_id, **criteria)]

    assert await numbers() == [3, 2, 1]
    assert await numbers(limit=1, offset=1) == [2]
    assert await numbers(metadata={"v": 1}) == [1]
    assert await numbers(offset=3) == []
    times = [each.created_at for each in await storage.assistants.versions(first.assistant_id)]
    assert times == sorted(times, reverse=True)
    assert times[-1] == first.created_at
    assert await storage.assistants.versions(str(uuid.uuid4())) == []


async def test_deleted_assistant_is_gone_with_its_versions(storage: Storage) -> None:
    assistant = await stored(storage)
    await storage.assistants.patch(assistant.assistant_id, {"name": "second"})

    assert await storage.assistants.delete(assistant.assistant_id)

    assert await storage.assistants.get(assistant.assistant_id) is None
    assert await storage.assistants.versions(assistant.assistant_id) == []
    assert not await storage.assistants.delete(assistant.assistant_id)
    assert await storage.assistants.create(assistant) is None
    assert len(await storage.assistants.versions(assistant.assistant_id)) == 1


async def test_search_by_graph(storage: Storage) -> None:
    await stored(storage, name="a")
    await stored(storage, name="b", graph_id="Two")
    await stored(storage, name="c", graph_id="removed")

    assert await found(storage) == ["b", "a"]
    page, total = await storage.assistants.search(graph_ids=["removed"])
    assert ([each.name for each in page], total) == (["c"], 1)
    assert await storage.assistants.search(graph_ids=[]) == ([], 0)


@pytest.mark.parametrize(("name", "expected"), [("ÄRG", 1), ("large 100%", 1), ("%", 1), ("l_rge", 0), ("", 3)])
async def test_search_by_a_part_of_the_name(storage: Storage, name: str, expected: int) -> None:
    for each in ("Ärger", "Large 100% wool", "other"):
        await stored(storage, name=each)

    assert len(await found(storage, name=name)) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"a": {"b": 1}}, True),
        ({"a": {}}, True),
        ({"a": {"c": [1, {"d": None}]}}, True),
        ({"a": {"c": [1]}}, False),
        ({"a": {"c": []}}, False),
        ({"a": {"b": 2}}, False),
        ({"a": {"b": "1"}}, False),
        ({"a": None}, False),
        ({"missing": None}, False),
        ({"dotted.key": "x"}, True),
        ({"dotted": {"key": "x"}}, False),
    ],
)
async def test_search_by_metadata(storage: Storage, wanted: Json, *, expected: bool) -> None:
    await stored(storage, name="it", metadata={"a": {"b": 1, "c": [1, {"d": None}]}, "dotted.key": "x"})

    assert await found(storage, metadata=wanted) == (["it"] if expected else [])


@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        ("created_at", ["B", "a", "C"]),
        ("updated_at", ["C", "a", "B"]),
        ("name", ["a", "B", "C"]),
        ("graph_id", ["C", "B", "a"]),
        ("assistant_id", ["a", "C", "B"]),
    ],
)
async def test_search_is_sorted(storage: Storage, sort_by: AssistantSort, expected: list[str]) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for name, graph_id, key, age in (("C", "one", 5, 1), ("B", "Two", 7, 3), ("a", "Two", 1, 2)):
        times = {"created_at": start - timedelta(days=age), "updated_at": start + timedelta(days=age)}
        await stored(storage, name=name, graph_id=graph_id, assistant_id=str(uuid.UUID(int=key)), **times)

    assert await found(storage, sort_by=sort_by, descending=False) == expected
    equals_stay_as_created = ["B", "a", "C"]
    assert await found(storage, sort_by=sort_by) == (
        equals_stay_as_created if sort_by == "graph_id" else expected[::-1]
    )


async def test_search_in_pages_says_how_many_there_are(storage: Storage) -> None:
    for number in range(5):
        await stored(storage, name=str(number))

    async def page(limit: int, offset: int) -> tuple[list[str], int]:
        found, total = await storage.assistants.search(
            graph_ids=GRAPHS, sort_by="name", descending=False, limit=limit, offset=offset
        )
        return [each.name for each in found], total

    assert await page(2, 0) == (["0", "1"], 5)
    assert await page(2, 4) == (["4"], 5)
    assert await page(2, 9) == ([], 5)
    assert await page(0, 0) == ([], 5)


async def test_active_runs_and_threads_of_an_assistant(storage: Storage) -> None:
    mine = {"assistant_id": "mine"}
    finished = await enqueued(storage, make_thread(metadata=mine), assistant_id="mine")
    claimed = await storage.queue.claim(WORKER, 30.0)
    assert claimed is not None
    await storage.queue.finish(finished.run_id, claimed.attempt, DONE, events=0)
    running = await enqueued(storage, make_thread(metadata=mine), assistant_id="mine")
    await storage.queue.claim(WORKER, 30.0)
    pending = await enqueued(storage, make_thread(metadata={"assistant_id": "other"}), assistant_id="mine")
    await enqueued(storage, make_thread(), assistant_id="other")

    assert await storage.assistants.active_runs("mine") == [running.run_id, pending.run_id]
    assert await storage.assistants.threads("mine") == [finished.thread_id, running.thread_id, pending.thread_id]
    assert await storage.assistants.active_runs("nobody") == []
    assert await storage.assistants.threads("nobody") == []
