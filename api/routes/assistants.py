"""Assistants, as langgraph_sdk calls them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.assistants import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionChange,
    VersionSearch,
    assistant_record,
)
from api.deps import ThreadlineDep, documented, json_body
from api.errors import InvalidRequestError
from api.responses import JsonResponse
from api.sse import attended

router = APIRouter(prefix="/assistants", tags=["assistants"])

CreateBody = Annotated[AssistantCreate, Depends(json_body(AssistantCreate))]
_MAX_DIGITS = 9

PatchBody = Annotated[AssistantPatch, Depends(json_body(AssistantPatch))]
SearchBody = Annotated[AssistantSearch, Depends(json_body(AssistantSearch))]
FilterBody = Annotated[AssistantFilter, Depends(json_body(AssistantFilter))]
VersionsBody = Annotated[VersionSearch, Depends(json_body(VersionSearch))]
LatestBody = Annotated[VersionChange, Depends(json_body(VersionChange))]


@router.post("", openapi_extra=documented(AssistantCreate))
async def create_assistant(body: CreateBody, threadline: ThreadlineDep) -> Response:
    """Creates an assistant."""
    return JsonResponse(assistant_record(await threadline.assistants.create(body)))


@router.post("/search", openapi_extra=documented(AssistantSearch))
async def search_assistants(body: SearchBody, threadline: ThreadlineDep, request: Request) -> Response:
    """A page of assistants; the headers say how many there are, and where the next page begins."""
    records, total = await attended(request, threadline.assistants.search(body))
    return JsonResponse(records, headers=body.headers(total))


@router.post("/count", openapi_extra=documented(AssistantFilter))
async def count_assistants(body: FilterBody, threadline: ThreadlineDep, request: Request) -> Response:
    """How many assistants match."""
    return JsonResponse(await attended(request, threadline.assistants.count(body)))


@router.get("/{assistant_id}")
async def get_assistant(assistant_id: str, threadline: ThreadlineDep) -> Response:
    """An assistant."""
    return JsonResponse(assistant_record(await threadline.assistants.get(assistant_id)))


@router.patch("/{assistant_id}", openapi_extra=documented(AssistantPatch))
async def patch_assistant(assistant_id: str, body: PatchBody, threadline: ThreadlineDep) -> Response:
    """Changes an assistant: a new version of it."""
    return JsonResponse(assistant_record(await threadline.assistants.patch(assistant_id, body)))


@router.delete("/{assistant_id}", status_code=204)
async def delete_assistant(assistant_id: str, threadline: ThreadlineDep, delete_threads: str = "") -> Response:
    """Deletes an assistant, and its threads if `delete_threads=true`."""
    await threadline.assistants.delete(assistant_id, delete_threads=delete_threads.lower() == "true")
    return Response(status_code=204)


@router.post("/{assistant_id}/versions", openapi_extra=documented(VersionSearch))
async def get_versions(assistant_id: str, body: VersionsBody, threadline: ThreadlineDep, request: Request) -> Response:
    """The versions of an assistant."""
    return JsonResponse(await attended(request, threadline.assistants.versions(assistant_id, body)))


@router.post("/{assistant_id}/latest", openapi_extra=documented(VersionChange))
async def set_latest(assistant_id: str, body: LatestBody, threadline: ThreadlineDep) -> Response:
    """Makes a version the latest."""
    return JsonResponse(assistant_record(await threadline.assistants.set_latest(assistant_id, body.version)))


@router.get("/{assistant_id}/graph")
async def get_graph(assistant_id: str, threadline: ThreadlineDep, xray: str = "") -> Response:
    """The graph as nodes and edges; `xray=true` draws subgraphs too, `xray=2` two levels of them."""
    return JsonResponse(await threadline.assistants.drawing(assistant_id, xray=_depth(xray)))


@router.get("/{assistant_id}/schemas")
async def get_schemas(assistant_id: str, threadline: ThreadlineDep) -> Response:
    """The JSON schemas of the graph's input, output, state, config and context."""
    return JsonResponse(await threadline.assistants.schemas(assistant_id))


@router.get("/{assistant_id}/subgraphs")
@router.get("/{assistant_id}/subgraphs/{namespace}")
async def get_subgraphs(
    assistant_id: str, threadline: ThreadlineDep, namespace: str | None = None, recurse: str = ""
) -> Response:
    """The JSON schemas of the graph's subgraphs, by namespace."""
    recursive = recurse in ("true", "True")
    return JsonResponse(await threadline.assistants.subgraphs(assistant_id, namespace, recurse=recursive))


def _depth(xray: str) -> bool | int:
    if xray in ("true", "True"):
        return True
    if xray in ("", "false", "False"):
        return False
    if not xray.isdecimal() or len(xray) > _MAX_DIGITS or int(xray) == 0:
        raise InvalidRequestError("Invalid xray value", field="xray")
    return int(xray)
