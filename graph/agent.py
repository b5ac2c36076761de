"""The agent: a loop of model calls and tool calls that always ends with an answer.

    START ──> agent ──> tools, once for each call ──┐
               ^ │ └──> final_answer ──> END        │
               │ └─ nothing readable: again         │
               └────────────────────────────────────┘

Each tool call is a task of its own, so the calls of one reply run together and each result is kept when it comes. The
agent node leaves the history sound whatever happened before (see `state.repaired`), and its last call in a turn, at
`max_iterations` or near the run's recursion limit, can do nothing but answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.managed import RemainingSteps
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolInvocationError
from langgraph.pregel._read import ChannelRead
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer, Send
from typing_extensions import TypedDict

from .final_answer import FINAL_ANSWER, FinalAnswerModel
from .models import Models
from .prompts import ANSWER_NOW, CUT_OFF, INVALID_ARGUMENTS, NO_ANSWER, NO_VALID_ANSWER, NOT_AN_ANSWER
from .state import (
    NOT_RUN,
    Context,
    FinalAnswer,
    Input,
    State,
    reduce_messages,
    repaired,
    stand_in,
    turn_of,
    unanswered,
)
from .tool_runs import under_its_own_run
from .tools import TOOLS, final_answer

AGENT = "agent"
"""Name of the node that calls the model."""

TOOLS_NODE = "tools"
"""Name of the node that calls one tool."""

_STEPS_AFTER_TOOLS = 4
"""Supersteps needed to call tools and still answer: this one, the tools, the last model call, the answer."""

_CALL_BLOCKS = frozenset({"tool_call", "invalid_tool_call", "tool_use", "function_call"})
_MODELS_KEPT = 32
_LONGEST_QUOTE = 500

_Model = Runnable[LanguageModelInput, AIMessage]


def build_graph(
    model: BaseChatModel | None = None,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    name: str = "agent",
) -> CompiledStateGraph[State, Any, Any, Any]:
    """Build the agent.

    Args:
        model: The chat model. None: the one that each run's context and the environment name.
        tools: What the model may call, beside final_answer. None: arithmetic.
        checkpointer: Where threads are kept. None: nowhere, unless a graph or server around this one provides it.
        store: What tools may share across threads.
        name: The graph's name in traces, and as a node of another graph.

    Returns:
        A graph for `invoke`, `stream`, `astream_events` and the like. Its input is {"messages": ...}, its context a
        `Context` or a dict of its fields.

    Raises:
        ValueError: If two tools have the same name, or one is called final_answer.
    """
    own_tools = [under_its_own_run(tool) for tool in (TOOLS if tools is None else tools)]
    names = [tool.name for tool in own_tools]
    if len({FINAL_ANSWER, *names}) <= len(names):
        raise ValueError(f"tools need names of their own, other than {FINAL_ANSWER}: {', '.join(names)}")
    agent = _Agent(_BoundModels(model, own_tools))
    builder = StateGraph(State, context_schema=Context, input_schema=Input)
    builder.add_node(AGENT, _Step(agent.invoke, agent.ainvoke), input_schema=_AgentState)
    builder.add_node(TOOLS_NODE, ToolNode(own_tools, handle_tool_errors=_explain))
    builder.add_node(FINAL_ANSWER, _Step(lambda _: _finish(_messages(), names)))
    builder.add_edge(START, AGENT)
    builder.add_conditional_edges(AGENT, _Step(_route), [TOOLS_NODE, AGENT, FINAL_ANSWER])
    builder.add_edge(TOOLS_NODE, AGENT)
    builder.add_edge(FINAL_ANSWER, END)
    return builder.compile(checkpointer=checkpointer, store=store, name=name)


class _Step(Runnable[Any, Any]):
    """A function as a node or a branch, in both APIs.

    LangGraph runs a plain function in a thread when the graph runs async, and traces a RunnableLambda as one more run.
    """

    name = None

    def __init__(self, function: Callable[..., Any], asynchronous: Callable[..., Awaitable[Any]] | None = None) -> None:
        self._function = function
        self._asynchronous = asynchronous

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return self._function(input) if self._asynchronous is None else self._function(input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        return self._function(input) if self._asynchronous is None else await self._asynchronous(input, config)


class _AgentState(State):
    remaining_steps: RemainingSteps


class _Update(TypedDict):
    messages: list[BaseMessage]


class _Same:
    """A model as a key: models with equal settings are equal, but not hashable."""

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    def __hash__(self) -> int:
        return id(self.model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.model is self.model


class _BoundModels:
    """The models of this graph, each with the tools bound once: all of them, and final_answer alone."""

    def __init__(self, model: BaseChatModel | None, tools: Sequence[BaseTool]) -> None:
        self._model = model
        self._models = Models()
        self._tools = [*tools, final_answer]
        self._bound = lru_cache(maxsize=_MODELS_KEPT)(self._bind)

    def get(self, context: Context, *, only_answer: bool) -> _Model:
        if not context.model and self._model is not None:
            bound = self._bound(_Same(self._model), only_answer)
            return bound if context.temperature is None else bound.bind(temperature=context.temperature)
        return self._bound(_Same(self._models.get(context.model, context.temperature)), only_answer)

    def _bind(self, key: _Same, only_answer: bool) -> _Model:
        model = key.model if isinstance(key.model, FinalAnswerModel) else FinalAnswerModel(inner=key.model)
        if only_answer:
            return model.bind_tools([final_answer], tool_choice=FINAL_ANSWER)
        return model.bind_tools(self._tools, tool_choice="any")


@dataclass(frozen=True)
class _Call:
    """One call of the model, as planned."""

    model: _Model
    prompt: list[BaseMessage]
    repairs: list[BaseMessage]
    """What makes the history in the state sound, written with the reply."""
    must_answer: bool
    steps: int
    """Calls of the model before this one, in this turn."""


class _Agent:
    """Calls the model and sees to it that its reply can be acted on."""

    def __init__(self, models: _BoundModels) -> None:
        self._models = models

    def invoke(self, state: _AgentState, config: RunnableConfig | None) -> _Update:
        call = self._plan(state)
        return _settle(call, call.model.invoke(call.prompt, config))

    async def ainvoke(self, state: _AgentState, config: RunnableConfig | None) -> _Update:
        call = self._plan(state)
        return _settle(call, await call.model.ainvoke(call.prompt, config))

    def _plan(self, state: _AgentState) -> _Call:
        # As a node of another graph, this one may see a context that is not its own.
        context = given if isinstance(given := get_runtime(Context).context, Context) else Context()
        history = reduce_messages(state["messages"], [])
        sound = repaired(history)
        steps = sum(isinstance(message, AIMessage) for message in turn_of(sound))
        must_answer = steps >= context.max_iterations or state["remaining_steps"] < _STEPS_AFTER_TOOLS
        return _Call(
            model=self._models.get(context, only_answer=must_answer),
            prompt=_prompt(context.system_prompt, sound, must_answer=must_answer),
            repairs=_repairs(history, sound),
            must_answer=must_answer,
            steps=steps,
        )


def _prompt(system_prompt: str, messages: list[BaseMessage], *, must_answer: bool) -> list[BaseMessage]:
    # Notes go into the system prompt, since providers differ in where else they allow a message that no one said.
    instructions = [system_prompt]
    if messages and (error := _failure(messages[-1])):
        instructions.append(NOT_AN_ANSWER.format(error=error))
    if must_answer:
        instructions.append(ANSWER_NOW)
    system = "\n\n".join(filter(None, instructions))
    said = [message for message in messages if not _failure(message)]
    return [SystemMessage(system), *said] if system else said


def _repairs(history: list[BaseMessage], sound: list[BaseMessage]) -> list[BaseMessage]:
    """Return what to write to turn one list into the other: all from the first difference on, out and in again."""
    same = 0
    while same < min(len(history), len(sound)) and history[same] is sound[same]:
        same += 1
    return [*(RemoveMessage(id=message.id or "") for message in history[same:]), *sound[same:]]


def _settle(call: _Call, reply: AIMessage) -> _Update:
    if call.must_answer:
        return {"messages": [*call.repairs, _as_answer(reply, call.steps)]}
    reply, errors = _with_sound_calls(reply)
    if not reply.tool_calls and not reply.text.strip() and FINAL_ANSWER not in reply.additional_kwargs:
        marker = {FINAL_ANSWER: {"error": "the reply was empty"}}
        reply = reply.model_copy(update={"additional_kwargs": reply.additional_kwargs | marker})
    return {"messages": [*call.repairs, reply, *errors]}


def _failure(message: BaseMessage) -> str | None:
    """Return why a reply is neither an answer nor a call; None if it is one."""
    marker = message.additional_kwargs.get(FINAL_ANSWER) if isinstance(message, AIMessage) else None
    return str(marker["error"]) if marker and "error" in marker and not message.text.strip() else None


def _as_answer(reply: AIMessage, steps: int) -> AIMessage:
    """Return the last reply of a turn as an answer, whatever it is."""
    asks = bool(reply.tool_calls or reply.invalid_tool_calls)
    if reply.text.strip() or (FINAL_ANSWER in reply.additional_kwargs and not _failure(reply)):
        return _without_calls(reply) if asks else reply
    within = "1 step" if steps == 1 else f"{steps} steps"
    # Without the reply's id: clients that saw its chunks take this for the message of its own that it is.
    return AIMessage((NO_ANSWER if asks else NO_VALID_ANSWER).format(steps=within))


def _with_sound_calls(reply: AIMessage) -> tuple[AIMessage, list[ToolMessage]]:
    """Give each call an id of its own, and answer those whose arguments could not be read.

    Providers only take a result that belongs to a call, so such a call stays in the message, without arguments.
    """
    ids = [call["id"] for call in reply.tool_calls]
    cut_off = _is_cut_off(reply)
    if not reply.invalid_tool_calls and not cut_off and all(ids) and len(set(ids)) == len(ids):
        return reply, []
    taken: set[str | None] = {None, ""}
    sound: list[ToolCall] = []
    errors: list[ToolMessage] = []
    for call in (*reply.tool_calls, *reply.invalid_tool_calls):
        id_ = call["id"] if call["id"] not in taken else f"call_{uuid4().hex}"
        taken.add(id_)
        unread: str | None = None
        if not isinstance(call["args"], dict):
            unread = INVALID_ARGUMENTS.format(arguments=_short(call["args"] or ""))
        elif cut_off and call is reply.tool_calls[-1]:
            unread = CUT_OFF
        args = call["args"] if isinstance(call["args"], dict) and not unread else {}
        sound.append(ToolCall(type="tool_call", id=id_, name=call["name"] or "unknown", args=args))
        if unread:
            errors.append(stand_in(sound[-1], unread))
    return _without_calls(reply).model_copy(update={"tool_calls": sound}), errors


def _is_cut_off(reply: AIMessage) -> bool:
    # LangChain closes the open brackets of arguments that break off, so a number cut short looks like one.
    ended = {reply.response_metadata.get(key) for key in ("finish_reason", "stop_reason", "done_reason")}
    return bool(reply.tool_calls) and not ended.isdisjoint({"length", "max_tokens"})


def _without_calls(reply: AIMessage) -> AIMessage:
    """Return the reply without its calls, wherever a provider has put them."""
    content = reply.content
    if isinstance(content, list):
        content = [block for block in content if isinstance(block, str) or block.get("type") not in _CALL_BLOCKS]
    kept = {key: value for key, value in reply.additional_kwargs.items() if key != "tool_calls"}
    calls: dict[str, list[Any]] = {"tool_calls": [], "invalid_tool_calls": []}
    return reply.model_copy(update={**calls, "content": content, "additional_kwargs": kept})


def _explain(error: Exception) -> str:
    if isinstance(error, ToolInvocationError):
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.filtered_errors or ())
        return f"Error: invalid arguments for {error.tool_name}: {_short(wrong)}"
    return f"Error: {_short(str(error) or type(error).__name__)}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _route(state: State) -> list[Send] | str:
    if calls := unanswered(state["messages"]):
        return [Send(TOOLS_NODE, [call]) for call in calls]
    last = state["messages"][-1]
    return [Send(FINAL_ANSWER, None)] if isinstance(last, AIMessage) and not _failure(last) else AGENT


def _finish(messages: Sequence[BaseMessage], tools: Sequence[str]) -> dict[str, FinalAnswer]:
    called = [
        message.name or ""
        for message in turn_of(messages)
        if isinstance(message, ToolMessage) and NOT_RUN not in message.additional_kwargs
    ]
    used = [name for name in dict.fromkeys(called) if name in tools]
    return {"final_answer": FinalAnswer(answer=messages[-1].text, tools_used=used)}


def _messages() -> list[BaseMessage]:
    """Read the conversation in a node that was sent nothing.

    An edge to final_answer would cost a channel of its own, whose versions every checkpoint of a thread repeats: a
    sixth of all that is stored. A node that is sent to costs nothing, but only LangGraph's own reader shows it the
    state, short of a copy of it in what is sent.
    """
    read: dict[str, list[BaseMessage]] = ChannelRead.do_read(get_config(), select=["messages"])
    return read["messages"]


graph = build_graph()
