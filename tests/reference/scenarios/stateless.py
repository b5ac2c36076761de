"""Runs without a thread."""

from tests.reference.scenarios.requests import get, post, said, scenario

_CHAT = {"assistant_id": "chat", "input": said("hi")}
_STEPS = {"assistant_id": "steps", "input": {"number": 1}}

SCENARIOS = [
    *(
        scenario("stateless", f"stream, {mode}", post("/runs/stream", {**_CHAT, "stream_mode": mode}))
        for mode in ("values", "updates", "messages-tuple", "events")
    ),
    scenario(
        "stateless",
        "the thread is gone",
        post("/runs/wait", {**_CHAT, "metadata": {"nonce": "{nonce}"}}),
        post("/threads/search", {"metadata": {"nonce": "{nonce}"}}),
    ),
    scenario("stateless", "wait", post("/runs/wait", _CHAT), post("/runs/wait", {**_STEPS, "stream_mode": "updates"})),
    scenario(
        "stateless",
        "the thread is kept",
        post("/runs/wait", {**_STEPS, "on_completion": "keep", "metadata": {"nonce": "{nonce}"}}),
        post("/threads/search", {"metadata": {"nonce": "{nonce}"}}),
        post("/runs/wait", {**_STEPS, "on_completion": "delete", "metadata": {"nonce": "{uuid1}"}}),
        post("/threads/search", {"metadata": {"nonce": "{uuid1}"}}),
        post("/runs/wait", {**_STEPS, "on_completion": "nonsense"}),
    ),
    scenario(
        "stateless",
        "background",
        post("/runs", _STEPS, save={"run": "json.run_id", "thread": "json.thread_id"}),
        post("/runs", {**_STEPS, "on_completion": "keep"}, save={"run": "json.run_id", "thread": "json.thread_id"}),
        get("/threads/{thread}/runs/{run}/join"),
        get("/threads/{thread}"),
    ),
    scenario(
        "stateless",
        "failing",
        post("/runs/wait", {"assistant_id": "failing", "input": {"how": "builtin"}}),
        post("/runs/stream", {"assistant_id": "failing", "input": {"how": "app"}}),
    ),
    scenario(
        "stateless",
        "interrupt",
        post("/runs/wait", {"assistant_id": "hitl", "input": {"topic": "cats"}}),
        post("/runs/wait", {"assistant_id": "pair", "input": {"votes": []}}),
        post("/runs/stream", {"assistant_id": "hitl", "input": {"topic": "cats"}, "stream_mode": "updates"}),
    ),
    scenario(
        "stateless",
        "context",
        post("/runs/wait", {**_CHAT, "context": {"greeting": "Hi"}}),
        post("/runs/wait", {**_CHAT, "context": {"greeting": "Hi"}, "config": {"configurable": {"greeting": "Ho"}}}),
    ),
    scenario(
        "stateless",
        "fields of stateful runs",
        post("/runs/wait", {**_STEPS, "multitask_strategy": "reject"}),
        post("/runs/wait", {**_STEPS, "checkpoint_id": "{uuid1}"}),
        post("/runs/wait", {**_STEPS, "interrupt_before": ["increase"]}),
    ),
    scenario(
        "stateless",
        "errors",
        post("/runs/stream", {"assistant_id": "nonsense"}),
        post("/runs/wait", {"assistant_id": "{uuid1}"}),
        post("/runs", {}),
        post("/runs/stream", b"{nonsense"),
        post("/runs/wait", {**_STEPS, "stream_mode": "nonsense"}),
    ),
]
