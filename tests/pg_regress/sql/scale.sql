-- Scalers: window functions over whole partitions.
SET search_path = persona, public;
\set VERBOSITY default
CREATE TABLE measures AS SELECT i, i % 3 AS shop, (i * 7919 % 1009) / 8.0::float8 AS x FROM generate_series(1, 3000) AS i;
INSERT INTO measures SELECT i, i % 3, NULL FROM generate_series(3001, 3010) AS i;

\echo '== beside plain SQL'
SELECT count(*) AS rows,
       count(*) FILTER (WHERE abs(standard - (x - mean) / deviation) > 1e-12) AS standard,
       count(*) FILTER (WHERE abs(min_max - (x - low) / (high - low)) > 1e-12) AS min_max,
       count(*) FILTER (WHERE abs(max_abs - x / high) > 1e-12) AS max_abs,
       count(*) FILTER (WHERE abs(robust - (x - p[2]) / (p[3] - p[1])) > 1e-12) AS robust,
       count(*) FILTER (WHERE x IS NULL AND num_nonnulls(standard, min_max, max_abs, robust, bucket) > 0) AS of_null,
       count(*) FILTER (WHERE x IS NOT NULL AND num_nulls(standard, min_max, max_abs, robust, bucket) > 0) AS missing
FROM (SELECT x, shop, standard_scaler(x) OVER w AS standard, min_max_scaler(x) OVER w AS min_max, max_abs_scaler(x) OVER w AS max_abs,
             robust_scaler(x) OVER w AS robust, quantile_bucketize(x, 10) OVER w AS bucket, avg(x) OVER w AS mean, stddev_pop(x) OVER w AS deviation,
             pg_catalog.min(x) OVER w AS low, pg_catalog.max(x) OVER w AS high
      FROM measures WINDOW w AS (PARTITION BY shop)) AS a
JOIN (SELECT shop, percentile_cont('{0.25,0.5,0.75}'::float8[]) WITHIN GROUP (ORDER BY x) AS p FROM measures GROUP BY shop) AS b USING (shop);

\echo '== the whole partition, whatever ORDER BY and frame say'
SELECT count(*) AS differ
FROM (SELECT standard_scaler(x) OVER (PARTITION BY shop) AS a,
             standard_scaler(x) OVER (PARTITION BY shop ORDER BY i ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS b,
             robust_scaler(x) OVER (PARTITION BY shop) AS c, robust_scaler(x) OVER (PARTITION BY shop ORDER BY i DESC) AS d FROM measures) AS q
WHERE a IS DISTINCT FROM b OR c IS DISTINCT FROM d;

\echo '== buckets: the example of ML.QUANTILE_BUCKETIZE, ties, more buckets than values'
SELECT x, quantile_bucketize(x, 3) OVER () AS three, quantile_bucketize(x, 1) OVER () AS one, quantile_bucketize(x, 100) OVER () AS hundred,
       quantile_bucketize(x, 2147483647) OVER () AS most
FROM unnest('{1,2,3,4,5}'::float8[]) AS x ORDER BY x;
SELECT x, quantile_bucketize(x, 4) OVER () AS bucket, ntile(4) OVER (ORDER BY x) AS tile FROM unnest('{7,7,7,7,8,9}'::float8[]) AS x ORDER BY x, tile;
SELECT bucket, count(*) FROM (SELECT quantile_bucketize(x, 4) OVER () AS bucket FROM measures) AS q GROUP BY bucket ORDER BY bucket;
SELECT x, quantile_bucketize(x, 2) OVER () FROM unnest('{NaN,-Infinity,1,Infinity,NULL}'::float8[]) AS x ORDER BY x;
SELECT quantile_bucketize(x, 0) OVER () FROM measures LIMIT 1;
SELECT quantile_bucketize(x, -1) OVER () FROM measures LIMIT 1;
SELECT quantile_bucketize(x, NULL) OVER () FROM measures LIMIT 1;

\echo '== constant, lonely, empty and missing'
SELECT standard_scaler(x) OVER () AS standard, min_max_scaler(x) OVER () AS min_max, max_abs_scaler(x) OVER () AS max_abs, robust_scaler(x) OVER () AS robust
FROM unnest('{0.1,0.1,0.1}'::float8[]) AS x;
SELECT standard_scaler(5) OVER (), min_max_scaler(5) OVER (), max_abs_scaler(5) OVER (), robust_scaler(5) OVER (), quantile_bucketize(5, 4) OVER ();
SELECT max_abs_scaler(0) OVER (), standard_scaler(NULL) OVER (), quantile_bucketize(NULL, 4) OVER ();
SELECT standard_scaler(x) OVER () FROM measures WHERE false;
SELECT x, standard_scaler(x) OVER () AS standard, robust_scaler(x) OVER () AS robust FROM unnest('{1,NaN,3}'::float8[]) AS x;
SELECT standard_scaler('NaN') OVER ();

\echo '== extremes'
SELECT standard_scaler(x) OVER () FROM unnest('{1,Infinity}'::float8[]) AS x;
SELECT robust_scaler(x) OVER () FROM unnest('{1,-Infinity}'::float8[]) AS x;
SELECT standard_scaler(x) OVER () FROM unnest('{1e308,-1e308}'::float8[]) AS x;
SELECT min_max_scaler(x) OVER () AS min_max, max_abs_scaler(x) OVER () AS max_abs, robust_scaler(x) OVER () AS robust
FROM unnest('{1.7e308,0,-1.7e308}'::float8[]) AS x;
SELECT min_max_scaler(x) OVER () FROM unnest('{-0,0,5e-324}'::float8[]) AS x;

\echo '== an error in the argument, a cancel'
SELECT standard_scaler(1 / (i - 2)) OVER () FROM measures;
SET statement_timeout = '100ms';
SELECT count(z) FROM (SELECT robust_scaler(length(pg_sleep(0.01)::text)) OVER () AS z FROM measures) AS q;
RESET statement_timeout;
SELECT standard_scaler(1.0);
DROP TABLE measures;
