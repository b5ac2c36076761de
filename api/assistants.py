"""Assistants: graphs with a config, context and metadata of their own, in versions. Every graph has a default one.

id of an assistant, or name of a graph ──resolve──> Assistant ──> what a run of it begins with
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Literal, cast
from uuid import UUID, uuid4

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.pregel import Pregel
from pydantic import BaseModel, ConfigDict

from api.access_filter import AccessFilter, permits
from api.configs import Config, Filter, Metadata, Settings, Text, mirrored
from api.errors import ConflictError, InvalidRequestError, NotFoundError
from api.json_schemas import schemas
from api.pages import Limit, Offset, PageRequest
from api.registry import AnyGraph, GraphEntry, Registry, default_assistant_id
from api.runs import Runs
from api.schemas import Assistant, AssistantSort, Json
from api.storage.base import Storage
from api.threads import Threads

logger = logging.getLogger(__name__)

_UNNAMED = "LangGraph"
"""What LangGraph calls a graph that was compiled without a name."""

AssistantField = Literal[
    "assistant_id",
    "graph_id",
    "config",
    "context",
    "metadata",
    "name",
    "created_at",
    "updated_at",
    "version",
    "description",
]


class _Body(BaseModel):
    """A request's body: strict, as 1 is not "1", and with room for keys that are not known."""

    model_config = ConfigDict(strict=True)


class AssistantCreate(_Body):
    """A new assistant."""

    graph_id: str
    assistant_id: str = ""
    config: Config = Config()
    context: Settings = {}
    metadata: Metadata = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"
    name: Text = ""
    description: Text | None = None


class AssistantPatch(_Body):
    """What is to change; metadata is merged into what is there."""

    graph_id: str = ""
    config: Config = Config()
    context: Settings = {}
    metadata: Metadata = {}
    name: Text = ""
    description: Text = ""


class AssistantFilter(_Body):
    """Which assistants."""

    metadata: Filter = {}
    graph_id: str = ""
    name: Text = ""


class AssistantSearch(PageRequest, AssistantFilter):
    """Which assistants, in which order, and what of them."""

    sort_by: AssistantSort = "created_at"
    select: list[AssistantField] = []


class VersionSearch(_Body):
    """Which versions of an assistant."""

    metadata: Filter = {}
    limit: Limit = 10
    offset: Offset = 0


class VersionChange(_Body):
    """The version to go back to."""

    version: int = 0


class Assistants:
    """The assistants of this service.

    Args:
        storage: where they are.
        registry: their graphs.
        runs: those of a deleted assistant are cancelled.
        threads: deletes those of a deleted assistant, if asked to.
    """

    def __init__(self, storage: Storage, registry: Registry, runs: Runs, threads: Threads) -> None:
        self._storage = storage
        self._registry = registry
        self._runs = runs
        self._threads = threads

    async def register(self) -> None:
        """Makes the default assistant of every graph, or gives it the name and description that the graph now has.

        Its id follows from the graph's name, so that a client could have taken it before there was such a graph: that
        client's assistant goes on under another id.
        """
        for entry in self._registry.entries.values():
            now = datetime.now(UTC)
            assistant = Assistant(
                entry.assistant_id,
                entry.graph_id,
                now,
                now,
                metadata={"created_by": "system"},
                name=_name(entry),
                description=entry.description,
            )
            new_id = str(uuid4())
            held, renamed = await self._storage.assistants.register(assistant, new_id)
            if renamed:
                logger.warning(
                    "assistant %s is that of graph %s: a client's, which had this id, is %s from now on",
                    entry.assistant_id,
                    entry.graph_id,
                    new_id,
                )
            if held and (held.name, held.description) != (assistant.name, assistant.description):
                changes = {"name": assistant.name, "description": assistant.description}
                await self._storage.assistants.patch(entry.assistant_id, changes)

    @property
    def default_ids(self) -> frozenset[str]:
        """Ids of the graphs' own assistants, which everybody may use and nobody owns."""
        return frozenset(entry.assistant_id for entry in self._registry.entries.values())

    async def resolve(self, assistant_id: str, *, access: AccessFilter | None = None) -> Assistant:
        """The assistant that a run is to have.

        Args:
            assistant_id: its id, or the name of a graph, which stands for the default assistant.
            access: matches its metadata, if it is not a default one.

        Raises:
            InvalidRequestError: neither an id nor the name of a graph.
            NotFoundError: there is no such assistant, or its graph is no longer served.
        """
        try:
            key = assistant_key(self._default_id(assistant_id))
        except InvalidRequestError:
            raise InvalidRequestError(
                f"Invalid assistant: '{assistant_id}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {', '.join(self._registry.entries)}",
                field="assistant_id",
            ) from None
        assistant = await self._held(key, access)
        if assistant is None or assistant.graph_id not in self._registry.entries:
            raise NotFoundError("Thread or assistant not found.", field="assistant_id")
        return assistant

    async def create(self, body: AssistantCreate, *, access: AccessFilter | None = None) -> Assistant:
        """A new assistant; with `if_exists="do_nothing"` the one that has the id already, if `access` matches it.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: no such graph.
            BadRequestError: context and configurable are both given.
            ConflictError: the id is taken.
        """
        key = assistant_key(body.assistant_id) if body.assistant_id else str(uuid4())
        self._check_graph(body.graph_id)
        if access is not None and key in self.default_ids and await self._storage.assistants.get(key) is None:
            # The operator has deleted it: no tenant's may stand in its place.
            raise ConflictError(f"Assistant {key} already exists", field="assistant_id")
        config, context = mirrored(body.config.given(), body.context)
        now = datetime.now(UTC)
        assistant = Assistant(
            key,
            body.graph_id,
            now,
            now,
            config=config,
            context=context or {},
            metadata=body.metadata,
            name=body.name or "Untitled",
            description=body.description,
        )
        held = await self._storage.assistants.create(assistant)
        if held and (body.if_exists == "raise" or not self._permits(access, held)):
            raise ConflictError(f"Assistant {key} already exists", field="assistant_id")
        return held or assistant

    async def get(self, assistant_id: str, *, access: AccessFilter | None = None) -> Assistant:
        """An assistant, by its id.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none, or its graph is no longer served.
        """
        assistant = await self._get(assistant_id, access)
        if assistant.graph_id not in self._registry.entries:
            raise NotFoundError(f"assistant {assistant_id} not found", field="assistant_id")
        return assistant

    async def patch(self, assistant_id: str, body: AssistantPatch, *, access: AccessFilter | None = None) -> Assistant:
        """Changes an assistant: a new version, which becomes the latest.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: no such assistant or graph.
            BadRequestError: context and configurable are both given.
        """
        key = assistant_key(assistant_id)
        changes = body.model_dump(include=body.model_fields_set - {"config", "context"})
        if "graph_id" in changes:
            self._check_graph(body.graph_id)
        config, context = mirrored(body.config.given(), body.context if "context" in body.model_fields_set else None)
        if config:
            changes["config"] = config
        if context is not None:
            changes["context"] = context
        owned = access is None or await self._owned(key, access)
        assistant = await self._storage.assistants.patch(key, changes) if owned else None
        if assistant is None:
            raise NotFoundError(f"Assistant {assistant_id} not found", field="assistant_id")
        return assistant

    async def delete(
        self, assistant_id: str, *, delete_threads: bool = False, access: AccessFilter | None = None
    ) -> None:
        """Deletes an assistant with its versions, and cancels its runs.

        Args:
            assistant_id: its id.
            delete_threads: also its threads, once those runs have ended; one that another run keeps busy stays.
            access: matches its metadata.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none.
        """
        key = assistant_key(assistant_id)
        if not await self._owned(key, access):
            raise NotFoundError(f"Assistant with ID {assistant_id} not found", field="assistant_id")
        for run_id in await self._storage.assistants.active_runs(key):
            await self._cancel(run_id, wait=delete_threads)
        if delete_threads:
            for thread_id in await self._storage.assistants.threads(key):
                await self._delete_thread(thread_id)
        await self._storage.assistants.delete(key)

    async def _cancel(self, run_id: str, *, wait: bool) -> None:
        try:
            await self._runs.cancel(run_id)
        except NotFoundError:
            return  # it ended meanwhile
        if wait:
            await self._runs.collect(run_id, frozenset())

    async def _delete_thread(self, thread_id: str) -> None:
        try:
            await self._threads.delete(thread_id)
        except NotFoundError:
            return  # deleted meanwhile
        except ConflictError:
            logger.warning("Thread %s stays, though its assistant is deleted: it has a run under way.", thread_id)

    async def search(self, body: AssistantSearch, *, access: AccessFilter | None = None) -> tuple[Sequence[Json], int]:
        """A page of assistants, newest first if no order is given, and how many there are in all.

        Raises:
            NotFoundError: no such graph.
        """
        assistants, total = await self._storage.assistants.search(
            graph_ids=self._graph_ids(body.graph_id),
            name=body.name,
            metadata=body.metadata,
            access=access,
            shared=self.default_ids,
            **body.place(),
        )
        return [body.selected(assistant_record(assistant)) for assistant in assistants], total

    async def count(self, body: AssistantFilter, *, access: AccessFilter | None = None) -> int:
        """How many assistants there are.

        Raises:
            NotFoundError: no such graph.
        """
        _, total = await self._storage.assistants.search(
            graph_ids=self._graph_ids(body.graph_id),
            name=body.name,
            metadata=body.metadata,
            access=access,
            shared=self.default_ids,
            limit=0,
        )
        return total

    async def versions(
        self, assistant_id: str, body: VersionSearch, *, access: AccessFilter | None = None
    ) -> Sequence[Json]:
        """An assistant's versions, highest first.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is no such assistant, or no version to show.
        """
        key = assistant_key(assistant_id)
        versions = await self._storage.assistants.versions(
            key, metadata=body.metadata, limit=body.limit, offset=body.offset
        )
        if not versions or await self._held(key, access) is None:
            raise NotFoundError(f"Assistant {assistant_id} not found", field="assistant_id")
        return [_version_record(version) for version in versions]

    async def set_latest(self, assistant_id: str, version: int, *, access: AccessFilter | None = None) -> Assistant:
        """Goes back, or forth, to a version: the assistant has all that the version has.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is no such assistant or version.
        """
        key = assistant_key(assistant_id)
        owned = access is None or await self._owned(key, access)
        assistant = await self._storage.assistants.set_latest(key, version) if owned else None
        if assistant is None:
            if not owned or await self._storage.assistants.get(key) is None:
                raise NotFoundError(f"Assistant {assistant_id} not found", field="assistant_id")
            raise NotFoundError(f"Version {version} not found for assistant {assistant_id}", field="version")
        return assistant

    async def drawing(self, assistant_id: str, *, xray: bool | int = False, access: AccessFilter | None = None) -> Json:
        """The nodes and edges of an assistant's graph.

        Args:
            assistant_id: its id, or the name of a graph.
            xray: whether subgraphs are drawn in place of their nodes, or how many levels of them.

        Raises:
            InvalidRequestError: neither an id nor the name of a graph.
            NotFoundError: there is none, or its graph is no longer served.
        """
        assistant = await self._get(self._default_id(assistant_id), access)
        async with self._open(assistant) as graph:
            document: Json = (await graph.aget_graph(xray=xray)).to_json()
        for node in document["nodes"]:
            if isinstance(data := node.get("data"), dict):
                data.pop("id", None)
        return document

    async def schemas(self, assistant_id: str, *, access: AccessFilter | None = None) -> Json:
        """The JSON schemas of an assistant's graph.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none, or its graph is no longer served.
        """
        assistant = await self._get(assistant_id, access)
        async with self._open(assistant) as graph:
            # In a thread: those of messages take a tenth of a second, in which no stream would go on.
            found = await asyncio.to_thread(schemas, _named(graph, assistant.graph_id))
        return {"graph_id": assistant.graph_id, **found}

    async def subgraphs(
        self,
        assistant_id: str,
        namespace: str | None = None,
        *,
        recurse: bool = False,
        access: AccessFilter | None = None,
    ) -> Json:
        """The JSON schemas of the graphs inside an assistant's graph, by namespace.

        Args:
            assistant_id: its id.
            namespace: only the one there: `node`, or `node|node` with `recurse`.
            recurse: also those inside of those.
            access: matches its metadata, if it is not a default one.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none, or its graph is no longer served.
        """
        assistant = await self._get(assistant_id, access)
        async with self._open(assistant) as graph:
            found = graph.aget_subgraphs(namespace=namespace, recurse=recurse)
            inner = {place: cast("Runnable[Any, Any]", each) async for place, each in found}
            return {place: await asyncio.to_thread(schemas, each) for place, each in inner.items()}

    def _open(self, assistant: Assistant) -> AbstractAsyncContextManager[AnyGraph]:
        graph_id = self._check_graph(assistant.graph_id)
        return self._registry.open(graph_id, run_config(assistant), purpose="assistants.read")

    async def _held(self, key: str, access: AccessFilter | None) -> Assistant | None:
        assistant = await self._storage.assistants.get(key)
        return assistant if assistant is not None and self._permits(access, assistant) else None

    async def _owned(self, key: str, access: AccessFilter | None) -> bool:
        """Whether it may be changed: default ones may by those alone whom nothing limits."""
        assistant = await self._storage.assistants.get(key)
        return assistant is not None and permits(access, assistant.metadata)

    def _permits(self, access: AccessFilter | None, assistant: Assistant) -> bool:
        """Whether it may be seen and used; default ones by everybody."""
        return permits(access, assistant.metadata) or assistant.assistant_id in self.default_ids

    async def _get(self, assistant_id: str, access: AccessFilter | None = None) -> Assistant:
        assistant = await self._held(assistant_key(assistant_id), access)
        if assistant is None:
            raise NotFoundError("Not Found", field="assistant_id")
        return assistant

    def _default_id(self, assistant_id: str) -> str:
        return default_assistant_id(assistant_id) if assistant_id in self._registry.entries else assistant_id

    def _check_graph(self, graph_id: str) -> str:
        if graph_id not in self._registry.entries:
            known = sorted(self._registry.entries)
            raise NotFoundError(f"Graph '{graph_id}' not found. Expected one of: {known}", field="graph_id")
        return graph_id

    def _graph_ids(self, graph_id: str) -> Sequence[str]:
        return [self._check_graph(graph_id)] if graph_id else list(self._registry.entries)


def assistant_record(assistant: Assistant) -> Json:
    """An assistant as langgraph_sdk's Assistant."""
    return {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "config": assistant.config,
        "context": assistant.context,
        "metadata": assistant.metadata,
        "name": assistant.name,
        "created_at": assistant.created_at,
        "updated_at": assistant.updated_at,
        "version": assistant.version,
        "description": assistant.description,
    }


def _version_record(version: Assistant) -> Json:
    return {
        "assistant_id": version.assistant_id,
        "version": version.version,
        "graph_id": version.graph_id,
        "config": version.config,
        "context": version.context,
        "metadata": version.metadata,
        "created_at": version.created_at,
        "name": version.name,
        "description": version.description,
    }


def assistant_key(assistant_id: str) -> str:
    """An assistant's id in its usual form.

    Raises:
        InvalidRequestError: it is not a UUID.
    """
    try:
        return str(UUID(assistant_id))
    except ValueError:
        raise InvalidRequestError("Invalid assistant ID: must be a UUID", field="assistant_id") from None


def _name(entry: GraphEntry) -> str:
    if isinstance(entry.target, Pregel) and entry.target.name != _UNNAMED:
        return str(entry.target.name)
    return entry.graph_id


def _named(graph: Runnable[Any, Any], graph_id: str) -> Runnable[Any, Any]:
    """A graph without a name has that of its entry, which shows in the titles of its schemas."""
    if isinstance(graph, Pregel) and graph.name == _UNNAMED:
        return graph.copy(update={"name": graph_id})
    return graph


def run_config(assistant: Assistant) -> RunnableConfig:
    """The assistant's config, for a factory that makes its graph."""
    return cast("RunnableConfig", {"configurable": {}, **assistant.config})
