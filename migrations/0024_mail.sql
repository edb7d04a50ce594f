-- Mails on their way out. What a mail says, and to whom, is sealed, and is forgotten as soon as it is settled.
CREATE TABLE mail (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text COLLATE "C" NOT NULL UNIQUE,  -- what caused it, for whom: the same cause makes no second mail
    message_id text COLLATE "C" NOT NULL UNIQUE,  -- random; in front of the @ of the Message-ID, at every attempt
    lane       bytea NOT NULL,                    -- SHA-256 of whom it is for: mails of one lane leave in order of id
    urgent     boolean NOT NULL,                  -- somebody waits for it at this moment: leaves before what is not
    state      text NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'bounced', 'refused', 'given-up', 'withdrawn')),
    reason     text,                              -- a code: why it was withdrawn, or what kept it the last time
    sealed     bytea,                             -- what it says, or what it is made of; NULL once it is settled
    report     text COLLATE "C",                  -- the kind of job that is told when it is settled
    attempts   integer NOT NULL DEFAULT 0,        -- counted when one begins, so it also says whose attempt is under way
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,              -- when to try; while it is being sent, when that counts as lost
    expires_at timestamptz NOT NULL,              -- when it is given up
    settled_at timestamptz
);
CREATE INDEX mail_due ON mail (urgent DESC, due_at, id) WHERE state IN ('queued', 'sending');
CREATE INDEX mail_lane ON mail (lane, id) WHERE state IN ('queued', 'sending');
CREATE INDEX mail_settled ON mail (settled_at) WHERE settled_at IS NOT NULL;

-- Who is behind a Patient or a Practitioner.
CREATE INDEX account_profile ON account (profile);
