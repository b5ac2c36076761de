"""What the model says of itself, and its replies in text, where no tools are bound.

It quotes the sentences of a given context that are nearest to the question, sorts the pieces of a text into a JSON
object if JSON is asked for, and else says what it is.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from .question import LONGEST
from .tokens import tokens

ABOUT = "This is Threadline's offline model. All it can do is arithmetic, by calling tools"
EXAMPLE = 'ask it "What is (3 + 4) * 5?", for example'
REAL_MODEL = "Set OPENAI_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server, to use a real model."

_NOT_IN_CONTEXT = "The context does not say."
_JSON = re.compile(r"\bjson\b", re.IGNORECASE)
_CONTEXT = re.compile(r"^[ \t]*context:[ \t]*", re.IGNORECASE | re.MULTILINE)
_ANNOUNCED = re.compile(r"\b(?:context|passages|documents|sources)\b", re.IGNORECASE)
_QUESTION = re.compile(r"^[ \t]*question:[ \t]*", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_COMMON_WORDS = frozenset({"the", "and", "for", "does", "what", "how", "are", "can", "that", "this", "with", "from"})


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


def in_text(messages: Sequence[BaseMessage], *, asks_json: bool) -> str:
    """Reply to the last question in text; in JSON if that is demanded, or if the word is in what is asked."""
    asked, _, _ = last_turn(messages)
    instructions = [message.text for message in messages if isinstance(message, SystemMessage)]
    if asks_json or any(_JSON.search(text) for text in (*instructions, asked)):
        return _sorted_pieces(asked)
    if marked := _CONTEXT.search(asked):
        # The question is in the same message: after the context, or before it.
        passages, *question = _QUESTION.split(asked[marked.end() :], maxsplit=1)
        return _nearest(passages, question[0] if question else asked[: marked.start()])
    for text in reversed(instructions):
        if passages := _given_context(text):
            return _nearest(passages, asked)
    about = f"{ABOUT}, and here it has none. {REAL_MODEL}"
    words = asked.split()
    quoted = short(" ".join(words[:8]) + ("…" if len(words) > 8 else ""))
    return f'You wrote "{quoted}". {about}' if quoted else about


def _given_context(instructions: str) -> str:
    """Return the context in a system message: what comes after "Context:", or after a paragraph that speaks of it."""
    if marked := _CONTEXT.search(instructions):
        return instructions[marked.end() :]
    announcement, _, rest = instructions.partition("\n\n")
    return rest if _ANNOUNCED.search(announcement) else ""


def _nearest(context: str, question: str) -> str:
    """Return the one or two sentences of a context that share the most words with a question.

    Words are compared without case and plural "s"; very common ones do not count.
    """
    asked = _content_words(question)
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(context) if sentence.strip()]
    shared = [len(asked & _content_words(sentence)) for sentence in sentences]
    best = max(shared, default=0)
    if not best:
        return _NOT_IN_CONTEXT
    return short(" ".join([s for s, count in zip(sentences, shared, strict=True) if count == best][:2]), 1_000)


def _content_words(text: str) -> set[str]:
    words = (word.lower() for word in re.findall(r"\w+", text))
    return {word.removesuffix("s") for word in words if len(word) > 2 and word not in _COMMON_WORDS}


def _sorted_pieces(text: str) -> str:
    """Return a JSON object of the numbers, operators and words in a text, in order."""
    pieces: dict[str, list[Any]] = {"numbers": [], "operators": [], "words": []}
    for token in tokens(text[:LONGEST]):
        if token.kind == "number":
            pieces["numbers"] += [json.loads(token.python)] if token.python else []
        elif token.kind in ("operator", "power"):
            pieces["operators"].append(token.name)
        elif (text := token.text.lstrip(", "))[:1].isalpha():
            pieces["words"] += text.split()
    return json.dumps(pieces, ensure_ascii=False)
