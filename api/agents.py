"""Agents: what is served, described for callers, and their requests checked and turned into run requests.

An agent is a graph or a plain Runnable that langgraph.json names, as its default assistant or with the settings of
another one.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, get_type_hints

from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables import Runnable
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from api.access_filter import AccessFilter
from api.assistants import Assistants, run_config
from api.configs import merged
from api.errors import InvalidRequestError, NotFoundError, invalid
from api.protocols.astream_events import FILTERS
from api.protocols.native import AgentRequest, EventsRequest
from api.registry import Registry
from api.runs import RunRequest
from api.schemas import Assistant, Json


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
            return {
                **_summary(assistant),
                "input_schema": _json_schema(graph.get_input_jsonschema),
                "output_schema": _json_schema(graph.get_output_jsonschema),
                "context_schema": _json_schema(graph.get_context_jsonschema) if isinstance(graph, Pregel) else None,
            }

    async def drawing(self, assistant_id: str, *, access: AccessFilter | None = None) -> Json:
        """The agent's graph as nodes and edges.

        Raises:
            NotFoundError: there is no such agent.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (_, graph):
            return (await _drawable(graph)).to_json()  # type: ignore[no-any-return]

    async def mermaid(self, assistant_id: str, *, access: AccessFilter | None = None) -> str:
        """The agent's graph as the text of a Mermaid diagram.

        Raises:
            NotFoundError: there is no such agent.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (_, graph):
            return (await _drawable(graph)).draw_mermaid()  # type: ignore[no-any-return]

    async def request(self, assistant_id: str, body: AgentRequest, *, access: AccessFilter | None = None) -> RunRequest:
        """A run request out of a body of the native API.

        Raises:
            NotFoundError: there is no such agent.
            InvalidRequestError: the input or the context does not fit the graph; it names the field.
        """
        async with self._open(await self.find(assistant_id, access=access)) as (assistant, graph):
            kwargs = _input(graph, body) | self._context(graph, body.context, assistant.context)
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
    async def _open(self, assistant: Assistant) -> AsyncIterator[tuple[Assistant, Runnable[Any, Any]]]:
        async with self._registry.open(assistant.graph_id, run_config(assistant)) as graph:
            yield assistant, graph

    def _context(self, graph: Runnable[Any, Any], context: Json | None, settings: Json) -> Json:
        """The context of a run: the request's, which must fit, over the assistant's, as far as it does."""
        schema = graph.context_schema if isinstance(graph, Pregel) else None
        if schema is None:
            if context:
                raise InvalidRequestError("This agent takes no context.", field="context")
            return {}
        known = get_type_hints(schema)
        if unknown := [name for name in context or {} if name not in known]:
            raise InvalidRequestError(f"This agent's context has {_names(known)}.", field=f"context.{unknown[0]}")
        if schema not in self._contexts:
            self._contexts[schema] = _adapter(schema)
        whole = {name: value for name, value in settings.items() if name in known} | (context or {})
        try:
            # Without a context the fields' defaults apply, as they would with an empty one.
            if (adapter := self._contexts[schema]) is not None:
                adapter.validate_python(whole)
        except ValidationError as exc:
            raise invalid(exc, "context") from exc
        except (ValueError, TypeError) as exc:
            raise InvalidRequestError(f"context: {exc}", field="context") from exc
        return {"context": whole}


def _adapter(schema: type[Any]) -> TypeAdapter[Any] | None:
    """None for what pydantic does not take: before Python 3.12 a TypedDict of `typing`, for one."""
    try:
        return TypeAdapter(schema)
    except PydanticUserError:
        return None


def _json_schema(get: Callable[[], Json | None]) -> Json | None:
    try:
        return get()
    except PydanticUserError:
        return None


def _fields(graph: Pregel[Any, Any, Any, Any]) -> Mapping[str, Any] | None:
    """The fields of the graph's input; None if it is not an object."""
    if not isinstance(graph, CompiledStateGraph):
        return None
    return get_type_hints(graph.builder.input_schema) or None


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


async def _drawable(graph: Runnable[Any, Any]) -> Any:
    return await graph.aget_graph() if isinstance(graph, Pregel) else graph.get_graph()


def _input(graph: Runnable[Any, Any], body: AgentRequest) -> Json:
    if body.resume is not None:
        if body.input is not None:
            raise InvalidRequestError("Give either input or resume, not both.", field="resume")
        if body.thread_id is None:
            raise InvalidRequestError("To resume, name the thread that waits.", field="thread_id")
        return {"resume": body.resume}
    if body.input is None or body.input in ("", [], {}) or (isinstance(body.input, str) and not body.input.strip()):
        raise InvalidRequestError("The input is missing or empty.", field="input")
    if not isinstance(graph, Pregel):
        return {"input": body.input}
    return {"input": _graph_input(_fields(graph), body.input)}


def _graph_input(fields: Mapping[str, Any] | None, value: Any) -> Any:
    """Text and message lists become the graph's `messages`, or text its one field of text; an object must be of the
    graph's own fields.

    Args:
        fields: of the graph's input; None if that is not an object.
        value: what the caller gave, not empty.
    """
    if fields is None:
        return value
    if isinstance(value, str | list):
        if isinstance(value, str) and list(fields.values()) == [str]:
            return dict.fromkeys(fields, value)
        if "messages" not in fields:
            raise InvalidRequestError(f"This agent takes an object with {_names(fields)}.", field="input")
        value = {"messages": [{"role": "user", "content": value}] if isinstance(value, str) else value}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"This agent takes text, messages, or an object with {_names(fields)}.", field="input"
        )
    if unknown := [name for name in value if name not in fields]:
        raise InvalidRequestError(f"This agent's input has {_names(fields)}.", field=f"input.{unknown[0]}")
    if "messages" in value:
        _check_messages(value["messages"])
    return value


def _check_messages(messages: Any) -> None:
    try:
        convert_to_messages(messages if isinstance(messages, list) else [messages])
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError) as exc:
        message = "Not a list of messages: each is {role, content}, or as LangChain writes it."
        raise InvalidRequestError(message, field="input.messages") from exc


def _names(fields: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in fields) or "no fields"
