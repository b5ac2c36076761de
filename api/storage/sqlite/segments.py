"""Segments: successive events of a run as one blob.

For each event: the lengths of its kind and of its data, 32-bit little endian each, then the kind in UTF-8, then the
data. Its seq follows from the seq of the segment's first.
"""

import struct
from collections.abc import Iterator, Sequence

from api.events import Event

_LENGTHS = struct.Struct("<II")
_MAX_BYTES = 256 << 10
"""Of a segment with more than one event, so that a reader in the midst of it decodes little for nothing."""


def encode(events: Sequence[Event]) -> Iterator[tuple[int, int, bytes]]:
    """Packs events, which follow on each other, into segments.

    Yields:
        The first seq, the last seq and the data of each segment.
    """
    parts: list[bytes] = []
    size, first_seq = 0, 0
    for seq, kind, data in events:
        name = kind.encode()
        length = _LENGTHS.size + len(name) + len(data)
        if parts and size + length > _MAX_BYTES:
            yield first_seq, seq - 1, b"".join(parts)
            parts, size = [], 0
        if not parts:
            first_seq = seq
        parts += (_LENGTHS.pack(len(name), len(data)), name, data)
        size += length
    if parts:
        yield first_seq, events[-1].seq, b"".join(parts)


def decode(first_seq: int, segment: bytes, after: int = 0) -> list[Event]:
    """The events of a segment with seq > after.

    Raises:
        ValueError: the data is not a segment.
    """
    events: list[Event] = []
    kinds: dict[bytes, str] = {}
    unpack, header = _LENGTHS.unpack_from, _LENGTHS.size
    seq, at, end = first_seq, 0, len(segment)
    while at < end:
        if at + header > end:
            raise ValueError("the segment is cut")
        kind_length, data_length = unpack(segment, at)
        kind_at = at + header
        data_at = kind_at + kind_length
        at = data_at + data_length
        if at > end:
            raise ValueError("the segment is cut")
        if seq > after:
            name = segment[kind_at:data_at]
            if (kind := kinds.get(name)) is None:
                kind = kinds[name] = name.decode()
            events.append(Event(seq, kind, segment[data_at:at]))
        seq += 1
    return events
