"""Short forms of the requests that scenarios are made of."""

from typing import Any

from tests.reference.exchange import Request, Scenario

Json = Any


def get(path: str, **options: Any) -> Request:
    """GET."""
    return Request("GET", path, **options)


def post(path: str, body: Json = None, **options: Any) -> Request:
    """POST; `{}` if no body is given."""
    return Request("POST", path, {} if body is None else body, **options)


def put(path: str, body: Json, **options: Any) -> Request:
    """PUT."""
    return Request("PUT", path, body, **options)


def patch(path: str, body: Json, **options: Any) -> Request:
    """PATCH."""
    return Request("PATCH", path, body, **options)


def delete(path: str, body: Json = None, **options: Any) -> Request:
    """DELETE, with a body if one is given."""
    return Request("DELETE", path, body, **options)


def thread(name: str = "thread", **body: Json) -> Request:
    """Creates a thread, whose id becomes a variable."""
    return post("/threads", body, save={name: "json.thread_id"})


def said(text: str) -> Json:
    """An input of one human message with a given id."""
    return {"messages": [{"role": "user", "content": text, "id": f"human-{text.replace(' ', '-')}"}]}


def stream(assistant: str, *, on: str = "thread", **body: Json) -> Request:
    """Streams a run of a thread; what is about the request and not its body goes by its name."""
    options = {name: body.pop(name) for name in ("headers", "save", "until", "during", "cut", "raw") if name in body}
    return post(f"/threads/{{{on}}}/runs/stream", {"assistant_id": assistant, **body}, **options)


def wait(assistant: str, *, on: str = "thread", **body: Json) -> Request:
    """Runs a thread and waits for the values."""
    return post(f"/threads/{{{on}}}/runs/wait", {"assistant_id": assistant, **body})


def background(assistant: str, *, on: str = "thread", name: str = "run", **body: Json) -> Request:
    """Starts a run, whose id becomes a variable."""
    return post(f"/threads/{{{on}}}/runs", {"assistant_id": assistant, **body}, save={name: "json.run_id"})


def join(name: str = "run", *, on: str = "thread") -> Request:
    """Waits for a run."""
    return get(f"/threads/{{{on}}}/runs/{{{name}}}/join")


def state(on: str = "thread", query: str = "") -> Request:
    """The latest state."""
    return get(f"/threads/{{{on}}}/state{query}")


def history(on: str = "thread", **body: Json) -> Request:
    """States, newest first."""
    return post(f"/threads/{{{on}}}/history", body)


def scenario(group: str, name: str, *requests: Request) -> Scenario:
    """A scenario."""
    return Scenario(group, name, requests)
