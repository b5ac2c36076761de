"""Plays a scenario against a server and records what came back.

    Scenario (requests with {variables}) ──play──> Trace: one entry a response, its JSON or its SSE frames

A request may save parts of its entry as variables for later ones. A streaming request may name an event at which
further requests are made while the stream is open, or at which it is cut.
"""

import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Json = Any
Trace = list[dict[str, Json]]

HEADERS = (
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "content-location",
    "content-type",
    "location",
    "x-accel-buffering",
    "x-pagination-next",
    "x-pagination-total",
)
"""What a client may read; everything else is the server's own business."""


@dataclass(frozen=True)
class Request:
    """One request. Strings in `path`, `body` and `headers` may hold {variables}."""

    method: str
    path: str
    body: Json = None
    """Sent as JSON; bytes are sent as they are; None sends no body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    save: Mapping[str, str] = field(default_factory=dict)
    """Variable to a dotted path in the entry: `json.thread_id`, `events.0.id`."""
    until: str | None = None
    """The event of the stream at which `during` happens, or the stream is cut."""
    during: tuple["Request", ...] = ()
    cut: bool = False
    raw: bool = False
    """Keep the bytes of the body as text, line ends included."""


@dataclass(frozen=True)
class Scenario:
    """A named list of requests, in order. `{nonce}` and `{uuid1}` to `{uuid3}` are its own."""

    group: str
    name: str
    requests: tuple[Request, ...]

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


async def play(scenario: Scenario, client: httpx.AsyncClient) -> Trace:
    """Makes the requests of a scenario.

    Raises:
        AssertionError: a variable cannot be saved, because the response is not what the scenario expects.
    """
    variables = {name: str(uuid.uuid4()) for name in ("nonce", "uuid1", "uuid2", "uuid3")}
    trace: Trace = []
    for request in scenario.requests:
        await _play(request, client, variables, trace)
    return trace


async def _play(request: Request, client: httpx.AsyncClient, variables: dict[str, str], trace: Trace) -> None:
    path = _fill(request.path, variables)
    entry: dict[str, Json] = {"request": f"{request.method} {path}"}
    trace.append(entry)
    body = _fill(request.body, variables)
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **_fill(dict(request.headers), variables)}
    if "origin" in headers:
        entry["origin"] = headers["origin"]
    async with client.stream(request.method, path, content=content, headers=headers) as response:
        entry["status"] = response.status_code
        entry["headers"] = {name: response.headers[name] for name in HEADERS if name in response.headers}
        if response.headers.get("content-type", "").startswith("text/event-stream") and not request.raw:
            await _read_events(request, response, client, variables, trace, entry)
        else:
            entry |= _body(await response.aread(), request.raw)
    _save(request.save, entry, variables)


async def _read_events(
    request: Request,
    response: httpx.Response,
    client: httpx.AsyncClient,
    variables: dict[str, str],
    trace: Trace,
    entry: dict[str, Json],
) -> None:
    entry["events"] = []
    pending = True
    async for frame in _frames(response.aiter_lines()):
        entry["events"].append(frame)
        if pending and request.until is not None and frame.get("event") == request.until:
            pending = False
            _save(request.save, entry, variables)
            for each in request.during:
                await _play(each, client, variables, trace)
            if request.cut:
                return


async def _frames(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Json]]:
    """Parses SSE: `event`, `id` and `data` of a frame as they are, a comment as `comment`."""
    frame: dict[str, Json] = {}
    async for line in lines:
        if line.startswith(":"):
            yield {"comment": line[1:].strip()}
        elif line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            frame[name] = f"{frame[name]}\n{value}" if name in frame else value
        elif frame:
            yield frame | {"data": _parsed(frame["data"])} if "data" in frame else frame
            frame = {}


def _body(content: bytes, raw: bool) -> dict[str, Json]:
    text = content.decode()
    if raw or not text.strip():
        return {"text": text if raw else ""}
    parsed = _parsed(text)
    return {"text": text} if parsed is text else {"json": parsed}


def _parsed(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _save(paths: Mapping[str, str], entry: dict[str, Json], variables: dict[str, str]) -> None:
    for name, path in paths.items():
        value: Json = entry
        for part in path.split("."):
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (LookupError, TypeError):
                raise AssertionError(f"no {path} in {json.dumps(entry)[:2000]}") from None
        variables[name] = str(value)


def _fill(template: Json, variables: Mapping[str, str]) -> Json:
    match template:
        case str():
            return re.sub(r"\{(\w+)\}", lambda found: variables[found[1]], template)
        case dict():
            return {_fill(key, variables): _fill(value, variables) for key, value in template.items()}
        case list() | tuple():
            return [_fill(each, variables) for each in template]
        case _:
            return template
