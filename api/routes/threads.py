"""Threads, as langgraph_sdk calls them: their records, states and history."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.deps import ThreadlineDep, documented, json_body
from api.errors import InvalidRequestError, UnsupportedError
from api.protocols.thread_stream import ThreadFrames, thread_cursor, thread_modes
from api.responses import JsonResponse
from api.sse import SSE, EventStream, attended
from api.states import StateChange, StateRequest, StateSearch, selected
from api.threads import (
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadPrune,
    ThreadSearch,
    thread_key,
    thread_record,
)

router = APIRouter(prefix="/threads", tags=["threads"])

_MAX_STATES = 1000

Key = Annotated[str, Depends(thread_key)]
Select = Annotated[list[str], Query(default_factory=list)]
CreateBody = Annotated[ThreadCreate, Depends(json_body(ThreadCreate))]
PatchBody = Annotated[ThreadPatch, Depends(json_body(ThreadPatch))]
SearchBody = Annotated[ThreadSearch, Depends(json_body(ThreadSearch))]
FilterBody = Annotated[ThreadFilter, Depends(json_body(ThreadFilter))]
PruneBody = Annotated[ThreadPrune, Depends(json_body(ThreadPrune))]
StateBody = Annotated[StateRequest, Depends(json_body(StateRequest))]
HistoryBody = Annotated[StateSearch, Depends(json_body(StateSearch))]
ChangeBody = Annotated[StateChange, Depends(json_body(StateChange))]


@router.post("", openapi_extra=documented(ThreadCreate))
async def create_thread(body: CreateBody, threadline: ThreadlineDep) -> Response:
    """Creates a thread."""
    return JsonResponse(thread_record(await threadline.threads.create(body)))


@router.post("/search", openapi_extra=documented(ThreadSearch))
async def search_threads(body: SearchBody, threadline: ThreadlineDep, request: Request) -> Response:
    """A page of threads; the headers say how many there are, and where the next page begins."""
    records, total = await attended(request, threadline.threads.search(body))
    return JsonResponse(records, headers=body.headers(total))


@router.post("/count", openapi_extra=documented(ThreadFilter))
async def count_threads(body: FilterBody, threadline: ThreadlineDep, request: Request) -> Response:
    """How many threads match."""
    return JsonResponse(await attended(request, threadline.threads.count(body)))


@router.post("/prune", openapi_extra=documented(ThreadPrune))
async def prune_threads(body: PruneBody, threadline: ThreadlineDep) -> Response:
    """Deletes threads, or the checkpoints that their latest states do not need."""
    return JsonResponse({"pruned_count": await threadline.threads.prune(body)})


@router.get("/{thread_id}")
async def get_thread(key: Key, threadline: ThreadlineDep, include: str = "") -> Response:
    """A thread, with the values that its last run left; `include=ttl` adds when it expires."""
    ttl = "ttl" in [name.strip() for name in include.split(",")]
    return JsonResponse(thread_record(await threadline.threads.get(key), ttl=ttl))


@router.patch("/{thread_id}", openapi_extra=documented(ThreadPatch))
async def patch_thread(
    key: Key, body: PatchBody, threadline: ThreadlineDep, prefer: Annotated[str, Header()] = ""
) -> Response:
    """Changes a thread; `Prefer: return=minimal` asks for no body."""
    thread = await threadline.threads.patch(key, body)
    return Response(status_code=204) if prefer == "return=minimal" else JsonResponse(thread_record(thread))


@router.delete("/{thread_id}", status_code=204)
async def delete_thread(key: Key, threadline: ThreadlineDep) -> Response:
    """Deletes a thread with all that belongs to it; a run under way is cancelled."""
    await threadline.threads.delete(key)
    return Response(status_code=204)


@router.post("/{thread_id}/copy")
async def copy_thread(thread_id: str, threadline: ThreadlineDep) -> Response:
    """Makes a new thread with the state and history of this one."""
    return JsonResponse(thread_record(await threadline.threads.copy(thread_id)))


@router.get("/{thread_id}/storage", dependencies=[Depends(thread_key)])
async def get_storage() -> Response:
    """Refuses: what a thread takes up is known to LangGraph's own checkpointer alone."""
    raise UnsupportedError("Checkpoint storage is only reported for the built-in checkpointer.")


@router.get("/{thread_id}/stream")
async def stream_thread(
    key: Key,
    threadline: ThreadlineDep,
    stream_modes: Annotated[list[str], Query(default_factory=list)],
    stream_mode: Annotated[list[str], Query(default_factory=list)],
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The events of all runs of the thread past `Last-Event-ID`, or from now on; `-` is the beginning. Never ends.

    The modes may be called `stream_modes`, as by the reference, or `stream_mode`, as by langgraph_sdk.
    """
    frames = ThreadFrames(thread_modes([*stream_modes, *stream_mode]))
    after = await threadline.thread_streams.position(key, thread_cursor(last_event_id))
    batches = threadline.thread_streams.follow(key, after)
    return EventStream(batches, frames, media_type=SSE, open_streams=threadline.metrics.streams)


@router.get("/{thread_id}/state")
async def get_state(key: Key, threadline: ThreadlineDep, select: Select, subgraphs: str = "") -> Response:
    """The latest state, as its checkpoint has it."""
    state = await threadline.states.get(key, subgraphs=_flag(subgraphs))
    return JsonResponse(selected(state, select))


@router.get("/{thread_id}/state/{checkpoint_id}")
async def get_state_at(
    key: Key, checkpoint_id: str, threadline: ThreadlineDep, select: Select, subgraphs: str = ""
) -> Response:
    """The state at a checkpoint."""
    state = await threadline.states.get(key, {"checkpoint_id": checkpoint_id}, subgraphs=_flag(subgraphs))
    return JsonResponse(selected(state, select))


@router.post("/{thread_id}/state/checkpoint", openapi_extra=documented(StateRequest))
async def get_state_at_checkpoint(key: Key, body: StateBody, threadline: ThreadlineDep) -> Response:
    """The state at a checkpoint, or the latest, if it names none."""
    state = await threadline.states.get(key, body.checkpoint.given(), subgraphs=body.subgraphs)
    return JsonResponse(selected(state, body.select))


@router.post("/{thread_id}/state", openapi_extra=documented(StateChange))
async def update_state(key: Key, body: ChangeBody, threadline: ThreadlineDep) -> Response:
    """Changes the state, as if a node had returned the values."""
    return JsonResponse(await threadline.states.update(key, body))


@router.get("/{thread_id}/history")
async def get_history(
    key: Key, threadline: ThreadlineDep, request: Request, select: Select, limit: str = "1", before: str = ""
) -> Response:
    """States of the thread, newest first; one, if no limit is given."""
    found = threadline.states.history(
        key, limit=_limit(limit), before={"checkpoint_id": before} if before else None, select=select
    )
    return JsonResponse(await attended(request, found))


@router.post("/{thread_id}/history", openapi_extra=documented(StateSearch))
async def search_history(key: Key, body: HistoryBody, threadline: ThreadlineDep, request: Request) -> Response:
    """States of the thread, or of a graph inside, newest first; one, if no limit is given."""
    found = threadline.states.history(
        key,
        limit=body.limit,
        before=body.before.given(),
        metadata=body.metadata,
        checkpoint=body.checkpoint.given(),
        select=body.select,
    )
    return JsonResponse(await attended(request, found))


def _flag(value: str) -> bool:
    return value in ("true", "True")


def _limit(value: str) -> int:
    try:
        limit = int(value)
    except ValueError:
        raise InvalidRequestError(f"Invalid limit {value[:20]}", field="limit") from None
    if limit > _MAX_STATES:
        raise InvalidRequestError(f"limit is at most {_MAX_STATES}.", field="limit")
    return limit
