"""uvicorn's HTTP protocol, held to limits that it lacks: headers too long or too late, a client that takes nothing.

    bytes ──before the head is whole──> counted, and timed
    send buffer full ──pause_writing──> timed, while nothing goes out ──resume_writing──> a stream goes on

Without them a connection that sends a byte a minute, or reads none, stays for as long as its client likes.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import OverloadedError
from api.responses import error_response
from api.settings import Settings

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b"
)
_COMPLAINT = (
    b'{"error":{"code":"headers_too_large","message":"The headers are larger than %d bytes."},'
    b'"detail":"The headers are larger than %d bytes."}'
)


_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_FULL = OverloadedError("Too many connections are open.", retry_after=1)


def limited(settings: Settings, *, spare: int = 1024) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn's `http` option.

    Args:
        settings: `header_timeout`, `max_header_bytes`, `max_connections` and `write_timeout`.
        spare: connections over `max_connections` that may wait to be refused; of more than that the newest is cut off.
    """

    class Limited(_LimitedProtocol):
        limits = settings
        most_connections = settings.max_connections + spare

    return Limited


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    response = error_response(_FULL)
    response.headers["connection"] = "close"
    await response(scope, receive, send)


class _LimitedProtocol(HttpToolsProtocol):
    """Calls that begin with what uvicorn calls, in its order."""

    limits: Settings
    most_connections: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._heading = True
        """Whether the next bytes are of a request's head."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by asyncio."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.most_connections:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._heading:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if self._heading and self._head_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._heading, self._head_bytes = False, 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        served = self.app
        if self._is_full():
            self.logger.warning("a request is refused: %d connections are open", len(self.connections))
            self.app = _refuse  # as uvicorn does with an answer of its own
        try:
            super().on_headers_complete()
        finally:
            self.app = served

    def on_message_complete(self) -> None:
        """Called by the parser: what follows is the next request."""
        self._heading = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called by uvicorn; what is left of a body that was refused is read, so that the client sees the refusal."""
        super().on_response_complete()
        if not self._heading and self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        """Called by uvicorn: the connection is another protocol's from here on."""
        self._stop_timers()
        if self._is_full():
            self.transport.write(_UNAVAILABLE)
            self.transport.close()
            return
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Called by the transport when its buffer is full."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self._check_progress)

    def resume_writing(self) -> None:
        """Called by the transport when its buffer is empty enough."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _is_full(self) -> bool:
        return len(self.connections) > self.limits.max_connections

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.header_timeout, self.transport.abort)

    def _check_progress(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.logger.warning("a client took nothing for %g s: it is cut off", self.limits.write_timeout)
            # `close` would wait until the buffer is empty.
            self.transport.abort()
            return
        self._unsent = unsent
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self._check_progress)

    def _refuse_head(self) -> None:
        limit = self.limits.max_header_bytes
        complaint = _COMPLAINT % (limit, limit)
        self.transport.write(_TOO_LARGE % (len(complaint), complaint))
        self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
