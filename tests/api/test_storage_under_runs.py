"""A storage that fails under a run: the run waits and goes on from its last checkpoint; only damage ends it."""

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.app import Threadline
from api.protocols.native import AgentRequest
from api.schemas import Run
from api.settings import Settings

FILES = ("threadline.sqlite", "checkpoints.sqlite", "store.sqlite")
_PAGES = 1_000_000


@pytest.fixture
async def threadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Threadline]:
    monkeypatch.setattr("api.executor._RETRY_SECONDS", 0.02)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"storing": "tests.api.failing_graphs:storing"}}))
    async with Threadline(Settings(config=config)) as opened:
        yield opened


async def _begin(threadline: Threadline, text: str) -> Run:
    return await threadline.runs.create(await threadline.agents.request("storing", AgentRequest(input=text)))


async def _ended(threadline: Threadline, run: Run) -> Run:
    async with asyncio.timeout(30):
        await threadline.runs.collect(run.run_id, ())
    found = await threadline.storage.records.get_run(run.run_id)
    assert found is not None
    return found


async def _limit(threadline: Threadline, name: str, pages: int) -> None:
    """How large a file may become: under what it is, there is no room for more."""
    statement = f"PRAGMA max_page_count={pages}"
    registry: Any = threadline.registry
    if name == "store.sqlite":
        await (await registry.store.conn.execute(statement)).fetchall()
        return
    database = threadline.storage.database if name == FILES[0] else registry.checkpointer._database  # type: ignore[attr-defined]  # of SQLite
    await database.write(lambda db: db.execute(statement).fetchall())


@contextlib.asynccontextmanager
async def _full(threadline: Threadline, name: str) -> AsyncIterator[None]:
    await _limit(threadline, name, 1)
    yield
    await _limit(threadline, name, _PAGES)


async def _until_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3000):
        if "when the storage works again" in caplog.text or "cannot be ended now" in caplog.text:
            return
        await asyncio.sleep(0.01)
    pytest.fail(caplog.text)


def _messages(run_values: bytes | None) -> list[str]:
    assert run_values is not None
    return [message["content"].split(" ")[0] for message in json.loads(run_values)["messages"]]


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("text", ["plainly", "wrapped"])
async def test_run_goes_on_when_there_is_room_again(
    threadline: Threadline, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    caplog.set_level(logging.WARNING)
    async with _full(threadline, name):
        run = await _begin(threadline, text)
        await _until_it_waits(caplog)
    ended = await _ended(threadline, run)
    assert ended.status == "success", caplog.text
    assert ended.attempt > 1
    thread = await threadline.threads.get(run.thread_id)
    assert _messages(thread.values) == [text, "remembered", "closed"]


async def test_events_that_find_no_room_are_there_later(
    threadline: Threadline, caplog: pytest.LogCaptureFixture
) -> None:
    # One before, so that the next run's row finds room.
    await _ended(threadline, await _begin(threadline, "before"))
    registry: Any = threadline.registry
    store = registry.store
    put = store.abatch
    stuck = asyncio.Event()

    async def held(ops: Any) -> Any:
        if not stuck.is_set():
            await _limit(threadline, FILES[0], 1)
            stuck.set()
        return await put(ops)

    store.abatch = held
    run = await _begin(threadline, "now")
    await stuck.wait()
    await _until_it_waits(caplog)
    await _limit(threadline, FILES[0], _PAGES)
    assert (await _ended(threadline, run)).status == "success"
    events = [*await threadline.storage.log.read(run.run_id, 0)]
    while events[-1].kind != "end":
        assert await threadline.storage.log.wait(run.run_id, events[-1].seq, 30)
        events += await threadline.storage.log.read(run.run_id, events[-1].seq)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events].count("end") == 1


async def test_failure_of_a_database_of_the_graphs_own_is_the_graphs(threadline: Threadline) -> None:
    run = await _begin(threadline, "its own")
    ended = await _ended(threadline, run)
    assert (ended.status, ended.attempt) == ("error", 1)
    thread = await threadline.threads.get(run.thread_id)
    assert "OperationalError" in str(thread.error)


async def test_store_works_again_after_it_was_full(threadline: Threadline) -> None:
    registry: Any = threadline.registry
    async with _full(threadline, "store.sqlite"):
        with pytest.raises(Exception, match=r"store\.sqlite failed: database or disk is full"):
            await registry.store.aput(("n",), "lost", {"text": "x" * 50_000})
    await registry.store.aput(("n",), "kept", {"text": "x" * 50_000})
    assert await registry.store.aget(("n",), "kept") is not None
    assert await registry.store.aget(("n",), "lost") is None


@pytest.mark.parametrize("name", FILES[1:])
async def test_what_no_waiting_mends_ends_the_run(threadline: Threadline, tmp_path: Path, name: str) -> None:
    """A damaged page, or a table that is gone: the run ends, and the message says of which file."""
    with contextlib.closing(sqlite3.connect(tmp_path / ".threadline" / name)) as db:
        db.execute("DROP TABLE " + {"checkpoints.sqlite": "checkpoints", "store.sqlite": "store"}[name])
    run = await _begin(threadline, "hi")
    ended = await _ended(threadline, run)
    assert (ended.status, ended.attempt) == ("error", 1)
    thread = await threadline.threads.get(run.thread_id)
    assert f"The database {name} failed" in str(thread.error)


async def test_run_whose_rollback_meets_damage_ends(threadline: Threadline, tmp_path: Path) -> None:
    gate = asyncio.Event()
    registry: Any = threadline.registry
    put, reached = registry.store.abatch, asyncio.Event()

    async def held(ops: Any) -> Any:
        reached.set()
        await gate.wait()
        return await put(ops)

    registry.store.abatch = held
    run = await _begin(threadline, "hi")
    await reached.wait()
    with contextlib.closing(sqlite3.connect(tmp_path / ".threadline" / "checkpoints.sqlite")) as db:
        db.execute("DROP TABLE checkpoints")
    await threadline.runs.cancel(run.run_id, "rollback")
    gate.set()
    for _ in range(1500):
        found = await threadline.storage.records.get_run(run.run_id)
        if found is None or found.status != "running":
            break
        await asyncio.sleep(0.02)
    assert found is None or found.status in ("error", "interrupted")
