"""Runs followed in the protocol of the other API: what the SDK began by the native one, and the other way round."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.api.conftest import Client, Frame, Serve, frames
from tests.api.graphs import gate

MODES = (
    ["values"],
    ["updates"],
    ["messages-tuple"],
    ["messages"],
    ["updates", "values"],
    ["messages-tuple", "values"],
    ["messages", "updates", "custom", "debug"],
    ["events", "messages-tuple", "updates"],
)


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    """The SDK, pointed at a server."""
    async with get_client(url=str(client.base_url)) as started:
        yield started


async def _began(sdk: LangGraphClient, graph: str, graph_input: Any, modes: list[Any], **options: Any) -> Any:
    """A run of the LangGraph API that has ended."""
    thread_id = options.pop("thread_id", str(uuid.uuid4()))
    run = await sdk.runs.create(
        thread_id, graph, input=graph_input, stream_mode=modes, if_not_exists="create", **options
    )
    await sdk.runs.join(thread_id, run["run_id"])
    return run


async def _followed(client: Client, graph: str, run_id: str, last_event_id: int | None = None) -> str:
    headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
    response = await client.get(f"/agents/{graph}/stream/{run_id}", headers=headers)
    assert response.status_code == 200, response.text
    return response.text


def _parsed(text: str) -> list[Frame]:
    """Frames, those without an id too."""
    blocks = [block if "\nid: " in block else f"id: 0\n{block}" for block in text.split("\n\n")[:-1]]
    return frames("".join(f"{block}\n\n" for block in blocks))


def _told(followed: list[Frame], *, tokens: bool = True) -> list[tuple[str, Any]]:
    """What a client learns: the tokens joined, no ids."""
    told: list[tuple[str, Any]] = []
    for frame in followed:
        if frame.event == "token" and tokens and told and told[-1][0] == "token":
            told[-1] = ("token", told[-1][1] + frame.data["text"])
        elif frame.event == "token":
            told.append(("token", frame.data["text"]))
        elif frame.event != "run":
            told.append((frame.event, frame.data))
    return told


@pytest.mark.parametrize("modes", MODES, ids="+".join)
@pytest.mark.parametrize("text", ["hi", "both"])
async def test_native_frames_of_a_run_of_the_sdk(
    client: Client, sdk: LangGraphClient, modes: list[str], text: str
) -> None:
    native = _told(await client.run("inner", text))
    run = await _began(sdk, "inner", {"messages": [{"role": "user", "content": text}]}, modes)

    followed = _parsed(await _followed(client, "inner", run["run_id"]))

    assert followed[0].event == "run"
    assert followed[0].data["run_id"] == run["run_id"]
    expected = (
        native if {"messages", "messages-tuple"} & set(modes) else [each for each in native if each[1] != "Let me ask."]
    )
    assert _told(followed) == expected


@pytest.mark.parametrize("modes", MODES, ids="+".join)
async def test_cut_after_every_event_and_resumed(client: Client, sdk: LangGraphClient, modes: list[str]) -> None:
    run = await _began(sdk, "inner", {"messages": "hi"}, modes)
    whole = await _followed(client, "inner", run["run_id"])

    at = 0
    for block in whole.split("\n\n")[:-1]:
        at += len(block) + 2
        if "\nid: " in block:
            seen = int(block.split("\nid: ")[1].split("\n")[0])
            assert await _followed(client, "inner", run["run_id"], seen) == whole[at:]


@pytest.mark.parametrize("modes", MODES[:2], ids="+".join)
async def test_interrupt_and_resume(client: Client, sdk: LangGraphClient, modes: list[str]) -> None:
    thread_id = str(uuid.uuid4())
    asked = await _began(sdk, "approval", {"messages": "go"}, modes, thread_id=thread_id)
    resumed = await _began(sdk, "approval", None, modes, thread_id=thread_id, command={"resume": "yes"})

    first = _told(_parsed(await _followed(client, "approval", asked["run_id"])))
    assert [name for name, _ in first] == ["tool_call", "interrupt", "end"]
    assert first[1][1]["value"] == {"question": "Transfer 5?"}
    second = _told(_parsed(await _followed(client, "approval", resumed["run_id"])))
    assert [name for name, _ in second] == ["tool_result", "token", "answer", "end"]
    assert second[2][1]["answer"] == "Done: transferred 5: yes."


async def test_a_later_turn_shows_nothing_of_the_earlier_one(client: Client, sdk: LangGraphClient) -> None:
    for mode in ("values", "updates", "messages-tuple"):
        thread_id = str(uuid.uuid4())
        await _began(sdk, "inner", {"messages": "hi"}, [mode], thread_id=thread_id)
        run = await _began(sdk, "chat", {"messages": "hi"}, [mode], thread_id=thread_id)
        told = _told(_parsed(await _followed(client, "chat", run["run_id"])))
        assert [name for name, _ in told] == ["token", "answer", "end"]
        assert told[0][1] == "Hello, this is turn 3."


async def test_a_state_without_messages(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "steps", {"number": 4}, ["values", "custom"])
    native = _told(await client.run("steps", {"number": 4}))
    dispatched = ("custom", {"name": "halfway", "data": {"number": 4}})  # no stream mode has it
    assert dispatched in native
    told = _told(_parsed(await _followed(client, "steps", run["run_id"])))
    assert told == [event for event in native if event != dispatched]


async def test_failures_are_told(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "steps", {"number": -1}, ["values"])
    followed = _parsed(await _followed(client, "steps", run["run_id"]))
    assert [(frame.event, frame.data) for frame in followed[1:]] == [
        ("error", {"code": "graph_error", "message": "An internal error occurred"}),
        ("end", {"status": "error"}),
    ]


async def test_a_timeout_of_the_graphs_own_is_no_timeout_of_the_run(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "steps", {"number": -2}, ["values"])
    told = _told(_parsed(await _followed(client, "steps", run["run_id"])))
    assert [(name, data.get("code")) for name, data in told] == [("error", "graph_error"), ("end", None)]


async def test_a_cancelled_run(client: Client, sdk: LangGraphClient) -> None:
    with gate("cancelled") as held:
        thread_id = str(uuid.uuid4())
        run = await sdk.runs.create(
            thread_id, "gated", input={"messages": "cancelled"}, stream_mode="values", if_not_exists="create"
        )
        await held.reached.wait()
        await sdk.runs.cancel(thread_id, run["run_id"], wait=True)
    told = _told(_parsed(await _followed(client, "gated", run["run_id"])))
    assert told == [
        ("error", {"code": "cancelled", "message": "The run was cancelled."}),
        ("end", {"status": "interrupted"}),
    ]


async def test_a_runnable(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "words", "one two", ["values"])
    native = _told(await client.run("words", "one two"))
    assert _told(_parsed(await _followed(client, "words", run["run_id"]))) == native


async def test_what_has_no_native_form_is_refused(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "chat", {"messages": "hi"}, ["debug", "tasks"])
    response = await client.get(f"/agents/chat/stream/{run['run_id']}")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert "This run streams debug, tasks" in response.json()["detail"]


async def test_text_and_ndjson(client: Client, sdk: LangGraphClient) -> None:
    run = await _began(sdk, "chat", {"messages": "hi"}, ["values"])
    where = f"/agents/chat/stream/{run['run_id']}"
    text = await client.get(where, headers={"accept": "text/plain"})
    assert text.text == "Hello, this is turn 1.\n"
    lines = (await client.get(where, headers={"accept": "application/x-ndjson"})).text.splitlines()
    assert '{"event":"answer","id":null,' in lines[-2]
    assert lines[-1].startswith('{"event":"end","id":')


async def _joined(sdk: LangGraphClient, run: Frame, **options: Any) -> list[Any]:
    stream = sdk.runs.join_stream(run.data["thread_id"], run.data["run_id"], **options)
    return [part async for part in stream]


async def test_the_sdk_reads_a_native_run(client: Client, sdk: LangGraphClient) -> None:
    native = await client.run("inner", "hi")
    thread_id, run_id = native[0].data["thread_id"], native[0].data["run_id"]

    parts = await _joined(sdk, native[0])

    assert parts[0].event == "metadata"
    assert parts[0].data == {"run_id": run_id, "attempt": 1}
    messages = [part.data[0] for part in parts if part.event == "messages"]
    assert [each["type"] for each in messages if each["type"] != "AIMessageChunk"] == ["tool"]
    assert [each["tool_calls"][0]["args"] for each in messages if each.get("tool_calls")] == [{"question": "why"}]
    final = [each for each in messages if each["id"] == messages[-1]["id"]]
    assert "".join(each["content"] for each in final) == "The reply is in."
    state = await sdk.threads.get_state(thread_id)
    assert (parts[-1].event, parts[-1].data) == ("values", state["values"])
    assert await sdk.runs.join(thread_id, run_id) == state["values"]
    assert [each["run_id"] for each in await sdk.runs.list(thread_id)] == [run_id]
    assert len(await sdk.threads.get_history(thread_id, limit=10)) > 2
    await sdk.runs.wait(thread_id, "steps", input={"number": 1})
    assert await _joined(sdk, native[0]) == parts


async def test_the_sdk_resumes_a_native_run_anywhere(client: Client, sdk: LangGraphClient) -> None:
    native = await client.run("inner", "hi")
    await client.run("inner", "again", thread_id=native[0].data["thread_id"])
    whole = await _joined(sdk, native[0])
    for at, part in enumerate(whole):
        if part.id is not None:
            assert await _joined(sdk, native[0], last_event_id=part.id) == whole[at + 1 :]
    only = await _joined(sdk, native[0], stream_mode=["values"])
    assert [part.event for part in only] == ["values"]


async def test_a_native_interrupt_and_failure_in_the_sdk(client: Client, sdk: LangGraphClient) -> None:
    asked = await client.run("approval", "go")
    result: Any = await sdk.runs.join(asked[0].data["thread_id"], asked[0].data["run_id"])
    assert result["__interrupt__"][0]["value"] == {"question": "Transfer 5?"}
    failed = await client.run("steps", {"number": -1})
    parts = await _joined(sdk, failed[0])
    assert parts[-1].event == "error"
    assert parts[-1].data == {"error": "RunError", "message": "The graph failed with ArithmeticError."}
    result = await sdk.runs.join(failed[0].data["thread_id"], failed[0].data["run_id"])
    assert result["__error__"] == parts[-1].data


async def test_events_of_the_native_api_in_the_sdk(client: Client, sdk: LangGraphClient) -> None:
    response = await client.post("/agents/chat/events", json={"input": "hi"})
    run = frames(response.text)[0]
    parts = await _joined(sdk, run)
    assert {part.event for part in parts} == {"metadata", "events", "values"}
    assert {part.data["event"] for part in parts if part.event == "events"} >= {"on_chain_start", "on_chain_end"}


async def test_restarted_server_shows_the_same(serve: Serve) -> None:
    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        native = await client.run("inner", "hi")
        before = await _joined(sdk, native[0])
    async with serve() as client, get_client(url=str(client.base_url)) as sdk:
        assert await _joined(sdk, native[0]) == before
