"""The project's own chains, as langgraph.json names them, in the native API and for LangGraph's clients."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client

from api.app import create_app
from api.settings import Settings
from tests.api.conftest import Client
from tests.openai_server import OpenAIServer, openai_server
from tests.serving import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FACTS = ('{"city": "Be', "rn on ", 'the Aare"}')
WHOLE = {"facts": {"city": "Bern on the Aare"}, "count": 1}
QUESTION = {"question": "Where?"}
MODES = ["values", "updates", "messages-tuple", "messages", "events", "custom", "debug", "tasks", "checkpoints"]


@pytest_asyncio.fixture(loop_scope="module")
async def model(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer]:
    """The endpoint that ChatOpenAI talks to."""
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server on the project's langgraph.json."""
    tmp_path = tmp_path_factory.mktemp("served")
    shutil.copy(Path(__file__).parents[2] / "langgraph.json", tmp_path)
    async with (
        serving(create_app(Settings(config=tmp_path / "langgraph.json"))) as url,
        Client(base_url=url, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize("agent", ["chat", "retrieve"])
async def test_text_streams_token_by_token(client: Client, model: OpenAIServer, agent: str) -> None:
    model.reply("It is ", "here", ".")
    frames = await client.run(agent, "Where?")
    assert [frame.data["text"] for frame in frames if frame.event == "token"] == ["It is ", "here", "."]
    assert [frame.event for frame in frames] == ["run", "token", "token", "token", "answer", "end"]
    assert frames[-2].data["answer"] == "It is here."
    assert frames[-2].data["usage"]["total_tokens"] == 18
    assert model.requests[0].body["messages"][-1]["content"] == "Where?"


async def test_facts_grow_and_the_answer_is_an_object(client: Client, model: OpenAIServer) -> None:
    model.reply(*FACTS)
    frames = await client.run("extract", "In Bern…")
    assert [frame.data["text"] for frame in frames if frame.event == "token"] == list(FACTS)
    grown = [frame.data for frame in frames if frame.event == "custom"]
    assert [each["data"]["facts"]["city"] for each in grown] == ["Be", "Bern on", "Bern on the Aare"]
    assert {each["name"] for each in grown} == {"facts"}
    (answer,) = [frame.data["answer"] for frame in frames if frame.event == "answer"]
    assert answer == WHOLE


async def test_other_forms_of_the_native_api(client: Client, model: OpenAIServer) -> None:
    for _ in range(5):
        model.reply(*FACTS)
    text = await client.post("/agents/chat/stream", json={"input": "Hi"}, headers={"accept": "text/plain"})
    assert text.text == "".join(FACTS) + "\n"
    whole = (await client.post("/agents/extract/invoke", json={"input": QUESTION})).json()
    assert (whole["status"], whole["answer"]) == ("success", WHOLE)
    batch = (await client.post("/agents/retrieve/batch", json={"inputs": ["Where?", QUESTION]})).json()
    assert [each["answer"] for each in batch["results"]] == ["".join(FACTS)] * 2
    described = (await client.get("/agents/chat")).json()
    assert list(described["input_schema"]["properties"]) == ["question"]
    thread = (await client.get(f"/threads/{whole['thread_id']}/state")).json()
    assert thread["values"] == {**QUESTION, "answer": WHOLE}


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ({"include_names": ["Docs"]}, ["on_retriever_start", "on_retriever_end"]),
        (
            {"include_types": ["chat_model"]},
            ["on_chat_model_start", *["on_chat_model_stream"] * 4, "on_chat_model_end"],
        ),
        ({"include_tags": ["parser"]}, ["on_parser_start", *["on_parser_stream"] * 4, "on_parser_end"]),
        ({"include_tags": ["Docs", "prompt"], "exclude_names": ["Docs"]}, ["on_prompt_start", "on_prompt_end"]),
    ],
)
async def test_events_filtered(client: Client, model: OpenAIServer, filters: dict[str, Any], kinds: list[str]) -> None:
    model.reply("It is ", "here", ".")
    response = await client.post("/agents/retrieve/events", json={"input": "Where?", **filters})
    found = [line.removeprefix("event: ") for line in response.text.splitlines() if line.startswith("event: on_")]
    assert [kind for kind in found if kind in kinds] == found
    assert (found[0], found[-1]) == (kinds[0], kinds[-1])
    assert len(found) >= len(kinds) - 1


@pytest.mark.parametrize("mode", MODES)
async def test_every_stream_mode(client: Client, model: OpenAIServer, mode: Any) -> None:
    model.reply(*FACTS)
    async with get_client(url=str(client.base_url), api_key=None) as sdk:
        thread = await sdk.threads.create()
        run = sdk.runs.stream(thread["thread_id"], "extract", input=QUESTION, stream_mode=mode)
        parts = [part async for part in run]
    assert parts[0].event == "metadata"
    kinds = {part.event.partition("/")[0] for part in parts[1:]}
    assert kinds == {"messages" if mode == "messages-tuple" else mode}
    if mode == "values":
        assert parts[-1].data == {**QUESTION, "answer": WHOLE}
    if mode == "updates":
        assert parts[-1].data == {"chain": {"answer": WHOLE}}


async def test_remote_graph_gives_the_whole(client: Client, model: OpenAIServer) -> None:
    for _ in range(4):
        model.reply(*FACTS)
    async with get_client(url=str(client.base_url), api_key=None) as sdk:
        assert await RemoteGraph("extract", client=sdk).ainvoke(QUESTION) == {**QUESTION, "answer": WHOLE}
        states = await RemoteGraph("chat", client=sdk).abatch([QUESTION, QUESTION])
        assert [state["answer"] for state in states] == ["".join(FACTS)] * 2
    with contextlib.closing(get_sync_client(url=str(client.base_url), api_key=None)) as blocking:
        remote = RemoteGraph("extract", sync_client=blocking)
        assert await asyncio.to_thread(remote.invoke, QUESTION) == {**QUESTION, "answer": WHOLE}


async def test_a_wrong_input_is_refused_with_its_field(client: Client) -> None:
    for given in ({"input": "Hi"}, [{"role": "user", "content": "Hi"}]):
        response = await client.post("/agents/chat/stream", json={"input": given})
        assert response.status_code == 422
        assert "question" in json.dumps(response.json()["error"])
