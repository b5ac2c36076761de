"""Traces over OTLP: a real app exports to a real endpoint, and the spans there form the tree of the run."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.errors import ConfigError
from api.settings import Settings
from api.telemetry import exports
from tests.api.conftest import Client, Serve
from tests.api.graphs import gate
from tests.openai_server import Call, openai_server
from tests.otlp_server import Received, Span, otlp_server
from tests.serving import serving

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def otlp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """An endpoint, and an environment that names it."""
    with otlp_server() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        yield received


def _nodes(*nodes: tuple[str, list[Any]]) -> list[tuple[str, Any]]:
    return sorted(
        (name, sorted((each, []) if isinstance(each, str) else each for each in inside)) for name, inside in nodes
    )


async def test_a_run_is_a_tree_of_spans(otlp: Received, serve: Serve) -> None:
    async with serve() as client:
        events = await client.run("inner", "both")
        run = events[0].data
    root = otlp.named("invoke_agent inner")
    tools = [("execute_tool ask_beside", [("chat", [])]), ("execute_tool ask_model", [("chat", [])])]
    assert otlp.tree() == [
        (root.name, sorted([("node agent", [("chat", [])]), ("node agent", [("chat", [])]), ("node tools", tools)]))
    ]
    assert root.parent_id == ""
    assert {span.trace_id for span in otlp.spans} == {root.trace_id}
    assert not any(span.failed for span in otlp.spans)
    assert root.resource["service.name"] == "threadline"
    assert root.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": run["assistant_id"],
        "gen_ai.agent.name": "inner",
        "gen_ai.conversation.id": run["thread_id"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "threadline.run.id": run["run_id"],
        "threadline.thread.id": run["thread_id"],
        "threadline.assistant.id": run["assistant_id"],
        "threadline.run.attempt": 1,
        "threadline.run.status": "success",
    }
    tool = otlp.named("execute_tool ask_model")
    assert tool.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "ask_model",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1",
    }


def _all_text(spans: list[Span]) -> str:
    return json.dumps([dict(span.attributes) for span in spans])


async def test_contents_are_recorded_only_if_asked_for(
    otlp: Received, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as client:
        await client.run("inner", "a question")
        await client.run("steps", {"number": -1})
    assert len(otlp.spans) > 6
    for secret in ("a question", "secret inner words", "it said", "why", "/etc/secret"):
        assert secret not in _all_text(otlp.spans)
    otlp.spans.clear()
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    async with serve() as client:
        await client.run("inner", "a question")
    tool = otlp.named("execute_tool ask_model")
    assert json.loads(tool.attributes["gen_ai.tool.call.arguments"]) == {"question": "why"}
    assert tool.attributes["gen_ai.tool.call.result"] == "it said 3 words"
    inputs = [json.loads(span.attributes["gen_ai.input.messages"]) for span in otlp.spans if span.name == "chat"]
    assert [{"role": "user", "parts": [{"type": "text", "content": "a question"}]}] in inputs
    outputs = [json.loads(span.attributes["gen_ai.output.messages"]) for span in otlp.spans if span.name == "chat"]
    assert [
        {"role": "assistant", "parts": [{"type": "text", "content": "secret inner words"}], "finish_reason": "stop"}
    ] in outputs


async def test_a_failure_shows_on_the_node_and_on_the_run(otlp: Received, serve: Serve) -> None:
    async with serve() as client:
        await client.run("steps", {"number": -1})
    root, node = otlp.named("invoke_agent steps"), otlp.named("node double")
    assert root.failed
    assert node.failed
    assert node.attributes["error.type"] == root.attributes["error.type"] == "ArithmeticError"
    assert root.attributes["threadline.run.status"] == "error"


async def test_an_interrupt_is_no_failure_and_its_resume_is_a_run_of_its_own(otlp: Received, serve: Serve) -> None:
    async with serve() as client:
        events = await client.run("approval", "pay")
        thread_id = events[0].data["thread_id"]
        body = {"resume": "yes", "thread_id": thread_id}
        resumed = await client.post("/agents/approval/stream", json=body)
        assert "Done: transferred 5: yes" in resumed.text
    first, second = sorted(
        (span for span in otlp.spans if span.name == "invoke_agent approval"),
        key=lambda span: "threadline.interrupted" not in span.attributes,
    )
    assert otlp.tree(first) == _nodes(("node agent", ["chat"]), ("node tools", ["execute_tool transfer"]))
    assert otlp.tree(second) == _nodes(("node agent", ["chat"]), ("node tools", ["execute_tool transfer"]))
    assert first.attributes["gen_ai.conversation.id"] == second.attributes["gen_ai.conversation.id"] == thread_id
    assert first.attributes["threadline.interrupted"] is True
    assert "threadline.interrupted" not in second.attributes
    assert not any(span.failed or "error.type" in span.attributes for span in otlp.spans)


async def test_the_run_is_a_child_of_the_request_also_after_a_restart(otlp: Received, serve: Serve) -> None:
    with gate("hold me") as held:
        async with serve(shutdown_grace=0) as client:
            made = await client.post(
                "/threads", json={}, headers={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
            )
            thread_id = made.json()["thread_id"]
            body = {"assistant_id": "gated", "input": {"messages": [{"role": "user", "content": "hold me"}]}}
            headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
            run = (await client.post(f"/threads/{thread_id}/runs", json=body, headers=headers)).json()
            assert "traceparent" not in json.dumps(run)
            await held.reached.wait()
        held.released.set()
        async with serve() as client:
            await client.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
    attempts = {span.attributes["threadline.run.attempt"]: span for span in otlp.spans if "invoke" in span.name}
    assert {number: span.attributes["threadline.run.status"] for number, span in attempts.items()} == {
        1: "released",
        2: "success",
    }
    assert {(span.trace_id, span.parent_id) for span in attempts.values()} == {(TRACE, PARENT)}


async def test_a_request_that_is_not_sampled_is_not_traced(otlp: Received, serve: Serve) -> None:
    async with serve() as client:
        await client.post("/agents/chat/invoke", json={"input": "hi"}, headers={"traceparent": f"{TRACEPARENT[:-1]}0"})
        broken = await client.post("/agents/chat/invoke", json={"input": "hi"}, headers={"traceparent": "00-zz-1"})
        assert broken.status_code == 200
    (root,) = [span for span in otlp.spans if "invoke" in span.name]
    assert root.trace_id != TRACE


async def test_metrics_arrive_too_and_tell_the_same(otlp: Received, serve: Serve) -> None:
    async with serve() as client:
        await client.run("inner")
        text = (await client.get("/metrics")).text
    runs = otlp.metrics["threadline_runs"].sum
    assert runs.is_monotonic
    assert [point.as_double for point in runs.data_points] == [1.0]
    seconds = otlp.metrics["threadline_run_seconds"].histogram.data_points[0]
    assert seconds.count == sum(seconds.bucket_counts) == 1
    assert len(seconds.bucket_counts) == len(seconds.explicit_bounds) + 1
    assert "threadline_run_seconds_count 1.0" in text
    assert otlp.metrics["threadline_open_streams"].gauge.data_points[0].as_double == 0


@pytest.mark.parametrize("answers", [False, True])
async def test_an_endpoint_that_is_not_there_or_hangs_hurts_no_run(
    answers: bool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.telemetry._FLUSH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        if not answers:
            listener.close()
        async with serve() as client:
            assert (await client.run("inner"))[-1].data == {"status": "success"}


async def test_nothing_is_exported_unless_configured(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_server() as received:
        async with serve() as client:
            await client.run("inner")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        async with serve() as client:
            await client.run("chat")
        assert [span.name for span in received.spans if "invoke" in span.name] == ["invoke_agent chat"]
        assert not received.metrics


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_what_switches_it_on(variables: dict[str, str], expected: bool) -> None:
    assert exports("TRACES", variables) is expected


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_EXPORTER"])
def test_what_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: 'grpc' is not there"):
        exports("TRACES", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", name: "grpc"})


async def test_without_the_extra_the_start_says_how_to_get_it(
    config: Any, otlp: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "api.otel.exporters", None)
    app = create_app(Settings(config=config))
    with pytest.raises(ConfigError, match=r"pip install 'threadline\[otel\]'"):
        async with app.router.lifespan_context(app):
            pass


async def test_the_shipped_agent_with_a_model_over_http(
    otlp: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(Path(__file__).parents[2] / "langgraph.json", tmp_path)
    async with openai_server() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("OPENAI_MODEL", "my-model")
        model.reply(Call("add", '{"x": 1, ', '"y": 2}', call_id="call_add"))
        model.reply(Call("final_answer", '{"answer": "It is 3.", "tools_used": []}'))
        app = create_app(Settings(config=tmp_path / "langgraph.json"))
        async with serving(app) as url, Client(base_url=url, timeout=30) as client:
            events = await client.run("agent", "What is 1 + 2?")
    assert events[-1].data == {"status": "success"}
    root = otlp.named("invoke_agent agent")
    assert otlp.tree() == [
        (
            root.name,
            _nodes(
                ("node agent", ["chat my-model"]),
                ("node agent", ["chat my-model"]),
                ("node final_answer", []),
                ("node tools", ["execute_tool add"]),
            ),
        )
    ]
    usage = events[-2].data["usage"]
    for span in (span for span in otlp.spans if span.name == "chat my-model"):
        assert span.attributes["gen_ai.operation.name"] == "chat"
        assert span.attributes["gen_ai.provider.name"] == "openai"
        assert span.attributes["gen_ai.request.model"] == "my-model"
        assert span.attributes["gen_ai.response.model"]
        assert span.attributes["gen_ai.usage.input_tokens"] > 0
        assert span.attributes["gen_ai.conversation.id"] == events[0].data["thread_id"]
    assert root.attributes["gen_ai.usage.input_tokens"] == usage["input_tokens"]
    assert otlp.named("execute_tool add").attributes["gen_ai.tool.call.id"] == "call_add"
    assert "What is" not in _all_text(otlp.spans)


async def test_a_model_that_refuses_shows_on_its_span(
    otlp: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(Path(__file__).parents[2] / "langgraph.json", tmp_path)
    async with openai_server() as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        model.context_length_exceeded()
        app = create_app(Settings(config=tmp_path / "langgraph.json"))
        async with serving(app) as url, Client(base_url=url, timeout=30) as client:
            await client.run("agent", "What is 1 + 2?")
    (chat,) = [span for span in otlp.spans if span.name.startswith("chat")]
    root = otlp.named("invoke_agent agent")
    assert chat.failed
    assert root.failed
    assert chat.attributes["error.type"] == root.attributes["error.type"]
    assert chat.attributes["error.type"].startswith(("openai.", "langchain_openai."))


async def test_a_cancelled_run_ends_its_spans(otlp: Received, serve: Serve) -> None:
    with gate("hold") as held:
        async with (
            serve() as client,
            client.stream("POST", "/agents/gated/stream", json={"input": "hold"}) as stream,
        ):
            await held.reached.wait()
            run_id = str(stream.headers["content-location"]).rpartition("/")[2]
            await client.post(f"/agents/gated/runs/{run_id}/cancel")
    root = otlp.named("invoke_agent gated")
    assert root.attributes["threadline.run.status"] == "interrupted"
    assert not root.failed
    assert otlp.tree() == [(root.name, [("node hold", [])])]
