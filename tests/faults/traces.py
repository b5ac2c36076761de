"""Traces: what runs have done, told to the test over a pipe. No full disk and no limit of files loses one."""

import contextlib
import os
import threading
import uuid


class Traces:
    """A pipe whose writing end the servers' processes inherit, and what came through it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self._found: list[tuple[str, str]] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="faults-traces", daemon=True)
        self._thread.start()

    def all(self) -> list[tuple[str, str]]:
        """Marker and trace of each line that was written before this call, in their order."""
        end = (uuid.uuid4().hex, "")
        leave_trace(self.writing, *end)
        with self._more:
            self._more.wait_for(lambda: end in self._found)
            self._found.remove(end)
            return list(self._found)

    def close(self) -> None:
        """Ends, once every process has that inherited it."""
        os.close(self.writing)
        self._thread.join()

    def _read(self) -> None:
        with contextlib.closing(os.fdopen(self._reading, encoding="utf-8")) as lines:
            for line in lines:
                marker, _, what = line.rstrip("\n").partition(" ")
                with self._more:
                    self._found.append((marker, what))
                    self._more.notify_all()


def leave_trace(descriptor: int, marker: str, what: object) -> None:
    """One line, whole, in the order of time, whatever becomes of the process."""
    os.write(descriptor, f"{marker} {what}\n".encode())
