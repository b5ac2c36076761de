"""The JS SDK against a live server, in Node."""

from typing import Any

import pytest

from tests.clients import node


@pytest.fixture(scope="module")
def steps(url: str) -> dict[str, Any]:
    """What the script saw, by step."""
    return {line.pop("step"): line for line in node.lines(node.install(), "client.mjs", url)}


def test_threads(steps: dict[str, Any]) -> None:
    assert steps["threads"] == {"found": 1, "more": 1, "status": "idle", "missing": 404}


def test_stream(steps: dict[str, Any]) -> None:
    assert steps["stream"] == {
        "text": "Hello, turn 1: hi",
        "events": ["metadata", "values", "messages", "updates"],
        "created": True,
        "status": "success",
    }


def test_subgraphs(steps: dict[str, Any]) -> None:
    assert steps["subgraphs"] == {"events": ["metadata", "updates|child", "updates", "updates"]}


def test_join(steps: dict[str, Any]) -> None:
    assert steps["join"] == {
        "values": {"number": 3, "trail": ["double", "increase"]},
        "replayed": ["metadata", "updates", "updates"],
        "rest": [{"increase": {"number": 3, "trail": ["increase"]}}],
    }


def test_cancel(steps: dict[str, Any]) -> None:
    assert steps["cancel"] == {"status": "interrupted"}


def test_interrupt(steps: dict[str, Any]) -> None:
    assert steps["interrupt"] == {
        "question": "Publish?",
        "next": ["ask"],
        "waiting": "interrupted",
        "values": {"topic": "cats", "draft": "Better", "published": True},
    }


def test_edit(steps: dict[str, Any]) -> None:
    assert steps["edit"] == {"next": [[], ["increase"], ["double"], ["__start__"]], "number": 71}


def test_failure(steps: dict[str, Any]) -> None:
    assert steps["failure"]["unknown"] == 422
    assert steps["failure"]["last"]["event"] == "error"
    assert steps["failure"]["last"]["data"] == {"error": "ValueError", "message": "a value that nobody likes"}


def test_records(steps: dict[str, Any]) -> None:
    assert steps["records"] == {"item": {"text": "hi"}, "found": 1, "said": "Hi, turn 1: hi"}


def test_pages(steps: dict[str, Any]) -> None:
    assert steps["pages"] == {"first": ["one", "two"], "second": ["three"], "end": None}


def test_network_cut(steps: dict[str, Any]) -> None:
    assert steps["cut"] == {"seen": ["metadata", "updates", "custom", "updates"], "same": True}
