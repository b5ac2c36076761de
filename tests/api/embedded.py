"""The agent as a part of other graphs, in every way that it can be one."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Overwrite, RetryPolicy, interrupt
from pydantic import BaseModel

from graph import State, build_graph
from graph.tools import TOOLS
from tests.api.graphs import GATES, Scripted
from tests.graph.scripted import Reply, ScriptedModel, answer, call, say

Nodes = dict[str, Any]


def script(*replies: Reply) -> ScriptedModel:
    """A model that says the same in every turn: of its script, the first call that is not made yet, or the answer."""

    def reply(messages: list[Any]) -> Reply:
        turn = messages[max(at for at, message in enumerate(messages) if message.type == "human") :]
        made = [(call["name"], call["args"]) for message in turn if message.type == "ai" for call in message.tool_calls]
        return next(reply for reply in replies if not any((name, args) in made for name, args, _ in reply.calls))

    return ScriptedModel(reply, repeats=True)


def adds(name: str, x: int, y: int, **options: Any) -> Any:
    """An agent that adds two numbers and says so."""
    model = script(call(("add", {"x": x, "y": y}, f"call_{name}")), answer(f"{name} says it is {x + y}."))
    return build_graph(model, name=name, **options)


def says(text: str, name: str = "says") -> Any:
    """A graph whose one node answers with a text, in pieces."""

    async def respond(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Scripted(script=lambda _: AIMessage(text)).ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node("respond", respond).add_edge(START, "respond").compile(name=name)


def in_sequence(nodes: Nodes, schema: Any = MessagesState) -> Any:
    """A graph of nodes, one after the other."""
    builder = StateGraph(schema)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(before, after)
    return builder.compile()


def side_by_side(nodes: Nodes) -> Any:
    """A graph of nodes that run in one superstep."""
    builder = StateGraph(MessagesState)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile()


def calling(agent: Any, take: Callable[[Any], Any], **config: Any) -> Any:
    """A node that calls an agent with an input of its own, and writes what `take` makes of its result."""

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": take(await agent.ainvoke({"messages": list(state["messages"])}, config))}  # type: ignore[arg-type]

    return ask


def last(result: Any) -> Any:
    return result["messages"][-1:]


def whole(result: Any) -> Any:
    return result["messages"]


def sync_calling(agent: Any) -> Any:
    def ask(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": agent.invoke({"messages": state["messages"]}, config)["messages"][-1:]}

    return ask


as_node = in_sequence({"calc": adds("ann", 2, 3)})
as_node_with_saver = in_sequence({"calc": adds("ann", 2, 3, checkpointer=InMemorySaver())})
as_node_with_memory = in_sequence({"calc": adds("ann", 2, 3, checkpointer=True)})
deep = in_sequence({"middle": in_sequence({"calc": adds("ann", 2, 3)})})
called = in_sequence({"ask": calling(adds("ann", 2, 3), last)})
called_whole = in_sequence({"ask": calling(adds("ann", 2, 3), whole)})
called_sync = in_sequence({"ask": sync_calling(adds("ann", 2, 3))})


async def ask_on_a_thread(state: MessagesState) -> dict[str, Any]:
    """Asks an agent that has a thread of its own."""
    agent = adds("ann", 2, 3, checkpointer=InMemorySaver())
    return {"messages": last(await agent.ainvoke(state, {"configurable": {"thread_id": "its own"}}))}


called_with_saver = in_sequence({"ask": ask_on_a_thread})
rewritten = in_sequence({"ask": calling(adds("ann", 2, 3), lambda result: AIMessage(result["messages"][-1].text))})
tagged = in_sequence({"ask": calling(adds("ann", 2, 3), last, tags=["answer"])})
twice = in_sequence({"first": adds("ann", 2, 3), "then": adds("bob", 4, 5)})
shared_twice = in_sequence({"first": adds("ann", 2, 3), "then": says("So.")}, State)
same_twice = in_sequence({"first": says("Well. "), "then": says("So.")})
parallel = side_by_side({"left": says("all the words on the left "), "right": says("and those on the right ")})
echoed = side_by_side({"aloud": says("The same."), "written": lambda _: {"messages": [AIMessage("The same.")]}})
parallel_agents = side_by_side({"left": adds("ann", 2, 3), "right": calling(adds("bob", 4, 5), last)})

untold = in_sequence({"ask": calling(adds("ann", 2, 3), last, tags=["nostream"])})
called_with_config = in_sequence({"ask": calling(adds("ann", 2, 3).with_config(tags=["answer"]), last)})


def numbered() -> Any:
    """An agent of LangChain's, whose model numbers the calls of each of its replies, as some servers do."""
    replies = [call(("add", {"x": x, "y": x}, "call_0")) for x in (1, 2)]
    return create_agent(script(*replies, say("Both are done.")), list(TOOLS))


numbered_alone = numbered()
numbered_node = in_sequence({"calc": numbered()})
numbered_called = in_sequence({"ask": calling(numbered(), whole)})

_turn: list[Any] = [
    {"role": "assistant", "content": "", "tool_calls": [{"type": "tool_call", "name": "look", "args": {}, "id": "c1"}]},
    {"role": "tool", "content": "r", "tool_call_id": "c1", "name": "look"},
    ("ai", "done"),
]


@dataclass
class Written:
    messages: Annotated[list[AnyMessage], add_messages] = dataclass_field(default_factory=list)


class Modelled(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = []


SHAPES: dict[str, Any] = {
    "dicts": lambda: {"messages": _turn},
    "overwrite": lambda: {"messages": Overwrite([*convert_to_messages(_turn[:2]), AIMessage("done", id="a1")])},
    "pairs": lambda: Command(update=[("messages", convert_to_messages(_turn))]),
    "dataclass": lambda: Written(convert_to_messages(_turn)),
    "model": lambda: Modelled(messages=convert_to_messages(_turn)),
    "parent": lambda: Command(update={"messages": convert_to_messages(_turn)}, graph=Command.PARENT, goto="after"),
}
"""A whole turn, in the forms in which a node may write it."""


def writing(shape: str) -> Any:
    """A graph whose node, of a graph that is a node, writes a turn in some form; a later one writes all there is."""

    def write(_: Any) -> Any:
        return SHAPES[shape]()

    state = {"dataclass": Written, "model": Modelled}.get(shape, MessagesState)
    inner = StateGraph(state).add_node("write", write).add_edge(START, "write").compile()
    builder = StateGraph(MessagesState).add_node("turn", inner, destinations=("after",)).add_edge(START, "turn")
    if shape != "parent":
        builder.add_edge("turn", "after")
    return builder.add_node("after", lambda state: {"messages": state["messages"]}).compile()


written_dicts = writing("dicts")
written_overwrite = writing("overwrite")
written_pairs = writing("pairs")
written_dataclass = writing("dataclass")
written_model = writing("model")
written_parent = writing("parent")

listed = in_sequence({"speak": lambda _: [AIMessage("all listed")]}, Annotated[list[AnyMessage], add_messages])
"""A state that is a list, and no class."""

asks_last = in_sequence(
    {"ask": lambda _: {"messages": [AIMessage("I look.", tool_calls=[{"name": "look", "args": {}, "id": "c1"}])]}}
)

whole_turn = in_sequence(
    {
        "turn": lambda _: {
            "messages": [
                AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}]),
                ToolMessage("r", tool_call_id="c1", name="look"),
                AIMessage("done"),
            ]
        }
    }
)


def _retried() -> Any:
    class Fails(Scripted):
        async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            async for chunk in super()._astream(messages, *args, **kwargs):
                yield chunk
                if not TRIED:
                    TRIED.append(True)
                    raise ConnectionError

    async def respond(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Fails(script=lambda _: AIMessage("One two three.")).ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=ConnectionError)
    builder.add_node("respond", respond, retry_policy=policy).add_node("hold", held)
    return builder.add_edge(START, "respond").add_edge(START, "hold").compile()


TRIED: list[bool] = []
"""Whether the model of `retried` has failed."""


async def held(state: MessagesState) -> dict[str, Any]:
    """Dispatches, and waits at a gate before it ends."""
    await adispatch_custom_event("waiting", 1)
    await GATES[str(state["messages"][-1].content)].wait()
    return {"messages": [AIMessage("gone on")]}


retried = _retried()
"""A model that fails amid its first reply, in a node that is tried again, beside one that waits at a gate."""


class Noted(MessagesState):
    notes: str


_helper = says("secret helper words", "helper")


async def note(_: Noted) -> dict[str, Any]:
    """Asks a helper."""
    return {"notes": (await _helper.ainvoke({"messages": "why?"}))["messages"][-1].text}  # type: ignore[arg-type]


async def note_from_state(state: Noted) -> dict[str, Any]:
    """Hands a helper all that it has itself, and does not use what it says."""
    await _helper.ainvoke(state)
    return {"notes": "noted"}


async def decide(_: MessagesState) -> str:
    """Asks a model where to go on."""
    await Scripted(script=lambda _: AIMessage("secret ways")).ainvoke("where?")
    return "speak"


def _routed() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("begin", lambda _: {"messages": []}).add_node("speak", says("The public answer."))
    builder.add_conditional_edges(START, lambda _: "begin", ["begin"])
    return builder.add_conditional_edges("begin", decide, ["speak"]).compile()


routed = _routed()
routed_node = in_sequence({"routed": _routed()})
routed_at_once = StateGraph(MessagesState).add_node("speak", says("The public answer."))
routed_at_once = routed_at_once.add_conditional_edges(START, decide, ["speak"]).compile()
"""A model decides in an edge."""


_agent = adds("secret helper", 2, 3)


async def note_from_agent(state: Noted) -> dict[str, Any]:
    """Has an agent work for it, and uses what it says for itself."""
    result = await _agent.ainvoke({"messages": state["messages"]})
    return {"notes": result["final_answer"]["answer"]}


helped_by_agent = in_sequence({"note": note_from_agent, "speak": says("The public answer.")}, Noted)
helped = in_sequence({"note": note, "again": note_from_state, "speak": says("The public answer.")}, Noted)
"""A node asks a graph that is a helper, and writes none of its messages."""


class Private(TypedDict):
    thoughts: Annotated[list[AnyMessage], operator.add]


def _private(outer: Any) -> Any:
    async def think(_: Private) -> dict[str, Any]:
        return {"thoughts": [await Scripted(script=lambda _: AIMessage("secret thoughts")).ainvoke("think")]}

    thinker = StateGraph(Private).add_node("think", think).add_edge(START, "think").compile()
    return in_sequence({"think": thinker, "speak": says("The public answer.")}, outer)


class Noting(MessagesState):
    """A conversation, and messages beside it."""

    thoughts: Annotated[list[AnyMessage], operator.add]


private = _private(MessagesState)
"""A graph that is a node, whose messages are not its parent's."""

beside = _private(Noting)
"""Likewise; its parent keeps them beside the conversation."""


@tool
async def consult(question: str) -> str:
    """Asks another agent."""
    result = await adds("inner", 1, 1).ainvoke({"messages": question})
    return f"it had {len(result['messages'])} messages"


in_tool = build_graph(script(call(("consult", {"question": "why"}, "call_c")), answer("Consulted.")), [consult])
in_tool_of_node = in_sequence({"calc": in_tool})


def _supervised() -> Any:
    """The supervisor calls workers as tools of a node of its own, until it answers."""
    workers = {"ann": adds("ann", 2, 3), "bob": adds("bob", 4, 5)}

    def reply(messages: list[Any]) -> AIMessage:
        asked = [call["name"] for message in messages if message.type == "ai" for call in message.tool_calls]
        for name in workers:
            if f"ask_{name}" not in asked:
                return AIMessage("", tool_calls=[{"name": f"ask_{name}", "args": {}, "id": f"call_ask_{name}"}])
        return AIMessage("Both are done.")

    async def supervise(state: MessagesState) -> Command[Any]:
        said = await Scripted(script=reply).ainvoke(state["messages"])
        if not said.tool_calls:
            return Command(update={"messages": [said]}, goto=END)
        (asked,) = said.tool_calls
        handed = ToolMessage("handed over", tool_call_id=asked["id"], name=asked["name"])
        return Command(update={"messages": [said, handed]}, goto=asked["name"].removeprefix("ask_"))

    builder = StateGraph(MessagesState)
    builder.add_node("supervise", supervise, destinations=(*workers, END))
    builder.add_edge(START, "supervise")
    for name, worker in workers.items():
        builder.add_node(name, worker).add_edge(name, "supervise")
    return builder.compile()


supervised = _supervised()


@tool
def approve(amount: int) -> str:
    """Asks a human."""
    return f"approved {amount}: {interrupt({'amount': amount})}"


def _approving() -> Any:
    model = script(
        call(("add", {"x": 1, "y": 1}, "call_1")), call(("approve", {"amount": 7}, "call_2")), answer("It is approved.")
    )
    return build_graph(model, [*TOOLS, approve])


approving = in_sequence({"calc": _approving()})
approving_called = in_sequence({"ask": calling(_approving(), whole)})


@tool
async def report(step: int) -> str:
    """Says how far it is."""
    await adispatch_custom_event("dispatched", {"step": step})
    get_stream_writer()({"name": "written", "step": step})
    return "reported"


@tool
def report_sync(step: int) -> str:
    """Says how far it is."""
    dispatch_custom_event("dispatched", {"step": step})
    return "reported"


reporting = build_graph(
    script(
        call(("report", {"step": 1}, "call_1")),
        call(("report_sync", {"step": 2}, "call_2")),
        answer("Reported."),
    ),
    [report, report_sync],
)
reporting_node = in_sequence({"calc": reporting})


dispatching = in_sequence({"held": held})


class Thinking(Scripted):
    """Thinks aloud before it speaks, as vLLM's and DeepSeek's models do; or in blocks."""

    blocks: bool = False

    async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        from langchain_core.messages import AIMessageChunk
        from langchain_core.outputs import ChatGenerationChunk

        for piece in ("Let me ", "think."):
            if self.blocks:
                chunk = AIMessageChunk([{"type": "reasoning", "reasoning": piece, "index": 0}])
            else:
                chunk = AIMessageChunk("", additional_kwargs={"reasoning_content": piece})
            yield ChatGenerationChunk(message=chunk)
        async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
            if self.blocks:
                chunk.message.content = [{"type": "text", "text": chunk.message.content, "index": 1}]
            yield chunk


def _thinking(*, blocks: bool) -> Any:
    async def respond(state: MessagesState) -> dict[str, Any]:
        model = Thinking(script=lambda _: AIMessage("The answer."), blocks=blocks)
        return {"messages": [await model.ainvoke(state["messages"])]}

    return in_sequence({"respond": respond})


thinking = _thinking(blocks=False)
thinking_blocks = _thinking(blocks=True)


async def silent(_: MessagesState) -> dict[str, Any]:
    """Fails as a model that falls silent does."""
    raise TimeoutError("the model said nothing for two minutes")


falls_silent = in_sequence({"silent": silent})

by_default = in_sequence({"calc": build_graph()})
"""The agent with the model of the environment."""
