-- What is searched by more than one value of one parameter: composites, full text, contained resources.

-- A row per instance of a composite parameter and combination of its components' values. What a component holds stands in
-- the columns that its family has in its own table, numbered by the place of the component:
--   token: code, system · string: code (normalised) · uri: code · number, quantity: low, high, code, system
--   date: since, until · reference: target, or code with the URL
CREATE TABLE idx_composite (
    rid     bigint NOT NULL,
    param   smallint NOT NULL,
    system1 integer,
    code1   text COLLATE "C",
    system2 integer,
    code2   text COLLATE "C",
    low2    numeric,
    high2   numeric,
    -- R4 itself needs only what is above, and three numbers; own parameters may put any family in any place.
    low1    numeric,
    high1   numeric,
    since1  timestamptz,
    until1  timestamptz,
    target1 bigint,
    since2  timestamptz,
    until2  timestamptz,
    target2 bigint,
    system3 integer,
    code3   text COLLATE "C",
    low3    numeric,
    high3   numeric,
    since3  timestamptz,
    until3  timestamptz,
    target3 bigint
);
-- A code with a value: an equality and a range, or two equalities (`low2` is NULL where the second is no number).
CREATE INDEX idx_composite_value ON idx_composite (param, code1, low2, code2, rid);
-- What reaches across a number, as quantities have it in `idx_quantity_interval`.
CREATE INDEX idx_composite_interval ON idx_composite (param, code1, high2, rid) WHERE low2 <> high2;
-- Long answers in order of rid, and the removal of a resource's rows.
CREATE INDEX idx_composite_rid ON idx_composite (param, rid, code1);
CREATE STATISTICS idx_composite_values (mcv, ndistinct) ON param, code1 FROM idx_composite;

-- The words of a resource; those of its narrative have weight A.
CREATE TABLE resource_text (
    rid   bigint PRIMARY KEY,
    words tsvector NOT NULL
);
CREATE INDEX resource_text_words ON resource_text USING gin (words);

-- Resources that were written since their words were last collected: a commit notes them, the next search for text or the
-- job `search.text`, whichever comes first, collects.
CREATE TABLE text_pending (
    rid bigint NOT NULL
);
CREATE INDEX text_pending_rid ON text_pending (rid);
INSERT INTO text_pending SELECT rid FROM resource WHERE NOT deleted;

-- A resource inside another one has a rid of its own, under which its index rows stand, with the numbers of their
-- parameters negated: searches for resources that stand alone never meet them.
CREATE TABLE contained (
    rid       bigint NOT NULL,
    container bigint NOT NULL,           -- rid of the resource that it is in
    type      smallint NOT NULL,
    position  integer NOT NULL,          -- in `contained`, from 0
    local_id  text COLLATE "C" NOT NULL  -- its id without `#`; '' where it has none
);
CREATE INDEX contained_type ON contained (type, rid);
CREATE INDEX contained_container ON contained (container, rid);
