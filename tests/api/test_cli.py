"""The command line as its users see it: the installed command, in processes of its own."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from typer.testing import CliRunner

from api.cli import app
from api.cli.ask import AskError
from api.cli.remote import RemoteRun, split_lines
from api.cli.terminal import plain
from tests.serving import serving as serving_app

COMMAND = str(Path(sys.executable).with_name("threadline"))
TIMEOUT = 60

GRAPH = """
import asyncio

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

ESCAPE = chr(27)


async def hold(state):
    get_stream_writer()("held")
    await asyncio.Event().wait()


async def say(text, state):
    model = GenericFakeChatModel(messages=iter([AIMessage(text)]))
    return {"messages": [await model.ainvoke(state["messages"])]}


async def model(state):
    return await say(f"one{chr(0x2028)}two [bold]{ESCAPE}[2Jthree " + "word " * 20, state)


async def preamble(state):
    return await say("Let me see.", state)


def tools(state):
    calls = [{"id": f"c{n}", "name": name, "args": {"n": n}} for n, name in enumerate(("add", "divide"))]
    return {"messages": [
        AIMessage("", tool_calls=calls),
        ToolMessage(f"{ESCAPE}]0;title{chr(7)}three", tool_call_id="c0", name="add"),
        ToolMessage("by zero", tool_call_id="c1", name="divide", status="error"),
    ]}


def approve(state):
    return {"messages": [AIMessage(f"approved: {interrupt({'sure': True})}")]}


def fail(state):
    raise ValueError("the reason")


def count(state):
    return {"messages": [AIMessage(f"message {len(state['messages'])}")]}


def route(state):
    text = state["messages"][-1].content
    return text if text in NODES else "count"


NODES = {each.__name__: each for each in (hold, model, preamble, tools, approve, fail, count)}
builder = StateGraph(MessagesState)
for name, node in NODES.items():
    builder.add_node(name, node)
builder.add_conditional_edges(START, route)
builder.add_edge("preamble", "tools")
builder.add_edge("tools", "model")
graph = builder.compile()
record = RunnableLambda(lambda text: {"text": text})
"""


class Finished(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def environment(**variables: str) -> dict[str, str]:
    """The variables of a command; compiled modules are kept between them, which halves the time they take."""
    unwanted = ("THREADLINE_", "OPENAI_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    compiled = str(Path(tempfile.gettempdir()) / "threadline-tests-pycache")
    ours = {"THREADLINE_SHUTDOWN_GRACE": "0", "NO_PROXY": "127.0.0.1", "PYTHONPYCACHEPREFIX": compiled}
    return {**kept, **ours, **variables}


def start(folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.Popen([COMMAND, *arguments], cwd=folder, bufsize=0, **options)


def run(folder: Path, *arguments: str, **variables: str) -> Finished:
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def read_until(stream: Any, pattern: str) -> re.Match[str]:
    """Reads lines up to one that has the pattern."""
    read = []
    for line in iter(stream.readline, b""):
        read.append(line.decode())
        if match := re.search(pattern, read[-1]):
            return match
    raise AssertionError(f"no {pattern!r} in {read}")


def finish(process: subprocess.Popen[bytes]) -> Finished:
    out, err = process.communicate(timeout=TIMEOUT)
    return Finished(process.returncode, out.decode(), err.decode())


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running server and its URL."""
    process = start(folder, "serve", "--port", "0", *arguments, env=environment(**variables))
    try:
        yield process, read_until(process.stdout, r"is ready: (http\S+)")[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)


def events(out: str) -> list[dict[str, Any]]:
    """What `--json` wrote; U+2028 ends no line."""
    return [json.loads(line) for line in out.rstrip("\n").split("\n")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one agent."""
    path = tmp_path_factory.mktemp("project")
    (path / "graphs.py").write_text(GRAPH)
    agent = {"path": "./graphs.py:graph", "description": "Does as it is told."}
    graphs = {"agent": agent, "record": "./graphs.py:record"}
    (path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A server of that project."""
    with serving(folder) as (_, address):
        yield address


def test_only_a_trusted_proxy_says_who_sends_a_request(folder: Path) -> None:
    for variables, refused in (({}, True), ({"THREADLINE_TRUSTED_PROXIES": '["127.0.0.0/8"]'}, False)):
        with serving(folder, THREADLINE_REQUESTS_PER_MINUTE="2", **variables) as (_, address):
            statuses = [
                httpx.get(f"{address}/info", headers={"x-forwarded-for": f"192.0.2.{n}"}).status_code for n in range(4)
            ]
        assert statuses == ([200, 200, 429, 429] if refused else [200] * 4)


def test_help_and_version_import_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['threadline', sys.argv[1]]\n"
        "try: __import__('api.cli').cli.app()\n"
        "finally: print(sorted({'langgraph', 'fastapi', 'uvicorn', 'httpx', 'pydantic'} & set(sys.modules)))"
    )
    for option, shown in (("--help", "serve"), ("--version", "threadline 0.")):
        out = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True).stdout
        assert shown in out
        assert out.splitlines()[-1] == "[]"


def test_serve_says_what_it_serves_and_how_to_try_it(folder: Path) -> None:
    with serving(folder) as (process, url):
        shown = b"".join(iter(process.stdout.readline, b"Ctrl-C stops it.\n")).decode()  # type: ignore[union-attr]
        assert "agent   Does as it is told." in shown
        assert f"{url}/docs" in shown
        assert "OPENAI_API_KEY" in shown
        curl = next(line for line in shown.splitlines() if "curl" in line)
        answered = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True, env=environment())
        assert answered.stdout.endswith('data: {"status":"success"}\n\n')
    assert process.returncode == 0


def test_serve_shows_a_call_that_works_whatever_the_name_of_the_agent(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"Ada's agent": "./agent.py:record"}}))
    with serving(tmp_path) as (process, _):
        curl = read_until(process.stdout, r"curl .*")[0]
        answered = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True, env=environment())
        assert answered.stdout.endswith('data: {"status":"success"}\n\n')


def test_serve_ends_with_a_stream_open(folder: Path) -> None:
    with serving(folder) as (server, url):
        asking = start(folder, "ask", "hold", "--url", url)
        read_until(asking.stderr, "held")
        server.send_signal(signal.SIGINT)
        code, _, err = finish(server)
        assert code == 0
        assert "Traceback" not in err
        asking.send_signal(signal.SIGINT)
        code, out, err = finish(asking)
    assert (code, out) == (1, "")
    assert "did not confirm" in err


def test_serve_on_a_taken_port_is_one_message(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = run(folder, "serve", "--port", port)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"Port {port} is taken" in err


@pytest.mark.parametrize(
    ("command", "document", "complaint"),
    [
        (("ask", "hi"), None, "langgraph.json does not exist"),
        (("serve", "--port", "0"), "{", "langgraph.json is not JSON"),
        (("serve", "--port", "0"), '{"graphs": {"agent": "missing:graph"}}', "importing missing failed"),
    ],
)
def test_a_bad_config_is_one_message(
    tmp_path: Path, command: tuple[str, ...], document: str | None, complaint: str
) -> None:
    if document is not None:
        (tmp_path / "langgraph.json").write_text(document)
    code, out, err = run(tmp_path, *command)
    assert (code, out) == (1, "")
    assert complaint in err
    assert "Traceback" not in err


def test_a_bad_setting_names_its_variable(folder: Path) -> None:
    code, _, err = run(folder, "serve", "--port", "0", THREADLINE_RUN_TIMEOUT="soon")
    assert code == 1
    assert "THREADLINE_RUN_TIMEOUT: " in err
    assert "Traceback" not in err


def test_serve_names_variables_that_set_nothing(folder: Path) -> None:
    mistyped = {"THREADLINE_API_KEYES": "me:the-key", "THREADLINE_SERVICE_HOST": "10.0.0.1", "THREADLINE_API_KEY": "k"}
    with serving(folder, **mistyped) as (process, _):
        told = [process.stderr.readline().decode() for _ in range(2)]  # type: ignore[union-attr]
    assert told[0].endswith("of 'THREADLINE_API_KEYES', which has no effect: THREADLINE_API_KEYS is.\n")
    assert "no authentication" in told[1]


def test_serve_shows_how_to_call_it_with_a_key(folder: Path) -> None:
    with serving(folder, THREADLINE_API_KEYS="me:the-key") as (process, _):
        assert "-H 'x-api-key: YOUR-KEY'" in read_until(process.stdout, r"curl .*")[0]


def test_serve_beyond_loopback_warns(folder: Path) -> None:
    with serving(folder, "--host", "0.0.0.0") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert "no authentication" in process.stderr.readline().decode()  # type: ignore[union-attr]


def test_serve_says_who_may_use_it(folder: Path) -> None:
    with serving(folder) as (process, _):
        told = process.stderr.readline().decode()  # type: ignore[union-attr]
    assert told.endswith("there is no authentication: whoever is on this machine can use it\n")


def test_ask_shows_its_key_to_a_server_that_wants_one(folder: Path) -> None:
    # Beyond loopback, and with keys: nothing to warn of.
    keys = environment(THREADLINE_API_KEYS="me:the-key")
    process = start(folder, "serve", "--port", "0", "--host", "0.0.0.0", env=keys)
    try:
        url = read_until(process.stdout, r"is ready: (http\S+)")[1]
        assert run(folder, "ask", "hi", "--url", url, "--api-key", "the-key").code == 0
        assert run(folder, "ask", "hi", "--url", url, THREADLINE_API_KEY="the-key").code == 0
        refused = run(folder, "ask", "hi", "--url", url, "--api-key", "wrong-key")
        assert (refused.code, refused.out) == (1, "")
        assert "Unauthorized" in refused.err
        assert "wrong-key" not in refused.err
    finally:
        process.send_signal(signal.SIGINT)
        told = finish(process).err
    assert "authentication" not in told


def test_serve_listens_where_the_environment_says(folder: Path) -> None:
    with serving(folder, THREADLINE_HOST="127.0.0.2") as (_, url):
        assert url.startswith("http://127.0.0.2:")


def test_serve_reloads_when_a_file_changes(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "graphs.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text((folder / "langgraph.json").read_text())
    with serving(tmp_path, "--reload") as (process, url):
        (tmp_path / "graphs.py").write_text(GRAPH.replace("message {", "another {"))
        assert read_until(process.stdout, r"is ready: (http\S+)")[1] == url
        assert run(tmp_path, "ask", "hi", "--url", url).out == "another 1\n"


def test_serve_reloads_whatever_it_is_made_of_and_answers_503_meanwhile(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.py").write_text("WORD = 'first'")
    (tmp_path / ".env").write_text("THE_VALUE=1\n")
    source = "import os\nimport words\n" + GRAPH
    source = source.replace("message {", "{words.WORD} {os.environ['THE_VALUE']} {")
    project = tmp_path / "project"
    project.mkdir()
    (project / "graphs.py").write_text(source)
    config = {"graphs": {"agent": "./graphs.py:graph"}, "dependencies": ["../lib"], "env": "../.env"}
    (project / "langgraph.json").write_text(json.dumps(config))

    def answers_503(url: str) -> None:
        # The processes take turns at one socket: the request waits until the next one takes it.
        answer = httpx.get(f"{url}/ok", timeout=TIMEOUT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "not_loaded"
        assert "words" not in answer.text

    def said(url: str) -> str:
        body = {"input": "hi"}
        return str(httpx.post(f"{url}/agents/agent/invoke", json=body, timeout=TIMEOUT).json()["answer"])

    with serving(project, "--reload") as (process, url):
        (tmp_path / ".env").write_text("THE_VALUE=2\n")
        read_until(process.stdout, r"is ready: (http\S+)")
        assert said(url) == "first 2 1"
        (tmp_path / "lib" / "words.py").write_text("WORD = ")
        read_until(process.stderr, "answered with (503)")
        answers_503(url)
        (tmp_path / "lib" / "words.py").write_text("WORD = 'second'")
        read_until(process.stdout, r"is ready: (http\S+)")
        assert said(url) == "second 2 1"
        (tmp_path / "lib" / "words.py").write_text("import os; os._exit(3)")
        read_until(process.stderr, "answered with (503)")
        answers_503(url)


@pytest.mark.parametrize("remote", [False, True])
def test_ask_pipes_the_answer_alone(folder: Path, tmp_path: Path, url: str, remote: bool) -> None:
    before = sorted(folder.rglob("*.sqlite"))
    where = ("--url", url.removeprefix("http://")) if remote else ()
    code, out, err = run(folder, "ask", "tools", *where, TMPDIR=str(tmp_path))
    assert code == 0
    assert out == "one\u2028two [bold]three " + "word " * 20 + "\n"
    assert err.splitlines() == ["→ add(n=0)", "→ divide(n=1)", "← add: three", "✗ divide: by zero"]
    assert sorted(folder.rglob("*.sqlite")) == before
    assert list(tmp_path.iterdir()) == []


def test_what_comes_before_a_tool_call_is_no_answer(folder: Path, url: str) -> None:
    piped = run(folder, "ask", "preamble", "--url", url)
    assert piped == run(folder, "ask", "tools", "--url", url)
    _, shown = _on_terminal(folder, "ask", "preamble", "--url", url)
    assert "Let me see.\r\n" in shown
    assert shown.index("Let me see.") < shown.index("→ add(n=0)") < shown.index("one\u2028two")


def test_an_answer_that_is_no_text_is_json(folder: Path, url: str) -> None:
    code, out, _ = run(folder, "ask", "hi", "--agent", "record", "--url", url)
    assert code == 0
    assert json.loads(out) == {"text": "hi"}


def test_json_is_the_native_stream(folder: Path, url: str) -> None:
    kinds = []
    for where in ((), ("--url", url)):
        code, out, _ = run(folder, "ask", "tools", "--json", *where)
        assert code == 0
        shown = events(out)
        assert [event["id"] for event in shown] == list(range(1, len(shown) + 1))
        kinds.append([event["event"] for event in shown])
        assert shown[-1]["data"] == {"status": "success"}
    assert kinds[0] == kinds[1]
    assert kinds[0].count("end") == 1


@pytest.mark.parametrize("remote", [False, True])
def test_a_thread_goes_on_in_another_process(folder: Path, url: str, remote: bool) -> None:
    where = ("--url", url) if remote else ()
    code, out, err = run(folder, "ask", "hi", "--thread", "new", *where)
    assert (code, out) == (0, "message 1\n")
    thread = re.search(r"thread: (\S+)", err)
    assert thread is not None
    assert run(folder, "ask", "hi", "--thread", thread[1], *where) == Finished(0, "message 3\n", "")


@pytest.mark.parametrize("remote", [False, True])
def test_an_interrupt_is_answered_with_resume(folder: Path, url: str, remote: bool) -> None:
    where = ("--url", url) if remote else ()
    code, out, err = run(folder, "ask", "approve", "--thread", "new", *where)
    assert (code, out) == (3, "")
    assert '{"sure": true}' in err
    command = re.search(r"Answer with: threadline (.*) JSON\n", err)
    assert command is not None
    assert run(folder, *command[1].split(), '"yes"') == Finished(0, "approved: yes\n", "")


def test_an_interrupt_without_a_thread_says_how_to_keep_it(folder: Path) -> None:
    code, _, err = run(folder, "ask", "approve")
    assert code == 3
    assert "--thread new" in err


@pytest.mark.parametrize(
    ("arguments", "remote", "complaint"),
    [
        (("fail",), False, "Error: The graph failed with ValueError."),
        (("fail",), True, "Error: The graph failed with ValueError."),
        (("hi", "--agent", "nobody"), False, "No agent 'nobody' here. Served: agent, record."),
        (("hi", "--agent", "no/body"), True, "Not Found"),
        (("hi", "--thread", "missing"), True, "Thread or assistant not found."),
        (("hi", "--context", '{"a": 1}'), True, "takes no context"),
    ],
)
def test_failures_are_told(folder: Path, url: str, arguments: tuple[str, ...], remote: bool, complaint: str) -> None:
    code, out, err = run(folder, "ask", *arguments, *(("--url", url) if remote else ()))
    assert (code, out) == (1, "")
    assert complaint in err
    assert "Traceback" not in err


def test_debug_shows_why_a_run_failed(folder: Path) -> None:
    code, _, err = run(folder, "ask", "fail", "--debug")
    assert code == 1
    assert "ValueError: the reason" in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (" ",),
        ("hi", "--resume", "1", "--thread", "t"),
        ("--resume", "1"),
        ("--resume", "1", "--thread", "new"),
        ("--resume", "yes", "--thread", "t"),
        ("--resume", "null", "--thread", "t"),
        ("hi", "--context", "[]"),
    ],
)
def test_wrong_usage_is_refused(arguments: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(app, ["ask", *arguments])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Invalid value" in refused.stderr


def test_a_server_that_is_not_there(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    code, out, err = run(folder, "ask", "hi", "--url", address)
    assert (code, out) == (1, "")
    assert f"{address} cannot be reached" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("remote", "form"), [(False, ()), (True, ()), (True, ("--json",))])
def test_ctrl_c_cancels_the_run(folder: Path, url: str, remote: bool, form: tuple[str, ...]) -> None:
    where = ("--url", url) if remote else ()
    asking = start(folder, "ask", "hold", "--thread", "new", *form, *where)
    if form:
        thread = read_until(asking.stdout, r'"thread_id":"([^"]+)')[1]
        read_until(asking.stdout, "held")
    else:
        thread = read_until(asking.stderr, r"thread: (\S+)")[1]
        read_until(asking.stderr, "held")
    asking.send_signal(signal.SIGINT)
    code, out, err = finish(asking)
    assert (code, err) == (130, "cancelled\n")
    if form:
        assert events(out)[-1] == {"event": "end", "id": 4, "data": {"status": "interrupted"}}
    # The thread is free: it takes the next turn.
    assert run(folder, "ask", "hi", "--thread", thread, *where) == Finished(0, "message 2\n", "")


def test_a_terminal_sees_progress_and_the_answer_as_it_comes(folder: Path, url: str) -> None:
    code, shown = _on_terminal(folder, "ask", "model", "--url", url)
    assert code == 0
    assert "starting… 0 s" in shown
    assert "thinking… 0 s" in shown
    assert "one\u2028two [bold]three word word" in shown
    assert "\x1b[2Jthree" not in shown
    assert re.search(r"\d s · thread \S+", shown)


def _on_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs a command on a terminal; what that shows."""
    terminal, theirs = pty.openpty()
    process = start(folder, *arguments, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    return process.wait(TIMEOUT), shown.decode()


@contextlib.asynccontextmanager
async def _cutting_proxy(url: str, limit: int) -> AsyncIterator[str]:
    """Passes connections on to a server, and cuts each after `limit` bytes of what the server sends."""
    host, port = url.removeprefix("http://").split(":")
    connections: list[asyncio.Task[None]] = []

    async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int) -> None:
        with contextlib.suppress(ConnectionError):
            while most > 0 and (data := await source.read(min(most, 65536))):
                most -= len(data)
                target.write(data)
                await target.drain()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(host, int(port))
        both = [
            asyncio.create_task(forward(reader, to_there, sys.maxsize)),
            asyncio.create_task(forward(there, writer, limit)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, to_there):
            end.close()
        await asyncio.gather(*both)
        for end in (writer, to_there):
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(connection(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*connections)


async def test_ask_goes_on_where_a_connection_was_cut(folder: Path, url: str) -> None:
    async with _cutting_proxy(url, 1200) as proxy:
        code, out, err = await asyncio.to_thread(run, folder, "ask", "tools", "--json", "--url", proxy)
    assert (code, err) == (0, "")
    _assert_whole(events(out))


@pytest.mark.parametrize("limit", range(600, 700, 9))
async def test_cut_anywhere_nothing_is_lost_or_doubled(url: str, limit: int) -> None:
    said: list[str] = []
    async with _cutting_proxy(url, limit) as proxy:
        asked = RemoteRun(proxy, "agent", {"input": "tools"}, said.append, delays=(0, 0))
        _assert_whole([json.loads(line) async for line in asked.events()])
    assert set(said) == {"reconnecting (1 of 2)"}


def _assert_whole(shown: list[dict[str, Any]]) -> None:
    assert [event["id"] for event in shown] == list(range(1, len(shown) + 1))
    assert [event["event"] for event in shown][-2:] == ["answer", "end"]
    assert "".join(event["data"]["text"] for event in shown if event["event"] == "token") == shown[-2]["data"]["answer"]


async def test_something_else_at_that_url_is_told() -> None:
    async with serving_app(Starlette(routes=[Mount("/", PlainTextResponse("hello"))])) as address:
        asked = RemoteRun(address, "agent", {"input": "hi"}, str)
        with pytest.raises(AskError, match="is not a Threadline server"):
            _ = [line async for line in asked.events()]


async def test_a_connection_that_stays_cut_ends_with_where_the_run_is(url: str) -> None:
    said: list[str] = []
    async with _cutting_proxy(url, 400) as proxy:
        asked = RemoteRun(proxy, "agent", {"input": "tools"}, said.append, delays=(0, 0))
        with pytest.raises(AskError, match=r"is lost. The run goes on there: \S+/agents/agent/stream/\S+"):
            _ = [line async for line in asked.events()]
    assert said == ["reconnecting (1 of 2)", "reconnecting (2 of 2)"]


@given(st.lists(st.binary(max_size=8).map(lambda part: part.replace(b"x", b"\n")), max_size=20))
def test_lines_are_the_same_however_they_arrive(chunks: list[bytes]) -> None:
    async def collect() -> list[bytes]:
        async def arriving() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return [line async for line in split_lines(arriving())]

    assert asyncio.run(collect()) == b"".join(chunks).split(b"\n")[:-1]


@given(st.text())
def test_plain_text_has_no_control_characters(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert plain(shown) == shown
    if text.isprintable():
        assert shown == text
