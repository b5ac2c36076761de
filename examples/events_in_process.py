"""Events of everything inside a chain, filtered by the name, the type or the tag of its steps.

The names are run names that graph/chains.py gives: `runnable.with_config(run_name="Docs", tags=["Docs"])`.

    .venv/bin/python -m examples.events_in_process

prints

    {'include_names': ['Docs']} -> on_retriever_start on_retriever_end
    {'include_types': ['chat_model']} -> on_chat_model_start on_chat_model_stream on_chat_model_end
    {'include_tags': ['parser']} -> on_parser_start on_parser_stream on_parser_end
    {'include_names': ['Docs', 'parser'], 'exclude_types': ['parser']} -> on_retriever_start on_retriever_end
"""

import asyncio
from typing import Any

from graph.chains import retrieve

QUESTION = "Does a client that disconnects end its run?"
FILTERS: tuple[dict[str, Any], ...] = (
    {"include_names": ["Docs"]},
    {"include_types": ["chat_model"]},
    {"include_tags": ["parser"]},
    {"include_names": ["Docs", "parser"], "exclude_types": ["parser"]},
)


async def main() -> None:
    """Print which kinds of events pass each filter, in order."""
    for filters in FILTERS:
        kinds = [event["event"] async for event in retrieve.astream_events(QUESTION, version="v2", **filters)]
        print(filters, "->", *dict.fromkeys(kinds))


if __name__ == "__main__":
    asyncio.run(main())
