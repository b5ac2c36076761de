"""`threadline backup`: copies the data folder, as of one moment, while a server may use it."""

from pathlib import Path

import typer

from api.cli.environment import read_settings
from api.cli.terminal import fail
from api.errors import ThreadlineError
from api.storage.sqlite.files import back_up


def backup(config: Path, target: Path) -> None:
    """Copies the data folder of a config and prints what was copied.

    Raises:
        SystemExit: it cannot; a message is on stderr.
    """
    try:
        copies = back_up(read_settings(config=config).storage_dir, target)
    except ThreadlineError as exc:
        fail(exc.message)
    except OSError as exc:
        fail(f"The data cannot be copied: {exc}.")
    for path in copies:
        typer.echo(f"{path} ({path.stat().st_size:,} bytes)")
