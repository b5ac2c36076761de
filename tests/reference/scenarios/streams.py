"""Streams of runs: every mode, alone and together, with and without subgraphs, failures, joins and resumption."""

from tests.reference.scenarios.requests import (
    background,
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

MODES = ("values", "updates", "messages", "messages-tuple", "custom", "debug", "tasks", "checkpoints", "events")

_QUESTION = said("please count")
_JOIN = "/threads/{thread}/runs/{run}/stream"

_by_mode = [
    each
    for mode in MODES
    for each in (
        scenario(
            "streams",
            f"agent, {mode}",
            thread(),
            stream("agent", input=_QUESTION, stream_mode=mode),
            stream("agent", input=said("and zero"), stream_mode=[mode]),
        ),
        scenario("streams", f"steps, {mode}", thread(), stream("steps", input={"number": 3}, stream_mode=mode)),
        scenario(
            "streams",
            f"subgraph seen, {mode}",
            thread(),
            stream("nested", input=said("hi"), stream_mode=mode, stream_subgraphs=True),
        ),
        scenario("streams", f"subgraph hidden, {mode}", thread(), stream("nested", input=said("hi"), stream_mode=mode)),
        scenario(
            "streams",
            f"app error, {mode}",
            thread(),
            stream("failing", input={"how": "app"}, stream_mode=mode),
            get("/threads/{thread}"),
            state(),
        ),
    )
]

_TOGETHER = (
    ["values", "updates"],
    ["updates", "values"],
    ["messages-tuple", "values"],
    ["messages-tuple", "values", "custom", "updates"],
    ["messages", "values"],
    ["messages", "messages-tuple"],
    ["events", "values", "updates", "messages-tuple"],
    ["debug", "tasks", "checkpoints"],
    ["events", "messages"],
)

_together = [
    scenario(
        "streams",
        f"together, {' '.join(modes)}",
        thread(),
        stream("agent", input=_QUESTION, stream_mode=modes),
        stream("nested", input=said("hi"), stream_mode=modes, stream_subgraphs=True),
    )
    for modes in _TOGETHER
]

_chat = [
    scenario("streams", "two turns", thread(), *(stream("chat", input=said(text)) for text in ("one", "two"))),
    scenario(
        "streams",
        "bytes",
        thread(),
        stream("steps", input={"number": 3}, stream_mode="updates", raw=True),
    ),
    scenario("streams", "no stream mode", thread(), stream("steps", input={"number": 1})),
    scenario("streams", "no stream modes", thread(), stream("steps", input={"number": 1}, stream_mode=[])),
    scenario("streams", "no input", thread(), stream("steps"), stream("steps", input=None), stream("steps", input={})),
    scenario(
        "streams",
        "input that is no object",
        thread(),
        stream("steps", input=[1], stream_mode="values"),
        stream("steps", input="text", stream_mode="values"),
    ),
    scenario(
        "streams",
        "input with unknown keys",
        thread(),
        stream("steps", input={"number": 1, "other": 2}, stream_mode=["values", "tasks"]),
    ),
    scenario(
        "streams",
        "message forms",
        thread(),
        stream("chat", input={"messages": "just text"}),
        stream("chat", input={"messages": [["user", "a pair"]]}),
        stream("chat", input={"messages": {"type": "human", "content": [{"type": "text", "text": "a block"}]}}),
    ),
    *(
        scenario("streams", f"no {mode}", thread(), stream("steps", input={"number": 1}, stream_mode=mode))
        for mode in ("tools", "lifecycle", "unheard-of")
    ),
]

_failures = [
    scenario(
        "streams",
        "builtin error",
        thread(),
        stream("failing", input={"how": "builtin"}, stream_mode=["values", "updates"]),
        get("/threads/{thread}"),
        state(),
        history(limit=5),
    ),
    scenario(
        "streams",
        "recursion limit",
        thread(),
        stream("failing", input={"how": "endless"}, stream_mode="updates", config={"recursion_limit": 5}),
        get("/threads/{thread}"),
    ),
    scenario(
        "streams",
        "error, then another turn",
        thread(),
        stream("failing", input={"how": "builtin"}),
        stream("failing", input={"how": "well"}),
        get("/threads/{thread}"),
    ),
    scenario("streams", "input that no channel takes", thread(), stream("chat", input={"messages": [{"bad": 1}]})),
]

_joins = [
    scenario(
        "streams",
        "join replays a resumable run",
        thread(),
        background("agent", input=_QUESTION, stream_mode=["updates", "messages-tuple"], stream_resumable=True),
        join(),
        get(_JOIN, headers={"last-event-id": "-1"}),
        get(_JOIN, headers={"last-event-id": "0"}),
        get(_JOIN),
    ),
    scenario(
        "streams",
        "join filters modes",
        thread(),
        background("agent", input=_QUESTION, stream_mode=["updates", "values"], stream_resumable=True),
        join(),
        get(_JOIN + "?stream_mode=updates", headers={"last-event-id": "-1"}),
        get(_JOIN + '?stream_mode=["values"]', headers={"last-event-id": "-1"}),
        get(_JOIN + "?stream_mode=custom", headers={"last-event-id": "-1"}),
    ),
    scenario(
        "streams",
        "join of a run that is not resumable",
        thread(),
        background("steps", input={"number": 1}),
        join(),
        get(_JOIN, headers={"last-event-id": "-1"}),
    ),
    scenario(
        "streams",
        "cut and resumed",
        thread(),
        stream(
            "gate",
            input={"hold": "{nonce}"},
            stream_mode=["updates", "custom"],
            stream_resumable=True,
            until="custom",
            cut=True,
            save={"run": "events.0.data.run_id", "seen": "events.2.id"},
        ),
        thread("other"),
        stream("gate", on="other", input={"open": "{nonce}"}),
        join(),
        get(_JOIN, headers={"last-event-id": "{seen}"}),
    ),
    scenario(
        "streams",
        "joined while it runs",
        thread(),
        thread("other"),
        stream(
            "gate",
            input={"hold": "{nonce}"},
            stream_mode=["custom", "values"],
            stream_resumable=True,
            until="custom",
            save={"run": "events.0.data.run_id"},
            during=(
                get(
                    _JOIN,
                    headers={"last-event-id": "-1"},
                    until="custom",
                    during=(wait("gate", on="other", input={"open": "{nonce}"}),),
                ),
            ),
        ),
    ),
    scenario(
        "streams",
        "cut with on_disconnect=cancel",
        thread(),
        stream(
            "gate",
            input={"hold": "{nonce}"},
            stream_mode="custom",
            on_disconnect="cancel",
            until="custom",
            cut=True,
            save={"run": "events.0.data.run_id"},
        ),
        join(),
        get("/threads/{thread}/runs/{run}"),
    ),
    scenario(
        "streams",
        "a thread's stream",
        thread(),
        background("steps", input={"number": 1}, stream_resumable=True),
        join(),
        get("/threads/{thread}/stream", headers={"last-event-id": "nonsense"}),
        get("/threads/{thread}/stream", headers={"last-event-id": "-1"}),
        get("/threads/{thread}/stream?stream_modes=values"),
        get("/threads/{thread}/stream", headers={"last-event-id": "0-0"}, until="values", cut=True),
        get("/threads/{thread}/stream", headers={"last-event-id": "-"}, until="values", cut=True),
        get(
            "/threads/{thread}/stream?stream_modes=lifecycle,state_update",
            headers={"last-event-id": "0"},
            until="metadata",
            cut=True,
        ),
    ),
]

_narrow = [
    each
    for graph in ("narrow", "narrow_inside")
    for each in (
        *(
            scenario(
                "streams",
                f"{graph}, {mode}",
                thread(),
                stream(graph, input={"question": "who"}, stream_mode=mode, stream_subgraphs=True),
                stream(graph, command={"resume": "well"}, stream_mode=mode),
                get("/threads/{thread}"),
                state(),
            )
            for mode in MODES
            if mode != "events"
        ),
        scenario(
            "streams",
            f"{graph}, waited for and joined",
            thread(),
            wait(graph, input={"question": "who"}),
            wait(graph, command={"resume": "well"}),
            background(graph, input={"question": "why"}, stream_mode="updates"),
            join(),
            background(graph, command={"resume": "well"}, stream_mode="updates"),
            join(),
            get("/threads/{thread}"),
            background(graph, input={"question": "when"}),
            join(),
            background(graph, command={"resume": "soon"}),
            join(),
            post("/runs/wait", {"assistant_id": graph, "input": {"question": "who"}}),
        ),
    )
]

SCENARIOS = [*_by_mode, *_together, *_chat, *_failures, *_joins, *_narrow]
