"""Retention: what goes by itself, in small steps, so that runs under way are not held up.

    events of finished runs ─┐
    finished runs           ─┤
    what dead processes left ┼──a few rows, a pause, a few rows...──> free pages ──> the disk
    checkpoints of no thread ┘

Any number of processes may do it to one database at one time: each step is right whatever others did before.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver

from api.errors import ConflictError
from api.storage.base import Storage

logger = logging.getLogger(__name__)

_STEP = 50
"""Runs or threads looked up at one time."""
_PAUSE = 0.002
"""Seconds between what is done for one run or thread and for the next."""
_LEFT_SECONDS = 600.0
"""How long ago a run ended whose process must be dead, as it has not deleted it."""
_ORPHAN_SECONDS = 24 * 3600.0
"""How old the checkpoints of a thread must be that the records do not know: it may be about to be made."""
FEW_ORPHANS = 10
"""A process that died has left no more; it is the records, then, that lack something."""


class Checkpoints(Protocol):
    """What retention needs of the checkpointer; BaseCheckpointSaver has it in part."""

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes what the latest state does not need."""

    async def athread_ids(self, *, after: str = "", limit: int = 100) -> Sequence[str]:
        """A page of the ids of all threads that have checkpoints."""

    async def alast_made(self, thread_id: str) -> datetime | None:
        """When the last checkpoint of a thread was made; None if it does not say."""

    async def areclaim(self) -> None:
        """Gives the disk back that deleted checkpoints took."""


@dataclass(slots=True)
class Swept:
    """How many of each went."""

    threads: int = 0
    histories: int = 0
    """Threads of whose checkpoints only those stayed that the latest state needs."""
    runs: int = 0
    events: int = 0
    """Runs whose events went, while their records stay."""
    orphans: int = 0
    """Threads that were gone already, of which a process that died had left checkpoints."""

    def __add__(self, other: "Swept") -> "Swept":
        return Swept(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


class Retention:
    """Deletes what is too old to be kept.

    Args:
        storage: the records and events.
        checkpoints: those of all threads.
        pause: seconds between steps.
        dry_run: only counts.
    """

    def __init__(
        self, storage: Storage, checkpoints: Checkpoints, *, pause: float = _PAUSE, dry_run: bool = False
    ) -> None:
        self._storage = storage
        self._checkpoints = checkpoints
        self._pause = pause
        self._dry_run = dry_run

    async def drop_events(self, age: float) -> int:
        """Drops the events of runs that ended at least `age` seconds ago; a cursor into them gets a GapError.

        Returns:
            Of how many runs.
        """
        before = _ago(age)

        async def page(limit: int) -> Sequence[str]:
            return await self._storage.records.ended_runs(before, with_events=True, limit=limit)

        return await self._of_runs(page, lambda run_id: self._storage.log.drop([run_id]))

    async def delete_deliveries(self, age: float) -> int:
        """Deletes the calls of webhooks that were done with at least `age` seconds ago.

        Returns:
            How many.
        """
        count, before = 0, _ago(age)
        while deleted := await self._storage.outbox.delete_done(before, limit=_STEP):
            count += deleted
            await asyncio.sleep(self._pause)
        return count

    async def delete_runs(self, age: float) -> int:
        """Deletes runs that ended at least `age` seconds ago, with their events; their threads and states stay.

        Returns:
            How many.
        """
        before = _ago(age)

        async def page(limit: int) -> Sequence[str]:
            return await self._storage.records.ended_runs(before, limit=limit)

        return await self._of_runs(page, self._delete_run)

    async def delete_left(self, *, except_runs: Collection[str] = ()) -> Swept:
        """Deletes what processes that died did not: stateless runs, and runs that were rolled back.

        Args:
            except_runs: those that this process will delete.
        """
        swept, before, records = Swept(), _ago(_LEFT_SECONDS), self._storage.records
        for run_id in await records.rolled_back_runs(ended_before=before):
            if run_id not in except_runs:
                swept.runs += 1
                await self._do(self._delete_run, run_id)
        for thread_id in await records.temporary_threads(ended_before=before):
            newest = await records.list_runs(thread_id, limit=1)
            if not newest or newest[0].run_id not in except_runs:
                swept.threads += await self.delete_thread(thread_id)
        return swept

    async def delete_orphans(self, *, most: int | None = FEW_ORPHANS) -> int:
        """Deletes old checkpoints whose thread is gone: it goes first, and its process died before they went.

        Args:
            most: if there are more, all of them stay, as it may be the threads that are missing; None: however many.

        Returns:
            Of how many threads.
        """
        orphans = [thread_id async for thread_id in self._orphans()]
        if most is not None and len(orphans) > most:
            logger.error(
                "there are checkpoints of %d threads that the records do not know, and they stay; if those threads are "
                "not wanted, `threadline prune --orphans` deletes them",
                len(orphans),
            )
            return 0
        for thread_id in orphans:
            if not self._dry_run:
                logger.warning("thread %s is gone: the checkpoints that were left of it are deleted", thread_id)
            await self._do(self._checkpoints.adelete_thread, thread_id)
        return len(orphans)

    async def _orphans(self) -> AsyncIterator[str]:
        before, after = _ago(_ORPHAN_SECONDS), ""
        while page := await self._checkpoints.athread_ids(after=after, limit=_STEP):
            after = page[-1]
            known = set(await self._storage.records.known_threads(page))
            for thread_id in page:
                if thread_id not in known:
                    made = await self._checkpoints.alast_made(thread_id)
                    if made is not None and made <= before:
                        yield thread_id

    async def expire_threads(self) -> Swept:
        """Does with the threads that have expired as was asked of them."""
        swept, records = Swept(), self._storage.records
        while expired := await records.expired_threads(limit=-1 if self._dry_run else _STEP):
            for thread in expired:
                if thread.ttl is None or thread.ttl.strategy == "delete":
                    swept.threads += await self.delete_thread(thread.thread_id)
                else:
                    swept.histories += 1
                    await self._do(self._clear_history, thread.thread_id)
                    await self._do(records.clear_ttl, thread.thread_id)
            if self._dry_run:
                break
        return swept

    async def delete_threads(self, age: float) -> int:
        """Deletes threads that nothing has changed for `age` seconds, with all that is theirs.

        Returns:
            How many.
        """
        return sum([await self.delete_thread(thread_id) async for thread_id in self._unchanged(age)])

    async def clear_histories(self, age: float) -> int:
        """Deletes checkpoints that the latest state does not need, of threads that nothing has changed for so long.

        Returns:
            Of how many threads.
        """
        count = 0
        async for thread_id in self._unchanged(age):
            count += 1
            await self._do(self._clear_history, thread_id)
        return count

    async def delete_thread(self, thread_id: str) -> bool:
        """Deletes a thread without a run under way; False if it has one, or is gone."""
        if self._dry_run:
            return True
        try:
            return await delete_thread(self._storage, self._checkpoints, thread_id)
        except ConflictError:
            return False
        finally:
            await asyncio.sleep(self._pause)

    async def reclaim(self) -> None:
        """Gives the disk back that all this took."""
        await self._storage.reclaim()
        await self._checkpoints.areclaim()

    async def _unchanged(self, age: float) -> AsyncIterator[str]:
        before, after = _ago(age), ""
        while page := await self._storage.records.unchanged_threads(before, after=after, limit=_STEP):
            for thread_id in page:
                yield thread_id
            after = page[-1]

    async def _of_runs(
        self, page: Callable[[int], Awaitable[Sequence[str]]], act: Callable[[str], Awaitable[None]]
    ) -> int:
        if self._dry_run:
            return len(await page(-1))
        count = 0
        while run_ids := await page(_STEP):
            for run_id in run_ids:
                await self._do(act, run_id)
            count += len(run_ids)
        return count

    async def _delete_run(self, run_id: str) -> None:
        await self._storage.log.drop([run_id])
        await self._storage.records.delete_run(run_id)

    async def _clear_history(self, thread_id: str) -> None:
        await self._checkpoints.aprune([thread_id])

    async def _do(self, step: Callable[[str], Awaitable[None]], key: str) -> None:
        if not self._dry_run:
            await step(key)
            await asyncio.sleep(self._pause)


async def delete_thread(
    storage: Storage, checkpoints: "Checkpoints | BaseCheckpointSaver[Any]", thread_id: str
) -> bool:
    """Deletes a thread with its runs, events and checkpoints, in small steps; False if there is none.

    The record goes before the checkpoints: what a process that dies leaves is found by that.

    Raises:
        ConflictError: a run of it is under way; nothing of the thread is deleted.
    """
    if await storage.records.active_runs(thread_id):
        raise ConflictError(f"Thread {thread_id!r} has a run under way.")
    offset = 0
    while runs := await storage.records.list_runs(thread_id, limit=_STEP, offset=offset):
        await storage.log.drop([run.run_id for run in runs])
        offset += len(runs)
    if not await storage.records.delete_thread(thread_id):
        return False
    await checkpoints.adelete_thread(thread_id)
    return True


def _ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)
