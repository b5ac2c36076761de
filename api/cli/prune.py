"""`threadline prune`: deletes what is old from the data folder, also while a server uses it."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from api.checkpoint_serde import StrictSerializer
from api.checkpointer_config import load_checkpointer_config
from api.cli.environment import read_settings
from api.cli.terminal import fail
from api.errors import ThreadlineError
from api.retention import FEW_ORPHANS, Retention, Swept
from api.settings import Settings
from api.storage.sqlite import SqliteStorage
from api.storage.sqlite.checkpoints import open_checkpoints
from api.storage.sqlite.files import FILES, data_files
from api.storage.sqlite.folder import Folder
from api.storage.sqlite.space import vacuum

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
_AGE = re.compile(rf"(\d{{1,9}})([{''.join(_UNITS)}])")


@dataclass(frozen=True)
class PruneOptions:
    """What the command line says."""

    config: Path
    older_than: float | None
    """Seconds."""
    keep_latest: bool
    events: bool
    orphans: bool
    """Also of more threads than dead processes leave."""
    dry_run: bool
    vacuum: bool


def seconds(age: str) -> float:
    """The seconds of an age like `30d`.

    Raises:
        ValueError: it is not one.
    """
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise ValueError(f"{age!r} is no age: write a number and one of {', '.join(_UNITS)}, as in 30d.")
    return float(int(found[1]) * _UNITS[found[2]])


def prune(options: PruneOptions) -> None:
    """Deletes what the options say, and prints what that was.

    Raises:
        SystemExit: it cannot; a message is on stderr.
    """
    try:
        settings = read_settings(config=options.config)
        load_checkpointer_config(settings.config)
        folder = settings.storage_dir
        if not (folder / FILES[0]).is_file():
            fail(f"There is nothing in {folder}: no server has kept its data there.")
        before = _size(folder)
        swept = asyncio.run(_prune(settings, options))
        if options.vacuum and not options.dry_run:
            _vacuum(folder)
    except ThreadlineError as exc:
        fail(exc.message)
    except OSError as exc:
        fail(f"The data cannot be pruned: {exc}.")
    _report(swept, options)
    if not options.dry_run:
        typer.echo(f"{before:,} bytes before, {_size(folder):,} after{_logs(folder)}.")


async def _prune(settings: Settings, options: PruneOptions) -> Swept:
    storage = SqliteStorage(settings.storage_dir / FILES[0])
    # No graph is loaded here: whatever a checkpoint names is data.
    serde = StrictSerializer(settings.max_state_bytes)
    async with contextlib.AsyncExitStack() as stack:
        async with Folder(settings.storage_dir).opening():
            await storage.open()
            stack.push_async_callback(storage.close)
            checkpoints = await stack.enter_async_context(open_checkpoints(settings.storage_dir / FILES[1], serde))
        retention = Retention(storage, checkpoints, dry_run=options.dry_run)
        swept = await retention.expire_threads() + await retention.delete_left()
        if options.older_than is not None:
            if options.keep_latest:
                swept.histories += await retention.clear_histories(options.older_than)
            elif not options.events:
                swept.threads += await retention.delete_threads(options.older_than)
        if settings.runs_ttl:
            swept.runs += await retention.delete_runs(settings.runs_ttl)
        asked = options.older_than if options.events else None
        if ages := [age for age in (asked, settings.events_ttl or None) if age is not None]:
            swept.events = await retention.drop_events(min(ages))
        swept.orphans = await retention.delete_orphans(most=None if options.orphans else FEW_ORPHANS)
        if not options.dry_run:
            await retention.reclaim()
    return swept


def _vacuum(folder: Path) -> None:
    for path in data_files(folder):
        try:
            vacuum(path)
        except ThreadlineError as exc:
            typer.echo(f"{exc.message} Stop the server, then try again.", err=True)


def _report(swept: Swept, options: PruneOptions) -> None:
    lines: list[tuple[int, str, Callable[[str], str]]] = [
        (swept.threads, "thread", "{} with all that was theirs".format),
        (swept.histories, "thread", "all but the latest state of {}".format),
        (swept.runs, "run", "{}".format),
        (swept.events, "finished run", "the events of {}".format),
        (swept.orphans, "thread", "checkpoints of {} that had been deleted".format),
    ]
    verb = "Would remove" if options.dry_run else "Removed"
    for count, noun, phrase in lines:
        if count:
            typer.echo(f"{verb} {phrase(f'{count} {noun}' + 's' * (count != 1))}.")
    if not swept:
        typer.echo("Nothing to remove.")


def _size(folder: Path) -> int:
    """Bytes of the files and of what is not moved into them yet."""
    return sum(path.stat().st_size for name in FILES for path in folder.glob(f"{name}*"))


def _logs(folder: Path) -> str:
    """What of that is no data: beside a server, what is removed goes through its logs, which grow by it at first."""
    size = sum(path.stat().st_size for path in folder.glob("*-wal"))
    return f", {size:,} of them in logs that the server uses again" if size else ""
