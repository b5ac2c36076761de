"""Every limit is a setting, and refuses clearly: what is over it gets a typed error, and nothing else notices."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.app import create_app
from api.authentication import CALLER
from api.callers import Caller
from api.cli.http_protocol import limited
from api.request_limits import TokenBuckets, caller_of
from api.settings import Settings
from tests.hostile.conftest import write_config
from tests.serving import serving

Serve = Callable[..., contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]
WAITING = {"assistant_id": "waiting", "input": {"messages": []}}
_SECONDS = 30


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves with limits, as the command does; yields a client."""

    @contextlib.asynccontextmanager
    async def start(**limits: Any) -> AsyncIterator[httpx.AsyncClient]:
        settings = Settings(config=write_config(tmp_path), shutdown_grace=0, **limits)
        options = {"http": limited(settings, spare=2)}
        async with (
            serving(create_app(settings), **options) as url,
            httpx.AsyncClient(base_url=url, timeout=_SECONDS) as client,
        ):
            yield client

    return start


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def until(http: httpx.AsyncClient, path: str, seen: Callable[[httpx.Response], bool]) -> None:
    """Asks again and again, as nothing outside tells when the server has noticed that a client is gone."""
    async with asyncio.timeout(_SECONDS):
        while not seen(await http.get(path)):
            pass


def has_line(line: bytes) -> Callable[[httpx.Response], bool]:
    return lambda answer: line in answer.content


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_minutes_worth_and_fills_evenly() -> None:
    clock = Clock()
    buckets = TokenBuckets(60, clock=clock)
    assert [buckets.take("a") for _ in range(60)] == [0] * 60
    assert buckets.take("a") == 1
    assert buckets.take("b") == 0
    clock.now = 0.5
    assert buckets.take("a") == 0.5
    clock.now = 2.0
    assert [buckets.take("a"), buckets.take("a"), buckets.take("a")] == [0, 0, 1]
    clock.now = 1e6
    assert [buckets.take("a") for _ in range(61)] == [0] * 60 + [1]


def test_buckets_are_kept_of_so_many_callers() -> None:
    buckets = TokenBuckets(1, max_callers=100)
    for number in range(10_000):
        buckets.take(str(number))
    assert len(buckets) == 100


def test_a_caller_is_who_was_authenticated_or_an_address() -> None:
    scope = {"client": ("10.0.0.1", 5)}
    assert caller_of(scope) == "address 10.0.0.1"
    assert caller_of({**scope, CALLER: Caller("ann", None)}) == "user ann"
    assert caller_of({"client": None}) == "unknown"


async def test_request_rate(serve: Serve) -> None:
    async with serve(requests_per_minute=2) as http:
        assert [(await http.get("/info")).status_code for _ in range(2)] == [200, 200]
        answer = await http.get("/info")
        refused(answer, 429, "rate_limited")
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert (await http.get("/ok")).status_code == 200


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [("max_open_requests", 503, "overloaded"), ("max_open_requests_per_caller", 429, "rate_limited")],
)
async def test_open_streams(serve: Serve, limit: str, status: int, code: str) -> None:
    async with serve(**{limit: 1}) as http:
        async with http.stream("POST", "/runs/stream", json={**WAITING, "on_disconnect": "cancel"}) as stream:
            assert stream.status_code == 200
            answer = await http.get("/info")
            refused(answer, status, code)
            assert answer.headers["retry-after"] == "1"
            assert (await http.get("/ok")).status_code == 200
        await until(http, "/info", lambda answer: answer.status_code == 200)


async def test_connections(serve: Serve) -> None:
    async with serve(max_connections=2) as http:
        address = (http.base_url.host, http.base_url.port)
        with socket.create_connection(address), socket.create_connection(address):
            answer = await http.get("/info")
            refused(answer, 503, "overloaded")
            assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
            with (
                socket.create_connection(address),
                socket.create_connection(address),
                pytest.raises(httpx.TransportError),
            ):
                await http.get("/info")
        await until(http, "/info", lambda answer: answer.status_code == 200)


async def test_runs_that_wait_of_one_thread(serve: Serve) -> None:
    async with serve(max_queued_runs_per_thread=2) as http:
        first, second = [(await http.post("/threads", json={})).json()["thread_id"] for _ in range(2)]
        answers = [await http.post(f"/threads/{first}/runs", json=WAITING) for _ in range(4)]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        refused(answers[3], 503, "overloaded")
        assert (await http.post(f"/threads/{second}/runs", json=WAITING)).status_code == 200


async def test_runs_in_all(serve: Serve) -> None:
    async with serve(max_queued_runs=2) as http:
        answers = [await http.post("/runs", json=WAITING) for _ in range(3)]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        refused(answers[2], 503, "overloaded")


@pytest.mark.parametrize("path", ["/threads", "/assistants", "/runs", "/runs/crons", "/agents/counting/invoke"])
async def test_metadata(serve: Serve, path: str) -> None:
    body = {"graph_id": "counting", "assistant_id": "counting", "schedule": "0 0 1 1 *", "input": {"count": 1}}
    if path.startswith("/agents"):
        body = {"input": {"count": 1}}
    async with serve(max_metadata_bytes=1000) as http:
        answer = await http.post(path, json={**body, "metadata": {"a": "x" * 1000}})
        refused(answer, 422, "invalid_request")
        assert answer.json()["error"]["field"] == "metadata"


async def test_values_of_a_body(serve: Serve) -> None:
    async with serve(max_body_values=1000) as http:
        for value in ([[]] * 1001, [{}] * 1001, ["a"] * 1001, {f"k{n}": n for n in range(1001)}, [[1]] * 501):
            answer = await http.post("/threads", json={"metadata": {"a": value}})
            refused(answer, 422, "invalid_request")
            assert answer.json()["error"] == {
                "code": "invalid_request",
                "message": "The body has more than 1000 values.",
                "field": "body",
            }
        refused(await http.post("/threads", content=b"[" * 100_000), 422, "invalid_request")
        for text in ("[,{" * 1000, '\\"[,' * 1000, "\\\\" * 1000, '","' * 300):
            made = await http.post("/threads", json={"metadata": {"a": text, "b": [text] * 5}})
            assert made.json()["metadata"]["a"] == text


async def test_levels_of_a_body(serve: Serve) -> None:
    async with serve() as http:
        for size, most in ((1, 200), (1 << 20, 32)):
            assert (await http.post("/threads", content=nested(most, size))).status_code == 200
            answer = await http.post("/threads", content=nested(most + 1, size))
            refused(answer, 422, "invalid_request")
            assert answer.json()["error"]["message"] == f"The body has more than {most} levels."


def nested(depth: int, size: int) -> bytes:
    """Objects within each other, and a text in the innermost."""
    return b'{"a":' * depth + b'"%b"' % (b"a" * size) + b"}" * depth


async def test_bodies_of_all_requests(serve: Serve) -> None:
    async with serve(max_bodies_bytes=100_000) as http:
        begun = [asyncio.create_task(raw(http, posting(60_000, sent=59_000))) for _ in range(2)]
        done, waiting = await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
        assert b"503" in done.pop().result().split(b"\r\n")[0]
        [left] = waiting
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        await until(http, "/info", lambda answer: answer.status_code == 200)
        for _ in range(3):
            assert (await http.post("/threads", content=b" " * 60_000 + b"{}")).status_code == 200


def posting(size: int, *, sent: int) -> bytes:
    """A request of which a part of the body has come."""
    head = f"POST /threads HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
    return head.encode() + b" " * sent


async def test_body_size(serve: Serve) -> None:
    async with serve(max_body_bytes=1000) as http:
        refused(await http.post("/threads", content=b" " * 1001), 413, "body_too_large")


@pytest.mark.parametrize("path", ["/threads/search", "/assistants/search", "/runs/crons/search"])
async def test_records_of_a_page(serve: Serve, path: str) -> None:
    async with serve() as http:
        refused(await http.post(path, json={"limit": 1001}), 422, "invalid_request")


SEARCHES = [
    *(("/threads/search", "metadata"), ("/threads/count", "metadata"), ("/threads/count", "values")),
    *(("/assistants/search", "metadata"), ("/assistants/count", "metadata"), ("/runs/crons/search", "metadata")),
    *(("/runs/crons/count", "metadata"), ("/store/items/search", "filter")),
    *(("/assistants/{assistant}/versions", "metadata"), ("/threads/{thread}/history", "metadata")),
]


@pytest.mark.parametrize(("path", "name"), SEARCHES)
async def test_parts_of_a_filter(serve: Serve, path: str, name: str) -> None:
    async with serve() as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        assistant = (await http.post("/assistants", json={"graph_id": "counting"})).json()["assistant_id"]
        path = path.format(thread=thread, assistant=assistant)
        for wanted in ({"a": [1] * 300}, {f"k{n}": n for n in range(9_000)}, {"a\0": 1}, {"a": {"b": "c\0"}}):
            answer = await http.post(path, json={name: wanted})
            refused(answer, 422, "invalid_request")
            assert answer.json()["error"]["field"].startswith(name)
        assert (await http.post(path, json={name: {"a": {"b": [1] * 99}}})).status_code in (200, 404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/threads", {"metadata": {"owner\0": "bob"}}),
        ("/threads", {"metadata": {"a": [{"b": "\0"}]}}),
        ("/assistants", {"graph_id": "counting", "metadata": {"owner": "bob\0"}}),
        ("/assistants", {"graph_id": "counting", "name": "a\0"}),
        ("/assistants", {"graph_id": "counting", "description": "a\0"}),
        ("/runs", {**WAITING, "metadata": {"owner\0": "bob"}}),
        ("/runs", {**WAITING, "config": {"metadata": {"owner\0": "bob"}}}),
        ("/runs/batch", [{**WAITING, "metadata": {"owner\0": "bob"}}]),
        ("/runs/crons", {**WAITING, "schedule": "0 0 1 1 *", "metadata": {"owner\0": "bob"}}),
        ("/agents/counting/invoke", {"input": {"count": 1}, "metadata": {"owner\0": "bob"}}),
        ("/agents/counting/batch", {"inputs": [{"count": 1}], "metadata": {"owner\0": "bob"}}),
        ("/store/items/search", {"query": "a\0"}),
    ],
)
async def test_no_nul_in_what_is_searched(serve: Serve, path: str, body: Any) -> None:
    async with serve() as http:
        refused(await http.post(path, json=body), 422, "invalid_request")


async def test_what_looks_like_a_nul_is_none(serve: Serve) -> None:
    async with serve() as http:
        metadata = {"a\\u0000": "\\\\u0000"}
        made = await http.post("/threads", json={"metadata": metadata})
        assert made.json()["metadata"] == metadata
        assert (await http.post("/threads/count", json={"metadata": metadata})).json() == 1


async def test_bytes_of_an_answer(serve: Serve) -> None:
    async with serve(max_answer_bytes=100_000) as http:
        for _ in range(3):
            body = {"assistant_id": "counting", "input": {"anything": "x" * 50_000}}
            thread = (await http.post("/threads", json={})).json()["thread_id"]
            await http.post(f"/threads/{thread}/runs/wait", json=body)
        await http.post(f"/threads/{thread}/runs/wait", json=body)
        extract = {f"e{n}": "values.anything" for n in range(10)}
        for answer in (
            await http.post("/threads/search", json={}),
            await http.post("/threads/search", json={"select": ["thread_id"], "extract": extract}),
            await http.get(f"/threads/{thread}/runs"),
            await http.get(f"/threads/{thread}/history?limit=100"),
        ):
            refused(answer, 422, "answer_too_large")
        assert len((await http.post("/threads/search", json={"select": ["thread_id"]})).json()) == 3
        assert len((await http.post("/threads/search", json={"limit": 1})).json()) == 1
        assert len((await http.get(f"/threads/{thread}/runs?limit=1")).json()) == 1
        parts = await http.get(f"/threads/{thread}/history?limit=100&select=next")
        assert len(parts.json()) > 3


async def test_bytes_of_items(serve: Serve) -> None:
    async with serve(max_answer_bytes=100_000) as http:
        for key in "abc":
            put = {"namespace": ["n"], "key": key, "value": {"a": "x" * 50_000, "b": [1, 0.1]}}
            assert (await http.put("/store/items", json=put)).status_code == 204
        refused(await http.post("/store/items/search", json={}), 422, "answer_too_large")
        found = (await http.post("/store/items/search", json={"limit": 1})).json()["items"]
        assert [item["value"] for item in found] == [{"a": "x" * 50_000, "b": [1, 0.1]}]
        assert (await http.post("/store/namespaces", json={})).json() == {"namespaces": [["n"]]}


@pytest.mark.parametrize("path", ["/store/items/search", "/store/namespaces"])
async def test_items_of_a_page(serve: Serve, path: str) -> None:
    async with serve(max_store_items=10) as http:
        for limit in (11, -1):
            refused(await http.post(path, json={"limit": limit}), 422, "invalid_request")
        assert (await http.post(path, json={"limit": 10})).status_code == 200


async def raw(http: httpx.AsyncClient, request: bytes) -> bytes:
    """All that comes for some bytes, until the server closes the connection."""
    url = urlsplit(str(http.base_url))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    with contextlib.closing(writer):
        writer.write(request)
        async with asyncio.timeout(_SECONDS):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""


async def test_a_body_that_does_not_come(serve: Serve) -> None:
    async with serve(body_timeout=0.1) as http:
        answer = await raw(http, b"POST /threads HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


async def test_a_body_that_goes_on_after_its_refusal(serve: Serve) -> None:
    async with serve(max_body_bytes=10, header_timeout=0.1) as http:
        answer = await raw(http, b"POST /threads HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n" + b"a" * 50)
        assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("begun", [b"", b"GET /ok HTTP/1.1\r\nhost: a\r\nx-slow: 1"])
async def test_headers_that_do_not_come(serve: Serve, begun: bytes) -> None:
    async with serve(header_timeout=0.1) as http:
        assert await raw(http, begun) == b""
        whole = b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n"
        assert (await raw(http, whole + b"GET /ok")).startswith(b"HTTP/1.1 200 ")


async def test_headers_without_end(serve: Serve) -> None:
    async with serve(max_header_bytes=2000) as http:
        answer = await raw(http, b"GET /ok HTTP/1.1\r\nhost: a\r\nx-long: " + b"a" * 3000)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"


async def test_a_reader_who_takes_nothing_is_cut_off_and_the_run_goes_on(serve: Serve) -> None:
    async with serve(write_timeout=0.2) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        body = json.dumps({"assistant_id": "bloating", "input": {"messages": []}})
        request = f"POST /threads/{thread}/runs/stream HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        with socket.create_connection((http.base_url.host, http.base_url.port)) as connection:
            connection.sendall(request.encode())
            for streams in (b"1.0", b"0.0"):
                await until(http, "/metrics", has_line(b"threadline_open_streams " + streams))
            run = (await http.get(f"/threads/{thread}/runs")).json()[0]
            assert (await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")).status_code == 200
