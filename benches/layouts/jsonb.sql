-- Layout `bydoc`: no index rows at all, one GIN over the resource itself. What it has no index for is left to a scan.
\set ON_ERROR_STOP on
DROP SCHEMA IF EXISTS bydoc CASCADE;
CREATE SCHEMA bydoc;
SET search_path = bydoc;
CREATE TABLE resource (rid bigint NOT NULL, type smallint NOT NULL, id text COLLATE "C" NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, deleted bool NOT NULL, content jsonb);
CREATE TABLE history (rid bigint NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, content jsonb, PRIMARY KEY (rid, version));
INSERT INTO resource SELECT rid, type, id, 1, last_updated, false, content FROM gen.resource ORDER BY rid;
ALTER TABLE resource ADD PRIMARY KEY (rid);
CREATE UNIQUE INDEX resource_type_id ON resource (type, id);
CREATE INDEX resource_type_rid ON resource (type, rid) WHERE NOT deleted;
CREATE INDEX resource_type_updated ON resource (type, last_updated, rid);
CREATE INDEX resource_content ON resource USING gin (content jsonb_path_ops) WITH (fastupdate = off);
VACUUM ANALYZE resource;

CREATE PROCEDURE create_one(at int) LANGUAGE plpgsql AS $$
DECLARE f gen.fresh;
BEGIN
  SELECT * INTO f FROM gen.fresh WHERE k = at;
  INSERT INTO bydoc.resource VALUES (f.rid, f.type, f.id, 1, now(), false, f.content);
END $$;

CREATE PROCEDURE import_100(at int) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bydoc.resource SELECT rid, type, id, 1, now(), false, content FROM gen.fresh WHERE k BETWEEN at AND at + 99;
END $$;

CREATE PROCEDURE update_one(at int) LANGUAGE plpgsql AS $$
DECLARE r bydoc.resource;
BEGIN
  SELECT * INTO r FROM bydoc.resource WHERE rid = (SELECT victim FROM gen.fresh WHERE k = at) FOR UPDATE;
  WITH h AS (INSERT INTO bydoc.history VALUES (r.rid, r.version, r.last_updated, r.content))
  UPDATE bydoc.resource SET version = version + 1, last_updated = now(), content = r.content || '{"status": "corrected"}' WHERE rid = r.rid;
END $$;

CREATE FUNCTION coded(element text, code text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
  $$ SELECT jsonb_build_object('resourceType', 'Observation', element, CASE element WHEN 'category' THEN jsonb_build_array(c) ELSE c END) FROM (SELECT jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('code', code))) c) x $$;
CREATE FUNCTION of_patient(id text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
  $$ SELECT jsonb_build_object('resourceType', 'Observation', 'subject', jsonb_build_object('reference', 'Patient/' || id)) $$;

DELETE FROM bench.search WHERE layout = 'bydoc';
INSERT INTO bench.search SELECT 'bydoc', ordinality, v ->> 0, v ->> 1 FROM jsonb_array_elements(jsonb_build_array(
 jsonb_build_array('token, rare', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', %1$L) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', %3$L) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, one in 250', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', '10018-8') ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, most rows', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> '{"resourceType": "Observation", "status": "final"}' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, deep page', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', %3$L) AND r.rid < %9$s ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, both common', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', %3$L) AND r.content @> bydoc.coded('category', 'vital-signs') ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, few of both', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.coded('code', %2$L) AND r.content @> '{"status": "amended"}' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.of_patient(%5$L) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND date', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.of_patient(%5$L) AND r.content ->> 'effectiveDateTime' >= %8$L ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND token', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.of_patient(%5$L) AND r.content @> bydoc.coded('code', %3$L) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('string, prefix', $$SELECT r.content FROM bydoc.resource r WHERE r.type = 1 AND r.content #>> '{name,0,family}' ILIKE %6$L || '%%' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('string, contains, no match', $$SELECT r.content FROM bydoc.resource r WHERE r.type = 1 AND r.content #>> '{name,0,family}' ILIKE '%%' || %7$L || 'qq%%' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('date, one day', $$SELECT r.content FROM bydoc.resource r WHERE r.type = 2 AND (r.content ->> 'effectiveDateTime') >= to_char(%8$L::timestamptz, 'YYYY-MM-DD') AND (r.content ->> 'effectiveDateTime') < to_char(%8$L::timestamptz + interval '1 day', 'YYYY-MM-DD') ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('date, ge, no row', $$SELECT r.content FROM bydoc.resource r WHERE r.type = 3 AND (r.content ->> 'effectiveDateTime') >= '2026-11-17' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('missing', $$SELECT r.content FROM bydoc.resource r WHERE r.type = 3 AND NOT r.content ? 'encounter' ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference, sort by date', $$SELECT r.content FROM bydoc.resource r WHERE r.content @> bydoc.of_patient(%5$L) ORDER BY r.content ->> 'effectiveDateTime' DESC, r.rid DESC LIMIT 20$$),
 jsonb_build_array('total of reference AND token', $$SELECT count(*) FROM bydoc.resource r WHERE r.content @> bydoc.of_patient(%5$L) AND r.content @> bydoc.coded('code', %3$L)$$)
)) WITH ORDINALITY AS x(v, ordinality);
