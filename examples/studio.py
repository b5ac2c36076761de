"""LangGraph Studio on a running server (`make run`): it shows the very threads that clients make.

    .venv/bin/python -m examples.studio [URL]

prints

    0 messages; next: __start__
    1 messages; next: agent
    2 messages; next: tools
    3 messages; next: agent
    4 messages; next: tools
    5 messages; next: agent
    6 messages; next: final_answer
    6 messages; next: nothing
    graphs: agent, chat, extract, retrieve
    open https://smith.langchain.com/studio/?baseUrl=http://127.0.0.1:2024
"""

import asyncio
import sys

from langgraph_sdk import get_client

URL = "http://127.0.0.1:2024"


async def main(url: str = URL) -> None:
    """Make a thread, print its steps as Studio draws them, and where to look."""
    async with get_client(url=url) as client:
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread_id, "agent", input={"messages": "What is (3 + 4) * 5?"})
        history = await client.threads.get_history(thread_id, limit=20)
        for state in reversed(history):
            print(len(state["values"].get("messages", ())), "messages; next:", ", ".join(state["next"]) or "nothing")
        assistants = await client.assistants.search()
        print("graphs:", ", ".join(sorted(each["graph_id"] for each in assistants)))
    print(f"open https://smith.langchain.com/studio/?baseUrl={url}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
