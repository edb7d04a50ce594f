-- What prescriptions need besides their resources.

-- The key that sheets are signed with, and those that signed before it. The private half is sealed under the master key.
CREATE TABLE prescription_key (
    kid        text COLLATE "C" PRIMARY KEY,
    sealed     bytea NOT NULL,
    public     jsonb NOT NULL,                    -- a JWK
    made_at    timestamptz NOT NULL,
    is_current boolean UNIQUE CHECK (is_current)  -- NULL for those that only check what they signed
);

-- Sheets that are signed, each number once. Written in the transaction of the signature.
CREATE TABLE prescription_sheet (
    number     text COLLATE "C" PRIMARY KEY,
    provenance text COLLATE "C" NOT NULL,         -- id of the Provenance, which names all that the sheet says
    signed_at  timestamptz NOT NULL
);

-- What was printed, and under which secret address it can be looked up. A row may be without its document for a moment,
-- or for good when nothing came of the signature.
CREATE TABLE prescription_print (
    hash       bytea PRIMARY KEY,                 -- SHA-256 of the secret in the address
    number     text COLLATE "C" NOT NULL,
    document   text COLLATE "C" NOT NULL UNIQUE,  -- id of the DocumentReference
    paper      text COLLATE "C" NOT NULL CHECK (paper IN ('a4', 'letter')),
    states     text[] NOT NULL,                   -- status of each medicine as it was printed
    printed_at timestamptz NOT NULL
);
CREATE INDEX prescription_print_number ON prescription_print (number, printed_at);
