"""Tracing: what the executor tells of an attempt, whoever listens. `api.otel` does if it is configured."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from langchain_core.callbacks import BaseCallbackHandler

from api.errors import RunError
from api.schemas import EndStatus, Run
from api.tracker import RunTracker


class Trace(Protocol):
    """The trace of one attempt."""

    @property
    def handlers(self) -> Sequence[BaseCallbackHandler]:
        """To be called back by the run."""

    def ended(self, status: EndStatus, error: RunError | None, tracker: RunTracker) -> None:
        """Told how the attempt ended; if never, it goes back to the queue or was replaced."""


class Tracing(Protocol):
    """Traces runs."""

    def attempt(self, run: Run) -> contextlib.AbstractContextManager[Trace]:
        """The trace of an attempt, to be entered in the task that executes it."""


class Untraced:
    """Traces nothing, and costs nothing."""

    handlers: Sequence[BaseCallbackHandler] = ()

    def attempt(self, run: Run) -> contextlib.AbstractContextManager[Trace]:
        """Itself."""
        return contextlib.nullcontext(self)

    def ended(self, status: EndStatus, error: RunError | None, tracker: RunTracker) -> None:
        """Ignored."""
