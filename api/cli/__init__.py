"""The command line: `threadline serve`, `ask`, `prune`, `backup`, `adopt` and `webhooks`.

What a command needs is imported when it runs, so that `--help` answers at once.
"""

import json
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Serves LangGraph agents over HTTP, and asks them questions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NEW = "new"
"""What `--thread` takes to begin a thread."""

Config = Annotated[
    Path, typer.Option(envvar="THREADLINE_CONFIG", help="The file that names the agents.", show_default=True)
]
_CONFIG = Path("langgraph.json")


class ExitCode(IntEnum):
    """How `ask` ends."""

    ANSWERED = 0
    FAILED = 1
    WAITING = 3
    """The run waits at an interrupt, for `--resume`."""
    CANCELLED = 130


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"threadline {version('threadline')}")
        raise typer.Exit


@app.callback()
def _threadline(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serves LangGraph agents over HTTP, and asks them questions."""


@app.command("serve")
def _serve(
    host: Annotated[
        str, typer.Option(envvar="THREADLINE_HOST", help="The address to listen on; without it this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 2024,
    config: Config = _CONFIG,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a file changes.")] = False,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log every request.")] = False,
) -> None:
    """Serves the agents that langgraph.json names, until Ctrl-C."""
    from api.cli.serve import ServeOptions, serve

    serve(ServeOptions(config=config, host=host, port=port, reload=reload, access_log=access_log))


@app.command("ask", epilog="Exit codes: 0 answered, 1 failed, 2 wrong usage, 3 waits for --resume, 130 cancelled.")
def _ask(
    question: Annotated[str | None, typer.Argument(help="What to ask.", show_default=False)] = None,
    agent: Annotated[str, typer.Option(help="Which agent to ask.")] = "agent",
    url: Annotated[
        str | None, typer.Option(help="Ask a server there; without it the agent runs in this process.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="THREADLINE_API_KEY", show_envvar=True, help="The key that the server there asks for."),
    ] = None,
    thread: Annotated[
        str | None, typer.Option(metavar="ID|new", help="Go on with a thread, or begin one and print its id.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="JSON", help="Answer what the thread waits for, in place of a question.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="JSON", help="The agent's context, such as its model or system prompt.")
    ] = None,
    config: Config = _CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Write the run's events, one JSON object a line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the log, with the stack traces of failures.")] = False,
) -> None:
    """Asks an agent: tool calls and progress go to stderr, the answer to stdout."""
    from api.cli.ask import AskOptions, ask

    body = _body(question, thread, resume, context)
    options = AskOptions(
        body=body,
        agent=agent,
        url=url,
        api_key=api_key,
        config=config,
        keep=thread is not None,
        as_json=as_json,
        debug=debug,
    )
    raise SystemExit(ask(options))


@app.command("prune")
def _prune(
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Delete threads that nothing has changed for so long: 30d, 12h, 45m.",
            show_default=False,
        ),
    ] = None,
    keep_latest: Annotated[
        bool, typer.Option("--keep-latest", help="Keep those threads, with what their latest state needs.")
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Keep those threads; drop the events of runs that ended so long ago.")
    ] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Delete the states of all threads that the records do not know.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    vacuum: Annotated[
        bool,
        typer.Option("--vacuum", help="Also write the files anew, at their smallest; a server waits meanwhile."),
    ] = False,
    config: Config = _CONFIG,
) -> None:
    """Deletes what is old from the data folder, in small steps, also while a server uses it.

    Without --older-than it deletes what the settings say is too old, and what processes that were killed have left.
    A thread with a run under way is never touched.
    """
    from api.cli.prune import PruneOptions, prune, seconds

    if older_than is None and (keep_latest or events):
        raise typer.BadParameter("--keep-latest and --events say what is to go: say also of when, with --older-than.")
    try:
        age = None if older_than is None else seconds(older_than)
    except ValueError as exc:
        raise typer.BadParameter(f"--older-than: {exc}") from exc
    options = PruneOptions(
        config, age, keep_latest=keep_latest, events=events, orphans=orphans, dry_run=dry_run, vacuum=vacuum
    )
    prune(options)


@app.command("backup")
def _backup(
    folder: Annotated[Path, typer.Argument(help="Where the copy goes: a folder that has none yet.")],
    config: Config = _CONFIG,
) -> None:
    """Copies the data folder as of one moment, also while a server uses it.

    To restore, start a server on the copy: THREADLINE_DATA_DIR=FOLDER threadline serve.
    """
    from api.cli.backup import backup

    backup(config, folder)


@app.command("adopt")
def _adopt(config: Config = _CONFIG) -> None:
    """Lets a server go on with the data folder as it is, when its files do not belong together.

    Without the records, the states of their threads are out of reach; without the states, threads begin anew.
    """
    from api.cli.adopt import adopt

    adopt(config)


class WebhookStatus(StrEnum):
    """What came of the call of a webhook."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@app.command("webhooks")
def _webhooks(
    status: Annotated[WebhookStatus | None, typer.Option("--status", help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, the newest.")] = 100,
    send: Annotated[bool, typer.Option("--send", help="Have those that are done with sent again.")] = False,
    config: Config = _CONFIG,
) -> None:
    """Lists the calls of webhooks of all runs, stateless ones included, and what came of them."""
    from api.cli.webhooks import webhooks

    webhooks(config, None if status is None else status.value, limit, send=send)


def _body(question: str | None, thread: str | None, resume: str | None, context: str | None) -> dict[str, Any]:
    """The body of the native API's request."""
    if (question is None) == (resume is None):
        raise typer.BadParameter("Give a question, or --resume in place of one.")
    if question is not None and not question.strip():
        raise typer.BadParameter("The question is empty.")
    if resume is not None and thread in (None, NEW):
        raise typer.BadParameter("To resume, name the thread that waits with --thread ID.")
    body: dict[str, Any] = {"input": question}
    if resume is not None:
        body = {"resume": _json("--resume", resume)}
        if body["resume"] is None:
            raise typer.BadParameter("--resume: null answers nothing.")
    if thread not in (None, NEW):
        body["thread_id"] = thread
    if context is not None:
        body["context"] = _json("--context", context)
        if not isinstance(body["context"], dict):
            raise typer.BadParameter("--context: not a JSON object.")
    return body


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{option}: not JSON ({exc}). Text needs quotes of its own: '\"yes\"'.") from exc
