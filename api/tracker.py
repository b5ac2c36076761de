"""The tracker: a callback handler on each run that knows what the stream alone does not tell.

It notes which messages were written by a model inside a tool or for structured output (they are never part of the
answer), which graphs run outside tools, adds up the tokens that models report, and when the first token came.
"""

import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, GenerationChunk, LLMResult
from langgraph.constants import START

NS_SEP = "|"
"""Between the tasks of a checkpoint's namespace."""

_STRUCTURED = "ls_structured_output_format"
"""What LangChain adds to the options of `with_structured_output`, for traces."""


class RunTracker(BaseCallbackHandler):
    """Follows one attempt of a run."""

    run_inline = True
    """In the order of the stream: a message must be known as inner before its first chunk is read."""

    def __init__(self) -> None:
        self.inner_messages: set[str] = set()
        """Ids of messages whose model ran inside a tool, or was asked for a structure."""
        self.namespaces: set[tuple[str, ...]] = set()
        """Of the graphs that run inside the root, in no tool."""
        self.apart: set[str] = set()
        """Tasks of graphs that a node calls with a thread of their own: LangGraph streams their messages as the root's,
        and nothing else of them."""
        self.broken_off: set[str] = set()
        """Ids of messages whose model failed in the middle."""
        self.routers: Collection[tuple[str, str]] = ()
        """Conditional edges: the node, and the name of what decides there. What it hears of a model, no node writes."""
        self._messages: dict[UUID, str] = {}
        """What models are saying, by their runs."""
        self._root: UUID | None = None
        self._tasks: dict[UUID | None, str] = {}
        """What runs is a part of, as checkpoints call it, by run."""
        self.usage: UsageMetadata | None = None
        """Sum over all model calls of the run; None if no model reported any."""
        self.usage_by_model: dict[str, UsageMetadata] = {}
        """Likewise, by the name that the model gives itself; `unknown` if it gives none."""
        self.first_token_at: float | None = None
        """On `time.perf_counter`'s clock."""
        self.model_calls = 0
        self._inside: set[UUID] = set()
        self._callers: dict[UUID, UUID | None] = {}
        """The run that called each tool that is running. A tool with a parameter for the config gets its caller's from
        LangChain, so what it starts with that appears beside it, not under it."""

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """All that starts under a tool, or beside it while it runs, is inside it."""
        self._inside.add(run_id)
        self._callers[run_id] = parent_run_id

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Its caller's own models write the answer again."""
        self._callers.pop(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Likewise."""
        self._callers.pop(run_id, None)

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chain inside a tool passes that on; a node elsewhere tells of its graph."""
        self._inherit(run_id, parent_run_id)
        if self._root is None:
            self._root = run_id
        if metadata and (task := metadata.get("langgraph_checkpoint_ns")):
            router = (metadata.get("langgraph_node"), kwargs.get("name"))
            if router in self.routers and (router[0] == START or self._tasks.get(parent_run_id) == task):
                self._inside.add(run_id)
            self._place(task, run_id, parent_run_id)

    def _place(self, task: str, run_id: UUID, parent_run_id: UUID | None) -> None:
        """Where a run that is a part of a task of some graph is: beside the root's tasks, or in one of them."""
        self._tasks[run_id] = task
        if run_id in self._inside:
            return
        if parent_run_id != self._root:
            around = self._tasks.get(parent_run_id) if parent_run_id else None
            if around is None or around in self.apart or not _is_within(task, around):
                self.apart.add(task)
                return
        self.namespaces.add(tuple(task.split(NS_SEP)[:-1]))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Nothing starts in it any more."""
        self._tasks.pop(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Likewise."""
        self._tasks.pop(run_id, None)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Likewise a model; one that is asked for a structure answers no one."""
        self._inherit(run_id, parent_run_id)
        if options and _STRUCTURED in options:
            self._inside.add(run_id)

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        run_id: UUID,
        **kwargs: Any,
    ) -> None:
        """Marks the chunk's message, if its model is inside a tool."""
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()
        if run_id not in self._messages and isinstance(chunk, ChatGenerationChunk) and chunk.message.id:
            self._messages[run_id] = chunk.message.id
            if run_id in self._inside:
                self.inner_messages.add(chunk.message.id)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Adds the call's usage; a message that did not stream is marked here."""
        self.model_calls += 1
        self._messages.pop(run_id, None)
        for generations in response.generations:
            for generation in generations:
                if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
                    self._note(generation.message, inner=run_id in self._inside)
        self._inside.discard(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Nothing more comes of its message."""
        if (message_id := self._messages.pop(run_id, None)) is not None:
            self.broken_off.add(message_id)

    def _note(self, message: AIMessage, *, inner: bool) -> None:
        if inner and message.id:
            self.inner_messages.add(message.id)
        if message.usage_metadata:
            self.usage = add_usage(self.usage, message.usage_metadata)
            said = message.response_metadata
            model = str(said.get("model_name") or said.get("model") or "unknown")
            self.usage_by_model[model] = add_usage(self.usage_by_model.get(model), message.usage_metadata)

    def _inherit(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        if parent_run_id is not None and (parent_run_id in self._inside or parent_run_id in self._callers.values()):
            self._inside.add(run_id)


def _is_within(task: str, around: str) -> bool:
    """Whether a task is another one, or in it; a graph that keeps a memory of its own names it without the ids."""
    named = NS_SEP.join(part.partition(":")[0] for part in around.split(NS_SEP) if not part.isdigit())
    return task == around or task.startswith((f"{around}{NS_SEP}", f"{named}{NS_SEP}"))
