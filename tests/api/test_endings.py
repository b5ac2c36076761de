"""How runs end when code raises what is no error, and when their ending itself fails: once, soon, and alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import executor
from api.app import Threadline, create_app
from api.events import Event
from api.protocols.native import AgentRequest
from api.registry import default_assistant_id
from api.schemas import Run
from api.serde import loads
from api.settings import Settings
from tests.api.graphs import gate
from tests.serving import serving

GRAPHS = ("alone", "abreast", "in_a_thread", "inside", "tools", "factory")
KINDS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "Unusual")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A langgraph.json of the graphs that end badly."""
    graphs = {name: f"tests.api.ending_graphs:{name}" for name in (*GRAPHS, "chain")}
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": {**graphs, "chat": "tests.api.graphs:chat"}}))
    return path


@pytest.fixture
async def threadline(project: Path) -> AsyncIterator[Threadline]:
    async with Threadline(Settings(config=project, lease_seconds=3600)) as opened:
        yield opened


async def _run(threadline: Threadline, agent: str, text: str, **fields: Any) -> Run:
    return await threadline.runs.create(await threadline.agents.request(agent, AgentRequest(input=text, **fields)))


async def _events(threadline: Threadline, run: Run) -> list[Event]:
    async with asyncio.timeout(60):
        return [event async for batch in threadline.runs.follow(run.run_id) for event in batch]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("agent", "how"),
    [
        ("alone", "raise"),
        ("alone", "task"),
        ("alone", "thread"),
        ("alone", "runnable"),
        ("abreast", "raise"),
        ("abreast", "task"),
        ("in_a_thread", "raise"),
        ("inside", "task"),
        ("tools", "call"),
        ("chain", "raise"),
    ],
)
async def test_what_a_graph_raises_is_its_error_and_ends_no_other_run(
    threadline: Threadline, agent: str, how: str, kind: str
) -> None:
    if (how, kind) == ("thread", "CancelledError"):
        kind = "Unusual"  # a thread has no such thing
    with gate("hold healthy") as held:
        healthy = await _run(threadline, "alone", "hold healthy")
        await held.reached.wait()
        run = await _run(threadline, agent, f"{how} {kind}")
        events = await _events(threadline, run)
        assert [event.kind for event in events].count("end") == 1
        assert [event.kind for event in events[-2:]] == ["error", "end"], events
        error = loads(events[-2].data)
        assert error["code"] == "graph_error"
        # LangGraph makes an error of its own of one of them; Python may of another, on its way through generators.
        named = kind if kind != "CancelledError" else "NodeCancelledError"
        assert kind == "GeneratorExit" or error["message"] == f"The graph failed with {named}."
        record = await threadline.runs.get(run.run_id)
        assert (record.status, record.attempt) == ("error", 1)
        held.released.set()
    assert [event.kind for event in await _events(threadline, healthy)][-1] == "end"
    assert (await threadline.runs.get(healthy.run_id)).status == "success"


@pytest.mark.parametrize("path", ["/agents/factory/graph", "/agents/factory/invoke", "/assistants/{}/schemas"])
async def test_factory_that_exits_fails_its_request_alone(project: Path, path: str) -> None:
    app = create_app(Settings(config=project))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        if path.endswith("invoke"):
            answer = await client.post(path, json={"input": "hi"})
        else:
            answer = await client.get(path.format(default_assistant_id("factory")))
        assert answer.status_code == 500
        assert "on purpose" not in answer.text
        assert (await client.post("/agents/chat/invoke", json={"input": "hi"})).status_code == 200


@pytest.fixture
def with_auth(project: Path) -> Path:
    """Likewise, with handlers that exit."""
    (project.parent / "auth.py").write_text(
        "import asyncio, sys\n"
        "from langgraph_sdk import Auth\n"
        "auth = Auth()\n"
        "async def leave():\n"
        "    sys.exit('on purpose')\n"
        "@auth.authenticate\n"
        "async def authenticate(headers: dict):\n"
        "    if b'leave' in headers:\n"
        "        await asyncio.gather(leave())\n"
        "    return 'someone'\n"
        "@auth.on.crons\n"
        "async def crons(ctx, value):\n"
        "    await asyncio.gather(leave())\n"
    )
    project.write_text(json.dumps({**json.loads(project.read_text()), "auth": {"path": "./auth.py:auth"}}))
    return project


async def test_auth_handler_that_exits_fails_its_request_alone(with_auth: Path) -> None:
    app = create_app(Settings(config=with_auth))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        answers = [await client.get("/agents", headers={"leave": "1"})]
        answers.append(await client.post("/runs/crons", json={"assistant_id": "chat", "schedule": "0 0 1 1 *"}))
        assert [answer.status_code for answer in answers] == [500, 500], answers
        assert (await client.post("/agents/chat/invoke", json={"input": "hi"})).status_code == 200


async def test_run_whose_graph_swallows_a_cancel_ends_at_its_next_event(threadline: Threadline) -> None:
    with gate("stubborn") as held:
        run = await _run(threadline, "alone", "stubborn")
        await held.reached.wait()
        await threadline.runs.cancel(run.run_id)
        await held.cancelled.wait()
        events = await _events(threadline, run)
    assert loads(events[-1].data) == {"status": "interrupted"}


class _BrokenError(Exception):
    pass


def _break(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int) -> list[int]:
    """A method that fails so many times; how often it was called."""
    real, calls = getattr(owner, name), []

    async def broken(*args: Any, **named: Any) -> Any:
        calls.append(len(calls))
        if len(calls) <= times:
            raise _BrokenError("in the ending")
        return await real(*args, **named)

    monkeypatch.setattr(owner, name, broken)
    return calls


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(executor, "_RETRY_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("times", [1, 1000])
async def test_rollback_that_fails_ends_the_run_all_the_same(
    threadline: Threadline, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    calls = _break(monkeypatch, threadline.registry.checkpointer, "adelete_for_runs", times)
    deleted = asyncio.Event()
    with gate("hold undone") as held:
        run = await _run(threadline, "alone", "hold undone")
        await held.reached.wait()
        following = asyncio.create_task(_events(threadline, run))
        await asyncio.sleep(0)
        await threadline.runs.cancel(run.run_id, "rollback")
        events = await following
        deleted.set()
    assert [event.kind for event in events].count("end") == 1
    assert loads(events[-1].data) == {"status": "interrupted" if times == 1 else "error"}
    assert len(calls) == (2 if times == 1 else 3)
    assert await threadline.storage.records.active_runs(run.thread_id) == []


@pytest.mark.usefixtures("quick")
async def test_ending_that_fails_is_tried_a_few_times_and_then_ends_in_error(
    threadline: Threadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _break(monkeypatch, threadline.storage.queue, "finish", 3)
    run = await _run(threadline, "chat", "hi")
    events = await _events(threadline, run)
    assert loads(events[-1].data) == {"status": "error"}
    record = await threadline.runs.get(run.run_id)
    assert (record.status, record.attempt, len(calls)) == ("error", 1, 4)
    assert [event.kind for event in await _events(threadline, await _run(threadline, "chat", "hi"))][-1] == "end"


@pytest.mark.usefixtures("quick")
async def test_waiting_run_whose_ending_fails_is_ended_too(
    threadline: Threadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gate("hold first") as held:
        first = await _run(threadline, "alone", "hold first")
        await held.reached.wait()
        request = await threadline.agents.request("chat", AgentRequest(input="hi"))
        request.thread_id, request.multitask_strategy = first.thread_id, "enqueue"
        waiting = await threadline.runs.create(request)
        calls = _break(monkeypatch, threadline.storage.queue, "finish", 3)
        await threadline.runs.cancel(waiting.run_id)
        assert len(calls) == 4
        assert (await threadline.runs.get(waiting.run_id)).status == "error"
        held.released.set()
    assert loads((await _events(threadline, first))[-1].data) == {"status": "success"}


@pytest.mark.usefixtures("quick")
async def test_who_is_told_of_an_end_cannot_undo_it(threadline: Threadline, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _break(monkeypatch, threadline.runs, "ended", 1000)
    run = await _run(threadline, "chat", "hi")
    assert loads((await _events(threadline, run))[-1].data) == {"status": "success"}
    assert (await threadline.runs.get(run.run_id)).attempt == 1
    assert len(calls) == 1
