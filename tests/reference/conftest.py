"""Starts `langgraph dev`, the reference server, on a copy of a folder."""

import asyncio
import contextlib
import os
import shutil
import socket
import sysconfig
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(sysconfig.get_path("scripts")) / "langgraph"

Reference = Callable[[Path], contextlib.AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def reference() -> Reference:
    """Serves a folder that has a langgraph.json; yields a client. The server's own log is shown if it fails."""
    if not COMMAND.exists():
        reason = "langgraph-cli[inmem] is not installed: make test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return _dev_server


@contextlib.asynccontextmanager
async def _dev_server(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *(
            "dev",
            "--no-browser",
            "--no-reload",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--n-jobs-per-worker",
            "10",
        ),
        cwd=folder,
        env={**os.environ, "LANGSMITH_TRACING": "false", "PYTHONWARNINGS": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    log: list[str] = []
    reading = asyncio.create_task(_read(process.stdout, log, until="Application started up"))
    try:
        await asyncio.wait_for(reading, 60)
        draining = asyncio.create_task(_read(process.stdout, log))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    except BaseException:
        print("".join(log[-100:]))  # noqa: T201  # pytest shows it with the failure
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        await process.wait()
        await draining


async def _read(stream: asyncio.StreamReader, log: list[str], until: str | None = None) -> None:
    async for line in stream:
        log.append(line.decode(errors="replace"))
        if until is not None and until in log[-1]:
            return
    if until is not None:
        raise RuntimeError("the reference server ended")


def copy_of_project(target: Path) -> Path:
    """The folder that a user of the project has, without what only we need."""
    shutil.copytree(ROOT / "graph", target / "graph", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "langgraph.json", target)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target
