"""Checkpoints in SQLite: LangGraph's saver, and what it leaves out that a rollback needs.

The statements know the saver's tables, which are not a public interface: tests/contract/test_checkpoints.py fails if
they change.
"""

from collections.abc import Sequence

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from api.serde import dumps

_OF_RUNS = """
SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(?))
"""
_DELETE_WRITES = f"DELETE FROM writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({_OF_RUNS})"  # noqa: S608
_DELETE = f"DELETE FROM checkpoints WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({_OF_RUNS})"  # noqa: S608


class SqliteCheckpoints(AsyncSqliteSaver):
    """The saver with `adelete_for_runs`, as BaseCheckpointSaver defines it."""

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Deletes the checkpoints that runs made, with their writes: their threads are as before.

        Args:
            run_ids: the runs.
        """
        wanted = dumps(list(run_ids)).decode()
        async with self.lock:
            await self.conn.execute(_DELETE_WRITES, (wanted,))
            await self.conn.execute(_DELETE, (wanted,))
            await self.conn.commit()
