"""Checkpoints in SQLite: LangGraph's saver, and what it leaves out that rollbacks, copies and prunes of threads need.

The statements know the saver's tables, which are not a public interface: tests/contract/test_checkpoints.py fails if
they change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    EXCLUDED_METADATA_KEYS,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from api.serde import dumps

_OF_RUNS = """
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(?))
"""
_DELETE_WRITES = f"DELETE FROM writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({_OF_RUNS})"  # noqa: S608
_DELETE = f"DELETE FROM checkpoints WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({_OF_RUNS})"  # noqa: S608
_COPY = """
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
    CAST(json_replace(CAST(metadata AS TEXT), '$.thread_id', :target) AS BLOB)
FROM checkpoints WHERE thread_id = :source
"""
_COPY_WRITES = """
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
FROM writes WHERE thread_id = :source
"""
_CHOSEN = """
thread_id = ? AND (checkpoint_ns, checkpoint_id) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
)
"""
_DELETE_CHOSEN_WRITES = f"DELETE FROM writes WHERE {_CHOSEN}"  # noqa: S608
_DELETE_CHOSEN = f"DELETE FROM checkpoints WHERE {_CHOSEN}"  # noqa: S608

_PAGE = 100
"""Checkpoints read at one time: the saver is locked meanwhile."""

_Key = tuple[str, str]
"""Namespace and id of a checkpoint."""


class SqliteCheckpoints(AsyncSqliteSaver):
    """The saver with `adelete_for_runs`, `acopy_thread` and `aprune`, as BaseCheckpointSaver defines them."""

    def get_next_version(self, current: Any, channel: None) -> Any:
        """A number, as BaseCheckpointSaver has it by default.

        The saver's own versions are texts of 49 characters; every checkpoint has several of them.
        """
        if isinstance(current, str):
            return super().get_next_version(current, channel)
        return BaseCheckpointSaver.get_next_version(self, current, channel)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint; its metadata also says where it was made, which the saver would leave out.

        LangGraph's own server keeps it, and clients see it in a state's metadata.
        """
        given = {**(config.get("metadata") or {}), "checkpoint_map": config["configurable"].get("checkpoint_map")}
        places: Any = {name: given[name] for name in EXCLUDED_METADATA_KEYS if given.get(name)}
        return await super().aput(config, checkpoint, {**places, **metadata}, new_versions)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that runs made, with their writes: their threads are as before.

        Args:
            run_ids: the runs.
        """
        await self._write((dumps(list(run_ids)).decode(),), _DELETE_WRITES, _DELETE)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all checkpoints of a thread, with their writes, in one transaction.

        Args:
            source_thread_id: the thread.
            target_thread_id: one that has none.
        """
        threads = {"source": source_thread_id, "target": target_thread_id}
        await self._write(threads, _COPY, _COPY_WRITES)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Deletes the checkpoints that the latest state of a thread does not need, or all of them.

        The latest of each namespace stays, and the ancestors that hold what it has as changes only. What a run adds
        meanwhile stays too.

        Args:
            thread_ids: the threads.
            strategy: `keep_latest` or `delete`.
        """
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self._keep_latest(thread_id)

    async def _keep_latest(self, thread_id: str) -> None:
        nodes = await self._nodes(thread_id)
        kept: set[_Key] = set()
        namespaces: set[str] = set()
        for namespace, checkpoint_id in nodes:
            if namespace not in namespaces:
                namespaces.add(namespace)
                kept |= _needed(nodes, (namespace, checkpoint_id))
        chosen = (thread_id, dumps([key for key in nodes if key not in kept]).decode())
        await self._write(chosen, _DELETE_CHOSEN_WRITES, _DELETE_CHOSEN)

    async def _write(self, parameters: Sequence[str] | Mapping[str, str], *statements: str) -> None:
        """Executes statements in one transaction: all of them, or none."""
        async with self.lock:
            try:
                for statement in statements:
                    await self.conn.execute(statement, parameters)
                await self.conn.commit()
            except BaseException:
                await self.conn.rollback()
                raise

    async def _nodes(self, thread_id: str) -> "dict[_Key, _Node]":
        """All checkpoints of a thread, newest first."""
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        nodes: dict[_Key, _Node] = {}
        before: RunnableConfig | None = None
        while page := [found async for found in self.alist(config, before=before, limit=_PAGE)]:
            nodes |= {_key(found.config): _node(found) for found in page}
            before = page[-1].config
        return nodes


@dataclass(frozen=True, slots=True)
class _Node:
    """What has to be known of a checkpoint to find the ancestors that it needs."""

    parent: _Key | None
    stored: frozenset[str]
    """Channels whose value it holds itself."""
    deltas: frozenset[str]
    """Channels that it may hold as changes since an ancestor."""


def _node(found: CheckpointTuple) -> _Node:
    return _Node(
        parent=None if found.parent_config is None else _key(found.parent_config),
        stored=frozenset(found.checkpoint["channel_values"]),
        deltas=frozenset(found.metadata.get("counters_since_delta_snapshot") or ()),
    )


def _needed(nodes: Mapping[_Key, _Node], latest: _Key) -> set[_Key]:
    """The checkpoint and its ancestors, up to where every channel has a stored value."""
    needed: set[_Key] = set()
    missing = nodes[latest].deltas - nodes[latest].stored
    at: _Key | None = latest
    while at is not None and at in nodes and at not in needed:
        needed.add(at)
        missing -= nodes[at].stored
        at = nodes[at].parent if missing else None
    return needed


def _key(config: RunnableConfig) -> _Key:
    return config["configurable"]["checkpoint_ns"], config["configurable"]["checkpoint_id"]
