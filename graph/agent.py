"""The agent: a loop of model calls and tool calls that always ends with an answer.

    START ──> agent ──> tools, once for each call ──┐
               ^ │ └──> final_answer ──> END        │
               │ └─ nothing readable: again         │
               └────────────────────────────────────┘

Each tool call is a task of its own, so the calls of one reply run together and each result is kept when it comes. The
agent node leaves the history sound whatever happened before (see `history`), and its last call in a turn, at
`max_iterations` or near the run's recursion limit, can do nothing but answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.managed import RemainingSteps
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer, Command, Send

from .bound_models import BoundModels
from .final_answer import FINAL_ANSWER
from .history import repaired, repairs, tools_run, turn_of, unanswered
from .mending import as_answer, failure, mended
from .prompts import ANSWER_NOW, NOT_AN_ANSWER
from .reducer import reduce_messages
from .state import Context, FinalAnswer, Input, State
from .step import Step
from .tool_errors import explain
from .tool_runs import under_its_own_run
from .tools import TOOLS

AGENT = "agent"
"""Name of the node that calls the model."""

TOOLS_NODE = "tools"
"""Name of the node that calls one tool."""

_STEPS_AFTER_TOOLS = 4
"""Supersteps needed to call tools and still answer: this one, the tools, the last model call, the answer."""


class AgentState(State):
    """What the agent node reads."""

    remaining_steps: RemainingSteps


def build_graph(
    model: Runnable[Any, Any] | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    name: str = "agent",
) -> CompiledStateGraph[State, Any, Any, Any]:
    """Build the agent.

    Args:
        model: The chat model, also as `bind`, `with_retry`, `with_fallbacks`, `configurable_fields` and the like give
            it, or any Runnable from messages to one. None: the one that each run's context and the environment name.
        tools: What the model may call, beside final_answer. None: arithmetic.
        checkpointer: Where threads are kept. None: nowhere, unless a graph or server around this one provides it.
        store: What tools may share across threads.
        name: The graph's name in traces, and as a node of another graph.

    Returns:
        A graph for `invoke`, `stream`, `astream_events` and the like. Its input is {"messages": ...}, its context a
        `Context` or a dict of its fields.

    Raises:
        TypeError: If the model is no Runnable.
        ValueError: If two tools have the same name, or one is called final_answer, or the model cannot be given them.
    """
    own_tools = [under_its_own_run(tool) for tool in (TOOLS if tools is None else tools)]
    names = _distinct([tool.name for tool in own_tools])
    models = BoundModels(model, own_tools)

    def call_model(state: AgentState, config: RunnableConfig) -> dict[str, list[BaseMessage]]:
        ask = _Ask.about(state)
        asked = models.get(ask.context, config, only_answer=ask.must_answer)
        return ask.update(asked.invoke(ask.prompt, config))

    async def acall_model(state: AgentState, config: RunnableConfig) -> dict[str, list[BaseMessage]]:
        ask = _Ask.about(state)
        asked = models.get(ask.context, config, only_answer=ask.must_answer)
        return ask.update(await asked.ainvoke(ask.prompt, config))

    builder = StateGraph(State, context_schema=Context, input_schema=Input)
    builder.add_node(AGENT, Step(call_model, acall_model), input_schema=AgentState)
    builder.add_node(TOOLS_NODE, ToolNode(own_tools, handle_tool_errors=explain))
    builder.add_node(FINAL_ANSWER, Step(partial(finish, names)))
    builder.add_edge(START, AGENT)
    builder.add_conditional_edges(AGENT, Step(route), [TOOLS_NODE, AGENT, FINAL_ANSWER])
    builder.add_edge(TOOLS_NODE, AGENT)
    builder.add_edge(FINAL_ANSWER, END)
    return builder.compile(checkpointer=checkpointer, store=store, name=name)


def route(state: State, _: RunnableConfig) -> list[Send] | str:
    """Say what comes after a reply: its tool calls, the answer that it is, or another call of the model."""
    if calls := unanswered(state["messages"]):
        return [Send(TOOLS_NODE, [call]) for call in calls]
    last = state["messages"][-1]
    return FINAL_ANSWER if isinstance(last, AIMessage) and not failure(last) else AGENT


def finish(tools: Sequence[str], state: State | None, _: RunnableConfig) -> dict[str, FinalAnswer] | Command[str]:
    """Write the answer that the turn ended with, and which of the tools were called in it."""
    if state is None:  # a thread that an earlier version stopped here: it sent this node nothing
        return Command(goto=FINAL_ANSWER)
    used = [name for name in tools_run(state["messages"]) if name in tools]
    return {"final_answer": FinalAnswer(answer=state["messages"][-1].text, tools_used=used)}


def _distinct(names: Sequence[str]) -> Sequence[str]:
    if len({FINAL_ANSWER, *names}) <= len(names):
        raise ValueError(f"tools need names of their own, other than {FINAL_ANSWER}: {', '.join(names)}")
    return names


@dataclass(frozen=True)
class _Ask:
    """One call of the model: what it is told, and what its reply is to be."""

    context: Context
    prompt: list[BaseMessage]
    repairs: list[BaseMessage]
    """What makes the history in the state sound, written with the reply."""
    must_answer: bool
    steps: int
    """Calls of the model before this one, in this turn."""

    @classmethod
    def about(cls, state: AgentState) -> "_Ask":
        # As a node of another graph, this one may see a context that is not its own.
        context = given if isinstance(given := get_runtime(Context).context, Context) else Context()
        history = reduce_messages(state["messages"], [])
        sound = repaired(history)
        steps = sum(isinstance(message, AIMessage) for message in turn_of(sound))
        must_answer = steps >= context.max_iterations or state["remaining_steps"] < _STEPS_AFTER_TOOLS
        prompt = _prompt(context.system_prompt, sound, must_answer=must_answer)
        return cls(context, prompt, repairs(history, sound), must_answer, steps)

    def update(self, reply: AIMessage) -> dict[str, list[BaseMessage]]:
        replied = [as_answer(reply, self.steps)] if self.must_answer else mended(reply, self.prompt)
        return {"messages": [*self.repairs, *replied]}


def _prompt(system_prompt: str, messages: list[BaseMessage], *, must_answer: bool) -> list[BaseMessage]:
    # Notes go into the system prompt, since providers differ in where else they allow a message that no one said.
    instructions = [system_prompt]
    if messages and (error := failure(messages[-1])):
        instructions.append(NOT_AN_ANSWER.format(error=error))
    if must_answer:
        instructions.append(ANSWER_NOW)
    system = "\n\n".join(filter(None, instructions))
    said = [message for message in messages if not failure(message)]
    return [SystemMessage(system), *said] if system else said


graph = build_graph()
