"""Crons: runs that are created again and again, as a schedule says. What fires them is the cron scheduler."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from langchain_core.utils.uuid import uuid7
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from api.access_filter import AccessFilter, permits
from api.assistants import Assistants
from api.configs import Config, Filter, Metadata, Settings
from api.errors import BadRequestError, InvalidRequestError, NotFoundError, invalid
from api.pages import PageRequest
from api.protocols.langgraph import RunCreate, StreamMode
from api.run_requests import RunRequests, check_uuid
from api.schedules import Clock, check_interval, check_timezone, next_date
from api.schemas import Cron, CronSort, Json, MultitaskStrategy, OnRunCompleted
from api.storage.base import Storage


def _check_time(value: str) -> str:
    _moment(value)
    return value


def _moment(value: str) -> datetime:
    at = datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Time = Annotated[str, AfterValidator(_check_time)]
"""A time in ISO 8601; without an offset it is UTC."""
Nodes = Literal["*"] | list[str]
CronField = Literal[
    "cron_id",
    "assistant_id",
    "thread_id",
    "on_run_completed",
    "end_time",
    "schedule",
    "timezone",
    "created_at",
    "updated_at",
    "user_id",
    "payload",
    "next_run_date",
    "metadata",
    "enabled",
]


class _Body(BaseModel):
    """A request's body: strict, as 1 is not "1", and with room for keys that are not known."""

    model_config = ConfigDict(strict=True)


class _CronOptions(_Body):
    """What a cron may say beside its schedule: how its runs are made. Other options of a run are kept as they are."""

    model_config = ConfigDict(strict=True, extra="allow")

    timezone: str = ""
    input: Json | list[Json] = {}
    metadata: Metadata = {}
    config: Config = Config()
    context: Settings = {}
    webhook: Annotated[str, Field(min_length=1, max_length=65536)] = ""
    interrupt_before: Nodes = []
    interrupt_after: Nodes = []
    on_run_completed: OnRunCompleted = "delete"
    multitask_strategy: MultitaskStrategy = "enqueue"
    enabled: bool = True
    stream_mode: StreamMode | list[StreamMode] = ["values"]
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    durability: Literal["sync", "async", "exit"] = "async"

    def given(self) -> Json:
        """What the client gave, and no defaults."""
        return self.model_dump(exclude_unset=True)


class CronCreate(_CronOptions):
    """A new cron."""

    assistant_id: str
    schedule: str
    end_time: Time | None = None


class CronPatch(_CronOptions):
    """What is to change; metadata is merged into what is there, an `end_time` of null takes it away."""

    schedule: str = ""
    end_time: Time | None = None


class CronFilter(_Body):
    """Which crons."""

    assistant_id: str = ""
    thread_id: str = ""
    metadata: Filter = {}


class CronSearch(PageRequest, CronFilter):
    """Which crons, in which order, and what of them."""

    enabled: bool | None = None
    sort_by: CronSort = "created_at"
    select: list[CronField] = []


class CronLimits(NamedTuple):
    """What crons may take of the service."""

    per_caller: int | None = None
    """How many one caller may have, where authentication tells callers apart; None: any number."""
    interval: float = 0.0
    """Seconds between two dates of a schedule, at least."""


class Crons:
    """The crons of this service.

    Args:
        storage: where they are.
        assistants: what their runs are of.
        requests: checks what their runs are to be.
        clock: tells the time.
        limits: how many, and how often.
    """

    def __init__(
        self,
        storage: Storage,
        assistants: Assistants,
        requests: RunRequests,
        clock: Clock | None = None,
        limits: CronLimits = CronLimits(),  # noqa: B008  # a constant
    ) -> None:
        self._storage = storage
        self._assistants = assistants
        self._requests = requests
        self._clock = clock or Clock()
        self._limits = limits

    async def create(
        self,
        body: CronCreate,
        thread_id: str | None = None,
        *,
        caller: Json | None = None,
        assistants: AccessFilter | None = None,
        threads: AccessFilter | None = None,
    ) -> Cron:
        """A new cron. What could never run is refused now.

        Args:
            body: as the client sent it.
            thread_id: the thread of its runs; None for a new one each time.
            caller: who makes it.
            assistants: matches the assistant's metadata, if that is not a default one.
            threads: matches the thread's metadata.

        Raises:
            InvalidRequestError: the schedule, or an option of the run, cannot be used.
            BadRequestError: context and configurable are both given.
            NotFoundError: no such assistant or thread.
            RateLimitedError: the caller has as many crons as one may have.
        """
        if thread_id is not None:
            thread_id = check_uuid(thread_id, "Invalid thread ID: must be a UUID")
        assistant_id = await self._assistant_id(body.assistant_id, assistants)
        await self._check_thread(thread_id, threads)
        cron = self._made(body, thread_id, assistant_id, caller)
        await self._check_interval(cron)
        await self._requests.build(run_of(cron), thread_id)
        if not await self._storage.crons.create(cron, limit=self._limits.per_caller):
            raise NotFoundError("Thread or assistant not found.")
        return cron

    async def _check_interval(self, cron: Cron) -> None:
        # In a thread: a client can choose a schedule whose dates take half a second to find.
        await asyncio.to_thread(check_interval, cron.schedule, cron.updated_at, self._limits.interval, cron.timezone)

    def _made(self, body: CronCreate, thread_id: str | None, assistant_id: str, caller: Json | None) -> Cron:
        now = self._clock.now()
        payload = body.given()
        check_timezone(payload.get("timezone"))
        following = next_date(body.schedule, now, payload.get("timezone"))
        cron_id = str(uuid7())
        return Cron(
            cron_id,
            assistant_id,
            body.schedule,
            now,
            now,
            following,
            thread_id=thread_id,
            timezone=payload.get("timezone"),
            end_time=_moment(body.end_time) if body.end_time else None,
            payload=_identified({**payload, "assistant_id": assistant_id}, cron_id),
            metadata=body.metadata,
            on_run_completed=None if thread_id else body.on_run_completed,
            enabled=body.enabled,
            caller=caller,
        )

    async def get(self, cron_id: str, *, access: AccessFilter | None = None) -> Cron:
        """A cron, by its id.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none.
        """
        cron = await self._storage.crons.get(_key(cron_id))
        if cron is None or not permits(access, cron.metadata):
            raise NotFoundError("Not Found", field="cron_id")
        return cron

    async def patch(self, cron_id: str, body: CronPatch, *, access: AccessFilter | None = None) -> Cron:
        """Changes a cron. A new schedule or timezone counts from now, and so does one that is enabled again.

        Raises:
            InvalidRequestError: the id is not a UUID; or the schedule, or an option of the run, cannot be used.
            BadRequestError: nothing is to change; or context and configurable would both be given.
            NotFoundError: there is no such cron.
        """
        key = _key(cron_id)
        payload = body.given()
        if not payload:
            raise BadRequestError("Request body cannot be empty")
        check_timezone(payload.get("timezone"))
        now = self._clock.now()

        def change(cron: Cron) -> None:
            _change(cron, payload, now)

        preview = await self._storage.crons.get(key)
        if preview is None or not permits(access, preview.metadata):
            raise NotFoundError(f"Cron '{cron_id}' not found", field="cron_id")
        change(preview)
        await self._check_interval(preview)
        await self._requests.build(run_of(preview), preview.thread_id)
        cron = await self._storage.crons.change(key, change)
        if cron is None:
            raise NotFoundError(f"Cron '{cron_id}' not found", field="cron_id")
        return cron

    async def delete(self, cron_id: str, *, access: AccessFilter | None = None) -> None:
        """Deletes a cron; runs that it made go on.

        Raises:
            InvalidRequestError: the id is not a UUID.
            NotFoundError: there is none.
        """
        if access is not None:
            await self.get(cron_id, access=access)
        if not await self._storage.crons.delete(_key(cron_id)):
            raise NotFoundError("Not Found", field="cron_id")

    async def search(self, body: CronSearch, *, access: AccessFilter | None = None) -> tuple[Sequence[Json], int]:
        """A page of crons, newest first if no order is given, and how many there are in all.

        Raises:
            InvalidRequestError: an id is not a UUID.
        """
        crons, total = await self._storage.crons.search(
            **_filter(body),
            enabled=body.enabled,
            access=access,
            **body.place(),
        )
        return [body.selected(cron_record(cron)) for cron in crons], total

    async def count(self, body: CronFilter, *, access: AccessFilter | None = None) -> int:
        """How many crons there are.

        Raises:
            InvalidRequestError: an id is not a UUID.
        """
        _, total = await self._storage.crons.search(**_filter(body), access=access, limit=0)
        return total

    async def _assistant_id(self, assistant_id: str, access: AccessFilter | None) -> str:
        try:
            return (await self._assistants.resolve(assistant_id, access=access)).assistant_id
        except (InvalidRequestError, NotFoundError):
            raise NotFoundError(f"Assistant '{assistant_id}' not found", field="assistant_id") from None

    async def _check_thread(self, thread_id: str | None, access: AccessFilter | None) -> None:
        if thread_id is None:
            return
        thread = await self._storage.records.get_thread(thread_id)
        if thread is None or not permits(access, thread.metadata):
            raise NotFoundError(
                f"Thread with ID '{thread_id}' not found. Please verify the ID is correct and the thread hasn't been "
                "deleted or expired.",
                field="thread_id",
            )


def cron_record(cron: Cron) -> Json:
    """A cron as langgraph_sdk's Cron."""
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "user_id": cron.caller["user"]["identity"] if cron.caller else "",
        "end_time": cron.payload.get("end_time"),
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "payload": cron.payload,
        "next_run_date": cron.next_run_date,
        "metadata": cron.metadata,
        "on_run_completed": cron.on_run_completed,
        "enabled": cron.enabled,
        "created_at": cron.created_at,
        "updated_at": cron.updated_at,
    }


def _change(cron: Cron, changes: Json, now: datetime) -> None:
    """Applies a patch.

    Raises:
        InvalidRequestError: the schedule cannot be used.
    """
    resumes = changes.get("enabled", False) and not cron.enabled
    for name in ("schedule", "timezone", "enabled", "on_run_completed"):
        if name in changes:
            setattr(cron, name, changes[name])
    if resumes or "schedule" in changes or "timezone" in changes:
        cron.next_run_date = next_date(cron.schedule, now, cron.timezone)
    if "end_time" in changes:
        cron.end_time = _moment(changes["end_time"]) if changes["end_time"] else None
    cron.metadata = {**cron.metadata, **changes.get("metadata", {})}
    cron.payload = _identified({**cron.payload, **changes, "assistant_id": cron.assistant_id}, cron.cron_id)
    cron.updated_at = now


def _identified(payload: Json, cron_id: str) -> Json:
    """The payload with the cron's id where the graph finds it."""
    config = payload.get("config", {})
    configurable = {**config.get("configurable", {}), "cron_id": cron_id}
    return {**payload, "config": {**config, "configurable": configurable}}


def run_of(cron: Cron) -> RunCreate:
    """The run that a cron makes.

    Raises:
        InvalidRequestError: an option cannot be used.
    """
    payload = {**cron.payload, "metadata": {**cron.metadata, **cron.payload.get("metadata", {})}}
    if cron.on_run_completed == "keep":
        payload.setdefault("on_completion", "keep")
    if payload.get("context"):
        # A client may give one or the other; the cron's id, which is always in configurable, is not the client's.
        configurable = {name: item for name, item in payload["config"]["configurable"].items() if name != "cron_id"}
        payload["config"] = {**payload["config"], "configurable": configurable}
    try:
        return RunCreate.model_validate(payload)
    except ValidationError as exc:
        raise invalid(exc) from exc


def _filter(body: CronFilter) -> dict[str, Any]:
    return {
        "assistant_id": check_uuid(body.assistant_id, "Invalid assistant ID: must be a UUID")
        if body.assistant_id
        else None,
        "thread_id": check_uuid(body.thread_id, "Invalid thread ID: must be a UUID") if body.thread_id else None,
        "metadata": body.metadata,
    }


def _key(cron_id: str) -> str:
    return check_uuid(cron_id, "Invalid cron ID: must be a UUID")
