"""Aside: work that may hang, in a daemon thread: whoever waits for it can stop waiting, and so can the process."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def aside(work: Callable[[], object], name: str) -> asyncio.Future[None]:
    """Runs a function in a thread of its own; a failure is logged.

    Args:
        work: what to do.
        name: the thread's.

    Returns:
        Done when the function is.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not done.done():
            done.set_result(None)

    def main() -> None:
        try:
            work()
        except Exception:
            logger.exception("%s failed", name)
        # If the loop is closed, nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=main, name=name, daemon=True).start()
    return done
