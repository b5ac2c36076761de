"""What routes depend on: the app's Threadline, and request bodies read as JSON whatever their content type."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from fastapi import Depends, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.errors import InvalidRequestError, invalid
from api.serde import loads

if TYPE_CHECKING:
    from api.app import Threadline

Body = TypeVar("Body", bound=BaseModel)


async def threadline(request: Request) -> "Threadline":
    """The Threadline that this app serves. A coroutine, as FastAPI runs a plain function in a thread."""
    return cast("Threadline", request.app.state.threadline)


ThreadlineDep = Annotated["Threadline", Depends(threadline)]


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads the request's body into a model.

    The content type is ignored: curl and Studio send JSON under other names.

    Raises:
        InvalidRequestError: the body is not JSON, or does not fit; it names the field.
    """

    async def read(request: Request) -> Body:
        document = await parsed(request)
        try:
            return model.model_validate(document)
        except ValidationError as exc:
            raise invalid(exc) from exc

    return read


async def parsed(request: Request) -> Any:
    """The request's body, whatever its content type says.

    Raises:
        InvalidRequestError: it is not JSON.
    """
    try:
        return loads(await request.body())
    except ValueError as exc:
        raise InvalidRequestError("Invalid JSON in request body", field="body") from exc


def documented(model: Any) -> dict[str, Any]:
    """The request body's part of a route's OpenAPI entry; `api.openapi` gives its definitions their place.

    Args:
        model: a model, or another type that pydantic knows.
    """
    schema = TypeAdapter(model).json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
