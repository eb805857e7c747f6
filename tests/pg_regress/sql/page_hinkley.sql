-- Page-Hinkley; that alarms come where river's come is tested on its streams in tests/reference.
SET search_path = persona, public;
CREATE TABLE stream AS
  SELECT i AS at, i % 2 + CASE WHEN i > 1000 THEN 5 ELSE 0 END::float8 AS x FROM generate_series(1, 2000) AS i;

\echo '== river 0.26.1 on the same stream: 1010 upwards, 1011 downwards, counted from 1'
SELECT (page_hinkley(x ORDER BY at)).* FROM (SELECT at, (at % 2 = 0)::int + CASE WHEN at > 1000 THEN 5 ELSE 0 END AS x FROM stream) AS q;
SELECT mode, (page_hinkley(x, 30, 0.005, 50, 0.9999, mode ORDER BY at)).*
FROM (SELECT at, (at % 2 = 0)::int + CASE WHEN at > 1000 THEN -5 ELSE 0 END AS x FROM stream) AS q, unnest('{up,down,both}'::text[]) AS mode
GROUP BY mode ORDER BY mode;
SELECT at FROM (SELECT at, page_hinkley(x) OVER (ORDER BY at ROWS UNBOUNDED PRECEDING) AS d FROM stream) AS q WHERE (d).drift;

\echo '== over a window: as computed anew'
SELECT count(*) AS rows, count(*) FILTER (WHERE d IS DISTINCT FROM anew) AS wrong
FROM (SELECT at, page_hinkley(x) OVER (ORDER BY at ROWS UNBOUNDED PRECEDING) AS d FROM stream WHERE at BETWEEN 900 AND 1100) AS a,
     LATERAL (SELECT page_hinkley(x ORDER BY at) AS anew FROM stream AS s WHERE s.at BETWEEN 900 AND a.at) AS b;

\echo '== NULLs have no position; nothing is NULL'
SELECT (page_hinkley(CASE WHEN at % 10 <> 0 THEN x END ORDER BY at)).last_position FROM stream;
SELECT (page_hinkley(CASE WHEN at % 10 <> 0 THEN x END, 30, 0.005, 50, 0.9999, 'both' ORDER BY at)).last_position FROM stream;
SELECT page_hinkley(x), page_hinkley(x, 1, 0, 0, 1, 'up') FROM stream WHERE false;
SELECT page_hinkley(NULL), page_hinkley(1);

\echo '== bad input'
SELECT page_hinkley(x, 30, 0.005, 50, 0.9999, 'sideways') FROM stream;
SELECT page_hinkley(x, 0, 0.005, 50, 0.9999, 'up') FROM stream;
SELECT page_hinkley(x, 30, -1, 50, 0.9999, 'up') FROM stream;
SELECT page_hinkley(x, 30, 0.005, 'NaN', 0.9999, 'up') FROM stream;
SELECT page_hinkley(x, 30, 0.005, 50, 1.5, 'up') FROM stream;
SELECT page_hinkley(x, NULL, 0.005, 50, 0.9999, 'up') FROM stream;
SELECT page_hinkley(x, 30, 0.005, 50, 0.9999, NULL) FROM stream;
SELECT page_hinkley('NaN');
SELECT page_hinkley('Infinity');
SELECT persona_internal.page_hinkley_accum('{1,2}', 3);
SELECT persona_internal.page_hinkley_final(ARRAY[NULL]::float8[]);

\echo '== never in parts'
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT page_hinkley(x) FROM stream;
SELECT aggcombinefn FROM pg_aggregate WHERE aggfnoid::text ~ 'page_hinkley';
DROP TABLE stream;
