"""The agent inside other programs: by import, as part of another graph, and as a copied folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

import graph
from graph import Context, FinalAnswer, QueueCallbackHandler, State, build_graph
from tests.graph.scripted import ScriptedModel, answer, call

PROGRAM = """
import asyncio
from langchain_core.messages import AIMessage
from langchain_core.language_models import GenericFakeChatModel
from pkg.agents import QueueCallbackHandler, build_graph
from pkg.agents.agent import graph
from pkg.agents.chains import chat
from pkg.agents.callbacks import Token


class Model(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


def ping() -> str:
    "Answer."
    return "pong"


def replies():
    yield AIMessage("", tool_calls=[{"name": "ping", "args": {}, "id": "p", "type": "tool_call"}])
    yield AIMessage("It said pong.")


async def main():
    handler = QueueCallbackHandler()
    agent = build_graph(Model(messages=replies(), disable_streaming=True), [ping])
    run = handler.watch(asyncio.create_task(agent.ainvoke({"messages": "go"}, {"callbacks": [handler]})))
    said = "".join([event.text async for event in handler if isinstance(event, Token)])
    assert said == "It said pong.", said
    assert (await run)["final_answer"] == {"answer": "It said pong.", "tools_used": ["ping"]}
    assert graph.invoke({"messages": "What is 7 * 25?"})["final_answer"]["tools_used"] == ["multiply"]
    assert chat.invoke("Hi!")


asyncio.run(main())
"""


def run_python(code: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env={**kept, **environment}, capture_output=True, text=True
    )


def test_the_folder_works_under_another_name(tmp_path: Path) -> None:
    source = Path(graph.__file__).parent
    shutil.copytree(source, tmp_path / "pkg" / "agents", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pkg" / "__init__.py").touch()
    # What is installed beside it must not stand in for the copy.
    blocked = "import sys\nsys.modules['graph'] = sys.modules['api'] = None\n"
    done = run_python(blocked + PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_agent_needs_no_provider(tmp_path: Path) -> None:
    source = Path(graph.__file__).parent.parent
    code = "import sys, graph.agent, graph.chains\nassert not {'langchain_openai', 'openai', 'api'} & set(sys.modules)"
    done = run_python(code, source)
    assert done.returncode == 0, done.stderr


async def test_with_a_checkpointer_a_store_and_a_name() -> None:
    store = InMemoryStore()
    saver = InMemorySaver()
    agent = build_graph(ScriptedModel(answer("ok")), [], checkpointer=saver, store=store, name="mine")
    assert (agent.name, agent.checkpointer, agent.store) == ("mine", saver, store)


def test_plain_functions_are_tools() -> None:
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    model = ScriptedModel(call(("shout", {"text": "hey"}, "s")), answer("HEY"))
    assert build_graph(model, [shout]).invoke({"messages": "go"})["final_answer"]["tools_used"] == ["shout"]


async def test_as_a_node_of_another_graph_with_a_context_of_its_own() -> None:
    class Outer(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]
        final_answer: FinalAnswer | None

    builder: StateGraph[Outer, Any, Outer, Outer] = StateGraph(Outer, context_schema=dict)
    builder.add_node("agent", build_graph(ScriptedModel(call(("add", {"x": 1, "y": 2}, "a")), answer("3"))))
    builder.add_edge(START, "agent")
    builder.add_edge("agent", END)
    outer = builder.compile(checkpointer=InMemorySaver())
    given: Any = {"messages": [("user", "1 + 2?")]}
    result = await outer.ainvoke(given, {"configurable": {"thread_id": "t"}}, context={"user": "me"})
    assert result["final_answer"] == {"answer": "3", "tools_used": ["add"]}
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]


def test_the_package_names_what_it_is_for() -> None:
    assert {Context, QueueCallbackHandler, State, build_graph} <= {getattr(graph, name) for name in graph.__all__}
