"""What has reached the disk when it is acknowledged: told by the kernel, of a real server."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

FILES = ("threadline.sqlite", "checkpoints.sqlite")
_GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph

graph = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": [("ai", "hello")]}).add_edge(START, "reply")
"""


@contextlib.contextmanager
def _traced(folder: Path, **settings: str) -> Iterator[tuple[str, Path]]:
    """The URL of a server, and the file to which each of its waits for the disk is written when it ends."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed")
        pytest.skip("strace is not installed")
    (folder / "graphs.py").write_text(_GRAPH)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"chat": "./graphs.py:graph"}}))
    waits = folder / "waits"
    threadline = str(Path(sys.executable).with_name("threadline"))
    # Detached, so that the process is the server's own.
    trace = [strace, "-D", "-f", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(waits)]
    process = subprocess.Popen(
        [*trace, threadline, "serve", "--port", "0", "--config", str(folder / "langgraph.json")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings},
    )
    assert process.stdout is not None
    try:
        ready = next((line for line in process.stdout if "is ready: http" in line), None)
        if ready is None:
            pytest.skip("strace may not trace a process here")
        yield re.findall(r"http://[^\s/]+", ready)[0], waits
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _waits(path: Path, name: str) -> int:
    """How often the log of a database was waited for."""
    return len(re.findall(rf"{name}-wal>\) += 0|{name}-wal>(?= <unfinished)", path.read_text()))


@pytest.mark.parametrize("wait_for_disk", [True, False])
def test_run_is_on_the_disk_when_it_is_acknowledged_if_that_was_asked_for(tmp_path: Path, wait_for_disk: bool) -> None:
    with (
        _traced(tmp_path, THREADLINE_WAIT_FOR_DISK=str(wait_for_disk).lower()) as (url, waits),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        thread_id = client.post("/threads", json={}).json()["thread_id"]
        later = {"assistant_id": "chat", "input": {"messages": []}, "after_seconds": 3600}
        created = [_waits(waits, name) for name in FILES]
        assert client.post(f"/threads/{thread_id}/runs", json=later).status_code == 200
        acknowledged = [_waits(waits, name) for name in FILES]
        client.post("/threads", json={"thread_id": "0195f3a0-0000-7000-8000-000000000001"})
        body = {"assistant_id": "chat", "input": {"messages": [["user", "hi"]]}}
        before = [_waits(waits, name) for name in FILES]
        answer = client.post("/threads/0195f3a0-0000-7000-8000-000000000001/runs/wait", json=body)
        assert answer.json()["messages"][-1]["content"] == "hello"
        ended = [_waits(waits, name) for name in FILES]
    if wait_for_disk:
        # The run's row; then, of the other one, row, end and events, and each of its checkpoints.
        assert acknowledged[0] > created[0]
        assert ended[0] >= before[0] + 2
        assert ended[1] > before[1]
    else:
        assert ended == acknowledged == before == created
