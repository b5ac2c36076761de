"""Runnables without a graph, served beside the agent. Each streams from its first token.

    chat       question ──> prompt ──> model ──> text
    extract    text ──> prompt ──> model ──> JSON as far as it goes ──> each fact once it is whole, then their count
    retrieve   question ──┬─> passages, whole ─┬─> prompt ──> model ──> text
                          └────────────────────┘

The input of each is a string, or a dict with it under "input" or "question". The model is chosen when a chain runs.
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
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.utils import AddableDict
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_core.vectorstores.base import VectorStoreRetriever

from .models import chat_model
from .prompts import CHAT, EXTRACT, RETRIEVE

PASSAGES = (
    "Threadline serves LangGraph agents over HTTP. It works as one process and needs no other services by default.",
    "A run writes a log of events, and every stream is a reader of that log with a cursor. A connection that is cut "
    "resumes from the last event it saw, with Last-Event-ID: nothing is lost and nothing comes twice.",
    "A client that disconnects does not end its run, unless it asked for on_disconnect=cancel.",
    "Threads, runs and checkpoints are stored in SQLite, under .threadline, or in Postgres when DATABASE_URI is set. "
    "With REDIS_URI the event log is in Redis.",
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


def retriever(_: object = None) -> VectorStoreRetriever:
    """Return a retriever of PASSAGES; they are so few that their store is made anew for each question."""
    return InMemoryVectorStore.from_texts(list(PASSAGES), HashedWords()).as_retriever(search_kwargs={"k": 2})


def _question(asked: str | dict[str, Any]) -> str:
    question = asked.get("input", asked.get("question")) if isinstance(asked, dict) else asked
    if not isinstance(question, str):
        raise TypeError('the input is a string, or a dict with a string under "input" or "question"')
    return question


def _model(_: object) -> BaseChatModel:
    return chat_model()


def _context(found: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in found)


class _WholeFacts:
    """Passes a growing object on key by key: a value is whole when the next key has begun, or the object has ended."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] | None = None
        self._passed = 0

    def feed(self, partial: object) -> Iterator[AddableDict]:
        if not isinstance(partial, dict):
            raise OutputParserException("the reply is not a JSON object", llm_output=str(partial))
        self._seen = partial
        yield from self._pass_on(partial, len(partial) - 1)

    def finish(self) -> Iterator[AddableDict]:
        if self._seen is None:
            raise OutputParserException("the reply holds no JSON object")
        yield from self._pass_on(self._seen, len(self._seen))
        yield AddableDict(count=self._passed)

    def _pass_on(self, seen: dict[str, Any], up_to: int) -> Iterator[AddableDict]:
        for key in list(seen)[self._passed : up_to]:
            self._passed += 1
            yield AddableDict(facts=AddableDict({key: seen[key]}))


def _whole_facts(partials: Iterator[Any]) -> Iterator[AddableDict]:
    facts = _WholeFacts()
    for partial in partials:
        yield from facts.feed(partial)
    yield from facts.finish()


async def _awhole_facts(partials: AsyncIterator[Any]) -> AsyncIterator[AddableDict]:
    facts = _WholeFacts()
    async for partial in partials:
        for whole in facts.feed(partial):
            yield whole
    for whole in facts.finish():
        yield whole


def _prompt(system: str) -> Runnable[Any, Any]:
    return ChatPromptTemplate.from_messages([("system", system), ("human", "{question}")])


_asked: Runnable[Any, Any] = RunnableLambda(_question)
_chosen_model: Runnable[Any, Any] = RunnableLambda(_model)
_retrieved = {"context": RunnableLambda(retriever) | _context, "question": RunnablePassthrough()}

chat: Runnable[str | dict[str, Any], str] = (
    _asked | {"question": RunnablePassthrough()} | _prompt(CHAT) | _chosen_model | StrOutputParser()
).with_config(run_name="chat")
"""Answers a question in text."""

extract: Runnable[str | dict[str, Any], dict[str, Any]] = (
    _asked
    | {"question": RunnablePassthrough()}
    | _prompt(EXTRACT)
    | _chosen_model
    | JsonOutputParser()
    | RunnableGenerator(_whole_facts, _awhole_facts)
).with_config(run_name="extract")
"""Turns a text into {"facts": {...}, "count": n}. The chunks of a stream, one for each fact, add up to it."""

retrieve: Runnable[str | dict[str, Any], str] = (
    _asked | _retrieved | _prompt(RETRIEVE) | _chosen_model | StrOutputParser()
).with_config(run_name="retrieve")
"""Answers a question about Threadline from passages about it."""


# LangGraph's own server loads no langgraph.json that names a Runnable itself, but it loads one that names a function.


def make_chat() -> Runnable[str | dict[str, Any], str]:
    """Return `chat`, for langgraph.json."""
    return chat


def make_extract() -> Runnable[str | dict[str, Any], dict[str, Any]]:
    """Return `extract`, for langgraph.json."""
    return extract


def make_retrieve() -> Runnable[str | dict[str, Any], str]:
    """Return `retrieve`, for langgraph.json."""
    return retrieve
