"""The boundary: whatever no route expected is logged in full, and told to the caller as one sentence.

It is a middleware rather than an error handler, so that the CORS headers, which are added outside of it, are on these
answers too.
"""

import asyncio
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.containment import contained, held, unescaped
from api.errors import StorageError, ThreadlineError, is_storage_failure
from api.responses import error_response

logger = logging.getLogger(__name__)


class Boundary:
    """ASGI middleware.

    Args:
        app: the app inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app; answers for it if it fails before it has begun to."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            with contained():
                await held(self._app(scope, receive, noted))
        except ClientDisconnect:
            logger.debug("%s %r: the client went before its request was whole", scope["method"], scope["path"])
        except Exception as exc:
            if isinstance(unescaped(exc), asyncio.CancelledError):
                raise unescaped(exc) from None  # a stream that cuts itself, as the server ends
            if scope["type"] != "http":
                raise
            logger.exception("%s %r failed", scope["method"], scope["path"])
            if not started:
                error = ThreadlineError("The server failed to answer this request.")
                if is_storage_failure(exc):
                    error = StorageError("The storage failed.")
                await error_response(error)(scope, receive, send)
