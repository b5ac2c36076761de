"""Configs, contexts and metadata as clients send them: checked, and cleared of the names that belong to the server."""

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from api.errors import BadRequestError
from api.schemas import Json

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
    return {name: item for name, item in value.items() if name not in _SERVER_METADATA}


def _writable(value: Json) -> Json:
    if any("\0" in name or "\\u0000" in name.lower() for name in value):
        raise ValueError("A name in it has a NUL character, which no database takes")
    return value


Settings = Annotated[Json, AfterValidator(_settings)]
"""A context, or the `configurable` part of a config; what only the server may set is left out."""

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
