"""The schemas of graphs whose types have parts that no JSON schema describes: each costs its own field alone."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Optional, TypedDict

import pytest
import typing_extensions
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, ConfigDict

from api.json_schemas import schemas


class Event(TypedDict):
    """Inside of states."""

    at: int
    of: "Opaque"


class Opaque:
    """A class that no JSON schema describes."""


class Marked(MessagesState):
    """A state as LangChain's middleware declare theirs."""

    text: typing_extensions.Required[str]
    event: Annotated[typing_extensions.NotRequired[Event | None], "private"]
    call: typing_extensions.NotRequired[Callable[[int], int]]
    opaque: Opaque
    told: Annotated[list[Opaque], "x"]


class Closed(typing_extensions.TypedDict, total=False):
    """A TypedDict that pydantic takes on every Python."""

    text: typing_extensions.Required[str]
    event: Annotated[typing_extensions.NotRequired[Event | None], "private"]
    opaque: Opaque


@dataclasses.dataclass
class Record:
    """A dataclass."""

    text: str
    opaque: Opaque
    number: int = 3
    other: Optional[Opaque] = None  # noqa: UP045  # as older projects write it
    names: list[str] = dataclasses.field(default_factory=list)


class Model(BaseModel):
    """A pydantic model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    text: str
    opaque: Opaque
    number: int = 3
    call: Callable[[int], int] | None = None


@pytest.mark.parametrize(
    ("state", "fields", "required"),
    [
        (Marked, {"messages", "text", "event", "call", "opaque", "told"}, {"messages", "text", "opaque", "told"}),
        (Closed, {"text", "event", "opaque"}, {"text"}),
        (Record, {"text", "opaque", "number", "other", "names"}, {"text", "opaque"}),
        (Model, {"text", "opaque", "number", "call"}, {"text", "opaque"}),
    ],
)
def test_every_field_is_described(
    state: Any, fields: set[str], required: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    graph = StateGraph(state, context_schema=state).add_node("x", lambda _: {}).add_edge(START, "x").compile()
    found = schemas(graph)
    for name in ("input_schema", "output_schema", "context_schema", "config_schema"):
        assert set(found[name]["properties"]) == fields
        assert set(found[name]["required"]) == required
        assert found[name]["properties"]["text"] == {"title": "Text", "type": "string"}
        assert "type" not in found[name]["properties"]["opaque"]
    assert set(found["state_schema"]["properties"]) == fields
    assert caplog.text == ""
