-- Which applications may ask for tokens, what they were given, and what may not be used twice.
--
-- Codes and tokens are random; what is stored is their SHA-256, so that a copy of the database opens no door. Revoking is
-- deleting: a token is good exactly as long as its row, its grant, its client and its account are there, whichever instance
-- is asked.

-- An application that was registered by an operator (`medconsult client add`).
CREATE TABLE oauth_client (
    id            text COLLATE "C" PRIMARY KEY,
    name          text NOT NULL,                   -- shown to people
    scope         text NOT NULL,                   -- the most it may ask for
    redirect_uris text[] NOT NULL,                 -- where people are sent back to; empty for a back end
    secret_hash   bytea,                           -- of a client with a secret
    jwks          jsonb,                           -- the public keys of a client that signs
    enabled       boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL,
    CHECK (secret_hash IS NULL OR jwks IS NULL)    -- one way to prove who it is; a public client has none
);

-- What a client was allowed once; every code and token belongs to one, and goes with it.
CREATE TABLE oauth_grant (
    id         text COLLATE "C" PRIMARY KEY,
    client     text COLLATE "C" NOT NULL REFERENCES oauth_client ON DELETE CASCADE,
    account    text COLLATE "C" REFERENCES account ON DELETE CASCADE,        -- who allowed it; NULL for a back end
    session    text COLLATE "C" REFERENCES session (id) ON DELETE CASCADE,   -- with which it ends; NULL if it outlives it
    scope      text NOT NULL,
    proved_at  timestamptz,                        -- when the person had proved who they are
    created_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL                -- whatever happens
);
CREATE INDEX oauth_grant_client ON oauth_grant (client);
CREATE INDEX oauth_grant_account ON oauth_grant (account);
CREATE INDEX oauth_grant_session ON oauth_grant (session);

-- What an application gets through the browser and changes for tokens, once.
CREATE TABLE authorization_code (
    hash         bytea PRIMARY KEY,
    grant_id     text COLLATE "C" NOT NULL REFERENCES oauth_grant ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    challenge    text NOT NULL,                    -- SHA-256 of the secret that must come along (PKCE)
    nonce        text,
    expires_at   timestamptz NOT NULL,
    used         boolean NOT NULL DEFAULT false    -- kept to notice who comes second
);
CREATE INDEX authorization_code_grant ON authorization_code (grant_id);

CREATE TABLE access_token (
    hash       bytea PRIMARY KEY,
    jti        text COLLATE "C" NOT NULL UNIQUE,   -- names the token where it must not be shown
    grant_id   text COLLATE "C" NOT NULL REFERENCES oauth_grant ON DELETE CASCADE,
    scope      text NOT NULL,                      -- at most that of the grant
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX access_token_grant ON access_token (grant_id);
CREATE INDEX access_token_expiry ON access_token (expires_at);

-- Each is changed for the next one. One that was used stays, to notice whoever stole it or was robbed of it.
CREATE TABLE refresh_token (
    hash       bytea PRIMARY KEY,
    grant_id   text COLLATE "C" NOT NULL REFERENCES oauth_grant ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used       boolean NOT NULL DEFAULT false
);
CREATE INDEX refresh_token_grant ON refresh_token (grant_id);
CREATE INDEX refresh_token_expiry ON refresh_token (expires_at);

-- Signed assertions by which clients identified themselves, until they expire by themselves: each is good once, on all
-- instances together.
CREATE TABLE used_assertion (
    client     text COLLATE "C" NOT NULL REFERENCES oauth_client ON DELETE CASCADE,
    jti        text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client, jti)
);
CREATE INDEX used_assertion_expiry ON used_assertion (expires_at);

-- What id_tokens are signed with.
CREATE TABLE signing_key (
    kid     text COLLATE "C" PRIMARY KEY,
    state   text NOT NULL CHECK (state IN ('next', 'active', 'retained')),
    since   timestamptz NOT NULL,                  -- in this state
    private bytea NOT NULL,                        -- sealed under the master key
    public  jsonb NOT NULL                         -- as it is published
);
CREATE UNIQUE INDEX signing_key_turn ON signing_key (state) WHERE state <> 'retained';
