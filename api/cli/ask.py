"""`threadline ask`: one question, from its run's events to the terminal.

    LocalRun | RemoteRun ──lines of NDJSON──> View ──> stdout, stderr
              ^── cancel ── Ctrl-C

Ctrl-C cancels the run and goes on reading until it has ended; a second one ends the process at once.
"""

import asyncio
import contextlib
import json
import logging
import shlex
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import typer

from api.cli import ExitCode
from api.cli.terminal import Event, JsonView, TextView, View, fail


@dataclass(frozen=True)
class AskOptions:
    """What the command line says."""

    body: dict[str, Any]
    """Of the native API's request."""
    agent: str
    url: str | None
    """None runs the agent in this process."""
    api_key: str | None = field(repr=False)
    """For the server at `url`."""
    config: Path
    keep: bool
    """Whether the thread is to outlive the process."""
    as_json: bool
    debug: bool


class AskError(Exception):
    """The question cannot be asked, or its run not be followed; the message is meant for the user."""


class AskedRun(Protocol):
    """A run that is begun by reading its events."""

    def events(self) -> AsyncGenerator[bytes]:
        """Begins the run; its native events, each a line of NDJSON, to the last.

        Raises:
            AskError: the run cannot be begun or followed.
        """

    async def cancel(self) -> bool:
        """Stops the run; False if it has not begun.

        Raises:
            AskError: nobody knows whether it stopped.
        """


def ask(options: AskOptions) -> ExitCode:
    """Asks, and shows what happens.

    Returns:
        The code to exit with.

    Raises:
        SystemExit: the run could not be begun or followed; a message is on stderr.
    """
    logging.basicConfig(level=logging.INFO if options.debug else logging.CRITICAL)
    try:
        return asyncio.run(_ask(options))
    except AskError as exc:
        fail(str(exc))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        return ExitCode.CANCELLED


async def _ask(options: AskOptions) -> ExitCode:
    with _view(options) as view:
        code = await _Asking(_run(options, view.status), view).answer()
    if code is ExitCode.CANCELLED:
        typer.echo("cancelled", err=True)
    elif code is ExitCode.FAILED and options.url is None and not options.debug:
        typer.echo("--debug shows the log.", err=True)
    return code


def _run(options: AskOptions, on_status: Callable[[str], None]) -> AskedRun:
    if options.url is not None:
        from api.cli.remote import RemoteRun

        return RemoteRun(options.url, options.agent, options.body, on_status, api_key=options.api_key)
    from api.cli.local import LocalRun

    return LocalRun(options.config, options.agent, options.body, keep=options.keep)


def _view(options: AskOptions) -> View:
    if options.as_json:
        return JsonView()
    lasting = options.keep or options.url is not None
    return TextView(
        resume_command=(lambda thread_id: _resume_command(options, thread_id)) if lasting else None,
        thread_matters=options.keep and "thread_id" not in options.body,
        spinner=not options.debug,
    )


def _resume_command(options: AskOptions, thread_id: str) -> str:
    where = ["--config", str(options.config)] if options.url is None else ["--url", options.url]
    command = ["threadline", "ask", "--agent", options.agent, *where, "--thread", thread_id, "--resume"]
    return f"{shlex.join(command)} JSON"


class _Asking:
    """Reads a run to its end, and cancels it when the user says so.

    Args:
        run: the run.
        view: shows it.
    """

    def __init__(self, run: AskedRun, view: View) -> None:
        self._run = run
        self._view = view
        self._status = ""
        self._waiting = False
        self._cancelling: asyncio.Task[None] | None = None

    async def answer(self) -> ExitCode:
        """How the run ended.

        Raises:
            AskError: the run cannot be begun or followed.
        """
        reading = asyncio.create_task(self._read())
        with _on_interrupt(lambda: self._stop(reading)):
            try:
                await reading
            except asyncio.CancelledError:
                if self._cancelling is None:
                    raise
            if self._cancelling is not None:
                await self._cancelling
        return self._code()

    async def _read(self) -> None:
        async with aclosing(self._run.events()) as lines:
            async for line in lines:
                event = json.loads(line)
                self._note(event)
                self._view.show(line, event)

    def _note(self, event: Event) -> None:
        match event["event"]:
            case "interrupt":
                self._waiting = True
            case "end":
                self._status = event["data"]["status"]

    def _stop(self, reading: asyncio.Task[None]) -> None:
        self._view.cancelling()
        self._cancelling = asyncio.create_task(self._cancel(reading))

    async def _cancel(self, reading: asyncio.Task[None]) -> None:
        """The reader sees the run end; without a run, or a server that answers, there is nothing to read."""
        try:
            begun = await self._run.cancel()
        except AskError:
            reading.cancel()
            raise
        if not begun:
            reading.cancel()

    def _code(self) -> ExitCode:
        if self._status == "success":
            return ExitCode.WAITING if self._waiting else ExitCode.ANSWERED
        return ExitCode.FAILED if self._cancelling is None else ExitCode.CANCELLED


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at the first Ctrl-C; the second one interrupts, even if the event loop is held up."""
    loop = asyncio.get_running_loop()
    pressed = False

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        loop.call_soon_threadsafe(stop)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
