"""The executor: runs one attempt of a run and is the only writer of its events.

claimed run ──> sources.entries ──> EventLog.append
                                └──> RunQueue.finish, then the terminal event
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, get_type_hints

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command, StateSnapshot

from api import sources
from api.callers import of_graph
from api.containment import contained, held, unescaped
from api.errors import FactoryError, FencedError, RunError, StorageError, is_passing, run_error
from api.events import Entry, end
from api.logs import logged
from api.metrics import Metrics
from api.native_inputs import UNFITTED, fitted
from api.origins import KEY as ORIGIN
from api.protocols.langgraph import LANGGRAPH, RunCommand, error_payload
from api.protocols.native import NativeFold
from api.registry import AnyGraph, Registry
from api.schemas import Delivery, EndStatus, Json, Outcome, Run, ThreadStatus
from api.serde import dumps
from api.settings import Settings
from api.states import thread_interrupts
from api.storage.base import EventLog, RunQueue
from api.tracing import Tracing, Untraced
from api.tracker import RunTracker

logger = logging.getLogger(__name__)

_LONGEST_LAG = 0.005
"""Seconds that a run which only appends may be ahead of its readers."""

_RETRY_SECONDS = 1.0
"""After an attempt to end a run failed; or after the storage could not do its work for one, and then twice as long."""
_LONGEST_PAUSE = 10.0
_TRIES = 3
"""To end a run, while the storage works."""
_STATE_SECONDS = 30.0
"""That the state of a thread may take to be read at a run's end: a factory of the user's may open it."""

T = TypeVar("T")

OnEnd = Callable[[Run], Awaitable[None]]
"""Told of a run that has ended."""

Notice = Callable[[Run, Outcome, datetime], Delivery | None]
"""Makes the call that tells how a run ended, and when its attempt began; kept with the end itself."""

CallbackFactory = Callable[[Run], Iterable[BaseCallbackHandler]]
"""Makes handlers for a run; an embedder gives one to `create_app`."""


class Cancelled(Exception):  # noqa: N818  # an outcome, not a failure
    """A client cancelled the run."""


class Drained(Exception):  # noqa: N818  # an outcome, not a failure
    """The graph stopped after a superstep, as it was asked to: another attempt goes on from there."""


class Stalled(Exception):  # noqa: N818  # an outcome, not a failure
    """The storage could not do its work meanwhile: another attempt goes on from the last checkpoint."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """What one attempt carries along."""

    run: Run
    fold: sources.Fold
    tracker: RunTracker
    graph: AnyGraph | None = None
    """What runs, once it is open."""
    handlers: Sequence[BaseCallbackHandler] = ()
    """Called back besides the tracker."""
    control: RunControl = field(default_factory=RunControl)
    """Asks the graph to stop after the superstep that is under way."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    events: int = 0
    """The seq of the last event appended."""
    bytes: int = 0
    """Of the events appended."""
    flush_at: float = 0.0
    """When what was appended is to be visible at the latest, on `time.perf_counter`'s clock."""


class Executor:
    """Executes runs.

    Args:
        registry: where graphs come from.
        queue: told how each run ended.
        log: written to.
        settings: limits.
        metrics: counts what happens.
        callbacks: makes further handlers for each run.
        notice: makes the call of a run's webhook, which is kept with its end.
        on_end: told of each run that has ended, after its terminal event.
        tracing: traces each attempt.
    """

    def __init__(
        self,
        registry: Registry,
        queue: RunQueue,
        log: EventLog,
        settings: Settings,
        metrics: Metrics,
        callbacks: CallbackFactory | None = None,
        notice: Notice = lambda *_: None,
        on_end: OnEnd | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._registry = registry
        self._queue = queue
        self._log = log
        self._settings = settings
        self._metrics = metrics
        self._callbacks = callbacks
        self._notice = notice
        self._on_end = on_end
        self._tracing = tracing or Untraced()
        self._attempts: set[_Attempt] = set()
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Asks every graph that keeps checkpoints to stop after its superstep; its run goes back to the queue.

        Others, and a superstep that takes long, go on until their task is cancelled.
        """
        self._draining.set()
        for attempt in self._attempts:
            attempt.control.request_drain()

    async def execute(self, run: Run) -> None:
        """Runs one attempt to its end: exactly one terminal event, whatever fails.

        Raises:
            asyncio.CancelledError: the task was cancelled and no client asked for that: the run is given back to the
                queue, for another attempt to go on from its last checkpoint.
            ThreadlineError: the storage fails, and the server ends or not even the last resort can end the run.
        """
        with logged(**_log_fields(run)), contained():
            await self._ended(run, held(self._execute(run)))

    async def _execute(self, run: Run) -> None:
        tracker = RunTracker()
        attempt = _Attempt(run, sources.fold_of(run, tracker), tracker)
        self._attempts.add(attempt)
        if self._draining.is_set():
            attempt.control.request_drain()
        try:
            with self._metrics.running(run) as measured, self._tracing.attempt(run) as trace:
                attempt.handlers = trace.handlers
                status, error = await self._attempt(attempt)
                trace.ended(status, error, tracker)
                measured.status = status
                measured.first_token_at = tracker.first_token_at
                measured.usage = tracker.usage_by_model
                await _unbroken(self._finish(attempt, status, error))
        except Drained:
            await self._give_back(run)
        except Stalled as exc:
            logger.warning("run %s goes on when the storage works again: %s", run.run_id, exc.__cause__)
            await _unbroken(self._give_back_later(run))
        except asyncio.CancelledError:
            await self._give_back(run)
            raise
        finally:
            self._attempts.discard(attempt)
            await self._log.close_run(run.run_id)

    async def _ended(self, run: Run, ending: Coroutine[Any, Any, None]) -> None:
        """Awaits what ends the run, and sees to it that it ends when that fails.

        Raises:
            ThreadlineError: the storage fails.
        """
        try:
            await ending
        except FencedError:
            logger.warning("run %s: attempt %d was replaced by another", run.run_id, run.attempt)
        except Exception as exc:  # noqa: BLE001  # logged there
            await _unbroken(self._end_anyway(run, exc))

    async def _end_anyway(self, run: Run, failure: Exception) -> None:
        if is_passing(failure):
            raise failure
        logger.error("run %s: its ending failed", run.run_id, exc_info=failure)
        await self._last_resort(run)

    async def _last_resort(self, run: Run) -> None:
        """Ends the run as a failed one, with no more than its row and its terminal event."""
        error = RunError("internal_error", "The server failed to end the run as it should.")
        payload = dumps(error_payload(error)).decode()
        outcome = Outcome(status="error", thread_status="error", error=payload)
        try:
            outcome.delivery = self._notice(run, outcome, datetime.now(UTC))
        except Exception:
            logger.exception("run %s: its webhook is not called", run.run_id)
        with contextlib.suppress(FencedError):
            last = await self._last_seq(run)
            await self._surely(run, lambda: self._queue.finish(run.run_id, run.attempt, outcome, events=last + 1))
            await self._log_surely(run, [end("error")])
            await self._tell(run)
        await self._log.close_run(run.run_id)

    async def _last_seq(self, run: Run) -> int:
        try:
            return await self._log_surely(run, ())
        except FencedError:
            raise
        except Exception:
            logger.exception("run %s: its last events are lost", run.run_id)
            return await self._log.last_seq(run.run_id)

    async def _give_back(self, run: Run) -> None:
        """To the queue, with all that it has logged: the next attempt, of whichever process, counts on from there."""
        with contextlib.suppress(FencedError):
            await self._log.flush(run.run_id)
        await self._queue.release(run.run_id, run.attempt)

    async def _give_back_later(self, run: Run) -> None:
        """Likewise, once the storage works again, after a pause that grows with the attempts.

        Raises:
            StorageError: the server ends before.
        """
        await self._pause(min(_RETRY_SECONDS * 2 ** _cut_short(run), _LONGEST_PAUSE))
        with contextlib.suppress(FencedError):
            await self._surely(run, lambda: self._log.flush(run.run_id))
        await self._surely(run, lambda: self._queue.release(run.run_id, run.attempt))

    async def _pause(self, seconds: float) -> None:
        """Waits, but no longer than the server lives."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    async def abandon(self, run: Run) -> None:
        """Ends a run that never started, because it was cancelled before.

        Raises:
            FencedError: it has started or ended meanwhile.
        """
        attempt = _Attempt(run, sources.fold_of(run, RunTracker()), RunTracker())
        try:
            await self._finish(attempt, "interrupted", _CANCELLED)
        except FencedError:
            raise
        except Exception as exc:  # noqa: BLE001  # logged there
            await self._end_anyway(run, exc)
        await self._log.close_run(run.run_id)

    async def _attempt(self, attempt: _Attempt) -> tuple[EndStatus, RunError | None]:
        try:
            if attempt.run.cancel is not None:
                raise Cancelled
            if (cut := _cut_short(attempt.run)) >= self._settings.max_attempts:
                raise RunError("too_many_attempts", f"{cut} attempts of the run were cut short.")
            async with asyncio.timeout(self._settings.run_timeout) as deadline:
                await held(self._drive(attempt))
        except FencedError:
            raise
        except GraphDrained as exc:
            raise Drained from exc
        except asyncio.CancelledError:
            if attempt.run.cancel is None:
                raise
            _uncancel()
            return "interrupted", _CANCELLED
        except Cancelled:
            return "interrupted", _CANCELLED
        except TimeoutError as exc:
            if not deadline.expired():
                return self._failed(attempt, exc)
            return "timeout", RunError("timeout", f"The run took longer than {self._settings.run_timeout:g} s.")
        except Exception as exc:
            if is_passing(exc):
                raise Stalled from exc
            return self._failed(attempt, exc)
        return "success", None

    def _failed(self, attempt: _Attempt, exc: BaseException) -> tuple[EndStatus, RunError]:
        error = run_error(unescaped(exc))
        logger.error("run %s failed: %s", attempt.run.run_id, error.code, exc_info=exc)
        return "error", error

    async def _drive(self, attempt: _Attempt) -> None:
        run, fold = attempt.run, attempt.fold
        config = self._config(run, attempt.tracker, attempt.handlers)
        await self._append(attempt, fold.begin(run))
        # Readers hear of it now: what the graph does before its first wait takes a while.
        await asyncio.sleep(0)
        async with self._open(run, config) as graph:
            attempt.graph = graph
            attempt.tracker.routers = sources.routers(graph)
            if UNFITTED in run.kwargs:
                # In place: the worker marks this very run when it is cancelled.
                run.kwargs = fitted(graph, run.kwargs)
            graph_input = await _graph_input(graph, run, config)
            options = _options(attempt, graph)
            config = _fitted(config, run, options.get("context"))
            async with aclosing(sources.entries(fold, graph, graph_input, config, options)) as parts:
                async for part in parts:
                    await self._append(attempt, part)
            if isinstance(fold, NativeFold):
                await self._append(attempt, fold.finish(attempt.tracker.usage))

    def _open(self, run: Run, config: RunnableConfig) -> AbstractAsyncContextManager[AnyGraph]:
        return self._registry.open(
            run.kwargs["graph_id"],
            config,
            purpose="threads.create_run",
            context=run.kwargs.get("context") or (run.kwargs.get(UNFITTED) or {}).get("context"),
            stateless=_temporary(run),
        )

    async def _append(self, attempt: _Attempt, entries: Iterable[Entry]) -> None:
        batch = list(entries)
        if not batch:
            return
        if attempt.run.cancel is not None:
            raise Cancelled  # the graph's code swallowed the cancellation
        for item in batch:
            if len(item.data) > self._settings.max_event_bytes:
                raise RunError("event_too_large", f"An event is larger than {self._settings.max_event_bytes} bytes.")
        if attempt.events + len(batch) > self._settings.max_run_events:
            raise RunError("too_many_events", f"The run has more than {self._settings.max_run_events} events.")
        attempt.bytes += sum(len(item.data) for item in batch)
        if attempt.bytes > self._settings.max_run_bytes:
            raise RunError("run_too_large", f"The run's events have more than {self._settings.max_run_bytes} bytes.")
        attempt.events = await self._log.append(attempt.run.run_id, attempt.run.attempt, batch)
        if time.perf_counter() > attempt.flush_at:
            # A graph that never waits would keep the log's thread from the interpreter, and its readers from the loop.
            await self._log.flush(attempt.run.run_id)
            attempt.flush_at = time.perf_counter() + _LONGEST_LAG

    async def _finish(self, attempt: _Attempt, status: EndStatus, error: RunError | None) -> None:
        """The row first, then the terminal event: whoever sees that event finds the thread free."""
        run = attempt.run
        closing = list(attempt.fold.end(status, error))
        logged = await self._log_surely(run, closing[:-1])
        if run.cancel == "rollback" and (checkpointer := self._registry.checkpointer) is not None:
            await self._surely(run, lambda: checkpointer.adelete_for_runs([run.run_id]))
        outcome = await self._outcome(attempt, status, error)
        outcome.delivery = self._notice(run, outcome, attempt.started_at)
        await self._surely(run, lambda: self._queue.finish(run.run_id, run.attempt, outcome, events=logged + 1))
        await self._log_surely(run, closing[-1:])
        await self._tell(run)

    async def _tell(self, run: Run) -> None:
        """Tells who wants to know; the run has ended, whatever they make of it."""
        if self._on_end is None:
            return
        try:
            await self._on_end(run)
        except Exception:
            logger.exception("run %s: not all has been done that follows its end", run.run_id)

    async def _log_surely(self, run: Run, entries: Sequence[Entry]) -> int:
        """Appends and makes durable; the seq of the last event."""
        # Opens the log for this attempt, whoever wrote it before; then an append fails only after it took the entries.
        await self._surely(run, lambda: self._log.append(run.run_id, run.attempt, ()))
        with contextlib.suppress(StorageError):
            await self._log.append(run.run_id, run.attempt, entries)
        return await self._surely(run, lambda: self._log.flush(run.run_id))

    async def _surely(self, run: Run, act: Callable[[], Awaitable[T]]) -> T:
        """Does what ends a run; if it fails, again after a pause: until it works if the storage cannot do it now, whose
        disk may be full; for another reason a few times.

        Raises:
            StorageError: the server ends before it worked: the run goes on after the next start.
            Exception: it failed again and again.
        """
        tries = 0
        while True:
            try:
                return await act()
            except FencedError:
                raise
            except Exception as exc:
                tries += not is_passing(exc)
                if tries == _TRIES or self._draining.is_set():
                    raise
                logger.error("run %s cannot be ended now: %s", run.run_id, exc)
            await self._pause(_RETRY_SECONDS)

    async def _outcome(self, attempt: _Attempt, status: EndStatus, error: RunError | None) -> Outcome:
        fold = attempt.fold
        values, interrupts, waiting = fold.values, dict[str, Any](), False
        if status != "success" or getattr(fold, "interrupted", False) or sources.leaves_out(fold, attempt.graph):
            # A factory that failed for the run is not asked again.
            failed = error is not None and isinstance(error.cause, FactoryError)
            snapshot = None if failed else await self._snapshot(attempt)
            if snapshot is not None and snapshot.config.get("configurable", {}).get("checkpoint_id"):
                values, waiting = snapshot.values, bool(snapshot.next)
                interrupts = thread_interrupts(snapshot)
        thread_status: ThreadStatus = "interrupted" if waiting else "idle"
        if status in ("error", "timeout"):
            thread_status = "error"
        return Outcome(
            status=status,
            thread_status=thread_status,
            values=None if values is None else dumps(values),
            interrupts=dumps(interrupts),
            error=None if error is None else dumps(error_payload(error, attempt.run.cancel)).decode(),
        )

    async def _snapshot(self, attempt: _Attempt) -> StateSnapshot | None:
        """The thread's state, if its graph keeps one and can be read now."""
        run = attempt.run
        config: RunnableConfig = {"configurable": {"thread_id": run.thread_id, **_caller(run)}}
        try:
            async with asyncio.timeout(_STATE_SECONDS):
                return await held(self._state_of(attempt, config))
        except Exception:
            logger.exception("run %s: its thread's state cannot be read", run.run_id)
        return None

    async def _state_of(self, attempt: _Attempt, config: RunnableConfig) -> StateSnapshot | None:
        if attempt.graph is not None:
            # A factory is not asked again: to read a state needs nothing of what it has closed.
            return await _state(attempt.graph, config)
        graph_id, stateless = attempt.run.kwargs["graph_id"], _temporary(attempt.run)
        async with self._registry.open(graph_id, config, purpose="threads.read", stateless=stateless) as graph:
            return await _state(graph, config)

    def _config(self, run: Run, tracker: RunTracker, handlers: Sequence[BaseCallbackHandler]) -> RunnableConfig:
        given = run.kwargs.get("config") or {}
        identity = {"thread_id": run.thread_id, "run_id": run.run_id}
        if run.kwargs["source"] == "langgraph":
            # Every checkpoint keeps a copy of this: the native API, which does not promise it, saves the space.
            identity |= {"graph_id": run.kwargs["graph_id"], "assistant_id": run.assistant_id}
        attempt: Json = (
            {"run_attempt": run.attempt, "langgraph_version": LANGGRAPH} if "stream_mode" in run.kwargs else {}
        )
        if run.attempt > 1:
            attempt["run_attempt"] = run.attempt  # the fence of saver.sql
        config: dict[str, Any] = {
            **given,
            "configurable": {**given.get("configurable", {}), **identity, **_caller(run)},
            "metadata": {**run.metadata, **given.get("metadata", {}), **identity, **attempt},
            "run_id": run.run_id,
            "callbacks": [tracker, *handlers, *(self._callbacks(run) if self._callbacks else ())],
        }
        return cast("RunnableConfig", config)


def _log_fields(run: Run) -> dict[str, Any]:
    """What every line says that is logged while the run executes."""
    known = {"run_id": run.run_id, "thread_id": run.thread_id, "assistant_id": run.assistant_id, "attempt": run.attempt}
    request_id = run.kwargs.get(ORIGIN, {}).get("request_id")
    return {**known, "request_id": request_id} if request_id else known


def _cut_short(run: Run) -> int:
    """How many attempts were, but for those that a process took along in which another run was the one to suspect."""
    return run.attempt - 1 - (run.crashes - run.trials)


def _caller(run: Run) -> Json:
    return of_graph(run.kwargs["caller"]) if "caller" in run.kwargs else {}


def _temporary(run: Run) -> bool:
    """Whether its thread goes with it: no checkpoint is worth keeping."""
    return bool(run.kwargs.get("temporary"))


_CANCELLED = RunError("cancelled", "The run was cancelled.")


async def _unbroken(ending: Coroutine[Any, Any, None]) -> None:
    """Awaits to its end what a cancel must not cut in two: a run's last row, its terminal event, and who is told."""
    task = asyncio.create_task(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise
        await task


def _uncancel() -> None:
    """The cancellation has done its work: what follows in this task runs normally."""
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


async def _state(graph: AnyGraph, config: RunnableConfig) -> StateSnapshot | None:
    return await graph.aget_state(config) if graph.checkpointer else None


_OPTIONS = ("durability", "interrupt_before", "interrupt_after")


def _options(attempt: _Attempt, graph: AnyGraph) -> dict[str, Any]:
    """Arguments of `astream`: those that a request may give, and the control if the graph can go on later."""
    run = attempt.run
    options = {name: run.kwargs[name] for name in _OPTIONS if run.kwargs.get(name) is not None}
    if graph.checkpointer:
        options["control"] = attempt.control
    else:
        options.pop("durability", None)
    context = run.kwargs.get("context")
    if context is not None:
        schema = graph.context_schema
        known = context if schema is None else get_type_hints(schema)
        options["context"] = {name: value for name, value in context.items() if name in known}
    return options


def _fitted(config: RunnableConfig, run: Run, context: Json | None) -> RunnableConfig:
    """The config without what the request's context has and the graph's schema has not, as with LangGraph's server."""
    if context is None or not run.kwargs.get("context_given"):
        return config
    dropped = {name: value for name, value in run.kwargs["context"].items() if name not in context}
    given = config["configurable"].items()
    kept = {name: value for name, value in given if name not in dropped or value != dropped[name]}
    return cast("RunnableConfig", {**config, "configurable": kept})


async def _graph_input(graph: AnyGraph, run: Run, config: RunnableConfig) -> Any:
    """The input of this attempt: None goes on from the checkpoint that an earlier attempt of the run left."""
    if run.attempt > 1 and graph.checkpointer:
        snapshot = await graph.aget_state(config)
        if (snapshot.metadata or {}).get("run_id") == run.run_id:
            return None
    if "resume" in run.kwargs:
        return Command(resume=run.kwargs["resume"])
    if command := run.kwargs.get("command"):
        return RunCommand.model_validate(command).build()
    return run.kwargs["input"]
