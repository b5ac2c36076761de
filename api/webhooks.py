"""Webhooks: tell the URL that a client gave with a run how the run ended.

    the end of a run ──compose──> Delivery, in the outbox ──call──> address, checked and kept ──POST──> accepted?

Whoever may create runs decides where this server sends a request, so the address is checked against the rules of
langgraph.json twice: when the run is created, and when the request is made, which then goes to the very address that
was checked, whatever its name means a moment later. Requests are signed as https://www.standardwebhooks.com says.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from langchain_core.utils.uuid import uuid7

from api.errors import ConfigError, ThreadlineError
from api.protocols.langgraph import run_record
from api.schemas import Delivery, Outcome, Run
from api.serde import Fragment, dumps
from api.webhook_rules import WebhookConfig, WebhookRefusedError, port_of

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host, for a port. Raises OSError if there are none."""

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_RESOLVE_SECONDS = 5.0
ATTEMPT_SECONDS = 60.0
"""How long one call may take, looking its host up apart."""
_TRY_AGAIN = frozenset({429, *range(500, 600)})
_SENT_AT = "webhook_sent_at"
_SECRET = "whsec_"  # noqa: S105  # how a secret begins
_LEAST_SECRET_BYTES = 24


@dataclass(frozen=True)
class Refusal:
    """A call that was not accepted."""

    problem: str
    final: bool
    """Another attempt would end the same way."""


class Webhooks:
    """Checks the URLs of webhooks, says what they are told, and calls them.

    Args:
        config: the rules, and what is sent.
        resolve: finds the addresses of a host.
        secrets: that sign each call.
    """

    def __init__(
        self,
        config: WebhookConfig,
        *,
        resolve: Resolve | None = None,
        secrets: Sequence[bytes] = (),
    ) -> None:
        self._config = config
        self._resolve = resolve or _resolve
        self._secrets = secrets
        self._client: httpx.AsyncClient | None = None

    async def validate(self, url: str) -> None:
        """Checks a URL as far as that is possible before the run has ended.

        Raises:
            InvalidRequestError: the rules forbid it, or its host has no address.
            UnsupportedError: it is relative.
        """
        await self._addresses(url)

    def compose(self, run: Run, outcome: Outcome, started_at: datetime) -> Delivery | None:
        """The call that tells the run's webhook, if it has one, how the run ended.

        Args:
            run: which ends; its webhook is in `kwargs`.
            outcome: how.
            started_at: when this attempt began.
        """
        url = run.kwargs.get("webhook")
        if not url or self._config.disabled:
            return None
        now = datetime.now(UTC)
        document = _payload(run, outcome, started_at, now)
        payload = dumps({name: value for name, value in document.items() if name in self._config.allowed_fields})
        return Delivery(f"msg_{uuid7().hex}", run.run_id, run.thread_id, url, payload, now, now, now)

    async def close(self) -> None:
        """Closes the client."""
        if self._client is not None:
            await self._client.aclose()

    async def call(self, delivery: Delivery) -> Refusal | None:
        """Makes the call once; None if it was accepted."""
        try:
            target, addresses = await self._addresses(delivery.url)
        except WebhookRefusedError as exc:
            return Refusal(exc.message, final=not exc.unresolved)
        except ThreadlineError as exc:
            return Refusal(exc.message, final=True)
        address = addresses[(delivery.attempts - 1) % len(addresses)]
        try:
            status = await self._post(target, address, delivery)
        except (httpx.TransportError, TimeoutError) as exc:
            return Refusal(f"{type(exc).__name__}: {exc}", final=False)
        if 200 <= status < 300:
            return None
        return Refusal(f"it answered {status}", final=status not in _TRY_AGAIN)

    async def _post(self, url: httpx.URL, address: str, delivery: Delivery) -> int:
        """One request to that address, under the name that the URL has; the answer's body is not read.

        Raises:
            httpx.TransportError, TimeoutError: no answer.
        """
        now = datetime.now(UTC)
        content = delivery.payload
        if _SENT_AT in self._config.allowed_fields:
            content = _with_field(content, _SENT_AT, dumps(now))
        headers = httpx.Headers({"Content-Type": "application/json", "Host": url.netloc.decode("ascii")})
        headers.update(self._config.headers)
        headers.update(self._proof(delivery.delivery_id, int(now.timestamp()), content))
        name = {"sni_hostname": url.raw_host.decode("ascii")}
        request = self._opened().stream(
            "POST", url.copy_with(host=address), content=content, headers=headers, extensions=name
        )
        async with asyncio.timeout(ATTEMPT_SECONDS), request as response:
            return response.status_code

    def _proof(self, delivery_id: str, at: int, content: bytes) -> Mapping[str, str]:
        """The headers by which a receiver knows a call again, and whose it is."""
        headers = {"webhook-id": delivery_id, "webhook-timestamp": str(at)}
        signed = b"%b.%d.%b" % (delivery_id.encode(), at, content)
        digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in self._secrets]
        if digests:
            headers["webhook-signature"] = " ".join(f"v1,{base64.b64encode(each).decode()}" for each in digests)
        return headers

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
            raise WebhookRefusedError("Webhook host blocked: DNS resolution failed", unresolved=True)
        for address in addresses:
            rules.check_address(host, address)
        return target, addresses


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _payload(run: Run, outcome: Outcome, started_at: datetime, ended_at: datetime) -> Mapping[str, object]:
    """The run as its webhook gets it, but for the time of sending."""
    undone = run.cancel == "rollback"
    payload: dict[str, object] = {
        **run_record(run),
        "status": "rollback" if undone else outcome.status,
        "run_started_at": started_at,
        "run_ended_at": ended_at,
        "values": None if undone or outcome.values is None else Fragment(outcome.values),
    }
    if outcome.error is not None:
        payload["error"] = Fragment(outcome.error)
    return payload


def _with_field(document: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with one more field; it may be large, so that it is not parsed."""
    return b'%b%b"%b":%b}' % (document[:-1], b"" if document == b"{}" else b",", name.encode(), value)


def signing_secrets(given: str) -> Sequence[bytes]:
    """The secrets of a setting, `whsec_` and Base64 each, comma separated: all sign, so that one can be replaced.

    Raises:
        ConfigError: one is not of that form, or too short.
    """
    secrets = []
    for text in filter(None, (part.strip() for part in given.split(","))):
        try:
            secret = base64.b64decode(text.removeprefix(_SECRET), validate=True)
        except binascii.Error:
            secret = b""
        if not text.startswith(_SECRET) or len(secret) < _LEAST_SECRET_BYTES:
            raise ConfigError(
                f"THREADLINE_WEBHOOK_SECRET: a secret is {_SECRET} and {_LEAST_SECRET_BYTES} bytes or more as Base64."
            )
        secrets.append(secret)
    return secrets
