"""The event loop's lag: how much later than asked for a timer runs, measured twice a second."""

import asyncio
from typing import Protocol

_INTERVAL = 0.5


class Observes(Protocol):
    """Takes a measurement; a Prometheus histogram is one."""

    def observe(self, amount: float) -> None:
        """Adds one."""


class LoopLag:
    """Measures the loop that it is started on; it changes nothing.

    Args:
        measurements: takes seconds.
    """

    def __init__(self, measurements: Observes) -> None:
        self._measurements = measurements
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to measure."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_INTERVAL, self._measure, loop, loop.time() + _INTERVAL)

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._measurements.observe(max(0.0, loop.time() - due))
        self.start()
