"""Clients as they should not be: who take nothing of what they asked for, or little, and who come and go at once.

They are plain sockets: what a client library would do for its user is what they must not do.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from benchmarks.load import HOST

_SMALLEST_BUFFER = 4096
"""What the kernel takes for a reader who reads nothing; it makes a little more of it."""

_SLOW_BYTES = 1 << 14
"""That a slow reader takes at a time."""


@contextlib.asynccontextmanager
async def stalled(port: int, request: bytes, count: int) -> AsyncIterator[list[socket.socket]]:
    """Readers who send a request and then read nothing; they are gone at the end."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
            reader.settimeout(0)
            await loop.sock_connect(reader, (HOST, port))
            await loop.sock_sendall(reader, request)
            opened.append(reader)
        yield opened


async def slow(port: int, request: bytes, *, pause: float) -> int:
    """A reader who takes a little at a time, to the end; how many bytes came.

    Args:
        port: the server's.
        request: asks for a response whose connection then closes.
        pause: seconds between two reads.
    """
    reader, writer = await asyncio.open_connection(HOST, port, limit=_SLOW_BYTES)
    received = 0
    with contextlib.closing(writer):
        writer.write(request)
        while data := await reader.read(_SLOW_BYTES):
            received += len(data)
            await asyncio.sleep(pause)
    return received


async def churn(port: int, requests: list[bytes], count: int, *, at_once: int) -> None:
    """Opens connections and drops them: each sends a request, or a part of one, and goes without reading.

    Args:
        port: the server's.
        requests: sent in turn; one that is empty makes a connection without any.
        count: of connections.
        at_once: how many clients do so.
    """
    loop, left = asyncio.get_running_loop(), iter(range(count))

    async def client() -> None:
        for number in left:
            with socket.socket() as dropped:
                dropped.settimeout(0)
                await loop.sock_connect(dropped, (HOST, port))
                if request := requests[number % len(requests)]:
                    await loop.sock_sendall(dropped, request)

    await asyncio.gather(*(client() for _ in range(at_once)))
