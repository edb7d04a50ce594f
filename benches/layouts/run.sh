#!/bin/sh
# Measures the index layouts of docs/decisions/0001 on a private cluster that is deleted afterwards.
#   benches/layouts/run.sh [resources] [layout…]     default: 1000000, every layout
# Needs the Postgres programs (15 or later) and, when root, the user `postgres`. Takes about 12 GB of disk at a million.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd /
n=${1:-1000000}; [ $# -gt 0 ] && shift
layouts=${*:-rows_by_rid variants rows_by_time hashes jsonb}
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)}
bin=${bin:-$(pg_config --bindir)}
dir=$(mktemp -d /var/tmp/medconsult-layouts.XXXXXX)
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" = 0 ] && chown postgres "$dir" && chmod 755 "$dir"
stop() { as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"; }
trap stop EXIT INT TERM

as "$bin/initdb" -D "$dir/data" -A trust -U postgres --locale=C.UTF-8 -E UTF8 >/dev/null
# Full-page images are off so that a write's cost does not depend on how long ago the last checkpoint was; commits are durable.
cat >> "$dir/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir'
shared_buffers = 3GB
effective_cache_size = 8GB
maintenance_work_mem = 1GB
work_mem = 16MB
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
jit = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 16GB
checkpoint_timeout = 1h
full_page_writes = off
autovacuum = off
random_page_cost = 1.1
END
as "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null
sql() { PGOPTIONS='-c client_min_messages=warning' as "$bin/psql" -h "$dir" -U postgres -d postgres -qXv ON_ERROR_STOP=1 "$@"; }
step() { echo "$(date +%T) $*" >&2; }

step "generating $n resources"
sql -v n="$n" -v fresh=6000 -f "$here/data.sql" >/dev/null
sql -f "$here/measure.sql"
for layout in $layouts; do
  step "building and measuring $layout"
  if [ "$layout" = variants ]; then sql -f "$here/variants.sql"; continue; fi
  sql -v n="$n" -f "$here/$layout.sql" >/dev/null
  name=$(sed -n 's/^CREATE SCHEMA \(.*\);$/\1/p' "$here/$layout.sql")
  sql -c "CALL bench.searches('$name', 40)"
  sql -c "CALL bench.writes('$name', 'create', '$name.create_one', 1, 1500)" \
      -c "CALL bench.writes('$name', 'import of 100, each', '$name.import_100', 2001, 4001, 100)" \
      -c "CALL bench.writes('$name', 'update', '$name.update_one', 1, 1500)"
  sql -f "$here/report.sql" -v layout="$name"
done
step done
