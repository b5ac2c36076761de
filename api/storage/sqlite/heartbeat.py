"""The heartbeat: extends leases from a thread of its own, so that an event loop that is blocked loses none."""

import threading
from collections.abc import Callable
from typing import Self


class Heartbeat:
    """Beats from `with` to its end.

    Args:
        beat: extends the leases; called on the thread, must not wait for the event loop.
        seconds: between two beats.
        busy: whether there is a lease to extend; called on the thread.
    """

    def __init__(self, beat: Callable[[], None], seconds: float, busy: Callable[[], bool]) -> None:
        self._beat = beat
        self._seconds = seconds
        self._busy = busy
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="threadline-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            if self._busy():
                self._beat()
