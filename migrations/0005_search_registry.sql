-- Search parameters that come and go while servers run, and the work of indexing resources by them.

-- One row: by what every server on this database indexes.
CREATE TABLE search_registry (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    generation bigint NOT NULL,  -- raised with every change; a write names the one that it made its index rows by
    rules      integer,          -- of the release in charge (INDEX_VERSION); NULL before a server has looked
    base_url   text              -- of the server in charge: which absolute references are local
);
INSERT INTO search_registry (generation) VALUES (1);

-- What a write calls when the generation that it names is no longer the present one.
CREATE FUNCTION search_registry_has_changed() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the search parameters have changed' USING ERRCODE = 'MC001';
END $$;

-- A walk over the resources of some types that makes their index rows anew, batch by batch. Each batch commits its rows
-- and its place together, so whoever goes on after a crash begins where the last batch ended.
CREATE TABLE reindex (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason      text NOT NULL CHECK (reason IN ('parameter', 'request', 'upgrade')),
    types       smallint[] NOT NULL,          -- ascending: the order in which they are walked
    params      smallint[],                   -- NULL: all of each type
    mark        integer,                      -- of an upgrade: resources whose `index_version` is this are skipped
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    cancelled   boolean NOT NULL DEFAULT false,
    at_type     smallint NOT NULL DEFAULT 0,  -- the place: all before (at_type, at_rid) and it is done
    at_rid      bigint NOT NULL DEFAULT 0,
    total       bigint,                       -- resources to walk, counted when it began
    done        bigint NOT NULL DEFAULT 0,
    batches     integer NOT NULL DEFAULT 0
);

ALTER TABLE search_parameter
    ADD COLUMN source     bigint,                           -- rid of the SearchParameter that defines it; NULL for R4's own
    ADD COLUMN generation bigint NOT NULL DEFAULT 0,        -- of the registry, when this definition came
    ADD COLUMN reindex    bigint REFERENCES reindex,        -- the run that must end before all resources are indexed
    ADD COLUMN dropped    boolean NOT NULL DEFAULT false,   -- no longer used; the number is free when its rows are gone
    DROP CONSTRAINT search_parameter_type_code_key;
CREATE UNIQUE INDEX search_parameter_in_use ON search_parameter (type, code) WHERE NOT dropped;

-- The files of profiles/ as they were last stored. What an operator does to them afterwards is left alone until a release
-- brings another text.
CREATE TABLE loaded_profile (
    name   text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL
);
