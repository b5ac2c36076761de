"""What the model says of itself, and the form of what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

ABOUT = "This is Threadline's offline model. All it can do is arithmetic, by calling tools"
EXAMPLE = 'ask it "What is (3 + 4) * 5?", for example'
REAL_MODEL = "Set OPENAI_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server, to use a real model."


@dataclass(frozen=True)
class Reply:
    """What the model says: text, or calls as (tool, arguments)."""

    text: str = ""
    calls: Sequence[tuple[str, dict[str, Any]]] = ()


def last_turn(messages: Sequence[BaseMessage]) -> tuple[str, Sequence[BaseMessage], Sequence[BaseMessage]]:
    """Return the last question, the messages before it, and those after it."""
    for at in reversed(range(len(messages))):
        if isinstance(messages[at], HumanMessage):
            return messages[at].text, messages[:at], messages[at + 1 :]
    return "", (), messages


def short(text: str, longest: int = 80) -> str:
    """Return a text in one line, as far as it is quoted."""
    # A quoted text may hold half a surrogate pair, which no reply can.
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"
