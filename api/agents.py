"""Agents: what is served, described for callers, and their requests checked and turned into run requests.

An agent is a graph that langgraph.json names, as its default assistant or with the settings of
another one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pydantic import TypeAdapter

from api.access_filter import AccessFilter
from api.assistants import Assistants, run_config
from api.configs import merged
from api.errors import InvalidRequestError, NotFoundError
from api.json_schemas import schemas
from api.native_inputs import UNFITTED, adapter, fitted_context, fitted_input
from api.protocols.astream_events import FILTERS
from api.protocols.native import AgentRequest, EventsRequest
from api.registry import AnyGraph, Registry
from api.runs import RunRequest
from api.schemas import Assistant, Json

_SCHEMAS = ("input_schema", "output_schema", "context_schema")


class Agents:
    """The agents of this service.

    Args:
        registry: the graphs.
        assistants: whose settings go below the request's.
    """

    def __init__(self, registry: Registry, assistants: Assistants) -> None:
        self._registry = registry
        self._assistants = assistants
        self._contexts: dict[type[Any], TypeAdapter[Any] | None] = {}

    async def list(self) -> list[Json]:
        """Every agent: `{"assistant_id", "graph_id", "description"}`."""
        return [
            {"assistant_id": entry.assistant_id, "graph_id": entry.graph_id, "description": entry.description}
            for entry in self._registry.entries.values()
        ]

    async def find(self, assistant_id: str, *, access: AccessFilter | None = None) -> Assistant:
        """The agent: an assistant as of its latest version.

        Args:
            assistant_id: its id, or the name of a graph for its default assistant.
            access: matches its metadata, if it is not a default one.

        Raises:
            NotFoundError: there is none.
        """
        try:
            return await self._assistants.resolve(assistant_id, access=access)
        except (InvalidRequestError, NotFoundError):
            known = ", ".join(sorted(self._registry.entries))
            raise NotFoundError(f"No agent {assistant_id!r} here. Served: {known}.", field="assistant_id") from None

    async def describe(self, assistant_id: str, *, access: AccessFilter | None = None) -> Json:
        """One agent with the JSON schemas of its input, output and context.

        Raises:
            NotFoundError: there is no such agent.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (assistant, graph):
            # In a thread: those of messages take a tenth of a second, in which no stream would go on.
            found = await asyncio.to_thread(schemas, graph)
            return _summary(assistant) | {name: found[name] for name in _SCHEMAS}

    async def drawing(self, assistant_id: str, *, access: AccessFilter | None = None) -> Json:
        """The agent's graph as nodes and edges.

        Raises:
            NotFoundError: there is no such agent.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (_, graph):
            return (await graph.aget_graph()).to_json()

    async def mermaid(self, assistant_id: str, *, access: AccessFilter | None = None) -> str:
        """The agent's graph as the text of a Mermaid diagram.

        Raises:
            NotFoundError: there is no such agent.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (_, graph):
            return (await graph.aget_graph()).draw_mermaid()

    async def request(self, assistant_id: str, body: AgentRequest, *, access: AccessFilter | None = None) -> RunRequest:
        """A run request out of a body of the native API.

        Raises:
            NotFoundError: there is no such agent.
            InvalidRequestError: the input or the context does not fit the graph; it names the field.
        """
        assistant = await self.find(assistant_id, access=access)
        kwargs = await self._kwargs(assistant, body)
        if config := merged(assistant.config, _configurable(assistant, body.context)):
            kwargs["config"] = config
        if isinstance(body, EventsRequest):
            kwargs["filters"] = body.model_dump(include=set(FILTERS), exclude_none=True)
        return RunRequest(
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            source="events" if isinstance(body, EventsRequest) else "native",
            kwargs=kwargs,
            thread_id=body.thread_id,
            metadata={**_metadata(assistant), **body.metadata},
            given_metadata=body.metadata,
        )

    @contextlib.asynccontextmanager
    async def _open(self, assistant: Assistant) -> AsyncIterator[tuple[Assistant, AnyGraph]]:
        async with self._registry.open(assistant.graph_id, run_config(assistant), purpose="assistants.read") as graph:
            yield assistant, graph

    async def _kwargs(self, assistant: Assistant, body: AgentRequest) -> Json:
        given = _given(body)
        if self._registry.find(assistant.graph_id).is_factory:
            # It is called once, for the run itself, which then sees whether this fits.
            return {**given, UNFITTED: {"context": body.context, "settings": assistant.context}}
        async with self._open(assistant) as (_, graph):
            if "input" in given:
                given["input"] = fitted_input(graph, given["input"])
            return given | fitted_context(graph, body.context, assistant.context, self._adapter)

    def _adapter(self, schema: type[Any]) -> TypeAdapter[Any] | None:
        if schema not in self._contexts:
            self._contexts[schema] = adapter(schema)
        return self._contexts[schema]


def _summary(assistant: Assistant) -> Json:
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "description": assistant.description,
    }


def _metadata(assistant: Assistant) -> Json:
    """The assistant's metadata for its runs, without the mark of default ones: every checkpoint keeps a copy."""
    return {name: value for name, value in assistant.metadata.items() if (name, value) != ("created_by", "system")}


def _configurable(assistant: Assistant, context: Json | None) -> Json:
    """The request's context where a graph that reads `configurable` finds it, if the assistant has settings there."""
    return {"configurable": context} if context and assistant.config.get("configurable") else {}


def _given(body: AgentRequest) -> Json:
    if body.resume is not None:
        if body.input is not None:
            raise InvalidRequestError("Give either input or resume, not both.", field="resume")
        if body.thread_id is None:
            raise InvalidRequestError("To resume, name the thread that waits.", field="thread_id")
        return {"resume": body.resume}
    if body.input is None or body.input in ("", [], {}) or (isinstance(body.input, str) and not body.input.strip()):
        raise InvalidRequestError("The input is missing or empty.", field="input")
    return {"input": body.input}
