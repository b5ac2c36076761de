"""Turns: those who do much work in the event loop share it with those who do little."""

import asyncio

_SLICE_SECONDS = 0.005
"""That those who take turns may have of the loop, all together, before others have it."""


class Turns:
    """Whoever is about to do a part of much work takes a turn first."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._until = 0.0

    async def take(self) -> None:
        """Returns at once while the slice lasts; then when all else in the loop has had a round, one by one."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            return
        async with self._lock:
            if loop.time() >= self._until:
                await asyncio.sleep(0)
                self._until = loop.time() + _SLICE_SECONDS
