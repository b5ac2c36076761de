"""A graph loaded by its path, whose state has objects that no schema names; it compares them with what it wrote."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any, TypedDict

import kinds
from kinds import Job
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt


class State(TypedDict, total=False):
    plan: dict[str, Any]
    job: Any
    report: Annotated[list[Any], lambda left, right: [*left, *right]]


class Question:
    """Nothing but a namespace: the class inside is what is asked."""

    class Inner(kinds.Model):
        text: str


def write(_: State) -> Any:
    from late import Late  # only here

    plan = {**kinds.plan(), "late": Late(1), "question": Question.Inner(text="?"), "here": _local()(text="x")}
    return {"plan": plan}


def _local() -> Any:
    return LOCAL


def _make() -> Any:
    class Inside(kinds.Model):
        text: str

    return Inside


LOCAL = _make()


def _differences(plan: dict[str, Any]) -> list[str]:
    from late import Late

    wanted = {**kinds.plan(), "late": Late(1), "question": Question.Inner(text="?"), "here": LOCAL(text="x")}
    return [
        f"{name}: {plan.get(name)!r}"
        for name, value in wanted.items()
        if type(plan.get(name)) is not type(value) or repr(plan[name]) != repr(value)
    ]


def crash(state: State) -> Any:
    """Ends the process, once: the next attempt goes on from the checkpoint."""
    marker = Path(os.environ["CRASHED"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"report": [{"after a crash": _differences(state["plan"])}]}


def ask(state: State) -> Any:
    answer = interrupt(Question.Inner(text="go on?"))
    report = {"after an interrupt": _differences(state["plan"]), "answer": answer}
    return Command(update={"report": [report]}, goto=Send("work", {"job": Job("j", inner=Job("k"))}))


def work(state: State) -> Any:
    answer = interrupt({"job": state["job"]})
    return {"report": [{"sent": f"{state['job'].name}{state['job'].inner.name}", "answer": answer}]}


def begin(state: State) -> str:
    return "write" if not state.get("plan") else "again"


def again(state: State) -> Any:
    return {"report": [{"next turn": _differences(state["plan"])}]}


builder = StateGraph(State)
for node in (write, crash, again, work):
    builder.add_node(node)
builder.add_node(ask, destinations=("work",))
builder.add_conditional_edges(START, begin, ["write", "again"])
builder.add_edge("write", "crash")
builder.add_edge("crash", "ask")
builder.add_edge("work", END)
builder.add_edge("again", END)
graph = builder.compile()
