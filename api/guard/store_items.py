"""Items of the store as one caller may use them: handlers say in which namespace.

A handler that scopes callers puts a label in front of the namespace. LangGraph's server shows that label in its
answers, and so does this, unless the authority hides it: then callers see the namespaces that they gave.
"""

from typing import Any

from api.errors import BadRequestError
from api.guard.access import Access
from api.schemas import Json
from api.store_items import ItemDelete, ItemPut, ItemSearch, NamespaceSearch, StoreItems


class GuardedStoreItems:
    """Items, asked for by one caller. `StoreItems` has the operations' descriptions.

    Args:
        items: the operations.
        access: the caller's.
    """

    def __init__(self, items: StoreItems, access: Access) -> None:
        self._items = items
        self._access = access

    async def put(self, body: ItemPut) -> None:
        """Keeps an item."""
        value: Json = {
            "namespace": tuple(body.namespace),
            "key": body.key,
            "value": body.value,
            "index": body.index,
        }
        if self._access.hides_tenant and not body.namespace:
            raise BadRequestError("Namespace cannot be empty.", field="namespace")
        await self._ask("put", value)
        await self._items.put(_changed(body, value, "namespace", "key", "value", "index"))

    async def get(self, namespace: list[str], key: str, *, refresh_ttl: bool | None = None) -> Json | None:
        """An item, or None."""
        value: Json = {"namespace": tuple(namespace), "key": key}
        hidden = await self._ask("get", value)
        item = await self._items.get(list(value["namespace"]), value["key"], refresh_ttl=refresh_ttl)
        return None if item is None else _shown(item, hidden)

    async def delete(self, body: ItemDelete) -> None:
        """Deletes an item, if it is there."""
        value: Json = {"namespace": tuple(body.namespace), "key": body.key}
        await self._ask("delete", value)
        await self._items.delete(_changed(body, value, "namespace", "key"))

    async def search(self, body: ItemSearch) -> list[Json]:
        """Items below a namespace."""
        value: Json = {
            "namespace": tuple(body.namespace_prefix or ()),
            "filter": body.filter,
            "limit": body.limit,
            "offset": body.offset,
            "query": body.query,
        }
        hidden = await self._ask("search", value)
        value["namespace_prefix"] = value["namespace"]
        found = await self._items.search(
            _changed(body, value, "namespace_prefix", "filter", "limit", "offset", "query")
        )
        return [_shown(item, hidden) for item in found]

    async def namespaces(self, body: NamespaceSearch) -> list[list[str]]:
        """The namespaces that have items."""
        value: Json = {
            "namespace": tuple(body.prefix) or None,
            "suffix": tuple(body.suffix) or None,
            "max_depth": body.max_depth,
            "limit": body.limit,
            "offset": body.offset,
        }
        hidden = await self._ask("list_namespaces", value)
        if hidden and value["max_depth"] is not None:
            value["max_depth"] += hidden
        value["prefix"] = value["namespace"] or ()
        value["suffix"] = value["suffix"] or ()
        found = await self._items.namespaces(_changed(body, value, "prefix", "suffix", "max_depth", "limit", "offset"))
        return [namespace[hidden:] for namespace in found]

    async def _ask(self, action: str, value: Json) -> int:
        """How many labels in front of a namespace are not the caller's to see."""
        given = len(value["namespace"] or ())
        await self._access.ask("store", action, value)
        return len(value["namespace"] or ()) - given if self._access.hides_tenant else 0


def _changed(body: Any, value: Json, *names: str) -> Any:
    lists = {name: list(value[name]) for name in names if isinstance(value[name], tuple)}
    return body.model_copy(update={**{name: value[name] for name in names}, **lists})


def _shown(item: Json, hidden: int) -> Json:
    return {**item, "namespace": list(item["namespace"])[hidden:]} if hidden else item
