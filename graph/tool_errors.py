"""Puts in words, for the model, why a call of a tool has failed.

ToolNode's own words would be shorter to use. They repeat all of the arguments and ask to "fix your mistakes", and an
exception of a megabyte would go into the thread, and to the model with every call from then on.
"""

from langgraph.prebuilt.tool_node import ToolInvocationError

_LONGEST_QUOTE = 500


def explain(error: Exception) -> str:
    """Return what the model is told of an error, at most some 500 characters."""
    if isinstance(error, ToolInvocationError):
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.filtered_errors or ())
        return f"Error: invalid arguments for {error.tool_name}: {short(wrong)}"
    return f"Error: {short(str(error) or type(error).__name__)}"


def short(text: str) -> str:
    """Return the text as far as it may be quoted."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
