"""Models of every shape: what is around a chat model takes effect, and the answer streams all the same."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
)
from langchain_openai import ChatOpenAI

from graph import build_graph
from graph.final_answer import FinalAnswerModel
from tests.graph.scripted import Reply, ScriptedModel, answer, call, say
from tests.openai_server import CUT, Call, OpenAIServer, openai_server

HI: dict[str, Any] = {"messages": [("user", "hi")]}
ADD = call(("add", {"x": 1, "y": 2}, "a"))
ANSWER = "It is three, I think."
TURN = {"answer": ANSWER, "tools_used": ["add"]}
APIS = ("invoke", "ainvoke", "stream", "astream")


class Cut(Reply):
    """A reply whose connection is cut after its text."""

    def chunks(self) -> Iterator[AIMessageChunk]:
        for chunk in super().chunks():
            if chunk.chunk_position == "last":
                raise ConnectionError("cut")
            yield chunk


async def turn(model: Any, api: str, config: RunnableConfig | None = None, **rest: Any) -> tuple[Any, list[str]]:
    """Run a turn by one of the `APIS`; return what it ends with, and the pieces of text that streamed."""
    graph = build_graph(model)
    modes = ["messages", "values"]
    if api == "invoke":
        return graph.invoke(HI, config, **rest), []
    if api == "ainvoke":
        return await graph.ainvoke(HI, config, **rest), []
    if api == "stream":
        seen: list[Any] = list(graph.stream(HI, config, stream_mode=modes, **rest))
    else:
        seen = [each async for each in graph.astream(HI, config, stream_mode=modes, **rest)]
    pieces = [data[0].text for mode, data in seen if mode == "messages" and isinstance(data[0], AIMessage)]
    return seen[-1][1], [piece for piece in pieces if piece]


def around(shape: str, model: Any) -> Runnable[Any, Any]:
    other = ScriptedModel(say("the other"), repeats=True)
    shapes: dict[str, Any] = {
        "bind": lambda: model.bind(seed=7),
        "config": lambda: model.with_config(tags=["mine"]),
        "retry": lambda: model.with_retry(stop_after_attempt=2),
        "fallbacks": lambda: model.with_fallbacks([other]),
        "fields": lambda: model.configurable_fields(name=ConfigurableField(id="name")),
        "alternatives": lambda: model.configurable_alternatives(ConfigurableField(id="which"), other=other),
        "prompt": lambda: RunnableLambda(lambda messages: [SystemMessage("Be kind."), *messages]) | model,
        "decoded": lambda: FinalAnswerModel(inner=model),
        "all": lambda: (
            (RunnableLambda(lambda messages: messages) | model.bind(seed=7).with_config(tags=["mine"]))
            .with_retry(stop_after_attempt=2)
            .with_fallbacks([other])
            .with_config(run_name="everything")
        ),
        "decoded_retry": lambda: FinalAnswerModel(inner=model).with_retry(),
    }
    return shapes[shape]()  # type: ignore[no-any-return]


SHAPES = ["bind", "config", "retry", "fallbacks", "fields", "alternatives", "prompt", "decoded", "all", "decoded_retry"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_turn(shape: str, api: str) -> None:
    model = ScriptedModel(ADD, answer(ANSWER))
    result, pieces = await turn(around(shape, model), api, context={"temperature": 0.5})
    assert result["final_answer"] == TURN
    asked = model.asked[-1]
    assert (asked.tools[-1], asked.tool_choice) == ("final_answer", "any")
    assert asked.options["temperature"] == 0.5
    if "stream" in api:
        assert "".join(pieces) == ANSWER
        assert len(pieces) > 3


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_last_call_can_only_answer(shape: str) -> None:
    model = ScriptedModel(ADD, answer(ANSWER))
    result, _ = await turn(around(shape, model), "astream", context={"max_iterations": 1})
    assert result["final_answer"] == TURN
    assert (model.asked[-1].tools, model.asked[-1].tool_choice) == (["final_answer"], "final_answer")


async def test_what_is_bound_and_configured_takes_effect() -> None:
    seen: list[list[str]] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            seen.append(kwargs["tags"])

    model = ScriptedModel(ADD, answer(ANSWER))
    shaped = model.bind(seed=7).with_config(tags=["mine"]).with_retry().with_config(callbacks=[Handler()])
    await turn(shaped, "astream")
    assert [asked.options["seed"] for asked in model.asked] == [7, 7]
    assert len(seen) == 2
    assert all("mine" in tags for tags in seen)


async def test_a_choice_of_tools_that_is_bound_stands() -> None:
    """Some servers know no other than "auto"."""
    model = ScriptedModel(ADD, answer(ANSWER))
    result, _ = await turn(model.bind(tool_choice="auto"), "ainvoke")
    assert result["final_answer"] == TURN
    assert [asked.tool_choice for asked in model.asked] == ["auto", "auto"]


@pytest.mark.parametrize("api", APIS)
async def test_what_fails_before_a_reply_begins_is_tried_again(api: str) -> None:
    model = ScriptedModel(ConnectionError("down"), ADD, Cut(), answer(ANSWER))
    result, pieces = await turn(model.with_retry(wait_exponential_jitter=False), api)
    assert result["final_answer"] == TURN
    assert len(model.asked) == 4
    assert "".join(pieces) in ("", ANSWER)


@pytest.mark.parametrize("api", APIS)
async def test_what_fails_goes_to_the_fallback(api: str) -> None:
    model = ScriptedModel(ConnectionError("down"), repeats=True)
    other = ScriptedModel(ADD, answer(ANSWER))
    result, pieces = await turn(model.with_fallbacks([other]), api)
    assert result["final_answer"] == TURN
    assert (len(model.asked), len(other.asked)) == (2, 2)
    assert "".join(pieces) in ("", ANSWER)


@pytest.mark.parametrize("way", ["retry", "fallbacks"])
@pytest.mark.parametrize("api", ["stream", "astream"])
async def test_a_reply_that_has_begun_is_not_begun_anew(way: str, api: str) -> None:
    begun = Cut(calls=[("final_answer", '{"answer": "It is th', "f")])
    model = ScriptedModel(begun, answer("anew"))
    shaped = model.with_retry() if way == "retry" else model.with_fallbacks([ScriptedModel(answer("anew"))])
    with pytest.raises(ConnectionError, match="cut"):
        await turn(shaped, api)
    assert len(model.asked) == 1


async def test_what_is_configurable_is_settled_for_each_run() -> None:
    other = ScriptedModel(say("the other"), repeats=True)
    model = ScriptedModel(say("the one"), repeats=True)
    graph = build_graph(model.configurable_alternatives(ConfigurableField(id="which"), other=other))
    for which, said in (("default", "the one"), ("other", "the other"), ("other", "the other")):
        result = await graph.ainvoke(HI, {"configurable": {"which": which}})
        assert result["final_answer"]["answer"] == said
    with pytest.raises(ValueError, match="Unknown alternative"):
        await graph.ainvoke(HI, {"configurable": {"which": "a third"}})


# Runnables that are no chat models


async def plan(messages: list[BaseMessage]) -> AsyncIterator[str]:
    for word in ("Just ", "so, ", "it ", "says."):
        yield word


async def transform(given: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for messages in given:
        async for word in plan(messages):
            yield word


@pytest.mark.parametrize("api", ["ainvoke", "astream"])
async def test_a_runnable_that_streams_text(api: str) -> None:
    result, pieces = await turn(RunnableGenerator(transform), api)
    assert result["final_answer"] == {"answer": "Just so, it says.", "tools_used": []}
    assert pieces in ([], ["Just ", "so, ", "it ", "says."])


@pytest.mark.parametrize("api", APIS)
async def test_a_function_that_gives_messages(api: str) -> None:
    script = [
        AIMessage("", tool_calls=[{"name": "add", "args": {"x": 1, "y": 2}, "id": "a", "type": "tool_call"}]),
        AIMessage(
            "", tool_calls=[{"name": "final_answer", "args": {"answer": ANSWER}, "id": "f", "type": "tool_call"}]
        ),
    ]
    replies = iter(script)
    result, pieces = await turn(RunnableLambda(lambda messages: next(replies)), api)
    assert result["final_answer"] == TURN
    assert "".join(pieces) in ("", ANSWER)


async def test_what_a_function_asks_stays_out_of_sight() -> None:
    inner = ScriptedModel(say("secret"), repeats=True)

    async def reply(messages: list[BaseMessage]) -> AIMessage:
        secret = await inner.ainvoke(messages)
        return AIMessage(f"Not telling ({len(secret.text)} letters).")

    result, pieces = await turn(RunnableLambda(reply), "astream")
    assert pieces == ["Not telling (6 letters)."] == [result["final_answer"]["answer"]]


async def test_a_parser_behind_a_model_is_asked_as_it_is() -> None:
    model = ScriptedModel(say(ANSWER))
    result, pieces = await turn(model | StrOutputParser(), "astream")
    assert result["final_answer"]["answer"] == ANSWER == "".join(pieces)
    assert len(pieces) > 3
    assert model.asked[0].tools == []


# What cannot be


def test_what_is_no_runnable_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a LangChain chat model or another Runnable, got str"):
        build_graph("gpt-5")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["none", "retry"])
def test_tools_of_its_own_are_refused(shape: str) -> None:
    model = ScriptedModel().bind(tools=[{"type": "function", "function": {"name": "mine"}}])
    with pytest.raises(ValueError, match="has tools bound: the agent binds the tools that it is given"):
        build_graph(model.with_retry() if shape == "retry" else model)


def test_a_model_that_takes_no_tools_is_refused() -> None:
    with pytest.raises(ValueError, match="GenericFakeChatModel cannot be given tools: it has no bind_tools"):
        build_graph(GenericFakeChatModel(messages=iter(())))


def test_a_model_that_can_be_told_no_tool_is_refused_before_a_run() -> None:
    class Free(ScriptedModel):
        def bind_tools(self, tools: Any, *, tool_choice: str | None = None, **kwargs: Any) -> Any:
            if tool_choice != "any":
                raise ValueError(f"no such choice: {tool_choice}")
            return super().bind_tools(tools)

    with pytest.raises(ValueError, match="no such choice: final_answer"):
        build_graph(Free())


@pytest.mark.parametrize("given", [{"text": "hello"}, [AIMessage("hello")]])
async def test_what_is_no_message_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="must give an AIMessage or a text"):
        await turn(RunnableLambda(lambda messages: given), "astream")


async def test_a_temperature_that_nothing_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no temperature"):
        await turn(RunnableLambda(lambda messages: "hi"), "ainvoke", context={"temperature": 1})


# Over HTTP


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


def chat(server: OpenAIServer, **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="test-model", base_url=server.url, api_key="key", max_retries=0, stream_usage=True, **fields
    )  # type: ignore[arg-type]


def http_shape(shape: str, server: OpenAIServer) -> Runnable[Any, Any]:
    model, other = chat(server), chat(server, temperature=0.25)
    if shape == "fields":
        return model.configurable_fields(model_name=ConfigurableField(id="model_name"))
    if shape == "alternatives":
        return model.configurable_alternatives(ConfigurableField(id="which"), other=other)
    return around(shape, model) if shape != "fallbacks" else model.with_fallbacks([other])


@pytest.mark.parametrize("shape", ["bind", "config", "retry", "fallbacks", "fields", "alternatives", "prompt", "all"])
async def test_a_turn_over_http(server: OpenAIServer, shape: str) -> None:
    server.reply(Call("add", '{"x": 1,', ' "y": 2}'))
    server.reply(Call("final_answer", *json.dumps({"answer": ANSWER, "tools_used": []})))
    config: RunnableConfig = {"configurable": {"model_name": "chosen", "which": "other"}}
    result, pieces = await turn(http_shape(shape, server), "astream", config)
    assert result["final_answer"] == TURN
    assert pieces == list(ANSWER)
    assert result["messages"][-1].usage_metadata["total_tokens"] == 18
    body = server.requests[-1].body
    assert [tool["function"]["name"] for tool in body["tools"]][-1] == "final_answer"
    assert body["tool_choice"] == "required"
    assert body["stream"] is True
    assert body["model"] == ("chosen" if shape == "fields" else "test-model")
    assert body.get("temperature") == (0.25 if shape == "alternatives" else None)
    assert body.get("seed") == (7 if shape in ("bind", "all") else None)


async def test_a_refusal_is_tried_again_over_http(server: OpenAIServer) -> None:
    server.error(500, "broken")
    server.reply(Call("final_answer", '{"answer": "fine"}'))
    result, _ = await turn(chat(server).with_retry(wait_exponential_jitter=False), "astream")
    assert result["final_answer"]["answer"] == "fine"
    assert len(server.requests) == 2


async def test_a_cut_goes_to_the_fallback_only_before_the_answer_begins(server: OpenAIServer) -> None:
    server.reply(CUT)
    server.reply(Call("final_answer", '{"answer": "fine"}'))
    model = chat(server).with_fallbacks([chat(server)])
    assert (await turn(model, "astream"))[0]["final_answer"]["answer"] == "fine"
    server.reply(Call("final_answer", '{"answer": "It is'), CUT)
    with pytest.raises(openai.APIConnectionError):
        await turn(model, "astream")
    assert len(server.requests) == 3


async def test_a_sync_host_over_http(server: OpenAIServer) -> None:
    server.reply(Call("final_answer", *json.dumps({"answer": ANSWER})))
    graph = build_graph(chat(server).with_retry())
    seen = await asyncio.to_thread(lambda: list(graph.stream(HI, stream_mode="messages")))
    assert "".join(message.text for message, _ in seen) == ANSWER
    assert len(seen) > 3
