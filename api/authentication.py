"""Authentication: who makes a request, found out before anything else of the app sees it.

    request ──public path?──────────────────────────────> app
       └──Studio's header, where that is safe──┐
       └──the authenticate handler──> Caller ──┴──scope["threadline.caller"]──> app
                     └── 401, 403

It is a middleware rather than a dependency, so that whatever is mounted on the app, by any protocol, is behind it.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi.routing import iter_route_contexts
from starlette.authentication import AuthCredentials
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.body_limit import check_values, made
from api.callers import Caller
from api.custom_app import route_path
from api.errors import InvalidRequestError, ThreadlineError
from api.proofs import Proofs
from api.responses import refuse
from api.serde import loads
from api.swagger_ui import ASSETS
from api.web_origins import is_loopback, is_trusted_page

if TYPE_CHECKING:
    from api.app import Threadline
    from api.auth import Authority

CALLER = "threadline.caller"
"""Where the caller is in the scope; not there if no authentication is configured, or the path is public."""

PUBLIC_PATHS = frozenset(
    {"/", "/ok", "/info", "/metrics", "/docs", "/openapi.json"} | {f"/docs/{name}" for name in ASSETS}
)
"""What LangGraph's own server answers to everybody: none of it tells of anybody's threads, runs or items."""

_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})


class Authentication:
    """ASGI middleware.

    Args:
        app: the app inside.
        threadline: has the authority, once it is open.
    """

    def __init__(self, app: ASGIApp, threadline: "Threadline") -> None:
        self._app = app
        self._threadline = threadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app for a caller who is known; answers 401 to others."""
        authority = self._threadline.authority
        if authority is None or scope["type"] not in ("http", "websocket") or self._is_public(scope):
            await self._app(scope, receive, send)
            return
        replay = _Replay(receive)
        try:
            caller = scope[CALLER] = await self._caller(authority, scope, replay)
            # Where a project's own app looks, as in any Starlette app.
            scope["user"], scope["auth"] = caller.user, AuthCredentials(list(caller.permissions))
        except ThreadlineError as error:
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, replay.again if replay.used else receive, send)

    def _is_public(self, scope: Scope) -> bool:
        if self._threadline.is_custom(scope):
            return self._threadline.is_for_everybody(scope)
        return route_path(scope) in PUBLIC_PATHS

    async def _caller(self, authority: "Authority", scope: Scope, replay: "_Replay") -> Caller:
        headers = dict(scope["headers"])
        if authority.admits_studio and self._is_studio(scope, headers):
            from api.auth import studio_caller

            return studio_caller()
        arguments = await _arguments(
            authority.parameters, scope, headers, replay, self._threadline.settings.max_body_values
        )
        query = QueryParams(scope.get("query_string", b""))
        return await authority.authenticate(arguments, Proofs.of(headers, query, arguments.get("body")))

    def _is_studio(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether it is LangGraph Studio in a browser on this machine.

        The header alone proves nothing. So it counts only where just this machine can reach the server, no proxy
        stands between, and the page, if it is one, is Studio's or of this machine.
        """
        if headers.get(b"x-auth-scheme") != b"langsmith" or not is_loopback(self._threadline.settings.host):
            return False
        client = scope.get("client")
        if client is None or not is_loopback(client[0]) or _FORWARDED & headers.keys():
            return False
        if not is_loopback(urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname):
            return False  # a name that was made to lead here
        origin = headers.get(b"origin")
        return origin is None or is_trusted_page(origin.decode("latin-1"))


class _Replay:
    """Receives a request's messages for the authenticate handler, and then once more for the app."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: deque[Message] = deque()
        self.used = False

    async def __call__(self) -> Message:
        self.used = True
        message = await self._receive()
        self._messages.append(message)
        return message

    async def again(self) -> Message:
        """The same messages in order, then those that follow."""
        return self._messages.popleft() if self._messages else await self._receive()


async def _arguments(
    wanted: frozenset[str], scope: Scope, headers: Mapping[bytes, bytes], replay: _Replay, max_values: int
) -> dict[str, Any]:
    """What the authenticate handler asks for."""
    authorization = headers.get(b"authorization")
    ready: dict[str, Any] = {
        "scope": scope,
        "path": route_path(scope),
        "method": scope.get("method", "GET"),
        "headers": dict(headers),
        "authorization": None if authorization is None else authorization.decode("latin-1"),
        "query_params": QueryParams(scope.get("query_string", b"")),
    }
    arguments = {name: value for name, value in ready.items() if name in wanted}
    if "path_params" in wanted:
        arguments["path_params"] = _path_params(scope)
    if wanted & {"request", "body"}:
        if scope["type"] != "http":
            raise ThreadlineError("The authenticate handler asks for a request: it cannot serve a WebSocket.")
        request = Request(scope, replay)
        if "request" in wanted:
            arguments["request"] = request
        if "body" in wanted:
            arguments["body"] = await made(await request.body(), partial(_json, max_values))
    return arguments


def _json(max_values: int, body: bytes) -> Any:
    if not body:
        return None
    check_values(body, max_values)
    try:
        return loads(body)
    except ValueError:
        raise InvalidRequestError("Invalid JSON in request body", field="body") from None


def _path_params(scope: Scope) -> dict[str, Any]:
    """Found out here, as the request has not been routed yet."""
    for route in iter_route_contexts(scope["app"].routes):
        if route.path is None or (route.methods and scope.get("method", "GET") not in route.methods):
            continue
        pattern, _, convertors = compile_path(route.path)
        if match := pattern.match(route_path(scope)):
            return {name: convertors[name].convert(value) for name, value in match.groupdict().items()}
    return {}
