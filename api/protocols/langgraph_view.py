"""A native run as readers of the LangGraph API see it: its events folded into metadata, messages, custom and values.

    run, tool_call, tool_result, token, custom, interrupt, error, end ──feed──> entries in the reference's names

The messages carry ids of this view, as the native log has none; the values at the end hold the real ones.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk

from api.errors import RunError
from api.events import END, Entry, Event, entry
from api.protocols.langgraph import error_payload
from api.schemas import Json, Run
from api.serde import dumps, loads


class LangGraphView:
    """Folds the log of a run of the native API, from its first event on.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._metadata = {
            "run_id": run.run_id,
            "thread_id": run.thread_id,
            "assistant_id": run.assistant_id,
            "graph_id": run.kwargs.get("graph_id"),
        }
        self._messages = 0
        self._text: str | None = None
        """The id of the message whose text is coming."""
        self._interrupts: list[Json] = []
        self._answer: Any = None

    def feed(self, event: Event, values: Any = None) -> Iterator[Entry]:
        """What one event of the log becomes.

        Args:
            event: the next one.
            values: the state that the run left, for the event that ends it; None if it left none.
        """
        if event.kind == END:
            if loads(event.data)["status"] == "success":
                yield from self._end(values)
            yield Entry(END, event.data)
            return
        if self._run.kwargs["source"] == "events" and event.kind.startswith("on_"):
            yield Entry("events", event.data)
            return
        yield from self._native(event.kind, loads(event.data))

    def _native(self, kind: str, payload: Mapping[str, Any]) -> Iterator[Entry]:
        match kind:
            case "run":
                yield entry("metadata", {"run_id": payload["run_id"], "attempt": payload.get("attempt", 1)})
            case "token":
                self._text = self._text or self._next_id()
                yield self._message(AIMessageChunk(content=payload["text"], id=self._text))
            case "reasoning":
                self._text = self._text or self._next_id()
                thought = {"reasoning_content": payload["text"]}
                yield self._message(AIMessageChunk(content="", additional_kwargs=thought, id=self._text))
            case "tool_call":
                yield self._message(_calling(payload, self._next_id()))
            case "tool_result":
                yield self._message(_result(payload, self._next_id()))
            case "custom" if _is_written(payload):
                yield entry("custom", payload["data"])
            case "interrupt":
                self._interrupts.append({"value": payload["value"], "id": payload["id"]})
            case "answer":
                self._answer = payload["answer"]
            case "error" if payload["code"] != "cancelled":
                yield entry("error", error_payload(RunError(payload["code"], payload["message"])))

    def _end(self, values: Any) -> Iterator[Entry]:
        """The last values, with what the run waits for."""
        if self._interrupts:
            yield entry(
                "values", {**(values if isinstance(values, Mapping) else {}), "__interrupt__": self._interrupts}
            )
        elif values is not None:
            yield entry("values", values)
        elif self._answer is not None:
            yield entry("values", self._answer)

    def _message(self, message: BaseMessage) -> Entry:
        return Entry("messages", dumps([message, self._metadata]))

    def _next_id(self) -> str:
        self._messages += 1
        self._text = None
        return f"{self._run.run_id}-{self._messages}"


def _is_written(custom: Mapping[str, Any]) -> bool:
    """Whether a stream writer wrote it: LangGraph's mode `custom` shows nothing that LangChain dispatches."""
    data = custom["data"]
    return bool(custom["name"] == (data.get("name") if isinstance(data, Mapping) else None) or custom["name"] is None)


def _calling(payload: Mapping[str, Any], message_id: str) -> AIMessageChunk:
    name, call_id, args = payload["name"], payload["id"], payload["args"]
    fragment = tool_call_chunk(name=name, args=dumps(args).decode(), id=call_id, index=0)
    return AIMessageChunk(
        content="", id=message_id, tool_calls=[tool_call(name=name, args=args, id=call_id)], tool_call_chunks=[fragment]
    )


def _result(payload: Mapping[str, Any], message_id: str) -> ToolMessage:
    return ToolMessage(
        payload["content"], tool_call_id=payload["id"], name=payload["name"], status=payload["status"], id=message_id
    )
