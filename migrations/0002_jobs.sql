-- Work that must happen after a commit, and survives a crash: it is enqueued in the transaction that causes it.
-- A job that is done is deleted; one that failed for good stays, with its last error, until a person has looked at it.
CREATE TABLE job (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text COLLATE "C" NOT NULL,  -- names the handler
    payload      jsonb NOT NULL,
    key          text COLLATE "C",           -- of jobs with one key, at most one waits for its first run
    depth        integer NOT NULL,           -- how many jobs in a row caused this one, so that loops end
    created_at   timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,       -- when to run; while it runs, when its lease ends
    attempts     integer NOT NULL DEFAULT 0, -- runs that were begun
    max_attempts integer NOT NULL,
    worker       text,                       -- who runs it, or ran it last
    dead_at      timestamptz,
    last_error   text
);
CREATE INDEX job_due ON job (due_at, id) WHERE dead_at IS NULL;
CREATE UNIQUE INDEX job_key ON job (key) WHERE attempts = 0 AND dead_at IS NULL;

-- When each schedule fires next. The row is what makes it fire once, however many instances run.
CREATE TABLE job_schedule (
    name    text COLLATE "C" PRIMARY KEY,
    pattern text COLLATE "C" NOT NULL,
    next_at timestamptz NOT NULL
);
