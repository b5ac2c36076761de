"""The custom app: a project's own Starlette or FastAPI app (`http.app`), served beside our routes.

    request ──> its middleware ──> authentication ──> one of our routes? ──yes──> ours
                (or after it)      (ours alone, or all)      └──no──> one of its routes ──> its own router

Its routes, error handlers and state stay its own; its middleware is around our routes too, as with LangGraph's own
server. A route of it that would answer for one of ours is refused at the start, but for `/` and `/info`.
"""

import contextlib
import copy
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import ConfigError, NotFoundError
from api.http_config import HttpConfig, MiddlewareOrder
from api.registry import load_attribute
from api.responses import refuse
from api.settings import Settings

if TYPE_CHECKING:
    from api.app import Threadline

_YIELDED = frozenset({"/", "/info"})
"""Paths of ours that the app may take."""
_HEALTH = frozenset({"/", "/ok", "/metrics"})
"""Paths that are also there without `mount_prefix`."""
_SAMPLE = "00000000-0000-0000-0000-00000000c1a5"


class CustomApp:
    """A project's app.

    Args:
        app: it.
        config: the section that names it.
    """

    def __init__(self, app: Starlette, config: HttpConfig) -> None:
        self.app = app
        self._config = config
        self._routed = copy.copy(app)
        self._routed.user_middleware = []
        self._routed.middleware_stack = None
        self._state: dict[str, Any] = {}

    async def enter(self, stack: contextlib.AsyncExitStack) -> None:
        """Runs the app's lifespan until the stack is left.

        Raises:
            ConfigError: it fails to start.
        """
        try:
            state = await stack.enter_async_context(self.app.router.lifespan_context(self.app))
        except Exception as exc:  # the boundary to the project's code: whatever it raises stops the start
            raise ConfigError(f"http.app: its lifespan failed with {type(exc).__name__}: {exc}") from exc
        self._state = dict(state or {})

    def answers(self, scope: Scope, ours: Iterable[BaseRoute]) -> bool:
        """Whether a request is for one of the app's routes.

        Args:
            scope: the request's.
            ours: the service's routes, which go first.
        """
        path = route_path(scope)
        if path not in _YIELDED and not self._config.is_disabled(path) and _matches(ours, scope):
            return False
        return _matches(self.app.routes, scope)

    def check(self, ours: Iterable[BaseRoute]) -> None:
        """Looks for routes of the app that would answer for ours.

        Raises:
            ConfigError: there is one.
        """
        documents = ("docs_url", "redoc_url", "openapi_url", "swagger_ui_oauth2_redirect_url")
        shadowed = {getattr(self.app, name, None) for name in documents}
        nowhere = _request("GET", f"/{_SAMPLE}/{_SAMPLE}")
        own = [route for route in self.app.routes if not _matches([route], nowhere)]
        for route in _flat(ours):
            if route.path in _YIELDED | shadowed or self._config.is_disabled(route.path):
                continue
            path = re.sub(r"\{[^}]*\}", _SAMPLE, route.path)
            for method in sorted(route.methods or ()):
                if _matches(own, _request(method, path)):
                    raise ConfigError(f"http.app: it has a route for {method} {route.path}, which is the server's own.")

    def around(self, app: ASGIApp, outer: Any) -> ASGIApp:
        """An app inside of the custom app's middleware.

        Args:
            app: the app inside.
            outer: the service's app, as which the app inside is called.
        """

        async def inside(scope: Scope, receive: Receive, send: Send) -> None:
            within = {**scope, "app": outer}

            async def told(message: Message) -> None:
                # What became known within: the route, the caller.
                scope.update({name: within[name] for name in within.keys() - scope.keys()})
                await send(message)

            await app(within, receive, told)

        chain: ASGIApp = inside
        for cls, args, kwargs in reversed(self.app.user_middleware):
            chain = cls(chain, *args, **kwargs)
        return chain

    def enter_request(self, scope: Scope) -> None:
        """The request is the app's own from here on, with what its lifespan gave."""
        scope["app"] = self.app
        scope["state"] = {**scope.get("state", {}), **self._state}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers by the app's own routes."""
        self.enter_request(scope)
        await self._routed(scope, receive, send)


class CustomMiddleware:
    """ASGI middleware: the custom app's middleware, in one of two places.

    Args:
        app: the app inside.
        threadline: has the custom app, once it is open.
        order: the place.
        outer: the service's app.
    """

    def __init__(self, app: ASGIApp, threadline: "Threadline", order: MiddlewareOrder, outer: Any) -> None:
        self._app = app
        self._threadline = threadline
        self._order = order
        self._outer = outer
        self._chain: tuple[CustomApp, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app inside of the custom app's middleware, if this is its place."""
        custom = self._threadline.custom_app
        if custom is None or self._order != self._threadline.http.middleware_order or not _is_request(scope):
            await self._app(scope, receive, send)
            return
        if self._chain is None or self._chain[0] is not custom:
            self._chain = custom, custom.around(self._app, self._outer)
        custom.enter_request(scope)
        await self._chain[1](scope, receive, send)


class Routing:
    """ASGI middleware: sends a request to the custom app, to our routes, or nowhere, if its part is disabled.

    Args:
        app: the app inside, with our routes.
        threadline: has the section, once it is open.
    """

    def __init__(self, app: ASGIApp, threadline: "Threadline") -> None:
        self._app = app
        self._threadline = threadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request."""
        threadline = self._threadline
        if not _is_request(scope):
            await self._app(scope, receive, send)
        elif threadline.custom_app is not None and threadline.is_custom(scope):
            await threadline.custom_app(scope, receive, send)
        elif threadline.http.is_disabled(route_path(scope)):
            await refuse(NotFoundError("Not Found"), scope, receive, send)
        else:
            await self._app(scope, receive, send)


class MountPrefix:
    """ASGI middleware: `mount_prefix` is a part of every path, as it is where an app is mounted; others are not found.

    Args:
        app: the app inside.
        threadline: has the section, once it is open.
    """

    def __init__(self, app: ASGIApp, threadline: "Threadline") -> None:
        self._app = app
        self._threadline = threadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app for what is below the prefix, and for health checks."""
        prefix = self._threadline.http.prefix
        if prefix and _is_request(scope):
            path = route_path(scope)
            if path == prefix or path.startswith(f"{prefix}/"):
                scope["root_path"] = scope.get("root_path", "") + prefix
            elif path not in _HEALTH:
                await refuse(NotFoundError("Not Found"), scope, receive, send)
                return
        await self._app(scope, receive, send)


def load_custom_app(settings: Settings, config: HttpConfig) -> CustomApp | None:
    """The app that `http.app` names; None if it names none.

    Raises:
        ConfigError: it cannot be used.
    """
    if config.app is None:
        return None
    app = load_attribute("http.app", config.app, settings.config)
    if not isinstance(app, Starlette):
        raise ConfigError(f"http.app: {config.app} is a {type(app).__name__}, not a Starlette or FastAPI app.")
    return CustomApp(app, config)


def own_document(custom: CustomApp | None) -> dict[str, Any]:
    """What a FastAPI app says of its routes, in an OpenAPI document; {} of any other."""
    app = None if custom is None else custom.app
    return app.openapi() if isinstance(app, FastAPI) else {}


def route_path(scope: Scope) -> str:
    """The path as routes see it: without that of what the app is mounted on."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] or "/" if root and (path == root or path.startswith(f"{root}/")) else path


def _is_request(scope: Scope) -> bool:
    return scope["type"] in ("http", "websocket")


def _matches(routes: Iterable[BaseRoute], scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


def _request(method: str, path: str) -> Scope:
    return {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}


def _flat(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Single routes, those of included routers among them."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _flat(included.routes)
