"""Refuses request bodies over a size, whether they say their length or not, and those that take too long."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError, SlowRequestError


class BodyLimit:
    """ASGI middleware; the error is raised where the body is read, inside the app's own error handling.

    Args:
        app: the app inside.
        max_bytes: of one body.
        timeout: seconds for all of it to come.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what is received."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self._timeout

        async def counted() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise SlowRequestError(f"The body did not come within {self._timeout:g} s.", field="body") from None
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise BodyTooLargeError(f"The body is larger than {self._max_bytes} bytes.", field="body")
            return message

        await self._app(scope, counted, send)
