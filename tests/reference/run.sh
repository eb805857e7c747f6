#!/usr/bin/env bash
# Trains on public data sets and compares with published figures, on the server that PGHOST, PGPORT, PGUSER name.
# The data are not ours to publish: $SHARED_DATA is a folder with them, as gzipped CSV, and with metrics.py beside.
set -euo pipefail
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1

SHARED_DATA=$(realpath -m "${SHARED_DATA:-$PWD/../../../shared/data}")
export SHARED_DATA
if [[ ! -f $SHARED_DATA/reference/metrics.py ]]; then
  echo "reference: no data in $SHARED_DATA: set SHARED_DATA to the folder that has them" >&2
  exit 1
fi

cargo test --locked -q -p segments -p recommenders --test segments_reference --test neighbours_reference \
  --test als_reference --test content_reference -- --ignored

psql() { command psql -X -q -v ON_ERROR_STOP=1 "$@"; }

psql -d postgres -c 'SET client_min_messages = warning' -c 'DROP DATABASE IF EXISTS reference WITH (FORCE)' \
  -c "CREATE DATABASE reference TEMPLATE template0 ENCODING 'UTF8'"
export PGDATABASE=reference
psql -f metrics.sql
python3 check_metrics.py
psql -f recommend.sql
python3 values.py
python3 segments.py

psql -P footer=off -c 'SELECT name, round(value::numeric, 4) AS value, at_least, at_most, ok FROM figures ORDER BY position'
failed=$(psql -At -c 'SELECT count(*) FROM figures WHERE NOT ok')
psql -At -c "SELECT 'reference: ' || count(*) FILTER (WHERE ok) || ' passed, ' || count(*) FILTER (WHERE NOT ok) || ' failed' FROM figures"
[[ $failed == 0 ]]
