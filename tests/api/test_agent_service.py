"""The shipped agent behind the service, with a model over real HTTP: its answers, its faults, and cancelling it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.settings import Settings
from tests.api.conftest import Client, Frame, frames
from tests.openai_server import CUT, HANG, Call, OpenAIServer, openai_server, pieces
from tests.serving import serving

ROOT = Path(__file__).parent.parent.parent
QUESTION = "What is (3 + 4) * 5 ** 2?"


@pytest.fixture
async def model(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer]:
    """A model's server, which the agent uses."""
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        yield server


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a server with the project's own langgraph.json."""
    shutil.copy(ROOT / "langgraph.json", tmp_path)
    app = create_app(Settings(config=tmp_path / "langgraph.json"))
    async with serving(app) as url, Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def _final(answer: str, *cuts: int) -> Call:
    arguments = json.dumps({"answer": answer, "tools_used": ["nothing"]})
    return Call("final_answer", *pieces(arguments, *(cuts or range(1, len(arguments)))))


def _data(run: list[Frame], kind: str) -> list[Any]:
    return [frame.data for frame in run if frame.event == kind]


def _tokens(run: list[Frame]) -> str:
    return "".join(data["text"] for data in _data(run, "token"))


async def test_offline_agent_answers_the_question(agent: Client) -> None:
    run = await agent.run("agent", QUESTION)
    assert [call["name"] for call in _data(run, "tool_call")] == ["add", "exponentiate", "multiply"]
    assert [result["content"] for result in _data(run, "tool_result")] == ["7", "25", "175"]
    (answer,) = _data(run, "answer")
    assert "175" in answer["answer"]
    assert answer["answer"] == _tokens(run)
    assert len(_data(run, "token")) > 5
    assert sorted(answer["tools_used"]) == ["add", "exponentiate", "multiply"]


async def test_chains_are_served_beside_it(agent: Client) -> None:
    facts = await agent.run("extract", "Ada has 3 cats and 4 dogs.")
    assert len(_data(facts, "custom")) > 2
    assert 3 in _data(facts, "answer")[0]["answer"]["facts"]["numbers"]
    passage = await agent.run("retrieve", "How do I resume a connection that was cut?")
    assert "Last-Event-ID" in _data(passage, "answer")[0]["answer"] == _tokens(passage)
    assert len(_data(await agent.run("chat", "hello"), "token")) > 5


async def test_multi_turn_thread_sees_its_history(agent: Client, model: OpenAIServer) -> None:
    model.reply(Call("add", '{"x": 3,', ' "y": 4}', call_id="call_a"))
    model.reply(_final("It is 7."))
    model.reply(_final("It was 7."))
    first = await agent.run("agent", "3 + 4?")
    assert _tokens(first) == "It is 7."
    second = await agent.run("agent", "What was it?", thread_id=first[0].data["thread_id"])
    assert _data(second, "answer")[0] == {
        "answer": "It was 7.",
        "tools_used": [],
        "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
    }
    roles = [message["role"] for message in model.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_context_chooses_the_model_of_one_run(agent: Client, model: OpenAIServer) -> None:
    model.reply(_final("Arr."))
    await agent.run("agent", "hi", context={"model": "other-model", "system_prompt": "Be a pirate."})
    body = model.requests[0].body
    assert body["model"] == "other-model"
    assert body["messages"][0]["content"].startswith("Be a pirate.")


@pytest.mark.parametrize("answer", ["plain", 'a "quote" \\ slash\nline', "Zürich 🎉", ""])
async def test_answer_is_the_same_however_it_arrives(agent: Client, model: OpenAIServer, answer: str) -> None:
    model.reply(_final(answer))
    run = await agent.run("agent", "hi")
    assert _tokens(run) == _data(run, "answer")[0]["answer"] == answer


async def test_plain_text_is_the_answer_and_a_preamble_is_not(agent: Client, model: OpenAIServer) -> None:
    model.reply("Let me ", "think. ", Call("add", '{"x": 1, "y": 1}'))
    model.reply("It ", "is ", "2.")
    run = await agent.run("agent", "1 + 1?")
    assert [data["text"] for data in _data(run, "token")] == ["It ", "is ", "2."]
    assert _data(run, "answer")[0]["answer"] == "It is 2."
    assert _data(run, "answer")[0]["tools_used"] == ["add"]


_FAULTS = {
    "cut": "model_unreachable",
    "rate": "model_rate_limited",
    "down": "model_error",
    "long": "context_length_exceeded",
    "key": "model_unauthorized",
    "unknown": "model_not_found",
}


@pytest.mark.parametrize(("fault", "code"), _FAULTS.items())
async def test_fault_of_the_model_is_one_typed_error(agent: Client, model: OpenAIServer, fault: str, code: str) -> None:
    match fault:
        case "cut":
            model.reply(Call("final_answer", '{"answer": "half an ans'), CUT)
        case "rate":
            model.error(429, "slow down sk-secret", headers={"retry-after-ms": "1"}, times=3)
        case "down":
            model.error(500, "stack trace sk-secret", headers={"retry-after-ms": "1"}, times=3)
        case "long":
            model.context_length_exceeded()
        case "key":
            model.error(401, "bad key sk-secret")
        case "unknown":
            model.error(404, "no such model sk-secret")
    run = await agent.run("agent", "hi")
    assert [frame.event for frame in run][-2:] == ["error", "end"]
    assert _data(run, "error")[0]["code"] == code
    assert "sk-secret" not in json.dumps([frame.data for frame in run])
    thread_id = run[0].data["thread_id"]
    model.reply(_final("Well again."))
    assert _tokens(await agent.run("agent", "and now?", thread_id=thread_id)) == "Well again."


async def test_unreachable_model_is_a_typed_error(agent: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    run = await agent.run("agent", "hi")
    assert _data(run, "error")[0]["code"] == "model_unreachable"
    response = await agent.post("/agents/agent/invoke", json={"input": "hi"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "model_unreachable")


async def _first(stream: AsyncIterator[str], kind: str) -> str:
    """What came up to an event of a kind."""
    text = ""
    async for piece in stream:
        text += piece
        if f"event: {kind}\n" in text:
            return text
    raise AssertionError(f"no {kind} in {text}")


@pytest.mark.parametrize("where", ["answer", "call"])
async def test_cancel_closes_the_models_connection_and_frees_the_thread(
    agent: Client, model: OpenAIServer, where: str
) -> None:
    if where == "answer":
        model.reply(Call("final_answer", '{"answer": "half an ans'), HANG)
    else:
        model.reply(Call("add", '{"x": 1, '), HANG)
    async with agent.stream("POST", "/agents/agent/stream", json={"input": "hi"}) as stream:
        text = await _first(stream.aiter_text(), "token" if where == "answer" else "run")
        await model.hanging()
        ids = frames(text)[0].data
        answer = await agent.post(f"/agents/agent/runs/{ids['run_id']}/cancel")
        assert answer.json()["status"] == "interrupted"
    await asyncio.wait_for(model.disconnected(), 1)
    model.reply(_final("Fine."))
    assert _tokens(await agent.run("agent", "again", thread_id=ids["thread_id"])) == "Fine."


async def test_cancel_at_every_event_leaves_a_sound_history(agent: Client, model: OpenAIServer) -> None:
    for cut_at in range(1, 7):
        model.requests.clear()
        model._replies.clear()  # what a cancelled run did not take
        model.reply(Call("add", '{"x": 1, "y": 2}', call_id="a"), Call("multiply", '{"x": 3, "y": 4}', call_id="b"))
        model.reply(_final("3 and 12."))
        thread_id = await _cancelled_after(agent, cut_at)
        model._replies.clear()  # likewise
        model.reply(_final("Still here."))
        assert _tokens(await agent.run("agent", "again", thread_id=thread_id)) == "Still here."
        _check_calls_are_answered(model.requests[-1].body["messages"])


async def _cancelled_after(agent: Client, events: int) -> str:
    ids: dict[str, str] = {}
    async with agent.stream("POST", "/agents/agent/stream", json={"input": "go"}) as stream:
        text = ""
        async for piece in stream.aiter_text():
            text += piece
            seen = frames(text)
            if seen:
                ids = seen[0].data
            if len(seen) >= events:
                break
        await agent.post(f"/agents/agent/runs/{ids['run_id']}/cancel")
    return ids["thread_id"]


def _check_calls_are_answered(messages: list[dict[str, Any]]) -> None:
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == [], "a call has no result right behind it"
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    assert waiting == []
