-- Models of segments beside that of all users, served as one, and what is popular in a segment.
SET client_min_messages = warning;
CREATE SCHEMA by_segment;
SET search_path = by_segment;
SET persona.max_threads = 2;

-- The same items go together in another way in each region: by their rest, by their tens, or not at all.
CREATE TABLE sold AS
SELECT u AS buyer, i AS item, (u * 100 + i)::bigint AS "at" FROM generate_series(1, 360) AS u, generate_series(0, 59) AS i
WHERE CASE u % 3 WHEN 0 THEN i % 4 = u / 3 % 4 WHEN 1 THEN i / 15 = u / 3 % 4 ELSE hashint4(u * 60 + i) % 4 = 0 END
  AND (u * 31 + i * 17) % 5 > 0;
CREATE TABLE buyers AS SELECT u AS id, (ARRAY['rest', 'tens', 'none'])[1 + u % 3] AS region FROM generate_series(1, 370) AS u;
INSERT INTO buyers VALUES (500, NULL), (501, 'nobody else');

SELECT version, deployed, value > baseline AS better,
       regexp_replace(deploy_reason, '0\.\d+', '0.x', 'g') AS deploy_reason
FROM persona.train_als('m', 'sold', 'buyer', 'item', factors => 8, holdout => 'hash', options =>
  '{"segments": {"relation": "buyers", "id_column": "id", "segment_column": "region"}, "segment_models": "always"}');
SELECT hyperparameters->>'segments_known' AS segments, hyperparameters->>'segments_with_model' AS with_model
FROM persona.versions WHERE model = 'm';
-- Each segment has its figure.
SELECT slice, count(*) AS metrics, bool_or(metric = 'ndcg@10') AS ndcg, min(users) AS users FROM persona.evaluate('m') GROUP BY slice ORDER BY slice;

-- What is recommended goes together as it does in the user's own region; the other regions would have it otherwise.
SELECT u % 3 AS region, bool_and(CASE u % 3 WHEN 0 THEN item_id::int % 4 = u / 3 % 4 ELSE item_id::int / 15 = u / 3 % 4 END) AS own
FROM generate_series(1, 360) AS u, persona.recommend('m', u, 1) WHERE u % 3 < 2 GROUP BY 1 ORDER BY 1;
SELECT bool_and(item_id::int / 15 = 1) AS by_tens
FROM persona.recommend_for_items('m', '{15,16,17,18,19,20}', 5, '{"segment": "tens"}');
-- The forms agree: one by one, many, all, typed, and the score of each.
SELECT persona.recommend_all('m', 5) AS rows;
SELECT count(*) AS different FROM (
  (SELECT u, item_id::int, rank, score FROM generate_series(1, 360) AS u, persona.recommend('m', u, 5))
  EXCEPT (SELECT buyer, item, rank, score FROM m_recs)) AS d;
SELECT count(*) AS different FROM (
  (SELECT buyer::text, item::text, rank, score FROM m_recs)
  EXCEPT SELECT user_id, item_id, rank, score
         FROM persona.recommend_for_users('m', (SELECT array_agg(u::text) FROM generate_series(1, 360) AS u), 5)) AS d;
SELECT count(*) AS different FROM m_recs AS r WHERE persona.score('m', r.buyer, r.item) IS DISTINCT FROM r.score AND source = 'model';
SELECT count(*) AS different FROM (
  (SELECT item_id FROM m_recommend(9, 5)) EXCEPT SELECT item FROM m_recs WHERE buyer = 9) AS d;
-- Reasons are of the segment's model and sum to the score of the user's items.
SELECT abs(sum(e.contribution) - max(r.score)) < 0.001 AS sums
FROM persona.recommend('m', 9, 1, fresh => true) AS r, persona.explain('m', 9, r.item_id, '{"k": 100}') AS e;

-- Somebody new: popular in the segment that the table tells, or that the caller tells; of nobody's segment popular.
CREATE FUNCTION counted(region text, k int) RETURNS int[] LANGUAGE sql AS $$
  SELECT array_agg(item) FROM (SELECT item FROM sold JOIN buyers ON buyer = id WHERE buyers.region = counted.region
                               GROUP BY item ORDER BY count(*) DESC, item LIMIT k) AS best $$;
SELECT region, array_agg(item_id::int ORDER BY rank) = counted(region, 5) AS popular_there, string_agg(DISTINCT source, ',') AS source
FROM (VALUES (363, 'rest'), (364, 'tens'), (365, 'none')) AS new(u, region), persona.recommend('m', u, 5) GROUP BY region ORDER BY region;
SELECT region, array_agg(item_id::int ORDER BY rank) = counted(region, 5) AS popular_there, string_agg(DISTINCT source, ',') AS source
FROM (VALUES ('rest'), ('tens')) AS asked(region), persona.popular_items('m', 5, jsonb_build_object('segment', region)) GROUP BY region ORDER BY region;
SELECT array_agg(item_id::int ORDER BY rank) = counted('tens', 5) AS popular_there, string_agg(DISTINCT source, ',') AS source
FROM persona.recommend('m', NULL::int, 5, options => '{"segment": "tens"}');
SELECT u, string_agg(DISTINCT source, ',') AS source FROM (VALUES (500), (501), (999)) AS new(u), persona.recommend('m', u, 5) GROUP BY u ORDER BY u;
SELECT count(*) AS rows, count(DISTINCT item_id) AS items FROM persona.recommend('m', 363, 100);
-- A user who has moved: by the model of the segment that the caller tells, with the items of the training or those of now.
SELECT count(*) AS different FROM (
  SELECT item_id, score FROM persona.recommend('m', 8, 5, options => '{"segment": "tens"}')
  EXCEPT SELECT item_id, score
  FROM persona.recommend_for_items('m', (SELECT array_agg(item::text) FROM sold WHERE buyer = 8), 5, '{"segment": "tens"}')) AS d;
INSERT INTO sold SELECT 363, i, 0 FROM generate_series(15, 24) AS i;
SELECT bool_and(item_id::int / 15 = 1) AS by_tens, string_agg(DISTINCT source, ',') AS source
FROM persona.recommend('m', 363, 3, fresh => true, options => '{"segment": "tens"}');
-- A name that is none is as if none were given.
SELECT count(*) AS different FROM (
  SELECT * FROM persona.recommend('m', 9, 5) EXCEPT SELECT * FROM persona.recommend('m', 9, 5, options => '{"segment": "x"}')) AS d;

-- Only those segments get a model whose figure is clearly better for it; without a holdout all that are asked for.
SELECT regexp_replace(deploy_reason, '0\.\d+', '0.x', 'g') AS deploy_reason, value > live_value AS better, deployed
FROM persona.retrain('m', '{"segment_models": "auto"}');
SELECT hyperparameters->>'segments_with_model' AS with_model FROM persona.versions WHERE model = 'm' AND version = 2;
SELECT version FROM persona.train_als('n', 'sold', 'buyer', 'item', factors => 4, holdout => 'none', options =>
  '{"segments": {"relation": "buyers", "id_column": "id", "segment_column": "region"}, "segment_models": "never"}');
SELECT hyperparameters->>'segments_with_model' AS with_model, source
FROM persona.versions AS v, persona.recommend('n', 365, 1) WHERE model = 'n';
-- The model of all serves those whose segment has none, and is what it would be without segments.
SELECT version FROM persona.train_als('plain', 'sold', 'buyer', 'item', factors => 4, holdout => 'none');
SELECT count(*) AS different FROM (
  SELECT u, r.* FROM generate_series(1, 360) AS u, persona.recommend('n', u, 3) AS r
  EXCEPT SELECT u, r.* FROM generate_series(1, 360) AS u, persona.recommend('plain', u, 3) AS r) AS d;

-- Every trainer of rankings takes them, and train_recommender as well.
CREATE TABLE calls (name text, call text);
INSERT INTO calls VALUES
  ('ease', $$persona.train_ease('t_ease', 'sold', 'buyer', 'item', options => %L)$$),
  ('item_knn', $$persona.train_item_knn('t_item_knn', 'sold', 'buyer', 'item', options => %L)$$),
  ('bpr', $$persona.train_bpr('t_bpr', 'sold', 'buyer', 'item', factors => 8, iterations => 20, options => %L)$$),
  ('sgd', $$persona.train_sgd('t_sgd', 'sold', 'buyer', 'item', factors => 8, iterations => 20, options => %L)$$),
  ('popularity', $$persona.train_popularity('t_popularity', 'sold', 'buyer', 'item', time_column => 'at', half_life => 10000, options => %L)$$),
  ('recommender', $$persona.train_recommender('t_recommender', 'sold', 'buyer', 'item', options => %L)$$);
CREATE FUNCTION trained(call text, OUT model text, OUT with_model text, OUT rows int, OUT evaluated bool) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'SELECT model FROM ' || format(call, '{"segments": {"relation": "by_segment.buyers", "id_column": "id", "segment_column": "region"}, "segment_models": "always"}') INTO model;
  SELECT hyperparameters->>'segments_with_model' INTO with_model FROM persona.versions AS v WHERE v.model = trained.model;
  SELECT count(*) INTO rows FROM persona.recommend(model, 4, 70);
  SELECT bool_and(value >= 0) INTO evaluated FROM persona.evaluate(model, options => '{"bootstrap": 100}') WHERE metric = 'ndcg@10';
END $$;
SELECT name, t.* FROM calls, trained(call) AS t ORDER BY name;

-- What is held out stays unknown to the segment: who is alone in one finds it as by the popularity of all, and not because
-- nobody else has anything there.
CREATE TABLE sold_and_one AS SELECT * FROM sold UNION ALL SELECT 900, i, i FROM generate_series(0, 59, 6) AS i;
CREATE TABLE buyers_and_one AS SELECT * FROM buyers UNION ALL SELECT 900, 'alone';
SELECT version FROM persona.train_popularity('alone', 'sold_and_one', 'buyer', 'item', options =>
  '{"segments": {"relation": "buyers_and_one", "id_column": "id", "segment_column": "region"}}');
SELECT value = baseline AS as_all FROM persona.evaluate('alone') WHERE slice = 'segment=alone' AND metric = 'ndcg@10';

-- A model of segments by its name; retrain follows both.
CREATE VIEW buyer_features AS SELECT u AS id, (u % 3)::float8 AS a, (u % 3 = 1)::int::float8 AS b FROM generate_series(1, 365) AS u;
SELECT version FROM persona.train_kmeans('groups', 'buyer_features', 'id', NULL, 3);
SELECT version FROM persona.train_als('by_groups', 'sold', 'buyer', 'item', factors => 4, options => '{"segments": "groups", "segment_models": "always"}');
SET search_path = public;
SELECT version FROM persona.retrain('by_segment.by_groups');
SET search_path = by_segment;
SELECT count(*) AS rows, string_agg(DISTINCT source, ',') AS source
FROM persona.recommend('by_groups', 7, 5, options => (SELECT jsonb_build_object('segment', segment_id) FROM groups_members WHERE id = 7));
SELECT persona.update_model('by_groups');

-- The table gets another name.
ALTER TABLE buyers RENAME TO customers;
SELECT persona.retrain('m');
SELECT message, hint FROM persona.check() WHERE model = 'by_segment.m';
SELECT persona.alter_model('m', column_map => '{"segments": {"relation": "nowhere", "id_column": "id", "segment_column": "region"}}');
SELECT persona.alter_model('m', column_map => '{"segments": {"relation": "customers", "id_column": "id", "segment_column": "region"}}');
SELECT deployed FROM persona.retrain('m');
ALTER TABLE customers RENAME TO buyers;
SELECT persona.alter_model('m', column_map => '{"segments": "groups"}');
SELECT count(*) AS warnings FROM persona.check() WHERE model = 'by_segment.m';

-- With content: a new user by profile first, then by segment.
CREATE TABLE profiles AS SELECT * FROM buyers WHERE id <= 364;
SELECT version FROM persona.train_als('both', 'sold', 'buyer', 'item', factors => 4, options => '{
  "user_features": {"relation": "profiles", "id_column": "id", "columns": ["region"]},
  "segments": {"relation": "buyers", "id_column": "id", "segment_column": "region"}, "segment_models": "always"}');
SELECT u, string_agg(DISTINCT source, ',') AS source FROM (VALUES (4), (364), (367), (999)) AS v(u), persona.recommend('both', u, 3) GROUP BY u ORDER BY u;

-- Errors.
\set VERBOSITY default
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": 3}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "buyers"}}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "nowhere", "id_column": "id", "segment_column": "region"}}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "buyers", "id_column": "id", "segment_column": "regio"}}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "buyers", "id_column": "region", "segment_column": "id"}}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": "m"}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": "unknown"}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segment_models": "always"}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": "groups", "segment_models": "some"}');
SELECT persona.train_als('e', 'sold', 'buyer', 'item', 'at', feedback => 'explicit', options => '{"segments": "groups"}');
CREATE TABLE twice AS SELECT * FROM buyers UNION ALL SELECT 1, 'rest';
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "twice", "id_column": "id", "segment_column": "region"}}');
CREATE TABLE many AS SELECT id, id AS region FROM generate_series(1, 1001) AS id;
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "many", "id_column": "id", "segment_column": "region"}}');
SELECT persona.recommend('m', 1, options => '{"segment": 1.5}');
SELECT count(*) AS models FROM persona.models WHERE model = 'e';
-- The relation is read with the rights of the model's owner.
CREATE ROLE by_segment_owner;
GRANT USAGE ON SCHEMA by_segment, persona TO by_segment_owner;
GRANT CREATE ON SCHEMA by_segment TO by_segment_owner;
GRANT SELECT ON sold TO by_segment_owner;
SET ROLE by_segment_owner;
SELECT persona.train_als('e', 'sold', 'buyer', 'item', options => '{"segments": {"relation": "buyers", "id_column": "id", "segment_column": "region"}}');
RESET ROLE;
DROP SCHEMA by_segment CASCADE;
DROP OWNED BY by_segment_owner;
DROP ROLE by_segment_owner;
