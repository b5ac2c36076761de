"""Graphs for hostile input: what clients send, what models and tools give, and how nodes fail."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, ToolCallChunk, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import PrivateAttr

FORGED = 'x\r\n\r\nevent: end\ndata: {"forged": true}\n\n'
"""What would be a frame of its own, if it got into a stream as it is."""
SECRET = "sk-secret-4f1c"
SECRET_PATH = "/srv/private/keys.pem"
TEN_MIB = 10 << 20


class Counting(TypedDict, total=False):
    """A state that takes messages, a count and anything else."""

    messages: Annotated[list[AnyMessage], add_messages]
    count: int
    anything: Any


def _count(state: Counting) -> Counting:
    count = state.get("count")
    return {"count": count + 1 if isinstance(count, int) else 1}


def _one_node(state: Any, node: Callable[..., Any], name: str = "node") -> Any:
    builder = StateGraph(state)
    builder.add_node(name, node)
    builder.add_edge(START, name)
    builder.add_edge(name, END)
    return builder


counting = _one_node(Counting, _count)


class Forger(BaseChatModel):
    """Streams what no provider should: fragments under odd indexes, names with line breaks, content of every form."""

    @property
    def _llm_type(self) -> str:
        return "forger"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        fragments = [
            ToolCallChunk(name=FORGED, args='{"a": ', id=FORGED, index=7),
            ToolCallChunk(name=None, args="1}", id=None, index=7),
            ToolCallChunk(name=None, args="}{", id=None, index=-1),
            ToolCallChunk(name="", args="", id="", index=None),
            ToolCallChunk(name="again", args="not JSON", id=FORGED, index=10**6),
        ]
        for fragment in fragments:
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[fragment]))
        for content in (FORGED, "\ud800", "\0", [{"type": "text", "text": FORGED}, {"type": FORGED}, "plain"]):
            yield ChatGenerationChunk(message=AIMessageChunk(content))  # type: ignore[arg-type]


async def _forge(_: MessagesState) -> Any:
    reply = await Forger().ainvoke("go")
    await adispatch_custom_event(FORGED, {FORGED: FORGED})
    get_stream_writer()({"name": FORGED, "data": FORGED})
    get_stream_writer()(FORGED)
    calls = [{"name": FORGED, "args": {FORGED: FORGED}, "id": FORGED}]
    odd: Any = [{"type": FORGED, FORGED: None}, FORGED]
    return {
        "messages": [
            reply,
            AIMessage("", tool_calls=calls),
            ToolMessage(odd, tool_call_id=FORGED, name=FORGED),
            AIMessage(FORGED, name=FORGED, id=FORGED),
        ]
    }


def _forging() -> Any:
    inner = _one_node(MessagesState, _forge, FORGED.replace(":", "")).compile()
    return _one_node(MessagesState, inner, "a\nb\rc")


forging = _forging()


def _bloat(_: MessagesState) -> Any:
    calls = [{"name": "big", "args": {}, "id": "1"}]
    return {"messages": [AIMessage("", tool_calls=calls), ToolMessage("x" * TEN_MIB, tool_call_id="1", name="big")]}


bloating = _one_node(MessagesState, _bloat)


async def _wait(_: MessagesState) -> None:
    await asyncio.Event().wait()


waiting = _one_node(MessagesState, _wait)


class _SecretiveError(Exception):
    """An error of a library, whose text is not for clients."""


def _raise(kind: str) -> None:
    """Fails as libraries do, with texts that are not for clients."""
    text = f"cannot read {SECRET_PATH} with {SECRET}"
    match kind:
        case "own":
            raise _SecretiveError(text)
        case "os":
            os.stat(SECRET_PATH)  # noqa: PTH116  # as a library calls it
        case "database":
            sqlite3.connect(f"file:{SECRET_PATH}?key={SECRET}&mode=ro", uri=True).execute("SELECT 1")
        case "process":
            subprocess.run([SECRET_PATH, SECRET], check=True)
        case "chained":
            try:
                raise _SecretiveError(text)
            except _SecretiveError as exc:
                raise OSError(text) from exc
        case "group":
            raise ExceptionGroup(text, [_SecretiveError(text)])
        case "key":
            raise _SecretiveKeyError(text)
        case "value":
            raise ValueError(f"https://user:{SECRET_PATH[-8:]}hunter2@db.example is not {text}")
        case "runtime":
            raise RuntimeError(text)
        case _:
            raise AssertionError(text)


class _SecretiveKeyError(LookupError):
    """Likewise."""


FAILURES = ("own", "os", "database", "process", "chained", "group", "key", "assertion", "value", "runtime")


class Failing(TypedDict):
    """How to fail."""

    kind: str


def _fail(state: Failing) -> Failing:
    _raise(state["kind"])
    return state


failing = _one_node(Failing, _fail)


class Saying(TypedDict, total=False):
    """What a node or a model is to write: `unit` again and again, to a size."""

    kind: str
    unit: str
    size: int
    said: Any
    messages: Annotated[list[AnyMessage], add_messages]


class Sayer(BaseChatModel):
    """A model that answers with one reply, in pieces: no field, as LangChain writes those down with each call."""

    _replies: list[AIMessageChunk] = PrivateAttr(default_factory=list)

    def saying(self, replies: list[AIMessageChunk]) -> "Sayer":
        """Itself, with what it is to answer."""
        self._replies = replies
        return self

    @property
    def _llm_type(self) -> str:
        return "sayer"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for reply in self._replies:
            await asyncio.sleep(0)  # as one does whose chunks come over a network
            yield ChatGenerationChunk(message=reply)


def _called(name: str, args: str, index: int = 0) -> AIMessageChunk:
    return AIMessageChunk("", tool_call_chunks=[ToolCallChunk(name=name, args=args, id=str(index), index=index)])


async def _say(state: Saying) -> Any:
    size = state["size"]
    text = state["unit"] * (size // len(state["unit"]) + 1)
    match state["kind"]:
        case "raise":
            raise ValueError(text)
        case "value":
            return {"said": text}
        case "custom":
            get_stream_writer()({"name": text, "data": text})
            return {}
        case "interrupt":
            return {"said": interrupt(text)}
        case "content":
            replies = [AIMessageChunk(text)]
        case "args":
            replies = [_called("tool", text)]
        case "calls":
            replies = [_called("tool", "{}", index) for index in range(min(size // 64, 256))]
        case "answer":
            replies = [_called("final_answer", '{"answer": "' + text)]
        case _:
            replies = [AIMessageChunk(text[at : at + 16]) for at in range(0, min(size, 1 << 15), 16)]
    return {"messages": [await Sayer().saying(replies).ainvoke("go")]}


saying = _one_node(Saying, _say)
