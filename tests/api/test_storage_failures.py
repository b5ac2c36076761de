"""Data that cannot be used: one clear error, at the start and while the server runs."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import Threadline
from api.errors import ThreadlineError
from api.settings import Settings
from tests.api.conftest import Serve

FILES = ("threadline.sqlite", "checkpoints.sqlite", "store.sqlite")


def _serve(config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("threadline")), "serve", "--port", "0", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The langgraph.json of a project with one graph."""
    (tmp_path / "graphs.py").write_text(
        "from langchain_core.runnables import RunnableLambda\ngraph = RunnableLambda(str)"
    )
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"one": "./graphs.py:graph"}}))
    return config


async def _refusal(config: Path) -> str:
    """What the service says when it does not start."""
    with pytest.raises(ThreadlineError) as refused:
        async with Threadline(Settings(config=config)):
            pass
    return refused.value.message


@pytest.mark.parametrize("name", FILES)
async def test_corrupt_file_is_refused_at_the_start(project: Path, name: str) -> None:
    folder = project.parent / ".threadline"
    folder.mkdir()
    (folder / name).write_bytes(b"this is no database" * 1000)
    assert "file is not a database" in await _refusal(project)


def test_refusal_is_one_line(project: Path) -> None:
    folder = project.parent / ".threadline"
    folder.mkdir()
    (folder / "checkpoints.sqlite").write_bytes(b"this is no database" * 1000)
    done = _serve(project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "file is not a database" in done.stderr
    assert len([line for line in done.stderr.splitlines() if "WARNING" not in line]) == 1


@contextlib.contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written; root, whom permissions do not bind, needs a mount for that."""
    if os.geteuid():
        folder.chmod(0o500)
        for path in folder.iterdir():
            path.chmod(0o400)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    mount = shutil.which("mount")
    bound = mount and subprocess.run([mount, "--bind", str(folder), str(folder)], check=False).returncode == 0
    if not mount or not bound:
        if os.environ.get("CI") == "true":
            pytest.fail("root cannot mount here, and no file can be made read-only for root otherwise")
        pytest.skip("root cannot mount here, and no file can be made read-only for root otherwise")
    subprocess.run([mount, "-o", "remount,bind,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_read_only_folder_is_refused_at_the_start(project: Path) -> None:
    folder = project.parent / ".threadline"
    folder.mkdir()
    with _read_only(folder):
        assert "unable to open database file" in await _refusal(project)
    async with Threadline(Settings(config=project)):
        pass
    with _read_only(folder):
        assert "unable to open database file" in await _refusal(project)


async def test_file_that_becomes_corrupt_is_an_error_and_no_end(serve: Serve, config: Path) -> None:
    async with serve() as client:
        frames = await client.run("chat")
        for name in FILES[:1]:
            for path in (config.parent / ".threadline").glob(f"{name}*"):
                if path.is_file() and not path.name.endswith("-shm"):
                    path.write_bytes(os.urandom(path.stat().st_size))
        thread_id = frames[0].data["thread_id"]
        answers = [await client.get(f"/threads/{thread_id}"), await client.post("/threads", json={})]
        for answer in answers:
            assert answer.status_code in (200, 503)
            if answer.status_code == 503:
                assert answer.json()["error"]["code"] == "storage_failed"
        assert 503 in [answer.status_code for answer in answers]
        assert (await client.get("/ok")).status_code == 200
