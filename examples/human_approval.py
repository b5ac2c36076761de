"""A tool that a human must approve: the run stops at its interrupt, and goes on when it is resumed.

    .venv/bin/python -m examples.human_approval

prints

    May I multiply 6.0 by 7.0? yes
    6 * 7 is 42 (forty-two).
    May I multiply 6.0 by 7.0? no
    6 * 7 cannot be computed: multiply(6, 7) failed: a human said no.
"""

import asyncio

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from graph import build_graph


@tool
def multiply(x: float, y: float) -> float:
    """Multiply x by y, if a human agrees."""
    if interrupt({"question": f"May I multiply {x} by {y}?"}) != "yes":
        raise PermissionError("a human said no")
    return x * y


async def main() -> None:
    """Ask twice, in two threads; agree once."""
    graph = build_graph(tools=[multiply], checkpointer=InMemorySaver())
    for decision in ("yes", "no"):
        config: RunnableConfig = {"configurable": {"thread_id": decision}}
        stopped = await graph.ainvoke({"messages": "What is 6 * 7?"}, config)
        print(stopped["__interrupt__"][0].value["question"], decision)
        state = await graph.ainvoke(Command(resume=decision), config)
        print(state["final_answer"]["answer"])


if __name__ == "__main__":
    asyncio.run(main())
