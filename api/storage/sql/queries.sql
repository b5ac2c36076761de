-- Every statement of the backend, by name; a part stands where a statement has its name in braces.

-- Every node of the wanted JSON has an equal one at the same path of the row's; lists are as long. A node is looked up by
-- its path. A path with a backslash has a key that is written with escapes: those cannot be looked up, only compared.
-- part: holds_metadata
(:metadata IS NULL OR NOT EXISTS (
    SELECT 1 FROM json_tree(:metadata) AS wanted
    WHERE NOT coalesce(
        CASE
            WHEN instr(wanted.fullkey, '\') THEN EXISTS (
                SELECT 1 FROM json_tree(metadata) AS held
                WHERE held.fullkey = wanted.fullkey AND held.type = wanted.type AND held.atom IS wanted.atom
                    AND (wanted.type <> 'array' OR json_array_length(held.value) = json_array_length(wanted.value))
            )
            ELSE json_type(metadata, wanted.fullkey) = wanted.type AND CASE wanted.type
                WHEN 'object' THEN 1
                WHEN 'array' THEN json_array_length(metadata, wanted.fullkey) = json_array_length(wanted.value)
                ELSE json_extract(metadata, wanted.fullkey) IS wanted.atom
            END
        END,
        0
    )
))

-- :access is an AccessFilter's text: all conditions of one of its choices hold for the metadata. A name with a NUL may be
-- read as a shorter one: what holds any is nobody's.
-- part: permitted
(:access IS NULL OR (instr(metadata, '\u0000') = 0 AND EXISTS (
    SELECT 1 FROM json_each(:access) AS choice
    WHERE NOT EXISTS (
        SELECT 1 FROM json_each(choice.value) AS condition
        WHERE NOT coalesce(
            CASE
                WHEN json_extract(condition.value, '$.path') IS NULL THEN EXISTS (
                    SELECT 1 FROM json_tree(metadata) AS held
                    WHERE held.atom IS json_extract(condition.value, '$.value') AND (
                            held.type = json_type(condition.value, '$.value')
                            OR (
                                held.type IN ('integer', 'real')
                                AND json_type(condition.value, '$.value') IN ('integer', 'real')
                            )
                        )
                        AND CASE json_extract(condition.value, '$.operator')
                            WHEN '$eq' THEN held.path = '$' AND held.key = json_extract(condition.value, '$.key')
                            ELSE typeof(held.key) = 'integer' AND held.parent IN (
                                SELECT list.id FROM json_tree(metadata) AS list
                                WHERE list.path = '$' AND list.type = 'array'
                                    AND list.key = json_extract(condition.value, '$.key')
                            )
                        END
                )
                WHEN json_type(metadata, json_extract(condition.value, '$.path')) = 'object' THEN 0
                ELSE (json_type(metadata, json_extract(condition.value, '$.path')) = 'array')
                    = (json_extract(condition.value, '$.operator') = '$contains')
                    AND EXISTS (
                        SELECT 1 FROM json_each(metadata, json_extract(condition.value, '$.path')) AS held
                        WHERE held.atom IS json_extract(condition.value, '$.value') AND (
                            held.type = json_type(condition.value, '$.value')
                            OR (
                                held.type IN ('integer', 'real')
                                AND json_type(condition.value, '$.value') IN ('integer', 'real')
                            )
                        )
                    )
            END,
            0
        )
    )
)))

-- Of the `matching` rows, by their `sort_key`. Only the page's rows are then read whole: they may be large.
-- A page without rows is one row of nulls and the total.
-- part: page
placed AS (
    SELECT matched, row_number() OVER (
            ORDER BY
                CASE WHEN :descending THEN sort_key END DESC,
                CASE WHEN NOT :descending THEN sort_key END,
                matched
        ) AS place
    FROM matching
),
page AS (
    SELECT matched, place, total
    FROM (SELECT count(*) AS total FROM placed) AS counted
    LEFT JOIN placed ON place > :offset AND place <= :offset + :limit
)

-- name: insert_thread
INSERT INTO threads (
    thread_id, created_at, updated_at, metadata, config, status, "values", interrupts, error, events, state_updated_at,
    ttl_strategy, ttl_minutes, expires_at
)
VALUES (
    :thread_id, :created_at, :updated_at, :metadata, :config, :status, :values, :interrupts, :error, :events,
    :state_updated_at, :ttl_strategy, :ttl_minutes, :expires_at
)
ON CONFLICT (thread_id) DO NOTHING;

-- name: get_thread
SELECT * FROM threads WHERE thread_id = :thread_id;

-- name: set_thread_metadata
UPDATE threads SET metadata = :metadata, updated_at = :now WHERE thread_id = :thread_id RETURNING *;

-- It begins anew with the thread's next run.
-- name: suspend_thread_ttl
UPDATE threads SET expires_at = NULL WHERE thread_id = :thread_id;

-- name: set_thread_ttl
UPDATE threads SET ttl_strategy = :ttl_strategy, ttl_minutes = :ttl_minutes, expires_at = :expires_at
WHERE thread_id = :thread_id;

-- name: set_thread_state
UPDATE threads
SET status = CASE
        WHEN EXISTS (
            SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
        ) THEN 'busy' ELSE :status
    END,
    "values" = coalesce(:values, "values"), interrupts = :interrupts, error = NULL, updated_at = :now,
    state_updated_at = :now
WHERE thread_id = :thread_id
RETURNING *;

-- name: begun_run_of_thread
SELECT 1 FROM runs WHERE thread_id = :thread_id AND status IN ('pending', 'running') AND attempt > 0 LIMIT 1;

-- name: insert_state_update
INSERT INTO state_updates (thread_id, base, data) VALUES (:thread_id, :base, :data);

-- name: trim_state_updates
DELETE FROM state_updates WHERE thread_id = :thread_id AND seq <= (
    SELECT seq FROM state_updates WHERE thread_id = :thread_id ORDER BY seq DESC LIMIT 1 OFFSET :keep
);

-- name: add_thread_events
UPDATE threads SET events = events + :events WHERE thread_id = :thread_id RETURNING events;

-- name: unplaced_of_thread
SELECT 0 AS of_run, seq, NULL AS run_id, 1 AS events FROM state_updates WHERE thread_id = :thread_id AND base < 0
UNION ALL
SELECT 1, seq, run_id, events FROM runs WHERE thread_id = :thread_id AND base < 0
ORDER BY of_run, seq;

-- name: place_run
UPDATE runs SET base = :base WHERE run_id = :run_id;

-- name: place_state_update
UPDATE state_updates SET base = :base WHERE seq = :seq;

-- From the run in which the cursor may be, on; a run that has not begun has no place yet.
-- name: thread_spans
SELECT base, run_id, NULL AS data FROM runs
WHERE thread_id = :thread_id AND (attempt > 0 OR events IS NOT NULL) AND base >= coalesce(
    (
        SELECT max(base) FROM runs
        WHERE thread_id = :thread_id AND base BETWEEN 0 AND :after AND (attempt > 0 OR events IS NOT NULL)
    ), 0
)
UNION ALL
SELECT base, NULL, data FROM state_updates WHERE thread_id = :thread_id AND base >= :after
ORDER BY base
LIMIT :limit;

-- name: next_expiry
SELECT min(expires_at) FROM threads
WHERE expires_at IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
);

-- name: expired_threads
SELECT * FROM threads
WHERE expires_at <= :now AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
)
ORDER BY expires_at
LIMIT :limit;

-- name: set_thread_busy
UPDATE threads
SET status = 'busy', updated_at = :now, metadata = json_patch(metadata, :identity),
    config = coalesce(:config, config),
    expires_at = coalesce(expires_at, :now + CAST(ttl_minutes * 60000000 AS INTEGER))
WHERE thread_id = :thread_id;

-- name: delete_thread
DELETE FROM threads WHERE thread_id = :thread_id;

-- The values may be large, and are left out if nobody wants them.
-- name: search_threads
WITH matching AS (
    SELECT seq AS matched, CASE :sort_by
            WHEN 'thread_id' THEN thread_id
            WHEN 'status' THEN status
            WHEN 'created_at' THEN created_at
            WHEN 'state_updated_at' THEN coalesce(state_updated_at, created_at)
            ELSE updated_at
        END AS sort_key
    FROM threads
    WHERE (:ids IS NULL OR thread_id IN (SELECT value FROM json_each(:ids)))
        AND (:status IS NULL OR status = :status)
        AND {holds_metadata}
        AND {permitted}
        AND (:values IS NULL OR NOT EXISTS (
            SELECT 1 FROM json_tree(:values) AS wanted
            WHERE NOT coalesce(
                CASE
                    WHEN instr(wanted.fullkey, '\') THEN EXISTS (
                        SELECT 1 FROM json_tree(CAST("values" AS TEXT)) AS held
                        WHERE held.fullkey = wanted.fullkey AND held.type = wanted.type AND held.atom IS wanted.atom
                            AND (
                                wanted.type <> 'array'
                                OR json_array_length(held.value) = json_array_length(wanted.value)
                            )
                    )
                    ELSE json_type(CAST("values" AS TEXT), wanted.fullkey) = wanted.type AND CASE wanted.type
                        WHEN 'object' THEN 1
                        WHEN 'array' THEN
                            json_array_length(CAST("values" AS TEXT), wanted.fullkey) = json_array_length(wanted.value)
                        ELSE json_extract(CAST("values" AS TEXT), wanted.fullkey) IS wanted.atom
                    END
                END,
                0
            )
        ))
),
{page}
SELECT thread_id, created_at, updated_at, metadata, config, status, interrupts, error, events, state_updated_at,
    ttl_strategy, ttl_minutes, expires_at, seq, CASE WHEN :with_values THEN "values" END AS "values", page.total
FROM page LEFT JOIN threads ON threads.seq = page.matched
ORDER BY page.place;

-- Parts of documents: a list or an object as it is written; a value as a list of it, twice, since the database itself
-- takes truth for 1 and rounds numbers.
-- name: extract_from_threads
SELECT thread_id, name, CASE WHEN kind IN ('object', 'array') THEN json_extract(document, path) END AS whole,
    CASE WHEN kind NOT IN ('object', 'array') THEN json_extract(document, path, path) END AS twice
FROM (
    SELECT thread_id, document, path, name, json_type(document, path) AS kind
    FROM (
        SELECT thread_id, json_extract(wanted.value, '$.path') AS path, json_extract(wanted.value, '$.name') AS name,
            CASE json_extract(wanted.value, '$.part')
                WHEN 'values' THEN CAST("values" AS TEXT)
                WHEN 'interrupts' THEN CAST(interrupts AS TEXT)
                WHEN 'config' THEN config
                ELSE metadata
            END AS document
        FROM threads JOIN json_each(:wanted) AS wanted
        WHERE thread_id IN (SELECT value FROM json_each(:ids))
    )
);

-- name: get_run
SELECT * FROM runs WHERE run_id = :run_id;

-- name: list_runs
SELECT * FROM runs
WHERE thread_id = :thread_id AND (:status IS NULL OR status = :status)
ORDER BY seq DESC
LIMIT :limit OFFSET :offset;

-- name: run_ids_of_thread
SELECT run_id FROM runs WHERE thread_id = :thread_id;

-- name: delete_run
DELETE FROM runs WHERE run_id = :run_id;

-- name: active_run_of_thread
SELECT run_id FROM runs WHERE thread_id = :thread_id AND status IN ('pending', 'running') LIMIT 1;

-- name: active_runs
SELECT * FROM runs
WHERE status IN ('pending', 'running') AND (:thread_id IS NULL OR thread_id = :thread_id)
ORDER BY seq;

-- name: temporary_threads
SELECT DISTINCT thread_id FROM runs
WHERE status NOT IN ('pending', 'running') AND json_extract(kwargs, '$.temporary')
    AND (:ended_before IS NULL OR updated_at <= :ended_before)
    AND (:living IS NULL OR coalesce(process, '') NOT IN (SELECT value FROM json_each(:living)));

-- name: rolled_back_runs
SELECT run_id FROM runs
WHERE cancel = 'rollback' AND status NOT IN ('pending', 'running')
    AND (:ended_before IS NULL OR updated_at <= :ended_before)
    AND (:living IS NULL OR coalesce(process, '') NOT IN (SELECT value FROM json_each(:living)));

-- Who ended runs that are to be deleted.
-- name: ending_processes
SELECT process FROM runs
WHERE status NOT IN ('pending', 'running') AND json_extract(kwargs, '$.temporary') AND process IS NOT NULL
UNION
SELECT process FROM runs
WHERE cancel = 'rollback' AND status NOT IN ('pending', 'running') AND process IS NOT NULL;

-- name: ended_runs
SELECT run_id FROM runs
WHERE status IN ('success', 'error', 'timeout', 'interrupted') AND updated_at <= :before
ORDER BY updated_at
LIMIT :limit;

-- name: ended_runs_with_events
SELECT run_id FROM runs
WHERE events_kept AND status IN ('success', 'error', 'timeout', 'interrupted') AND updated_at <= :before
ORDER BY updated_at
LIMIT :limit;

-- name: unchanged_threads
SELECT thread_id FROM threads
WHERE thread_id > :after AND updated_at <= :before AND NOT EXISTS (
    SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
)
ORDER BY thread_id
LIMIT :limit;

-- name: known_threads
SELECT thread_id FROM threads WHERE thread_id IN (SELECT value FROM json_each(:thread_ids));

-- name: count_pending_runs
SELECT count(*) FROM runs WHERE status = 'pending';

-- Those that wait for their time are counted apart: they may do so for years, and keep nobody from anything meanwhile.
-- name: count_active_runs
SELECT (SELECT count(*) FROM runs WHERE status = 'pending') + (SELECT count(*) FROM runs WHERE status = 'running')
    - (SELECT count(*) FROM runs INDEXED BY runs_delayed WHERE status = 'pending' AND waits_for = 'time');

-- name: count_delayed_runs
SELECT count(*) FROM runs INDEXED BY runs_delayed WHERE status = 'pending' AND waits_for = 'time';

-- name: count_active_runs_of_owner
SELECT count(*) FROM runs INDEXED BY runs_of_owner
WHERE owner = :owner AND owner != '' AND status IN ('pending', 'running') AND waits_for IS NOT 'time';

-- name: count_delayed_runs_of_owner
SELECT count(*) FROM runs INDEXED BY runs_of_owner
WHERE owner = :owner AND owner != '' AND status IN ('pending', 'running') AND waits_for = 'time';

-- name: insert_run
INSERT INTO runs (
    run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, multitask_strategy, due_at, owner,
    waits_for
)
VALUES (
    :run_id, :thread_id, :assistant_id, :created_at, :updated_at, 'pending', :metadata, :kwargs, :multitask_strategy,
    :due_at, :owner,
    CASE
        WHEN :due_at > :now THEN 'time'
        WHEN EXISTS (
            SELECT 1 FROM runs AS head INDEXED BY runs_heads
            WHERE head.thread_id = :thread_id AND head.status IN ('pending', 'running') AND head.waits_for IS NULL
        ) THEN 'turn'
    END
)
ON CONFLICT (run_id) DO NOTHING;

-- The first action stays: it is the one that the executor was told of.
-- name: mark_active_runs_of_thread
UPDATE runs SET cancel = coalesce(cancel, :action), updated_at = :now
WHERE thread_id = :thread_id AND status IN ('pending', 'running')
RETURNING *;

-- name: mark_run
UPDATE runs SET cancel = coalesce(cancel, :action), updated_at = :now
WHERE run_id = :run_id AND status IN ('pending', 'running')
RETURNING *;

-- The indexes are named where runs wait: SQLite, which knows no figures of them, takes one of all pending runs by itself.

-- Some at a time, so that no claim takes long.
-- name: end_delays
UPDATE runs SET waits_for = 'turn'
WHERE seq IN (
    SELECT seq FROM runs INDEXED BY runs_delayed
    WHERE status = 'pending' AND waits_for = 'time' AND due_at <= :now ORDER BY due_at LIMIT :limit
)
RETURNING thread_id;

-- Changes nothing while the thread has a head.
-- name: next_of_thread
UPDATE runs SET waits_for = NULL
WHERE seq = (
    SELECT seq FROM runs INDEXED BY runs_in_turn
    WHERE thread_id = :thread_id AND status = 'pending' AND waits_for = 'turn' ORDER BY seq LIMIT 1
)
AND NOT EXISTS (
    SELECT 1 FROM runs AS head INDEXED BY runs_heads
    WHERE head.thread_id = :thread_id AND head.status IN ('pending', 'running') AND head.waits_for IS NULL
);

-- name: next_owner
SELECT owner FROM runs INDEXED BY runs_ready
WHERE status = 'pending' AND waits_for IS NULL AND owner > :owner ORDER BY owner LIMIT 1;

-- name: first_owner
SELECT owner FROM runs INDEXED BY runs_ready
WHERE status = 'pending' AND waits_for IS NULL ORDER BY owner LIMIT 1;

-- name: head_of_owner
SELECT seq FROM runs INDEXED BY runs_ready
WHERE status = 'pending' AND waits_for IS NULL AND owner = :owner ORDER BY seq LIMIT 1;

-- name: end_trials
UPDATE runs SET trial_until = NULL WHERE process = :process AND trial_until <= :now;

-- Of the runs that were under way when a process died, those that may be to blame for it go last, and one at a time. Their
-- trials double in length, so that one which kills its process late is found too.
-- name: claim_run
UPDATE runs
SET status = 'running', worker_id = :worker_id, process = :process, lease_until = :lease_until, updated_at = :now,
    trial_until = CASE
        WHEN status = 'running' AND crashes > 1 THEN :now + (:trial << min(crashes - 2, 10))
    END,
    base = CASE attempt
        WHEN 0 THEN (SELECT events FROM threads WHERE threads.thread_id = runs.thread_id) ELSE base
    END,
    attempt = attempt + 1
WHERE seq = (
    SELECT min(claimable) FROM (
        SELECT :head AS claimable
        UNION ALL
        SELECT (
            SELECT seq FROM runs
            WHERE status = 'running' AND lease_until <= :now
                AND owner NOT IN (SELECT value FROM json_each(:full))
                AND (
                    crashes < 2 OR NOT EXISTS (
                        SELECT 1 FROM runs AS tried
                        WHERE tried.process = :process AND tried.trial_until IS NOT NULL AND tried.status = 'running'
                    )
                )
            ORDER BY trials, seq LIMIT 1
        )
    )
)
RETURNING *;

-- A run that waits for another of its thread waits for no time: the end of that one wakes a worker.
-- name: next_due
SELECT min(at) FROM (
    SELECT (
        SELECT due_at FROM runs INDEXED BY runs_delayed
        WHERE status = 'pending' AND waits_for = 'time' ORDER BY due_at LIMIT 1
    ) AS at
    UNION ALL
    SELECT min(CASE WHEN crashes < 2 THEN lease_until ELSE max(lease_until, tried_until) END)
    FROM runs, (
        SELECT coalesce(max(trial_until), 0) AS tried_until FROM runs
        WHERE process = :process AND trial_until IS NOT NULL AND status = 'running'
    )
    WHERE status = 'running' AND owner NOT IN (SELECT value FROM json_each(:full))
);

-- name: extend_leases
UPDATE runs SET lease_until = :lease_until
WHERE run_id IN (SELECT value FROM json_each(:run_ids)) AND worker_id = :worker_id AND status = 'running'
RETURNING *;

-- name: running_processes
SELECT DISTINCT process FROM runs WHERE status = 'running' AND process IS NOT NULL;

-- Of a process that died: it is known by that it is forgotten.
-- name: expire_leases
UPDATE runs SET lease_until = min(lease_until, :now), process = NULL, crashes = crashes + 1, trial_until = NULL,
    trials = trials + (
        trial_until IS NOT NULL
        OR 1 = (SELECT count(*) FROM runs AS beside WHERE beside.process = :process AND beside.status = 'running')
    )
WHERE process = :process AND status = 'running';

-- name: finish_run
UPDATE runs
SET status = :status, worker_id = NULL, process = :process, lease_until = NULL, waits_for = NULL, trial_until = NULL,
    updated_at = :now, events = :events,
    base = CASE
        WHEN attempt > 0 THEN base
        WHEN EXISTS (
            SELECT 1 FROM runs AS begun
            WHERE begun.thread_id = runs.thread_id AND begun.status IN ('pending', 'running') AND begun.attempt > 0
        ) THEN -1
        ELSE (SELECT events FROM threads WHERE threads.thread_id = runs.thread_id)
    END
WHERE run_id = :run_id AND attempt = :attempt AND status IN ('pending', 'running')
RETURNING thread_id, base;

-- name: finish_thread
UPDATE threads
SET status = CASE
        WHEN EXISTS (
            SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
        ) THEN 'busy' ELSE :status
    END,
    "values" = coalesce(:values, "values"), interrupts = :interrupts, error = :error, events = events + :events,
    updated_at = :now, state_updated_at = :now
WHERE thread_id = :thread_id;

-- A run that never started leaves the thread's state as it is.
-- name: finish_thread_untouched
UPDATE threads
SET status = CASE
        WHEN EXISTS (
            SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
        ) THEN 'busy' ELSE :status
    END,
    events = events + :events, updated_at = :now
WHERE thread_id = :thread_id;

-- name: release_run
UPDATE runs SET status = 'pending', worker_id = NULL, lease_until = NULL, trial_until = NULL, updated_at = :now
WHERE run_id = :run_id AND attempt = :attempt AND status = 'running';

-- The fence: nothing is inserted if another attempt has the run, or if the numbers do not go on from what is stored.
-- name: insert_segment
INSERT INTO segments (run_id, first_seq, last_seq, attempt, data)
SELECT run_id, :first_seq, :last_seq, attempt, :data
FROM runs
WHERE run_id = :run_id AND attempt = :attempt
    AND :first_seq = 1 + coalesce(
        (SELECT last_seq FROM segments WHERE segments.run_id = runs.run_id ORDER BY first_seq DESC LIMIT 1),
        events_dropped_to
    );

-- name: log_position
SELECT attempt, events_dropped_to,
    (SELECT last_seq FROM segments WHERE segments.run_id = runs.run_id ORDER BY first_seq DESC LIMIT 1) AS last_seq
FROM runs
WHERE run_id = :run_id;

-- name: read_segments
SELECT first_seq, data FROM segments
WHERE run_id = :run_id AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM segments WHERE run_id = :run_id AND first_seq <= :after + 1), 0
)
ORDER BY first_seq;

-- name: drop_events
UPDATE runs
SET events_dropped_to = coalesce(
    (SELECT last_seq FROM segments WHERE segments.run_id = runs.run_id ORDER BY first_seq DESC LIMIT 1),
    events_dropped_to
)
WHERE run_id = :run_id AND status IN ('success', 'error', 'timeout', 'interrupted')
RETURNING run_id;

-- The oldest: some rows and some bytes at most, so that no one waits long for the lock.
-- name: delete_some_segments
DELETE FROM segments WHERE run_id = :run_id AND first_seq IN (
    SELECT first_seq FROM (
        SELECT first_seq, sum(size) OVER (ORDER BY first_seq) - size AS bytes_before
        FROM (
            SELECT first_seq, length(data) AS size FROM segments WHERE run_id = :run_id ORDER BY first_seq LIMIT :rows
        )
    )
    WHERE bytes_before < :bytes
);

-- name: has_segments
SELECT EXISTS (SELECT 1 FROM segments WHERE run_id = :run_id);

-- name: set_events_gone
UPDATE runs SET events_kept = 0 WHERE run_id = :run_id;

-- name: insert_assistant
INSERT INTO assistants (assistant_id, version, created_at, updated_at)
VALUES (:assistant_id, :version, :created_at, :updated_at)
ON CONFLICT (assistant_id) DO NOTHING;

-- name: insert_default_assistant
INSERT INTO assistants (assistant_id, version, created_at, updated_at, is_default)
VALUES (:assistant_id, :version, :created_at, :updated_at, 1);

-- Before assistants were told apart, a client could call one its own that had the id of a graph to come: not of that graph.
-- name: holder_of_assistant_id
SELECT is_default AND EXISTS (
    SELECT 1 FROM assistant_versions AS held
    WHERE held.assistant_id = assistants.assistant_id AND held.version = 1 AND held.graph_id = :graph_id
) AS is_default
FROM assistants WHERE assistant_id = :assistant_id;

-- name: rename_assistant
UPDATE assistants SET assistant_id = :new_id WHERE assistant_id = :assistant_id;

-- name: rename_assistant_versions
UPDATE assistant_versions SET assistant_id = :new_id WHERE assistant_id = :assistant_id;

-- name: rename_assistant_of_crons
UPDATE crons SET assistant_id = :new_id WHERE assistant_id = :assistant_id;

-- name: rename_assistant_of_runs
UPDATE runs SET assistant_id = :new_id
WHERE assistant_id = :assistant_id AND status IN ('pending', 'running');

-- name: insert_assistant_version
INSERT INTO assistant_versions (
    assistant_id, version, created_at, graph_id, config, context, metadata, name, name_lower, description
)
VALUES (
    :assistant_id, :version, :created_at, :graph_id, :config, :context, :metadata, :name, :name_lower, :description
);

-- name: get_assistant
SELECT * FROM current_assistants WHERE assistant_id = :assistant_id;

-- name: next_assistant_version
SELECT 1 + max(version) FROM assistant_versions WHERE assistant_id = :assistant_id;

-- Changes nothing if there is no such version.
-- name: set_assistant_version
UPDATE assistants SET version = :version, updated_at = :now
WHERE assistant_id = :assistant_id AND EXISTS (
    SELECT 1 FROM assistant_versions AS held
    WHERE held.assistant_id = assistants.assistant_id AND held.version = :version
);

-- name: delete_assistant
DELETE FROM assistants WHERE assistant_id = :assistant_id;

-- name: search_assistants
WITH matching AS (
    SELECT seq AS matched, CASE :sort_by
            WHEN 'assistant_id' THEN assistant_id
            WHEN 'graph_id' THEN lower(graph_id)
            WHEN 'name' THEN name_lower
            WHEN 'updated_at' THEN updated_at
            ELSE created_at
        END AS sort_key
    FROM current_assistants
    WHERE graph_id IN (SELECT value FROM json_each(:graph_ids))
        AND (:name_lower IS NULL OR instr(name_lower, :name_lower) > 0)
        AND {holds_metadata}
        AND (assistant_id IN (SELECT value FROM json_each(:shared)) OR {permitted})
),
{page}
SELECT current_assistants.*, page.total
FROM page LEFT JOIN current_assistants ON current_assistants.seq = page.matched
ORDER BY page.place;

-- name: assistant_versions
SELECT *, created_at AS updated_at FROM assistant_versions
WHERE assistant_id = :assistant_id
    AND {holds_metadata}
ORDER BY version DESC
LIMIT :limit OFFSET :offset;

-- name: active_runs_of_assistant
SELECT run_id FROM runs WHERE assistant_id = :assistant_id AND status IN ('pending', 'running') ORDER BY seq;

-- name: threads_of_assistant
SELECT thread_id FROM threads WHERE json_extract(metadata, '$.assistant_id') = :assistant_id ORDER BY seq;

-- name: insert_cron
INSERT INTO crons (
    cron_id, assistant_id, thread_id, schedule, timezone, end_time, next_run_date, created_at, updated_at, payload,
    metadata, on_run_completed, enabled, caller
)
SELECT :cron_id, :assistant_id, :thread_id, :schedule, :timezone, :end_time, :next_run_date, :created_at, :updated_at,
    :payload, :metadata, :on_run_completed, :enabled, :caller
WHERE EXISTS (SELECT 1 FROM assistants WHERE assistants.assistant_id = :assistant_id)
    AND (:thread_id IS NULL OR EXISTS (SELECT 1 FROM threads WHERE threads.thread_id = :thread_id));

-- name: count_crons_of_owner
SELECT count(*) FROM crons INDEXED BY crons_of_owner
WHERE json_extract(caller, '$.user.identity') = :owner AND caller IS NOT NULL;

-- name: get_cron
SELECT * FROM crons WHERE cron_id = :cron_id;

-- name: update_cron
UPDATE crons
SET schedule = :schedule, timezone = :timezone, end_time = :end_time, next_run_date = :next_run_date,
    updated_at = :updated_at, payload = :payload, metadata = :metadata, on_run_completed = :on_run_completed,
    enabled = :enabled, caller = :caller
WHERE cron_id = :cron_id;

-- name: delete_cron
DELETE FROM crons WHERE cron_id = :cron_id;

-- Any letter is greater than the digits of an id: so is the missing thread's 'none'.
-- name: search_crons
WITH matching AS (
    SELECT seq AS matched, CASE :sort_by
            WHEN 'cron_id' THEN cron_id
            WHEN 'assistant_id' THEN assistant_id
            WHEN 'thread_id' THEN coalesce(thread_id, 'none')
            WHEN 'next_run_date' THEN next_run_date
            WHEN 'end_time' THEN end_time
            WHEN 'updated_at' THEN updated_at
            ELSE created_at
        END AS sort_key
    FROM crons
    WHERE (:assistant_id IS NULL OR assistant_id = :assistant_id)
        AND (:thread_id IS NULL OR thread_id = :thread_id)
        AND (:enabled IS NULL OR enabled = :enabled)
        AND {holds_metadata}
        AND {permitted}
),
{page}
SELECT crons.*, page.total
FROM page LEFT JOIN crons ON crons.seq = page.matched
ORDER BY page.place;

-- name: due_crons
SELECT * FROM crons
WHERE enabled AND next_run_date IS NOT NULL AND next_run_date <= :now AND (end_time IS NULL OR end_time >= :now)
ORDER BY next_run_date
LIMIT :limit;

-- name: next_cron_date
SELECT next_run_date FROM crons
WHERE enabled AND next_run_date IS NOT NULL
    AND (end_time IS NULL OR (end_time >= next_run_date AND end_time >= :now))
ORDER BY next_run_date
LIMIT 1;

-- As claim_cron, but not if the cron was changed: what is to run is known already.
-- name: fire_cron
UPDATE crons SET next_run_date = :following
WHERE cron_id = :cron_id AND next_run_date = :next_run_date AND updated_at = :updated_at AND enabled;

-- Compare and set: of all who saw the cron due, one moves it on.
-- name: claim_cron
UPDATE crons SET next_run_date = :following
WHERE cron_id = :cron_id AND next_run_date = :next_run_date AND enabled
RETURNING *;

-- name: insert_delivery
INSERT INTO deliveries (
    delivery_id, run_id, thread_id, url, payload, status, attempts, due_at, created_at, updated_at
)
VALUES (:delivery_id, :run_id, :thread_id, :url, :payload, 'pending', 0, :created_at, :created_at, :created_at);

-- Due again after the lease, if nobody says before what came of it.
-- name: take_delivery
UPDATE deliveries SET attempts = attempts + 1, due_at = :lease_until, process = :process, updated_at = :now
WHERE seq = (
    SELECT seq FROM deliveries INDEXED BY deliveries_due
    WHERE status = 'pending' AND due_at <= :now ORDER BY due_at LIMIT 1
)
RETURNING *;

-- By whoever made the latest attempt. What a stateless run said is not kept once it is told.
-- name: settle_delivery
UPDATE deliveries
SET status = :status, due_at = :due_at, problem = :problem, process = NULL, updated_at = :now,
    payload = CASE
        WHEN :status = 'delivered' AND NOT EXISTS (
            SELECT 1 FROM threads WHERE threads.thread_id = deliveries.thread_id
        ) THEN x'' ELSE payload
    END
WHERE delivery_id = :delivery_id AND attempts = :attempts AND status = 'pending';

-- name: next_delivery
SELECT due_at FROM deliveries INDEXED BY deliveries_due WHERE status = 'pending' ORDER BY due_at LIMIT 1;

-- name: delivering_processes
SELECT DISTINCT process FROM deliveries INDEXED BY deliveries_taken WHERE status = 'pending' AND process IS NOT NULL;

-- name: free_deliveries
UPDATE deliveries SET due_at = :now, process = NULL WHERE status = 'pending' AND process = :process;

-- name: deliveries_of_run
SELECT delivery_id, run_id, thread_id, url, x'' AS payload, status, attempts, due_at, problem, created_at, updated_at
FROM deliveries WHERE run_id = :run_id ORDER BY seq;

-- name: list_deliveries
SELECT delivery_id, run_id, thread_id, url, x'' AS payload, status, attempts, due_at, problem, created_at, updated_at
FROM deliveries WHERE :status IS NULL OR status = :status ORDER BY seq DESC LIMIT :limit;

-- name: send_delivery_again
UPDATE deliveries SET status = 'pending', attempts = 0, due_at = :now, problem = NULL, process = NULL, updated_at = :now
WHERE delivery_id = :delivery_id AND run_id = :run_id AND status IN ('delivered', 'failed') AND length(payload) > 0;

-- name: delete_deliveries
DELETE FROM deliveries WHERE seq IN (
    SELECT seq FROM deliveries INDEXED BY deliveries_done
    WHERE status IN ('delivered', 'failed') AND updated_at <= :before ORDER BY updated_at LIMIT :limit
);

-- name: delete_deliveries_of_thread
DELETE FROM deliveries WHERE status IN ('delivered', 'failed') AND run_id IN (
    SELECT run_id FROM runs WHERE thread_id = :thread_id
        AND coalesce(json_extract(kwargs, '$.temporary'), 0) = 0
);
