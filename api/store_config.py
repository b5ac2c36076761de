"""The `store` section of langgraph.json: how long items live, and what embeds them for semantic search.

langgraph.json ──load_store_config──> StoreConfig ──index, ttl──> LangGraph's store
"""

import importlib.util
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import TTLConfig, ensure_embeddings
from langgraph.store.sqlite.base import SqliteIndexConfig
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from api.errors import ConfigError, invalid
from api.registry import load_attribute, read_config

Embed = Callable[[Sequence[str]], Coroutine[Any, Any, list[list[float]]]]


class Ttl(BaseModel):
    """How long items live. Times are minutes, as LangGraph's are."""

    model_config = ConfigDict(extra="forbid")

    refresh_on_read: bool = True
    default_ttl: float | None = Field(default=None, gt=0)
    """Of items put without a ttl; None: they stay."""
    sweep_interval_minutes: float | None = Field(default=None, gt=0)
    """Between deletions of what has expired; None: the finest that a ttl can mean."""

    def config(self) -> TTLConfig:
        """In the form of LangGraph's stores."""
        config: Any = self.model_dump() | {"sweep_interval_minutes": self.sweep_interval_minutes or 1}
        return config  # type: ignore[no-any-return]  # the class wants whole minutes, the store takes any


class Index(BaseModel):
    """Semantic search."""

    model_config = ConfigDict(extra="forbid")

    embed: str
    """`module:attribute`, `./file.py:attribute` or `provider:model`."""
    dims: int | None = Field(default=None, gt=0)
    """The length of every vector; None: not checked."""
    fields: list[str] | None = None
    """Paths of what is embedded; None: the whole value."""
    _embed: Embed = PrivateAttr()

    def load(self, root: Path) -> None:
        """Finds what `embed` names.

        Raises:
            ConfigError: it cannot be found or used.
        """
        self._embed = _checked(_embeddings(self.embed, root), self.dims)

    def config(self) -> SqliteIndexConfig:
        """In the form of LangGraph's SQLite store, which calls the fields otherwise than its documentation does."""
        config: Any = {"dims": self.dims, "embed": self._embed, "fields": self.fields, "text_fields": self.fields}
        return config  # type: ignore[no-any-return]


class StoreConfig(BaseModel):
    """The section. A store of one's own (`path`) is not supported."""

    model_config = ConfigDict(extra="forbid")

    index: Index | None = None
    ttl: Ttl = Field(default_factory=Ttl)


def load_store_config(path: Path) -> StoreConfig:
    """The section, with its embeddings loaded; the defaults if there is none.

    Args:
        path: langgraph.json. Its `env` and `dependencies` must be in effect: `registry.load` sees to that.

    Raises:
        ConfigError: the section does not fit, or what it names cannot be used.
    """
    section = read_config(path).get("store") or {}
    if isinstance(section, dict) and "path" in section:
        raise ConfigError("store.path: only the built-in store is supported.")
    try:
        config = StoreConfig.model_validate(_without_nulls(section))
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "store").message) from exc
    if config.index is not None:
        config.index.load(path.resolve().parent)
    return config


def _without_nulls(section: Any) -> Any:
    return {name: value for name, value in section.items() if value is not None} if isinstance(section, dict) else section


def _embeddings(embed: str, root: Path) -> Embeddings:
    source, _, attribute = embed.rpartition(":")
    if ".py:" not in embed and not (attribute.isidentifier() and _is_module(source)):
        return _provided(embed)
    target = load_attribute("store.index.embed", embed, root)
    if not isinstance(target, Embeddings) and not callable(target):
        raise ConfigError(f"store.index.embed: {embed} is a {type(target).__name__}, neither Embeddings nor a function.")
    return ensure_embeddings(target)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _provided(embed: str) -> Embeddings:
    try:
        return ensure_embeddings(embed)
    except Exception as exc:  # the boundary to the provider's package: whatever it raises stops the start with a message
        raise ConfigError(f"store.index.embed: {embed!r} is no module's attribute, and as a model: {exc}") from exc


def _checked(embeddings: Embeddings, dims: int | None) -> Embed:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors = await embeddings.aembed_documents(list(texts))
        # One vector of another length would make every later search fail.
        if dims is not None and (wrong := next((vector for vector in vectors if len(vector) != dims), None)) is not None:
            raise ConfigError(f"store.index: the embedding has {len(wrong)} dimensions, not {dims}.")
        return vectors

    return embed
