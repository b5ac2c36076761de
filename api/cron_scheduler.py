"""The cron scheduler: fires crons when they are due.

    sleep until the next is due, or one changed ──> due ──> RunRequests.build ──> Runs.create ──> sleep ...

A look every few seconds is the net for changes that went untold. A cron that came due while no server ran fires once
when one starts, however many of its dates have passed, and goes on from there. The run is created and the cron moved on
in one transaction: whenever a process dies, and however many of them see the cron due, it fires once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from api.containment import contained, held
from api.crons import run_of
from api.errors import FencedError, InvalidRequestError, StorageError, ThreadlineError
from api.run_requests import RunRequests
from api.runs import RunRequest, Runs
from api.schedules import Clock, next_date
from api.schemas import Cron, FiredCron
from api.storage.base import Storage

logger = logging.getLogger(__name__)

_BATCH = 100
"""Crons that are fired together."""
_RETRY = timedelta(seconds=1)
"""After the storage failed to answer."""


class CronScheduler:
    """Fires the crons of the storage, in this process.

    Args:
        storage: where they are.
        requests: builds their runs.
        runs: creates them.
        clock: tells the time.
        admit: asks whether who made a cron may have its run, and puts their name to it.
    """

    def __init__(
        self,
        storage: Storage,
        requests: RunRequests,
        runs: Runs,
        clock: Clock | None = None,
        admit: Callable[[Cron, RunRequest], Awaitable[None]] | None = None,
    ) -> None:
        self._admit = admit
        self._crons = storage.crons
        self._requests = requests
        self._runs = runs
        self._clock = clock or Clock()
        self._firing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to fire crons."""
        self._task = asyncio.create_task(self._fire_forever(), name="threadline-crons")

    async def stop(self) -> None:
        """Fires no more; what is being fired gets its run first."""
        if self._task is None:
            return
        async with self._firing:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _fire_forever(self) -> None:
        with contained():
            while True:
                async with self._firing:
                    following = await self._fire_due()
                await self._wait(following)

    async def _wait(self, until: datetime | None) -> None:
        """Until a cron is due, or changed."""
        waits = [asyncio.ensure_future(self._crons.wait())]
        if until is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(until)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _fire_due(self) -> datetime | None:
        """Fires all that are due; when the next one is."""
        now = self._clock.now()
        try:
            while due := await self._crons.due(now, _BATCH):
                await self._fire_all(due, now)
            return await self._crons.next_due(now)
        except Exception:
            logger.exception("firing the crons failed")
            return now + _RETRY

    async def _fire_all(self, due: Sequence[Cron], now: datetime) -> None:
        """Waits for all, also if one fails."""
        for result in await asyncio.gather(*(self._fire(cron, now) for cron in due), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _fire(self, cron: Cron, now: datetime) -> None:
        following = _following(cron, now)
        try:
            await self._runs.create(await held(self._request(cron)), FiredCron(cron, following))
        except FencedError:
            return  # If it was only changed, it is still due.
        except StorageError:
            raise
        except ThreadlineError as exc:
            logger.error("cron %s made no run: %s", cron.cron_id, exc.message)
        except Exception:
            logger.exception("cron %s made no run", cron.cron_id)
        else:
            return
        # What cannot be made now is left out.
        await self._crons.claim(cron, following)

    async def _request(self, cron: Cron) -> RunRequest:
        request = await self._requests.build(run_of(cron), cron.thread_id)
        config = request.kwargs["config"]
        config["configurable"] = {**config.get("configurable", {}), "cron_id": cron.cron_id}
        if self._admit is not None:
            await self._admit(cron, request)
        return request


def _following(cron: Cron, now: datetime) -> datetime | None:
    try:
        return next_date(cron.schedule, now, cron.timezone)
    except InvalidRequestError:
        return None  # a schedule with years in it ends
