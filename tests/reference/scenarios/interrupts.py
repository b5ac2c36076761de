"""Interrupts, resumes and commands."""

from typing import Any

from tests.reference.scenarios.requests import (
    background,
    get,
    history,
    join,
    said,
    scenario,
    state,
    stream,
    thread,
    wait,
)
from tests.reference.scenarios.streams import MODES

_TOPIC = {"topic": "cats"}
_WHOLE = ["values", "updates"]


def _command(**command: Any) -> dict[str, Any]:
    return {"command": command}


_by_mode = [
    scenario(
        "interrupts",
        f"interrupt and resume, {mode}",
        thread(),
        stream("hitl", input=_TOPIC, stream_mode=mode),
        stream("hitl", **_command(resume="better"), stream_mode=mode),
    )
    for mode in MODES
]

_resumes = [
    scenario(
        "interrupts",
        "states around an interrupt",
        thread(),
        wait("hitl", input=_TOPIC),
        get("/threads/{thread}"),
        state(),
        wait("hitl", **_command(resume={"ok": True})),
        get("/threads/{thread}"),
        state(),
        history(limit=10),
    ),
    scenario(
        "interrupts",
        "input in place of a resume",
        thread(),
        wait("hitl", input=_TOPIC),
        wait("hitl", input={"topic": "dogs"}),
        state(),
    ),
    scenario(
        "interrupts",
        "no input in place of a resume",
        thread(),
        wait("hitl", input=_TOPIC),
        stream("hitl", input=None, stream_mode=_WHOLE),
    ),
    *(
        scenario(
            "interrupts",
            f"two at once, {mode}",
            thread(),
            stream("pair", input={}, stream_mode=mode),
            stream("pair", input={"votes": ["zero"]}, stream_mode=mode),
        )
        for mode in ("values", "updates", "tasks", "debug")
    ),
    scenario(
        "interrupts",
        "two at once, resumed by id",
        thread(),
        stream("pair", input={"votes": []}, stream_mode="updates"),
        state(),
        get(
            "/threads/{thread}/state",
            save={"one": "json.tasks.0.interrupts.0.id", "two": "json.tasks.1.interrupts.0.id"},
        ),
        stream("pair", **_command(resume={"{one}": "yes"}), stream_mode=_WHOLE),
        get("/threads/{thread}"),
        stream("pair", **_command(resume={"{two}": "no"}), stream_mode=_WHOLE),
        get("/threads/{thread}"),
    ),
    scenario(
        "interrupts",
        "two at once, both resumed in one map",
        thread(),
        wait("pair", input={"votes": []}),
        get(
            "/threads/{thread}/state",
            save={"one": "json.tasks.0.interrupts.0.id", "two": "json.tasks.1.interrupts.0.id"},
        ),
        wait("pair", **_command(resume={"{one}": "yes", "{two}": "no"})),
    ),
    scenario(
        "interrupts",
        "two at once, resumed without saying which",
        thread(),
        wait("pair", input={"votes": []}),
        stream("pair", **_command(resume="yes"), stream_mode="updates"),
        get("/threads/{thread}"),
    ),
    scenario(
        "interrupts",
        "in a subgraph",
        thread(),
        stream("nested", input=said("ask"), stream_mode=_WHOLE, stream_subgraphs=True),
        state(),
        state(query="?subgraphs=true"),
        get("/threads/{thread}"),
        stream("nested", **_command(resume=True), stream_mode=_WHOLE, stream_subgraphs=True),
    ),
    scenario(
        "interrupts",
        "a background run ends in an interrupt",
        thread(),
        background("hitl", input=_TOPIC),
        join(),
        get("/threads/{thread}/runs/{run}"),
    ),
    scenario("interrupts", "resume of a new thread", thread(), stream("hitl", **_command(resume="x"))),
]

_static = [
    scenario(
        "interrupts",
        f"compiled before a node, {mode}",
        thread(),
        stream("paused", input=_TOPIC, stream_mode=mode),
        stream("paused", input=None, stream_mode=mode),
    )
    for mode in ("values", "updates", "tasks", "debug")
] + [
    scenario(
        "interrupts",
        "compiled before a node, states",
        thread(),
        wait("paused", input=_TOPIC),
        get("/threads/{thread}"),
        state(),
        wait("paused", input=None),
        get("/threads/{thread}"),
    ),
    scenario(
        "interrupts",
        "before a node",
        thread(),
        stream("steps", input={"number": 2}, stream_mode=_WHOLE, interrupt_before=["increase"]),
        state(),
        stream("steps", input=None, stream_mode=_WHOLE),
    ),
    scenario(
        "interrupts",
        "after a node",
        thread(),
        stream("steps", input={"number": 2}, stream_mode=_WHOLE, interrupt_after=["double"]),
        stream("steps", input=None, stream_mode=_WHOLE),
    ),
    scenario(
        "interrupts",
        "before every node",
        thread(),
        stream("steps", input={"number": 2}, stream_mode="updates", interrupt_before="*"),
        stream("steps", input=None, stream_mode="updates", interrupt_before="*"),
        stream("steps", input=None, stream_mode="updates", interrupt_after="*"),
    ),
    scenario(
        "interrupts",
        "before a node that is not there",
        thread(),
        stream("steps", input={"number": 2}, stream_mode="updates", interrupt_before=["nowhere"]),
    ),
    scenario("interrupts", "before something else", thread(), stream("steps", interrupt_before=7)),
]

_commands = [
    scenario(
        "interrupts",
        "update with a resume",
        thread(),
        wait("hitl", input=_TOPIC),
        stream("hitl", **_command(resume="kept", update={"topic": "dogs"}), stream_mode=_WHOLE),
    ),
    scenario(
        "interrupts",
        "update alone",
        thread(),
        wait("steps", input={"number": 1}),
        stream("steps", **_command(update={"number": 40}), stream_mode=_WHOLE),
        state(),
    ),
    scenario(
        "interrupts",
        "update as pairs",
        thread(),
        wait("steps", input={"number": 1}),
        stream("steps", **_command(update=[["number", 40], ["trail", ["by hand"]]]), stream_mode=_WHOLE),
    ),
    scenario(
        "interrupts",
        "goto",
        thread(),
        wait("steps", input={"number": 1}),
        stream("steps", **_command(goto="increase"), stream_mode=_WHOLE),
        stream("steps", **_command(goto=["aside"], update={"number": 9}), stream_mode=_WHOLE),
        stream("steps", **_command(goto={"node": "increase", "input": {"number": 70}}), stream_mode=_WHOLE),
        stream(
            "steps",
            **_command(goto=[{"node": "increase", "input": {"number": 70}}, "aside"]),
            stream_mode=["values"],
        ),
    ),
    scenario("interrupts", "goto nowhere", thread(), stream("steps", **_command(goto="nowhere"), stream_mode=_WHOLE)),
    scenario("interrupts", "empty command", thread(), stream("steps", **_command(), stream_mode=_WHOLE)),
    scenario("interrupts", "command that is none", thread(), stream("steps", command="go")),
    scenario(
        "interrupts",
        "command and input",
        thread(),
        wait("hitl", input=_TOPIC),
        stream("hitl", input={"topic": "ants"}, **_command(resume="kept"), stream_mode=_WHOLE),
    ),
]

SCENARIOS = [*_by_mode, *_resumes, *_static, *_commands]
