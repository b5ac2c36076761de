"""Where a run comes from: what a request hands on to the runs that it makes, for logs and traces.

request ──headers──> Origin, a context variable ──> Runs.create ──> the run's kwargs ──> the worker, maybe later
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")

KEY = "origin"
"""In a run's kwargs."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of the request. `traceparent` and `tracestate` are W3C Trace Context's."""

    request_id: str
    traceparent: str | None = None
    tracestate: str | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Reads a request's headers (names in lower case); what is not as it should be is left out.

        `x-request-id` may be up to 128 letters, digits and signs; otherwise an id is made.
        """
        given = {name: value.decode("latin-1") for name, value in headers if name in _HEADERS}
        request_id, traceparent = given.get(b"x-request-id", ""), given.get(b"traceparent", "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid4().hex
        if not _TRACEPARENT.fullmatch(traceparent):
            return cls(request_id)
        tracestate = given.get(b"tracestate", "")
        return cls(request_id, traceparent, tracestate if _TRACESTATE.fullmatch(tracestate) else None)

    def kwargs(self) -> dict[str, dict[str, str]]:
        """As a run's kwargs keep it."""
        known = {"request_id": self.request_id, "traceparent": self.traceparent, "tracestate": self.tracestate}
        return {KEY: {name: value for name, value in known.items() if value is not None}}


_HEADERS = frozenset({b"x-request-id", b"traceparent", b"tracestate"})
_CURRENT: ContextVar[Origin | None] = ContextVar("threadline_origin", default=None)


def enter(origin: Origin) -> Token[Origin | None]:
    """Begins a request; its end is `leave`."""
    return _CURRENT.set(origin)


def leave(token: Token[Origin | None]) -> None:
    """Ends the request that `enter` began."""
    _CURRENT.reset(token)


def current_kwargs() -> dict[str, dict[str, str]]:
    """What a run keeps of the request that makes it; nothing if none does, as with a cron."""
    origin = _CURRENT.get()
    return {} if origin is None else origin.kwargs()
