"""An OpenAI-compatible server for tests: real HTTP on a loopback port, with scripted replies and faults.

    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.reply(Call("add", '{"x": 1,', ' "y": 2}'))
        server.reply("It is ", "3.")
        ...
        assert server.requests[0].body["tool_choice"] == "required"

Each request to `POST /v1/chat/completions` takes the next reply, streamed or whole as it asks. A reply is made of text
pieces, tool calls in fragments and faults, in order; `error` queues a refusal instead. Connections are not kept alive.

It runs in the test's event loop: call blocking clients with `asyncio.to_thread`.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from itertools import pairwise
from types import MappingProxyType
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class Fault(Enum):
    """What can happen in the middle of a reply."""

    CUT = "the connection is cut"
    HANG = "nothing more is sent until `release`"


CUT = Fault.CUT
HANG = Fault.HANG


class Call:
    """A tool call whose arguments are sent as the given fragments.

    Args:
        name: Name of the tool.
        fragments: The arguments' JSON text, in pieces.
        call_id: Id of the call; made from its place in the reply if None.
    """

    def __init__(self, name: str, *fragments: str, call_id: str | None = None) -> None:
        self.name = name
        self.fragments = fragments
        self.call_id = call_id


@dataclass(frozen=True)
class Delta:
    """A `choices[0].delta` sent as it is, for what `Call` cannot say: interleaved calls, odd servers."""

    value: dict[str, Any]


Part = str | Call | Delta | Fault


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class _Error:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class _Reply:
    parts: tuple[Part, ...]
    finish_reason: str | None
    usage: Mapping[str, int]
    message: Mapping[str, Any]


def pieces(text: str, *at: int) -> list[str]:
    """Split text at positions, as in `Call("add", *pieces(arguments, 3, 7))`."""
    return [text[start:end] for start, end in pairwise([0, *at, len(text)])]


@dataclass
class OpenAIServer:
    """Script and record of a running server."""

    url: str
    """Base URL, for OPENAI_BASE_URL."""
    requests: list[Request] = field(default_factory=list)
    """What was asked so far, in order."""
    _replies: deque[_Reply | _Error] = field(default_factory=deque)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _hung: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    def reply(
        self,
        *parts: Part,
        finish_reason: str | None = None,
        usage: Mapping[str, int] = USAGE,
        message: Mapping[str, Any] = MappingProxyType({}),
        times: int = 1,
    ) -> None:
        """Queue a reply.

        Args:
            parts: What it is made of. A whole (not streamed) reply is cut or hangs before its first byte.
            finish_reason: "tool_calls" if there are calls, else "stop", if None.
            usage: Token counts as OpenAI names them.
            message: What the message of a whole reply holds besides.
            times: To how many requests it is given.
        """
        self._replies.extend([_Reply(parts, finish_reason, usage, message)] * times)

    def error(
        self,
        status: int,
        message: str = "scripted error",
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> None:
        """Queue a refusal with OpenAI's error body. Retries are at once unless `headers` say otherwise."""
        headers = {"retry-after-ms": "1"} if headers is None else headers
        body = {"error": {"message": message, "type": "scripted", "param": None, "code": code}}
        self._replies.extend([_Error(status, headers, body)] * times)

    def context_length_exceeded(self) -> None:
        """Queue the refusal of a prompt that is too long."""
        self.error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded")

    def release(self) -> None:
        """Let replies that hang go on."""
        self._released.set()

    async def hanging(self) -> None:
        """Wait until a reply hangs."""
        await self._hung.wait()

    async def disconnected(self) -> None:
        """Wait until a client has gone while its reply hung."""
        await self._gone.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read_request(reader)
            self.requests.append(request)
            await self._answer(request, reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = self._next(request)
        if isinstance(reply, _Error):
            await _write_whole(writer, reply.status, reply.body, reply.headers)
        elif request.body.get("stream"):
            await self._stream(request, reply, reader, writer)
        else:
            for fault in (part for part in reply.parts if isinstance(part, Fault)):
                if not await self._survives(fault, reader, writer):
                    return
            await _write_whole(writer, 200, _completion(request, reply), {})

    def _next(self, request: Request) -> _Reply | _Error:
        if request.path != "/v1/chat/completions":
            return _Error(404, {}, {"error": {"message": f"no such path: {request.path}"}})
        if not self._replies:
            return _Error(400, {}, {"error": {"message": "no reply is scripted", "code": "unscripted"}})
        return self._replies.popleft()

    async def _stream(
        self, request: Request, reply: _Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for event in _events(request, reply):
            if isinstance(event, Fault):
                if not await self._survives(event, reader, writer):
                    return
                continue
            data = b"data: %s\n\n" % (event if isinstance(event, bytes) else json.dumps(event).encode())
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _survives(self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Let a fault happen; tell whether the reply goes on."""
        if fault is Fault.CUT:
            writer.transport.abort()
            return False
        self._hung.set()
        released = asyncio.ensure_future(self._released.wait())
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait([released, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                self._gone.set()
            return not gone.done()
        finally:
            for waiter in (released, gone):
                waiter.cancel()
            await asyncio.gather(released, gone, return_exceptions=True)


@asynccontextmanager
async def openai_server() -> AsyncIterator[OpenAIServer]:
    """Run a server on a free port of the loopback interface; stop it, and what it is serving, on exit."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await state._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    state = OpenAIServer(f"http://{host}:{port}/v1")
    try:
        yield state
    finally:
        server.close()
        running = [*tasks]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(start.split()[1], headers, json.loads(content) if content else {})


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _write_whole(writer: asyncio.StreamWriter, status: int, body: Any, headers: Mapping[str, str]) -> None:
    content = json.dumps(body).encode()
    about = {"content-type": "application/json", "content-length": str(len(content))}
    writer.write(_head(status, {**about, **headers}) + content)
    await writer.drain()


def _finish_reason(reply: _Reply) -> str:
    calls = any(isinstance(part, Call) for part in reply.parts)
    return reply.finish_reason or ("tool_calls" if calls else "stop")


def _events(request: Request, reply: _Reply) -> Iterator[dict[str, Any] | bytes | Fault]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request.body.get("model")}

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    yield choice({"role": "assistant", "content": ""})
    for part in _numbered(reply.parts):
        if isinstance(part, Fault):
            yield part
        else:
            yield from (choice(delta) for delta in _deltas(part))
    yield choice({}, _finish_reason(reply))
    if (request.body.get("stream_options") or {}).get("include_usage"):
        yield {**base, "choices": [], "usage": dict(reply.usage)}
    yield b"[DONE]"


def _numbered(parts: Iterable[Part]) -> Iterator[str | Fault | Delta | tuple[int, Call]]:
    index = 0
    for part in parts:
        if isinstance(part, Call):
            yield index, part
            index += 1
        else:
            yield part


def _deltas(part: str | Delta | tuple[int, Call]) -> Iterator[dict[str, Any]]:
    match part:
        case str():
            yield {"content": part}
        case Delta(value):
            yield value
        case (index, call):
            yield {"tool_calls": [{"index": index, **_whole_call(index, call, "")}]}
            for fragment in call.fragments:
                yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}


def _whole_call(index: int, call: Call, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.call_id or f"call_{index}", "type": "function", "function": function}


def _completion(request: Request, reply: _Reply) -> dict[str, Any]:
    calls = [part for part in reply.parts if isinstance(part, Call)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part for part in reply.parts if isinstance(part, str)) or None,
        **reply.message,
    }
    if calls:
        message["tool_calls"] = [_whole_call(i, call, "".join(call.fragments)) for i, call in enumerate(calls)]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request.body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(reply)}],
        "usage": dict(reply.usage),
    }
