"""The page that shows the OpenAPI document, with all that it loads: nothing comes from another host."""

from fastapi import APIRouter, Response

from api.errors import NotFoundError
from api.swagger_ui import ASSETS, PAGE, content

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DAY = 24 * 3600

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs() -> Response:
    """The page."""
    return Response(content(PAGE), media_type="text/html", headers={"content-security-policy": _POLICY})


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    """A file of it."""
    if name not in ASSETS:
        raise NotFoundError("Not Found")
    return Response(content(name), media_type=ASSETS[name], headers={"cache-control": f"max-age={_DAY}"})
