-- What LangGraph's table of checkpoints lacks.

-- Which checkpoints a run made, for its rollback.
CREATE INDEX IF NOT EXISTS threadline_checkpoints_of_run ON checkpoints (
    json_extract(CAST(metadata AS TEXT), '$.run_id')
);

-- The order in which those of a namespace were stored: an index's rows of one key have that of the table.
CREATE INDEX IF NOT EXISTS threadline_checkpoints_stored ON checkpoints (thread_id, checkpoint_ns);

-- The fence. A worker that comes back from the dead adds nothing to a thread
-- once a later attempt of its run has; its checkpoint, being newer, would hide the state that the later one left.
DROP TRIGGER IF EXISTS threadline_fence;
CREATE TRIGGER IF NOT EXISTS threadline_fence_stored BEFORE INSERT ON checkpoints
WHEN EXISTS (
    SELECT 1 FROM (
        SELECT CAST(metadata AS TEXT) AS held, CAST(NEW.metadata AS TEXT) AS given FROM checkpoints
        WHERE thread_id = NEW.thread_id AND checkpoint_ns = NEW.checkpoint_ns
        ORDER BY rowid DESC LIMIT 1
    )
    WHERE json_extract(held, '$.run_id') = json_extract(given, '$.run_id')
        AND coalesce(json_extract(held, '$.run_attempt'), 1) > coalesce(json_extract(given, '$.run_attempt'), 1)
)
BEGIN
    SELECT RAISE(ABORT, 'another attempt has the run');
END;
