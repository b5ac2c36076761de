"""What a run says, as events: each message once, one after the other.

While one message is told, others that are said beside it wait for its end, and so does all else that happens.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .events import Event, Reasoning, Token, ToolCall


@dataclass(slots=True, eq=False)
class Message:
    """A message on its way."""

    counts: bool
    """Whether it is sure to be a part of the answer; else it waits until a node writes it."""
    id: str | None = None
    silent: bool = False
    """Whether it calls tools: its text is no answer."""
    text: list[str] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)
    queued: bool = False
    ended: bool = False
    written: bool = False
    """Whether a node has written it: as itself, or another message with its text."""

    def said(self) -> str:
        """Return all of its text so far."""
        return "".join(self.text)


class Speech:
    """Puts what is said, and what happens, in order."""

    def __init__(self) -> None:
        self._queue: deque[Message | list[Event]] = deque()
        self._answer: list[str] = []

    def answer(self) -> str:
        """Return the tokens since the last tool call, joined."""
        return "".join(self._answer)

    def say(self, message: Message, text: str) -> Iterator[Event]:
        """Take a piece of a message; yield what is to be told now, as do all of these."""
        message.text.append(text)
        yield from self._tell(message, Token(text))

    def think(self, message: Message, text: str) -> Iterator[Event]:
        """Take a piece of what a model thinks aloud."""
        yield from self._tell(message, Reasoning(text))

    def _tell(self, message: Message, event: Event) -> Iterator[Event]:
        message.waiting.append(event)
        if message.counts:
            yield from self._queued(message)

    def _queued(self, message: Message) -> Iterator[Event]:
        if not message.queued:
            message.queued = True
            self._queue.append(message)
        yield from self._go_on()

    def end(self, message: Message) -> Iterator[Event]:
        """A message is whole, or was broken off: the next one may be told."""
        message.ended = True
        yield from self._go_on()

    def count(self, message: Message) -> Iterator[Event]:
        """A message that is whole counts."""
        message.counts = message.ended = True
        yield from self._queued(message)

    def happen(self, *events: Event) -> Iterator[Event]:
        """Something else happens."""
        self._queue.append([*events])
        yield from self._go_on()

    def flush(self) -> Iterator[Event]:
        """All messages are whole."""
        for item in self._queue:
            if isinstance(item, Message):
                item.ended = True
        yield from self._go_on()

    def _go_on(self) -> Iterator[Event]:
        while self._queue:
            head = self._queue[0]
            told, waits = [], False
            if isinstance(head, Message):
                told, head.waiting = head.waiting, []
                head.queued = waits = not head.ended
            else:
                told = head
            for event in told:
                if isinstance(event, Token):
                    self._answer.append(event.text)
                elif isinstance(event, ToolCall):
                    self._answer.clear()
                yield event
            if waits:
                return
            self._queue.popleft()
