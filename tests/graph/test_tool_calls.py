"""Which calls and results are told: the agent's own book of them, and the service's, which is the same."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from api.protocols import tool_calls as of_the_service
from graph import tool_calls as of_the_agent

BOOKS = [of_the_agent.ToolCalls, of_the_service.ToolCalls]


def asks(message_id: str | None, *calls: str | None, x: int = 0) -> AIMessage:
    return AIMessage("", id=message_id, tool_calls=[{"name": "add", "args": {"x": x}, "id": id_} for id_ in calls])


def result(id_: str = "c") -> ToolMessage:
    return ToolMessage("r", tool_call_id=id_)


def told(book: Any, *write: BaseMessage) -> list[str]:
    """What of a write is told, in short."""
    parts: list[str] = []
    for message in write:
        if isinstance(message, AIMessage):
            parts += [f"call {call['id']}" for call in book.new_calls(message, write)]
        elif isinstance(message, ToolMessage) and book.is_new(message, write):
            parts.append(f"result {message.tool_call_id}")
    return parts


@pytest.mark.parametrize("book", BOOKS)
def test_each_once_however_often_it_is_written(book: Any) -> None:
    calls = book()
    first, answered = asks("m1", "c"), result()
    assert told(calls, first) == ["call c"]
    assert calls.waiting
    assert told(calls, first) == []
    assert told(calls, answered) == ["result c"]
    assert not calls.waiting
    assert told(calls, first, answered) == []
    assert told(calls, asks("rebuilt", "c"), result()) == []


@pytest.mark.parametrize("book", BOOKS)
def test_an_id_that_comes_again_is_another_call(book: Any) -> None:
    calls = book()
    first, second = asks("m1", "c"), asks("m2", "c")
    assert told(calls, first) + told(calls, result()) == ["call c", "result c"]
    assert told(calls, second) == ["call c"]
    assert told(calls, first, result(), second) == []  # a history that is written while the second waits
    assert told(calls, result()) == ["result c"]
    assert told(calls, first, result(), second, result()) == []


@pytest.mark.parametrize("book", BOOKS)
def test_one_that_waits_may_be_written_in_another_message(book: Any) -> None:
    calls = book()
    assert told(calls, asks("m1", "c")) == ["call c"]
    assert told(calls, asks("m2", "c")) == []
    assert told(calls, asks("m3", "c", x=1)) == ["call c"]
    assert told(calls, result()) + told(calls, result()) + told(calls, result()) == ["result c", "result c"]


@pytest.mark.parametrize("book", BOOKS)
def test_calls_without_ids(book: Any) -> None:
    calls = book()
    assert told(calls, asks("m1", None, None)) == ["call None", "call None"]
    assert told(calls, asks("m1", None, None)) == []


@pytest.mark.parametrize("book", BOOKS)
@pytest.mark.parametrize("unanswered", [True, False])
def test_what_was_there_before(book: Any, unanswered: bool) -> None:
    calls = book()
    calls.note_earlier([asks("m1", "c"), result(), asks("m2", "d")], unanswered=unanswered)
    assert told(calls, asks("m1", "c"), result(), asks("m2", "d")) == []
    assert told(calls, result("d")) == (["result d"] if unanswered else [])


@pytest.mark.parametrize("book", BOOKS)
def test_a_graph_inside_that_sees_a_call_which_waits(book: Any) -> None:
    calls = book()
    assert told(calls, asks("m1", "c")) == ["call c"]
    calls.note_earlier([asks("m1", "c")], unanswered=False)
    assert told(calls, result()) == ["result c"]
