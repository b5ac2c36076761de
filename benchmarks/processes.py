"""The processes that are measured: started fresh, watched through /proc, ended whatever happens."""

import asyncio
import collections
import contextlib
import os
import re
import resource
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import LoadError, together

ROOT = Path(__file__).resolve().parent.parent

_URL = re.compile(rb"http://[\w.]+:(\d+)")
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")
_OPEN_FILES = 8192
_LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens on a loopback port."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, to the kernel's tick (10 ms)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        """Its memory in RAM."""
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024


Start = tuple[Sequence[str], Mapping[str, str]] | tuple[Sequence[str], Mapping[str, str], Path]
"""The command that starts a server, what its environment has besides this process's, and where it runs."""


def service(config: Path, settings: Mapping[str, str] | None = None) -> Start:
    """The service, as its users start it.

    Args:
        config: the langgraph.json to serve.
        settings: by their names in `Settings`.
    """
    command = [str(Path(sys.executable).with_name("threadline")), "serve", "--port", "0", "--config", str(config)]
    return command, {f"THREADLINE_{name.upper()}": value for name, value in (settings or {}).items()}


def bare(environment: Mapping[str, str] | None = None) -> Start:
    """The bare server, under uvicorn as well."""
    factory = "benchmarks.bare:create_app"
    return [sys.executable, "-m", "uvicorn", factory, "--factory", "--port", "0", "--no-access-log"], environment or {}


def raise_open_files() -> None:
    """Lets this process and those that it starts open as many files as thousands of streams need, if they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES and soft != resource.RLIM_INFINITY:
        limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@contextlib.asynccontextmanager
async def running(command: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT) -> AsyncIterator[Server]:
    """Starts a server, waits until it says where it listens, and stops it at the end.

    Raises:
        LoadError: it ended before it listened, or what is done with it failed; the message has its last lines.
        TimeoutError: it did not listen in time.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=_environment(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    port: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    last: collections.deque[bytes] = collections.deque(maxlen=_LAST_LINES)
    reading = asyncio.create_task(_read(process.stdout, port, last))
    try:
        async with asyncio.timeout(_START_SECONDS):
            listening = await port
        if listening is None:
            raise LoadError("the server ended before it listened")
        yield Server(process.pid, listening)
    except LoadError as error:
        raise LoadError(f"{error}\nthe server's last lines:\n{b''.join(last).decode(errors='replace')}") from error
    finally:
        await _stop(process)
        await reading


@contextlib.asynccontextmanager
async def all_running(*starts: Start) -> AsyncIterator[list[Server]]:
    """Starts servers side by side.

    Raises:
        LoadError: as `running`.
        TimeoutError: as `running`.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield await together(stack.enter_async_context(running(*start)) for start in starts)


async def output_of(command: Sequence[str], environment: Mapping[str, str], seconds: float) -> bytes:
    """Runs a command to its end and returns what it printed.

    Raises:
        LoadError: it failed.
        TimeoutError: it took too long.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=_environment(environment), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            printed, _ = await process.communicate()
    finally:
        await _stop(process)
    if process.returncode:
        raise LoadError(f"{command[2]} failed with status {process.returncode}")
    return printed


def _environment(further: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what would make a server another one."""
    own = ("THREADLINE_", "OPENAI_", "LANGSMITH_", "LANGCHAIN_", "OTEL_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    fixed = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    return {**inherited, **fixed, **further}


async def _read(lines: asyncio.StreamReader, port: asyncio.Future[int | None], last: collections.deque[bytes]) -> None:
    """Reads to the end, so that the server never waits for its reader; the port is None if it names none."""
    async for line in lines:
        last.append(line)
        if not port.done() and (found := _URL.search(line)):
            port.set_result(int(found[1]))
    if not port.done():
        port.set_result(None)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
