"""Threads: their record, state and history."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import ThreadlineDep
from api.responses import JsonResponse
from api.threads import thread_record

router = APIRouter(prefix="/threads", tags=["threads"])

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/{thread_id}")
async def get_thread(thread_id: str, threadline: ThreadlineDep) -> Response:
    """A thread, with the values that its last run left."""
    return JsonResponse(thread_record(await threadline.threads.get(thread_id)))


@router.delete("/{thread_id}", status_code=204)
async def delete_thread(thread_id: str, threadline: ThreadlineDep) -> Response:
    """Deletes a thread with all that belongs to it."""
    await threadline.threads.delete(thread_id)
    return Response(status_code=204)


@router.get("/{thread_id}/state")
async def get_state(thread_id: str, threadline: ThreadlineDep) -> Response:
    """The latest state, as its checkpoint has it."""
    return JsonResponse(await threadline.threads.state(thread_id))


@router.get("/{thread_id}/history")
async def get_history(
    thread_id: str, threadline: ThreadlineDep, limit: Limit = 10, before: str | None = None
) -> Response:
    """States of the thread, newest first."""
    return JsonResponse(await threadline.threads.history(thread_id, limit=limit, before=before))
