"""The settings of a command: its options over the environment, which langgraph.json's `env` goes before."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.errors import ConfigError, invalid
from api.registry import apply_env
from api.settings import Settings


def read_settings(*, config: Path, apply: bool = True, **options: Any) -> Settings:
    """Settings from the environment, with those that the command line gives in their place.

    Args:
        config: the langgraph.json.
        apply: whether its `env` is in effect from then on.
        options: the others that the command line gives.

    Raises:
        ConfigError: one of them has no sense; the message names its variable.
    """
    if apply:
        apply_env(config)
    try:
        return Settings(config=config, **options)
    except ValidationError as exc:
        name, _, complaint = invalid(exc).message.partition(": ")
        raise ConfigError(f"THREADLINE_{name.upper()}: {complaint}") from exc
