"""The bare server: the least that can stream an agent over HTTP. No thread, no record, no resume.

request ──> graph.astream ──> `data: {"text": ...}` ──> the same response
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessageChunk

from benchmarks import scripted

STATIC_FILE = "BENCHMARK_STATIC_FILE"
"""Environment variable: a file that `GET /static` serves out of memory."""


def create_app() -> FastAPI:
    """The server, with every scripted graph."""
    app = FastAPI()
    static = Path(os.environ[STATIC_FILE]).read_bytes() if STATIC_FILE in os.environ else b""

    @app.get("/ok")
    async def ok() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/static")
    async def static_bytes() -> Response:
        return Response(static, media_type="text/event-stream")

    @app.post("/agents/waiting/stream")
    async def stream_waiting(body: dict[str, Any]) -> Response:
        return StreamingResponse(_custom(scripted.waiting, body["input"]), media_type="text/event-stream")

    @app.post("/agents/{name}/stream")
    async def stream(name: str, body: dict[str, Any]) -> Response:
        return StreamingResponse(_tokens(getattr(scripted, name), body["input"]), media_type="text/event-stream")

    return app


async def _tokens(graph: Any, text: str) -> AsyncIterator[bytes]:
    """A fragment of a tool call gives an empty text, so that the first event of the model is seen."""
    async for chunk, _ in graph.astream({"messages": text}, stream_mode="messages"):
        if isinstance(chunk, AIMessageChunk):
            yield b"data: %b\n\n" % orjson.dumps({"text": chunk.text})


async def _custom(graph: Any, text: str) -> AsyncIterator[bytes]:
    async for payload in graph.astream({"messages": text}, stream_mode="custom"):
        yield b"data: %b\n\n" % orjson.dumps(payload)
