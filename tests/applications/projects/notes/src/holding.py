"""Where a run stays until its server is killed, once."""

import threading
from pathlib import Path

from langgraph.config import get_stream_writer


def hold(name: str) -> None:
    """Tells the client, and waits for the end; the attempt after it goes on."""
    held = Path(__file__).with_name(f"{name}.held")
    if not held.exists():
        held.touch()
        get_stream_writer()("held")
        threading.Event().wait()
