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
CREATE TABLE rated AS SELECT u, i, 1 + (u + i) % 5 AS stars FROM likes;
SELECT version FROM persona.train_als('rated_model', 'rated', 'u', 'i', 'stars', feedback => 'explicit', factors => 4, holdout => 'none');
SELECT persona.explain('rated_model', 101, 7);
\set VERBOSITY default
DROP SCHEMA explain CASCADE;
