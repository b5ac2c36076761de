"""The chat model that needs no key: it does arithmetic with the tools that it is given, and says so of all else.

    model         the chat model, as LangChain knows one
    planner       with tools: which calls are next, and the answer when none are left
    texts         without tools: quotes, JSON, or what it is
    expression    what a question asks for, out of plain English; with `tokens`, `numbers` and `plan`

Nobody with a key needs to read it.
"""

from .model import OfflineChatModel

__all__ = ["OfflineChatModel"]
