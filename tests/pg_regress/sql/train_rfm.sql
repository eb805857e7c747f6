-- Models of segments by recency, frequency and monetary value, beside plain SQL.
CREATE SCHEMA rf;
SET search_path = rf;
SET persona.max_threads = 1;
SET timezone = 'UTC';
\pset format unaligned
\pset fieldsep ' | '
CREATE FUNCTION fails(call text) RETURNS TABLE(code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'SELECT FROM ' || call;
  code := 'no error'; RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN NEXT;
END $$;

\echo '== ten customers, by hand'
-- Customer c bought c times, last on day c, for c * 10 in all; the newest day is 10.
CREATE TABLE ten AS SELECT c AS customer, timestamptz '2024-01-01' + (c - i % 2) * interval '1 day' AS at, 10 AS amount
FROM generate_series(1, 10) c, generate_series(0, c - 1) i;
SELECT model, version, algorithm, rows_used, rows_skipped, iterations, converged, metric, value, deployed, deploy_reason FROM persona.train_rfm('r', 'ten', 'customer', 'at', 'amount');
-- Cut points of 1 to 10 in fifths are 2.8, 4.6, 6.4 and 8.2.
SELECT customer, recency_days, frequency, monetary, r_score, f_score, m_score, label, distance, reason FROM r_members ORDER BY 1;
SELECT segment_id, label, members, share, mean_distance, model_version, retired_at FROM r_segments WHERE members > 0 ORDER BY 1;
SELECT count(*), count(DISTINCT segment_id), sum(members) FROM r_segments;
SELECT p.segment_id, feature, mean, population_mean, round(z::numeric, 6) AS z FROM r_profile p WHERE segment_id = (SELECT segment_id FROM r_members WHERE customer = 10) ORDER BY 2;
SELECT jsonb_pretty(hyperparameters) FROM persona.versions;
SELECT algorithm, version, rows_used, metric FROM r;
SELECT model, algorithm, version FROM persona.models;
SELECT phase, count(*) FROM persona.training_log GROUP BY 1 ORDER BY phase COLLATE "C";
SELECT count(*) FROM persona.metrics;
SELECT count(*) FROM persona.evaluate('r');
SELECT * FROM persona.check();
SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) IS NOT NULL AS comment FROM pg_attribute WHERE attrelid = 'r_members'::regclass AND attnum > 0 ORDER BY attnum;

\echo '== asking'
SELECT count(*), bool_and(segment_id = persona.assign('r', ARRAY[recency_days, frequency, monetary])) AS assign, bool_and(segment_id = persona.assign_row('r', to_jsonb(m))) AS assign_row FROM r_members m;
SELECT persona.assign('r', '{NULL,1,1}'), persona.assign('r', '{1,1,Infinity}'), persona.assign_row('r', '{"recency_days": null, "frequency": 1, "monetary": 1}');
-- Beyond what was seen there are segments too.
SELECT label FROM r_segments WHERE segment_id IN (persona.assign('r', '{-5,1e6,1e9}'), persona.assign('r', '{1e6,0,-1e9}')) ORDER BY 1;
SELECT f.* FROM unnest(ARRAY[$$persona.segment_distances('r', '{1,1,1}')$$, $$persona.assign('r', '{1,1}')$$, $$persona.assign_row('r', '{"recency_days": 1, "frequency": 1}')$$,
  $$persona.recommend('r', 1)$$, $$persona.train_kmeans('r', 'ten', 'customer')$$]) call, fails(call) f;

\echo '== a thousand customers, beside SQL'
CREATE TABLE orders AS
SELECT i, (i * 7919 % 1009)::bigint AS customer, i / 2 AS order_id, timestamptz '2023-01-01' + (i * 104729 % 31536000) * interval '1 second' AS at,
       ((i * 31 % 4000) / 4.0 - 30)::numeric(9, 2) AS amount
FROM generate_series(1, 9000) i;
-- What does not count: NULL, not finite, refunds only.
INSERT INTO orders VALUES (0, NULL, 1, '2023-06-01', 5), (0, 5000, 1, NULL, 5), (0, 5001, 1, '2023-06-01', NULL), (0, 5002, 1, 'infinity', 5), (0, 5003, 1, '-infinity', 5),
  (0, 5004, 1, '2023-06-01', 'NaN'), (0, 5005, 1, '2023-06-01', -5), (0, 5006, 2, '2023-06-01', -5), (0, 5006, 3, '2023-06-01', 3), (0, 5007, 4, '2023-06-01', 0);
-- The rule once more, in SQL alone: percentile_cont, and the number of cut points below a value.
CREATE FUNCTION scored(t timestamptz, bins int) RETURNS TABLE(customer bigint, days float8, orders bigint, total float8, r int, f int, m int) LANGUAGE sql AS $$
  WITH good AS (SELECT * FROM orders WHERE customer IS NOT NULL AND at <= t AND isfinite(at) AND amount <> 'NaN'),
  base AS (SELECT customer, extract(epoch FROM t - max(at) FILTER (WHERE amount >= 0))::float8 / 86400 AS days, count(*) FILTER (WHERE amount >= 0) AS orders, sum(amount)::float8 AS total
           FROM good GROUP BY 1 HAVING count(*) FILTER (WHERE amount >= 0) > 0),
  parts AS (SELECT array_agg(g::float8 / bins) AS p FROM generate_series(1, bins - 1) g),
  cuts AS (SELECT percentile_cont((SELECT p FROM parts)) WITHIN GROUP (ORDER BY days) AS days,
                  percentile_cont((SELECT p FROM parts)) WITHIN GROUP (ORDER BY orders::float8) AS orders, percentile_cont((SELECT p FROM parts)) WITHIN GROUP (ORDER BY total) AS total FROM base)
  SELECT b.customer, b.days, b.orders, b.total, (bins - (SELECT count(*) FROM unnest(c.days) x WHERE x < b.days))::int,
         (1 + (SELECT count(*) FROM unnest(c.orders) x WHERE x < b.orders))::int, (1 + (SELECT count(*) FROM unnest(c.total) x WHERE x < b.total))::int
  FROM base b, cuts c $$;
SELECT rows_used, rows_skipped FROM persona.train_rfm('big', 'orders', 'customer', 'at', 'amount', as_of => '2024-01-01');
CREATE FUNCTION compare(t timestamptz, bins int) RETURNS TABLE(customers bigint, missing bigint, days bool, orders bool, total bool, scores bool) LANGUAGE sql AS $$
  SELECT count(*), count(*) FILTER (WHERE m.customer IS NULL OR s.customer IS NULL), bool_and(abs(m.recency_days - s.days) < 1e-9), bool_and(m.frequency = s.orders), bool_and(abs(m.monetary - s.total) < 1e-9),
         bool_and((m.r_score, m.f_score, m.m_score) = (s.r, s.f, s.m))
  FROM (SELECT * FROM big_members WHERE segment_id IS NOT NULL) m FULL JOIN scored(t, bins) s USING (customer) $$;
SELECT * FROM compare('2024-01-01', 5);
SELECT count(*), count(DISTINCT customer) FROM orders;
SELECT customer, segment_id, frequency, monetary, r_score, label, reason FROM big_members WHERE customer >= 5000 AND segment_id IS NULL ORDER BY 1;
SELECT customer, frequency, monetary, reason FROM big_members WHERE customer >= 5000 AND segment_id IS NOT NULL ORDER BY 1;
-- 2 and 10 scores.
SELECT version FROM persona.retrain('big', '{"bins": 2}');
SELECT * FROM compare('2024-01-01', 2);
SELECT version FROM persona.retrain('big', '{"bins": 10}');
SELECT * FROM compare('2024-01-01', 10);
SELECT min(r_score), max(r_score), max(f_score), max(m_score) FROM big_members;
-- Equal values share a score.
SELECT count(*) FROM (SELECT frequency FROM big_members WHERE frequency IS NOT NULL GROUP BY 1 HAVING count(DISTINCT f_score) > 1) apart;

\echo '== the reference time'
SELECT version FROM persona.retrain('big', '{"bins": 5, "as_of": "2023-07-01"}');
SELECT * FROM compare('2023-07-01', 5);
SELECT min(recency_days) >= 0 AS past FROM big_members;
SELECT version FROM persona.retrain('big', '{"as_of": "2030-01-01"}');
SELECT * FROM compare('2030-01-01', 5);
SELECT version FROM persona.retrain('big', '{"as_of": null}');
SELECT * FROM compare((SELECT max(at) FROM orders WHERE isfinite(at) AND amount <> 'NaN' AND customer IS NOT NULL), 5);
SELECT hyperparameters ->> 'as_of' AS as_of FROM persona.versions WHERE model = 'big' ORDER BY version;
SELECT f.* FROM unnest(ARRAY[$$persona.train_rfm('x', 'orders', 'customer', 'at', 'amount', as_of => 'infinity')$$, $$persona.train_rfm('x', 'orders', 'customer', 'at', 'amount', as_of => '-infinity')$$,
  $$persona.retrain('big', '{"as_of": "infinity"}')$$, $$persona.retrain('big', '{"as_of": "-infinity"}')$$, $$persona.retrain('big', '{"as_of": "soon"}')$$, $$persona.retrain('big', '{"as_of": 7}')$$,
  $$persona.train_rfm('x', 'orders', 'customer', 'at', 'amount', as_of => '2020-01-01')$$]) call, fails(call) f;
-- Before Christ, and as long after as there are years of five digits.
CREATE TABLE ancient (c int, at timestamptz, amount int);
INSERT INTO ancient VALUES (1, '0044-03-15 12:00+00 BC', 1), (2, '0044-03-14 12:00+00 BC', 1);
SELECT version FROM persona.train_rfm('old', 'ancient', 'c', 'at', 'amount', bins => 2);
SELECT c, recency_days FROM old_members ORDER BY 1;
SELECT persona.deploy('old', 1);
UPDATE ancient SET at = at + interval '12000 years';
SELECT version FROM persona.train_rfm('old', 'ancient', 'c', 'at', 'amount', bins => 2, as_of => '12000-01-01');
SELECT c, recency_days > 0 AS past FROM old_members ORDER BY 1;
SELECT hyperparameters ->> 'as_of' AS as_of FROM persona.versions WHERE model = 'old' ORDER BY version;
SELECT persona.drop_model('old');

\echo '== days and times without a zone are those of UTC, in any session'
CREATE TABLE zones AS SELECT g AS id, date '2024-03-01' + g AS day, timestamp '2024-03-01 23:30' + g * interval '1 day' AS ts, timestamptz '2024-03-01 23:30+00' + g * interval '1 day' AS tz, 1 AS amount FROM generate_series(1, 20) g;
SELECT count(*) FROM (SELECT persona.train_rfm('z_' || c, 'zones', 'id', c::name, 'amount', as_of => '2024-04-01 00:00+00') FROM unnest('{day,ts,tz}'::text[]) c) t;
CREATE TABLE in_utc AS SELECT 'day' AS of, id, recency_days, segment_id FROM z_day_members UNION ALL SELECT 'ts', id, recency_days, segment_id FROM z_ts_members UNION ALL SELECT 'tz', id, recency_days, segment_id FROM z_tz_members;
SELECT DISTINCT of, recency_days FROM in_utc WHERE id = 20 ORDER BY 1;
SET timezone = 'Asia/Kathmandu';
SET datestyle = 'SQL, DMY';
SELECT count(*) FROM (SELECT persona.retrain('z_' || c) FROM unnest('{day,ts,tz}'::text[]) c) t;
SELECT count(*) FROM (SELECT persona.rollback('z_' || c) FROM unnest('{day,ts,tz}'::text[]) c) t;
SELECT count(*) FROM (TABLE in_utc EXCEPT (SELECT 'day' AS of, id, recency_days, segment_id FROM z_day_members UNION ALL SELECT 'ts', id, recency_days, segment_id FROM z_ts_members UNION ALL SELECT 'tz', id, recency_days, segment_id FROM z_tz_members)) other;
-- None was rewritten.
SELECT DISTINCT model_version FROM z_day_members;
SET timezone = 'UTC';
RESET datestyle;
SELECT count(*) FROM (SELECT persona.drop_model('z_' || c) FROM unnest('{day,ts,tz}'::text[]) c) t;

\echo '== orders of several rows'
SELECT version FROM persona.train_rfm('rows', 'orders', 'customer', 'at', 'amount', 'order_id', '2024-01-01');
SELECT count(*), bool_and(m.frequency = o.orders) FROM rows_members m JOIN (SELECT customer, count(DISTINCT order_id) AS orders FROM orders WHERE amount >= 0 AND amount <> 'NaN' AND isfinite(at) GROUP BY 1) o USING (customer) WHERE segment_id IS NOT NULL;
UPDATE orders SET order_id = NULL WHERE customer = 5007;
SELECT version FROM persona.retrain('rows');
SELECT customer, segment_id, reason FROM rows_members WHERE customer = 5007;
SELECT f.code, f.message, f.detail FROM unnest(ARRAY[$$persona.train_rfm('x', 'orders', 'customer', 'at', 'amount', 'nothing')$$, $$persona.train_rfm('x', 'orders', 'customer', 'at', 'amount', 'customer')$$]) call, fails(call) f;
SELECT persona.alter_model('rows', column_map => '{"order_column": null}');
SELECT version FROM persona.retrain('rows');
SELECT bool_and(m.frequency = b.frequency) FROM rows_members m JOIN big_members b USING (customer) WHERE m.customer < 5000;
SELECT persona.drop_model('rows');

\echo '== scores that nobody can have'
CREATE TABLE once AS SELECT g AS id, date '2024-01-01' + g AS at, 5.0::real AS amount FROM generate_series(1, 10) g;
INSERT INTO once VALUES (10, '2024-01-03', 7), (10, '2024-01-04', 7);
SELECT version FROM persona.train_rfm('same', 'once', 'id', 'at', 'amount');
SELECT DISTINCT f_score, m_score FROM same_members ORDER BY 1;
SELECT hyperparameters -> 'collapsed' AS collapsed FROM persona.versions WHERE model = 'same';
SELECT persona.drop_model('same');
-- One customer alone.
DELETE FROM once WHERE id <> 3;
SELECT version FROM persona.train_rfm('same', 'once', 'id', 'at', 'amount', bins => 2);
SELECT id, recency_days, r_score, f_score, m_score FROM same_members;
SELECT persona.drop_model('same');

\echo '== names of our own'
SELECT jsonb_agg(row) AS grid FROM (SELECT jsonb_agg(CASE WHEN r = 5 AND b = 5 THEN 'Best' WHEN r = 1 THEN 'Lost' ELSE 'Others' END ORDER BY b) AS row FROM generate_series(1, 5) r, generate_series(1, 5) b GROUP BY r ORDER BY r) g \gset
SELECT version FROM persona.train_rfm('own', 'ten', 'customer', 'at', 'amount', options => jsonb_build_object('labels', :'grid'::jsonb));
SELECT segment_id, label, members FROM own_segments ORDER BY 1;
SELECT customer, label FROM own_members WHERE customer IN (1, 5, 10) ORDER BY 1;
SELECT persona.label_segment('own', (SELECT segment_id FROM own_segments WHERE label = 'Lost'), 'Gone for good');
-- The grid was kept; another one keeps the ids of names that it has in common.
SELECT version FROM persona.retrain('own');
SELECT segment_id, label, members FROM own_segments ORDER BY 1;
SELECT version FROM persona.retrain('own', jsonb_build_object('labels', replace(:'grid', 'Others', 'Middle')::jsonb));
SELECT segment_id, label, members, retired_at IS NOT NULL AS retired FROM own_segments ORDER BY 1;
SELECT persona.rollback('own');
SELECT segment_id, label, members, retired_at IS NOT NULL AS retired FROM own_segments ORDER BY 1;
SELECT f.* FROM unnest(ARRAY['[]', '{}', 'null', '"x"', '[[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5]]', '[["a"],["a"],["a"],["a"],["a"]]',
  '[["a","a","a","a","a"],["a","a","a","a","a"],["a","a","a","a","a"],["a","a","a","a","a"],["a","a","a","a",""]]']) l, LATERAL fails(format($$persona.train_rfm('x', 'ten', 'customer', 'at', 'amount', options => '{"labels": %s}')$$, l)) f;
SELECT persona.drop_model('own');

\echo '== who moved between two days'
SELECT version FROM persona.train_rfm('moves', 'orders', 'customer', 'at', 'amount', as_of => '2023-06-01');
CREATE TABLE before AS TABLE moves_members;
SELECT version FROM persona.retrain('moves', '{"as_of": "2023-12-01"}');
-- By the history, and by the two tables themselves.
SELECT count(*) > 100 AS many, count(*) FILTER (WHERE b.segment_id IS DISTINCT FROM h.previous_segment_id OR m.segment_id IS DISTINCT FROM h.segment_id) AS wrong
FROM moves_history h JOIN moves_members m USING (customer) LEFT JOIN before b USING (customer)
WHERE h.entered_at = (SELECT max(entered_at) FROM moves_history);
SELECT (SELECT count(*) FROM moves_members m LEFT JOIN before b USING (customer) WHERE m.segment_id IS NOT NULL AND m.segment_id IS DISTINCT FROM b.segment_id)
     = (SELECT count(*) FROM moves_history WHERE entered_at = (SELECT max(entered_at) FROM moves_history)) AS same;
SELECT count(*) FROM (SELECT customer FROM moves_history WHERE exited_at IS NULL GROUP BY 1 HAVING count(*) > 1) twice;
SELECT persona.rollback('moves');
SELECT count(*) FROM (SELECT customer, segment_id, label, recency_days, r_score, reason FROM before EXCEPT SELECT customer, segment_id, label, recency_days, r_score, reason FROM moves_members) other;
SELECT persona.drop_model('moves');

\echo '== what is refused'
CREATE TABLE kinds (c int, at timestamptz, amount int, t text, b bool, j jsonb, m money, tm time, iv interval, p point);
INSERT INTO kinds (c, at, amount, p) VALUES (3, '2024-01-01', 1, '(1,2)');
SELECT f.* FROM unnest(ARRAY[$$'t', 'amount'$$, $$'tm', 'amount'$$, $$'c', 'amount'$$, $$'at', 't'$$, $$'at', 'b'$$, $$'at', 'm'$$, $$'at', 'iv'$$, $$'at', 'nothing'$$, $$'at', 'amount', 'p'$$, $$'at', 'at'$$, $$'at', 'amount', 'at'$$,
  $$NULL, 'amount'$$, $$'at', NULL$$]) a, LATERAL fails('persona.train_rfm(''x'', ''kinds'', ''c'', ' || a || ')') f;
SELECT f.code, f.message FROM unnest('{b,j,m,iv}'::text[]) c, LATERAL fails(format($$persona.train_rfm('x', 'kinds', %L, 'at', 'amount')$$, c)) f;
DELETE FROM kinds;
SELECT f.* FROM unnest(ARRAY[$$persona.train_rfm('x', 'kinds', 'c', 'at', 'amount')$$, $$persona.train_rfm('x', 'ten', 'customer', 'at', 'amount', bins => 1)$$, $$persona.train_rfm('x', 'ten', 'customer', 'at', 'amount', bins => 11)$$,
  $$persona.train_rfm('x', 'ten', 'customer', 'at', 'amount', deploy => 'no')$$, $$persona.train_rfm('x', 'ten', 'customer', 'at', 'amount', options => '{"label": 1}')$$, $$persona.retrain('r', '{"k": 1}')$$]) call, fails(call) f;
INSERT INTO kinds (c, at, amount) VALUES (1, '2024-01-01', -1), (2, '2024-01-02', -1);
SELECT f.* FROM fails($$persona.train_rfm('x', 'kinds', 'c', 'at', 'amount')$$) f;
CREATE TABLE taken AS SELECT 1 AS frequency, 1 AS monetary, 1 AS recency_days, 1 AS r_score, now() AS at, 1 AS amount;
SELECT c, f.code FROM unnest('{frequency,monetary,recency_days,r_score}'::text[]) c, LATERAL fails(format($$persona.train_rfm('x', 'taken', %L, 'at', 'amount')$$, c)) f;
CREATE TABLE huge AS SELECT 1 AS c, now() AS at, x AS amount FROM unnest('{1.7e308,1.7e308}'::float8[]) x;
SELECT f.code, f.message FROM fails($$persona.train_rfm('x', 'huge', 'c', 'at', 'amount')$$) f;
UPDATE huge SET amount = -amount;
INSERT INTO huge VALUES (1, now(), 1);
SELECT f.code, f.message FROM fails($$persona.train_rfm('x', 'huge', 'c', 'at', 'amount')$$) f;
SELECT relname FROM pg_class WHERE relnamespace = 'rf'::regnamespace AND relname LIKE 'x%';
SELECT persona.drop_model('r'), persona.drop_model('big');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA rf CASCADE;
