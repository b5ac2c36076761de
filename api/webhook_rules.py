"""The rules for webhooks: the `webhooks` section of langgraph.json.

    langgraph.json ──load_webhook_config──> WebhookConfig ──url──> UrlRules: check(url), check_address(host, address)

Whoever may create runs decides where this server sends a request; what it may not reach is decided here.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import httpx
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from api.errors import ConfigError, InvalidRequestError, UnsupportedError, invalid
from api.registry import read_config
from api.serde import loads

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "host.docker.internal"})
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.amazonaws.com", "metadata", "instance-data"})
_METADATA_ADDRESSES = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",
            "::/96",
            "::ffff:0:0/96",
            "::ffff:0:0:0/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2001::/32",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",
        ),
    )
)
"""Beside what the standard library knows: addresses that stand for others, IPv4 ones above all."""

_LOOPBACK_REFUSED = (
    "Loopback webhooks (relative URLs and localhost) are disabled by default. They bypass authentication via the "
    "in-process ASGI transport and can be abused to invoke internal routes as an unauthenticated caller. Set "
    "webhooks.url.disable_loopback to false (in langgraph.json or via LANGGRAPH_WEBHOOKS) to opt back in — only do so "
    "when you control the mounted routes."
)

PayloadField = Literal[
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "metadata",
    "kwargs",
    "multitask_strategy",
    "status",
    "run_started_at",
    "run_ended_at",
    "webhook_sent_at",
    "values",
    "error",
]

Domain = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^(\*\.)?[^*]+$")]


class WebhookRefusedError(InvalidRequestError):
    """The rules forbid this URL."""

    def __init__(self, message: str, *, unresolved: bool = False) -> None:
        super().__init__(message, field="webhook")
        self.unresolved = unresolved
        """Its host has no address now: it may have one later."""


class UrlRules(BaseModel):
    """Where webhooks may go: `webhooks.url` of langgraph.json."""

    model_config = ConfigDict(extra="forbid")

    require_https: bool = True
    allowed_domains: list[Domain] = []
    """Hosts, and `*.domain` for all below a domain; empty: any. A host that stands here itself may have any address."""
    allowed_ports: list[int] = []
    max_url_length: int = Field(default=2048, ge=1)
    disable_loopback: bool = True
    disable_private_ips: bool = True

    def check(self, url: str) -> httpx.URL:
        """The URL, parsed, if a webhook may have it.

        Raises:
            WebhookRefusedError: it may not, whatever address its host has.
            UnsupportedError: it is relative.
        """
        if len(url) > self.max_url_length:
            raise WebhookRefusedError("Webhook URL too long")
        if url.startswith("/"):
            if self.disable_loopback:
                raise WebhookRefusedError(_LOOPBACK_REFUSED)
            raise UnsupportedError(
                "A webhook's URL is to be absolute: relative ones are not supported.", field="webhook"
            )
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise WebhookRefusedError(f"Invalid webhook URL: {exc}") from exc
        if self.require_https and target.scheme != "https":
            raise WebhookRefusedError("Webhook must use https")
        port = port_of(target)
        if not 0 < port < 1 << 16 or (self.allowed_ports and port not in self.allowed_ports):
            raise WebhookRefusedError(f"Webhook port {port} not allowed")
        if not target.host:
            raise WebhookRefusedError(f"Invalid webhook hostname '{target.host}'")
        self._check_host(target.raw_host.decode("ascii"))
        if target.scheme not in ("http", "https"):
            raise WebhookRefusedError(f"Webhook host blocked: scheme '{target.scheme}' not allowed")
        return target

    def _check_host(self, host: str) -> None:
        if self.allowed_domains and not any(_matches(host, domain) for domain in self.allowed_domains):
            raise WebhookRefusedError("Webhook domain not allowed")
        if host in self.allowed_domains:
            return
        if self.disable_loopback and host in _LOCAL_NAMES:
            raise WebhookRefusedError("Webhook host blocked: localhost address")
        if host in _METADATA_NAMES:
            raise WebhookRefusedError("Webhook host blocked: cloud metadata endpoint")
        if host.endswith(".svc.cluster.local"):
            raise WebhookRefusedError("Webhook host blocked: Kubernetes internal DNS")

    def check_address(self, host: str, address: str) -> None:
        """Whether a request may go to this address of the host.

        Raises:
            WebhookRefusedError: it may not.
        """
        if not self._is_trusted(host) and (reason := self._reason(ipaddress.ip_address(address))):
            raise WebhookRefusedError(f"Webhook host blocked: {reason}")

    def _is_trusted(self, host: str) -> bool:
        """Whether the operator has named this very host, so that it may have any address."""
        return host in self.allowed_domains or (host in _LOCAL_NAMES and not self.disable_loopback)

    def _reason(self, address: _IP) -> str | None:
        if address.is_loopback:
            return "loopback IP range" if self.disable_loopback else None
        if any(address in network for network in _PRIVATE):
            if self.disable_private_ips:
                return "private IP range"
            return "cloud metadata endpoint" if address in _METADATA_ADDRESSES else None
        if not address.is_global or address.is_multicast or any(address in network for network in _NEVER):
            return "blocked IP range"
        return None


NO_RULES = UrlRules(require_https=False, max_url_length=4096)
"""Without the section: as LangGraph's own server has it, but private addresses are refused."""


class WebhookConfig(BaseModel):
    """The `webhooks` section of langgraph.json, with the headers' templates filled in."""

    model_config = ConfigDict(extra="forbid")

    env_prefix: str = "LG_WEBHOOK_"
    """What the names of environment variables in headers must begin with."""
    url: UrlRules = NO_RULES
    headers: dict[str, str] = {}
    allowed_fields: frozenset[PayloadField] = frozenset(get_args(PayloadField))
    disabled: bool = False
    """Nothing is sent: `disable_webhooks` in the section `http`."""

    @field_validator("url", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        return value or NO_RULES

    @field_validator("allowed_fields", mode="before")
    @classmethod
    def _none_is_all(cls, value: Any) -> Any:
        return value or get_args(PayloadField)

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        filled = {name: _filled(value, self.env_prefix) for name, value in self.headers.items()}
        secret = [name for name, value in self.headers.items() if filled[name] != value or _SECRET.search(name)]
        if secret and not self.url.allowed_domains:
            # Whoever may create a run says which host gets them.
            raise ValueError(f"the header {secret[0]} is secret: name in url.allowed_domains the hosts that may get it")
        self.headers = filled
        return self


_SECRET = re.compile("auth|cookie|token|key|secret|signature|password", re.IGNORECASE)
_TEMPLATE = re.compile(r"\$\{\{\s*([^}]+?)\s*\}\}")


def _filled(value: str, prefix: str) -> str:
    def variable(found: re.Match[str]) -> str:
        scope, _, name = found[1].partition(".")
        if scope != "env" or not name or "." in name:
            raise ValueError(f"{found[0]} is not a reference like ${{{{ env.{prefix}TOKEN }}}}")
        if not name.startswith(prefix):
            raise ValueError(f"the name of the environment variable {name} does not begin with {prefix}")
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name]

    return _TEMPLATE.sub(variable, value)


def load_webhook_config(path: Path) -> WebhookConfig:
    """The section, or else what LANGGRAPH_WEBHOOKS has as JSON, or else the defaults.

    Args:
        path: langgraph.json. Its `env` must be in effect: `registry.load` sees to that.

    Raises:
        ConfigError: the section does not fit, or an environment variable that it names is not set.
    """
    document = read_config(path)
    section, http = document.get("webhooks") or _from_environment(), document.get("http") or {}
    if not isinstance(section, dict) or not isinstance(http, dict):
        raise ConfigError('"webhooks" and "http" are objects.')
    try:
        return WebhookConfig.model_validate({**section, "disabled": http.get("disable_webhooks", False)})
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "webhooks").message) from exc


def _from_environment() -> Any:
    """The section as LangGraph's own images carry it."""
    try:
        return loads(os.environ.get("LANGGRAPH_WEBHOOKS") or "{}")
    except ValueError as exc:
        raise ConfigError(f"LANGGRAPH_WEBHOOKS is not JSON: {exc}.") from exc


def _matches(host: str, domain: str) -> bool:
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


def port_of(url: httpx.URL) -> int:
    """The URL's port, its scheme's own if it names none."""
    return url.port if url.port is not None else 443 if url.scheme == "https" else 80
