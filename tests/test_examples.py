"""The examples print what their docstrings say, on the offline model and on ChatOpenAI behind a scripted server."""

import ast
import asyncio
import importlib
import json
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.app import create_app
from api.settings import Settings
from tests.openai_server import Call, OpenAIServer, openai_server
from tests.serving import serving

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
SERVED = {"studio"}
"""Those that ask a running server."""

_PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]{1,3}|\s+")


def pieces(text: str) -> list[str]:
    """A text in the pieces that the offline model sends."""
    return _PIECE.findall(text)


def call(name: str, **args: float) -> list[Call]:
    """A reply that calls a tool."""
    return [Call(name, json.dumps(args))]


def answer(text: str) -> list[Call]:
    """A reply that ends the turn."""
    return [Call("final_answer", '{"answer": "', *pieces(text), '", "tools_used": []}')]


STAYS = "A client that disconnects does not end its run, unless it asked for on_disconnect=cancel."
SEVEN = [call("add", x=3, y=4), answer("3 + 4 is 7 (seven).")]
FACTS = '{"numbers": [1815], "operators": [], "words": ["Ada"]}'
REPLIES: dict[str, list[list[str] | list[Call]]] = {
    "agent_in_a_graph": [*SEVEN, *SEVEN],
    "callbacks_into_a_tool": [SEVEN[0], ["A sum was asked for."], SEVEN[1]],
    "custom_tool": [
        call("divide", x=100, y=3),
        answer("100 / 3 is 33.33."),
        call("divide", x=100, y=0),
        answer("100 / 0 cannot be computed: divide(100, 0) failed: there is no one to share with."),
    ],
    "events_in_process": [pieces(STAYS)] * 4,
    "generator_and_blocking": [pieces(FACTS)] * 2,
    "human_approval": [
        call("multiply", x=6, y=7),
        answer("6 * 7 is 42 (forty-two)."),
        call("multiply", x=6, y=7),
        answer("6 * 7 cannot be computed: multiply(6, 7) failed: a human said no."),
    ],
    "own_endpoint": [*SEVEN],
    "queue_handler": [*SEVEN, pieces(STAYS)],
    "retriever": [pieces(STAYS)],
    "stream_a_model": [pieces("Chunks, added up, are the message.")],
    "studio": [call("add", x=3, y=4), call("multiply", x=7, y=5), answer("35")],
    "events_with_curl": [pieces(STAYS)] * 3,
}
"""What the scripted server says in place of the offline model."""


def printed(source: str) -> str:
    """What a docstring says that its example prints."""
    _, _, shown = source.partition("\nprints\n\n")
    return textwrap.dedent(shown).strip() + "\n"


@pytest.fixture(params=["offline", "openai"])
async def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIServer | None]:
    """The scripted server, or None for the offline model."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "offline":
        yield None
        return
    async with openai_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """The project's own server."""
    shutil.copy(ROOT / "langgraph.json", tmp_path)
    async with serving(create_app(Settings(config=tmp_path / "langgraph.json"))) as started:
        yield started


def script(server: OpenAIServer | None, example: str) -> None:
    """Queues the replies of an example."""
    for reply in REPLIES[example] if server else ():
        server.reply(*reply)  # type: ignore[union-attr]


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name not in SERVED])
async def test_prints_what_it_says(
    example: str, model: OpenAIServer | None, capsys: pytest.CaptureFixture[str]
) -> None:
    script(model, example)
    module = importlib.import_module(f"examples.{example}")
    await module.main()
    assert capsys.readouterr().out == printed(module.__doc__ or "")
    assert model is None or len(model.requests) == len(REPLIES[example])


async def test_studio(url: str, model: OpenAIServer | None, capsys: pytest.CaptureFixture[str]) -> None:
    script(model, "studio")
    module = importlib.import_module("examples.studio")
    await module.main(url)
    assert capsys.readouterr().out.replace(url, module.URL) == printed(module.__doc__ or "")


async def test_events_with_curl(url: str, model: OpenAIServer | None) -> None:
    if shutil.which("curl") is None:
        reason = "curl is not installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    script(model, "events_with_curl")
    path = ROOT / "examples" / "events_with_curl.sh"
    command = ["bash", str(path), url]
    ran = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    comment = "\n".join(line.removeprefix("#").removeprefix(" ") for line in path.read_text().splitlines()[1:])
    assert (ran.stdout, ran.stderr) == (printed(comment.split("\nset -e")[0]), "")


def test_each_example_says_how_it_is_run() -> None:
    for name in EXAMPLES:
        doc = ast.get_docstring(ast.parse((ROOT / "examples" / f"{name}.py").read_text())) or ""
        assert f".venv/bin/python -m examples.{name}" in doc
        assert "\nprints\n" in doc


def test_the_map_of_the_course_names_what_there_is() -> None:
    text = (ROOT / "docs" / "from-the-course.md").read_text()
    paths = set(re.findall(r"`((?:graph|examples)/[\w./]*)`", text))
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    examples = {path.removeprefix("examples/") for path in paths if path.startswith("examples/")}
    there = {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert examples == there
