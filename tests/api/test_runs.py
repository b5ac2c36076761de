"""Runs of the LangGraph API, driven by the stock SDK: options, resumption, cancelling, several on one thread."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from api.runs import Runs
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    """The SDK, pointed at a server."""
    async with get_client(url=str(client.base_url)) as started:
        yield started


def _thread() -> str:
    return str(uuid.uuid4())


async def _held(sdk: LangGraphClient, text: str, **options: Any) -> dict[str, Any]:
    """A background run of `gated` on a new thread."""
    body = {"input": {"messages": text}, "if_not_exists": "create", **options}
    thread_id = body.pop("thread_id", _thread())
    return dict(await sdk.runs.create(thread_id, "gated", **body))


async def test_stream_gives_the_modes_asked_for(sdk: LangGraphClient) -> None:
    modes = ["values", "updates", "messages-tuple", "custom", "debug", "tasks", "checkpoints", "events"]
    seen = set()
    async for part in sdk.runs.stream(
        _thread(), "inner", input={"messages": "hi"}, stream_mode=modes, if_not_exists="create"
    ):
        seen.add(part.event)
    assert seen >= {"metadata", "values", "updates", "messages", "debug", "tasks", "checkpoints", "events"}


async def test_messages_accumulate(sdk: LangGraphClient) -> None:
    partial = [
        part.data[0]["content"]
        async for part in sdk.runs.stream(None, "chat", input={"messages": "hi"}, stream_mode="messages")
        if part.event == "messages/partial"
    ]
    assert partial[0] == "Hello, "
    assert partial[-1] == "Hello, this is turn 1."
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(partial))


async def test_resumable_stream_is_cut_anywhere_and_resumed(client: Client) -> None:
    body = {
        "assistant_id": "inner",
        "input": {"messages": "hi"},
        "stream_mode": ["messages-tuple", "values"],
        "stream_resumable": True,
        "if_not_exists": "create",
    }
    response = await client.post(f"/threads/{_thread()}/runs/stream", json=body)
    location, whole = response.headers["location"], response.content
    blocks = whole.split(b"\r\n\r\n")[:-1]
    ids = [block.rsplit(b"id: ", 1)[1] for block in blocks]
    assert len(set(ids)) == len(ids) > 10
    for at, last in enumerate(ids, 1):
        rest = await client.get(location, headers={"Last-Event-ID": last.decode()})
        assert rest.content == b"".join(block + b"\r\n\r\n" for block in blocks[at:])
    assert (await client.get(location, headers={"Last-Event-ID": "-1"})).content == whole


async def test_join_filters_by_mode(client: Client, sdk: LangGraphClient) -> None:
    run = await sdk.runs.create(
        _thread(),
        "inner",
        input={"messages": "hi"},
        stream_mode=["messages-tuple", "values", "updates"],
        if_not_exists="create",
    )
    await sdk.runs.join(run["thread_id"], run["run_id"])
    for modes, kinds in (("updates", {"updates"}), (["messages-tuple", "values"], {"messages", "values"})):
        stream = sdk.runs.join_stream(run["thread_id"], run["run_id"], stream_mode=modes, last_event_id="-1")
        assert {part.event async for part in stream} == kinds


async def test_ids_of_the_references_form_are_cursors(client: Client) -> None:
    body = {"assistant_id": "inner", "input": {"messages": "hi"}, "stream_resumable": True, "if_not_exists": "create"}
    response = await client.post(f"/threads/{_thread()}/runs/stream", json=body)
    location, whole = response.headers["location"], response.content
    rest = whole.split(b"\r\n\r\n", 1)[1]
    for cursor, content in (("0-0", whole), ("-", whole), ("1-0", rest), ("1796000000000-0", b"")):
        answer = await client.get(location, headers={"Last-Event-ID": cursor})
        assert (answer.status_code, answer.content) == (200, content), cursor
    for cursor in ("1-", "-1-0", "1-a", "x", "1 - 0", "9" * 19):
        assert (await client.get(location, headers={"Last-Event-ID": cursor})).status_code == 400, cursor


async def test_wait_tells_the_error_and_the_interrupt(sdk: LangGraphClient) -> None:
    failed = await sdk.runs.wait(None, "steps", input={"number": -1}, raise_error=False)
    assert failed == {"__error__": {"error": "ArithmeticError", "message": "An internal error occurred"}}
    thread_id = _thread()
    waiting = await sdk.runs.wait(thread_id, "approval", input={"messages": "pay"}, if_not_exists="create")
    assert waiting["__interrupt__"][0]["value"] == {"question": "Transfer 5?"}
    assert (await sdk.threads.get(thread_id))["status"] == "interrupted"
    done = await sdk.runs.wait(thread_id, "approval", command={"resume": "yes"})
    assert done["messages"][-1]["content"] == "Done: transferred 5: yes."


async def test_static_interrupt_stops_and_goes_on(sdk: LangGraphClient) -> None:
    thread_id = _thread()
    before = await sdk.runs.wait(
        thread_id, "inner", input={"messages": "hi"}, interrupt_before=["tools"], if_not_exists="create"
    )
    assert before["messages"][-1]["tool_calls"][0]["name"] == "ask_model"
    assert (await sdk.threads.get(thread_id))["status"] == "interrupted"
    after = await sdk.runs.wait(thread_id, "inner", input=None)
    assert after["messages"][-1]["content"] == "The reply is in."


async def test_command_updates_and_goes_to_a_node(sdk: LangGraphClient) -> None:
    thread_id = _thread()
    await sdk.runs.wait(thread_id, "chat", input={"messages": "hi"}, if_not_exists="create")
    command = {"update": {"messages": [{"role": "user", "content": "again"}]}, "goto": "respond"}
    state = await sdk.runs.wait(thread_id, "chat", command=command)
    assert state["messages"][-1]["content"] == "Hello, this is turn 2."


async def test_command_that_goes_to_too_many_nodes_is_refused(client: Client) -> None:
    """LangGraph looks at all of them on the event loop."""
    body = {"assistant_id": "chat", "command": {"goto": ["respond"] * 1001}, "if_not_exists": "create"}
    refused = await client.post(f"/threads/{_thread()}/runs/wait", json=body)
    assert refused.status_code == 422
    assert "1000 nodes at most" in refused.json()["detail"]


async def test_config_context_and_metadata_reach_the_run(sdk: LangGraphClient) -> None:
    thread_id = _thread()
    state = await sdk.runs.wait(
        thread_id,
        "chat",
        input={"messages": "hi"},
        context={"greeting": "Ahoy"},
        metadata={"colour": "blue"},
        if_not_exists="create",
    )
    assert state["messages"][-1]["content"].startswith("Ahoy, ")
    (run,) = await sdk.runs.list(thread_id)
    assert run["metadata"]["colour"] == "blue"
    assert (await sdk.threads.get(thread_id))["metadata"]["graph_id"] == "chat"


async def test_stateless_run_leaves_nothing(client: Client, sdk: LangGraphClient) -> None:
    response = await client.post("/runs/stream", json={"assistant_id": "chat", "input": {"messages": "hi"}})
    assert response.headers["location"] == f"{response.headers['content-location']}/stream"
    run_id = response.headers["content-location"].rsplit("/", 1)[1]
    body = {"assistant_id": "gated", "input": {"messages": "x"}, "on_completion": "keep"}
    kept = (await client.post("/runs", json=body)).json()
    await sdk.runs.join(kept["thread_id"], kept["run_id"])
    async with asyncio.timeout(10):
        while (await client.get(f"/runs/{run_id}/stream")).status_code != 404:
            pass
    assert (await client.get(f"/threads/{kept['thread_id']}")).status_code == 200


async def test_stateless_resumable_run_can_be_rejoined(client: Client) -> None:
    body = {"assistant_id": "chat", "input": {"messages": "hi"}, "stream_resumable": True}
    response = await client.post("/runs/stream", json=body)
    again = await client.get(response.headers["location"], headers={"Last-Event-ID": "1"})
    assert response.content.endswith(again.content)
    assert again.content


async def test_stateless_resumable_run_can_be_rejoined_while_another_process_starts_and_after_a_restart(
    serve: Serve,
) -> None:
    body = {"assistant_id": "chat", "input": {"messages": "hi"}, "stream_resumable": True}
    async with serve() as client:
        response = await client.post("/runs/stream", json=body)
        async with serve() as other:
            for each in (client, other):
                again = await each.get(response.headers["location"], headers={"Last-Event-ID": "1"})
                assert again.content
                assert response.content.endswith(again.content)
    async with serve() as client:
        again = await client.get(response.headers["location"], headers={"Last-Event-ID": "1"})
        assert response.content.endswith(again.content)
        assert again.content


async def test_what_a_stateless_run_of_an_earlier_process_left_goes_at_the_start(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as client:
        # As if the process had died before it deleted it.
        monkeypatch.setattr(Runs, "ended", lambda self, run: asyncio.sleep(0))
        response = await client.post("/runs/stream", json={"assistant_id": "chat", "input": {"messages": "hi"}})
        assert (await client.get(response.headers["location"])).status_code == 200
        monkeypatch.undo()
    async with serve() as client:
        assert (await client.get(response.headers["location"])).status_code == 404


async def test_thread_takes_runs_in_order(sdk: LangGraphClient) -> None:
    with gate("first") as held:
        first = await _held(sdk, "first")
        await held.reached.wait()
        thread_id = first["thread_id"]
        rest = [await _held(sdk, text, thread_id=thread_id) for text in ("second", "third")]
        assert (await sdk.runs.get(thread_id, rest[0]["run_id"]))["status"] == "pending"
        held.released.set()
        last = await sdk.runs.join(thread_id, rest[1]["run_id"])
    said = [message["content"] for message in last["messages"]]
    assert said == ["first", "released", "second", "released", "third", "released"]


async def test_reject_refuses_a_second_run(sdk: LangGraphClient) -> None:
    with gate("busy") as held:
        run = await _held(sdk, "busy")
        await held.reached.wait()
        with pytest.raises(ConflictError):
            await _held(sdk, "no", thread_id=run["thread_id"], multitask_strategy="reject")
        held.released.set()
        await sdk.runs.join(run["thread_id"], run["run_id"])


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_new_run_replaces_the_one_under_way(sdk: LangGraphClient, strategy: str) -> None:
    with gate("old") as held:
        old = await _held(sdk, "old")
        await held.reached.wait()
        thread_id = old["thread_id"]
        new = await _held(sdk, "new", thread_id=thread_id, multitask_strategy=strategy)
        values = await sdk.runs.join(thread_id, new["run_id"])
        assert held.cancelled.is_set()
    said = [message["content"] for message in values["messages"]]
    assert said == (["old", "new", "released"] if strategy == "interrupt" else ["new", "released"])


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_cancel_stops_a_run_and_frees_the_thread(sdk: LangGraphClient, action: Any, wait: bool) -> None:
    thread_id = _thread()
    await sdk.runs.wait(thread_id, "gated", input={"messages": "before"}, if_not_exists="create")
    with gate("held") as held:
        run = await _held(sdk, "held", thread_id=thread_id)
        await held.reached.wait()
        await sdk.runs.cancel(thread_id, run["run_id"], wait=wait, action=action)
        await asyncio.wait_for(held.cancelled.wait(), 10)
    after = await sdk.runs.wait(thread_id, "gated", input={"messages": "after"})
    said = [message["content"] for message in after["messages"]]
    kept = ["held"] if action == "interrupt" else []
    assert said == ["before", "released", *kept, "after", "released"]
    assert (await sdk.threads.get(thread_id))["status"] == "idle"


async def test_pending_run_is_cancelled_before_it_starts(sdk: LangGraphClient) -> None:
    run = await _held(sdk, "later", after_seconds=3600)
    await sdk.runs.cancel(run["thread_id"], run["run_id"], wait=True)
    assert (await sdk.runs.get(run["thread_id"], run["run_id"]))["status"] == "interrupted"
    with pytest.raises(NotFoundError):
        await sdk.runs.cancel(run["thread_id"], run["run_id"])


async def test_many_runs_are_cancelled_at_once(sdk: LangGraphClient) -> None:
    runs = [await _held(sdk, f"later {number}", after_seconds=3600) for number in range(3)]
    await sdk.runs.cancel_many(status="pending")
    statuses = [(await sdk.runs.get(run["thread_id"], run["run_id"]))["status"] for run in runs]
    assert statuses == ["interrupted"] * 3


async def test_hundred_resumes_of_one_interrupt_run_once(client: Client, sdk: LangGraphClient) -> None:
    thread_id = _thread()
    await sdk.runs.wait(thread_id, "approval", input={"messages": "pay"}, if_not_exists="create")
    body = {"assistant_id": "approval", "command": {"resume": "yes"}, "multitask_strategy": "reject"}
    answers = await asyncio.gather(*(client.post(f"/threads/{thread_id}/runs", json=body) for _ in range(100)))
    created = [answer.json() for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    for run in created:
        await sdk.runs.join(thread_id, run["run_id"])
    values = (await sdk.threads.get(thread_id))["values"]
    results = [message for message in values["messages"] if message["type"] == "tool"]
    assert [result["content"] for result in results] == ["transferred 5: yes"]


async def test_batch_creates_stateless_runs(client: Client) -> None:
    body = [{"assistant_id": "chat", "input": {"messages": "hi"}, "on_completion": "keep"} for _ in range(3)]
    created = (await client.post("/runs/batch", json=body)).json()
    assert len({run["thread_id"] for run in created}) == 3
    for run in created:
        values = (await client.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")).json()
        assert values["messages"][-1]["content"] == "Hello, this is turn 1."


async def test_runs_of_the_native_api_are_seen_here(client: Client, sdk: LangGraphClient) -> None:
    native = (await client.run("chat", "hi"))[0].data
    (run,) = await sdk.runs.list(native["thread_id"])
    assert (run["run_id"], run["status"]) == (native["run_id"], "success")
    values = await sdk.runs.join(native["thread_id"], native["run_id"])
    assert values["messages"][-1]["content"] == "Hello, this is turn 1."
    state = await sdk.threads.get_state(native["thread_id"])
    assert state["values"]["messages"] == values["messages"]


async def test_finished_run_is_deleted(sdk: LangGraphClient) -> None:
    thread_id = _thread()
    await sdk.runs.wait(thread_id, "chat", input={"messages": "hi"}, if_not_exists="create")
    (run,) = await sdk.runs.list(thread_id)
    await sdk.runs.delete(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        await sdk.runs.get(thread_id, run["run_id"])


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/threads/{new}/runs", {"assistant_id": "chat"}, 404, "Thread or assistant not found."),
        ("/threads/nonsense/runs", {"assistant_id": "chat"}, 422, "Invalid thread ID"),
        ("/runs", {"assistant_id": "nobody"}, 422, "Invalid assistant: 'nobody'"),
        ("/runs", {"assistant_id": "{new}"}, 404, "Thread or assistant not found."),
        ("/runs", {"assistant_id": "chat", "stream_mode": "tools"}, 422, "only supported on the v2"),
        ("/runs", {"assistant_id": "chat", "stream_mode": "nonsense"}, 422, "stream_mode"),
        ("/runs", {"assistant_id": "chat", "command": {"resume": 1}}, 400, "You must provide a thread_id"),
        ("/runs", {"assistant_id": "chat", "feedback_keys": ["x"]}, 501, "LangSmith"),
        (
            "/runs",
            {"assistant_id": "chat", "context": {"a": 1}, "config": {"configurable": {"b": 1}}},
            400,
            "Cannot specify both",
        ),
        ("/runs/cancel", {"status": "all", "thread_id": "{new}"}, 422, "must be omitted"),
    ],
)
async def test_refusals(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any], status: int, detail: str
) -> None:
    text = json.dumps(body).replace("{new}", _thread())
    response = await client.post(path.replace("{new}", _thread()), content=text)
    assert response.status_code == status, response.text
    assert detail in response.json()["detail"]
    assert [record for record in caplog.records if record.name.startswith("api.")] == []


async def test_bad_json_is_told_as_the_reference_does(client: Client) -> None:
    response = await client.post("/runs", content=b"{")
    assert (response.status_code, response.json()["detail"]) == (422, "Invalid JSON in request body")


async def test_sdk_sees_typed_errors(sdk: LangGraphClient) -> None:
    with pytest.raises(UnprocessableEntityError):
        await sdk.runs.create(None, "nobody", input={})


async def test_silent_wait_keeps_its_connection_open(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sse.PADDING_SECONDS", 0.05)
    async with serve() as client:
        with gate("silent") as held:
            body = {"assistant_id": "gated", "input": {"messages": "silent"}}
            async with client.stream("POST", "/runs/wait", json=body) as response:
                chunks = response.aiter_raw()
                assert await anext(chunks) == b"\n"
                held.released.set()
                rest = b"".join([chunk async for chunk in chunks])
        assert json.loads(rest)["messages"][-1]["content"] == "released"


async def test_wait_with_on_disconnect_cancel_ends_with_its_client(client: Client) -> None:
    with gate("leaving") as held:
        body = {"assistant_id": "gated", "input": {"messages": "leaving"}, "on_disconnect": "cancel"}
        waiting = asyncio.create_task(client.post("/runs/wait", json=body))
        await held.reached.wait()
        waiting.cancel()
        await asyncio.wait_for(held.cancelled.wait(), 10)


async def test_runs_survive_a_restart(serve: Serve) -> None:
    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        run = await _held(sdk, "later", after_seconds=3600)
        done = await _held(sdk, "now")
        await sdk.runs.join(done["thread_id"], done["run_id"])
    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        assert (await sdk.runs.get(run["thread_id"], run["run_id"]))["status"] == "pending"
        assert (await sdk.runs.join(done["thread_id"], done["run_id"]))["messages"][-1]["content"] == "released"


async def test_connections_are_plain_http(client: Client) -> None:
    response = await client.post("/runs/wait", json={"assistant_id": "chat", "input": {"messages": "hi"}})
    assert isinstance(response, httpx.Response)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"].endswith("/join")
