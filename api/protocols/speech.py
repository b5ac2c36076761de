"""Speech: a run's messages are told one after the other, each once, as they come where it is certain that they count.

    pieces, whole messages, tool calls ──> a queue, whose head is told live ──> entries of the log

Messages that are written side by side would mix: while one is told, the others and what else happens wait for its end.
What a message that may not count has said waits apart, until the graph has written it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessageChunk

from api.events import Entry
from api.serde import dumps


@dataclass(slots=True, eq=False)
class Message:
    """A message on its way."""

    counts: bool = True
    """Whether it is certain that it belongs to the answer."""
    silent: bool = False
    """Whether no more of its text is to be told: it calls tools, or is no one's answer."""
    path: tuple[str, ...] = ()
    """The nodes that it is said in, from the outermost on."""
    apart: bool = False
    """Whether its graph tells nothing but messages."""
    calls: list[AIMessageChunk] = field(default_factory=list)
    """The pieces of its tool calls, if it is apart."""
    text: list[str] = field(default_factory=list)
    """What it has said, told or not."""
    waiting: list[tuple[Entry, str]] = field(default_factory=list)
    """Entries to be told, each with what it adds to the answer."""
    queued: bool = False
    live: bool = False
    """Whether it is its turn to speak."""
    ended: bool = False
    written: bool = False
    """Whether a node has written it: as itself, or another message with its text."""

    def said(self) -> str:
        """All of its text so far."""
        return "".join(self.text)


@dataclass(slots=True, eq=False)
class _Else:
    """What happens between messages."""

    entries: Sequence[Entry]
    is_call: bool


class Speech:
    """What a run says."""

    def __init__(self) -> None:
        self._queue: deque[Message | _Else] = deque()
        self._answer: list[str] = []

    def answer(self) -> str:
        """The tokens since the last tool call, joined."""
        return "".join(self._answer)

    def piece(self, message: Message, text: str) -> Sequence[Entry]:
        """The next piece of a message's text; what is to be told now."""
        message.text.append(text)
        return self._tell(message, Entry("token", b'{"text":%s}' % dumps(text)), text)

    def thought(self, message: Message, text: str) -> Sequence[Entry]:
        """The next piece of what a message's model thinks aloud."""
        return self._tell(message, Entry("reasoning", b'{"text":%s}' % dumps(text)), "")

    def _tell(self, message: Message, entry: Entry, text: str) -> Sequence[Entry]:
        if message.live:
            self._answer.append(text)
            return (entry,)
        message.waiting.append((entry, text))
        if not message.counts:
            return ()
        if not message.queued:
            message.queued = True
            self._queue.append(message)
        return self._go_on()

    def end(self, message: Message) -> Sequence[Entry]:
        """Nothing more comes of the message: the next one may speak."""
        message.ended = True
        return self._go_on()

    def count(self, message: Message) -> Sequence[Entry]:
        """A message that might not have counted does, and is whole."""
        message.counts = message.ended = True
        if message.waiting and not message.queued:
            message.queued = True
            self._queue.append(message)
        return self._go_on()

    def happen(self, entries: Sequence[Entry], *, is_call: bool = False) -> Sequence[Entry]:
        """Something else, in its place among the messages.

        Args:
            entries: that tell it.
            is_call: whether what was said before it is no answer.
        """
        self._queue.append(_Else(entries, is_call))
        return self._go_on()

    def flush(self) -> Sequence[Entry]:
        """Whatever waits: all messages are whole."""
        for item in self._queue:
            if isinstance(item, Message):
                item.ended = True
        return self._go_on()

    def _go_on(self) -> Sequence[Entry]:
        return list(self._ready()) if self._queue else ()

    def _ready(self) -> Iterator[Entry]:
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Message):
                yield from self._told(head)
                head.live = not head.ended
                if head.live:
                    return
                head.queued = False
            else:
                if head.is_call:
                    self._answer.clear()
                yield from head.entries
            self._queue.popleft()

    def _told(self, message: Message) -> Iterator[Entry]:
        for entry, text in message.waiting:
            self._answer.append(text)
            yield entry
        message.waiting.clear()
