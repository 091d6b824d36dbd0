-- Schema 1 of a gyeol database in SQLite. Times are UTC milliseconds. Texts of posts live in post.content alone;
-- judgement.*_why and history.reason quote a few words of them.
-- AUTOINCREMENT: the key of somebody erased is never given to somebody else.
CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ext TEXT NOT NULL UNIQUE,
    ext_rank INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ei INTEGER NOT NULL DEFAULT 50 CHECK (ei BETWEEN 0 AND 100),
    sn INTEGER NOT NULL DEFAULT 50 CHECK (sn BETWEEN 0 AND 100),
    tf INTEGER NOT NULL DEFAULT 50 CHECK (tf BETWEEN 0 AND 100),
    jp INTEGER NOT NULL DEFAULT 50 CHECK (jp BETWEEN 0 AND 100)
) STRICT;
CREATE INDEX person_order ON person (ext_rank, ext);

-- An erasure whose bytes may still be in unused parts of the file: set with the deletion, cleared when the file has been
-- written anew and its log truncated.
CREATE TABLE scrub (
    due_at INTEGER NOT NULL
) STRICT;

CREATE TABLE survey (
    person_id INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    taken_at INTEGER NOT NULL,
    ei INTEGER NOT NULL CHECK (ei BETWEEN 0 AND 100),
    sn INTEGER NOT NULL CHECK (sn BETWEEN 0 AND 100),
    tf INTEGER NOT NULL CHECK (tf BETWEEN 0 AND 100),
    jp INTEGER NOT NULL CHECK (jp BETWEEN 0 AND 100),
    PRIMARY KEY (person_id, taken_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE freeze (
    person_id INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    from_at INTEGER NOT NULL,
    to_at INTEGER,
    PRIMARY KEY (person_id, from_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE mission (
    id INTEGER PRIMARY KEY,
    ext TEXT NOT NULL UNIQUE,
    title TEXT,
    description TEXT
) STRICT;

CREATE TABLE post (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ext TEXT NOT NULL UNIQUE,
    ext_rank INTEGER NOT NULL,
    person_id INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    mission_id INTEGER REFERENCES mission (id),
    written_at INTEGER NOT NULL,
    edited_at INTEGER,
    deleted_at INTEGER,
    version INTEGER NOT NULL DEFAULT 1,
    pending INTEGER NOT NULL, -- 1: live and without a counting judgement of its version
    content TEXT NOT NULL
) STRICT;
CREATE INDEX post_order ON post (person_id, written_at, ext_rank, ext);
CREATE INDEX post_pending ON post (person_id, written_at, id) WHERE pending = 1;

CREATE TABLE model (
    id INTEGER PRIMARY KEY,
    mode TEXT NOT NULL,
    name TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    adapter_sha256 TEXT NOT NULL, -- '' without adapter
    UNIQUE (mode, name, model_sha256, adapter_sha256)
) STRICT;

CREATE TABLE judgement (
    post_id INTEGER NOT NULL REFERENCES post (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    model_id INTEGER NOT NULL REFERENCES model (id),
    counts INTEGER NOT NULL,
    policy INTEGER NOT NULL, -- 0 fixed, 1 weighted
    weight INTEGER NOT NULL,
    judged_at INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    reason TEXT,
    ei INTEGER NOT NULL, ei_up REAL NOT NULL, ei_keep REAL NOT NULL, ei_down REAL NOT NULL, ei_why TEXT,
    sn INTEGER NOT NULL, sn_up REAL NOT NULL, sn_keep REAL NOT NULL, sn_down REAL NOT NULL, sn_why TEXT,
    tf INTEGER NOT NULL, tf_up REAL NOT NULL, tf_keep REAL NOT NULL, tf_down REAL NOT NULL, tf_why TEXT,
    jp INTEGER NOT NULL, jp_up REAL NOT NULL, jp_keep REAL NOT NULL, jp_down REAL NOT NULL, jp_why TEXT,
    PRIMARY KEY (post_id, version, model_id)
) STRICT, WITHOUT ROWID;

-- The fold's trace: one row per axis that a post moved, scores being those after the whole post.
CREATE TABLE history (
    person_id INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    post_id INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    axis INTEGER NOT NULL, -- 0 ei, 1 sn, 2 tf, 3 jp
    decision INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    current INTEGER NOT NULL,
    ei INTEGER NOT NULL, sn INTEGER NOT NULL, tf INTEGER NOT NULL, jp INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (person_id, seq)
) STRICT, WITHOUT ROWID;
