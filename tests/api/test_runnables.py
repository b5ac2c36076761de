"""Plain Runnables of every kind give their whole output in every API, and stream in every mode."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from langchain_core.runnables import Runnable
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.settings import Settings
from tests.api import runnables
from tests.api.conftest import Client, frames
from tests.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = [name for name, each in vars(runnables).items() if isinstance(each, Runnable)] + ["made"]

DOCUMENTS = [
    {"id": None, "metadata": {}, "page_content": "Hi", "type": "Document"},
    {"id": None, "metadata": {"page": 1}, "page_content": "cats", "type": "Document"},
]
OUTPUTS: dict[str, tuple[Any, Any]] = {
    "text": ("Hi", "One two three."),
    "made": ("Hi", "One two three."),
    "parsed": ("Hi", [{"a": 1}, {"b": 2}]),
    "waiting": ("Hi", "ONE TWO THREE."),
    "retriever": ("Hi", DOCUMENTS),
    "length": ("Hi", {"length": 2, "echo": "Hi"}),
    "pieces": ("Hi", {"first": ["Hi", "more"], "second": "xy"}),
    "listed": ("Hi", {"list": [{"a": 1}, {"b": 2}], "text": "One two three."}),
    "assigned": (
        4,
        {
            "number": 4,
            "steps": {"number": 4, "doubled": 8, "trail": ["double"]},
            "list": [{"a": 1}, {"b": 2}],
        },
    ),
    "around": (4, {"number": 4, "doubled": 8, "trail": ["double"]}),
}
"""What each is given, and its whole output."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server of the Runnables."""
    tmp_path = tmp_path_factory.mktemp("served")
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {name: f"tests.api.runnables:{name}" for name in NAMES}}))
    async with serving(create_app(Settings(config=config))) as url, Client(base_url=url, timeout=60) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    """langgraph_sdk on the same server."""
    async with get_client(url=str(client.base_url), api_key=None) as sdk:
        yield sdk


async def _thread(sdk: LangGraphClient) -> str:
    return str((await sdk.threads.create())["thread_id"])


@pytest.mark.parametrize("name", OUTPUTS)
async def test_the_whole_output_everywhere(client: Client, sdk: LangGraphClient, name: str) -> None:
    given, output = OUTPUTS[name]
    assert await sdk.runs.wait(None, name, input=given) == output
    thread_id = await _thread(sdk)
    run = await sdk.runs.create(thread_id, name, input=given)
    assert await sdk.runs.join(thread_id, run["run_id"]) == output
    assert (await sdk.threads.get_state(thread_id))["values"] == output
    assert (await sdk.threads.get(thread_id))["values"] == output
    assert await RemoteGraph(name, client=sdk).ainvoke(given) == output
    native = (await client.post(f"/agents/{name}/invoke", json={"input": given})).json()
    assert (native["status"], native["answer"]) == ("success", output)
    seen = await sdk.runs.wait(native["thread_id"], name, input=given)
    assert seen == output


async def test_batches_and_blocking_clients(client: Client, sdk: LangGraphClient) -> None:
    assert await RemoteGraph("text", client=sdk).abatch(["a", "b"]) == ["One two three."] * 2
    with contextlib.closing(get_sync_client(url=str(client.base_url), api_key=None)) as blocking:
        remote = RemoteGraph("parsed", sync_client=blocking)
        assert await asyncio.to_thread(remote.invoke, "a") == [{"a": 1}, {"b": 2}]
        assert await asyncio.to_thread(remote.batch, ["a", "b"]) == [[{"a": 1}, {"b": 2}]] * 2
    batch = (await client.post("/agents/text/batch", json={"inputs": ["a", "b"]})).json()
    assert [each["answer"] for each in batch["results"]] == ["One two three."] * 2


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("values", [("values", "One two three.")]),
        ("updates", [("updates", {"runnable": "One two three."})]),
        ("custom", [("custom", {"name": "output", "data": word}) for word in ("One ", "two ", "three.")]),
    ],
)
async def test_stream_modes(sdk: LangGraphClient, mode: Any, expected: list[Any]) -> None:
    parts = [(p.event, p.data) async for p in sdk.runs.stream(None, "text", input="Hi", stream_mode=mode)]
    assert [part for part in parts[1:] if part[1] != {"name": "output", "data": ""}] == expected


@pytest.mark.parametrize("name", ["text", "bare", "waiting", "parsed"])
async def test_tokens_of_the_model(sdk: LangGraphClient, name: str) -> None:
    parts = [p async for p in sdk.runs.stream(None, name, input="Hi", stream_mode="messages-tuple")]
    words = [p.data[0]["content"] for p in parts if p.event == "messages" and p.data[0]["content"]]
    assert "".join(words) == ('[{"a": 1}, {"b": 2}]' if name == "parsed" else "One two three.")
    assert len(words) > 2
    parts = [p async for p in sdk.runs.stream(None, name, input="Hi", stream_mode="messages")]
    assert parts[-1].data[0]["content"] == "".join(words)


@pytest.mark.parametrize("mode", ["events", "debug", "tasks", "checkpoints"])
async def test_modes_of_what_happens_inside(sdk: LangGraphClient, mode: Any) -> None:
    run = sdk.runs.stream(await _thread(sdk), "text", input="Hi", stream_mode=mode)
    parts = [p async for p in run]
    assert {p.event for p in parts} == {"metadata", mode}
    if mode == "events":
        assert "on_chat_model_stream" in {p.data["event"] for p in parts[1:]}
    if mode == "tasks":
        assert [p.data.get("result") for p in parts[1:]] == [None, {"output": "One two three."}]


async def test_a_model_by_itself(client: Client, sdk: LangGraphClient) -> None:
    message = await sdk.runs.wait(None, "bare", input=[{"role": "user", "content": "Hi"}])
    assert isinstance(message, dict)
    assert (message["type"], message["content"]) == ("ai", "One two three.")
    native = await client.run("bare")
    assert [frame.data["text"] for frame in native if frame.event == "token"] == ["One ", "two ", "three."]
    assert native[-2].data["answer"] == "One two three."
    calling = await client.run("calling")
    assert [frame.data["args"] for frame in calling if frame.event == "tool_call"] == [{"x": 1}]


async def test_parts_that_add_up(client: Client, sdk: LangGraphClient) -> None:
    output = await sdk.runs.wait(None, "both", input="Hi")
    assert isinstance(output, dict)
    assert (output["text"], output["reply"]["type"], output["length"]) == ("One two three.", "ai", 2)
    assert output["reply"]["content"] == "One two three."
    native = await client.run("both")
    assert {frame.event for frame in native} == {"run", "custom", "answer", "end"}
    assert native[-2].data["answer"].keys() == output.keys()


async def test_a_lot_goes_in_and_out(client: Client, sdk: LangGraphClient) -> None:
    given = "a\u20ac\n" * 170_000
    assert await sdk.runs.wait(None, "length", input=given) == {"length": len(given), "echo": given}
    native = (await client.post("/agents/length/invoke", json={"input": given})).json()
    assert native["answer"]["length"] == len(given)


async def test_failure(client: Client, sdk: LangGraphClient) -> None:
    run = await client.run("failing")
    assert [frame.event for frame in run] == ["run", "token", "error", "end"]
    assert "secret" not in str(run)
    with pytest.raises(Exception, match="ArithmeticError"):
        await sdk.runs.wait(None, "failing", input="Hi")


async def test_nothing(client: Client, sdk: LangGraphClient) -> None:
    assert await sdk.runs.wait(None, "silent", input="Hi") is None
    run = await client.run("silent")
    assert [frame.event for frame in run] == ["run", "answer", "end"]


async def test_an_interrupt_inside(client: Client) -> None:
    run = await client.run("asking")
    thread_id = run[0].data["thread_id"]
    assert [frame.data["value"] for frame in run if frame.event == "interrupt"] == ["Sure?"]
    body = {"thread_id": thread_id, "resume": "yes"}
    resumed = frames((await client.post("/agents/asking/stream", json=body)).text)
    assert resumed[-2].data["answer"] == "hi: yes"


async def test_one_protocol_reads_the_other(client: Client, sdk: LangGraphClient) -> None:
    thread_id = await _thread(sdk)
    run = await sdk.runs.create(thread_id, "text", input="Hi", stream_mode=["values", "messages-tuple"])
    await sdk.runs.join(thread_id, run["run_id"])
    lines = {"accept": "application/x-ndjson"}
    native = (await client.get(f"/agents/text/stream/{run['run_id']}", headers=lines)).text
    events = [json.loads(line) for line in native.splitlines()]
    assert "".join(each["data"]["text"] for each in events if each["event"] == "token") == "One two three."
    assert events[-2]["data"]["answer"] == "One two three."
    started = (await client.run("text"))[0].data
    parts = [p async for p in sdk.runs.join_stream(started["thread_id"], started["run_id"])]
    assert (parts[-1].event, parts[-1].data) == ("values", "One two three.")


async def test_events_are_filtered(client: Client) -> None:
    response = await client.post("/agents/text/events", json={"input": "Hi", "include_types": ["chat_model"]})
    kinds = {frame.event for frame in frames(response.text)}
    assert kinds == {"run", "on_chat_model_start", "on_chat_model_stream", "on_chat_model_end", "end"}


async def test_what_it_looks_like(client: Client, sdk: LangGraphClient) -> None:
    assert (await client.get("/agents/length")).json()["input_schema"]["title"] == "RunnableLambdaInput"
    nodes = str((await sdk.assistants.get_graph("text"))["nodes"])
    assert "ChatPromptTemplate" in nodes
    assert "StrOutputParser" in nodes
