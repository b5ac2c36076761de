"""Agents as one caller may use them: the assistants that it may read."""

from api.access_filter import AccessFilter
from api.agents import Agents
from api.guard.access import Access
from api.guard.assistants import GuardedAssistants
from api.protocols.native import AgentRequest
from api.registry import default_assistant_id
from api.runs import RunRequest
from api.schemas import Assistant, Json


class GuardedAgents:
    """Agents, asked for by one caller. `Agents` has the operations' descriptions.

    Args:
        agents: the operations.
        assistants: the caller's.
        access: the caller's.
    """

    def __init__(self, agents: Agents, assistants: GuardedAssistants, access: Access) -> None:
        self._agents = agents
        self._assistants = assistants
        self._access = access

    async def list(self) -> list[Json]:
        """Every agent."""
        await self._access.ask("assistants", "search", {"graph_id": None, "metadata": {}})
        return await self._agents.list()

    async def find(self, assistant_id: str) -> Assistant:
        """The agent; what is done with it asks."""
        return await self._agents.find(assistant_id, access=await self._assistants.readable(assistant_id))

    async def describe(self, assistant_id: str) -> Json:
        """One agent with its schemas."""
        return await self._agents.describe(assistant_id, access=await self._ask(assistant_id))

    async def drawing(self, assistant_id: str) -> Json:
        """Its graph as nodes and edges."""
        return await self._agents.drawing(assistant_id, access=await self._ask(assistant_id))

    async def mermaid(self, assistant_id: str) -> str:
        """Its graph as a diagram's text."""
        return await self._agents.mermaid(assistant_id, access=await self._ask(assistant_id))

    async def request(self, assistant_id: str, body: AgentRequest) -> RunRequest:
        """A run request; creating the run asks for the run."""
        access = await self._assistants.readable(assistant_id)
        return await self._agents.request(assistant_id, body, access=access)

    async def _ask(self, assistant_id: str) -> AccessFilter | None:
        if assistant_id in self._assistants.graph_ids:
            assistant_id = default_assistant_id(assistant_id)
        return await self._assistants.ask_read(assistant_id)
