"""What a model thinks aloud is kept in its message, streams as reasoning, and is never part of the answer."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from graph import build_graph
from graph.final_answer import FinalAnswerModel
from graph.reasoning import ReasoningChatOpenAI
from tests.graph.scripted import Reply, ScriptedModel
from tests.openai_server import Call, Delta, OpenAIServer, openai_server

HI: dict[str, Any] = {"messages": [("user", "hi")]}
ARGUMENTS = json.dumps({"answer": "It is 3.", "tools_used": []})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_MODEL", "thinker")
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield running


def whole(server: OpenAIServer) -> ReasoningChatOpenAI:
    """A model that asks for whole replies."""
    settings: dict[str, Any] = {"model": "thinker", "base_url": server.url, "api_key": "key"}
    return ReasoningChatOpenAI(**settings)


def reasoning_in(messages: Sequence[BaseMessage]) -> list[str]:
    blocks = [block for message in messages for block in message.content_blocks]
    return [block["reasoning"] for block in blocks if block["type"] == "reasoning"]


async def streamed(given: Any = HI, **rest: Any) -> tuple[list[AIMessageChunk], dict[str, Any]]:
    """Run a turn of the default agent; return the chunks of its model and what it ends with."""
    seen = [each async for each in build_graph(**rest).astream(given, stream_mode=["messages", "values"])]
    chunks = [data[0] for mode, data in seen if mode == "messages" and isinstance(data[0], AIMessageChunk)]
    return chunks, seen[-1][1]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_beside_the_answer(server: OpenAIServer, name: str) -> None:
    server.reply(Delta({name: "One and two"}), Delta({name: " are three."}), Call("final_answer", *ARGUMENTS))
    chunks, result = await streamed()
    assert reasoning_in(chunks) == ["One and two", " are three."]
    assert "".join(chunk.text for chunk in chunks) == "It is 3." == result["final_answer"]["answer"]
    message = result["messages"][-1]
    assert message.text == "It is 3."
    assert message.content_blocks[0] == {"type": "reasoning", "reasoning": "One and two are three."}
    assert message.content_blocks[1:] == [{"type": "text", "text": "It is 3."}]
    assert message.additional_kwargs["final_answer"] == {"tools_used": []}
    assert message.response_metadata["model_provider"] == "openai-compatible"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_of_a_whole_reply(server: OpenAIServer, name: str) -> None:
    server.reply("It is 3.", message={name: "One and two."})
    result = await build_graph(whole(server)).ainvoke(HI)
    assert server.requests[0].body["stream"] is False
    assert result["messages"][-1].content_blocks == [
        {"type": "reasoning", "reasoning": "One and two."},
        {"type": "text", "text": "It is 3."},
    ]
    assert result["final_answer"]["answer"] == "It is 3."


async def test_reasoning_before_a_call(server: OpenAIServer) -> None:
    """DeepSeek wants it back while the turn lasts, and not in the next one; nobody gets it as text."""
    server.reply(Delta({"reasoning_content": "Let me add."}), Call("add", '{"x": 1, "y": 2}'))
    server.reply(Call("final_answer", ARGUMENTS), times=2)
    graph = build_graph(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    chunks = [chunk async for chunk, _ in graph.astream(HI, thread, stream_mode="messages")]
    await graph.ainvoke({"messages": "again"}, thread)
    assert reasoning_in(chunks) == ["Let me add."]
    _, same_turn, next_turn = (request.body["messages"] for request in server.requests)
    assert same_turn[2]["reasoning_content"] == "Let me add."
    assert same_turn[2]["content"] is None
    assert "Let me add." not in json.dumps(next_turn)


async def test_reasoning_by_the_other_name_is_not_sent_back(server: OpenAIServer) -> None:
    server.reply(Delta({"reasoning": "Let me add."}), Call("add", '{"x": 1, "y": 2}'))
    server.reply(Call("final_answer", ARGUMENTS))
    await streamed()
    assert "Let me add." not in json.dumps(server.requests[1].body)


async def test_reasoning_alone_is_no_answer(server: OpenAIServer) -> None:
    server.reply(Delta({"reasoning_content": "Hm."}))
    server.reply(Call("final_answer", ARGUMENTS))
    _, result = await streamed()
    assert result["final_answer"]["answer"] == "It is 3."
    assert "could not be read" in server.requests[1].body["messages"][0]["content"]


async def test_without_reasoning_nothing_is_added(server: OpenAIServer) -> None:
    server.reply("It is ", "3.", times=2)
    for message in (
        (await streamed())[1]["messages"][-1],
        (await build_graph(whole(server)).ainvoke(HI))["messages"][-1],
    ):
        assert message.content_blocks == [{"type": "text", "text": "It is 3."}]
        assert not [key for key in message.additional_kwargs if "reasoning" in key]


class Blocks(Reply):
    """A reply in blocks of content, as OpenAI's Responses API and Anthropic's give them."""

    provider: str
    thought: dict[str, Any]

    def chunks(self) -> Any:
        about = {"model_provider": self.provider}
        for piece in ("One and two", " are three."):
            block = json.loads(json.dumps(self.thought).replace("THOUGHT", piece))
            yield AIMessageChunk([block], response_metadata=about)  # type: ignore[call-overload]
        for at, args in enumerate(("", *ARGUMENTS)):
            name, id_ = ("final_answer", "f") if at == 0 else (None, None)
            part = tool_call_chunk(name=name, args=args, id=id_, index=1)
            yield AIMessageChunk([], tool_call_chunks=[part], response_metadata=about)
        yield AIMessageChunk([], chunk_position="last", response_metadata=about)


@pytest.mark.parametrize(
    ("provider", "thought"),
    [
        ("anthropic", {"type": "thinking", "thinking": "THOUGHT", "index": 0}),
        (
            "openai",
            {"type": "reasoning", "index": 0, "summary": [{"index": 0, "type": "summary_text", "text": "THOUGHT"}]},
        ),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
async def test_reasoning_in_blocks(provider: str, thought: dict[str, Any], whole: bool) -> None:
    reply = Blocks()
    reply.provider, reply.thought = provider, thought
    chunks, result = await streamed(model=ScriptedModel(reply, disable_streaming=whole))
    message = result["messages"][-1]
    assert message.text == "It is 3." == result["final_answer"]["answer"]
    assert reasoning_in([message]) == ["One and two are three."]
    if not whole:
        assert "".join(reasoning_in(chunks)) == "One and two are three."
        assert "".join(chunk.text for chunk in chunks) == "It is 3."


async def test_a_model_of_langchains_convention_keeps_its_reasoning() -> None:
    """Ollama's, DeepSeek's, xAI's and Groq's models put it there themselves."""

    class Thinking(Reply):
        def chunks(self) -> Any:
            yield AIMessageChunk("", additional_kwargs={"reasoning_content": "Hm."})
            yield from Reply(calls=[("final_answer", ARGUMENTS, "f")]).chunks()

    model = FinalAnswerModel(inner=ScriptedModel(Thinking())).bind_tools([{"name": "final_answer", "parameters": {}}])
    chunks = [chunk async for chunk in model.astream([HumanMessage("hi")])]
    assert reasoning_in(chunks) == ["Hm."]
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, AIMessage)) == "It is 3."


async def test_a_refusal_is_the_answer(server: OpenAIServer) -> None:
    server.reply(Delta({"refusal": "I cannot "}), Delta({"refusal": "help with that."}))
    chunks, result = await streamed()
    assert "".join(chunk.text for chunk in chunks) == "I cannot help with that." == result["final_answer"]["answer"]
    server.reply(Delta({"refusal": "I cannot "}), Delta({"refusal": "help."}))
    model = ReasoningChatOpenAI(model="thinker", base_url=server.url, api_key=SecretStr("key"))
    assert [chunk.text async for chunk in model.astream("hi") if chunk.text] == ["I cannot ", "help."]
    server.reply(message={"refusal": "I cannot."})
    assert (await whole(server).ainvoke("hi")).text == "I cannot."
    assert len(server.requests) == 3
