-- The core of the store: resources, their superseded versions, and the rows that search runs on.
--
-- Names that repeat in millions of rows (types, search parameters, code systems) are interned to small integers, and a
-- resource is known to every other row by its `rid`: a bigint that never changes over the resource's life. No index row
-- has a foreign key: `commit` is the only writer, and a key check per row would cost more than the row.

-- One id per resource type. Filled at start from the definitions; ids are never reused.
CREATE TABLE resource_type (
    id   smallint PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- One id per (resource type, search parameter code), so that index rows need no type column.
CREATE TABLE search_parameter (
    id   smallint PRIMARY KEY,
    type smallint NOT NULL REFERENCES resource_type,
    code text COLLATE "C" NOT NULL,
    url  text COLLATE "C" NOT NULL,
    UNIQUE (type, code)
);

-- Code systems, identifier systems and unit systems. Id 0 stands for "no system".
CREATE TABLE system (
    id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uri text COLLATE "C" NOT NULL UNIQUE
);
INSERT INTO system (id, uri) OVERRIDING SYSTEM VALUE VALUES (0, '');

-- The server takes rids in blocks of 64, so that a create needs no round trip to learn its rid.
CREATE SEQUENCE rid_seq AS bigint INCREMENT BY 64;

-- The current version of every resource. Version 0 marks a placeholder: something refers to (type, id), nothing is there
-- yet. A placeholder keeps the rid that the references already carry, for the day the resource arrives.
CREATE TABLE resource (
    rid           bigint PRIMARY KEY,
    last_updated  timestamptz NOT NULL,
    version       integer NOT NULL,
    index_version integer NOT NULL,            -- the registry of search parameters that wrote its index rows
    type          smallint NOT NULL,
    method        smallint NOT NULL,           -- 1 POST, 2 PUT, 3 PATCH, 4 DELETE; 0 for a placeholder
    deleted       boolean NOT NULL,            -- true for placeholders too: there is nothing to find
    id            text COLLATE "C" NOT NULL,
    content       jsonb,                       -- complete, with resourceType, id and meta; NULL when deleted
    exact         text,                        -- only where jsonb would not give a number back digit for digit
    CONSTRAINT resource_identity UNIQUE (type, id),
    CHECK (deleted = (content IS NULL))
);
-- Plain searches of a type, newest first.
CREATE INDEX resource_live ON resource (type, rid) WHERE NOT deleted;
-- _lastUpdated, and history of a type and of the system.
CREATE INDEX resource_type_updated ON resource (type, last_updated, rid) WHERE version > 0;
CREATE INDEX resource_updated ON resource (last_updated, rid) WHERE version > 0;

-- Versions that were superseded. The current one is only in `resource`, so that a create writes its content once.
CREATE TABLE resource_history (
    rid          bigint NOT NULL,
    last_updated timestamptz NOT NULL,
    version      integer NOT NULL,
    type         smallint NOT NULL,
    method       smallint NOT NULL,
    deleted      boolean NOT NULL,
    content      jsonb,
    exact        text,
    PRIMARY KEY (rid, version)
);
CREATE INDEX resource_history_type_updated ON resource_history (type, last_updated, rid);
CREATE INDEX resource_history_updated ON resource_history (last_updated, rid);

-- lz4 compresses several times faster than the default at about the same size; some builds of Postgres lack it.
DO $$
BEGIN
    ALTER TABLE resource ALTER COLUMN content SET COMPRESSION lz4, ALTER COLUMN exact SET COMPRESSION lz4;
    ALTER TABLE resource_history ALTER COLUMN content SET COMPRESSION lz4, ALTER COLUMN exact SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

-- Index families. Each has a value-first index, for an equality or a range whose answer is then ordered by rid, and a
-- rid-first one, for long answers in order of rid, for the removal of a resource's rows, and for `:missing`.

CREATE TABLE idx_token (
    rid    bigint NOT NULL,
    system integer NOT NULL,
    param  smallint NOT NULL,
    code   text COLLATE "C" NOT NULL
);
CREATE INDEX idx_token_value ON idx_token (param, code, rid, system);
CREATE INDEX idx_token_rid ON idx_token (param, rid, code, system);

-- `target` is the rid of a resource of this server (a placeholder's when it is not here yet); `url` is an absolute or
-- canonical reference to elsewhere. Exactly one is set.
CREATE TABLE idx_reference (
    rid    bigint NOT NULL,
    target bigint,
    param  smallint NOT NULL,
    url    text COLLATE "C",
    CHECK ((target IS NULL) <> (url IS NULL))
);
CREATE INDEX idx_reference_target ON idx_reference (param, target, rid) WHERE target IS NOT NULL;
CREATE INDEX idx_reference_url ON idx_reference (param, url, rid) WHERE url IS NOT NULL;
CREATE INDEX idx_reference_rid ON idx_reference (param, rid, target);

-- `norm`: decomposed, without accents, lower-case, spaces folded. `exact`: as written, for `:exact`.
CREATE TABLE idx_string (
    rid   bigint NOT NULL,
    param smallint NOT NULL,
    norm  text COLLATE "C" NOT NULL,
    exact text COLLATE "C" NOT NULL
);
CREATE INDEX idx_string_value ON idx_string (param, norm, rid);
CREATE INDEX idx_string_rid ON idx_string (param, rid, norm);

-- [low, high): a partial date is the span it may mean, a Period is its span, an open end is infinite.
CREATE TABLE idx_date (
    rid   bigint NOT NULL,
    low   timestamptz NOT NULL,
    high  timestamptz NOT NULL,
    param smallint NOT NULL
);
CREATE INDEX idx_date_value ON idx_date (param, low, rid, high);
CREATE INDEX idx_date_rid ON idx_date (param, rid, low, high);

-- Numbers (system 0, code '') and quantities. [low, high] spans what the written precision may mean.
CREATE TABLE idx_quantity (
    rid    bigint NOT NULL,
    system integer NOT NULL,
    param  smallint NOT NULL,
    low    numeric NOT NULL,
    high   numeric NOT NULL,
    code   text COLLATE "C" NOT NULL
);
CREATE INDEX idx_quantity_value ON idx_quantity (param, code, low, rid, high, system);
CREATE INDEX idx_quantity_rid ON idx_quantity (param, rid, low, high);

CREATE TABLE idx_uri (
    rid   bigint NOT NULL,
    param smallint NOT NULL,
    uri   text COLLATE "C" NOT NULL
);
CREATE INDEX idx_uri_value ON idx_uri (param, uri, rid);
CREATE INDEX idx_uri_rid ON idx_uri (param, rid, uri);
