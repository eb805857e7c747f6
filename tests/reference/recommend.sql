-- Alternating least squares on implicit feedback: nDCG@10 over every user with something to find.
-- Reference figures: the Python package implicit 0.7.3 on the same split, 32 factors, regularization 0.05, alpha 10
-- (its confidence is alpha * value, ours 1 + alpha * value: hence 9), 15 iterations: 0.2199 +- 0.0022.
\pset footer off
CREATE EXTENSION pg_persona;

CREATE TEMP TABLE movielens_file (user_id int, item_id int, "timestamp" bigint, value float8, is_test int);
\copy movielens_file from program 'zcat "$SHARED_DATA/movielens-latest-small/split_implicit_ml_ge4_seed20240.csv.gz"' csv header
CREATE TEMP TABLE msweb_file (user_id int, item_id int, value float8, is_test int);
\copy msweb_file from program 'zcat "$SHARED_DATA/msweb/split_implicit_msweb_seed20241.csv.gz"' csv header
INSERT INTO split SELECT 'movielens', user_id, item_id, is_test = 1 FROM movielens_file;
INSERT INTO split SELECT 'msweb', user_id, item_id, is_test = 1 FROM msweb_file;
CREATE INDEX ON split (data_set, user_id, item_id);
CREATE INDEX ON split (data_set, item_id) WHERE NOT is_test;
ANALYZE split;

CREATE VIEW movielens_train AS SELECT user_id, item_id FROM split WHERE data_set = 'movielens' AND NOT is_test;
CREATE VIEW msweb_train AS SELECT user_id, item_id FROM split WHERE data_set = 'msweb' AND NOT is_test;

-- The protocol first, on a model that plain SQL can be: the most popular items that the user does not have.
INSERT INTO ranked
  WITH popular AS (
    SELECT item_id, row_number() OVER (ORDER BY count(*) DESC, item_id) AS place FROM movielens_train GROUP BY item_id)
  SELECT 'popularity', 'movielens', user_id, best.item_id, best.rank
  FROM (SELECT DISTINCT user_id FROM relevant WHERE data_set = 'movielens') AS users
  CROSS JOIN LATERAL (
    SELECT item_id, row_number() OVER (ORDER BY place) AS rank
    FROM popular
    WHERE NOT EXISTS (SELECT FROM movielens_train AS own WHERE own.user_id = users.user_id AND own.item_id = popular.item_id)
    ORDER BY place
    LIMIT 10) AS best;
INSERT INTO figures (name, value, at_least, at_most)
  SELECT unnest(ARRAY['users of MovieLens', 'popularity, MovieLens (published 0.1349, ties differ)']),
         unnest(ARRAY[users, ndcg]), unnest(ARRAY[602, 0.134]), unnest(ARRAY[602, 0.136])
  FROM rank_metrics('popularity', 'movielens');

-- Ranks all test users of a data set by a model, in one call.
CREATE PROCEDURE rank_by(model text, data_set text) LANGUAGE sql AS $$
  INSERT INTO ranked
  SELECT model, data_set, user_id::int, item_id::int, rank
  FROM persona.recommend_for_users(
    model, (SELECT array_agg(DISTINCT user_id::text) FROM relevant WHERE relevant.data_set = rank_by.data_set), 10)
$$;

SELECT result.model, round(result.seconds::numeric, 1) AS seconds
FROM generate_series(0, 4) AS seed
CROSS JOIN LATERAL persona.train_als(
  'movielens_' || seed, 'movielens_train', 'user_id', 'item_id', factors => 32, regularization => 0.05, alpha => 9,
  iterations => 15, holdout => 'none', deploy => 'always', seed => seed) AS result;
DO $$ BEGIN FOR seed IN 0..4 LOOP CALL rank_by('movielens_' || seed, 'movielens'); END LOOP; END $$;
INSERT INTO figures (name, value, at_least)
  SELECT 'als as published, MovieLens, mean of five seeds', avg(ndcg), 0.2177
  FROM generate_series(0, 4) AS seed CROSS JOIN LATERAL rank_metrics('movielens_' || seed, 'movielens');

-- What somebody gets who sets nothing.
SELECT model, round(seconds::numeric, 1) AS seconds
FROM persona.train_als('movielens_default', 'movielens_train', 'user_id', 'item_id');
CALL rank_by('movielens_default', 'movielens');
INSERT INTO figures (name, value, at_least)
  SELECT 'als by default, MovieLens', ndcg, 0.22 FROM rank_metrics('movielens_default', 'movielens');

SELECT model, round(seconds::numeric, 1) AS seconds
FROM persona.train_als('msweb_default', 'msweb_train', 'user_id', 'item_id');
CALL rank_by('msweb_default', 'msweb');
INSERT INTO figures (name, value, at_least)
  SELECT 'als by default, msweb', ndcg, 0.42 FROM rank_metrics('msweb_default', 'msweb');

-- Gradients: bpr at the reference settings of implicit 0.7.3 (32 factors, 40 passes), its mean less a deviation, and
-- what somebody gets who sets nothing.
SELECT result.model, round(result.seconds::numeric, 1) AS seconds
FROM (VALUES ('movielens'), ('msweb')) AS sets (data_set)
CROSS JOIN generate_series(0, 4) AS seed
CROSS JOIN LATERAL persona.train_bpr(
  data_set || '_bpr_' || seed, (data_set || '_train')::regclass, 'user_id', 'item_id', factors => 32, learning_rate => 0.01,
  regularization => 0.01, iterations => 40, holdout => 'none', seed => seed,
  options => '{"sampling": "popularity"}') AS result;
DO $$
BEGIN
  FOR seed IN 0..4 LOOP
    CALL rank_by('movielens_bpr_' || seed, 'movielens');
    CALL rank_by('msweb_bpr_' || seed, 'msweb');
  END LOOP;
END $$;
INSERT INTO figures (name, value, at_least)
  SELECT 'bpr as published, ' || data_set || ', mean of five seeds', avg(ndcg), bar
  FROM (VALUES ('movielens', 0.1586), ('msweb', 0.2538)) AS sets (data_set, bar)
  CROSS JOIN generate_series(0, 4) AS seed CROSS JOIN LATERAL rank_metrics(data_set || '_bpr_' || seed, data_set)
  GROUP BY data_set, bar;

SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_bpr('movielens_bpr', 'movielens_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_bpr('msweb_bpr', 'msweb_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_sgd('movielens_warp', 'movielens_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_sgd('msweb_warp', 'msweb_train', 'user_id', 'item_id');
CALL rank_by('movielens_bpr', 'movielens');
CALL rank_by('msweb_bpr', 'msweb');
CALL rank_by('movielens_warp', 'movielens');
CALL rank_by('msweb_warp', 'msweb');
INSERT INTO figures (name, value, at_least)
  SELECT model || ' by default', ndcg, bar
  FROM (VALUES ('movielens_bpr', 'movielens', 0.17), ('msweb_bpr', 'msweb', 0.4),
               ('movielens_warp', 'movielens', 0.2), ('msweb_warp', 'msweb', 0.4)) AS models (model, data_set, bar)
  CROSS JOIN LATERAL rank_metrics(model, data_set);

-- Items by items: EASE at the reference settings (numpy: 0.2623 with lambda 100, 0.5489 with lambda 10) and by default;
-- the cosine of 20 neighbours (0.1938, 0.5060).
SELECT model, round(seconds::numeric, 1) AS seconds
FROM persona.train_ease('movielens_ease_100', 'movielens_train', 'user_id', 'item_id', regularization => 100, holdout => 'none');
SELECT model, round(seconds::numeric, 1) AS seconds
FROM persona.train_ease('msweb_ease_10', 'msweb_train', 'user_id', 'item_id', regularization => 10, holdout => 'none');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_ease('movielens_ease', 'movielens_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_ease('msweb_ease', 'msweb_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_item_knn('movielens_knn', 'movielens_train', 'user_id', 'item_id');
SELECT model, round(seconds::numeric, 1) AS seconds FROM persona.train_item_knn('msweb_knn', 'msweb_train', 'user_id', 'item_id');
CALL rank_by('movielens_ease_100', 'movielens');
CALL rank_by('msweb_ease_10', 'msweb');
CALL rank_by('movielens_ease', 'movielens');
CALL rank_by('msweb_ease', 'msweb');
CALL rank_by('movielens_knn', 'movielens');
CALL rank_by('msweb_knn', 'msweb');
INSERT INTO figures (name, value, at_least)
  SELECT model, ndcg, bar
  FROM (VALUES ('movielens_ease_100', 'movielens', 0.262), ('msweb_ease_10', 'msweb', 0.548),
               ('movielens_ease', 'movielens', 0.2556), ('msweb_ease', 'msweb', 0.53),
               ('movielens_knn', 'movielens', 0.1938), ('msweb_knn', 'msweb', 0.506)) AS models (model, data_set, bar)
  CROSS JOIN LATERAL rank_metrics(model, data_set);

-- The automatic choice by its defaults: within 1 % of the best of all, and above item-kNN.
SELECT model, algorithm, round(seconds::numeric, 1) AS seconds, deploy_reason
FROM persona.train_recommender('movielens_auto', 'movielens_train', 'user_id', 'item_id');
SELECT model, algorithm, round(seconds::numeric, 1) AS seconds, deploy_reason
FROM persona.train_recommender('msweb_auto', 'msweb_train', 'user_id', 'item_id');
CALL rank_by('movielens_auto', 'movielens');
CALL rank_by('msweb_auto', 'msweb');
INSERT INTO figures (name, value, at_least)
  SELECT model, ndcg, 0.99 * best
  FROM (VALUES ('movielens_auto', 'movielens'), ('msweb_auto', 'msweb')) AS models (model, data_set)
  CROSS JOIN LATERAL rank_metrics(model, data_set)
  CROSS JOIN LATERAL (
    SELECT max(other.ndcg) AS best
    FROM (SELECT DISTINCT run FROM ranked WHERE ranked.data_set = models.data_set AND run <> model) AS runs
    CROSS JOIN LATERAL rank_metrics(run, models.data_set) AS other) AS others;

-- Ratings: alternating least squares on what the biases leave. Reference: numpy 0.8537 +- 0.0003 (32 factors, lambda 0.1 a
-- rating, 15 iterations), Surprise's SVD 0.8654.
CREATE TEMP TABLE ratings_file (user_id int, item_id int, rating float8, "timestamp" bigint, is_test int);
\copy ratings_file from program 'zcat "$SHARED_DATA/movielens-latest-small/split_explicit_ml_seed31415.csv.gz"' csv header
CREATE TABLE ratings AS SELECT user_id, item_id, rating, is_test = 1 AS is_test FROM ratings_file;
CREATE VIEW ratings_train AS SELECT user_id, item_id, rating FROM ratings WHERE NOT is_test;
SELECT model, round(seconds::numeric, 1) AS seconds, metric, round(value::numeric, 4) AS value, round(baseline::numeric, 4) AS baseline
FROM persona.train_als('ratings_32', 'ratings_train', 'user_id', 'item_id', 'rating', feedback => 'explicit', factors => 32);
SELECT model, round(seconds::numeric, 1) AS seconds
FROM persona.train_als('ratings_default', 'ratings_train', 'user_id', 'item_id', 'rating', feedback => 'explicit', holdout => 'none');
-- A film that nobody rated in the training part has no score: it is expected to be rated as all are by that user, here the mean.
INSERT INTO figures (name, value, at_most)
  SELECT 'rmse of ' || model, sqrt(avg((coalesce(persona.score(model, user_id, item_id), mean) - rating) ^ 2)), bar
  FROM (VALUES ('ratings_32', 0.86), ('ratings_default', 0.86)) AS models (model, bar)
  CROSS JOIN ratings
  JOIN (SELECT user_id, avg(rating) AS mean FROM ratings_train GROUP BY user_id) AS means USING (user_id)
  WHERE is_test GROUP BY model, bar;
