"""Proofs: what of a request proves who makes it, so that it is kept nowhere.

    request ──headers, query, body──> Proofs ──betrayed_by(field of the user)?──> kept with runs and crons, or not

An `authenticate` handler may take its credential from anywhere and give it back in any field of the user. A value that
has a credential's name, here or there, is one; so is what Basic authentication encodes.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.datastructures import QueryParams

from api.serde import dumps

_SHORTEST = 8
"""Characters: what is shorter proves nothing, and is found in any text."""
_LONGEST = 16_384
_PLAINLY_NAMED = frozenset({"authorization", "proxy-authorization", "cookie"})
_NAME = re.compile(
    r"authori[sz]ation|bearer|token|(?:\b|[-_]|api)key|secret|passw|passphrase|credential|session|cookie|jwt|signature"
    r"|assertion|(?:\b|[-_])otp"
)
"""Not "auth" alone: proxies name what they have found out so, as in X-Auth-Request-Email."""
_PARTS = re.compile(r"[ ;,&]+")


class Proofs:
    """Of one request.

    Args:
        named: values under a credential's name.
        others: all other values of the request.
    """

    def __init__(self, named: Iterable[str] = (), others: Iterable[str] = ()) -> None:
        self._named = _texts(named)
        self._others = _texts(others) - self._named

    @classmethod
    def of(cls, headers: Mapping[bytes, bytes], query: QueryParams, body: Any = None) -> "Proofs":
        """Reads a request.

        Args:
            headers: by their names in lower case.
            query: its parameters.
            body: its JSON, if the handler reads that.
        """
        named: list[str] = []
        others: list[str] = []
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()]
        for name, value in (*pairs, *query.multi_items(), *_leaves(body)):
            if name in _PLAINLY_NAMED:
                named += (value, *_parts(value))
            elif _NAME.search(name.lower()):
                named.append(value)
            else:
                others.append(value)
        return cls(named, others)

    def betrayed_by(self, name: str, text: str) -> bool:
        """Whether a field of the user holds one.

        Args:
            name: the field's.
            text: its value as JSON.
        """
        if any(proof in text for proof in self._named):
            return True
        return bool(_NAME.search(f"{name} {text}".lower())) and any(value in text for value in self._others)


def _texts(values: Iterable[str]) -> set[str]:
    """As they stand in JSON."""
    stripped = (value.strip() for value in values)
    return {dumps(value).decode()[1:-1] for value in stripped if _SHORTEST <= len(value) <= _LONGEST}


def _parts(value: str) -> Iterator[str]:
    """What stands behind a scheme, in each cookie, and in Basic authentication."""
    for part in _PARTS.split(value):
        yield part
        yield part.partition("=")[2]
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield decoded
        yield decoded.partition(":")[2]


def _leaves(body: Any) -> Iterator[tuple[str, str]]:
    """The texts of a body's first level."""
    if isinstance(body, dict):
        yield from ((name, value) for name, value in body.items() if isinstance(value, str))
