"""Threads: their records, created, found, changed, copied and deleted; their states are in `states`."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast
from uuid import UUID, uuid4

from langchain_core.utils.uuid import uuid7
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import BaseModel, ConfigDict, Field

from api.access_filter import AccessFilter, permits
from api.checkpointer_config import ThreadTtl
from api.configs import Filter, Metadata
from api.errors import BadRequestError, ConflictError, InvalidRequestError, NotFoundError, StateNotSetError
from api.pages import PageRequest
from api.retention import delete_thread
from api.runs import Runs
from api.schemas import Json, Thread, ThreadPart, ThreadSort, ThreadStatus, Ttl, TtlStrategy
from api.serde import Fragment
from api.states import States, Superstep, no_thread
from api.storage.base import Storage

ThreadField = Literal[
    "thread_id",
    "created_at",
    "updated_at",
    "state_updated_at",
    "metadata",
    "config",
    "status",
    "values",
    "interrupts",
]
_FIELDS = frozenset(ThreadField.__args__)  # type: ignore[attr-defined]  # of a Literal
_EXTRACTABLE = ("config", "interrupts", "metadata", "values")
_SEPARATOR = re.compile(r"[.\[]")
_INDEX = re.compile(r"-?[0-9]{1,9}\]")
_UNSEARCHABLE = re.compile(r'["\\\x00-\x1f]')
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_END_SECONDS = 10.0
"""That a run which was cancelled has to end, before its thread is deleted."""
_DELETE_ATTEMPTS = 5
_EXPIRED_PAGE = 100


class _Body(BaseModel):
    """A request's body: strict, as 1 is not "1", and with room for keys that are not known."""

    model_config = ConfigDict(strict=True)


class TtlRequest(_Body):
    """When the thread is to expire, in minutes from now, and what then goes; without minutes it never does."""

    strategy: TtlStrategy = "delete"
    ttl: float | None = Field(default=None, ge=0, le=100 * 365 * 24 * 60)

    def from_now(self) -> Ttl | None:
        """The same as a point in time."""
        if self.ttl is None:
            return None
        return Ttl(self.strategy, self.ttl, datetime.now(UTC) + timedelta(minutes=self.ttl))


class ThreadCreate(_Body):
    """A new thread."""

    thread_id: str = ""
    metadata: Metadata = {}
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: TtlRequest = TtlRequest()
    supersteps: list[Superstep] = []


class ThreadPatch(_Body):
    """What is to change; metadata is merged into what is there."""

    metadata: Metadata = {}
    ttl: TtlRequest = TtlRequest()


class ThreadFilter(_Body):
    """Which threads: those whose metadata and values contain these pairs."""

    metadata: Filter = {}
    values: Filter = {}
    status: ThreadStatus | None = None


class ThreadSearch(PageRequest, ThreadFilter):
    """Which threads, in which order, and what of them.

    `extract` names values out of the records by their paths: `{"last": "values.messages[-1].content"}`.
    """

    ids: list[str] = []
    sort_by: ThreadSort = "updated_at"
    select: list[ThreadField] = []
    extract: dict[str, Annotated[str, Field(max_length=1024)]] = Field(default={}, max_length=10)


class ThreadPrune(_Body):
    """Which threads are to go, or to keep only what their latest state needs."""

    thread_ids: list[str]
    strategy: TtlStrategy = "delete"


class Threads:
    """The threads of this service.

    Args:
        storage: their records.
        states: what their checkpoints hold.
        runs: those of a thread that is deleted are cancelled.
        checkpointer: copies, prunes and deletes the checkpoints.
        ttl: of threads that are made without one.
    """

    def __init__(
        self,
        storage: Storage,
        states: States,
        runs: Runs,
        checkpointer: BaseCheckpointSaver[Any],
        ttl: ThreadTtl | None = None,
    ) -> None:
        self._storage = storage
        self._states = states
        self._runs = runs
        self._checkpointer = checkpointer
        self._ttl = ttl or ThreadTtl()
        self.expiry_set = asyncio.Event()
        """Set when a thread was given a time to expire at."""

    async def create(self, body: ThreadCreate, *, access: AccessFilter | None = None) -> Thread:
        """A new thread; with `if_exists="do_nothing"` the one that has the id already, if `access` matches it.

        Raises:
            InvalidRequestError: the id is not a UUID.
            ConflictError: the id is taken.
            StateNotSetError: the supersteps are of no graph that is served; the thread is there.
            BadRequestError: they do not fit the graph; likewise.
        """
        key = thread_key(body.thread_id) if body.thread_id else str(uuid7())
        now = datetime.now(UTC)
        ttl = body.ttl.from_now() if "ttl" in body.model_fields_set else self._ttl.from_now()
        thread = Thread(key, now, now, metadata=body.metadata, ttl=ttl)
        held = await self._storage.records.create_thread(thread)
        if held and (body.if_exists == "raise" or not permits(access, held.metadata)):
            raise ConflictError(f"Thread with ID {key} already exists", field="thread_id")
        if thread.ttl is not None:
            self.expiry_set.set()
        if not body.supersteps:
            return held or thread
        try:
            self._states.check_graph(held or thread)
        except (BadRequestError, NotFoundError) as exc:
            raise StateNotSetError(
                f"Thread {key} was created, but there were problems updating the state: {exc.message}"
            ) from exc
        return await self._states.apply(key, body.supersteps)

    async def get(self, thread_id: str, *, access: AccessFilter | None = None) -> Thread:
        """A thread's record.

        Raises:
            NotFoundError: there is none, or none that `access` matches.
        """
        thread = await self._storage.records.get_thread(thread_id)
        if thread is None or not permits(access, thread.metadata):
            raise no_thread(thread_id)
        return thread

    async def patch(self, thread_id: str, body: ThreadPatch, *, access: AccessFilter | None = None) -> Thread:
        """Changes a thread.

        Raises:
            NotFoundError: there is none, or none that `access` matches.
        """
        if access is not None:
            held = await self._storage.records.get_thread(thread_id)
            if held is None or not access.matches(held.metadata):
                raise NotFoundError("Not Found", field="thread_id")
        ttl = body.ttl.from_now()
        thread = await self._storage.records.patch_thread(thread_id, body.metadata, ttl=ttl)
        if thread is None:
            raise NotFoundError("Not Found", field="thread_id")
        if ttl is not None:
            self.expiry_set.set()
        return thread

    async def delete(self, thread_id: str, *, access: AccessFilter | None = None) -> None:
        """Deletes a thread with its runs, events and checkpoints; a run under way is cancelled first.

        Raises:
            NotFoundError: there is none, or none that `access` matches.
            ConflictError: its runs were cancelled, but one does not end, or others kept coming.
        """
        if access is not None:
            await self.get(thread_id, access=access)
        for _ in range(_DELETE_ATTEMPTS - 1):
            await self._cancel_runs(thread_id)
            with contextlib.suppress(ConflictError):
                return await self._delete(thread_id)
        return await self._delete(thread_id)

    async def _delete(self, thread_id: str) -> None:
        if not await delete_thread(self._storage, self._checkpointer, thread_id):
            raise no_thread(thread_id)

    async def _cancel_runs(self, thread_id: str) -> None:
        for run in await self._storage.records.active_runs(thread_id):
            try:
                await self._runs.cancel(run.run_id)
                async with asyncio.timeout(_END_SECONDS):
                    await self._runs.collect(run.run_id, frozenset())
            except TimeoutError as exc:
                # The run itself may be waiting for this.
                raise ConflictError(f"A run of thread {thread_id!r} was cancelled, but has not ended yet.") from exc
            except NotFoundError:
                continue  # it ended, or was deleted, meanwhile

    async def search(self, body: ThreadSearch, *, access: AccessFilter | None = None) -> tuple[Sequence[Json], int]:
        """A page of threads' records, last changed first if no order is given, and how many there are in all.

        Raises:
            BadRequestError: one of the ids is not a UUID.
            InvalidRequestError: a path or a name of `extract` is not one.
        """
        places = {name: _place(name, path) for name, path in body.extract.items()}
        threads, total = await self._storage.records.search_threads(
            ids=[_searched_key(thread_id) for thread_id in body.ids],
            metadata=body.metadata,
            values=body.values,
            status=body.status,
            access=access,
            with_values=not body.select or "values" in body.select,
            **body.place(),
        )
        records = [body.selected(thread_record(thread)) for thread in threads]
        if places:
            nothing: Json = dict.fromkeys(places)
            somewhere = {name: place for name, place in places.items() if place is not None}
            extracted = await self._storage.records.extract([thread.thread_id for thread in threads], somewhere)
            for thread, record in zip(threads, records, strict=True):
                record["extracted"] = {**nothing, **extracted[thread.thread_id]}
        return records, total

    async def count(self, body: ThreadFilter, *, access: AccessFilter | None = None) -> int:
        """How many threads match."""
        _, total = await self._storage.records.search_threads(
            metadata=body.metadata, values=body.values, status=body.status, access=access, limit=0
        )
        return total

    async def copy(
        self, thread_id: str, *, new_id: str = "", metadata: Json | None = None, access: AccessFilter | None = None
    ) -> Thread:
        """A new thread with the metadata and the checkpoints of another, but none of its runs.

        Args:
            thread_id: the other.
            new_id: the new thread's id.
            metadata: goes over the other's.
            access: matches the other's metadata.

        Raises:
            BadRequestError: the id is not a UUID.
            ConflictError: there is no such thread, or none that `access` matches.
        """
        try:
            source = str(UUID(thread_id))
        except ValueError as exc:
            raise BadRequestError(str(exc), field="thread_id") from None
        original = await self._storage.records.get_thread(source)
        if original is None or not permits(access, original.metadata):
            raise ConflictError("Conflict", field="thread_id")
        now = datetime.now(UTC)
        # In this order: checkpoints without a thread are deleted.
        copied = Thread(
            new_id or str(uuid4()),
            now,
            now,
            metadata={**original.metadata, **(metadata or {})},
            ttl=self._ttl.from_now(),
        )
        await self._storage.records.create_thread(copied)
        await self._checkpointer.acopy_thread(source, copied.thread_id)
        return copied

    async def prune(self, body: ThreadPrune, *, access: AccessFilter | None = None) -> int:
        """Deletes threads, or what of their checkpoints the latest state does not need.

        Unknown ones, and those that `access` does not match, are skipped.

        Returns:
            How many it was done for; a thread with a run under way is deleted, but not cleared.

        Raises:
            InvalidRequestError: one of the ids is not a UUID.
        """
        keys = [thread_key(thread_id) for thread_id in body.thread_ids]
        return sum([await self._prune(key, body.strategy, access) for key in keys])

    async def _prune(self, thread_id: str, strategy: TtlStrategy, access: AccessFilter | None) -> bool:
        try:
            if strategy == "delete":
                await self.delete(thread_id, access=access)
                return True
            await self.get(thread_id, access=access)
            return await self._keep_latest(thread_id)
        except NotFoundError:
            return False

    async def _keep_latest(self, thread_id: str) -> bool:
        await self.get(thread_id)
        if await self._storage.records.active_runs(thread_id):
            return False
        await self._checkpointer.aprune([thread_id], strategy="keep_latest")
        return True

    async def sweep(self) -> datetime | None:
        """Does with the threads that have expired as was asked, with `sweep_limit` of them at most; one with a run
        under way waits for its end.

        Returns:
            When the next one expires, or did, if any will.
        """
        left = self._ttl.sweep_limit
        while left and (expired := await self._storage.records.expired_threads(limit=min(left, _EXPIRED_PAGE))):
            left -= len(expired)
            for thread in expired:
                # Deleted, or taken by a run, meanwhile: then it is not among the expired any more.
                with contextlib.suppress(NotFoundError, ConflictError):
                    await self._expire(thread)
        return await self._storage.records.next_expiry()

    async def _expire(self, thread: Thread) -> None:
        if thread.ttl is None or thread.ttl.strategy == "delete":
            await self._delete(thread.thread_id)
        elif await self._keep_latest(thread.thread_id):
            await self._storage.records.clear_ttl(thread.thread_id)


def thread_key(thread_id: str) -> str:
    """A thread's id in its usual form.

    Raises:
        InvalidRequestError: it is not a UUID.
    """
    try:
        return str(UUID(thread_id))
    except ValueError:
        raise InvalidRequestError("Invalid thread ID: must be a UUID", field="thread_id") from None


def thread_record(thread: Thread, *, ttl: bool = False) -> Json:
    """A thread as langgraph_sdk's Thread.

    Args:
        thread: the thread.
        ttl: also when it expires, if it does.
    """
    record = {
        "thread_id": thread.thread_id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "state_updated_at": thread.state_updated_at or thread.created_at,
        "metadata": thread.metadata,
        "status": thread.status,
        "config": thread.config,
        "values": None if thread.values is None else Fragment(thread.values),
    }
    if thread.state_updated_at is not None:
        record["error"] = None if thread.error is None else Fragment(thread.error)
        record["interrupts"] = Fragment(thread.interrupts)
    if ttl and thread.ttl is not None:
        record["ttl"] = {
            "strategy": thread.ttl.strategy,
            "ttl_minutes": thread.ttl.minutes,
            "expires_at": thread.ttl.expires_at,
        }
    return record


def _place(name: str, path: str) -> tuple[ThreadPart, Sequence[str | int]] | None:
    """A path of `extract` as a document and the steps into it; None if it can lead nowhere."""
    if name in _FIELDS:
        complaint = f"Extract keys cannot use reserved field names: {[name]}"
    elif not _IDENTIFIER.fullmatch(name):
        complaint = f"Extract key '{name}' must be a valid identifier (letters, digits, underscores)"
    elif not path:
        complaint = f"Extract path for '{name}' must be a non-empty string"
    elif (part := _SEPARATOR.split(path, maxsplit=1)[0]) not in _EXTRACTABLE:
        complaint = f"Extract path '{path}' must start with one of: {', '.join(_EXTRACTABLE)}"
    elif _UNSEARCHABLE.search(path):
        complaint = f"Extract path for '{name}' has a quotation mark, a backslash or a control character"
    else:
        steps = path_steps(path[len(part) :])
        return None if steps is None else (cast("ThreadPart", part), steps)
    raise InvalidRequestError(complaint, field="extract")


def path_steps(path: str) -> Sequence[str | int] | None:
    """The keys and indexes of a path like `.messages[-1].content`; None if it can lead nowhere."""
    steps: list[str | int] = []
    for part in _SEPARATOR.split(path):
        if part.endswith("]"):
            if not _INDEX.fullmatch(part):
                return None
            steps.append(int(part[:-1]))
        elif part:
            steps.append(part)
    return steps


def _searched_key(thread_id: str) -> str:
    try:
        return str(UUID(thread_id))
    except ValueError:
        raise BadRequestError(f"Invalid thread ID {thread_id}", field="ids") from None
