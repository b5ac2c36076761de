"""The JS SDK against a live server, in Node.

`js/package.json` overrides two dependencies of the SDK, because not every registry has the ones that it asks for: its
protocol package, which is types only, and its peer @langchain/core.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

FOLDER = Path(__file__).parent / "js"


def _unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def node() -> str:
    """The path of Node, with the SDK installed as locked."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        _unavailable("node and npm are not installed")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    lock = FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            _unavailable(f"npm cannot install the SDK:\n{done.stderr}")
    return found


@pytest.fixture(scope="module")
def steps(node: str, url: str) -> dict[str, Any]:
    """What the script saw, by step."""
    done = subprocess.run(
        (node, "client.mjs", url), cwd=FOLDER, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return {line.pop("step"): line for line in map(json.loads, done.stdout.splitlines())}


def test_threads(steps: dict[str, Any]) -> None:
    assert steps["threads"] == {"found": 1, "more": 1, "status": "idle", "missing": 404}


def test_stream(steps: dict[str, Any]) -> None:
    assert steps["stream"] == {
        "text": "Hello, turn 1: hi",
        "events": ["metadata", "values", "messages", "updates"],
        "created": True,
        "status": "success",
    }


def test_subgraphs(steps: dict[str, Any]) -> None:
    assert steps["subgraphs"] == {"events": ["metadata", "updates|child", "updates", "updates"]}


def test_join(steps: dict[str, Any]) -> None:
    assert steps["join"] == {
        "values": {"number": 3, "trail": ["double", "increase"]},
        "replayed": ["metadata", "updates", "updates"],
        "rest": [{"increase": {"number": 3, "trail": ["increase"]}}],
    }


def test_cancel(steps: dict[str, Any]) -> None:
    assert steps["cancel"] == {"status": "interrupted"}


def test_interrupt(steps: dict[str, Any]) -> None:
    assert steps["interrupt"] == {
        "question": "Publish?",
        "next": ["ask"],
        "waiting": "interrupted",
        "values": {"topic": "cats", "draft": "Better", "published": True},
    }


def test_edit(steps: dict[str, Any]) -> None:
    assert steps["edit"] == {"next": [[], ["increase"], ["double"], ["__start__"]], "number": 71}


def test_failure(steps: dict[str, Any]) -> None:
    assert steps["failure"]["unknown"] == 422
    assert steps["failure"]["last"]["event"] == "error"
    assert steps["failure"]["last"]["data"] == {"error": "ValueError", "message": "a value that nobody likes"}


def test_records(steps: dict[str, Any]) -> None:
    assert steps["records"] == {"item": {"text": "hi"}, "found": 1, "said": "Hi, turn 1: hi"}
