"""Metrics: what /metrics tells after requests and runs, and that no client can make it grow."""

import asyncio
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.loop_lag import LoopLag
from api.metrics import Metrics
from api.schemas import Run
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate

README = Path(__file__).parents[2] / "README.md"


async def _read(client: Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"threadline_{name}", frozenset(labels.items())


async def test_what_runs_and_requests_leave(client: Client) -> None:
    before = await _read(client)
    frames = await client.run("inner")
    await client.get("/agents/nobody")
    await client.get(f"/agents/inner/stream/{frames[0].data['run_id']}")
    await client.get("/wp-admin/" + "x" * 100)
    await client.request("PROPFIND", "/agents")
    after = await _read(client)
    assert after[_key("runs_total", status="success")] == 1
    assert after[_key("events_total")] == len(frames)
    assert after[_key("log_flush_seconds_count")] >= 1
    assert after[_key("queue_wait_seconds_count")] == 1
    assert after[_key("first_token_seconds_count")] == 1
    assert after[_key("tokens_total", direction="input", agent="inner", model="unknown")] == 7
    route = "/agents/{assistant_id}/stream"
    assert after[_key("http_requests_total", method="POST", route=route, status="200")] == 1
    assert after[_key("http_requests_total", method="GET", route=f"{route}/{{run_id}}", status="200")] == 1
    assert after[_key("http_requests_total", method="GET", route="/agents/{assistant_id}", status="404")] == 1
    assert after[_key("http_requests_total", method="GET", route="other", status="404")] == 1
    assert [value for (_, labels), value in after.items() if ("method", "other") in labels]
    assert after[_key("http_request_seconds_count", method="POST", route=route)] == 1
    assert after[_key("database_writes_waiting")] == 0
    assert ("process_resident_memory_bytes", frozenset()) in after
    assert _key("runs_total", status="success") not in before


async def test_no_label_holds_an_id(client: Client) -> None:
    frames = await client.run("inner")
    text = (await client.get("/metrics")).text
    for value in frames[0].data.values():
        assert value not in text


async def test_runs_that_wait_and_streams_that_are_open(serve: Serve) -> None:
    async with serve(max_concurrent_runs=1) as client:
        body = {"input": "one"}
        with gate("one") as held:
            async with (
                client.stream("POST", "/agents/gated/stream", json=body) as first,
                client.stream("POST", "/agents/chat/stream", json=body) as second,
            ):
                await held.reached.wait()
                seen = await _read(client)
                assert seen[_key("open_streams")] == 2
                assert seen[_key("runs_pending")] == 1
                assert seen[_key("runs_running")] == 1
                held.released.set()
                await asyncio.gather(first.aread(), second.aread())
        seen = await _read(client)
        assert seen[_key("runs_pending")] == seen[_key("runs_running")] == 0


async def test_a_blocked_loop_shows() -> None:
    class Measurements(list[float]):
        def __init__(self) -> None:
            super().__init__()
            self.came = asyncio.Event()

        def observe(self, amount: float) -> None:
            self.append(amount)
            self.came.set()

    measurements = Measurements()
    lag = LoopLag(measurements)
    lag.start()
    time.sleep(0.8)  # noqa: ASYNC251  # this is the block
    await measurements.came.wait()
    lag.stop()
    assert measurements[0] >= 0.29


def test_models_that_a_client_makes_up_are_bounded() -> None:
    metrics = Metrics()
    now = datetime.now(UTC)
    run = Run("r", "t", "a", now, now, kwargs={"graph_id": "agent"}, attempt=1)
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    for at in range(200):
        with metrics.running(run) as measured:
            measured.status = "success"
            measured.usage = {f"model-{at}": usage}  # type: ignore[dict-item]
    text = metrics.render().decode()
    assert len(set(re.findall(r'model="([^"]+)"', text))) == 51
    assert 'threadline_tokens_total{agent="agent",direction="input",model="other"} 150.0' in text


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            re.sub(r"_total$", "", family.name)
            for family in Metrics().registry.collect()
            if family.name.startswith("threadline_")
        }
    ),
)
def test_every_metric_is_in_the_readme(name: str) -> None:
    assert re.search(rf"`{name.removeprefix('threadline_')}(?:_total)?`", README.read_text()), name
