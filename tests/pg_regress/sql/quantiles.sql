-- Distributions of numbers and categories, and how far two of them are apart.
SET search_path = persona, public;
CREATE TABLE readings AS SELECT i, i % 6 AS part, (i::bigint * 7919 % 100003)::float8 AS x, 'c' || (i::bigint * i % 50) AS kind FROM generate_series(1, 60000) AS i;

\echo '== exact up to 8191 values'
SELECT p, quantile(q, p) = percentile AS same, rank_error(q), num_vals(q)
FROM unnest('{0,0.1,0.25,0.5,0.99,1}'::float8[]) AS p,
     LATERAL (SELECT quantile_agg(x) AS q, percentile_cont(p) WITHIN GROUP (ORDER BY x) AS percentile FROM readings WHERE i <= 8191) AS a;
SELECT robust_scale(q, 10) = (10 - p[2]) / (p[3] - p[1]) AS same
FROM (SELECT quantile_agg(x) AS q, percentile_cont('{0.25,0.5,0.75}'::float8[]) WITHIN GROUP (ORDER BY x) AS p FROM readings WHERE i <= 1000) AS a;

-- Rows of many distributions, in turn.
SELECT count(*) FILTER (WHERE robust_scale(q, i) IS DISTINCT FROM (i - quantile(q, 0.5)) / (quantile(q, 0.75) - quantile(q, 0.25))) AS wrong
FROM generate_series(1, 30) AS i JOIN (SELECT part, quantile_agg(x) AS q FROM readings WHERE i <= 600 GROUP BY part) AS a ON part = i / 2 % 3;

\echo '== above that within the error'
SELECT rank_error(q) > 0 AS inexact, rank_error(q) < 0.001 AS small, pg_column_size(q) < 170000 AS short FROM (SELECT quantile_agg(x) AS q FROM readings) AS a;
SELECT count(*) AS places, count(*) FILTER (WHERE abs(share - p) > error + 1 / 60000.0) AS outside
FROM (SELECT p, quantile(q, p) AS value, rank_error(q) AS error
      FROM (SELECT quantile_agg(x) AS q FROM readings) AS a, unnest('{0.01,0.1,0.25,0.5,0.75,0.9,0.99}'::float8[]) AS p OFFSET 0) AS b,
     LATERAL (SELECT avg((x <= value)::int) AS share FROM readings) AS c;

\echo '== merging, parallel plans, windows, text and bytes'
SELECT num_vals(r) = 60000 AS all, rank_error(r) < 0.001 AS small, abs(quantile(r, 0.5) - 50000) < 100 AS median
FROM (SELECT rollup(q) AS r FROM (SELECT quantile_agg(x) AS q FROM readings GROUP BY part) AS p) AS a;
SELECT bool_and(quantile(a.r, p) = quantile(b.q, p)) AS same
FROM (SELECT rollup(q) AS r FROM (SELECT quantile_agg(x) AS q FROM readings WHERE i <= 8000 GROUP BY part) AS p) AS a,
     (SELECT quantile_agg(x) AS q FROM readings WHERE i <= 8000) AS b, unnest('{0,0.3,0.5,0.9,1}'::float8[]) AS p;
SELECT psi(category_agg, r) AS none FROM (SELECT rollup(c) AS r FROM (SELECT category_agg(kind) AS c FROM readings GROUP BY part) AS p) AS a,
     (SELECT category_agg(kind) FROM readings) AS b;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS off) SELECT quantile_agg(x), category_agg(kind) FROM readings;
SELECT num_vals(q), rank_error(q) < 0.001 AS small, abs(quantile(q, 0.5) - 50000) < 100 AS median, num_vals(c) FROM (SELECT quantile_agg(x) AS q, category_agg(kind) AS c FROM readings) AS a;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
SELECT count(*) FILTER (WHERE quantile(q, 1) <> highest OR num_vals(q) <> n) AS wrong
FROM (SELECT quantile_agg(x) OVER w AS q, pg_catalog.max(x) OVER w AS highest, count(*) OVER w AS n FROM readings WHERE i <= 500
      WINDOW w AS (ORDER BY i ROWS BETWEEN 20 PRECEDING AND CURRENT ROW)) AS a;
CREATE TABLE kept AS SELECT part, quantile_agg(x) AS q, category_agg(kind) AS c FROM readings GROUP BY part;
SELECT bool_and(q::text::quantiles::text = q::text) AS quantiles, bool_and(c::text::categories::text = c::text) AS categories FROM kept;
COPY kept TO '/tmp/pg_persona_quantiles_test.bin' (FORMAT binary);
CREATE TABLE read (LIKE kept);
COPY read FROM '/tmp/pg_persona_quantiles_test.bin' (FORMAT binary);
COPY (SELECT 1) TO PROGRAM 'rm -f /tmp/pg_persona_quantiles_test.bin';
SELECT bool_and(k.q::text = r.q::text AND k.c::text = r.c::text) AS same FROM kept AS k JOIN read AS r USING (part);

\echo '== drift'
SELECT psi(a, a), psi(a, b) > 0.25 AS moved, (ks_test(a, a)).*, (ks_test(a, b)).p_value < 1e-6 AS significant
FROM (SELECT quantile_agg(x) AS a, quantile_agg(x + 40000) AS b FROM readings WHERE i <= 4000) AS q;
SELECT round((t).statistic::numeric, 12) AS statistic, round((t).p_value::numeric, 10) AS p_value   -- scipy: 0.6, 0.2857142857
FROM (SELECT ks_test((SELECT quantile_agg(x) FROM unnest('{1,2,3,4,5}'::float8[]) AS x), (SELECT quantile_agg(x) FROM unnest('{3.5,4.5,5.5,6.5}'::float8[]) AS x)) AS t) AS q;
SELECT psi(a, b, 4) <> psi(a, b) AS bins_count FROM (SELECT quantile_agg(x) AS a, quantile_agg(sqrt(x)) AS b FROM readings WHERE i <= 100) AS q;
SELECT round(psi(a, b)::numeric, 9) AS psi, round(((0.25 - 0.5) * ln(0.25 / 0.5) + (0.75 - 0.5) * ln(0.75 / 0.5))::numeric, 9) AS exact
FROM (SELECT category_agg(k) AS a FROM unnest('{x,y}'::text[]) AS k) AS p, (SELECT category_agg(k) AS b FROM unnest('{x,y,y,y}'::text[]) AS k) AS q;

\echo '== nothing, NULL, NaN, infinities'
SELECT quantile_agg(x), category_agg(kind) FROM readings WHERE false;
SELECT quantile(NULL, 0.5), psi(NULL::quantiles, NULL::quantiles), quantile(quantile_agg(NULL), 0.5);
SELECT quantile(q, 0), quantile(q, 0.5), quantile(q, 1), num_vals(q) FROM (SELECT quantile_agg(x) AS q FROM unnest('{NaN,1,Infinity,-Infinity,NULL}'::float8[]) AS x) AS a;
SELECT psi(a, a), (ks_test(a, a)).* FROM (SELECT quantile_agg(x) AS a FROM unnest('{NaN,1,Infinity,-Infinity,-0,0}'::float8[]) AS x) AS q;
SELECT quantile(quantile_agg(1), 1.5);
SELECT quantile(quantile_agg(1), 'NaN');
SELECT psi(quantile_agg(1), quantile_agg(1), 1);

\echo '== what nobody wrote is refused'
SELECT '\x'::quantiles;
SELECT ('\x01000000' || repeat('01', 48))::quantiles;
SELECT ('\x01000000' || repeat('ff', 8000))::quantiles;
SELECT ('\x01000000' || repeat('01', 216))::categories;
DO $$
DECLARE
  good bytea; bad bytea; refused int := 0; kept int := 0;
BEGIN
  SELECT decode(substr(q::text, 3), 'hex') INTO good FROM (SELECT persona.quantile_agg(x) AS q FROM readings WHERE i <= 9000) AS a;
  FOR k IN 0 .. 199 LOOP
    bad := set_byte(good, k * 331 % length(good), (get_byte(good, k * 331 % length(good)) + 129) % 256);
    BEGIN
      PERFORM persona.quantile(('\x' || encode(bad, 'hex'))::persona.quantiles, 0.5);
      kept := kept + 1;
    EXCEPTION WHEN invalid_text_representation THEN
      refused := refused + 1;
    END;
  END LOOP;
  RAISE NOTICE 'no crash; some refused: %', refused > 0;
END $$;
\echo '== counts end where they must: a summary merged with itself again and again'
DO $$
DECLARE
  q persona.quantiles; c persona.categories; s persona.stats; r persona.rfm; m persona.column_stats; what text;
BEGIN
  SELECT persona.quantile_agg(x), persona.category_agg(x::text), persona.stats_agg(x), persona.rfm_agg(now(), x), persona.stats_agg(ARRAY[x])
  INTO q, c, s, r, m FROM (SELECT g::float8 AS x FROM generate_series(1, 100) AS g) AS n;
  FOREACH what IN ARRAY '{quantiles,categories,stats,rfm,column_stats}'::text[] LOOP
    BEGIN
      FOR i IN 1 .. 80 LOOP
        CASE what
          WHEN 'quantiles' THEN SELECT persona.rollup(v) INTO q FROM (VALUES (q), (q)) AS t (v);
          WHEN 'categories' THEN SELECT persona.rollup(v) INTO c FROM (VALUES (c), (c)) AS t (v);
          WHEN 'stats' THEN SELECT persona.rollup(v) INTO s FROM (VALUES (s), (s)) AS t (v);
          WHEN 'rfm' THEN SELECT persona.rollup(v) INTO r FROM (VALUES (r), (r)) AS t (v);
          ELSE SELECT persona.rollup(v) INTO m FROM (VALUES (m), (m)) AS t (v);
        END CASE;
      END LOOP;
      RAISE NOTICE '%: no end', what;
    EXCEPTION WHEN OTHERS THEN
      RAISE NOTICE '%: % %', what, SQLSTATE, SQLERRM;
    END;
  END LOOP;
  RAISE NOTICE 'all counts are positive: %', least(persona.num_vals(q), persona.num_vals(c), persona.num_vals(s), persona.frequency(r)) > 0;
END $$;
DROP TABLE readings, kept, read;
