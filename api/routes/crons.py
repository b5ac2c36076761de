"""Crons, as langgraph_sdk calls them: on a thread, and stateless."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.crons import CronCreate, CronFilter, CronPatch, CronSearch, cron_record
from api.deps import ThreadlineDep, documented, json_body
from api.responses import JsonResponse
from api.sse import attended

router = APIRouter(tags=["crons"])

CreateBody = Annotated[CronCreate, Depends(json_body(CronCreate))]
PatchBody = Annotated[CronPatch, Depends(json_body(CronPatch))]
SearchBody = Annotated[CronSearch, Depends(json_body(CronSearch))]
FilterBody = Annotated[CronFilter, Depends(json_body(CronFilter))]


@router.post("/threads/{thread_id}/runs/crons", openapi_extra=documented(CronCreate))
async def create_thread_cron(thread_id: str, body: CreateBody, threadline: ThreadlineDep) -> Response:
    """Creates a cron whose runs are all of one thread."""
    return JsonResponse(cron_record(await threadline.crons.create(body, thread_id)))


@router.post("/runs/crons", openapi_extra=documented(CronCreate))
async def create_cron(body: CreateBody, threadline: ThreadlineDep) -> Response:
    """Creates a cron whose runs have a new thread each."""
    return JsonResponse(cron_record(await threadline.crons.create(body)))


@router.post("/runs/crons/search", openapi_extra=documented(CronSearch))
async def search_crons(body: SearchBody, threadline: ThreadlineDep, request: Request) -> Response:
    """A page of crons; the headers say how many there are, and where the next page begins."""
    records, total = await attended(request, threadline.crons.search(body))
    return JsonResponse(records, headers=body.headers(total))


@router.post("/runs/crons/count", openapi_extra=documented(CronFilter))
async def count_crons(body: FilterBody, threadline: ThreadlineDep, request: Request) -> Response:
    """How many crons match."""
    return JsonResponse(await attended(request, threadline.crons.count(body)))


@router.get("/runs/crons/{cron_id}")
async def get_cron(cron_id: str, threadline: ThreadlineDep) -> Response:
    """A cron."""
    return JsonResponse(cron_record(await threadline.crons.get(cron_id)))


@router.patch("/runs/crons/{cron_id}", openapi_extra=documented(CronPatch))
async def patch_cron(cron_id: str, body: PatchBody, threadline: ThreadlineDep) -> Response:
    """Changes a cron."""
    return JsonResponse(cron_record(await threadline.crons.patch(cron_id, body)))


@router.delete("/runs/crons/{cron_id}", status_code=204)
async def delete_cron(cron_id: str, threadline: ThreadlineDep) -> Response:
    """Deletes a cron."""
    await threadline.crons.delete(cron_id)
    return Response(status_code=204)
