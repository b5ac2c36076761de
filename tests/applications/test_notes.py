"""Classes that no schema names come back as what they were: from a kill in the midst of a run, and in another graph."""

import asyncio
import contextlib
from typing import Any

from langgraph_sdk.client import LangGraphClient

from tests.applications.conftest import Application, Serve

PARCEL: dict[str, Any] = {
    "note": {
        "text": "two",
        "by": {"name": "ada"},
        "weight": "heavy",
        "place": {"shelf": "b", "row": 2},
        "tags": ["two"],
        "at": "2026-01-02T00:00:00+00:00",
    },
    "copies": [{"name": "ada"}, {"name": "bob"}],
}


async def test_classes_survive_a_kill_in_the_midst_of_two_runs_and_at_their_interrupts(serve: Serve) -> None:
    application = serve("notes")
    client = application.client()
    notes, letters = [(await client.threads.create())["thread_id"] for _ in range(2)]
    begun = (_begun(application, notes, "collect", {"text": "one"}), _begun(application, letters, "letter", "one"))
    runs = await asyncio.gather(*begun)
    await application.restart()
    client = application.client()
    await asyncio.gather(client.runs.join(notes, runs[0]), client.runs.join(letters, runs[1]))
    assert (await _question(client, notes))["file"] == PARCEL["note"]["place"]
    assert (await _question(client, letters))["copies"] == PARCEL["copies"]
    await application.restart()
    client = application.client()

    values: Any = await client.runs.wait(notes, "collect", command={"resume": "yes"})
    assert values["seen"] == [[], [], "yes"]
    values = await client.runs.wait(letters, "letter", command={"resume": "sent"})
    assert (values["wrong"], values["answer"], values["before"]) == ([], "sent", None)

    await client.runs.wait(notes, "collect", input={"text": "two"})
    await client.runs.wait(letters, "letter", input="two")
    await client.runs.wait(notes, "collect", command={"resume": {"n": 1}})
    values = await client.runs.wait(letters, "letter", command={"resume": False})
    assert values == {"parcel": PARCEL, "wrong": [], "answer": False, "before": "one"}
    values = await client.runs.wait(notes, "review", input={})
    assert values["seen"] == [[], [], "yes", [], [], {"n": 1}, ["one", "two"]]
    assert values["notes"][1] == PARCEL["note"]


async def _begun(application: Application, thread_id: str, graph_id: str, given: Any) -> str:
    """Starts a run; returns its id when it stays where it is to be killed."""
    if not application.mortal:
        (application.folder / "src" / f"{graph_id}.held").touch()
    client = application.client()
    run = await client.runs.create(thread_id, graph_id, input=given, stream_mode=["custom"], stream_resumable=True)
    async with contextlib.aclosing(client.runs.join_stream(thread_id, run["run_id"])) as parts:
        held = await anext((part.data async for part in parts if part.event == "custom"), None)
    assert held == ("held" if application.mortal else None)
    return run["run_id"]


async def _question(client: LangGraphClient, thread_id: str) -> Any:
    """What the thread waits with."""
    (interrupt,) = (await client.threads.get_state(thread_id))["interrupts"]
    return interrupt["value"]
