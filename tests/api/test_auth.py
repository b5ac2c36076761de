"""Authentication and authorisation: what an operator's `Auth` may say, and what becomes of it."""

import contextlib
import json
import logging
import sqlite3
import textwrap
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from langgraph_sdk import Auth

from api.app import Threadline, create_app
from api.auth import Authority, load_auth
from api.callers import User, known_caller
from api.errors import ConfigError
from api.proofs import Proofs
from api.settings import Settings
from tests.api.test_crons import MORNING, FakeClock
from tests.serving import serving

PRELUDE = """
from langgraph_sdk import Auth
auth = Auth()
"""
ANYBODY = """
@auth.authenticate
async def authenticate(authorization: str | None):
    return (authorization or "Bearer nobody").removeprefix("Bearer ")
"""
GRAPHS = {"whoami": "./whoami.py:graph"}
WHOAMI = """
from typing import Any, TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

class State(TypedDict, total=False):
    seen: dict[str, Any]

async def look(state: State, config: RunnableConfig, runtime: Runtime) -> State:
    configurable = config["configurable"]
    user = configurable.get("langgraph_auth_user")
    server = getattr(runtime, "server_info", None)
    return {"seen": {
        "user": None if user is None else dict(user),
        "identity": getattr(user, "identity", None),
        "id": configurable.get("langgraph_auth_user_id"),
        "permissions": configurable.get("langgraph_auth_permissions"),
        "runtime": getattr(getattr(server, "user", None), "identity", None),
        "headers": {name: value for name, value in configurable.items() if name.startswith(("x-", "accept", "user-"))},
    }}

graph = StateGraph(State).add_node(look).add_edge(START, "look").compile()
"""


def written(folder: Path, source: str | None, **auth: Any) -> Path:
    """A langgraph.json with an auth module of that source; each under a name of its own, as Python keeps modules."""
    (folder / "whoami.py").write_text(WHOAMI)
    path = folder / "langgraph.json"
    document: dict[str, Any] = {"graphs": GRAPHS, **auth.pop("document", {})}
    if source is not None:
        name = f"auth_{uuid.uuid4().hex}.py"
        (folder / name).write_text(PRELUDE + textwrap.dedent(source))
        document["auth"] = {"path": f"./{name}:{auth.pop('attribute', 'auth')}", **auth}
    path.write_text(json.dumps(document))
    return path


@contextlib.asynccontextmanager
async def client_of(config: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server."""
    app = create_app(Settings(config=config, **settings))
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


class TestStart:
    @pytest.mark.parametrize(
        ("source", "auth", "complaint"),
        [
            (None, {"path": "./missing.py:auth"}, "missing.py does not exist"),
            ("def broken(:", {}, "SyntaxError"),
            ("raise RuntimeError('no database')", {}, "RuntimeError: no database"),
            ("", {}, "no authenticate handler"),
            ("", {"attribute": "nothing"}, "no attribute 'nothing'"),
            ("other = 1", {"attribute": "other"}, "is a int, not a langgraph_sdk.Auth"),
            ("@auth.authenticate\nasync def who(password): ...", {}, "asks for password"),
            (ANYBODY, {"path": "no-colon"}, 'expected "module:attribute"'),
            (ANYBODY, {"path": None}, "auth.path"),
            (ANYBODY, {"studio": True}, "auth.studio"),
            (ANYBODY, {"disable_studio_auth": "yes"}, "auth.disable_studio_auth"),
        ],
    )
    async def test_what_cannot_be_used_stops_it(
        self, tmp_path: Path, source: str | None, auth: Any, complaint: str
    ) -> None:
        config = written(tmp_path, source, **({} if source is None else auth))
        if source is None:
            config = written(tmp_path, None, document={"auth": auth})
        with pytest.raises(ConfigError, match=complaint):
            async with Threadline(Settings(config=config)):
                pass

    def test_keys_and_a_module_are_one_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="Choose one"):
            load_auth(Settings(config=written(tmp_path, ANYBODY), api_keys="a:key"))

    @pytest.mark.parametrize(
        "keys",
        ["hunter2-without-name", ":hunter2-key", "a:", "a b:hunter2", "langgraph:hunter2", "a:hunter2,b:hunter2"],
    )
    def test_keys_that_are_none_stop_it_and_are_not_shown(self, tmp_path: Path, keys: str) -> None:
        settings = Settings(config=written(tmp_path, None), api_keys=keys)
        assert "hunter2" not in repr(settings)
        with pytest.raises(ConfigError, match="THREADLINE_API_KEYS") as failed:
            load_auth(settings)
        assert "hunter2" not in str(failed.value)

    def test_says_what_no_handler_decides_about(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        load_auth(Settings(config=written(tmp_path, f"{ANYBODY}\n@auth.on.threads\nasync def t(ctx, value): ...")))
        assert "assistants.create, assistants.read" in caplog.text
        assert "threads." not in caplog.text

    def test_reads_the_handlers_where_the_sdk_keeps_them(self) -> None:
        """The SDK says that servers read these, and that it will not change them."""
        auth = Auth()

        @auth.authenticate
        async def authenticate() -> str:
            return "a"

        @auth.on
        async def everything(ctx: Any, value: Any) -> None: ...

        @auth.on.threads
        async def threads(ctx: Any, value: Any) -> None: ...

        @auth.on.threads.create
        async def create(ctx: Any, value: Any) -> None: ...

        @auth.on(actions="search")
        async def search(ctx: Any, value: Any) -> None: ...

        @auth.on.store(actions=["get"])
        async def get(ctx: Any, value: Any) -> None: ...

        handler = Authority(auth)._handler
        assert handler("threads", "create") is create
        assert handler("threads", "search") is threads
        assert handler("crons", "search") is search
        assert handler("crons", "delete") is everything
        assert handler("store", "get") is get


class TestAuthenticate:
    async def test_gets_what_it_asks_for_and_the_route_still_has_the_body(self, tmp_path: Path) -> None:
        source = """
        import json

        @auth.authenticate
        async def authenticate(request, body, path, method, path_params, query_params, headers, authorization, scope):
            read = await request.json()
            seen = [path, method, path_params, dict(query_params), headers[b"x-mine"].decode(), authorization[-1],
                    body == read, scope["type"]]
            return {"identity": "a", "seen": seen}
        """
        async with client_of(written(tmp_path, source)) as client:
            thread = (await client.post("/threads", json={}, headers={"x-mine": "1", **bearer("t")})).json()
            answer = await client.post(
                f"/threads/{thread['thread_id']}/runs/wait?flag=yes",
                json={"assistant_id": "whoami", "input": {}},
                headers={"x-mine": "2", **bearer("t")},
            )
        path = f"/threads/{thread['thread_id']}/runs/wait"
        params = {"thread_id": thread["thread_id"]}
        expected = [path, "POST", params, {"flag": "yes"}, "2", "t", True, "http"]
        assert answer.json()["seen"]["user"]["seen"] == expected

    async def test_refusals(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        failed = "The server failed to authenticate this request."
        cases = [
            ("raise Auth.exceptions.HTTPException(401, 'No token.')", 401, "No token."),
            ("raise Auth.exceptions.HTTPException(status_code=403)", 403, "Forbidden"),
            ("raise Auth.exceptions.HTTPException(418, 'Tea?', {'retry-after': '9'})", 418, "Tea?"),
            ("assert authorization == 'secret', authorization", 401, "Unauthorized"),
            ("return None", 401, "Unauthorized"),
            ("raise KeyError('/etc/secret')", 500, failed),
            ("return {'name': 'no identity'}", 500, failed),
            ("return ''", 500, failed),
        ]
        source = "@auth.authenticate\nasync def authenticate(headers, authorization):\n    case = headers[b'x-case']\n"
        source += "".join(f"    if case == b'{at}': {body}\n" for at, (body, _, _) in enumerate(cases))
        async with client_of(written(tmp_path, source)) as client:
            for at, (body, status, detail) in enumerate(cases):
                caplog.clear()
                sent = {"origin": "http://page", "x-case": str(at)}
                answer = await client.post("/threads/search", json={}, headers=sent)
                assert (answer.status_code, answer.json()["detail"]) == (status, detail), body
                assert answer.headers["access-control-allow-origin"] == "http://page"
                assert answer.headers.get("retry-after") == ("9" if status == 418 else None)
                assert ("the authenticate handler failed" in caplog.text) == (status == 500), body

    async def test_every_form_of_user(self, tmp_path: Path) -> None:
        forms = [
            "'a'",
            "{'identity': 'a', 'permissions': ['p']}",
            "(['p'], 'a')",
            "(['p'], {'identity': 'a'})",
            "Data('a', ['p'])",
            "Plain()",
        ]
        source = f"""
        from dataclasses import dataclass

        @dataclass
        class Data:
            identity: str
            permissions: list[str]

        class Plain:
            identity = "a"
            permissions = ["p"]

        @auth.authenticate
        def authenticate(headers):
            return [{", ".join(forms)}][int(headers[b"x-case"])]
        """
        async with client_of(written(tmp_path, source)) as client:
            for at, form in enumerate(forms):
                body = {"assistant_id": "whoami", "input": {}}
                answer = await client.post("/runs/wait", json=body, headers={"x-case": str(at)})
                seen = answer.json()["seen"]
                assert (seen["identity"], seen["id"], seen["runtime"]) == ("a", "a", "a"), form
                assert seen["permissions"] == ([] if form == "'a'" else ["p"])
                assert seen["user"]["identity"] == "a"
                assert seen["user"]["display_name"] == "a"

    async def test_preflight_and_public_paths_need_nobody(self, tmp_path: Path) -> None:
        source = "@auth.authenticate\nasync def authenticate(): raise Auth.exceptions.HTTPException(401)"
        async with client_of(written(tmp_path, source)) as client:
            asked = {"origin": "http://page", "access-control-request-method": "POST"}
            assert (await client.options("/threads", headers=asked)).status_code == 200
            assert (await client.get("/ok")).status_code == 200
            assert (await client.get("/nowhere")).status_code == 401

    async def test_a_mounted_service_has_it_too(self, tmp_path: Path) -> None:
        service = create_app(Settings(config=written(tmp_path, None), api_keys="a:key-of-a"))
        host = FastAPI(lifespan=service.router.lifespan_context)
        host.mount("/ai", service)
        async with serving(host) as url, httpx.AsyncClient(base_url=url) as client:
            for path, status in {
                "/ai/ok": 200,
                "/ai/agents": 401,
                "/ai/ai/ok": 401,
                "/ai//ok": 401,
                "/ok": 404,
            }.items():
                assert (await client.get(path)).status_code == status, path
            assert (await client.get("/ai/agents", headers={"x-api-key": "key-of-a"})).status_code == 200

    async def test_websockets_are_behind_it(self, tmp_path: Path) -> None:
        app = create_app(Settings(config=written(tmp_path, None), api_keys="a:key-of-a"))
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async with app.router.lifespan_context(app):
            scope = {"type": "websocket", "path": "/threads/x/stream/events", "headers": [], "query_string": b""}
            await app(scope, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]
        assert "threadline.caller" not in scope


class TestHandlers:
    async def test_verdicts(self, tmp_path: Path) -> None:
        failed = "The server failed to authorise this request."
        cases = [
            ("return False", 403, "Forbidden"),
            ("assert value is None, 'not yours'", 403, "not yours"),
            ("raise Auth.exceptions.HTTPException(402, 'Pay.')", 402, "Pay."),
            ("raise ValueError('/etc/secret')", 500, failed),
            ("return 'owner'", 500, failed),
            ("return {'owner': {'$regex': '.*'}}", 500, failed),
            ("return None", 200, None),
            ("return True", 200, None),
            ("return {'owner': {'$eq': 'x'}}", 200, None),
        ]
        source = f"{ANYBODY}\n@auth.on\nasync def decide(ctx, value):\n"
        source += "".join(f"    if ctx.user.identity == '{at}': {body}\n" for at, (body, _, _) in enumerate(cases))
        async with client_of(written(tmp_path, source)) as client:
            for at, (body, status, detail) in enumerate(cases):
                for path in ("/threads/search", "/assistants/search", "/runs/crons/search"):
                    answer = await client.post(path, json={}, headers=bearer(str(at)))
                    assert answer.status_code == status, (path, body)
                    if detail is not None:
                        assert answer.json()["detail"] == detail, body

    async def test_contains_shares_a_thread_with_others(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
@auth.on.threads
async def shared(ctx, value):
    return {{"$or": [{{"owner": ctx.user.identity}}, {{"people": {{"$contains": ctx.user.identity}}}}]}}
"""
        async with client_of(written(tmp_path, source)) as client:
            made = {"metadata": {"owner": "a", "people": ["b", "c"]}}
            thread = (await client.post("/threads", json=made, headers=bearer("a"))).json()["thread_id"]
            for name, status in {"a": 200, "b": 200, "c": 200, "d": 404}.items():
                assert (await client.get(f"/threads/{thread}", headers=bearer(name))).status_code == status
                count = await client.post("/threads/count", json={}, headers=bearer(name))
                assert count.json() == (1 if status == 200 else 0)

    async def test_every_event_has_its_resource_action_and_value(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
import json, pathlib
@auth.on
async def note(ctx, value):
    line = json.dumps([f"{{ctx.resource}}.{{ctx.action}}", sorted(value)])
    with (pathlib.Path(__file__).parent / "events").open("a") as file:
        file.write(line + "\\n")
"""
        async with client_of(written(tmp_path, source)) as client:
            thread = (await client.post("/threads", json={})).json()["thread_id"]
            await client.patch(f"/threads/{thread}", json={"metadata": {}})
            await client.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "whoami", "input": {}})
            await client.post("/threads/search", json={})
            made = (await client.post("/assistants", json={"graph_id": "whoami"})).json()["assistant_id"]
            await client.patch(f"/assistants/{made}", json={"name": "x"})
            await client.delete(f"/assistants/{made}")
            cron = {"assistant_id": "whoami", "schedule": "0 0 1 1 *"}
            made = (await client.post("/runs/crons", json=cron)).json()["cron_id"]
            await client.patch(f"/runs/crons/{made}", json={"enabled": False})
            await client.delete(f"/runs/crons/{made}")
            await client.put("/store/items", json={"namespace": ["n"], "key": "k", "value": {}})
            await client.get("/store/items?namespace=n&key=k")
            await client.post("/store/items/search", json={"namespace_prefix": []})
            await client.post("/store/namespaces", json={})
            await client.request("DELETE", "/store/items", json={"namespace": ["n"], "key": "k"})
            await client.delete(f"/threads/{thread}")
        events = dict(map(json.loads, (tmp_path / "events").read_text().splitlines()))
        assert set(events) == {
            *(f"threads.{action}" for action in ("create", "update", "create_run", "search", "delete")),
            *(f"assistants.{action}" for action in ("create", "update", "delete")),
            *(f"crons.{action}" for action in ("create", "update", "delete")),
            *(f"store.{action}" for action in ("put", "get", "search", "list_namespaces", "delete")),
        }
        assert {"thread_id", "assistant_id", "metadata", "kwargs", "multitask_strategy"} <= set(
            events["threads.create_run"]
        )
        assert {"assistant_id", "graph_id", "config", "context", "metadata", "name"} <= set(events["assistants.create"])
        assert {"payload", "schedule", "user_id"} <= set(events["crons.create"])

    async def test_changes_take_effect(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
@auth.on
async def stamp(ctx, value):
    value.setdefault("metadata", {{}})["by"] = ctx.user.identity
    if ctx.action == "create_run":
        value["kwargs"]["input"] = {{**value["kwargs"]["input"], "seen": {{"handler": True}}}}

@auth.on.assistants.create
async def named(ctx, value):
    value["metadata"]["by"] = ctx.user.identity
    value["name"] = "named by a handler"
    value["context"] = {{"limit": 1}}

@auth.on.store
async def scoped(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
"""
        async with client_of(written(tmp_path, source)) as client:
            client.headers = bearer("a")  # type: ignore[assignment]
            assistant = (await client.post("/assistants", json={"graph_id": "whoami"})).json()
            assert (assistant["name"], assistant["context"]) == ("named by a handler", {"limit": 1})
            assert assistant["metadata"] == {"by": "a"}
            run = (await client.post("/runs", json={"assistant_id": "whoami", "input": {}})).json()
            assert run["metadata"]["by"] == "a"
            assert run["kwargs"]["input"]["seen"] == {"handler": True}
            assert "caller" not in run["kwargs"]
            patched = (await client.get(f"/threads/{run['thread_id']}")).json()
            assert patched["metadata"]["by"] == "a"
            cron = {"assistant_id": "whoami", "schedule": "0 0 1 1 *"}
            made = (await client.post("/runs/crons", json=cron)).json()
            assert (made["metadata"], made["user_id"]) == ({"by": "a"}, "a")
            await client.put("/store/items", json={"namespace": ["n"], "key": "k", "value": {}})
            item = (await client.get("/store/items?namespace=n&key=k")).json()
            assert item["namespace"] == ["a", "n"]
            assert (await client.post("/store/namespaces", json={})).json() == {"namespaces": [["a", "n"]]}
            assert (await client.put("/store/items", json={"namespace": [], "key": "k", "value": {}})).is_success
            assert (await client.get("/store/items?namespace=a&key=k")).json() is None
            found = (await client.post("/store/items/search", json={"namespace_prefix": []})).json()["items"]
            assert sorted(item["namespace"] for item in found) == [["a"], ["a", "n"]]

    async def test_a_copy_of_a_shared_thread_is_the_copiers(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
@auth.on.threads.create
async def stamp(ctx, value):
    value["metadata"]["owner"] = ctx.user.identity

@auth.on.threads
async def readable(ctx, value): ...
"""
        async with client_of(written(tmp_path, source)) as client:
            thread = (await client.post("/threads", json={}, headers=bearer("a"))).json()["thread_id"]
            copied = (await client.post(f"/threads/{thread}/copy", headers=bearer("b"))).json()
        assert copied["metadata"]["owner"] == "b"

    async def test_a_run_of_anothers_assistant_is_the_callers(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
@auth.on.assistants.create
@auth.on.threads.create
async def stamp(ctx, value):
    value.setdefault("metadata", {{}})["owner"] = ctx.user.identity

@auth.on.assistants
async def shared(ctx, value): ...

@auth.on.threads
async def own(ctx, value):
    return {{"owner": ctx.user.identity}}

@auth.on.threads.create_run
async def of_own_thread(ctx, value):
    {{stamping}}
    return {{"owner": ctx.user.identity}}
"""
        stamping = 'value.setdefault("metadata", {})["owner"] = ctx.user.identity'
        for line, readable in ((stamping, "b"), ("pass", None)):
            folder = tmp_path / str(readable)
            folder.mkdir()
            async with client_of(written(folder, source.replace("{stamping}", line))) as client:
                body = {"graph_id": "whoami", "metadata": {"team": "red"}}
                assistant = (await client.post("/assistants", json=body, headers=bearer("a"))).json()
                agent = f"/agents/{assistant['assistant_id']}"
                bodies: list[tuple[str, Any]] = [
                    (f"{agent}/invoke", {"input": {}}),
                    (f"{agent}/stream", {"input": {"seen": {}}}),
                    (f"{agent}/batch", {"inputs": [{"seen": {}}]}),
                    (f"{agent}/events", {"input": {"seen": {}}}),
                    ("/runs/wait", {"assistant_id": assistant["assistant_id"], "on_completion": "keep", "input": {}}),
                    (
                        f"/threads/{uuid.uuid4()}/runs/wait",
                        {"assistant_id": assistant["assistant_id"], "input": {}, "if_not_exists": "create"},
                    ),
                ]
                for path, given in bodies:
                    asked = given if "batch" in path else {**given, "input": {"seen": {"by": "b"}}}
                    assert (await client.post(path, json=asked, headers=bearer("b"))).status_code == 200, path
                for who in ("a", "b"):
                    found = (await client.post("/threads/search", json={}, headers=bearer(who))).json()
                    assert len(found) == (len(bodies) if who == readable else 0), who
                    assert not any("team" in thread["metadata"] for thread in found)


class TestIdentity:
    async def test_what_proves_it_is_kept_nowhere(self, tmp_path: Path) -> None:
        source = """
        @auth.authenticate
        async def authenticate(authorization, headers):
            key = headers[b"x-api-key"].decode()
            return {"identity": "a", "org": "o", "token": authorization, "deep": {"key": [key]}}
        """
        proofs = {"authorization": "Bearer the-token-of-a", "x-api-key": "the-key-of-a"}
        async with client_of(written(tmp_path, source)) as client:
            body = {"assistant_id": "whoami", "input": {}}
            thread = (await client.post("/threads", json={}, headers=proofs)).json()["thread_id"]
            answer = await client.post(f"/threads/{thread}/runs/wait", json=body, headers=proofs)
            seen = answer.json()["seen"]
            assert (seen["user"]["org"], "token" in seen["user"], "deep" in seen["user"]) == ("o", False, False)
            await client.post("/runs/crons", json={"assistant_id": "whoami", "schedule": "0 0 1 1 *"}, headers=proofs)
        for file in filter(Path.is_file, (tmp_path / ".threadline").rglob("*")):
            for proof in (b"the-token-of-a", b"the-key-of-a"):
                assert proof not in file.read_bytes(), file

    async def test_credentials_are_kept_nowhere_wherever_they_are_read_from(self, tmp_path: Path) -> None:
        source = """
        @auth.authenticate
        async def authenticate(headers, query_params):
            email = headers.get(b"x-auth-request-email", b"").decode()
            sent = [headers.get(name, b"").decode() for name in (b"x-session-id", b"x-tenant-proof", b"cookie")]
            return {
                "identity": "a", "email": email, "sid": sent[0], "access": {"token": sent[1]},
                "jar": sent[2].split("=")[1], "ticket": query_params["access_token"],
                "password": "pass-of-a-1", "plan": "the-plan-of-a",
            }
        """
        sent = {
            "x-session-id": "the-session-of-a",
            "x-tenant-proof": "the-proof-of-a",
            "x-auth-request-email": "a@mail.example",
            "cookie": "sid=the-cookie-of-a",
            "authorization": "Basic YTpwYXNzLW9mLWEtMQ==",
            "x-plan": "the-plan-of-a",
        }
        async with client_of(written(tmp_path, source)) as client:
            query = "access_token=the-ticket-of-a"
            thread = (await client.post(f"/threads?{query}", json={}, headers=sent)).json()["thread_id"]
            body = {"assistant_id": "whoami", "input": {}}
            answer = await client.post(f"/threads/{thread}/runs/wait?{query}", json=body, headers=sent)
            seen = answer.json()["seen"]["user"]
            assert (seen["email"], seen["plan"]) == ("a@mail.example", "the-plan-of-a")
            assert not seen.keys() & {"sid", "access", "jar", "ticket", "password"}
        for file in filter(Path.is_file, (tmp_path / ".threadline").rglob("*")):
            for proof in (b"session-of-a", b"proof-of-a", b"cookie-of-a", b"ticket-of-a", b"pass-of-a"):
                assert proof not in file.read_bytes(), (file, proof)

    async def test_a_client_cannot_say_who_it_is_in_its_config(self, tmp_path: Path) -> None:
        claimed = {"langgraph_auth_user": {"identity": "admin"}, "langgraph_auth_user_id": "admin"}
        for source in (ANYBODY, None):
            async with client_of(written(tmp_path, source)) as client:
                body = {"assistant_id": "whoami", "input": {}, "config": {"configurable": claimed}}
                seen = (await client.post("/runs/wait", json=body, headers=bearer("a"))).json()["seen"]
            assert (seen["id"], seen["identity"]) == ("a" if source else None, "a" if source else None)

    async def test_who_follows_a_run_is_not_told_of_its_user(self, tmp_path: Path) -> None:
        source = """
        @auth.authenticate
        async def authenticate():
            return {"identity": "a", "email": "a@private.example"}
        """
        async with client_of(written(tmp_path, source)) as client:
            body = {"assistant_id": "whoami", "input": {}, "stream_mode": ["debug", "checkpoints", "tasks", "updates"]}
            thread = (await client.post("/threads", json={})).json()["thread_id"]
            streamed = await client.post(f"/threads/{thread}/runs/stream", json=body)
            events = [line for line in streamed.text.splitlines() if line.startswith("data:") and "private" in line]
            record = await client.get(f"/threads/{thread}/runs")
        # What the graph itself puts into its state is its own affair.
        assert events
        assert all('"seen"' in line for line in events)
        assert not any("langgraph_auth_user" in line for line in events)
        assert "private" not in record.text

    async def test_native_runs_have_it_too(self, tmp_path: Path) -> None:
        async with client_of(written(tmp_path, ANYBODY)) as client:
            answer = await client.post("/agents/whoami/invoke", json={"input": {"seen": {}}}, headers=bearer("a"))
            state = await client.get(f"/threads/{answer.json()['thread_id']}/state", headers=bearer("a"))
        assert state.json()["values"]["seen"]["id"] == "a"

    async def test_crons_fire_as_who_made_them(self, tmp_path: Path) -> None:
        source = f"""{ANYBODY}
@auth.on
async def own(ctx, value):
    owner = {{"owner": ctx.user.identity}}
    if ctx.action in ("create", "create_run"):
        value.setdefault("metadata", {{}}).update(owner)
    return owner
"""
        clock = FakeClock()
        app = create_app(Settings(config=written(tmp_path, source)), clock=clock)
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            cron = {
                "assistant_id": "whoami",
                "schedule": "0 12 * * *",
                "input": {"seen": {}},
                "on_run_completed": "keep",
            }
            made = await client.post("/runs/crons", json=cron, headers=bearer("a"))
            assert made.status_code == 200, made.text
            noon = MORNING + timedelta(minutes=30)
            await clock.slept(noon)
            await clock.move_to(noon)
            await clock.slept(noon + timedelta(days=1))
            (thread,) = (await client.post("/threads/search", json={}, headers=bearer("a"))).json()
            runs = f"/threads/{thread['thread_id']}/runs"
            (run,) = (await client.get(runs, headers=bearer("a"))).json()
            await client.get(f"{runs}/{run['run_id']}/join", headers=bearer("a"))
            thread = (await client.get(f"/threads/{thread['thread_id']}", headers=bearer("a"))).json()
            assert thread["metadata"]["owner"] == "a"
            assert thread["values"]["seen"]["id"] == "a"
            assert (await client.post("/threads/count", json={}, headers=bearer("b"))).json() == 0

    async def test_crons_of_who_has_no_key_any_more_do_not_fire(self, tmp_path: Path) -> None:
        clock, config = FakeClock(), written(tmp_path, None)
        cron = {"assistant_id": "whoami", "schedule": "0 12 * * *", "input": {}, "on_run_completed": "keep"}
        keys = {name: {"x-api-key": f"the-key-of-{name}"} for name in "ab"}
        both = "a:the-key-of-a,b:the-key-of-b"
        first = create_app(Settings(config=config, api_keys=both), clock=clock)
        async with serving(first) as url, httpx.AsyncClient(base_url=url) as client:
            for key in keys.values():
                assert (await client.post("/runs/crons", json=cron, headers=key)).status_code == 200
        noon = MORNING + timedelta(minutes=30)
        async with serving(create_app(Settings(config=config, api_keys="b:the-key-of-b"), clock=clock)):
            await clock.slept(noon)
            await clock.move_to(noon)
            await clock.slept(noon + timedelta(days=1))
        restored = create_app(Settings(config=config, api_keys=both), clock=clock)
        async with serving(restored) as url, httpx.AsyncClient(base_url=url) as client:
            for name, fired in (("a", 0), ("b", 1)):
                assert (await client.post("/threads/count", json={}, headers=keys[name])).json() == fired

    def test_a_user_is_a_mapping_with_attributes(self) -> None:
        class Account:
            identity = "a"
            token = "the-secret-token"

        caller = known_caller(Account(), ["p"], Proofs(["the-secret-token"]))
        assert isinstance(caller.user, User)
        assert caller.user.token == "the-secret-token"
        assert (caller.user["identity"], caller.user.permissions, next(iter(caller.user))) == (
            "a",
            ["p"],
            "is_authenticated",
        )
        assert "the-secret-token" not in json.dumps(caller.record()) + repr(caller)


class TestStudio:
    HEADERS: ClassVar = {"x-auth-scheme": "langsmith"}
    SOURCE = """
    @auth.authenticate
    async def authenticate():
        raise Auth.exceptions.HTTPException(401)

    @auth.on
    async def studio_only(ctx, value):
        assert isinstance(ctx.user, Auth.types.StudioUser)
        assert ctx.user.identity == "langgraph-studio-user"
    """

    async def status(self, client: httpx.AsyncClient, **headers: str) -> int:
        sent = {**self.HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return (await client.post("/threads/search", json={}, headers=sent)).status_code

    async def test_is_a_user_of_its_own_on_this_machine(self, tmp_path: Path) -> None:
        config = written(tmp_path, self.SOURCE, disable_studio_auth=False)
        async with client_of(config, host="127.0.0.1") as client:
            assert await self.status(client) == 200
            assert await self.status(client, origin="https://smith.langchain.com") == 200
            assert await self.status(client, origin="http://localhost:3000") == 200

    async def test_its_header_alone_opens_nothing(self, tmp_path: Path) -> None:
        config = written(tmp_path, self.SOURCE, disable_studio_auth=False)
        for host in ("0.0.0.0", None):
            async with client_of(config, host=host) as client:
                assert await self.status(client) == 401
        async with client_of(config, host="127.0.0.1") as client:
            assert await self.status(client, x_auth_scheme="other") == 401
            for origin in (
                "https://evil.example",
                "https://smith.langchain.com.evil.example",
                "http://smith.langchain.com",
                "null",
            ):
                assert await self.status(client, origin=origin) == 401, origin
            assert await self.status(client, x_forwarded_for="10.0.0.1") == 401
            assert await self.status(client, forwarded="for=10.0.0.1") == 401
            assert await self.status(client, host="rebound.example:2024") == 401

    @pytest.mark.parametrize("options", [{}, {"disable_studio_auth": True}])
    async def test_is_nobody_unless_asked_for(self, tmp_path: Path, options: dict[str, bool]) -> None:
        config = written(tmp_path, self.SOURCE, **options)
        async with client_of(config, host="127.0.0.1") as client:
            assert await self.status(client) == 401

    async def test_the_start_says_that_it_is_on(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        async with client_of(written(tmp_path, self.SOURCE)):
            assert "langgraph-studio-user" not in caplog.text
        async with client_of(written(tmp_path, self.SOURCE, disable_studio_auth=False)):
            assert "langgraph-studio-user" in caplog.text


async def test_openapi_has_the_operators_security_schemes(tmp_path: Path) -> None:
    schemes = {"token": {"type": "http", "scheme": "bearer"}}
    openapi = {"securitySchemes": schemes, "security": [{"token": []}]}
    async with client_of(written(tmp_path, ANYBODY, openapi=openapi)) as client:
        document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == schemes
    assert document["security"] == [{"token": []}]


async def test_api_keys_by_either_header_and_several_for_a_tenant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = written(tmp_path, None)
    async with client_of(config, api_keys="a:the-old-key, a:the-new-key,b:key:with:colons") as client:
        made = await client.post("/threads", json={}, headers={"x-api-key": "the-old-key"})
        for headers, count in (
            ({"x-api-key": "the-new-key"}, 1),
            (bearer("the-new-key"), 1),
            ({"x-api-key": "of-langsmith", **bearer("the-new-key")}, 1),
            ({"x-api-key": "key:with:colons"}, 0),
        ):
            assert (await client.post("/threads/count", json={}, headers=headers)).json() == count
        for headers in ({}, {"x-api-key": ""}, {"x-api-key": "the-old"}, {"authorization": "the-new-key"}):
            refused = await client.post("/threads/count", json={}, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
    assert made.json()["metadata"] == {"owner": "a"}
    assert "the-new-key" not in caplog.text
    with contextlib.closing(sqlite3.connect(tmp_path / ".threadline" / "threadline.sqlite")) as database:
        assert "the-old-key" not in "\n".join(database.iterdump())


async def test_api_keys_in_the_env_of_langgraph_json_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREADLINE_API_KEYS", "")
    monkeypatch.delenv("THREADLINE_API_KEYS")  # what langgraph.json sets is taken back with it
    config = written(tmp_path, None, document={"env": {"THREADLINE_API_KEYS": "a:key-of-a"}})
    async with client_of(config) as client:
        assert (await client.get("/agents")).status_code == 401
        assert (await client.get("/agents", headers=bearer("key-of-a"))).status_code == 200


async def test_graphs_see_the_headers_that_are_included_and_nothing_secret(tmp_path: Path) -> None:
    sent = {"x-team": "blue", "x-team-token": "t", "x-api-key": "k", "cookie": "c", "x-other": "o", **bearer("a")}
    body = {"assistant_id": "whoami", "input": {}}
    for patterns, seen in (
        (None, {}),
        ({"includes": ["X-Team*"], "excludes": ["*token"]}, {"x-team": "blue"}),
        (
            {"includes": ["*"], "excludes": ["accept*", "user-agent"]},
            {"x-team": "blue", "x-team-token": "t", "x-other": "o"},
        ),
    ):
        document = {} if patterns is None else {"http": {"configurable_headers": patterns}}
        async with client_of(written(tmp_path, ANYBODY, document=document)) as client:
            answer = await client.post("/runs/wait", json=body, headers=sent)
            assert answer.json()["seen"]["headers"] == seen
            (run,) = (await client.post("/runs/batch", json=[body], headers=sent)).json()
            kept = run["kwargs"]["config"]["configurable"]
            assert not {"authorization", "cookie", "x-api-key"} & kept.keys()
            assert seen.items() <= kept.items()


async def test_headers_config_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    config = written(tmp_path, None, document={"http": {"configurable_headers": {"only": ["x-a"]}}})
    with pytest.raises(ConfigError, match="configurable_headers"):
        async with Threadline(Settings(config=config)):
            pass
