-- What a score rests on: contributions that add up to it.
SET client_min_messages = warning;
CREATE SCHEMA explain;
SET search_path = explain;

-- Two kinds of items; everybody has items of one kind only, but user 101, who has three of kind 0 and one of kind 1.
CREATE TABLE likes AS
SELECT u, i FROM generate_series(1, 40) AS u, generate_series(0, 19) AS i WHERE u % 2 = i % 2 AND (u + i / 2) % 5 <> 0
UNION SELECT 101, i FROM unnest('{1,3,5,2}'::int[]) AS i;
SELECT version FROM persona.train_als('als', 'likes', 'u', 'i', factors => 8, alpha => 10, regularization => 1, holdout => 'none');
SELECT version FROM persona.train_ease('ease', 'likes', 'u', 'i', holdout => 'none');
SELECT version FROM persona.train_item_knn('knn', 'likes', 'u', 'i', holdout => 'none');
SELECT version FROM persona.train_bpr('bpr', 'likes', 'u', 'i', factors => 4, iterations => 1, holdout => 'none');

-- Neighbours: the sum is persona.score, for every user and item.
SELECT m, count(*) AS pairs, max(abs(s.score - coalesce(e.sum, 0))) < 1e-5 AS sums_up
FROM unnest('{ease,knn}'::text[]) AS m, generate_series(1, 40) AS u, generate_series(0, 19) AS i,
     LATERAL (SELECT persona.score(m, u, i) AS score) AS s,
     LATERAL (SELECT sum(contribution::float8) FROM persona.explain(m, u, i, '{"k": 100}')) AS e
GROUP BY m ORDER BY m;

-- Factors: the sum is the score of the user's items as a basket.
SELECT count(*) AS pairs, max(abs(b.score - e.sum)) < 1e-5 AS sums_up
FROM (SELECT u, array_agg(i::text) AS items FROM likes GROUP BY u) AS l,
     LATERAL persona.recommend_for_items('als', l.items, 20) AS b,
     LATERAL (SELECT sum(contribution::float8) FROM persona.explain('als', l.u, b.item_id, '{"k": 100}')) AS e;

-- The reasons are the user's own items, best first, and those of the item's kind before the other.
SELECT evidence_item_id, rank, contribution > 0 AS speaks_for FROM persona.explain('als', 101, 7) WHERE rank <= 3 ORDER BY evidence_item_id;
SELECT bool_and(abs(contribution) <= before) AS falling, max(rank) AS rows
FROM (SELECT contribution, rank, lag(abs(contribution), 1, 'Infinity') OVER (ORDER BY rank) AS before FROM persona.explain('als', 101, 7)) AS e;
SELECT count(*) AS not_own FROM persona.explain('als', 2, '4') WHERE evidence_item_id::int NOT IN (SELECT i FROM likes WHERE u = 2);

-- k rows at most, 10 unless told.
SELECT k, (SELECT count(*) FROM persona.explain('als', 101, 7, jsonb_build_object('k', k))) FROM unnest('{0,1,3,4,5,2147483647}'::int[]) AS k;
-- Nobody, nothing.
SELECT count(*) FROM persona.explain('als', 999, 7);
SELECT count(*) FROM persona.explain('als', NULL::int, 7);
SELECT count(*) FROM persona.explain('als', 101, 999);
SELECT count(*) FROM persona.explain('als', 101, NULL::text);
SELECT count(*) FROM persona.explain('als', 101, '7', NULL);
-- Errors.
SELECT persona.explain('als', 101, 'seven');
SELECT persona.explain('als', 101, 7.5);
SELECT persona.explain('als', 101, 7, '{"k": -1}');
SELECT persona.explain('als', 101, 7, '{"K": 1}');
SELECT persona.explain('als', 101, 7, '{"depth": 1}');
SELECT persona.explain('als', 101, 7, '[]');
SELECT persona.explain(NULL, 101, 7);
SELECT persona.explain('likes', 101, 7);
\set VERBOSITY verbose
SELECT persona.explain('bpr', 101, 7);
SELECT version FROM persona.train_popularity('popular', 'likes', 'u', 'i', holdout => 'none');
SELECT persona.explain('popular', 101, 7);
\set VERBOSITY default

-- Ratings: a row without an item for mean and biases, then the user's items; the sum is the expected rating, once the
-- iterations have come to rest. Two users make the range of ratings so wide that no sum is confined.
CREATE TABLE rated AS SELECT u, i, CASE WHEN u = 50 THEN 20 WHEN u = 51 THEN -20 ELSE 1 + (u * i) % 5 END AS stars
FROM generate_series(1, 51) AS u, generate_series(0, 19) AS i WHERE (u + i * 3) % 4 <> 0;
SELECT version FROM persona.train_als('stars', 'rated', 'u', 'i', 'stars', feedback => 'explicit', factors => 4, iterations => 100, holdout => 'none');
SELECT count(*) AS pairs, max(abs(s.score - e.sum)) < 1e-5 AS sums_up
FROM generate_series(1, 49) AS u, generate_series(0, 19) AS i,
     LATERAL (SELECT persona.score('stars', u, i) AS score) AS s,
     LATERAL (SELECT sum(contribution::float8) FROM persona.explain('stars', u, i, '{"k": 100}')) AS e;
-- The first row is the mean and the biases.
SELECT bool_and(e.evidence_item_id IS NULL AND e.rank = 0) AS no_item,
       max(abs(e.contribution - m.mean - u.bias - i.bias)) < 1e-4 AS mean_and_biases
FROM (SELECT avg(stars) AS mean FROM rated) AS m, persona.user_factors('stars') AS u, persona.item_factors('stars') AS i,
     LATERAL (SELECT * FROM persona.explain('stars', u.id::int, i.id) LIMIT 1) AS e;
SELECT count(*) AS not_own FROM persona.explain('stars', 2, '4') AS e WHERE e.rank > 0 AND e.evidence_item_id::int NOT IN (SELECT i FROM rated WHERE u = 2);
SELECT k, count(*), min(rank), max(rank) FROM unnest('{0,1,3,100}'::int[]) AS k, persona.explain('stars', 2, 4, jsonb_build_object('k', k)) GROUP BY k ORDER BY k;
SELECT count(*) FROM persona.explain('stars', 999, 7);
-- Ratings that are all 1 are not stored one by one.
CREATE VIEW ones AS SELECT u, i, 1 AS stars FROM rated;
SELECT version FROM persona.train_als('ones_model', 'ones', 'u', 'i', 'stars', feedback => 'explicit', factors => 2, holdout => 'none');
SELECT rank, round(contribution::numeric, 4) AS contribution FROM persona.explain('ones_model', 2, 4, '{"k": 0}');
DROP SCHEMA explain CASCADE;
