"""Rows: how a thread and a run are written to the database, and read from it."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from api.errors import AnswerTooLargeError
from api.schemas import Json, Run, Thread, Ttl
from api.serde import dumps, loads

logger = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

T = TypeVar("T")

Parameters = dict[str, Any]
"""Values of a statement's named parameters."""


def micros(at: datetime) -> int:
    """A time as microseconds since 1970, in UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The time of so many microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND


def optional_micros(at: datetime | None) -> int | None:
    """Likewise, of a time that may be missing."""
    return None if at is None else micros(at)


def now() -> int:
    """The present, as the database has it."""
    return micros(datetime.now(UTC))


def text(value: Json) -> str:
    """A JSON object as a column has it."""
    return dumps(value).decode()


def search_parameters(metadata: Json | None, sort_by: str, *, descending: bool, limit: int, offset: int) -> Parameters:
    """What all searches have."""
    return {
        "metadata": text(metadata) if metadata else None,
        "sort_by": sort_by,
        "descending": descending,
        "limit": limit,
        "offset": offset,
    }


def fetched(cursor: sqlite3.Cursor, most: int) -> list[sqlite3.Row]:
    """The rows, of which all texts and blobs together have `most` characters or bytes at most.

    Raises:
        AnswerTooLargeError: they have more.
    """
    found, size = [], 0
    for row in cursor:
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > most:
            raise AnswerTooLargeError(most)
        found.append(row)
    return found


def page(found: Sequence[sqlite3.Row], record: Callable[[sqlite3.Row], T]) -> tuple[Sequence[T], int]:
    """The records of a page, and how many there are in all."""
    return [record(row) for row in found if row["seq"] is not None], found[0]["total"]


def permitted(found: tuple[Sequence[T], int], may: Callable[[T], bool]) -> tuple[Sequence[T], int]:
    """A page again, without what the caller may not have after all: the database and the filter itself must agree."""
    records, total = found
    kept = [record for record in records if may(record)]
    if strangers := len(records) - len(kept):
        logger.error("the database found %d records that are not the caller's: they are left out", strangers)
    return kept, total - strangers


def json_path(steps: Sequence[str | int]) -> str:
    """Keys and indexes as a JSON path of the database; an index below 0 counts from the end."""
    return "$" + "".join(
        f'."{step}"' if isinstance(step, str) else f"[#{step}]" if step < 0 else f"[{step}]" for step in steps
    )


def thread_parameters(thread: Thread) -> Parameters:
    """A thread's columns."""
    return {
        "thread_id": thread.thread_id,
        "created_at": micros(thread.created_at),
        "updated_at": micros(thread.updated_at),
        "metadata": text(thread.metadata),
        "config": text(thread.config),
        "status": thread.status,
        "values": thread.values,
        "interrupts": thread.interrupts,
        "error": thread.error,
        "events": thread.events,
        "state_updated_at": None if thread.state_updated_at is None else micros(thread.state_updated_at),
        **ttl_parameters(thread.ttl),
    }


def ttl_parameters(ttl: Ttl | None) -> Parameters:
    """The columns that say when a thread expires."""
    if ttl is None:
        return {"ttl_strategy": None, "ttl_minutes": None, "expires_at": None}
    return {"ttl_strategy": ttl.strategy, "ttl_minutes": ttl.minutes, "expires_at": micros(ttl.expires_at)}


def thread(row: sqlite3.Row) -> Thread:
    """The thread of a row."""
    return Thread(
        thread_id=row["thread_id"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        metadata=loads(row["metadata"]),
        status=row["status"],
        config=loads(row["config"]),
        values=row["values"],
        interrupts=row["interrupts"],
        error=row["error"],
        events=row["events"],
        state_updated_at=None if row["state_updated_at"] is None else moment(row["state_updated_at"]),
        ttl=None
        if row["expires_at"] is None
        else Ttl(row["ttl_strategy"], row["ttl_minutes"], moment(row["expires_at"])),
    )


def run_parameters(run: Run) -> Parameters:
    """The columns of a run that nobody has claimed."""
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "created_at": micros(run.created_at),
        "updated_at": micros(run.updated_at),
        "metadata": text(run.metadata),
        "kwargs": text(run.kwargs),
        "multitask_strategy": run.multitask_strategy,
        "due_at": None if run.due_at is None else micros(run.due_at),
        "owner": run.owner,
    }


def run(row: sqlite3.Row) -> Run:
    """The run of a row."""
    return Run(
        run_id=row["run_id"],
        thread_id=row["thread_id"],
        assistant_id=row["assistant_id"],
        created_at=moment(row["created_at"]),
        updated_at=moment(row["updated_at"]),
        status=row["status"],
        metadata=loads(row["metadata"]),
        kwargs=loads(row["kwargs"]),
        multitask_strategy=row["multitask_strategy"],
        attempt=row["attempt"],
        base=row["base"],
        due_at=None if row["due_at"] is None else moment(row["due_at"]),
        cancel=row["cancel"],
        worker_id=row["worker_id"],
        lease_until=None if row["lease_until"] is None else moment(row["lease_until"]),
        crashes=row["crashes"],
        trials=row["trials"],
        owner=row["owner"],
    )
