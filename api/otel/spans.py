"""Spans: the tree of one attempt of a run, made of what LangChain calls back.

    invoke_agent {graph}              the attempt; its parent is the request that made the run
      node agent
        chat {model}
      node tools
        execute_tool {tool}
          chat {model}                what a tool calls is inside it
    attributes: OpenTelemetry's semantic conventions for GenAI, and `threadline.*`

What models and tools read and wrote is recorded only if `Content` is given.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.errors import GraphBubbleUp
from opentelemetry import context as otel_context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from api.errors import RunError
from api.origins import KEY
from api.otel.content import Content
from api.schemas import EndStatus, Run
from api.tracker import RunTracker

_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
"""LangChain's names of providers that the conventions call otherwise."""

_NODE_TAG = "graph:step:"
"""LangGraph tags a node's own run so, and nothing that runs inside it."""

_TOOL: ContextVar[UUID | None] = ContextVar("threadline_tool", default=None)
"""The tool that runs in this context. A tool with a parameter for the config gets its caller's from LangChain, so what
it starts with that has the caller as its parent, and only the context tells that it is inside."""

Attributes = dict[str, AttributeValue]


class OtelTracing:
    """Traces runs with a tracer.

    Args:
        tracer: makes the spans.
        content: records what models and tools read and wrote; None records none of it.
    """

    def __init__(self, tracer: Tracer, content: Content | None) -> None:
        self._tracer = tracer
        self._content = content
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def attempt(self, run: Run) -> Iterator["AttemptSpans"]:
        """The spans of an attempt; those that are open at its end are ended."""
        parent = self._propagator.extract(run.kwargs.get(KEY, {}), context=otel_context.Context())
        graph_id = run.kwargs["graph_id"]
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": run.assistant_id,
            "gen_ai.agent.name": graph_id,
            "gen_ai.conversation.id": run.thread_id,
            "threadline.run.id": run.run_id,
            "threadline.thread.id": run.thread_id,
            "threadline.assistant.id": run.assistant_id,
            "threadline.run.attempt": run.attempt,
        }
        span = self._tracer.start_span(f"invoke_agent {graph_id}", parent, SpanKind.INTERNAL, attributes)
        token = otel_context.attach(set_span_in_context(span, parent))
        spans = AttemptSpans(self._tracer, span, run, self._content)
        try:
            yield spans
        finally:
            otel_context.detach(token)
            spans.close()


class AttemptSpans(BaseCallbackHandler):
    """Turns the callbacks of one attempt into spans.

    Args:
        tracer: makes the spans.
        root: the attempt's own.
        run: the run.
        content: records contents, if given.
    """

    run_inline = True
    """In the task of what calls back, so that spans which the user's code makes are children of its node or tool."""

    def __init__(self, tracer: Tracer, root: Span, run: Run, content: Content | None) -> None:
        self._tracer = tracer
        self._root = root
        self._conversation = run.thread_id
        self._content = content
        self._status = "released"
        self._failed = False
        self._spans: dict[UUID, Span] = {}
        """The innermost span around each run of LangChain that is under way."""
        self._open: dict[UUID, Span] = {}
        """Of those, the ones that are the run's own."""
        self._callers: dict[UUID, UUID | None] = {}
        """The parent of each tool that runs."""

    @property
    def handlers(self) -> Sequence[BaseCallbackHandler]:
        """Itself, unless the trace is not sampled: then the run need not call back."""
        return (self,) if self._root.is_recording() else ()

    def ended(self, status: EndStatus, error: RunError | None, tracker: RunTracker) -> None:
        """Notes how the attempt ended."""
        self._status = status
        if tracker.usage is not None:
            self._root.set_attributes(_usage(tracker.usage))
        if error is not None and status != "interrupted":
            if not self._failed:
                self._root.set_attribute("error.type", error.code)
            self._root.set_attribute("threadline.error.code", error.code)
            self._root.set_status(Status(StatusCode.ERROR, error.code))

    def close(self) -> None:
        """Ends all that is open, the root last."""
        for span in reversed(list(self._open.values())):
            span.end()
        self._open.clear()
        self._root.set_attribute("threadline.run.status", self._status)
        self._root.end()

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A node has a span; any other chain is passed through."""
        node = (metadata or {}).get("langgraph_node")
        if node is None or not any(tag.startswith(_NODE_TAG) for tag in tags or ()):
            self._spans[run_id] = self._around(parent_run_id)
            return
        attributes: Attributes = {"threadline.node.name": str(node)}
        if isinstance(step := (metadata or {}).get("langgraph_step"), int):
            attributes["threadline.node.step"] = step
        span = self._begin(f"node {node}", run_id, parent_run_id, attributes)
        otel_context.attach(set_span_in_context(span))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the node's span."""
        self._end(run_id)

    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Notes what a node, or the run itself, raised."""
        if parent_run_id is None and not isinstance(error, GraphBubbleUp):
            self._failed = True
            self._root.set_attribute("error.type", _error_type(error))
        self._fail(run_id, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begins a model's span."""
        span = self._begin_model("chat", run_id, parent_run_id, metadata, kwargs)
        if self._content is not None:
            self._content.read(span, [message for batch in messages for message in batch])

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begins the span of a model that completes text."""
        self._begin_model("text_completion", run_id, parent_run_id, metadata, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Notes what the model said of its answer, and ends its span."""
        span = self._open.get(run_id)
        message = _message(response)
        if span is not None and message is not None:
            span.set_attributes(_answered(message))
            if self._content is not None:
                self._content.wrote(span, message)
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Notes what failed."""
        self._fail(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Begins a tool's span."""
        name = kwargs.get("name") or (serialized or {}).get("name") or "tool"
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
        }
        if tool_call_id:
            attributes["gen_ai.tool.call.id"] = tool_call_id
        span = self._begin(f"execute_tool {name}", run_id, parent_run_id, attributes)
        if self._content is not None:
            self._content.called(span, input_str if inputs is None else inputs)
        self._callers[run_id] = parent_run_id
        _TOOL.set(run_id)
        otel_context.attach(set_span_in_context(span))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the tool's span; an error that the tool tells the model is one here too."""
        self._callers.pop(run_id, None)
        span = self._open.get(run_id)
        if span is not None and isinstance(output, ToolMessage):
            span.set_attribute("gen_ai.tool.call.id", output.tool_call_id)
            if output.status == "error":
                span.set_attribute("error.type", "ToolException")
                span.set_status(StatusCode.ERROR)
        if span is not None and self._content is not None:
            self._content.returned(span, output.content if isinstance(output, ToolMessage) else output)
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Notes what the tool raised."""
        self._callers.pop(run_id, None)
        self._fail(run_id, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Begins a retriever's span."""
        name = kwargs.get("name") or (serialized or {}).get("name") or "retriever"
        span = self._begin(f"retrieval {name}", run_id, parent_run_id, {"gen_ai.operation.name": "retrieval"})
        if self._content is not None:
            self._content.asked(span, query)

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """Ends it."""
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Notes what failed."""
        self._fail(run_id, error)

    def _begin_model(
        self,
        operation: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any] | None,
        kwargs: Mapping[str, Any],
    ) -> Span:
        known, params = metadata or {}, kwargs.get("invocation_params") or {}
        model = known.get("ls_model_name") or params.get("model") or params.get("model_name")
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.conversation.id": self._conversation,
        }
        if provider := known.get("ls_provider"):
            attributes["gen_ai.provider.name"] = _PROVIDERS.get(provider, str(provider))
        if model:
            attributes["gen_ai.request.model"] = str(model)
        for name, key in (("temperature", "ls_temperature"), ("max_tokens", "ls_max_tokens")):
            if isinstance(value := known.get(key), int | float):
                attributes[f"gen_ai.request.{name}"] = value
        return self._begin(f"{operation} {model}" if model else operation, run_id, parent_run_id, attributes)

    def _around(self, parent_run_id: UUID | None) -> Span:
        tool = _TOOL.get()
        if tool is not None and tool in self._callers and self._callers[tool] == parent_run_id:
            return self._spans[tool]
        return self._root if parent_run_id is None else self._spans.get(parent_run_id, self._root)

    def _begin(self, name: str, run_id: UUID, parent_run_id: UUID | None, attributes: Attributes) -> Span:
        parent = set_span_in_context(self._around(parent_run_id))
        kind = SpanKind.CLIENT if "gen_ai.conversation.id" in attributes else SpanKind.INTERNAL
        span = self._tracer.start_span(name, parent, kind, attributes)
        self._spans[run_id] = self._open[run_id] = span
        return span

    def _end(self, run_id: UUID) -> None:
        self._spans.pop(run_id, None)
        if (span := self._open.pop(run_id, None)) is not None:
            span.end()

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        """Its type alone: what an exception says may quote what is not to be recorded."""
        if (span := self._open.get(run_id)) is not None:
            if isinstance(error, GraphBubbleUp):
                span.set_attribute("threadline.interrupted", value=True)
                self._root.set_attribute("threadline.interrupted", value=True)
            else:
                span.set_attribute("error.type", _error_type(error))
                span.set_status(StatusCode.ERROR)
        self._end(run_id)


def _error_type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(response: LLMResult) -> AIMessage | None:
    for generations in response.generations:
        for generation in generations:
            if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
                return generation.message
    return None


def _answered(message: AIMessage) -> Attributes:
    said = message.response_metadata
    attributes: Attributes = {}
    if model := said.get("model_name") or said.get("model"):
        attributes["gen_ai.response.model"] = str(model)
    if reason := said.get("finish_reason") or said.get("stop_reason"):
        attributes["gen_ai.response.finish_reasons"] = [str(reason)]
    if response_id := said.get("id"):
        attributes["gen_ai.response.id"] = str(response_id)
    return attributes | (_usage(message.usage_metadata) if message.usage_metadata else {})


def _usage(usage: Mapping[str, Any]) -> Attributes:
    attributes: Attributes = {
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["output_tokens"],
    }
    if isinstance(cached := (usage.get("input_token_details") or {}).get("cache_read"), int):
        attributes["gen_ai.usage.cache_read.input_tokens"] = cached
    if isinstance(reasoning := (usage.get("output_token_details") or {}).get("reasoning"), int):
        attributes["gen_ai.usage.reasoning.output_tokens"] = reasoning
    return attributes
