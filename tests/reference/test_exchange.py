"""A scenario is played as it is written: variables, streams, what happens during them, cuts."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, StreamingResponse

from tests.reference.exchange import Request as Asked
from tests.reference.exchange import Scenario, play


def _app() -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Any:
        return JSONResponse({"body": await request.json(), "list": [{"id": "7"}]}, headers={"location": "/there"})

    @app.get("/events")
    async def events() -> Any:
        async def frames() -> AsyncIterator[str]:
            yield ": heartbeat\r\n\r\nevent: first\r\ndata: [1]\r\nid: 5\r\n\r\n"
            yield "event: second\ndata: {}\n\nevent: third\ndata: two\ndata: lines\n\n"

        return StreamingResponse(frames(), media_type="text/event-stream")

    return app


async def _play(*requests: Asked, app: FastAPI | None = None) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app or _app()), base_url="http://test") as client:
        return await play(Scenario("group", "name", requests), client)


async def test_variables_fill_paths_bodies_and_headers() -> None:
    trace = await _play(
        Asked("POST", "/echo", {"a": ["{nonce}", 1]}, save={"seen": "json.list.0.id", "nonce2": "json.body.a.0"}),
        Asked("POST", "/echo?x={seen}", {"{seen}": "{nonce2}", "n": None}),
    )
    assert trace[1]["request"] == "POST /echo?x=7"
    assert trace[1]["json"]["body"] == {"7": trace[0]["json"]["body"]["a"][0], "n": None}
    assert trace[0]["headers"] == {"content-type": "application/json", "location": "/there"}


async def test_what_cannot_be_saved_says_what_came() -> None:
    with pytest.raises(AssertionError, match=r"no json\.nowhere in .*/echo"):
        await _play(Asked("POST", "/echo", {}, save={"x": "json.nowhere"}))


async def test_streams_are_read_as_events() -> None:
    (entry,) = await _play(Asked("GET", "/events"))
    assert entry["events"] == [
        {"comment": "heartbeat"},
        {"event": "first", "data": [1], "id": "5"},
        {"event": "second", "data": {}},
        {"event": "third", "data": "two\nlines"},
    ]


async def test_requests_during_a_stream_come_after_its_entry() -> None:
    during = Asked("POST", "/echo", {"id": "{id}"})
    trace = await _play(Asked("GET", "/events", until="first", during=(during,), save={"id": "events.1.id"}))
    assert [each["request"] for each in trace] == ["GET /events", "POST /echo"]
    assert trace[1]["json"]["body"] == {"id": "5"}
    assert len(trace[0]["events"]) == 4


async def test_a_stream_is_cut_at_its_event() -> None:
    (entry,) = await _play(Asked("GET", "/events", until="first", cut=True))
    assert entry["events"][-1]["event"] == "first"


async def test_bytes_are_kept_if_asked_for() -> None:
    (entry,) = await _play(Asked("GET", "/events", raw=True))
    assert entry["text"].startswith(": heartbeat\r\n\r\nevent: first\r\n")


_names = st.text(st.characters(categories=["L"]), min_size=1, max_size=9)
_frame = st.fixed_dictionaries({"event": _names, "data": st.recursive(st.none() | st.text() | st.integers(), st.lists)})


@given(st.lists(_frame, max_size=6), st.sampled_from(["\n", "\r\n"]))
async def test_any_events_are_read_back(sent: list[dict[str, Any]], end: str) -> None:
    app = FastAPI()

    @app.get("/events")
    async def events() -> Any:
        text = "".join(
            f"event: {each['event']}{end}data: {json.dumps(each['data'])}{end}{end}" for each in sent
        ).encode()
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return StreamingResponse(body(), media_type="text/event-stream")

    (entry,) = await _play(Asked("GET", "/events"), app=app)
    assert entry["events"] == sent
