-- Layout `bytime`: narrow rows per family with `last_updated` on each, newest changed first: the design's hypothesis.
\set ON_ERROR_STOP on
DROP SCHEMA IF EXISTS bytime CASCADE;
CREATE SCHEMA bytime;
SET search_path = bytime;
CREATE TABLE resource (rid bigint NOT NULL, type smallint NOT NULL, id text COLLATE "C" NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, deleted bool NOT NULL, content jsonb);
CREATE TABLE history (rid bigint NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, content jsonb, PRIMARY KEY (rid, version));
INSERT INTO resource SELECT rid, type, id, 1, last_updated, false, content FROM gen.resource ORDER BY rid;
CREATE TABLE token AS SELECT param, system, rid, last_updated, code FROM gen.token JOIN gen.resource USING (rid) ORDER BY rid;
CREATE TABLE reference AS SELECT param, target, rid, last_updated FROM gen.reference JOIN gen.resource USING (rid) ORDER BY rid;
CREATE TABLE string AS SELECT param, rid, last_updated, norm, exact FROM gen.string JOIN gen.resource USING (rid) ORDER BY rid;
CREATE TABLE date AS SELECT param, rid, last_updated, low, high FROM gen.date JOIN gen.resource USING (rid) ORDER BY rid;
CREATE TABLE quantity AS SELECT param, system, rid, last_updated, low, high, code FROM gen.quantity JOIN gen.resource USING (rid) ORDER BY rid;
CREATE TABLE uri AS SELECT param, rid, last_updated, uri FROM gen.uri JOIN gen.resource USING (rid) ORDER BY rid;
ALTER TABLE resource ADD PRIMARY KEY (rid);
CREATE UNIQUE INDEX resource_type_id ON resource (type, id);
CREATE INDEX resource_type_updated ON resource (type, last_updated, rid);
CREATE INDEX token_value ON token (param, code, last_updated, rid, system);
CREATE INDEX token_recent ON token (param, last_updated, rid, code, system);
CREATE INDEX reference_value ON reference (param, target, last_updated, rid);
CREATE INDEX reference_recent ON reference (param, last_updated, rid, target);
CREATE INDEX string_value ON string (param, norm, last_updated, rid);
CREATE INDEX string_recent ON string (param, last_updated, rid, norm);
CREATE INDEX date_value ON date (param, low, last_updated, rid, high);
CREATE INDEX date_recent ON date (param, last_updated, rid, low, high);
CREATE INDEX quantity_value ON quantity (param, low, last_updated, rid, high, code, system);
CREATE INDEX quantity_recent ON quantity (param, last_updated, rid, low, high, code, system);
CREATE INDEX uri_value ON uri (param, uri, last_updated, rid);
CREATE INDEX uri_recent ON uri (param, last_updated, rid, uri);
VACUUM ANALYZE resource, token, reference, string, date, quantity, uri;

CREATE PROCEDURE create_one(at int) LANGUAGE plpgsql AS $$
DECLARE f gen.fresh;
BEGIN
  SELECT * INTO f FROM gen.fresh WHERE k = at;
  WITH r AS (INSERT INTO bytime.resource VALUES (f.rid, f.type, f.id, 1, now(), false, f.content)),
    t AS (INSERT INTO bytime.token (param, code, system, rid, last_updated) SELECT *, f.rid, now() FROM unnest(f.t_param, f.t_code, f.t_system)),
    l AS (INSERT INTO bytime.reference (param, target, rid, last_updated) SELECT *, f.rid, now() FROM unnest(f.f_param, f.f_target)),
    d AS (INSERT INTO bytime.date (param, low, high, rid, last_updated) SELECT *, f.rid, now() FROM unnest(f.d_param, f.d_low, f.d_high)),
    q AS (INSERT INTO bytime.quantity (param, low, high, system, code, rid, last_updated) SELECT *, f.rid, now() FROM unnest(f.q_param, f.q_low, f.q_high, f.q_system, f.q_code))
  INSERT INTO bytime.uri (param, uri, rid, last_updated) SELECT *, f.rid, now() FROM unnest(f.u_param, f.u_uri);
END $$;

CREATE PROCEDURE import_100(at int) LANGUAGE plpgsql AS $$
BEGIN
  WITH f AS MATERIALIZED (SELECT * FROM gen.fresh WHERE k BETWEEN at AND at + 99),
    r AS (INSERT INTO bytime.resource SELECT rid, type, id, 1, now(), false, content FROM f),
    t AS (INSERT INTO bytime.token (param, code, system, rid, last_updated) SELECT u.*, rid, now() FROM f, unnest(t_param, t_code, t_system) u),
    l AS (INSERT INTO bytime.reference (param, target, rid, last_updated) SELECT u.*, rid, now() FROM f, unnest(f_param, f_target) u),
    d AS (INSERT INTO bytime.date (param, low, high, rid, last_updated) SELECT u.*, rid, now() FROM f, unnest(d_param, d_low, d_high) u),
    q AS (INSERT INTO bytime.quantity (param, low, high, system, code, rid, last_updated) SELECT u.*, rid, now() FROM f, unnest(q_param, q_low, q_high, q_system, q_code) u)
  INSERT INTO bytime.uri (param, uri, rid, last_updated) SELECT u.*, rid, now() FROM f, unnest(u_param, u_uri) u;
END $$;

-- An observation's status changes: one index row's value, but the time on all of them.
CREATE PROCEDURE update_one(at int) LANGUAGE plpgsql AS $$
DECLARE r bytime.resource;
BEGIN
  SELECT * INTO r FROM bytime.resource WHERE rid = (SELECT victim FROM gen.fresh WHERE k = at) FOR UPDATE;
  WITH h AS (INSERT INTO bytime.history VALUES (r.rid, r.version, r.last_updated, r.content)),
    u AS (UPDATE bytime.resource SET version = version + 1, last_updated = now(), content = r.content || '{"status": "corrected"}' WHERE rid = r.rid),
    t AS (UPDATE bytime.token SET last_updated = now(), code = CASE WHEN param = 304 THEN 'corrected' ELSE code END
          WHERE param IN (301, 302, 303, 304, 305) AND last_updated = r.last_updated AND rid = r.rid),
    l AS (UPDATE bytime.reference SET last_updated = now() WHERE param IN (311, 312, 313, 314) AND last_updated = r.last_updated AND rid = r.rid),
    d AS (UPDATE bytime.date SET last_updated = now() WHERE param = 331 AND last_updated = r.last_updated AND rid = r.rid),
    q AS (UPDATE bytime.quantity SET last_updated = now() WHERE param IN (341, 342) AND last_updated = r.last_updated AND rid = r.rid)
  UPDATE bytime.uri SET last_updated = now() WHERE param = 351 AND last_updated = r.last_updated AND rid = r.rid;
END $$;

DELETE FROM bench.search WHERE layout = 'bytime';
INSERT INTO bench.search SELECT 'bytime', ordinality, v ->> 0, v ->> 1 FROM jsonb_array_elements(jsonb_build_array(
 jsonb_build_array('token, rare', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %1$L AND t.system = 1 ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1 ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, one in 250', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = '10018-8' AND t.system = 1 ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, most rows', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 304 AND t.code = 'final' AND t.system = 4 ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, deep page', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1
   AND (t.last_updated, t.rid) < (timestamptz '2024-01-01Z' + %9$s * interval '30 s', %9$s) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, both common', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1
   AND EXISTS (SELECT FROM bytime.token u WHERE u.rid = t.rid AND u.last_updated = t.last_updated AND u.param = 303 AND u.code = 'vital-signs' AND u.system = 3) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, few of both', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %2$L AND t.system = 1
   AND EXISTS (SELECT FROM bytime.token u WHERE u.rid = t.rid AND u.last_updated = t.last_updated AND u.param = 304 AND u.code = 'amended' AND u.system = 4) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token OR list of four', $$SELECT r.content FROM (SELECT DISTINCT t.last_updated, t.rid FROM bytime.token t WHERE t.param = 301 AND t.code IN (%1$L, %2$L, %3$L, '10004-4') AND t.system = 1 ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20) t
   JOIN bytime.resource r USING (rid) ORDER BY r.last_updated DESC, rid DESC$$),
 jsonb_build_array('reference', $$SELECT r.content FROM bytime.reference t JOIN bytime.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND date', $$SELECT r.content FROM bytime.reference t JOIN bytime.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM bytime.date d WHERE d.rid = t.rid AND d.last_updated = t.last_updated AND d.param = 331 AND d.high > %8$L) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND token', $$SELECT r.content FROM bytime.reference t JOIN bytime.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM bytime.token u WHERE u.rid = t.rid AND u.last_updated = t.last_updated AND u.param = 301 AND u.code = %3$L AND u.system = 1) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('string, prefix', $$SELECT r.content FROM bytime.resource r WHERE r.rid = ANY (ARRAY(SELECT rid FROM (SELECT DISTINCT t.last_updated, t.rid FROM bytime.string t WHERE t.param = 122 AND t.norm >= %6$L AND t.norm < %6$L || U&'\+10FFFF' COLLATE "C" ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20) x)) ORDER BY last_updated DESC, rid DESC$$),
 jsonb_build_array('string, contains', $$SELECT r.content FROM bytime.resource r WHERE r.rid = ANY (ARRAY(SELECT rid FROM (SELECT DISTINCT t.last_updated, t.rid FROM bytime.string t WHERE t.param = 122 AND t.norm LIKE '%%' || %7$L || '%%' ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20) x)) ORDER BY last_updated DESC, rid DESC$$),
 jsonb_build_array('string, contains, no match', $$SELECT r.content FROM bytime.resource r WHERE r.rid = ANY (ARRAY(SELECT rid FROM (SELECT DISTINCT t.last_updated, t.rid FROM bytime.string t WHERE t.param = 122 AND t.norm LIKE '%%' || %7$L || 'qq%%' ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20) x)) ORDER BY last_updated DESC, rid DESC$$),
 jsonb_build_array('date, one day', $$SELECT r.content FROM bytime.date t JOIN bytime.resource r USING (rid) WHERE t.param = 231 AND t.low >= %8$L AND t.low < %8$L::timestamptz + interval '1 day' AND t.high <= %8$L::timestamptz + interval '1 day' ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, most rows', $$SELECT r.content FROM bytime.date t JOIN bytime.resource r USING (rid) WHERE t.param = 331 AND t.high > %8$L ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, ge, few rows', $$SELECT r.content FROM bytime.date t JOIN bytime.resource r USING (rid) WHERE t.param = 331 AND t.high > timestamptz '2025-11-17Z' ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, ge, no row', $$SELECT r.content FROM bytime.date t JOIN bytime.resource r USING (rid) WHERE t.param = 331 AND t.high > timestamptz '2026-11-17Z' ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('missing', $$SELECT r.content FROM bytime.resource r WHERE r.type = 3 AND NOT r.deleted AND NOT EXISTS (SELECT FROM bytime.reference t WHERE t.param = 313 AND t.last_updated = r.last_updated AND t.rid = r.rid) ORDER BY r.last_updated DESC, r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference, sort by date', $$SELECT r.content FROM bytime.reference t JOIN bytime.resource r USING (rid) LEFT JOIN bytime.date s ON s.param = 331 AND s.last_updated = t.last_updated AND s.rid = t.rid WHERE t.param = 312 AND t.target = %4$s ORDER BY s.low DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, sort by date', $$SELECT r.content FROM bytime.date s JOIN bytime.resource r USING (rid) WHERE s.param = 331
   AND EXISTS (SELECT FROM bytime.token t WHERE t.rid = s.rid AND t.last_updated = s.last_updated AND t.param = 301 AND t.code = %3$L AND t.system = 1) ORDER BY s.low DESC, s.rid DESC LIMIT 20$$),
 jsonb_build_array('quantity AND token', $$SELECT r.content FROM bytime.token t JOIN bytime.resource r USING (rid) WHERE t.param = 301 AND t.code = %2$L AND t.system = 1
   AND EXISTS (SELECT FROM bytime.quantity q WHERE q.rid = t.rid AND q.last_updated = t.last_updated AND q.param = 341 AND q.high > 290) ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('chain', $$SELECT r.content FROM bytime.resource r WHERE r.rid = ANY (ARRAY(SELECT rid FROM (SELECT DISTINCT t.last_updated, t.rid FROM bytime.reference t WHERE t.param = 312 AND t.target IN
   (SELECT s.rid FROM bytime.string s WHERE s.param = 122 AND s.norm >= %6$L AND s.norm < %6$L || U&'\+10FFFF') ORDER BY t.last_updated DESC, t.rid DESC LIMIT 20) x)) ORDER BY last_updated DESC, rid DESC$$),
 jsonb_build_array('_has', $$SELECT r.content FROM bytime.resource r WHERE r.rid IN (SELECT t.target FROM bytime.token u JOIN bytime.reference t ON t.rid = u.rid AND t.last_updated = u.last_updated AND t.param = 312
   WHERE u.param = 301 AND u.code = %1$L AND u.system = 1) ORDER BY r.last_updated DESC, r.rid DESC LIMIT 20$$),
 jsonb_build_array('total of reference AND token', $$SELECT count(*) FROM bytime.reference t WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM bytime.token u WHERE u.rid = t.rid AND u.last_updated = t.last_updated AND u.param = 301 AND u.code = %3$L AND u.system = 1)$$),
 jsonb_build_array('type, sort by _lastUpdated', $$SELECT r.content FROM bytime.resource r WHERE r.type = 3 AND NOT r.deleted ORDER BY r.last_updated DESC, r.rid DESC LIMIT 20$$)
)) WITH ORDINALITY AS x(v, ordinality);
