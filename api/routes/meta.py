"""About the server: is it up, what is it, how is it doing."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from api.deps import ThreadlineDep
from api.metrics import CONTENT_TYPE
from api.responses import JsonResponse

router = APIRouter(tags=["meta"])


@router.get("/ok")
async def ok() -> Response:
    """Answers while the server is up."""
    return JsonResponse({"ok": True})


@router.get("/info")
async def info(threadline: ThreadlineDep) -> Response:
    """Versions, and the agents by name."""
    return JsonResponse(
        {
            "name": "threadline",
            "version": version("threadline"),
            "langgraph_py_version": version("langgraph"),
            "agents": sorted(threadline.registry.entries),
        }
    )


@router.get("/metrics")
async def metrics(threadline: ThreadlineDep) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(threadline.metrics.render(), media_type=CONTENT_TYPE)
