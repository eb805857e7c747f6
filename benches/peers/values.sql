-- What functions over rows cost beside plain SQL over the same rows, alternately in one session, without parallel workers:
--
--   psql -X -q -f benches/peers/values.sql        on a server of its own with the extension installed, 6 GB of disk
--
-- Prints the median of each, less that of the bare scan, and the ratio beside its bar. The rows are in the cache.
\set ON_ERROR_STOP on
\if :{?rows} \else \set rows 5000000 \endif
\if :{?rounds} \else \set rounds 7 \endif
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
SET work_mem = '1GB';
SELECT set_config('bench.rounds', :'rounds', false) \g /dev/null
CREATE EXTENSION IF NOT EXISTS pg_persona;
SELECT setseed(0.5) \g /dev/null
CREATE TEMP TABLE stream AS
  SELECT i AS t, 10 + sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()) AS v FROM generate_series(1, :rows) AS i;
CREATE TEMP TABLE events AS
  SELECT (random() * random() * 200000)::int AS customer_id, timestamptz '2024-01-01' + random() * interval '365 days' AS at,
         (random() * 100)::float8 AS amount
  FROM generate_series(1, :rows);
VACUUM ANALYZE stream, events;

CREATE TEMP TABLE measured (position int, name text, bar float8, unit text, plain text, ours text, base text);
INSERT INTO measured VALUES
  (1, 'stats_agg', 1.5, 'over the scan', 'SELECT avg(v), stddev(v) FROM stream',
   'SELECT persona.stats_agg(v) FROM stream', 'SELECT count(*) FROM stream'),
  (2, 'rfm_agg', 1.3, 'in all',
   'SELECT count(*) FROM (SELECT max(at), count(*), sum(amount) FROM events GROUP BY customer_id OFFSET 0) AS q',
   'SELECT count(*) FROM (SELECT persona.rfm_agg(at, amount) FROM events GROUP BY customer_id OFFSET 0) AS q', NULL),
  (3, 'standard_scaler', 1.2, 'in all',
   'SELECT count(z) FROM (SELECT (v - avg(v) OVER ()) / stddev_pop(v) OVER () AS z FROM stream OFFSET 0) AS q',
   'SELECT count(z) FROM (SELECT persona.standard_scaler(v) OVER () AS z FROM stream OFFSET 0) AS q', NULL),
  (4, 'min_max_scaler', 1.2, 'in all',
   'SELECT count(z) FROM (SELECT (v - min(v) OVER ()) / (max(v) OVER () - min(v) OVER ()) AS z FROM stream OFFSET 0) AS q',
   'SELECT count(z) FROM (SELECT persona.min_max_scaler(v) OVER () AS z FROM stream OFFSET 0) AS q', NULL),
  (5, 'robust_scaler', 1.2, 'in all, beside percentile_cont',
   'SELECT count(z) FROM (SELECT (v - p[2]) / (p[3] - p[1]) AS z FROM stream,
      (SELECT percentile_cont(''{0.25,0.5,0.75}''::float8[]) WITHIN GROUP (ORDER BY v) AS p FROM stream) AS q OFFSET 0) AS q',
   'SELECT count(z) FROM (SELECT persona.robust_scaler(v) OVER () AS z FROM stream OFFSET 0) AS q', NULL),
  (6, 'quantile_bucketize', 1.2, 'in all, beside ntile',
   'SELECT count(z) FROM (SELECT ntile(10) OVER (ORDER BY v) AS z FROM stream OFFSET 0) AS q',
   'SELECT count(z) FROM (SELECT persona.quantile_bucketize(v, 10) OVER () AS z FROM stream OFFSET 0) AS q', NULL),
  (7, 'page_hinkley', 40, 'ns a row over count(*)', NULL,
   'SELECT persona.page_hinkley(v) FROM stream', 'SELECT count(*) FROM stream'),
  (8, 'quantile_agg', NULL, 'ns a row over count(*)', NULL,
   'SELECT persona.quantile_agg(v) FROM stream', 'SELECT count(*) FROM stream');

CREATE TEMP TABLE runs (position int, what text, ms float8);
CREATE PROCEDURE pg_temp.run(number int, what text, query text) LANGUAGE plpgsql AS $$
DECLARE
  started timestamptz := clock_timestamp();
BEGIN
  IF query IS NOT NULL THEN
    EXECUTE query;
    INSERT INTO runs VALUES (number, what, 1000 * extract(epoch FROM clock_timestamp() - started));
  END IF;
END $$;
-- The first round warms up and is not counted.
DO $$
DECLARE
  each record;
BEGIN
  FOR round IN 0 .. current_setting('bench.rounds')::int LOOP
    FOR each IN SELECT * FROM measured ORDER BY position LOOP
      CALL pg_temp.run(CASE WHEN round > 0 THEN each.position END, 'base', each.base);
      CALL pg_temp.run(CASE WHEN round > 0 THEN each.position END, 'plain', each.plain);
      CALL pg_temp.run(CASE WHEN round > 0 THEN each.position END, 'ours', each.ours);
    END LOOP;
  END LOOP;
END $$;
SELECT name, round(base::numeric) AS scan_ms, round(plain::numeric) AS plain_ms, round(ours::numeric) AS ours_ms,
       round(CASE WHEN plain IS NULL THEN (ours - base) * 1e6 / :rows
                  ELSE (ours - coalesce(base, 0)) / (plain - coalesce(base, 0)) END::numeric, 2) AS ratio, bar, unit
FROM (SELECT position, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'base') AS base,
             percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'plain') AS plain,
             percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'ours') AS ours
      FROM runs WHERE position IS NOT NULL GROUP BY position) AS r
JOIN (SELECT position, name, bar, unit FROM measured) AS m USING (position) ORDER BY position;
