-- What SMART applications are launched about, and how those that others run prove who they are.

ALTER TABLE oauth_client
    ADD COLUMN launch_url text,                              -- where it is opened from within MedConsult
    ADD COLUMN jwks_uri   text,                              -- where its public keys are, if they are not here
    ADD COLUMN launches   boolean NOT NULL DEFAULT false,    -- whether it may launch others for the person in front of it
    ADD CHECK (num_nonnulls(secret_hash, jwks, jwks_uri) <= 1);

-- What a grant is about: ids of resources, and the rest of the context as the token's answer shows it.
ALTER TABLE oauth_grant
    ADD COLUMN patient   text COLLATE "C",
    ADD COLUMN encounter text COLLATE "C",
    ADD COLUMN context   jsonb;

-- An application that is about to be opened by somebody who is signed in. Good once, for them and for it only.
CREATE TABLE launch (
    hash       bytea PRIMARY KEY,
    client     text COLLATE "C" NOT NULL REFERENCES oauth_client ON DELETE CASCADE,
    session    text COLLATE "C" NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    patient    text COLLATE "C",
    encounter  text COLLATE "C",
    context    jsonb NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX launch_client ON launch (client);
CREATE INDEX launch_session ON launch (session);
CREATE INDEX launch_expiry ON launch (expires_at);
