"""Web origins: which pages in a browser may use the server. No page that anyone opens may use one that asks nobody.

    request ──its Host is this server's?──> from a page? ──no──> app
                 └── 403                        └── Studio, this machine's, its own, one that is named ──> app
                                                └── 403

A browser lets any page send requests to any address that its user can reach, to this machine's loopback too, and tells
the page's origin. A page whose own name was made to lead here (DNS rebinding) counts as the server's own for a browser,
and sends no origin with what it reads: only the Host tells. Where callers have to prove who they are, they may be where
they like.
"""

import copy
import ipaddress
from collections.abc import Collection
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import ForbiddenError, ThreadlineError
from api.http_config import CorsConfig
from api.responses import refuse

ANY = "*"

_STUDIO = "smith.langchain.com"
_EXEMPT = frozenset({"/ok"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_QUOTE = 100


class Openness(Protocol):
    """Says whether callers have to prove who they are."""

    @property
    def asks_nobody(self) -> bool:
        """Whether the server serves whoever reaches it."""


class WebOrigins:
    """The rules.

    Args:
        named: origins that the operator names, `*` for any; None: none is named.
        hosts: names by which the server may be called, `*` for any.
        bound: the address that the server listens on; None: not known.
    """

    def __init__(self, named: Collection[str] | None, hosts: Collection[str], bound: str | None) -> None:
        self._named = named
        self._hosts = {host.lower() for host in hosts}
        self._local_only = is_loopback(bound)
        self._configured: CORSMiddleware | None = None

    def name(self, cors: CorsConfig) -> None:
        """Names the origins of `http.cors`, which then says all that browsers are told."""
        rules = cors.model_dump(include=set(CorsConfig.model_fields))
        self._configured = CORSMiddleware(_nothing, allow_private_network=True, **rules)

    def told(self, app: ASGIApp) -> CORSMiddleware | None:
        """What answers as `http.cors` says, around an app; None if nothing stands there."""
        if self._configured is None:
            return None
        configured = copy.copy(self._configured)
        configured.app = app
        return configured

    def may_read(self, origin: str, *, asks_nobody: bool) -> bool:
        """Whether a browser may show answers to a page of that origin."""
        if self._configured is not None and self._configured.is_allowed_origin(origin):
            return True
        if self._named is None:
            return not asks_nobody or is_trusted_page(origin)
        return ANY in self._named or origin in self._named or (asks_nobody and is_trusted_page(origin))

    def check(self, origin: str | None, host: str | None) -> None:
        """Whether a server that asks nobody who they are may serve a request.

        Args:
            origin: of the page that sends it; None: it is not sent by a page.
            host: whom it is addressed to.

        Raises:
            ForbiddenError: it may not; the message names the setting.
        """
        if self._local_only and host and not self._is_own_name(host):
            raise ForbiddenError(
                f"This server answers on this machine only, not as {_short(host)}: "
                "name that host in THREADLINE_ALLOWED_HOSTS, or give callers keys by THREADLINE_API_KEYS."
            )
        if origin is None or self.may_read(origin, asks_nobody=True) or self._is_own(origin, host):
            return
        raise ForbiddenError(
            f"Pages of {_short(origin)} may not use this server, which asks nobody who they are: "
            "name that origin in THREADLINE_CORS_ORIGINS, or give callers keys by THREADLINE_API_KEYS."
        )

    def _is_own_name(self, host: str) -> bool:
        name = _split(f"//{host}").hostname or ""
        return ANY in self._hosts or is_loopback(name) or name.lower() in self._hosts

    def _is_own(self, origin: str, host: str | None) -> bool:
        """Whether it is a page of this server: a name that anybody may make lead here does not prove that."""
        page, called = _split(origin), _split(f"{origin.partition('://')[0]}://{host}")
        if host is None or not page.hostname or _place(page) != _place(called):
            return False
        return _is_address(page.hostname) or self._is_own_name(host)


class WebPages:
    """ASGI middleware: refuses requests of pages that may not use the server.

    Args:
        app: the app inside.
        origins: the rules.
        openness: whether they hold.
    """

    def __init__(self, app: ASGIApp, origins: WebOrigins, openness: Openness) -> None:
        self._app = app
        self._origins = origins
        self._openness = openness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app, or answers 403."""
        if scope["type"] in ("http", "websocket") and self._openness.asks_nobody and scope["path"] not in _EXEMPT:
            headers = Headers(scope=scope)
            try:
                self._origins.check(headers.get("origin"), headers.get("host"))
            except ThreadlineError as error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


class Cors(CORSMiddleware):
    """ASGI middleware: tells browsers which pages may read the answers.

    Args:
        app: the app inside.
        origins: the rules.
        openness: whether callers have to prove who they are.
        expose_headers: names of headers that pages may read.
    """

    def __init__(
        self, app: ASGIApp, origins: WebOrigins, openness: Openness, expose_headers: Collection[str] = ()
    ) -> None:
        super().__init__(
            app,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=expose_headers,
            allow_private_network=True,
        )
        self._origins = origins
        self._openness = openness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app; answers what browsers ask beforehand."""
        if (configured := self._origins.told(self.app)) is not None:
            await configured(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Asked by Starlette."""
        return self._origins.may_read(origin, asks_nobody=self._openness.asks_nobody)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for an app."""


def is_trusted_page(origin: str) -> bool:
    """Whether an origin is LangGraph Studio's, or of this machine."""
    page = _split(origin)
    host = page.hostname or ""
    studio = page.scheme == "https" and (host == _STUDIO or host.endswith(f".{_STUDIO}"))
    return studio or (page.scheme in _DEFAULT_PORTS and is_loopback(host))


def is_loopback(host: str | None) -> bool:
    """Whether an address, or `localhost`, is this machine's alone."""
    if not host:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    """The parts of a URL; none of one that is no URL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _place(url: SplitResult) -> tuple[str, int | None]:
    return (url.hostname or "").lower(), url.port or _DEFAULT_PORTS.get(url.scheme)


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")
