"""Authorisation compared: one auth module and the same requests of two users, against the reference and against us."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.reference.servers import langgraph_dev, threadline

AUTH = """
from langgraph_sdk import Auth

auth = Auth()

@auth.authenticate
async def authenticate(authorization: str | None):
    if authorization == "Bearer none":
        raise Auth.exceptions.HTTPException(401, "Who are you?")
    if authorization == "Bearer barred":
        raise Auth.exceptions.HTTPException(403, "Not you.")
    return {"identity": authorization.removeprefix("Bearer "), "permissions": ["p"], "team": "t"}

@auth.on.threads
@auth.on.assistants
@auth.on.crons
async def own(ctx, value):
    owner = {"owner": ctx.user.identity}
    if ctx.action in ("create", "create_run", "update"):
        value.setdefault("metadata", {}).update(owner)
    assert value.get("metadata", {}).get("bad") is None, "bad metadata"
    return owner

@auth.on.threads.delete
async def nobody(ctx, value):
    return False

@auth.on.store
async def items(ctx, value):
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))

@auth.on.store.delete
async def no_delete(ctx, value):
    raise Auth.exceptions.HTTPException(402, "Pay first.")
"""

GRAPH = """
from typing import Any, TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    seen: dict[str, Any]

async def look(state: State, config: RunnableConfig) -> State:
    configurable = config["configurable"]
    user = configurable.get("langgraph_auth_user")
    return {"seen": {
        "identity": user.identity, "item": user["team"], "attribute": user.team, "name": user.display_name,
        "known": user.is_authenticated, "id": configurable["langgraph_auth_user_id"],
        "permissions": list(configurable["langgraph_auth_permissions"]),
        "headers": sorted(name for name in configurable if name.startswith("x-")),
    }}

graph = StateGraph(State).add_node(look).add_edge(START, "look").compile()
"""

RUN = {"assistant_id": "whoami", "input": {"seen": {}}}
CRON = {"assistant_id": "whoami", "schedule": "0 0 1 1 *"}

REQUESTS: list[tuple[str, str, str, Any]] = [
    ("none", "POST", "/threads", {}),
    ("barred", "POST", "/threads", {}),
    ("none", "GET", "/ok", None),
    ("none", "GET", "/info", None),
    ("a", "POST", "/threads", {"thread_id": "{thread}"}),
    ("a", "POST", "/threads", {"metadata": {"bad": True}}),
    ("a", "GET", "/threads/{thread}", None),
    ("b", "GET", "/threads/{thread}", None),
    ("b", "POST", "/threads", {"thread_id": "{thread}"}),
    ("b", "POST", "/threads", {"thread_id": "{thread}", "if_exists": "do_nothing"}),
    ("b", "PATCH", "/threads/{thread}", {"metadata": {"x": 1}}),
    ("b", "POST", "/threads/search", {}),
    ("a", "POST", "/threads/count", {}),
    ("b", "POST", "/threads/count", {}),
    ("b", "GET", "/threads/{thread}/state", None),
    ("b", "POST", "/threads/{thread}/history", {}),
    ("b", "POST", "/threads/{thread}/copy", None),
    ("a", "DELETE", "/threads/{thread}", None),
    ("a", "POST", "/threads/{thread}/runs/wait", RUN),
    ("b", "POST", "/threads/{thread}/runs/wait", RUN),
    ("b", "POST", "/threads/{thread}/runs", {**RUN, "if_not_exists": "create"}),
    ("a", "GET", "/threads/{thread}", None),
    ("a", "POST", "/runs/wait", RUN),
    ("a", "POST", "/assistants", {"graph_id": "whoami", "assistant_id": "{assistant}"}),
    ("b", "GET", "/assistants/{assistant}", None),
    ("b", "PATCH", "/assistants/{assistant}", {"name": "x"}),
    ("b", "POST", "/assistants/{assistant}/versions", {}),
    ("b", "POST", "/runs/wait", {**RUN, "assistant_id": "{assistant}"}),
    ("a", "POST", "/runs/wait", {**RUN, "assistant_id": "{assistant}"}),
    ("b", "POST", "/assistants", {"graph_id": "whoami", "assistant_id": "{assistant}", "if_exists": "do_nothing"}),
    ("a", "POST", "/runs/crons", CRON),
    ("b", "POST", "/runs/crons/search", {}),
    ("a", "POST", "/runs/crons/count", {}),
    ("b", "POST", "/runs/crons/count", {}),
    ("b", "POST", "/runs/crons", {**CRON, "assistant_id": "{assistant}"}),
    ("b", "POST", "/threads/{thread}/runs/crons", CRON),
    ("a", "PUT", "/store/items", {"namespace": ["n"], "key": "k", "value": {"v": 1}}),
    ("a", "GET", "/store/items?namespace=n&key=k", None),
    ("b", "GET", "/store/items?namespace=n&key=k", None),
    ("a", "POST", "/store/items/search", {"namespace_prefix": []}),
    ("b", "POST", "/store/items/search", {"namespace_prefix": []}),
    ("a", "POST", "/store/namespaces", {}),
    ("a", "DELETE", "/store/items", {"namespace": ["n"], "key": "k"}),
    ("studio", "POST", "/threads/search", {}),
]

_GIVEN = ("metadata", "namespace", "value", "seen", "detail")
"""What of an answer is compared beside its status; times and ids differ."""

_ELSEWHERE = ("/ok", "/info")
"""Their answers are compared with the other scenarios."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What both serve."""
    (tmp_path / "auth_compared.py").write_text(AUTH)
    (tmp_path / "whoami_compared.py").write_text(GRAPH)
    document = {
        "dependencies": ["."],
        "graphs": {"whoami": "./whoami_compared.py:graph"},
        "auth": {"path": "./auth_compared.py:auth", "disable_studio_auth": False},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(document))
    return tmp_path


def _played(url: str) -> Iterator[tuple[str, int, Any]]:
    """Every request with its status, and what of its answer can be compared."""
    ids = {"thread": str(uuid.uuid4()), "assistant": str(uuid.uuid4())}
    with httpx.Client(base_url=url, timeout=30) as client:
        for user, method, path, body in REQUESTS:
            headers = {"authorization": f"Bearer {user}", "x-mine": "1", "x-api-key": "k"}
            if user == "studio":
                headers = {"x-auth-scheme": "langsmith"}
            text = json.dumps([path, body])
            for name, value in ids.items():
                text = text.replace(f"{{{name}}}", value)
            filled, sent = json.loads(text)
            answer = client.request(method, filled, json=sent, headers=headers)
            compared = None if path in _ELSEWHERE else _comparable(answer, ids)
            yield f"{user} {method} {path} {body}", answer.status_code, compared


def _comparable(answer: httpx.Response, ids: dict[str, str]) -> Any:
    try:
        document = json.loads(answer.text)
    except ValueError:
        return None
    if isinstance(document, list):
        return sorted(json.dumps(_part(each)) for each in document)
    for name, value in ids.items():
        document = json.loads(json.dumps(document).replace(value, f"<{name}>"))
    return _part(document)


def _part(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    if "items" in document:
        return [_part(each) for each in document["items"]]
    return {name: document[name] for name in _GIVEN if name in document} or sorted(document)


def test_users_get_what_the_reference_gives_them(has_reference: None, folder: Path, tmp_path: Path) -> None:
    with langgraph_dev(folder) as url:
        theirs = list(_played(url))
    shutil.rmtree(folder / ".langgraph_api", ignore_errors=True)
    with threadline(folder) as url:
        ours = list(_played(url))
    different = [f"{one}\n    {other}" for one, other in zip(theirs, ours, strict=True) if one != other]
    assert not different, "\n".join(["the reference, then ours:", *different])
