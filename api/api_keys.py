"""API keys: a tenant for each name of THREADLINE_API_KEYS, as an `Auth` of the same kind that operators write.

x-api-key | Authorization: Bearer ──compared with every key──> tenant ──> owner stamped, owner filtered by
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any

from langgraph_sdk import Auth
from langgraph_sdk.auth.types import AuthContext

from api.errors import ConfigError
from api.schemas import Json

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESERVED = "langgraph"
"""The store's own root label."""


Keys = Mapping[bytes, str]
"""Tenants by the digests of their keys. A tenant may have several, to change from one to the next."""


def parse_keys(text: str) -> Keys:
    """The keys of THREADLINE_API_KEYS; nothing of a key is in any message.

    Raises:
        ConfigError: an entry is not `name:key`, or a key is there twice.
    """
    keys: dict[bytes, str] = {}
    for place, entry in enumerate((part.strip() for part in text.split(",") if part.strip()), 1):
        name, _, key = entry.partition(":")
        if not _NAME.fullmatch(name) or name == _RESERVED or not key:
            raise ConfigError(
                f"THREADLINE_API_KEYS: entry {place} is not name:key; a name has letters, digits, - and _ only."
            )
        digest = _digest(key)
        if digest in keys:
            raise ConfigError(f"THREADLINE_API_KEYS: the key of entry {place} is there already.")
        keys[digest] = name
    return keys


def key_auth(keys: Keys) -> Auth:
    """Handlers that know tenants by their keys, and let each have what is its own.

    Args:
        keys: from `parse_keys`.
    """
    auth = Auth()

    @auth.authenticate
    async def authenticate(headers: Mapping[bytes, bytes]) -> Any:
        found = next(filter(None, (_tenant(keys, sent) for sent in _sent(headers))), None)
        if found is None:
            raise Auth.exceptions.HTTPException(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
        return {"identity": found, "permissions": []}

    @auth.on
    async def own(ctx: AuthContext, value: Json) -> Any:
        owner = {"owner": ctx.user.identity}
        if ctx.action in ("create", "update", "create_run"):
            value["metadata"] = {**(value.get("metadata") or {}), **owner}
        return owner

    @auth.on.store
    async def own_items(ctx: AuthContext, value: Json) -> Any:
        value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))

    return auth


def _tenant(keys: Keys, sent: bytes) -> str | None:
    """Compares with every key, also after one was found: how long it takes says nothing."""
    digest, found = hashlib.sha256(sent).digest(), None
    for key, name in keys.items():
        if hmac.compare_digest(key, digest):
            found = name
    return found


def _sent(headers: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """LangGraph's clients send a key of LangSmith's as x-api-key by themselves: then the other header counts."""
    if b"x-api-key" in headers:
        yield headers[b"x-api-key"]
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        yield token.strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
