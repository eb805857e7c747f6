-- Recency, frequency and monetary value.
SET search_path = persona, public;
SET timezone = 'UTC';
CREATE TABLE purchases AS
  SELECT i, (i * 7919 % 13) AS customer_id, i / 3 AS order_id, timestamptz '2024-01-01' + i * interval '5 hours' AS at,
         (i * 31 % 400) / 4.0::float8 - 10 AS amount
  FROM generate_series(1, 2000) AS i;

\echo '== beside plain SQL'
SELECT count(*) AS customers, bool_and(frequency(r) = rows) AS frequency, bool_and(frequency(o) = orders) AS orders,
       bool_and(abs(monetary(r) - total) < 1e-9) AS monetary, bool_and(monetary(o) = monetary(r)) AS same,
       bool_and((first_at(r), last_at(r)) = (first, last)) AS times, bool_and((first_at(o), last_at(o)) = (first, last)) AS order_times,
       bool_and(abs(recency_days(r, '2026-01-01') - extract(epoch FROM timestamptz '2026-01-01' - last) / 86400) < 1e-9) AS recency,
       bool_and(abs(age_days(r, '2026-01-01') - extract(epoch FROM timestamptz '2026-01-01' - first) / 86400) < 1e-9) AS age
FROM (SELECT customer_id, rfm_agg(at, amount) AS r, rfm_agg(at, amount, order_id) AS o, count(*) AS rows, count(DISTINCT order_id) AS orders,
             sum(amount) AS total, pg_catalog.min(at) AS first, pg_catalog.max(at) AS last
      FROM purchases GROUP BY customer_id) AS q;

\echo '== days are those of UTC'
SET timezone = 'America/New_York';
SELECT recency_days(r, date '2024-03-12'), age_days(r, date '2024-03-12'), recency_days(r, timestamptz '2024-03-12 12:00+00') AS noon, last_at(r)
FROM (SELECT rfm_agg(d, 1) AS r FROM (VALUES (date '2024-03-09'), (date '2024-03-10')) AS v (d)) AS q;
SELECT recency_days(rfm_agg(date '2024-03-10', 1, 'a'::text), date '2024-03-09');
SET timezone = 'UTC';

\echo '== order ids of every kind'
CREATE TYPE channel AS ENUM ('shop', 'web');
CREATE DOMAIN order_number AS bigint;
SELECT frequency(rfm_agg(at, 1, order_id)) AS int, frequency(rfm_agg(at, 1, order_id::bigint)) AS bigint, frequency(rfm_agg(at, 1, order_id::text)) AS text,
       frequency(rfm_agg(at, 1, order_id::order_number)) AS domain, frequency(rfm_agg(at, 1, order_id::numeric(9, 2))) AS numeric,
       frequency(rfm_agg(at, 1, md5(order_id::text)::uuid)) AS uuid, frequency(rfm_agg(at, 1, order_id::float8)) AS float8,
       frequency(rfm_agg(at, 1, at::date)) AS date, frequency(rfm_agg(at, 1, CASE WHEN i % 2 = 0 THEN 'shop' ELSE 'web' END::channel)) AS enum,
       frequency(rfm_agg(at::date, 1, order_id)) AS with_date, count(DISTINCT order_id) AS exact
FROM purchases;
-- Equal is what the type calls equal; integers that differ above 32 bits are different.
SELECT frequency(rfm_agg(now(), 1, x)) AS numeric FROM unnest('{1.0,1.00,1}'::numeric[]) AS x;
SELECT frequency(rfm_agg(now(), 1, x)) AS zero FROM unnest('{0,-0}'::float8[]) AS x;
SELECT frequency(rfm_agg(now(), 1, x)) AS bigint FROM unnest('{4294967296,1,0,-1}'::bigint[]) AS x;
SELECT frequency(rfm_agg(now(), 1, x)) FROM unnest('{1,2}'::money[]) AS x;
SELECT rfm_agg(now(), 1, x) FROM (VALUES (point '(1,2)')) AS v (x);

\echo '== NULL, refunds, nothing'
SELECT frequency(r), monetary(r) FROM (SELECT rfm_agg(at, amount) AS r FROM (VALUES (now(), 10), (now(), -4), (NULL, 1), (now(), NULL)) AS v (at, amount)) AS q;
SELECT frequency(rfm_agg(at, 1, id)) FROM (VALUES (now(), 1), (now(), NULL)) AS v (at, id);
SELECT rfm_agg(at, amount), rfm_agg(at, amount, order_id) FROM purchases WHERE false;
SELECT frequency(NULL::rfm), recency_days(rfm_agg(now(), 1), NULL::timestamptz);

\echo '== bad input'
SELECT rfm_agg(now(), 'NaN');
SELECT rfm_agg(now(), '-Infinity', 1);
SELECT rfm_agg(now(), x) FROM unnest('{1.7e308,1.7e308}'::float8[]) AS x;
SELECT rfm_agg('infinity'::timestamptz, 1);
SELECT rfm_agg('-infinity'::date, 1);
SELECT rfm_agg('5000000-01-01'::date, 1);
SELECT recency_days(rfm_agg(timestamptz '4714-11-24 BC', 1), timestamptz '294276-12-31');
SELECT recency_days(rfm_agg(now(), 1), 'infinity'::timestamptz);
SELECT '{frequency: 1, first: 2, last: 1, monetary: 0, lost: 0}'::rfm;
SELECT ('\x01000000' || repeat('01', 8 * 14))::persona_internal.rfm_orders;

\echo '== merging, parallel plans, windows'
SELECT count(*) FILTER (WHERE rollup::text <> whole::text) AS differ
FROM (SELECT customer_id, rollup(r) FROM (SELECT customer_id, rfm_agg(at, amount) AS r FROM purchases GROUP BY customer_id, i % 5) AS p GROUP BY customer_id) AS a
JOIN (SELECT customer_id, rfm_agg(at, amount) AS whole FROM purchases GROUP BY customer_id) AS b USING (customer_id);
CREATE TABLE serial AS SELECT rfm_agg(at, amount) AS r, rfm_agg(at, amount, order_id) AS o FROM purchases;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS off) SELECT rfm_agg(at, amount), rfm_agg(at, amount, order_id) FROM purchases;
SELECT p.r::text = s.r::text AS same, p.o::text = s.o::text AS same_orders FROM serial AS s, (SELECT rfm_agg(at, amount) AS r, rfm_agg(at, amount, order_id) AS o FROM purchases) AS p;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
SELECT count(*) AS rows, count(*) FILTER (WHERE frequency(r) <> n OR frequency(o) <> n_orders OR abs(monetary(r) - total) > 1e-9 OR last_at(r) <> last) AS wrong
FROM (SELECT rfm_agg(at, amount) OVER w AS r, rfm_agg(at, amount, order_id) OVER w AS o, count(*) OVER w AS n, sum(amount) OVER w AS total, pg_catalog.max(at) OVER w AS last,
             1 + pg_catalog.max(order_id) OVER w - pg_catalog.min(order_id) OVER w AS n_orders
      FROM purchases WINDOW w AS (ORDER BY i ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)) AS q;

\echo '== many orders of one customer'
SELECT frequency(rfm_agg(now(), 1, i % 100000)) FROM generate_series(1, 300000) AS i;
DROP TABLE purchases, serial;
DROP TYPE channel;
DROP DOMAIN order_number;
