"""The native API's requests: inputs, contexts, batches, and what is refused."""

import asyncio
import json
import uuid
from typing import Any

import pytest

from tests.api.conftest import Client, Serve
from tests.api.graphs import gate


async def _invoke(client: Client, agent: str, **body: Any) -> Any:
    response = await client.post(f"/agents/{agent}/invoke", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_invoke_gives_the_answer(client: Client) -> None:
    result = await _invoke(client, "chat", input="hi")
    assert result["answer"] == "Hello, this is turn 1."
    assert result["status"] == "success"
    assert set(result) == {"run_id", "thread_id", "status", "answer", "tools_used", "usage"}


@pytest.mark.parametrize(
    "value",
    [
        "hi",
        [{"role": "user", "content": "hi"}],
        [{"type": "human", "content": "hi"}],
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": "hi"},
    ],
)
async def test_input_may_be_text_messages_or_the_graphs_own(client: Client, value: Any) -> None:
    assert (await _invoke(client, "chat", input=value))["answer"] == "Hello, this is turn 1."


async def test_context_takes_effect_for_the_run_alone(client: Client) -> None:
    result = await _invoke(client, "chat", input="hi", context={"greeting": "Ahoy", "times": 2})
    assert result["answer"] == "Ahoy Ahoy, this is turn 1."
    assert (await _invoke(client, "chat", input="hi"))["answer"] == "Hello, this is turn 1."


async def test_thread_goes_on_across_turns_and_a_restart(serve: Serve) -> None:
    async with serve() as client:
        thread_id = (await _invoke(client, "chat", input="one"))["thread_id"]
        assert (await _invoke(client, "chat", input="two", thread_id=thread_id))["answer"].endswith("turn 2.")
    async with serve() as client:
        assert (await _invoke(client, "chat", input="three", thread_id=thread_id))["answer"].endswith("turn 3.")
        messages = (await client.get(f"/threads/{thread_id}")).json()["values"]["messages"]
        assert [message["type"] for message in messages] == ["human", "ai"] * 3
        assert (await client.get(f"/threads/{thread_id}/state")).json()["values"]["messages"] == messages
        history = (await client.get(f"/threads/{thread_id}/history", params={"limit": 2})).json()
        assert [state["checkpoint_id"] for state in history][1] == history[0]["parent_checkpoint_id"]


async def test_finished_stream_is_read_after_a_restart(serve: Serve) -> None:
    async with serve() as client:
        response = await client.post("/agents/chat/stream", json={"input": "hi"})
    async with serve() as client:
        assert (await client.get(response.headers["content-location"])).text == response.text


async def test_batch_answers_in_order(client: Client) -> None:
    response = await client.post("/agents/words/batch", json={"inputs": ["a b", "c", "d e f"]})
    assert [result["answer"] for result in response.json()["results"]] == ["<a><b>", "<c>", "<d><e><f>"]


async def test_batch_reports_failures_one_by_one(client: Client) -> None:
    response = await client.post("/agents/steps/batch", json={"inputs": [{"number": 1}, {"number": -1}]})
    good, bad = response.json()["results"]
    assert good["answer"]["doubled"] == 2
    assert bad["error"]["code"] == "graph_error"


async def test_failed_invoke_has_the_errors_status(client: Client) -> None:
    response = await client.post("/agents/steps/invoke", json={"input": {"number": -1}})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "graph_error"
    assert "secret" not in response.text


async def test_invoke_ends_at_an_interrupt(client: Client) -> None:
    result = await _invoke(client, "approval", input="pay")
    assert result["status"] == "interrupted"
    assert result["interrupts"][0]["value"] == {"question": "Transfer 5?"}
    resumed = await _invoke(client, "approval", resume="yes", thread_id=result["thread_id"])
    assert resumed["answer"] == "Done: transferred 5: yes."


async def test_invoke_with_on_disconnect_cancel_ends_with_its_client(client: Client) -> None:
    with gate("gone") as held:
        body = {"input": "gone", "on_disconnect": "cancel"}
        asking = asyncio.create_task(client.post("/agents/gated/invoke", json=body))
        await held.reached.wait()
        asking.cancel()
        await asyncio.wait_for(held.cancelled.wait(), 10)


async def test_second_run_on_a_busy_thread_is_refused(client: Client) -> None:
    with gate("busy") as held:
        async with client.stream("POST", "/agents/gated/stream", json={"input": "busy"}) as stream:
            await held.reached.wait()
            lines = stream.aiter_lines()
            line = [line async for line in _until_data(lines)][-1]
            thread_id = json.loads(line.removeprefix("data: "))["thread_id"]
            second = await client.post("/agents/gated/invoke", json={"input": "again", "thread_id": thread_id})
            assert second.status_code == 409
            assert second.json()["error"]["code"] == "conflict"
            held.released.set()
            assert "event: end" in [line async for line in lines]
    assert (await client.delete(f"/threads/{thread_id}")).status_code == 204
    assert (await client.get(f"/threads/{thread_id}")).status_code == 404


async def _until_data(lines: Any) -> Any:
    async for line in lines:
        yield line
        if line.startswith("data: "):
            return


_BAD_BODIES = [
    (b"{", "body"),
    (b"", "body"),
    (b"[]", "body"),
    (b"{}", "input"),
    (b'{"input": ""}', "input"),
    (b'{"input": "  "}', "input"),
    (b'{"input": []}', "input"),
    (b'{"input": {}}', "input"),
    (b'{"input": 5}', "input"),
    (b'{"input": {"mesages": "hi"}}', "input.mesages"),
    (b'{"input": [{"role": "nobody", "content": "x"}]}', "input.messages"),
    (b'{"input": [7]}', "input.messages"),
    (b'{"input": "hi", "thread_id": 7}', "thread_id"),
    (b'{"input": "hi", "metadata": "x"}', "metadata"),
    (b'{"input": "hi", "on_disconnect": "explode"}', "on_disconnect"),
    (b'{"input": "hi", "stream_mode": "values"}', "stream_mode"),
    (b'{"input": "hi", "context": {"times": "many"}}', "context.times"),
    (b'{"input": "hi", "context": {"volume": 3}}', "context.volume"),
    (b'{"input": "hi", "resume": "yes"}', "resume"),
    (b'{"resume": "yes"}', "thread_id"),
]


@pytest.mark.parametrize(("body", "field"), _BAD_BODIES)
@pytest.mark.parametrize("path", ["invoke", "stream", "events"])
async def test_bad_body_is_refused_by_field(client: Client, path: str, body: bytes, field: str) -> None:
    response = await client.post(f"/agents/chat/{path}", content=body)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [({"inputs": []}, "inputs"), ({"inputs": ["a", ""]}, "inputs.1"), ({"inputs": ["a"] * 101}, "inputs")],
)
async def test_bad_batch_is_refused_whole(client: Client, body: Any, field: str) -> None:
    response = await client.post("/agents/words/batch", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (422, field)


async def test_content_type_does_not_matter(client: Client) -> None:
    response = await client.post(
        "/agents/chat/invoke", content=b'{"input": "hi"}', headers={"content-type": "text/plain"}
    )
    assert response.json()["answer"] == "Hello, this is turn 1."


_NOBODYS = "8d3a9b5e-7c52-4f0c-9d5e-0b7b1c1f6a11"
"""The id of no thread."""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/agents/nobody"),
        ("GET", "/agents/nobody/graph"),
        ("POST", "/agents/nobody/stream"),
        ("POST", "/agents/nobody/invoke"),
        ("POST", "/agents/nobody/events"),
        ("GET", "/agents/chat/stream/unknown"),
        ("POST", "/agents/chat/runs/unknown/cancel"),
        ("GET", f"/threads/{_NOBODYS}"),
        ("GET", f"/threads/{_NOBODYS}/state"),
        ("GET", f"/threads/{_NOBODYS}/history"),
        ("DELETE", f"/threads/{_NOBODYS}"),
        ("GET", "/nowhere"),
    ],
)
async def test_unknown_is_404_as_json(client: Client, method: str, path: str) -> None:
    response = await client.request(method, path, json={"input": "hi"} if method == "POST" else None)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


async def test_unknown_thread_is_404(client: Client) -> None:
    response = await client.post("/agents/chat/stream", json={"input": "hi", "thread_id": "unknown"})
    assert (response.status_code, response.json()["error"]["field"]) == (404, "thread_id")


async def test_run_of_another_agent_is_404(client: Client) -> None:
    run_id = (await _invoke(client, "chat", input="hi"))["run_id"]
    assert (await client.get(f"/agents/words/stream/{run_id}")).status_code == 404


async def test_bad_cursor_is_refused(client: Client) -> None:
    run_id = (await _invoke(client, "chat", input="hi"))["run_id"]
    response = await client.get(f"/agents/chat/stream/{run_id}", headers={"Last-Event-ID": "abc"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_cursor")


async def test_body_over_the_limit_is_413(serve: Serve) -> None:
    async with serve(max_body_bytes=1000) as client:
        response = await client.post("/agents/chat/invoke", json={"input": "x" * 1000})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")

        async def of_unknown_length() -> Any:
            for _ in range(20):
                yield b"x" * 100

        response = await client.post("/agents/chat/invoke", content=of_unknown_length())
        assert response.status_code == 413


async def test_agents_are_described(client: Client) -> None:
    listed = {agent["graph_id"]: agent for agent in (await client.get("/agents")).json()}
    assert set(listed) >= {"chat", "words", "made"}
    by_id = (await client.get(f"/agents/{listed['chat']['assistant_id']}")).json()
    assert by_id == (await client.get("/agents/chat")).json()
    assert "messages" in by_id["input_schema"]["properties"]
    assert by_id["context_schema"]["properties"]["times"]["type"] == "integer"


async def test_graph_is_drawn(client: Client) -> None:
    drawing = (await client.get("/agents/inner/graph")).json()
    assert {node["id"] for node in drawing["nodes"]} == {"__start__", "agent", "tools", "__end__"}
    mermaid = (await client.get("/agents/inner/graph", params={"format": "mermaid"})).text
    assert "agent" in mermaid
    assert mermaid == (await client.get("/agents/inner/graph", headers={"accept": "text/plain"})).text
    assert (await client.get("/agents/words/graph")).status_code == 200


async def test_meta_routes(client: Client) -> None:
    assert (await client.get("/ok")).json() == {"ok": True}
    info = (await client.get("/info")).json()
    assert "chat" in info["agents"]
    # In the form of LangGraph's own server, for Studio.
    assert info["host"]["kind"] == "self-hosted"
    assert info["flags"]["assistants"] is info["flags"]["crons"] is True
    assert info["flags"]["langsmith"] is False
    assert (await client.get("/docs")).status_code == 200
    assert "/agents/{assistant_id}/stream" in (await client.get("/openapi.json")).json()["paths"]
    await client.run("inner")
    metrics = (await client.get("/metrics")).text
    assert 'threadline_runs_total{status="success"} 1.0' in metrics
    assert 'threadline_tokens_total{agent="inner",direction="output",model="unknown"} 3.0' in metrics


async def test_what_does_not_wait_cannot_be_resumed(client: Client) -> None:
    thread_id = (await _invoke(client, "chat", input="hi"))["thread_id"]
    for path in ("invoke", "stream", "events"):
        response = await client.post(f"/agents/chat/{path}", json={"resume": "yes", "thread_id": thread_id})
        assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    response = await client.post("/agents/chat/invoke", json={"resume": "yes", "thread_id": str(uuid.uuid4())})
    assert response.status_code == 404
    assert len((await client.get(f"/threads/{thread_id}/runs")).json()) == 1


async def test_of_many_resumes_one_is_taken(client: Client) -> None:
    thread_id = (await _invoke(client, "approval", input="pay"))["thread_id"]
    body = {"thread_id": thread_id}
    responses = await asyncio.gather(
        *(client.post("/agents/approval/invoke", json={**body, "resume": f"answer {n}"}) for n in range(50))
    )
    assert sorted(response.status_code for response in responses) == [200, *[409] * 49]
    (taken,) = [n for n, response in enumerate(responses) if response.status_code == 200]
    assert responses[taken].json()["answer"] == f"Done: transferred 5: answer {taken}."
