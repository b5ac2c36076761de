"""Access filters: a search has exactly what the filter itself matches, and a run gets no thread of another."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from api.access_filter import InvalidFilterError, parse, permits
from api.errors import NotFoundError
from api.schemas import Assistant, Cron, Json
from api.storage.base import Storage
from tests.contract.backends import make_run, make_thread

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

METADATA: list[Json] = [
    {},
    {"owner": "a"},
    {"owner": "b", "team": "t"},
    {"owner": "A"},
    {"owner": None},
    {"owner": 1},
    {"owner": True},
    {"owner": ["a"]},
    {"owner": {"a": "a", "value": "a"}},
    {"nested": {"owner": "a"}},
    {"people": ["a", "b"], "team": "t"},
    {"people": ["b"]},
    {"people": [["a"], {"x": "a"}]},
    {"people": "a"},
    {"people": [1, 2.5, True, None]},
    {'o"w.n[0]': "a"},
    {"owner": "x' OR 1=1 --"},
]

FILTERS: list[Json] = [
    {"owner": "a"},
    {"owner": {"$eq": "a"}},
    {"owner": 1},
    {"owner": 1.0},
    {"owner": True},
    {"owner": None},
    {"owner": "nobody"},
    {"owner": {"$contains": "a"}},
    {"people": {"$contains": "a"}},
    {"people": {"$contains": ["b", "a"]}},
    {"people": {"$contains": 1}},
    {"people": {"$contains": True}},
    {"people": {"$contains": None}},
    {"people": "a"},
    {"owner": "b", "team": "t"},
    {"owner": "a", "team": "t"},
    {"$or": [{"owner": "a"}, {"people": {"$contains": "a"}}]},
    {"$and": [{"team": "t"}, {"$or": [{"owner": "b"}, {"people": {"$contains": "b"}}]}]},
    {"team": "t", "$or": [{"owner": "a"}, {"owner": "b"}]},
    {'o"w.n[0]': "a"},
    {"owner": "x' OR 1=1 --"},
    {},
]


@pytest.fixture
async def filled(storage: Storage) -> Storage:
    """A backend with a thread, an assistant and a cron of each metadata; their ids end with its place."""
    for place, metadata in enumerate(METADATA):
        key = str(uuid.UUID(int=place))
        await storage.records.create_thread(make_thread(thread_id=key, metadata=metadata))
        await storage.assistants.create(Assistant(key, "one", NOON, NOON, metadata=metadata))
        await storage.crons.create(Cron(key, key, "0 * * * *", NOON, NOON, NOON, metadata=metadata))
    return storage


async def test_searches_have_what_the_filter_matches(filled: Storage) -> None:
    for filters in FILTERS:
        access = parse(filters)
        expected = {str(uuid.UUID(int=at)) for at, metadata in enumerate(METADATA) if permits(access, metadata)}
        threads, count = await filled.records.search_threads(access=access, limit=100)
        assert ({thread.thread_id for thread in threads}, count) == (expected, len(expected)), filters
        assistants, count = await filled.assistants.search(graph_ids=["one"], access=access, limit=100)
        assert ({each.assistant_id for each in assistants}, count) == (expected, len(expected)), filters
        crons, count = await filled.crons.search(access=access, limit=100)
        assert ({cron.cron_id for cron in crons}, count) == (expected, len(expected)), filters


def test_filters_match_as_langgraphs_server_has_it() -> None:
    def matching(filters: Json) -> list[Json]:
        return [metadata for metadata in METADATA if permits(parse(filters), metadata)]

    assert matching({"owner": "a"}) == [{"owner": "a"}]
    assert matching({"owner": True}) == [{"owner": True}]
    assert matching({"people": {"$contains": ["b", "a"]}}) == [{"people": ["a", "b"], "team": "t"}]
    assert len(matching({"$or": [{"owner": "a"}, {"people": {"$contains": "b"}}]})) == 3
    assert matching({"team": "t", "$or": [{"owner": "a"}, {"owner": "b"}]}) == [{"owner": "b", "team": "t"}]
    assert matching({}) == METADATA


@pytest.mark.parametrize(
    "filters",
    [
        {"owner": {"$ne": "a"}},
        {"owner": {"$eq": "a", "$contains": "b"}},
        {"owner": ["a"]},
        {"people": {"$contains": []}},
        {"$or": [{"owner": "a"}]},
        {"$not": {"owner": "a"}},
        {"$and": [{"owner": "a"}, {}]},
        {"$or": [{"$or": [{"$or": [{"$or": [{"a": 1}, {"b": 1}]}, {"c": 1}]}, {"d": 1}]}, {"e": 1}]},
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused(filters: Any) -> None:
    with pytest.raises(InvalidFilterError):
        parse(filters)


async def test_shared_assistants_are_found_by_everybody(filled: Storage) -> None:
    shared = str(uuid.UUID(int=0))
    found, count = await filled.assistants.search(
        graph_ids=["one"], access=parse({"owner": "a"}), shared=[shared], limit=100
    )
    assert ({each.assistant_id for each in found}, count) == ({shared, str(uuid.UUID(int=1))}, 2)


async def test_run_on_anothers_thread_is_not_made_and_changes_nothing(storage: Storage) -> None:
    theirs = make_thread(metadata={"owner": "b"})
    await storage.records.create_thread(theirs)
    running = make_run(theirs.thread_id)
    await storage.queue.enqueue(running)
    mine = parse({"owner": "a"})

    for strategy in ("reject", "enqueue", "interrupt", "rollback"):
        with pytest.raises(NotFoundError):
            await storage.queue.enqueue(make_run(theirs.thread_id, multitask_strategy=strategy), access=mine)
        # Also with a thread to make if there is none: there is one.
        thread = make_thread(thread_id=theirs.thread_id, metadata={"owner": "a"})
        with pytest.raises(NotFoundError):
            await storage.queue.enqueue(
                make_run(theirs.thread_id, multitask_strategy=strategy), thread=thread, access=mine
            )

    (active,) = await storage.records.active_runs(theirs.thread_id)
    assert (active.run_id, active.cancel) == (running.run_id, None)
    held = await storage.records.get_thread(theirs.thread_id)
    assert held is not None
    assert held.metadata["owner"] == "b"


async def test_run_on_a_thread_that_the_filter_matches_is_made(storage: Storage) -> None:
    thread = make_thread(metadata={"owner": "a"})
    await storage.records.create_thread(thread)
    run = make_run(thread.thread_id)
    await storage.queue.enqueue(run, access=parse({"owner": "a"}))
    assert [each.run_id for each in await storage.records.active_runs(thread.thread_id)] == [run.run_id]


async def test_cron_keeps_who_made_it(filled: Storage) -> None:
    key = str(uuid.UUID(int=1))
    caller = {"user": {"identity": "a"}, "permissions": [], "studio": False}
    cron = Cron(str(uuid.uuid4()), key, "0 * * * *", NOON, NOON, NOON, caller=caller)
    await filled.crons.create(cron)
    assert await filled.crons.get(cron.cron_id) == cron
