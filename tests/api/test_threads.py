"""Threads, their states and history, with the stock client of the LangGraph API."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import APIStatusError

from api.threads import path_steps
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate

NOBODYS = "8d3a9b5e-7c52-4f0c-9d5e-0b7b1c1f6a11"
"""The id of no thread."""

_NO_GRAPH = "has no assigned graph ID"


Sdk = Any
"""The stock client; its annotations say less than it takes and gives."""


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[Sdk]:
    """The stock client of a server with default settings."""
    async with _stock(client) as sdk:
        yield sdk


def _stock(client: Client) -> Sdk:
    return get_client(url=str(client.base_url))


async def _ran(sdk: Sdk, graph: str = "steps", **options: Any) -> str:
    """A thread after a run of a graph, by default `steps` with the number 2."""
    thread_id: str = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread_id, graph, input={"number": 2}, **options)
    return thread_id


async def _waiting(sdk: Sdk) -> str:
    """A thread whose run waits for a human."""
    thread_id: str = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread_id, "approval", input={"messages": [{"role": "user", "content": "pay"}]})
    return thread_id


def _detail(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert body["detail"] == body["error"]["message"]
    return response.status_code, body["detail"]


# Records


async def test_new_thread(sdk: Sdk) -> None:
    thread: Any = await sdk.threads.create(metadata={"user": "ann"}, graph_id="steps")

    created = thread["created_at"]
    assert thread == {
        "thread_id": str(uuid.UUID(thread["thread_id"])),
        "created_at": created,
        "updated_at": created,
        "state_updated_at": created,
        "metadata": {"user": "ann", "graph_id": "steps"},
        "status": "idle",
        "config": {},
        "values": None,
    }
    assert await sdk.threads.get(thread["thread_id"]) == thread


async def test_thread_with_a_given_id(sdk: Sdk) -> None:
    key = str(uuid.uuid4())
    thread = await sdk.threads.create(thread_id=key.upper(), metadata={"first": 1})

    assert thread["thread_id"] == key
    with pytest.raises(APIStatusError, match=f"Thread with ID {key} already exists") as refused:
        await sdk.threads.create(thread_id=key)
    assert refused.value.status_code == 409
    assert await sdk.threads.create(thread_id=key, if_exists="do_nothing", metadata={"second": 2}) == thread


async def test_metadata_that_belongs_to_the_server_is_left_out(sdk: Sdk) -> None:
    thread = await sdk.threads.create(metadata={"thread_id": "x", "run_id": "y", "assistant_id": "z", "mine": 1})
    assert thread["metadata"] == {"mine": 1}
    assert (await sdk.threads.update(thread["thread_id"], metadata={"assistant_id": "z"}))["metadata"] == {"mine": 1}


async def test_patch_merges_metadata(sdk: Sdk) -> None:
    thread = await sdk.threads.create(metadata={"a": 1, "b": {"c": 2}})

    changed = await sdk.threads.update(thread["thread_id"], metadata={"b": {"d": 3}, "e": None})

    assert changed["metadata"] == {"a": 1, "b": {"d": 3}, "e": None}
    assert changed["updated_at"] > thread["updated_at"]
    assert await sdk.threads.update(thread["thread_id"], metadata={"f": 1}, return_minimal=True) is None
    assert (await sdk.threads.get(thread["thread_id"]))["metadata"]["f"] == 1


async def test_run_shows_on_the_record(sdk: Sdk) -> None:
    thread: Any = await sdk.threads.get(await _ran(sdk))

    assert (thread["status"], thread["values"]) == ("idle", {"number": 2, "doubled": 4, "trail": ["double"]})
    assert (thread["error"], thread["interrupts"]) == (None, {})
    assert thread["metadata"]["graph_id"] == "steps"
    assert thread["state_updated_at"] > thread["created_at"]


async def test_interrupt_shows_on_the_record_by_its_task(sdk: Sdk) -> None:
    thread_id = await _waiting(sdk)
    thread, state = await sdk.threads.get(thread_id), await sdk.threads.get_state(thread_id)

    [task] = state["tasks"]
    [interrupt] = thread["interrupts"][task["id"]]
    assert thread["status"] == "interrupted"
    assert (interrupt["id"], interrupt["value"]) == (task["interrupts"][0]["id"], {"question": "Transfer 5?"})


async def test_failed_run_shows_on_the_record(sdk: Sdk) -> None:
    thread_id: str = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread_id, "steps", input={"number": -1}, raise_error=False)

    thread: Any = await sdk.threads.get(thread_id)
    assert (thread["status"], thread["error"]["error"]) == ("error", "ArithmeticError")
    [task] = (await sdk.threads.get_state(thread_id))["tasks"]
    assert task["error"] == "ArithmeticError('An internal error occurred')"


async def test_deleted_thread_is_gone(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    await sdk.threads.delete(thread_id)

    for gone in (sdk.threads.get, sdk.threads.get_state, sdk.threads.get_history, sdk.threads.delete):
        with pytest.raises(APIStatusError, match=f"Thread with ID {thread_id} not found") as refused:
            await gone(thread_id)
        assert refused.value.status_code == 404
    await sdk.threads.create(thread_id=thread_id, graph_id="steps")
    assert await sdk.threads.get_history(thread_id) == []


async def test_deleting_a_busy_thread_cancels_its_runs(sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    with gate("deleted") as held:
        for text in ("deleted", "waits"):
            message = {"role": "user", "content": text}
            await sdk.runs.create(thread_id, "gated", input={"messages": [message]}, multitask_strategy="enqueue")
        await held.reached.wait()
        await sdk.threads.delete(thread_id)
        assert held.cancelled.is_set()
    with pytest.raises(APIStatusError, match="not found"):
        await sdk.threads.get(thread_id)


_REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/threads", {"thread_id": "nonsense"}, 422, "Invalid thread ID: must be a UUID"),
    ("POST", "/threads", {"thread_id": 7}, 422, "thread_id"),
    ("POST", "/threads", {"metadata": "text"}, 422, "metadata"),
    ("POST", "/threads", {"if_exists": "nonsense"}, 422, "if_exists"),
    ("POST", "/threads", {"ttl": 60}, 422, "ttl"),
    ("POST", "/threads", {"ttl": {"ttl": 1, "strategy": "nonsense"}}, 422, "ttl.strategy"),
    ("POST", "/threads", {"supersteps": [{"updates": [{}]}]}, 422, "supersteps.0.updates.0.as_node"),
    ("POST", "/threads", [], 422, "body"),
    ("POST", "/threads", b"{", 422, "Invalid JSON in request body"),
    ("PATCH", "/threads/nonsense", {}, 422, "Invalid thread ID: must be a UUID"),
    ("PATCH", f"/threads/{NOBODYS}", {}, 404, "Not Found"),
    ("GET", "/threads/nonsense", None, 422, "Invalid thread ID: must be a UUID"),
    ("DELETE", "/threads/nonsense", None, 422, "Invalid thread ID: must be a UUID"),
    ("POST", "/threads/search", {"limit": 0}, 422, "limit"),
    ("POST", "/threads/search", {"limit": 1001}, 422, "limit"),
    ("POST", "/threads/search", {"offset": -1}, 422, "offset"),
    ("POST", "/threads/search", {"status": "nonsense"}, 422, "status"),
    ("POST", "/threads/search", {"sort_by": "nonsense"}, 422, "sort_by"),
    ("POST", "/threads/search", {"select": ["nonsense"]}, 422, "select"),
    ("POST", "/threads/search", {"ids": ["nonsense"]}, 400, "Invalid thread ID nonsense"),
    ("POST", "/threads/search", {"extract": {"status": "values.a"}}, 422, "reserved field names: ['status']"),
    ("POST", "/threads/search", {"extract": {"a b": "values.a"}}, 422, "'a b' must be a valid identifier"),
    ("POST", "/threads/search", {"extract": {"a": ""}}, 422, "'a' must be a non-empty string"),
    ("POST", "/threads/search", {"extract": {"a": "status"}}, 422, "config, interrupts, metadata, values"),
    ("POST", "/threads/search", {"extract": {f"a{n}": "values.a" for n in range(11)}}, 422, "extract"),
    ("POST", "/threads/count", {"status": "nonsense"}, 422, "status"),
    ("POST", "/threads/prune", {}, 422, "thread_ids"),
    ("POST", "/threads/prune", {"thread_ids": ["nonsense"]}, 422, "Invalid thread ID: must be a UUID"),
    ("POST", "/threads/prune", {"thread_ids": [], "strategy": "nonsense"}, 422, "strategy"),
    ("POST", f"/threads/{NOBODYS}/copy", None, 409, "Conflict"),
    ("POST", "/threads/nonsense/copy", None, 400, "badly formed hexadecimal UUID string"),
    ("GET", f"/threads/{NOBODYS}/storage", None, 501, "Checkpoint storage is only reported"),
    ("GET", f"/threads/{NOBODYS}/state", None, 404, f"Thread with ID {NOBODYS} not found"),
    ("POST", f"/threads/{NOBODYS}/state", {"values": {}}, 404, f"Thread with ID {NOBODYS} not found"),
    ("GET", f"/threads/{NOBODYS}/history", None, 404, f"Thread with ID {NOBODYS} not found"),
    ("POST", f"/threads/{NOBODYS}/history", {}, 404, f"Thread with ID {NOBODYS} not found"),
    ("GET", "/threads/nonsense/state", None, 422, "Invalid thread ID: must be a UUID"),
    ("GET", "/threads/nonsense/history", None, 422, "Invalid thread ID: must be a UUID"),
    ("GET", f"/threads/{NOBODYS}/history?limit=some", None, 422, "Invalid limit some"),
    ("POST", f"/threads/{NOBODYS}/history", {"limit": 0}, 422, "limit"),
    ("POST", f"/threads/{NOBODYS}/history", {"before": "text"}, 422, "before"),
    ("POST", f"/threads/{NOBODYS}/state", {"values": "text"}, 422, "values"),
    ("POST", f"/threads/{NOBODYS}/state", {"as_node": 7}, 422, "as_node"),
    ("POST", f"/threads/{NOBODYS}/state", {"checkpoint": "text"}, 422, "checkpoint"),
    ("POST", f"/threads/{NOBODYS}/state/checkpoint", {}, 422, "checkpoint"),
]


async def test_what_is_wrong_is_refused(client: Client) -> None:
    for method, path, body, status, detail in _REFUSED:
        sent = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        found = _detail(await client.request(method, path, **sent))
        assert found[0] == status, (method, path, body, found)
        assert detail in found[1], (method, path, body, found)


# Searches


async def _three(sdk: Sdk) -> list[str]:
    """Threads of kinds a, b and a; the second has run, the third waits."""
    threads = [await sdk.threads.create(metadata={"kind": kind, "of": "three"}) for kind in "aba"]
    ids = [thread["thread_id"] for thread in threads]
    await sdk.runs.wait(ids[1], "steps", input={"number": 4})
    await sdk.runs.wait(ids[2], "approval", input={"messages": [{"role": "user", "content": "pay"}]})
    return ids


async def test_search_finds_by_what_is_asked_for(sdk: Sdk) -> None:
    one, two, three = await _three(sdk)
    await sdk.threads.create()

    async def found(**query: Any) -> list[str]:
        return [thread["thread_id"] for thread in await sdk.threads.search(**query)]

    assert await found(metadata={"of": "three"}) == [three, two, one]
    assert await found(metadata={"kind": "a"}) == [three, one]
    assert await found(values={"number": 4}) == [two]
    assert await found(status="interrupted") == [three]
    assert await found(metadata={"of": "three"}, status="idle") == [two, one]
    assert await found(ids=[one, three, NOBODYS]) == [three, one]
    assert await found(ids=[one, two, three], sort_by="created_at", sort_order="asc") == [one, two, three]
    assert await found(metadata={"of": "three"}, sort_by="status", sort_order="desc") == [three, one, two]
    assert await found(metadata={"of": "three"}, limit=1, offset=1) == [two]
    assert await sdk.threads.count() == 4
    assert await sdk.threads.count(metadata={"kind": "a"}) == 2
    assert await sdk.threads.count(values={"number": 4}) == 1
    assert await sdk.threads.count(metadata={"kind": "a"}, status="interrupted") == 1


async def test_pages_say_how_many_there_are(client: Client, sdk: Sdk) -> None:
    for _ in range(5):
        await sdk.threads.create()

    async def page(**query: Any) -> tuple[int, str | None, str]:
        response = await client.post("/threads/search", json=query)
        headers = response.headers
        return len(response.json()), headers.get("x-pagination-next"), headers["x-pagination-total"]

    assert await page(limit=2) == (2, "2", "5")
    assert await page(limit=2, offset=2) == (2, "4", "5")
    assert await page(limit=2, offset=4) == (1, None, "5")
    assert await page(limit=5) == (5, None, "5")
    assert await page(offset=9) == (0, None, "5")


async def test_parts_of_what_is_found(sdk: Sdk) -> None:
    one, two, three = await _three(sdk)
    extract = {"number": "values.number", "kind": "metadata.kind", "last": "values.messages[-1].type"}

    found: Any = await sdk.threads.search(
        ids=[one, two, three],
        sort_by="created_at",
        sort_order="asc",
        select=["thread_id", "interrupts"],
        extract=extract,
    )

    assert found[:2] == [
        {"thread_id": one, "extracted": {"number": None, "kind": "a", "last": None}},
        {"thread_id": two, "interrupts": {}, "extracted": {"number": 4, "kind": "b", "last": None}},
    ]
    assert found[2]["extracted"] == {"number": None, "kind": "a", "last": "ai"}
    assert set(found[2]) == {"thread_id", "interrupts", "extracted"}


_DOCUMENTS = st.recursive(
    st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_1", min_size=1), inner, max_size=3),
    max_leaves=12,
)


def _places(document: Any, path: str) -> list[tuple[str, Any]]:
    here = [(path, document)]
    if isinstance(document, dict):
        return here + [place for key in document for place in _places(document[key], f"{path}.{key}")]
    if isinstance(document, list):
        both = [(at, f"{path}[{at}]") for at in range(-len(document), len(document))]
        return here + [place for at, there in both for place in _places(document[at], there)]
    return here


@given(document=_DOCUMENTS)
def test_every_place_has_a_path(document: Any) -> None:
    for path, value in _places(document, ""):
        steps, at = path_steps(path), document
        assert steps is not None
        for step in steps:
            at = at[step]
        assert at is value


async def test_paths_lead_to_what_is_there_and_to_nothing_else(sdk: Sdk) -> None:
    document = {"b": [1, 2.5, True, None, 0.30000000000000004, 1 << 60], "c d": {"e": "f\u00e9"}, "": 1}
    thread = (await sdk.threads.create(metadata={"a": document}))["thread_id"]
    there = {
        "a": document,
        "a.b": document["b"],
        "a..b[0]": 1,
        "a.b[1]": 2.5,
        "a.b[2]": True,
        "a.b[3]": None,
        "a.b[-2]": 0.30000000000000004,
        "a.b[-1]": 1 << 60,
        "a.c d": {"e": "f\u00e9"},
        "a.c d.e": "f\u00e9",
        "": {"a": document},
    }
    nowhere = ["a.c", "a[0]", "a.b[9]", "a.b[-7]", "a.b.0", "a.b[x]", "a.b[0].d", "b", "a.b[0", "a.b[]"]
    wanted = [*there.items(), *((path, None) for path in [*nowhere, "a.b[99999999999]"])]
    for path, value in wanted:
        found: Any = await sdk.threads.search(extract={"it": f"metadata.{path}"}, ids=[thread])
        assert found[0]["extracted"] == {"it": value}, path


# Copies and prunes


async def test_copy_goes_its_own_way(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    await sdk.threads.update(thread_id, metadata={"mine": 1})
    before = [await sdk.threads.get_state(thread_id), await sdk.threads.get_history(thread_id)]

    copied: Any = await sdk.threads.copy(thread_id)

    copy_id = copied["thread_id"]
    assert copy_id != thread_id
    assert copied["metadata"] == (await sdk.threads.get(thread_id))["metadata"]
    assert await sdk.runs.list(copy_id) == []
    states = await sdk.threads.get_history(copy_id)
    assert [state["values"] for state in states] == [state["values"] for state in before[1]]
    assert {state["checkpoint"]["thread_id"] for state in states} == {copy_id}
    assert {state["metadata"]["thread_id"] for state in states} == {copy_id}
    await sdk.runs.wait(copy_id, "steps", input={"number": 7})
    await sdk.threads.delete(copy_id)
    assert [await sdk.threads.get_state(thread_id), await sdk.threads.get_history(thread_id)] == before


async def test_copy_of_a_thread_that_waits_can_be_resumed(sdk: Sdk) -> None:
    thread_id = await _waiting(sdk)
    copy_id = (await sdk.threads.copy(thread_id))["thread_id"]

    resumed: Any = await sdk.runs.wait(copy_id, "approval", command={"resume": "yes"})

    assert resumed["messages"][-1]["content"] == "Done: transferred 5: yes."
    assert (await sdk.threads.get(thread_id))["status"] == "interrupted"
    assert (await sdk.threads.get_state(thread_id))["next"] == ["tools"]


async def test_copy_of_an_empty_thread(sdk: Sdk) -> None:
    thread = await sdk.threads.create(metadata={"mine": 1})
    copied = await sdk.threads.copy(thread["thread_id"])
    assert copied["metadata"] == {"mine": 1}
    assert await sdk.threads.get_history(copied["thread_id"]) == []


async def test_prune_deletes(sdk: Sdk) -> None:
    one, two, three = [(await sdk.threads.create())["thread_id"] for _ in range(3)]

    assert await sdk.threads.prune([one, NOBODYS]) == {"pruned_count": 1}
    assert await sdk.threads.prune([two, one], strategy="delete") == {"pruned_count": 1}
    assert await sdk.threads.prune([]) == {"pruned_count": 0}
    assert [thread["thread_id"] for thread in await sdk.threads.search()] == [three]


async def test_prune_to_the_latest_keeps_the_state(sdk: Sdk) -> None:
    thread_id = await _waiting(sdk)
    state = await sdk.threads.get_state(thread_id)

    assert await sdk.threads.prune([thread_id, NOBODYS], strategy="keep_latest") == {"pruned_count": 1}

    assert await sdk.threads.get_history(thread_id) == [state]
    resumed: Any = await sdk.runs.wait(thread_id, "approval", command={"resume": "yes"})
    assert resumed["messages"][-1]["content"] == "Done: transferred 5: yes."


async def test_busy_thread_is_not_pruned_to_the_latest(sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    with gate("pruned") as held:
        await sdk.runs.create(thread_id, "gated", input={"messages": [{"role": "user", "content": "pruned"}]})
        await held.reached.wait()
        assert await sdk.threads.prune([thread_id], strategy="keep_latest") == {"pruned_count": 0}
        held.released.set()


# Threads that expire


async def _until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not await true():
            pass


async def test_thread_expires(client: Client, sdk: Sdk) -> None:
    gone = (await sdk.threads.create(ttl=0))["thread_id"]
    later: Any = await sdk.threads.create(ttl=60)

    async def is_gone() -> bool:
        return (await client.get(f"/threads/{gone}")).status_code == 404

    await _until(is_gone)
    ttl: Any = (await sdk.threads.get(later["thread_id"], include=["ttl"]))["ttl"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("delete", 60)
    assert ttl["expires_at"] > later["created_at"]
    assert "ttl" not in await sdk.threads.get(later["thread_id"])


async def test_busy_thread_does_not_expire(client: Client, sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    other = (await sdk.threads.create())["thread_id"]
    with gate("expires") as held:
        message = {"role": "user", "content": "expires"}
        run = await sdk.runs.create(thread_id, "gated", input={"messages": [message]})
        await held.reached.wait()
        for each in (thread_id, other):
            await sdk.threads.update(each, metadata={}, ttl=0)

        async def other_is_gone() -> bool:
            return (await client.get(f"/threads/{other}")).status_code == 404

        await _until(other_is_gone)
        assert (await sdk.threads.get(thread_id))["status"] == "busy"
        held.released.set()
        await sdk.runs.join(thread_id, run["run_id"])


async def test_expired_thread_may_keep_its_latest_state(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    state = await sdk.threads.get_state(thread_id)
    await sdk.threads.update(thread_id, metadata={}, ttl={"ttl": 0, "strategy": "keep_latest"})

    async def is_pruned() -> bool:
        return "ttl" not in await sdk.threads.get(thread_id, include=["ttl"])

    await _until(is_pruned)
    assert await sdk.threads.get_history(thread_id) == [state]


async def test_what_expired_while_no_server_ran_goes_at_the_next_start(serve: Serve) -> None:
    with gate("stopped") as held:
        async with serve() as client, _stock(client) as sdk:
            thread_id = (await sdk.threads.create())["thread_id"]
            message = {"role": "user", "content": "stopped"}
            run = await sdk.runs.create(thread_id, "gated", input={"messages": [message]})
            await held.reached.wait()
            await sdk.threads.update(thread_id, metadata={}, ttl=0)
            held.released.set()
            await sdk.runs.join(thread_id, run["run_id"])
            assert (await sdk.threads.get(thread_id))["status"] == "idle"
    async with serve() as client:

        async def is_gone() -> bool:
            return (await client.get(f"/threads/{thread_id}")).status_code == 404

        await _until(is_gone)


# States


async def test_state_of_a_new_thread_is_empty(sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    empty: dict[str, Any] = {
        "values": {},
        "next": [],
        "tasks": [],
        "metadata": None,
        "created_at": None,
        "checkpoint": None,
        "parent_checkpoint": None,
        "interrupts": [],
        "checkpoint_id": None,
        "parent_checkpoint_id": None,
    }
    assert await sdk.threads.get_state(thread_id) == empty
    assert await sdk.threads.get_history(thread_id) == []


async def test_state_says_where_it_is(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    state: Any = await sdk.threads.get_state(thread_id)

    assert state["values"] == (await sdk.threads.get(thread_id))["values"]
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    assert state["checkpoint"] == {
        "checkpoint_id": state["checkpoint_id"],
        "thread_id": thread_id,
        "checkpoint_ns": "",
    }
    assert state["parent_checkpoint"]["checkpoint_id"] == state["parent_checkpoint_id"]
    assert {"thread_id", "graph_id", "run_id", "source", "step", "parents"} <= set(state["metadata"])


async def test_state_at_a_checkpoint(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    past: Any = (await sdk.threads.get_history(thread_id))[1]

    by_id: Any = await sdk.threads.get_state(thread_id, checkpoint_id=past["checkpoint_id"])
    by_checkpoint = await sdk.threads.get_state(thread_id, checkpoint=past["checkpoint"])
    latest = await sdk.threads.get_state(thread_id, checkpoint={"thread_id": thread_id})
    unknown: Any = await sdk.threads.get_state(thread_id, checkpoint_id=NOBODYS)

    assert by_checkpoint == past
    assert by_id["values"] == past["values"] == {"number": 2, "trail": []}
    assert (by_id["next"], by_id["tasks"][0]["result"]) == (["double"], {"doubled": 4, "trail": ["double"]})
    assert latest == await sdk.threads.get_state(thread_id)
    assert (unknown["values"], unknown["checkpoint"]["checkpoint_id"]) == ({}, NOBODYS)


async def test_state_of_a_graph_inside(sdk: Sdk) -> None:
    thread_id = await _ran(sdk, "outer")

    [place] = (await sdk.threads.get_state(thread_id))["tasks"]
    [task] = (await sdk.threads.get_state(thread_id, subgraphs=True))["tasks"]
    namespace = place["checkpoint"]["checkpoint_ns"]

    inner: Any = task["state"]
    assert (place["state"], task["checkpoint"]) == (None, None)
    assert (inner["next"], inner["checkpoint"]["checkpoint_ns"]) == (["ask"], namespace)
    assert inner["metadata"]["langgraph_node"] == "child"
    by_checkpoint: Any = await sdk.threads.get_state(thread_id, checkpoint=place["checkpoint"])
    assert by_checkpoint["checkpoint_id"] == inner["checkpoint_id"]
    history = await sdk.threads.get_history(thread_id, checkpoint=place["checkpoint"])
    assert [state["next"] for state in history] == [["ask"], ["__start__"]]


async def test_parts_of_a_state(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    [task] = [{"values": {"doubled": 4}, "next": []}]

    assert await sdk.threads.get_state(thread_id, select=["next", "values.doubled", "values.missing"]) == task
    assert await sdk.threads.get_history(thread_id, limit=1, select=["next", "values.doubled"]) == [task]
    whole = await sdk.threads.get_state(thread_id, select=["values", "values.doubled"])
    assert whole == {"values": {"number": 2, "doubled": 4, "trail": ["double"]}}


async def test_history_pages_and_filters(client: Client, sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    states: list[Any] = list(await sdk.threads.get_history(thread_id))

    assert [state["metadata"]["step"] for state in states] == [1, 0, -1]
    assert await sdk.threads.get_history(thread_id, limit=1) == states[:1]
    assert await sdk.threads.get_history(thread_id, before=states[0]["checkpoint"]) == states[1:]
    config: Any = {"configurable": {"checkpoint_id": states[1]["checkpoint_id"]}}
    assert await sdk.threads.get_history(thread_id, before=config) == states[2:]
    assert await sdk.threads.get_history(thread_id, metadata={"source": "input"}) == states[2:]
    assert await sdk.threads.get_history(thread_id, checkpoint=states[1]["checkpoint"]) == states[1:2]
    elsewhere: Any = {"checkpoint_ns": "nowhere"}
    assert await sdk.threads.get_history(thread_id, checkpoint=elsewhere) == []

    async def get(query: str) -> Any:
        return (await client.get(f"/threads/{thread_id}/history{query}")).json()

    assert await get("") == (await client.post(f"/threads/{thread_id}/history", json={})).json() == states[:1]
    assert await get("?limit=2") == states[:2]
    assert await get(f"?limit=5&before={states[0]['checkpoint_id']}") == states[1:]
    assert await get("?limit=0") == await get("?limit=-1") == []
    refused = await client.post(f"/threads/{thread_id}/history", json={"metadata": {"it's": 1}})
    assert _detail(refused)[0] == 400


async def test_the_output_of_a_runnable_is_its_state(client: Client, sdk: Sdk) -> None:
    run = await client.run("words")
    thread_id = run[0].data["thread_id"]
    assert (await sdk.threads.get_state(thread_id))["values"] == "<hi>"
    assert [state["values"] for state in await sdk.threads.get_history(thread_id)] == ["<hi>", None]
    assert (await sdk.threads.get(thread_id))["values"] == "<hi>"


async def test_graph_that_is_no_longer_served(client: Client, sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create(graph_id="nowhere"))["thread_id"]
    for response in (
        await client.get(f"/threads/{thread_id}/state"),
        await client.get(f"/threads/{thread_id}/history"),
        await client.post(f"/threads/{thread_id}/state", json={"values": {}}),
    ):
        status, detail = _detail(response)
        assert status == 404
        assert detail.startswith("Graph 'nowhere' not found. Expected one of: ['approval', 'chat', ")


# Updates


async def test_update_changes_state_and_record(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)

    changed: Any = await sdk.threads.update_state(thread_id, {"number": 100, "trail": ["by hand"]})

    state: Any = await sdk.threads.get_state(thread_id)
    assert changed == {
        "checkpoint": state["checkpoint"],
        "configurable": state["checkpoint"],
        "checkpoint_id": state["checkpoint_id"],
    }
    assert state["values"] == {"number": 100, "doubled": 4, "trail": ["double", "by hand"]}
    assert (state["metadata"]["source"], state["metadata"]["graph_id"]) == ("update", "steps")
    thread = await sdk.threads.get(thread_id)
    assert (thread["values"], thread["status"]) == (state["values"], "idle")


async def test_update_as_a_node_decides_what_is_next(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)

    await sdk.threads.update_state(thread_id, {"number": 5}, as_node="__start__")

    assert (await sdk.threads.get_state(thread_id))["next"] == ["double"]
    assert (await sdk.threads.get(thread_id))["status"] == "interrupted"
    after: Any = await sdk.runs.wait(thread_id, "steps", input=None)
    assert after["doubled"] == 10


async def test_update_in_place_of_an_answer_ends_the_waiting(sdk: Sdk) -> None:
    thread_id = await _waiting(sdk)
    [call] = (await sdk.threads.get_state(thread_id))["values"]["messages"][-1]["tool_calls"]
    result = {"type": "tool", "content": "no", "tool_call_id": call["id"]}

    await sdk.threads.update_state(thread_id, {"messages": [result]}, as_node="tools")

    thread: Any = await sdk.threads.get(thread_id)
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
    after: Any = await sdk.runs.wait(thread_id, "approval", input=None)
    assert after["messages"][-1]["content"] == "Done: no."


async def test_fork_at_a_checkpoint_as_studio_does(client: Client, sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    past: Any = (await sdk.threads.get_history(thread_id))[1]
    body = {"values": None, "as_node": "__copy__", "checkpoint_id": past["checkpoint_id"]}

    forked = (await client.post(f"/threads/{thread_id}/state", json=body)).json()

    state: Any = await sdk.threads.get_state(thread_id)
    assert state["checkpoint_id"] == forked["checkpoint_id"]
    assert (state["values"], state["next"], state["metadata"]["source"]) == (past["values"], ["double"], "fork")
    assert (await sdk.threads.get(thread_id))["values"] == past["values"]
    assert len(await sdk.threads.get_history(thread_id)) == 4
    after: Any = await sdk.runs.wait(thread_id, "steps", input=None)
    assert after["doubled"] == 4


async def test_update_at_a_checkpoint_branches_off(sdk: Sdk) -> None:
    thread_id = await _ran(sdk)
    past: Any = (await sdk.threads.get_history(thread_id))[1]

    await sdk.threads.update_state(thread_id, {"number": 50}, checkpoint=past["checkpoint"])

    state: Any = await sdk.threads.get_state(thread_id)
    assert state["parent_checkpoint_id"] == past["checkpoint_id"]
    assert state["values"] == (await sdk.threads.get(thread_id))["values"] == {"number": 50, "trail": []}


async def test_update_of_a_graph_inside(sdk: Sdk) -> None:
    thread_id = await _ran(sdk, "outer")
    [place] = (await sdk.threads.get_state(thread_id))["tasks"]

    await sdk.threads.update_state(thread_id, {"number": 3}, checkpoint=place["checkpoint"])

    [task] = (await sdk.threads.get_state(thread_id, subgraphs=True))["tasks"]
    assert task["state"]["values"] == {"number": 3, "trail": []}
    assert (await sdk.threads.get(thread_id))["values"] == {"number": 2, "trail": []}


async def test_graph_refuses_an_update_in_its_own_words(client: Client, sdk: Sdk) -> None:
    thread_id = await _ran(sdk)

    async def refused(body: Any) -> tuple[int, str]:
        return _detail(await client.post(f"/threads/{thread_id}/state", json=body))

    assert await refused({"values": {}, "as_node": "nowhere"}) == (400, "Node nowhere does not exist")
    status, detail = await refused({"values": [{"number": 1}]})
    assert (status, detail.startswith("Expected dict, got [{'number': 1}]")) == (400, True)
    body = {"as_node": "__copy__", "checkpoint": {"checkpoint_id": NOBODYS}}
    assert await refused(body) == (400, "Cannot copy a non-existent checkpoint")
    assert (await sdk.threads.get(thread_id))["values"] == {"number": 2, "doubled": 4, "trail": ["double"]}


async def test_update_without_a_graph_is_refused(client: Client, sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    status, detail = _detail(await client.post(f"/threads/{thread_id}/state", json={"values": {}}))
    assert status == 400
    assert f"'{thread_id}' {_NO_GRAPH}" in detail
    await sdk.threads.update(thread_id, metadata={"graph_id": "steps"})
    await sdk.threads.update_state(thread_id, {"number": 1}, as_node="__start__")
    assert (await sdk.threads.get_state(thread_id))["next"] == ["double"]


async def test_busy_thread_is_not_updated(client: Client, sdk: Sdk) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    with gate("updated") as held:
        message = {"role": "user", "content": "updated"}
        run = await sdk.runs.create(thread_id, "gated", input={"messages": [message]})
        await held.reached.wait()
        response = await client.post(f"/threads/{thread_id}/state", json={"values": {"messages": []}})
        held.released.set()
        await sdk.runs.join(thread_id, run["run_id"])
    assert _detail(response) == (409, f"Thread {thread_id} has in-flight runs: ['{run['run_id']}']")


async def test_new_thread_begins_with_supersteps(sdk: Sdk) -> None:
    supersteps: Any = [
        {"updates": [{"values": {"number": 3}, "as_node": "__input__"}]},
        {"updates": [{"values": {"number": 3}, "as_node": "__start__"}]},
        {"updates": [{"values": None, "command": {"update": {"doubled": 6}}, "as_node": "double"}]},
    ]

    thread: Any = await sdk.threads.create(graph_id="steps", supersteps=supersteps)

    assert (thread["values"], thread["status"]) == ({"number": 3, "doubled": 6, "trail": []}, "idle")
    assert [state["next"] for state in await sdk.threads.get_history(thread["thread_id"])] == [
        [],
        ["double"],
        ["__start__"],
    ]


async def test_supersteps_that_cannot_be_applied(client: Client) -> None:
    steps = [{"updates": [{"values": {}, "as_node": "double"}]}]

    without_graph = await client.post("/threads", json={"thread_id": NOBODYS, "supersteps": steps})
    body = {"metadata": {"graph_id": "steps"}, "supersteps": [{"updates": [{"values": {}, "as_node": "nowhere"}]}]}
    wrong = await client.post("/threads", json=body)

    assert without_graph.status_code == 201
    detail = without_graph.json()["detail"]
    assert detail.startswith(f"Thread {NOBODYS} was created, but there were problems updating the state: ")
    assert _NO_GRAPH in detail
    assert (await client.get(f"/threads/{NOBODYS}")).status_code == 200
    assert _detail(wrong) == (400, "Node nowhere does not exist")


# Both kinds of client, and restarts


async def test_sync_client_does_the_same(client: Client) -> None:
    await asyncio.to_thread(_with_sync_client, str(client.base_url))


def _with_sync_client(url: str) -> None:
    client: Sdk = get_sync_client(url=url)
    with client as sdk:
        thread_id = sdk.threads.create(metadata={"user": "ann"}, ttl=60)["thread_id"]
        sdk.runs.wait(thread_id, "steps", input={"number": 2})
        sdk.threads.update_state(thread_id, {"number": 3})
        sdk.threads.update(thread_id, metadata={"tier": 1})
        [found] = sdk.threads.search(metadata={"tier": 1}, values={"number": 3})
        assert found["thread_id"] == thread_id
        assert sdk.threads.count(metadata={"user": "ann"}) == 1
        assert "ttl" in sdk.threads.get(thread_id, include=["ttl"])
        states = sdk.threads.get_history(thread_id, limit=2)
        assert sdk.threads.get_state(thread_id) == states[0]
        assert sdk.threads.get_state(thread_id, checkpoint=states[1]["checkpoint"]) == states[1]
        copied = sdk.threads.copy(thread_id)["thread_id"]
        assert sdk.threads.get_state(copied)["values"] == states[0]["values"]
        assert sdk.threads.prune([thread_id], strategy="keep_latest") == {"pruned_count": 1}
        sdk.threads.delete(thread_id)
        assert [thread["thread_id"] for thread in sdk.threads.search()] == [copied]


async def test_threads_outlive_the_server(serve: Serve) -> None:
    async with serve() as client, _stock(client) as sdk:
        thread_id = await _ran(sdk)
        await sdk.threads.update_state(thread_id, {"number": 9})
        before = [await sdk.threads.get(thread_id), await sdk.threads.get_history(thread_id)]
    async with serve() as client, _stock(client) as sdk:
        assert [await sdk.threads.get(thread_id), await sdk.threads.get_history(thread_id)] == before
