"""The `store` section of langgraph.json: how long items live, and what embeds them for semantic search.

langgraph.json ──load_store_config──> StoreConfig ──> LangGraph's own store
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import TTLConfig, ensure_embeddings
from langgraph.store.sqlite.base import SqliteIndexConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors import ConfigError, invalid
from api.registry import load_attribute, read_config, read_project

Embed = Callable[[Sequence[str]], Coroutine[Any, Any, list[list[float]]]]


class _Ttl(BaseModel):
    model_config = ConfigDict(extra="forbid")

    refresh_on_read: bool = True
    default_ttl: float | None = Field(default=None, gt=0)
    sweep_interval_minutes: float | None = Field(default=None, gt=0)


class _Index(BaseModel):
    model_config = ConfigDict(extra="forbid")

    embed: str
    dims: int | None = Field(default=None, gt=0)
    fields: list[str] | None = None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")

    index: _Index | None = None
    ttl: _Ttl | None = None


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The section in the form that LangGraph's stores take."""

    ttl: TTLConfig
    """Minutes, all three set: what is not configured has its default."""
    index: SqliteIndexConfig | None = None


def load_store_config(path: Path) -> StoreConfig:
    """The section, with its embeddings loaded; the defaults if there is none.

    Args:
        path: langgraph.json. Its `env` and `dependencies` must be in effect: `registry.load` sees to that.

    Raises:
        ConfigError: the section does not fit, or what it names cannot be used.
    """
    document = read_config(path).get("store") or {}
    if isinstance(document, dict) and document.get("path") is not None:
        raise ConfigError("store.path: only the built-in store is supported.")
    try:
        section = _Section.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(invalid(exc, "store").message) from exc
    index = None if section.index is None else _index_config(section.index, path)
    return StoreConfig(_ttl_config(section.ttl or _Ttl()), index)


def _ttl_config(ttl: _Ttl) -> TTLConfig:
    # One minute, since times to live are minutes. The class wants whole ones, the store takes any.
    interval = cast("int", ttl.sweep_interval_minutes or 1)
    return {
        "refresh_on_read": ttl.refresh_on_read,
        "default_ttl": ttl.default_ttl,
        "sweep_interval_minutes": interval,
    }


def _index_config(index: _Index, path: Path) -> SqliteIndexConfig:
    embed = _checked(_embeddings(index.embed, path), index.dims)
    # The SQLite store reads the fields under a name that its own class does not have.
    config = {"dims": index.dims, "embed": embed, "fields": index.fields, "text_fields": index.fields}
    return cast("SqliteIndexConfig", config)


def _embeddings(embed: str, path: Path) -> Embeddings:
    source, _, attribute = embed.rpartition(":")
    if ".py:" not in embed and not (attribute.isidentifier() and read_project(path).has(source)):
        return _provided(embed)
    target = load_attribute("store.index.embed", embed, path)
    if not isinstance(target, Embeddings) and not callable(target):
        name = type(target).__name__
        raise ConfigError(f"store.index.embed: {embed} is a {name}, neither Embeddings nor a function.")
    return ensure_embeddings(target)


def _provided(embed: str) -> Embeddings:
    try:
        return ensure_embeddings(embed)
    except Exception as exc:  # the boundary to the provider's package: whatever it raises stops the start
        told = " ".join(str(exc).split())
        raise ConfigError(f"store.index.embed: {embed!r} names no attribute of a module, nor a model: {told}") from exc


def _checked(embeddings: Embeddings, dims: int | None) -> Embed:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors = await embeddings.aembed_documents(list(texts))
        # Kept, one vector of another length would make every later search fail.
        if dims is not None and (wrong := {len(vector) for vector in vectors} - {dims}):
            raise ConfigError(f"store.index: the embedding has {wrong.pop()} dimensions, not {dims}.")
        return vectors

    return embed
