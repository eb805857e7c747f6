-- evaluate: every figure beside the same figure in plain SQL, slices, groups, bootstrap, new users, and who may ask.
SET client_min_messages = warning;
CREATE SCHEMA evaluation;
SET search_path = evaluation;
CREATE TABLE listened AS -- Two tastes, md5 as repeatable dice, the first items more popular; no user has two rows of one time.
SELECT u AS user_id, i AS item_id, ((u * 7 + i * 31) % 365)::bigint AS at
FROM generate_series(1, 60) AS u, generate_series(1, 60) AS i
WHERE ('x' || substr(md5(u || '/' || i), 1, 4))::bit(16)::int < 65536 * CASE WHEN u % 2 = i % 2 THEN 0.85 ELSE 0.25 END * (1 - i / 120.0) * (0.5 + u / 120.0);

-- The split by time, by hand: of each user the newest tenth, at least one row.
CREATE TABLE split AS
SELECT user_id, item_id, row_number() OVER (PARTITION BY user_id ORDER BY at DESC) <= greatest(1, count(*) OVER (PARTITION BY user_id) / 10) AS held
FROM listened;
CREATE TABLE known AS SELECT user_id, item_id FROM split WHERE NOT held;
CREATE TABLE held AS SELECT user_id, item_id FROM split WHERE held;
SELECT (SELECT count(*) FROM (SELECT user_id FROM held GROUP BY 1 HAVING count(*) > 1) AS _) > 5 AS some_have_two,
       (SELECT count(DISTINCT item_id) FROM known) AS items, (SELECT count(DISTINCT user_id) FROM known) AS users;
SELECT rows_used > 0 AS trained FROM persona.train_als('whole', 'listened', 'user_id', 'item_id', time_column => 'at', factors => 4, regularization => 0.1, alpha => 2);
SELECT rows_used > 0 AS trained FROM persona.train_als('part', 'known', 'user_id', 'item_id', factors => 4, regularization => 0.1, alpha => 2, holdout => 'none');

-- What the model of the known part and popularity would show, all items that a user has not.
CREATE TABLE item AS SELECT item_id, count(*) AS times FROM known GROUP BY 1;
CREATE TABLE list AS
SELECT 'model' AS side, user_id, rank, r.item_id::int, -rank::numeric AS score
FROM generate_series(1, 60) AS user_id, LATERAL persona.recommend('part', user_id, 60) AS r
UNION ALL
SELECT 'popular', user_id, row_number() OVER (PARTITION BY user_id ORDER BY times DESC, item_id), item_id, times
FROM generate_series(1, 60) AS user_id, item WHERE (user_id, item_id) NOT IN (TABLE known);

-- The figures of each user at k = 5.
CREATE TABLE figure AS
SELECT side, user_id,
       coalesce(1.0::float8 / min(rank) FILTER (WHERE hit AND rank <= 5), 0) AS mrr,
       count(*) FILTER (WHERE hit AND rank <= 5)::float8 / count(*) FILTER (WHERE hit) AS recall,
       avg(ln((SELECT sum(times) FROM item)::float8 / times) / ln(2.0::float8)) FILTER (WHERE rank <= 5) AS novelty,
       (SELECT avg(CASE WHEN h.score > o.score THEN 1.0 WHEN h.score = o.score THEN 0.5 ELSE 0 END)::float8
        FROM list h JOIN list o USING (side, user_id)
        WHERE side = l.side AND user_id = l.user_id AND (user_id, h.item_id) IN (TABLE held) AND (user_id, o.item_id) NOT IN (TABLE held)) AS auc
FROM (SELECT *, (user_id, item_id) IN (TABLE held) AS hit FROM list) AS l JOIN item USING (item_id) GROUP BY 1, 2;
CREATE VIEW shown AS -- Times that an item is shown, rising.
SELECT side, x, row_number() OVER (PARTITION BY side ORDER BY x) AS i, count(*) OVER (PARTITION BY side) AS n
FROM (SELECT side, item_id, count(list.item_id) AS x
      FROM (VALUES ('model'), ('popular')) AS s (side) CROSS JOIN item LEFT JOIN (SELECT * FROM list WHERE rank <= 5) AS list USING (side, item_id)
      GROUP BY 1, 2) AS _;
CREATE VIEW by_hand AS
SELECT side, f.* FROM (SELECT side, avg(mrr) AS mrr, avg(recall) AS recall, avg(novelty) AS novelty, avg(auc) AS auc FROM figure GROUP BY 1) AS m
JOIN (SELECT side, sum((2 * i - n - 1) * x)::float8 / (max(n) * sum(x))::float8 AS gini, count(*) FILTER (WHERE x > 0)::float8 / max(n) AS coverage
      FROM shown GROUP BY 1) AS g USING (side),
LATERAL (VALUES ('mrr@5', mrr), ('recall@5', recall), ('novelty@5', novelty), ('auc', auc), ('gini@5', gini), ('coverage@5', coverage)) AS f (metric, figure);

-- Stored: nine figures; the AUC needs a refit.
SELECT metric, k, round(value::numeric, 4) AS value, round(baseline::numeric, 4) AS baseline, ci_low <= value AND value <= ci_high AS within, users
FROM persona.evaluate('whole', 1, 5) ORDER BY metric;
SELECT metric, k, abs(value - m.figure) < 1e-9 AS value, abs(baseline - p.figure) < 1e-9 AS baseline
FROM persona.evaluate('whole', 1, 5, '{"split": "time"}') JOIN by_hand m USING (metric) JOIN by_hand p USING (metric)
WHERE m.side = 'model' AND p.side = 'popular' ORDER BY metric;
SELECT count(*) AS stored, bool_and(s.value = r.value AND s.baseline = r.baseline AND s.ci_low IS NOT DISTINCT FROM r.ci_low) AS same
FROM persona.evaluate('whole', 1, 5) AS s JOIN persona.evaluate('whole', 1, 5, '{"split": "time"}') AS r USING (metric, slice, k);

-- Slices of users by what is known of them, of held-out items by how popular they are, and of users by a column.
CREATE TABLE person AS SELECT u AS user_id, CASE WHEN u % 7 = 0 THEN NULL WHEN u % 3 = 0 THEN 'AT' ELSE 'DE' END AS country FROM generate_series(5, 99) AS u;
CREATE TABLE class AS
WITH n AS (SELECT user_id, count(*) AS n FROM known GROUP BY 1),
     bound AS (SELECT percentile_disc(ARRAY[1/3.0, 2/3.0]) WITHIN GROUP (ORDER BY n) AS b FROM n)
SELECT user_id, 'activity=' || CASE WHEN n <= b[1] THEN 'cold' WHEN n <= b[2] THEN 'medium' ELSE 'heavy' END AS slice FROM n, bound
UNION ALL SELECT user_id, 'country=' || country FROM person WHERE country IS NOT NULL
UNION ALL SELECT user_id, 'all' FROM n;
SELECT slice, metric, count(*) = 1 AND bool_and(abs(e.value - h.value) < 1e-9) AS value, bool_and(abs(e.baseline - h.baseline) < 1e-9) AS baseline, bool_and(e.users = h.users) AS users
FROM persona.evaluate('whole', 1, 5, '{"slices": ["activity"], "group_relation": "person", "group_id": "user_id", "group_column": "country"}') AS e
LEFT JOIN (SELECT slice, metric, avg(f) FILTER (WHERE side = 'model') AS value, avg(f) FILTER (WHERE side = 'popular') AS baseline, count(*) / 2 AS users
      FROM class JOIN figure USING (user_id), LATERAL (VALUES ('mrr@5', mrr), ('auc', auc), ('novelty@5', novelty)) AS v (metric, f) GROUP BY 1, 2) AS h USING (slice, metric)
WHERE metric IN ('mrr@5', 'auc', 'novelty@5') GROUP BY 1, 2 ORDER BY 1, 2;
-- Users of whom as much is known are no thirds: they are one slice, and it says so.
CREATE TABLE alike AS SELECT u AS user_id, (u + i) % 9 AS item_id FROM generate_series(1, 30) AS u, generate_series(1, 4) AS i;
SELECT rows_used FROM persona.train_ease('same', 'alike', 'user_id', 'item_id', holdout => 'none');
SELECT slice, users, value = first_value(value) OVER (ORDER BY slice) AS same FROM persona.evaluate('same', 1, 5, '{"slices": ["activity"]}') WHERE metric = 'ndcg@5' ORDER BY slice;
CREATE TABLE third AS
SELECT item_id, 'popularity=' || (ARRAY['head', 'torso', 'tail'])[1 + 3 * (sum(times) OVER (ORDER BY times DESC, item_id) - times)::int / (sum(times) OVER ())::int] AS slice FROM item;
SELECT slice, abs(value - h.model) < 1e-9 AS value, abs(baseline - h.popular) < 1e-9 AS baseline, e.users = h.users AS users
FROM persona.evaluate('whole', 1, 5, '{"slices": ["popularity"]}') AS e
JOIN (SELECT slice, avg(recall) FILTER (WHERE side = 'model') AS model, avg(recall) FILTER (WHERE side = 'popular') AS popular, count(*) / 2 AS users
      FROM (SELECT side, user_id, slice, avg((rank <= 5)::int)::float8 AS recall FROM list JOIN held USING (user_id, item_id) JOIN third USING (item_id) GROUP BY 1, 2, 3) AS _
      GROUP BY 1) AS h USING (slice)
WHERE metric = 'recall@5' ORDER BY slice;
-- What is shown does not depend on the held-out items, so it has no such slices.
SELECT slice, string_agg(metric, ' ' ORDER BY metric) AS metrics FROM persona.evaluate('whole', 1, 5, '{"slices": ["popularity"]}') GROUP BY 1 ORDER BY 1;

-- A bootstrap has an interval for every figure, near the normal one where that exists, and the same each time.
SELECT metric, b.ci_low <= b.value AND b.value <= b.ci_high AS within, abs((b.ci_high - b.ci_low) / (n.ci_high - n.ci_low) - 1) < 0.25 AS near, b.ci_low = again.ci_low AS same
FROM persona.evaluate('whole', 1, 5, '{"bootstrap": 1000}') AS b JOIN persona.evaluate('whole', 1, 5, '{"bootstrap": 1000}') AS again USING (metric)
JOIN persona.evaluate('whole', 1, 5, '{"split": "time"}') AS n USING (metric)
WHERE metric IN ('mrr@5', 'auc', 'novelty@5', 'ndcg@5') ORDER BY metric;
SELECT count(*) AS figures, count(ci_low) AS intervals FROM persona.evaluate('whole', 1, 5, '{"bootstrap": 100}');

-- Of a slice its own users are drawn, and in another session the same ones.
CREATE TABLE drawn AS SELECT * FROM persona.evaluate('whole', 1, 5, '{"bootstrap": 200, "slices": ["activity"]}');
SELECT count(*) AS slices, count(DISTINCT ci_low) AS intervals, bool_and(value BETWEEN ci_low AND ci_high) AS within FROM drawn WHERE metric = 'recall@5';
\c -
SET client_min_messages = warning;
SET search_path = evaluation;
SELECT count(*) AS differ FROM (TABLE drawn EXCEPT SELECT * FROM persona.evaluate('whole', 1, 5, '{"bootstrap": 200, "slices": ["activity"]}')) AS d;

-- New users: a tenth of them are unknown to the fit, whatever the trainer. Popularity as a model has no ties, so its AUC is its own.
SELECT rows_used > 0 AS trained FROM persona.train_ease('ease', 'listened', 'user_id', 'item_id');
SELECT rows_used > 0 AS trained FROM persona.train_popularity('popular', 'listened', 'user_id', 'item_id');
SELECT model, count(*) AS figures, min(users) AS users, bool_and(value BETWEEN 0 AND 1) AS valid, bool_and(value = baseline) FILTER (WHERE metric <> 'auc') AS as_popular
FROM (SELECT * FROM persona.evaluate('whole', 1, 5, '{"split": "user"}') UNION ALL SELECT * FROM persona.evaluate('ease', 1, 5, '{"split": "user"}')
      UNION ALL SELECT * FROM persona.evaluate('popular', 1, 5, '{"split": "user"}')) AS e
WHERE metric NOT LIKE 'novelty%' GROUP BY 1 ORDER BY 1;
-- What a choice among the trainers took is measured in the same way.
SELECT rows_used > 0 AS trained FROM persona.train_recommender('chosen', 'listened', 'user_id', 'item_id', budget => '1 microsecond');
SELECT count(DISTINCT slice) AS slices, count(*) FILTER (WHERE metric = 'auc') AS auc FROM persona.evaluate('chosen', 1, 5, '{"slices": ["activity", "popularity"]}');

\set VERBOSITY terse
SELECT persona.evaluate('whole', options => '{"splits": "time"}');
SELECT persona.evaluate('whole', options => '{"split": "week"}');
SELECT persona.evaluate('ease', options => '{"split": "time"}');
SELECT persona.evaluate('whole', options => '{"bootstrap": 99}');
SELECT persona.evaluate('whole', options => '{"bootstrap": 10001}');
SELECT persona.evaluate('whole', options => '{"slices": ["age"]}');
SELECT persona.evaluate('whole', options => '{"slices": "activity"}');
SELECT persona.evaluate('whole', options => '{"group_relation": "person"}');
SELECT persona.evaluate('whole', options => '{"group_relation": "nobody", "group_id": "user_id", "group_column": "country"}');
SELECT persona.evaluate('whole', options => '{"group_relation": "person", "group_id": "user_id", "group_column": "contry"}');
SELECT persona.evaluate('whole', options => '{"group_relation": "person", "group_id": "country", "group_column": "country"}');
INSERT INTO person VALUES (8, 'FR');
SELECT persona.evaluate('whole', options => '{"group_relation": "person", "group_id": "user_id", "group_column": "country"}');
-- A thousand groups, not more.
CREATE TABLE crowd AS SELECT u, i FROM generate_series(1, 1001) AS u, generate_series(1, 3) AS i WHERE (u + i) % 3 > 0;
SELECT rows_used FROM persona.train_popularity('crowds', 'crowd', 'u', 'i');
SELECT persona.evaluate('crowds', options => '{"group_relation": "crowd", "group_id": "u", "group_column": "u"}');
CREATE VIEW fewer AS SELECT u, u % 1000 AS g FROM crowd;
SELECT count(DISTINCT slice) FROM persona.evaluate('crowds', options => '{"group_relation": "fewer", "group_id": "u", "group_column": "g"}');
-- Ratings have errors instead of lists: no slices of them; segments have neither.
CREATE TABLE rated AS SELECT *, 1 + (user_id * item_id) % 5 AS stars FROM listened;
SELECT rows_used > 0 AS trained FROM persona.train_als('stars', 'rated', 'user_id', 'item_id', 'stars', feedback => 'explicit', factors => 2);
SELECT metric, k, baseline > 0 AS measured FROM persona.evaluate('stars', 1) ORDER BY metric;
SELECT metric, k, baseline > 0 AS measured FROM persona.evaluate('stars', 1, options => '{"split": "hash"}') ORDER BY metric;
SELECT persona.evaluate('stars', 1, options => '{"slices": ["activity"]}');
SELECT persona.evaluate('stars', 1, options => '{"split": "user"}');
CREATE TABLE point AS SELECT u AS id, u % 2 AS a FROM generate_series(1, 20) AS u;
SELECT rows_used FROM persona.train_kmeans('segments', 'point', 'id', '{a}', 2);
SELECT persona.evaluate('segments', options => '{"slices": ["activity"]}');

-- The owner alone may ask for a refit, and the relation of groups is read with the owner's rights.
CREATE ROLE regress_persona_reader;
CREATE ROLE regress_persona_owner;
GRANT USAGE ON SCHEMA persona TO regress_persona_owner, regress_persona_reader;
GRANT USAGE, CREATE ON SCHEMA evaluation TO regress_persona_owner, regress_persona_reader;
GRANT SELECT ON listened, known TO regress_persona_owner;
SET ROLE regress_persona_owner;
SELECT rows_used > 0 AS trained FROM persona.train_popularity('own', 'listened', 'user_id', 'item_id');
GRANT SELECT ON own TO regress_persona_reader;
SELECT persona.evaluate('own', 1, options => '{"group_relation": "person", "group_id": "user_id", "group_column": "country"}');
SET ROLE regress_persona_reader;
SELECT count(*) AS stored FROM persona.evaluate('own', 1);
SELECT persona.evaluate('own', 1, options => '{"split": "hash"}');
RESET ROLE;
DROP SCHEMA evaluation CASCADE;
DROP OWNED BY regress_persona_reader, regress_persona_owner;
DROP ROLE regress_persona_reader;
DROP ROLE regress_persona_owner;
