"""The native API: `/agents`, simple enough for curl."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse

from api.deps import ThreadlineDep, documented, json_body
from api.errors import STATUS_BY_CODE, InvalidRequestError, NotAcceptableError, NotFoundError
from api.protocols import native
from api.protocols.native import AgentRequest, BatchRequest, EventsRequest
from api.responses import JsonResponse
from api.schemas import Json, OnDisconnect, Run
from api.sse import NDJSON, SSE, TEXT, EventStream, cursor

router = APIRouter(prefix="/agents", tags=["agents"])

T = TypeVar("T")

AgentBody = Annotated[AgentRequest, Depends(json_body(AgentRequest))]
EventsBody = Annotated[EventsRequest, Depends(json_body(EventsRequest))]
BatchBody = Annotated[BatchRequest, Depends(json_body(BatchRequest))]
Accept = Annotated[str, Header()]

_FRAMINGS: dict[str, native.Framing] = {
    SSE: native.sse_frames,
    NDJSON: native.ndjson_lines,
    TEXT: native.answer_text,
}


@router.get("")
async def list_agents(threadline: ThreadlineDep) -> Response:
    """What is served."""
    return JsonResponse(await threadline.agents.list())


@router.get("/{assistant_id}")
async def get_agent(assistant_id: str, threadline: ThreadlineDep) -> Response:
    """One agent, with the JSON schemas of its input, output and context."""
    return JsonResponse(await threadline.agents.describe(assistant_id))


@router.get("/{assistant_id}/graph")
async def get_graph(
    assistant_id: str,
    threadline: ThreadlineDep,
    format: Annotated[str | None, Query(pattern="^(json|mermaid)$")] = None,  # noqa: A002  # the parameter's name
    accept: Accept = "*/*",
) -> Response:
    """The agent's graph: nodes and edges as JSON, or a Mermaid diagram (`?format=mermaid`, or Accept: text/plain)."""
    if format == "mermaid" or (format is None and TEXT in accept):
        return PlainTextResponse(await threadline.agents.mermaid(assistant_id))
    return JsonResponse(await threadline.agents.drawing(assistant_id))


@router.post("/{assistant_id}/invoke", openapi_extra=documented(AgentRequest))
async def invoke(assistant_id: str, body: AgentBody, request: Request, threadline: ThreadlineDep) -> Response:
    """Runs the agent and answers when it has ended."""
    run = await threadline.runs.create(await threadline.agents.request(assistant_id, body))
    result = await _result(run, threadline, request, body.on_disconnect)
    status = STATUS_BY_CODE.get(result["error"]["code"], 500) if "error" in result else 200
    return JsonResponse(result, status_code=status, headers=_location(request, assistant_id, run))


@router.post("/{assistant_id}/batch", openapi_extra=documented(BatchRequest))
async def batch(assistant_id: str, body: BatchBody, request: Request, threadline: ThreadlineDep) -> Response:
    """Runs the agent on each input, side by side, and answers with all results in the inputs' order."""
    limit = threadline.settings.max_batch_inputs
    if len(body.inputs) > limit:
        raise InvalidRequestError(f"At most {limit} inputs in one batch.", field="inputs")
    requests = []
    for index, value in enumerate(body.inputs):
        one = AgentRequest(input=value, context=body.context, metadata=body.metadata)
        try:
            requests.append(await threadline.agents.request(assistant_id, one))
        except InvalidRequestError as exc:
            field = (exc.field or "input").replace("input", f"inputs.{index}", 1)
            raise InvalidRequestError(exc.message, field=field) from exc
    runs = [await threadline.runs.create(each) for each in requests]
    results = await asyncio.gather(*(_result(run, threadline, request, body.on_disconnect) for run in runs))
    return JsonResponse({"results": results})


@router.post("/{assistant_id}/stream", openapi_extra=documented(AgentRequest))
async def stream(
    assistant_id: str, body: AgentBody, request: Request, threadline: ThreadlineDep, accept: Accept = "*/*"
) -> Response:
    """Runs the agent and streams its events; `Content-Location` is where to go on after a cut."""
    media_type = _negotiate(accept)
    run = await threadline.runs.create(await threadline.agents.request(assistant_id, body))
    return _stream(run, threadline, media_type, body.on_disconnect, _location(request, assistant_id, run))


@router.post("/{assistant_id}/events", openapi_extra=documented(EventsRequest))
async def events(
    assistant_id: str, body: EventsBody, request: Request, threadline: ThreadlineDep, accept: Accept = "*/*"
) -> Response:
    """Runs the agent and streams LangChain's `astream_events` (v2), filtered."""
    media_type = _negotiate(accept, SSE, NDJSON)
    run = await threadline.runs.create(await threadline.agents.request(assistant_id, body))
    return _stream(run, threadline, media_type, body.on_disconnect, _location(request, assistant_id, run))


@router.get("/{assistant_id}/stream/{run_id}")
async def follow(
    assistant_id: str,
    run_id: str,
    request: Request,
    threadline: ThreadlineDep,
    accept: Accept = "*/*",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """A run's events past `Last-Event-ID`, or all of them; goes on while the run does. Whichever API began the run."""
    media_type = _negotiate(accept)
    run = await _run(assistant_id, run_id, threadline)
    after = cursor(last_event_id)
    await threadline.views.check(run, after, native=True)
    return _stream(run, threadline, media_type, "continue", _location(request, assistant_id, run), after)


@router.post("/{assistant_id}/runs/{run_id}/cancel")
async def cancel(assistant_id: str, run_id: str, threadline: ThreadlineDep) -> Response:
    """Stops a run, and answers when it has stopped: its thread takes the next turn."""
    await _run(assistant_id, run_id, threadline)
    await threadline.runs.cancel(run_id)
    await threadline.runs.collect(run_id, frozenset())
    run = await threadline.runs.get(run_id)
    return JsonResponse({"run_id": run.run_id, "thread_id": run.thread_id, "status": run.status})


async def _run(assistant_id: str, run_id: str, threadline: ThreadlineDep) -> Run:
    assistant = await threadline.agents.find(assistant_id)
    run = await threadline.runs.get(run_id)
    if run.assistant_id != assistant.assistant_id:
        raise NotFoundError(f"No run {run_id!r} of this agent here.", field="run_id")
    return run


def _stream(
    run: Run,
    threadline: ThreadlineDep,
    media_type: str,
    on_disconnect: OnDisconnect,
    headers: dict[str, str],
    after: int = 0,
) -> Response:
    async def cancel_run() -> None:
        await threadline.runs.cancel_if_active(run.run_id)

    return EventStream(
        threadline.views.native(run, after),
        _FRAMINGS[media_type],
        media_type=media_type,
        open_streams=threadline.metrics.streams,
        on_disconnect=cancel_run if on_disconnect == "cancel" else None,
        headers=headers,
    )


async def _result(run: Run, threadline: ThreadlineDep, request: Request, on_disconnect: OnDisconnect) -> Json:
    collecting = threadline.runs.collect(run.run_id, native.RESULT_KINDS)
    if on_disconnect == "continue":
        return native.result(run, await collecting)
    events = await _unless_disconnected(request, collecting)
    if events is None:
        await threadline.runs.cancel_if_active(run.run_id)
    return native.result(run, events or ())


async def _unless_disconnected(request: Request, awaited: Awaitable[T]) -> T | None:
    """The result, or None if the client goes before it is there."""
    working = asyncio.ensure_future(awaited)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _negotiate(accept: str, *offered: str) -> str:
    """The first offered media type that the client accepts.

    Raises:
        NotAcceptableError: it accepts none.
    """
    offered = offered or (SSE, NDJSON, TEXT)
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    for media_type in wanted:
        if media_type in offered:
            return media_type
        if media_type in ("*/*", "text/*", "application/json", ""):
            return offered[0]
    raise NotAcceptableError(f"This stream comes as {', '.join(offered)}.", field="Accept")


def _location(request: Request, assistant_id: str, run: Run) -> dict[str, str]:
    root = request.scope.get("root_path", "")
    return {"content-location": f"{root}/agents/{quote(assistant_id, safe='')}/stream/{run.run_id}"}
