-- How surely people prove who they are, and by what: passkeys, codes by mail, other providers. And how accounts are reopened.

ALTER TABLE account
    ADD COLUMN mail_codes boolean NOT NULL DEFAULT false, -- whether a code by mail is a second factor
    ADD COLUMN closed_at  timestamptz,
    ADD COLUMN closed_by  text CHECK (closed_by IN ('owner', 'operator'));
UPDATE account SET closed_at = created_at, closed_by = 'operator' WHERE NOT active;
ALTER TABLE account ADD CHECK (active = (closed_at IS NULL) AND (closed_at IS NULL) = (closed_by IS NULL));

-- What was shown when proved_at was noted.
ALTER TABLE session
    ADD COLUMN assurance smallint NOT NULL DEFAULT 1 CHECK (assurance BETWEEN 1 AND 3), -- one factor, two, a passkey
    ADD COLUMN methods   text[] NOT NULL DEFAULT '{pwd}';                                -- as in the claim amr
ALTER TABLE oauth_grant
    ADD COLUMN assurance smallint CHECK (assurance BETWEEN 1 AND 3),
    ADD COLUMN methods   text[];

-- A key pair whose private half an authenticator of the person keeps (WebAuthn).
CREATE TABLE passkey (
    id           bytea PRIMARY KEY,                      -- the authenticator's name for it
    account      text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    name         text NOT NULL,                          -- what the person calls it
    transports   smallint NOT NULL,                      -- how browsers reach it; hints
    public_key   bytea NOT NULL,                         -- with what was agreed on when it was made
    state        bytea NOT NULL,                         -- what its uses change, above all its counter
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX passkey_account ON passkey (account);

-- Challenges that were answered. Each is good once, at all instances together.
CREATE TABLE used_challenge (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX used_challenge_expiry ON used_challenge (expires_at);

-- A code that was mailed for one session. Sealed, since so short a code could be found from its hash.
CREATE TABLE mailed_code (
    session    text COLLATE "C" PRIMARY KEY REFERENCES session (id) ON DELETE CASCADE,
    sealed     bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mailed_code_expiry ON mailed_code (expires_at);

ALTER TABLE mailed_link DROP CONSTRAINT mailed_link_purpose_check;
ALTER TABLE mailed_link ADD CONSTRAINT mailed_link_purpose_check
    CHECK (purpose IN ('sign-up', 'invitation', 'reset', 'change-email', 'reopen'));

-- Who somebody is at another OpenID provider.
CREATE TABLE provider_link (
    issuer       text COLLATE "C" NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    account      text COLLATE "C" NOT NULL REFERENCES account ON DELETE CASCADE,
    connected_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject),
    UNIQUE (account, issuer)
);

-- Browsers that were sent to another provider and are expected back. Each comes back once.
CREATE TABLE provider_visit (
    state      bytea PRIMARY KEY,                        -- SHA-256 of what goes through the browser
    browser    bytea NOT NULL,                           -- SHA-256 of its cookie
    provider   text NOT NULL,
    nonce      text NOT NULL,
    verifier   bytea NOT NULL,                           -- of PKCE; sealed
    session    text COLLATE "C" REFERENCES session (id) ON DELETE CASCADE, -- to connect its account; NULL to sign in
    next       text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX provider_visit_expiry ON provider_visit (expires_at);
CREATE INDEX provider_visit_session ON provider_visit (session);
