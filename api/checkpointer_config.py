"""The `checkpointer` section of langgraph.json: how long threads live, what then goes of them, how often that is done.

langgraph.json ──load_checkpointer_config──> ThreadTtl ──from_now──> the Ttl of a new thread
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors import ConfigError, invalid
from api.registry import read_config
from api.schemas import Ttl, TtlStrategy
from api.serde import loads

VARIABLE = "LANGGRAPH_THREAD_TTL"
"""Goes before the file, as with LangGraph's own server: minutes, or the `ttl` object as JSON."""

_LONGEST = 100 * 365 * 24 * 60


class ThreadTtl(BaseModel):
    """`checkpointer.ttl`, whose names and defaults are those of langgraph_cli's ThreadTTLConfig.

    Times are minutes.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    strategy: TtlStrategy = "delete"
    default_ttl: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Of threads that are made from now on; None: they do not expire."""
    sweep_interval_minutes: float | None = Field(default=None, gt=0, le=_LONGEST)
    """Between sweeps; None: one comes as soon as a thread expires."""
    sweep_limit: int = Field(default=1000, ge=1)
    """Threads that one sweep does away with; the next one goes on."""

    def from_now(self) -> Ttl | None:
        """When a thread that is made now expires."""
        if self.default_ttl is None:
            return None
        return Ttl(self.strategy, self.default_ttl, datetime.now(UTC) + timedelta(minutes=self.default_ttl))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ttl: ThreadTtl | None = None
    serde: Any = None
    """Read elsewhere."""


def load_checkpointer_config(path: Path) -> ThreadTtl:
    """What the section, or the environment, says of threads' ends.

    Args:
        path: langgraph.json. Its `env` must be in effect: `registry.load` sees to that.

    Raises:
        ConfigError: the section does not fit, or asks for what is not supported.
    """
    document = read_config(path).get("checkpointer") or {}
    if isinstance(document, dict) and document.get("path") is not None:
        raise ConfigError("checkpointer.path: only the built-in checkpointer is supported.")
    try:
        section = _Section.model_validate(_without_nulls(document))
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "checkpointer").message) from exc
    return _from_environment() or section.ttl or ThreadTtl()


def _without_nulls(document: Any) -> Any:
    """langgraph_cli lets null stand for what is not set."""
    if not isinstance(document, dict):
        return document
    return {name: _without_nulls(value) for name, value in document.items() if value is not None}


def _from_environment() -> ThreadTtl | None:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = loads(text.encode())
    except ValueError as exc:
        raise ConfigError(f"{VARIABLE}: neither a number of minutes nor a JSON object.") from exc
    try:
        return ThreadTtl.model_validate(_without_nulls(value) if isinstance(value, dict) else {"default_ttl": value})
    except ValidationError as exc:
        raise ConfigError(invalid(exc, VARIABLE).message) from exc
