"""The deliverer: makes the calls of webhooks that wait in the outbox, a bounded number at a time.

    outbox.wait ──> outbox.take ──> webhooks.call, in a task of its own ──> delivered, failed, or due again later

A call is taken with a lease: whenever a process dies, another one, or its next start, makes it again. So each is made
at least once, and a receiver knows by its id what it has had.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from api.errors import StorageError
from api.schemas import Delivery
from api.storage.base import Outbox
from api.webhooks import ATTEMPT_SECONDS, Webhooks

logger = logging.getLogger(__name__)

_MAX_REQUESTS = 32
_LEASE_SECONDS = 1.5 * ATTEMPT_SECONDS
_BACKOFF = (1.0, 4.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Seconds before each further attempt, and up to half as much again: two days in all."""
_RETRY_SECONDS = 1.0
"""After the storage failed to answer."""


class Deliverer:
    """Makes the calls of the outbox, in this process.

    Args:
        outbox: where they wait.
        webhooks: makes one.
        backoff: seconds before each further attempt; that many are made at most.
        grace: seconds that calls under way have at the end.
    """

    def __init__(
        self, outbox: Outbox, webhooks: Webhooks, *, backoff: Sequence[float] = _BACKOFF, grace: float = 5.0
    ) -> None:
        self._outbox = outbox
        self._webhooks = webhooks
        self._backoff = backoff
        self._grace = grace
        self._slots = asyncio.Semaphore(_MAX_REQUESTS)
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to make calls."""
        self._loop = asyncio.create_task(self._deliver_forever(), name="threadline-deliverer")

    async def stop(self) -> None:
        """Takes no more; those under way get the grace time, and what is cut is made at the next start."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if calls := list(self._calls):
            _, late = await asyncio.wait(calls, timeout=self._grace)
            for call in late:
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver_forever(self) -> None:
        while True:
            await self._slots.acquire()
            taken = None
            try:
                taken = await self._outbox.take(_LEASE_SECONDS)
                due = None if taken else await self._outbox.next_due()
            except Exception:
                logger.exception("taking the call of a webhook failed")
                due = datetime.now(UTC) + timedelta(seconds=_RETRY_SECONDS)
            if taken is None:
                self._slots.release()
                await self._outbox.wait(None if due is None else max(0.0, (due - datetime.now(UTC)).total_seconds()))
                continue
            call = asyncio.create_task(self._deliver(taken), name=f"threadline-webhook-{taken.run_id}")
            self._calls.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._slots.release()

    async def _deliver(self, taken: Delivery) -> None:
        try:
            await self._attempt(taken)
        except asyncio.CancelledError:
            await self._outbox.settle(taken, "pending", problem="the server ended")
            raise
        except StorageError as exc:
            logger.error("run %s: what came of its webhook is not kept, it is called again: %s", taken.run_id, exc)
        except Exception as exc:
            logger.exception("run %s: its webhook could not be called", taken.run_id)
            await self._outbox.settle(taken, "failed", problem=f"the call failed with {type(exc).__name__}")

    async def _attempt(self, taken: Delivery) -> None:
        refusal = await self._webhooks.call(taken)
        if refusal is None:
            await self._outbox.settle(taken, "delivered")
        elif refusal.final or taken.attempts > len(self._backoff):
            logger.error("run %s: its webhook was not accepted: %s", taken.run_id, refusal.problem)
            await self._outbox.settle(taken, "failed", problem=refusal.problem)
        else:
            logger.info("run %s: its webhook is called again later: %s", taken.run_id, refusal.problem)
            pause = self._backoff[taken.attempts - 1] * random.uniform(1, 1.5)  # noqa: S311  # spreads the load
            due_at = datetime.now(UTC) + timedelta(seconds=pause)
            await self._outbox.settle(taken, "pending", due_at=due_at, problem=refusal.problem)
