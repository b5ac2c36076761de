"""Decodes the final_answer call out of a model's reply, so that the answer is text from its first token on.

A model that must call a tool answers with one more call, whose arguments arrive as fragments of JSON:

    model:    {"ans   wer": "10 +    10 = 20",   "tools_used": []}
                        │                │
    content:         "10 +"          " 10 = 20"      additional_kwargs["final_answer"] = {"tools_used": []}

`decoder` reads the arguments of one call, `reply` applies it to the chunks of one message, `model` wraps any chat model
with that. What callers, clients and the history see is what was said, not JSON.
"""

from .decoder import FINAL_ANSWER, FinalAnswerDecoder, FinalAnswerError
from .model import FinalAnswerModel

__all__ = ["FINAL_ANSWER", "FinalAnswerDecoder", "FinalAnswerError", "FinalAnswerModel"]
