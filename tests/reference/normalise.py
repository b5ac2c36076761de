"""Makes the traces of two servers comparable: what must differ is replaced, everything else must be equal.

    theirs, ours ──DEVIATIONS──> without what may differ ──_Names──> ids and times as placeholders

Ids become placeholders that are numbered in the order of their first appearance, so that it still shows where the same
id is used again. Times become their format. Whatever else may differ is in `DEVIATIONS`, with its reason.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.reference.exchange import Json, Trace

Entry = dict[str, Json]

_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?")


def normalise(theirs: Trace, ours: Trace, graphs: Iterable[str]) -> tuple[Trace, Trace]:
    """Both traces of one scenario as they are compared.

    Args:
        theirs: the reference's, as it was recorded.
        ours: likewise.
        graphs: names of the served graphs, whose default assistants have the same ids everywhere.
    """
    known = {str(uuid.uuid5(_NAMESPACE, graph)): f"<assistant of {graph}>" for graph in graphs}
    pairs = [_deviate(*pair) for pair in zip(theirs, ours, strict=True)]
    sides = []
    for side in zip(*pairs, strict=True):
        names = _Names(known)
        sides.append([names.entry(entry) for entry in side])
    return sides[0], sides[1]


class _Names:
    """Placeholders of ids, called like the key under which an id is seen first."""

    def __init__(self, known: dict[str, str]) -> None:
        self._names = dict(known)
        self._counts: dict[str, int] = {}

    def entry(self, entry: Entry) -> Entry:
        """An entry with placeholders; what the client named is named first, whatever the answer says of it."""
        request = self.replaced(entry["request"], "request")
        return {
            "request": request,
            **{name: self.replaced(entry[name], name) for name in sorted(entry.keys() - {"request"})},
        }

    def replaced(self, value: Json, key: str) -> Json:
        """The value with placeholders; the order of keys, and ids in them, change nothing."""
        match value:
            case dict():
                ordered = sorted(value, key=lambda name: (_blank(name), _blank(json.dumps(value[name]))))
                return {self._text(name, key): self.replaced(value[name], name) for name in ordered}
            case list():
                return [self.replaced(each, key) for each in value]
            case str():
                return self._text(value, key)
            case _:
                return value

    def _text(self, text: str, key: str) -> str:
        text = _TIME.sub(lambda found: f"<time {found[1]} {found[2] or 'without a zone'}>", text)
        return _ID.sub(lambda found: self._name(found[0], key), text)

    def _name(self, identifier: str, key: str) -> str:
        if identifier not in self._names:
            kind = "id" if _ID.search(key) else key
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[identifier] = f"<{kind} {self._counts[kind]}>"
        return self._names[identifier]


def _blank(text: str) -> str:
    return _ID.sub("", text)


@dataclass(frozen=True)
class Deviation:
    """Something that may differ, and why."""

    reason: str
    apply: Callable[[Entry, Entry], tuple[Entry, Entry]]
    """Takes the reference's entry and ours; returns both without the difference."""


def _deviate(theirs: Entry, ours: Entry) -> tuple[Entry, Entry]:
    for deviation in DEVIATIONS:
        theirs, ours = deviation.apply(theirs, ours)
    return theirs, ours


def _both(change: Callable[[Entry], Entry]) -> Callable[[Entry, Entry], tuple[Entry, Entry]]:
    return lambda theirs, ours: (change(theirs), change(ours))


def _without(keys: frozenset[str]) -> Callable[[Entry], Entry]:
    def cleaned(value: Json) -> Json:
        match value:
            case dict():
                return {name: cleaned(each) for name, each in value.items() if name not in keys}
            case list():
                return [cleaned(each) for each in value]
            case _:
                return value

    return cleaned


def _one_form_of_errors(entry: Entry) -> Entry:
    """`{"detail"}`, whether the error came as that, as `{"error": "..."}` or as plain text."""
    if entry["status"] < 400:
        return entry
    match entry.get("json", entry.get("text")):
        case {"detail": detail} | {"error": str(detail)} | str(detail):
            headers = {name: value for name, value in entry["headers"].items() if name != "content-type"}
            kept = {name: value for name, value in entry.items() if name != "text"}
            return kept | {"headers": headers, "json": {"detail": detail}}
    return entry


def _schema_complaints(theirs: Entry, ours: Entry) -> tuple[Entry, Entry]:
    complaint, ours_says = _detail(theirs), _detail(ours)
    if theirs["status"] == ours["status"] == 422 and "Failed validating" in complaint and ours_says:
        return theirs | {"json": "<complaint>"}, ours | {"json": "<complaint>"}
    return theirs, ours


def _without_reprs(entry: Entry) -> Entry:
    if entry["status"] < 400 or not (detail := _detail(entry)):
        return entry
    return entry | {"json": {"detail": re.sub(r"(has in-flight runs|Expected): [\[{].*[\]}]", r"\1", detail)}}


def _detail(entry: Entry) -> str:
    body = entry.get("json")
    return str(body.get("detail") or "") if isinstance(body, dict) else ""


def _without_totals(entry: Entry) -> Entry:
    headers = entry["headers"]
    return (
        entry | {"headers": headers | {"x-pagination-total": "<given>"}} if "x-pagination-total" in headers else entry
    )


def _sorted_items(entry: Entry) -> Entry:
    body = entry.get("json")
    if not isinstance(body, dict) or set(body) != {"items"}:
        return entry
    return entry | {"json": {"items": sorted(body["items"], key=lambda item: str(item["key"]))}}


_INNER_ERROR = re.compile(r"AppError\('[^']*'\)")


def _without_inner_messages(value: Json) -> Json:
    match value:
        case str():
            return _INNER_ERROR.sub("AppError(<message>)", value)
        case dict():
            return {name: _without_inner_messages(each) for name, each in value.items()}
        case list():
            return [_without_inner_messages(each) for each in value]
        case _:
            return value


def _without_heartbeats(entry: Entry) -> Entry:
    return _with_events(entry, lambda event: None if event.get("comment") == "heartbeat" else event)


def _without_event_ids(entry: Entry) -> Entry:
    return _with_events(entry, lambda event: event | {"id": "<given>"} if "id" in event else event)


def _exposed(theirs: Entry, ours: Entry) -> tuple[Entry, Entry]:
    name = "access-control-expose-headers"
    if not _names_of(theirs, name) <= _names_of(ours, name):
        return theirs, ours
    return _without_header(theirs, name), _without_header(ours, name)


def _told_origin(theirs: Entry, ours: Entry) -> tuple[Entry, Entry]:
    name = "access-control-allow-origin"
    if theirs["headers"].get(name) != "*" or "origin" not in ours or ours["headers"].get(name) != ours["origin"]:
        return theirs, ours
    return _without_header(theirs, name), _without_header(ours, name)


def _names_of(entry: Entry, header: str) -> set[str]:
    return {name.strip() for name in entry["headers"].get(header, "").split(",")} - {""}


def _without_header(entry: Entry, header: str) -> Entry:
    return entry | {"headers": {name: value for name, value in entry["headers"].items() if name != header}}


def _with_events(entry: Entry, change: Callable[[Entry], Entry | None]) -> Entry:
    if "events" not in entry:
        return entry
    changed = (change(event) for event in entry["events"])
    return entry | {"events": [event for event in changed if event is not None]}


_HOST_KEYS = frozenset(
    {
        "langgraph_api_url",
        "langgraph_api_version",
        "langgraph_auth_permissions",
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_host",
        "langgraph_plan",
        "langgraph_request_id",
        "langsmith_session_name",
        "services",
        "user_id",
    }
)
_INTERNAL_KEYS = frozenset({"__after_seconds__", "__pregel_node_finished", "__request_start_time_ms__"})

DEVIATIONS = (
    Deviation("What describes the host and its users, not the run.", _both(_without(_HOST_KEYS))),
    Deviation("What its own scheduler keeps in a run's config.", _both(_without(_INTERNAL_KEYS))),
    Deviation("Errors come in three forms there; ours have one, with a code besides.", _both(_one_form_of_errors)),
    Deviation("It prints Python objects, addresses and unordered sets in messages.", _both(_without_reprs)),
    Deviation("It refuses with the dump of a JSON schema validator; ours say what is wrong.", _schema_complaints),
    Deviation("The total of a search is how far it looked there, and the true one here.", _both(_without_totals)),
    Deviation("Items of the store that are found without a query have no order.", _both(_sorted_items)),
    Deviation("Any page may read the answers there; here those of the origin that asks, if it may.", _told_origin),
    Deviation("Pages of other origins may read more headers here: Location, to go on after a cut.", _exposed),
    Deviation(
        "An app's own errors are told whole in states there, and by their class here.", _both(_without_inner_messages)
    ),
    Deviation("Heartbeats are a matter of time.", _both(_without_heartbeats)),
    Deviation("Ids of events are milliseconds there, where they repeat, and a count here.", _both(_without_event_ids)),
)
"""All that is compared, on purpose, less strictly than value by value."""
