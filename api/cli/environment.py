"""The settings of a command: its options over the environment, which langgraph.json's `env` goes before."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from api.errors import ConfigError, invalid
from api.registry import apply_env
from api.settings import Settings

_PREFIX = "THREADLINE_"
_OF_ASK = "API_KEY"
"""What `threadline ask` reads of the environment, beside the settings."""


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
        raise ConfigError(f"{_PREFIX}{name.upper()}: {complaint}") from exc


def unknown_settings() -> Iterator[str]:
    """What stands in the environment under our prefix and sets nothing: a mistyped name may leave a server open."""
    known = {name.upper() for name in Settings.model_fields} | {_OF_ASK}
    for variable in sorted(os.environ):
        prefix, name = variable[: len(_PREFIX)].upper(), variable[len(_PREFIX) :].upper()
        if prefix != _PREFIX or name in known or _of_kubernetes(name, os.environ[variable]):
            continue
        close = "".join(f": {_PREFIX}{other} is" for other in difflib.get_close_matches(name, known, n=1))
        yield f"nothing is known of {variable!r}, which has no effect{close}."


def _of_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes set it, for each container beside a service that is called threadline."""
    return name.startswith(("SERVICE_", "PORT_")) or value.startswith("tcp://")
