"""Routes of the project's own, with a lifespan that the graph needs, and middleware around everything."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pool
from fastapi import FastAPI, Request, Response


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens and closes what the graph uses."""
    pool.opened.append("pool")
    app.state.opened = pool.opened
    yield
    pool.opened.clear()


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def stamp(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Marks every answer."""
    response = await call_next(request)
    response.headers["x-project"] = "web"
    return response


@app.get("/pool")
def opened(request: Request) -> dict[str, Any]:
    """What is open, and for whom."""
    return {"opened": request.app.state.opened, "for": request.user.identity}
