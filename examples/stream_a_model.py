"""A model streams: its chunks come as it writes them, and add up to the whole message.

    .venv/bin/python -m examples.stream_a_model

prints

    Chunks|,| added| up|,| are| the| message|.|
    Chunks, added up, are the message.
    AIMessageChunk
"""

import asyncio

from langchain_core.messages import AIMessageChunk

from graph.models import chat_model

QUESTION = """\
Context: A message is whole. Chunks, added up, are the message.

Question: What are chunks?"""


async def main() -> None:
    """Stream, print each chunk's text, then their sum."""
    whole = AIMessageChunk(content="")
    async for chunk in chat_model().astream(QUESTION):
        if chunk.text:
            print(chunk.text, end="|")
        whole += chunk
    print()
    print(whole.text)
    print(type(whole).__name__)


if __name__ == "__main__":
    asyncio.run(main())
