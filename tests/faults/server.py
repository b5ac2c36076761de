"""A real server in a process of its own, in a project folder that outlives it."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

from tests.faults.clock import wrong_by
from tests.faults.traces import Traces

_READY_SECONDS = 60.0
_GRACE = 5.0
ROOT = Path(__file__).parents[2]


class Project:
    """A folder with a langgraph.json, the data of its servers and the traces of its runs.

    Args:
        folder: empty.
        settings: THREADLINE_ variables without their prefix.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.data = folder / ".threadline"
        self.traces = Traces()
        self.clock = 0.0
        """By how many seconds the clock of a server that starts is wrong."""
        self.descriptors = 0
        """How many files and sockets a server that starts may have open; 0: as many as the tests."""
        document = {
            "graphs": {"faults": f"{ROOT / 'tests' / 'faults' / 'graphs.py'}:graph"},
            "webhooks": {"url": {"require_https": False, "disable_loopback": False}},
        }
        (folder / "langgraph.json").write_text(json.dumps(document))
        given = {"LEASE_SECONDS": 30, "SHUTDOWN_GRACE": _GRACE, "HEARTBEAT_INTERVAL": 1, **settings}
        unwanted = ("THREADLINE_", "OPENAI_", "LANGSMITH_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        ours = {f"THREADLINE_{name}": str(value) for name, value in given.items()}
        self.environment = {**kept, **ours, "FAULTS_TRACES": str(self.traces.writing), "PYTHONPATH": str(ROOT)}


class Server:
    """`threadline serve` on a port that it keeps over restarts.

    Args:
        project: what it serves.
        name: of its log in the project's folder.
    """

    def __init__(self, project: Project, name: str = "server") -> None:
        self._project = project
        self.log = project.folder / f"{name}.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.address = ("127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None
        self._copied = threading.Event()
        """Set when all that the process has said is in the log."""

    async def launch(self) -> None:
        """Starts the process, and does not wait until it is ready."""
        command = self._command()
        # Not the file itself: the process may be forbidden to write it.
        reading, writing = os.pipe()
        self._copied = threading.Event()
        copied = (reading, self.log, self._copied)
        threading.Thread(target=_copy, args=copied, name="faults-log", daemon=True).start()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._project.folder,
                env={**self._project.environment, **wrong_by(self._project.clock)},
                stdout=asyncio.subprocess.PIPE,
                stderr=writing,
                pass_fds=(self._project.traces.writing,),
            )
        finally:
            os.close(writing)

    def _command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("threadline"))
        config = str(self._project.folder / "langgraph.json")
        command = [program, "serve", "--port", str(self._port), "--config", config]
        if self._project.descriptors:
            return ["sh", "-c", f'ulimit -n {self._project.descriptors}; exec "$@"', "sh", *command]
        return command

    async def start(self) -> None:
        """Starts the process; returns when it answers.

        Raises:
            RuntimeError: it ended instead.
        """
        await self.launch()
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            while line := await self._process.stdout.readline():
                if re.search(rb"is ready: http", line):
                    return
        raise RuntimeError(f"the server did not start: {self.log.read_text()[-2000:]}")

    async def refuse(self, why: str) -> None:
        """Starts the process, which is to say why it does not, and to end.

        Raises:
            RuntimeError: it started, or said something else.
        """
        said = self.log.stat().st_size
        await self.launch()
        assert self._process is not None
        async with asyncio.timeout(_READY_SECONDS):
            output, _ = await self._process.communicate()
            while why not in (message := self.log.read_bytes()[said:].decode()) and not self._copied.is_set():
                await asyncio.to_thread(self._copied.wait)
        if self._process.returncode == 0 or b"is ready" in output or why not in message:
            raise RuntimeError(f"the server did not refuse to start: {message}")

    async def kill(self) -> None:
        """Ends the process as a power cut would."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> None:
        """Ends the process as an orchestrator does.

        Raises:
            TimeoutError: it takes longer than its grace time and a little.
        """
        async with asyncio.timeout(_GRACE + 10):
            await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self.runs:
            self.send(number)
            await self.ended()

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, and does not wait for what it does."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> None:
        """Returns when the process has ended."""
        assert self._process is not None
        await self._process.communicate()

    def limit_files(self, size: int) -> None:
        """No file of the process may grow over a size from now on; -1 lifts that."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _copy(reading: int, log: Path, copied: threading.Event) -> None:
    """Appends what a process says to its log, until it has ended."""
    with os.fdopen(reading, "rb", buffering=0) as said, log.open("ab", buffering=0) as file:
        while text := said.read(65536):
            with contextlib.suppress(OSError):  # its disk may be full
                file.write(text)
    copied.set()
