"""Runs as one caller may use them: a run is of its thread, whose handlers decide."""

import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from api.access_filter import AccessFilter, permits
from api.errors import ForbiddenError, NotFoundError, RefusedError
from api.events import Event
from api.guard.access import Access, uuid_or_text
from api.guard.assistants import GuardedAssistants
from api.protocols.langgraph import RunCreate
from api.run_requests import RunRequests
from api.runs import RunRequest, no_active_run, no_run
from api.schemas import CancelAction, Delivery, Json, Run, RunStatus

if TYPE_CHECKING:
    from api.app import Threadline

_STEP = 200
"""Threads that are looked up at one time."""


class GuardedRuns:
    """Runs, asked for by one caller. `Runs` has the operations' descriptions.

    What the caller was found to be allowed to a run it stays allowed for as long as this object lives: a request, or a
    connection.

    Args:
        threadline: has the operations.
        access: the caller's.
    """

    def __init__(self, threadline: "Threadline", access: Access) -> None:
        self._threadline = threadline
        self._runs = threadline.runs
        self._access = access
        self._allowed: dict[str, set[str]] = {"read": set(), "update": set(), "delete": set()}

    async def create(self, request: RunRequest) -> Run:
        """Creates a run in the caller's name, as handlers leave it."""
        await self.admit(request)
        run = await self._runs.create(request)
        self._allowed["read"].add(run.run_id)
        self._allowed["update"].add(run.run_id)
        return run

    async def admit(self, request: RunRequest) -> None:
        """Asks whether the caller may have a run, and gives it the caller's identity.

        Raises:
            ForbiddenError: not at all.
            NotFoundError: its assistant is another's.
        """
        await self._check_assistant(request.assistant_id)
        value: Json = {
            "thread_id": None if request.thread_id is None else uuid_or_text(request.thread_id),
            "assistant_id": UUID(request.assistant_id),
            "run_id": None,
            "status": "pending",
            "metadata": dict(request.metadata if request.given_metadata is None else request.given_metadata),
            "prevent_insert_if_inflight": request.multitask_strategy == "reject",
            "multitask_strategy": request.multitask_strategy,
            "if_not_exists": "create" if request.new_thread is not None else "reject",
            "after_seconds": 0,
            "kwargs": request.kwargs,
        }
        request.access = await self._access.ask("threads", "create_run", value)
        stamped = value.get("metadata") or {}
        request.metadata = {**request.metadata, **stamped}
        request.given_metadata = stamped
        request.kwargs = {**(value.get("kwargs") or {}), "caller": self._access.caller.record()}
        if "metadata" in (config := request.kwargs.get("config") or {}):
            request.kwargs["config"] = {**config, "metadata": {**config["metadata"], **stamped}}
        if request.new_thread is not None:
            request.new_thread.metadata = {**request.new_thread.metadata, **stamped}

    async def _check_assistant(self, assistant_id: str) -> None:
        if assistant_id in self._threadline.assistants.default_ids:
            return
        access = await self._access.ask("assistants", "read", {"assistant_id": UUID(assistant_id)})
        await self._threadline.assistants.resolve(assistant_id, access=access)

    async def get(self, run_id: str, thread_id: str | None = None) -> Run:
        """A run's record."""
        run = await self._runs.get(run_id, thread_id)
        if not await self._may("read", run):
            raise no_run(run_id)
        return run

    async def delete(self, run_id: str) -> None:
        """Deletes a finished run."""
        if not await self._may("delete", await self._runs.get(run_id)):
            raise no_run(run_id)
        await self._runs.delete(run_id)

    async def of_thread(
        self, thread_id: str, *, status: RunStatus | None = None, limit: int = 10, offset: int = 0
    ) -> list[Run]:
        """A thread's runs."""
        access = await self._access.ask("threads", "read", {"thread_id": uuid_or_text(thread_id)})
        await self._threadline.threads.get(thread_id, access=access)
        return await self._runs.of_thread(thread_id, status=status, limit=limit, offset=offset)

    async def follow(self, run_id: str, after: int = 0) -> AsyncGenerator[Sequence[Event]]:
        """The run's events past a cursor."""
        await self.check_read(run_id)
        async with contextlib.aclosing(self._runs.follow(run_id, after)) as batches:
            async for batch in batches:
                yield batch

    async def check_cursor(self, run_id: str, after: int) -> None:
        """Fails if the run cannot be followed from there."""
        await self.check_read(run_id)
        await self._runs.check_cursor(run_id, after)

    async def collect(self, run_id: str, kinds: Collection[str]) -> list[Event]:
        """Waits for the run's end."""
        await self.check_read(run_id)
        return await self._runs.collect(run_id, kinds)

    async def result_of_run(self, run: Run) -> bytes:
        """JSON of what the last run of the run's thread left."""
        await self.check_read(run.run_id)
        return await self._runs.result_of_run(run)

    async def cancel(self, run_id: str, action: CancelAction = "interrupt") -> Run:
        """Stops a run."""
        if not await self._may_update(run_id):
            raise no_active_run(run_id)
        return await self._runs.cancel(run_id, action)

    async def cancel_if_active(self, run_id: str) -> None:
        """Stops a run, unless it has ended or the caller may not."""
        with contextlib.suppress(NotFoundError, ForbiddenError, RefusedError):
            if await self._may_update(run_id):
                await self._runs.cancel_if_active(run_id)

    async def deliveries(self, run: Run) -> Sequence[Delivery]:
        """The calls of the run's webhook."""
        await self.check_read(run.run_id)
        return await self._runs.deliveries(run)

    async def deliver_again(self, run: Run, delivery_id: str) -> None:
        """Calls the run's webhook again."""
        if not await self._may_update(run.run_id):
            raise no_run(run.run_id)
        await self._runs.deliver_again(run, delivery_id)

    async def active(
        self, status: str, *, thread_id: str | None = None, run_ids: Collection[str] | None = None
    ) -> list[Run]:
        """The caller's runs that are pending or running, which it may cancel."""
        value: Json = {"thread_id": None if thread_id is None else uuid_or_text(thread_id), "action": "interrupt"}
        if run_ids is not None:
            value["metadata"] = {"run_ids": list(run_ids)}
        access = await self._access.ask("threads", "update", value)
        found = await self._runs.active(status, thread_id=thread_id, run_ids=run_ids)
        if access is not None and found:
            own = await self._threads_of(found, access)
            found = [run for run in found if run.thread_id in own]
        self._allowed["update"].update(run.run_id for run in found)
        return found

    async def _threads_of(self, runs: Sequence[Run], access: AccessFilter) -> set[str]:
        ids = list({run.thread_id for run in runs})
        records = self._threadline.storage.records
        found: set[str] = set()
        for some in (ids[at : at + _STEP] for at in range(0, len(ids), _STEP)):
            threads, _ = await records.search_threads(ids=some, access=access, limit=_STEP, with_values=False)
            found.update(thread.thread_id for thread in threads)
        return found

    async def check_read(self, run_id: str) -> None:
        """Raises NotFoundError unless the caller may read the run."""
        if run_id not in self._allowed["read"]:
            await self.get(run_id)

    async def _may_update(self, run_id: str) -> bool:
        if run_id in self._allowed["update"]:
            return True
        try:
            return await self._may("update", await self._runs.get(run_id))
        except NotFoundError:
            return False

    async def _may(self, action: str, run: Run) -> bool:
        if run.run_id in self._allowed[action]:
            return True
        value: Json = {"thread_id": uuid_or_text(run.thread_id), "run_id": uuid_or_text(run.run_id)}
        access = await self._access.ask("threads", action, value)
        if access is not None:
            thread = await self._threadline.storage.records.get_thread(run.thread_id)
            if thread is None or not permits(access, thread.metadata):
                return False
        self._allowed[action].add(run.run_id)
        return True


class GuardedRunRequests:
    """Run requests of one caller. `RunRequests` has the operations' descriptions.

    Args:
        requests: the operations.
        assistants: the caller's.
    """

    def __init__(self, requests: RunRequests, assistants: GuardedAssistants) -> None:
        self._requests = requests
        self._assistants = assistants

    async def build(self, body: RunCreate, thread_id: str | None = None) -> RunRequest:
        """A run request, of an assistant that the caller may use."""
        access = await self._assistants.readable(body.assistant_id)
        return await self._requests.build(body, thread_id, access=access)

    async def build_all(self, bodies: Sequence[RunCreate]) -> list[RunRequest]:
        """Run requests for a batch of stateless runs."""
        return [await self.build(body) for body in bodies]
