-- The trail: who did what. A request leaves a short record, in the transaction of what it did or before it is answered;
-- moments later these become AuditEvents, each linked to the one before it.

-- Records that are not AuditEvents yet.
CREATE TABLE audit_pending (
    seq   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event text NOT NULL,             -- JSON, as the program of this release reads and writes it
    mac   bytea NOT NULL             -- HMAC-SHA256 of it: nobody adds a record who has only the database
);

-- One link per AuditEvent, without gaps. Each proves its AuditEvent and the link before it.
CREATE TABLE audit_chain (
    seq bigint PRIMARY KEY,
    rid bigint NOT NULL,
    mac bytea NOT NULL
);

-- Up to which link AuditEvents were moved into files, by order of an operator.
CREATE TABLE audit_archive (
    seq   bigint PRIMARY KEY,
    mac   bytea NOT NULL,            -- of that link
    proof bytea NOT NULL             -- HMAC of both: nobody passes a deletion off as an archive
);

-- The key of all these, sealed under the server's master key.
CREATE TABLE audit_key (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    sealed  bytea NOT NULL
);
