"""States: what the checkpoints of a thread hold, now and in the past, read and changed through its graph.

thread's record ──graph_id──> Registry ──> aget_state, aget_state_history, aupdate_state ──> langgraph_sdk's ThreadState
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import EmptyInputError, InvalidUpdateError
from langgraph.types import Interrupt, PregelTask, StateSnapshot, StateUpdate
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.access_filter import AccessFilter, permits
from api.configs import Filter, merged, place
from api.errors import AnswerTooLargeError, BadRequestError, ConflictError, NotFoundError
from api.factories import Purpose
from api.protocols.langgraph import RunCommand
from api.redaction import redacted
from api.registry import AnyGraph, Registry
from api.schemas import Json, Run, Thread
from api.serde import Fragment, dumps, task_error
from api.storage.base import Storage


class _Body(BaseModel):
    """A request's body: strict, as 1 is not "1", and with room for keys that are not known."""

    model_config = ConfigDict(strict=True)


class CheckpointConfig(_Body):
    """Where a state is: the names of langgraph_sdk's Checkpoint; others are left out."""

    thread_id: str = ""
    checkpoint_ns: str = ""
    checkpoint_id: str = ""
    checkpoint_map: Json = {}

    def given(self) -> Json:
        """What the client gave, and no defaults."""
        return self.model_dump(exclude_unset=True)


class StateRequest(_Body):
    """Which state; `select` as StateSearch has it."""

    checkpoint: CheckpointConfig
    subgraphs: bool = False
    select: list[str] = []


class StateSearch(_Body):
    """Which states of a thread.

    `select` names parts of the states, or `values.<key>`; all of them if it is empty.
    """

    limit: int = Field(default=1, ge=1, le=1000)
    before: CheckpointConfig = CheckpointConfig()
    metadata: Filter = {}
    checkpoint: CheckpointConfig = CheckpointConfig()
    select: list[str] = []

    @field_validator("before", mode="before")
    @classmethod
    def _of_config(cls, value: Any) -> Any:
        """A checkpoint, or a config that holds one, as langgraph_sdk's callers give either."""
        return value.get("configurable", value) if isinstance(value, dict) else value


class StateChange(_Body):
    """An update of the state, as if a node had just returned it; `__copy__` forks the checkpoint."""

    values: Json | list[Any] | None = None
    as_node: str = ""
    checkpoint: CheckpointConfig = CheckpointConfig()
    checkpoint_id: str = ""


class SuperstepUpdate(_Body):
    """What one node did in a superstep."""

    values: Json | list[Json] | None = None
    command: RunCommand | None = None
    as_node: str


class Superstep(_Body):
    """What happened in one step: updates of one node or several."""

    updates: list[SuperstepUpdate]


class States:
    """The states of threads.

    Args:
        storage: the threads' records, which hold a copy of the latest state.
        registry: the graphs.
        max_bytes: of the states that one answer holds.
    """

    def __init__(self, storage: Storage, registry: Registry, *, max_bytes: int = 64 << 20) -> None:
        self._storage = storage
        self._registry = registry
        self._max_bytes = max_bytes

    async def get(
        self,
        thread_id: str,
        checkpoint: Json | None = None,
        *,
        subgraphs: bool = False,
        access: AccessFilter | None = None,
    ) -> Json:
        """A state in the form of langgraph_sdk's ThreadState; an empty one if no graph has run on the thread yet.

        Args:
            thread_id: the thread.
            checkpoint: the latest if it names none.
            subgraphs: with the states of the graphs inside, in place of where they are.
            access: matches the thread's metadata; a thread that it does not match is not found.

        Raises:
            NotFoundError: no such thread, or its graph is no longer served.
            BadRequestError: the graph refuses.
        """
        thread = await self._thread(thread_id, access)
        config: RunnableConfig = {"configurable": {**place(checkpoint or {}), "thread_id": thread_id}}
        async with self._open(thread, config) as graph:
            if graph is None:
                return thread_state(_nothing())
            with _refusals():
                return thread_state(await graph.aget_state(config, subgraphs=subgraphs))

    async def history(
        self,
        thread_id: str,
        *,
        limit: int = 1,
        before: Json | None = None,
        metadata: Json | None = None,
        checkpoint: Json | None = None,
        select: Sequence[str] = (),
        access: AccessFilter | None = None,
    ) -> list[Fragment]:
        """States as JSON, newest first.

        Args:
            thread_id: the thread.
            limit: how many at most.
            before: a checkpoint: only older ones.
            metadata: only those of checkpoints with this metadata.
            checkpoint: only this one, or only those of a subgraph's namespace.
            select: parts of them, as `selected` has it.
            access: as for `get`.

        Raises:
            NotFoundError: no such thread, or its graph is no longer served.
            BadRequestError: the graph, or what keeps the checkpoints, refuses.
            AnswerTooLargeError: together they are too large.
        """
        thread = await self._thread(thread_id, access)
        settings = {"checkpoint_ns": "", **place(checkpoint or {}), "thread_id": thread_id}
        config: RunnableConfig = {"configurable": settings}
        async with self._open(thread, config) as graph:
            if graph is None or limit <= 0:
                return []
            with _refusals():
                found = graph.aget_state_history(config, limit=limit, before=_cursor(before), filter=metadata or None)
                return await self._encoded(found, select)

    async def _encoded(self, found: AsyncIterator[StateSnapshot], select: Sequence[str]) -> list[Fragment]:
        states, size = [], 0
        async for snapshot in found:
            states.append(dumps(selected(thread_state(snapshot), select)))
            size += len(states[-1])
            if size > self._max_bytes:
                raise AnswerTooLargeError(self._max_bytes)
        return [Fragment(state) for state in states]

    async def left_by(self, run: Run) -> Any:
        """The values that a run left behind; None if its graph keeps none, or they are gone."""
        settings = (run.kwargs.get("config") or {}).get("configurable", {})
        config: RunnableConfig = {"configurable": {**settings, "thread_id": run.thread_id, "checkpoint_ns": ""}}
        try:
            async with self._registry.open(run.kwargs["graph_id"], config, purpose="threads.read") as graph:
                if not graph.checkpointer:
                    return None
                found = graph.aget_state_history(config, limit=1, filter={"run_id": run.run_id})
                snapshots = [snapshot async for snapshot in found]
        except NotFoundError:  # the graph is no longer served
            return None
        return snapshots[0].values if snapshots else None

    async def update(self, thread_id: str, change: StateChange, *, access: AccessFilter | None = None) -> Json:
        """Changes the state; the record then holds the new one.

        Returns:
            The new checkpoint: `{"checkpoint", "configurable", "checkpoint_id"}`.

        Raises:
            NotFoundError: no such thread, or its graph is no longer served.
            ConflictError: a run of it is under way.
            BadRequestError: no graph has run on the thread yet; or the graph refuses the update.
        """
        thread = await self._thread(thread_id, access)
        await self._check_idle(thread_id)
        named = {"checkpoint_id": change.checkpoint_id} if change.checkpoint_id else {}
        config = self._place(thread, named | change.checkpoint.given())
        async with self._open(thread, config, "threads.update") as graph:
            if graph is None:
                raise _unchangeable(thread)
            with _refusals():
                changed = await graph.aupdate_state(config, change.values, as_node=change.as_node or None)
            await self._record(graph, thread)
        checkpoint = changed["configurable"]
        return {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}

    async def apply(self, thread_id: str, supersteps: Sequence[Superstep]) -> Thread:
        """Adds steps to the state, as if they had been run; the thread's record then holds the new one.

        Raises:
            NotFoundError: no such thread, or its graph is no longer served.
            ConflictError: a run of it is under way.
            BadRequestError: the thread names no graph; or the graph refuses the updates.
        """
        thread = await self._thread(thread_id)
        await self._check_idle(thread_id)
        config = self._place(thread, {})
        steps = [[_update(update) for update in step.updates] for step in supersteps]
        async with self._open(thread, config, "threads.update") as graph:
            if graph is None:
                raise _unchangeable(thread)
            with _refusals():
                await graph.abulk_update_state(config, steps)
            return await self._record(graph, thread)

    def check_graph(self, thread: Thread) -> str:
        """The graph that the thread's state belongs to.

        Raises:
            BadRequestError: there is none yet.
            NotFoundError: it is no longer served.
        """
        graph_id = thread.metadata.get("graph_id")
        if not graph_id:
            raise _unchangeable(thread)
        if graph_id not in self._registry.entries:
            known = sorted(self._registry.entries)
            raise NotFoundError(f"Graph '{graph_id}' not found. Expected one of: {known}", field="graph_id")
        return str(graph_id)

    async def _thread(self, thread_id: str, access: AccessFilter | None = None) -> Thread:
        thread = await self._storage.records.get_thread(thread_id)
        if thread is None or not permits(access, thread.metadata):
            raise no_thread(thread_id)
        return thread

    async def _check_idle(self, thread_id: str) -> None:
        if active := await self._storage.records.active_runs(thread_id):
            runs = [run.run_id for run in active]
            raise ConflictError(f"Thread {thread_id} has in-flight runs: {runs}", field="thread_id")

    def _place(self, thread: Thread, checkpoint: Json) -> RunnableConfig:
        settings = {"checkpoint_ns": "", **place(checkpoint), "thread_id": thread.thread_id}
        if graph_id := thread.metadata.get("graph_id"):
            settings.setdefault("graph_id", graph_id)
        return {"configurable": settings}

    @contextlib.asynccontextmanager
    async def _open(
        self, thread: Thread, config: RunnableConfig, purpose: Purpose = "threads.read"
    ) -> AsyncIterator[AnyGraph | None]:
        """The thread's graph; None if there is none yet."""
        if not thread.metadata.get("graph_id"):
            yield None
            return
        whole = merged(thread.config, {"configurable": config["configurable"]})
        settings: RunnableConfig = {"configurable": whole["configurable"]}
        async with self._registry.open(self.check_graph(thread), settings, purpose=purpose) as graph:
            yield graph

    async def _record(self, graph: AnyGraph, thread: Thread) -> Thread:
        """Copies the latest state to the thread's record."""
        snapshot = await graph.aget_state({"configurable": {"thread_id": thread.thread_id}})
        changed = await self._storage.records.set_thread_state(
            thread.thread_id,
            status="interrupted" if snapshot.next else "idle",
            values=dumps(snapshot.values),
            interrupts=dumps(thread_interrupts(snapshot)),
            event=dumps({"state": thread_state(snapshot), "thread_id": thread.thread_id}),
        )
        if changed is None:
            raise no_thread(thread.thread_id)
        return changed


def no_thread(thread_id: str) -> NotFoundError:
    """There is no thread of that id."""
    return NotFoundError(f"Thread with ID {thread_id} not found", field="thread_id")


def thread_state(snapshot: StateSnapshot) -> Json:
    """A state snapshot as langgraph_sdk's ThreadState."""
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": _checkpoint(snapshot.config),
        "parent_checkpoint": _checkpoint(snapshot.parent_config),
        "interrupts": [_interrupt(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": _checkpoint_id(snapshot.config),
        "parent_checkpoint_id": _checkpoint_id(snapshot.parent_config),
    }


def thread_interrupts(snapshot: StateSnapshot) -> Json:
    """The interrupts that wait for an answer, by task id."""
    return {task.id: [_interrupt(each) for each in task.interrupts] for task in snapshot.tasks if task.interrupts}


def selected(state: Json, select: Sequence[str]) -> Json:
    """Parts of a state: its top-level keys, or single values as `values.<key>`; all of it if none is named."""
    if not select:
        return state
    parts = {name: state[name] for name in state if name in select}
    keys = [name.removeprefix("values.") for name in select if name.startswith("values.")]
    if keys and "values" not in parts:
        values = state["values"]
        parts["values"] = {key: values[key] for key in keys if isinstance(values, dict) and key in values}
    return parts


def _nothing() -> StateSnapshot:
    config: Any = None
    return StateSnapshot(
        values={}, next=(), config=config, metadata=None, created_at=None, parent_config=None, tasks=(), interrupts=()
    )


def _task(task: PregelTask) -> Json:
    nested = task.state
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": task_error(task.error),
        "interrupts": [_interrupt(interrupt) for interrupt in task.interrupts],
        "checkpoint": nested["configurable"] if isinstance(nested, dict) else None,
        "state": thread_state(nested) if isinstance(nested, StateSnapshot) else None,
        "result": task.result,
    }


def _interrupt(interrupt: Interrupt) -> Json:
    record: Json = {"id": interrupt.id, "value": interrupt.value}
    if interrupt.response_schema is not None:
        record["response_schema"] = interrupt.response_schema
    return record


def _checkpoint(config: RunnableConfig | None) -> Json | None:
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("thread_id") or not configurable.get("checkpoint_id"):
        return None
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: configurable[name] for name in names if name in configurable}


def _checkpoint_id(config: RunnableConfig | None) -> Any:
    return ((config or {}).get("configurable") or {}).get("checkpoint_id")


def _cursor(before: Json | None) -> RunnableConfig | None:
    return {"configurable": before} if before else None


def _update(update: SuperstepUpdate) -> StateUpdate:
    values: Any = update.command.build() if update.command is not None else update.values
    return StateUpdate(values, update.as_node)


def _unchangeable(thread: Thread) -> BadRequestError:
    return BadRequestError(
        f"Thread '{thread.thread_id}' has no assigned graph ID. This usually occurs when no runs have been made on "
        "this particular thread. This operation requires a graph ID. Please ensure a run has been made for the thread "
        "or manually update the thread metadata (by setting the 'graph_id' field) before running this operation.",
        field="thread_id",
    )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What the graph does not accept is the caller's mistake, and is told in the graph's words."""
    try:
        yield
    except (InvalidUpdateError, EmptyInputError, ValueError) as exc:
        raise BadRequestError(redacted(str(exc))) from exc
