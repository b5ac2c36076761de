"""Headers that a graph is given: those that `http.configurable_headers` of langgraph.json includes; none without it.

What proves who a caller is never reaches a graph or a row, whatever is included; nor does a header whose name is the
server's to set.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from api.configs import is_reserved
from api.errors import ConfigError, invalid
from api.registry import read_config

_NEVER = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-api-key", "x-service-key", "x-tenant-id"},
)


class _Patterns(BaseModel):
    """Names of headers; `*` stands for anything."""

    model_config = ConfigDict(strict=True, extra="forbid")

    includes: list[str] = Field(default=[], validation_alias=AliasChoices("includes", "include"))
    excludes: list[str] = Field(default=[], validation_alias=AliasChoices("excludes", "exclude"))


class ConfigurableHeaders:
    """Chooses headers.

    Args:
        includes: patterns of names.
        excludes: likewise; these win.
    """

    def __init__(self, includes: Sequence[str] = (), excludes: Sequence[str] = ()) -> None:
        self._includes = _pattern(includes)
        self._excludes = _pattern(excludes)

    def of(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those that go into the `configurable` part of a run's config, by their names in lower case."""
        if self._includes is None:
            return {}
        return {name: value for name, value in headers.items() if self._has(name.lower())}

    def _has(self, name: str) -> bool:
        if self._includes is None or name in _NEVER or is_reserved(name) or not self._includes.fullmatch(name):
            return False
        return self._excludes is None or not self._excludes.fullmatch(name)


def load_configurable_headers(path: Path) -> ConfigurableHeaders:
    """What langgraph.json says.

    Raises:
        ConfigError: it cannot be used.
    """
    section = read_config(path).get("http") or {}
    found = section.get("configurable_headers") if isinstance(section, dict) else None
    if found is None:
        return ConfigurableHeaders()
    try:
        patterns = _Patterns.model_validate(found)
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "http.configurable_headers").message) from exc
    return ConfigurableHeaders(patterns.includes, patterns.excludes)


def _pattern(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(".*".join(map(re.escape, each.lower().split("*"))) for each in patterns), re.DOTALL)
