"""The story of a run: what its callbacks tell, made events, each once and in order.

A call and its result are told when a node has written them, a message as it comes if it is sure to count, else when a
node has written it. What was there before the run is not told, should a node write its whole history again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langgraph.errors import GraphBubbleUp, GraphInterrupt, ParentCommand
from langgraph.types import Command, Overwrite
from pydantic import BaseModel

from .events import End, Error, Event, ToolCall, ToolResult
from .run_tree import Place, RunTree, Voice
from .speech import Message, Speech
from .tool_calls import ToolCalls


class Story:
    """Takes the callbacks of one run; those that may tell something yield it."""

    def __init__(self) -> None:
        self._runs = RunTree()
        self._speech = Speech()
        self._speaking: dict[UUID, Message] = {}
        """What models are saying, by their runs."""
        self._said: dict[UUID | None, list[Message]] = {}
        """What models have said, by the outermost node that they are in, until that ends."""
        self._graphs: set[UUID] = set()
        """Graphs that have begun."""
        self._resuming = False
        self._interrupted = False
        self._told: set[str] = set()
        self._nameless: Counter[str] = Counter()
        """Texts told of messages that get their ids later, and how often."""
        self._handed: Any = None
        self._calls = ToolCalls()
        self._tools_used: dict[str, None] = {}

    def chain_starts(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        given: Any,
        name: str | None,
        tags: Sequence[str] | None,
        metadata: dict[str, Any] | None,
    ) -> None:
        """A graph, a node or a part of a chain begins."""
        if self._begins(run_id, parent_run_id, given):
            self._resuming = given is None or isinstance(given, Command)
            return
        place = self._runs.begin(run_id, parent_run_id, given, name, tags, metadata)
        if place.graph is None:
            return
        if place.graph not in self._graphs:
            self._graphs.add(place.graph)
            self._note_earlier(given, told=place.voice is Voice.SURE, unanswered=self._resuming)
        elif self._resuming:  # the first node was perhaps sent one call, and saw no history
            self._note_earlier(given, told=place.voice is Voice.SURE, unanswered=True)

    def _begins(self, run_id: UUID, parent_run_id: UUID | None, given: Any = None) -> bool:
        """Tell whether the run is the handler's own."""
        if self._runs.root is None:
            self._runs.begin_root(run_id, given)
            return True
        if parent_run_id is None:
            raise RuntimeError("a QueueCallbackHandler serves one run")
        return False

    def _note_earlier(self, given: Any, *, told: bool, unanswered: bool) -> None:
        """Note what needs not be told any more.

        Args:
            given: A state.
            told: Whether texts in it are among that.
            unanswered: Whether calls in it may still get results.
        """
        earlier = list(messages_in(given))
        self._calls.note_earlier(earlier, unanswered=unanswered)
        if told:
            self._told |= {message.id for message in earlier if isinstance(message, AIMessage) and message.id}

    def chain_ends(self, run_id: UUID, outputs: Any) -> Iterator[Event]:
        """What a node has written is told; the handler's own run ends the story."""
        if run_id == self._runs.root:
            yield from self._ends(outputs)
            return
        place = self._runs.end(run_id)
        if place.graph is not None:
            yield from self._writes(outputs, place)
            if place.node == run_id:
                self._said.pop(run_id, None)

    def fails(self, run_id: UUID, error: BaseException) -> Iterator[Event]:
        """A run fails, or is cancelled, or stops to ask a human."""
        self._interrupted = self._interrupted or isinstance(error, GraphInterrupt)
        if run_id == self._runs.root:
            if isinstance(error, GraphBubbleUp):  # to the graph around it: it did not fail
                yield from self._ends(None)
                return
            yield from self._speech.flush()
            yield Error(error)
            return
        place = self._runs.end(run_id)
        if isinstance(error, ParentCommand) and place.graph is not None:
            yield from self._hands_over(error.args[0].update, place)
        if place.node == run_id:
            self._said.pop(run_id, None)
        if (broken_off := self._speaking.pop(run_id, None)) is not None:
            yield from self._speech.end(broken_off)

    def tool_starts(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        """A tool begins: what runs in it is its own matter."""
        if not self._begins(run_id, parent_run_id):
            self._runs.begin_tool(run_id, parent_run_id)

    def model_starts(
        self, run_id: UUID, parent_run_id: UUID | None, tags: Sequence[str] | None, options: dict[str, Any] | None
    ) -> None:
        """A model is called."""
        place = Place(Voice.SURE) if self._begins(run_id, parent_run_id) else None
        place = place or self._runs.of_model(parent_run_id, tags, options)
        if place.voice is not Voice.NONE:
            message = self._speaking[run_id] = Message(counts=place.voice is Voice.SURE)
            self._said.setdefault(place.node, []).append(message)

    def listens(self, run_id: UUID) -> bool:
        """Tell whether what the model says in a run matters."""
        return run_id in self._speaking

    def model_says(self, run_id: UUID, chunk: ChatGenerationChunk) -> Iterator[Event]:
        """A piece of a message."""
        message, said = self._speaking[run_id], chunk.message
        if isinstance(said, AIMessage) and (thought := reasoning_in(said)):
            yield from self._speech.think(message, thought)
        if getattr(said, "tool_call_chunks", None):
            message.silent = True
            yield from self._speech.end(message)
        elif chunk.text and not message.silent:
            yield from self._speech.say(message, chunk.text)

    def model_ends(self, run_id: UUID, response: LLMResult) -> Iterator[Event]:
        """A message is whole."""
        if (message := self._speaking.pop(run_id, None)) is not None:
            generation = response.generations[0][0] if response.generations and response.generations[0] else None
            whole = generation.message if isinstance(generation, ChatGeneration) else None
            if whole is not None and whole.id and message.text and not message.silent:
                message.id = whole.id
                if message.counts:
                    self._told.add(whole.id)
            yield from self._speech.end(message)
            if run_id == self._runs.root:
                yield from self._ends(whole)

    def _hands_over(self, update: Any, place: Place) -> Iterator[Event]:
        """A node writes to a graph around its own; on the way there it is an error of every run that it leaves."""
        if update is not self._handed:
            self._handed = update
            yield from self._writes(update, place)

    def _writes(self, outputs: Any, place: Place) -> Iterator[Event]:
        write = list(messages_in(outputs))
        for message in write:
            match message:
                case AIMessage() if message.tool_calls:
                    yield from self._called(message, write)
                case AIMessage() if place.voice is Voice.SURE:
                    yield from self._spoken(message, self._said.get(place.node, []))
                case ToolMessage() if self._calls.is_new(message, write):
                    yield from self._returned(message)

    def _called(self, message: AIMessage, write: Sequence[BaseMessage] = ()) -> Iterator[Event]:
        for call in self._calls.new_calls(message, write):
            yield from self._speech.happen(ToolCall(call["id"] or "", call["name"], call["args"]))

    def _returned(self, message: ToolMessage) -> Iterator[Event]:
        if message.name:
            self._tools_used[message.name] = None
        yield from self._speech.happen(ToolResult(message.tool_call_id, message.name, message.content, message.status))

    def _spoken(self, message: AIMessage, said: list[Message]) -> Iterator[Event]:
        """A message that counts, whole: told, or what is left of it."""
        text = message.text
        known = next((each for each in said if message.id and each.id == message.id), None)
        if known is None:
            if message.id and (message.id in self._told or self._was_nameless(message)):
                return
            # A node that writes a model's text anew writes what has been said.
            anew = (each for each in said if text and not each.written and not each.silent and each.said() == text)
            known = next(anew, None) or Message(counts=True)
        known.written = True
        if message.id:
            self._told.add(message.id)
        else:
            self._nameless[text] += 1
        before = known.said()
        if text.startswith(before) and len(text) > len(before):
            yield from self._speech.say(known, text[len(before) :])
        yield from self._speech.count(known)

    def _was_nameless(self, message: AIMessage) -> bool:
        """Tell whether a message is one that was told when it had no id yet."""
        found = self._nameless[message.text] > 0
        if found:
            self._nameless[message.text] -= 1
            self._told.add(message.id or "")
        return found

    def _ends(self, outputs: Any) -> Iterator[Event]:
        yield from self._speech.flush()
        if isinstance(outputs, AIMessage):
            yield from self._called(outputs)
        if self._interrupted:
            yield End(None)
            return
        said = self._speech.answer()
        answer, tools_used = _answer_in(outputs)
        if not said and answer is None:
            answer = _last_text(outputs)
        if answer and answer.startswith(said):
            rest = Message(counts=True, ended=True)
            yield from self._speech.say(rest, answer[len(said) :]) if answer != said else ()
            said = answer
        yield End(said or None, list(self._tools_used) if tools_used is None else tools_used)


def _answer_in(outputs: Any) -> tuple[str | None, list[str] | None]:
    """Return what a graph or a chain itself calls its answer, and the tools that it used for it."""
    match outputs:
        case {"final_answer": {"answer": str(answer), "tools_used": [*tools]}}:
            return answer, [str(tool) for tool in tools]
        case {"answer": str(answer)} | str(answer):
            return answer, None
        case AIMessage():
            return outputs.text, None
    return None, None


def _last_text(outputs: Any) -> str | None:
    """Return the answer of a graph that said nothing: a node's result came from a cache, say."""
    last = next(reversed([*messages_in(outputs)]), None)
    return last.text or None if isinstance(last, AIMessage) and not last.tool_calls else None


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """Find the messages in a state or in what a node returned: an update in any form that LangGraph takes, commands, or
    a list of these. Under "messages", what is written as a dict or a tuple is a message too.
    """
    match value:
        case BaseMessage():
            yield value
        case Command():
            yield from messages_in(value.update)
        case Overwrite():
            yield from messages_in(value.value)
        case (str(name), item):
            yield from _messages_under(name, item)
        case list() | tuple():
            for item in value:
                if not isinstance(item, str | list):
                    yield from messages_in(item)
        case _:
            for name, item in _written_in(value):
                yield from _messages_under(name, item)


def _written_in(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, BaseModel):
        return iter(value)
    if is_dataclass(value):
        return [(each.name, getattr(value, each.name)) for each in fields(value)]
    return ()


def _messages_under(name: Any, written: Any) -> Iterable[BaseMessage]:
    if name == "messages":
        return _as_messages(written)
    return messages_in(written) if isinstance(written, BaseMessage | list | Overwrite) else ()


def _as_messages(written: Any) -> Sequence[BaseMessage]:
    given = written.value if isinstance(written, Overwrite) else written
    given = given if isinstance(given, list) else [given]
    try:
        return convert_to_messages(given)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError):  # no messages, whatever their name
        return [message for message in given if isinstance(message, BaseMessage)]


def reasoning_in(message: AIMessage) -> str:
    """Return what a model thinks aloud, in a message or a piece of one."""
    if isinstance(kept := message.additional_kwargs.get("reasoning_content"), str):
        return kept
    content = message.content
    if isinstance(content, str) or all(isinstance(block, str) or block.get("type") == "text" for block in content):
        return ""
    return "".join(str(block.get("reasoning", "")) for block in message.content_blocks if block["type"] == "reasoning")
