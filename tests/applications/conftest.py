"""Serves a copy of a project by Threadline, which is killed and started again, or by `langgraph dev`."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.reference.servers import LANGGRAPH, langgraph_dev

PROJECTS = Path(__file__).parent / "projects"


class Application:
    """A project that is being served.

    Args:
        folder: the project.
    """

    mortal = True
    """Whether a kill loses nothing, so that it can be tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self._clients: list[LangGraphClient] = []

    def start(self) -> None:
        """Starts the server; returns when it is ready."""
        command = [str(Path(sys.executable).with_name("threadline")), "serve", "--port", "0"]
        unwanted = ("THREADLINE_", "OPENAI_", "LANGSMITH_", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        with (self.folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=kept, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "is ready: " in line:
                self.url = line.rpartition(" ")[2].strip()
                return
        raise RuntimeError((self.folder / "server.log").read_text())

    def end(self, number: signal.Signals) -> None:
        """Ends the server."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.communicate()
        self._process = None

    async def restart(self) -> None:
        """Kills the server as a power cut would, and starts it again."""
        await self.close()
        self.end(signal.SIGKILL)
        self.start()

    async def close(self) -> None:
        """Closes the clients."""
        while self._clients:
            await self._clients.pop().aclose()

    def client(self, user: str = "") -> LangGraphClient:
        """The stock client."""
        headers = {"authorization": f"Bearer {user}"} if user else None
        self._clients.append(get_client(url=self.url, api_key=None, headers=headers))
        return self._clients[-1]

    def get(self, path: str, user: str = "") -> httpx.Response:
        """A plain request."""
        headers = {"authorization": f"Bearer {user}"} if user else {}
        return httpx.get(self.url + path, headers=headers, timeout=30)


class Reference(Application):
    """The same by `langgraph dev`, which keeps nothing that a kill would spare."""

    mortal = False

    async def restart(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def _threadline(folder: Path) -> Iterator[Application]:
    application = Application(folder)
    application.start()
    try:
        yield application
    finally:
        application.end(signal.SIGTERM)


@contextlib.contextmanager
def _reference(folder: Path) -> Iterator[Application]:
    if not LANGGRAPH.exists():
        reason = "langgraph-cli[inmem] is not installed: make test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with langgraph_dev(folder) as url:
        application = Reference(folder)
        application.url = url
        yield application


Serve = Callable[[str], Application]


THREADLINE = pytest.param(_threadline, id="threadline")
REFERENCE = pytest.param(_reference, id="langgraph-dev")


@pytest.fixture(params=[THREADLINE, REFERENCE])
async def serve(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Serve]:
    """Serves a project by its name."""
    async with contextlib.AsyncExitStack() as stack:

        def served(name: str) -> Application:
            folder = tmp_path / name
            shutil.copytree(PROJECTS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
            application: Application = stack.enter_context(request.param(folder))
            stack.push_async_callback(application.close)
            return application

        yield served
