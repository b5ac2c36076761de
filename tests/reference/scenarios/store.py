"""The store: items, search, namespaces, and what a graph keeps in it."""

from typing import Any

from tests.reference.exchange import Request
from tests.reference.scenarios.requests import delete, get, post, put, scenario, thread, wait

_ITEMS = "/store/items"


def _put(place: list[str], key: str, value: Any, **body: Any) -> Request:
    return put(_ITEMS, {"namespace": ["{nonce}", *place], "key": key, "value": value, **body})


def _search(*place: str, **body: Any) -> Request:
    return post(f"{_ITEMS}/search", {"namespace_prefix": ["{nonce}", *place], **body})


def _namespaces(**body: Any) -> Request:
    return post("/store/namespaces", body)


_FILLED = (
    _put(["a"], "one", {"number": 1, "kind": "odd"}),
    _put(["a"], "two", {"number": 2, "kind": "even"}),
    _put(["a", "b"], "three", {"number": 3, "kind": "odd", "deep": {"x": 1}}),
    _put(["c"], "four", {"number": 4.5, "kind": "none"}),
)

SCENARIOS = [
    scenario(
        "store",
        "put, get, delete",
        _put(["a"], "one", {"text": "hi", "list": [1, None, {"x": 1.5}]}),
        get(_ITEMS + "?key=one&namespace={nonce}.a"),
        get(_ITEMS + "?key=one&namespace={nonce}&namespace=a"),
        _put(["a"], "one", {"text": "replaced"}),
        get(_ITEMS + "?key=one&namespace={nonce}.a"),
        get(_ITEMS + "?key=two&namespace={nonce}.a"),
        get(_ITEMS + "?key=one&namespace={nonce}"),
        delete(_ITEMS, {"namespace": ["{nonce}", "a"], "key": "one"}),
        get(_ITEMS + "?key=one&namespace={nonce}.a"),
        delete(_ITEMS, {"namespace": ["{nonce}", "a"], "key": "one"}),
    ),
    scenario(
        "store",
        "search",
        *_FILLED,
        _search(),
        _search("a"),
        _search("a", "b"),
        _search("nowhere"),
        _search(limit=4),
        _search(offset=9),
        _search(filter={"kind": "odd"}),
        _search(filter={"kind": "odd", "number": 3}),
        _search(filter={"number": {"$gt": 2}}),
        _search(filter={"number": {"$gte": 2, "$lt": 4}}),
        _search(filter={"number": {"$lte": 2}}),
        _search(filter={"kind": {"$ne": "odd"}}),
        _search(filter={"kind": {"$eq": "even"}}),
        _search(filter={"deep": {"x": 1}}),
        _search(query="words"),
        _search("a", query="words"),
    ),
    scenario(
        "store",
        "namespaces",
        *_FILLED,
        _namespaces(prefix=["{nonce}"]),
        _namespaces(prefix=["{nonce}", "a"]),
        _namespaces(prefix=["{nonce}"], max_depth=2),
        _namespaces(prefix=["{nonce}"], max_depth=1),
        _namespaces(prefix=["{nonce}"], suffix=["b"]),
        _namespaces(prefix=["{nonce}"], limit=1),
        _namespaces(prefix=["{nonce}"], limit=2, offset=1),
        _namespaces(prefix=["{nonce}", "*", "b"]),
        _namespaces(prefix=["{uuid1}"]),
    ),
    scenario(
        "store",
        "ttl and index",
        _put(["a"], "one", {"text": "hi"}, ttl=60, index=False),
        _put(["a"], "two", {"text": "hi"}, index=["text"], ttl=None),
        get(_ITEMS + "?key=one&namespace={nonce}.a&refresh_ttl=true"),
        _search(refresh_ttl=False),
        _put(["a"], "three", {"text": "hi"}, ttl="soon"),
        _put(["a"], "three", {"text": "hi"}, index="text"),
    ),
    scenario(
        "store",
        "put, wrongly",
        put(_ITEMS, {}),
        put(_ITEMS, {"namespace": [], "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": ["a.b"], "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": [""], "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": ["langgraph", "x"], "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": "text", "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": [7], "key": "k", "value": {}}),
        put(_ITEMS, {"namespace": ["{nonce}"], "value": {}}),
        put(_ITEMS, {"namespace": ["{nonce}"], "key": 7, "value": {}}),
        put(_ITEMS, {"namespace": ["{nonce}"], "key": "", "value": {}}),
        put(_ITEMS, {"namespace": ["{nonce}"], "key": "k", "value": "text"}),
        put(_ITEMS, {"namespace": ["{nonce}"], "key": "k", "value": None}),
        put(_ITEMS, {"namespace": ["{nonce}"], "key": "k"}),
        put(_ITEMS, b"{nonsense"),
    ),
    scenario(
        "store",
        "read and delete, wrongly",
        get(_ITEMS),
        get(_ITEMS + "?key=k"),
        get(_ITEMS + "?key=k&namespace="),
        get(_ITEMS + "?namespace={nonce}"),
        delete(_ITEMS, {}),
        delete(_ITEMS, {"key": "k"}),
        delete(_ITEMS, {"namespace": [], "key": "k"}),
        delete(_ITEMS, {"namespace": ["a.b"], "key": "k"}),
        delete(_ITEMS, b"{nonsense"),
        delete(_ITEMS),
    ),
    scenario(
        "store",
        "search, wrongly",
        post(f"{_ITEMS}/search", {"namespace_prefix": "text"}),
        post(f"{_ITEMS}/search", {"namespace_prefix": ["a.b"]}),
        _search(limit=0),
        _search(limit="some"),
        _search(offset=-1),
        _search(filter="text"),
        _search(query=7),
        post(f"{_ITEMS}/search", b"{nonsense"),
        _namespaces(prefix="text"),
        _namespaces(prefix=["a.b"]),
        _namespaces(prefix=["{nonce}"], max_depth=0),
        _namespaces(prefix=["{nonce}"], max_depth="deep"),
        _namespaces(prefix=["{nonce}"], limit=0),
        _namespaces(suffix=[""]),
        post("/store/namespaces", b"{nonsense"),
    ),
    scenario(
        "store",
        "what a graph keeps",
        thread(),
        wait("memory", input={"place": "{nonce}", "keep": "first"}),
        get(_ITEMS + "?key=kept&namespace=memory.{nonce}"),
        put(_ITEMS, {"namespace": ["memory", "{nonce}"], "key": "kept", "value": {"text": "by hand"}}),
        wait("memory", input={"place": "{nonce}", "keep": "second"}),
        post(f"{_ITEMS}/search", {"namespace_prefix": ["memory", "{nonce}"]}),
    ),
]
