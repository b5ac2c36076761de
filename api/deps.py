"""What routes depend on: the app's Threadline, and request bodies read as JSON whatever their content type."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from fastapi import Depends, Request
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import HTTPConnection

from api.authentication import CALLER
from api.body_limit import check_values, made
from api.callers import enter
from api.errors import InvalidRequestError, invalid
from api.serde import dumps, loads
from api.settings import Settings

if TYPE_CHECKING:
    from api.app import Threadline
    from api.guard import Guard

T = TypeVar("T")
Body = TypeVar("Body", bound=BaseModel)

_MAX_DEPTH = 200
"""Levels of objects and lists within each other: what is made of them is still written as JSON, which has 254."""
_MAX_DEPTH_OF_LARGE = 32
"""Likewise of a body of more than a megabyte: who writes one of its values into an error message, as LangChain does
with what is no message, writes all that lies in it once for each level."""
_MEGABYTE = 1 << 20


async def threadline(connection: HTTPConnection) -> "Threadline | Guard":
    """The Threadline that this app serves; where callers have to say who they are, as this one may use it.

    A coroutine, as FastAPI runs a plain function in a thread.
    """
    served = cast("Threadline", connection.app.state.threadline)
    if served.authority is None:
        return served
    caller = connection.scope[CALLER]
    enter(caller)
    return served.guard(caller)


ThreadlineDep = Annotated["Threadline | Guard", Depends(threadline)]
"""For every route that is not public; the types of both have to fit, so that no route goes past the guard."""


async def public_threadline(request: Request) -> "Threadline":
    """The Threadline itself, for routes that everybody may call."""
    return cast("Threadline", request.app.state.threadline)


PublicDep = Annotated["Threadline", Depends(public_threadline)]


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the request's body into a model.

    The content type is ignored: curl and Studio send JSON under other names.

    Raises:
        InvalidRequestError: the body is not JSON, or does not fit; it names the field.
    """

    async def read(request: Request) -> Body:
        return await _made(request, partial(_fitted, model, request.app.state.threadline.settings))

    return read


async def parsed(request: Request) -> Any:
    """The request's body, whatever its content type says.

    Raises:
        InvalidRequestError: it is not JSON, or has too many values or levels.
    """
    return await _made(request, partial(_document, request.app.state.threadline.settings))


async def _made(request: Request, make: Callable[[bytes], T]) -> T:
    # Not `request.body()`, which keeps it for as long as the answer takes.
    return await made(b"".join([part async for part in request.stream()]), make)


def _fitted(model: type[Body], settings: Settings, content: bytes) -> Body:
    try:
        body = model.model_validate(_document(settings, content))
    except ValidationError as exc:
        raise invalid(exc) from exc
    metadata, limit = getattr(body, "metadata", None), settings.max_metadata_bytes
    if metadata and len(dumps(metadata)) > limit:
        raise InvalidRequestError(f"The metadata is larger than {limit} bytes.", field="metadata")
    return body


def _document(settings: Settings, content: bytes) -> Any:
    check_values(content, settings.max_body_values)
    try:
        document = loads(content)
    except ValueError as exc:
        raise InvalidRequestError("Invalid JSON in request body", field="body") from exc
    depth = _MAX_DEPTH if len(content) <= _MEGABYTE else _MAX_DEPTH_OF_LARGE
    if _is_deeper(document, depth):
        raise InvalidRequestError(f"The body has more than {depth} levels.", field="body")
    return document


def _is_deeper(document: Any, depth: int) -> bool:
    level = [document]
    while level and depth > 0:
        depth -= 1
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, dict | list)
        ]
    return bool(level)


def documented(model: Any) -> dict[str, Any]:
    """The request body's part of a route's OpenAPI entry; `api.openapi` gives its definitions their place.

    Args:
        model: a model, or another type that pydantic knows.
    """
    schema = TypeAdapter(model).json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
