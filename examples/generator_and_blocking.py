"""A generator as a chain's last step passes on what comes; a function in its place waits for the whole.

Both chains are prompt | model | JsonOutputParser | last step, see graph/chains.py.

    .venv/bin/python -m examples.generator_and_blocking

prints

    generator: {'facts': {}, 'count': 0}
    generator: {'facts': {'numbers': []}, 'count': 1}
    generator: {'facts': {'numbers': [1815]}, 'count': 1}
    generator: {'facts': {'numbers': [1815], 'operators': []}, 'count': 2}
    generator: {'facts': {'numbers': [1815], 'operators': [], 'words': ['']}, 'count': 3}
    generator: {'facts': {'numbers': [1815], 'operators': [], 'words': ['Ada']}, 'count': 3}
    function: {'facts': {'numbers': [1815], 'operators': [], 'words': ['Ada']}, 'count': 3}
"""

import asyncio

from graph.chains import extract, extract_blocking

TEXT = "Ada 1815"


async def main() -> None:
    """Stream the same question through both."""
    async for facts in extract.astream(TEXT):
        print("generator:", facts)
    async for facts in extract_blocking.astream(TEXT):
        print("function:", facts)


if __name__ == "__main__":
    asyncio.run(main())
