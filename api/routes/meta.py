"""About the server: is it up, what is it, how is it doing."""

from importlib.metadata import version

from fastapi import APIRouter, Response

from api.deps import PublicDep
from api.metrics import CONTENT_TYPE
from api.responses import JsonResponse
from api.telemetry import sends_to_langsmith

API_VERSION = "0.16.7"
"""The version of langgraph-api that this server follows on the wire: Studio asks for it."""

router = APIRouter(tags=["meta"])


@router.get("/", include_in_schema=False)
@router.get("/ok")
async def ok() -> Response:
    """Answers while the server is up."""
    return JsonResponse({"ok": True})


@router.get("/info")
async def info(threadline: PublicDep) -> Response:
    """Versions, what is supported, and the agents by name; in the form of LangGraph's own server, as Studio reads it.

    The flags tell what is so here: the two kinds of LangSmith tracing that a request may ask for are not.
    """
    return JsonResponse(
        {
            "version": API_VERSION,
            "langgraph_py_version": version("langgraph"),
            "flags": {
                "assistants": True,
                "crons": True,
                "langsmith": sends_to_langsmith(),
                "langsmith_tracing_replicas": False,
                "langsmith_tracing_session_on_runs": False,
            },
            "host": {
                "kind": "self-hosted",
                "project_id": None,
                "host_revision_id": None,
                "revision_id": None,
                "tenant_id": None,
            },
            "threadline_version": version("threadline"),
            "agents": sorted(threadline.registry.entries),
        }
    )


@router.get("/metrics")
async def metrics(threadline: PublicDep) -> Response:
    """Metrics in Prometheus' text format."""
    await threadline.refresh_metrics()
    return Response(threadline.metrics.render(), media_type=CONTENT_TYPE)
