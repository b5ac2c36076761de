"""Webhooks: tells the URL that a client gave with a run how the run ended.

    ended run ──send──> a task: address, checked and kept ──POST──> again, a few times, if that may help

Whoever may create runs decides where this server sends a request, so the address is checked against the rules of
langgraph.json twice: when the run is created, and when the request is made, which then goes to the very address that
was checked, whatever its name means a moment later.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import httpx

from api.errors import ThreadlineError
from api.protocols.langgraph import run_record
from api.schemas import Json, Outcome, Run
from api.serde import Fragment, dumps
from api.webhook_rules import WebhookConfig, WebhookRefusedError, port_of

logger = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host, for a port. Raises OSError if there are none."""

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_ATTEMPT_SECONDS = 60.0
_RESOLVE_SECONDS = 5.0
_BACKOFF = (1.0, 4.0)
"""Seconds before the second and the third attempt, and up to half as much again."""
_MAX_REQUESTS = 32
_MAX_WAITING = 10_000
_TRY_AGAIN = frozenset({429, *range(500, 600)})


class Webhooks:
    """Checks the URLs of webhooks, and calls them.

    Args:
        config: the rules, and what is sent.
        resolve: finds the addresses of a host.
        backoff: seconds before each further attempt; that many are made at most.
        grace: seconds that requests under way have at the end.
    """

    def __init__(
        self,
        config: WebhookConfig,
        *,
        resolve: Resolve | None = None,
        backoff: Sequence[float] = _BACKOFF,
        grace: float = 5.0,
    ) -> None:
        self._config = config
        self._resolve = resolve or _resolve
        self._backoff = backoff
        self._grace = grace
        self._slots = asyncio.Semaphore(_MAX_REQUESTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    async def validate(self, url: str) -> None:
        """Checks a URL as far as that is possible before the run has ended.

        Raises:
            InvalidRequestError: the rules forbid it, or its host has no address.
            UnsupportedError: it is relative.
        """
        await self._addresses(url)

    def send(self, run: Run, outcome: Outcome, *, started_at: datetime) -> None:
        """Tells the run's webhook, if it has one, how the run ended; does not wait for it.

        Args:
            run: which has ended; its webhook is in `kwargs`.
            outcome: how.
            started_at: when this attempt began.
        """
        url = run.kwargs.get("webhook")
        if not url or self._config.disabled:
            return
        if len(self._tasks) >= _MAX_WAITING:
            logger.error("run %s: its webhook is not called: %d others wait", run.run_id, len(self._tasks))
            return
        payload = _payload(run, outcome, started_at)
        task = asyncio.create_task(self._deliver(url, run.run_id, payload), name=f"threadline-webhook-{run.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives requests under way the grace time, ends what is left, and closes the client."""
        if tasks := list(self._tasks):
            _, late = await asyncio.wait(tasks, timeout=self._grace)
            if late:
                logger.error("%d webhooks were not called before the server's end", len(late))
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _deliver(self, url: str, run_id: str, payload: Json) -> None:
        try:
            problem = await self._attempts(url, payload)
        except Exception:
            logger.exception("run %s: its webhook could not be called", run_id)
            return
        if problem:
            logger.error("run %s: its webhook was not accepted: %s", run_id, problem)

    async def _attempts(self, url: str, payload: Json) -> str | None:
        """Calls the webhook until it accepts; what was wrong at last, or None."""
        try:
            target, addresses = await self._addresses(url)
        except ThreadlineError as exc:
            return exc.message
        for number in range(len(self._backoff) + 1):
            try:
                status = await self._post(target, addresses[number % len(addresses)], payload)
            except (httpx.TransportError, TimeoutError) as exc:
                problem = f"{type(exc).__name__}: {exc}"
            else:
                if 200 <= status < 300:
                    return None
                problem = f"it answered {status}"
                if status not in _TRY_AGAIN:
                    break
            if number < len(self._backoff):
                await asyncio.sleep(self._backoff[number] * random.uniform(1, 1.5))  # noqa: S311  # spreads the load
        return problem

    async def _post(self, url: httpx.URL, address: str, payload: Json) -> int:
        """One request to that address, under the name that the URL has; the answer's body is not read.

        Raises:
            httpx.TransportError, TimeoutError: no answer.
        """
        document = {**payload, "webhook_sent_at": datetime.now(UTC)}
        content = dumps({name: value for name, value in document.items() if name in self._config.allowed_fields})
        headers = httpx.Headers({"Content-Type": "application/json", "Host": url.netloc.decode("ascii")})
        headers.update(self._config.headers)
        name = {"sni_hostname": url.raw_host.decode("ascii")}
        request = self._opened().stream(
            "POST", url.copy_with(host=address), content=content, headers=headers, extensions=name
        )
        async with self._slots, asyncio.timeout(_ATTEMPT_SECONDS), request as response:
            return response.status_code

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            # No connection is kept: one to an address may have been made under the name of another host. No proxy is
            # used: it would look the name up by itself.
            transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
            self._client = httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, follow_redirects=False)
        return self._client

    async def _addresses(self, url: str) -> tuple[httpx.URL, Sequence[str]]:
        """The URL, and the addresses of its host, all of them allowed.

        Raises:
            InvalidRequestError: the rules forbid it, or its host has no address.
            UnsupportedError: it is relative.
        """
        rules = self._config.url
        target = rules.check(url)
        host = target.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                addresses = await self._resolve(host, port_of(target))
        except (OSError, UnicodeError):  # a TimeoutError is an OSError
            addresses = ()
        if not addresses:
            raise WebhookRefusedError("Webhook host blocked: DNS resolution failed")
        for address in addresses:
            rules.check_address(host, address)
        return target, addresses


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _payload(run: Run, outcome: Outcome, started_at: datetime) -> Json:
    """The run as its webhook gets it, but for the time of sending."""
    undone = run.cancel == "rollback"
    payload: dict[str, object] = {
        **run_record(run),
        "status": "rollback" if undone else outcome.status,
        "run_started_at": started_at,
        "run_ended_at": datetime.now(UTC),
        "values": None if undone or outcome.values is None else Fragment(outcome.values),
    }
    if outcome.error is not None:
        payload["error"] = Fragment(outcome.error)
    return payload
