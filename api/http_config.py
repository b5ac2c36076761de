"""The `http` section of langgraph.json: which of our routes are served, where, to whose pages, and the user's own app.

langgraph.json ──load_http_config──> HttpConfig

Format: https://docs.langchain.com/langgraph-platform/cli
"""

import logging
import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors import ConfigError, invalid
from api.registry import read_config

logger = logging.getLogger(__name__)

MiddlewareOrder = Literal["auth_first", "middleware_first"]

Section = Literal["assistants", "threads", "runs", "store", "mcp", "a2a", "meta", "ui", "event_streaming"]

_PLACES: tuple[tuple[str, tuple[Section, ...]], ...] = (
    (r"/ok", ()),
    (r"/|/info|/metrics|/docs.*|/redoc|/openapi\.json", ("meta",)),
    (r"/agents(/[^/]+(/graph)?)?", ("assistants",)),
    (r"/assistants(/.*)?", ("assistants",)),
    (r"/threads/[^/]+/(stream/events|commands)", ("threads", "runs", "event_streaming")),
    (r"/threads/[^/]+/runs(/.*)?", ("runs",)),
    (r"/threads(/.*)?", ("threads",)),
    (r"/store(/.*)?", ("store",)),
    (r"/ui(/.*)?", ("ui",)),
    (r"/mcp(/.*)?", ("mcp",)),
    (r"/a2a(/.*)?", ("a2a",)),
)
"""Whose routes a path is: the first that fits says it. All others run agents."""


class CorsConfig(BaseModel):
    """`http.cors`, with Starlette's names and defaults."""

    model_config = ConfigDict(strict=True, extra="allow")

    allow_origins: list[str] = []
    allow_methods: list[str] = ["GET"]
    allow_headers: list[str] = []
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] = []
    max_age: int = Field(default=600, ge=0)


class HttpConfig(BaseModel):
    """The section."""

    model_config = ConfigDict(strict=True, extra="allow")

    app: str | None = None
    """A Starlette or FastAPI app: its routes, middleware and lifespan are served beside ours."""
    cors: CorsConfig | None = None
    configurable_headers: Any = None
    """Read elsewhere."""
    logging_headers: Any = None
    """No header is logged."""
    middleware_order: MiddlewareOrder = "middleware_first"
    """Whether the app's middleware runs before callers are known, or after."""
    enable_custom_route_auth: bool = False
    """Whether the app's routes are for known callers alone."""
    mount_prefix: str | None = Field(default=None, pattern=r"^(/[^/?#\s]+)+/?$")
    """What every path begins with, but for those of health checks."""
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_meta: bool = False
    disable_ui: bool = False
    disable_event_streaming: bool = False
    disable_webhooks: bool = False
    """Runs with a webhook run; nothing is sent."""

    @property
    def prefix(self) -> str:
        """`mount_prefix`, without a slash at its end; empty if there is none."""
        return (self.mount_prefix or "").rstrip("/")

    def is_disabled(self, path: str) -> bool:
        """Whether a path, or the template of a route, is of a part that is not served."""
        disabled = {section for section in get_args(Section) if getattr(self, f"disable_{section}")}
        if not disabled:
            return False
        sections = next((each for pattern, each in _PLACES if re.fullmatch(pattern, path)), ("runs",))
        return not disabled.isdisjoint(sections)


def load_http_config(path: Path) -> HttpConfig:
    """What langgraph.json says; keys that mean nothing here are named in a warning.

    Raises:
        ConfigError: it cannot be used.
    """
    section = read_config(path).get("http") or {}
    try:
        config = HttpConfig.model_validate(_set(section))
        if config.cors is not None:
            re.compile(config.cors.allow_origin_regex or "")
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "http").message) from exc
    except re.error as exc:
        raise ConfigError(f"http.cors.allow_origin_regex: {exc}.") from exc
    unknown = [f"http.{name}" for name in config.model_extra or {}]
    unknown += [f"http.cors.{name}" for name in (config.cors and config.cors.model_extra) or {}]
    if unknown:
        logger.warning("langgraph.json: nothing is known of %s, which has no effect.", ", ".join(unknown))
    return config


def _set(section: Any) -> Any:
    """langgraph_cli lets null stand for what is not set."""
    if not isinstance(section, dict):
        return section
    return {name: _set(value) for name, value in section.items() if value is not None}
