"""What a strike was promised itself, beside the clients: runs that are to come later, and calls of webhooks.

later, scheduled, with a webhook ──> the fault ──> kept: one run of each, and one call at least
"""

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.faults.checks import Verdict
from tests.faults.clients import PATIENCE_SECONDS
from tests.faults.graphs import Order
from tests.faults.traces import Traces

_PAUSE = 0.1


class Receiver:
    """An ASGI app that takes the calls of webhooks, and refuses every third."""

    def __init__(self) -> None:
        self.calls: dict[str, set[str]] = defaultdict(set)
        """Ids of the calls that were taken, by the run that they tell of."""
        self._count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self._count += 1
        taken = self._count % 3 != 0
        if taken:
            self.calls[json.loads(body)["run_id"]].add(dict(scope["headers"])[b"webhook-id"].decode())
        await send({"type": "http.response.start", "status": 200 if taken else 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Promises:
    """What servers have acknowledged."""

    threads: dict[str, str] = field(default_factory=dict)
    """By the marker of the one run that each is to have."""
    cut: set[str] = field(default_factory=set)
    """Markers of runs that had begun when their process was killed: they may begin once more."""
    told: list[str] = field(default_factory=list)
    """Runs whose webhook is to be called."""

    async def later(self, url: str, marker: str, seconds: float) -> None:
        """A run that is not to start before."""
        await self._promise(url, marker, "runs", {"after_seconds": seconds})

    async def scheduled(self, url: str, marker: str, seconds: float) -> None:
        """A run that a cron makes at its one date."""
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        schedule = f"{at.minute} {at.hour} {at.day} {at.month} * {at.second}"
        await self._promise(url, marker, "runs/crons", {"schedule": schedule})

    async def told_to(self, url: str, marker: str, receiver: str) -> None:
        """A run whose end a receiver is told of."""
        made = await self._promise(url, marker, "runs", {"webhook": f"{receiver}/done"})
        self.told.append(made["run_id"])

    async def _promise(self, url: str, marker: str, what: str, options: dict[str, Any]) -> Any:
        order = Order(marker=marker, steps=2, pause=0.05, do="")
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            thread = (await http.post("/threads", json={})).raise_for_status().json()
            body = {"assistant_id": "faults", "input": {"messages": [["user", json.dumps(order)]]}, **options}
            made = (await http.post(f"/threads/{thread['thread_id']}/{what}", json=body)).raise_for_status().json()
        self.threads[marker] = thread["thread_id"]
        return made

    async def kept(self, url: str, receiver: Receiver | None = None) -> None:
        """Returns when all of it is done, or when that takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(base_url=url, timeout=30) as http:
                for thread_id in self.threads.values():
                    while not await _has_ended(http, thread_id):  # noqa: ASYNC110  # of another process
                        await asyncio.sleep(_PAUSE)
                while receiver and set(self.told) - set(receiver.calls):  # noqa: ASYNC110  # likewise
                    await asyncio.sleep(_PAUSE)

    async def check(self, url: str, traces: Traces, receiver: Receiver | None = None) -> Verdict:
        """What of it is missing, or there more than once."""
        verdict = Verdict()
        begun = Counter(marker for marker, what in traces.all() if what == "begin")
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            for marker, thread_id in self.threads.items():
                runs = (await http.get(f"/threads/{thread_id}/runs")).json()
                if [run["status"] for run in runs] != ["success"]:
                    bad = verdict.doubled if len(runs) > 1 else verdict.lost
                    bad.append(f"{marker}: its runs are {[run['status'] for run in runs]}")
                if not self.told and begun[marker] > 1 + (marker in self.cut):
                    verdict.doubled.append(f"{marker}: it began {begun[marker]} times")
        for run_id in self.told if receiver else ():
            calls = receiver.calls[run_id] if receiver else set()
            if not calls:
                verdict.lost.append(f"run {run_id}: its webhook was not called")
            elif len(calls) > 1:
                verdict.doubled.append(f"run {run_id}: calls of its webhook with the ids {calls}")
        return verdict


async def _has_ended(http: httpx.AsyncClient, thread_id: str) -> bool:
    try:
        runs = (await http.get(f"/threads/{thread_id}/runs")).raise_for_status().json()
    except httpx.HTTPError:
        return False
    return bool(runs) and all(run["status"] not in ("pending", "running") for run in runs)
