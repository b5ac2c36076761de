"""Crons: records only; when they fire is a matter of clocks, which a comparison cannot wait for."""

from typing import Any

from tests.reference.exchange import Request
from tests.reference.scenarios.requests import delete, get, patch, post, scenario, thread

_CRONS = "/runs/crons"
_YEARLY = "0 0 1 1 *"


def _create(name: str = "cron", **body: Any) -> Request:
    return post(_CRONS, {"assistant_id": "steps", "schedule": _YEARLY, **body}, save={name: "json.cron_id"})


def _search(**body: Any) -> Request:
    return post(f"{_CRONS}/search", {"metadata": {"nonce": "{nonce}"}, **body})


_MINE = {"metadata": {"nonce": "{nonce}"}}

SCENARIOS = [
    scenario(
        "crons",
        "create",
        _create(),
        get(f"{_CRONS}/{{cron}}"),
        _create(
            input={"number": 1},
            metadata={"mine": 1},
            config={"tags": ["mine"]},
            interrupt_before=["double"],
            on_run_completed="keep",
            timezone="Europe/Zurich",
            end_time="2099-01-01T00:00:00Z",
            enabled=False,
            stream_mode=["updates"],
            durability="exit",
        ),
        get(f"{_CRONS}/{{cron}}"),
        delete(f"{_CRONS}/{{cron}}"),
        get(f"{_CRONS}/{{cron}}"),
        delete(f"{_CRONS}/{{cron}}"),
    ),
    scenario(
        "crons",
        "of a thread",
        thread(),
        post(
            "/threads/{thread}/runs/crons",
            {"assistant_id": "steps", "schedule": _YEARLY, "input": {"number": 1}, "multitask_strategy": "reject"},
            save={"cron": "json.cron_id"},
        ),
        post(f"{_CRONS}/search", {"thread_id": "{thread}"}),
        post(f"{_CRONS}/count", {"thread_id": "{thread}"}),
        post("/threads/{uuid1}/runs/crons", {"assistant_id": "steps", "schedule": _YEARLY}),
        delete(f"{_CRONS}/{{cron}}"),
    ),
    scenario(
        "crons",
        "search and count",
        _create("one", **_MINE),
        _create("two", **_MINE, enabled=False),
        _create("three", **_MINE),
        _search(),
        _search(limit=1),
        _search(limit=1, offset=1),
        _search(offset=9),
        _search(enabled=False),
        _search(sort_by="created_at", sort_order="asc"),
        _search(select=["cron_id", "schedule"]),
        post(f"{_CRONS}/count", _MINE),
        post(f"{_CRONS}/search", {"limit": 0}),
        post(f"{_CRONS}/search", {"sort_by": "nonsense"}),
        post(f"{_CRONS}/search", {"assistant_id": "nonsense"}),
        post(f"{_CRONS}/search", b"{nonsense"),
        *(delete(f"{_CRONS}/{{{name}}}") for name in ("one", "two", "three")),
    ),
    scenario(
        "crons",
        "patch",
        _create(metadata={"a": 1}),
        patch(f"{_CRONS}/{{cron}}", {"schedule": "0 0 2 1 *", "enabled": False}),
        patch(f"{_CRONS}/{{cron}}", {"input": {"number": 9}, "metadata": {"b": 2}}),
        patch(f"{_CRONS}/{{cron}}", {}),
        get(f"{_CRONS}/{{cron}}"),
        patch(f"{_CRONS}/{{cron}}", {"schedule": "nonsense"}),
        patch(f"{_CRONS}/{{uuid1}}", {"enabled": True}),
        delete(f"{_CRONS}/{{cron}}"),
    ),
    scenario(
        "crons",
        "wrongly",
        post(_CRONS, {"assistant_id": "steps", "schedule": "nonsense"}),
        post(_CRONS, {"assistant_id": "nonsense", "schedule": _YEARLY}),
        post(_CRONS, {"assistant_id": "{uuid1}", "schedule": _YEARLY}),
        post(_CRONS, {"assistant_id": "steps", "schedule": _YEARLY, "webhook": "http://127.0.0.1:9/none"}),
        post(_CRONS, {"assistant_id": "steps", "schedule": _YEARLY, "timezone": "Nowhere/Land"}),
        post(_CRONS, b"{nonsense"),
        get(f"{_CRONS}/{{uuid1}}"),
        get(f"{_CRONS}/nonsense"),
        delete(f"{_CRONS}/nonsense"),
    ),
]
