"""The OpenAPI document: FastAPI's own, completed with the bodies of answers, and with every refusal and its status.

routes ──get_openapi──> document ──bodies, answers, refusals, formats of ids──> /openapi.json, /docs
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from api import answers
from api.custom_app import own_document
from api.schemas import Json

if TYPE_CHECKING:
    from api.app import Threadline

REFERENCE = "#/components/schemas/{model}"
"""Where a schema refers to others."""

_ANSWERS: dict[str, Any] = {
    "GET /ok": answers.Health,
    "GET /info": answers.Info,
    "GET /agents": list[answers.AgentSummary],
    "GET /agents/{assistant_id}": answers.Agent,
    "GET /agents/{assistant_id}/graph": answers.Drawing,
    "POST /agents/{assistant_id}/invoke": answers.RunResult,
    "POST /agents/{assistant_id}/batch": answers.BatchResult,
    "POST /agents/{assistant_id}/runs/{run_id}/cancel": answers.Cancelled,
    "POST /assistants": answers.AssistantRecord,
    "POST /assistants/search": list[answers.AssistantRecord],
    "POST /assistants/count": int,
    "GET /assistants/{assistant_id}": answers.AssistantRecord,
    "PATCH /assistants/{assistant_id}": answers.AssistantRecord,
    "POST /assistants/{assistant_id}/versions": list[answers.AssistantVersion],
    "POST /assistants/{assistant_id}/latest": answers.AssistantRecord,
    "GET /assistants/{assistant_id}/graph": answers.Drawing,
    "GET /assistants/{assistant_id}/schemas": answers.GraphSchemas,
    "GET /assistants/{assistant_id}/subgraphs": dict[str, answers.GraphSchemas],
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": dict[str, answers.GraphSchemas],
    "POST /runs": answers.RunRecord,
    "POST /runs/batch": list[answers.RunRecord],
    "POST /runs/crons": answers.CronRecord,
    "POST /runs/crons/count": int,
    "POST /runs/crons/search": list[answers.CronRecord],
    "GET /runs/crons/{cron_id}": answers.CronRecord,
    "PATCH /runs/crons/{cron_id}": answers.CronRecord,
    "GET /store/items": answers.StoreItem | None,
    "POST /store/items/search": answers.StoreItems,
    "POST /store/namespaces": answers.Namespaces,
    "POST /threads": answers.ThreadRecord,
    "POST /threads/count": int,
    "POST /threads/prune": answers.Pruned,
    "POST /threads/search": list[answers.ThreadRecord],
    "GET /threads/{thread_id}": answers.ThreadRecord,
    "PATCH /threads/{thread_id}": answers.ThreadRecord,
    "POST /threads/{thread_id}/copy": answers.ThreadRecord,
    "GET /threads/{thread_id}/history": list[answers.State],
    "POST /threads/{thread_id}/history": list[answers.State],
    "GET /threads/{thread_id}/runs": list[answers.RunRecord],
    "POST /threads/{thread_id}/runs": answers.RunRecord,
    "GET /threads/{thread_id}/runs/{run_id}": answers.RunRecord,
    "POST /threads/{thread_id}/runs/crons": answers.CronRecord,
    "GET /threads/{thread_id}/state": answers.State,
    "POST /threads/{thread_id}/state": answers.StateUpdated,
    "POST /threads/{thread_id}/state/checkpoint": answers.State,
    "GET /threads/{thread_id}/state/{checkpoint_id}": answers.State,
}
"""The body of an operation's success; any JSON where none stands here."""

_CREATED = frozenset({"POST /threads"})
"""Answered with 201 when the thread is made, but not the state that it was to begin with."""
_EMPTY_ON_REQUEST = frozenset({"PATCH /threads/{thread_id}"})
_ACCEPTED = "POST /threads/{thread_id}/runs/{run_id}/cancel"
_EVENTS = ("/stream", "/stream/{run_id}", "/events")
"""How the paths of streams end."""

_UUIDS = frozenset({"thread_id", "run_id", "cron_id"})

_REFUSALS = {
    400: "The request contradicts itself, or the state of what it names.",
    404: "What it names does not exist.",
    406: "The stream does not come in a form that the client accepts.",
    409: "The thread is busy, or what is to be created exists.",
    410: "The events past the cursor are no longer kept.",
    413: "The body is over the limit.",
    422: "The request is malformed.",
    429: "The caller's limit is reached: try again after `Retry-After` seconds.",
    500: "The run failed.",
    501: "The option is known, but not supported by this server.",
    502: "The run failed: the model's server refused, or could not be reached.",
    503: "A limit of the server is reached: try again later.",
    504: "The run took too long.",
}

_TAGS = {
    "agents": "The native API: run an agent, stream it, with as little as curl.",
    "assistants": "A graph with settings of its own, in versions.",
    "threads": "What the runs of a conversation have in common: their state, and its history.",
    "runs": "A run of a graph, on a thread or stateless.",
    "crons": "Runs that are created again and again, as a schedule says.",
    "store": "Items that are kept across threads, by namespace and key.",
    "meta": "About the server.",
}


def describe(app: FastAPI, threadline: "Threadline") -> None:
    """Makes the app serve the completed document; it is made when it is first asked for.

    Args:
        app: with all its routes.
        threadline: knows, once it is open, how callers say who they are, what is not served, and what besides.
    """

    def openapi() -> Json:
        if app.openapi_schema is None:
            security = {} if threadline.authority is None else threadline.authority.openapi
            described = _secured(document(app), security)
            served = {path: each for path, each in described["paths"].items() if not threadline.http.is_disabled(path)}
            app.openapi_schema = _with_custom({**described, "paths": served}, own_document(threadline.custom_app))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _with_custom(described: Json, custom: Json) -> Json:
    """The document with the routes of a project's own app; what both name is ours."""
    paths = {**custom.get("paths", {}), **described["paths"]}
    components = {**custom.get("components", {}), **described.get("components", {})}
    for kind, named in custom.get("components", {}).items():
        components[kind] = {**named, **described.get("components", {}).get(kind, {})}
    return {**described, "paths": paths, "components": components}


def _secured(described: Json, security: Json) -> Json:
    schemes = security.get("securitySchemes") or security.get("components", {}).get("securitySchemes")
    if schemes:
        described.setdefault("components", {})["securitySchemes"] = schemes
    return {**described, "security": security["security"]} if "security" in security else described


def document(app: FastAPI) -> Json:
    """The completed document.

    Raises:
        ValueError: two different schemas have one name.
    """
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: Json = described.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    error = _hoisted(_schema(answers.Error), schemas)
    for name, path, operation in _operations(described):
        _complete_parameters(operation)
        _complete_body(operation, schemas)
        _complete_answer(name, path, operation, schemas)
        for status in _refusals(name, path, operation):
            operation["responses"][str(status)] = _response(_REFUSALS[status], error)
    named = {tag for _, _, operation in _operations(described) for tag in operation.get("tags", ())}
    described["tags"] = [{"name": tag, "description": text} for tag, text in _TAGS.items() if tag in named]
    return described


def _operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", path, operation


def _complete_parameters(operation: Json) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["schema"] |= {"format": "uuid"} if parameter["name"] in _UUIDS else {"minLength": 1}


def _complete_body(operation: Json, schemas: Json) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"] = _hoisted(content["schema"], schemas)


def _complete_answer(name: str, path: str, operation: Json, schemas: Json) -> None:
    responses = operation["responses"]
    if path.endswith(_EVENTS):
        responses["200"] = _stream(name)
    elif name == "GET /metrics":
        responses["200"] = {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    elif name in _ANSWERS:
        schema = _schema(_ANSWERS[name])
        selects = any(parameter["name"] == "select" for parameter in operation.get("parameters", ()))
        selects = selects or "select" in _properties(operation, schemas)
        responses["200"] = _response("Done.", _hoisted(_partial(schema) if selects else schema, schemas))
    elif "200" in responses:
        responses["200"] = _response("Done; the body is the graph's own.", {})
    if path.endswith("/graph") and path.startswith("/agents"):
        responses["200"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    if name in _CREATED:
        detail = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
        responses["201"] = _response("The thread is made, but not the state that it was to begin with.", detail)
    if name in _EMPTY_ON_REQUEST:
        responses["204"] = {"description": "Done; no body was asked for."}
    if name == _ACCEPTED:
        responses["202"] = {"description": "The run is being cancelled."}


def _properties(operation: Json, schemas: Json) -> Json:
    """Of the operation's body, if it has one."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    return schemas.get(reference.rpartition("/")[2], {}).get("properties", {})  # type: ignore[no-any-return]


def _refusals(name: str, path: str, operation: Json) -> Iterator[int]:
    """The statuses that an operation may answer with beside its success."""
    if name == "GET /ok":
        return
    yield from (429, 503)
    body = "requestBody" in operation
    if operation.get("parameters") or body:
        yield from (400, 404, 422, 501)
    if body:
        yield from (409, 413)
    if "{" in path:
        yield 409
    if path.endswith(_EVENTS):
        yield from (406, 410)
    if path == "/agents/{assistant_id}/invoke":
        yield from (500, 502, 504)


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _stream(name: str) -> Json:
    """Streams of events; those of the native API come in other forms too."""
    native = ("text/event-stream", "application/x-ndjson", "text/plain")
    forms = native if "/agents/" in name else native[:1]
    return {"description": "The run's events.", "content": {form: {"schema": {}} for form in forms}}


def _schema(form: Any) -> Json:
    return TypeAdapter(form).json_schema(ref_template=REFERENCE, mode="serialization")


def _hoisted(schema: Json, schemas: Json) -> Json:
    """The schema, with its definitions and itself, if it has a name, among the document's.

    Raises:
        ValueError: another schema has that name.
    """
    schema = dict(schema)
    found: Json = schema.pop("$defs", {})
    if schema.get("type") == "object" and "title" in schema and "properties" in schema:
        found = {**found, schema["title"]: schema}
        schema = {"$ref": REFERENCE.format(model=schema["title"])}
    for name, definition in found.items():
        if schemas.setdefault(name, definition) != definition:
            raise ValueError(f"Two schemas are called {name}.")
    return schema


def _partial(schema: Json) -> Json:
    """The same with records of which every part may be left out, as `select` does."""
    partial = {name: part for name, part in schema.items() if name not in ("required", "title")}
    if "items" in schema:
        partial["items"] = _partial(schema["$defs"][schema["items"]["$ref"].rpartition("/")[2]])
    return partial
