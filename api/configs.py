"""Configs, contexts and metadata as clients send them: checked, and cleared of the names that belong to the server."""

import itertools
import re
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from api.errors import BadRequestError
from api.schemas import Json
from api.serde import dumps

_MOST_NODES = 256
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")
"""In JSON as it is written: after an even number of backslashes."""
_SERVER_SETTINGS = frozenset(
    {
        "__after_seconds__",
        "__context_provided__",
        "__dd_trace_headers__",
        "__langsmith_example_id__",
        "__langsmith_project__",
        "__otel_traceparent__",
        "__otel_tracestate__",
        "__request_start_time_ms__",
        "langgraph_request_id",
    }
)
_SERVER_PREFIXES = ("__pregel_", "langgraph_auth_")
"""LangGraph's own wiring of a run, and who the caller is."""
_PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
_SERVER_METADATA = frozenset({"assistant_id", "counters_since_delta_snapshot", "cron_id", "run_id", "thread_id"})


def is_reserved(name: str) -> bool:
    """Whether only the server may set it in the `configurable` part of a config, wherever it comes from."""
    return name in _SERVER_SETTINGS or name.startswith(_SERVER_PREFIXES)


def place(checkpoint: Json) -> Json:
    """What a client's checkpoint says of where a state is, and nothing else: the rest of a config is not its to set."""
    return {name: checkpoint[name] for name in _PLACE if name in checkpoint}


def _settings(value: Json) -> Json:
    return {name: item for name, item in _writable(value).items() if not is_reserved(name)}


def _metadata(value: Json) -> Json:
    _without_nul(value)
    return {name: item for name, item in value.items() if name not in _SERVER_METADATA}


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("There is a NUL character in it, which no database takes")
    return value


def _filter(value: Json) -> Json:
    if len(list(itertools.islice(_nodes(value), _MOST_NODES + 1))) > _MOST_NODES:
        raise ValueError(f"A filter has at most {_MOST_NODES} keys and values")
    return _without_nul(value)


def _nodes(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _nodes(item)


def _without_nul(value: Json) -> Json:
    written = dumps(value)
    # The pattern is slow in a long text, and most have no such letters at all.
    if b"\\u0000" in written and _NUL.search(written):
        raise ValueError("There is a NUL character in it, which no database takes")
    return value


def _writable(value: Json) -> Json:
    if any("\0" in name or "\\u0000" in name.lower() for name in value):
        raise ValueError("A name in it has a NUL character, which no database takes")
    return value


Settings = Annotated[Json, AfterValidator(_settings)]
"""A context, or the `configurable` part of a config; what only the server may set is left out."""

Filter = Annotated[Json, AfterValidator(_filter)]
"""What records are to have: each of its keys and values is looked up in every record."""

Written = Annotated[Json, AfterValidator(_without_nul)]
"""What is stored as it is given."""

Text = Annotated[str, AfterValidator(_text)]
"""A name."""

Place = Annotated[Json, AfterValidator(place)]
"""A checkpoint; other names in it are left out."""

Metadata = Annotated[Json, AfterValidator(_metadata)]
"""Metadata without the ids that the server writes there itself."""


class Config(BaseModel):
    """A config as langgraph_sdk writes it; further keys go to the graph as they are."""

    model_config = ConfigDict(strict=True, extra="allow")

    tags: list[str] = []
    recursion_limit: int = 0
    configurable: Settings = {}
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _writable(self.model_extra or {})
        return self

    def given(self) -> Json:
        """What the client gave, and no defaults."""
        return self.model_dump(exclude_unset=True)


def mirrored(config: Json, context: Json | None) -> tuple[Json, Json | None]:
    """The config and the context, each holding the other's settings; a context that is not given stays None.

    Raises:
        BadRequestError: both have settings.
    """
    configurable = config.get("configurable")
    if configurable and context:
        raise BadRequestError(
            "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
            "LangGraph 0.6.0 and is the long term planned replacement for configurable.",
            field="context",
        )
    if configurable:
        return config, configurable
    return ({**config, "configurable": context} if context else config), context


def merged(*configs: Json) -> Json:
    """One config out of several: a later one wins, name by name, and within `configurable` likewise.

    Rows of older versions, and contexts of the native API, may have names there that only the server may set.
    """
    result = {name: item for config in configs for name, item in config.items()}
    settings = {name: item for config in configs for name, item in config.get("configurable", {}).items()}
    if settings:
        result["configurable"] = {name: item for name, item in settings.items() if not is_reserved(name)}
    return result
