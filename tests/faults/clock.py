"""A clock that is wrong by some seconds: libfaketime, loaded into a process before anything else."""

import os
from collections.abc import Mapping
from pathlib import Path

MISSING = "libfaketime is not installed"


def library() -> Path | None:
    """Where Debian's package `faketime` has put it; None if it is not there.

    Raises:
        RuntimeError: it is not there, and a full run (`CI=true`) must have it.
    """
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None and os.environ.get("CI") == "true":
        raise RuntimeError(MISSING)
    return found


def wrong_by(seconds: float) -> Mapping[str, str]:
    """What a process's environment must have for its clock to be ahead by so many seconds, or behind.

    Clocks that only count on are as they were, as they are when a machine's clock is set.
    """
    if not seconds:
        return {}
    return {"LD_PRELOAD": str(library()), "FAKETIME": f"{seconds:+.0f}s", "DONT_FAKE_MONOTONIC": "1"}
