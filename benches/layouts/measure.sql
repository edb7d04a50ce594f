-- How one layout is measured. Times are the backend's own CPU time as the kernel counts it, so that a busy machine does
-- not show; `bench.result` keeps every figure.
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE IF NOT EXISTS bench.result (layout text, what text, cpu_ms float8, wall_ms float8, blocks float8, touched float8, returned bigint, note text, PRIMARY KEY (layout, what));
CREATE TABLE IF NOT EXISTS bench.search (layout text, nr int, name text, sql text, PRIMARY KEY (layout, nr));

CREATE OR REPLACE FUNCTION bench.cpu_ms() RETURNS float8 LANGUAGE sql VOLATILE AS
  $$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6 $$;
CREATE OR REPLACE FUNCTION bench.note(layout text, what text, cpu float8, wall float8, blocks float8, touched float8, returned bigint, note text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bench.result VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
  ON CONFLICT (layout, what) DO UPDATE SET cpu_ms = $3, wall_ms = $4, blocks = $5, touched = $6, returned = $7, note = $8 $$;

-- Sum over the plan's scans of the rows read, kept or not.
CREATE OR REPLACE FUNCTION bench.touched(plan jsonb) RETURNS float8 LANGUAGE sql AS $$
  WITH RECURSIVE node(n) AS (
    SELECT plan UNION ALL SELECT jsonb_array_elements(n -> 'Plans') FROM node WHERE n ? 'Plans')
  SELECT coalesce(sum((n ->> 'Actual Loops')::float8 * ((n ->> 'Actual Rows')::float8 + coalesce((n ->> 'Rows Removed by Filter')::float8, 0)
         + coalesce((n ->> 'Rows Removed by Index Recheck')::float8, 0))), 0) FROM node WHERE n ->> 'Node Type' LIKE '%Scan' AND n ->> 'Node Type' <> 'Subquery Scan' $$;

-- Runs every search of a layout over the argument rows; a search slower than `patience` seconds is run once.
CREATE OR REPLACE PROCEDURE bench.searches(layout_name text, repetitions int, noted_as text DEFAULT NULL, patience float8 DEFAULT 0.5) LANGUAGE plpgsql AS $$
DECLARE s record; a record; sql text; cpu float8; began timestamptz; rows bigint; total bigint; n int; passes int; blocks float8; touched float8; plan jsonb; explained int;
BEGIN
  FOR s IN SELECT * FROM bench.search WHERE layout = layout_name ORDER BY nr LOOP
    -- Once to warm the cache and to see how long it takes.
    SELECT * INTO a FROM gen.args WHERE i = 1;
    sql := format(s.sql, a.rare, a.mid, a.common, a.patient, a.patient_id, a.prefix, a.infix, a.day, a.deep);
    began := clock_timestamp();
    EXECUTE 'SELECT count(*) FROM (' || sql || ') x' INTO rows;
    n := CASE WHEN extract(epoch FROM clock_timestamp() - began) > patience THEN 2 ELSE repetitions END;
    blocks := 0; touched := 0; total := 0; explained := 0;
    FOR a IN SELECT * FROM gen.args WHERE i <= least(n, 6) ORDER BY i LOOP
      sql := format(s.sql, a.rare, a.mid, a.common, a.patient, a.patient_id, a.prefix, a.infix, a.day, a.deep);
      EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT json) ' || sql INTO plan;
      blocks := blocks + (plan #>> '{0,Plan,Shared Hit Blocks}')::float8 + (plan #>> '{0,Plan,Shared Read Blocks}')::float8;
      touched := touched + bench.touched(plan #> '{0,Plan}');
      explained := explained + 1;
    END LOOP;
    cpu := bench.cpu_ms(); began := clock_timestamp();
    passes := CASE WHEN n < repetitions THEN 1 ELSE 3 END;
    FOR a IN SELECT args.* FROM generate_series(1, passes) pass, gen.args WHERE i <= n ORDER BY pass, i LOOP
      EXECUTE format(s.sql, a.rare, a.mid, a.common, a.patient, a.patient_id, a.prefix, a.infix, a.day, a.deep);
      GET DIAGNOSTICS rows = ROW_COUNT;
      total := total + rows;
    END LOOP;
    PERFORM bench.note(coalesce(noted_as, layout_name), s.name, (bench.cpu_ms() - cpu) / n / passes, extract(epoch FROM clock_timestamp() - began) * 1000 / n / passes,
                       blocks / explained, touched / explained, total / n / passes, CASE WHEN n < repetitions THEN 'few runs' END);
    COMMIT;
  END LOOP;
END $$;

-- Runs `body` (a procedure taking one k) for k in first..last, one durable commit each; `per` resources per call.
CREATE OR REPLACE PROCEDURE bench.writes(layout_name text, what text, body text, first int, last int, per int DEFAULT 1) LANGUAGE plpgsql AS $$
DECLARE cpu float8; began timestamptz; lsn pg_lsn; k int; n int := 0;
BEGIN
  EXECUTE format('CALL %s(%s)', body, first);
  COMMIT;
  cpu := bench.cpu_ms(); began := clock_timestamp(); lsn := pg_current_wal_insert_lsn();
  FOR k IN SELECT * FROM generate_series(first + per, last, per) LOOP
    EXECUTE format('CALL %s($1)', body) USING k;
    COMMIT;
    n := n + per;
  END LOOP;
  PERFORM bench.note(layout_name, what, (bench.cpu_ms() - cpu) / n, extract(epoch FROM clock_timestamp() - began) * 1000 / n, NULL, NULL, n,
                     round((pg_current_wal_insert_lsn() - lsn) / n / 1024.0, 1) || ' KiB of WAL');
  COMMIT;
END $$;
