"""The functional API: a task, an interrupt, and what was kept of the call before."""

from typing import Any

from api.helper import Job
from langgraph.func import entrypoint, task
from langgraph.types import interrupt


@task
def write(job: Job) -> str:
    """Writes."""
    return f"on {job.shout()}"


@entrypoint()
def essay(given: dict[str, Any], *, previous: Any = None) -> Any:
    """Writes about a topic, and asks."""
    text = write(Job(given["topic"])).result()
    opinion = interrupt({"read": text})
    kept = [*(previous or {"kept": []})["kept"], f"{text}: {opinion}"]
    return entrypoint.final(value={"essay": text, "opinion": opinion, "kept": kept}, save={"kept": kept})
