"""A run on a server, over the native API: cut connections are resumed where they broke.

POST /agents/{agent}/stream ──lines──> cut? ──> GET Content-Location, Last-Event-ID ──lines──> ... end
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from api.cli.ask import AskError

NDJSON = "application/x-ndjson"
DELAYS = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Seconds before each attempt to resume, as long as none of them brings an event."""
_TIMEOUTS = httpx.Timeout(10.0, read=None)
"""A run may be silent for as long as its model or a tool takes."""


class _Cut(Exception):  # noqa: N818  # an outcome, not a failure
    """The connection ended before the run did."""


class RemoteRun:
    """A run that a server executes.

    Args:
        url: of the server.
        agent: the agent's name.
        body: of the native API's request.
        on_status: told when the connection is being restored.
        delays: seconds before each attempt to resume in a row.
        api_key: sent with every request.
    """

    def __init__(
        self,
        url: str,
        agent: str,
        body: dict[str, Any],
        on_status: Callable[[str], None],
        delays: Sequence[float] = DELAYS,
        api_key: str | None = None,
    ) -> None:
        self._headers = {} if api_key is None else {"x-api-key": api_key}
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._agent = f"{self._url}/agents/{quote(agent, safe='')}"
        self._body = body
        self._on_status = on_status
        self._delays = delays
        self._location: httpx.URL | None = None
        self._seq = 0
        self._ended = False

    async def events(self) -> AsyncGenerator[bytes]:
        """Begins the run; its events to the last, each once.

        Raises:
            AskError: the server cannot be reached, refuses the request, or is gone for too long.
        """
        async with httpx.AsyncClient(timeout=_TIMEOUTS, headers=self._headers) as client:
            failures = 0
            while not self._ended:
                seq = self._seq
                try:
                    async with contextlib.aclosing(self._connection(client)) as lines:
                        async for line in lines:
                            yield line
                except (_Cut, httpx.HTTPError) as exc:
                    failures = 1 if self._seq > seq else failures + 1
                    await self._before_retry(failures, exc)
                except httpx.InvalidURL as exc:
                    raise AskError(f"{self._url} is not a URL: {exc}") from exc

    async def cancel(self) -> bool:
        """Stops the run, and waits until it has stopped; False if the server has not begun it.

        Raises:
            AskError: the server did not confirm it.
        """
        if self._location is None:
            return False
        run_id = self._location.path.rpartition("/")[2]
        async with httpx.AsyncClient(timeout=_TIMEOUTS, headers=self._headers) as client:
            try:
                response = await client.post(f"{self._agent}/runs/{run_id}/cancel")
            except httpx.HTTPError as exc:
                raise AskError(f"{self._url} did not confirm that run {run_id} is cancelled.") from exc
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            raise AskError(_message(response))
        return True

    async def _connection(self, client: httpx.AsyncClient) -> AsyncGenerator[bytes]:
        """The events of one connection, past those that are known."""
        async with self._request(client) as response:
            if response.is_error:
                await response.aread()
                if self._location is not None and response.is_server_error:
                    raise _Cut
                raise AskError(_message(response))
            if self._location is None:
                if "content-location" not in response.headers:
                    raise AskError(f"{self._url} is not a Threadline server.")
                self._location = response.url.join(response.headers["content-location"])
            async for line in split_lines(response.aiter_bytes()):
                if not line.strip():
                    continue
                event = json.loads(line)
                if event["id"] > self._seq:
                    self._seq, self._ended = event["id"], event["event"] == "end"
                    yield line
        if not self._ended:
            raise _Cut

    def _request(self, client: httpx.AsyncClient) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        if self._location is None:
            return client.stream("POST", f"{self._agent}/stream", json=self._body, headers={"accept": NDJSON})
        resuming = {"accept": NDJSON, "last-event-id": str(self._seq)}
        return client.stream("GET", self._location, headers=resuming)

    async def _before_retry(self, failures: int, exc: Exception) -> None:
        if self._location is None:
            reason = str(exc) or type(exc).__name__
            raise AskError(f"{self._url} cannot be reached: {reason}. Is the server running?") from exc
        if failures > len(self._delays):
            raise AskError(f"The connection to {self._url} is lost. The run goes on there: {self._location}") from exc
        self._on_status(f"reconnecting ({failures} of {len(self._delays)})")
        await asyncio.sleep(self._delays[failures - 1])


async def split_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Lines without their line feeds, which alone end them; a last one that is cut is dropped.

    httpx's own reader also splits at U+2028 and others, which JSON may contain.
    """
    parts: list[bytes] = []
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for line in rest:
            yield b"".join(parts)
            parts = [line]


def _message(response: httpx.Response) -> str:
    """What the server says of a request that it refused."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(response.json()["error"]["message"])
    return f"{response.url} answered {response.status_code} {response.reason_phrase}."
