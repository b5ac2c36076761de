"""What comes out of a checkpoint: what graphs declare, plain data for the rest, and never a pickle."""

import asyncio
import json
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import ormsgpack
import pytest

from api.app import Threadline, create_app
from api.checkpoint_serde import StrictSerializer
from api.cli.prune import PruneOptions, prune
from api.errors import ConfigError, StorageError
from api.settings import Settings
from tests.serving import serving


class Planted:
    """What somebody writes into the database, to be called when it is read."""

    calls: list[str] = []  # noqa: RUF012  # of the class on purpose

    def __init__(self, text: str) -> None:
        self.text = text
        Planted.calls.append(text)

    def __reduce__(self) -> Any:
        return (Planted, (self.text,))


@pytest.fixture(autouse=True)
def calls() -> list[str]:
    Planted.calls.clear()
    return Planted.calls


def written(folder: Path, attribute: str = "graph", **document: Any) -> Settings:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"declared": f"tests.api.declared:{attribute}"}, **document}))
    return Settings(config=path)


async def kinds(settings: Settings) -> list[str]:
    """The classes of what a run's second node is given out of the checkpoint that the first one left."""
    body = {"assistant_id": "declared", "input": {"kinds": []}}
    async with serving(create_app(settings)) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        await client.post(f"/threads/{thread}/runs/wait", json=body)
        resumed = {"assistant_id": "declared", "input": None}
        values = (await client.post(f"/threads/{thread}/runs/wait", json=resumed)).json()
        return list(values["kinds"])


@pytest.mark.parametrize("attribute", ["graph", "make"])
async def test_what_a_graph_declares_comes_back(tmp_path: Path, attribute: str) -> None:
    assert await kinds(written(tmp_path, attribute)) == ["Shape", "Circle", "Leaf", "Place", "Undeclared"]


async def test_what_langgraph_json_allows_comes_back(tmp_path: Path) -> None:
    allowed = [["tests", "api", "declared", "Undeclared"]]
    settings = written(tmp_path, checkpointer={"serde": {"allowed_msgpack_modules": allowed}})
    assert (await kinds(settings))[-1] == "Undeclared"


@pytest.mark.parametrize(
    "serde", [{"pickle_fallback": True}, {"allowed_msgpack_modules": "all"}, {"allowed": []}], ids=str
)
async def test_what_cannot_be_allowed_stops_the_start(tmp_path: Path, serde: Any) -> None:
    with pytest.raises(ConfigError, match=r"checkpointer\.serde"):
        async with Threadline(written(tmp_path, checkpointer={"serde": serde})):
            pass


def test_foreign_classes_come_back_as_data_and_are_not_called(calls: list[str]) -> None:
    from tests.api.declared import Undeclared

    serializer = StrictSerializer(1 << 20)
    stored = serializer.dumps_typed({"a": Undeclared("x")})
    assert b"Undeclared" in stored[1]
    assert serializer.loads_typed(stored) == {"a": {"text": "x"}}
    old = {"lc": 2, "type": "constructor", "id": [*Planted.__module__.split("."), "Planted"], "args": ["old"]}
    serializer.loads_typed(("json", json.dumps(old).encode()))
    assert calls == []


def test_pickles_are_refused_and_not_called(calls: list[str]) -> None:
    stored = pickle.dumps(Planted("x"))
    calls.clear()
    with pytest.raises(StorageError, match="'pickle' that cannot be read"):
        StrictSerializer(1 << 20).loads_typed(("pickle", stored))
    with pytest.raises(StorageError):
        StrictSerializer(1 << 20).loads_typed(("msgpack", b"\xc1"))
    assert calls == []


async def test_a_planted_pickle_is_one_clear_error(tmp_path: Path, calls: list[str]) -> None:
    settings = written(tmp_path)
    async with serving(create_app(settings)) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "declared", "input": {"kinds": []}}
        await client.post(f"/threads/{thread}/runs/wait", json=body)
        planted = pickle.dumps(Planted("x"))
        calls.clear()
        with sqlite3.connect(settings.storage_dir / "checkpoints.sqlite") as database:
            database.execute("UPDATE checkpoints SET type = 'pickle', checkpoint = ?", (planted,))
        database.close()
        answer = await client.get(f"/threads/{thread}/state")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_failed")
        assert "Traceback" not in answer.text
        run = (await client.post(f"/threads/{thread}/runs/wait", json=body)).json()
        assert "__error__" in run
        assert (await client.get(f"/threads/{thread}")).status_code == 200
    assert calls == []


async def test_no_command_makes_what_is_planted(tmp_path: Path, calls: list[str]) -> None:
    settings = written(tmp_path)
    await kinds(settings)
    planted = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb((Planted.__module__, "Planted", "x"))))
    whole = ormsgpack.packb({"v": 4, "id": "a", "channel_values": {}, "planted": ormsgpack.Ext(0, planted[3:])})
    with sqlite3.connect(settings.storage_dir / "checkpoints.sqlite") as database:
        database.execute("UPDATE checkpoints SET type = 'msgpack', checkpoint = ?", (whole,))
    database.close()
    calls.clear()
    options = PruneOptions(
        settings.config, 0.0, keep_latest=True, events=False, orphans=False, dry_run=False, vacuum=False
    )
    await asyncio.to_thread(prune, options)
    assert calls == []


async def test_what_a_client_writes_stays_data(tmp_path: Path, calls: list[str]) -> None:
    name = [*Planted.__module__.split("."), "Planted"]
    forms: list[Any] = [
        {"lc": 2, "type": "constructor", "id": name, "args": ["x"]},
        {"lc": 1, "type": "constructor", "id": name, "kwargs": {"text": "x"}},
        {"lc": 1, "type": "secret", "id": ["PATH"]},
        {"__type__": "ext", "code": 0, "data": [".".join(name[:-1]), name[-1], "x"]},
    ]
    async with (
        serving(create_app(written(tmp_path))) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "declared", "input": {"kinds": []}}
        await client.post(f"/threads/{thread}/runs/wait", json=body)
        change = {"values": {"anything": forms}, "as_node": "fill"}
        assert (await client.post(f"/threads/{thread}/state", json=change)).status_code == 200
        state = (await client.get(f"/threads/{thread}/state")).json()
        assert state["values"]["anything"] == forms
        await client.put("/store/items", json={"namespace": ["a"], "key": "k", "value": {"forms": forms}})
        item = (await client.get("/store/items", params={"namespace": "a", "key": "k"})).json()
        assert item["value"]["forms"] == forms
    assert calls == []
