-- What one layout cost.
\pset footer off
\pset null ''
SELECT :'layout' AS layout, what, round(cpu_ms::numeric, 3) AS cpu_ms, round(wall_ms::numeric, 2) AS wall_ms, round(blocks) AS blocks, round(touched) AS rows_read, returned, note
FROM bench.result LEFT JOIN bench.search s ON s.layout = result.layout AND s.name = what WHERE result.layout = :'layout' ORDER BY s.nr NULLS LAST, what;
SELECT relname, pg_size_pretty(pg_table_size(c.oid)) AS heap, pg_size_pretty(pg_indexes_size(c.oid)) AS indexes, pg_size_pretty(pg_total_relation_size(c.oid)) AS total
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = :'layout' AND relkind = 'r' ORDER BY pg_total_relation_size(c.oid) DESC;
SELECT pg_size_pretty(sum(pg_total_relation_size(c.oid))) AS total, pg_size_pretty(sum(pg_indexes_size(c.oid))) AS indexes
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = :'layout' AND relkind = 'r';
