"""`threadline webhooks`: lists the calls of webhooks of all runs, and has some made again, also while a server runs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import typer

from api.cli.environment import read_settings
from api.cli.terminal import fail, plain
from api.errors import ThreadlineError
from api.schemas import Delivery, DeliveryStatus
from api.storage.sqlite import SqliteStorage
from api.storage.sqlite.files import FILES
from api.storage.sqlite.folder import Folder


def webhooks(config: Path, status: str | None, limit: int, *, send: bool) -> None:
    """Prints calls, newest first; those that are done with are made again if that is asked for.

    Args:
        config: langgraph.json.
        status: only those.
        limit: how many at most.
        send: has them made again, by the server that runs or at its next start.

    Raises:
        SystemExit: it cannot; a message is on stderr.
    """
    try:
        folder = read_settings(config=config).storage_dir
        if not (folder / FILES[0]).is_file():
            fail(f"There is nothing in {folder}: no server has kept its data there.")
        wanted: DeliveryStatus | None = next((each for each in get_args(DeliveryStatus) if each == status), None)
        found, sent = asyncio.run(_webhooks(folder, wanted, limit, send=send))
    except ThreadlineError as exc:
        fail(exc.message)
    except OSError as exc:
        fail(f"The data cannot be read: {exc}.")
    for each in found:
        attempts = f"{each.attempts} attempt{'s' * (each.attempts != 1)}"
        line = f"{each.delivery_id}  {each.status}  {attempts}  run {each.run_id}  {each.url}  {each.problem or ''}"
        typer.echo(plain(line).rstrip())
    if not found:
        typer.echo("No webhooks.")
    if send:
        typer.echo(f"{sent} to be sent again.")


async def _webhooks(
    folder: Path, status: DeliveryStatus | None, limit: int, *, send: bool
) -> tuple[Sequence[Delivery], int]:
    storage = SqliteStorage(folder / FILES[0])
    async with Folder(folder).opening():
        await storage.open()
    try:
        found = await storage.outbox.newest(status, limit=limit)
        sent = [await storage.outbox.again(each.run_id, each.delivery_id) for each in found if send]
    finally:
        await storage.close()
    return found, sum(sent)
