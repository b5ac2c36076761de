"""Access filters: what an authorisation handler of langgraph_sdk's `Auth` returns to limit a caller to some records.

{"owner": "a", "$or": [...]} ──parse──> groups of conditions ──> `matches` one record, or `text` for a search in SQL

Format: `langgraph_sdk.auth.types.FilterType`, and `$or` and `$and` of such filters as LangGraph's server takes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from api.schemas import Json
from api.serde import dumps

Scalar = str | int | float | bool | None
Operator = Literal["$eq", "$contains"]

_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_MOST_GROUPS = 100
_DEEPEST = 3


class InvalidFilterError(ValueError):
    """A handler returned what is not a filter."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of a record's metadata: equal to a value, or a list that contains it."""

    key: str
    operator: Operator
    value: Scalar

    @property
    def path(self) -> str | None:
        """The key as a JSON path; None if JSON writes it with escapes, which a path does not know."""
        return None if _ESCAPED.search(self.key) else f'$."{self.key}"'

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the metadata fulfils it; a missing key fulfils nothing."""
        if self.key not in metadata:
            return False
        held = metadata[self.key]
        if self.operator == "$eq":
            return _same(held, self.value)
        return isinstance(held, list) and any(_same(item, self.value) for item in held)


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Groups of conditions: a record must fulfil all conditions of at least one group."""

    groups: tuple[tuple[Condition, ...], ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a record with this metadata is one that the caller may have."""
        return any(all(condition.matches(metadata) for condition in group) for group in self.groups)

    def text(self) -> str:
        """The same as JSON, for a search: `[[{"key", "path", "operator", "value"}]]`; see `Condition.path`."""
        return dumps(
            [
                [{"key": each.key, "path": each.path, "operator": each.operator, "value": each.value} for each in group]
                for group in self.groups
            ]
        ).decode()


def permits(access: AccessFilter | None, metadata: Mapping[str, Any]) -> bool:
    """Whether a record with this metadata may be had; without a filter each may."""
    return access is None or access.matches(metadata)


def parse(filters: Json) -> AccessFilter | None:
    """A filter as a handler wrote it; None if it is empty and limits nothing.

    Raises:
        InvalidFilterError: it is not one; the message says why.
    """
    if not filters:
        return None
    return AccessFilter(tuple(_groups(filters, 1)))


def _groups(filters: Any, depth: int) -> list[tuple[Condition, ...]]:
    if not isinstance(filters, Mapping) or not filters:
        raise InvalidFilterError("A filter is an object with at least one key.")
    if depth > _DEEPEST:
        raise InvalidFilterError("$or and $and are nested too deeply.")
    groups: list[tuple[Condition, ...]] = [()]
    for key, value in filters.items():
        if key == "$or":
            choices = [group for each in _branches(key, value) for group in _groups(each, depth + 1)]
        elif key == "$and":
            choices = [()]
            for each in _branches(key, value):
                choices = _both(choices, _groups(each, depth + 1))
        else:
            choices = [tuple(_conditions(key, value))]
        groups = _both(groups, choices)
    return groups


def _both(left: list[tuple[Condition, ...]], right: list[tuple[Condition, ...]]) -> list[tuple[Condition, ...]]:
    if len(left) * len(right) > _MOST_GROUPS:
        raise InvalidFilterError("The filter has too many alternatives.")
    return [one + other for one in left for other in right]


def _branches(operator: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) < 2:  # as LangGraph's server has it
        raise InvalidFilterError(f"{operator} takes a list of at least 2 filters.")
    return value


def _conditions(key: Any, value: Any) -> list[Condition]:
    if isinstance(key, str) and "\0" in key:
        raise InvalidFilterError("A key has a NUL character, which may be read as a shorter one.")
    if not isinstance(key, str) or key.startswith("$"):
        raise InvalidFilterError(f"{key!r} is neither a key of the metadata nor $or or $and.")
    if not isinstance(value, Mapping):
        return [Condition(key, "$eq", _scalar(key, value))]
    if len(value) != 1:
        raise InvalidFilterError(f"{key!r}: one operator for each key.")
    ((operator, operand),) = value.items()
    if operator == "$eq":
        return [Condition(key, "$eq", _scalar(key, operand))]
    if operator == "$contains":
        wanted = operand if isinstance(operand, list | tuple) else [operand]
        if not wanted:
            raise InvalidFilterError(f"{key!r}: $contains of nothing would match everything.")
        return [Condition(key, "$contains", _scalar(key, item)) for item in wanted]
    raise InvalidFilterError(f"{key!r}: the operators are $eq and $contains, not {operator!r}.")


def _scalar(key: str, value: Any) -> Scalar:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise InvalidFilterError(f"{key!r}: only text, numbers, booleans and null can be compared.")
    if isinstance(value, str) and "\0" in value:
        raise InvalidFilterError(f"{key!r}: a text to compare has a NUL character, which may be read as a shorter one.")
    return value


def _same(held: Any, wanted: Scalar) -> bool:
    """Equal as JSON: true is not 1."""
    return isinstance(held, bool) == isinstance(wanted, bool) and bool(held == wanted)
