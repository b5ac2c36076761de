"""The scope of a request: its id, on its answer and on all that is logged meanwhile, and how soon it was answered."""

import time
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.logs import logged
from api.metrics import Metrics
from api.origins import Origin, enter, leave

REQUEST_ID = "x-request-id"


class RequestScope:
    """ASGI middleware, around all others.

    Args:
        app: the app inside.
        metrics: counts the request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app with the request's origin set, and returns its id."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        origin = Origin.of(scope["headers"])
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")

        async def identified(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)[REQUEST_ID] = origin.request_id
            if message["type"] == "http.response.start":
                _harden(MutableHeaders(scope=message), host)
                seconds = time.perf_counter() - began
                self._metrics.answered(scope["method"], _route(scope), message["status"], seconds)
            await send(message)

        token = enter(origin)
        try:
            with logged(request_id=origin.request_id):
                await self._app(scope, receive, identified)
        finally:
            leave(token)


def _harden(headers: MutableHeaders, host: str) -> None:
    """No browser takes an answer for what it is not, and no answer leads to a host that only the request names."""
    headers.setdefault("x-content-type-options", "nosniff")
    target = urlsplit(headers.get("location", ""))
    if target.scheme and target.netloc == host:
        # The router's redirects to a path without its last slash. Two slashes at the front would name a host again.
        path = f"/{target.path.lstrip('/')}"
        headers["location"] = f"{path}?{target.query}" if target.query else path


def _route(scope: Scope) -> str | None:
    """The template of the route that took the request, once one has."""
    route: Any = scope.get("route")
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else None
