-- The saver's tables, which LangGraph's own SqliteSaver makes and reads. Rows have the order in which they were stored,
-- which no clock can turn round: nothing here may give a row another place.

-- A checkpoint that is stored again stays in its place: a REPLACE would make it the latest.
-- name: put_checkpoint
INSERT INTO checkpoints (
    thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
)
VALUES (:thread_id, :checkpoint_ns, :checkpoint_id, :parent_checkpoint_id, :type, :checkpoint, :metadata)
ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
SET parent_checkpoint_id = excluded.parent_checkpoint_id, type = excluded.type, checkpoint = excluded.checkpoint,
    metadata = excluded.metadata;

-- name: latest_checkpoint
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns
ORDER BY rowid DESC LIMIT 1;

-- name: checkpoint_size
SELECT coalesce(
        (
            SELECT length(checkpoint) FROM checkpoints
            WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns AND checkpoint_id = :checkpoint_id
        ), 0
    ) + coalesce(
        (
            SELECT sum(length(value)) FROM writes
            WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns AND checkpoint_id = :checkpoint_id
        ), 0
    );

-- name: places
SELECT rowid AS place, thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
/*where*/
ORDER BY rowid DESC LIMIT ?;

-- Of the namespaces of a thread, the one that has the checkpoint; without a thread, of all.
-- name: place
SELECT rowid AS place, checkpoint_ns FROM checkpoints
WHERE checkpoint_id = :checkpoint_id AND (:thread_id IS NULL OR thread_id = :thread_id)
ORDER BY rowid DESC LIMIT 1;

-- name: put_write
INSERT OR IGNORE INTO writes (
    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
)
VALUES (:thread_id, :checkpoint_ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :value);

-- name: replace_write
INSERT OR REPLACE INTO writes (
    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
)
VALUES (:thread_id, :checkpoint_ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :value);

-- Some rows and some bytes at most, so that no one waits long for the lock.
-- name: delete_some_writes_of_thread
DELETE FROM writes WHERE rowid IN (
    SELECT place FROM (
        SELECT place, sum(size) OVER (ORDER BY place) - size AS bytes_before
        FROM (
            SELECT rowid AS place, coalesce(length(value), 0) AS size FROM writes
            WHERE thread_id = :thread_id LIMIT :rows
        )
    )
    WHERE bytes_before < :bytes
);

-- name: delete_some_checkpoints_of_thread
DELETE FROM checkpoints WHERE rowid IN (
    SELECT place FROM (
        SELECT place, sum(size) OVER (ORDER BY place) - size AS bytes_before
        FROM (
            SELECT rowid AS place, coalesce(length(checkpoint), 0) AS size FROM checkpoints
            WHERE thread_id = :thread_id LIMIT :rows
        )
    )
    WHERE bytes_before < :bytes
);

-- One step of the index for each thread, however many checkpoints it has.
-- name: thread_ids
WITH RECURSIVE ids (thread_id) AS (
    SELECT min(thread_id) FROM (
        SELECT min(thread_id) AS thread_id FROM checkpoints WHERE thread_id > :after
        UNION ALL
        SELECT min(thread_id) FROM writes WHERE thread_id > :after
    )
    UNION ALL
    SELECT (
        SELECT min(thread_id) FROM (
            SELECT min(thread_id) AS thread_id FROM checkpoints WHERE checkpoints.thread_id > ids.thread_id
            UNION ALL
            SELECT min(thread_id) FROM writes WHERE writes.thread_id > ids.thread_id
        )
    )
    FROM ids WHERE ids.thread_id IS NOT NULL
    LIMIT :limit
)
SELECT thread_id FROM ids WHERE thread_id IS NOT NULL;

-- name: last_of_thread
SELECT * FROM (SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id ORDER BY rowid DESC LIMIT 1)
UNION ALL
SELECT * FROM (SELECT checkpoint_id FROM writes WHERE thread_id = :thread_id ORDER BY rowid DESC LIMIT 1);

-- name: delete_writes_of_runs
DELETE FROM writes WHERE (thread_id, checkpoint_ns, checkpoint_id) IN (
    SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints
    WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(:run_ids))
);

-- name: delete_checkpoints_of_runs
DELETE FROM checkpoints
WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(:run_ids));

-- name: copy_checkpoints
INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,
    CAST(json_replace(CAST(metadata AS TEXT), '$.thread_id', :target) AS BLOB)
FROM checkpoints WHERE thread_id = :source
ORDER BY rowid;

-- name: copy_writes
INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value)
SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
FROM writes WHERE thread_id = :source;

-- name: delete_chosen_writes
DELETE FROM writes WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:chosen)
);

-- name: delete_chosen_checkpoints
DELETE FROM checkpoints WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:chosen)
);
