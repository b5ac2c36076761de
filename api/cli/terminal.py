"""The terminal: shows a run's events as they come. The answer goes to stdout, everything else to stderr.

    tool calls, results, progress ──> stderr
    the answer ──> stdout: token by token on a terminal; whole elsewhere, as only then is it known to be the answer

What a model or a tool wrote cannot move the cursor or pass for markup: control characters are removed.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MAX_SHOWN = 400
"""Characters of a tool's arguments or result; the run's events have all of them."""

Event = dict[str, Any]
"""A native event: `{"event", "id", "data"}`."""


def plain(text: str) -> str:
    """Text without control characters and escape sequences; line breaks and tabs stay."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def fail(message: str) -> NoReturn:
    """Ends the process with a message on stderr.

    Raises:
        SystemExit: with code 1.
    """
    typer.echo(f"Error: {plain(message)}", err=True)
    raise SystemExit(1)


class View(Protocol):
    """Shows a run."""

    def show(self, line: bytes, event: Event) -> None:
        """Shows an event.

        Args:
            line: as it is on the wire.
            event: what it says.
        """

    def status(self, label: str) -> None:
        """Says what is being waited for."""

    def cancelling(self) -> None:
        """Says that the user stops the run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class JsonView:
    """Writes the events as they are, one JSON object a line; a failure also shows on stderr."""

    def __init__(self) -> None:
        self._cancelling = False

    def show(self, line: bytes, event: Event) -> None:
        """Writes the event."""
        sys.stdout.buffer.write(line.rstrip(b"\n") + b"\n")
        sys.stdout.buffer.flush()
        if event["event"] == "error" and not self._cancelling:
            typer.echo(f"Error: {plain(event['data']['message'])}", err=True)

    def status(self, label: str) -> None:
        """Machines wait in silence."""

    def cancelling(self) -> None:
        """What follows is not a failure."""
        self._cancelling = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Spinner:
    """A line at the bottom of a terminal: what is being waited for, and for how long.

    Args:
        console: where; nothing shows if that is not a terminal.
        redirect: whether what others print to stdout goes above the line.
    """

    def __init__(self, console: Console, *, redirect: bool) -> None:
        self._console = console
        self._redirect = redirect
        self._label = ""
        self._since = 0.0
        self._live: Live | None = None

    def start(self, label: str) -> None:
        """Shows the line; the seconds start anew with another label."""
        if not self._console.is_terminal:
            return
        if label != self._label:
            self._label, self._since = label, time.monotonic()
        if self._live is None:
            self._live = Live(
                self, console=self._console, transient=True, refresh_per_second=8, redirect_stdout=self._redirect
            )
            self._live.start()

    def stop(self) -> None:
        """Removes the line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self._since
        return Text(f"{_FRAMES[int(seconds * 8) % len(_FRAMES)]} {self._label}… {seconds:.0f} s", style="dim")


class TextView:
    """Shows a run to a person.

    Args:
        resume_command: how to answer an interrupt on a thread; None if the thread does not outlive the process.
        thread_matters: whether the user asked for the thread's id.
        spinner: whether progress shows while nothing comes.
    """

    def __init__(
        self,
        *,
        resume_command: Callable[[str], str] | None = None,
        thread_matters: bool = False,
        spinner: bool = True,
    ) -> None:
        self._out = sys.stdout
        self._tty = self._out.isatty()
        self._err = Console(stderr=True, highlight=False)
        self._spinner = Spinner(self._err, redirect=self._tty) if spinner else None
        self._resume_command = resume_command
        self._thread_matters = thread_matters
        self._began = time.monotonic()
        self._thread_id = ""
        self._running: dict[str, str] = {}
        self._shown: list[str] = []
        self._cancelling = False

    def __enter__(self) -> Self:
        self.status("starting")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop_spinner()
        self._break_line()

    def status(self, label: str) -> None:
        """Shows what is being waited for, unless an answer is being written."""
        if self._spinner is not None and not (self._tty and self._shown):
            self._spinner.start(plain(label))

    def cancelling(self) -> None:
        """Shows that the run is being stopped."""
        self._cancelling = True
        self._stop_spinner()
        self._break_line()
        self.status("cancelling")

    def show(self, line: bytes, event: Event) -> None:
        """Shows an event."""
        self._stop_spinner()
        data = event["data"]
        match event["event"]:
            case "run":
                self._begin(data)
            case "tool_call":
                self._tool_call(data)
            case "tool_result":
                self._tool_result(data)
            case "token":
                self._token(data["text"])
            case "custom":
                self._line(f"· {_brief(data['data'])}", "dim")
            case "interrupt":
                self._interrupt(data)
            case "answer":
                self._answer(data)
            case "error" if not self._cancelling:
                self._line(f"Error: {data['message']}", "red")
        if event["event"] not in ("answer", "error", "end"):
            self._wait()

    def _begin(self, data: Event) -> None:
        self._thread_id = data["thread_id"]
        if attempt := data.get("attempt"):
            self._line(f"The run was cut off and goes on (attempt {attempt}).", "dim")
        elif self._thread_matters:
            self._line(f"thread: {self._thread_id}", "dim")

    def _tool_call(self, data: Event) -> None:
        self._running[data["id"]] = data["name"]
        arguments = ", ".join(f"{name}={_json(value)}" for name, value in data["args"].items())
        self._line(f"→ {data['name']}({_brief(arguments)})", "cyan")

    def _tool_result(self, data: Event) -> None:
        name = self._running.pop(data["id"], data["name"])
        if data["status"] == "error":
            self._line(f"✗ {name}: {_brief(data['content'])}", "red")
        else:
            self._line(f"← {name}: {_brief(data['content'])}", "green")

    def _token(self, text: str) -> None:
        if not self._tty:
            return
        self._shown.append(text)
        self._write(text)

    def _answer(self, data: Event) -> None:
        answer = data["answer"]
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2)
        shown = "".join(self._shown)
        if not text.startswith(shown):
            self._break_line()
            shown = ""
        self._write(text[len(shown) :] + "\n")
        self._shown.clear()
        if self._err.is_terminal:
            self._line(self._summary(data.get("usage")), "dim")

    def _summary(self, usage: dict[str, int] | None) -> str:
        parts = [f"{time.monotonic() - self._began:.1f} s"]
        if usage:
            parts.append(f"{usage['total_tokens']} tokens")
        if self._resume_command is not None:
            parts.append(f"thread {self._thread_id}")
        return " · ".join(parts)

    def _interrupt(self, data: Event) -> None:
        self._line(f"The agent waits for an answer: {_json(data['value'])}", "yellow")
        if self._resume_command is None:
            self._line("To be able to give it, ask again with --thread new.")
        else:
            self._line(f"Answer with: {self._resume_command(self._thread_id)}")

    def _wait(self) -> None:
        if self._cancelling:
            self.status("cancelling")
        elif self._running:
            self.status(f"running {', '.join(dict.fromkeys(self._running.values()))}")
        else:
            self.status("thinking")

    def _stop_spinner(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    def _line(self, text: str, style: str = "") -> None:
        self._break_line()
        self._err.print(Text(plain(text), style=style), soft_wrap=True)

    def _break_line(self) -> None:
        """Ends the line of text that was no answer: a call follows it, or the run ended before."""
        if self._shown:
            self._write("\n")
            self._shown.clear()

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(plain(text).encode(encoding, "replace").decode(encoding))
        self._out.flush()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _brief(value: object) -> str:
    """A value on one line, cut where it gets long."""
    text = " ".join((value if isinstance(value, str) else _json(value)).split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
