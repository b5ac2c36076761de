"""The chains, and the graphs that are made of them."""

import itertools
import operator
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import Runnable

from graph import chains
from graph.chains import (
    HashedWords,
    chat,
    chat_graph,
    extract,
    extract_blocking,
    extract_graph,
    retrieve,
    retrieve_graph,
    retriever,
)
from tests.graph.scripted import ScriptedModel, say

FACTS = '{"city": "Bern", "people": ["Ada", "Alan, {the} \\"great\\""], "nested": {"a": [1, 2]}, "year": 1952}'
PARSED = {"city": "Bern", "people": ["Ada", 'Alan, {the} "great"'], "nested": {"a": [1, 2]}, "year": 1952}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    model = ScriptedModel(say("Hello there, friend."), repeats=True)
    monkeypatch.setattr(chains, "chat_model", lambda: model)
    return model


@pytest.fixture(params=["stream", "astream"])
def chunks(request: pytest.FixtureRequest) -> Any:
    async def read(chain: Runnable[Any, Any], given: Any) -> list[Any]:
        if request.param == "stream":
            return list(chain.stream(given))
        return [chunk async for chunk in chain.astream(given)]

    return read


@pytest.mark.parametrize("given", ["Hi!", {"input": "Hi!"}, {"question": "Hi!"}])
@pytest.mark.parametrize("chain", [chat, retrieve])
async def test_an_answer_in_text(model: ScriptedModel, chain: Any, given: Any, chunks: Any) -> None:
    assert chain.invoke(given) == "Hello there, friend."
    assert await chain.ainvoke(given) == "Hello there, friend."
    pieces = [piece for piece in await chunks(chain, given) if piece]
    assert "".join(pieces) == "Hello there, friend."
    assert len(pieces) == 4
    assert [asked.messages[-1].text for asked in model.asked] == ["Hi!"] * 3


@pytest.mark.parametrize("chain", [extract, extract_blocking])
async def test_facts(model: ScriptedModel, chunks: Any, chain: Any) -> None:
    model.script = [say(FACTS)]
    whole = {"facts": PARSED, "count": 4}
    assert chain.invoke("In 1952…") == whole
    assert await chain.ainvoke("In 1952…") == whole
    assert (await chunks(chain, {"input": "In 1952…"}))[-1] == whole


async def test_facts_grow_also_within_one_key(model: ScriptedModel, chunks: Any) -> None:
    model.script = [say('{"city": "Bern on the Aare"}')]
    grown = [facts["facts"].get("city", "") for facts in await chunks(extract, "In 1952…")]
    assert grown[-1] == "Bern on the Aare"
    assert len(set(grown)) > 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(grown))


async def test_a_function_step_waits_for_the_whole(model: ScriptedModel, chunks: Any) -> None:
    model.script = [say(FACTS)]
    assert await chunks(extract_blocking, "In 1952…") == [{"facts": PARSED, "count": 4}]


async def test_facts_stream_before_the_reply_is_over(model: ScriptedModel) -> None:
    model.script = [say(FACTS)]
    kinds = [
        (event["event"], event["name"])
        async for event in extract.astream_events("In 1952…", version="v2")
        if event["name"] in ("facts", "model") and not event["event"].endswith("start")
    ]
    streamed, ended = ("on_chain_stream", "facts"), ("on_chat_model_end", "model")
    assert kinds[: kinds.index(ended)].count(streamed) > 4
    assert streamed not in kinds[kinds.index(ended) :]


async def test_no_facts(model: ScriptedModel, chunks: Any) -> None:
    model.script = [say("{}")]
    assert await chunks(extract, "Well.") == [{"facts": {}, "count": 0}]


@pytest.mark.parametrize("reply", ["I cannot do that.", "[1, 2]", ""])
async def test_a_reply_that_is_no_object_is_an_error(model: ScriptedModel, chunks: Any, reply: str) -> None:
    model.script = [say(reply)]
    for chain in (extract, extract_blocking):
        with pytest.raises(OutputParserException):
            chain.invoke("In 1952…")
        with pytest.raises(OutputParserException):
            await chain.ainvoke("In 1952…")
    with pytest.raises(OutputParserException):
        await chunks(extract, "In 1952…")


async def test_retrieval_comes_whole_and_before_the_answer(model: ScriptedModel) -> None:
    events = [e async for e in retrieve.astream_events("Where are threads stored?", version="v2")]
    kinds = [e["event"] for e in events]
    (found,) = [e["data"]["output"] for e in events if e["event"] == "on_retriever_end"]
    assert "SQLite" in found[0].page_content
    assert found[0].page_content in model.asked[0].messages[0].text
    assert kinds.index("on_retriever_end") < kinds.index("on_chat_model_stream")
    assert kinds.count("on_chat_model_stream") > 3


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How do I resume a connection that was cut?", "Last-Event-ID"),
        ("How do I embed the agent in my program?", "build_graph"),
        ("What is max_iterations?", "max_iterations"),
    ],
)
def test_the_passage_that_answers_is_found(question: str, word: str) -> None:
    found = retriever().invoke(question)
    assert len(found) == 2
    assert any(word in document.page_content for document in found)


def test_a_question_of_other_words_fails_nothing() -> None:
    assert len(retriever().invoke("xyzzy")) == 2
    assert len(retriever().invoke("")) == 2


def test_embeddings_count_words_without_case_or_order() -> None:
    one, same, other = HashedWords().embed_documents(["Streams resume.", "resume STREAMS", "elephants walk"])
    assert one == same
    assert sum(map(operator.mul, one, other)) < 0.001


@pytest.mark.parametrize(
    ("chain", "filtered", "kinds"),
    [
        (retrieve, {"include_names": ["Docs"]}, {"on_retriever_start", "on_retriever_end"}),
        (retrieve, {"include_tags": ["Docs"]}, {"on_retriever_start", "on_retriever_end"}),
        (retrieve, {"include_types": ["retriever"]}, {"on_retriever_start", "on_retriever_end"}),
        (chat, {"include_names": ["model"]}, {"on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"}),
        (chat, {"include_tags": ["model"]}, {"on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"}),
        (chat_graph, {"include_names": ["parser"]}, {"on_parser_start", "on_parser_stream", "on_parser_end"}),
        (extract, {"include_tags": ["parser"]}, {"on_parser_start", "on_parser_stream", "on_parser_end"}),
        (extract_graph, {"include_names": ["facts"]}, {"on_chain_start", "on_chain_stream", "on_chain_end"}),
        (retrieve_graph, {"include_names": ["prompt"]}, {"on_prompt_start", "on_prompt_end"}),
    ],
)
async def test_steps_are_filtered_by_name_type_and_tag(
    model: ScriptedModel, chain: Any, filtered: dict[str, Any], kinds: set[str]
) -> None:
    model.script = [say(FACTS)]
    found = chain.astream_events({"question": "Where are threads stored?"}, version="v2", **filtered)
    assert {event["event"] async for event in found} == kinds


@pytest.mark.parametrize("chain", [chat_graph, extract_graph, retrieve_graph])
async def test_no_name_of_a_step_is_private(model: ScriptedModel, chain: Any) -> None:
    model.script = [say(FACTS)]
    events = chain.astream_events({"question": "Where are threads stored?"}, version="v2")
    names = {event["name"] async for event in events}
    assert {"prompt", "model", "parser"} <= names
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("graph", [chat_graph, retrieve_graph])
async def test_a_graph_of_one_chain(model: ScriptedModel, graph: Any) -> None:
    asked = {"question": "Hi!"}
    answered = {**asked, "answer": "Hello there, friend."}
    assert graph.invoke(asked) == answered
    assert await graph.ainvoke(asked) == answered
    pieces = [message.content async for message, _ in graph.astream(asked, stream_mode="messages")]
    assert "".join(pieces) == "Hello there, friend."
    assert len(pieces) > 3


async def test_the_graph_of_facts_writes_them_as_they_grow(model: ScriptedModel) -> None:
    model.script = [say('{"city": "Bern on the Aare"}')]
    asked = {"question": "In 1952…"}
    facts: dict[str, Any] = {"facts": {"city": "Bern on the Aare"}, "count": 1}
    answered = {**asked, "answer": facts}
    assert extract_graph.invoke(asked) == answered
    written = [part async for part in extract_graph.astream(asked, stream_mode="custom")]
    assert written == list(extract_graph.stream(asked, stream_mode="custom"))
    assert written[2] == {"name": "facts", "facts": {"city": "Bern"}, "count": 1}
    assert written[-1] == {"name": "facts", **facts}
    assert [part async for part in extract_graph.astream(asked, stream_mode="values")] == [asked, answered]


@pytest.mark.parametrize("given", [{}, {"text": "Hi!"}, 4, {"input": 4}])
@pytest.mark.parametrize("chain", [chat, extract, retrieve])
def test_other_inputs_are_refused(chain: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="the input is a string"):
        chain.invoke(given)


async def test_the_model_is_chosen_when_a_chain_runs(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel) -> None:
    assert chat.invoke("Hi!") == "Hello there, friend."
    monkeypatch.setattr(chains, "chat_model", lambda: ScriptedModel(say("Another.")))
    assert await chat.ainvoke("Hi!") == "Another."


async def test_without_a_key_the_offline_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    pieces = [piece async for piece in chat.astream("What is 7 * 25?") if piece]
    assert "".join(pieces)
    assert "".join(pieces) == chat.invoke("What is 7 * 25?")
