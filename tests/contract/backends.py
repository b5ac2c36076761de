"""The backends that the contract is held against: how each is reached, and the records that its tests begin with."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.schemas import Outcome, Run, Thread
from api.storage.base import Storage
from api.storage.sqlite import SqliteStorage, crons, log, neighbours, outbox, queue, thread_log

BACKENDS = ("sqlite",)

WORKER = "another-host:1:worker"
DONE = Outcome(status="success", thread_status="idle")


def address(backend: str, folder: Path) -> str:
    """Where a backend keeps a test's data, as `connect` takes it."""
    return f"{backend}:{folder / 'threadline.sqlite'}"


def connect(at: str, **options: Any) -> Storage:
    """A client of the data at an address, not open yet; each call is another one, as of another process."""
    backend, _, path = at.partition(":")
    assert backend in BACKENDS
    return SqliteStorage(Path(path), **options)


def make_thread(**fields: Any) -> Thread:
    """A thread that nobody has stored."""
    now = datetime.now(UTC)
    return Thread(**{"thread_id": str(uuid.uuid4()), "created_at": now, "updated_at": now, **fields})


def make_run(thread_id: str, **fields: Any) -> Run:
    """A run that nobody has enqueued; it waits its turn."""
    now = datetime.now(UTC)
    defaults = {"run_id": str(uuid.uuid4()), "assistant_id": "agent", "created_at": now, "updated_at": now}
    return Run(**{"thread_id": thread_id, "multitask_strategy": "enqueue", **defaults, **fields})


async def enqueued(storage: Storage, thread: Thread | None = None, **fields: Any) -> Run:
    """A pending run, of a thread of its own if none is given."""
    thread = thread or make_thread()
    run = make_run(thread.thread_id, **fields)
    await storage.queue.enqueue(run, thread=thread)
    return run


async def claimed(storage: Storage, *, lease_seconds: float = 30.0) -> Run:
    """A running run, the oldest that waits; a new one if none does."""
    run = await storage.queue.claim(WORKER, lease_seconds)
    if run is None:
        await enqueued(storage)
        run = await storage.queue.claim(WORKER, lease_seconds)
    assert run is not None
    return run


def silence(monkeypatch: pytest.MonkeyPatch, *, longest_look: float, news: bool) -> None:
    """Every client of this process looks after so many seconds; none tells another anything unless `news`."""
    for module in (queue, crons, log, outbox, thread_log):
        monkeypatch.setattr(module, "LONGEST_LOOK", longest_look)
    if not news:
        monkeypatch.setattr(neighbours.Neighbours, "tell", lambda self, news: None)
