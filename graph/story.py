"""The story of a run: what its callbacks tell, made events, each once and in order.

A call and its result are told when a node has written them, a message as it comes if it is sure to count, else when a
node has written it. What was there before the run is not told, should a node write its whole history again.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.types import Command

from .events import End, Error, Event, ToolCall, ToolResult
from .run_tree import Place, RunTree, Voice
from .speech import Message, Speech


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
        self._calls: set[str] = set()
        self._results: set[str] = set()
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
        for message in messages_in(given):
            if isinstance(message, AIMessage):
                ids = {call["id"] or "" for call in message.tool_calls}
                self._calls |= ids
                if not unanswered:
                    self._results |= ids
                if told and message.id:
                    self._told.add(message.id)
            elif isinstance(message, ToolMessage):
                self._results.add(message.tool_call_id)

    def chain_ends(self, run_id: UUID, outputs: Any) -> Iterator[Event]:
        """What a node has written is told; the handler's own run ends the story."""
        if run_id == self._runs.root:
            yield from self._ends(outputs)
            return
        place = self._runs.end(run_id)
        if place.graph is not None:
            for message in messages_in(outputs):
                yield from self._written(message, place)
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

    def _written(self, message: BaseMessage, place: Place) -> Iterator[Event]:
        match message:
            case AIMessage() if message.tool_calls:
                yield from self._called(message)
            case AIMessage() if place.voice is Voice.SURE:
                yield from self._spoken(message, self._said.get(place.node, []))
            case ToolMessage() if message.tool_call_id not in self._results:
                self._results.add(message.tool_call_id)
                if message.name:
                    self._tools_used[message.name] = None
                yield from self._speech.happen(
                    ToolResult(message.tool_call_id, message.name, message.content, message.status)
                )

    def _called(self, message: AIMessage) -> Iterator[Event]:
        for call in message.tool_calls:
            id_ = call["id"] or ""
            # A call whose result is known was told by the run before, which was interrupted.
            if id_ not in self._calls and id_ not in self._results:
                self._calls.add(id_)
                yield from self._speech.happen(ToolCall(id_, call["name"], call["args"]))

    def _spoken(self, message: AIMessage, said: list[Message]) -> Iterator[Event]:
        """A message that counts, whole: told, or what is left of it."""
        text = message.text
        known = next((each for each in said if message.id and each.id == message.id), None)
        if known is None:
            if message.id and message.id in self._told:
                return
            # A node that writes a model's text anew writes what has been said.
            anew = (each for each in said if text and not each.written and not each.silent and each.said() == text)
            known = next(anew, None) or Message(counts=True)
        known.written = True
        if message.id:
            self._told.add(message.id)
        before = known.said()
        if text.startswith(before) and len(text) > len(before):
            yield from self._speech.say(known, text[len(before) :])
        yield from self._speech.count(known)

    def _ends(self, outputs: Any) -> Iterator[Event]:
        yield from self._speech.flush()
        if isinstance(outputs, AIMessage):
            yield from self._called(outputs)
        if self._interrupted:
            yield End(None)
            return
        said = self._speech.answer()
        answer, tools_used = _answer_in(outputs)
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


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """Find the messages in a state or in what a node returned: an update, commands, or a list of either."""
    match value:
        case BaseMessage():
            yield value
        case Command():
            yield from messages_in(value.update)
        case dict():
            for item in value.values():
                if isinstance(item, BaseMessage | list):
                    yield from messages_in(item)
        case list() | tuple():
            for item in value:
                if isinstance(item, BaseMessage | Command | dict):
                    yield from messages_in(item)


def reasoning_in(message: AIMessage) -> str:
    """Return what a model thinks aloud, in a message or a piece of one."""
    if isinstance(kept := message.additional_kwargs.get("reasoning_content"), str):
        return kept
    content = message.content
    if isinstance(content, str) or all(isinstance(block, str) or block.get("type") == "text" for block in content):
        return ""
    return "".join(str(block.get("reasoning", "")) for block in message.content_blocks if block["type"] == "reasoning")
