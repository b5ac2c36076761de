"""The event: one entry of a run's log, encoded once when it is appended."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from api.schemas import EndStatus
from api.serde import dumps

END = "end"
"""The kind of the last event of every run, whatever began it and however it ended."""

UNNUMBERED = 0
"""The seq of all but the last of the events that one event of the log became: a cursor is never between them."""

NativeKind = Literal[
    "run", "tool_call", "tool_result", "reasoning", "token", "custom", "interrupt", "answer", "error", "end"
]


class Entry(NamedTuple):
    """An event on its way to the log, which gives it its number."""

    kind: str
    """What a reader of the stream sees as the event's name, a namespace after a `|` included."""
    data: bytes
    """The payload as JSON, without line breaks."""


class Event(NamedTuple):
    """An event of the log."""

    seq: int
    """Its place in the run: the first is 1, with no gaps."""
    kind: str
    data: bytes


def numbered(seq: int, entries: Sequence[Entry]) -> Iterator[Event]:
    """What one event of the log became in another protocol: the last has its seq."""
    for left, (kind, data) in zip(range(len(entries) - 1, -1, -1), entries, strict=True):
        yield Event(UNNUMBERED if left else seq, kind, data)


def entry(kind: str, payload: object) -> Entry:
    """Encodes a payload into a log entry."""
    return Entry(kind, dumps(payload))


def end(status: EndStatus) -> Entry:
    """The one terminal entry of a run."""
    return Entry(END, b'{"status":"%s"}' % status.encode())
