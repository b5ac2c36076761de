"""A retriever in front of a chain: the passages come whole, then the answer still streams.

    .venv/bin/python -m examples.retriever

prints

    found: A client that disconnects does not end its run, unless it as
    found: A run writes a log of events, and every stream is a reader o
    A| client| that| disconne|cts| does| not| end| its| run|,| unless| it| asked| for| on_disco|nnect|=|cancel|.|
"""

import asyncio

from graph.chains import retrieve, retriever

QUESTION = "Does a client that disconnects end its run?"


async def main() -> None:
    """Ask the retriever alone, then the chain that begins with it."""
    for document in await retriever().ainvoke(QUESTION):
        print("found:", document.page_content[:60])
    async for piece in retrieve.astream(QUESTION):
        print(piece, end="|" if piece else "")
    print()


if __name__ == "__main__":
    asyncio.run(main())
