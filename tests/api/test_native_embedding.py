"""The native stream of graphs that have other graphs inside: calls, results and the answer, each once and in order."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import pytest
import pytest_asyncio
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.settings import Settings
from tests.api import embedded
from tests.api.conftest import Client, Frame, frames
from tests.api.graphs import gate
from tests.openai_server import HANG, Call, openai_server
from tests.serving import serving

GRAPHS = [name for name in vars(embedded) if hasattr(getattr(embedded, name), "builder")]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    config = tmp_path_factory.mktemp("embedding") / "langgraph.json"
    config.write_text(json.dumps({"graphs": {name: f"tests.api.embedded:{name}" for name in GRAPHS}}))
    async with serving(create_app(Settings(config=config))) as url, Client(base_url=url, timeout=60) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sdk(client: Client) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=str(client.base_url)) as started:
        yield started


def kinds(run: list[Frame]) -> list[str]:
    """What came, tokens of one stretch as one."""
    return [kind for kind, _ in groupby(frame.event for frame in run)]


def of(run: list[Frame], kind: str) -> list[Any]:
    return [frame.data for frame in run if frame.event == kind]


def answer(run: list[Frame]) -> str:
    """The answer, which is the tokens since the last tool call."""
    called = max((at for at, frame in enumerate(run) if frame.event == "tool_call"), default=0)
    (answered,) = of(run, "answer")
    assert "".join(frame.data["text"] for frame in run[called:] if frame.event == "token") == answered["answer"]
    return str(answered["answer"])


async def said_in_state(client: Client, run: list[Frame]) -> list[str]:
    """The texts that the run left in the thread's state."""
    state = (await client.get(f"/threads/{of(run, 'run')[0]['thread_id']}/state")).json()
    return [each["content"] for each in state["values"]["messages"] if each["type"] == "ai" and each["content"]]


ALONE = ["run", "tool_call", "tool_result", "token", "answer", "end"]


@pytest.mark.parametrize(
    "name",
    [
        "as_node",
        "as_node_with_saver",
        "as_node_with_memory",
        "deep",
        "called",
        "called_whole",
        "called_sync",
        "called_with_saver",
        "rewritten",
        "tagged",
        "called_with_config",
    ],
)
async def test_the_agent_streams_as_it_does_alone(client: Client, name: str) -> None:
    run = await client.run(name)
    assert kinds(run) == ALONE
    assert [call["id"] for call in of(run, "tool_call")] == ["call_ann"]
    assert [(result["id"], result["content"]) for result in of(run, "tool_result")] == [("call_ann", "5")]
    assert len(of(run, "token")) > 2
    assert answer(run) == "ann says it is 5."
    assert of(run, "answer")[0]["tools_used"] == ["add"]
    assert await said_in_state(client, run) == ["ann says it is 5."]
    body = {"input": "hi"}
    text = await client.post(f"/agents/{name}/stream", json=body, headers={"accept": "text/plain"})
    assert text.text == "ann says it is 5.\n"
    lines = await client.post(f"/agents/{name}/stream", json=body, headers={"accept": "application/x-ndjson"})
    assert [json.loads(line)["event"] for line in lines.text.splitlines()] == [frame.event for frame in run]
    assert (await client.post(f"/agents/{name}/invoke", json=body)).json()["answer"] == "ann says it is 5."


@pytest.mark.parametrize("name", ["as_node", "as_node_with_memory", "called_whole"])
async def test_a_second_turn_tells_nothing_of_the_first(client: Client, name: str) -> None:
    first = await client.run(name)
    second = await client.run(name, "again", thread_id=of(first, "run")[0]["thread_id"])
    assert kinds(second) == ALONE[:1] + ALONE[-3:] or kinds(second) == ALONE
    assert answer(second) == "ann says it is 5."


async def test_what_is_not_to_be_streamed_comes_once_it_is_written(client: Client) -> None:
    run = await client.run("untold")
    assert kinds(run) == ALONE
    assert of(run, "token") == [{"text": "ann says it is 5."}]
    assert answer(run) == "ann says it is 5."


async def test_a_whole_turn_of_a_node_comes_in_order(client: Client) -> None:
    run = await client.run("whole_turn")
    assert kinds(run) == ALONE
    assert of(run, "token") == [{"text": "done"}]
    assert answer(run) == "done"
    text = await client.post("/agents/whole_turn/stream", json={"input": "hi"}, headers={"accept": "text/plain"})
    assert text.text == "done\n"


@pytest.mark.parametrize("shape", embedded.SHAPES)
async def test_a_whole_turn_in_any_form(client: Client, shape: str) -> None:
    run = await client.run(f"written_{shape}")
    assert kinds(run) == ALONE
    assert [frame.data["id"] for frame in run if frame.event in ("tool_call", "tool_result")] == ["c1", "c1"]
    assert of(run, "token") == [{"text": "done"}]
    assert answer(run) == "done"


@pytest.mark.parametrize("name", ["numbered_alone", "numbered_node", "numbered_called"])
async def test_calls_whose_ids_come_again_are_told_each(client: Client, name: str) -> None:
    run = await client.run(name)
    assert kinds(run) == ["run", *["tool_call", "tool_result"] * 2, "token", "answer", "end"]
    assert [call["args"]["x"] for call in of(run, "tool_call")] == [1, 2]
    assert [result["content"] for result in of(run, "tool_result")] == ["2", "4"]
    again = await client.run(name, "again", thread_id=of(run, "run")[0]["thread_id"])
    assert kinds(again) == kinds(run)
    assert answer(again) == "Both are done."


async def test_a_state_that_is_a_list(client: Client) -> None:
    assert answer(await client.run("listed")) == "all listed"


async def test_what_is_said_with_a_call_is_no_answer(client: Client) -> None:
    run = await client.run("asks_last")
    assert kinds(run) == ["run", "tool_call", "answer", "end"]
    assert answer(run) == ""


async def test_two_agents_in_sequence(client: Client) -> None:
    run = await client.run("twice")
    assert kinds(run) == [ALONE[0], *ALONE[1:4] * 2, *ALONE[4:]]
    assert [call["id"] for call in of(run, "tool_call")] == ["call_ann", "call_bob"]
    assert answer(run) == "bob says it is 9."
    assert await said_in_state(client, run) == ["ann says it is 5.", "bob says it is 9."]
    for name, said in (("same_twice", ["Well. ", "So."]), ("shared_twice", ["ann says it is 5.", "So."])):
        run = await client.run(name)
        assert answer(run) == "".join(said)
        assert await said_in_state(client, run) == said


async def test_what_is_said_side_by_side_does_not_mix(client: Client) -> None:
    run = await client.run("parallel")
    texts = ["all the words on the left ", "and those on the right "]
    assert answer(run) in ("".join(texts), "".join(reversed(texts)))
    assert len(of(run, "token")) == 11
    assert sorted(await said_in_state(client, run)) == sorted(texts)
    run = await client.run("echoed")
    assert answer(run) == "The same.The same." == "".join(await said_in_state(client, run))


async def test_agents_side_by_side_have_each_call_and_answer_once(client: Client) -> None:
    run = await client.run("parallel_agents")
    assert sorted(call["id"] for call in of(run, "tool_call")) == ["call_ann", "call_bob"]
    assert sorted(result["id"] for result in of(run, "tool_result")) == ["call_ann", "call_bob"]
    tokens = "".join(token["text"] for token in of(run, "token"))
    assert sorted(tokens.replace(".", ".\n").splitlines()) == ["ann says it is 5.", "bob says it is 9."]
    assert answer(run)


@pytest.mark.parametrize(
    "name", ["helped", "helped_by_agent", "private", "beside", "routed", "routed_node", "routed_at_once"]
)
async def test_a_helper_is_nobodys_answer(client: Client, name: str) -> None:
    run = await client.run(name)
    assert "secret" not in json.dumps([frame.data for frame in run if frame.event not in ("tool_call", "tool_result")])
    assert answer(run) == "The public answer." == "".join(await said_in_state(client, run))


@pytest.mark.parametrize("name", ["in_tool", "in_tool_of_node"])
async def test_an_agent_in_a_tool_is_the_tools_own_matter(client: Client, name: str) -> None:
    run = await client.run(name)
    assert kinds(run) == ALONE
    assert [call["name"] for call in of(run, "tool_call")] == ["consult"]
    assert of(run, "tool_result")[0]["content"] == "it had 4 messages"
    assert answer(run) == "Consulted."


async def test_a_supervisor_and_its_workers(client: Client) -> None:
    run = await client.run("supervised")
    calls = [call["id"] for call in of(run, "tool_call")]
    assert calls == ["call_ask_ann", "call_ann", "call_ask_bob", "call_bob"]
    assert [result["id"] for result in of(run, "tool_result")] == calls
    tokens = "".join(token["text"] for token in of(run, "token"))
    assert tokens == "ann says it is 5.bob says it is 9.Both are done."
    assert answer(run) == "bob says it is 9.Both are done."


@pytest.mark.parametrize("name", ["approving", "approving_called"])
async def test_an_interrupt_in_a_tool_inside(client: Client, name: str) -> None:
    first = await client.run(name)
    assert kinds(first) == ["run", "tool_call", "tool_result", "tool_call", "interrupt", "end"]
    assert of(first, "interrupt")[0]["value"] == {"amount": 7}
    second = await client.run(name, None, resume="yes", thread_id=of(first, "run")[0]["thread_id"])
    assert kinds(second) == ["run", "tool_result", "token", "answer", "end"]
    assert of(second, "tool_result")[0]["content"] == "approved 7: yes"
    assert answer(second) == "It is approved."


@pytest.mark.parametrize("name", ["reporting", "reporting_node"])
async def test_custom_events_of_tools_each_once(client: Client, name: str) -> None:
    run = await client.run(name)
    assert of(run, "custom") == [
        {"name": "dispatched", "data": {"step": 1}},
        {"name": "written", "data": {"name": "written", "step": 1}},
        {"name": "dispatched", "data": {"step": 2}},
    ]
    assert kinds(run) == ["run", *["tool_call", "custom", "tool_result"] * 2, "token", "answer", "end"]


async def test_a_custom_event_comes_while_its_node_runs(client: Client) -> None:
    with gate("hold") as held:
        async with client.stream("POST", "/agents/dispatching/stream", json={"input": "hold"}) as stream:
            text = ""
            async for piece in stream.aiter_text():
                text += piece
                if "waiting" in text:
                    held.released.set()
    assert kinds(frames(text)) == ["run", "custom", "token", "answer", "end"]


@pytest.mark.parametrize("name", ["as_node", "deep", "tagged", "called_with_config"])
async def test_tokens_come_while_the_model_speaks(client: Client, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model waits, before its last word, for the first to have arrived."""
    arrived = asyncio.Event()
    streamed = embedded.ScriptedModel._astream

    async def waiting(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for chunk in streamed(self, *args, **kwargs):
            if chunk.message.chunk_position == "last" and "final_answer" in str(kwargs) and len(args[0]) > 3:
                await arrived.wait()
            yield chunk

    monkeypatch.setattr(embedded.ScriptedModel, "_astream", waiting)
    async with client.stream("POST", f"/agents/{name}/stream", json={"input": "hi"}) as stream:
        text = ""
        async for piece in stream.aiter_text():
            text += piece
            if "event: token" in text:
                arrived.set()
    assert answer(frames(text)) == "ann says it is 5."


async def test_a_reply_that_broke_off_keeps_nobody_waiting(client: Client) -> None:
    embedded.TRIED.clear()
    with gate("retry") as held:
        async with client.stream("POST", "/agents/retried/stream", json={"input": "retry"}) as stream:
            text = ""
            async for piece in stream.aiter_text():
                text += piece
                if "three." in text:  # said while the superstep goes on
                    held.released.set()
    run = frames(text)
    assert answer(run) == "One One two three.gone on"


@pytest.mark.parametrize("name", ["thinking", "thinking_blocks"])
async def test_reasoning_is_told_apart(client: Client, name: str) -> None:
    run = await client.run(name)
    assert kinds(run) == ["run", "reasoning", "token", "answer", "end"]
    assert of(run, "reasoning") == [{"text": "Let me "}, {"text": "think."}]
    assert answer(run) == "The answer."
    text = await client.post(f"/agents/{name}/stream", json={"input": "hi"}, headers={"accept": "text/plain"})
    assert text.text == "The answer.\n"


async def test_through_an_openai_server(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.reply(Call("add", '{"x": 1,', ' "y": 2}', call_id="c1"))
        server.reply(Call("final_answer", '{"answer": "It ', "is ", '3.", "tools_used": []}'))
        run = await client.run("by_default")
    assert kinds(run) == ALONE
    assert of(run, "tool_call") == [{"id": "c1", "name": "add", "args": {"x": 1, "y": 2}}]
    assert [token["text"] for token in of(run, "token")] == ["It ", "is ", "3."]
    assert answer(run) == "It is 3."


async def test_a_model_that_falls_silent_is_no_timeout_of_the_run(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_OPENAI_STREAM_CHUNK_TIMEOUT_S", "0.2")
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.reply(Call("final_answer", '{"answer": "It '), HANG)
        run = await client.run("by_default")
    assert of(run, "error") == [{"code": "model_timeout", "message": "The model did not answer in time."}]
    assert of(run, "end") == [{"status": "error"}]


@pytest.mark.parametrize("name", ["as_node", "called"])
async def test_the_langgraph_api_has_each_once_too(sdk: LangGraphClient, name: str) -> None:
    modes: list[Any] = ["messages-tuple", "updates"]
    stream = sdk.runs.stream(
        None, name, input={"messages": "hi"}, stream_mode=modes, stream_subgraphs=True, on_disconnect="continue"
    )
    messages = [part.data[0] async for part in stream if part.event.startswith("messages")]
    pieces = [message for message in messages if message["type"] == "AIMessageChunk"]
    calls = [chunk["id"] for message in pieces for chunk in message["tool_call_chunks"] if chunk["id"]]
    assert calls == ["call_ann"] == [each["tool_call_id"] for each in messages if each["type"] == "tool"]
    assert "".join(message["content"] for message in pieces) == "ann says it is 5."
    assert [message for message in messages if message["type"] == "ai"] == []


async def test_a_run_of_the_native_api_in_the_langgraph_api(client: Client, sdk: LangGraphClient) -> None:
    run = of(await client.run("thinking"), "run")[0]
    parts = [part async for part in sdk.runs.join_stream(run["thread_id"], run["run_id"])]
    messages = [part.data[0] for part in parts if part.event == "messages"]
    assert [message["additional_kwargs"].get("reasoning_content") for message in messages[:2]] == ["Let me ", "think."]
    assert "".join(message["content"] for message in messages) == "The answer."


@pytest.mark.parametrize("modes", [["values"], ["values", "updates"]], ids=" ".join)
async def test_a_helper_is_nobodys_answer_in_a_run_of_the_langgraph_api(
    client: Client, sdk: LangGraphClient, modes: list[Any]
) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    asked = {"messages": [{"role": "user", "content": "?"}]}
    started = await sdk.runs.create(thread_id, "beside", input=asked, stream_mode=modes)
    await sdk.runs.join(thread_id, started["run_id"])
    seen = (await client.get(f"/agents/beside/stream/{started['run_id']}", headers={"accept": "text/plain"})).text
    assert seen == "The public answer.\n"


async def test_a_timeout_of_the_graphs_own_is_its_failure(client: Client) -> None:
    run = await client.run("falls_silent")
    assert of(run, "error")[0]["code"] == "graph_error"
    assert of(run, "end") == [{"status": "error"}]
