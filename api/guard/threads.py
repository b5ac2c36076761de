"""Threads and their states as one caller may use them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from langchain_core.utils.uuid import uuid7

from api.access_filter import AccessFilter
from api.guard.access import Access, uuid_or_text
from api.schemas import Json, Thread
from api.serde import Fragment
from api.states import StateChange, States
from api.threads import ThreadCreate, ThreadFilter, ThreadPatch, ThreadPrune, Threads, ThreadSearch, thread_key


class GuardedThreads:
    """Threads, asked for by one caller. `Threads` has the operations' descriptions.

    Args:
        threads: the operations.
        access: the caller's.
    """

    def __init__(self, threads: Threads, access: Access) -> None:
        self._threads = threads
        self._access = access

    async def create(self, body: ThreadCreate) -> Thread:
        """A new thread, with the metadata that handlers add."""
        thread_id = thread_key(body.thread_id) if body.thread_id else str(uuid7())
        value: Json = {"thread_id": UUID(thread_id), "metadata": dict(body.metadata), "if_exists": body.if_exists}
        access = await self._access.ask("threads", "create", value)
        changed = body.model_copy(update={"thread_id": thread_id, "metadata": value.get("metadata") or {}})
        return await self._threads.create(changed, access=access)

    async def get(self, thread_id: str) -> Thread:
        """A thread's record."""
        return await self._threads.get(thread_id, access=await _ask(self._access, "read", thread_id))

    async def patch(self, thread_id: str, body: ThreadPatch) -> Thread:
        """Changes a thread, as handlers leave the change."""
        value: Json = {"thread_id": uuid_or_text(thread_id), "metadata": dict(body.metadata)}
        access = await self._access.ask("threads", "update", value)
        changed = body.model_copy(update={"metadata": value.get("metadata") or {}})
        return await self._threads.patch(thread_id, changed, access=access)

    async def delete(self, thread_id: str) -> None:
        """Deletes a thread."""
        await self._threads.delete(thread_id, access=await _ask(self._access, "delete", thread_id))

    async def search(self, body: ThreadSearch) -> tuple[Sequence[Json], int]:
        """A page of the caller's threads."""
        changed, access = await self._searched(body, limit=body.limit, offset=body.offset)
        return await self._threads.search(changed, access=access)

    async def count(self, body: ThreadFilter) -> int:
        """How many of the caller's threads match."""
        changed, access = await self._searched(body, limit=0, offset=0)
        return await self._threads.count(changed, access=access)

    async def _searched(self, body: Any, *, limit: int, offset: int) -> tuple[Any, AccessFilter | None]:
        value: Json = {
            "metadata": dict(body.metadata),
            "values": dict(body.values),
            "status": body.status,
            "limit": limit,
            "offset": offset,
        }
        access = await self._access.ask("threads", "search", value)
        changes = {name: value.get(name) or {} for name in ("metadata", "values")}
        return body.model_copy(update=changes), access

    async def copy(self, thread_id: str) -> Thread:
        """A copy of a thread that the caller may read, with the metadata that handlers add."""
        access = await _ask(self._access, "read", thread_id)
        new_id = uuid4()
        value: Json = {"thread_id": new_id, "metadata": {}, "if_exists": "raise"}
        await self._access.ask("threads", "create", value)
        return await self._threads.copy(
            thread_id, new_id=str(new_id), metadata=value.get("metadata") or {}, access=access
        )

    async def prune(self, body: ThreadPrune) -> int:
        """Deletes or clears threads."""
        action = "delete" if body.strategy == "delete" else "update"
        value: Json = {"thread_ids": [uuid_or_text(thread_id) for thread_id in body.thread_ids]}
        return await self._threads.prune(body, access=await self._access.ask("threads", action, value))


class GuardedStates:
    """States, asked for by one caller. `States` has the operations' descriptions.

    Args:
        states: the operations.
        access: the caller's.
    """

    def __init__(self, states: States, access: Access) -> None:
        self._states = states
        self._access = access

    async def get(self, thread_id: str, checkpoint: Json | None = None, *, subgraphs: bool = False) -> Json:
        """A state."""
        access = await _ask(self._access, "read", thread_id)
        return await self._states.get(thread_id, checkpoint, subgraphs=subgraphs, access=access)

    async def history(
        self,
        thread_id: str,
        *,
        limit: int = 1,
        before: Json | None = None,
        metadata: Json | None = None,
        checkpoint: Json | None = None,
        select: Sequence[str] = (),
    ) -> list[Fragment]:
        """States, newest first."""
        access = await _ask(self._access, "read", thread_id)
        return await self._states.history(
            thread_id,
            limit=limit,
            before=before,
            metadata=metadata,
            checkpoint=checkpoint,
            select=select,
            access=access,
        )

    async def update(self, thread_id: str, change: StateChange) -> Json:
        """Changes the state."""
        return await self._states.update(thread_id, change, access=await _ask(self._access, "update", thread_id))


async def _ask(access: Access, action: str, thread_id: str) -> AccessFilter | None:
    return await access.ask("threads", action, {"thread_id": uuid_or_text(thread_id)})
