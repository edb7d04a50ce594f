-- What each index of layout `rid` is worth: indexes are added and dropped one after the other and the searches and creates run again.
SET search_path = rid;
CREATE INDEX date_high ON date (param, high, rid, low);
CREATE INDEX quantity_high ON quantity (param, high, rid, low, code, system);
ANALYZE date, quantity;
CALL bench.searches('rid', 40, '1 with date and quantity by high');
CALL bench.writes('1 with date and quantity by high', 'create', 'rid.create_one', 4201, 4600);

CREATE STATISTICS token_frequent (mcv, dependencies) ON param, code, system FROM token;
CREATE STATISTICS reference_frequent (mcv, dependencies) ON param, target FROM reference;
ANALYZE token, reference;
CALL bench.searches('rid', 40, '2 and extended statistics');

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX string_trigrams ON string USING gin (norm gin_trgm_ops);
CALL bench.searches('rid', 40, '3 and trigrams');
INSERT INTO bench.result SELECT '3 and trigrams', 'size of ' || relname, NULL, NULL, NULL, NULL, NULL, pg_size_pretty(pg_relation_size(oid)) FROM pg_class WHERE relname IN ('string_trigrams', 'string_value', 'string_recent');
DROP INDEX string_trigrams;

DROP INDEX date_recent, quantity_recent;
CALL bench.searches('rid', 40, '4 without date, quantity recent');
CALL bench.writes('4 without date, quantity recent', 'create', 'rid.create_one', 4601, 5000);

DROP INDEX token_recent, reference_recent, uri_recent, string_recent;
CALL bench.searches('rid', 40, '5 without any recent');
CALL bench.writes('5 without any recent', 'create', 'rid.create_one', 5001, 5400);

CREATE INDEX token_recent ON token (param, rid, code, system);
CREATE INDEX reference_recent ON reference (param, rid, target);
DROP INDEX token_value, reference_value;
CALL bench.searches('rid', 40, '6 token, reference: recent only');
CALL bench.writes('6 token, reference: recent only', 'create', 'rid.create_one', 5401, 5800);

\pset footer off
\pset null ''
SELECT what, max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout = 'rid') AS base, max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '1%') AS high,
  max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '2%') AS statistics, max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '3%') AS trigrams,
  max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '4%') AS no_range_recent, max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '5%') AS no_recent,
  max(round(cpu_ms::numeric, 2)) FILTER (WHERE r.layout LIKE '6%') AS only_recent, max(note) FILTER (WHERE what LIKE 'size%') AS size
FROM bench.result r LEFT JOIN bench.search s ON s.layout = 'rid' AND s.name = what WHERE r.layout = 'rid' OR r.layout ~ '^\d' GROUP BY what, s.nr ORDER BY s.nr NULLS LAST, what;
