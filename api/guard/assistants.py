"""Assistants as one caller may use them; the graphs' own can be seen and used by everybody."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel

from api.access_filter import AccessFilter
from api.assistants import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionSearch,
    assistant_key,
)
from api.configs import Config
from api.errors import ConflictError, NotFoundError
from api.guard.access import Access, uuid_or_text
from api.guard.threads import GuardedThreads
from api.schemas import Assistant, Json

if TYPE_CHECKING:
    from api.app import Threadline

Body = TypeVar("Body", bound=BaseModel)


class GuardedAssistants:
    """Assistants, asked for by one caller. `Assistants` has the operations' descriptions.

    Args:
        threadline: has the operations.
        access: the caller's.
    """

    def __init__(self, threadline: "Threadline", access: Access) -> None:
        self._threadline = threadline
        self._assistants = threadline.assistants
        self._access = access

    @property
    def graph_ids(self) -> Collection[str]:
        """Names of the graphs, which stand for their own assistants."""
        return self._threadline.registry.entries.keys()

    async def ask_read(self, assistant_id: str) -> AccessFilter | None:
        """What limits the caller to some assistants."""
        return await self._ask("read", assistant_id)

    async def readable(self, assistant_id: str) -> AccessFilter | None:
        """What limits the caller to some assistants; None for a graph's own one, by its id or the graph's name."""
        if assistant_id in self._threadline.registry.entries or assistant_id in self._assistants.default_ids:
            return None
        return await self._ask("read", assistant_id)

    async def create(self, body: AssistantCreate) -> Assistant:
        """A new assistant, as handlers leave it."""
        key = assistant_key(body.assistant_id) if body.assistant_id else str(uuid4())
        value = {
            "assistant_id": UUID(key),
            "graph_id": body.graph_id,
            "if_exists": body.if_exists,
            "name": body.name or "Untitled",
            **_documents(body),
        }
        access = await self._access.ask("assistants", "create", value)
        changed = _changed(body, value, "config", "context", "metadata", "name")
        return await self._assistants.create(changed.model_copy(update={"assistant_id": key}), access=access)

    async def get(self, assistant_id: str) -> Assistant:
        """An assistant."""
        return await self._assistants.get(assistant_id, access=await self._ask("read", assistant_id))

    async def patch(self, assistant_id: str, body: AssistantPatch) -> Assistant:
        """Changes an assistant, as handlers leave the change."""
        value = {
            "assistant_id": uuid_or_text(assistant_id),
            "graph_id": body.graph_id or None,
            "name": body.name or None,
            "version": None,
            **_documents(body),
        }
        access = await self._access.ask("assistants", "update", value)
        changed = _changed(body, value, "config", "context", "metadata")
        return await self._assistants.patch(assistant_id, changed, access=access)

    async def delete(self, assistant_id: str, *, delete_threads: bool = False) -> None:
        """Deletes an assistant, and of its threads those that the caller may delete."""
        access = await self._ask("delete", assistant_id)
        if delete_threads:
            await self._assistants.get(assistant_id, access=access)
            await self._delete_threads(assistant_key(assistant_id))
        await self._assistants.delete(assistant_id, access=access)

    async def _delete_threads(self, key: str) -> None:
        threads = GuardedThreads(self._threadline.threads, self._access)
        for thread_id in await self._threadline.storage.assistants.threads(key):
            try:
                await threads.delete(thread_id)
            except (NotFoundError, ConflictError):
                continue  # another's, deleted meanwhile, or kept busy

    async def search(self, body: AssistantSearch) -> tuple[Sequence[Json], int]:
        """A page of the caller's assistants, and of the graphs' own."""
        changed, access = await self._searched(body, limit=body.limit, offset=body.offset)
        return await self._assistants.search(changed, access=access)

    async def count(self, body: AssistantFilter) -> int:
        """How many there are."""
        changed, access = await self._searched(body, limit=0, offset=0)
        return await self._assistants.count(changed, access=access)

    async def _searched(self, body: Any, *, limit: int, offset: int) -> tuple[Any, AccessFilter | None]:
        value: Json = {
            "graph_id": body.graph_id or None,
            "metadata": dict(body.metadata),
            "limit": limit,
            "offset": offset,
        }
        access = await self._access.ask("assistants", "search", value)
        return body.model_copy(update={"metadata": value.get("metadata") or {}}), access

    async def versions(self, assistant_id: str, body: VersionSearch) -> Sequence[Json]:
        """An assistant's versions."""
        return await self._assistants.versions(assistant_id, body, access=await self._ask("read", assistant_id))

    async def set_latest(self, assistant_id: str, version: int) -> Assistant:
        """Goes back, or forth, to a version."""
        value: Json = {"assistant_id": uuid_or_text(assistant_id), "version": version}
        access = await self._access.ask("assistants", "update", value)
        return await self._assistants.set_latest(assistant_id, version, access=access)

    async def drawing(self, assistant_id: str, *, xray: bool | int = False) -> Json:
        """The nodes and edges of its graph."""
        access = await self._ask("read", assistant_id)
        return await self._assistants.drawing(assistant_id, xray=xray, access=access)

    async def schemas(self, assistant_id: str) -> Json:
        """The JSON schemas of its graph."""
        return await self._assistants.schemas(assistant_id, access=await self._ask("read", assistant_id))

    async def subgraphs(self, assistant_id: str, namespace: str | None = None, *, recurse: bool = False) -> Json:
        """The JSON schemas of the graphs inside its graph."""
        access = await self._ask("read", assistant_id)
        return await self._assistants.subgraphs(assistant_id, namespace, recurse=recurse, access=access)

    async def _ask(self, action: str, assistant_id: str) -> AccessFilter | None:
        return await self._access.ask("assistants", action, {"assistant_id": uuid_or_text(assistant_id)})


def _documents(body: AssistantCreate | AssistantPatch) -> Json:
    """What handlers may change, as copies."""
    return {"config": body.config.given(), "context": dict(body.context), "metadata": dict(body.metadata)}


def _changed(body: Body, value: Json, *names: str) -> Body:
    """The body with what handlers changed; what they left alone stays given or not given."""
    update: Json = {}
    for name in names:
        held = getattr(body, name)
        held = held.given() if isinstance(held, Config) else held
        if (new := value.get(name) or ("" if name == "name" else {})) != held:
            update[name] = Config.model_validate(new) if name == "config" else new
    return body.model_copy(update=update)
