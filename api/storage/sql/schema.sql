-- The schema as numbered migrations; a database knows by its `user_version` which ones it has had.
-- A migration that was released is never edited: what changes later is a further one. Every statement ends its line.
-- Times are microseconds since 1970 in UTC; JSON is text.

-- migration: 1
CREATE TABLE threads (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    config TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('idle', 'busy', 'interrupted', 'error')),
    "values" BLOB,
    interrupts BLOB NOT NULL,
    error TEXT,
    events INTEGER NOT NULL
) STRICT;

CREATE INDEX threads_created ON threads (created_at);

CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    thread_id TEXT NOT NULL REFERENCES threads (thread_id) ON DELETE CASCADE,
    assistant_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    metadata TEXT NOT NULL,
    kwargs TEXT NOT NULL,
    multitask_strategy TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    base INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    cancel TEXT CHECK (cancel IN ('interrupt', 'rollback')),
    worker_id TEXT,
    lease_until INTEGER,
    events_dropped_to INTEGER NOT NULL DEFAULT 0,
    CHECK ((status = 'running') = (worker_id IS NOT NULL AND lease_until IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 'running';
CREATE INDEX runs_of_thread ON runs (thread_id, seq);
CREATE INDEX runs_of_thread_by_status ON runs (thread_id, status);
CREATE INDEX runs_by_status ON runs (status, seq);
CREATE INDEX runs_by_due ON runs (status, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_by_lease ON runs (status, lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE segments (
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run_id, first_seq)
) STRICT, WITHOUT ROWID;

-- An assistant is a pointer to one of its versions; what it says is in the version alone.
-- migration: 2
CREATE TABLE assistants (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    assistant_id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE assistant_versions (
    assistant_id TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    graph_id TEXT NOT NULL,
    config TEXT NOT NULL,
    context TEXT NOT NULL,
    metadata TEXT NOT NULL,
    name TEXT NOT NULL,
    name_lower TEXT NOT NULL,
    description TEXT,
    PRIMARY KEY (assistant_id, version)
) STRICT, WITHOUT ROWID;

CREATE VIEW current_assistants AS
SELECT seq, assistant_id, version, assistants.created_at, updated_at, graph_id, config, context, metadata, name,
    name_lower, description
FROM assistants JOIN assistant_versions USING (assistant_id, version);

-- migration: 3
ALTER TABLE threads ADD COLUMN state_updated_at INTEGER;
ALTER TABLE threads ADD COLUMN ttl_strategy TEXT CHECK (ttl_strategy IN ('delete', 'keep_latest'));
ALTER TABLE threads ADD COLUMN ttl_minutes REAL;
ALTER TABLE threads ADD COLUMN expires_at INTEGER;

UPDATE threads SET state_updated_at = updated_at WHERE "values" IS NOT NULL OR error IS NOT NULL;

CREATE INDEX threads_expiring ON threads (expires_at) WHERE expires_at IS NOT NULL;

-- migration: 4
CREATE TABLE crons (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    cron_id TEXT NOT NULL UNIQUE,
    assistant_id TEXT NOT NULL REFERENCES assistants (assistant_id) ON DELETE CASCADE,
    thread_id TEXT REFERENCES threads (thread_id) ON DELETE CASCADE,
    schedule TEXT NOT NULL,
    timezone TEXT,
    end_time INTEGER,
    next_run_date INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    metadata TEXT NOT NULL,
    on_run_completed TEXT CHECK (on_run_completed IN ('delete', 'keep')),
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1))
) STRICT;

CREATE INDEX crons_of_assistant ON crons (assistant_id);
CREATE INDEX crons_of_thread ON crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_by_date ON crons (next_run_date) WHERE enabled AND next_run_date IS NOT NULL;

-- migration: 5
CREATE INDEX runs_temporary ON runs (thread_id) WHERE json_extract(kwargs, '$.temporary');

-- A thread's events are numbered across its runs and the updates of its state: each run, and each update, begins at its
-- base. One that ends while another run is under way has its place after that run, and a base of -1 until then.
-- migration: 6
ALTER TABLE runs ADD COLUMN events INTEGER;

CREATE INDEX runs_of_thread_by_base ON runs (thread_id, base);
CREATE INDEX runs_begun ON runs (thread_id, status) WHERE status IN ('pending', 'running') AND attempt > 0;

CREATE TABLE state_updates (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL REFERENCES threads (thread_id) ON DELETE CASCADE,
    base INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE INDEX state_updates_by_base ON state_updates (thread_id, base);

-- Finished runs by their end, and those whose events are still there: what is old is found without a walk.
-- migration: 7
ALTER TABLE runs ADD COLUMN events_kept INTEGER NOT NULL DEFAULT 1 CHECK (events_kept IN (0, 1));

CREATE INDEX runs_ended ON runs (updated_at) WHERE status IN ('success', 'error', 'timeout', 'interrupted');
CREATE INDEX runs_with_events ON runs (updated_at)
WHERE events_kept AND status IN ('success', 'error', 'timeout', 'interrupted');
CREATE INDEX runs_rolled_back ON runs (thread_id) WHERE cancel = 'rollback';

-- migration: 8
ALTER TABLE crons ADD COLUMN caller TEXT;

-- Which process has a running run, by the name that it has among its neighbours.
-- migration: 9
ALTER TABLE runs ADD COLUMN process TEXT;

-- What a pending run waits for: its time, or its turn among the runs of its thread. The one that waits for neither is the
-- thread's head, and so is the running one: there is one at most, and a claim looks at heads alone.
-- migration: 10
ALTER TABLE runs ADD COLUMN waits_for TEXT CHECK (waits_for IN ('time', 'turn'));

UPDATE runs SET waits_for = CASE WHEN due_at IS NOT NULL AND attempt = 0 THEN 'time' ELSE 'turn' END
WHERE status = 'pending';

UPDATE runs SET waits_for = NULL
WHERE seq IN (
    SELECT (
        SELECT seq FROM runs AS first
        WHERE first.thread_id = waiting.thread_id AND first.status = 'pending' AND first.waits_for = 'turn'
        ORDER BY first.attempt = 0, first.seq LIMIT 1
    )
    FROM (SELECT DISTINCT thread_id FROM runs WHERE status = 'pending' AND waits_for = 'turn') AS waiting
    WHERE NOT EXISTS (
        SELECT 1 FROM runs AS running WHERE running.thread_id = waiting.thread_id AND running.status = 'running'
    )
);

CREATE UNIQUE INDEX runs_heads ON runs (thread_id) WHERE status IN ('pending', 'running') AND waits_for IS NULL;
CREATE INDEX runs_ready ON runs (seq) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX runs_in_turn ON runs (thread_id, seq) WHERE status = 'pending' AND waits_for = 'turn';
CREATE INDEX runs_delayed ON runs (due_at) WHERE status = 'pending' AND waits_for = 'time';

DROP INDEX runs_by_due;

-- The graphs' own assistants, which the server makes: a client may have chosen the id of a graph that is to come.
-- migration: 11
ALTER TABLE assistants ADD COLUMN is_default INTEGER NOT NULL DEFAULT 0 CHECK (is_default IN (0, 1));

UPDATE assistants SET is_default = 1 WHERE EXISTS (
    SELECT 1 FROM assistant_versions AS held
    WHERE held.assistant_id = assistants.assistant_id AND held.version = 1
        AND json(held.metadata) = '{"created_by":"system"}'
);

-- In how many deaths of a process a run was under way, and in how many of them it may be to blame: it was alone, or on
-- trial. From its second death on it is on trial for a while when it goes on: of one process one run at a time.
-- migration: 12
ALTER TABLE runs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN trials INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN trial_until INTEGER;

CREATE INDEX runs_on_trial ON runs (process, trial_until) WHERE trial_until IS NOT NULL;

-- Whose run it is, as authentication knows them; nobody's where nobody is asked. Owners take turns: a claim looks for the
-- next one's oldest head.
-- migration: 13
ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT '';

UPDATE runs SET owner = coalesce(json_extract(kwargs, '$.caller.user.identity'), '')
WHERE status IN ('pending', 'running');

DROP INDEX runs_ready;
CREATE INDEX runs_ready ON runs (owner, seq) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX runs_of_owner ON runs (owner, waits_for) WHERE status IN ('pending', 'running') AND owner != '';
CREATE INDEX crons_of_owner ON crons (json_extract(caller, '$.user.identity')) WHERE caller IS NOT NULL;

-- The calls of webhooks: written with the end of their run, and gone with time. They outlive stateless threads.
-- migration: 14
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    url TEXT NOT NULL,
    payload BLOB NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    problem TEXT,
    process TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX deliveries_due ON deliveries (due_at) WHERE status = 'pending';
CREATE INDEX deliveries_taken ON deliveries (process) WHERE status = 'pending' AND process IS NOT NULL;
CREATE INDEX deliveries_of_run ON deliveries (run_id);
CREATE INDEX deliveries_done ON deliveries (updated_at) WHERE status IN ('delivered', 'failed');
