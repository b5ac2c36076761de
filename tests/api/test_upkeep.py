"""`threadline prune` and `threadline backup`: the data folder in an operator's hands, while a server uses it."""

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from typer.testing import CliRunner

from api.app import Threadline
from api.cli import app
from api.errors import ThreadlineError
from api.settings import Settings
from api.storage.sqlite.files import FILES, back_up
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate

DAY = 24 * 3600 * 1_000_000

Sdk = Any


@pytest.fixture
def data(config: Path) -> Path:
    """The folder that the server keeps everything in."""
    return config.parent / ".threadline"


def _stock(client: Client) -> Sdk:
    return get_client(url=str(client.base_url))


def _messages(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
        yield db


def _age(data: Path, days: int, thread_id: str) -> None:
    """Makes a thread and its runs older."""
    with _open(data / FILES[0]) as db:
        for table in ("threads", "runs"):
            query = f"UPDATE {table} SET updated_at = updated_at - ? WHERE thread_id = ?"
            db.execute(query, (days * DAY, thread_id))


async def _prune(config: Path, *options: str) -> str:
    """The command in a process of its own; what it prints."""
    command = [str(Path(sys.executable).with_name("threadline")), "prune", "--config", str(config), *options]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _three(client: Client, data: Path) -> list[str]:
    """Threads: two old ones, the second of which has a run under way, and a new one."""
    threads = [(await client.run("steps", {"number": 2}))[0].data["thread_id"] for _ in range(3)]
    for thread_id in threads[:2]:
        _age(data, 40, thread_id)
    return threads


async def test_prune_beside_a_server(serve: Serve, config: Path, data: Path) -> None:
    async with serve(events_ttl=0) as client, _stock(client) as sdk:
        with gate("pruned") as held:
            old, busy, new = await _three(client, data)
            run = await sdk.runs.create(busy, "gated", input=_messages("pruned"))
            await held.reached.wait()
            with _open(data / FILES[0]) as db:
                db.execute("UPDATE threads SET updated_at = 0 WHERE thread_id = ?", (busy,))

            said = await _prune(config, "--older-than", "30d", "--dry-run")
            assert "Would remove 1 thread with all that was theirs." in said
            assert (await client.get(f"/threads/{old}")).status_code == 200

            said = await _prune(config, "--older-than", "30d")
            assert "Removed 1 thread with all that was theirs." in said
            assert re.search(r"bytes before, [\d,]+ after, [\d,]+ of them in logs that the server uses again\.", said)
            assert (await client.get(f"/threads/{old}")).status_code == 404
            assert (await client.get(f"/threads/{new}")).status_code == 200
            held.released.set()
            await sdk.runs.join(busy, run["run_id"])
        assert (await sdk.threads.get(busy))["status"] == "idle"
        with _open(data / FILES[1]) as db:
            assert {row[0] for row in db.execute("SELECT DISTINCT thread_id FROM checkpoints")} == {busy, new}


async def test_prune_to_the_latest_and_without_events(serve: Serve, config: Path, data: Path) -> None:
    async with serve() as client, _stock(client) as sdk:
        old, _, new = await _three(client, data)
        states = [await sdk.threads.get_state(each) for each in (old, new)]

        said = await _prune(config, "--older-than", "30d", "--keep-latest", "--events")

        assert "Removed all but the latest state of 2 threads." in said
        assert "Removed the events of 2 finished runs." in said
        assert [await sdk.threads.get_state(each) for each in (old, new)] == states
        assert len(await sdk.threads.get_history(old)) == 1
        assert len(await sdk.threads.get_history(new)) > 1
        with _open(data / FILES[0]) as db:
            kept = db.execute("SELECT thread_id FROM runs WHERE run_id IN (SELECT run_id FROM segments)").fetchall()
        assert kept == [(new,)]
        assert "Nothing to remove." in await _prune(config)


async def test_prune_does_as_the_ttls_say(serve: Serve, config: Path, data: Path) -> None:
    async with serve() as client, _stock(client) as sdk:
        gone, cleared, _ = await _three(client, data)
        await sdk.threads.update(gone, metadata={}, ttl=60)
        await sdk.threads.update(cleared, metadata={}, ttl={"ttl": 60, "strategy": "keep_latest"})
    with _open(data / FILES[0]) as db:
        db.execute("UPDATE threads SET expires_at = 1 WHERE expires_at IS NOT NULL")
    # Nothing went in the dry run: the events of the thread that is to go are still among those that are too old.
    for options, events in ((("--dry-run",), "2 finished runs"), ((), "1 finished run.")):
        said = await _prune(config, *options)
        expected = ("1 thread with all", "latest state of 1 thread", f"events of {events}")
        assert all(each in said for each in expected), said


async def test_vacuum_makes_the_files_small(serve: Serve, config: Path, data: Path) -> None:
    async with serve(max_metadata_bytes=1 << 20) as client:
        body = "word " * 100_000
        threads = [
            (await client.run("steps", {"number": 2}, metadata={"text": body}))[0].data["thread_id"] for _ in range(8)
        ]
        for thread_id in threads:
            _age(data, 40, thread_id)
    size = sum((data / name).stat().st_size for name in FILES)
    await _prune(config, "--older-than", "30d", "--vacuum")
    assert sum((data / name).stat().st_size for name in FILES) < size / 5
    async with serve() as client:
        assert (await client.run("steps", {"number": 2}))[-1].data == {"status": "success"}


async def test_the_sweep_gives_disk_back(config: Path, data: Path) -> None:
    async with Threadline(Settings(config=config)) as threadline:
        with _open(data / FILES[0]) as db:
            assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
            db.execute("CREATE TABLE filler (data)")
            db.executemany("INSERT INTO filler VALUES (zeroblob(100000))", [()] * 100)
            full = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute("DELETE FROM filler")
            await threadline.storage.reclaim()
            assert db.execute("PRAGMA page_count").fetchone()[0] < full / 5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--older-than", "soon"], "is no age"),
        (["--older-than", "5y"], "is no age"),
        (["--events"], "say also of when"),
        (["--keep-latest"], "say also of when"),
    ],
)
def test_wrong_usage_is_told(config: Path, options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, ["prune", "--config", str(config), *options], env={"COLUMNS": "200"})
    assert (result.exit_code, complaint in result.output) == (2, True), result.output


@pytest.mark.parametrize("command", [["prune"], ["backup", "copy"]])
def test_nothing_there_is_told(config: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--config", str(config)])
    assert (result.exit_code, "There is nothing in" in result.output) == (1, True)
    assert not (config.parent / ".threadline").exists()


# Back-ups


async def test_backup_of_a_live_server_goes_on_where_it_was(serve: Serve, config: Path, data: Path) -> None:
    copy = config.parent / "copy"
    async with serve() as client, _stock(client) as sdk:
        done = (await client.run("steps", {"number": 2}))[0].data
        state = await sdk.threads.get_state(done["thread_id"])
        await sdk.store.put_item(["n"], "kept", {"is": "kept"})
        with gate("backed up") as held:
            under_way = (await sdk.threads.create())["thread_id"]
            run = await sdk.runs.create(under_way, "gated", input=_messages("backed up"))
            await held.reached.wait()
            stop = asyncio.Event()

            async def load() -> None:
                while not stop.is_set():
                    await client.run("steps", {"number": 2})

            loads = [asyncio.create_task(load()) for _ in range(4)]
            result = await asyncio.to_thread(CliRunner().invoke, app, ["backup", str(copy), "--config", str(config)])
            stop.set()
            await asyncio.gather(*loads)
            assert result.exit_code == 0, result.output
            assert sorted(path.name for path in copy.iterdir()) == sorted(FILES)
            # What comes after the copy is not in it.
            held.released.set()
            await sdk.runs.join(under_way, run["run_id"])
    with gate("backed up") as held:
        held.released.set()
        with _open(copy / FILES[0]) as db:
            assert db.execute("SELECT status FROM runs WHERE run_id = ?", (run["run_id"],)).fetchone() == ("running",)
        async with serve(data_dir=copy) as client, _stock(client) as sdk:
            assert await sdk.threads.get_state(done["thread_id"]) == state
            replayed = await client.get(f"/agents/steps/stream/{done['run_id']}")
            assert "event: end" in replayed.text
            assert (await sdk.store.get_item(["n"], "kept"))["value"] == {"is": "kept"}
            await sdk.runs.join(under_way, run["run_id"])
            messages = (await sdk.threads.get_state(under_way))["values"]["messages"]
            assert [each["type"] for each in messages] == ["human", "ai"]
            for thread in await sdk.threads.search(limit=1000):
                assert thread["status"] == "idle"
                assert (await sdk.threads.get_state(thread["thread_id"]))["values"] == thread["values"]


async def test_copies_are_of_one_moment(serve: Serve, config: Path, data: Path) -> None:
    """Each run that has ended in the one file has its last checkpoint in the other, and no checkpoint is of no run."""
    async with serve() as client:
        stop = asyncio.Event()

        async def load() -> None:
            thread_id = None
            while not stop.is_set():
                body = {} if thread_id is None else {"thread_id": thread_id}
                thread_id = (await client.run("steps", {"number": 2}, **body))[0].data["thread_id"]

        loads = [asyncio.create_task(load()) for _ in range(4)]
        copies = [config.parent / f"copy {n}" for n in range(5)]
        for copy in copies:
            await client.run("steps", {"number": 2})
            await asyncio.to_thread(back_up, data, copy)
        stop.set()
        await asyncio.gather(*loads)
    for runs, copy in enumerate(copies, start=1):
        with _open(copy / FILES[0]) as db:
            db.execute("ATTACH ? AS states", (str(copy / FILES[1]),))
            known = "json_extract(CAST(metadata AS TEXT), '$.run_id')"
            unknown = f"SELECT {known} FROM states.checkpoints EXCEPT SELECT run_id FROM runs"
            assert db.execute(unknown).fetchall() == []
            steps = (
                f"SELECT max(json_extract(CAST(metadata AS TEXT), '$.step')) FROM states.checkpoints WHERE {known} = ?"
            )
            ended = db.execute("SELECT run_id, status FROM runs WHERE status = 'success' ORDER BY seq").fetchall()
            assert len(ended) >= runs
            ends = [db.execute(steps, (run_id,)).fetchone()[0] for run_id, _ in ended]
            assert None not in ends


def test_backup_overwrites_nothing(config: Path, data: Path) -> None:
    data.mkdir()
    for name in FILES:
        with _open(data / name) as db:
            db.execute("CREATE TABLE t (a)")
    copy = config.parent / "copy"
    back_up(data, copy)
    with pytest.raises(ThreadlineError, match="exists already"):
        back_up(data, copy)
    (data / FILES[2]).write_bytes(b"no database at all" * 1000)
    with pytest.raises(ThreadlineError, match="cannot be copied"):
        back_up(data, config.parent / "another")
    assert list((config.parent / "another").iterdir()) == []
