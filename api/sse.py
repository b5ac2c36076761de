"""The follow loop over HTTP: a response that streams a run's events, from a cursor, to one client.

    Runs.follow ──batches──> framing ──bytes──> the socket
                                                  └── gone? then only the reader ends, not the run

A slow client holds up its own reader and nobody else: `send` waits while the socket's buffer is full, and what is not
read yet stays in the log. Those who are far behind take turns: however many they are, other requests are answered
between their parts.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from prometheus_client import Gauge
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import InvalidCursorError, ShuttingDownError
from api.events import Event
from api.protocols.native import Framing
from api.turns import Turns

T = TypeVar("T")

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"

_PART_BYTES = 1 << 17
"""Of events that are sent at one time: smaller parts make a replay slower, larger ones a stalled reader dearer."""

PADDING_SECONDS = 5.0
"""Between line breaks of an answer that is not ready, as in the reference."""

_CURSOR = re.compile(r"([0-9]{1,18})(-[0-9]{1,18})?")
"""Of an event's id: what a database counts with."""

_FAREWELLS = {SSE: b": the server is shutting down, reconnect\nretry: 1000\n\n", NDJSON: b"", TEXT: b""}
"""Last on a stream that is cut because the server ends. No last chunk follows, so that every client knows that the
stream is not whole: browsers and LangGraph's SDKs reconnect, with the id of the last event that they have."""

_HEARTBEATS = {SSE: b": heartbeat\n\n", NDJSON: b"\n", TEXT: b""}


class EventStream(Response):
    """Streams batches of events until they end or the client goes.

    Args:
        batches: from `Runs.follow`; an empty batch is a heartbeat.
        framing: encodes a batch.
        media_type: one of SSE, NDJSON and TEXT.
        open_streams: counts this one while it is open.
        on_disconnect: called if the client goes before the end.
        headers: further headers.
    """

    def __init__(
        self,
        batches: AsyncGenerator[Sequence[Event]],
        framing: Framing,
        *,
        media_type: str,
        open_streams: Gauge,
        on_disconnect: Callable[[], Awaitable[object]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self._batches = batches
        self._framing = framing
        self._heartbeat = _HEARTBEATS[media_type]
        self._farewell = _FAREWELLS[media_type]
        self._open_streams = open_streams
        self._on_disconnect = on_disconnect
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response; returns when the stream has ended or the client is gone.

        Raises:
            asyncio.CancelledError: the server ends; it closes the connection in the middle of the response.
        """
        with self._open_streams.track_inprogress():
            turns: Turns = scope["app"].state.threadline.turns
            sending = asyncio.create_task(self._send(send, turns))
            leaving = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
                finished = sending.done() and sending.exception() is None
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
        if sending.done() and not sending.cancelled() and isinstance(sending.exception(), ShuttingDownError):
            raise asyncio.CancelledError
        if not finished and self._on_disconnect is not None:
            await self._on_disconnect()

    async def _send(self, send: Send, turns: Turns) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._batches) as batches:
                async for batch in batches:
                    parts = list(_parts(batch))
                    for part in parts:
                        if len(parts) > 1:
                            await turns.take()
                        body = self._framing(part) if part else self._heartbeat
                        if body:
                            await send({"type": "http.response.body", "body": body, "more_body": True})
        except ShuttingDownError:
            await send({"type": "http.response.body", "body": self._farewell, "more_body": True})
            raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class PaddedJson(Response):
    """A JSON body that is not known yet: a line break every few seconds keeps the connection open till then.

    Args:
        body: the body, on its way.
        on_disconnect: called if the client goes before that.
        headers: further headers.
    """

    media_type = "application/json"

    def __init__(
        self,
        body: asyncio.Future[bytes],
        *,
        on_disconnect: Callable[[], Awaitable[object]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._content = body
        self._on_disconnect = on_disconnect
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response; returns when it is sent or the client is gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            while not self._content.done() and not leaving.done():
                waited = (self._content, leaving)
                await asyncio.wait(waited, timeout=PADDING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not self._content.done():
                    await send({"type": "http.response.body", "body": b"\n", "more_body": True})
            if self._content.done():
                if isinstance(self._content.exception(), ShuttingDownError):
                    raise asyncio.CancelledError  # as for a stream: the answer is not whole
                await send({"type": "http.response.body", "body": self._content.result(), "more_body": False})
        finally:
            gone = not self._content.done()
            self._content.cancel()
            leaving.cancel()
            await asyncio.gather(self._content, leaving, return_exceptions=True)
        if gone and self._on_disconnect is not None:
            await self._on_disconnect()


def _parts(batch: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The batch in parts that are sent one by one: only one of them is copied for a client who is slow to take it."""
    begin, size = 0, 0
    for index, event in enumerate(batch):
        if size and size + len(event.data) > _PART_BYTES:
            yield batch[begin:index]
            begin, size = index, 0
        size += len(event.data)
    yield batch[begin:]


async def attended(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What comes of work that is done for one client, and ends when that client goes.

    Raises:
        ClientDisconnect: it went.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def cursor(last_event_id: str | None) -> int:
    """The seq that a `Last-Event-ID` header names; -1, - and nothing mean from the start.

    As the reference's ids, a seq may have a part after a hyphen.

    Raises:
        InvalidCursorError: it is not a number.
    """
    given = (last_event_id or "").strip()
    if given in ("", "-", "-1"):
        return 0
    if (found := _CURSOR.fullmatch(given)) is None:
        raise InvalidCursorError("Last-Event-ID is not the id of an event.", field="Last-Event-ID")
    return int(found[1])
