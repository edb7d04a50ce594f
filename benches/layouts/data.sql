-- The same synthetic records for every layout, as plain rows in schema `gen`: psql -v n=1000000 -v fresh=6000 -f data.sql
--
-- One block of ten consecutive resources is one visit: an encounter, seven observations, a condition and a procedure of
-- one patient. Patients come first (one in 25 resources). Half of the visits are dated as they were entered, half
-- anywhere in sixteen years (imported history). Codes are skewed as in a clinic: of 2,000 codes the most frequent has 15 %
-- of its type's rows and the rarest a few dozen per million. Values come from a hash of the row number, so that every
-- run makes the same rows.
\set ON_ERROR_STOP on
DROP SCHEMA IF EXISTS gen CASCADE;
CREATE SCHEMA gen;
SET search_path = gen;

CREATE FUNCTION rnd(n bigint, seed bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT (hashint8extended(n, seed) & 1073741823) / 1073741824.0::float8 $$;
CREATE FUNCTION fhir_id(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT md5(n::text)::uuid::text $$;
CREATE FUNCTION code(n bigint, seed bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT (10000 + floor(2000 * rnd(n, seed) ^ 4))::int || '-' || (floor(2000 * rnd(n, seed) ^ 4)::int % 10) $$;

-- kind: 1 Patient, 2 Encounter, 3 Observation, 4 Condition, 5 Procedure
CREATE TABLE fact AS
SELECT rid,
       CASE WHEN rid <= :n / 25 THEN 1 WHEN rid % 10 = 0 THEN 2 WHEN rid % 10 <= 7 THEN 3 WHEN rid % 10 = 8 THEN 4 ELSE 5 END::smallint AS type,
       fhir_id(rid) AS id,
       timestamptz '2024-01-01Z' + rid * interval '30 s'
         + CASE WHEN rnd(rid, 9) < 0.05 THEN rnd(rid, 10) * interval '300 days' ELSE interval '0' END AS last_updated,
       (1 + floor((:n / 25) * rnd(rid / 10, 1) ^ 1.5))::bigint AS patient,
       (rid / 10) * 10 AS encounter,
       date_trunc('minute', CASE WHEN rnd(rid / 10, 2) < 0.5 THEN timestamptz '2010-01-01Z' + (rid::float8 / :n) * interval '5800 days'
            ELSE timestamptz '2010-01-01Z' + rnd(rid / 10, 3) * interval '5800 days' END) AS day,
       code(rid, 4) AS code,
       CASE WHEN rnd(rid, 5) < 0.02 THEN 'amended' ELSE 'final' END AS status,
       (ARRAY['laboratory', 'laboratory', 'vital-signs', 'vital-signs', 'vital-signs', 'social-history', 'survey'])[1 + floor(7 * rnd(rid, 6))] AS category,
       round((rnd(rid, 7) * 300)::numeric, 1) AS amount,
       (ARRAY['smith','schmidt','garcia','nguyen','muller','jones','okafor','tanaka','kowalski','rossi','novak','silva'])[1 + floor(12 * rnd(rid, 8) ^ 2)]
         || (ARRAY['','son','berg','a','ez','mann','ski','',''])[1 + floor(9 * rnd(rid, 11))] || CASE WHEN rnd(rid, 12) < 0.6 THEN floor(rnd(rid, 13) * 900)::text ELSE '' END AS family,
       (ARRAY['maria','james','wei','fatima','olu','anna','juan','lea','noah','yuki'])[1 + floor(10 * rnd(rid, 14))] || CASE WHEN rnd(rid, 15) < 0.5 THEN floor(rnd(rid, 16) * 90)::text ELSE '' END AS given
FROM generate_series(1, :n + :fresh) rid;

-- Content near a kilobyte, as Synthea's are.
CREATE TABLE resource AS
SELECT rid, type, id, last_updated,
  jsonb_build_object('id', id, 'resourceType', (ARRAY['Patient', 'Encounter', 'Observation', 'Condition', 'Procedure'])[type],
    'meta', jsonb_build_object('versionId', '1', 'lastUpdated', last_updated, 'profile', jsonb_build_array('http://example.org/fhir/StructureDefinition/profile-' || type)),
    'identifier', jsonb_build_array(jsonb_build_object('system', 'https://example.org/numbers', 'value', 'N' || rid)))
  || CASE WHEN type = 1 THEN jsonb_build_object('active', true, 'gender', CASE WHEN rid % 2 = 0 THEN 'female' ELSE 'male' END, 'birthDate', to_char(day, 'YYYY-MM-DD'),
       'name', jsonb_build_array(jsonb_build_object('use', 'official', 'family', initcap(family), 'given', jsonb_build_array(initcap(given), 'Q'))),
       'telecom', jsonb_build_array(jsonb_build_object('system', 'phone', 'value', '555-' || rid, 'use', 'home')),
       'address', jsonb_build_array(jsonb_build_object('line', jsonb_build_array(rid % 999 || ' Long Street'), 'city', 'Town ' || rid % 300, 'state', 'State ' || rid % 40, 'postalCode', (rid % 90000)::text)),
       'text', jsonb_build_object('status', 'generated', 'div', '<div xmlns="http://www.w3.org/1999/xhtml">' || repeat('About a person. ', 15) || '</div>'))
     ELSE jsonb_build_object('status', status, 'subject', jsonb_build_object('reference', 'Patient/' || fhir_id(patient)),
       'category', jsonb_build_array(jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('system', 'http://terminology.example.org/category', 'code', category, 'display', category)))),
       'code', jsonb_build_object('text', 'Something measured, code ' || code, 'coding', jsonb_build_array(jsonb_build_object('system', 'http://codes.example.org/sct', 'code', code, 'display', 'Something measured, code ' || code))),
       'effectiveDateTime', day, 'issued', day,
       'performer', jsonb_build_array(jsonb_build_object('reference', 'Practitioner/' || fhir_id(-(rid / 10 % 500)), 'display', 'A practitioner of the clinic')))
     || CASE WHEN type > 2 AND rid % 20 <> 3 THEN jsonb_build_object('encounter', jsonb_build_object('reference', 'Encounter/' || fhir_id(encounter))) ELSE '{}' END
     || CASE WHEN type = 3 AND rid % 10 <> 7 THEN jsonb_build_object('valueQuantity', jsonb_build_object('value', amount, 'unit', 'mmol/L', 'system', 'http://unitsofmeasure.org', 'code', 'mmol/L')) ELSE '{}' END
  END AS content
FROM fact;

-- Parameter ids: type * 100 + n. System ids: 0 none, 1 codes, 2 identifiers, 3 categories, 4 status.
CREATE TABLE token AS
SELECT (type * 100 + p)::smallint AS param, c COLLATE "C" AS code, s AS system, rid FROM fact, LATERAL (VALUES
  (1, CASE WHEN type > 1 THEN code END, 1), (2, CASE WHEN type = 3 THEN code END, 1),
  (3, CASE WHEN type > 1 THEN category END, 3), (4, CASE WHEN type > 1 THEN status END, 4), (5, 'n' || rid, 2),
  (6, CASE WHEN type = 1 THEN CASE WHEN rid % 2 = 0 THEN 'female' ELSE 'male' END END, 4), (7, CASE WHEN type = 1 THEN 'true' END, 4),
  (8, CASE WHEN type = 1 THEN '555-' || rid END, 0), (9, CASE WHEN type = 1 THEN '555-' || rid END, 0)) v(p, c, s)
WHERE c IS NOT NULL;
CREATE TABLE reference AS
SELECT (type * 100 + p)::smallint AS param, t AS target, rid FROM fact, LATERAL (VALUES
  (11, patient), (12, patient), (13, CASE WHEN type > 2 AND rid % 20 <> 3 THEN encounter END), (14, -(rid / 10 % 500) - 1)) v(p, t)
WHERE type > 1 AND t IS NOT NULL;
CREATE TABLE string AS
SELECT (100 + p)::smallint AS param, lower(v) COLLATE "C" AS norm, v AS exact, rid FROM fact, LATERAL (VALUES
  (21, initcap(family)), (21, initcap(given)), (21, 'Q'), (22, initcap(family)), (23, initcap(given)), (23, 'Q'), (24, rid % 999 || ' Long Street'), (24, 'Town ' || rid % 300),
  (24, 'State ' || rid % 40), (25, 'Town ' || rid % 300), (26, 'State ' || rid % 40)) s(p, v)
WHERE type = 1;
CREATE TABLE date AS
SELECT (type * 100 + 31)::smallint AS param, CASE WHEN type = 1 THEN date_trunc('day', day) ELSE day END AS low,
       CASE type WHEN 1 THEN date_trunc('day', day) + interval '1 day' WHEN 2 THEN day + interval '40 min' ELSE day + interval '1 s' END AS high, rid FROM fact;
CREATE TABLE quantity AS
SELECT (300 + p)::smallint AS param, amount - 0.05 AS low, amount + 0.05 AS high, 5 AS system, 'mmol/L' COLLATE "C" AS code, rid FROM fact, (VALUES (41), (42)) v(p)
WHERE type = 3 AND rid % 10 <> 7;
CREATE TABLE uri AS
SELECT (type * 100 + 51)::smallint AS param, ('http://example.org/fhir/StructureDefinition/profile-' || type) COLLATE "C" AS uri, rid FROM fact;

-- The resources that the write measurements create: not loaded before, each with its index rows as arrays.
CREATE TABLE fresh AS
SELECT rid - :n AS k, (:n / 10 + floor(:n * 0.089 * rnd(rid, 20)) * 10 + 3)::bigint AS victim, r.*, t_param, t_code, t_system, f_param, f_target, d_param, d_low, d_high, q_param, q_low, q_high, q_system, q_code, u_param, u_uri
FROM resource r
JOIN (SELECT rid, array_agg(param) t_param, array_agg(code) t_code, array_agg(system) t_system FROM token WHERE rid > :n GROUP BY 1) t USING (rid)
JOIN (SELECT rid, array_agg(param) f_param, array_agg(target) f_target FROM reference WHERE rid > :n GROUP BY 1) f USING (rid)
JOIN (SELECT rid, array_agg(param) d_param, array_agg(low) d_low, array_agg(high) d_high FROM date WHERE rid > :n GROUP BY 1) d USING (rid)
LEFT JOIN (SELECT rid, array_agg(param) q_param, array_agg(low) q_low, array_agg(high) q_high, array_agg(system) q_system, array_agg(code) q_code FROM quantity WHERE rid > :n GROUP BY 1) q USING (rid)
JOIN (SELECT rid, array_agg(param) u_param, array_agg(uri) u_uri FROM uri WHERE rid > :n GROUP BY 1) u USING (rid);
CREATE UNIQUE INDEX ON fresh (k);
DELETE FROM resource WHERE rid > :n;
DELETE FROM token WHERE rid > :n;
DELETE FROM reference WHERE rid > :n;
DELETE FROM date WHERE rid > :n;
DELETE FROM quantity WHERE rid > :n;
DELETE FROM uri WHERE rid > :n;

-- The arguments of the searches, one row per repetition.
CREATE TABLE args AS
SELECT i, rare, mid, common, p.patient, p.patient_id, prefix, infix, day, deep FROM (
  SELECT i, (10000 + 1500 + i * 7)::text || '-' || (1500 + i * 7) % 10 AS rare, (10000 + 60 + i) || '-' || (60 + i) % 10 AS mid,
         (10000 + i % 3) || '-' || i % 3 AS common, left((ARRAY['smith','garcia','nguyen','okafor'])[1 + i % 4], 4) AS prefix,
         (ARRAY['mith','owals','anak','ossi'])[1 + i % 4] AS infix, timestamptz '2011-01-01Z' + i * interval '37 days' AS day,
         (:n * (0.5 - i * 0.004))::bigint AS deep
  FROM generate_series(1, 60) i) a,
  LATERAL (SELECT rid AS patient, id AS patient_id FROM fact WHERE rid = 1 + floor((:n / 25) * (0.1 + i * 0.012))::bigint) p;
VACUUM ANALYZE fresh, args, resource, token, reference, string, date, quantity, uri;
