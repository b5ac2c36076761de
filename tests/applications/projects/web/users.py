"""Who may use it."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict[str, Any]:
    """By name."""
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name.isalpha():
        raise Auth.exceptions.HTTPException(401, "Who are you?")
    return {"identity": name, "permissions": []}


@auth.on
async def own(ctx: Any, value: dict[str, Any]) -> dict[str, Any]:
    """To each their own."""
    if ctx.action in ("create", "create_run"):
        value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.assistants
async def everyone(ctx: Any, value: dict[str, Any]) -> None:
    """Assistants are for everybody."""
