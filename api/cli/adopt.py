"""`threadline adopt`: goes on with the files of a data folder as they are, though they do not belong together."""

import asyncio
from pathlib import Path

import typer

from api.cli.environment import read_settings
from api.cli.terminal import fail
from api.errors import ThreadlineError
from api.storage.sqlite.files import data_files
from api.storage.sqlite.folder import Folder


def adopt(config: Path) -> None:
    """Marks the files as those of one folder.

    Raises:
        SystemExit: it cannot; a message is on stderr.
    """
    try:
        folder = read_settings(config=config).storage_dir
        files = data_files(folder)
        if not files:
            fail(f"There is nothing in {folder}: no server has kept its data there.")
        asyncio.run(Folder(folder).adopt())
    except ThreadlineError as exc:
        fail(exc.message)
    except OSError as exc:
        fail(f"The data cannot be adopted: {exc}.")
    typer.echo(f"{', '.join(path.name for path in files)} belong together now.")
