"""Run requests: what a client of the LangGraph API asks for, merged with its assistant's and its thread's settings."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from langchain_core.utils.uuid import uuid7

from api.access_filter import AccessFilter
from api.assistants import Assistants
from api.configs import merged, mirrored
from api.errors import BadRequestError, InvalidRequestError, UnsupportedError
from api.protocols.langgraph import RunCreate
from api.runs import RunRequest
from api.schemas import Assistant, Json, Thread
from api.storage.base import Storage
from api.webhooks import Webhooks


class RunRequests:
    """Builds run requests.

    Args:
        storage: the threads.
        assistants: whose settings go below the request's.
        webhooks: say which URLs a run may call at its end.
    """

    def __init__(self, storage: Storage, assistants: Assistants, webhooks: Webhooks) -> None:
        self._storage = storage
        self._assistants = assistants
        self._webhooks = webhooks

    async def build(
        self, body: RunCreate, thread_id: str | None = None, *, access: AccessFilter | None = None
    ) -> RunRequest:
        """A run request.

        Args:
            body: as the client sent it.
            thread_id: the thread to run on; None for a stateless run, whose thread goes with it.
            access: matches the metadata of the assistant, if that is not a default one.

        Raises:
            InvalidRequestError: an id is not a UUID, or the assistant is not known by that name.
            BadRequestError: context and configurable are both given; or a stateless run is to resume.
            NotFoundError: there is no such assistant.
            UnsupportedError: an option needs a service that is not there.
        """
        await self._check(body, thread_id)
        if thread_id is not None:
            thread_id = check_uuid(thread_id, "Invalid thread ID")
        config, context = mirrored(body.config.given() if body.config else {}, body.context)
        assistant = await self._assistants.resolve(body.assistant_id, access=access)
        thread = await self._storage.records.get_thread(thread_id) if thread_id else None
        metadata = {
            **assistant.metadata,
            **({**thread.metadata, "graph_id": assistant.graph_id} if thread else {}),
            **config.get("metadata", {}),
            **(body.metadata or {}),
            "assistant_id": assistant.assistant_id,
        }
        kwargs = {
            **body.options(),
            "config": {**_merged_config(assistant, thread, config, body), "metadata": metadata},
            "context": {**assistant.context, **(context or {})},
            "context_given": bool(body.context),
            "temporary": thread_id is None and body.on_completion == "delete",
        }
        return RunRequest(
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            source="langgraph",
            kwargs=kwargs,
            thread_id=thread_id,
            new_thread=_new_thread(body, thread_id, assistant, config),
            thread_config=_thread_config(assistant, thread, config),
            metadata=metadata,
            given_metadata=body.metadata or {},
            multitask_strategy=body.multitask_strategy,
            due_at=datetime.now(UTC) + timedelta(seconds=body.after_seconds) if body.after_seconds else None,
        )

    async def _check(self, body: RunCreate, thread_id: str | None) -> None:
        """Refuses what contradicts itself, or needs what is not there."""
        if body.feedback_keys:
            raise UnsupportedError("feedback_keys needs LangSmith, which is not used here.", field="feedback_keys")
        if body.webhook:
            await self._webhooks.validate(body.webhook)
        if thread_id is None and body.command is not None and body.command.resume is not None:
            raise BadRequestError("You must provide a thread_id when resuming.", field="thread_id")
        if body.checkpoint_id is not None:
            check_uuid(body.checkpoint_id, "Invalid checkpoint ID")

    async def build_all(self, bodies: Sequence[RunCreate]) -> list[RunRequest]:
        """Run requests for a batch of stateless runs: all of them, or the first one's error."""
        return [await self.build(body) for body in bodies]


def _merged_config(assistant: Assistant, thread: Thread | None, config: Json, body: RunCreate) -> Json:
    checkpoint: Json = {"checkpoint_id": body.checkpoint_id} if body.checkpoint_id else {}
    checkpoint |= {name: value for name, value in (body.checkpoint or {}).items() if name != "thread_id"}
    of_thread = {"configurable": thread.config["configurable"]} if thread and "configurable" in thread.config else {}
    return merged(assistant.config, of_thread, config, {"configurable": checkpoint} if checkpoint else {})


def _thread_config(assistant: Assistant, thread: Thread | None, config: Json) -> Json:
    """What the thread keeps of the settings, for its later runs."""
    of_thread = thread.config if thread else {}
    configurable = {**assistant.config.get("configurable", {}), **of_thread.get("configurable", {})}
    return {**assistant.config, **of_thread, **config, "configurable": configurable}


def _new_thread(body: RunCreate, thread_id: str | None, assistant: Assistant, config: Json) -> Thread | None:
    """The thread to make if it is not there; None if it must be."""
    if thread_id is not None and body.if_not_exists != "create":
        return None
    now = datetime.now(UTC)
    identity = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    metadata = {**identity, **config.get("metadata", {}), **(body.metadata or {})}
    settings = _thread_config(assistant, None, config)
    return Thread(thread_id or str(uuid7()), now, now, metadata=metadata, config=settings, status="busy")


def check_uuid(value: str, complaint: str) -> str:
    """The id, in its usual form.

    Raises:
        InvalidRequestError: it is not a UUID.
    """
    try:
        return str(UUID(value))
    except ValueError:
        raise InvalidRequestError(complaint) from None
