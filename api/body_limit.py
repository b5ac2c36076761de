"""Refuses bodies of requests that are too large, whether they say so or not, take too long, or have too many values."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError, InvalidRequestError, OverloadedError, SlowRequestError

T = TypeVar("T")

_LARGE = 256 << 10
"""Bytes of a body that takes longer to read than a thread to start."""


class BodyLimit:
    """ASGI middleware; the error is raised where the body is read, inside the app's own error handling.

    Args:
        app: the app inside.
        max_bytes: of one body.
        max_all: of all bodies of requests that have no answer yet.
        timeout: seconds for all of it to come.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_all: int, timeout: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_all = max_all
        self._all = 0
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what is received."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, held, complete = 0, 0, False
        deadline = asyncio.get_running_loop().time() + self._timeout

        async def counted() -> Message:
            nonlocal received, held, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise SlowRequestError(f"The body did not come within {self._timeout:g} s.", field="body") from None
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            received, held, self._all = received + size, held + size, self._all + size
            if received > self._max_bytes:
                raise BodyTooLargeError(f"The body is larger than {self._max_bytes} bytes.", field="body")
            if self._all > self._max_all:
                raise OverloadedError("Too many large requests are under way.", retry_after=1)
            return message

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                release()
            await send(message)

        def release() -> None:
            nonlocal held
            self._all -= held
            held = 0

        try:
            await self._app(scope, counted, noted)
        finally:
            release()


async def made(content: bytes, make: Callable[[bytes], T]) -> T:
    """What is made of a body: of a large one in a thread, which lets the loop go on between its steps.

    Args:
        content: the body.
        make: reads it; it may raise.
    """
    return make(content) if len(content) < _LARGE else await asyncio.to_thread(make, content)


def check_values(content: bytes, most: int) -> None:
    """Refuses a body of which too many values would be made, before any is: an empty list grows from 3 bytes to 56.

    Args:
        content: perhaps JSON.
        most: lists, objects, and items in them.

    Raises:
        InvalidRequestError: it has more.
    """
    if _separators(content) <= most:
        return
    # Texts may hold any character: they are left out, once there are not too many of them.
    plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 4 * most or _separators(b"".join(plain.split(b'"')[::2])) > most:
        raise InvalidRequestError(f"The body has more than {most} values.", field="body")


def _separators(content: bytes) -> int:
    return content.count(b",") + content.count(b"[") + content.count(b"{")
