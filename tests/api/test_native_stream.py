"""The native API's stream: what each kind of graph gives, cut anywhere and resumed."""

import asyncio
import json
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from api.events import Event
from api.protocols.native import STREAM_MODES, NativeFold, answer_text, ndjson_lines, sse_frames
from api.schemas import Run
from tests.api import embedded
from tests.api.conftest import Client, Frame, Serve, frames
from tests.api.graphs import gate


def _kinds(run: list[Frame]) -> list[str]:
    return [frame.event for frame in run]


def _tokens(run: list[Frame]) -> str:
    return "".join(frame.data["text"] for frame in run if frame.event == "token")


def _one(run: list[Frame], kind: str) -> Any:
    (found,) = [frame.data for frame in run if frame.event == kind]
    return found


async def test_ids_count_from_one_and_end_is_last(client: Client) -> None:
    run = await client.run("chat")
    assert [frame.id for frame in run] == list(range(1, len(run) + 1))
    assert _kinds(run) == ["run", *["token"] * 5, "answer", "end"]
    assert run[-1].data == {"status": "success"}


async def test_answer_is_the_joined_tokens(client: Client) -> None:
    run = await client.run("chat")
    assert _tokens(run) == _one(run, "answer")["answer"] == "Hello, this is turn 1."


async def test_words_of_a_model_inside_a_tool_stay_out_of_the_answer(client: Client) -> None:
    run = await client.run("inner")
    assert "secret" not in json.dumps([frame.data for frame in run])
    assert _one(run, "tool_call") == {"id": "call_1", "name": "ask_model", "args": {"question": "why"}}
    assert _one(run, "tool_result") == {
        "id": "call_1",
        "name": "ask_model",
        "content": "it said 3 words",
        "status": "success",
    }
    called = _kinds(run).index("tool_call")
    assert _tokens(run[called:]) == _one(run, "answer")["answer"] == "The reply is in."


async def test_words_of_a_model_beside_a_tool_stay_out_too(client: Client) -> None:
    run = await client.run("inner", "both")
    assert "secret" not in json.dumps([frame.data for frame in run])
    assert _one(run, "answer")["tools_used"] == ["ask_model", "ask_beside"]


async def test_answer_carries_tools_and_usage(client: Client) -> None:
    answer = _one(await client.run("inner"), "answer")
    assert answer["tools_used"] == ["ask_model"]
    assert answer["usage"] == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


async def test_graph_without_messages_answers_with_its_output(client: Client) -> None:
    run = await client.run("steps", {"number": 4})
    assert [frame.data for frame in run if frame.event == "custom"] == [
        {"name": "progress", "data": {"name": "progress", "done": 0.5}},
        {"name": "halfway", "data": {"number": 4}},
    ]
    assert _one(run, "answer")["answer"] == {"number": 4, "doubled": 8, "trail": ["double"]}


async def test_runnables_stream_text_and_objects(client: Client) -> None:
    words = await client.run("words", "to be or")
    assert [frame.data["text"] for frame in words if frame.event == "token"] == ["<to>", "<be>", "<or>"]
    assert _one(words, "answer")["answer"] == "<to><be><or>"
    totals = await client.run("totals", {"upto": 3})
    assert [frame.data["data"]["total"] for frame in totals if frame.event == "custom"] == [1, 2, 3]
    assert _one(totals, "answer")["answer"] == {"total": 3}


async def test_factory_makes_the_graph_for_the_run(client: Client) -> None:
    run = await client.run("made")
    thread_id = _one(run, "run")["thread_id"]
    assert _one(run, "answer")["answer"] == f"made for {thread_id}"


async def test_failure_is_one_error_without_its_inner_message(client: Client) -> None:
    run = await client.run("steps", {"number": -1})
    assert _kinds(run)[-2:] == ["error", "end"]
    assert _one(run, "error") == {"code": "graph_error", "message": "The graph failed with ArithmeticError."}
    assert _one(run, "end") == {"status": "error"}


async def test_event_without_a_json_form_is_null(client: Client) -> None:
    run = await client.run("unserializable")
    assert _one(run, "custom")["data"] is None
    assert _one(run, "end") == {"status": "success"}


async def test_interrupt_waits_and_resumes_on_the_same_thread(client: Client) -> None:
    first = await client.run("approval")
    assert _one(first, "interrupt")["value"] == {"question": "Transfer 5?"}
    assert _kinds(first) == ["run", "tool_call", "interrupt", "end"]
    thread_id = _one(first, "run")["thread_id"]
    assert (await client.get(f"/threads/{thread_id}")).json()["status"] == "interrupted"
    second = await client.run("approval", None, resume="yes", thread_id=thread_id)
    assert _one(second, "tool_result")["content"] == "transferred 5: yes"
    assert _one(second, "answer")["answer"] == _tokens(second) == "Done: transferred 5: yes."
    assert (await client.get(f"/threads/{thread_id}")).json()["status"] == "idle"


async def test_cut_after_every_event_and_resume(client: Client) -> None:
    response = await client.post("/agents/inner/stream", json={"input": "hi"})
    whole, url = response.text, response.headers["content-location"]
    for frame in frames(whole):
        rest = await client.get(url, headers={"Last-Event-ID": str(frame.id)})
        assert rest.text == whole[whole.index(f"\nid: {frame.id}\n") :].split("\n\n", 1)[1]
    for everything in ({}, {"Last-Event-ID": "-1"}, {"Last-Event-ID": "0"}):
        assert (await client.get(url, headers=everything)).text == whole


async def test_run_goes_on_when_its_client_leaves(client: Client) -> None:
    with gate("stay") as held:
        async with client.stream("POST", "/agents/gated/stream", json={"input": "stay"}) as cut:
            url = cut.headers["content-location"]
            seen = await anext(cut.aiter_text())
            await held.reached.wait()
        following = asyncio.create_task(client.get(url, headers={"Last-Event-ID": "1"}))
        held.released.set()
        rest = await following
    assert frames(seen)[0].event == "run"
    assert _kinds(frames(rest.text)) == ["custom", "token", "answer", "end"]


async def test_two_viewers_of_one_run_each_get_everything(client: Client) -> None:
    with gate("both") as held:
        viewers: list[asyncio.Task[httpx.Response]] = []
        async with client.stream("POST", "/agents/gated/stream", json={"input": "both"}) as first:
            await held.reached.wait()
            url = first.headers["content-location"]
            viewers.extend(asyncio.create_task(client.get(url)) for _ in range(2))
            held.released.set()
            text = (await first.aread()).decode()
        assert [(await viewer).text for viewer in viewers] == [text, text]


async def test_on_disconnect_cancel_ends_the_run(client: Client) -> None:
    with gate("leave") as held:
        body = {"input": "leave", "on_disconnect": "cancel"}
        async with client.stream("POST", "/agents/gated/stream", json=body) as cut:
            url = cut.headers["content-location"]
            await held.reached.wait()
        await asyncio.wait_for(held.cancelled.wait(), 10)
        rest = frames((await client.get(url)).text)
    assert _kinds(rest)[-2:] == ["error", "end"]
    assert _one(rest, "error")["code"] == "cancelled"
    assert _one(rest, "end") == {"status": "interrupted"}


async def test_cancel_stops_the_run_and_frees_the_thread(client: Client) -> None:
    with gate("stop") as held:
        async with client.stream("POST", "/agents/gated/stream", json={"input": "stop"}) as stream:
            await held.reached.wait()
            run_id = stream.headers["content-location"].rsplit("/", 1)[1]
            answer = await client.post(f"/agents/gated/runs/{run_id}/cancel")
            assert answer.json()["status"] == "interrupted"
            assert held.cancelled.is_set()
            thread_id = answer.json()["thread_id"]
            assert _kinds(frames((await stream.aread()).decode()))[-1] == "end"
    again = await client.run("gated", "go on", thread_id=thread_id)
    assert _one(again, "answer")["answer"] == "released"
    assert (await client.post(f"/agents/gated/runs/{run_id}/cancel")).status_code == 404


async def test_silent_stream_has_heartbeats(serve: Serve) -> None:
    async with serve(heartbeat_interval=0.05) as client:
        with gate("quiet") as held:
            async with client.stream("POST", "/agents/gated/stream", json={"input": "quiet"}) as stream:
                lines = stream.aiter_lines()
                async for line in lines:
                    if line == ": heartbeat":
                        held.released.set()
                        break
                assert "event: end" in [line async for line in lines]


async def test_run_that_takes_too_long_times_out(serve: Serve) -> None:
    async with serve(run_timeout=0.05) as client:
        with gate("long") as held:
            run = await client.run("gated", "long")
            assert held.cancelled.is_set()
    assert _one(run, "error")["code"] == "timeout"
    assert _one(run, "end") == {"status": "timeout"}


async def test_limits_of_events_end_the_run(serve: Serve) -> None:
    async with serve(max_event_bytes=1024) as client:
        run = await client.run("words", "x" * 2000)
    assert _one(run, "error")["code"] == "event_too_large"
    async with serve(max_run_events=100) as client:
        run = await client.run("totals", {"upto": 200})
    assert _one(run, "error")["code"] == "too_many_events"
    assert len(run) == 102


async def test_ndjson_and_text_say_the_same(client: Client) -> None:
    lines = await client.post("/agents/chat/stream", json={"input": "hi"}, headers={"accept": "application/x-ndjson"})
    objects = [json.loads(line) for line in lines.text.splitlines()]
    assert lines.headers["content-type"].startswith("application/x-ndjson")
    assert [each["event"] for each in objects] == ["run", *["token"] * 5, "answer", "end"]
    assert [each["id"] for each in objects] == list(range(1, 9))
    text = await client.post("/agents/chat/stream", json={"input": "hi"}, headers={"accept": "text/plain"})
    assert text.text == "Hello, this is turn 1.\n"
    failed = await client.post("/agents/steps/stream", json={"input": {"number": -1}}, headers={"accept": "text/plain"})
    assert failed.text == "\n[The graph failed with ArithmeticError.]\n"


async def test_events_are_astream_events_filtered(client: Client) -> None:
    response = await client.post("/agents/inner/events", json={"input": "hi", "include_types": ["tool"]})
    assert _kinds(frames(response.text)) == ["run", "on_tool_start", "on_tool_end", "end"]
    response = await client.post("/agents/steps/events", json={"input": {"number": 1}, "exclude_names": ["double"]})
    events = frames(response.text)
    assert "on_custom_event" in _kinds(events)
    assert all(frame.data["name"] != "double" for frame in events[1:-1])
    response = await client.post("/agents/inner/events", json={"input": "hi", "include_names": ["ask_model"]})
    (started,) = [frame for frame in frames(response.text) if frame.event == "on_tool_start"]
    assert started.data["data"]["input"] == {"question": "why"}
    both = {"include_types": ["chat_model", "tool"], "exclude_names": ["Scripted"], "exclude_tags": ["seq:step:9"]}
    response = await client.post("/agents/inner/events", json={"input": "hi", **both})
    names = {frame.data["name"] for frame in frames(response.text)[1:-1]}
    assert names == {"GenericFakeChatModel", "ask_model"}
    response = await client.post(
        "/agents/steps/events", json={"input": {"number": 1}, "include_tags": ["graph:step:1"]}
    )
    assert {frame.data["name"] for frame in frames(response.text)[1:-1]} == {"double"}


async def test_events_of_a_tool_show_the_model_inside_under_it(client: Client) -> None:
    events = frames((await client.post("/agents/inner/events", json={"input": "hi"})).text)
    (tool_start,) = [frame.data for frame in events if frame.event == "on_tool_start"]
    inner = [
        frame.data
        for frame in events
        if frame.event == "on_chat_model_stream" and tool_start["run_id"] in frame.data["parent_ids"]
    ]
    assert "".join(event["data"]["chunk"]["content"] for event in inner) == "secret inner words"


_EVENTS = st.lists(st.builds(Event, st.integers(1, 10**6), st.sampled_from(["token", "end"]), st.just(b'{"text":"x"}')))


@given(_EVENTS)
def test_framings_give_one_frame_an_event(events: list[Event]) -> None:
    parsed = frames(sse_frames(events).decode())
    assert [(frame.event, frame.id) for frame in parsed] == [(event.kind, event.seq) for event in events]
    assert len(ndjson_lines(events).splitlines()) == len(events)
    assert answer_text(events).count(b"x") == sum(event.kind == "token" for event in events)


async def test_an_attempt_tells_the_results_of_calls_that_the_one_before_made() -> None:
    """As after a kill between the model's call and the tool."""
    agent = embedded.adds("ann", 2, 3, checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "killed"}}
    await agent.ainvoke({"messages": "hi"}, config, interrupt_before=["tools"])
    now = datetime.now(UTC)
    fold = NativeFold()
    fold_of = [*fold.begin(Run("run", "killed", "agent", now, now, attempt=2))]
    async for namespace, mode, payload in agent.astream(None, config, stream_mode=[*STREAM_MODES], subgraphs=True):
        fold_of += fold.feed(mode, payload, namespace)
    assert [kind for kind, _ in groupby(each.kind for each in fold_of)] == ["run", "tool_result", "token"]


@pytest.mark.parametrize("accept", ["image/png", "application/xml"])
async def test_unknown_form_is_not_acceptable(client: Client, accept: str) -> None:
    response = await client.post("/agents/chat/stream", json={"input": "hi"}, headers={"accept": accept})
    assert response.status_code == 406
    assert response.json()["error"]["code"] == "not_acceptable"
