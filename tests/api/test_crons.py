"""Crons: as the stock SDK calls them, and fired by a clock that the test moves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient

from api.app import create_app
from api.cron_scheduler import CronScheduler
from api.errors import StorageError
from api.schedules import Clock
from api.settings import Settings
from tests.api.graphs import gate
from tests.serving import serving

MORNING = datetime(2026, 6, 1, 11, 30, tzinfo=UTC)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEARLY = "0 0 1 1 *"
UNKNOWN = "8a6d3c3c-0b1a-4f0e-8f1c-3f8f3a3f3a3f"


class FakeClock(Clock):
    """A time of day that stands still until the test moves it, and knows who sleeps."""

    def __init__(self, at: datetime = MORNING) -> None:
        self._at = at
        self._sleepers: list[datetime] = []
        self._changed = asyncio.Condition()

    def now(self) -> datetime:
        return self._at

    async def sleep_until(self, at: datetime) -> None:
        async with self._changed:
            self._sleepers.append(at)
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: self._at >= at)
            finally:
                self._sleepers.remove(at)

    async def move_to(self, at: datetime) -> None:
        """It is that time now."""
        async with self._changed:
            self._at = at
            self._changed.notify_all()

    async def slept(self, until: datetime, count: int = 1) -> None:
        """Returns when so many sleep until that time: all that is due before has been fired."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._sleepers.count(until) >= count)


Serve = Callable[[Clock], contextlib.AbstractAsyncContextManager[LangGraphClient]]


@pytest.fixture
def serve(config: Path) -> Serve:
    """Starts a server that goes by a clock; a second one on the same data is a restart, or another process."""

    @contextlib.asynccontextmanager
    async def start(clock: Clock) -> AsyncIterator[LangGraphClient]:
        app = create_app(Settings(config=config), clock=clock)
        async with serving(app) as url, get_client(url=url) as client:
            yield client

    return start


@pytest.fixture
def clock() -> FakeClock:
    """Half past eleven."""
    return FakeClock()


@pytest.fixture
async def sdk(serve: Serve, clock: FakeClock) -> AsyncIterator[LangGraphClient]:
    """A client of a server that goes by `clock`."""
    async with serve(clock) as client:
        yield client


def said(text: str) -> dict[str, Any]:
    """An input for the graph `gated`."""
    return {"messages": [{"role": "user", "content": text}]}


async def runs_of(client: LangGraphClient, thread_id: str) -> list[Any]:
    """The runs of a thread, ended."""
    runs = await client.runs.list(thread_id)
    for run in runs:
        await client.runs.join(thread_id, run["run_id"])
    return await client.runs.list(thread_id)


async def kept_threads(client: LangGraphClient, mark: str) -> list[str]:
    """The threads that runs with this mark in their metadata have made."""
    return [thread["thread_id"] for thread in await client.threads.search(metadata={"mark": mark}, limit=100)]


async def test_cron_is_made_read_changed_and_deleted(sdk: LangGraphClient) -> None:
    made: Any = await sdk.crons.create(
        "steps",
        schedule=YEARLY,
        input={"number": 1},
        metadata={"mine": 1},
        config={"tags": ["mine"], "configurable": {"x": 1}},
        interrupt_before=["double"],
        on_run_completed="keep",
        timezone="Europe/Zurich",
        end_time=datetime(2099, 1, 1, tzinfo=UTC),
        enabled=False,
        stream_mode=["updates"],
        durability="exit",
        multitask_strategy="reject",
    )
    cron_id, assistant_id = made["cron_id"], made["assistant_id"]
    assert made == {
        "cron_id": cron_id,
        "assistant_id": assistant_id,
        "thread_id": None,
        "user_id": "",
        "end_time": "2099-01-01T00:00:00+00:00",
        "schedule": YEARLY,
        "timezone": "Europe/Zurich",
        "payload": {
            "assistant_id": assistant_id,
            "schedule": YEARLY,
            "input": {"number": 1},
            "metadata": {"mine": 1},
            "config": {"tags": ["mine"], "configurable": {"x": 1, "cron_id": cron_id}},
            "interrupt_before": ["double"],
            "on_run_completed": "keep",
            "timezone": "Europe/Zurich",
            "end_time": "2099-01-01T00:00:00+00:00",
            "enabled": False,
            "stream_mode": ["updates"],
            "durability": "exit",
            "multitask_strategy": "reject",
        },
        "next_run_date": "2026-12-31T23:00:00+00:00",
        "metadata": {"mine": 1},
        "on_run_completed": "keep",
        "enabled": False,
        "created_at": "2026-06-01T11:30:00+00:00",
        "updated_at": "2026-06-01T11:30:00+00:00",
    }
    changed = await sdk.crons.update(
        cron_id, schedule="0 0 2 1 *", timezone="UTC", metadata={"more": 2}, config={"tags": []}, end_time=None
    )
    assert changed == {
        **made,
        "end_time": None,
        "schedule": "0 0 2 1 *",
        "timezone": "UTC",
        "payload": {
            **made["payload"],
            "schedule": "0 0 2 1 *",
            "timezone": "UTC",
            "metadata": {"more": 2},
            "config": {"tags": [], "configurable": {"cron_id": cron_id}},
            "end_time": None,
        },
        "next_run_date": "2027-01-02T00:00:00+00:00",
        "metadata": {"mine": 1, "more": 2},
    }
    assert await sdk.crons.search() == [changed]
    await sdk.crons.delete(cron_id)
    assert await sdk.crons.count() == 0


async def test_plain_cron_has_the_defaults(sdk: LangGraphClient) -> None:
    made: Any = await sdk.crons.create("steps", schedule=YEARLY)
    assert (made["on_run_completed"], made["enabled"], made["metadata"]) == ("delete", True, {})
    assert (made["timezone"], made["end_time"], made["next_run_date"]) == (None, None, "2027-01-01T00:00:00+00:00")


async def test_sync_client(serve: Serve, clock: FakeClock) -> None:
    async with serve(clock) as sdk:
        url = str(sdk.http.client.base_url)

        def use() -> None:
            with get_sync_client(url=url) as client:
                thread_id = client.threads.create()["thread_id"]
                made: Any = client.crons.create_for_thread(thread_id, "steps", schedule=YEARLY, input={"number": 1})
                assert (made["thread_id"], made["on_run_completed"]) == (thread_id, None)
                assert client.crons.search(thread_id=thread_id) == [made]
                client.crons.update(made["cron_id"], enabled=False)
                assert client.crons.count(thread_id=thread_id) == 1
                client.crons.delete(made["cron_id"])
                assert client.crons.search() == []

        await asyncio.to_thread(use)


async def test_search_selects_sorts_and_pages(sdk: LangGraphClient) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    for month in (3, 1, 2):
        await sdk.crons.create("steps", schedule=f"0 0 1 {month} *", metadata={"nth": month}, enabled=month != 2)
    await sdk.crons.create_for_thread(thread_id, "chat", schedule="0 0 1 4 *")
    http = sdk.http.client

    async def schedules(**criteria: Any) -> list[str]:
        found: Any = await sdk.crons.search(select=["schedule"], **criteria)
        assert all(list(each) == ["schedule"] for each in found)
        return [each["schedule"][6] for each in found]

    assert await schedules(sort_by="next_run_date", sort_order="asc") == ["1", "2", "3", "4"]
    assert await schedules(sort_by="next_run_date", sort_order="desc", limit=2, offset=1) == ["3", "2"]
    assert await schedules(metadata={"nth": 1}) == ["1"]
    assert await schedules(enabled=False) == ["2"]
    assert await schedules(thread_id=thread_id) == ["4"]
    [cron] = await sdk.crons.search(thread_id=thread_id)
    assert await schedules(assistant_id=cron["assistant_id"]) == ["4"]
    assert await sdk.crons.count(metadata={"nth": 1}) == 1
    assert await sdk.crons.count(assistant_id=cron["assistant_id"]) == 1

    page = await http.post("/runs/crons/search", json={"limit": 3})
    assert (page.headers["x-pagination-total"], page.headers["x-pagination-next"]) == ("4", "3")
    last = await http.post("/runs/crons/search", json={"limit": 3, "offset": 3})
    assert (last.headers["x-pagination-total"], "x-pagination-next" in last.headers) == ("4", False)


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/runs/crons", {"assistant_id": "steps"}, 422, "schedule: Field required."),
    ("POST", "/runs/crons", {"schedule": YEARLY}, 422, "assistant_id: Field required."),
    ("POST", "/runs/crons", {"assistant_id": "steps", "schedule": 5}, 422, "schedule: "),
    ("POST", "/runs/crons", {"assistant_id": "steps", "schedule": ""}, 422, "Invalid cron schedule: ''. Reason:"),
    ("POST", "/runs/crons", {"assistant_id": "steps", "schedule": "0 0 30 2 *"}, 422, "Invalid cron schedule:"),
    ("POST", "/runs/crons", {"assistant_id": "no", "schedule": YEARLY}, 404, "Assistant 'no' not found"),
    ("POST", "/runs/crons", {"assistant_id": UNKNOWN, "schedule": YEARLY}, 404, f"Assistant '{UNKNOWN}' not found"),
    ("POST", f"/threads/{UNKNOWN}/runs/crons", None, 404, f"Thread with ID '{UNKNOWN}' not found. Please verify"),
    ("POST", "/threads/no/runs/crons", None, 422, "Invalid thread ID: must be a UUID"),
    ("POST", "/runs/crons", {"timezone": "No/Where"}, 422, "Invalid timezone: 'No/Where'. Use IANA"),
    ("POST", "/runs/crons", {"end_time": "tomorrow"}, 422, "end_time: "),
    ("POST", "/runs/crons", {"enabled": "yes"}, 422, "enabled: "),
    ("POST", "/runs/crons", {"on_run_completed": "bad"}, 422, "on_run_completed: "),
    ("POST", "/runs/crons", {"multitask_strategy": "bad"}, 422, "multitask_strategy: "),
    ("POST", "/runs/crons", {"after_seconds": -1}, 422, "after_seconds: "),
    ("POST", "/runs/crons", {"stream_mode": "bad"}, 422, "stream_mode"),
    ("POST", "/runs/crons", {"input": 5}, 422, "input"),
    (
        "POST",
        "/runs/crons",
        {"config": {"configurable": {"x": 1}}, "context": {"y": 1}},
        400,
        "Cannot specify both",
    ),
    ("POST", "/runs/crons/search", {"limit": 0}, 422, "limit: "),
    ("POST", "/runs/crons/search", {"select": ["no"]}, 422, "select.0: "),
    ("POST", "/runs/crons/search", {"sort_by": "no"}, 422, "sort_by: "),
    ("POST", "/runs/crons/search", {"assistant_id": "steps"}, 422, "Invalid assistant ID: must be a UUID"),
    ("POST", "/runs/crons/count", {"thread_id": "no"}, 422, "Invalid thread ID: must be a UUID"),
    ("GET", f"/runs/crons/{UNKNOWN}", None, 404, "Not Found"),
    ("GET", "/runs/crons/no", None, 422, "Invalid cron ID: must be a UUID"),
    ("DELETE", f"/runs/crons/{UNKNOWN}", None, 404, "Not Found"),
    ("DELETE", "/runs/crons/no", None, 422, "Invalid cron ID: must be a UUID"),
    ("PATCH", f"/runs/crons/{UNKNOWN}", {"enabled": True}, 404, f"Cron '{UNKNOWN}' not found"),
    ("PATCH", f"/runs/crons/{UNKNOWN}", {}, 400, "Request body cannot be empty"),
    ("PATCH", "/runs/crons/no", {"enabled": True}, 422, "Invalid cron ID: must be a UUID"),
    ("PATCH", f"/runs/crons/{UNKNOWN}", {"timezone": "No/Where"}, 422, "Invalid timezone: 'No/Where'. Use IANA"),
]
"""Method, path, body (of a cron: what it has beside an assistant and a schedule), status, begin of the detail."""


async def test_what_cannot_be_is_refused(sdk: LangGraphClient) -> None:
    for method, path, body, status, detail in REFUSED:
        if method == "POST" and path.endswith("/crons") and not {"schedule", "assistant_id"} & set(body or ()):
            body = {"assistant_id": "steps", "schedule": YEARLY, **(body or {})}
        response = await sdk.http.client.request(method, path, json=body)
        assert response.status_code == status, (method, path, body, response.text)
        assert response.json()["detail"].startswith(detail), (method, path, body, response.text)


async def test_patch_that_is_refused_changes_nothing(sdk: LangGraphClient) -> None:
    made: Any = await sdk.crons.create("steps", schedule=YEARLY, input={"number": 1})
    refused: list[tuple[dict[str, Any], int]] = [
        ({"schedule": "nonsense"}, 422),
        ({"multitask_strategy": "bad"}, 422),
        ({"after_seconds": -1}, 422),
        ({"config": {"configurable": {"x": 1}}, "context": {"y": 1}}, 400),
        ({"context": {"y": 1}, "schedule": ""}, 422),
    ]
    for changes, status in refused:
        response = await sdk.http.client.patch(f"/runs/crons/{made['cron_id']}", json=changes)
        assert response.status_code == status, changes
    assert await sdk.crons.search() == [made]


async def test_cron_fires_on_time(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    with gate("at noon") as held:
        made: Any = await sdk.crons.create_for_thread(
            thread_id,
            "gated",
            schedule="0 * * * *",
            input=said("at noon"),
            metadata={"mine": 1},
            config={"tags": ["t"], "configurable": {"x": 1}},
        )
        await clock.slept(NOON)
        assert await sdk.runs.list(thread_id) == []
        await clock.move_to(NOON)
        await held.reached.wait()
        held.released.set()
        await clock.slept(NOON + HOUR)

    [run] = await runs_of(sdk, thread_id)
    [cron] = await sdk.crons.search()
    assert (run["status"], run["assistant_id"], run["metadata"]["mine"]) == ("success", made["assistant_id"], 1)
    assert run["kwargs"]["config"]["configurable"]["cron_id"] == made["cron_id"]
    assert run["kwargs"]["config"]["tags"] == ["t"]
    assert run["multitask_strategy"] == "enqueue"
    assert cron == {**made, "next_run_date": "2026-06-01T13:00:00+00:00"}


async def test_cron_fires_again_and_again(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.crons.create_for_thread(thread_id, "gated", schedule="0 * * * *", input=said("hi"))
    for hour in range(3):
        await clock.slept(NOON + hour * HOUR)
        await clock.move_to(NOON + hour * HOUR)
    await clock.slept(NOON + 3 * HOUR)

    assert len(await runs_of(sdk, thread_id)) == 3
    assert len((await sdk.threads.get_state(thread_id))["values"]["messages"]) == 6


async def test_context_reaches_the_run_with_the_id_of_the_cron(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    made: Any = await sdk.crons.create_for_thread(
        thread_id, "gated", schedule="0 * * * *", input=said("hi"), context={"a": 1}
    )
    await sdk.crons.update(made["cron_id"], context={"b": 2})
    await clock.move_to(NOON)
    await clock.slept(NOON + HOUR)

    [run] = await runs_of(sdk, thread_id)
    assert run["kwargs"]["context"] == {"b": 2}
    assert run["kwargs"]["config"]["configurable"]["cron_id"] == made["cron_id"]


async def test_thread_of_a_stateless_cron_is_kept_if_asked_for(sdk: LangGraphClient, clock: FakeClock) -> None:
    marks = {"keep": "kept", "delete": "gone"}
    with gate("hold") as held:
        for on_run_completed, mark in marks.items():
            await sdk.crons.create(
                "gated",
                schedule="0 * * * *",
                input=said("hold"),
                metadata={"mark": mark},
                on_run_completed=on_run_completed,  # type: ignore[arg-type]  # one of two literals
            )
        await clock.move_to(NOON)
        await clock.slept(NOON + HOUR)
        kept, gone = [(await kept_threads(sdk, mark))[0] for mark in marks.values()]
        runs = {name: (await sdk.runs.list(thread))[0] for name, thread in (("kept", kept), ("gone", gone))}
        held.released.set()
        await asyncio.gather(sdk.runs.join(kept, runs["kept"]["run_id"]), sdk.runs.join(gone, runs["gone"]["run_id"]))

    assert [runs[name]["kwargs"]["temporary"] for name in ("kept", "gone")] == [False, True]
    assert await kept_threads(sdk, "kept") == [kept]
    [run] = await runs_of(sdk, kept)
    assert run["status"] == "success"


async def test_other_option_of_a_run_is_kept(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    body = {"assistant_id": "gated", "schedule": "0 * * * *", "input": said("hi"), "checkpoint_during": False}
    made = (await sdk.http.client.post(f"/threads/{thread_id}/runs/crons", json=body)).json()
    assert made["payload"]["checkpoint_during"] is False
    await clock.move_to(NOON)
    await clock.slept(NOON + HOUR)

    [run] = await runs_of(sdk, thread_id)
    assert run["kwargs"]["durability"] == "exit"


async def test_earlier_schedule_wakes_the_scheduler(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    made: Any = await sdk.crons.create_for_thread(thread_id, "gated", schedule=YEARLY, input=said("hi"))
    await clock.slept(datetime(2027, 1, 1, tzinfo=UTC))
    await sdk.crons.update(made["cron_id"], schedule="0 * * * *", timezone="Asia/Kolkata")
    await clock.slept(NOON + HOUR / 2)
    await clock.move_to(NOON + HOUR / 2)
    await clock.slept(NOON + HOUR * 3 / 2)

    assert len(await runs_of(sdk, thread_id)) == 1


async def test_disabled_cron_does_not_fire_and_counts_from_when_it_is_enabled(
    sdk: LangGraphClient, clock: FakeClock
) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    made: Any = await sdk.crons.create_for_thread(thread_id, "gated", schedule="0 * * * *", input=said("hi"))
    await sdk.crons.update(made["cron_id"], enabled=False)
    await sdk.crons.create("gated", schedule="0 * * * *", input=said("sentinel"))
    await clock.move_to(NOON + 10 * HOUR)
    await clock.slept(NOON + 11 * HOUR)
    changed: Any = await sdk.crons.update(made["cron_id"], enabled=True)

    assert changed["next_run_date"] == "2026-06-01T23:00:00+00:00"
    assert await sdk.runs.list(thread_id) == []
    await clock.move_to(NOON + 11 * HOUR)
    await clock.slept(NOON + 12 * HOUR)
    assert len(await runs_of(sdk, thread_id)) == 1


async def test_cron_ends_at_its_end_time(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.crons.create_for_thread(
        thread_id, "gated", schedule="0 * * * *", input=said("hi"), end_time=NOON + HOUR / 2
    )
    await sdk.crons.create("gated", schedule="0 * * * *", input=said("sentinel"))
    for hour in range(3):
        await clock.move_to(NOON + hour * HOUR)
        await clock.slept(NOON + (hour + 1) * HOUR)

    assert len(await runs_of(sdk, thread_id)) == 1


async def test_schedule_without_a_further_date_has_none(sdk: LangGraphClient, clock: FakeClock) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.crons.create_for_thread(thread_id, "gated", schedule="0 12 1 6 * 0 2026", input=said("hi"))
    await sdk.crons.create("gated", schedule="0 * * * *", input=said("sentinel"))
    await clock.move_to(NOON)
    await clock.slept(NOON + HOUR)

    [cron] = await sdk.crons.search(thread_id=thread_id)
    assert cron["next_run_date"] is None
    assert len(await runs_of(sdk, thread_id)) == 1


async def test_cron_that_came_due_without_a_server_fires_once(serve: Serve, clock: FakeClock) -> None:
    async with serve(clock) as sdk:
        thread_id = (await sdk.threads.create())["thread_id"]
        await sdk.crons.create_for_thread(thread_id, "gated", schedule="0 * * * *", input=said("hi"))
    await clock.move_to(NOON + 10 * HOUR)
    async with serve(clock) as sdk:
        await clock.slept(NOON + 11 * HOUR)
        assert len(await runs_of(sdk, thread_id)) == 1


async def test_one_of_several_servers_fires(serve: Serve, clock: FakeClock) -> None:
    async with serve(clock) as sdk:
        thread_id = (await sdk.threads.create())["thread_id"]
        await sdk.crons.create_for_thread(thread_id, "gated", schedule="0 * * * *", input=said("hi"))
        async with serve(clock), serve(clock):
            await clock.slept(NOON, count=3)
            await clock.move_to(NOON)
            await clock.slept(NOON + HOUR, count=3)
            assert len(await runs_of(sdk, thread_id)) == 1


async def test_run_that_cannot_be_is_left_out(
    sdk: LangGraphClient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    with gate("busy") as held:
        await sdk.runs.create(thread_id, "gated", input=said("busy"))
        await held.reached.wait()
        await sdk.crons.create_for_thread(
            thread_id, "gated", schedule="0 * * * *", input=said("hi"), multitask_strategy="reject"
        )
        await clock.move_to(NOON)
        await clock.slept(NOON + HOUR)
        held.released.set()

    assert len(await runs_of(sdk, thread_id)) == 1
    assert "made no run: Thread is already running a task." in caplog.text


async def test_cron_goes_with_its_thread(sdk: LangGraphClient) -> None:
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.crons.create_for_thread(thread_id, "steps", schedule=YEARLY)
    await sdk.threads.delete(thread_id)
    assert await sdk.crons.count() == 0


async def test_scheduler_goes_on_when_a_thread_has_taken_its_cron_along(
    sdk: LangGraphClient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    gone, stays = [(await sdk.threads.create())["thread_id"] for _ in range(2)]
    for thread_id in (gone, stays):
        await sdk.crons.create_for_thread(thread_id, "steps", schedule="0 12 * * *", input={"number": 1})
    await clock.slept(NOON)
    await sdk.threads.delete(gone)
    await clock.move_to(NOON)
    await clock.slept(NOON + 24 * HOUR)

    assert len(await runs_of(sdk, stays)) == 1
    assert not [record for record in caplog.records if record.name == "api.cron_scheduler"]


class FailingOnce:
    """Crons whose storage fails to answer once; then one is due, once."""

    def __init__(self, **cron: Any) -> None:
        self.cron = SimpleNamespace(**cron)
        self.asked = 0
        self.began = asyncio.Event()
        self.creating = asyncio.Event()
        self.created = asyncio.Event()

    async def due(self, now: datetime, limit: int) -> list[Any]:
        self.asked += 1
        if self.asked == 1:
            raise StorageError("no answer")
        return [] if self.created.is_set() else [self.cron]

    async def next_due(self, now: datetime) -> None:
        return None

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def build(self, body: Any, thread_id: str | None) -> Any:
        return SimpleNamespace(kwargs={"config": {}})

    async def create(self, request: Any, fired: Any) -> None:
        self.began.set()
        await self.creating.wait()
        self.created.set()


async def test_scheduler_outlives_a_failure_and_ends_what_it_began(clock: FakeClock) -> None:
    payload = {"assistant_id": "a"}
    crons: Any = FailingOnce(
        cron_id="c",
        schedule="* * * * *",
        timezone=None,
        thread_id=None,
        payload=payload,
        metadata={},
        on_run_completed=None,
    )
    scheduler = CronScheduler(SimpleNamespace(crons=crons), crons, crons, clock)  # type: ignore[arg-type]
    scheduler.start()
    await clock.slept(MORNING + timedelta(seconds=1))
    await clock.move_to(MORNING + timedelta(seconds=1))
    await crons.began.wait()
    stopping = asyncio.create_task(scheduler.stop())
    crons.creating.set()
    await stopping

    assert crons.created.is_set()


async def test_reads_and_writes_need_json(sdk: LangGraphClient) -> None:
    http: httpx.AsyncClient = sdk.http.client
    for path in ("/runs/crons", "/runs/crons/search", "/runs/crons/count", f"/threads/{UNKNOWN}/runs/crons"):
        response = await http.post(path, content=b"{nonsense")
        assert (response.status_code, response.json()["detail"]) == (422, "Invalid JSON in request body")
