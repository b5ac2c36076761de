"""The runnables served beside the agent, in every API."""

import operator
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import Runnable

from graph import chains
from graph.chains import HashedWords, chat, extract, retrieve, retriever
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


async def test_facts(model: ScriptedModel, chunks: Any) -> None:
    model.script = [say(FACTS)]
    whole = {"facts": PARSED, "count": 4}
    assert extract.invoke("In 1952…") == whole
    assert await extract.ainvoke("In 1952…") == whole
    assert await chunks(extract, {"input": "In 1952…"}) == [
        *({"facts": {key: value}} for key, value in PARSED.items()),
        {"count": 4},
    ]


async def test_facts_stream_before_the_reply_is_over(model: ScriptedModel) -> None:
    model.script = [say(FACTS)]
    seen = 0
    async for event in extract.astream_events("In 1952…", version="v2"):
        if event["event"] == "on_chain_stream" and event["name"] == "extract":
            seen += 1
        elif event["event"] == "on_chat_model_end":
            assert seen == 3
    assert seen == 5


async def test_no_facts(model: ScriptedModel, chunks: Any) -> None:
    model.script = [say("{}")]
    assert await chunks(extract, "Well.") == [{"count": 0}]


@pytest.mark.parametrize("reply", ["I cannot do that.", "[1, 2]"])
async def test_a_reply_that_is_no_object_is_an_error(model: ScriptedModel, chunks: Any, reply: str) -> None:
    model.script = [say(reply)]
    with pytest.raises(OutputParserException):
        extract.invoke("In 1952…")
    with pytest.raises(OutputParserException):
        await extract.ainvoke("In 1952…")
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
