"""JSON responses, and the one map from errors to HTTP."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import InvalidRequestError, SlowRequestError, ThreadlineError
from api.serde import dumps

logger = logging.getLogger(__name__)

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
"""Close codes of WebSockets."""
_LONGEST_REASON = 120
"""Of a WebSocket's close frame, in bytes."""


class JsonResponse(Response):
    """A response that the one encoder wrote."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encodes the content."""
        return dumps(content)


def error_response(error: ThreadlineError) -> Response:
    """An error with its status, its JSON body, and the headers that belong to it."""
    headers = dict(getattr(error, "headers", None) or {})
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, SlowRequestError):
        # What is left of the body is not waited for.
        headers["connection"] = "close"
    return JsonResponse(error.body(), status_code=error.status, headers=headers)


async def refuse(
    error: ThreadlineError, scope: Scope, receive: Receive, send: Send, *, close_code: int = POLICY_VIOLATION
) -> None:
    """Answers for an app that is not to see the request; a WebSocket is closed, before it is accepted, with 403.

    Args:
        error: why not.
        scope: the request's, as the other two.
        receive: its messages.
        send: its answer.
        close_code: tells a WebSocket's client that has been accepted already, by whatever stands between.
    """
    if scope["type"] == "http":
        await error_response(error)(scope, receive, send)
        return
    reason = error.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
    await send({"type": "websocket.close", "code": close_code, "reason": reason})


def add_error_handlers(app: FastAPI) -> None:
    """Maps every error that is meant for callers to a JSON body; `Boundary` sees to the others."""
    app.add_exception_handler(ThreadlineError, _threadline_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _threadline_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ThreadlineError)  # noqa: S101  # registered for nothing else
    # What a client may not ask for here (501) is no failure of the server.
    if exc.status >= HTTPStatus.INTERNAL_SERVER_ERROR and exc.status != HTTPStatus.NOT_IMPLEMENTED:
        logger.error("%s %r: %s", request.method, request.url.path, exc.message)
    return error_response(exc)


async def _validation_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101  # registered for nothing else
    complaint = exc.errors()[0]
    field = ".".join(str(part) for part in complaint["loc"][1:]) or str(complaint["loc"][0])
    return error_response(InvalidRequestError(f"{field}: {complaint['msg']}.", field=field))


async def _http_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101  # registered for nothing else
    error = ThreadlineError(str(exc.detail))
    error.status, error.code = exc.status_code, HTTPStatus(exc.status_code).phrase.lower().replace(" ", "_")
    response = error_response(error)
    response.headers.update(exc.headers or {})
    return response
