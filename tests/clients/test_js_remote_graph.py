"""RemoteGraph of the JS library against a live server, in Node."""

from typing import Any

import pytest

from tests.clients import node


@pytest.fixture(scope="module")
def steps(url: str) -> dict[str, Any]:
    """What the script saw, by step."""
    return {line.pop("step"): line for line in node.lines(node.install(), "remote_graph.mjs", url)}


def test_invoke(steps: dict[str, Any]) -> None:
    assert steps["invoke"]["alone"] == {"number": 3, "trail": ["double", "increase"]}
    assert steps["invoke"]["second"] == ["one", "Hello, turn 1: one", "two", "Hello, turn 2: two"]
    assert "a value that nobody likes" in steps["invoke"]["failure"]


def test_stream(steps: dict[str, Any]) -> None:
    assert steps["stream"] == {
        "updates": [
            {"double": {"number": 2, "trail": ["double"]}},
            {"increase": {"number": 3, "trail": ["increase"]}},
        ],
        "together": ["values", "updates", "values", "updates", "values"],
        "namespaces": [["child"], [], []],
        "text": "Hello, turn 1: hi",
    }


def test_state_history_and_fork(steps: dict[str, Any]) -> None:
    assert steps["state"] == {
        "values": {"number": 3, "trail": ["double", "increase"]},
        "next": [],
        "history": [[], ["increase"], ["double"], ["__start__"]],
        "fork": 71,
    }


def test_interrupt_and_resume(steps: dict[str, Any]) -> None:
    assert steps["interrupt"] == {
        "raised": "Publish?",
        "question": "Publish?",
        "next": ["ask"],
        "values": {"topic": "cats", "draft": "Better", "published": True},
    }


def test_drawing(steps: dict[str, Any]) -> None:
    assert steps["graph"] == {"nodes": ["__end__", "__start__", "child:speak", "close"]}


def test_as_a_node(steps: dict[str, Any]) -> None:
    assert steps["node"] == {"number": 3, "trail": ["double", "increase"]}
