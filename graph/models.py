"""Chooses the chat model: one over an OpenAI-compatible endpoint, or the offline model where none is configured.

The environment is read when a model is asked for:

    OPENAI_MODEL      the model's name, where none is asked for
    OPENAI_API_KEY    the endpoint's key
    OPENAI_BASE_URL   the endpoint, if not OpenAI's own: vLLM, Ollama, LM Studio, OpenRouter
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from .offline import OfflineChatModel

OFFLINE = "offline"
"""Name of the model that needs no endpoint."""

_DEFAULT_MODEL = "gpt-5.4-mini"
_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "not-needed"
_TIMEOUTS = (10.0, 120.0, 120.0, 120.0)
"""Seconds to connect, between two reads, between two writes, for a free connection."""
_RETRIES = 2


@dataclass(frozen=True)
class _Endpoint:
    """The part of the environment that a model depends on."""

    model: str
    api_key: str | None
    base_url: str | None

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            model=os.environ.get("OPENAI_MODEL") or _DEFAULT_MODEL,
            api_key=os.environ.get("OPENAI_API_KEY") or None,
            base_url=os.environ.get("OPENAI_BASE_URL") or None,
        )


def chat_model(name: str | None = None, temperature: float | None = None) -> BaseChatModel:
    """Make a chat model.

    Streams usage, retries what may succeed (connection errors, 408, 409, 429, 5xx) twice, and leaves parallel tool
    calls on, as the endpoint's default is.

    Args:
        name: Model name as the endpoint knows it, or "offline". None takes OPENAI_MODEL, or a default.
        temperature: Sampling temperature. None leaves it to the endpoint.

    Returns:
        The model; the offline one if it is asked for, or if neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.
    """
    return _make(name, temperature, _Endpoint.from_environment())


def _make(name: str | None, temperature: float | None, endpoint: _Endpoint) -> BaseChatModel:
    name = name or endpoint.model
    if name == OFFLINE or not (endpoint.api_key or endpoint.base_url):
        return OfflineChatModel(streaming=True)
    # Importing it takes most of a cold start, and the offline model needs none of it.
    from langchain_openai import ChatOpenAI

    from .reasoning import ReasoningChatOpenAI

    made = ReasoningChatOpenAI if endpoint.base_url else ChatOpenAI
    return made(
        model=name,
        temperature=temperature,
        api_key=SecretStr(endpoint.api_key or _NO_KEY),
        # The client takes OPENAI_BASE_URL as it is, also when it is set to nothing.
        base_url=endpoint.base_url or _OPENAI,
        # Under `invoke` too, so that any callback handler gets its tokens.
        streaming=True,
        stream_usage=True,
        max_retries=_RETRIES,
        timeout=_TIMEOUTS,
    )


class Models:
    """The models made so far, so that runs share their connections; the least recently used go first.

    Args:
        size: How many are kept.
    """

    def __init__(self, size: int = 32) -> None:
        self._made = lru_cache(maxsize=size)(_make)

    def get(self, name: str | None = None, temperature: float | None = None) -> BaseChatModel:
        """Return the model that `chat_model` would make in the present environment."""
        return self._made(name, temperature, _Endpoint.from_environment())
