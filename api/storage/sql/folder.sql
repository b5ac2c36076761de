-- The mark that each file of a data folder has: which folder it is of, and how new it is.

-- name: make_mark
CREATE TABLE IF NOT EXISTS threadline_folder (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    folder TEXT NOT NULL,
    generation INTEGER NOT NULL,
    settled INTEGER NOT NULL
) STRICT;

-- name: write_mark
INSERT INTO threadline_folder (one, folder, generation, settled) VALUES (1, :folder, :generation, :settled)
ON CONFLICT (one) DO UPDATE
SET folder = excluded.folder, generation = excluded.generation, settled = excluded.settled;

-- name: read_mark
SELECT folder, generation, settled FROM threadline_folder;

-- name: tables
SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite_%';
