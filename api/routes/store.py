"""The store, as langgraph_sdk calls it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.deps import ThreadlineDep, documented, json_body
from api.responses import JsonResponse
from api.sse import attended
from api.store_items import ItemDelete, ItemPut, ItemSearch, NamespaceSearch

router = APIRouter(prefix="/store", tags=["store"])

PutBody = Annotated[ItemPut, Depends(json_body(ItemPut))]
DeleteBody = Annotated[ItemDelete, Depends(json_body(ItemDelete))]
SearchBody = Annotated[ItemSearch, Depends(json_body(ItemSearch))]
NamespacesBody = Annotated[NamespaceSearch, Depends(json_body(NamespaceSearch))]


@router.put("/items", status_code=204, openapi_extra=documented(ItemPut))
async def put_item(body: PutBody, threadline: ThreadlineDep) -> Response:
    """Keeps an item."""
    await threadline.store_items.put(body)
    return Response(status_code=204)


@router.get("/items")
async def get_item(
    threadline: ThreadlineDep, namespace: str = "", key: str = "", refresh_ttl: str | None = None
) -> Response:
    """An item, or null; the labels of its namespace are joined by periods."""
    refresh = None if refresh_ttl is None else refresh_ttl.lower() == "true"
    return JsonResponse(await threadline.store_items.get(namespace.split("."), key, refresh_ttl=refresh))


@router.delete("/items", status_code=204, openapi_extra=documented(ItemDelete))
async def delete_item(body: DeleteBody, threadline: ThreadlineDep) -> Response:
    """Deletes an item, if it is there."""
    await threadline.store_items.delete(body)
    return Response(status_code=204)


@router.post("/items/search", openapi_extra=documented(ItemSearch))
async def search_items(body: SearchBody, threadline: ThreadlineDep, request: Request) -> Response:
    """Items below a namespace, by filter and by meaning."""
    return JsonResponse({"items": await attended(request, threadline.store_items.search(body))})


@router.post("/namespaces", openapi_extra=documented(NamespaceSearch))
async def list_namespaces(body: NamespacesBody, threadline: ThreadlineDep, request: Request) -> Response:
    """The namespaces that have items."""
    return JsonResponse({"namespaces": await attended(request, threadline.store_items.namespaces(body))})
