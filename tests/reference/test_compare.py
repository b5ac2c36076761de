"""The same requests to the reference and to Threadline: the responses are equal but for the listed deviations.

All scenarios are played ahead, several at a time, because the reference takes a second to begin a run.
"""

import asyncio
import difflib
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.reference.conftest import GRAPHS, Servers
from tests.reference.exchange import Scenario, Trace, play
from tests.reference.normalise import normalise
from tests.reference.scenarios import SCENARIOS

LANDED = {
    "meta",
    "runs",
    "stateless",
    "streams",
    "interrupts",
    "states",
    "threads",
    "assistants",
    "store",
    "crons",
    "studio",
}
"""Groups of scenarios whose routes Threadline has."""

DIFFERENT = {
    "assistants/patch and versions": "a missing version is told as 0, not as Python's None",
    "threads/create with a ttl": "include=ttl shows the TTL, which the reference ignores",
    "threads/copy": "a copy's record has values: null rather than no values",
    "threads/copy while it waits for a human": "likewise",
    "threads/copy of an empty one": "likewise",
    "streams/join filters modes": "a join without Last-Event-ID shows all: runs here begin before a client can join",
    "streams/join replays a resumable run": "likewise",
    "streams/join of a run that is not resumable": "likewise",
    "interrupts/interrupt and resume, events": "a Command without a goto has an empty list of them, not null",
    "interrupts/in a subgraph": "interrupts are kept under the id of the root's task, as get_state has it",
    "interrupts/resume of a new thread": "another internal error of the graph's own code",
    "interrupts/goto": "names and Sends may be mixed",
    "interrupts/two at once, resumed by id": "a thread's values are its state's: with what one of two has done already",
    "runs/list what is none": "a status that is none is refused, and a limit that is none with 422",
    "runs/after a delete": "the unknown run is named; state of a thread whose only run was deleted",
    "runs/context": "no marker of the server's own among the settings",
    "runs/cancel": "the wording of the cancelled run's error",
    "runs/cancel by rolling back": "likewise, and the unknown run is named",
    "runs/cancel a pending run": "the thread of a run that never began says that it was cancelled",
    "runs/cancel many by id": "one wording for nothing to cancel",
    "runs/delete while it runs": "a run under way is not deleted: 409",
    "runs/nothing there": "the unknown run is named, and joining it is a 404 rather than a 200 with an error inside",
    "runs/under way": "a state that is read meanwhile may be a step behind the stream: durability is async",
    "runs/ids that are none": "422, as elsewhere",
}
"""Scenarios that are left out, because the answers differ: how, and why."""

AT_A_TIME = 8

Recording = tuple[Trace, Trace]
Recordings = dict[str, "asyncio.Task[Recording]"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def recordings(servers: Servers, request: pytest.FixtureRequest) -> AsyncIterator[Recordings]:
    """What both servers answer, for every scenario of this session."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    chosen = [each["scenario"] for each in params if "scenario" in each]
    room = asyncio.Semaphore(AT_A_TIME)
    tasks = {str(each): asyncio.create_task(_record(each, servers, room)) for each in chosen}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _record(scenario: Scenario, servers: Servers, room: asyncio.Semaphore) -> Recording:
    async with (
        room,
        httpx.AsyncClient(base_url=servers.reference, timeout=30) as theirs,
        httpx.AsyncClient(base_url=servers.threadline, timeout=30) as ours,
        asyncio.TaskGroup() as both,
    ):
        their_trace = both.create_task(play(scenario, theirs))
        our_trace = both.create_task(play(scenario, ours))
    return their_trace.result(), our_trace.result()


COMPARED = [each for each in SCENARIOS if each.group in LANDED and str(each) not in DIFFERENT]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("scenario", COMPARED, ids=str)
async def test_answers_like_the_reference(scenario: Scenario, recordings: Recordings) -> None:
    theirs, ours = normalise(*await recordings[str(scenario)], graphs=_graphs())
    report = "\n".join(
        line for number, pair in enumerate(zip(theirs, ours, strict=True), 1) for line in _diff(number, *pair)
    )
    assert not report, f"{scenario}\n{report}"


def _graphs() -> list[str]:
    return list(json.loads((GRAPHS / "langgraph.json").read_text())["graphs"])


def _diff(number: int, theirs: dict[str, object], ours: dict[str, object]) -> list[str]:
    """The lines that differ, under the request that they answer."""
    one, other = (json.dumps(each, indent=1, sort_keys=True, ensure_ascii=False) for each in (theirs, ours))
    files = ("reference", "threadline")
    differing = list(difflib.unified_diff(one.splitlines(), other.splitlines(), *files, lineterm="", n=4))
    return [f"{number}. {theirs['request']}", *differing, ""] if differing else []


def test_landed_groups_exist() -> None:
    assert {each.group for each in SCENARIOS} >= LANDED


def test_different_scenarios_exist() -> None:
    assert {str(each) for each in SCENARIOS} >= set(DIFFERENT)


def test_names_are_unique() -> None:
    assert len({str(each) for each in SCENARIOS}) == len(SCENARIOS)
