"""Refuses request bodies over a size, whether they say their length or not."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLargeError


class BodyLimit:
    """ASGI middleware; the error is raised where the body is read, inside the app's own error handling.

    Args:
        app: the app inside.
        max_bytes: of one body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what is received."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise BodyTooLargeError(f"The body is larger than {self._max_bytes} bytes.", field="body")
            return message

        await self._app(scope, counted, send)
