-- People who sign in. Nothing here is health data, and none of it leaves through the FHIR API: an account only names the
-- resources that stand for the person.
--
-- Secrets are stored as SHA-256 where they are random, by Argon2id where a person chose them, and sealed under the
-- server's master key where they must be read again.

CREATE TABLE account (
    id                text COLLATE "C" PRIMARY KEY,
    email             text COLLATE "C" NOT NULL UNIQUE,  -- lower-case; proved by a link that was mailed there
    role              text NOT NULL CHECK (role IN ('patient', 'practitioner', 'admin')),
    active            boolean NOT NULL DEFAULT true,
    password          text NOT NULL,                     -- a PHC string
    given             text NOT NULL,
    family            text NOT NULL,
    person            text COLLATE "C" NOT NULL,         -- the id of a Person
    profile           text COLLATE "C" NOT NULL,         -- Patient/… or Practitioner/…, to which the Person links
    created_at        timestamptz NOT NULL,
    totp_secret       bytea,                             -- sealed; NULL without an authenticator app
    totp_last_step    bigint NOT NULL DEFAULT 0          -- a code is good once
);

-- A browser that is signed in.
CREATE TABLE session (
    hash         bytea PRIMARY KEY,                      -- of the cookie
    id           text COLLATE "C" NOT NULL UNIQUE,
    account      text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    complete     boolean NOT NULL,                       -- false until the second factor was shown
    proved_at    timestamptz NOT NULL,                   -- when the person last proved who they are
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    device       text NOT NULL                           -- what the browser calls itself
);
CREATE INDEX session_account ON session (account);
CREATE INDEX session_expiry ON session (expires_at);

-- Links that were mailed to prove an address, and what becomes true when they are followed. Good once.
CREATE TABLE mailed_link (
    hash       bytea PRIMARY KEY,
    purpose    text NOT NULL CHECK (purpose IN ('sign-up', 'invitation', 'reset', 'change-email')),
    email      text COLLATE "C" NOT NULL,
    account    text COLLATE "C" REFERENCES account ON DELETE CASCADE, -- of a reset or a change
    role       text,                                      -- of a sign-up or an invitation
    given      text,                                      -- of a sign-up, as the three below
    family     text,
    password   text,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mailed_link_expiry ON mailed_link (expires_at);
CREATE INDEX mailed_link_account ON mailed_link (account);

-- Codes on paper, for whoever lost the authenticator.
CREATE TABLE backup_code (
    account text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    hash    bytea NOT NULL,
    PRIMARY KEY (account, hash)
);

-- Browsers that need no second factor for a while.
CREATE TABLE remembered_device (
    hash       bytea PRIMARY KEY,                         -- of a cookie
    account    text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX remembered_device_account ON remembered_device (account);
CREATE INDEX remembered_device_expiry ON remembered_device (expires_at);

-- Attempts in a window of time, by whoever is throttled: an account, an address. Shared by all instances.
CREATE TABLE attempt (
    key     bytea PRIMARY KEY,                            -- SHA-256 of what is counted
    count   integer NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX attempt_expiry ON attempt (ends_at);
