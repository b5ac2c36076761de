"""What is no longer to be kept goes, nothing else does, and nothing is left behind: counted in the files themselves."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from api.app import Threadline
from api.checkpointer_config import VARIABLE, load_checkpointer_config
from api.errors import ConfigError, GapError
from api.settings import Settings
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate

Sdk = Any
"""The stock client; its annotations say less than it takes and gives."""

FILES = ("threadline.sqlite", "checkpoints.sqlite", "store.sqlite")


@pytest.fixture
def data(config: Path) -> Path:
    """The folder that the server keeps everything in."""
    return config.parent / ".threadline"


def _stock(client: Client) -> Sdk:
    return get_client(url=str(client.base_url))


def _configure(config: Path, **sections: Any) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), **sections}))


def _counts(data: Path) -> dict[str, int]:
    """How many rows each table of each file has."""
    counts = {}
    for name in FILES:
        with contextlib.closing(sqlite3.connect(data / name)) as db:
            tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            for (table,) in tables.fetchall():
                counts[f"{name}/{table}"] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return counts


def _rows(data: Path, file: str, query: str, *parameters: Any) -> list[Any]:
    with contextlib.closing(sqlite3.connect(data / file, isolation_level=None)) as db:
        return db.execute(query, parameters).fetchall()


async def _until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(true):
            pass


def _messages(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


# What checkpointer.ttl says


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ([], "checkpointer"),
        ({"ttl": {"strategy": "shred"}}, "checkpointer.ttl.strategy"),
        ({"ttl": {"default_ttl": "long"}}, "checkpointer.ttl.default_ttl"),
        ({"ttl": {"default_ttl": -1}}, "checkpointer.ttl.default_ttl"),
        ({"ttl": {"sweep_limit": 0}}, "checkpointer.ttl.sweep_limit"),
        ({"ttl": {"sweep_interval_minutes": 0}}, "checkpointer.ttl.sweep_interval_minutes"),
        ({"ttl": {"refresh": True}}, "checkpointer.ttl.refresh"),
        ({"time_to_live": 5}, "checkpointer.time_to_live"),
        ({"path": "./mine.py:saver"}, "checkpointer.path: only the built-in"),
    ],
)
def test_section_that_does_not_fit_stops_the_start(config: Path, section: Any, complaint: str) -> None:
    _configure(config, checkpointer=section or {"ttl": []})
    with pytest.raises(ConfigError, match=complaint):
        load_checkpointer_config(config)


def test_environment_goes_before_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _configure(config, checkpointer={"ttl": {"default_ttl": 5, "sweep_limit": None}, "path": None})
    assert load_checkpointer_config(config).default_ttl == 5
    monkeypatch.setenv(VARIABLE, "60")
    assert load_checkpointer_config(config).default_ttl == 60
    monkeypatch.setenv(VARIABLE, '{"strategy": "keep_latest", "default_ttl": 7}')
    assert load_checkpointer_config(config).strategy == "keep_latest"
    for wrong in ("soon", '{"strategy": "shred"}', "[]"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(ConfigError, match=VARIABLE):
            load_checkpointer_config(config)


async def test_every_new_thread_has_the_configured_ttl(config: Path, serve: Serve) -> None:
    _configure(config, checkpointer={"ttl": {"strategy": "keep_latest", "default_ttl": 60}})
    async with serve() as client, _stock(client) as sdk:
        created = (await sdk.threads.create())["thread_id"]
        own = (await sdk.threads.create(ttl=5))["thread_id"]
        native = (await client.run("words"))[0].data["thread_id"]
        copied = (await sdk.threads.copy(created))["thread_id"]
        made = "8d3a9b5e-7c52-4f0c-9d5e-0b7b1c1f6a12"
        await sdk.runs.wait(made, "steps", input={"number": 1}, if_not_exists="create")

        async def ttl(thread_id: str) -> tuple[str, float]:
            found = (await sdk.threads.get(thread_id, include=["ttl"]))["ttl"]
            return found["strategy"], found["ttl_minutes"]

        for thread_id in (created, native, copied, made):
            assert await ttl(thread_id) == ("keep_latest", 60)
        assert await ttl(own) == ("delete", 5)


async def _expired(client: Client, sdk: Sdk, thread_id: str, strategy: str) -> None:
    async with asyncio.timeout(20):
        while (found := await client.get(f"/threads/{thread_id}")).status_code != 404:
            if strategy == "keep_latest" and len(await sdk.threads.get_history(thread_id)) == 1:
                return
    assert (strategy, found.status_code) == ("delete", 404)


@pytest.mark.parametrize("strategy", ["delete", "keep_latest"])
async def test_threads_expire_as_configured(config: Path, serve: Serve, data: Path, strategy: str) -> None:
    # A tenth of a second to live, swept two at a time, every tenth of a second.
    ttl = {"strategy": strategy, "default_ttl": 0.1 / 60, "sweep_interval_minutes": 0.1 / 60, "sweep_limit": 2}
    _configure(config, checkpointer={"ttl": ttl})
    async with serve() as client, _stock(client) as sdk:
        with gate("holds") as held:
            threads = [(await client.run("steps", {"number": 2}))[0].data["thread_id"] for _ in range(5)]
            busy = (await sdk.threads.create(ttl={"ttl": 0.1 / 60, "strategy": strategy}))["thread_id"]
            await sdk.runs.create(busy, "gated", input=_messages("holds"), if_not_exists="create")
            await held.reached.wait()
            for thread_id in threads:
                await _expired(client, sdk, thread_id, strategy)
            assert (await sdk.threads.get(busy))["status"] == "busy"
            held.released.set()
        await _expired(client, sdk, busy, strategy)
        if strategy == "keep_latest":
            # Its time begins anew with its next run.
            await client.run("steps", {"number": 2}, thread_id=threads[0])
            await _expired(client, sdk, threads[0], strategy)
            assert (await sdk.threads.get(threads[0], include=["ttl"])).get("ttl") is None
    if strategy == "delete":
        _assert_nothing_is_left(data)


# Events and runs of long ago


def _make_old(data: Path, run_id: str, days: int) -> None:
    query = "UPDATE runs SET updated_at = updated_at - ? WHERE run_id = ?"
    _rows(data, "threadline.sqlite", query, days * 24 * 3600 * 1_000_000, run_id)


async def test_events_of_finished_runs_go_in_time(serve: Serve, data: Path) -> None:
    async with serve(events_ttl=10 * 24 * 3600) as client, _stock(client) as sdk:
        thread_id = (await sdk.threads.create())["thread_id"]
        old, new = [await sdk.runs.create(thread_id, "steps", input={"number": 2}) for _ in range(2)]
        result = await sdk.runs.join(thread_id, new["run_id"])
        _make_old(data, old["run_id"], 11)
        _make_old(data, new["run_id"], 9)
        before = _counts(data)
    async with serve(events_ttl=10 * 24 * 3600) as client, _stock(client) as sdk:
        query = "SELECT DISTINCT run_id FROM segments"
        await _until(lambda: _rows(data, "threadline.sqlite", query) == [(new["run_id"],)])

        path = f"/threads/{thread_id}/runs/{old['run_id']}"
        gone = await client.get(f"{path}/stream")
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "events_gone")
        # What it came to is in the thread: whoever joins gets that.
        assert await sdk.runs.join(thread_id, old["run_id"]) == result
        assert (await sdk.runs.get(thread_id, old["run_id"]))["status"] == "success"
        assert (await client.get(f"/threads/{thread_id}/runs/{new['run_id']}/stream")).status_code == 200
        assert _counts(data) | {"threadline.sqlite/segments": 0} == before | {"threadline.sqlite/segments": 0}


async def test_runs_go_in_time_and_positions_go_on(serve: Serve, data: Path) -> None:
    async with serve() as client, _stock(client) as sdk:
        thread_id = (await sdk.threads.create())["thread_id"]
        run = await sdk.runs.create(thread_id, "steps", input={"number": 2})
        state = await sdk.runs.join(thread_id, run["run_id"])
        [(events,)] = _rows(data, "threadline.sqlite", "SELECT events FROM threads")
        _make_old(data, run["run_id"], 1)
    async with serve(runs_ttl=3600) as client, _stock(client) as sdk:
        await _until(lambda: _counts(data)["threadline.sqlite/runs"] == 0)
        assert _counts(data)["threadline.sqlite/segments"] == 0
        assert (await sdk.threads.get_state(thread_id))["values"] == state
        following = await sdk.runs.create(thread_id, "steps", input={"number": 2})
        await sdk.runs.join(thread_id, following["run_id"])
        assert _rows(data, "threadline.sqlite", "SELECT base FROM runs") == [(events,)]


async def test_nothing_goes_that_is_to_be_kept_for_good(serve: Serve, data: Path) -> None:
    async with serve() as client:
        run_id = (await client.run("words"))[0].data["run_id"]
        _make_old(data, run_id, 1000)
    before = _counts(data)
    app = Threadline(Settings(config=data.parent / "langgraph.json", events_ttl=0, runs_ttl=0))
    async with app:
        assert len([event async for batch in app.runs.follow(run_id) for event in batch]) > 2
    assert _counts(data) == before


async def test_long_run_is_dropped_in_steps(config: Path, data: Path) -> None:
    async with Threadline(Settings(config=config)) as app:
        await app.storage.close()  # its threads are not needed: the file is filled here
        with contextlib.closing(sqlite3.connect(data / "threadline.sqlite", isolation_level=None)) as db:
            db.execute(
                "INSERT INTO threads (thread_id, created_at, updated_at, metadata, config, status, interrupts, events) "
                "VALUES ('t', 0, 0, '{}', '{}', 'idle', x'7b7d', 0)"
            )
            db.execute(
                "INSERT INTO runs (run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, "
                "multitask_strategy) VALUES ('r', 't', 'a', 0, 0, 'success', '{}', '{}', 'reject')"
            )
            db.execute("BEGIN")
            for seq in range(1, 1001):
                db.execute("INSERT INTO segments VALUES ('r', ?, ?, 0, zeroblob(50000))", (seq, seq))
            db.execute("COMMIT")
        await app.storage.open()
        commits = app.storage.database.commits  # type: ignore[attr-defined]  # of SQLite
        await app.storage.log.drop(["r"])
        assert app.storage.database.commits - commits >= 40  # type: ignore[attr-defined]
        assert _counts(data)["threadline.sqlite/segments"] == 0
        with pytest.raises(GapError):
            await app.storage.log.read("r", 999)


# Nothing is left behind


def _assert_nothing_is_left(data: Path) -> None:
    counts = _counts(data)
    expected = {"assistants", "assistant_versions", "store_migrations", "vector_migrations", "threadline_folder"}
    assert {name: count for name, count in counts.items() if count and name.split("/")[1] not in expected} == {}


def _orphans(data: Path) -> list[Any]:
    """Rows that belong to what is gone."""
    threads = {row[0] for row in _rows(data, "threadline.sqlite", "SELECT thread_id FROM threads")}
    kept = [
        row
        for table in ("checkpoints", "writes")
        for row in _rows(data, "checkpoints.sqlite", f"SELECT DISTINCT '{table}', thread_id FROM {table}")
        if row[1] not in threads
    ]
    parents = "SELECT thread_id, checkpoint_ns, checkpoint_id FROM"
    writes = _rows(data, "checkpoints.sqlite", f"{parents} writes EXCEPT {parents} checkpoints")
    segments = "SELECT run_id FROM segments EXCEPT SELECT run_id FROM runs"
    return [*kept, *writes, *_rows(data, "threadline.sqlite", segments)]


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[Sdk]:
    async with _stock(client) as stock:
        yield stock


async def test_stateless_runs_of_all_kinds_leave_nothing(client: Client, sdk: Sdk, data: Path) -> None:
    async def one(index: int) -> None:
        await sdk.runs.wait(None, "steps", input={"number": index})
        await client.post("/runs/wait", json={"assistant_id": "unserializable", "input": {}})
        await client.post("/runs/wait", json={"assistant_id": "approval", "input": _messages("pay")})
        await sdk.runs.create(None, "words", input="unread")
        async for _ in sdk.runs.stream(None, "words", input="read"):
            break
        wrong = {"assistant_id": "steps", "input": {"number": "none"}}
        await client.post("/runs/wait", json=wrong)

    await asyncio.gather(*map(one, range(10)))
    for action in ("interrupt", "rollback"):
        with gate(action) as held:
            await sdk.runs.create(None, "gated", input=_messages(action))
            waiting = await sdk.runs.create(None, "words", input="later", after_seconds=3600)
            await held.reached.wait()
            for status in ("running", "pending"):
                await client.post("/runs/cancel", params={"action": action}, json={"status": status})
            assert waiting["status"] == "pending"
    await _until(lambda: _counts(data)["threadline.sqlite/threads"] == 0)
    _assert_nothing_is_left(data)


async def test_deleted_things_leave_nothing(client: Client, sdk: Sdk, data: Path) -> None:
    assistant = (await sdk.assistants.create("approval"))["assistant_id"]
    await sdk.assistants.update(assistant, metadata={"second": True})
    thread_id = (await sdk.threads.create())["thread_id"]
    for graph in ("steps", "steps", "outer"):
        await client.post(f"/threads/{thread_id}/runs/wait", json={"assistant_id": graph, "input": {"number": 2}})
    await sdk.threads.update_state(thread_id, {"number": 3})
    copied = (await sdk.threads.copy(thread_id))["thread_id"]
    waits = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(waits, assistant, input=_messages("pay"))
    await sdk.crons.create(assistant, schedule="0 0 1 1 *", input={})
    await sdk.crons.create_for_thread(waits, "steps", schedule="0 0 1 1 *", input={})
    with gate("gone") as held:
        busy = (await sdk.threads.create())["thread_id"]
        await sdk.runs.create(busy, "gated", input=_messages("gone"))
        await held.reached.wait()
        await sdk.runs.create(busy, "gated", input=_messages("gone"), multitask_strategy="enqueue")
        await sdk.threads.delete(busy)
    assert _orphans(data) == []
    await sdk.assistants.delete(assistant)
    for each in (thread_id, copied, waits):
        await sdk.threads.delete(each)
    _assert_nothing_is_left(data)


async def test_rolled_back_run_leaves_nothing(client: Client, sdk: Sdk, data: Path) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread_id, "steps", input={"number": 1})
    before = _counts(data)
    with gate("rolled") as held:
        run = await sdk.runs.create(thread_id, "gated", input=_messages("rolled"))
        await held.reached.wait()
        await sdk.runs.cancel(thread_id, run["run_id"], action="rollback", wait=True)
    await _until(lambda: _counts(data) == before)
    assert _orphans(data) == []


async def test_what_a_killed_process_left_goes(serve: Serve, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # However new it is.
    monkeypatch.setattr("api.retention._ORPHAN_SECONDS", -60.0)
    async with serve() as client, _stock(client) as sdk:
        kept = (await client.run("steps", {"number": 1}))[0].data["thread_id"]
        gone = (await client.run("steps", {"number": 1}))[0].data["thread_id"]
        rolled = await sdk.runs.create(kept, "steps", input={"number": 1})
        await sdk.runs.join(kept, rolled["run_id"])
    # As if it had died between a thread's record and its checkpoints, and before it deleted a run.
    _rows(data, "threadline.sqlite", "PRAGMA foreign_keys=ON")
    _rows(
        data,
        "threadline.sqlite",
        "DELETE FROM segments WHERE run_id IN (SELECT run_id FROM runs WHERE thread_id = ?)",
        gone,
    )
    _rows(data, "threadline.sqlite", "DELETE FROM runs WHERE thread_id = ?", gone)
    _rows(data, "threadline.sqlite", "DELETE FROM threads WHERE thread_id = ?", gone)
    _rows(data, "threadline.sqlite", "UPDATE runs SET cancel = 'rollback' WHERE run_id = ?", rolled["run_id"])
    assert _orphans(data) != []
    async with serve() as client, _stock(client) as sdk:
        await _until(lambda: _orphans(data) == [])
        assert len(await sdk.runs.list(kept)) == 1
        assert (await sdk.threads.get_state(kept))["values"] != {}
