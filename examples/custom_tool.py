"""A tool of one's own. What it raises, the model hears of, and may work around.

    .venv/bin/python -m examples.custom_tool

prints

    100 / 3 is 33.33. ['divide']
    100 / 0 cannot be computed: divide(100, 0) failed: there is no one to share with. ['divide']
"""

import asyncio

from langchain_core.tools import tool

from graph import build_graph


@tool
def divide(x: float, y: float) -> float:
    """Divide x by y, and round to cents."""
    if y == 0:
        raise ValueError("there is no one to share with")
    return round(x / y, 2)


async def main() -> None:
    """Ask for one division that works and one that does not."""
    graph = build_graph(tools=[divide])
    for question in ("What is 100 / 3?", "What is 100 / 0?"):
        final = (await graph.ainvoke({"messages": question}))["final_answer"]
        print(final["answer"], final["tools_used"])


if __name__ == "__main__":
    asyncio.run(main())
