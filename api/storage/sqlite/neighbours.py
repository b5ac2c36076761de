"""Neighbours: the processes that share a database file; who of them lives, and the wake-ups between them.

Each process has a named pipe beside the file, `<file>-processes/<id>`, and reads from it. Whoever writes to it wakes
its reader; a pipe that nobody reads belongs to a process that is dead, whatever has become of its process id since.
Each process also holds the writing end of every other's pipe: the kernel reports at once when its reader dies. So
nothing here polls, nothing outlives a kill, and it works between containers that share the folder (as SQLite's
write-ahead log does: on one machine).

A process that was forked from a dead one, and lives on, keeps its pipe: then the lease decides.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

_JOINED = b"j"
"""From a process that just came: its pipe is to be watched."""


class Neighbours:
    """The processes that share a database.

    Args:
        folder: where the pipes are; made if it does not exist.
        on_change: called on the loop with what the others said since the last time, a byte for each news.
        on_death: called on the loop when another process died.
    """

    def __init__(self, folder: Path, *, on_change: Callable[[bytes], None], on_death: Callable[[], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._on_death = on_death
        self._name = ""
        self._pipe = (-1, -1)
        self._others: dict[str, int] = {}
        """The writing ends of their pipes by name."""

    def open(self, name: str) -> None:
        """Makes this process known, and learns of the others.

        Args:
            name: of this process, unique for all time; a file name.

        Raises:
            OSError: the folder cannot be written, or its file system has no named pipes.
        """
        self._loop = asyncio.get_running_loop()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        hidden = self._folder / f".{name}"
        os.mkfifo(hidden, 0o600)
        reading = os.open(hidden, os.O_RDONLY | os.O_NONBLOCK)
        # An end of its own for writing: without any, reading would tell the end of the file again and again.
        self._pipe = (reading, os.open(hidden, os.O_WRONLY | os.O_NONBLOCK))
        # Seen by others only now that it has a reader.
        hidden.rename(self._folder / name)
        self._name = name
        self._loop.add_reader(reading, self._read)
        self._look_around()
        self.tell(_JOINED)

    def close(self) -> None:
        """Leaves: for the others that is no death."""
        if not self._name:
            return
        self._loop.remove_reader(self._pipe[0])
        for name in list(self._others):
            self._forget(name)
        for descriptor in self._pipe:
            os.close(descriptor)
        (self._folder / self._name).unlink(missing_ok=True)
        self._name = ""

    def tell(self, news: bytes) -> None:
        """Tells the others, at no cost if there are none.

        Args:
            news: a byte that says what changed, as their `on_change` knows it; not `j`.
        """
        for descriptor in self._others.values():
            # Full: then there is enough to wake it. Broken: its death is reported in a moment.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(descriptor, news)

    def is_alive(self, name: str) -> bool:
        """Whether the process with that name lives; as far as is known, if this one knows of no others."""
        if not self._name or name == self._name:
            return True
        descriptor = self._connect(name)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _read(self) -> None:
        try:
            news = os.read(self._pipe[0], 65536)
        except BlockingIOError:
            return
        if _JOINED in news:
            self._look_around()
        self._on_change(news)

    def _look_around(self) -> None:
        for path in self._folder.iterdir():
            name = path.name
            if name == self._name or name in self._others or name.startswith("."):
                continue
            descriptor = self._connect(name)
            if descriptor is None:
                path.unlink(missing_ok=True)
                continue
            self._others[name] = descriptor
            # Nothing ever comes from this end but the news that the other one is gone.
            self._loop.add_reader(descriptor, self._gone, name)

    def _gone(self, name: str) -> None:
        self._forget(name)
        if (self._folder / name).exists():
            (self._folder / name).unlink(missing_ok=True)
            self._on_death()

    def _forget(self, name: str) -> None:
        descriptor = self._others.pop(name)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)

    def _connect(self, name: str) -> int | None:
        try:
            return os.open(self._folder / name, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno in (errno.ENXIO, errno.ENOENT):
                return None
            raise
