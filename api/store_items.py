"""The store as clients call it: requests checked, and each run on LangGraph's own store.

Every request is a batch of its own, through the store's public `abatch`: the store's other methods put what arrives
together into one batch, where a request that fails would fail those of others, and of graphs.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from api.configs import Filter, Text
from api.errors import BadRequestError, InvalidRequestError, UnsupportedError
from api.schemas import Json
from api.serde import dumps
from api.store_config import StoreConfig

_COMPARISONS = ("$gt", "$gte", "$lt", "$lte")
_MOST_MINUTES = 1e9
"""Nineteen centuries: more does not fit into a date."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _index(value: Any) -> Any:
    if value is None or value is False or (isinstance(value, list) and all(isinstance(path, str) for path in value)):
        return value
    raise PydanticCustomError("index", "Expected false, a list of paths or null")


Search = Callable[[Op], Awaitable[Any]]
"""Runs a search, or a list of namespaces."""
Count = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53), BeforeValidator(_whole)]
"""A JSON number that is whole; within what every client and the database can count."""
Minutes = Annotated[float, Field(strict=True, ge=0)]
Paths = Annotated[Literal[False] | list[str] | None, BeforeValidator(_index)]


_LONGEST_NAMESPACE = 4096
"""Characters of all its labels: the store makes patterns of those that are looked for."""


class ItemPut(BaseModel):
    """An item to keep."""

    namespace: list[str]
    key: Text
    value: Json
    index: Paths = None
    """Paths to embed; False: none; None: those of the configuration."""
    ttl: Minutes | None = None
    """Null: it stays. Not given: as long as the configuration says."""


class ItemDelete(BaseModel):
    """Which item to delete."""

    namespace: list[str] = []
    key: Text


class ItemSearch(BaseModel):
    """Which items to find."""

    namespace_prefix: list[str] | None = None
    filter: Filter | None = None
    limit: Count = 10
    offset: Count = 0
    query: Text | None = None
    refresh_ttl: bool | None = Field(default=None, strict=True)


class NamespaceSearch(BaseModel):
    """Which namespaces to list."""

    prefix: list[str] = []
    suffix: list[str] = []
    max_depth: Count | None = None
    limit: Count = 100
    offset: Count = 0


class StoreItems:
    """The items of the store, by namespace and key.

    Args:
        store: where they are.
        config: as the store was opened with it.
        search: runs searches, perhaps beside the store's other operations; the store itself, if not given.
        max_items: of one search.
    """

    def __init__(
        self, store: BaseStore, config: StoreConfig, *, search: Search | None = None, max_items: int = 1000
    ) -> None:
        self._store = store
        self._search = search or self._batch
        self._config = config
        self._max_items = max_items

    async def put(self, body: ItemPut) -> None:
        """Keeps an item, in place of the one that is there.

        Raises:
            InvalidRequestError: a label of the namespace is empty or has a period.
            BadRequestError: the namespace is empty or reserved, or the store does not take the value.
        """
        namespace = _namespace(body.namespace)
        if not namespace:
            raise BadRequestError("Namespace cannot be empty.", field="namespace")
        if namespace[0] == "langgraph":
            message = f'Root label for namespace cannot be "langgraph". Got: {namespace}'
            raise BadRequestError(message, field="namespace")
        ttl = body.ttl if "ttl" in body.model_fields_set else self._config.ttl.get("default_ttl")
        ttl = None if ttl is None else min(ttl, _MOST_MINUTES)
        await self._run(PutOp(namespace, body.key, body.value, body.index, ttl))

    async def get(self, namespace: list[str], key: str, *, refresh_ttl: bool | None = None) -> Json | None:
        """An item; None if there is none.

        Raises:
            InvalidRequestError: a label of the namespace is empty or has a period.
            BadRequestError: there is no key.
            UnsupportedError: the configuration rules refreshing out.
        """
        path = _namespace(namespace)
        if not key:
            raise BadRequestError("Key is required", field="key")
        item = await self._run(GetOp(path, key, self._refresh(refresh_ttl)))
        return None if item is None else item.dict()

    async def delete(self, body: ItemDelete) -> None:
        """Deletes an item, if it is there.

        Raises:
            InvalidRequestError: a label of the namespace is empty or has a period.
        """
        await self._run(PutOp(_namespace(body.namespace), body.key, None))

    async def search(self, body: ItemSearch) -> list[Json]:
        """Items below a namespace: the last updated first or, if there is an index, those nearest to the query.

        Raises:
            InvalidRequestError: a label of the namespace is empty or has a period, or the limit is too high.
            BadRequestError: the filter cannot be applied.
            UnsupportedError: the configuration rules refreshing out.
        """
        self._check_limit(body.limit)
        prefix = _namespace(body.namespace_prefix or [])
        filters = _flat(body.filter or {})
        limit, offset, skipped = body.limit or 10, max(body.offset, 0), 0
        if body.query and self._config.index is not None and limit > 0:
            # The store ranks twice the limit and takes the offset from those: nothing would be left for page three.
            limit, offset, skipped = limit + offset, 0, offset
        op = SearchOp(prefix, filters, limit, offset, body.query, self._refresh(body.refresh_ttl))
        return [item.dict() for item in (await self._run(op, self._search))[skipped:]]

    async def namespaces(self, body: NamespaceSearch) -> list[list[str]]:
        """The namespaces that have items, cut off at a depth, in order.

        Raises:
            InvalidRequestError: a label is empty or has a period, or the limit is too high.
        """
        self._check_limit(body.limit)
        paths = {"prefix": _namespace(body.prefix), "suffix": _namespace(body.suffix)}
        conditions = tuple(MatchCondition(kind, path) for kind, path in paths.items() if path)  # type: ignore[arg-type]
        op = ListNamespacesOp(conditions, body.max_depth, body.limit, body.offset)
        # Cut off at depth 0 all are the root, which the database gives as one empty label.
        return [[label for label in namespace if label] for namespace in await self._run(op, self._search)]

    def _check_limit(self, limit: int) -> None:
        if not 0 <= limit <= self._max_items:
            raise InvalidRequestError(f"limit: at most {self._max_items}, and not negative.", field="limit")

    def _refresh(self, requested: bool | None) -> bool:
        configured = self._config.ttl.get("refresh_on_read", True)
        if requested and not configured:
            raise UnsupportedError("store.ttl.refresh_on_read is off: reads do not refresh.", field="refresh_ttl")
        return configured if requested is None else requested

    async def _batch(self, op: Op) -> Any:
        return (await self._store.abatch([op]))[0]

    async def _run(self, op: Op, run: Search | None = None) -> Any:
        try:
            return await (run or self._batch)(op)
        except (ValueError, TypeError) as exc:
            raise BadRequestError(str(exc)) from exc


def _namespace(labels: list[str]) -> tuple[str, ...]:
    if sum(map(len, labels)) > _LONGEST_NAMESPACE:
        raise InvalidRequestError(f"A namespace has at most {_LONGEST_NAMESPACE} characters.", field="namespace")
    for label in labels:
        if not label or "." in label:
            message = f"Namespace label {label!r} must be a non-empty string without periods"
            raise InvalidRequestError(message, field="namespace")
    return tuple(labels)


def _flat(filters: Mapping[str, Any], path: str = "") -> Json:
    """The filter as the SQLite store takes it: objects within it as dotted paths, values of operators comparable."""
    flat: Json = {}
    for key, value in filters.items():
        if not all(key.split(".")):
            raise BadRequestError(f"Invalid filter key: '{key}'.", field="filter")
        for name, condition in _conditions(path + key, value):
            if name in flat:
                raise BadRequestError(f"The filter names '{name}' twice.", field="filter")
            flat[name] = condition
    return flat


def _conditions(path: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    if any(key.startswith("$") for key in value):
        return [(path, _of_numbers({operator: _operand(operator, operand) for operator, operand in value.items()}))]
    # Of an empty object all that can be asked is whether something is there.
    return list(_flat(value, f"{path}.").items()) if value else [(path, {"$ne": None})]


def _of_numbers(condition: Json) -> Json:
    """Numbers are compared with numbers alone: LangGraph's SQLite store takes any other text or list for a 0.

    In the database's order every text, and a list or an object is one, comes after the numbers: what is less than the
    empty text is a number. A number that is less than another is at most the one before that.
    """
    compared = {operator for operator in _COMPARISONS if _is_number(condition.get(operator))}
    if not compared:
        return condition
    highest = [math.nextafter(condition["$lt"], -math.inf)] if "$lt" in compared else []
    if "$lte" in compared:
        highest.append(float(condition["$lte"]))
    return {**condition, **({"$lte": min(highest)} if highest else {}), "$lt": ""}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _operand(operator: str, operand: Any) -> Any:
    if operator in ("$eq", "$ne"):
        # The database compares lists and objects as text, but the store would hand it bytes.
        return dumps(operand).decode() if isinstance(operand, list | dict) else operand
    if operator in _COMPARISONS and not isinstance(operand, int | float | str):
        raise BadRequestError(f"{operator} compares numbers and texts.", field="filter")
    return operand
