"""`threadline serve --reload`: the server in a process of its own, started again when a file of the project changes.

files change ──> Reloader ──> a new process ──loads──> serves
                                            └─cannot──> answers 503 until a file changes
"""

import functools
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import typer
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.supervisors import ChangeReload

from api.errors import ConfigError, NotLoadedError
from api.registry import read_config, read_project
from api.responses import refuse

logger = logging.getLogger(__name__)

Serve = Callable[[list[socket.socket]], None]


def supervise(config: Path, serve: Serve, listener: socket.socket) -> None:
    """Serves, and starts again whenever a file changes, until a signal ends it.

    Args:
        config: langgraph.json, which says where the files are.
        serve: serves on bound sockets, in a process of its own; ends with a message if it cannot.
        listener: the socket, which stays open meanwhile.
    """
    folders, names = watched(config)
    # Watches only for an app that it is to import; what is called is `target`.
    app = f"{__name__}:_unavailable"
    supervised = uvicorn.Config(
        app, log_config=None, reload=True, reload_dirs=folders, reload_includes=["*.py", *names]
    )
    Reloader(supervised, target=functools.partial(_attempt, serve), sockets=[listener]).run()


def watched(config: Path) -> tuple[list[str], list[str]]:
    """What a change in means another server: folders, and the names of files in them besides modules.

    Args:
        config: langgraph.json; while it cannot be read, its own folder is all that is known.
    """
    root = config.resolve().parent
    folders, names = {root}, [config.name]
    try:
        document, project = read_config(config), read_project(config)
    except ConfigError:
        return [str(root)], names
    folders.update(project.roots)
    if isinstance(env := document.get("env"), str):
        folders.add((root / env).parent)
        names.append(Path(env).name)
    sections = [*document["graphs"].values(), document.get("auth"), (document.get("http") or {}).get("app")]
    for section in sections:
        spec = section.get("path") if isinstance(section, dict) else section
        if isinstance(spec, str) and "/" in spec:
            folders.add((root / spec.rpartition(":")[0]).parent)
    return sorted({str(folder.resolve()) for folder in folders if folder.is_dir()}), names


class Reloader(ChangeReload):  # type: ignore[misc,valid-type]  # uvicorn chooses it by what is installed
    """Uvicorn's, with an answer for requests that come after the process has died.

    Args:
        config: says what is watched.
        target: serves, in a process of its own.
        sockets: what it serves on.
    """

    def __init__(self, config: uvicorn.Config, target: Serve, sockets: list[socket.socket]) -> None:
        super().__init__(config, target, sockets)
        self.target: Serve = target
        self._serve = target

    def should_restart(self) -> list[Path] | None:
        """What has changed; None if nothing has."""
        changes: list[Path] | None = super().should_restart()
        if not changes and not self.process.is_alive():
            logger.error("the server's process has ended")
            self.target = unavailable
            self.restart()
            self.target = self._serve
        return changes


def _attempt(serve: Serve, sockets: list[socket.socket]) -> None:
    try:
        serve(sockets)
    except SystemExit as exc:
        if not exc.code:
            raise
        unavailable(sockets)
    except Exception:
        logger.exception("the server failed")
        unavailable(sockets)


def unavailable(sockets: list[socket.socket]) -> None:
    """Answers every request with 503, until a signal ends it."""
    typer.echo("Requests are answered with 503 until a file changes.", err=True)
    config = uvicorn.Config(
        _unavailable, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets)


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    error = NotLoadedError("What this server serves cannot be loaded now; its log says why.", retry_after=1)
    await refuse(error, scope, receive, send)
