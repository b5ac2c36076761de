"""What may differ is gone, what must not differ stays."""

import copy
from typing import Any

import pytest

from tests.reference.exchange import Trace
from tests.reference.normalise import normalise

GRAPHS = ["steps"]


def _trace(thread: str, run: str, checkpoint: str, second: int) -> Trace:
    """As a server answers: a thread, then a stream, then an error."""
    return [
        {
            "request": "POST /threads",
            "status": 200,
            "headers": {"content-type": "application/json"},
            "json": {"thread_id": thread, "created_at": f"2026-11-21T09:12:{second}.123456+00:00", "metadata": {}},
        },
        {
            "request": f"POST /threads/{thread}/runs/stream",
            "status": 200,
            "headers": {"content-location": f"/threads/{thread}/runs/{run}"},
            "events": [
                {"event": "metadata", "data": {"run_id": run, "attempt": 1}},
                {"comment": "heartbeat"} if second % 2 else {"event": "values", "data": {"number": 1}},
                {"event": "values", "data": {"number": 1}} if second % 2 else {"comment": "heartbeat"},
                {
                    "event": "checkpoints",
                    "data": {
                        "config": {"checkpoint_id": checkpoint, "checkpoint_ns": f"child:{run}"},
                        "metadata": {"langgraph_api_url": f"http://127.0.0.1:{second}", "step": 1},
                    },
                },
            ],
        },
        {
            "request": f"GET /threads/{thread}/runs/{run}",
            "status": 404,
            "headers": {"content-type": "application/json"},
            "json": {"detail": f"Run with ID {run} not found"},
        },
    ]


THEIRS = _trace(
    "01a1fd60-a478-7318-9139-2214c838a10f",
    "01a1fd60-a47b-74dc-b3d0-7f977ce0321d",
    "1f1e58ba-310a-6c4e-8000-91d3c7d2a84a",
    24,
)
OURS = _trace(
    "01a1fd61-6f52-779f-b3df-a90a96810e44",
    "01a1fd61-6f63-729e-a474-e9238bb5aa02",
    "0f1e58bc-1fc2-68f3-8000-3fa24ca48792",
    57,
)


def test_runs_of_the_same_scenario_are_equal() -> None:
    theirs, ours = normalise(THEIRS, OURS, GRAPHS)
    assert theirs == ours
    assert theirs[0]["json"] == {"thread_id": "<thread_id 1>", "created_at": "<time T +00:00>", "metadata": {}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((0, "status"), 201),
        ((0, "json", "created_at"), "2026-11-21T09:12:13Z"),
        ((0, "json", "thread_id"), "no id"),
        ((0, "json", "added"), None),
        ((1, "events", 0, "data", "attempt"), 2),
        ((1, "events", 0, "event"), "begin"),
        ((1, "events", 3, "data", "config", "checkpoint_id"), "01a1fd61-6f63-729e-a474-e9238bb5aa02"),
        ((1, "events", 3, "id"), "7"),
        ((1, "headers", "content-location"), "/runs/01a1fd61-6f63-729e-a474-e9238bb5aa02"),
        ((2, "json", "detail"), "Not Found"),
    ],
    ids=str,
)
def test_a_difference_that_a_client_sees_stays(path: tuple[Any, ...], value: Any) -> None:
    ours = copy.deepcopy(OURS)
    target: Any = ours
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    changed_theirs, changed_ours = normalise(THEIRS, ours, GRAPHS)
    assert changed_theirs != changed_ours


def test_the_order_of_events_matters() -> None:
    ours = copy.deepcopy(OURS)
    ours[1]["events"].reverse()
    theirs, changed = normalise(THEIRS, ours, GRAPHS)
    assert theirs != changed


def _entry(status: int, **fields: Any) -> Trace:
    return [{"request": "GET /x", "status": status, "headers": {}, **fields}]


@pytest.mark.parametrize(
    "theirs",
    [
        {"json": {"detail": "No key."}},
        {"json": {"error": "No key."}},
        {"text": "No key."},
    ],
    ids=str,
)
def test_forms_of_one_error_are_equal(theirs: dict[str, Any]) -> None:
    ours = _entry(422, json={"error": {"code": "invalid", "message": "No key."}, "detail": "No key."})
    one, other = normalise(_entry(422, **theirs), ours, GRAPHS)
    assert one == other


def test_a_schema_complaint_may_be_said_in_other_words() -> None:
    theirs = _entry(422, json={"detail": '7 is not of type "string"\n\nFailed validating "type" in schema'})
    ours = _entry(422, json={"detail": "name: Input should be a string."})
    one, other = normalise(theirs, ours, GRAPHS)
    assert one == other


@pytest.mark.parametrize("ours", [_entry(400, json={"detail": "x"}), _entry(422, json={}), _entry(200, json={})])
def test_a_schema_complaint_is_a_422_with_a_detail(ours: Trace) -> None:
    theirs = _entry(422, json={"detail": "Failed validating"})
    one, other = normalise(theirs, ours, GRAPHS)
    assert one != other


def test_order_of_keys_that_are_ids_does_not_matter() -> None:
    ids = ["01a1fd61-6f52-779f-b3df-a90a96810e44", "01a1fd60-a478-7318-9139-2214c838a10f"]
    theirs = _entry(200, json={ids[0]: "first", ids[1]: "second"})
    ours = _entry(200, json={ids[1]: "first", ids[0]: "second"})
    one, other = normalise(theirs, ours, GRAPHS)
    assert one == other


def test_default_assistants_keep_their_identity() -> None:
    ids = ["01d10e59-d4b4-51ec-8e94-9b2716b34de8", "01a1fd60-a478-7318-9139-2214c838a10f"]
    (theirs,), (ours,) = normalise(_entry(200, json={"id": ids[0]}), _entry(200, json={"id": ids[1]}), GRAPHS)
    assert theirs["json"] == {"id": "<assistant of steps>"}
    assert ours["json"] == {"id": "<id 1>"}


_PAGE = "https://page.example"
_ALLOWED = "access-control-allow-origin"


def test_one_origin_may_be_named_instead_of_any() -> None:
    theirs, ours = _entry(200, origin=_PAGE), _entry(200, origin=_PAGE)
    theirs[0]["headers"], ours[0]["headers"] = {_ALLOWED: "*"}, {_ALLOWED: _PAGE}
    one, other = normalise(theirs, ours, GRAPHS)
    assert one == other


@pytest.mark.parametrize(
    ("allowed", "asking"),
    [(None, _PAGE), ("https://other.example", _PAGE), ("null", _PAGE), (_PAGE, None)],
    ids=str,
)
def test_no_other_origin_may_be_named(allowed: str | None, asking: str | None) -> None:
    sent = {} if asking is None else {"origin": asking}
    theirs, ours = _entry(200, **sent), _entry(200, **sent)
    theirs[0]["headers"], ours[0]["headers"] = {_ALLOWED: "*"}, {} if allowed is None else {_ALLOWED: allowed}
    one, other = normalise(theirs, ours, GRAPHS)
    assert one != other
