-- What value sets and code systems come to, stored so that a search can join it. A set is made when a search first needs
-- it and never changed: when a definition that it was made from changes, it is superseded, and the next search makes
-- another. A search that found the old one before that still finds its codes; they are removed some minutes later.

CREATE TABLE code_set (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          smallint NOT NULL,         -- 1 the codes of a value set, 2 the hierarchy of a code system
    name          text COLLATE "C" NOT NULL, -- canonical URL, perhaps with a version, or ValueSet/id
    rules         integer NOT NULL,          -- the release's own definitions and its way of expanding
    system        integer,                   -- the code system of a hierarchy
    size          integer NOT NULL,          -- rows in the table below
    sources       text[] COLLATE "C" NOT NULL, -- the definitions it was made from, or would have been if they were here
    notes         text[] NOT NULL,           -- what is known to be missing, for the client
    superseded_at timestamptz
);
CREATE UNIQUE INDEX code_set_current ON code_set (kind, name, rules) WHERE superseded_at IS NULL;
CREATE INDEX code_set_sources ON code_set USING gin (sources) WHERE superseded_at IS NULL;

-- Codes are written as in idx_token. No foreign keys: sets are made and removed as a whole.
CREATE TABLE value_set_code (
    code_set integer NOT NULL,
    system   integer NOT NULL,
    code     text COLLATE "C" NOT NULL,
    PRIMARY KEY (code_set, code, system)
);

-- Each code with itself and with every code somewhere below it.
CREATE TABLE code_closure (
    code_set   integer NOT NULL,
    ancestor   text COLLATE "C" NOT NULL,
    descendant text COLLATE "C" NOT NULL,
    PRIMARY KEY (code_set, ancestor, descendant)
);
CREATE INDEX code_closure_above ON code_closure (code_set, descendant, ancestor);
