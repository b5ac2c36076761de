"""An endpoint of one's own around the graph: SSE in 30 lines.

To compare: Threadline's `/agents/agent/stream` sends the same, and its runs also survive a lost connection, a restart
and a second viewer, since they are not tied to the request.

    .venv/bin/python -m examples.own_endpoint

prints

    event: tool_call data: {"name": "add", "args": {"x": 3, "y": 4}}
    event: token data: "3"
    event: token data: " +"
    event: token data: " 4"
    event: token data: " is"
    event: token data: " 7"
    event: token data: " ("
    event: token data: "seven"
    event: token data: ")."
    event: end data: null
"""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessage, AIMessageChunk

from graph import build_graph

app = FastAPI()
graph = build_graph()


@app.get("/ask")
async def ask(question: str) -> StreamingResponse:
    """Stream the tool calls and the tokens of an answer."""
    return StreamingResponse(events(question), media_type="text/event-stream")


async def events(question: str) -> AsyncIterator[str]:
    """Make SSE of the graph's stream."""
    async for mode, part in graph.astream({"messages": question}, stream_mode=["messages", "updates"]):
        if mode == "messages" and isinstance(part[0], AIMessageChunk) and part[0].text:
            yield frame("token", part[0].text)
        elif mode == "updates" and "agent" in part:
            for message in part["agent"]["messages"]:
                for call in message.tool_calls if isinstance(message, AIMessage) else ():
                    yield frame("tool_call", {"name": call["name"], "args": call["args"]})
    yield frame("end", None)


def frame(event: str, data: object) -> str:
    """One event."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


async def main() -> None:
    """Ask the app as a browser would; `uvicorn examples.own_endpoint:app` serves it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        response = await client.get("/ask", params={"question": "What is 3 + 4?"})
        for event in response.text.strip().split("\n\n"):
            print(event.replace("\n", " "))


if __name__ == "__main__":
    asyncio.run(main())
