"""Node with the stock JS clients, installed as `js/package-lock.json` has them.

`js/package.json` overrides two dependencies of the clients, because not every registry has the ones that they ask for:
their protocol package, which is types only, and @langchain/core.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

FOLDER = Path(__file__).parent / "js"


def unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def install() -> str:
    """The path of Node; the clients are installed if they are not, or not as locked."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        unavailable("node and npm are not installed")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    lock = FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            unavailable(f"npm cannot install the clients:\n{done.stderr}")
    return found


def lines(node: str, script: str, *arguments: str) -> list[dict[str, Any]]:
    """The lines of JSON that a script prints.

    Raises:
        AssertionError: it fails.
    """
    command = (node, script, *arguments)
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]
