"""The sweeper: waits for the next thread to expire, then has it deleted or cleared."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

from api.threads import Threads

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds after which it looks again all the same: another process may have set a time, or a run may have ended."""


class Sweeper:
    """A task that lets threads expire.

    Args:
        threads: whose they are.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins; what expired while no process ran goes at once."""
        self._task = asyncio.create_task(self._sweep_forever(), name="threadline-sweeper")

    async def stop(self) -> None:
        """Ends; what it was about to do is done by the next one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sweep_forever(self) -> None:
        while True:
            self._threads.expiry_set.clear()
            wait = LONGEST_WAIT
            try:
                if (expiry := await self._threads.sweep()) is not None:
                    wait = min(wait, (expiry - datetime.now(UTC)).total_seconds())
            except Exception:
                logger.exception("threads that have expired could not be swept")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0)):
                    await self._threads.expiry_set.wait()
