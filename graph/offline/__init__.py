"""The chat model that needs no key: it does arithmetic with the tools that it is given, and says so of all else.

    model         the chat model, as LangChain knows one
    planner       with tools: which calls are next, and the answer when none are left
    replies       without tools: quotes, JSON, or what it is
    question      what a text asks for, out of plain English; of `tokens`, `numbers` and `expression`

Nobody with a key needs to read it.
"""

from .model import OfflineChatModel

__all__ = ["OfflineChatModel"]
