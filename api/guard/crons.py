"""Crons as one caller may use them: they keep who made them, and their runs are that caller's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from api.access_filter import AccessFilter
from api.crons import CronCreate, CronFilter, CronPatch, CronSearch
from api.guard.access import Access, uuid_or_text
from api.guard.assistants import GuardedAssistants
from api.schemas import Cron, Json

if TYPE_CHECKING:
    from api.app import Threadline


class GuardedCrons:
    """Crons, asked for by one caller. `Crons` has the operations' descriptions.

    Args:
        threadline: has the operations.
        access: the caller's.
    """

    def __init__(self, threadline: "Threadline", access: Access) -> None:
        self._crons = threadline.crons
        self._assistants = GuardedAssistants(threadline, access)
        self._access = access

    async def create(self, body: CronCreate, thread_id: str | None = None) -> Cron:
        """A new cron, as handlers leave it, of an assistant and a thread that the caller may use."""
        value: Json = {
            "payload": body.given(),
            "schedule": body.schedule,
            "cron_id": None,
            "thread_id": None if thread_id is None else uuid_or_text(thread_id),
            "user_id": self._access.caller.identity,
            "end_time": body.end_time,
            "metadata": dict(body.metadata),
        }
        await self._access.ask("crons", "create", value)
        threads = None
        if thread_id is not None:
            threads = await self._access.ask("threads", "read", {"thread_id": uuid_or_text(thread_id)})
        return await self._crons.create(
            _changed(body, value),
            thread_id,
            caller=self._access.caller.record(),
            assistants=await self._assistants.readable(body.assistant_id),
            threads=threads,
        )

    async def get(self, cron_id: str) -> Cron:
        """A cron."""
        return await self._crons.get(cron_id, access=await self._ask("read", cron_id))

    async def patch(self, cron_id: str, body: CronPatch) -> Cron:
        """Changes a cron, as handlers leave the change."""
        value: Json = {
            "cron_id": uuid_or_text(cron_id),
            "payload": body.given(),
            "schedule": body.schedule or None,
            "metadata": dict(body.metadata),
        }
        access = await self._access.ask("crons", "update", value)
        # An empty change stays one: it is refused.
        changed = _changed(body, value) if body.given() else body
        return await self._crons.patch(cron_id, changed, access=access)

    async def delete(self, cron_id: str) -> None:
        """Deletes a cron."""
        await self._crons.delete(cron_id, access=await self._ask("delete", cron_id))

    async def search(self, body: CronSearch) -> tuple[Sequence[Json], int]:
        """A page of the caller's crons."""
        changed, access = await self._searched(body, limit=body.limit, offset=body.offset)
        return await self._crons.search(changed, access=access)

    async def count(self, body: CronFilter) -> int:
        """How many of the caller's crons there are."""
        changed, access = await self._searched(body, limit=0, offset=0)
        return await self._crons.count(changed, access=access)

    async def _searched(self, body: Any, *, limit: int, offset: int) -> tuple[Any, AccessFilter | None]:
        value: Json = {
            "assistant_id": uuid_or_text(body.assistant_id) if body.assistant_id else None,
            "thread_id": uuid_or_text(body.thread_id) if body.thread_id else None,
            "limit": limit,
            "offset": offset,
            "metadata": dict(body.metadata),
        }
        access = await self._access.ask("crons", "search", value)
        return body.model_copy(update={"metadata": value.get("metadata") or {}}), access

    async def _ask(self, action: str, cron_id: str) -> AccessFilter | None:
        return await self._access.ask("crons", action, {"cron_id": uuid_or_text(cron_id)})


def _changed(body: Any, value: Json) -> Any:
    metadata = value.get("metadata") or {}
    return body if metadata == body.metadata else body.model_copy(update={"metadata": metadata})
