"""The sweeper: lets threads expire at their time, and has done away with what is no longer to be kept."""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime

from api.checkpointer_config import ThreadTtl
from api.retention import Retention
from api.runs import Runs
from api.settings import Settings
from api.threads import Threads

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds after which it looks again all the same: another process may have set a time, or a run may have ended."""
_SHORTEST_WAIT = 1.0
_ORPHANS_INTERVAL = 3600.0
"""Seconds between looks at all threads of the checkpoints."""


class Sweeper:
    """Two tasks: one lets threads expire, the other deletes events and runs that are too old, and gives disk back.

    Args:
        threads: those that expire.
        runs: those that it deletes itself.
        retention: deletes.
        settings: how long runs and their events are kept.
        ttl: how often threads are swept.
    """

    def __init__(self, threads: Threads, runs: Runs, retention: Retention, settings: Settings, ttl: ThreadTtl) -> None:
        self._threads = threads
        self._runs = runs
        self._retention = retention
        self._settings = settings
        self._ttl = ttl
        self._orphans_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins; what expired while no process ran goes at once."""
        self._tasks = [
            asyncio.create_task(self._expire_forever(), name="threadline-sweeper"),
            asyncio.create_task(self._delete_forever(), name="threadline-retention"),
        ]

    async def stop(self) -> None:
        """Ends; what it was about to do is done by the next one."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _expire_forever(self) -> None:
        interval = self._ttl.sweep_interval_minutes
        while True:
            self._threads.expiry_set.clear()
            wait = LONGEST_WAIT
            try:
                if (expiry := await self._threads.sweep()) is not None:
                    wait = min(wait, (expiry - datetime.now(UTC)).total_seconds())
            except Exception:
                logger.exception("threads that have expired could not be swept")
            if interval is not None:
                await asyncio.sleep(interval * 60)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0)):
                    await self._threads.expiry_set.wait()

    async def _delete_forever(self) -> None:
        ages = [age for age in (self._settings.events_ttl, self._settings.runs_ttl) if age]
        wait = max(min([LONGEST_WAIT, *ages]), _SHORTEST_WAIT)
        while True:
            try:
                await self._delete()
            except Exception:
                logger.exception("what is no longer to be kept could not be deleted")
            await asyncio.sleep(wait)

    async def _delete(self) -> None:
        if age := self._settings.runs_ttl:
            await self._retention.delete_runs(age)
        if age := self._settings.events_ttl:
            await self._retention.drop_events(age)
            await self._retention.delete_deliveries(age)
        await self._retention.delete_left(except_runs=self._runs.doomed)
        if time.monotonic() >= self._orphans_at:
            await self._retention.delete_orphans()
            self._orphans_at = time.monotonic() + _ORPHANS_INTERVAL
        await self._retention.reclaim()
