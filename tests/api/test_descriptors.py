"""A server that may open few files and sockets: what it acknowledges it does, and what is too much it refuses."""

import asyncio
import contextlib
import re
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.cli import descriptors
from api.cli.descriptors import share
from api.errors import ConfigError
from api.settings import Settings

STREAMS = 200


@contextlib.asynccontextmanager
async def _served(folder: Path, limit: int) -> AsyncIterator[str]:
    """The URL of a server whose hard limit that is."""
    (folder / "langgraph.json").write_text('{"graphs": {"agent": "graph.agent:graph"}}')
    command = f"ulimit -n {limit}; exec {Path(sys.executable).with_name('threadline')} serve --port 0"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while not (ready := re.search(rb"is ready: (http\S+)", await process.stdout.readline())):
                assert process.returncode is None
        yield ready[1].decode()
    finally:
        process.kill()
        await process.communicate()


async def _stream(http: httpx.AsyncClient) -> tuple[int, str]:
    """Status and text of a stream, tried again when its connection was not taken."""
    while True:
        try:
            answer = await http.post("/agents/agent/stream", json={"input": "What is 6 * 7?"})
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return answer.status_code, answer.text


async def test_what_is_acknowledged_ends_well_and_the_rest_is_refused(tmp_path: Path) -> None:
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
    async with _served(tmp_path, 128) as url, httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        answers = await asyncio.gather(*(_stream(http) for _ in range(STREAMS)))
        assert {status for status, _ in answers} <= {200, 503}
        taken = [text for status, text in answers if status == 200]
        assert taken
        assert [text for text in taken if '{"status":"success"}' not in text] == []
        assert all('"code":"overloaded"' in text for status, text in answers if status == 503)
        assert (await _stream(http))[0] == 200
    log = (tmp_path / "log").read_text()
    assert "THREADLINE_MAX_CONNECTIONS is 32 here, not 12000" in log
    assert "Too many open files" not in log


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limit of this process as the server sees it; the last is the one in effect."""
    held = [(1024, 4096)]
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: held[-1])
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, limit: held.append(limit))
    return held


def test_soft_limit_is_raised_as_far_as_the_hard_one_lets(limits: list[tuple[int, int]]) -> None:
    settings = Settings()
    shares = share(settings)
    assert limits[-1] == (4096, 4096)
    assert (settings.max_connections, settings.max_concurrent_runs) == (shares.connections, 128)
    assert shares.connections + 2 * shares.runs + shares.spare < 4096


def test_limit_that_does_is_left_alone(limits: list[tuple[int, int]]) -> None:
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    settings = Settings()
    share(settings)
    assert len(limits) == 2
    assert (settings.max_connections, settings.max_concurrent_runs) == (12_000, 128)


def test_limit_that_serves_nobody_is_refused(limits: list[tuple[int, int]]) -> None:
    limits.append((64, 64))
    with pytest.raises(ConfigError, match="ulimit -n"):
        share(Settings())
