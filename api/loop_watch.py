"""The loop watch: a thread that notices when something blocks the event loop, and says what.

    thread ──"are you there?"──> loop ──"yes"──> thread
       └── no answer in time: logs the loop's stack, once, and how long it took when the answer comes

What blocks the loop is synchronous code in an asynchronous node, most often: LangGraph runs synchronous nodes in
threads, where they block nobody. Leases are held meanwhile, and all streams go on afterwards.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

logger = logging.getLogger(__name__)

_MAX_NAMED = 5
"""Runs that a message names."""


class LoopWatch:
    """Watches the event loop that runs when it starts.

    Args:
        seconds: without an answer that are a stall; also between two questions.
        running: ids of the runs that execute now; called on the thread.
    """

    def __init__(self, seconds: float, running: Callable[[], Sequence[str]]) -> None:
        self._seconds = seconds
        self._running = running
        self._ended = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="threadline-loop-watch", daemon=True)

    def start(self) -> None:
        """Begins to watch; called on the loop's thread."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; called on the loop's thread."""
        self._ended.set()
        self._answered.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            asked = time.perf_counter()
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(self._seconds) and not self._ended.is_set():
                self._report(asked)

    def _report(self, asked: float) -> None:
        runs = self._running()
        named = ", ".join(runs[:_MAX_NAMED]) or "none"
        logger.error(
            "the event loop has been blocked for %.1f s; runs under way: %s%s; it is at\n%s",
            time.perf_counter() - asked,
            named,
            "" if len(runs) <= _MAX_NAMED else f" and {len(runs) - _MAX_NAMED} more",
            _stack(sys._current_frames().get(self._loop_thread)),
        )
        self._answered.wait()
        if not self._ended.is_set():
            logger.warning("the event loop was blocked for %.1f s", time.perf_counter() - asked)


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame)) if frame is not None else "an unknown place\n"
