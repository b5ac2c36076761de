"""`threadline serve`: the service under uvicorn, on a socket that is bound before anything is loaded.

    socket ──> uvicorn ──startup──> the app's lifespan ──> listening ──> says what is served, and where

The lifespan is entered by the server's own `startup`, so that a config that cannot be used is one message.
"""

import asyncio
import contextlib
import errno
import faulthandler
import functools
import gc
import logging
import math
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from urllib.parse import quote, urlsplit

import typer
import uvicorn
from fastapi import FastAPI

from api.app import Threadline, create_app
from api.cli.descriptors import share
from api.cli.environment import read_settings, unknown_settings
from api.cli.http_protocol import limited
from api.cli.reload import supervise
from api.cli.terminal import fail, plain
from api.errors import ThreadlineError
from api.logs import configure
from api.settings import Settings
from api.web_origins import is_loopback

_FORCED_SECONDS = 2.0
"""After a second signal; a killed server loses nothing either."""
_BLOCKED_SECONDS = 3.0
"""Beyond the time that graphs have to end their superstep, until a server whose event loop is blocked is ended."""
_ONE_SIGNAL_SECONDS = 0.3
"""Signals that come together are one: a terminal tells every process of a group, and a supervisor its child again."""

logger = logging.getLogger(__name__)

_QUESTION = '{"input": "What is (3 + 4) * 5 ** 2?"}'


@dataclass(frozen=True)
class ServeOptions:
    """What the command line says."""

    config: Path
    host: str
    port: int
    reload: bool
    access_log: bool


class Server(uvicorn.Server):
    """A uvicorn server that runs the app's lifespan itself and tells when it listens.

    Args:
        config: with `lifespan="off"`.
        app: the app that `config` serves.
        settings: the app's own.
        on_ready: called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._on_ready = on_ready
        self._lifespan = contextlib.AsyncExitStack()
        self._forced = asyncio.Event()
        self._told_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Enters the lifespan, then listens.

        Raises:
            ThreadlineError: langgraph.json, a graph that it names, or the storage cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._app.router.lifespan_context(self._app))
            await super().startup(sockets)
            self._lifespan = stack.pop_all()
        _settle_memory()
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops listening, drains the runs and then the streams that read them, and leaves the lifespan."""
        if not self.force_exit:
            faulthandler.cancel_dump_traceback_later()
        draining = asyncio.create_task(self._drain())
        try:
            await super().shutdown(sockets)
        finally:
            await draining
            # Whatever still runs has had its time.
            self._settings.shutdown_grace = 0.0
            await self._lifespan.aclose()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, unless the event loop is blocked; the second one ends at once."""
        now = time.monotonic()
        if not self.should_exit:
            self._told_at = now
            super().handle_exit(sig, frame)
            _end_after(self._settings.shutdown_grace + _BLOCKED_SECONDS)
        if now - self._told_at < _ONE_SIGNAL_SECONDS:
            return
        self.force_exit = True
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            asyncio.get_running_loop().call_soon_threadsafe(self._forced.set)
        _end_after(_FORCED_SECONDS)

    async def _drain(self) -> None:
        threadline: Threadline = self._app.state.threadline
        draining = asyncio.create_task(threadline.drain(self._settings.shutdown_grace))
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait((draining, forced), return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, forced):
            task.cancel()
        await asyncio.gather(draining, forced, return_exceptions=True)
        await threadline.drain(0)


def _end_after(seconds: float) -> None:
    """Ends the process then, and says where it was, unless that is cancelled.

    It needs no Python to run: a regular expression, say, may hold the interpreter for hours.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)


class _WithoutCuts(logging.Filter):
    """Leaves out the stack traces of streams that were cut because the server ends: uvicorn counts them in a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and record.exc_info[0] is asyncio.CancelledError)


def serve(options: ServeOptions) -> None:
    """Serves until it is told to stop.

    Raises:
        SystemExit: it cannot; a message is on stderr.
    """
    # With --reload, what langgraph.json sets in the environment is for each process anew: files change.
    _configure_logging(_settings(options, apply=not options.reload))
    listener = _bind(options.host, options.port)
    run = functools.partial(_run, options)
    with listener, contextlib.suppress(KeyboardInterrupt):
        if options.reload:
            supervise(options.config, run, listener)
        else:
            run([listener])


def _settle_memory() -> None:
    """What is loaded by now stays: the garbage collector need not walk it again, nor run as often as for a script.

    Messages and events are freed by their reference counts; collecting at Python's default pace takes an eighth of the
    time of a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


def _run(options: ServeOptions, sockets: list[socket.socket]) -> None:
    """Serves on bound sockets; with --reload, in a process of its own."""
    settings = _settings(options)
    _configure_logging(settings)
    for complaint in unknown_settings():
        logger.warning(complaint)
    try:
        descriptors = share(settings)
    except ThreadlineError as exc:
        fail(exc.message)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=options.host,
        lifespan="off",
        http=limited(settings, spare=descriptors.spare),
        backlog=descriptors.backlog,
        ws="websockets-sansio",
        log_config=None,
        access_log=options.access_log,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        # Streams end when the runs have been drained; this is for clients that do not read.
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace) + 1,
    )
    threadline: Threadline = app.state.threadline

    def ready() -> None:
        _announce(threadline, _url(options.host, sockets[0]) + threadline.http.prefix)

    server = Server(config, app, settings, ready)
    try:
        server.run(sockets)
    except (KeyboardInterrupt, SystemExit):
        if server.should_exit:
            raise
        # Nobody told it to end: whoever supervises it is to start it again.
        logger.critical("the event loop was ended by code that runs in it", exc_info=True)
        fail("The server was ended by code that runs in it.")
    except ThreadlineError as exc:
        fail(exc.message)
    except OSError as exc:
        fail(f"The server cannot start: {exc}.")


def _settings(options: ServeOptions, *, apply: bool = True) -> Settings:
    try:
        return read_settings(config=options.config, apply=apply, host=options.host)
    except ThreadlineError as exc:
        fail(exc.message)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            hint = "Choose another with --port, or with PORT= of make."
            fail(f"Port {port} is taken: something else listens on {host}:{port}. {hint}")
        fail(f"Cannot listen on {host}:{port}: {exc.strerror or exc}.")
    # Accepted connections inherit it; asyncio sets it itself only on sockets whose protocol is named.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    """Where a client on this machine reaches the server."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{listener.getsockname()[1]}"


def _announce(threadline: Threadline, url: str) -> None:
    """Says what is served, where, and how to try it."""
    entries = list(threadline.registry.entries.values())
    width = max(len(entry.graph_id) for entry in entries)
    lines = [f"Threadline {version('threadline')} is ready: {url}", f"API docs: {url}/docs", "", "Agents:"]
    lines += [f"  {entry.graph_id:<{width}}  {plain(entry.description or '')}".rstrip() for entry in entries]
    names = [entry.graph_id for entry in entries]
    first = "agent" if "agent" in names else names[0]
    lines += [
        "",
        _model(),
        f"Data is kept in {threadline.settings.storage_dir}",
        "",
        "Try it:",
        f"  curl -N -X POST {url}/agents/{quote(first, safe='')}/stream "
        f"-H 'content-type: application/json'{_key_header(threadline)} -d {shlex.quote(_QUESTION)}",
        "",
        "Ctrl-C stops it.",
    ]
    typer.echo("\n".join(lines))
    if threadline.authority is None:
        _tell_openness(str(threadline.settings.host))


def _key_header(threadline: Threadline) -> str:
    """What a caller has to show, where keys are asked for; what `auth.path` asks for is its own affair."""
    return " -H 'x-api-key: YOUR-KEY'" if threadline.settings.api_keys.get_secret_value() else ""


def _tell_openness(host: str) -> None:
    """Says who can use a server that asks nobody who they are."""
    if is_loopback(host):
        logger.info("there is no authentication: whoever is on this machine can use it")
    else:
        logger.warning("there is no authentication: whoever reaches %s can use it", host)


def _model() -> str:
    """What the environment says of the model; the graphs are free to use another."""
    base_url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
    if not base_url and not key:
        return "No OPENAI_API_KEY or OPENAI_BASE_URL is set: the bundled agent answers arithmetic offline."
    name = os.environ.get("OPENAI_MODEL") or "its default model"
    return f"The bundled agent uses {name} at {urlsplit(base_url or 'https://api.openai.com').hostname}."


def _configure_logging(settings: Settings) -> None:
    configure(settings.log_format, settings.log_level, _WithoutCuts())
