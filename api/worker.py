"""The worker: claims runs as soon as they can start, a bounded number at a time, and keeps their leases alive.

    queue.wait ──> queue.claim ──> executor.execute, each run in a task of its own ──> queue.wait ...

A created or finished run wakes the worker, a run that is due later is slept for; a look every few seconds is the net.
"""

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from api.errors import ThreadlineError
from api.executor import Executor
from api.schemas import CancelAction, Run
from api.settings import Settings
from api.storage.base import RunQueue

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
"""After the storage failed to answer, or a run could not be ended; then twice as long each time."""
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class _Running:
    """A run that executes here, or is about to."""

    run: Run
    task: asyncio.Task[None]
    started: bool = False


class Worker:
    """Executes the queue's runs in this process.

    Args:
        queue: claimed from.
        executor: runs what was claimed.
        settings: how many at a time, and how long a lease is.
    """

    def __init__(self, queue: RunQueue, executor: Executor, settings: Settings) -> None:
        self.worker_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._queue = queue
        self._executor = executor
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrent_runs)
        self._running: dict[str, _Running] = {}
        self._look = asyncio.Event()
        """Set when a run that was claimed just now may have been cancelled."""
        self._loops: list[asyncio.Task[None]] = []
        self._holding = contextlib.ExitStack()
        self._draining = False

    def start(self) -> None:
        """Begins to claim runs."""
        holding = self._queue.hold(
            self.worker_id, self._settings.lease_seconds, held=self.running, on_mark=self._look.set
        )
        self._holding.enter_context(holding)
        self._loops = [
            asyncio.create_task(self._claim_forever(), name="threadline-claim"),
            asyncio.create_task(self._heartbeat_forever(), name="threadline-heartbeat"),
        ]

    async def drain(self, grace: float) -> None:
        """Claims no more; graphs stop after their superstep, what takes longer is cancelled. The runs that have not
        ended go back to the queue.

        Args:
            grace: seconds that a superstep has.
        """
        self._draining = True
        await _cancel_all(self._loops[:1])
        self._executor.drain()
        tasks = [running.task for running in self._running.values()]
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        await _cancel_all(tasks)

    async def stop(self) -> None:
        """Drains, if that has not been done yet, and ends."""
        await self.drain(self._settings.shutdown_grace)
        await _cancel_all(self._loops)
        self._holding.close()

    def running(self) -> list[str]:
        """Ids of the runs that execute here; may be called on any thread."""
        return list(self._running)

    def cancel(self, run_id: str, action: CancelAction) -> bool:
        """Stops a run that executes here, at once; False if it does not."""
        running = self._running.get(run_id)
        if running is None:
            # It may be on its way here from the database, without the mark that was made meanwhile.
            self._look.set()
            return False
        if running.run.cancel is None:
            running.run.cancel = action
            # A task that is cancelled before its first step never takes it: then the mark alone ends the run.
            if running.started:
                running.task.cancel()
        return True

    async def _claim_forever(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                full = self._full()
                run = await self._queue.claim(self.worker_id, self._settings.lease_seconds, full=full)
            except Exception:
                logger.exception("claiming a run failed")
                self._slots.release()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if run is None:
                self._slots.release()
                if full:
                    # What they wait with may be claimed elsewhere.
                    self._queue.pass_on()
                await self._queue.wait(await self._until_due(full))
                continue
            if (earlier := self._running.get(run.run_id)) is not None:
                # This process was suspended for longer than the lease: the attempt that it still executes is void.
                await _cancel_all([earlier.task])
            task = asyncio.create_task(self._execute(run), name=f"threadline-run-{run.run_id}")
            self._running[run.run_id] = _Running(run, task)
            if self._slots.locked():
                self._queue.pass_on()

    def _full(self) -> frozenset[str]:
        """Owners who have their share of this process, and so leave room for others."""
        most = self._settings.most_concurrent_runs_per_caller
        counts = Counter(running.run.owner for running in self._running.values() if running.run.owner)
        return frozenset(owner for owner, count in counts.items() if count >= most)

    async def _until_due(self, full: Collection[str]) -> float | None:
        due = await self._queue.next_due(full=full)
        return None if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds())

    async def _execute(self, run: Run) -> None:
        self._running[run.run_id].started = True
        try:
            await self._executor.execute(run)
        except Exception:
            logger.exception("run %s could not be ended; another attempt goes on with it", run.run_id)
            await self._give_back(run)
        finally:
            if run.owner in self._full():
                self._queue.wake()  # it may have waited for this end alone
            del self._running[run.run_id]
            self._slots.release()

    async def _give_back(self, run: Run) -> None:
        """After a pause that grows with its attempts, unless the server ends."""
        try:
            if not self._draining:
                await asyncio.sleep(min(_RETRY_SECONDS * 2**run.attempt, _LONGEST_PAUSE))
        finally:
            with contextlib.suppress(ThreadlineError):
                await self._queue.release(run.run_id, run.attempt)

    async def _heartbeat_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease_seconds / 3):
                    await self._look.wait()
            self._look.clear()
            if not self._running:
                continue
            try:
                held = await self._queue.heartbeat(self.worker_id, self._settings.lease_seconds, self.running())
            except Exception:
                logger.exception("extending the leases failed")
                continue
            for run in held:
                if run.cancel is not None:
                    self.cancel(run.run_id, run.cancel)


async def _cancel_all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
