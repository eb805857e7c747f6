-- Statistics of columns: beside Postgres' own aggregates, merged, in windows, written and read, on bad input.
SET search_path = persona, public;
\set VERBOSITY default
CREATE TABLE numbers AS
  SELECT i, i % 7 AS shop, (i * 7919 % 1009) / 8.0::float8 AS x FROM generate_series(1, 5000) AS i;
INSERT INTO numbers SELECT i, i % 7, NULL FROM generate_series(5001, 5100) AS i;

\echo '== beside Postgres'
SELECT num_vals(s) = n AS num_vals, abs(mean(s) - m) < 1e-12 * m AS mean, abs(stddev(s) - d) < 1e-12 * d AS stddev,
       abs(stddev_pop(s) - dp) < 1e-12 * dp AS stddev_pop, abs(variance(s) - v) < 1e-12 * v AS variance,
       abs(variance_pop(s) - vp) < 1e-12 * vp AS variance_pop, min(s) = low AS min, max(s) = high AS max
FROM (SELECT stats_agg(x) AS s, count(x) AS n, avg(x) AS m, stddev(x) AS d, stddev_pop(x) AS dp, variance(x) AS v,
             var_pop(x) AS vp, pg_catalog.min(x) AS low, pg_catalog.max(x) AS high FROM numbers) AS q;
-- A large offset costs no digits.
SELECT round(stddev(stats_agg(1e9 + i % 10))::numeric, 9) AS stddev, round(pg_catalog.stddev(i % 10), 9) AS exact FROM numbers;
SELECT round(skewness(s)::numeric, 9) AS skewness, round(kurtosis(s)::numeric, 9) AS kurtosis, z_score(s, 7.5) AS z,
       min_max_scale(s, 4) AS scaled
FROM (SELECT stats_agg(x) AS s FROM unnest('{1,2,3,4,10}'::float8[]) AS x) AS q;

\echo '== nothing, one value, equal values'
SELECT stats_agg(x) FROM numbers WHERE x IS NULL;
SELECT stats_agg(x) FROM numbers WHERE false;
SELECT num_vals(s), mean(s), variance(s), stddev_pop(s), skewness(s), z_score(s, 3)
FROM (SELECT stats_agg(2) AS s) AS q;
SELECT stddev(s), skewness(s), kurtosis(s), z_score(s, 3), min_max_scale(s, 3), z_score(s, NULL) FROM (SELECT stats_agg(2) AS s FROM generate_series(1, 3)) AS q;
SELECT mean(NULL::stats), num_vals(NULL::stats), z_score(NULL::stats, 1);

\echo '== NaN, infinities and extremes, beside Postgres'
WITH given (what, xs) AS (VALUES
  (1, '{1,Infinity}'::float8[]), (2, '{Infinity,-Infinity,1}'), (3, '{1,NaN,3}'), (4, '{NaN}'), (5, '{-Infinity}'),
  (6, '{-0,0}'), (7, '{5e-324,5e-324}'), (8, '{1e150,-1e150}'))
SELECT what, mean(s), stddev_pop(s), min(s), max(s),
       row(mean(s), stddev_pop(s), variance(s), min(s), max(s)) IS NOT DISTINCT FROM row(m, d, v, low, high) AS same
FROM given, LATERAL (SELECT stats_agg(x) AS s, avg(x) AS m, stddev_pop(x) AS d, variance(x) AS v, pg_catalog.min(x) AS low,
                            pg_catalog.max(x) AS high FROM unnest(xs) AS x) AS q ORDER BY what;
SELECT stats_agg(x) FROM unnest('{1e308,-1e308}'::float8[]) AS x;
SELECT variance(x) FROM unnest('{1e308,-1e308}'::float8[]) AS x;
SELECT mean(stats_agg(x)) FROM unnest('{1e308,1e308}'::float8[]) AS x;
SELECT kurtosis(stats_agg(x)) FROM unnest('{1e100,2e100,5e100}'::float8[]) AS x;

\echo '== merging: any split is the whole'
SELECT abs(mean(r) - mean(s)) < 1e-12 AS mean, abs(stddev(r) - stddev(s)) < 1e-12 AS stddev, abs(skewness(r) - skewness(s)) < 1e-12 AS skewness,
       abs(kurtosis(r) - kurtosis(s)) < 1e-12 AS kurtosis, num_vals(r) = num_vals(s) AS num_vals, (min(r), max(r)) = (min(s), max(s)) AS ends
FROM (SELECT rollup(s) AS r FROM (SELECT stats_agg(x) AS s FROM numbers GROUP BY shop, i / 100) AS parts) AS a,
     (SELECT stats_agg(x) AS s FROM numbers) AS b;
SELECT rollup(NULL::stats);

\echo '== parallel plans are the serial one'
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
    IF line ~ 'Aggregate' THEN RETURN NEXT regexp_replace(line, '^[ >-]*', ''); END IF;
  END LOOP;
END $$;
SELECT stats_agg(x) AS serial, stats_agg(ARRAY[x, -x]) AS serial_columns FROM numbers \gset
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT plan_of('SELECT persona.stats_agg(x), persona.stats_agg(ARRAY[x]) FROM numbers');
SELECT num_vals(s) = num_vals(:'serial'::stats) AS num_vals, abs(mean(s) - mean(:'serial'::stats)) < 1e-12 AS mean,
       abs(kurtosis(s) - kurtosis(:'serial'::stats)) < 1e-11 AS kurtosis,
       abs(mean(c, 2) - mean(:'serial_columns'::column_stats, 2)) < 1e-12 AS column_mean
FROM (SELECT stats_agg(x) AS s, stats_agg(ARRAY[x, -x]) AS c FROM numbers) AS q;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;

\echo '== over windows: as computed anew'
SELECT count(*) AS rows, count(*) FILTER (WHERE n IS DISTINCT FROM num_vals(s) OR abs(m - mean(s)) > 1e-9 OR abs(d - stddev(s)) > 1e-9) AS wrong
FROM (SELECT stats_agg(x) OVER w AS s, nullif(count(x) OVER w, 0) AS n, avg(x) OVER w AS m, stddev(x) OVER w AS d
      FROM numbers WHERE i > 4500 WINDOW w AS (PARTITION BY shop ORDER BY i ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING)) AS q;
SELECT count(*) AS rows, count(*) FILTER (WHERE n IS DISTINCT FROM num_vals(s) OR abs(m - mean(s)) > 1e-9) AS wrong
FROM (SELECT stats_agg(x) OVER w AS s, nullif(count(x) OVER w, 0) AS n, avg(x) OVER w AS m
      FROM numbers WINDOW w AS (PARTITION BY shop ORDER BY i)) AS q;

\echo '== columns of arrays'
SELECT num_columns(s), num_vals(s, 1), num_vals(s, 2), mean(s, 1) = mean(stats_of(s, 1)) AS mean, round(stddev(s, 2)::numeric, 6) AS stddev,
       num_vals(s, 0), num_vals(s, 3), min(s, 1), max(s, 2), skewness(s, 2) IS NOT NULL AS skew, kurtosis(s, 1) IS NOT NULL AS kurt,
       variance(s, 1) > variance_pop(s, 1) AS sample, stddev_pop(s, 1) > 0 AS pop
FROM (SELECT stats_agg(ARRAY[x, CASE WHEN i % 2 = 0 THEN x END]) AS s FROM numbers) AS q;
SELECT mean(rollup(s), 2) FROM (SELECT stats_agg(ARRAY[i, i * 2.0]) AS s FROM generate_series(1, 9) AS i GROUP BY i % 4) AS q;
SELECT stats_agg(NULL::float8[]), stats_agg('{}'::float8[]);
SELECT stats_agg(x) FROM (VALUES ('{1,2}'::float8[]), ('{1}')) AS v (x);
SELECT rollup(s) FROM (SELECT stats_agg(x) AS s FROM (VALUES ('{1,2}'::float8[]), ('{1}')) AS v (x) GROUP BY x) AS q;
-- Stored arrays with short and with compressed headers.
CREATE TABLE arrays AS SELECT ARRAY[i, 1]::float8[] AS short, array_fill(i::float8, ARRAY[500]) AS long FROM generate_series(1, 20) AS i;
SELECT mean(stats_agg(short), 1), mean(stats_agg(long), 500) FROM arrays;
-- NULL and a lone parameter are ambiguous between the two forms.
SELECT stats_agg(NULL);

\echo '== written and read'
CREATE TABLE kept AS SELECT shop, stats_agg(x) AS s, stats_agg(ARRAY[x, 2 * x]) AS c FROM numbers GROUP BY shop;
SELECT bool_and(s::text::stats::text = s::text) AS text, bool_and(c::text::column_stats::text = c::text) AS columns FROM kept;
COPY kept TO '/tmp/pg_persona_values_test.bin' (FORMAT binary);
CREATE TABLE read (LIKE kept);
COPY read FROM '/tmp/pg_persona_values_test.bin' (FORMAT binary);
COPY (SELECT 1) TO PROGRAM 'rm -f /tmp/pg_persona_values_test.bin';
SELECT count(*) AS rows, bool_and(k.s::text = r.s::text AND k.c::text = r.c::text) AS same FROM kept AS k JOIN read AS r USING (shop);
SELECT mean(rollup(s)) = mean(rollup(c), 1) AS same FROM read;
SELECT stats_agg(x) FROM unnest('{1,2.5}'::float8[]) AS x;

\echo '== what nobody wrote is refused'
SELECT ''::stats;
SELECT '{count: 1}'::stats;
SELECT '{count: -1, origin: 0, offset: 0, m2: 0, m3: 0, m4: 0, min: 0, max: 0}'::stats;
SELECT '{count: 2, origin: 0, offset: 9, m2: 0, m3: 0, m4: 0, min: 0, max: 1}'::stats;
SELECT '{count: 2, origin: 0, offset: 1, m2: -1, m3: 0, m4: 0, min: 0, max: 1}'::stats;
SELECT '{count: 2, origin: 0, offset: 1, m2: 1, m3: 0, m4: 0, min: 0, max: 1, more: 1}'::stats;
SELECT '\x'::column_stats;
SELECT '\x02000000'::column_stats;
SELECT '\x0100000001'::column_stats;
SELECT ('\x01000000' || repeat('ff', 64))::column_stats;
SELECT '\x0g'::column_stats;
CREATE TABLE bytes (s stats);
COPY (SELECT '\x0102'::bytea) TO '/tmp/pg_persona_values_test.bin' (FORMAT binary);
COPY bytes FROM '/tmp/pg_persona_values_test.bin' (FORMAT binary);
COPY (SELECT decode('01' || repeat('ff', 64), 'hex')) TO '/tmp/pg_persona_values_test.bin' (FORMAT binary);
COPY bytes FROM '/tmp/pg_persona_values_test.bin' (FORMAT binary);
COPY (SELECT 1) TO PROGRAM 'rm -f /tmp/pg_persona_values_test.bin';

\echo '== support functions change no constant'
SELECT num_vals(persona_internal.stats_accum(s, 100)) AS more, num_vals(s) AS same, num_vals(persona_internal.stats_combine(s, s)) AS twice, num_vals(s) AS still,
       num_vals(persona_internal.column_stats_accum(c, ARRAY[1]), 1) AS more, num_vals(c, 1) AS same
FROM (SELECT stats_agg(x) AS s, stats_agg(ARRAY[x]) AS c FROM numbers OFFSET 0) AS q;
DROP TABLE numbers, kept, read, bytes, arrays;
DROP FUNCTION plan_of;
