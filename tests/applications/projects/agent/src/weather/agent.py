"""create_agent with a structured answer, a person in the loop, todos, and middleware that reads the last answer."""

from typing import Any, NotRequired

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState, HumanInTheLoopMiddleware, TodoListMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.tools import tool
from pydantic import BaseModel

from weather.model import Script


class Weather(BaseModel):
    """The answer."""

    city: str
    degrees: int


class Remembering(AgentState):
    """What was asked before."""

    before: NotRequired[str]


class Remember(AgentMiddleware):
    """Reads the answer of the turn before as the class that it is."""

    state_schema = Remembering

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        """At the start of a turn."""
        answer = state.get("structured_response")
        return {"before": f"{answer.city}, {answer.degrees + 1}" if answer else "nothing"}


@tool
def look(city: str) -> int:
    """Measures."""
    return len(city)


graph = create_agent(
    Script(),
    tools=[look],
    middleware=[Remember(), TodoListMiddleware(), HumanInTheLoopMiddleware(interrupt_on={"look": True})],
    response_format=ToolStrategy(Weather),
)
