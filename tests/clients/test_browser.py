"""Agent Chat UI's client in Chromium: a page on the classic `useStream`, from another origin than the server's.

    page.jsx ──esbuild──> Chromium ──a proxy that can be cut──> Threadline
    browser.mjs plays one person a scenario, in the same browser, and says what was seen

Each scenario is played with the SDK's version that Agent Chat UI has, and with the newest.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import node
from tests.reference.conftest import GRAPHS, copy_of_project
from tests.reference.servers import threadline

SDKS = {"newest": "@langchain/langgraph-sdk", "of-agent-chat-ui": "agent-chat-ui-sdk"}
FULL = "Turn {}: the first half, and then the second half of it."

Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        node.unavailable("Chromium is not installed")
    return found


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the project's agent and of graphs that chat, stop halfway and ask back; yields its URL."""
    if other := os.environ.get("THREADLINE_TEST_CHATS_URL"):
        yield other
        return
    with threadline(folder_of_chats(tmp_path_factory.mktemp("chats"))) as url:
        yield url


def folder_of_chats(folder: Path) -> Path:
    """Fills a folder with what the page's server serves."""
    copy_of_project(folder)
    for name in ("scripted.py", "hitl.py"):
        shutil.copy(GRAPHS / name, folder)
    shutil.copy(GRAPHS / "chat.py", folder / "manners.py")
    shutil.copy(Path(__file__).parent / "graphs" / "held.py", folder)
    graphs = {"held": "./held.py:graph", "hitl": "./hitl.py:review", "manners": "./manners.py:graph"}
    config = {"dependencies": ["."], "graphs": {"agent": "graph.agent:graph", **graphs}}
    (folder / "langgraph.json").write_text(json.dumps(config))
    return folder


def _but_texts(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "texts"}


@pytest.fixture(scope="module", params=SDKS.values(), ids=SDKS.keys())
def seen(request: pytest.FixtureRequest, chromium: str, chats: str) -> Seen:
    """What the script saw, by scenario."""
    lines = node.lines(node.install(), "browser.mjs", chromium, chats, request.param)
    return {line.pop("scenario"): line for line in lines}


def test_a_question_streams_its_tools_and_answer(seen: Seen) -> None:
    assert seen["ask"] == {
        "tools": ["add", "exponentiate", "multiply"],
        "streamed": True,
        "final": True,
        "same": True,
        "error": "",
        "complaints": [],
    }


def test_second_turn(seen: Seen) -> None:
    texts = ["one", FULL.format(1), "two", FULL.format(2)]
    assert seen["turns"] == {"texts": texts, "same": True, "error": "", "complaints": []}


def test_reload_in_the_middle_of_an_answer(seen: Seen) -> None:
    texts = seen["reload"]["texts"]
    assert [texts[0], texts[1], texts[3]] == ["first", FULL.format(1), FULL.format(2)]
    assert len(texts) == 4
    assert _but_texts(seen["reload"]) == {
        "cursor": "-1",
        "status": "success",
        "runs": 2,
        "same": True,
        "error": "",
        "complaints": [],
    }


def test_network_cut_in_the_middle_of_an_answer(seen: Seen) -> None:
    texts = seen["cut"]["texts"]
    assert texts[1:] == [FULL.format(1)]
    assert _but_texts(seen["cut"]) == {"fromCursor": True, "same": True, "error": "", "complaints": []}


def test_stop_then_another_turn(seen: Seen) -> None:
    texts = seen["stop"]["texts"]
    assert texts[1:] == ["go on", FULL.format(2)]
    assert _but_texts(seen["stop"]) == {"status": "interrupted", "same": True, "error": "", "complaints": []}


def test_interrupt_reload_and_resume(seen: Seen) -> None:
    assert seen["interrupt"] == {
        "values": {"topic": "cats", "draft": "Better", "published": True},
        "same": True,
        "interrupt": "",
        "complaints": [],
    }


def test_edit_regenerate_and_switch_branches(seen: Seen) -> None:
    edited = {"texts": ["uno", "Hello, turn 1: uno"], "same": True, "error": ""}
    assert seen["branches"] == {
        "edited": edited,
        "regenerated": edited,
        "back": ["one", "Hello, turn 1: one"],
        "complaints": [],
    }
