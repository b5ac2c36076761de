"""Logs: lines that tell whose they are, cannot be forged, and hold no secrets; from real servers."""

import asyncio
import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.logs import Flood, JsonFormatter, Redaction, TextFormatter, logged
from tests.api.conftest import Client, Serve

ROOT = Path(__file__).parents[2]
LOGGING = """
import logging
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    text: str

def say(state: State) -> State:
    logging.getLogger("my.graph").info("said %s", state["text"], extra={"mood": "fine", "api_key": "k-123"})
    logging.getLogger("my.graph").warning("key is %s", "top-secret-value")
    if state["text"] == "fail":
        raise ValueError("first\\nsecond")
    return {"text": "done"}

graph = StateGraph(State).add_node("say", say).add_edge(START, "say").compile()
"""
FORGED = "hi\n12:00:00 ERROR api.auth: forged\r\x1b[2K\u2028{}"


def _record(message: str, *args: Any, exc: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    info = (type(exc), exc, exc.__traceback__) if exc else None
    record = logging.LogRecord("a.b", logging.INFO, __file__, 1, message, args, info)
    record.__dict__.update(extra)
    return record


@pytest.fixture
def redaction() -> Redaction:
    return Redaction({"MY_API_KEY": "top-secret-value", "HOME": "/home/me", "SHORT_KEY": "abc"})


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("it is top-secret-value here", "top-secret-value"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ('headers {"x-api-key": "lsv2abc", "accept": "*/*"}', "lsv2abc"),
        ("(b'authorization', b'Basic dXNlcjpwYXNz')", "dXNlcjpwYXNz"),
        ("GET /x?api_key=qwerty&a=1", "qwerty"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop", "abcdefghijklmnop"),
        ("postgres://me:pa55word@db/x", "pa55word"),
        ("OPENAI_API_KEY=whatever1", "whatever1"),
    ],
)
def test_secrets_are_hidden(redaction: Redaction, text: str, hidden: str) -> None:
    for formatter in (TextFormatter(redaction), JsonFormatter(redaction)):
        line = formatter.format(_record("%s", text))
        assert hidden not in line
        assert "[redacted]" in line
    assert redaction("abc is in /home/me, key 1 of 2") == "abc is in /home/me, key 1 of 2"


def test_a_message_cannot_forge_a_line(redaction: Redaction) -> None:
    formatter = TextFormatter(redaction)
    with logged(thread_id="t\n1"):
        line = formatter.format(_record("%s", FORGED))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028]", line)
    assert r"hi\n12:00:00 ERROR" in line
    assert line.endswith(r"[thread_id=t\n1]")


def test_an_exception_cannot_forge_a_line(redaction: Redaction) -> None:
    try:
        raise ValueError(FORGED + "top-secret-value")
    except ValueError as exc:
        record = _record("failed", exc=exc)
    lines = TextFormatter(redaction).format(record).splitlines()
    assert lines[0].endswith("INFO a.b: failed")
    assert all(line.startswith("    ") for line in lines[1:])
    assert "top-secret-value" not in str(lines)
    line = JsonFormatter(redaction).format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["exception"].startswith("Traceback")
    assert "ValueError: hi\n12:00:00" in json.loads(line)["exception"]


def test_a_long_input_is_logged_in_part(redaction: Redaction) -> None:
    huge = "input " * 200_000
    try:
        raise ValueError(f"{huge}\n" * 3 + "line\n" * 1000 + "the end")
    except ValueError as exc:
        record = _record(huge, exc=exc, extra_field=huge)
    for formatter in (TextFormatter(redaction), JsonFormatter(redaction)):
        with logged(run_id="r" * 100_000):
            line = formatter.format(record)
        assert len(line) < 40_000
        assert "(1200000 characters)" in line
        assert "ValueError: input input" in line
        assert "the end" in line


def test_a_secret_of_several_lines_is_hidden_in_a_trace() -> None:
    redaction = Redaction({"SIGNING_KEY": "-----BEGIN KEY-----\nfirst-line\nsecond-line\n"})
    try:
        raise ValueError("cannot read -----BEGIN KEY-----\nfirst-line\nsecond-line\n!")
    except ValueError as exc:
        line = TextFormatter(redaction).format(_record("failed", exc=exc))
    assert "-line" not in line.partition("ValueError")[2]


def test_json_takes_whatever_is_given(redaction: Redaction) -> None:
    extra = {"level": "mine", "count": 2, "huge": 1 << 80, "thing": {"password": "hunter22"}, "token": b"\xff"}
    line = json.loads(JsonFormatter(redaction).format(_record("\ud800 %d%%", 5, **extra)))
    assert line["message"] == r"\ud800 5%"
    assert (line["level"], line["count"], line["huge"]) == ("info", 2, str(1 << 80))
    assert "hunter22" not in line["thing"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])


@contextmanager
def _server(folder: Path, *arguments: str, **variables: str) -> Iterator[tuple[str, Path]]:
    """`threadline serve` on a free port: its URL, and the file that its stderr goes to."""
    (folder / "logging_graph.py").write_text(LOGGING)
    (folder / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"say": "./logging_graph.py:graph"}})
    )
    log = folder / "stderr"
    command = [str(ROOT / ".venv/bin/threadline"), "serve", "--port", "0", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LANGSMITH", "OTEL"))}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=environment | variables, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert process.stdout is not None
    with process:
        try:
            seen = ""
            while not (ready := re.search(r"is ready: (\S+)", seen)):
                line = process.stdout.readline()
                assert line, log.read_text()
                seen += line
            yield ready[1], log
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_the_server_logs_json_with_the_ids_of_run_and_request(tmp_path: Path) -> None:
    variables = {"THREADLINE_LOG_FORMAT": "JSON", "MY_API_KEY": "top-secret-value"}
    with _server(tmp_path, "--access-log", **variables) as (url, log):
        headers = {"x-request-id": "mine-1"}
        done = httpx.post(
            f"{url}/agents/say/invoke?api_key=hush-hush", json={"input": {"text": "fail"}}, headers=headers, timeout=30
        )
        assert done.headers["x-request-id"] == "mine-1"
        thread_id, run_id = done.json()["thread_id"], done.json()["run_id"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (own,) = [line for line in lines if line["message"] == "said fail"]
    ids = {"run_id": run_id, "thread_id": thread_id, "attempt": 1, "request_id": "mine-1"}
    assert (
        own.items() >= {**ids, "level": "info", "logger": "my.graph", "mood": "fine", "api_key": "[redacted]"}.items()
    )
    assert "assistant_id" in own
    (failed,) = [line for line in lines if "exception" in line]
    assert failed.items() >= {**ids, "level": "error", "logger": "api.executor"}.items()
    assert "ValueError: first\nsecond" in failed["exception"]
    (access,) = [line for line in lines if line["logger"] == "uvicorn.access"]
    assert access["request_id"] == "mine-1"
    assert "POST /agents/say/invoke" in access["message"]
    assert "top-secret-value" not in log.read_text()
    assert "hush-hush" not in log.read_text()


def test_a_client_cannot_flood_the_log(tmp_path: Path) -> None:
    """LangGraph says of each name of an input or a command that it does not know it, in a line of its own."""
    unknown = {f"unknown_{number}": 1 for number in range(5000)}
    with _server(tmp_path) as (url, log):
        for _ in range(2):
            body = {"assistant_id": "say", "input": None, "command": {"update": unknown}, "if_not_exists": "create"}
            done = httpx.post(f"{url}/threads/{uuid4()}/runs/wait", json=body, timeout=30)
            assert done.status_code == 200
        last = httpx.post(f"{url}/agents/say/invoke", json={"input": {"text": "x"}}, timeout=30).json()
    lines = log.read_text().splitlines()
    told = [line for line in lines if "unknown_" in line]
    # Of each run in each second: a loaded machine may take more than one.
    assert 200 <= len(told) < 2000
    assert any(line.startswith(told[0][:8]) and "further lines like it are left out" in line for line in told)
    assert any(last["run_id"] in line for line in lines)


def test_lines_of_many_runs_are_all_logged() -> None:
    flood = Flood()
    passed = 0
    for number in range(1000):
        with logged(run_id=str(number)):
            passed += flood.filter(_record("failed"))
    assert passed == 1000
    with logged(run_id="1"):
        assert sum(flood.filter(_record("%s", number)) for number in range(1000)) < 1000


def test_the_server_logs_text_from_its_level_up(tmp_path: Path) -> None:
    with _server(tmp_path, THREADLINE_LOG_LEVEL="warning") as (url, log):
        run = httpx.post(f"{url}/agents/say/invoke", json={"input": {"text": "x"}}, timeout=30).json()
    assert "said" not in log.read_text()
    (line,) = [line for line in log.read_text().splitlines() if "my.graph" in line]
    assert "WARNING my.graph: key is top-secret-value [" in line
    assert f"run_id={run['run_id']}" in line


def test_a_setting_that_is_none_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / ".venv/bin/threadline"), "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"THREADLINE_LOG_FORMAT": "xml"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "THREADLINE_LOG_FORMAT" in done.stderr
    assert "Traceback" not in done.stderr


async def test_request_ids_are_returned_if_they_are_sane(client: Client) -> None:
    for given in ("a", "A-1._:/x=@", "x" * 128):
        assert (await client.get("/ok", headers={"x-request-id": given})).headers["x-request-id"] == given
    made = set()
    for given in ("", "a b", "x" * 129, "a;b", "<a>"):
        answer = await client.get("/nowhere", headers={"x-request-id": given})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
        made.add(answer.headers["x-request-id"])
    assert len(made) == 5


async def test_runs_side_by_side_log_their_own_ids(client: Client) -> None:
    class Fields(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[dict[str, Any]] = []
            self._formatter = JsonFormatter(Redaction({}))

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(json.loads(self._formatter.format(record)))

    handler = Fields()
    logging.getLogger("api").addHandler(handler)
    try:
        runs = await asyncio.gather(*(client.run("steps", {"number": -at}) for at in range(1, 9)))
    finally:
        logging.getLogger("api").removeHandler(handler)
    expected = {(run[0].data["run_id"], run[0].data["thread_id"]) for run in runs}
    failed = [line for line in handler.lines if "exception" in line]
    assert len(failed) == 8
    assert {(line["run_id"], line["thread_id"]) for line in failed} == expected
    assert all(line["run_id"] in line["message"] for line in failed)


async def test_an_app_leaves_the_logging_of_its_host_alone(serve: Serve) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, list(logging.getLogger("api").handlers))
    async with serve(log_format="json", log_level="error") as client:
        await client.run("chat")
        assert (list(root.handlers), root.level, list(logging.getLogger("api").handlers)) == before
