"""Both servers as processes of their own: `langgraph dev`, the reference, and Threadline.

command ──Popen──> lines of its output ──the line that says it is ready──> its URL; all of it ends with the block
"""

import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

SCRIPTS = Path(sysconfig.get_path("scripts"))
LANGGRAPH = SCRIPTS / "langgraph"

_START_SECONDS = 90


@contextlib.contextmanager
def langgraph_dev(folder: Path) -> Iterator[str]:
    """Serves a folder that has a langgraph.json with the reference; yields the URL.

    Raises:
        RuntimeError: it did not start; the end of its output is the message.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ("--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port), "--n-jobs-per-worker", "10")
    url = f"http://127.0.0.1:{port}"
    with _running((str(LANGGRAPH), "dev", *options), folder, "Application started up"):
        # It says so before it listens, and says nothing then.
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            client.get(f"{url}/ok").raise_for_status()
        yield url


@contextlib.contextmanager
def threadline(folder: Path) -> Iterator[str]:
    """Serves the same with Threadline; yields the URL.

    Raises:
        RuntimeError: it did not start; the end of its output is the message.
    """
    command = (str(SCRIPTS / "threadline"), "serve", "--port", "0", "--config", "langgraph.json")
    with _running(command, folder, r"is ready: (?P<url>\S+)") as ready:
        yield ready["url"]


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path, ready: str) -> Iterator[re.Match[str]]:
    environment = {**os.environ, "LANGSMITH_TRACING": "false", "PYTHONWARNINGS": ""}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        output = _Output(process, ready)
        try:
            yield output.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            output.join()


class _Output(threading.Thread):
    """Reads what a process writes, for as long as it writes, and keeps the end of it."""

    def __init__(self, process: subprocess.Popen[str], ready: str) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._ready = re.compile(ready)
        self._found: re.Match[str] | None = None
        self._settled = threading.Event()
        self._lines: collections.deque[str] = collections.deque(maxlen=100)
        self.start()

    def run(self) -> None:
        """Reads to the end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if self._found is None and (found := self._ready.search(line)):
                self._found = found
                self._settled.set()
        self._settled.set()

    def wait(self) -> re.Match[str]:
        """The line that says that the server is ready."""
        self._settled.wait(_START_SECONDS)
        if self._found is None:
            raise RuntimeError(f"the server did not start:\n{''.join(self._lines)}")
        return self._found
