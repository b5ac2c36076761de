"""What may come out of a checkpoint: what the graphs wrote, as what it was, and nothing that they did not bring along.

A checkpoint names the classes of the values in it, and to read it is to make objects of them: whoever can write to the
database could have anything made. So a class must have been brought along by a served graph: it is one of the graph's
own module, of what its sources import or of the packages that these use, or the graph has written it in this process.
And it must be data: a record, an enumeration, an object of pydantic or attrs. No function is called, no module imported
that the graphs' sources do not import. Any other value comes back as the data it was made of; pickles are never read.

A client's values are JSON, and no form of it names a class here.

Format: `checkpointer.serde` of langgraph.json, https://docs.langchain.com/langgraph-platform/cli
"""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ConfigError, StateTooLargeError, StorageError, invalid
from api.registry import read_config
from api.state_types import StateTypes, Symbol
from api.stored_values import pack, unpack


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer without pickles, for values up to a size; what it cannot read is one clear error.

    Args:
        max_bytes: of one value as it is stored: a checkpoint, or what a node writes to a channel. More would be stored
            again and again.
        json_modules: classes that checkpoints in the older JSON form may name; True: any.
        msgpack_modules: likewise for the present form, besides those that the graphs bring along.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        json_modules: Sequence[Symbol] | Literal[True] | None = None,
        msgpack_modules: Sequence[Symbol] | Literal[True] | None = None,
    ) -> None:
        super().__init__(pickle_fallback=False, allowed_json_modules=json_modules, allowed_msgpack_modules=None)
        self._max_bytes = max_bytes
        self._types = StateTypes(True if msgpack_modules is True else frozenset(msgpack_modules or ()))

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> Self:
        """The serializer for a graph: also with its classes, and what its module brings along."""
        other = copy.copy(self)
        other._types = self._types.extended(extra_allowlist)  # this class's own
        return other

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """A value as it is stored.

        Raises:
            StateTooLargeError: it is over the limit.
            UnserializableError: some part of it cannot be stored.
        """
        if obj is None or isinstance(obj, bytes | bytearray):
            kind, data = super().dumps_typed(obj)
        else:
            kind, data = "msgpack", pack(obj, self._types.note)
        if len(data) > self._max_bytes:
            raise StateTooLargeError(f"The state, or a value in it, is larger than {self._max_bytes} bytes.")
        return kind, data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of what is stored.

        Raises:
            StorageError: it is stored in a form that is not read, a pickle for one, or is damaged.
        """
        try:
            return unpack(data[1], self._types.find) if data[0] == "msgpack" else super().loads_typed(data)
        except (NotImplementedError, ValueError, TypeError, KeyError) as exc:
            raise StorageError(f"A checkpoint holds a value of the form {data[0]!r} that cannot be read.") from exc


class _Serde(BaseModel):
    """The section."""

    model_config = ConfigDict(strict=True, extra="forbid")

    allowed_json_modules: list[list[str]] | Literal[True] | None = None
    allowed_msgpack_modules: list[list[str]] | Literal[True] | None = None
    pickle_fallback: Literal[False] = False


def load_serde(path: Path, *, max_bytes: int) -> StrictSerializer:
    """The serializer that langgraph.json asks for.

    Args:
        path: langgraph.json.
        max_bytes: of one value as it is stored.

    Raises:
        ConfigError: the section cannot be used; pickles for one.
    """
    checkpointer = read_config(path).get("checkpointer") or {}
    section = checkpointer.get("serde") if isinstance(checkpointer, dict) else None
    try:
        serde = _Serde.model_validate(section or {})
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "checkpointer.serde").message) from exc
    return StrictSerializer(
        max_bytes,
        json_modules=_symbols(serde.allowed_json_modules),
        msgpack_modules=_pairs(serde.allowed_msgpack_modules),
    )


def _symbols(modules: list[list[str]] | Literal[True] | None) -> Sequence[Symbol] | Literal[True] | None:
    return modules if modules is None or modules is True else [tuple(each) for each in modules]


def _pairs(modules: list[list[str]] | Literal[True] | None) -> Sequence[Symbol] | Literal[True] | None:
    """This form names a module as one text, whatever parts the section names it in."""
    if modules is None or modules is True:
        return modules
    return [(".".join(module), name) for *module, name in modules]
