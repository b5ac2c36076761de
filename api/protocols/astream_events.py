"""LangChain's `astream_events` (v2) as a stream: each event under its own name, filtered as the caller asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.errors import RunError
from api.events import Entry, end, entry
from api.schemas import EndStatus, Run

FILTERS = ("include_names", "include_types", "include_tags", "exclude_names", "exclude_types", "exclude_tags")
"""What a request may give, named as the arguments of `astream_events`; those that include come first."""


class EventsFold:
    """Turns LangChain's events into log entries, one to one, those that pass the filters.

    LangChain's own filters are not used: it writes the root's input over that of the first event that passes them.

    Args:
        filters: by the names of FILTERS. An event passes if one of the `include_` filters has it, or none is given,
            and no `exclude_` filter has it.
    """

    def __init__(self, filters: Mapping[str, Sequence[str]]) -> None:
        self.values: Any = None
        """The root's output."""
        self._include = {name: filters[name] for name in FILTERS[:3] if name in filters}
        self._exclude = {name: filters[name] for name in FILTERS[3:] if name in filters}

    def begin(self, run: Run) -> Iterator[Entry]:
        """The first event."""
        yield entry("run", {"run_id": run.run_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id})

    def feed(self, event: Mapping[str, Any]) -> Iterator[Entry]:
        """One event of `astream_events`."""
        if not event["parent_ids"] and event["event"] == "on_chain_end":
            self.values = event["data"].get("output")
        if self._passes(event):
            yield entry(event["event"], event)

    def end(self, status: EndStatus, error: RunError | None) -> Iterator[Entry]:
        """What closes the run."""
        if error is not None:
            yield entry("error", {"code": error.code, "message": error.message})
        yield end(status)

    def _passes(self, event: Mapping[str, Any]) -> bool:
        included = not self._include or any(_has(event, *item) for item in self._include.items())
        return included and not any(_has(event, *item) for item in self._exclude.items())


def _has(event: Mapping[str, Any], filter_name: str, wanted: Sequence[str]) -> bool:
    match filter_name.partition("_")[2]:
        case "names":
            return event["name"] in wanted
        case "types":
            # "on_chat_model_stream" is an event of a chat_model
            return event["event"].removeprefix("on_").rpartition("_")[0] in wanted
        case _:
            return any(tag in wanted for tag in event.get("tags", ()))
