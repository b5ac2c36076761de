"""Callers: who makes a request, as handlers of `Auth` and graphs see them, and as a run or a cron keeps them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from api.proofs import Proofs
from api.schemas import Json
from api.serde import dumps, loads

CALLER_SETTINGS = ("langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions")
"""Where graphs find the caller in the `configurable` part of their config: LangGraph's own names."""


class User(Mapping[str, Any]):
    """A user: the fields of what `authenticate` returned, as items and as attributes.

    Args:
        fields: `identity` among them.
        original: what `authenticate` returned, if that was an object: its other attributes are this user's.
    """

    def __init__(self, fields: Mapping[str, Any], original: object | None = None) -> None:
        self._original = original
        self._fields: Json = {
            "is_authenticated": True,
            "display_name": fields["identity"],
            "permissions": [],
            **fields,
        }

    @property
    def identity(self) -> str:
        """What tells the user from all others."""
        return str(self._fields["identity"])

    @property
    def display_name(self) -> str:
        """How the user is called."""
        return str(self._fields["display_name"])

    @property
    def is_authenticated(self) -> bool:
        """Whether the user is known."""
        return bool(self._fields["is_authenticated"])

    @property
    def permissions(self) -> Sequence[str]:
        """What the user may do, as `authenticate` said."""
        return list(self._fields["permissions"])

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._fields:
            return self._fields[name]
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return f"User({self.identity!r})"

    def dict(self) -> Json:
        """All fields."""
        return dict(self._fields)

    model_dump = dict  # noqa: A003  # this class's own


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. `request.scope["threadline.caller"]` has it, where authentication is configured."""

    identity: str
    """Tells callers apart: a limit for each caller counts by it."""
    user: Any = field(repr=False)
    """Handlers get it as `ctx.user`."""
    permissions: tuple[str, ...] = ()
    is_studio: bool = False
    kept: Json = field(default_factory=dict, repr=False)
    """The user's fields that have a JSON form and hold nothing that the request proved itself with."""

    def record(self) -> Json:
        """What a run or a cron keeps of the caller."""
        return {"user": self.kept, "permissions": list(self.permissions), "studio": self.is_studio}


_CURRENT: ContextVar[Caller | None] = ContextVar("threadline_caller", default=None)


def known_caller(user: Any, permissions: Sequence[str], proofs: Proofs | None = None) -> Caller:
    """A caller out of what `authenticate` returned.

    Args:
        user: a text, a mapping with `identity`, or an object with that attribute.
        permissions: the caller's.
        proofs: what the request proved itself with; a field that contains one of them is not kept.

    Raises:
        ValueError: it names no identity.
    """
    fields, original = _fields(user)
    if not isinstance(fields.get("identity"), str) or not fields["identity"]:
        raise ValueError(f"authenticate returned a {type(user).__name__} that has no identity")
    named = User({**fields, "permissions": list(permissions)}, original)
    return Caller(named.identity, named, tuple(permissions), kept=_kept(named, proofs or Proofs()))


def kept_caller(record: Json) -> Caller:
    """The caller that a run or a cron has kept."""
    user = User(record["user"])
    permissions = tuple(record["permissions"])
    return Caller(user.identity, user, permissions, is_studio=record.get("studio", False), kept=record["user"])


def owner_of(kwargs: Json) -> str:
    """The identity of the caller whose run has these kwargs; empty if nobody was asked."""
    caller: Json | None = kwargs.get("caller")
    return "" if caller is None else str(caller["user"]["identity"])


def of_graph(record: Json) -> Json:
    """What a graph finds of a kept caller in the `configurable` part of its config, under LangGraph's own names."""
    user = User(record["user"])
    return dict(zip(CALLER_SETTINGS, (user, user.identity, list(record["permissions"])), strict=True))


def enter(caller: Caller) -> None:
    """Says who makes the present request, to all that its task does from now on."""
    _CURRENT.set(caller)


def settings_of_current() -> Json:
    """What a graph finds of who makes the present request; nothing if nobody asks who that is, or none is made."""
    caller = _CURRENT.get()
    if caller is None:
        return {}
    return dict(zip(CALLER_SETTINGS, (caller.user, caller.identity, list(caller.permissions)), strict=True))


def _fields(user: Any) -> tuple[Json, object | None]:
    if isinstance(user, str):
        return {"identity": user}, None
    if isinstance(user, Mapping):
        return dict(user), None
    fields: Json = {}
    if dataclasses.is_dataclass(user) and not isinstance(user, type):
        fields = {each.name: getattr(user, each.name) for each in dataclasses.fields(user)}
    else:
        for name in ("model_dump", "dict"):
            if callable(dump := getattr(user, name, None)):
                fields = _dumped(dump)
                break
    for name in ("identity", "display_name", "is_authenticated"):
        if name not in fields and hasattr(user, name):
            fields[name] = getattr(user, name)
    return fields, user


def _dumped(dump: Callable[[], Any]) -> Json:
    dumped = dump()
    return dict(dumped) if isinstance(dumped, Mapping) else {}


def _kept(user: User, proofs: Proofs) -> Json:
    kept: Json = {}
    for name, value in user.items():
        text = dumps(value).decode()
        if isinstance(value, bytes) or (text == "null" and value is not None):
            continue  # it stays with the request
        if not proofs.betrayed_by(name, text):
            kept[name] = loads(text)
    # The identity is what rows are told apart by: without it nothing could be kept at all.
    return {**kept, "identity": user.identity}
