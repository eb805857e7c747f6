#!/usr/bin/env bash
# Runs pg_regress, and the isolation tests beside it, on the server that PGHOST, PGPORT and PGUSER name.
#   tests/pg_regress.sh [test …]      all SQL tests and all isolation tests, or only the named SQL tests
# What a test printed is in target/pg_regress/results: read it, then copy it to tests/pg_regress/expected.
set -euo pipefail
cd "$(dirname "$0")/.."

pg_config=${PG_CONFIG:-pg_config}
pgxs=$("$pg_config" --pgxs)
passed=0 failed=0

run() { # program, folder, tests …
  local program=$1 folder=$2 out=target/${1##*/}
  shift 2
  rm -rf "$out" && mkdir -p "$out"
  # Without an expected file pg_regress gives up on all tests; with an empty one the new test fails and shows its output.
  for test in "$@"; do [[ -e $folder/expected/$test.out ]] || touch "$folder/expected/$test.out"; done
  "${pgxs%/makefiles/pgxs.mk}/test/$program" --bindir="$("$pg_config" --bindir)" --inputdir="$folder" \
    --outputdir="$out" --dbname=contrib_regression --encoding=UTF8 --load-extension=pg_persona "$@" |
    tee "$out/log" || true
  # 'ok' of one test: "test kmeans ... ok" before PostgreSQL 16, "ok 1 - kmeans" since; the rest failed or never ran.
  local ok
  ok=$(grep -cE '^(ok +[0-9]|(test|    ) .*\.\.\. +ok)' "$out/log" || true)
  passed=$((passed + ok)) failed=$((failed + $# - ok))
  if [[ -s $out/regression.diffs ]]; then cat "$out/regression.diffs"; fi
}

names() { for file in "$@"; do file=${file##*/}; echo "${file%.*}"; done; }

shopt -s nullglob
if [[ $# == 0 ]]; then
  specs=(tests/isolation/specs/*.spec)
  if [[ ${#specs[@]} -gt 0 ]]; then run isolation/pg_isolation_regress tests/isolation $(names "${specs[@]}"); fi
  set -- $(names tests/pg_regress/sql/*.sql)
fi
if [[ $# -gt 0 ]]; then run regress/pg_regress tests/pg_regress "$@"; fi

echo "pg_regress: $passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
