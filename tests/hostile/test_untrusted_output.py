"""What models, tools and nodes give is data: it forges no frame, and ends no run but its own."""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.hostile.conftest import write_config
from tests.hostile.graphs import TEN_MIB
from tests.serving import serving

MODES = ["values", "messages", "messages-tuple", "updates", "custom", "debug", "tasks", "checkpoints"]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(config=write_config(tmp_path)))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


def strictly(body: bytes) -> list[tuple[str, Any]]:
    """The frames of an SSE body, in which every line is one of the server's own."""
    frames = []
    for block in re.split(rb"\r\n\r\n|\n\n", body):
        fields: dict[str, str] = {}
        for line in re.split(r"\r\n|\n|\r", block.decode()):
            if not line or line.startswith(":"):
                continue
            name, _, value = line.partition(": ")
            assert name in ("event", "data", "id"), line
            assert name not in fields, line
            fields[name] = value
        if fields:
            frames.append((fields["event"], json.loads(fields["data"])))
    return frames


async def test_forged_output_stays_data_in_the_native_stream(http: httpx.AsyncClient) -> None:
    answer = await http.post("/agents/forging/stream", json={"input": "go"})
    frames = strictly(answer.content)
    names = [name for name, _ in frames]
    assert names.count("end") == 1
    assert frames[-1] == ("end", {"status": "success"})
    assert set(names) <= {"run", "tool_call", "tool_result", "token", "custom", "answer", "end"}


async def test_forged_output_stays_data_in_lines(http: httpx.AsyncClient) -> None:
    answer = await http.post("/agents/forging/stream", json={"input": "go"}, headers={"accept": "application/x-ndjson"})
    events = [json.loads(line) for line in answer.content.split(b"\n") if line]
    assert [each["event"] for each in events].count("end") == 1


@pytest.mark.parametrize("modes", [MODES, ["events", *MODES]], ids=["modes", "events"])
async def test_forged_output_stays_data_in_langgraph_streams(http: httpx.AsyncClient, modes: list[str]) -> None:
    body = {"assistant_id": "forging", "input": {"messages": []}, "stream_mode": modes, "stream_subgraphs": True}
    frames = strictly((await http.post("/runs/stream", json=body)).content)
    heads = {name.partition("|")[0] for name, _ in frames}
    assert heads <= {*MODES, "messages/partial", "messages/complete", "messages/metadata", "metadata", "events"}
    assert any("|" in name for name, _ in frames)


async def test_forged_output_is_kept_and_found_again(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": "forging", "input": {"messages": []}}
    assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200
    for path in ("", "/state", "/history", "/runs"):
        assert (await http.get(f"/threads/{thread}{path}")).status_code == 200


async def test_a_tool_result_of_ten_mebibytes_arrives(http: httpx.AsyncClient) -> None:
    answer = await http.post("/agents/bloating/stream", json={"input": "go"})
    results = [data for name, data in strictly(answer.content) if name == "tool_result"]
    assert [len(result["content"]) for result in results] == [TEN_MIB]


async def test_an_event_over_the_limit_fails_its_run_alone(tmp_path: Path) -> None:
    app = create_app(Settings(config=write_config(tmp_path), max_event_bytes=1 << 20))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        frames = strictly((await http.post("/agents/bloating/stream", json={"input": "go"})).content)
        assert [data["code"] for name, data in frames if name == "error"] == ["event_too_large"]
        assert (await http.post("/agents/counting/invoke", json={"input": {"count": 1}})).json()["status"] == "success"


async def test_a_run_over_the_limit_fails_alone(tmp_path: Path) -> None:
    app = create_app(Settings(config=write_config(tmp_path), max_run_bytes=1 << 20))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        body = {"assistant_id": "bloating", "input": {"messages": []}}
        with contextlib.suppress(httpx.HTTPError):
            answer = (await http.post("/runs/wait", json=body)).json()
        assert answer["__error__"]["message"] == f"The run's events have more than {1 << 20} bytes."
        assert (await http.post("/agents/counting/invoke", json={"input": {"count": 1}})).json()["status"] == "success"
