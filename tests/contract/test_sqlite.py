"""What is SQLite's own: group commit, isolation of failures, migrations, leases of dead processes, query plans."""

import asyncio
import contextlib
import re
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ConflictError, OverloadedError, StorageError, ThreadlineError
from api.events import Entry, Event
from api.storage.sql import migrations, queries
from api.storage.sqlite import SqliteStorage, segments
from api.storage.sqlite.database import Database
from tests.contract.backends import DONE, claimed, enqueued, make_run, make_thread
from tests.contract.test_assistants import make_assistant

TABLE = [["CREATE TABLE numbers (n INTEGER PRIMARY KEY)"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "threadline.sqlite"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """A database with a table of numbers."""
    database = Database(path, TABLE, max_jobs=50)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path)
    await storage.open()
    yield storage
    await storage.close()


class Gate:
    """Holds up a lane, so that all that is given to it meanwhile goes into one batch."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.opened.wait(30)

    async def hold(self, database: Database) -> asyncio.Future[None]:
        held = database.write(self)
        await asyncio.to_thread(self.entered.wait, 30)
        return held


def insert(database: Database, n: int) -> asyncio.Future[int]:
    return database.write(lambda db: db.execute("INSERT INTO numbers VALUES (?)", (n,)).rowcount)


async def stored(database: Database) -> list[int]:
    return await database.read(lambda db: [row["n"] for row in db.execute("SELECT n FROM numbers ORDER BY n")])


async def test_what_waits_shares_a_commit(database: Database) -> None:
    gate = Gate()
    held = await gate.hold(database)
    before = database.commits
    writes = [insert(database, n) for n in range(40)]
    gate.opened.set()
    await asyncio.gather(held, *writes)

    assert database.commits == before + 2
    assert await stored(database) == list(range(40))


async def test_streams_of_many_runs_share_commits(storage: SqliteStorage) -> None:
    runs = [await claimed(storage) for _ in range(50)]
    before = storage.database.commits

    async def write(run_id: str) -> None:
        for _ in range(20):
            await storage.log.append(run_id, 1, [Entry("token", b"{}")])
            await asyncio.sleep(0)
        await storage.log.flush(run_id)

    await asyncio.gather(*(write(run.run_id) for run in runs))

    assert storage.database.commits - before < 100
    assert [await storage.log.last_seq(run.run_id) for run in runs] == [20] * 50


def quick_insert(database: Database, n: int) -> asyncio.Future[int]:
    return database.write(lambda db: db.execute("INSERT INTO numbers VALUES (?)", (n,)).rowcount, quick=True)


async def test_quick_job_is_done_at_once_and_in_its_turn(database: Database) -> None:
    assert quick_insert(database, 1).done()
    gate = Gate()
    held = await gate.hold(database)

    waiting = [quick_insert(database, 2), quick_insert(database, 3)]
    assert not waiting[0].done()
    gate.opened.set()
    await asyncio.gather(held, *waiting)

    assert quick_insert(database, 4).done()
    assert await stored(database) == [1, 2, 3, 4]


async def test_quick_job_that_fails_changes_nothing(database: Database) -> None:
    quick_insert(database, 1)
    told: list[str] = []

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (2)")
        connection.execute("INSERT INTO numbers VALUES (1)")

    failed = database.write(fail, lambda: told.append("commit"), quick=True)

    with pytest.raises(ThreadlineError, match="UNIQUE"):
        await failed
    assert told == []
    assert await stored(database) == [1]


async def test_quick_job_does_not_hold_up_the_loop_while_another_process_writes(database: Database, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = quick_insert(database, 1)
        assert not writing.done()
        other.execute("INSERT INTO numbers VALUES (7)")
        other.execute("COMMIT")
        assert await writing == 1
    assert await stored(database) == [1, 7]
    assert quick_insert(database, 2).done()


async def test_quick_jobs_leave_the_loop_for_a_while_after_a_slow_one(database: Database) -> None:
    def slow(connection: sqlite3.Connection) -> None:
        # A function of SQLite's own that takes its time, as a disk might.
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n"
        ).fetchall()

    assert database.write(slow, quick=True).done()
    following = quick_insert(database, 1)
    assert not following.done()
    assert await following == 1


async def test_quick_job_that_finds_a_large_row_leaves_the_loop(database: Database) -> None:
    await database.write(lambda db: db.execute("CREATE TABLE texts (n INTEGER PRIMARY KEY, seen INTEGER, text TEXT)"))
    for n, size in ((1, 1000), (2, 4 << 20)):
        await database.write(
            lambda db, n=n, size=size: db.execute("INSERT INTO texts VALUES (?, 0, ?)", (n, "x" * size))
        )
    on = []

    def see(n: int, db: sqlite3.Connection) -> int:
        seen = db.execute("UPDATE texts SET seen = seen + 1 WHERE n = ? RETURNING *", (n,)).fetchall()
        on.append(threading.current_thread().name)
        return int(seen[0]["seen"])

    def read(n: int, db: sqlite3.Connection) -> int:
        return len(db.execute("SELECT * FROM texts WHERE n = ?", (n,)).fetchone()["text"])

    small, large = (database.write(partial(see, n), quick=True) for n in (1, 2))
    assert small.done()
    assert not large.done()
    assert [await small, await large] == [1, 1]
    assert on == [threading.current_thread().name, "threadline-sqlite-write"]
    assert database.read(partial(read, 1), quick=True).done()
    reading = database.read(partial(read, 2), quick=True)
    assert not reading.done()
    assert await reading == 4 << 20
    assert database.read(partial(read, 1), quick=True).done()


async def test_run_with_a_large_input_is_claimed_off_the_loop(storage: SqliteStorage) -> None:
    await enqueued(storage, kwargs={"input": "x" * (4 << 20)})
    claiming = asyncio.create_task(storage.queue.claim("worker", 30))
    await asyncio.sleep(0)
    assert not claiming.done()
    assert storage.database.waiting_writes == 1
    run = await claiming
    assert run is not None
    assert len(run.kwargs["input"]) == 4 << 20
    await storage.queue.finish(run.run_id, run.attempt, DONE, events=1)


async def test_log_of_quick_jobs_is_moved_into_the_file(database: Database, path: Path) -> None:
    for n in range(2000):
        await quick_insert(database, n)

    assert path.with_name(path.name + "-wal").stat().st_size < 4 << 20
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as file:
        assert file.execute("SELECT count(*) FROM numbers").fetchone()[0] > 1000


async def test_claim_of_a_caller_who_is_gone_is_given_back(storage: SqliteStorage) -> None:
    run = await enqueued(storage)
    gate = Gate()
    held = await gate.hold(storage.database)
    claiming = asyncio.create_task(storage.queue.claim("worker", 30.0))
    await asyncio.sleep(0)
    claiming.cancel()
    gate.opened.set()
    await held
    with pytest.raises(asyncio.CancelledError):
        await claiming

    again = await claimed(storage)

    assert (again.run_id, again.attempt) == (run.run_id, 2)


async def test_failing_job_fails_alone(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (100)")
        raise ConflictError("no")

    gate = Gate()
    held = await gate.hold(database)
    before = database.commits
    called: list[str] = []
    writes: list[asyncio.Future[Any]] = [
        insert(database, 1),
        database.write(half, lambda: called.append("half")),
        insert(database, 1),
        database.write(lambda _: "kept", lambda: called.append("kept")),
        insert(database, 2),
    ]
    gate.opened.set()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)

    assert results[0] == results[4] == 1
    assert isinstance(results[1], ConflictError)
    assert isinstance(results[2], ThreadlineError)
    assert "UNIQUE" in results[2].message
    assert called == ["kept"]
    assert await stored(database) == [1, 2]
    assert database.commits == before + 2


def orphan(connection: sqlite3.Connection) -> None:
    """Makes the commit fail, not the statement."""
    connection.execute("PRAGMA defer_foreign_keys=ON")
    connection.execute("INSERT INTO segments VALUES ('nowhere', 1, 1, 1, x'')")


async def test_failing_commit_fails_its_batch_and_nothing_else(storage: SqliteStorage) -> None:
    gate = Gate()
    held = await gate.hold(storage.database)
    thread = make_thread()
    failing = storage.database.write(orphan)
    creating = asyncio.create_task(storage.records.create_thread(thread))
    await asyncio.sleep(0)
    gate.opened.set()
    await held
    results = await asyncio.gather(failing, creating, return_exceptions=True)

    assert [type(result) for result in results] == [StorageError, StorageError]
    assert results[0] is not results[1]
    assert await storage.records.get_thread(thread.thread_id) is None
    assert await storage.records.create_thread(thread) is None


async def test_what_is_appended_during_a_failing_flush_follows_in_order(storage: SqliteStorage) -> None:
    run, bystander = await claimed(storage), await claimed(storage)
    for each in (run, bystander):
        await storage.log.append(each.run_id, 1, [Entry("token", b"1")])
        await storage.log.flush(each.run_id)
    gate = Gate()
    held = await gate.hold(storage.database)
    await storage.log.append(run.run_id, 1, [Entry("token", b"2")])
    first = asyncio.create_task(storage.log.flush(run.run_id))
    await asyncio.sleep(0)
    failing = storage.database.write(orphan)
    await storage.log.append(run.run_id, 1, [Entry("token", b"3")])
    await storage.log.append(bystander.run_id, 1, [Entry("token", b"2")])
    flushing = asyncio.create_task(storage.log.flush(bystander.run_id))
    await asyncio.sleep(0)
    gate.opened.set()
    await held
    with pytest.raises(ThreadlineError):
        await failing
    with pytest.raises(ThreadlineError):
        await first

    assert await flushing == 2
    assert await storage.log.flush(run.run_id) == 3
    assert [event.data for event in await storage.log.read(run.run_id, 0)] == [b"1", b"2", b"3"]


async def test_batch_that_sqlite_itself_rolls_back_is_acknowledged_to_nobody(database: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR ROLLBACK INTO numbers VALUES (1)")

    gate = Gate()
    held = await gate.hold(database)
    writes: list[asyncio.Future[Any]] = [insert(database, 1), database.write(fail), insert(database, 2)]
    gate.opened.set()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)

    assert ["UNIQUE" in str(result) for result in results] == [True] * 3
    assert await stored(database) == []
    assert await insert(database, 3) == 1


async def test_full_disk_is_told_and_loses_no_event(storage: SqliteStorage) -> None:
    run, bystander = await claimed(storage), await claimed(storage)
    await storage.log.append(run.run_id, 1, [Entry("token", b"first")])
    await storage.log.flush(run.run_id)
    size = await storage.database.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await storage.database.write(lambda db: db.execute(f"PRAGMA max_page_count={size}").fetchall())

    await storage.log.append(run.run_id, 1, [Entry("token", b"x" * 100_000)])
    with pytest.raises(ThreadlineError, match="full"):
        await storage.log.flush(run.run_id)
    assert await storage.log.last_seq(run.run_id) == 1
    with pytest.raises(ThreadlineError, match="full"):
        await storage.log.flush(run.run_id)
    await storage.log.append(run.run_id, 1, [Entry("token", b"last")])
    await storage.log.append(bystander.run_id, 1, [Entry("token", b"other")])

    await storage.database.write(lambda db: db.execute("PRAGMA max_page_count=1000000").fetchall())
    assert await storage.log.flush(run.run_id) == 3
    assert await storage.log.flush(bystander.run_id) == 1
    events = await storage.log.read(run.run_id, 0)
    assert [(event.seq, len(event.data)) for event in events] == [(1, 5), (2, 100_000), (3, 4)]


async def test_cancelled_callers_are_tolerated(database: Database) -> None:
    gate = Gate()
    held = await gate.hold(database)
    writes = [insert(database, n) for n in range(4)]
    writes[1].cancel()
    held.cancel()
    gate.opened.set()

    assert list(await asyncio.gather(writes[0], writes[2], writes[3])) == [1, 1, 1]
    assert await stored(database) == [0, 1, 2, 3]


async def test_too_many_jobs_are_refused(database: Database) -> None:
    gate = Gate()
    held = await gate.hold(database)
    writes = [insert(database, n) for n in range(49)]

    with pytest.raises(OverloadedError):
        await insert(database, 99)

    gate.opened.set()
    await asyncio.gather(held, *writes)
    assert await insert(database, 99) == 1


async def test_close_runs_what_waits_and_ends_the_threads(path: Path) -> None:
    before = threading.active_count()
    database = Database(path, TABLE)
    await database.open()
    writes = [insert(database, n) for n in range(10)]
    await database.close()

    assert [write.result() for write in writes] == [1] * 10
    assert threading.active_count() == before
    with pytest.raises(ThreadlineError, match="closed"):
        await insert(database, 11)
    await database.close()
    await database.open()
    assert await stored(database) == list(range(10))
    await database.close()


async def test_reader_cannot_write(database: Database) -> None:
    with pytest.raises(ThreadlineError, match="readonly"):
        await database.read(lambda db: db.execute("INSERT INTO numbers VALUES (1)"))


async def test_many_open_a_new_file_at_one_time(path: Path) -> None:
    storages = [SqliteStorage(path) for _ in range(8)]
    await asyncio.gather(*(storage.open() for storage in storages))
    run = await enqueued(storages[0])

    claims = await asyncio.gather(*(storage.queue.claim("another-host:1:x", 30) for storage in storages))

    assert [claim.run_id for claim in claims if claim] == [run.run_id]
    for storage in storages:
        await storage.close()


async def test_older_database_is_migrated_and_keeps_its_rows(path: Path) -> None:
    database = Database(path, TABLE)
    await database.open()
    await insert(database, 1)
    await database.close()

    newer = Database(
        path, [*TABLE, ["ALTER TABLE numbers ADD COLUMN name TEXT", "INSERT INTO numbers VALUES (2, 'b')"]]
    )
    for _ in range(2):
        await newer.open()
        assert await stored(newer) == [1, 2]
        await newer.close()


async def test_migration_that_fails_changes_nothing(path: Path) -> None:
    broken = Database(path, [*TABLE, ["CREATE TABLE more (n)", "not SQL"]])
    with pytest.raises(ThreadlineError, match="syntax"):
        await broken.open()

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


async def test_newer_database_is_refused(path: Path) -> None:
    newer = Database(path, [*migrations(), []])
    await newer.open()
    await newer.close()

    with pytest.raises(ThreadlineError, match="newer than this server"):
        await SqliteStorage(path).open()


async def test_file_that_is_no_database_is_refused(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"not a database" * 100)
    before = threading.active_count()

    with pytest.raises(ThreadlineError, match="not a database"):
        await SqliteStorage(path).open()
    with pytest.raises(ThreadlineError, match="unable to open"):
        await SqliteStorage(path.parent / "missing" / "x.sqlite").open()
    for thread in threading.enumerate():
        if thread.name.startswith("threadline-sqlite"):
            thread.join(10)
    assert threading.active_count() == before


async def test_runs_of_a_dead_process_go_on_at_once(path: Path, storage: SqliteStorage) -> None:
    run, mine = await enqueued(storage), await enqueued(storage)
    process = await _claiming(path)
    claimed = await storage.queue.claim("mine", 3600)
    assert claimed is not None
    assert claimed.run_id == mine.run_id

    process.kill()
    await process.wait()
    async with asyncio.timeout(20):
        while (again := await storage.queue.claim("mine", 30)) is None:
            await storage.queue.wait(60)

    assert (again.run_id, again.attempt) == (run.run_id, 2)
    assert await storage.queue.claim("mine", 30) is None
    assert await storage.queue.expire_dead() == 0


async def test_runs_of_a_dead_process_go_on_at_once_at_the_next_start(path: Path, storage: SqliteStorage) -> None:
    run, mine = await enqueued(storage), await enqueued(storage)
    process = await _claiming(path)
    await storage.close()
    process.kill()
    await process.wait()

    restarted = SqliteStorage(path)
    await restarted.open()
    claimed = [await restarted.queue.claim("next", 3600) for _ in range(3)]
    await restarted.close()

    assert [(each.run_id, each.attempt) for each in claimed if each] == [(run.run_id, 2), (mine.run_id, 1)]


async def test_events_of_another_process_wake_readers_here(path: Path, storage: SqliteStorage) -> None:
    other = SqliteStorage(path)
    await other.open()
    run = await claimed(other)
    waiting = asyncio.create_task(storage.log.wait(run.run_id, 0, 60))
    await asyncio.sleep(0.05)
    await other.log.append(run.run_id, 1, [Entry("token", b"first")])
    async with asyncio.timeout(20):
        assert await waiting
    await other.close()


async def test_leases_are_held_while_the_event_loop_is_blocked(path: Path, storage: SqliteStorage) -> None:
    run = await enqueued(storage)
    await storage.queue.claim("mine", 0.3)
    with storage.queue.hold("mine", 0.3, held=lambda: [run.run_id], on_mark=lambda: None):
        time.sleep(1)  # noqa: ASYNC251  # it is what is tested
        assert await storage.queue.claim("other", 30) is None
    await asyncio.sleep(0.4)
    taken = await storage.queue.claim("other", 30)
    assert taken is not None
    assert (taken.run_id, taken.attempt) == (run.run_id, 2)


async def _dying(path: Path, storage: SqliteStorage, count: int) -> list[str]:
    """Another process takes as many runs as it can, up to `count`, and dies; ids of those that it had."""
    other = SqliteStorage(path)
    await other.open()
    had = [run.run_id for _ in range(count) if (run := await other.queue.claim("other", 3600)) is not None]
    other._neighbours.close()  # as the kernel does
    await other.close()
    await storage.queue.expire_dead()
    return had


async def test_runs_that_were_under_way_at_two_deaths_go_on_one_by_one(path: Path, storage: SqliteStorage) -> None:
    runs = [(await enqueued(storage)).run_id for _ in range(3)]
    assert await _dying(path, storage, 5) == runs
    assert await _dying(path, storage, 5) == runs, "after one death all go on at once"

    first = await storage.queue.claim("mine", 3600)
    assert first is not None
    assert await storage.queue.claim("mine", 3600) is None, "another one is on trial"
    until = await storage.queue.next_due()
    assert until is not None
    assert until > datetime.now(UTC)
    newcomer = await enqueued(storage)
    assert (await claimed(storage)).run_id == newcomer.run_id, "whoever is not suspected need not wait"
    await storage.queue.finish(first.run_id, first.attempt, DONE, events=0)
    second = await storage.queue.claim("mine", 3600)
    assert second is not None
    assert (first.run_id, second.run_id) == (runs[0], runs[1])
    await storage.database.write(
        lambda db: db.execute("UPDATE runs SET trial_until = 1 WHERE trial_until > 0").rowcount
    )
    third = await storage.queue.claim("mine", 3600)
    assert third is not None, "a trial that was stood lets the next one go on"
    assert third.run_id == runs[2]


async def test_only_the_run_on_trial_is_to_blame(path: Path, storage: SqliteStorage) -> None:
    runs = [(await enqueued(storage)).run_id for _ in range(3)]
    blamed = []
    for _ in range(4):
        await _dying(path, storage, 5)
        found = [await storage.records.get_run(run_id) for run_id in runs]
        blamed.append([run.trials for run in found if run])
    # A death of a process that had a suspect on trial is that one's, which goes after the others from then on.
    assert blamed == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]]


async def test_run_that_was_alone_when_its_process_died_is_to_blame(path: Path, storage: SqliteStorage) -> None:
    run = await enqueued(storage)
    for deaths in range(1, 4):
        assert await _dying(path, storage, 1) == [run.run_id]
        found = await storage.records.get_run(run.run_id)
        assert found is not None
        assert (found.attempt, found.crashes, found.trials) == (deaths, deaths, deaths)


async def _claiming(path: Path) -> asyncio.subprocess.Process:
    """Another process, which has claimed the oldest run."""
    program = (
        "import asyncio, sys, pathlib\n"
        "from api.storage.sqlite import SqliteStorage\n"
        "async def main():\n"
        "    storage = SqliteStorage(pathlib.Path(sys.argv[1]))\n"
        "    await storage.open()\n"
        "    print((await storage.queue.claim('other', 3600)).run_id, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    return process


async def test_claim_takes_the_same_steps_however_many_runs_wait(storage: SqliteStorage) -> None:
    thread, later = make_thread(), datetime.now(UTC) + timedelta(hours=1)
    await enqueued(storage, thread)
    head = await claimed(storage)

    async def steps() -> int:
        counted = 0

        def count() -> None:
            nonlocal counted
            counted += 1

        await storage.database.write(lambda db: db.set_progress_handler(count, 10))
        assert await storage.queue.claim("mine", 30) is None
        await storage.database.write(lambda db: db.set_progress_handler(None, 0))
        return counted

    few = await steps()
    for _ in range(300):
        await enqueued(storage, thread)
        await enqueued(storage, due_at=later)
    many = await steps()
    assert many <= few + 10, f"{few} steps with no run behind, {many} with 600"
    await storage.queue.finish(head.run_id, 1, DONE, events=0)
    assert (await claimed(storage)).thread_id == thread.thread_id


async def test_a_clients_assistant_of_an_older_database_is_not_a_graphs_own(path: Path) -> None:
    """It has the id of a graph to come, and says of itself what graphs' own say."""
    connection = sqlite3.connect(path)
    for statement in (statement for migration in migrations()[:10] for statement in migration):
        connection.execute(statement)
    connection.execute("PRAGMA user_version=10")
    kept, taken = make_assistant(graph_id="here"), make_assistant(graph_id="to-come")
    for assistant_id in (kept.assistant_id, taken.assistant_id):
        connection.execute(
            "INSERT INTO assistants (assistant_id, version, created_at, updated_at) VALUES (?, 1, 1, 1)",
            (assistant_id,),
        )
        connection.execute(
            "INSERT INTO assistant_versions (assistant_id, version, created_at, graph_id, config, context, metadata, "
            "name, name_lower) VALUES (?, 1, 1, 'here', '{}', '{}', '{\"created_by\":\"system\"}', 'x', 'x')",
            (assistant_id,),
        )
    connection.commit()
    connection.close()

    storage = SqliteStorage(path)
    await storage.open()
    _, renamed = await storage.assistants.register(kept, str(uuid.uuid4()))
    assert not renamed
    new_id = str(uuid.uuid4())
    assert await storage.assistants.register(taken, new_id) == (None, True)
    moved = await storage.assistants.get(new_id)
    assert moved is not None
    assert moved.graph_id == "here"
    assert await storage.assistants.get(taken.assistant_id) == taken
    await storage.close()


async def test_queue_of_an_older_database_is_put_in_order(path: Path) -> None:
    older = migrations()[:9]
    connection = sqlite3.connect(path)
    for statement in (statement for migration in older for statement in migration):
        connection.execute(statement)
    connection.execute("PRAGMA user_version=9")
    for thread in ("busy", "free", "given-back", "later"):
        connection.execute(
            "INSERT INTO threads (thread_id, created_at, updated_at, metadata, config, status, interrupts, events) "
            "VALUES (?, 1, 1, '{}', '{}', 'busy', x'', 0)",
            (thread,),
        )
    rows: list[tuple[str, str, str, int, int | None]] = [
        ("behind", "busy", "pending", 0, None),
        ("executes", "busy", "running", 1, None),
        ("due", "free", "pending", 0, 1),
        ("first", "free", "pending", 0, None),
        ("second", "free", "pending", 0, None),
        ("before", "given-back", "pending", 0, None),
        ("begun", "given-back", "pending", 1, None),
        ("not-due", "later", "pending", 0, 2**60),
    ]
    for run_id, thread, status, attempt, due in rows:
        lease = 2**60 if status == "running" else None
        connection.execute(
            "INSERT INTO runs (run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, "
            "multitask_strategy, attempt, due_at, worker_id, lease_until) "
            "VALUES (?, ?, 'a', 1, 1, ?, '{}', '{}', 'enqueue', ?, ?, ?, ?)",
            (run_id, thread, status, attempt, due, lease and "w", lease),
        )
    connection.commit()
    connection.close()

    storage = SqliteStorage(path)
    await storage.open()
    order = []
    while (run := await storage.queue.claim("mine", 30)) is not None:
        order.append(run.run_id)
        await storage.queue.finish(run.run_id, run.attempt, DONE, events=0)
    assert order == ["first", "due", "second", "begun", "before"]
    await storage.queue.finish("executes", 1, DONE, events=0)
    assert [run.run_id for run in [await storage.queue.claim("mine", 30)] if run] == ["behind"]
    await storage.close()


async def test_database_holds_the_rules(path: Path, storage: SqliteStorage) -> None:
    thread = make_thread()
    first, second = make_run(thread.thread_id), make_run(thread.thread_id)
    for run in (first, second):
        await storage.queue.enqueue(run, thread=thread)
    await claimed(storage)
    start = "UPDATE runs SET status = 'running', worker_id = 'w', lease_until = 1 WHERE run_id = ?"

    with pytest.raises(ThreadlineError, match="UNIQUE"):
        await storage.database.write(lambda db: db.execute(start, (second.run_id,)).rowcount)
    with pytest.raises(ThreadlineError, match="CHECK"):
        await storage.database.write(lambda db: db.execute("UPDATE runs SET status = 'done'").rowcount)
    with pytest.raises(ThreadlineError, match="FOREIGN KEY"):
        await storage.database.write(lambda db: db.execute("INSERT INTO segments VALUES ('x', 1, 1, 1, x'')").rowcount)


@pytest.mark.parametrize("name", sorted(queries()))
def test_no_query_walks_through_all_runs_or_events(name: str) -> None:
    connection = sqlite3.connect(":memory:")
    for migration in migrations():
        for statement in migration:
            connection.execute(statement)
    query = queries()[name]
    parameters = dict.fromkeys(re.findall(r":(\w+)", query))

    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    connection.close()

    # An index of the stateless runs alone is short: they go with their end. So do those that are rolled back. Of those
    # that are ready or delayed, the first is all that is read.
    walks = re.compile(
        r"SCAN (runs|segments|waiting)\b(?! USING INDEX runs_(?:temporary|rolled_back|ready|delayed))|SEARCH runs$"
    )
    assert [step for step in plan if walks.match(step)] == []


_EVENTS = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=200)), max_size=30)


@given(items=_EVENTS, first_seq=st.integers(1, 2**40), skip=st.integers(0, 40))
def test_segments_come_back_as_they_were(items: list[tuple[str, bytes]], first_seq: int, skip: int) -> None:
    events = [Event(first_seq + n, kind, data) for n, (kind, data) in enumerate(items)]
    after = first_seq - 1 + skip

    decoded = [event for first, _, data in segments.encode(events) for event in segments.decode(first, data, after)]

    assert decoded == events[skip:]


@given(sizes=st.lists(st.sampled_from([0, 10, 1000, 100_000, 300_000]), min_size=1, max_size=20))
def test_segments_follow_on_each_other_and_are_bounded(sizes: list[int]) -> None:
    events = [Event(seq, "token", bytes(size)) for seq, size in enumerate(sizes, 1)]

    packed = list(segments.encode(events))

    assert [first for first, _, _ in packed] == [1, *(last + 1 for _, last, _ in packed[:-1])]
    assert packed[-1][1] == len(events)
    assert all(first == last or len(data) <= 256 << 10 for first, last, data in packed)


@given(items=_EVENTS.filter(bool), cut=st.integers(1))
def test_cut_segment_is_refused(items: list[tuple[str, bytes]], cut: int) -> None:
    events = [Event(n, kind, data) for n, (kind, data) in enumerate(items, 1)]
    [(first_seq, _, data)] = segments.encode(events)
    kept = data[: cut % len(data)]

    try:
        decoded = list(segments.decode(first_seq, kept))
    except ValueError:
        return
    assert decoded == events[: len(decoded)]
    assert len(decoded) < len(events)
