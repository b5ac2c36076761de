"""Limits of callers: how many requests a minute, and how many under way, of one caller and of all.

request ──whose?──> a place, if one is free ──> a token of the caller's bucket ──> the app

A caller is who was authenticated or, if nobody was, an address. A stream is under way for as long as it is open.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from api.authentication import CALLER
from api.errors import OverloadedError, RateLimitedError, ThreadlineError
from api.responses import TRY_AGAIN_LATER, refuse
from api.settings import Settings

_MAX_CALLERS = 10_000
"""Whose buckets are remembered; the one that asked longest ago is forgotten first."""
OPEN_OF_A_USER = 1000
"""Requests under way of one who was authenticated, if no limit is set."""
_EXEMPT = frozenset({"/ok"})


class TokenBuckets:
    """A bucket of tokens for each caller: it holds a minute's worth, and fills evenly.

    Args:
        per_minute: how many requests.
        clock: tells seconds.
        max_callers: whose buckets are remembered.
    """

    def __init__(
        self, per_minute: int, *, clock: Callable[[], float] = time.monotonic, max_callers: int = _MAX_CALLERS
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many tokens there were, and when."""

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._buckets)

    def take(self, caller: str) -> float:
        """Takes a token; 0, or the seconds until there is one."""
        now = self._clock()
        tokens, since = self._buckets.pop(caller, (float(self._per_minute), now))
        tokens = min(float(self._per_minute), tokens + (now - since) * self._per_minute / 60)
        missing = max(0.0, 1 - tokens)
        self._buckets[caller] = (tokens if missing else tokens - 1, now)
        if len(self._buckets) > self._max_callers:
            self._buckets.popitem(last=False)
        return missing * 60 / self._per_minute


class RequestLimits:
    """ASGI middleware; `/ok` is always answered.

    Args:
        app: the app inside.
        settings: the limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._buckets = TokenBuckets(settings.requests_per_minute) if settings.requests_per_minute else None
        self._open: Counter[str] = Counter()
        self._all = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request through, or refuses it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in _EXEMPT:
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        try:
            self._check(caller, known=CALLER in scope)
        except ThreadlineError as error:
            await refuse(error, scope, receive, send, close_code=TRY_AGAIN_LATER)
            return
        self._all += 1
        self._open[caller] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._all -= 1
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    def _check(self, caller: str, *, known: bool) -> None:
        settings = self._settings
        if self._all >= settings.max_open_requests:
            raise OverloadedError(f"{settings.max_open_requests} requests are under way already.", retry_after=1)
        limit = settings.max_open_requests_per_caller
        if limit is None:
            limit = OPEN_OF_A_USER if known else 0
        if limit and self._open[caller] >= limit:
            raise RateLimitedError(f"You have {limit} requests under way already.", retry_after=1)
        if self._buckets is not None and (seconds := self._buckets.take(caller)):
            message = f"More than {settings.requests_per_minute} requests a minute."
            raise RateLimitedError(message, retry_after=math.ceil(seconds))


def caller_of(scope: Scope) -> str:
    """Who sends the request: the identity that authentication left in the scope, else the client's address."""
    if (caller := scope.get(CALLER)) is not None:
        return f"user {caller.identity}"
    client = scope.get("client")
    return f"address {client[0]}" if client else "unknown"
