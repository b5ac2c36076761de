"""Threads: their records, and their state and history as the checkpoints have them."""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from api.errors import BadRequestError, NotFoundError
from api.registry import Registry
from api.schemas import Json, Thread
from api.serde import Fragment
from api.storage.base import Storage


class Threads:
    """The threads of this service.

    Args:
        storage: their records.
        registry: the graphs that read their checkpoints.
        checkpointer: deletes them.
    """

    def __init__(self, storage: Storage, registry: Registry, checkpointer: BaseCheckpointSaver[Any]) -> None:
        self._storage = storage
        self._registry = registry
        self._checkpointer = checkpointer

    async def get(self, thread_id: str) -> Thread:
        """A thread's record.

        Raises:
            NotFoundError: there is none.
        """
        thread = await self._storage.records.get_thread(thread_id)
        if thread is None:
            raise NotFoundError(f"No thread {thread_id!r} here.", field="thread_id")
        return thread

    async def search(self, *, limit: int, offset: int) -> Sequence[Thread]:
        """Threads, newest first."""
        return await self._storage.records.search_threads(limit=limit, offset=offset)

    async def delete(self, thread_id: str) -> None:
        """Deletes a thread with its runs, events and checkpoints.

        Raises:
            NotFoundError: there is none.
            ConflictError: a run of it is under way.
        """
        if not await self._storage.records.delete_thread(thread_id):
            raise NotFoundError(f"No thread {thread_id!r} here.", field="thread_id")
        await self._checkpointer.adelete_thread(thread_id)

    async def state(self, thread_id: str) -> Json:
        """The latest state, in the form of langgraph_sdk's ThreadState.

        Raises:
            NotFoundError: there is no such thread.
            BadRequestError: no graph has run on it yet, or its graph keeps no state.
        """
        thread = await self.get(thread_id)
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        async with self._registry.open(_graph_id(thread), config) as graph:
            return thread_state(await _stateful(graph).aget_state(config))

    async def history(self, thread_id: str, *, limit: int = 10, before: str | None = None) -> list[Json]:
        """States, newest first.

        Args:
            thread_id: the thread.
            limit: how many at most.
            before: a checkpoint's id: only older ones.

        Raises:
            NotFoundError: there is no such thread.
            BadRequestError: no graph has run on it yet, or its graph keeps no state.
        """
        thread = await self.get(thread_id)
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        cursor: RunnableConfig | None = (
            {"configurable": {"thread_id": thread_id, "checkpoint_id": before}} if before else None
        )
        async with self._registry.open(_graph_id(thread), config) as graph:
            history = _stateful(graph).aget_state_history(config, limit=limit, before=cursor)
            return [thread_state(snapshot) async for snapshot in history]


def _graph_id(thread: Thread) -> str:
    graph_id = thread.metadata.get("graph_id")
    if not isinstance(graph_id, str):
        raise BadRequestError("No graph has run on this thread yet.", field="thread_id")
    return graph_id


def _stateful(graph: Any) -> Pregel[Any, Any, Any, Any]:
    if not isinstance(graph, Pregel):
        raise BadRequestError("This agent keeps no state: it is not a graph.", field="thread_id")
    return graph


def thread_record(thread: Thread) -> Json:
    """A thread as langgraph_sdk's Thread."""
    return {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": None if thread.values is None else Fragment(thread.values),
        "interrupts": Fragment(thread.interrupts),
        "error": thread.error,
    }


def thread_state(snapshot: StateSnapshot) -> Json:
    """A state snapshot as langgraph_sdk's ThreadState."""
    checkpoint, parent = _checkpoint(snapshot.config), _checkpoint(snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _task(task: PregelTask) -> Json:
    nested = task.state
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": None if task.error is None else type(task.error).__name__,
        "interrupts": [_interrupt(interrupt) for interrupt in task.interrupts],
        "checkpoint": _checkpoint(nested) if isinstance(nested, dict) else None,
        "state": thread_state(nested) if isinstance(nested, StateSnapshot) else None,
        "result": task.result,
    }


def _interrupt(interrupt: Interrupt) -> Json:
    return {"id": interrupt.id, "value": interrupt.value}


def _checkpoint(config: Any) -> Json | None:
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("thread_id") or not configurable.get("checkpoint_id"):
        return None
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: configurable[name] for name in names if name in configurable}
