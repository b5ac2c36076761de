"""langgraph_sdk against a live server: assistants, the store, crons."""

import uuid
from typing import Any

import pytest
from langgraph_sdk import errors
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

SAID: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
YEARLY = "0 0 1 1 *"


class TestAssistants:
    async def test_every_graph_has_one(self, client: LangGraphClient) -> None:
        found = await client.assistants.search(metadata={"created_by": "system"}, limit=100)
        assert {each["graph_id"] for each in found} >= {"agent", "chat", "hitl", "steps"}
        assert {each["version"] for each in found} == {1}

    async def test_create_update_versions_delete(self, client: LangGraphClient) -> None:
        made = await client.assistants.create("chat", name="greeter", context={"greeting": "Hi"}, metadata={"a": 1})
        one = made["assistant_id"]
        await client.assistants.update(one, name="shouter", context={"greeting": "HEY"})
        assert [each["version"] for each in await client.assistants.get_versions(one)] == [2, 1]
        assert (await client.assistants.get(one))["name"] == "shouter"
        assert (await client.assistants.set_latest(one, 1))["version"] == 1
        await client.assistants.delete(one)
        with pytest.raises(errors.NotFoundError):
            await client.assistants.get(one)

    async def test_search_and_count(self, client: LangGraphClient) -> None:
        mark = {"mark": str(uuid.uuid4())}
        made = [await client.assistants.create(graph, metadata=mark) for graph in ("chat", "steps")]
        found = await client.assistants.search(metadata=mark, sort_by="created_at", sort_order="asc")
        assert [each["assistant_id"] for each in found] == [each["assistant_id"] for each in made]
        assert [each["graph_id"] for each in await client.assistants.search(metadata=mark, graph_id="steps")] == [
            "steps"
        ]
        assert await client.assistants.count(metadata=mark) == 2

    async def test_a_run_has_its_context(self, client: LangGraphClient) -> None:
        made = await client.assistants.create("chat", context={"greeting": "Hi"})
        values = await client.runs.wait(None, made["assistant_id"], input=SAID)
        assert isinstance(values, dict)
        assert values["messages"][-1]["content"] == "Hi, turn 1: hi"
        values = await client.runs.wait(None, made["assistant_id"], input=SAID, context={"greeting": "Ho"})
        assert isinstance(values, dict)
        assert values["messages"][-1]["content"] == "Ho, turn 1: hi"

    async def test_what_it_tells_of_its_graph(self, client: LangGraphClient) -> None:
        (chat,) = await client.assistants.search(graph_id="chat", metadata={"created_by": "system"})
        (nested,) = await client.assistants.search(graph_id="nested", metadata={"created_by": "system"})
        drawing: Any = await client.assistants.get_graph(chat["assistant_id"])
        assert [each["id"] for each in drawing["nodes"]] == ["__start__", "respond", "__end__"]
        deep: Any = await client.assistants.get_graph(nested["assistant_id"], xray=True)
        assert "child:speak" in {each["id"] for each in deep["nodes"]}
        schemas = await client.assistants.get_schemas(chat["assistant_id"])
        assert "messages" in (schemas["input_schema"] or {})["properties"]
        assert "greeting" in (schemas["context_schema"] or {})["properties"]
        assert set(await client.assistants.get_subgraphs(nested["assistant_id"])) == {"child"}

    def test_sync(self, sync_client: SyncLangGraphClient) -> None:
        made = sync_client.assistants.create("steps", if_exists="do_nothing")
        assert sync_client.assistants.get(made["assistant_id"])["graph_id"] == "steps"
        sync_client.assistants.delete(made["assistant_id"])


class TestStore:
    @pytest.fixture
    def place(self) -> list[str]:
        """A namespace of the test's own."""
        return [str(uuid.uuid4()), "notes"]

    async def test_put_get_delete(self, client: LangGraphClient, place: list[str]) -> None:
        await client.store.put_item(place, "one", {"text": "hi", "list": [1, None]})
        item = await client.store.get_item(place, "one")
        assert (item["namespace"], item["key"], item["value"]) == (place, "one", {"text": "hi", "list": [1, None]})
        await client.store.delete_item(place, "one")
        assert await client.store.get_item(place, "one") is None

    async def test_search_and_namespaces(self, client: LangGraphClient, place: list[str]) -> None:
        for number in range(3):
            await client.store.put_item([*place, str(number)], "item", {"number": number, "even": number % 2 == 0})
        found = await client.store.search_items(place, filter={"even": True})
        assert sorted(each["value"]["number"] for each in found["items"]) == [0, 2]
        found = await client.store.search_items(place, filter={"number": {"$gte": 1}}, limit=1)
        assert len(found["items"]) == 1
        spaces = await client.store.list_namespaces(prefix=place)
        assert sorted(spaces["namespaces"]) == [[*place, str(number)] for number in range(3)]
        shallow = await client.store.list_namespaces(prefix=place, max_depth=2)
        assert shallow["namespaces"] == [place]

    async def test_graphs_see_the_same(self, client: LangGraphClient) -> None:
        place = str(uuid.uuid4())
        await client.store.put_item(["memory", place], "kept", {"text": "by hand"})
        values = await client.runs.wait(None, "memory", input={"place": place, "keep": "by the graph"})
        assert isinstance(values, dict)
        assert values["found"] == "by hand"
        assert (await client.store.get_item(["memory", place], "kept"))["value"] == {"text": "by the graph"}

    def test_sync(self, sync_client: SyncLangGraphClient, place: list[str]) -> None:
        sync_client.store.put_item(place, "one", {"text": "hi"})
        assert sync_client.store.get_item(place, "one")["value"] == {"text": "hi"}
        assert [each["key"] for each in sync_client.store.search_items(place)["items"]] == ["one"]


class TestCrons:
    async def test_create_search_update_delete(self, client: LangGraphClient) -> None:
        mark = {"mark": str(uuid.uuid4())}
        made: Any = await client.crons.create("steps", schedule=YEARLY, input={"number": 1}, metadata=mark)
        assert (made["schedule"], made["enabled"]) == (YEARLY, True)
        await client.crons.update(made["cron_id"], schedule="0 0 2 1 *", enabled=False)
        (found,) = await client.crons.search(metadata=mark)
        assert (found["schedule"], found["enabled"], found["cron_id"]) == ("0 0 2 1 *", False, made["cron_id"])
        assert await client.crons.count(metadata=mark) == 1
        await client.crons.delete(made["cron_id"])
        assert await client.crons.search(metadata=mark) == []

    async def test_of_a_thread(self, client: LangGraphClient) -> None:
        thread = await client.threads.create()
        made: Any = await client.crons.create_for_thread(thread["thread_id"], "steps", schedule=YEARLY)
        (found,) = await client.crons.search(thread_id=thread["thread_id"])
        assert found["cron_id"] == made["cron_id"]
        await client.crons.delete(made["cron_id"])

    def test_sync(self, sync_client: SyncLangGraphClient) -> None:
        made: Any = sync_client.crons.create("steps", schedule=YEARLY)
        sync_client.crons.delete(made["cron_id"])
        with pytest.raises(errors.UnprocessableEntityError):
            sync_client.crons.create("steps", schedule="nonsense")
