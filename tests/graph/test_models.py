"""Which model is made from the environment, and how it holds up over HTTP when it is wrapped in FinalAnswerModel."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph, add_messages

from graph.final_answer import FinalAnswerModel
from graph.models import OFFLINE, Models, chat_model
from graph.offline import OfflineChatModel
from tests.openai_server import CUT, HANG, Call, Delta, OpenAIServer, openai_server, pieces

VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROXY")
ARGUMENTS = json.dumps({"tools_used": ["add"], "answer": 'It is "20" \U0001f600\n'})
ANSWER = 'It is "20" \U0001f600\n'


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_MODEL", "test-model")
        yield running


def add(x: float, y: float) -> float:
    """Add two numbers."""
    return x + y


def final_answer(answer: str, tools_used: list[str]) -> str:
    """Answer."""
    return answer


def agent_model() -> Runnable[Any, AIMessage]:
    return FinalAnswerModel(inner=chat_model()).bind_tools([add, final_answer], tool_choice="any")


async def streamed(model: Runnable[Any, AIMessage]) -> AIMessageChunk:
    whole: AIMessageChunk | None = None
    async for chunk in model.astream("hi"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


# Which model


def test_offline_without_key_and_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "some-model")

    assert isinstance(chat_model(), OfflineChatModel)
    assert isinstance(chat_model("other-model"), OfflineChatModel)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_offline_when_asked_for(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://localhost:1/v1")

    assert isinstance(chat_model(OFFLINE), OfflineChatModel)
    monkeypatch.setenv("OPENAI_MODEL", OFFLINE)
    assert isinstance(chat_model(), OfflineChatModel)


def test_key_alone_gives_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "")

    model = chat_model()

    assert isinstance(model, ChatOpenAI)
    assert str(model.root_async_client.base_url) == "https://api.openai.com/v1/"
    assert model.root_async_client.api_key == "secret-key"
    assert model.model_name
    assert "secret-key" not in repr(model)


def test_name_and_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    monkeypatch.setenv("OPENAI_MODEL", "from-environment")

    default, asked = chat_model(), chat_model("asked-for", 0.25)

    assert isinstance(default, ChatOpenAI)
    assert isinstance(asked, ChatOpenAI)
    assert (default.model_name, default.temperature) == ("from-environment", None)
    assert (asked.model_name, asked.temperature) == ("asked-for", 0.25)


def test_offline_model_needs_no_openai_package() -> None:
    code = (
        "import sys; from graph.models import chat_model; chat_model('offline'); "
        "sys.exit(any(name.partition('.')[0] in ('openai', 'langchain_openai') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_models_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    models = Models()
    first = models.get("a", 0.5)

    assert models.get("a", 0.5) is first
    assert models.get("a") is not first
    assert models.get("b", 0.5) is not first
    assert Models().get("a", 0.5) is not first


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"])
def test_models_follow_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    models = Models()
    before = models.get()

    monkeypatch.setenv(variable, "http://localhost:2/v1")

    assert models.get() is not before


def test_models_keep_the_latest_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    models = Models(size=2)
    a, b = models.get("a"), models.get("b")

    models.get("a")
    models.get("c")

    assert models.get("a") is a
    assert models.get("b") is not b


# Over HTTP


async def test_request(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", ARGUMENTS))

    message = await streamed(FinalAnswerModel(inner=chat_model("asked-for", 0.25)).bind_tools([add], tool_choice="any"))

    (request,) = server.requests
    assert message.text == ANSWER
    assert request.headers["authorization"].startswith("Bearer ")
    assert (
        request.body.items()
        >= {
            "model": "asked-for",
            "temperature": 0.25,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tool_choice": "required",
        }.items()
    )
    assert "parallel_tool_calls" not in request.body
    assert [tool["function"]["name"] for tool in request.body["tools"]] == ["add"]


@pytest.mark.parametrize("ascii_only", [True, False])
async def test_arguments_split_at_every_position(server: OpenAIServer, ascii_only: bool) -> None:
    arguments = json.dumps({"answer": ANSWER, "tools_used": ["add"]}, ensure_ascii=ascii_only)
    splits = [[at] for at in range(len(arguments))] + [list(range(1, len(arguments)))]
    model = agent_model()

    for at in splits:
        server.reply(Call("final_answer", *pieces(arguments, *at)))
        message = await streamed(model)

        assert message.content == ANSWER
        assert message.additional_kwargs == {"final_answer": {"tools_used": ["add"]}}
        assert message.tool_calls == []
        assert message.usage_metadata is not None
        assert message.usage_metadata["total_tokens"] == 18


async def test_pair_split_by_a_server_that_counts_in_utf16(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "\ud83d', '\ude00"}'))

    assert (await streamed(agent_model())).content == "\U0001f600"


async def test_streamed_equals_whole(server: OpenAIServer) -> None:
    server.reply("Let me see. ", Call("final_answer", *ARGUMENTS), Call("add", '{"x": 1, "y": 2}'), times=4)
    model = agent_model()

    messages = [
        await streamed(model),
        await model.ainvoke("hi"),
        await asyncio.to_thread(model.invoke, "hi"),
        await asyncio.to_thread(lambda: sum(list(model.stream("hi"))[1:], AIMessageChunk(""))),
    ]

    for message in messages:
        assert isinstance(message, AIMessage)
        assert message.content == ANSWER
        assert message.additional_kwargs["final_answer"] == {"tools_used": ["add"]}
        assert message.tool_calls == []
        assert message.usage_metadata is not None
        assert message.usage_metadata["output_tokens"] == 7
        assert message.response_metadata["finish_reason"] == "tool_calls"


async def test_parallel_calls_are_untouched(server: OpenAIServer) -> None:
    server.reply(
        Call("add", '{"x": 1,', ' "y": 2}', call_id="one"),
        Call("final_answer", '{"answer": "3"}'),
        Call("add", '{"x": 3, "y"', ": 4}", call_id="two"),
        times=2,
    )

    for message in (await streamed(agent_model()), await agent_model().ainvoke("hi")):
        assert isinstance(message, AIMessage)
        assert message.content == ""
        assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == [
            ("one", "add", {"x": 1, "y": 2}),
            ("two", "add", {"x": 3, "y": 4}),
        ]


async def test_calls_interleaved(server: OpenAIServer) -> None:
    def fragment(index: int, arguments: str, name: str | None = None) -> Delta:
        function = {"name": name, "arguments": arguments}
        return Delta({"tool_calls": [{"index": index, "id": f"call_{index}", "function": function}]})

    server.reply(
        fragment(0, "", "final_answer"),
        fragment(1, "", "add"),
        fragment(0, '{"answer": "a'),
        fragment(1, '{"answer": "no"}'),
        fragment(0, 'b"}'),
    )

    message = await streamed(agent_model())

    assert message.content == "ab"
    assert message.tool_calls == []


async def test_plain_text_is_kept(server: OpenAIServer) -> None:
    server.reply("It is ", "20.", times=2)

    message = await streamed(agent_model())

    assert message.content == (await agent_model().ainvoke("hi")).content == "It is 20."
    assert "final_answer" not in message.additional_kwargs


async def test_answer_cut_short_by_the_token_limit(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is', " tw"), finish_reason="length", times=2)

    for message in (await streamed(agent_model()), await agent_model().ainvoke("hi")):
        assert message.content == "It is tw"
        assert message.additional_kwargs["final_answer"] == {"truncated": True}
        assert message.response_metadata["finish_reason"] == "length"


class State(TypedDict):
    messages: Annotated[list[BaseMessage], add_messages]


def graph_of(model: Runnable[Any, AIMessage]) -> Runnable[Any, Any]:
    async def agent(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(State).add_node("agent", agent).add_edge(START, "agent").compile()


async def test_events_v2_show_text(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", *ARGUMENTS))
    events = [event async for event in agent_model().astream_events("hi", version="v2")]

    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(chunk.content for chunk in chunks) == ANSWER
    assert not [chunk for chunk in chunks if chunk.tool_call_chunks]
    assert {event["name"] for event in events} == {"ChatOpenAI"}
    assert events[0]["metadata"].items() >= {"ls_provider": "openai", "ls_model_name": "test-model"}.items()


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
async def test_events_v3_show_text(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", *ARGUMENTS))

    run = await graph_of(agent_model()).astream_events({"messages": [("user", "hi")]}, version="v3")
    events = [event["params"]["data"][0] async for event in run if event["method"] == "messages"]

    deltas = [event["delta"] for event in events if event["event"] == "content-block-delta"]
    assert [delta["text"] for delta in deltas if delta["type"] == "text-delta"] == list(ANSWER)
    assert len(deltas) == len(ANSWER)
    assert events[-1]["event"] == "message-finish"
    assert events[-1]["usage"]["total_tokens"] == 18


# Faults


async def test_cut_connection_is_an_error_after_what_came(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is'), CUT)
    got: list[str] = []

    async def read() -> None:
        async for chunk in agent_model().astream("hi"):
            got.append(chunk.text)

    with pytest.raises(openai.APIConnectionError):
        await read()
    assert "".join(got) == "It is"
    assert len(server.requests) == 1


async def test_cut_connection_is_an_error_in_a_thread(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is'), CUT)

    with pytest.raises(openai.APIConnectionError):
        await asyncio.to_thread(lambda: list(agent_model().stream("hi")))


async def test_rate_limit_is_retried(server: OpenAIServer) -> None:
    server.error(429, "slow down", code="rate_limit_exceeded", headers={"retry-after-ms": "1"})
    server.reply(Call("final_answer", ARGUMENTS))

    assert (await streamed(agent_model())).content == ANSWER
    assert len(server.requests) == 2


@pytest.mark.parametrize("way", ["astream", "ainvoke"])
async def test_server_error_is_raised_after_retries(server: OpenAIServer, way: str) -> None:
    server.error(500, "broken", times=3)

    with pytest.raises(openai.InternalServerError, match="broken"):
        await (streamed(agent_model()) if way == "astream" else agent_model().ainvoke("hi"))
    assert len(server.requests) == 3


@pytest.mark.parametrize("way", ["astream", "ainvoke"])
async def test_prompt_too_long_is_raised_at_once(server: OpenAIServer, way: str) -> None:
    server.context_length_exceeded()

    with pytest.raises(openai.BadRequestError) as refusal:
        await (streamed(agent_model()) if way == "astream" else agent_model().ainvoke("hi"))
    assert refusal.value.code == "context_length_exceeded"
    assert len(server.requests) == 1


async def test_unreachable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_server() as gone:
        monkeypatch.setenv("OPENAI_BASE_URL", gone.url)

    with pytest.raises(openai.APIConnectionError):
        await streamed(agent_model())


async def test_cancelled_task_closes_the_connection(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is'), HANG, " 20")
    task = asyncio.create_task(streamed(agent_model()))
    await server.hanging()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await server.disconnected()


async def test_stream_that_is_left_closes_the_connection(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is'), HANG)
    stream = FinalAnswerModel(inner=chat_model()).astream("hi", tools=[{"type": "function"}])

    async for chunk in stream:
        if chunk.text:
            break
    await stream.aclose()

    await server.disconnected()


async def test_released_reply_goes_on(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", '{"answer": "It is'), HANG, Delta({"tool_calls": []}))
    task = asyncio.create_task(streamed(agent_model()))
    await server.hanging()

    server.release()

    assert (await task).additional_kwargs["final_answer"] == {"truncated": True}


async def test_unscripted_requests_fail(server: OpenAIServer) -> None:
    with pytest.raises(openai.BadRequestError, match="no reply is scripted"):
        await streamed(agent_model())
