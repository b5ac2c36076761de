"""The `http` section of langgraph.json: the project's own app beside ours, and which of our routes are served."""

import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.errors import ConfigError
from api.settings import Settings
from tests.serving import serving

_APP = """
import asyncio
import contextlib
from typing import TypedDict

from fastapi import APIRouter, FastAPI, HTTPException, Request, WebSocket
from langgraph.graph import START, StateGraph
from langgraph_sdk import Auth
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

steps = []

class State(TypedDict):
    text: str

def say(state):
    return {"text": f"{state['text']} {steps}"}

graph = StateGraph(State).add_node("say", say).add_edge(START, "say").compile()

class Named:
    def __init__(self, app, name):
        self.app, self.name = app, name

    async def __call__(self, scope, receive, send):
        async def named(message):
            if message["type"] == "http.response.start":
                user = scope.get("user")
                seen = f"{self.name}:{scope['app'].title if user is None else user.identity}"
                message["headers"] = [*message["headers"], (b"x-seen", seen.encode())]
            await send(message)
        await self.app(scope, receive, named)

@contextlib.asynccontextmanager
async def lifespan(app):
    steps.append("up")
    app.state.ready = "app state"
    yield {"pool": "lifespan state"}
    steps.append("down")

app = FastAPI(title="Mine", lifespan=lifespan)
app.add_middleware(Named, name="inner")
app.add_middleware(Named, name="outer")
router = APIRouter(prefix="/mine")

@app.get("/hello")
def hello(request: Request):
    return {"state": request.app.state.ready, "pool": request.state.pool}

@app.get("/")
async def root():
    return "my root"

@router.get("/{name}")
async def named(name: str):
    if name == "teapot":
        raise HTTPException(418, "short and stout")
    if name == "crash":
        raise RuntimeError("secret-of-mine")
    return {"name": name}

@router.get("/stream/{count}")
async def stream(count: int):
    async def parts():
        for number in range(count):
            yield f"{number};"
    return StreamingResponse(parts())

@app.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("connected")
    await websocket.close()

@app.exception_handler(LookupError)
async def lookup(request, exc):
    return JSONResponse({"mine": str(exc)}, status_code=410)

@app.get("/me")
async def me(request: Request):
    return {"me": request.user.identity, "may": request.auth.scopes}

@app.get("/lookup")
async def look():
    raise KeyError("gone")

app.include_router(router)

plain = Starlette(routes=[Route("/plain", lambda request: PlainTextResponse("plain"))])
every = Starlette(routes=[Route("/{path:path}", lambda request: PlainTextResponse("mine"))])
catching = Starlette(routes=[Mount("/", every)])
clash = Starlette(routes=[Route("/threads/{id}/{what}", lambda request: PlainTextResponse("x"))])
clash_mount = Starlette(routes=[Mount("/assistants", every)])
other_method = Starlette(routes=[Route("/threads", lambda request: PlainTextResponse("put"), methods=["PUT"])])

@contextlib.asynccontextmanager
async def failing(app):
    raise OSError("no pool")
    yield

fails = Starlette(lifespan=failing)
text = "no app"

auth = Auth()

@auth.authenticate
async def authenticate(authorization: str | None):
    if not authorization:
        raise Auth.exceptions.HTTPException(401, "who?")
    return authorization
"""


@pytest.fixture(autouse=True)
def _undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("my_app", None)
    yield
    sys.modules.pop("my_app", None)


def _settings(folder: Path, http: Any, **more: Any) -> Settings:
    (folder / "my_app.py").write_text(_APP)
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"g": "./my_app.py:graph"}, "http": http, **more}))
    return Settings(config=path)


@contextlib.asynccontextmanager
async def _client(folder: Path, http: Any, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(_settings(folder, http, **more))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            yield client


async def test_routes_middleware_and_lifespan_of_a_projects_app_are_served(tmp_path: Path) -> None:
    async with _client(tmp_path, {"app": "./my_app.py:app"}) as client:
        hello = await client.get("/hello")
        assert hello.json() == {"state": "app state", "pool": "lifespan state"}
        assert hello.headers.get_list("x-seen") == ["inner:Mine", "outer:Mine"]
        assert "x-request-id" in hello.headers
        assert (await client.get("/")).json() == "my root"
        assert (await client.get("/mine/a")).json() == {"name": "a"}
        assert (await client.get("/mine/teapot")).json() == {"detail": "short and stout"}
        assert (await client.get("/mine/stream/3")).text == "0;1;2;"
        lost = await client.get("/lookup")
        assert (lost.status_code, lost.json()) == (410, {"mine": "'gone'"})
        crash = await client.get("/mine/crash")
        assert crash.status_code == 500
        assert "secret" not in crash.text
        run = await client.post("/runs/wait", json={"assistant_id": "g", "input": {"text": "seen:"}})
        assert run.json() == {"text": "seen: ['up']"}
        assert run.headers.get_list("x-seen") == ["inner:Mine", "outer:Mine"]
        assert (await client.get("/ok")).json()["ok"] is True
        assert (await client.get("/nowhere")).status_code == 404
        document = (await client.get("/openapi.json")).json()
        assert {"/hello", "/mine/{name}", "/threads", "/runs/wait"} <= set(document["paths"])
    assert sys.modules["my_app"].steps == ["up", "down"]


async def test_sockets_of_a_projects_app_are_served(tmp_path: Path) -> None:
    import websockets

    async with serving(create_app(_settings(tmp_path, {"app": "./my_app.py:app"}))) as url:
        async with websockets.connect(url.replace("http", "ws") + "/socket") as socket:
            assert await socket.recv() == "connected"
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/hello")).status_code == 200


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("order", ["auth_first", "middleware_first", None])
async def test_who_may_call_an_apps_routes_and_when_its_middleware_runs(
    tmp_path: Path, order: str | None, *, enabled: bool
) -> None:
    http = {"app": "./my_app.py:app", "middleware_order": order, "enable_custom_route_auth": enabled}
    async with _client(tmp_path, http, auth={"path": "./my_app.py:auth"}) as client:
        ours = await client.post("/threads", json={})
        assert ours.status_code == 401
        assert ("x-seen" in ours.headers) == (order != "auth_first")
        assert (await client.get("/hello")).status_code == (401 if enabled else 200)
        client.headers["authorization"] = "ada"
        for answer in (await client.get("/hello"), await client.post("/threads", json={})):
            assert answer.status_code == 200
            known = (enabled or answer.request.method == "POST") and "ada"
            if enabled:
                assert (await client.get("/me")).json() == {"me": "ada", "may": []}
            assert answer.headers.get_list("x-seen") == [f"inner:{known or 'Mine'}", f"outer:{known or 'Mine'}"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("clash", "/threads/{thread_id}/"),
        ("clash_mount", " /assistants"),
        ("fails", "lifespan failed with OSError: no pool"),
        ("text", "is a str, not a Starlette or FastAPI app"),
        ("absent", "no attribute"),
    ],
)
async def test_app_that_cannot_be_served_stops_the_start(tmp_path: Path, name: str, told: str) -> None:
    app = create_app(_settings(tmp_path, {"app": f"./my_app.py:{name}"}))
    with pytest.raises(ConfigError) as error:
        async with app.router.lifespan_context(app):
            pytest.fail("it started")
    assert told in error.value.message


async def test_our_routes_go_before_one_that_takes_every_path(tmp_path: Path) -> None:
    async with _client(tmp_path, {"app": "./my_app.py:catching"}) as client:
        assert (await client.get("/any/where")).text == "mine"
        assert (await client.get("/agents")).json()[0]["graph_id"] == "g"
        assert (await client.get("/ok")).json()["ok"] is True


async def test_method_that_is_not_ours_may_be_the_apps(tmp_path: Path) -> None:
    async with _client(tmp_path, {"app": "./my_app.py:other_method"}) as client:
        assert (await client.put("/threads")).text == "put"
        assert (await client.post("/threads", json={})).status_code == 200


_ASKED = {
    "assistants": [("POST", "/assistants/search"), ("GET", "/agents/g"), ("GET", "/agents/g/graph")],
    "threads": [("POST", "/threads"), ("GET", "/threads/{thread}/state")],
    "runs": [("POST", "/runs/wait"), ("POST", "/agents/g/invoke"), ("GET", "/threads/{thread}/runs")],
    "store": [("POST", "/store/items/search")],
    "meta": [("GET", "/info"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/openapi.json")],
}


@pytest.mark.parametrize("disabled", [*_ASKED, None])
async def test_disabled_parts_are_not_found_and_the_others_are(tmp_path: Path, disabled: str | None) -> None:
    body = {"assistant_id": "g", "input": {"text": "a"}}
    async with _client(tmp_path, {f"disable_{disabled}": True} if disabled else {}) as client:
        thread = "" if disabled == "threads" else (await client.post("/threads", json={})).json()["thread_id"]
        for part, asked in _ASKED.items():
            for method, path in asked:
                if not thread and "{thread}" in path:
                    continue
                sent = {"input": body["input"]} if "/agents" in path else body if path == "/runs/wait" else {}
                answer = await client.request(
                    method, path.format(thread=thread), json=sent if method == "POST" else None
                )
                assert answer.status_code == (404 if part == disabled else 200), path
        assert (await client.get("/ok")).json()["ok"] is True
        if disabled not in (None, "meta"):
            paths = (await client.get("/openapi.json")).json()["paths"]
            gone = {path.format(thread="{thread_id}", g="") for _, path in _ASKED[disabled]}
            assert not gone & set(paths)


async def test_disabled_part_may_be_the_apps_own(tmp_path: Path) -> None:
    async with _client(tmp_path, {"app": "./my_app.py:clash", "disable_threads": True, "disable_runs": True}) as client:
        assert (await client.get("/threads/1/state")).text == "x"


async def test_webhooks_can_be_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("api.webhooks.Webhooks.compose", lambda *args, **kwargs: sent.append(args))
    body = {"assistant_id": "g", "input": {"text": "a"}, "webhook": "https://93.184.216.34/hook"}
    for http, count in (({"disable_webhooks": True}, 0), ({}, 1)):
        async with _client(tmp_path, http) as client:
            assert "__error__" not in (await client.post("/runs/wait", json=body)).json()
            assert len(sent) == count


@pytest.mark.parametrize("prefix", ["/my/prefix", "/api/"])
async def test_every_path_is_below_the_mount_prefix(tmp_path: Path, prefix: str) -> None:
    async with _client(tmp_path, {"app": "./my_app.py:app", "mount_prefix": prefix}) as client:
        below = prefix.rstrip("/")
        assert (await client.get(f"{below}/hello")).json()["pool"] == "lifespan state"
        streamed = await client.post(f"{below}/agents/g/stream", json={"input": {"text": "a"}})
        assert streamed.headers["content-location"].startswith(f"{below}/agents/g/stream/")
        again = await client.get(streamed.headers["content-location"])
        assert again.text == streamed.text
        assert (await client.get(f"{below}/ok")).status_code == (await client.get("/ok")).status_code == 200
        for path in ("/hello", "/agents", f"{below}x/agents", "/info"):
            assert (await client.get(path)).status_code == 404, path


async def _preflight(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-mine"}
    return await client.options("/threads", headers=asked)


async def test_origins_that_cors_does_not_name_are_said_to_be_without_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = _settings(tmp_path, {"cors": {"allow_origins": ["https://mine.example"]}})
    for origins, told in ((["https://named.example"], True), (None, False)):
        caplog.clear()
        app = create_app(settings.model_copy(update={"cors_origins": origins}))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answer = await client.get("/ok", headers={"origin": "https://named.example"})
        assert "access-control-allow-origin" not in answer.headers
        assert ("THREADLINE_CORS_ORIGINS" in caplog.text) == told


async def test_cors_is_as_its_owner_wrote_it(tmp_path: Path) -> None:
    cors = {
        "allow_origins": ["https://mine.example"],
        "allow_origin_regex": r"https://[a-z]+\.apps\.example",
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["x-mine"],
        "allow_credentials": True,
        "expose_headers": ["x-shown"],
        "max_age": 7,
    }
    async with _client(tmp_path, {"cors": cors}) as client:
        for origin in ("https://mine.example", "https://one.apps.example"):
            allowed = await _preflight(client, origin)
            assert allowed.status_code == 200
            assert allowed.headers["access-control-allow-origin"] == origin
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-allow-methods"] == "GET, POST"
            assert "x-mine" in allowed.headers["access-control-allow-headers"]
            assert allowed.headers["access-control-max-age"] == "7"
            made = await client.post("/threads", json={}, headers={"origin": origin})
            assert made.status_code == 200
            assert made.headers["access-control-allow-origin"] == origin
            assert made.headers["access-control-expose-headers"] == "x-shown"
        for origin in ("https://evil.example", "https://smith.langchain.com", "null"):
            refused = await _preflight(client, origin)
            assert "access-control-allow-origin" not in refused.headers
            answer = await client.get("/ok", headers={"origin": origin})
            assert "access-control-allow-origin" not in answer.headers
        evil = await client.post("/threads", content="{}", headers={"origin": "https://evil.example"})
        assert evil.status_code == 403


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ({"cors": {"allow_origins": "https://one.example"}}, "http.cors.allow_origins"),
        ({"cors": {"allow_origin_regex": "("}}, "http.cors.allow_origin_regex"),
        ({"middleware_order": "random"}, "http.middleware_order"),
        ({"mount_prefix": "api"}, "http.mount_prefix"),
        ({"mount_prefix": "/"}, "http.mount_prefix"),
        ({"disable_runs": "yes"}, "http.disable_runs"),
        ("text", "http"),
    ],
)
async def test_section_that_does_not_fit_stops_the_start(tmp_path: Path, http: Any, told: str) -> None:
    app = create_app(_settings(tmp_path, http))
    with pytest.raises(ConfigError, match=told):
        async with app.router.lifespan_context(app):
            pytest.fail("it started")


async def test_keys_without_effect_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    more = {
        "python_version": "3.12",
        "dockerfile_lines": ["RUN true"],
        "source": {"kind": "uv"},
        "$schema": "https://langgra.ph/schema.json",
        "ui": {"a": "./a.tsx"},
        "priority": {"path": "./p.py:p"},
        "chekpointer": {},
        "store": None,
        "node_version": None,
    }
    http = {"logging_headers": {"excludes": ["*"]}, "disable_everything": True, "cors": {"allow_origin": ["*"]}}
    with caplog.at_level(logging.WARNING):
        async with _client(tmp_path, http, **more):
            pass
    for told in ("'ui' is not", "'priority' is not", "'chekpointer'", "'checkpointer' is", "disable_everything"):
        assert told in caplog.text
    assert "http.cors.allow_origin" in caplog.text
    for silent in (
        "python_version",
        "dockerfile_lines",
        "source",
        "schema",
        "node_version",
        "logging_headers",
        "'store'",
    ):
        assert silent not in caplog.text


async def test_encryption_is_refused(tmp_path: Path) -> None:
    app = create_app(_settings(tmp_path, {}, encryption={"path": "./e.py:e"}))
    with pytest.raises(ConfigError, match="encryption"):
        async with app.router.lifespan_context(app):
            pytest.fail("it started")
