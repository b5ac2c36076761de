"""About the server: is it up, what is it, how is it doing."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from api.deps import ThreadlineDep
from api.metrics import CONTENT_TYPE
from api.responses import JsonResponse

API_VERSION = "0.16.7"
"""The version of langgraph-api that this server follows on the wire: Studio asks for it."""

router = APIRouter(tags=["meta"])


@router.get("/ok")
async def ok() -> Response:
    """Answers while the server is up."""
    return JsonResponse({"ok": True})


@router.get("/info")
async def info(threadline: ThreadlineDep) -> Response:
    """Versions, what is supported, and the agents by name; in the form that LangGraph Studio reads."""
    return JsonResponse(
        {
            "version": API_VERSION,
            "langgraph_py_version": version("langgraph"),
            "flags": {
                "assistants": True,
                "crons": True,
                "langsmith": False,
                "langsmith_tracing_replicas": False,
                "langsmith_tracing_session_on_runs": False,
            },
            "host": {"kind": "threadline", "version": version("threadline")},
            "agents": sorted(threadline.registry.entries),
        }
    )


@router.get("/metrics")
async def metrics(threadline: ThreadlineDep) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(threadline.metrics.render(), media_type=CONTENT_TYPE)
