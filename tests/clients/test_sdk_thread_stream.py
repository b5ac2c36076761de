"""langgraph_sdk's stream of a whole thread against a live server: every run, as it comes, and again from any event."""

import asyncio
import contextlib
from typing import Any

from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.schema import StreamPart


async def _first(client: LangGraphClient, thread_id: str, count: int, **options: Any) -> list[StreamPart]:
    parts: list[StreamPart] = []
    stream: Any = await client.threads.join_stream(thread_id, **options)
    async with contextlib.aclosing(stream):
        while len(parts) < count:
            parts.append(await anext(stream))
    return parts


async def test_all_runs_of_a_thread(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    runs = []
    for number in (1, 2):
        run = await client.runs.create(
            thread_id, "steps", input={"number": number}, stream_mode="updates", stream_resumable=True
        )
        await client.runs.join(thread_id, run["run_id"])
        runs.append(run["run_id"])

    parts = await _first(client, thread_id, 8, last_event_id="-")

    assert [part.event for part in parts] == ["metadata", "updates", "updates", "metadata"] * 2
    assert [part.data["run_id"] for part in parts if part.event == "metadata"] == [runs[0]] * 2 + [runs[1]] * 2
    assert [part.data.get("status") for part in parts if part.event == "metadata"] == [None, "run_done"] * 2
    assert len({part.id for part in parts}) == 8
    for at in range(7):
        assert await _first(client, thread_id, 7 - at, last_event_id=parts[at].id) == parts[at + 1 :]


async def test_live(client: LangGraphClient) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "steps", input={"number": 1})
    stream: Any = await client.threads.join_stream(thread_id, stream_mode=["run_modes", "state_update"])
    async with contextlib.aclosing(stream):
        following = await _started(client, thread_id, stream)
        await client.threads.update_state(thread_id, {"number": 50}, as_node="double")
        while following.event != "state_update":
            following = await anext(stream)
    assert following.data["thread_id"] == thread_id
    assert following.data["state"]["values"]["number"] == 50


async def _started(client: LangGraphClient, thread_id: str, stream: Any) -> StreamPart:
    """The first event of a run that was made once the stream was open: not of the one before."""
    reading = asyncio.ensure_future(anext(stream))
    run = None
    while not reading.done():
        run = await client.runs.create(thread_id, "steps", input={"number": 10})
        await client.runs.join(thread_id, run["run_id"])
    part: StreamPart = await reading
    assert part.event == "metadata"
    return part


def test_sync(sync_client: SyncLangGraphClient) -> None:
    thread_id = sync_client.threads.create()["thread_id"]
    run = sync_client.runs.create(thread_id, "steps", input={"number": 1}, stream_mode="values", stream_resumable=True)
    sync_client.runs.join(thread_id, run["run_id"])
    with contextlib.closing(sync_client.threads.join_stream(thread_id, last_event_id="-")) as stream:
        assert [next(stream).event for _ in range(5)] == ["metadata", "values", "values", "values", "metadata"]
