-- Ratings: the mean, the biases, the factors, and what is served of them.
SET client_min_messages = warning;
CREATE SCHEMA ratings;
SET search_path = ratings;

-- Two tastes: who has an odd number likes odd films by two stars more; film 20 is better than all by a star, user 20 stricter by
-- one. One rating of each user is missing.
CREATE TABLE film_rating AS
SELECT u AS user_id, i AS film_id, 3 + CASE WHEN (u + i) % 2 = 0 THEN 1 ELSE -1 END + (i = 20)::int - (u = 20)::int AS stars
FROM generate_series(1, 40) AS u, generate_series(1, 40) AS i
WHERE (u * 7 + i * 3) % 11 <> 0;
SELECT model, version, algorithm, rows_used, rows_skipped, metric, value < baseline / 2 AS much_better, deployed, deploy_reason
FROM persona.train_als('films', 'film_rating', 'user_id', 'film_id', 'stars', feedback => 'explicit', factors => 4, regularization => 0.01);
SELECT metric, k, value < 0.3 AS good, baseline > 0.8 AS poor FROM persona.metrics WHERE model = 'films' ORDER BY metric;
SELECT max(abs(persona.score('films', user_id, film_id) - stars)) < 0.3 AS close FROM film_rating;
-- What was not rated is expected where the taste says.
SELECT count(*) AS unrated, max(abs(persona.score('films', u, i) - (3 + CASE WHEN (u + i) % 2 = 0 THEN 1 ELSE -1 END + (i = 20)::int - (u = 20)::int))) < 0.5 AS close
FROM generate_series(1, 40) AS u, generate_series(1, 40) AS i WHERE (u * 7 + i * 3) % 11 = 0;
-- Expected ratings stay within those that were given, the list falls, and score() says the same.
SELECT min(score) >= 1 AND max(score) <= 5 AS within, bool_and(score = persona.score('films', u, item_id)) AS same,
       bool_and(score <= before) AS falling
FROM generate_series(1, 40) AS u,
     LATERAL (SELECT score, item_id, lag(score, 1, 'Infinity') OVER () AS before FROM persona.recommend('films', u, 40, remove_seen => false)) AS r;
SELECT u, bool_and((item_id::int + u) % 2 = 0) AS own_taste FROM generate_series(1, 4) AS u, LATERAL persona.recommend('films', u, 10, remove_seen => false) GROUP BY u ORDER BY u;
-- Somebody who likes these.
SELECT bool_and(item_id::int % 2 = 1) AS odd FROM persona.recommend_for_items('films', '{1,3,5,7,9}', 5);
SELECT bool_and(item_id::int % 2 = 0) AS even FROM persona.similar_items('films', 2, 5);
SELECT source, count(*) FROM persona.recommend('films', 99, 3) GROUP BY source;
-- Factors and biases apart.
SELECT cardinality(factors) AS factors, max(bias) FILTER (WHERE id = '20') = max(bias) AS film_20_is_best, count(*) FROM persona.item_factors('films') GROUP BY cardinality(factors), id = '20' ORDER BY count;
SELECT (SELECT bias FROM persona.user_factors('films') WHERE id = '20') = min(bias) AS user_20_is_strict, bool_and(cardinality(factors) = 4) AS four FROM persona.user_factors('films');
-- The table of everybody's best shows ratings.
SELECT persona.recommend_all('films', 3);
SELECT count(*) AS differ FROM films_recs r WHERE score IS DISTINCT FROM persona.score('films', user_id, film_id);

-- Of two ratings the newest counts; zero and negative numbers are ratings, too.
CREATE TABLE changed AS SELECT user_id, film_id, stars - 3 AS stars, 1::bigint AS at FROM film_rating
UNION ALL SELECT user_id, film_id, 3 - stars, 2 FROM film_rating;
SELECT rows_used, rows_skipped FROM persona.train_als('turned', 'changed', 'user_id', 'film_id', 'stars', 'at', feedback => 'explicit', factors => 4, regularization => 0.01);
SELECT max(abs(persona.score('turned', user_id, film_id) - (3 - stars))) < 0.3 AS newest FROM film_rating;

-- The same rows in another order and on one thread: the same to the bit. Conjugate gradients come close.
CREATE TABLE shuffled AS SELECT * FROM film_rating ORDER BY (user_id * 7919 + film_id * 104729) % 1009;
SET persona.max_threads = 1;
SELECT rows_used FROM persona.train_als('again', 'shuffled', 'user_id', 'film_id', 'stars', feedback => 'explicit', factors => 4, regularization => 0.01);
SELECT count(*) AS differ FROM film_rating WHERE persona.score('films', user_id, film_id) <> persona.score('again', user_id, film_id);
RESET persona.max_threads;
SELECT rows_used FROM persona.train_als('steps', 'film_rating', 'user_id', 'film_id', 'stars', feedback => 'explicit', factors => 4, regularization => 0.01, options => '{"solver": "cg"}');
SELECT max(abs(persona.score('films', user_id, film_id) - persona.score('steps', user_id, film_id))) < 0.1 AS close FROM film_rating;

-- The guard: a larger error stays back, and evaluate measures again where nothing is stored.
SELECT version, deployed, deploy_reason ~ '^not below the error of the items'' means: ' AS held_back FROM persona.retrain('films', '{"regularization": 1000}');
SELECT rows_used FROM persona.train_als('unmeasured', 'film_rating', 'user_id', 'film_id', 'stars', feedback => 'explicit', factors => 4, regularization => 0.01, holdout => 'none');
SELECT metric, value < baseline AS better FROM persona.evaluate('unmeasured') ORDER BY metric;

\set VERBOSITY terse
SELECT persona.train_als('x', 'film_rating', 'user_id', 'film_id', feedback => 'explicit');
SELECT persona.train_als('x', 'film_rating', 'user_id', 'film_id', 'stars', feedback => 'explicit', alpha => 2);
SELECT persona.train_als('x', 'film_rating', 'user_id', 'film_id', 'stars', feedback => 'told');
DROP SCHEMA ratings CASCADE;
