"""The stream of a whole thread in the LangGraph API: the events of its runs one after another, and state updates.

An event's id is its position in the thread. At the end of a run comes `metadata {"status": "run_done", "run_id"}`.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import get_args

from api.errors import InvalidRequestError
from api.events import END, UNNUMBERED, Event
from api.protocols.langgraph import Frames
from api.schemas import ThreadStreamMode
from api.serde import dumps

STATE_UPDATE = "state_update"

_CURSOR = re.compile(r"([0-9]{1,18})(-[0-9]+)?")
_MODES = get_args(ThreadStreamMode)


def of_run(run_id: str, base: int, events: Sequence[Event]) -> Iterator[Event]:
    """A run's events as the thread's: with positions, and the end as clients of the reference are told of it."""
    for seq, kind, data in events:
        position = base + seq if seq else UNNUMBERED
        if kind == END:
            yield Event(position, "metadata", dumps({"status": "run_done", "run_id": run_id}))
        else:
            yield Event(position, kind, data)


def thread_modes(parameters: Sequence[str]) -> frozenset[str]:
    """The modes of a query: each parameter is a mode, or several with commas; `run_modes` if there are none.

    Raises:
        InvalidRequestError: one of them is not known.
    """
    modes = [mode.strip() for parameter in parameters for mode in parameter.split(",") if mode.strip()]
    for mode in modes:
        if mode not in _MODES:
            raise InvalidRequestError(f"Invalid stream mode: {mode}", field="stream_modes")
    return frozenset(modes or ("run_modes",))


def thread_cursor(last_event_id: str | None) -> int | None:
    """The position that a `Last-Event-ID` header names; None for no header: only what comes from now on.

    `-` and `0` are the thread's beginning. As the reference's ids, a position may have a part after a hyphen.

    Raises:
        InvalidRequestError: it is no id.
    """
    given = (last_event_id or "").strip()
    if not given:
        return None
    if given == "-":
        return 0
    if (found := _CURSOR.fullmatch(given)) is None:
        raise InvalidRequestError("Invalid last-event-id: must be a valid Redis stream ID", field="Last-Event-ID")
    return int(found[1])


class ThreadFrames(Frames):
    """Encodes a thread's events: those of the modes asked for, each with its position as its id.

    Args:
        modes: `run_modes` for what the runs stream, `lifecycle` for their beginnings and ends alone, `state_update` for
            changes of the state that no run made.
    """

    def __init__(self, modes: Collection[str]) -> None:
        super().__init__(ids=True)
        self._thread_modes = modes

    def __call__(self, events: Sequence[Event]) -> bytes:
        """The frames of a batch. An error of the stream itself, which has no position, shows in every mode."""
        return b"".join(
            self._frame(event)
            for event in events
            if self._shows(event.kind) or (event.kind == "error" and event.seq == UNNUMBERED)
        )

    def _shows(self, kind: str) -> bool:
        if kind == STATE_UPDATE:
            return "state_update" in self._thread_modes
        return "run_modes" in self._thread_modes or ("lifecycle" in self._thread_modes and kind == "metadata")
