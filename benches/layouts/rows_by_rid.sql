-- Layout `rid`: narrow rows per family, ordered by the resource's immutable row id; newest created first.
\set ON_ERROR_STOP on
DROP SCHEMA IF EXISTS rid CASCADE;
CREATE SCHEMA rid;
SET search_path = rid;
CREATE TABLE resource (rid bigint NOT NULL, type smallint NOT NULL, id text COLLATE "C" NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, deleted bool NOT NULL, content jsonb);
CREATE TABLE history (rid bigint NOT NULL, version int NOT NULL, last_updated timestamptz NOT NULL, content jsonb, PRIMARY KEY (rid, version));
INSERT INTO resource SELECT rid, type, id, 1, last_updated, false, content FROM gen.resource ORDER BY rid;
CREATE TABLE token AS SELECT param, system, rid, code FROM gen.token ORDER BY rid;
CREATE TABLE reference AS SELECT param, target, rid FROM gen.reference ORDER BY rid;
CREATE TABLE string AS SELECT param, rid, norm, exact FROM gen.string ORDER BY rid;
CREATE TABLE date AS SELECT param, rid, low, high FROM gen.date ORDER BY rid;
CREATE TABLE quantity AS SELECT param, system, rid, low, high, code FROM gen.quantity ORDER BY rid;
CREATE TABLE uri AS SELECT param, rid, uri FROM gen.uri ORDER BY rid;
ALTER TABLE resource ADD PRIMARY KEY (rid);
CREATE UNIQUE INDEX resource_type_id ON resource (type, id);
CREATE INDEX resource_type_rid ON resource (type, rid) WHERE NOT deleted;
CREATE INDEX resource_type_updated ON resource (type, last_updated, rid);
CREATE INDEX token_value ON token (param, code, rid, system);
CREATE INDEX token_recent ON token (param, rid, code, system);
CREATE INDEX reference_value ON reference (param, target, rid);
CREATE INDEX reference_recent ON reference (param, rid, target);
CREATE INDEX string_value ON string (param, norm, rid);
CREATE INDEX string_recent ON string (param, rid, norm);
CREATE INDEX date_value ON date (param, low, rid, high);
CREATE INDEX date_recent ON date (param, rid, low, high);
CREATE INDEX quantity_value ON quantity (param, low, rid, high, code, system);
CREATE INDEX quantity_recent ON quantity (param, rid, low, high, code, system);
CREATE INDEX uri_value ON uri (param, uri, rid);
CREATE INDEX uri_recent ON uri (param, rid, uri);
VACUUM ANALYZE resource, token, reference, string, date, quantity, uri;

CREATE PROCEDURE create_one(at int) LANGUAGE plpgsql AS $$
DECLARE f gen.fresh;
BEGIN
  SELECT * INTO f FROM gen.fresh WHERE k = at;
  WITH r AS (INSERT INTO rid.resource VALUES (f.rid, f.type, f.id, 1, now(), false, f.content)),
    t AS (INSERT INTO rid.token (param, code, system, rid) SELECT *, f.rid FROM unnest(f.t_param, f.t_code, f.t_system)),
    l AS (INSERT INTO rid.reference (param, target, rid) SELECT *, f.rid FROM unnest(f.f_param, f.f_target)),
    d AS (INSERT INTO rid.date (param, low, high, rid) SELECT *, f.rid FROM unnest(f.d_param, f.d_low, f.d_high)),
    q AS (INSERT INTO rid.quantity (param, low, high, system, code, rid) SELECT *, f.rid FROM unnest(f.q_param, f.q_low, f.q_high, f.q_system, f.q_code))
  INSERT INTO rid.uri (param, uri, rid) SELECT *, f.rid FROM unnest(f.u_param, f.u_uri);
END $$;

CREATE PROCEDURE import_100(at int) LANGUAGE plpgsql AS $$
BEGIN
  WITH f AS MATERIALIZED (SELECT * FROM gen.fresh WHERE k BETWEEN at AND at + 99),
    r AS (INSERT INTO rid.resource SELECT rid, type, id, 1, now(), false, content FROM f),
    t AS (INSERT INTO rid.token (param, code, system, rid) SELECT u.*, rid FROM f, unnest(t_param, t_code, t_system) u),
    l AS (INSERT INTO rid.reference (param, target, rid) SELECT u.*, rid FROM f, unnest(f_param, f_target) u),
    d AS (INSERT INTO rid.date (param, low, high, rid) SELECT u.*, rid FROM f, unnest(d_param, d_low, d_high) u),
    q AS (INSERT INTO rid.quantity (param, low, high, system, code, rid) SELECT u.*, rid FROM f, unnest(q_param, q_low, q_high, q_system, q_code) u)
  INSERT INTO rid.uri (param, uri, rid) SELECT u.*, rid FROM f, unnest(u_param, u_uri) u;
END $$;

-- An observation's status changes: one index row of about twelve.
CREATE PROCEDURE update_one(at int) LANGUAGE plpgsql AS $$
DECLARE r rid.resource;
BEGIN
  SELECT * INTO r FROM rid.resource WHERE rid = (SELECT victim FROM gen.fresh WHERE k = at) FOR UPDATE;
  WITH h AS (INSERT INTO rid.history VALUES (r.rid, r.version, r.last_updated, r.content)),
    u AS (UPDATE rid.resource SET version = version + 1, last_updated = now(), content = r.content || '{"status": "corrected"}' WHERE rid = r.rid),
    d AS (DELETE FROM rid.token WHERE param = r.type * 100 + 4 AND code = r.content ->> 'status' AND rid = r.rid AND system = 4)
  INSERT INTO rid.token (param, code, system, rid) VALUES (r.type * 100 + 4, 'corrected', 4, r.rid);
END $$;

DELETE FROM bench.search WHERE layout = 'rid';
INSERT INTO bench.search SELECT 'rid', ordinality, v ->> 0, v ->> 1 FROM jsonb_array_elements(jsonb_build_array(
 jsonb_build_array('token, rare', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %1$L AND t.system = 1 ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1 ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, one in 250', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = '10018-8' AND t.system = 1 ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, most rows', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 304 AND t.code = 'final' AND t.system = 4 ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, deep page', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1 AND t.rid < %9$s ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, both common', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %3$L AND t.system = 1
   AND EXISTS (SELECT FROM rid.token u WHERE u.rid = t.rid AND u.param = 303 AND u.code = 'vital-signs' AND u.system = 3) ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token AND token, few of both', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %2$L AND t.system = 1
   AND EXISTS (SELECT FROM rid.token u WHERE u.rid = t.rid AND u.param = 304 AND u.code = 'amended' AND u.system = 4) ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token OR list of four', $$SELECT r.content FROM (SELECT DISTINCT t.rid FROM rid.token t WHERE t.param = 301 AND t.code IN (%1$L, %2$L, %3$L, '10004-4') AND t.system = 1 ORDER BY t.rid DESC LIMIT 20) t
   JOIN rid.resource r USING (rid) ORDER BY rid DESC$$),
 jsonb_build_array('token OR list, a branch each', $$SELECT r.content FROM (SELECT DISTINCT rid FROM (
   (SELECT rid FROM rid.token WHERE param = 301 AND code = %1$L AND system = 1 ORDER BY rid DESC LIMIT 20) UNION ALL (SELECT rid FROM rid.token WHERE param = 301 AND code = %2$L AND system = 1 ORDER BY rid DESC LIMIT 20) UNION ALL
   (SELECT rid FROM rid.token WHERE param = 301 AND code = %3$L AND system = 1 ORDER BY rid DESC LIMIT 20) UNION ALL (SELECT rid FROM rid.token WHERE param = 301 AND code = '10004-4' AND system = 1 ORDER BY rid DESC LIMIT 20)) b
   ORDER BY rid DESC LIMIT 20) t JOIN rid.resource r USING (rid) ORDER BY rid DESC$$),
 jsonb_build_array('reference', $$SELECT r.content FROM rid.reference t JOIN rid.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND date', $$SELECT r.content FROM rid.reference t JOIN rid.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM rid.date d WHERE d.rid = t.rid AND d.param = 331 AND d.high > %8$L) ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('reference AND token', $$SELECT r.content FROM rid.reference t JOIN rid.resource r USING (rid) WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM rid.token u WHERE u.rid = t.rid AND u.param = 301 AND u.code = %3$L AND u.system = 1) ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, not', $$SELECT r.content FROM rid.resource r WHERE r.type = 3 AND NOT r.deleted AND NOT EXISTS (SELECT FROM rid.token t WHERE t.param = 304 AND t.code = 'final' AND t.rid = r.rid) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('string, prefix', $$SELECT r.content FROM rid.resource r WHERE r.rid = ANY (ARRAY(SELECT DISTINCT t.rid FROM rid.string t WHERE t.param = 122 AND t.norm >= %6$L AND t.norm < %6$L || U&'\+10FFFF' COLLATE "C" ORDER BY t.rid DESC LIMIT 20)) ORDER BY rid DESC$$),
 jsonb_build_array('string, contains', $$SELECT r.content FROM rid.resource r WHERE r.rid = ANY (ARRAY(SELECT DISTINCT t.rid FROM rid.string t WHERE t.param = 122 AND t.norm LIKE '%%' || %7$L || '%%' ORDER BY t.rid DESC LIMIT 20)) ORDER BY rid DESC$$),
 jsonb_build_array('string, contains, no match', $$SELECT r.content FROM rid.resource r WHERE r.rid = ANY (ARRAY(SELECT DISTINCT t.rid FROM rid.string t WHERE t.param = 122 AND t.norm LIKE '%%' || %7$L || 'qq%%' ORDER BY t.rid DESC LIMIT 20)) ORDER BY rid DESC$$),
 jsonb_build_array('date, one day', $$SELECT r.content FROM rid.date t JOIN rid.resource r USING (rid) WHERE t.param = 231 AND t.low >= %8$L AND t.low < %8$L::timestamptz + interval '1 day' AND t.high <= %8$L::timestamptz + interval '1 day' ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, most rows', $$SELECT r.content FROM rid.date t JOIN rid.resource r USING (rid) WHERE t.param = 331 AND t.high > %8$L ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, ge, few rows', $$SELECT r.content FROM rid.date t JOIN rid.resource r USING (rid) WHERE t.param = 331 AND t.high > timestamptz '2025-11-17Z' ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('date, ge, no row', $$SELECT r.content FROM rid.date t JOIN rid.resource r USING (rid) WHERE t.param = 331 AND t.high > timestamptz '2026-11-17Z' ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('missing', $$SELECT r.content FROM rid.resource r WHERE r.type = 3 AND NOT r.deleted AND NOT EXISTS (SELECT FROM rid.reference t WHERE t.param = 313 AND t.rid = r.rid) ORDER BY r.rid DESC LIMIT 20$$),
 jsonb_build_array('reference, sort by date', $$SELECT r.content FROM rid.reference t JOIN rid.resource r USING (rid) LEFT JOIN rid.date s ON s.param = 331 AND s.rid = t.rid WHERE t.param = 312 AND t.target = %4$s ORDER BY s.low DESC, t.rid DESC LIMIT 20$$),
 jsonb_build_array('token, common, sort by date', $$SELECT r.content FROM rid.date s JOIN rid.resource r USING (rid) WHERE s.param = 331
   AND EXISTS (SELECT FROM rid.token t WHERE t.rid = s.rid AND t.param = 301 AND t.code = %3$L AND t.system = 1) ORDER BY s.low DESC, s.rid DESC LIMIT 20$$),
 jsonb_build_array('quantity AND token', $$SELECT r.content FROM rid.token t JOIN rid.resource r USING (rid) WHERE t.param = 301 AND t.code = %2$L AND t.system = 1
   AND EXISTS (SELECT FROM rid.quantity q WHERE q.rid = t.rid AND q.param = 341 AND q.high > 290) ORDER BY t.rid DESC LIMIT 20$$),
 jsonb_build_array('chain', $$SELECT r.content FROM rid.resource r WHERE r.rid = ANY (ARRAY(SELECT DISTINCT t.rid FROM rid.reference t WHERE t.param = 312 AND t.target IN
   (SELECT s.rid FROM rid.string s WHERE s.param = 122 AND s.norm >= %6$L AND s.norm < %6$L || U&'\+10FFFF') ORDER BY t.rid DESC LIMIT 20)) ORDER BY rid DESC$$),
 jsonb_build_array('_has', $$SELECT r.content FROM rid.resource r WHERE r.rid = ANY (ARRAY(SELECT DISTINCT t.target FROM rid.token u JOIN rid.reference t ON t.rid = u.rid AND t.param = 312
   WHERE u.param = 301 AND u.code = %1$L AND u.system = 1 ORDER BY 1 DESC LIMIT 20)) ORDER BY rid DESC$$),
 jsonb_build_array('total of reference AND token', $$SELECT count(*) FROM rid.reference t WHERE t.param = 312 AND t.target = %4$s
   AND EXISTS (SELECT FROM rid.token u WHERE u.rid = t.rid AND u.param = 301 AND u.code = %3$L AND u.system = 1)$$),
 jsonb_build_array('type, sort by _lastUpdated', $$SELECT r.content FROM rid.resource r WHERE r.type = 3 AND NOT r.deleted ORDER BY r.last_updated DESC, r.rid DESC LIMIT 20$$)
)) WITH ORDINALITY AS x(v, ordinality);
