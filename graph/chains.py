"""LCEL chains, served beside the agent: each is the one node of a small graph, so that every server can run it.

    {"question": ...} ──> START ──> chain ──> END ──> {"question": ..., "answer": ...}

    chat       question ──> prompt ──> model ──> parser: text
    extract    text ──> prompt ──> model ──> parser: JSON as far as it goes ──> facts: what is there, and their count
    retrieve   question ──┬─> Docs: passages, whole ─┬─> prompt ──> model ──> parser: text
                          └──────────────────────────┘

`chat`, `extract` and `retrieve` are the chains, to run or to compose in Python; `chat_graph`, `extract_graph` and
`retrieve_graph` are what langgraph.json names. The input of a chain is a string, or a dict with it under "question" or
"input". The steps are called prompt, model, Docs, parser and facts; each has its name as a tag too, to filter events by
either. The model is chosen when a chain runs.
"""

import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any
from zlib import crc32

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict

from .models import chat_model
from .prompts import CHAT, EXTRACT, RETRIEVE

PASSAGES = (
    "Threadline serves LangGraph agents over HTTP. It works as one process and needs no other services by default.",
    "A run writes a log of events, and every stream is a reader of that log with a cursor. A connection that is cut "
    "resumes from the last event it saw, with Last-Event-ID: nothing is lost and nothing comes twice.",
    "A client that disconnects does not end its run, unless it asked for on_disconnect=cancel.",
    "Threads, runs and checkpoints are stored in SQLite, in the folder .threadline of the project.",
    "The agent calls tools until it knows the answer, and ends every turn with final_answer. max_iterations bounds the "
    "model calls of a turn.",
    "Without OPENAI_API_KEY and OPENAI_BASE_URL the agent uses the offline model, which only does arithmetic.",
    "To embed the agent in another program, import build_graph from the graph package and give it a model and tools.",
)

_WORD = re.compile(r"\w+")
_BIAS = 1e-3
_STOP_WORDS = frozenset(
    ("a", "an", "and", "are", "by", "do", "for", "how", "i", "in", "is", "it", "of", "or", "the", "to")
)


class HashedWords(Embeddings):
    """Embeds a text as counts of its words, each at a place that its hash gives: similar texts share words.

    Args:
        size: How many places there are; the more, the fewer words share a place.
    """

    def __init__(self, size: int = 1024) -> None:
        self._size = size

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text; its entries are square roots of counts, so that repeating a word adds little."""
        vector = [0.0] * self._size
        # A vector of zeros alone has no direction to compare.
        vector.append(_BIAS)
        for word, times in Counter(_WORD.findall(text.lower())).items():
            if word not in _STOP_WORDS:
                vector[crc32(word.encode()) % self._size] += math.sqrt(times)
        return vector


def _step(runnable: Runnable[Any, Any], name: str) -> Runnable[Any, Any]:
    """Give a step the name that its events are filtered by, and the same as a tag."""
    return runnable.with_config(run_name=name, tags=[name])


def retriever(_: object = None) -> Runnable[str, list[Document]]:
    """Return a retriever of PASSAGES; they are so few that their store is made anew for each question."""
    store = InMemoryVectorStore.from_texts(list(PASSAGES), HashedWords())
    return _step(store.as_retriever(search_kwargs={"k": 2}), "Docs")


def _prompt(system: str) -> Runnable[Any, Any]:
    return _step(ChatPromptTemplate.from_messages([("system", system), ("human", "{question}")]), "prompt")


def _model(_: object) -> Runnable[Any, Any]:
    return _step(chat_model(), "model")


def _question(asked: str | dict[str, Any]) -> str:
    question = asked.get("question", asked.get("input")) if isinstance(asked, dict) else asked
    if not isinstance(question, str):
        raise TypeError('the input is a string, or a dict with a string under "question" or "input"')
    return question


def _context(found: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in found)


class Facts(TypedDict):
    """What a text states."""

    facts: dict[str, Any]
    count: int


def _facts(parsed: object) -> Facts:
    if not isinstance(parsed, dict):
        raise OutputParserException("the reply is not a JSON object", llm_output=str(parsed))
    return Facts(facts=parsed, count=len(parsed))


def _growing_facts(partials: Iterator[object]) -> Iterator[Facts]:
    """Pass on what the parser has so far each time it has more, where `_facts` alone would wait for the whole."""
    parsed: object = None
    for parsed in partials:
        yield _facts(parsed)
    if parsed is None:
        raise OutputParserException("the reply holds no JSON object")


async def _agrowing_facts(partials: AsyncIterator[object]) -> AsyncIterator[Facts]:
    parsed: object = None
    async for parsed in partials:
        yield _facts(parsed)
    if parsed is None:
        raise OutputParserException("the reply holds no JSON object")


_asked: Runnable[Any, Any] = RunnableLambda(_question, name="question")
_chosen_model: Runnable[Any, Any] = RunnableLambda(_model, name="choose_model")
_retrieved = {
    "context": RunnableLambda(retriever, name="retriever") | RunnableLambda(_context, name="context"),
    "question": RunnablePassthrough(),
}
_text = _step(StrOutputParser(), "parser")
_json = (
    _asked
    | {"question": RunnablePassthrough()}
    | _prompt(EXTRACT)
    | _chosen_model
    | _step(JsonOutputParser(), "parser")
)

chat: Runnable[str | dict[str, Any], str] = (
    _asked | {"question": RunnablePassthrough()} | _prompt(CHAT) | _chosen_model | _text
).with_config(run_name="chat")
"""Answers a question in text."""

extract: Runnable[str | dict[str, Any], Facts] = (
    _json | _step(RunnableGenerator(_growing_facts, _agrowing_facts), "facts")
).with_config(run_name="extract")
"""Turns a text into its Facts. Each chunk of a stream holds all that is there so far: the last one is the whole."""

extract_blocking: Runnable[str | dict[str, Any], Facts] = (_json | _step(RunnableLambda(_facts), "facts")).with_config(
    run_name="extract_blocking"
)
"""The same with a function as its last step. A function waits for the whole of its input, so nothing streams."""

retrieve: Runnable[str | dict[str, Any], str] = (
    _asked | _retrieved | _prompt(RETRIEVE) | _chosen_model | _text
).with_config(run_name="retrieve")
"""Answers a question about Threadline from passages about it."""


class Question(TypedDict):
    """The input of each graph."""

    question: str


class TextState(Question):
    """The state of `chat_graph` and `retrieve_graph`."""

    answer: str


class FactsState(Question):
    """The state of `extract_graph`; its question is the text."""

    answer: Facts


def _extract(state: Question, config: RunnableConfig) -> dict[str, Any]:
    """Write what the chain has so far as custom events: a node returns once, when it is done."""
    write = get_stream_writer()
    answer: Facts | None = None
    for answer in extract.stream(state["question"], config):
        write({"name": "facts", **answer})
    return {"answer": answer}


async def _aextract(state: Question, config: RunnableConfig) -> dict[str, Any]:
    write = get_stream_writer()
    answer: Facts | None = None
    async for answer in extract.astream(state["question"], config):
        write({"name": "facts", **answer})
    return {"answer": answer}


def _graph(state: type[Any], chain: Runnable[Any, Any], name: str) -> CompiledStateGraph[Any, Any, Any, Any]:
    builder = StateGraph(state, input_schema=Question)
    builder.add_node("chain", chain)
    builder.add_edge(START, "chain")
    builder.add_edge("chain", END)
    return builder.compile(name=name)


chat_graph = _graph(TextState, RunnableParallel(answer=chat), "chat")
extract_graph = _graph(FactsState, RunnableLambda(_extract, _aextract, name="growing"), "extract")
retrieve_graph = _graph(TextState, RunnableParallel(answer=retrieve), "retrieve")
