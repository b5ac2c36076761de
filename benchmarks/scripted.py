"""The scripted graphs that every server in a benchmark runs, and the langgraph.json that names them.

    model: one tool call ──> tool ──> model: final_answer, a token at a time, with no delay

The model sends what an OpenAI-compatible one does: fragments of tool calls. The graphs are the shipped agent's own.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graph import build_graph

ANSWER_TOKENS = 200
LONG_TOKENS = 2_000
ENDLESS_TOKENS = 10_000
TURN_TOKENS = 20

_FIRST = "Threadline"
_WORDS = (" keeps", " every", " event", " of", " a", " run", ",", " and", " each", " client", " reads", " them", ".")

FIRST_TOKEN = b'{"text":"%b"}' % _FIRST.encode()
"""How an answer's first token looks on the wire."""

WAITS = b'"name":"waits"'
"""In the event that says that the waiting graph waits."""


def answer_tokens(count: int) -> list[str]:
    """An answer of so many tokens, each about as long as those of a real tokenizer."""
    return [_FIRST, *itertools.islice(itertools.cycle(_WORDS), count - 1)]


class Scripted(BaseChatModel):
    """Calls a tool once in each turn, if it is to, and then answers."""

    tokens: int
    calls_tool: bool = True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The script knows its tools."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole = AIMessageChunk(content="")
        for fragment in self._fragments(messages):
            whole += fragment
        return ChatResult(generations=[ChatGeneration(message=whole)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for fragment in self._fragments(messages):
            # A real model's fragments come from a socket: other tasks have their turn between two.
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=fragment)

    def _fragments(self, messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        if self.calls_tool and isinstance(messages[-1], HumanMessage):
            yield from _call("look_up", "call_1", ('{"subject":', '"runs"', "}"))
        else:
            tokens = (orjson.dumps(token).decode()[1:-1] for token in answer_tokens(self.tokens))
            yield from _call("final_answer", "call_2", itertools.chain(('{"answer":"',), tokens, ('"}',)))
        yield AIMessageChunk(content="", chunk_position="last")


def _call(name: str, call_id: str, fragments: Iterator[str] | Sequence[str]) -> Iterator[AIMessageChunk]:
    yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name=name, args="", id=call_id, index=0)])
    for fragment in fragments:
        yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=fragment, index=0)])


@tool
async def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"Nothing is lost of {subject}."


async def _wait(state: MessagesState) -> MessagesState:
    get_stream_writer()({"name": "waits"})
    await asyncio.Event().wait()
    return state


def _waiting() -> CompiledStateGraph[MessagesState, None, MessagesState, MessagesState]:
    builder = StateGraph(MessagesState)
    builder.add_node("wait", _wait)
    builder.add_edge(START, "wait")
    builder.add_edge("wait", END)
    return builder.compile()


answer = build_graph(Scripted(tokens=ANSWER_TOKENS), [look_up])
long = build_graph(Scripted(tokens=LONG_TOKENS), [look_up])
endless = build_graph(Scripted(tokens=ENDLESS_TOKENS), [look_up])
turns = build_graph(Scripted(tokens=TURN_TOKENS, calls_tool=False), [look_up])
waiting = _waiting()

GRAPHS = ("answer", "long", "endless", "turns", "waiting")
"""The attributes of this module that are served, under their own names."""


def write_config(folder: Path) -> Path:
    """Writes a langgraph.json that names the graphs, and returns its path."""
    path = folder / "langgraph.json"
    path.write_bytes(orjson.dumps({"dependencies": ["."], "graphs": {name: f"{__name__}:{name}" for name in GRAPHS}}))
    return path
