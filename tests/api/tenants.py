"""An auth module as an operator writes it: a token is a tenant's name, and everything belongs to who made it."""

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict[str, Any]:
    scheme, _, name = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not name.startswith("tenant-"):
        raise Auth.exceptions.HTTPException(401, "Who are you?")
    return {"identity": name, "permissions": ["threads"], "team": f"team of {name[-1]}", "token": authorization}


@auth.on
async def deny(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return False


def _stamp(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)
    return owner


@auth.on.threads.create
@auth.on.threads.create_run
@auth.on.threads.update
@auth.on.assistants.create
@auth.on.assistants.update
@auth.on.crons.create
@auth.on.crons.update
async def stamped(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    return _stamp(ctx, value)


@auth.on.threads
@auth.on.assistants
@auth.on.crons
async def own(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    return {"owner": ctx.user.identity}


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: Any) -> None:
    value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))
