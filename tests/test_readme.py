"""The README is true: each of its commands is run, in order, as a newcomer would, and gives the output shown."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from api.cli import app
from api.settings import Settings

ROOT = Path(__file__).parent.parent
COPIED = ("Makefile", "pyproject.toml", "uv.lock", "langgraph.json", "README.md")
SERVER = "make run"
PREFIX = "THREADLINE_"

_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(?:\s*```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_VARYING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|call_[0-9a-f]{32}")


@dataclass(frozen=True)
class Block:
    """A command of the README and the output that it shows, if it shows one."""

    language: str
    code: str
    output: str

    def __str__(self) -> str:
        return self.code.splitlines()[0][:60]


BLOCKS = [Block(language, code, output) for language, code, output in _BLOCK.findall((ROOT / "README.md").read_text())]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """A newcomer's: no keys, no settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "THREADLINE_"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with its virtual environment made already."""
    target = tmp_path_factory.mktemp("readme")
    for name in COPIED:
        shutil.copy2(ROOT / name, target)
    for package in ("graph", "api"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


@pytest.fixture(scope="module")
def port(folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """The server that the README's first command starts; another port than 2024, which may be taken here."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free: int = listener.getsockname()[1]
    (run,) = [block for block in BLOCKS if block.code.strip() == SERVER]
    server = subprocess.Popen(
        # The virtual environment belongs to the project, not to its copy: it is not to be made again.
        f"exec {run.code.strip()} PORT={free} -o .venv/.installed",
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    with server:
        try:
            seen = ""
            while "Ctrl-C" not in seen:
                line = server.stdout.readline()
                assert line, f"the server ended: {seen}"
                seen += line
            yield free
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.communicate(timeout=30)


def _matches(shown: str, output: str) -> bool:
    """Whether an output has what is shown of it, in that order; a line of dots stands for anything."""
    pattern = re.escape(_VARYING.sub("ID", shown).strip()).replace(re.escape("\n...\n"), "\n(?s:.*)\n")
    return re.search(pattern, _VARYING.sub("ID", output)) is not None


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.code.strip() != SERVER], ids=str)
def test_command_gives_the_output_shown(block: Block, folder: Path, port: int, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        second = str(listener.getsockname()[1])
    code = block.code.replace("localhost:2024", f"localhost:{port}").replace("2031", second)
    command = ["bash", "-ec", code] if block.language == "bash" else [str(ROOT / ".venv/bin/python"), "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert _matches(block.output, done.stdout), done.stdout + done.stderr


def test_every_command_is_found() -> None:
    assert len(BLOCKS) == (ROOT / "README.md").read_text().count("```bash") + (ROOT / "README.md").read_text().count(
        "```python"
    )
    assert sum(bool(block.output) for block in BLOCKS) >= 8


def _section(heading: str) -> str:
    _, _, rest = (ROOT / "README.md").read_text().partition(f"\n### {heading}\n")
    return rest.partition("\n### ")[0]


def test_table_of_settings_has_every_setting() -> None:
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", _section("Settings"), re.MULTILINE))
    assert {name.upper() for name in Settings.model_fields} == set(re.findall(r"`([A-Z_]+)`", first_cells)) - {PREFIX}


def test_every_option_of_the_command_line_is_named() -> None:
    section = _section("The command line")
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or f"[{option}]" in section, f"{command.name} {option}"
