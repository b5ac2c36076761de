"""A run in this process: the service without its HTTP, on a folder of its own unless the thread is to be kept."""

import contextlib
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from api.app import Threadline
from api.cli.ask import AskError
from api.cli.environment import read_settings
from api.errors import NotFoundError, ThreadlineError
from api.protocols.native import AgentRequest, ndjson_lines
from api.settings import Settings


class LocalRun:
    """A run that lives as long as its events are read.

    Args:
        config: the langgraph.json that names the agent.
        agent: its name.
        body: of the native API's request.
        keep: whether its thread stays, in the folder that the settings name.
    """

    def __init__(self, config: Path, agent: str, body: dict[str, Any], *, keep: bool) -> None:
        self._config = config
        self._agent = agent
        self._body = body
        self._keep = keep
        self._begun: tuple[Threadline, str] | None = None

    async def events(self) -> AsyncGenerator[bytes]:
        """Begins the run; its events to the last.

        Raises:
            AskError: the agent cannot be loaded, or refuses the request.
        """
        try:
            with contextlib.ExitStack() as stack:
                async with Threadline(self._settings(stack)) as threadline:
                    request = await threadline.agents.request(self._agent, AgentRequest(**self._body))
                    run = await threadline.runs.create(request)
                    self._begun = threadline, run.run_id
                    async for batch in threadline.runs.follow(run.run_id):
                        for event in batch:
                            yield ndjson_lines((event,))
        except ThreadlineError as exc:
            raise AskError(exc.message) from exc
        except OSError as exc:
            raise AskError(f"The data cannot be kept: {exc}.") from exc

    async def cancel(self) -> bool:
        """Stops the run; False if it has not begun."""
        if self._begun is None:
            return False
        threadline, run_id = self._begun
        with contextlib.suppress(NotFoundError):  # it has ended
            await threadline.runs.cancel(run_id)
        return True

    def _settings(self, stack: contextlib.ExitStack) -> Settings:
        folder = None if self._keep else stack.enter_context(tempfile.TemporaryDirectory(prefix="threadline-"))
        data_dir: dict[str, Any] = {} if folder is None else {"data_dir": Path(folder)}
        # Nobody is left to read what a run does after its reader: it has no time to go on.
        return read_settings(config=self._config, shutdown_grace=0, **data_dir)
