"""Runs of the LangGraph API, as langgraph_sdk calls it: on a thread, and stateless."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from api.deps import ThreadlineDep, documented, json_body, parsed
from api.errors import InvalidRequestError, NotFoundError, invalid
from api.protocols.langgraph import Frames, Result, RunCreate, run_record, stream_modes
from api.responses import JsonResponse
from api.run_requests import check_uuid
from api.runs import RunRequest
from api.schemas import TERMINAL, CancelAction, Delivery, Json, Run, RunStatus
from api.sse import SSE, EventStream, PaddedJson, cursor

router = APIRouter(tags=["runs"])

RunBody = Annotated[RunCreate, Depends(json_body(RunCreate))]
Flag = Annotated[bool, Query()]
Action = Annotated[CancelAction, Query()]
Batch = Annotated[list[RunCreate], Field(min_length=1, max_length=1000)]
_BATCH: TypeAdapter[list[RunCreate]] = TypeAdapter(Batch)

_NONE_TO_CANCEL = (
    "No matching runs to cancel. Please verify the thread ID and run IDs are correct, "
    "and the runs haven't been deleted or completed."
)
_COLUMNS = (
    "run_id",
    "thread_id",
    "assistant_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "kwargs",
    "multitask_strategy",
)


@router.post("/threads/{thread_id}/runs", openapi_extra=documented(RunCreate))
async def create_run(thread_id: str, body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a run that goes on by itself."""
    return await _background(body, threadline, request, thread_id)


@router.post("/runs", openapi_extra=documented(RunCreate))
async def create_stateless_run(body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a run on a thread of its own."""
    return await _background(body, threadline, request, None)


@router.post("/runs/batch", openapi_extra=documented(Batch))
async def create_batch(threadline: ThreadlineDep, request: Request) -> Response:
    """Creates stateless runs, all or none."""
    try:
        bodies = _BATCH.validate_python(await parsed(request))
    except ValidationError as exc:
        raise invalid(exc) from exc
    requests = await threadline.run_requests.build_all(bodies)
    for each in requests:
        _give_headers(each, threadline, request)
    return JsonResponse([run_record(await threadline.runs.create(each)) for each in requests])


@router.post("/threads/{thread_id}/runs/stream", openapi_extra=documented(RunCreate))
async def stream_run(thread_id: str, body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a run and streams its events."""
    return await _streamed(body, threadline, request, thread_id)


@router.post("/runs/stream", openapi_extra=documented(RunCreate))
async def stream_stateless_run(body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a stateless run and streams its events."""
    return await _streamed(body, threadline, request, None)


@router.post("/threads/{thread_id}/runs/wait", openapi_extra=documented(RunCreate))
async def wait_run(thread_id: str, body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a run and answers with its result."""
    return await _waited(body, threadline, request, thread_id)


@router.post("/runs/wait", openapi_extra=documented(RunCreate))
async def wait_stateless_run(body: RunBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Creates a stateless run and answers with its result."""
    return await _waited(body, threadline, request, None)


class RunsCancel(BaseModel):
    """Which runs to cancel: those of a status, or some of a thread."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: str | None = None
    run_ids: list[str] | None = None


@router.post("/runs/cancel", status_code=204, openapi_extra=documented(RunsCancel))
async def cancel_runs(
    body: Annotated[RunsCancel, Depends(json_body(RunsCancel))], threadline: ThreadlineDep, action: str = "interrupt"
) -> Response:
    """Cancels many runs."""
    if body.status is not None and (body.thread_id or body.run_ids):
        raise InvalidRequestError(
            "When providing a 'status', 'thread_id' and 'run_ids' must be omitted. The 'status' parameter cancels all "
            "runs with the given status, regardless of thread or run ID.",
            field="status",
        )
    if body.status is None:
        if body.thread_id is None or not body.run_ids:
            raise InvalidRequestError("Give either status, or thread_id and run_ids.", field="run_ids")
        body.thread_id = check_uuid(body.thread_id, "Invalid thread ID: must be a UUID")
        body.run_ids = [check_uuid(run_id, "Invalid run ID: must be a UUID") for run_id in body.run_ids]
    found = await threadline.runs.active(body.status or "all", thread_id=body.thread_id, run_ids=body.run_ids)
    if not found:
        raise NotFoundError(_NONE_TO_CANCEL)
    for run in found:
        await threadline.runs.cancel(run.run_id, "rollback" if action == "rollback" else "interrupt")
    return Response(status_code=204)


@router.get("/threads/{thread_id}/runs")
async def list_runs(
    thread_id: str,
    threadline: ThreadlineDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    status: RunStatus | None = None,
    select: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """A thread's runs, newest first."""
    thread_id = check_uuid(thread_id, "Invalid thread ID: must be a UUID")
    if unknown := [name for name in select or () if name not in _COLUMNS]:
        raise InvalidRequestError(f"Invalid select columns: {unknown}. Expected: {list(_COLUMNS)}", field="select")
    await threadline.threads.get(thread_id)
    runs = await threadline.runs.of_thread(thread_id, status=status, limit=limit, offset=offset)
    return JsonResponse([_selected(run_record(run), select) for run in runs])


@router.get("/threads/{thread_id}/runs/{run_id}")
async def get_run(thread_id: str, run_id: str, threadline: ThreadlineDep) -> Response:
    """A run's record."""
    return JsonResponse(run_record(await _run(thread_id, run_id, threadline)))


@router.delete("/threads/{thread_id}/runs/{run_id}", status_code=204)
async def delete_run(thread_id: str, run_id: str, threadline: ThreadlineDep) -> Response:
    """Deletes a finished run with its events."""
    run = await _run(thread_id, run_id, threadline)
    await threadline.runs.delete(run.run_id)
    return Response(status_code=204)


@router.get("/threads/{thread_id}/runs/{run_id}/webhooks")
async def list_deliveries(thread_id: str, run_id: str, threadline: ThreadlineDep) -> Response:
    """The calls of the run's webhook, and what came of them."""
    run = await _run(thread_id, run_id, threadline)
    return JsonResponse([_delivery_record(each) for each in await threadline.runs.deliveries(run)])


@router.post("/threads/{thread_id}/runs/{run_id}/webhooks/{webhook_id}/send", status_code=202)
async def send_delivery_again(thread_id: str, run_id: str, webhook_id: str, threadline: ThreadlineDep) -> Response:
    """Calls the run's webhook again, with what it was told and the same id."""
    run = await _run(thread_id, run_id, threadline)
    await threadline.runs.deliver_again(run, webhook_id)
    return JsonResponse({"webhook_id": webhook_id}, status_code=202)


@router.get("/threads/{thread_id}/runs/{run_id}/join")
async def join_run(
    thread_id: str, run_id: str, threadline: ThreadlineDep, request: Request, *, cancel_on_disconnect: Flag = False
) -> Response:
    """Waits for a run's result."""
    run = await _run(thread_id, run_id, threadline)
    return _result(run, threadline, request, cancel=cancel_on_disconnect)


@router.get("/threads/{thread_id}/runs/{run_id}/stream")
async def join_stream(
    thread_id: str,
    run_id: str,
    threadline: ThreadlineDep,
    request: Request,
    *,
    stream_mode: Annotated[list[str] | None, Query()] = None,
    cancel_on_disconnect: Flag = False,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """A run's events past `Last-Event-ID`, or all of them; goes on while the run does."""
    run = await _run(thread_id, run_id, threadline)
    return await _rejoined(run, threadline, request, stream_mode, last_event_id, cancel=cancel_on_disconnect)


@router.get("/runs/{run_id}/stream")
async def join_stateless_stream(
    run_id: str,
    threadline: ThreadlineDep,
    request: Request,
    *,
    stream_mode: Annotated[list[str] | None, Query()] = None,
    cancel_on_disconnect: Flag = False,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Likewise for a stateless run, while it is kept."""
    run = await threadline.runs.get(check_uuid(run_id, "Invalid run ID: must be a UUID"))
    return await _rejoined(
        run, threadline, request, stream_mode, last_event_id, cancel=cancel_on_disconnect, stateless=True
    )


@router.post("/threads/{thread_id}/runs/{run_id}/cancel")
async def cancel_run(
    thread_id: str,
    run_id: str,
    threadline: ThreadlineDep,
    request: Request,
    *,
    wait: Flag = False,
    action: str = "interrupt",
) -> Response:
    """Cancels a run; with `wait` answers when it has stopped."""
    run = await _run(thread_id, run_id, threadline)
    if run.status in TERMINAL:
        raise NotFoundError(_NONE_TO_CANCEL, field="run_id")
    following = asyncio.ensure_future(_ended(run, threadline)) if wait else None
    await threadline.runs.cancel(run.run_id, "rollback" if action == "rollback" else "interrupt")
    if following is None:
        return Response(status_code=202)
    return PaddedJson(following, headers=_locations(run, request, "join"))


async def _run(thread_id: str, run_id: str, threadline: ThreadlineDep) -> Run:
    thread_id = check_uuid(thread_id, "Invalid thread ID: must be a UUID")
    return await threadline.runs.get(check_uuid(run_id, "Invalid run ID: must be a UUID"), thread_id)


async def _create(body: RunCreate, threadline: ThreadlineDep, request: Request, thread_id: str | None) -> Run:
    wanted = await threadline.run_requests.build(body, thread_id)
    _give_headers(wanted, threadline, request)
    return await threadline.runs.create(wanted)


def _give_headers(wanted: RunRequest, threadline: ThreadlineDep, request: Request) -> None:
    """Puts the headers that a graph is to see into its config."""
    if headers := threadline.headers.of(request.headers):
        config = wanted.kwargs["config"]
        wanted.kwargs["config"] = {**config, "configurable": {**config.get("configurable", {}), **headers}}


async def _background(body: RunCreate, threadline: ThreadlineDep, request: Request, thread_id: str | None) -> Response:
    run = await _create(body, threadline, request, thread_id)
    location = _locations(run, request, "stream", stateless=thread_id is None)["content-location"]
    return JsonResponse(run_record(run), headers={"content-location": location})


async def _streamed(body: RunCreate, threadline: ThreadlineDep, request: Request, thread_id: str | None) -> Response:
    run = await _create(body, threadline, request, thread_id)
    return _stream(
        run,
        threadline,
        Frames(ids=body.stream_resumable),
        cancel=body.on_disconnect == "cancel",
        headers=_locations(run, request, "stream", stateless=thread_id is None),
    )


async def _rejoined(
    run: Run,
    threadline: ThreadlineDep,
    request: Request,
    stream_mode: list[str] | None,
    last_event_id: str | None,
    *,
    cancel: bool,
    stateless: bool = False,
) -> Response:
    after = cursor(last_event_id)
    await threadline.views.check(run, after, native=False)
    resumable = bool(run.kwargs.get("resumable")) or run.kwargs["source"] != "langgraph"
    return _stream(
        run,
        threadline,
        Frames(ids=resumable, modes=stream_modes(stream_mode)),
        cancel=cancel,
        headers=_locations(run, request, "stream", stateless=stateless),
        after=after,
    )


def _stream(
    run: Run, threadline: ThreadlineDep, frames: Frames, *, cancel: bool, headers: dict[str, str], after: int = 0
) -> Response:
    return EventStream(
        threadline.views.langgraph(run, after),
        frames,
        media_type=SSE,
        open_streams=threadline.metrics.streams,
        on_disconnect=_canceller(run, threadline) if cancel else None,
        headers=headers,
    )


async def _waited(body: RunCreate, threadline: ThreadlineDep, request: Request, thread_id: str | None) -> Response:
    run = await _create(body, threadline, request, thread_id)
    return _result(run, threadline, request, cancel=body.on_disconnect == "cancel")


def _result(run: Run, threadline: ThreadlineDep, request: Request, *, cancel: bool) -> Response:
    return PaddedJson(
        asyncio.ensure_future(_body_of(run, threadline)),
        on_disconnect=_canceller(run, threadline) if cancel else None,
        headers=_locations(run, request, "join"),
    )


async def _body_of(run: Run, threadline: ThreadlineDep) -> bytes:
    result = Result(await threadline.views.collect(run, Result.KINDS))
    return result.body(await threadline.runs.result_of_run(run) if not run.kwargs.get("temporary") else b"{}")


async def _ended(run: Run, threadline: ThreadlineDep) -> bytes:
    await threadline.runs.collect(run.run_id, ())
    return b"{}"


def _canceller(run: Run, threadline: ThreadlineDep) -> Callable[[], Awaitable[None]]:
    async def cancel() -> None:
        await threadline.runs.cancel_if_active(run.run_id)

    return cancel


def _locations(run: Run, request: Request, leaf: str, *, stateless: bool = False) -> dict[str, str]:
    root = request.scope.get("root_path", "")
    base = f"{root}/runs/{run.run_id}" if stateless else f"{root}/threads/{run.thread_id}/runs/{run.run_id}"
    return {"location": f"{base}/{leaf}", "content-location": base}


def _selected(record: Json, select: list[str] | None) -> Json:
    return record if not select else {name: value for name, value in record.items() if name in select}


def _delivery_record(delivery: Delivery) -> Json:
    return {
        "webhook_id": delivery.delivery_id,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "problem": delivery.problem,
        "created_at": delivery.created_at,
        "updated_at": delivery.updated_at,
        "next_attempt_at": delivery.due_at if delivery.status == "pending" else None,
    }
