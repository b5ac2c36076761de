"""The client: HTTP/1.1 over asyncio's own transports, so lean that on two cores the server is what is measured.

request bytes ──> Connection ──> Exchange: when the first event, the first token and the end came, and every byte

What came is decoded after the clock has stopped.
"""

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import orjson

T = TypeVar("T")

HOST = "127.0.0.1"
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_STATUS_OK = b" 200 "


class LoadError(Exception):
    """A server did not answer as it should."""


def request(method: str, path: str, body: object = None, *, accept: str = "*/*") -> bytes:
    """An HTTP request, with a JSON body if one is given."""
    content = b"" if body is None else orjson.dumps(body)
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\naccept: {accept}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@dataclass(slots=True)
class Exchange:
    """A request and what came back. Times are on `time.perf_counter`'s clock."""

    mark: bytes
    """What to look for in the body; seen or not, an exchange ends with its response."""
    ended: asyncio.Future[None]
    marked: asyncio.Future[None]
    raw: bytearray = field(default_factory=bytearray)
    sent_at: float = 0.0
    first_at: float = 0.0
    """When the first byte of the body came."""
    marked_at: float = 0.0
    ended_at: float = 0.0
    body_at: int = 0
    """Where in `raw` the body begins; 0 until the head has come."""
    length: int | None = None
    """The body's length if the head says so, else it comes in chunks."""

    def feed(self, data: bytes) -> None:
        """Takes bytes as they come."""
        now = time.perf_counter()
        self.raw += data
        if not self.body_at and not self._read_head():
            return
        if not self.first_at and len(self.raw) > self.body_at:
            self.first_at = now
        if self.mark and not self.marked_at and self.raw.find(self.mark, self.body_at) >= 0:
            self.marked_at = now
            if not self.marked.done():
                self.marked.set_result(None)
        if self._complete():
            self.ended_at = now
            if not self.ended.done():
                self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """Ends the exchange, if it has not ended."""
        for future in (self.marked, self.ended):
            if not future.done():
                future.set_exception(error)
                # Not every exchange has someone who waits for both.
                future.exception()

    def header(self, name: str) -> str:
        """A header of the response.

        Raises:
            LoadError: it has none of that name.
        """
        for line in bytes(self.raw[: self.body_at]).decode().split("\r\n"):
            if line.lower().startswith(f"{name}: "):
                return line.partition(": ")[2]
        raise LoadError(f"the response has no {name}")

    @property
    def wire_bytes(self) -> int:
        """Length of the body as it came, its framing included."""
        return len(self.raw) - self.body_at

    def body(self) -> bytes:
        """The body, joined if it came in chunks."""
        body = bytes(self.raw[self.body_at :])
        return body if self.length is not None else dechunked(body)

    def _read_head(self) -> bool:
        if (end := self.raw.find(_HEAD_END)) < 0:
            return False
        self.body_at = end + len(_HEAD_END)
        head = bytes(self.raw[:end]).lower()
        if b"\r\ncontent-length: " in head:
            self.length = int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n", 1)[0])
        return True

    def _complete(self) -> bool:
        if self.length is not None:
            return len(self.raw) >= self.body_at + self.length
        # Nothing that is streamed has a carriage return of its own.
        return self.raw.endswith(_LAST_CHUNK)


class Connection(asyncio.Protocol):
    """A kept-alive connection that carries one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._exchange is not None:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        if self._exchange is not None:
            self._exchange.fail(LoadError("the server closed the connection"))

    def send(self, data: bytes, mark: bytes = b"") -> Exchange:
        """Begins an exchange.

        Raises:
            LoadError: the connection is closed.
        """
        if self._transport is None:
            raise LoadError("the server closed the connection")
        loop = asyncio.get_running_loop()
        exchange = self._exchange = Exchange(mark, loop.create_future(), loop.create_future())
        exchange.sent_at = time.perf_counter()
        self._transport.write(data)
        return exchange

    async def exchange(self, data: bytes, mark: bytes = b"") -> Exchange:
        """A whole exchange.

        Raises:
            LoadError: the answer is not 200, has no mark, or does not come to its end.
        """
        exchange = self.send(data, mark)
        await exchange.ended
        if _STATUS_OK not in exchange.raw[:20]:
            raise LoadError(f"the server answered {bytes(exchange.raw[:500]).decode(errors='replace')}")
        if mark and not exchange.marked_at:
            raise LoadError(f"no {mark.decode()} in {exchange.body()[:500].decode(errors='replace')}")
        return exchange

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()


@contextlib.asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """Opens connections, and closes them at the end."""
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            opened.append((await loop.create_connection(Connection, HOST, port))[1])
        yield opened
    finally:
        for connection in opened:
            connection.close()


@dataclass(frozen=True, slots=True)
class Round:
    """Exchanges of one kind, made one after the other by a number of clients at once."""

    exchanges: list[Exchange]
    seconds: float

    @property
    def per_second(self) -> float:
        """Exchanges in a second."""
        return len(self.exchanges) / self.seconds


async def closed_loop(
    port: int,
    data: bytes | Callable[[], bytes],
    *,
    clients: int,
    count: int = sys.maxsize,
    seconds: float = math.inf,
    mark: bytes = b"",
) -> Round:
    """Each client sends its next request when it has the last one's answer.

    Args:
        port: the server's.
        data: the request, or what makes one.
        clients: how many, each on a connection of its own.
        count: of all requests.
        seconds: after which no request is sent any more; those under way are seen to their end.
        mark: what each answer must have; when it came is noted.

    Raises:
        LoadError: an answer is not as it should be.
    """
    left = iter(range(count))
    exchanges: list[Exchange] = []

    async def client(connection: Connection) -> None:
        while time.perf_counter() < started + seconds and next(left, None) is not None:
            exchanges.append(await connection.exchange(data() if callable(data) else data, mark))

    async with connections(port, clients) as opened:
        started = time.perf_counter()
        await together(client(connection) for connection in opened)
        seconds = time.perf_counter() - started
    return Round(exchanges, seconds)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Does all at once; the first that fails ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def dechunked(body: bytes) -> bytes:
    """A body without the framing of chunked transfer.

    Raises:
        LoadError: it is not framed so, or is cut.
    """
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = body.find(b"\r\n", at)
        try:
            size = int(body[at:line_end], 16) if line_end > at else -1
        except ValueError:
            size = -1
        begin, end = line_end + 2, line_end + 2 + size
        if size < 0 or body[end : end + 2] != b"\r\n":
            raise LoadError("the chunks of a body do not join")
        if size == 0:
            return b"".join(parts)
        parts.append(body[begin:end])
        at = end + 2


def payloads(body: bytes) -> Iterator[tuple[str, Any]]:
    """The frames of an SSE body: each one's event name, empty if it has none, and its data."""
    for frame in body.split(b"\n\n"):
        name, data = "", b""
        for line in frame.split(b"\n"):
            if line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
        if data:
            yield name, orjson.loads(data)


def answer_text(body: bytes) -> str:
    """The tokens of an SSE body, joined."""
    return "".join(data["text"] for _, data in payloads(body) if "text" in data)
