-- Layout `hash`: tokens, references and uris as one array of 64-bit hashes on the resource row under GIN; strings, dates
-- and quantities in narrow rows.
\set ON_ERROR_STOP on
DROP SCHEMA IF EXISTS hash CASCADE;
CREATE SCHEMA hash;
SET search_path = hash;
CREATE FUNCTION h(param bigint, value text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT hashtextextended(value, param) $$;
CREATE TABLE resource (rid bigint NOT NULL, type smallint NOT NULL, id text COLLATE "C" NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, deleted bool NOT NULL, content jsonb, tokens bigint[] NOT NULL);
CREATE TABLE history (rid bigint NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, content jsonb, PRIMARY KEY (rid, version));
-- Without a list of pending entries, so that a write pays for itself and not the next search.
-- With its system, without it, and "has any" for :missing.
CREATE TABLE hashed AS SELECT rid, array_agg(DISTINCT x) AS tokens FROM (
  SELECT rid, unnest(ARRAY[hash.h(param, system || '|' || code), hash.h(param, code), param]) AS x FROM gen.token
  UNION ALL SELECT rid, unnest(ARRAY[hash.h(param, target::text), param]) FROM gen.reference
  UNION ALL SELECT rid, unnest(ARRAY[hash.h(param, uri), param]) FROM gen.uri) v GROUP BY rid;
INSERT INTO resource SELECT rid, type, id, 1, last_updated, false, content, tokens FROM gen.resource JOIN hashed USING (rid) ORDER BY rid;
DROP TABLE hashed;
CREATE TABLE string AS SELECT param, rid, norm, exact FROM gen.string ORDER BY rid;
CREATE TABLE date AS SELECT param, rid, low, high FROM gen.date ORDER BY rid;
CREATE TABLE quantity AS SELECT param, system, rid, low, high, code FROM gen.quantity ORDER BY rid;
ALTER TABLE resource ADD PRIMARY KEY (rid);
CREATE UNIQUE INDEX resource_type_id ON resource (type, id);
CREATE INDEX resource_type_rid ON resource (type, rid) WHERE NOT deleted;
CREATE INDEX resource_type_updated ON resource (type, last_updated, rid);
CREATE INDEX resource_tokens ON resource USING gin (tokens) WITH (fastupdate = off);
CREATE INDEX string_value ON string (param, norm, rid);
CREATE INDEX string_recent ON string (param, rid, norm);
CREATE INDEX date_value ON date (param, low, rid, high);
CREATE INDEX date_recent ON date (param, rid, low, high);
CREATE INDEX quantity_value ON quantity (param, low, rid, high, code, system);
CREATE INDEX quantity_recent ON quantity (param, rid, low, high, code, system);
VACUUM ANALYZE resource, string, date, quantity;

-- The server computes the hashes; here they are made beforehand so that their making is not measured.
CREATE TABLE fresh_tokens AS SELECT k, array_agg(DISTINCT x) AS tokens FROM (
  SELECT k, unnest(ARRAY[hash.h(p, s || '|' || c), hash.h(p, c), p]) AS x FROM gen.fresh, unnest(t_param, t_code, t_system) u(p, c, s)
  UNION ALL SELECT k, unnest(ARRAY[hash.h(p, t::text), p]) FROM gen.fresh, unnest(f_param, f_target) u(p, t)
  UNION ALL SELECT k, unnest(ARRAY[hash.h(p, uri), p]) FROM gen.fresh, unnest(u_param, u_uri) u(p, uri)) v GROUP BY k;
CREATE UNIQUE INDEX ON fresh_tokens (k);
ANALYZE fresh_tokens;

CREATE PROCEDURE create_one(at int) LANGUAGE plpgsql AS $$
DECLARE f gen.fresh; x bigint[];
BEGIN
  SELECT * INTO f FROM gen.fresh WHERE k = at;
  SELECT tokens INTO x FROM hash.fresh_tokens WHERE k = at;
  WITH r AS (INSERT INTO hash.resource VALUES (f.rid, f.type, f.id, 1, now(), false, f.content, x)),
    d AS (INSERT INTO hash.date (param, low, high, rid) SELECT *, f.rid FROM unnest(f.d_param, f.d_low, f.d_high))
  INSERT INTO hash.quantity (param, low, high, system, code, rid) SELECT *, f.rid FROM unnest(f.q_param, f.q_low, f.q_high, f.q_system, f.q_code);
END $$;

CREATE PROCEDURE import_100(at int) LANGUAGE plpgsql AS $$
BEGIN
  WITH f AS MATERIALIZED (SELECT * FROM gen.fresh JOIN hash.fresh_tokens USING (k) WHERE k BETWEEN at AND at + 99),
    r AS (INSERT INTO hash.resource SELECT rid, type, id, 1, now(), false, content, tokens FROM f),
    d AS (INSERT INTO hash.date (param, low, high, rid) SELECT u.*, rid FROM f, unnest(d_param, d_low, d_high) u)
  INSERT INTO hash.quantity (param, low, high, system, code, rid) SELECT u.*, rid FROM f, unnest(q_param, q_low, q_high, q_system, q_code) u;
END $$;

CREATE PROCEDURE update_one(at int) LANGUAGE plpgsql AS $$
DECLARE r hash.resource;
BEGIN
  SELECT * INTO r FROM hash.resource WHERE rid = (SELECT victim FROM gen.fresh WHERE k = at) FOR UPDATE;
  WITH h AS (INSERT INTO hash.history VALUES (r.rid, r.version, r.last_updated, r.content))
  UPDATE hash.resource SET version = version + 1, last_updated = now(), content = r.content || '{"status": "corrected"}',
    tokens = array_replace(array_replace(r.tokens, hash.h(304, '4|' || (r.content ->> 'status')), hash.h(304, '4|corrected')), hash.h(304, r.content ->> 'status'), hash.h(304, 'corrected')) WHERE rid = r.rid;
END $$;

DELETE FROM bench.search WHERE layout = 'hash';
INSERT INTO bench.search SELECT 'hash', ordinality, v ->> 0, v ->> 1 FROM jsonb_array_elements(jsonb_build_array(
 jsonb_build_array('token, rare', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %1$L)] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %3$L)] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, one in 250', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|10018-8')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, most rows', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(304, '4|final')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, deep page', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %3$L)] AND r.rid < %9$s ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, both common', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %3$L), hash.h(303, '3|vital-signs')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, few of both', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %2$L), hash.h(304, '4|amended')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('token OR list of four', $$SELECT r.content FROM hash.resource r WHERE r.tokens && ARRAY[hash.h(301, '1|' || %1$L), hash.h(301, '1|' || %2$L), hash.h(301, '1|' || %3$L), hash.h(301, '1|10004-4')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(312, '%4$s')] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND date', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(312, '%4$s')] AND EXISTS (SELECT FROM hash.date d WHERE d.rid = r.rid AND d.param = 331 AND d.high > %8$L) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND token', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(312, '%4$s'), hash.h(301, '1|' || %3$L)] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('date, one day', $$SELECT r.content FROM hash.date t JOIN hash.resource r USING (rid) WHERE t.param = 231 AND t.low >= %8$L AND t.low < %8$L::timestamptz + interval '1 day' AND t.high <= %8$L::timestamptz + interval '1 day' ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, most rows', $$SELECT r.content FROM hash.date t JOIN hash.resource r USING (rid) WHERE t.param = 331 AND t.high > %8$L ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('missing', $$SELECT r.content FROM hash.resource r WHERE r.type = 3 AND NOT r.deleted AND NOT r.tokens @> ARRAY[313::bigint] ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference, sort by date', $$SELECT r.content FROM hash.resource r LEFT JOIN hash.date s ON s.param = 331 AND s.rid = r.rid WHERE r.tokens @> ARRAY[hash.h(312, '%4$s')] ORDER BY s.low DESC, r.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, sort by date', $$SELECT r.content FROM hash.date s JOIN hash.resource r USING (rid) WHERE s.param = 331 AND r.tokens @> ARRAY[hash.h(301, '1|' || %3$L)] ORDER BY s.low DESC, s.rid DESC LIMIT 20$$),
 jsonb_build_array('quantity AND token', $$SELECT r.content FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(301, '1|' || %2$L)] AND EXISTS (SELECT FROM hash.quantity q WHERE q.rid = r.rid AND q.param = 341 AND q.high > 290) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('chain', $$SELECT r.content FROM hash.resource r WHERE r.tokens && ARRAY(SELECT hash.h(312, s.rid::text) FROM hash.string s WHERE s.param = 122 AND s.norm >= %6$L AND s.norm < %6$L || U&'\+10FFFF') ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('total of reference AND token', $$SELECT count(*) FROM hash.resource r WHERE r.tokens @> ARRAY[hash.h(312, '%4$s'), hash.h(301, '1|' || %3$L)]$$)
)) WITH ORDINALITY AS x(v, ordinality);
