"""Clients that do not give up: each begins a run, follows it over every cut, and remembers what it was promised.

POST .../stream ──frames──> cut? ──> GET with Last-Event-ID ──frames──> ... ──> the end
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.faults.graphs import Order

PATIENCE_SECONDS = 60.0
"""How long a client goes on."""
_PAUSE = 0.05
"""Seconds between two attempts to reach the server."""


@dataclass(frozen=True)
class Wire:
    """How a protocol streams a run."""

    name: str
    break_: bytes
    """Between two frames."""

    def request(self, question: str, thread_id: str, *, resume: bool) -> tuple[str, dict[str, Any]]:
        """Path and body that begin a run."""
        if self.name == "native":
            body = {"resume": "yes"} if resume else {"input": question}
            return "/agents/faults/stream", {**body, "thread_id": thread_id}
        body = {"command": {"resume": "yes"}} if resume else {"input": {"messages": [["user", question]]}}
        options = {"stream_mode": ["custom", "updates"], "stream_resumable": True, "on_disconnect": "continue"}
        return f"/threads/{thread_id}/runs/stream", {
            **body, **options, "assistant_id": "faults", "durability": "sync"
        }  # fmt: skip

    def path(self, thread_id: str, run_id: str) -> str:
        """Where a run is followed."""
        if self.name == "native":
            return f"/agents/faults/stream/{run_id}"
        return f"/threads/{thread_id}/runs/{run_id}/stream"


WIRES = (Wire("native", b"\n\n"), Wire("langgraph", b"\r\n\r\n"))


@dataclass(frozen=True)
class Frame:
    """A frame as it came."""

    id: int
    event: str
    raw: bytes

    @property
    def data(self) -> Any:
        """Its JSON."""
        return json.loads(next(line for line in self.raw.splitlines() if line.startswith(b"data: "))[6:])


def parse(block: bytes) -> Frame | None:
    """A frame without the comments before it; None if there is nothing else."""
    lines = [line for line in block.splitlines(keepends=True) if line.strip() and not line.startswith(b":")]
    fields = dict(line.rstrip().split(b": ", 1) for line in lines)
    if b"id" not in fields:
        return None
    return Frame(int(fields[b"id"]), fields[b"event"].decode(), b"".join(lines))


@dataclass
class FollowedRun:
    """A run, as its client saw it."""

    wire: Wire
    thread_id: str
    run_id: str
    frames: list[Frame] = field(default_factory=list)
    ended: bool = False


@dataclass
class Client:
    """Runs one order to its end.

    Args:
        urls: of the servers; it asks the first that answers.
        wire: the protocol.
        order: what its run does.
        chance: when it does what.
        under_way: set at its first event.
        cut_every: frames after which it cuts its connection itself, on average; 0 for never.
        cancels: whether it cancels its run at some point.
        patience: seconds after which it gives up.
    """

    urls: list[str]
    wire: Wire
    order: Order
    chance: random.Random
    under_way: asyncio.Event
    cut_every: int = 0
    cancels: bool = False
    patience: float = PATIENCE_SECONDS
    runs: list[FollowedRun] = field(default_factory=list)
    """Those that were acknowledged."""
    items: list[str] = field(default_factory=list)
    """Keys of store items that were acknowledged."""
    thread_id: str = ""
    last_frame_at: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """From the last frame before a cut to the first one after it, on `time.monotonic`'s clock."""
    problems: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Everything, from the thread to the end of the last run."""
        try:
            async with asyncio.timeout(self.patience), httpx.AsyncClient(timeout=10) as http:
                self._http = http
                self.thread_id = (await self._insist("POST", "/threads", {})).json()["thread_id"]
                await self._put_item("before")
                await self._follow(await self._begin(resume=False))
                if self.order["do"] == "interrupt" and not await self._was_cancelled():
                    await self._follow(await self._begin(resume=True))
                await self._put_item("after")
        except TimeoutError:
            self.problems.append(f"no end within {self.patience:g} s")

    async def _was_cancelled(self) -> bool:
        """Whether the run ended before its interrupt: then there is nothing to resume."""
        runs = await self._insist("GET", f"/threads/{self.thread_id}/runs")
        return bool(runs.json()[0]["status"] == "interrupted")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Asks until a server answers."""
        return await self._insist("GET", path, headers=headers)

    async def _insist(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        while True:
            for url in self.urls:
                try:
                    response = await self._http.request(method, url + path, json=body, headers=headers)
                except httpx.TransportError:
                    continue
                if response.status_code < 500:
                    response.raise_for_status()
                    return response
            await asyncio.sleep(_PAUSE)

    async def _put_item(self, key: str) -> None:
        namespace = ["acknowledged", self.order["marker"]]
        await self._insist("PUT", "/store/items", {"namespace": namespace, "key": key, "value": {"key": key}})
        self.items.append(key)

    async def _begin(self, *, resume: bool) -> FollowedRun:
        """Begins a run. One whose request was cut before the answer may have begun all the same."""
        path, body = self.wire.request(json.dumps(self.order), self.thread_id, resume=resume)
        while True:
            for url in self.urls:
                known = await self._insist("GET", f"/threads/{self.thread_id}/runs")
                if len(known.json()) > len(self.runs):
                    return self._acknowledged(known.json()[0]["run_id"])
                try:
                    async with self._http.stream("POST", url + path, json=body) as response:
                        if response.status_code == 200:
                            location = response.headers["content-location"]
                            run = self._acknowledged(location.rstrip("/").rpartition("/")[2])
                            await self._read(run, response)
                            return run
                        await response.aread()
                        assert response.status_code >= 500, response.text
                except httpx.TransportError:
                    if len(self.runs) > len(known.json()):
                        return self.runs[-1]
            await asyncio.sleep(_PAUSE)

    def _acknowledged(self, run_id: str) -> FollowedRun:
        run = FollowedRun(self.wire, self.thread_id, run_id)
        self.runs.append(run)
        return run

    async def _follow(self, run: FollowedRun) -> None:
        path = self.wire.path(run.thread_id, run.run_id)
        while not run.ended:
            for url in self.urls:
                headers = {"last-event-id": str(run.frames[-1].id if run.frames else 0)}
                try:
                    async with self._http.stream("GET", url + path, headers=headers) as response:
                        if response.status_code == 200:
                            await self._read(run, response)
                        elif response.status_code < 500:
                            self.problems.append(f"cannot be joined: {response.status_code}")
                            return
                except httpx.TransportError:
                    continue
                if run.ended or await self._has_ended(run):
                    run.ended = True
                    break
            await asyncio.sleep(_PAUSE)

    async def _has_ended(self, run: FollowedRun) -> bool:
        """For a protocol whose streams end without a word."""
        if run.wire.name == "native":
            return False
        path = f"/threads/{run.thread_id}/runs/{run.run_id}"
        status = (await self._insist("GET", path)).json()["status"]
        if status in ("pending", "running"):
            return False
        whole = frames_of((await self._insist("GET", f"{path}/stream")).content, run.wire)
        return bool(whole) and bool(run.frames) and whole[-1].id == run.frames[-1].id

    async def _read(self, run: FollowedRun, response: httpx.Response) -> None:
        rest = b""
        async for chunk in response.aiter_bytes():
            *blocks, rest = (rest + chunk).split(self.wire.break_)
            for block in blocks:
                if (frame := parse(block)) is not None:
                    self._note(run, frame)
                    await self._disturb(run)
                    if frame.event == "end":
                        run.ended = True
                        return
                    if self.cut_every and self.chance.random() < 1 / self.cut_every:
                        return

    def _note(self, run: FollowedRun, frame: Frame) -> None:
        now = time.monotonic()
        if run.frames:
            self.gaps.append((self.last_frame_at, now))
        self.last_frame_at = now
        run.frames.append(frame)
        self.under_way.set()

    async def _disturb(self, run: FollowedRun) -> None:
        if self.cancels and self.chance.random() < 0.1:
            self.cancels = False
            async with httpx.AsyncClient(base_url=self.urls[0]) as http:
                await http.post(f"/threads/{run.thread_id}/runs/{run.run_id}/cancel")


def frames_of(content: bytes, wire: Wire) -> list[Frame]:
    """All frames of a whole stream."""
    return [frame for block in content.split(wire.break_) if (frame := parse(block)) is not None]
