"""Runs of threads: wait, background, lists, options, cancelling, several on one thread."""

from typing import Any

from tests.reference.exchange import Request
from tests.reference.scenarios.requests import (
    background,
    delete,
    get,
    history,
    join,
    post,
    said,
    scenario,
    state,
    stream,
    thread,
    wait,
)

_RUNS = "/threads/{thread}/runs"
_RUN = "/threads/{thread}/runs/{run}"
_STEPS = {"assistant_id": "steps", "input": {"number": 1}}

_basic = [
    scenario("runs", "wait", thread(), wait("agent", input=said("please count")), get("/threads/{thread}")),
    scenario(
        "runs",
        "wait, failing",
        thread(),
        wait("failing", input={"how": "builtin"}),
        wait("failing", input={"how": "app"}),
        get("/threads/{thread}"),
        get(_RUNS),
    ),
    scenario(
        "runs",
        "wait, other modes",
        thread(),
        wait("steps", input={"number": 1}, stream_mode="updates"),
        wait("steps", input={"number": 1}, stream_mode=["custom"]),
        wait("steps", input={"number": 1}, stream_mode=[]),
    ),
    scenario(
        "runs",
        "background",
        thread(),
        background("chat", input=said("hi"), metadata={"mine": 1}),
        join(),
        get(_RUN),
        get("/threads/{thread}"),
        get(f"{_RUNS}?limit=1"),
    ),
    scenario(
        "runs",
        "background, failing",
        thread(),
        background("failing", input={"how": "builtin"}),
        join(),
        get(_RUN),
        get("/threads/{thread}"),
    ),
    scenario(
        "runs",
        "list",
        thread(),
        wait("steps", input={"number": 1}),
        wait("failing", input={"how": "builtin"}),
        wait("steps", input={"number": 2}),
        get(_RUNS),
        get(f"{_RUNS}?limit=1"),
        get(f"{_RUNS}?limit=1&offset=1"),
        get(f"{_RUNS}?offset=9"),
        get(f"{_RUNS}?status=error"),
        get(f"{_RUNS}?select=run_id&select=status"),
        get(f"{_RUNS}?select=nonsense"),
        get(f"{_RUNS}?select=run_id&select=nonsense"),
    ),
    scenario("runs", "list what is none", thread(), get(f"{_RUNS}?status=nonsense"), get(f"{_RUNS}?limit=some")),
    scenario(
        "runs",
        "delete",
        thread(),
        background("steps", input={"number": 1}),
        join(),
        delete(_RUN),
        get(_RUNS),
    ),
    scenario(
        "runs",
        "after a delete",
        thread(),
        background("steps", input={"number": 1}),
        join(),
        delete(_RUN),
        get(_RUN),
        delete(_RUN),
        state(),
    ),
    scenario(
        "runs",
        "batch",
        post("/runs/batch", [_STEPS, {**_STEPS, "input": {"number": 2}}]),
        post("/runs/batch", []),
        post("/runs/batch", _STEPS),
    ),
]

_options = [
    scenario(
        "runs",
        "metadata",
        thread(metadata={"of": "thread"}),
        background(
            "steps",
            input={"number": 1},
            metadata={"mine": "yes", "assistant_id": "spoofed", "created_by": "me"},
        ),
        join(),
        get(_RUN),
        get("/threads/{thread}"),
        history(limit=1),
    ),
    scenario(
        "runs",
        "config",
        thread(),
        background(
            "steps",
            input={"number": 1},
            config={"tags": ["mine"], "metadata": {"in": "config"}, "recursion_limit": 9, "configurable": {"some": 1}},
        ),
        join(),
        get(_RUN),
        history(limit=1),
        stream("steps", input={"number": 1}, stream_mode="debug", config={"tags": ["mine"], "metadata": {"a": 1}}),
        stream("steps", input={"number": 1}, stream_mode="events", config={"tags": ["mine"], "run_name": "named"}),
    ),
    scenario(
        "runs",
        "context",
        thread(),
        background("chat", input=said("one"), context={"greeting": "Hi"}),
        join(),
        get(_RUN),
        wait("chat", input=said("two"), config={"configurable": {"greeting": "Hey"}}),
        wait("chat", input=said("three"), context={"greeting": "Ho", "unknown": 1}),
        wait("chat", input=said("four"), context={"greeting": "Ho"}, config={"configurable": {"greeting": "Hey"}}),
        wait("chat", input=said("five")),
    ),
    *(
        scenario(
            "runs",
            f"durability {durability}",
            thread(),
            background("steps", input={"number": 1}, durability=durability),
            join(),
            get(_RUN),
            history(limit=10),
        )
        for durability in ("sync", "async", "exit")
    ),
    scenario(
        "runs",
        "checkpoint_during=false",
        thread(),
        wait("steps", input={"number": 1}, checkpoint_during=False),
        history(limit=10),
    ),
    scenario("runs", "durability nonsense", thread(), wait("steps", input={"number": 1}, durability="never")),
    scenario(
        "runs",
        "after_seconds",
        thread(),
        # Long enough for both looks at it on a machine that is busy.
        background("steps", input={"number": 1}, after_seconds=5),
        get(_RUN),
        get("/threads/{thread}"),
        join(),
        get(_RUN),
    ),
    scenario(
        "runs",
        "if_not_exists",
        post("/threads/{uuid1}/runs/wait", _STEPS),
        post("/threads/{uuid1}/runs/wait", {**_STEPS, "if_not_exists": "reject"}),
        get("/threads/{uuid1}"),
        post("/threads/{uuid1}/runs/wait", {**_STEPS, "if_not_exists": "create", "metadata": {"mine": 1}}),
        get("/threads/{uuid1}"),
        post("/threads/{uuid2}/runs/stream", {**_STEPS, "if_not_exists": "create"}),
        post("/threads/{uuid3}/runs", {**_STEPS, "if_not_exists": "nonsense"}),
    ),
    scenario(
        "runs",
        "all that a background run may say",
        thread(),
        background(
            "steps",
            input={"number": 1},
            stream_mode=["updates", "custom"],
            stream_subgraphs=True,
            stream_resumable=True,
            interrupt_before=["increase"],
            interrupt_after=["double"],
            on_completion="keep",
            on_disconnect="continue",
            multitask_strategy="reject",
            unknown="field",
        ),
        join(),
        get(_RUN),
    ),
]


def _held(*during: Request, name: str = "run", **body: Any) -> Request:
    """A run that is under way, and what happens meanwhile."""
    return stream(
        "gate",
        input={"hold": "{nonce}"},
        stream_mode=["custom", "values"],
        until="custom",
        save={name: "events.0.data.run_id"},
        during=during,
        **body,
    )


_OPEN = post("/runs/wait", {"assistant_id": "gate", "input": {"open": "{nonce}"}})

_cancels = [
    scenario(
        "runs",
        "under way",
        thread(),
        _held(get(_RUN), get("/threads/{thread}"), get(_RUNS), state(), _OPEN),
        join(),
        get(_RUN),
        get("/threads/{thread}"),
    ),
    scenario(
        "runs",
        "cancel",
        thread(),
        _held(post(f"{_RUN}/cancel?wait=1")),
        get(_RUN),
        get("/threads/{thread}"),
        state(),
        join(),
        post(f"{_RUN}/cancel"),
        wait("gate", input={"hold": None}),
    ),
    scenario(
        "runs",
        "cancel, without waiting",
        thread(),
        _held(post(f"{_RUN}/cancel")),
        get(_RUN),
    ),
    scenario(
        "runs",
        "cancel by rolling back",
        thread(),
        wait("gate", input={}),
        _held(post(f"{_RUN}/cancel?wait=1&action=rollback")),
        get(_RUN),
        get("/threads/{thread}"),
        history(limit=10),
    ),
    scenario("runs", "cancel with nonsense", thread(), _held(post(f"{_RUN}/cancel?action=nonsense"), _OPEN)),
    scenario(
        "runs",
        "cancel a pending run",
        thread(),
        background("steps", input={"number": 1}, after_seconds=3600),
        post(f"{_RUN}/cancel?wait=1"),
        get(_RUN),
        get("/threads/{thread}"),
    ),
    scenario(
        "runs",
        "cancel many by id",
        thread(),
        background("steps", input={"number": 1}, after_seconds=3600),
        background("steps", input={"number": 1}, after_seconds=3600, name="run2"),
        post("/runs/cancel", {"thread_id": "{thread}", "run_ids": ["{run}", "{run2}"]}),
        get(_RUNS),
        post("/runs/cancel", {"thread_id": "{thread}", "run_ids": ["{run}"]}),
        post("/runs/cancel", {"thread_id": "{thread}", "run_ids": ["{uuid1}"]}),
        post("/runs/cancel", {"thread_id": "{thread}"}),
        post("/runs/cancel", {"run_ids": ["{run}"]}),
        post("/runs/cancel", {}),
        post("/runs/cancel", {"status": "nonsense"}),
    ),
    scenario(
        "runs",
        "cancel many, running",
        thread(),
        _held(post("/runs/cancel?action=interrupt", {"thread_id": "{thread}", "run_ids": ["{run}"]})),
        join(),
        get(_RUN),
    ),
    scenario(
        "runs",
        "delete while it runs",
        thread(),
        _held(delete(_RUN), _OPEN),
        get(_RUN),
    ),
]

_multitask = [
    scenario(
        "runs",
        "second run, rejected",
        thread(),
        _held(
            post(_RUNS, {**_STEPS, "multitask_strategy": "reject"}),
            post(f"{_RUNS}/stream", {**_STEPS, "multitask_strategy": "reject"}),
            post(f"{_RUNS}/wait", {**_STEPS, "multitask_strategy": "nonsense"}),
            _OPEN,
        ),
    ),
    scenario(
        "runs",
        "second run, enqueued",
        thread(),
        _held(background("gate", name="run2", input={}, multitask_strategy="enqueue"), get(_RUNS), _OPEN),
        join("run2"),
        get(_RUNS),
        get("/threads/{thread}"),
    ),
    scenario(
        "runs",
        "second run, by default",
        thread(),
        _held(background("gate", name="run2", input={}), _OPEN),
        join("run2"),
        get(_RUNS),
    ),
    scenario(
        "runs",
        "second run, interrupting",
        thread(),
        _held(background("gate", name="run2", input={"hold": None}, multitask_strategy="interrupt")),
        join("run2"),
        get(_RUNS),
        get("/threads/{thread}"),
        history(limit=10),
    ),
    scenario(
        "runs",
        "second run, rolling back",
        thread(),
        _held(background("gate", name="run2", input={"hold": None}, multitask_strategy="rollback")),
        join("run2"),
        get(_RUNS),
        get("/threads/{thread}"),
        history(limit=10),
    ),
]

_errors = [
    scenario(
        "runs",
        "nothing there",
        thread(),
        get("/threads/{thread}/runs/{uuid1}"),
        get("/threads/{uuid2}/runs/{uuid1}"),
        get("/threads/{uuid2}/runs"),
        get("/threads/{thread}/runs/{uuid1}/join"),
        get("/threads/{uuid2}/runs/{uuid1}/join"),
        get("/threads/{thread}/runs/{uuid1}/stream"),
        post("/threads/{thread}/runs/{uuid1}/cancel"),
        delete("/threads/{thread}/runs/{uuid1}"),
    ),
    scenario(
        "runs",
        "ids that are none",
        thread(),
        get("/threads/nonsense/runs"),
        get("/threads/{thread}/runs/nonsense"),
        get("/threads/{thread}/runs/nonsense/join"),
        get("/threads/{thread}/runs/nonsense/stream"),
        post("/threads/{thread}/runs/nonsense/cancel"),
        delete("/threads/{thread}/runs/nonsense"),
        post("/threads/nonsense/runs", _STEPS),
        post("/threads/nonsense/runs/stream", _STEPS),
        post("/threads/nonsense/runs/wait", _STEPS),
    ),
    scenario(
        "runs",
        "assistants that are none",
        thread(),
        *(
            post(f"{_RUNS}{kind}", {"assistant_id": assistant})
            for kind in ("", "/stream", "/wait")
            for assistant in ("nonsense", "{uuid1}", 7, None)
        ),
        post(_RUNS, {}),
    ),
    scenario(
        "runs",
        "bodies that are none",
        thread(),
        post(_RUNS, b"{nonsense"),
        post(_RUNS, b""),
        post(_RUNS, []),
        post(_RUNS, "text"),
        post(f"{_RUNS}/stream", b"{nonsense"),
        post(f"{_RUNS}/wait", b"{nonsense"),
    ),
    scenario(
        "runs",
        "wrong types",
        thread(),
        *(
            post(_RUNS, {**_STEPS, **wrong})
            for wrong in (
                {"metadata": "text"},
                {"config": "text"},
                {"config": {"recursion_limit": "many"}},
                {"context": "text"},
                {"stream_mode": 7},
                {"stream_subgraphs": "perhaps"},
                {"multitask_strategy": "nonsense"},
                {"after_seconds": "soon"},
                {"webhook": 7},
                {"checkpoint": "text"},
                {"checkpoint_id": "nonsense"},
            )
        ),
    ),
    scenario(
        "runs",
        "content types",
        thread(),
        post(f"{_RUNS}/wait", _STEPS, headers={"content-type": "text/plain"}),
        Request("PUT", _RUNS, {}),
        Request("DELETE", _RUNS),
    ),
]

SCENARIOS = [*_basic, *_options, *_cancels, *_multitask, *_errors]
