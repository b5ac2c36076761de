"""Plain Runnables of every kind that langgraph.json may name."""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.utils import AddableDict
from langgraph.types import interrupt

from tests.api.graphs import Scripted, steps

prompt = ChatPromptTemplate.from_messages([("human", "{question}")])


def _says(text: str) -> Scripted:
    return Scripted(script=lambda _: AIMessage(text))


bare = _says("One two three.")
"""A chat model by itself."""

text: Runnable[Any, Any] = RunnableLambda(lambda asked: {"question": asked}) | prompt | bare | StrOutputParser()
"""A chain that streams text."""

parsed = (_says('[{"a": 1}, {"b": 2}]') | JsonOutputParser()).with_config(run_name="parsed")
"""Its chunks are all that there is so far: added up, they would be another list."""

waiting = text | (lambda answer: answer.upper())
"""Its last step waits for the whole."""

both = RunnableParallel(text=text, reply=bare, length=RunnableLambda(len))
"""Streams a dict whose parts add up."""


class Cats(BaseRetriever):
    """Finds two documents, whatever is asked."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document(query), Document("cats", metadata={"page": 1})]


retriever = Cats()

length = RunnableLambda(lambda given: {"length": len(given), "echo": given})
"""Takes and gives a lot."""


async def _break(given: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for _ in given:
        yield "One "
    raise ArithmeticError("/etc/secret must not reach a client")


failing = RunnableGenerator(_break)


async def _none(given: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for _ in given:
        for nothing in ():
            yield nothing


silent = RunnableGenerator(_none)
"""Yields nothing at all."""


async def _pieces(given: AsyncIterator[Any]) -> AsyncIterator[AddableDict]:
    async for each in given:
        yield AddableDict(first=[each])
        yield AddableDict(first=["more"], second="x")
        yield AddableDict(second="y")


pieces = RunnableGenerator(_pieces)

around: Runnable[Any, Any] = RunnableLambda(lambda number: {"number": number}) | steps
"""A chain that ends in a graph, whose stream is of updates."""

listed = RunnableParallel(list=parsed, text=text)
"""Its parts stream in ways of their own."""

assigned: Runnable[Any, Any] = RunnableLambda(lambda number: {"number": number}) | RunnablePassthrough.assign(
    steps=steps, list=RunnableLambda(str) | parsed
)
"""Adds the output of a graph to its input."""

asking = RunnableLambda(lambda given: f"{given}: {interrupt('Sure?')}")
"""Waits for a human."""

calling = Scripted(script=lambda _: AIMessage("", tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c1"}]))
"""A chat model that calls a tool."""


def made() -> Runnable[Any, Any]:
    """A factory of a Runnable."""
    return text
