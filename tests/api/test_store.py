"""The store: its routes as langgraph_sdk calls them, times to live, semantic search, and what graphs see of it."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.errors import ConfigError
from api.settings import Settings
from api.storage.sqlite.store import open_store
from api.store_config import StoreConfig
from api.store_items import ItemPut, ItemSearch, StoreItems
from tests.serving import serving

Serve = Callable[..., contextlib.AbstractAsyncContextManager[LangGraphClient]]

_EMBED = "tests.api.remembering:embed"
_ITEMS = "/store/items"


def _configure(folder: Path, store: Any) -> Settings:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"remember": "tests.api.remembering:remember"}, "store": store}))
    return Settings(config=path)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Settings]:
    """Settings for a langgraph.json with the given `store` section, whose data stay between servers."""
    return lambda **store: _configure(tmp_path, store)


@pytest.fixture
def serve(configured: Callable[..., Settings]) -> Serve:
    """Starts a server with the given `store` section, yields the stock client; a second one is a restart."""

    @contextlib.asynccontextmanager
    async def start(**store: Any) -> AsyncIterator[LangGraphClient]:
        async with serving(create_app(configured(**store))) as url, get_client(url=url) as client:
            yield client

    return start


@pytest.fixture
async def sdk(serve: Serve) -> AsyncIterator[LangGraphClient]:
    """The stock client of a server without a `store` section."""
    async with serve() as client:
        yield client


@pytest.fixture
def http(sdk: LangGraphClient) -> httpx.AsyncClient:
    """The HTTP client beneath."""
    return sdk.http.client


async def _keys(found: Awaitable[Any]) -> list[str]:
    return [item["key"] for item in (await found)["items"]]


def _put(*namespace: Any, key: Any = "k", value: Any = None, **more: Any) -> dict[str, Any]:
    return {"namespace": list(namespace), "key": key, "value": {} if value is None else value, **more}


async def test_item_comes_back_until_it_is_deleted(sdk: LangGraphClient) -> None:
    value = {"text": "größer", "list": [1, None, {"x": 1.5}], "big": 2**60}
    before = datetime.now(UTC)
    await sdk.store.put_item(["users", "1"], "a key", value)
    item = await sdk.store.get_item(["users", "1"], "a key")
    assert item["namespace"] == ["users", "1"]
    assert (item["key"], item["value"]) == ("a key", value)
    assert item["created_at"] == item["updated_at"]
    assert abs(datetime.fromisoformat(item["created_at"]) - before) < timedelta(minutes=1)
    assert list(item) == ["namespace", "key", "value", "created_at", "updated_at"]
    for _ in range(2):
        await sdk.store.delete_item(["users", "1"], "a key")
    assert await sdk.store.get_item(["users", "1"], "a key") is None


async def test_replaced_item_keeps_its_creation(sdk: LangGraphClient) -> None:
    await sdk.store.put_item(["users"], "one", {"text": "first"})
    first = await sdk.store.get_item(["users"], "one")
    await sdk.store.put_item(["users"], "one", {"other": "second"})
    second = await sdk.store.get_item(["users"], "one")
    assert second["value"] == {"other": "second"}
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] >= first["updated_at"]
    await sdk.store.delete_item(["users"], "one")
    await sdk.store.put_item(["users"], "one", {})
    assert (await sdk.store.get_item(["users"], "one"))["created_at"] >= second["updated_at"]


async def test_items_outlive_the_server(serve: Serve) -> None:
    async with serve() as sdk:
        await sdk.store.put_item(["users"], "one", {"text": "kept"})
        first = await sdk.store.get_item(["users"], "one")
    async with serve() as sdk:
        assert await sdk.store.get_item(["users"], "one") == first


async def test_node_and_client_see_the_same_items(sdk: LangGraphClient) -> None:
    async def run(keep: str) -> Any:
        values = await sdk.runs.wait(None, "remember", input={"place": "home", "keep": keep})
        return values["found"]

    assert await run("by the node") is None
    item = await sdk.store.get_item(["memory", "home"], "kept")
    assert item["value"] == {"text": "by the node"}
    await sdk.store.put_item(["memory", "home"], "kept", {"text": "by the client"})
    assert await run("again") == "by the client"
    again = await sdk.store.get_item(["memory", "home"], "kept")
    assert again["value"] == {"text": "again"}
    assert again["created_at"] == item["created_at"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LangGraphClient]:
    """The client of a store with five items, for tests that change nothing; `one` is the last that was updated."""
    app = create_app(_configure(tmp_path_factory.mktemp("filled"), {}))
    async with serving(app) as url, get_client(url=url) as client:
        put = client.store.put_item
        await put(["n", "a"], "two", {"number": 2, "kind": "even", "flag": True, "nothing": None})
        await put(["n", "a", "b"], "three", {"number": 3, "kind": "odd", "deep": {"x": 1, "y": [1, 2]}})
        await put(["n", "c"], "four", {"number": 4.5, "kind": "none", "flag": False, "nothing": 1})
        await put(["nn"], "five", {"at": "2026-05-01"})
        await put(["n", "a"], "one", {"number": 1, "kind": "odd", "list": [1, None, {"x": 1.5}]})
        yield client


on_filled = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ({"kind": "odd"}, "one three"),
        ({"kind": "odd", "number": 3}, "three"),
        ({"number": 3.0}, "three"),
        ({"number": {"$gt": 2}}, "four three"),
        ({"number": {"$gte": 2, "$lt": 4}}, "three two"),
        ({"number": {"$lte": 2}}, "one two"),
        ({"number": {"$lt": 4.5}}, "one three two"),
        ({"number": {"$lt": 3, "$lte": 3, "$gt": 0, "$gte": 1, "$ne": 2}}, "one"),
        ({"number": {"$lt": 5, "$lte": 3}}, "one three two"),
        ({"kind": {"$lt": 5}}, ""),
        ({"kind": {"$lt": "f"}}, "two"),
        ({"list": {"$lt": 5}}, ""),
        ({"deep": {"$lte": 0}}, ""),
        ({"at": {"$gt": -5}}, ""),
        ({"at": {"$gte": 1, "$lt": "3"}}, ""),
        ({"kind": {"$ne": "odd"}}, "four two"),
        ({"kind": {"$eq": "even"}}, "two"),
        ({"flag": True}, "two"),
        ({"flag": {"$eq": False}}, "four"),
        ({"nothing": {"$ne": None}}, "four"),
        ({"nothing": None}, "five one three two"),
        ({"at": {"$gt": "2026-04-30"}}, "five"),
        ({"at": {"$gt": "2026-05-02"}}, ""),
        ({"deep": {"x": 1}}, "three"),
        ({"deep": {"x": 2}}, ""),
        ({"deep": {"x": {"$gte": 1}, "y": [1, 2]}}, "three"),
        ({"deep": {}}, "three"),
        ({"deep": {"$eq": {"x": 1, "y": [1, 2]}}}, "three"),
        ({"deep": {"$ne": {"x": 1}}}, "three"),
        ({"list": [1, None, {"x": 1.5}]}, "one"),
        ({"list": {"$eq": [1]}}, ""),
        ({}, "five four one three two"),
        (None, "five four one three two"),
    ],
)
@on_filled
async def test_filter(filled: LangGraphClient, condition: Any, keys: str) -> None:
    assert sorted(await _keys(filled.store.search_items([], filter=condition))) == keys.split()


_names = st.text("abcdefgh_-0123", min_size=1, max_size=3)
_scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | st.text("aä\"'\\ %", max_size=4)
)
_objects = st.recursive(
    st.dictionaries(_names, _scalars | st.lists(_scalars, max_size=2), min_size=1, max_size=3),
    lambda inner: st.dictionaries(_names, _scalars | inner, min_size=1, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(_objects)
def test_value_is_a_filter_that_finds_itself(value: dict[str, Any]) -> None:
    async def search() -> list[Any]:
        config = StoreConfig({})
        async with open_store(Path(":memory:"), ttl=config.ttl) as store:
            items = StoreItems(store, config)
            await items.put(ItemPut(namespace=["n"], key="itself", value=value))
            return await items.search(ItemSearch(filter=value))

    assert [item["value"] for item in asyncio.run(search())] == [value]


@on_filled
async def test_search_is_below_a_namespace_and_latest_first(filled: LangGraphClient) -> None:
    store = filled.store
    found = (await store.search_items([]))["items"]
    assert [item["key"] for item in found] == ["one", "five", "four", "three", "two"]
    assert [item["score"] for item in found] == [None] * 5
    assert await _keys(store.search_items(["n"])) == ["one", "four", "three", "two"]
    assert await _keys(store.search_items(["n", "a"])) == ["one", "three", "two"]
    assert await _keys(store.search_items(["n", "b"])) == []
    assert await _keys(store.search_items([], limit=2)) == ["one", "five"]
    assert await _keys(store.search_items([], limit=2, offset=3)) == ["three", "two"]
    assert await _keys(store.search_items([], offset=9)) == []
    assert await _keys(store.search_items(["n"], query="without an index, words change nothing")) == [
        *("one", "four", "three", "two")
    ]


async def test_search_without_a_namespace_or_limit_has_defaults(sdk: LangGraphClient, http: httpx.AsyncClient) -> None:
    for number in range(12):
        await sdk.store.put_item(["n"], str(number), {})
    for body in ({}, {"namespace_prefix": None, "limit": 0}, {"limit": 10.0, "unknown": 1}):
        assert len((await http.post(f"{_ITEMS}/search", json=body)).json()["items"]) == 10


@pytest.mark.parametrize(
    ("request_", "namespaces"),
    [
        ({}, ["n.a", "n.a.b", "n.c", "nn"]),
        ({"prefix": ["n"]}, ["n.a", "n.a.b", "n.c"]),
        ({"prefix": ["n", "*", "b"]}, ["n.a.b"]),
        ({"prefix": ["*", "a"]}, ["n.a", "n.a.b"]),
        ({"suffix": ["b"]}, ["n.a.b"]),
        ({"prefix": ["n"], "suffix": ["a"]}, ["n.a"]),
        ({"prefix": ["absent"]}, []),
        ({"max_depth": 2}, ["n.a", "n.c", "nn"]),
        ({"max_depth": 1}, ["n", "nn"]),
        ({"max_depth": 0}, [""]),
        ({"limit": 1}, ["n.a"]),
        ({"limit": 2, "offset": 1}, ["n.a.b", "n.c"]),
        ({"limit": 0}, []),
    ],
)
@on_filled
async def test_namespaces(filled: LangGraphClient, request_: Any, namespaces: list[str]) -> None:
    response = await filled.http.client.post("/store/namespaces", json=request_)
    assert response.status_code == 200
    assert [".".join(each) for each in response.json()["namespaces"]] == namespaces


@on_filled
async def test_namespaces_by_the_stock_client(filled: LangGraphClient) -> None:
    assert await filled.store.list_namespaces(prefix=["n"], max_depth=2) == {"namespaces": [["n", "a"], ["n", "c"]]}


_LABEL = "Namespace label {!r} must be a non-empty string without periods"
_NUL = "Invalid namespace label 'a\0' found in ('a\\x00',). Namespace labels cannot contain NUL bytes ('\\x00')."


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("PUT", "/items", _put(), 400, "Namespace cannot be empty."),
        ("PUT", "/items", _put("a.b"), 422, _LABEL.format("a.b")),
        ("PUT", "/items", _put("a", ""), 422, _LABEL.format("")),
        ("PUT", "/items", _put("a\0"), 400, _NUL),
        (
            *("PUT", "/items", _put("langgraph", "x"), 400),
            "Root label for namespace cannot be \"langgraph\". Got: ('langgraph', 'x')",
        ),
        ("PUT", "/items", {}, 422, "namespace: Field required."),
        ("PUT", "/items", _put("a") | {"namespace": "a"}, 422, "namespace: Input should be a valid list."),
        ("PUT", "/items", _put(7), 422, "namespace.0: Input should be a valid string."),
        ("PUT", "/items", _put("a", key=7), 422, "key: Input should be a valid string."),
        ("PUT", "/items", _put("a", value="text"), 422, "value: Input should be a valid dictionary."),
        ("PUT", "/items", _put("a", ttl="soon"), 422, "ttl: Input should be a valid number."),
        ("PUT", "/items", _put("a", ttl=-1), 422, "ttl: Input should be greater than or equal to 0."),
        ("PUT", "/items", _put("a", index=True), 422, "index: Expected false, a list of paths or null."),
        ("PUT", "/items", b"{", 422, "Invalid JSON in request body"),
        ("GET", "/items?key=k", None, 422, _LABEL.format("")),
        ("GET", "/items?key=k&namespace=a..b", None, 422, _LABEL.format("")),
        ("PUT", "/items", _put("a", "b" * 4096), 422, "A namespace has at most 4096 characters."),
        ("POST", "/namespaces", {"suffix": ["[" * 4097]}, 422, "A namespace has at most 4096 characters."),
        ("GET", "/items?namespace=a", None, 400, "Key is required"),
        ("DELETE", "/items", {}, 422, "key: Field required."),
        ("DELETE", "/items", {"namespace": ["a.b"], "key": "k"}, 422, _LABEL.format("a.b")),
        ("DELETE", "/items", None, 422, "Invalid JSON in request body"),
        ("POST", "/items/search", {"namespace_prefix": ["a.b"]}, 422, _LABEL.format("a.b")),
        ("POST", "/items/search", {"namespace_prefix": ["a\0"]}, 400, _NUL),
        ("POST", "/items/search", {"limit": "2"}, 422, "limit: Input should be a valid integer."),
        ("POST", "/items/search", {"limit": 2.5}, 422, "limit: Input should be a valid integer."),
        ("POST", "/items/search", {"filter": "x"}, 422, "filter: Input should be a valid dictionary."),
        ("POST", "/items/search", {"filter": {"a": {"$like": 1}}}, 400, "Unsupported operator: $like"),
        ("POST", "/items/search", {"filter": {"a": {"$gt": None}}}, 400, "$gt compares numbers and texts."),
        ("POST", "/items/search", {"filter": {"a..b": 1}}, 400, "Invalid filter key: 'a..b'."),
        ("POST", "/items/search", {"filter": {"a.b": 1, "a": {"b": 2}}}, 400, "The filter names 'a.b' twice."),
        ("POST", "/namespaces", {"prefix": "a"}, 422, "prefix: Input should be a valid list."),
        ("POST", "/namespaces", {"suffix": [""]}, 422, _LABEL.format("")),
        ("POST", "/namespaces", {"max_depth": "deep"}, 422, "max_depth: Input should be a valid integer."),
    ],
)
@on_filled
async def test_wrong_request(
    filled: LangGraphClient, method: str, path: str, body: Any, status: int, detail: str
) -> None:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    response = await filled.http.client.request(method, f"/store{path}", content=content)
    assert (response.status_code, response.json()["detail"]) == (status, detail)


async def test_request_that_is_refused_fails_alone(http: httpx.AsyncClient) -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"in": deep}
    bodies = [_put("n", key=str(number), value=deep if number == 4 else {}) for number in range(8)]
    responses = await asyncio.gather(*(http.put(_ITEMS, json=body) for body in bodies))
    assert [response.status_code for response in responses] == [204] * 4 + [422] + [204] * 3


def _pass(configured: Callable[..., Settings], minutes: int) -> None:
    """Lets time pass for the items that will expire, by moving their ends."""
    path = configured().storage_dir / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE store SET expires_at = datetime(expires_at, ?)", [f"-{minutes} minutes"])


async def test_item_expires_unless_a_read_refreshes_it(serve: Serve, configured: Callable[..., Settings]) -> None:
    async with serve() as sdk:
        for key in ("read", "found", "looked at", "left"):
            await sdk.store.put_item(["n", key], key, {}, ttl=60)
        await sdk.store.put_item(["n"], "for good", {})
        await sdk.store.put_item(["n"], "nearly for good", {}, ttl=1e300)
        _pass(configured, 40)
        assert await sdk.store.get_item(["n", "read"], "read") is not None
        assert await _keys(sdk.store.search_items(["n", "found"])) == ["found"]
        assert await sdk.store.get_item(["n", "looked at"], "looked at", refresh_ttl=False) is not None
        assert await _keys(sdk.store.search_items(["n", "looked at"], refresh_ttl=False)) == ["looked at"]
        _pass(configured, 40)
    async with serve() as sdk:
        found = await _keys(sdk.store.search_items(["n"]))
        assert sorted(found) == ["for good", "found", "nearly for good", "read"]


async def test_expired_items_are_swept_while_the_server_runs(serve: Serve, configured: Callable[..., Settings]) -> None:
    async with serve(ttl={"sweep_interval_minutes": 0.0005}) as sdk:
        await sdk.store.put_item(["n"], "left", {}, ttl=60)
        _pass(configured, 61)
        async with asyncio.timeout(30):
            while await sdk.store.get_item(["n"], "left", refresh_ttl=False):
                pass


async def test_configured_ttl_is_for_items_without_one(serve: Serve, configured: Callable[..., Settings]) -> None:
    ttl = {"default_ttl": 5, "refresh_on_read": False}
    async with serve(ttl=ttl) as sdk:
        await sdk.store.put_item(["n"], "default", {})
        await sdk.store.put_item(["n"], "longer", {}, ttl=60)
        response = await sdk.http.client.put(_ITEMS, json=_put("n", key="for good", ttl=None))
        assert response.status_code == 204
        _pass(configured, 4)
        assert len(await _keys(sdk.store.search_items(["n"]))) == 3
        _pass(configured, 2)
        response = await sdk.http.client.get(_ITEMS, params={"namespace": "n", "key": "longer", "refresh_ttl": True})
        assert response.status_code == 501
        assert "refresh_on_read is off" in response.json()["detail"]
    async with serve(ttl=ttl) as sdk:
        assert sorted(await _keys(sdk.store.search_items(["n"]))) == ["for good", "longer"]


@pytest.mark.parametrize("attribute", ["embed", "aembed", "embeddings"])
async def test_search_by_meaning(serve: Serve, attribute: str) -> None:
    async with serve(index={"embed": f"tests.api.remembering:{attribute}", "dims": 4}) as sdk:
        await sdk.store.put_item(["n"], "fruit", {"text": "apple pear"})
        await sdk.store.put_item(["n"], "traffic", {"text": "car bus"})
        await sdk.store.put_item(["other"], "elsewhere", {"text": "apple"})
        found = (await sdk.store.search_items(["n"], query="an apple"))["items"]
        assert [item["key"] for item in found] == ["fruit", "traffic"]
        assert found[0]["score"] == pytest.approx(0.714, abs=0.001)
        assert found[1]["score"] < 0.1
        assert await _keys(sdk.store.search_items(["n"], query="bus", limit=1)) == ["traffic"]
        assert await _keys(sdk.store.search_items(["n"], query="bus", filter={"text": "apple pear"})) == ["fruit"]
        assert await _keys(sdk.store.search_items(["n"])) == ["traffic", "fruit"]


async def test_only_the_fields_are_embedded(serve: Serve) -> None:
    async with serve(index={"embed": _EMBED, "dims": 4, "fields": ["text", "tags[*]"]}) as sdk:
        put = sdk.store.put_item
        await put(["n"], "by text", {"text": "apple", "note": "car"})
        await put(["n"], "by tag", {"tags": ["apple", "bus"], "note": "car"})
        await put(["n"], "by note", {"text": "pear", "note": "apple"}, index=["note"])
        await put(["n"], "not at all", {"text": "apple"}, index=False)
        scores = {item["key"]: item["score"] for item in (await sdk.store.search_items(["n"], query="apple"))["items"]}
        assert scores == pytest.approx({"by text": 1, "by tag": 1, "by note": 1})


async def test_vectors_go_with_their_item(serve: Serve, configured: Callable[..., Settings]) -> None:
    index = {"embed": _EMBED, "dims": 4, "fields": ["text"]}
    async with serve(index=index) as sdk:
        put, search = sdk.store.put_item, sdk.store.search_items
        await put(["n"], "replaced", {"text": "apple"})
        await put(["n"], "replaced", {"text": "car"})
        assert (await search(["n"], query="apple"))["items"][0]["score"] < 0.1
        await put(["n"], "replaced", {"other": "text"})
        await put(["n"], "deleted", {"text": "apple"})
        await sdk.store.delete_item(["n"], "deleted")
        await put(["n"], "expired", {"text": "apple"}, ttl=60)
        _pass(configured, 61)
    async with serve(index=index) as sdk:
        for key in ("deleted", "expired"):
            await sdk.store.put_item(["n"], key, {"text": "apple"}, index=False)
        assert await _keys(sdk.store.search_items(["n"], query="apple")) == []


async def test_pages_of_a_search_by_meaning_hold_every_item_once(serve: Serve) -> None:
    async with serve(index={"embed": _EMBED, "dims": 4, "fields": ["text"]}) as sdk:
        for number in range(7):
            await sdk.store.put_item(["n"], str(number), {"text": "apple " * number + "pear"})
        pages = [await _keys(sdk.store.search_items(["n"], query="apple", limit=2, offset=at)) for at in (0, 2, 4, 6)]
        assert pages == [["6", "5"], ["4", "3"], ["2", "1"], ["0"]]


async def test_embedding_that_fails_fails_its_request_alone(serve: Serve) -> None:
    async with serve(index={"embed": _EMBED, "dims": 4}) as sdk:
        texts = ("apple", "out of order", "pear")
        bodies = [_put("n", key=text, value={"text": text}) for text in texts]
        responses = await asyncio.gather(*(sdk.http.client.put(_ITEMS, json=body) for body in bodies))
        assert [response.status_code for response in responses] == [204, 500, 204]
        assert "out of order" not in responses[1].text
        assert sorted(await _keys(sdk.store.search_items(["n"], query="fruit"))) == ["apple", "pear"]


async def test_embedding_of_another_length_is_refused(serve: Serve) -> None:
    async with serve(index={"embed": _EMBED, "dims": 3}) as sdk:
        response = await sdk.http.client.put(_ITEMS, json=_put("n", value={"text": "apple"}))
        assert (response.status_code, response.json()["detail"]) == (
            500,
            "store.index: the embedding has 4 dimensions, not 3.",
        )
        assert await sdk.store.get_item(["n"], "k") is None


async def test_embedding_may_be_in_a_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "embedding_in_a_file.py").write_text("from tests.api.remembering import embed as by_file\n")
    async with serve(index={"embed": "./embedding_in_a_file.py:by_file", "dims": 4}) as sdk:
        await sdk.store.put_item(["n"], "fruit", {"text": "apple pear"})
        assert await _keys(sdk.store.search_items(["n"], query="apple")) == ["fruit"]


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ({"path": "./mine.py:store"}, "store.path: only the built-in store is supported."),
        ({"indexes": {}}, "store.indexes: Extra inputs are not permitted."),
        ({"ttl": {"default_ttl": "long"}}, "store.ttl.default_ttl: Input should be a valid number"),
        ({"ttl": {"sweep_interval_minutes": 0}}, "store.ttl.sweep_interval_minutes: Input should be greater than 0"),
        ({"index": {"dims": 4}}, "store.index.embed: Field required."),
        ({"index": {"embed": _EMBED, "dims": 0}}, "store.index.dims: Input should be greater than 0"),
        ({"index": {"embed": "tests.api.remembering:absent"}}, "tests.api.remembering has no attribute 'absent'"),
        ({"index": {"embed": "tests.api.remembering:number"}}, "is a int, neither Embeddings nor a function"),
        ({"index": {"embed": "./absent.py:embed"}}, "importing ./absent.py failed: FileNotFoundError"),
        ({"index": {"embed": "openai:text-embedding-3-small"}}, "names no attribute of a module, nor a model: "),
        ({"index": {"embed": "no_such_module:embed"}}, "names no attribute of a module, nor a model: "),
        ({"index": {"embed": "embed"}}, "names no attribute of a module, nor a model: "),
    ],
)
async def test_section_that_cannot_be_used_stops_the_start(
    configured: Callable[..., Settings], store: Any, told: str
) -> None:
    app = create_app(configured(**store))
    with pytest.raises(ConfigError) as error:
        async with app.router.lifespan_context(app):
            pytest.fail("it started")
    assert told in error.value.message


@pytest.mark.parametrize("store", [None, {"index": None, "ttl": None}])
async def test_section_may_be_empty(tmp_path: Path, store: Any) -> None:
    app = create_app(_configure(tmp_path, store))
    async with app.router.lifespan_context(app):
        assert await app.state.threadline.registry.store.aget(("n",), "k") is None
