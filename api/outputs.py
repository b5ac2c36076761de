"""Outputs: what the chunks of a plain Runnable's stream make, put together as its steps mean them.

chunk, chunk, ... ──add──> Sum, Snapshots, or Parts of these ──value──> what `invoke` would have returned
"""

from collections.abc import Mapping
from typing import Any, Protocol

from langchain_core.messages import AIMessageChunk, BaseMessageChunk, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser
from langchain_core.runnables import Runnable, RunnableAssign, RunnableParallel, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.pregel.protocol import PregelProtocol


class Output(Protocol):
    """What comes of the chunks of a stream."""

    @property
    def value(self) -> Any:
        """The output that the chunks so far make."""

    def add(self, chunk: Any) -> None:
        """Takes the next chunk."""


def output_of(runnable: Runnable[Any, Any]) -> Output | None:
    """What makes the output of a Runnable from its stream; None if that does not tell it.

    The stream of a graph is of its nodes' updates, and neither add up to its output nor end with it.
    """
    match runnable:
        case PregelProtocol():
            return None
        case RunnableSequence():
            return output_of(runnable.last)
        case RunnableBindingBase():
            return output_of(runnable.bound)
        case RunnableParallel():
            parts = {name: output_of(step) for name, step in runnable.steps__.items()}
            known = {name: part for name, part in parts.items() if part is not None}
            return Parts(known) if known.keys() == parts.keys() else None
        case RunnableAssign():
            return output_of(runnable.mapper)
        case BaseCumulativeTransformOutputParser() if not runnable.diff:
            return Snapshots()
    return Sum()


class Parts:
    """The output of a stream of dicts with some keys each, by key; keys that are not foreseen add up."""

    def __init__(self, parts: dict[str, Output]) -> None:
        self._parts = parts
        self._seen: dict[str, None] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Takes what the chunk has of each key."""
        for name, part in chunk.items():
            self._seen[name] = None
            self._parts.setdefault(name, Sum()).add(part)

    @property
    def value(self) -> dict[str, Any]:
        """The keys in the order in which they came."""
        return {name: self._parts[name].value for name in self._seen}


class Snapshots:
    """The output of a stream whose every chunk is all that there is so far, as JsonOutputParser's are."""

    def __init__(self) -> None:
        self.value: Any = None

    def add(self, chunk: Any) -> None:
        """Takes the chunk in place of the one before."""
        self.value = chunk


class Sum:
    """The output of a stream whose chunks add up; of those that do not, LangChain takes the last one, and so does this.

    Text, and messages of a model, are put together once, as adding each to all before it takes quadratic time.
    """

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        """All that there is as long as all of it is text, or messages of a model."""
        self._sum: Any = None

    def add(self, chunk: Any) -> None:
        """Adds the chunk to those before."""
        if self._sum is None and self._is_piece(chunk):
            self._pieces.append(chunk)
            return
        whole, self._pieces = self._joined(), []
        try:
            self._sum = chunk if whole is None else whole + chunk
        except TypeError:
            self._sum = chunk

    def _is_piece(self, chunk: Any) -> bool:
        kind = type(self._pieces[0]) if self._pieces else str | AIMessageChunk
        return isinstance(chunk, kind)

    @property
    def value(self) -> Any:
        """The whole, with whole messages in place of their chunks."""
        return _whole(self._joined())

    def _joined(self) -> Any:
        if not self._pieces:
            return self._sum
        if isinstance(self._pieces[0], str):
            return "".join(self._pieces)
        return add_ai_message_chunks(*self._pieces)


def _whole(value: Any) -> Any:
    match value:
        case BaseMessageChunk():
            return message_chunk_to_message(value)
        case dict():
            return {name: _whole(item) for name, item in value.items()}
    return value
