"""The checks: what a client saw and was promised, against what the server has when all is over."""

from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.faults.clients import Client, FollowedRun, Frame, frames_of
from tests.faults.traces import Traces


@dataclass
class Verdict:
    """What is wrong, a sentence each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    cuts: int = 0
    """Attempts that another one has taken up."""

    def add(self, other: "Verdict") -> None:
        """Takes over what another one has."""
        self.lost += other.lost
        self.doubled += other.doubled


@dataclass(frozen=True)
class Expected:
    """How runs may end beside `success`, by their order's `do`."""

    endings: frozenset[str] = frozenset({"success"})
    codes: frozenset[str] = frozenset()
    """Of errors that native runs may have."""
    reruns: bool = True
    """Whether a fault may cost an attempt."""


async def check(client: Client, url: str, traces: Traces, expected: Expected) -> Verdict:
    """All that one client was promised.

    Args:
        client: when it is done.
        url: of a server that runs.
        traces: of all runs.
        expected: how its runs may have ended.
    """
    verdict = Verdict(lost=[f"{client.order['marker']}: {problem}" for problem in client.problems])
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        attempts, failed = 0, 0
        for run in client.runs:
            status, tried = await _check_run(http, run, verdict, expected)
            failed += status != "success"
            attempts += tried
        complete = failed == 0
        await _check_items(http, client, verdict, complete=complete)
        if complete and not client.problems:
            await _check_state(http, client, verdict)
        verdict.cuts = attempts - len(client.runs)
        _check_traces(client, traces, verdict, failed)
    if not expected.reruns and verdict.cuts:
        verdict.doubled.append(f"{client.order['marker']}: {attempts} attempts of {len(client.runs)} runs")
    return verdict


async def _check_run(
    http: httpx.AsyncClient, run: FollowedRun, verdict: Verdict, expected: Expected
) -> tuple[str, int]:
    """The log, whole and once; how the run ended, and the number of its attempts."""
    record = await http.get(f"/threads/{run.thread_id}/runs/{run.run_id}")
    if record.status_code != 200:
        verdict.lost.append(f"run {run.run_id}: {record.status_code}")
        return "", 0
    status = record.json()["status"]
    if status not in expected.endings:
        verdict.lost.append(f"run {run.run_id} ended with {status}")
    response = await http.get(run.wire.path(run.thread_id, run.run_id))
    whole = frames_of(response.content, run.wire)
    compare(run, whole, verdict)
    codes = {frame.data.get("code") for frame in whole if frame.event == "error" and run.wire.name == "native"}
    if not codes <= expected.codes:
        verdict.lost.append(f"run {run.run_id} says it failed with {codes}")
    begun = [frame.data.get("attempt", 1) for frame in whole if frame.event in ("run", "metadata")]
    return status, max(begun, default=1)


def compare(run: FollowedRun, whole: list[Frame], verdict: Verdict) -> None:
    """What a client saw of a run, against what a reader of the whole run gets."""
    _check_numbers(run, whole, verdict)
    _check_seen(run, whole, verdict)


def _check_numbers(run: FollowedRun, whole: list[Frame], verdict: Verdict) -> None:
    ids = [frame.id for frame in whole]
    if ids != list(range(1, len(ids) + 1)):
        verdict.lost.append(f"run {run.run_id}: its events are numbered {ids}")
    ends = [frame.id for frame in whole if frame.event == "end"]
    if len(ends) > 1:
        verdict.doubled.append(f"run {run.run_id} ended {len(ends)} times")
    if run.wire.name == "native" and (not ends or ends[-1] != ids[-1]):
        verdict.lost.append(f"run {run.run_id}: no last event says its end")


def _check_seen(run: FollowedRun, whole: list[Frame], verdict: Verdict) -> None:
    """Byte for byte what a later reader gets, nothing left out and nothing twice."""
    seen = [frame.id for frame in run.frames]
    if len(seen) > len(set(seen)):
        verdict.doubled.append(f"run {run.run_id}: its client saw {seen}")
    elif [frame.raw for frame in run.frames] != [frame.raw for frame in whole]:
        verdict.lost.append(f"run {run.run_id}: its client saw {seen} of {len(whole)} events, or other ones")


async def _check_items(http: httpx.AsyncClient, client: Client, verdict: Verdict, *, complete: bool) -> None:
    marker = client.order["marker"]
    wanted = [("acknowledged", key) for key in client.items]
    if complete:
        wanted += [("faults", str(number)) for number in range(client.order["steps"])]
    for kind, key in wanted:
        found = await http.get("/store/items", params={"namespace": f"{kind}.{marker}", "key": key})
        if found.status_code != 200 or found.json() is None:
            verdict.lost.append(f"{marker}: the store's item {kind} {key}")


async def _check_state(http: httpx.AsyncClient, client: Client, verdict: Verdict) -> None:
    marker, steps = client.order["marker"], client.order["steps"]
    values = (await http.get(f"/threads/{client.thread_id}/state")).json()["values"]
    done = values.get("done", [])
    if len(done) > len(set(done)):
        verdict.doubled.append(f"{marker}: the state has the supersteps {done}")
    elif done != list(range(steps)):
        verdict.lost.append(f"{marker}: the state has the supersteps {done} of {steps}")
    asked = sum(message["type"] == "human" for message in values["messages"])
    if asked != 1:
        verdict.doubled.append(f"{marker}: its question is in the state {asked} times")
    said = [message["content"] for message in values["messages"] if message["type"] == "ai" and message["content"]]
    if said != [f"closed {marker}"]:
        (verdict.doubled if len(said) > 1 else verdict.lost).append(f"{marker}: the answers {said}")


def _check_traces(client: Client, traces: Traces, verdict: Verdict, failed: int) -> None:
    """A superstep leaves its trace once. Once more only if it was under way when an attempt was cut, or when a run
    failed that another one of the thread goes on with.

    With `durability=sync` that is one superstep for each cut; else the one before it may not be stored yet either.
    """
    marker = client.order["marker"]
    counts = Counter(what for of, what in traces.all() if of == marker)
    again = sum(count - 1 for count in counts.values())
    if again > (verdict.cuts + failed) * (1 if client.wire.name == "langgraph" else 2):
        verdict.doubled.append(
            f"{marker}: {again} supersteps were executed again after {verdict.cuts} cuts: {dict(counts)}"
        )
    missing = {"begin", *map(str, range(client.order["steps"])), "tool"} - set(counts)
    if not failed and missing:
        verdict.lost.append(f"{marker}: no trace of {sorted(missing)}")
