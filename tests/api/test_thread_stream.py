"""The stream of a whole thread: every run of it and every update of its state, cut and resumed anywhere."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.settings import Settings
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate
from tests.serving import serving


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    """The SDK, pointed at a server."""
    async with get_client(url=str(client.base_url)) as started:
        yield started


async def _thread(client: Client) -> str:
    return str((await client.post("/threads", json={})).json()["thread_id"])


async def _run(client: Client, thread_id: str, graph: str, graph_input: Any, **options: Any) -> str:
    """Runs to the end on a thread; the run's id."""
    body = {"assistant_id": graph, "input": graph_input, **options}
    response = await client.post(f"/threads/{thread_id}/runs/wait", json=body)
    assert response.status_code == 200, response.text
    return response.headers["content-location"].rpartition("/")[2]


class Reader:
    """Reads a thread's stream: its frames as bytes, each with its id, comments left out."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_raw()
        self._text = b""

    async def next(self) -> bytes:
        while b"\r\n\r\n" not in self._text:
            self._text += await anext(self._chunks)
            self._text = self._text.replace(b": heartbeat\n\n", b"")
        frame, _, self._text = self._text.partition(b"\r\n\r\n")
        return frame

    async def until(self, mark: bytes) -> list[bytes]:
        """Frames up to one with a mark in it."""
        frames = []
        async with asyncio.timeout(20):
            while not frames or mark not in frames[-1]:
                frames.append(await self.next())
        return frames


@contextlib.asynccontextmanager
async def reading(client: Client, thread_id: str, last_event_id: str | None = None, **query: Any) -> Any:
    """An open stream of a thread."""
    headers = {} if last_event_id is None else {"last-event-id": last_event_id}
    async with client.stream("GET", f"/threads/{thread_id}/stream", headers=headers, params=query) as response:
        assert response.status_code == 200, await response.aread()
        yield Reader(response)


def _id(frame: bytes) -> int:
    found = re.search(rb"\r\nid: (\d+)$", frame)
    assert found is not None, frame
    return int(found[1])


def _names(frames: list[bytes]) -> list[str]:
    return [frame.split(b"\r\n", 1)[0].removeprefix(b"event: ").decode() for frame in frames]


async def _eventful(client: Client) -> str:
    """A thread with a run of each API, a state update between them, and a run that failed."""
    thread_id = await _thread(client)
    await _run(client, thread_id, "steps", {"number": 1}, stream_mode=["values", "updates"])
    change = {"values": {"number": 5}, "as_node": "double"}
    assert (await client.post(f"/threads/{thread_id}/state", json=change)).status_code == 200
    await client.run("steps", {"number": 2}, thread_id=thread_id)
    await _run(client, thread_id, "steps", {"number": -1})
    await _run(client, thread_id, "steps", {"number": 3}, metadata={"last": True})
    return thread_id


async def test_everything_in_order(client: Client) -> None:
    thread_id = await _eventful(client)
    modes = ["run_modes", "state_update"]
    async with reading(client, thread_id, "-", stream_modes=modes) as reader:
        frames = await reader.until(b'"number":3,"doubled":6')
        frames += await reader.until(b"run_done")

    assert _names(frames) == [
        *("metadata", "values", "updates", "values", "metadata"),
        "state_update",
        *("metadata", "custom", "values", "metadata"),
        *("metadata", "values", "error", "metadata"),
        *("metadata", "values", "values", "metadata"),
    ]
    ids = [_id(frame) for frame in frames if b"\r\nid: " in frame]
    assert ids == sorted(set(ids))
    update = next(frame for frame in frames if b"state_update" in frame)
    assert b'"state":{"values":{"number":5' in update
    assert thread_id.encode() in update


async def test_cut_after_every_event_and_resumed(client: Client) -> None:
    thread_id = await _eventful(client)
    modes = ["run_modes", "state_update"]
    async with reading(client, thread_id, "0", stream_modes=modes) as reader:
        whole = await reader.until(b'"number":3,"doubled":6')
        whole += await reader.until(b"run_done")

    for at, frame in enumerate(whole[:-1]):
        if b"\r\nid: " not in frame:
            continue
        async with reading(client, thread_id, str(_id(frame)), stream_modes=modes) as reader:
            async with asyncio.timeout(20):
                assert [await reader.next() for _ in whole[at + 1 :]] == whole[at + 1 :]


async def test_runs_made_while_two_watch(client: Client, sdk: LangGraphClient) -> None:
    thread_id = await _thread(client)
    await _run(client, thread_id, "steps", {"number": 1})

    async with reading(client, thread_id) as one, reading(client, thread_id) as other:
        first = await _run(client, thread_id, "steps", {"number": 10})
        second = await _run(client, thread_id, "steps", {"number": 20})
        seen = [await one.until(b"run_done") + await one.until(b"run_done") for one in (one, other)]

    assert seen[0] == seen[1]
    assert first.encode() in seen[0][0]
    assert second.encode() in seen[0][-1]
    assert not [frame for frame in seen[0] if b'"number":1,' in frame]


async def test_joined_in_the_midst_of_a_run(client: Client, sdk: LangGraphClient) -> None:
    thread_id = await _thread(client)
    with gate("midst") as held:
        async with reading(client, thread_id) as early:
            run = await sdk.runs.create(thread_id, "gated", input={"messages": "midst"}, stream_mode=["custom"])
            await held.reached.wait()
            before = await early.until(b"event: custom")
            async with reading(client, thread_id) as late, reading(client, thread_id, str(_id(before[-1]))) as again:
                held.released.set()
                after = await late.until(b"run_done")
                assert after == await again.until(b"run_done") == await early.until(b"run_done")
    assert _names(after) == ["metadata"]
    assert run["run_id"].encode() in after[0]


async def test_a_run_abandoned_beside_another_has_its_own_positions(client: Client, sdk: LangGraphClient) -> None:
    thread_id = await _thread(client)
    with gate("beside") as held:
        async with reading(client, thread_id) as live:
            await sdk.runs.create(thread_id, "gated", input={"messages": "beside"}, stream_mode=["values"])
            await held.reached.wait()
            waiting = await sdk.runs.create(thread_id, "gated", input={"messages": "never"})
            await sdk.runs.cancel(thread_id, waiting["run_id"], wait=True)
            held.released.set()
            frames = await live.until(b"run_done") + await live.until(b"run_done")
    await _run(client, thread_id, "gated", {"messages": "after"})
    async with reading(client, thread_id, "-") as replay:
        replayed = await replay.until(b"run_done") + await replay.until(b"run_done") + await replay.until(b"run_done")

    ids = [_id(frame) for frame in replayed]
    assert ids == sorted(set(ids))
    assert replayed[: len(frames)] == frames
    assert waiting["run_id"].encode() in frames[-1]


async def test_positions_survive_a_restart(serve: Serve) -> None:
    async with serve() as client:
        thread_id = await _eventful(client)
        async with reading(client, thread_id, "-", stream_modes="state_update,run_modes") as reader:
            before = [await reader.next() for _ in range(16)]
    async with serve() as client, reading(client, thread_id, "-", stream_modes="state_update,run_modes") as reader:
        assert [await reader.next() for _ in range(16)] == before


async def test_lifecycle_shows_beginnings_and_ends(client: Client) -> None:
    thread_id = await _eventful(client)
    async with reading(client, thread_id, "-", stream_modes="lifecycle") as reader:
        frames = [await reader.next() for _ in range(8)]
    assert set(_names(frames)) == {"metadata"}
    assert [b"run_done" in frame for frame in frames] == [False, True] * 4


async def test_a_deleted_run_leaves_a_gap(client: Client) -> None:
    thread_id = await _thread(client)
    first = await _run(client, thread_id, "steps", {"number": 1})
    second = await _run(client, thread_id, "steps", {"number": 2})
    await client.delete(f"/threads/{thread_id}/runs/{first}")
    async with reading(client, thread_id, "-") as reader:
        frames = await reader.until(b"run_done")
    assert second.encode() in frames[0]
    assert _id(frames[0]) > 1


async def test_ends_with_its_thread(client: Client) -> None:
    thread_id = await _thread(client)
    async with client.stream("GET", f"/threads/{thread_id}/stream") as response:
        deleting = asyncio.create_task(client.delete(f"/threads/{thread_id}"))
        async with asyncio.timeout(20):
            assert await response.aread() == b""
    assert (await deleting).status_code == 204


async def test_heartbeats_while_nothing_happens(serve: Serve) -> None:
    async with serve(heartbeat_interval=0.02) as client:
        thread_id = await _thread(client)
        async with client.stream("GET", f"/threads/{thread_id}/stream") as response:
            chunks = response.aiter_raw()
            assert [await anext(chunks), await anext(chunks)] == [b": heartbeat\n\n"] * 2


@pytest.mark.parametrize(
    ("path", "headers", "status", "detail"),
    [
        ("", {"last-event-id": "nonsense"}, 422, "Invalid last-event-id: must be a valid Redis stream ID"),
        ("", {"last-event-id": "-1"}, 422, "Invalid last-event-id: must be a valid Redis stream ID"),
        ("", {"last-event-id": "99"}, 400, "Last-Event-ID is past the thread's last event."),
        ("?stream_modes=zzz", {}, 422, "Invalid stream mode: zzz"),
        ("?stream_mode=zzz", {}, 422, "Invalid stream mode: zzz"),
    ],
)
async def test_what_cannot_be_followed(
    client: Client, path: str, headers: dict[str, str], status: int, detail: str
) -> None:
    response = await client.get(f"/threads/{await _thread(client)}/stream{path}", headers=headers)
    assert (response.status_code, response.json()["detail"]) == (status, detail)


async def test_no_such_thread(client: Client) -> None:
    assert (await client.get(f"/threads/{uuid.uuid4()}/stream")).status_code == 404
    assert (await client.get("/threads/nonsense/stream")).status_code == 422


async def test_the_sdk_joins(client: Client, sdk: LangGraphClient) -> None:
    thread_id = await _eventful(client)
    modes: list[Any] = ["run_modes", "state_update"]
    parts = []
    stream: Any = await sdk.threads.join_stream(thread_id, last_event_id="-", stream_mode=modes)
    async with contextlib.aclosing(stream):
        async for part in stream:
            parts.append(part)
            if part.event == "state_update":
                break
    assert [part.event for part in parts] == ["metadata", "values", "updates", "values", "metadata", "state_update"]
    assert parts[4].data["status"] == "run_done"
    again: Any = await sdk.threads.join_stream(thread_id, last_event_id=parts[2].id)
    async with contextlib.aclosing(again):
        assert await anext(again) == parts[3]


async def test_events_that_are_gone_are_told(config: Path) -> None:
    app = create_app(Settings(config=config, heartbeat_interval=0.05))
    async with serving(app) as url, Client(base_url=url, timeout=30) as client:
        thread_id = await _thread(client)
        first, second, third = [await _run(client, thread_id, "steps", {"number": number}) for number in (1, 2, 3)]
        async with reading(client, thread_id, "-") as reader:
            kept = _id((await reader.until(b"run_done"))[-1])
        log = app.state.threadline.storage.log
        await log.drop([first])

        gone = await client.get(f"/threads/{thread_id}/stream", headers={"last-event-id": "-"})
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "events_gone")
        async with reading(client, thread_id, str(kept)) as reader:
            assert second.encode() in (await reader.until(b"run_done"))[-1]
        await log.drop([third])
        for mode in ("run_modes", "lifecycle"):
            where = f"/threads/{thread_id}/stream?stream_modes={mode}"
            cut = await client.get(where, headers={"last-event-id": str(kept)})
            assert second in cut.text
            assert cut.text.split("\r\n\r\n")[-2].startswith('event: error\r\ndata: {"error":"GapError"')


async def test_a_run_that_goes_on_after_a_restart_keeps_its_positions(serve: Serve) -> None:
    with gate("restart") as held:
        async with serve(shutdown_grace=0) as client:
            thread_id = await _thread(client)
            await _run(client, thread_id, "steps", {"number": 1})
            body = {"assistant_id": "gated", "input": {"messages": "restart"}, "stream_mode": ["custom", "updates"]}
            await client.post(f"/threads/{thread_id}/runs", json=body)
            await held.reached.wait()
            async with reading(client, thread_id, "-") as reader:
                before = await reader.until(b"event: custom")
        held.released.set()
        async with serve() as client, reading(client, thread_id, "-") as reader:
            after = await reader.until(b"run_done") + await reader.until(b"run_done")

    assert after[: len(before)] == before
    ids = [_id(frame) for frame in after]
    assert ids == sorted(set(ids))
    assert b'"attempt":2' in after[len(before)]
