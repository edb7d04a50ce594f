-- Objects: the content of Binaries, which lies encrypted in a folder or a bucket. A row holds what opens one; the version of a Binary
-- names its object where its `data` was.
CREATE TABLE object (
    -- Random: it is also the name under which the object lies, and tells nothing.
    id         bytea PRIMARY KEY CHECK (length(id) = 16),
    -- The data key, sealed under a master key. Empty: the object cannot be read any more by anybody.
    key        bytea NOT NULL,
    -- In bytes before encryption, with its hashes; none while it is being written, and once it was erased.
    size       bigint,
    sha1       bytea,
    sha256     bytea,
    -- Whether some version names it. What is never named is removed after a day.
    used       boolean NOT NULL DEFAULT false,
    -- Whether the encrypted bytes are gone as well.
    removed    boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);

CREATE INDEX object_unused ON object (created_at) WHERE NOT used;
CREATE INDEX object_to_remove ON object (id) WHERE key = '' AND NOT removed;

-- Versions of Binaries from before there were objects: their content is moved into objects while the server runs.
CREATE TABLE object_to_gather AS
    SELECT v.rid, v.version
    FROM (SELECT rid, version, type, content FROM resource UNION ALL SELECT rid, version, type, content FROM resource_history) v
    JOIN resource_type t ON t.id = v.type
    WHERE t.name = 'Binary' AND v.content ? 'data';

-- Addresses that open one version of a Binary for a few minutes, once.
CREATE TABLE presigned_url (
    -- SHA-256 of what the address holds.
    token      bytea PRIMARY KEY,
    binary_id  text NOT NULL,
    version    integer NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Who asked for it, for the records of its use.
    who        jsonb NOT NULL,
    -- Who came first: nobody else may.
    used_by    text
);

CREATE INDEX presigned_url_expires ON presigned_url (expires_at);
