"""The benchmarks' client reads what a server sends, however it is split."""

import asyncio
import itertools

import orjson
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import Exchange, LoadError, answer_text, closed_loop, connections, dechunked, payloads, request
from tests.serving import serving


def _chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@given(st.lists(st.binary(min_size=1)))
def test_chunks_join(parts: list[bytes]) -> None:
    assert dechunked(_chunked(parts)) == b"".join(parts)


@given(st.lists(st.binary(min_size=1)), st.data())
def test_a_cut_body_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    body = _chunked(parts)
    cut = data.draw(st.integers(0, len(body) - 5))
    with pytest.raises(LoadError):
        dechunked(body[:cut])


@given(st.binary())
def test_anything_else_is_refused_or_joined(body: bytes) -> None:
    try:
        joined = dechunked(body)
    except LoadError:
        return
    assert joined in body or len(joined) < len(body)


@given(st.lists(st.text()))
def test_tokens_join_to_the_answer(tokens: list[str]) -> None:
    frames = [b"event: token\nid: 1\ndata: %b\n\n" % orjson.dumps({"text": token}) for token in tokens]
    body = b'event: run\ndata: {"run_id":"1"}\n\n: heartbeat\n\n' + b"".join(frames)
    assert answer_text(body) == "".join(tokens)
    assert [name for name, _ in payloads(body)] == ["run"] + ["token"] * len(tokens)


@given(st.lists(st.binary(min_size=1), min_size=1), st.lists(st.integers(min_value=0)))
async def test_an_exchange_ends_with_its_response_however_it_is_split(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nX-Name: value\r\n\r\n" + _chunked(parts)
    loop = asyncio.get_running_loop()
    exchange = Exchange(b"", loop.create_future(), loop.create_future())
    places = sorted({cut % len(whole) for cut in cuts} | {0, len(whole)})
    for begin, end in itertools.pairwise(places):
        exchange.feed(whole[begin:end])
    assert exchange.ended.done()
    assert exchange.body() == b"".join(parts)
    assert exchange.header("x-name") == "value"
    assert 0 < exchange.first_at <= exchange.ended_at


def _app() -> FastAPI:
    app = FastAPI()

    async def frames():
        for text in ("a", "b"):
            yield b"data: %b\n\n" % orjson.dumps({"text": text})

    @app.post("/stream")
    async def stream() -> Response:
        return StreamingResponse(frames())

    @app.get("/whole")
    async def whole() -> Response:
        return Response(b"whole")

    return app


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_many_clients_share_the_work() -> None:
    async with serving(_app()) as url:
        done = await closed_loop(_port(url), request("POST", "/stream", {}), clients=3, count=7, mark=b'"b"')
    assert [answer_text(exchange.body()) for exchange in done.exchanges] == ["ab"] * 7
    assert all(exchange.sent_at < exchange.first_at <= exchange.marked_at for exchange in done.exchanges)


async def test_a_connection_is_kept_for_the_next_exchange() -> None:
    async with serving(_app()) as url, connections(_port(url), 1) as (connection,):
        assert (await connection.exchange(request("GET", "/whole"))).body() == b"whole"
        assert answer_text((await connection.exchange(request("POST", "/stream"))).body()) == "ab"


@pytest.mark.parametrize(("path", "mark"), [("/missing", b""), ("/whole", b"something else"), ("/whole", b"200 OK")])
async def test_a_wrong_answer_fails_the_round(path: str, mark: bytes) -> None:
    async with serving(_app()) as url:
        with pytest.raises(LoadError):
            await closed_loop(_port(url), request("GET", path), clients=2, count=4, mark=mark)
