"""Which tool calls have been told, and which results, each once.

A set of ids would be shorter. But servers that number the calls of each reply give the same ids again and again, and
what is told is seen again too: in the state of a graph inside, in the whole history that a node writes.

    the id is new                                          a call
    known, made by another message                         a call, unless that is the first one written anew:
        its result is in the same write                        a whole turn, written again
        the first one waits, and asks for the same             the same call, in a message of the node's own
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage


class ToolCalls:
    """The calls of a run."""

    def __init__(self) -> None:
        self._made_by: dict[str, set[str | None]] = {}
        """Ids of the messages that made each call."""
        self._latest: dict[str, ToolCall] = {}
        self._open: Counter[str] = Counter()
        """How many calls of an id wait for their results."""
        self._answered: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether calls wait for their results."""
        return any(self._open.values())

    def note_earlier(self, messages: Iterable[BaseMessage], *, unanswered: bool) -> None:
        """Note what need not be told.

        Args:
            messages: What was there when a graph began.
            unanswered: Whether calls in it may still get results.
        """
        told = set(self._made_by)
        for message in messages:
            if isinstance(message, AIMessage):
                for id_, _ in _calls(message):
                    self._made_by.setdefault(id_, set()).add(message.id)
                    if unanswered and id_ not in told:
                        self._open[id_] = 1
            elif isinstance(message, ToolMessage) and message.tool_call_id not in told:
                self._answered.add(message.tool_call_id)
                self._open[message.tool_call_id] = 0

    def new_calls(self, message: AIMessage, write: Sequence[BaseMessage] = ()) -> list[ToolCall]:
        """Return the calls of a message that are to be told now.

        Args:
            message: The message.
            write: All that was written with it.
        """
        return [call for id_, call in _calls(message) if self._is_new(id_, call, message, write)]

    def _is_new(self, id_: str, call: ToolCall, message: AIMessage, write: Sequence[BaseMessage]) -> bool:
        made_by = self._made_by.setdefault(id_, set())
        if made_by:
            seen = message.id is None or not made_by.isdisjoint({message.id, None})
            new = not seen and not _has_result(write, id_) and not self._waits(id_, call)
        else:
            # A call whose result is known was told by the run before, which was interrupted.
            new = id_ not in self._answered
        made_by.add(message.id)
        if new:
            self._open[id_] += 1
            self._latest[id_] = call
        return new

    def _waits(self, id_: str, call: ToolCall) -> bool:
        latest = self._latest.get(id_)
        same = latest is not None and (latest["name"], latest["args"]) == (call["name"], call["args"])
        return same and bool(self._open[id_])

    def is_new(self, result: ToolMessage, write: Sequence[BaseMessage] = ()) -> bool:
        """Tell whether a result is to be told now."""
        id_ = result.tool_call_id
        if self._open[id_]:
            if id_ in self._answered and _has_call(write, id_):
                return False  # an earlier one's, in a history that is written again
            self._open[id_] -= 1
        elif id_ in self._answered or id_ in self._made_by:
            return False
        self._answered.add(id_)
        return True


def _calls(message: AIMessage) -> list[tuple[str, ToolCall]]:
    return [(call["id"] or f"{message.id}:{at}", call) for at, call in enumerate(message.tool_calls)]


def _has_result(write: Sequence[BaseMessage], id_: str) -> bool:
    return any(isinstance(message, ToolMessage) and message.tool_call_id == id_ for message in write)


def _has_call(write: Sequence[BaseMessage], id_: str) -> bool:
    return any(call["id"] == id_ for message in write if isinstance(message, AIMessage) for call in message.tool_calls)
