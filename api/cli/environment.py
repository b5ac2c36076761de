"""The settings of a command: its options over the environment."""

from typing import Any

from pydantic import ValidationError

from api.errors import ConfigError, invalid
from api.settings import Settings


def read_settings(**options: Any) -> Settings:
    """Settings from the environment, with those that the command line gives in their place.

    Raises:
        ConfigError: one of them has no sense; the message names its variable.
    """
    try:
        return Settings(**options)
    except ValidationError as exc:
        name, _, complaint = invalid(exc).message.partition(": ")
        raise ConfigError(f"THREADLINE_{name.upper()}: {complaint}") from exc
