"""Searches: what one client asks for holds up nobody, ends in time, and finds nothing that is another's."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import SearchOp
from langgraph.store.sqlite.aio import AsyncSqliteStore

from api.access_filter import InvalidFilterError, parse
from api.errors import AnswerTooLargeError, SearchTimeoutError, ThreadlineError
from api.serde import dumps, loads
from api.storage.sqlite.searches import Searches
from api.storage.sqlite.store import open_store
from api.storage.sqlite.store_searches import open_store_searches
from api.store_config import StoreConfig
from tests.contract.backends import make_run, make_thread
from tests.contract.conftest import Open

PATIENCE = 30


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def endless(connection: sqlite3.Connection) -> Any:
    return connection.execute(ENDLESS).fetchone()


def one(connection: sqlite3.Connection) -> Any:
    return connection.execute("SELECT 1").fetchone()[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (n)")
    return path


@pytest.fixture
async def searches(path: Path) -> AsyncIterator[Searches]:
    searches = Searches(path, seconds=600)
    await searches.open()
    yield searches
    async with asyncio.timeout(PATIENCE):
        await searches.close()


async def test_slow_searches_hold_up_no_other(searches: Searches) -> None:
    slow = [searches.run(endless) for _ in range(8)]
    async with asyncio.timeout(PATIENCE):
        for _ in range(50):
            assert await searches.run(one) == 1
    assert not any(each.done() for each in slow)


async def test_whoever_stops_waiting_ends_the_search(searches: Searches) -> None:
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await searches.run(endless)
    # All threads are free again: a job that the quick ones give up comes to its end among the slow ones.
    waited = asyncio.Event()

    def half(connection: sqlite3.Connection) -> int:
        if not waited.is_set():
            waited.set()
            endless(connection)
        return 2

    async with asyncio.timeout(PATIENCE):
        assert await searches.run(half) == 2


async def test_a_search_ends_in_time(path: Path) -> None:
    searches = Searches(path, seconds=0.1)
    await searches.open()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(SearchTimeoutError, match=r"longer than 0.1 s"):
            await searches.run(endless)
        assert await searches.run(one) == 1
        await searches.close()
    with pytest.raises(ThreadlineError, match="closed"):
        await searches.run(one)


async def test_closing_ends_what_is_under_way(path: Path) -> None:
    searches = Searches(path, seconds=600)
    await searches.open()
    slow = searches.run(endless)
    async with asyncio.timeout(PATIENCE):
        await searches.close()
    with pytest.raises(ThreadlineError, match="closed"):
        await slow


async def test_a_search_of_the_store_ends_in_time_or_with_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StoreConfig({})
    path = tmp_path / "store.sqlite"
    search = SearchOp(())

    async def slow(store: AsyncSqliteStore, _: Any) -> Any:
        return await store.conn.execute_fetchall(ENDLESS)

    async with (
        open_store(path, ttl=config.ttl) as store,
        open_store_searches(path, ttl=config.ttl, index=None, seconds=0.1, max_bytes=1000) as searches,
        asyncio.timeout(PATIENCE),
    ):
        await store.aput(("n",), "k", {"a": 1})
        with monkeypatch.context() as patched:
            patched.setattr(AsyncSqliteStore, "abatch", slow)
            for _ in range(4):
                with pytest.raises(SearchTimeoutError):
                    await searches.run(search)
            searching = asyncio.create_task(searches.run(search))
            await asyncio.sleep(0)
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)
        [item] = await searches.run(search)
        assert loads(dumps(item.value)) == {"a": 1}
        await store.aput(("n",), "big", {"a": "x" * 1000})
        with pytest.raises(AnswerTooLargeError):
            await searches.run(search)
        assert len(await searches.run(SearchOp((), filter={"a": 1}))) == 1


async def test_a_name_with_a_nul_is_no_other(open_storage: Open) -> None:
    storage = await open_storage()
    for metadata in ({"owner\0": "bob"}, {"owner": "bob\0"}, {"owner\0x": "bob", "owner": "ann"}, {"own\0": ["bob"]}):
        await storage.records.create_thread(make_thread(metadata=metadata))
    for filters in ({"owner": "bob"}, {"own": {"$contains": "bob"}}):
        assert await storage.records.search_threads(access=parse(filters)) == ([], 0)
    for filters in ({"owner\0": "bob"}, {"owner": "bob\0"}, {"owner": {"$contains": ["a\0"]}}):
        with pytest.raises(InvalidFilterError):
            parse(filters)


async def test_what_the_database_finds_is_looked_at_again(open_storage: Open, caplog: pytest.LogCaptureFixture) -> None:
    storage: Any = await open_storage()
    for owner in ("ann", "bob", "bob"):
        await storage.records.create_thread(make_thread(metadata={"owner": owner}))
    queries = storage.records._queries
    wrong = queries["search_threads"].replace(":access IS NULL", ":access IS NOT NULL")
    storage.records._queries = {**queries, "search_threads": wrong}
    found, total = await storage.records.search_threads(access=parse({"owner": "bob"}))
    assert ([thread.metadata["owner"] for thread in found], total) == (["bob", "bob"], 2)
    assert "1 records that are not the caller's" in caplog.text


async def test_what_is_found_is_bounded(open_storage: Open) -> None:
    storage = await open_storage(max_answer_bytes=10_000)
    threads = [make_thread(values=b'{"a":"%b"}' % (b"x" * 1000), metadata={"n": n}) for n in range(20)]
    for thread in threads:
        await storage.records.create_thread(thread)
        await storage.queue.enqueue(make_run(threads[0].thread_id, kwargs={"input": "x" * 1000}))
    ids = [thread.thread_id for thread in threads]
    with pytest.raises(AnswerTooLargeError):
        await storage.records.search_threads(limit=20)
    found, total = await storage.records.search_threads(limit=20, with_values=False)
    assert ([thread.values for thread in found], total) == ([None] * 20, 20)
    assert len((await storage.records.search_threads(limit=5))[0]) == 5
    with pytest.raises(AnswerTooLargeError):
        await storage.records.extract(ids, {"a": ("values", ["a"])})
    with pytest.raises(AnswerTooLargeError):
        await storage.records.list_runs(ids[0], limit=20)
    parts = await storage.records.extract(ids[:2], {"a": ("values", ["a"]), "n": ("metadata", [])})
    assert parts[ids[0]]["a"] == "x" * 1000
    assert loads(dumps(parts[ids[1]]["n"])) == {"n": 1}
