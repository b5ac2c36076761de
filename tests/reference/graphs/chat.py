"""A chat: one model call a turn, with a greeting from the context."""

from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from scripted import Scripted


@dataclass
class Manners:
    """How the chat speaks."""

    greeting: str = "Hello"


async def respond(state: MessagesState, runtime: Runtime[Manners], config: RunnableConfig) -> dict[str, Any]:
    """Greets, counts the turn and says the words of the caller again."""
    heard = [message.text for message in state["messages"] if message.type == "human"]
    usage = {"input_tokens": len(heard), "output_tokens": 4, "total_tokens": len(heard) + 4}
    text = f"{runtime.context.greeting}, turn {len(heard)}: {heard[-1]}"
    model = Scripted(script=lambda _: AIMessage(text, usage_metadata=usage))
    return {"messages": [await model.ainvoke(state["messages"], config)]}


graph = StateGraph(MessagesState, context_schema=Manners).add_node(respond).add_edge(START, "respond").compile()
