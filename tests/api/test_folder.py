"""The data folder: its files belong together, what does not fit is refused at the start, and nobody else reads it."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.app import Threadline
from api.cli import app
from api.errors import StorageError
from api.protocols.native import AgentRequest
from api.retention import FEW_ORPHANS, Retention
from api.settings import Settings
from api.storage.sqlite.checkpoints import open_checkpoints
from api.storage.sqlite.files import FILES, back_up
from tests.contract.backends import make_thread

RECORDS, STATES, _ = FILES


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A langgraph.json with one graph, and no data yet."""
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"chat": "tests.api.graphs:chat"}}))
    return path


@pytest.fixture
def data(config: Path) -> Path:
    return config.parent / ".threadline"


async def _turn(config: Path, thread_id: str | None = None) -> str:
    """Starts a server for a turn of a thread; the thread's id."""
    async with Threadline(Settings(config=config)) as threadline:
        return await _ask(threadline, thread_id)


async def _ask(threadline: Threadline, thread_id: str | None = None) -> str:
    body = AgentRequest(input="hi", thread_id=thread_id)
    run = await threadline.runs.create(await threadline.agents.request("chat", body))
    await threadline.runs.collect(run.run_id, ())
    return run.thread_id


async def _turns(config: Path, thread_id: str) -> int:
    """How many a thread has had, by its state."""
    async with Threadline(Settings(config=config)) as threadline:
        state = await threadline.states.get(thread_id)
        return sum(message.type == "human" for message in state["values"].get("messages", []))


async def _refusal(config: Path) -> str:
    with pytest.raises(StorageError) as refused:
        async with Threadline(Settings(config=config)):
            pass
    return refused.value.message


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def _contents(data: Path) -> dict[str, list[Any]]:
    """Every row of every file that is there."""
    found = {}
    for path in sorted(data.glob("*.sqlite")):
        with _open(path) as db:
            found[path.name] = list(db.iterdump())
    return found


def _forget(data: Path, names: tuple[str, ...] = FILES) -> None:
    """Files as they were before they had marks."""
    for name in names:
        with _open(data / name) as db:
            db.execute("DROP TABLE threadline_folder")


def _make_empty(data: Path) -> None:
    data.mkdir()
    for name in FILES[:2]:
        (data / name).touch()


def _mark(data: Path, name: str) -> Any:
    with _open(data / name) as db:
        return db.execute("SELECT folder, generation, settled FROM threadline_folder").fetchone()


@pytest.mark.parametrize("name", FILES)
async def test_file_that_is_missing_is_refused_and_nothing_changed(config: Path, data: Path, name: str) -> None:
    thread_id = await _turn(config)
    (data / name).rename(data.parent / name)
    before = _contents(data)

    message = await _refusal(config)

    assert f"{name} is missing" in message
    assert "Put back" in message
    assert _contents(data) == before
    done = await asyncio.to_thread(CliRunner().invoke, app, ["prune", "--config", str(config)])
    assert done.exit_code == 1
    assert _contents(data) == before
    (data.parent / name).rename(data / name)
    assert await _turns(config, thread_id) == 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("taken", ["between two starts", "while it ran"])
async def test_older_copy_is_refused_and_nothing_changed(config: Path, data: Path, name: str, taken: str) -> None:
    older = data.parent / "older"
    async with Threadline(Settings(config=config)) as threadline:
        thread_id = await _ask(threadline)
        if taken == "while it ran":
            with _open(data / name) as db, _open(older) as copy:
                db.backup(copy)
            await _ask(threadline, thread_id)
    if taken == "between two starts":
        shutil.copy(data / name, older)
        await _turn(config, thread_id)
    (data / name).rename(data.parent / "newer")
    shutil.copy(older, data / name)
    before = _contents(data)

    message = await _refusal(config)

    assert " is older than " in message
    assert name in message
    assert _contents(data) == before
    (data.parent / "newer").rename(data / name)
    assert await _turns(config, thread_id) == 2


async def test_file_of_another_folder_is_refused(config: Path, data: Path) -> None:
    thread_id = await _turn(config)
    copy = data.parent / "copy"
    back_up(data, copy)
    (data / STATES).rename(data.parent / "own")
    shutil.copy(copy / STATES, data / STATES)
    assert "are of different folders" in await _refusal(config)
    # All files of a copy fit each other.
    shutil.rmtree(data)
    copy.rename(data)
    assert await _turns(config, thread_id) == 1


async def test_folder_of_before_the_marks_opens_and_is_marked(config: Path, data: Path) -> None:
    thread_id = await _turn(config)
    _forget(data)
    assert await _turns(config, thread_id) == 1
    assert len({_mark(data, name)[:2] for name in FILES}) == 1
    _forget(data, (STATES,))
    assert f"{STATES} is older" in await _refusal(config)
    _forget(data, (RECORDS, FILES[2]))
    (data / STATES).unlink()
    assert f"{STATES} is missing" in await _refusal(config)


@pytest.mark.parametrize("marked", [0, 1, 2])
async def test_death_while_files_were_marked_keeps_none_from_starting(config: Path, data: Path, marked: int) -> None:
    thread_id = await _turn(config)
    with _open(data / RECORDS) as db:
        db.execute("UPDATE threadline_folder SET generation = generation + 1, settled = 0")
    for name in FILES[1 : 1 + marked]:
        with _open(data / name) as db:
            db.execute("UPDATE threadline_folder SET generation = generation + 1")
    assert await _turns(config, thread_id) == 1
    assert len({_mark(data, name) for name in FILES}) == 1


@pytest.mark.parametrize("marked", [0, 1, 2])
async def test_death_while_files_were_made_keeps_none_from_starting(config: Path, data: Path, marked: int) -> None:
    _make_empty(data)
    await _turn(config)
    _forget(data, FILES[1 + marked :])
    with _open(data / RECORDS) as db:
        db.execute("UPDATE threadline_folder SET generation = 1, settled = 0")
    for name in FILES[1 : 1 + marked]:
        with _open(data / name) as db:
            db.execute("UPDATE threadline_folder SET generation = 1")
    await _turn(config)
    assert len({_mark(data, name) for name in FILES}) == 1


async def test_many_begin_and_end_at_one_time(config: Path, data: Path) -> None:
    for _ in range(2):
        async with contextlib.AsyncExitStack() as stack:
            servers = [Threadline(Settings(config=config)) for _ in range(4)]
            await asyncio.gather(*(stack.enter_async_context(server) for server in servers))
    marks = {_mark(data, name) for name in FILES}
    assert len(marks) == 1
    assert marks.pop()[1:] == (16, 1)


@pytest.mark.parametrize("name", FILES)
async def test_adopted_files_are_gone_on_with(config: Path, data: Path, name: str) -> None:
    thread_id = await _turn(config)
    (data / name).unlink()
    await _refusal(config)

    done = await asyncio.to_thread(CliRunner().invoke, app, ["adopt", "--config", str(config)])

    assert done.exit_code == 0, done.output
    if name == RECORDS:
        await _turn(config)
        async with open_checkpoints(data / STATES) as checkpoints:
            assert await checkpoints.aget_tuple({"configurable": {"thread_id": thread_id}}) is not None
    else:
        assert await _turns(config, thread_id) == (0 if name == STATES else 1)
        await _turn(config, thread_id)


def test_nothing_is_adopted_where_there_is_nothing(config: Path) -> None:
    done = CliRunner().invoke(app, ["adopt", "--config", str(config)])
    assert done.exit_code == 1
    assert "There is nothing" in done.output


async def test_damaged_file_is_named_at_the_start(config: Path, data: Path) -> None:
    await _turn(config)
    with (data / STATES).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert STATES in await _refusal(config)


# What is left of threads that are gone


async def _unknown(threadline: Threadline, count: int) -> list[str]:
    """Threads whose records are gone, as a process that dies would leave them."""
    threads = [await _ask(threadline) for _ in range(count)]
    for thread_id in threads:
        await threadline.storage.records.delete_thread(thread_id)
    return threads


async def test_only_few_and_old_orphans_go_and_each_is_logged(
    config: Path, data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, "api.retention")
    async with Threadline(Settings(config=config)) as threadline, open_checkpoints(data / STATES) as checkpoints:
        retention = Retention(threadline.storage, checkpoints, pause=0)
        gone = await _unknown(threadline, 1)
        kept = await _ask(threadline)
        # Just made: the record of its thread may be on its way.
        assert await retention.delete_orphans() == 0
        monkeypatch.setattr("api.retention._ORPHAN_SECONDS", -60.0)
        assert await retention.delete_orphans() == 1
        assert await checkpoints.athread_ids() == [kept]
        assert [gone[0] in record.getMessage() for record in caplog.records] == [True]
        caplog.clear()

        many = await _unknown(threadline, FEW_ORPHANS + 1)
        assert await retention.delete_orphans() == 0
        assert set(await checkpoints.athread_ids()) == {kept, *many}
        assert f"{len(many)} threads" in caplog.text
        assert await retention.delete_orphans(most=None) == len(many)
        assert await checkpoints.athread_ids() == [kept]


async def test_age_of_a_thread_is_that_of_its_last_checkpoint(config: Path, data: Path) -> None:
    async with Threadline(Settings(config=config)) as threadline, open_checkpoints(data / STATES) as checkpoints:
        before = make_thread().created_at
        thread_id = await _ask(threadline)
        made = await checkpoints.alast_made(thread_id)
        assert made is not None
        assert before <= made <= make_thread().created_at
        assert await checkpoints.alast_made("nobody's") is None


# Who may read it


@pytest.fixture
def careless() -> Iterator[None]:
    """Everything is made for everybody to read and write."""
    mask = os.umask(0)
    try:
        yield
    finally:
        os.umask(mask)


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o777 if path.is_dir() else 0o666)


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]}


@pytest.mark.usefixtures("careless")
async def test_only_its_owner_reads_the_folder_and_its_copies(config: Path, data: Path) -> None:
    async with Threadline(Settings(config=config)) as threadline:
        await _ask(threadline)
        copy = data.parent / "copy"
        back_up(data, copy)
        for folder in (data, copy):
            assert {name: oct(mode) for name, mode in _modes(folder).items() if mode & 0o077} == {}
        assert {RECORDS, f"{RECORDS}-wal", f"{STATES}-wal"} < set(_modes(data))


@pytest.mark.usefixtures("careless")
async def test_folder_that_others_could_read_is_closed_to_them(config: Path, data: Path) -> None:
    await _turn(config)
    _open_to_all(data)
    await _turn(config)
    assert {name: oct(mode) for name, mode in _modes(data).items() if mode & 0o077} == {}
    # One that holds other things too is its owner's affair.
    (data / "other").touch()
    _open_to_all(data)
    await _turn(config)
    assert {name: mode for name, mode in _modes(data).items() if mode & 0o077} == {".threadline": 0o777, "other": 0o666}
