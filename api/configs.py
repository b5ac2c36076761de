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
        "__pregel_node_finished",
        "__request_start_time_ms__",
        "langgraph_auth_permissions",
        "langgraph_auth_user",
        "langgraph_auth_user_id",
        "langgraph_request_id",
    }
)
_SERVER_METADATA = frozenset({"assistant_id", "counters_since_delta_snapshot", "cron_id", "run_id", "thread_id"})


def _settings(value: Json) -> Json:
    return {name: item for name, item in _writable(value).items() if name not in _SERVER_SETTINGS}


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
    if _NUL.search(dumps(value)):
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
    """One config out of several: a later one wins, name by name, and within `configurable` likewise."""
    result = {name: item for config in configs for name, item in config.items()}
    if configurable := {name: item for config in configs for name, item in config.get("configurable", {}).items()}:
        result["configurable"] = configurable
    return result
