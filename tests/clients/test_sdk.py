"""langgraph_sdk against a live server: threads, runs, streams, interrupts, edits and forks."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
from langgraph_sdk import errors
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.schema import StreamPart, Thread

SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "hi", "id": "human-1"}]}


async def _all(parts: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in parts]


def _of(parts: Iterable[StreamPart], event: str) -> list[Any]:
    return [part.data for part in parts if part.event == event]


@pytest.fixture
async def thread(client: LangGraphClient) -> Thread:
    """A new thread."""
    return await client.threads.create()


class TestThreads:
    async def test_create_get_update_delete(self, client: LangGraphClient) -> None:
        created = await client.threads.create(metadata={"a": 1})
        assert (created["status"], created["values"], created["metadata"]) == ("idle", None, {"a": 1})
        await client.threads.update(created["thread_id"], metadata={"b": 2})
        assert (await client.threads.get(created["thread_id"]))["metadata"] == {"a": 1, "b": 2}
        await client.threads.delete(created["thread_id"])
        with pytest.raises(errors.NotFoundError):
            await client.threads.get(created["thread_id"])

    async def test_an_id_of_the_callers_own(self, client: LangGraphClient) -> None:
        chosen = str(uuid.uuid4())
        await client.threads.create(thread_id=chosen)
        again = await client.threads.create(thread_id=chosen, if_exists="do_nothing")
        assert again["thread_id"] == chosen
        with pytest.raises(errors.ConflictError):
            await client.threads.create(thread_id=chosen)

    async def test_search_and_count(self, client: LangGraphClient) -> None:
        mark = str(uuid.uuid4())
        made = [await client.threads.create(metadata={"mark": mark, "n": n}) for n in range(3)]
        found = await client.threads.search(metadata={"mark": mark}, sort_by="created_at", sort_order="asc")
        assert [each["thread_id"] for each in found] == [each["thread_id"] for each in made]
        assert len(await client.threads.search(metadata={"mark": mark}, limit=2)) == 2
        assert await client.threads.count(metadata={"mark": mark}) == 3
        assert await client.threads.count(metadata={"mark": mark}, status="busy") == 0

    async def test_copy(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        mark = str(uuid.uuid4())
        await client.threads.update(thread["thread_id"], metadata={"mark": mark})
        await client.threads.copy(thread["thread_id"])
        both = await client.threads.search(metadata={"mark": mark})
        states = [await client.threads.get_state(each["thread_id"]) for each in both]
        numbers = [each["values"]["number"] for each in states if isinstance(each["values"], dict)]
        assert numbers == [3, 3]


class TestRuns:
    async def test_wait(self, client: LangGraphClient, thread: Thread) -> None:
        values = await client.runs.wait(thread["thread_id"], "chat", input=SAID)
        assert isinstance(values, dict)
        assert values["messages"][-1]["content"] == "Hello, turn 1: hi"
        assert (await client.threads.get(thread["thread_id"]))["values"] == values

    async def test_wait_raises_what_the_graph_raised(self, client: LangGraphClient, thread: Thread) -> None:
        with pytest.raises(Exception, match="ValueError: a value that nobody likes"):
            await client.runs.wait(thread["thread_id"], "failing", input={"how": "builtin"})
        values = await client.runs.wait(thread["thread_id"], "failing", input={"how": "builtin"}, raise_error=False)
        assert values == {"__error__": {"error": "ValueError", "message": "a value that nobody likes"}}
        assert (await client.threads.get(thread["thread_id"]))["status"] == "error"

    async def test_background_and_join(self, client: LangGraphClient, thread: Thread) -> None:
        run = await client.runs.create(
            thread["thread_id"], "chat", input=SAID, context={"greeting": "Hi"}, metadata={"mine": 1}
        )
        assert (run["metadata"] or {})["mine"] == 1
        values = await client.runs.join(thread["thread_id"], run["run_id"])
        assert values["messages"][-1]["content"] == "Hi, turn 1: hi"
        assert (await client.runs.get(thread["thread_id"], run["run_id"]))["status"] == "success"
        assert [each["run_id"] for each in await client.runs.list(thread["thread_id"])] == [run["run_id"]]
        await client.runs.delete(thread["thread_id"], run["run_id"])
        assert await client.runs.list(thread["thread_id"]) == []

    async def test_without_a_thread(self, client: LangGraphClient) -> None:
        values = await client.runs.wait(None, "steps", input={"number": 4})
        assert values == {"number": 9, "trail": ["double", "increase"]}
        parts = await _all(client.runs.stream(None, "steps", input={"number": 4}, stream_mode="updates"))
        assert [part.event for part in parts] == ["metadata", "updates", "updates"]
        payloads: Any = [{"assistant_id": "steps", "input": {"number": n}} for n in (1, 2)]
        runs = await client.runs.create_batch(payloads)
        assert len({each["run_id"] for each in runs}) == 2

    async def test_thread_made_by_its_first_run(self, client: LangGraphClient) -> None:
        chosen = str(uuid.uuid4())
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await client.runs.wait(chosen, "steps", input={"number": 1})
        await client.runs.wait(chosen, "steps", input={"number": 1}, if_not_exists="create")
        assert (await client.threads.get(chosen))["status"] == "idle"

    async def test_unknown_assistants(self, client: LangGraphClient, thread: Thread) -> None:
        with pytest.raises(errors.UnprocessableEntityError, match="Invalid assistant: 'nonsense'"):
            await client.runs.create(thread["thread_id"], "nonsense")
        with pytest.raises(errors.NotFoundError, match=r"Thread or assistant not found\."):
            await client.runs.create(thread["thread_id"], str(uuid.uuid4()))


class TestWhileOneRuns:
    """A second run of a thread, cancelling, joining: the graph is held at a gate meanwhile."""

    @pytest.fixture
    async def held(self, client: LangGraphClient, thread: Thread) -> tuple[str, AsyncIterator[StreamPart]]:
        """A run that has come to its gate, and the rest of its stream."""
        parts = client.runs.stream(
            thread["thread_id"],
            "gate",
            input={"hold": thread["thread_id"]},
            stream_mode=["custom", "values"],
            stream_resumable=True,
        )
        run_id = ""
        async for part in parts:
            if part.event == "metadata":
                run_id = part.data["run_id"]
            if part.event == "custom":
                break
        return run_id, parts

    async def _open(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(None, "gate", input={"open": thread["thread_id"]})

    async def test_busy_then_done(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, rest = held
        assert (await client.threads.get(thread["thread_id"]))["status"] == "busy"
        assert (await client.runs.get(thread["thread_id"], run_id))["status"] == "running"
        with pytest.raises(errors.ConflictError):
            await client.runs.create(thread["thread_id"], "gate", multitask_strategy="reject")
        await self._open(client, thread)
        assert _of(await _all(rest), "values")[-1]["passed"] == "through"

    async def test_cancel(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, rest = held
        await client.runs.cancel(thread["thread_id"], run_id, wait=True)
        assert _of(await _all(rest), "values") == []
        assert (await client.runs.get(thread["thread_id"], run_id))["status"] == "interrupted"
        assert (await client.threads.get(thread["thread_id"]))["status"] == "interrupted"
        with pytest.raises(errors.NotFoundError):
            await client.runs.cancel(thread["thread_id"], run_id)

    async def test_rollback_deletes_the_run(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, _ = held
        await client.runs.cancel(thread["thread_id"], run_id, wait=True, action="rollback")
        with pytest.raises(errors.NotFoundError):
            await client.runs.get(thread["thread_id"], run_id)
        assert await client.threads.get_history(thread["thread_id"], limit=10) == []

    async def test_cancel_many(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, rest = held
        await client.runs.cancel_many(thread_id=thread["thread_id"], run_ids=[run_id])
        await _all(rest)
        assert (await client.runs.get(thread["thread_id"], run_id))["status"] == "interrupted"

    @pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
    async def test_second_run_takes_over(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]], strategy: Any
    ) -> None:
        run_id, _ = held
        second = await client.runs.create(
            thread["thread_id"], "gate", input={"hold": None}, multitask_strategy=strategy
        )
        values = await client.runs.join(thread["thread_id"], second["run_id"])
        assert values["passed"] == "through"
        left = {each["run_id"] for each in await client.runs.list(thread["thread_id"])}
        assert left == ({run_id, second["run_id"]} if strategy == "interrupt" else {second["run_id"]})

    async def test_second_run_waits(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        second = await client.runs.create(thread["thread_id"], "gate", input={}, multitask_strategy="enqueue")
        assert (await client.runs.get(thread["thread_id"], second["run_id"]))["status"] == "pending"
        await self._open(client, thread)
        await client.runs.join(thread["thread_id"], second["run_id"])
        runs = await client.runs.list(thread["thread_id"])
        assert [each["status"] for each in runs] == ["success", "success"]

    async def test_joined_from_its_start(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, _ = held
        joined = client.runs.join_stream(thread["thread_id"], run_id, last_event_id="-1")
        seen = []
        async for part in joined:
            seen.append(part)
            if part.event == "custom":
                await self._open(client, thread)
        assert [part.event for part in seen] == ["metadata", "values", "values", "custom", "values"]
        assert all(part.id for part in seen)

    async def test_resumed_after_a_cut(
        self, client: LangGraphClient, thread: Thread, held: tuple[str, AsyncIterator[StreamPart]]
    ) -> None:
        run_id, _ = held
        first = None
        async for part in client.runs.join_stream(thread["thread_id"], run_id, last_event_id="-1"):
            if part.event == "custom":
                first = part
                break
        assert first is not None
        rest = asyncio.create_task(_all(client.runs.join_stream(thread["thread_id"], run_id, last_event_id=first.id)))
        await self._open(client, thread)
        assert [part.data["passed"] for part in await rest] == ["through"]


class TestStreams:
    async def test_values(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(client.runs.stream(thread["thread_id"], "steps", input={"number": 1}))
        assert parts[0].event == "metadata"
        assert [each["number"] for each in _of(parts, "values")] == [1, 2, 3]

    async def test_messages_tuple(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(client.runs.stream(thread["thread_id"], "chat", input=SAID, stream_mode="messages-tuple"))
        chunks = _of(parts, "messages")
        assert "".join(chunk["content"] for chunk, _ in chunks) == "Hello, turn 1: hi"
        assert {metadata["langgraph_node"] for _, metadata in chunks} == {"respond"}
        assert {chunk["id"] for chunk, _ in chunks} == {chunks[0][0]["id"]}

    async def test_messages(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(client.runs.stream(thread["thread_id"], "chat", input=SAID, stream_mode="messages"))
        assert [message["content"] for (message,) in _of(parts, "messages/partial")][-1] == "Hello, turn 1: hi"
        assert len(_of(parts, "messages/metadata")) >= 1

    async def test_tool_calls(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(client.runs.stream(thread["thread_id"], "agent", input=SAID, stream_mode="updates"))
        nodes = [next(iter(update)) for update in _of(parts, "updates")]
        assert nodes == ["model", "tools", "model"]
        results = _of(parts, "updates")[1]["tools"]["messages"]
        assert {each["tool_call_id"]: each["content"] for each in results} == {"call_add": "3", "call_divide": "4.5"}

    async def test_several_modes(self, client: LangGraphClient, thread: Thread) -> None:
        modes: Any = ["values", "updates", "custom", "tasks", "checkpoints", "debug", "events"]
        parts = await _all(client.runs.stream(thread["thread_id"], "steps", input={"number": 1}, stream_mode=modes))
        assert {part.event for part in parts} == {"metadata", *modes}
        assert _of(parts, "custom") == [{"name": "progress", "done": 0.5}, "plain text"]
        names = {each["name"] for each in _of(parts, "events") if each["event"] == "on_custom_event"}
        assert names == {"halfway"}

    async def test_subgraphs(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(
            client.runs.stream(thread["thread_id"], "nested", input=SAID, stream_mode="updates", stream_subgraphs=True)
        )
        inner = [part.event for part in parts if part.event.startswith("updates|child:")]
        assert len(inner) == 1
        assert len(_of(parts, "updates")) == 2

    async def test_failure(self, client: LangGraphClient, thread: Thread) -> None:
        parts = await _all(client.runs.stream(thread["thread_id"], "failing", input={"how": "app"}))
        assert parts[-1].event == "error"
        assert "secret" not in str(parts[-1].data)

    async def test_the_caller_learns_the_run_first(self, client: LangGraphClient, thread: Thread) -> None:
        created: list[Any] = []
        await _all(client.runs.stream(thread["thread_id"], "steps", input={"number": 1}, on_run_created=created.append))
        (run,) = await client.runs.list(thread["thread_id"])
        assert created == [{"run_id": run["run_id"], "thread_id": thread["thread_id"]}]


class TestInterrupts:
    async def test_stop_and_resume(self, client: LangGraphClient, thread: Thread) -> None:
        values = await client.runs.wait(thread["thread_id"], "hitl", input={"topic": "cats"})
        assert isinstance(values, dict)
        (interrupt,) = values["__interrupt__"]
        assert interrupt["value"] == {"question": "Publish?", "draft": "About cats"}
        stopped = await client.threads.get(thread["thread_id"])
        assert stopped["status"] == "interrupted"
        assert [each["id"] for each in next(iter(stopped["interrupts"].values()))] == [interrupt["id"]]
        state = await client.threads.get_state(thread["thread_id"])
        assert state["next"] == ["ask"]
        assert state["tasks"][0]["interrupts"][0]["id"] == interrupt["id"]
        values = await client.runs.wait(thread["thread_id"], "hitl", command={"resume": "Better"})
        assert values == {"topic": "cats", "draft": "Better", "published": True}
        assert (await client.threads.get(thread["thread_id"]))["interrupts"] == {}

    async def test_two_at_once_by_id(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "pair", input={"votes": []})
        state = await client.threads.get_state(thread["thread_id"])
        ids = {each["value"]: each["id"] for task in state["tasks"] for each in task["interrupts"]}
        resume = {ids["first?"]: "yes", ids["second?"]: "no"}
        values = await client.runs.wait(thread["thread_id"], "pair", command={"resume": resume})
        assert values == {"votes": ["first: yes", "second: no"]}

    async def test_before_a_node(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1}, interrupt_before=["increase"])
        assert (await client.threads.get_state(thread["thread_id"]))["next"] == ["increase"]
        values = await client.runs.wait(thread["thread_id"], "steps", input=None)
        assert values == {"number": 3, "trail": ["double", "increase"]}

    async def test_goto_and_update(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        values = await client.runs.wait(
            thread["thread_id"], "steps", command={"goto": "aside", "update": {"number": 8}}
        )
        assert values == {"number": 8, "trail": ["double", "increase", "aside"]}


class TestStates:
    async def test_history(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        history: Any = await client.threads.get_history(thread["thread_id"], limit=10)
        assert [state["next"] for state in history] == [[], ["increase"], ["double"], ["__start__"]]
        before: Any = {"configurable": {"checkpoint_id": history[1]["checkpoint_id"]}}
        earlier: Any = await client.threads.get_history(thread["thread_id"], limit=10, before=before)
        assert [state["checkpoint_id"] for state in earlier] == [state["checkpoint_id"] for state in history[2:]]

    async def test_edit_and_go_on(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        await client.threads.update_state(thread["thread_id"], {"number": 50}, as_node="double")
        assert (await client.threads.get_state(thread["thread_id"]))["next"] == ["increase"]
        values = await client.runs.wait(thread["thread_id"], "steps", input=None)
        assert isinstance(values, dict)
        assert values["number"] == 51

    async def test_fork_from_a_checkpoint(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        before_increase = (await client.threads.get_history(thread["thread_id"], limit=10))[1]
        answer = await client.threads.update_state(
            thread["thread_id"], {"number": 70}, checkpoint_id=before_increase["checkpoint"]["checkpoint_id"]
        )
        values = await client.runs.wait(
            thread["thread_id"], "steps", input=None, checkpoint_id=answer["checkpoint"]["checkpoint_id"]
        )
        assert isinstance(values, dict)
        assert values["number"] == 71
        past: Any = await client.threads.get_state(
            thread["thread_id"], checkpoint_id=before_increase["checkpoint"]["checkpoint_id"]
        )
        assert past["values"]["number"] == 2

    async def test_replay_from_a_checkpoint(self, client: LangGraphClient, thread: Thread) -> None:
        await client.runs.wait(thread["thread_id"], "steps", input={"number": 1})
        history = await client.threads.get_history(thread["thread_id"], limit=10)
        parts = await _all(
            client.runs.stream(
                thread["thread_id"],
                "steps",
                input=None,
                checkpoint_id=history[1]["checkpoint"]["checkpoint_id"],
                stream_mode="updates",
            )
        )
        assert _of(parts, "updates") == [{"increase": {"number": 3, "trail": ["increase"]}}]

    async def test_subgraph_states(self, client: LangGraphClient, thread: Thread) -> None:
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": "ask"}]}
        await client.runs.wait(thread["thread_id"], "nested", input=asked)
        state = await client.threads.get_state(thread["thread_id"], subgraphs=True)
        child = state["tasks"][0]["state"]
        assert child is not None
        assert child["next"] == ["speak"]

    async def test_state_of_nothing(self, client: LangGraphClient) -> None:
        with pytest.raises(errors.NotFoundError):
            await client.threads.get_state(str(uuid.uuid4()))


class TestSync:
    """The synchronous client: the same wire, so one way through it."""

    def test_run_stream_and_resume(self, sync_client: SyncLangGraphClient) -> None:
        thread_id = sync_client.threads.create()["thread_id"]
        parts = list(sync_client.runs.stream(thread_id, "hitl", input={"topic": "ants"}, stream_mode="updates"))
        assert "__interrupt__" in parts[-1].data
        assert sync_client.threads.get(thread_id)["status"] == "interrupted"
        values = sync_client.runs.wait(thread_id, "hitl", command={"resume": True})
        assert isinstance(values, dict)
        assert values["published"] is True
        assert len(sync_client.threads.get_history(thread_id)) == 5
        sync_client.threads.delete(thread_id)

    def test_background_and_join(self, sync_client: SyncLangGraphClient) -> None:
        thread_id = sync_client.threads.create()["thread_id"]
        run = sync_client.runs.create(
            thread_id, "steps", input={"number": 1}, stream_mode="updates", stream_resumable=True
        )
        assert sync_client.runs.join(thread_id, run["run_id"])["number"] == 3
        parts = list(sync_client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1"))
        assert [part.event for part in parts] == ["metadata", "updates", "updates"]

    def test_errors(self, sync_client: SyncLangGraphClient) -> None:
        with pytest.raises(errors.NotFoundError):
            sync_client.threads.get(str(uuid.uuid4()))


async def test_bodies_that_are_no_json(url: str, client: LangGraphClient, thread: Thread) -> None:
    async with httpx.AsyncClient(base_url=url) as plain:
        response = await plain.post(f"/threads/{thread['thread_id']}/runs/stream", content=b"{")
    assert response.status_code == 422
    assert response.json()["detail"] == "Invalid JSON in request body"
