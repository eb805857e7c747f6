-- What most have, and the automatic choice.
SET client_min_messages = warning;
CREATE SCHEMA automatic;
SET search_path = automatic;

-- Item n is had by 30 - n users, the even ones a hundred days ago.
CREATE TABLE purchase AS
SELECT u AS customer, i AS product, date '2026-01-01' - CASE i % 2 WHEN 0 THEN 100 ELSE 0 END AS bought_on
FROM generate_series(1, 20) AS i, generate_series(1, 30) AS u WHERE u <= 30 - i;
SELECT algorithm, rows_used, metric, value = baseline AS as_the_baseline, converged
FROM persona.train_popularity('ever', 'purchase', 'customer', 'product');
SELECT item_id, round(score::numeric, 4) AS score, rank, source FROM persona.recommend('ever', 28, 4);
SELECT round(score::numeric, 4) AS score FROM persona.popular_items('ever', 1);
-- With a half-life of ten days the even ones count a thousandth.
SELECT rows_used, deployed FROM persona.train_popularity('lately', 'purchase', 'customer', 'product', time_column => 'bought_on', half_life => 10);
SELECT string_agg(item_id, ',' ORDER BY rank) FROM persona.popular_items('lately', 12);
SELECT string_agg(item_id, ',' ORDER BY rank) FROM persona.recommend('lately', 25, 5);
SELECT string_agg(item_id, ',' ORDER BY rank) FROM persona.recommend('lately', 25, 5, candidates => '{2,4,19,20,17}');
SELECT persona.score('lately', 1, 1) > 500 * persona.score('lately', 1, 2) AS decayed, abs(sum(score) - 1) < 1e-6 AS shares FROM persona.popular_items('lately', 20);
SELECT count(*) FROM persona.similar_items('lately', 1);
SELECT user_id FROM persona.similar_users('lately', 30, 1);
SELECT persona.recommend_all('lately', 2);
SELECT product, count(*) FROM lately_recs WHERE rank = 1 GROUP BY product ORDER BY count DESC, product LIMIT 2;
-- A time without a date counts in its own unit.
CREATE VIEW numbered AS SELECT customer, product, bought_on - date '2000-01-01' AS day FROM purchase;
CREATE VIEW whole AS SELECT customer, product, day::bigint FROM numbered;
SELECT deployed FROM persona.train_popularity('counted', 'whole', 'customer', 'product', time_column => 'day', half_life => 10);
SELECT count(*) AS differ FROM persona.popular_items('lately', 20) a JOIN persona.popular_items('counted', 20) b USING (item_id) WHERE a.score <> b.score;
SELECT version, deployed FROM persona.retrain('lately', '{"half_life": 1000, "deploy": "always"}');
SELECT string_agg(item_id, ',' ORDER BY rank) FROM persona.popular_items('lately', 5);

-- Tastes that popularity does not see: half of the users have odd items, half even ones.
CREATE TABLE visit AS
SELECT u AS visitor, i AS page FROM generate_series(1, 200) AS u, generate_series(1, 60) AS i
WHERE (u + i) % 2 = 0 AND (u * 31 + i * 17) % 7 < 4;
SELECT model, version, rows_used, metric, value > baseline AS better, deployed, algorithm <> 'popularity' AS personal
FROM persona.train_recommender('pages', 'visit', 'visitor', 'page');
SELECT bool_and((item_id::int + u) % 2 = 0) AS own_taste FROM generate_series(1, 20) AS u, LATERAL persona.recommend('pages', u, 5);
-- It says what it tried and what it took.
SELECT deploy_reason ~ ('^first version; ' || algorithm || '.* of \d+ tried: ' || algorithm || ' \d\.\d{4}, .*popularity 0\.\d{4}.* \(means of 3 splits\)$') AS told
FROM persona.versions WHERE model = 'pages';
SELECT count(DISTINCT split_part(phase, ' ', 2)) AS algorithms, count(*) >= 6 AS tries, bool_and(validation IS NOT NULL) AS measured, max(validation) > 0 AS above_nothing
FROM persona.training_log WHERE model = 'pages' AND phase LIKE 'try %';
SELECT hyperparameters -> 'chosen' ->> 'trainer' ~ '^train_' AS noted FROM persona.versions WHERE model = 'pages';
-- Only what is allowed; and what is chosen is the same each time.
SELECT algorithm FROM persona.train_recommender('near', 'visit', 'visitor', 'page', options => '{"algorithms": ["item_knn", "popularity"]}');
SELECT algorithm FROM persona.train_recommender('one', 'visit', 'visitor', 'page', options => '{"algorithms": ["als", "item_knn"]}');
SELECT algorithm FROM persona.train_recommender('two', 'visit', 'visitor', 'page', options => '{"algorithms": ["als", "item_knn"], "threads": 1}');
SELECT count(DISTINCT hyperparameters #- '{chosen,options}') AS choices FROM persona.versions WHERE model IN ('one', 'two');
-- No time: popularity alone is tried.
SELECT algorithm, deploy_reason FROM persona.train_recommender('hasty', 'visit', 'visitor', 'page', budget => '1 microsecond');
SELECT bool_and(phase LIKE 'no time for %') AS no_time, count(*) > 2 AS several FROM persona.training_log WHERE model = 'hasty' AND validation IS NULL AND phase LIKE 'no %';
-- A month is thirty days. Where rows have times, popularity is tried with several half-lives.
SELECT algorithm FROM persona.train_recommender('timed', 'purchase', 'customer', 'product', time_column => 'bought_on', budget => '1 month', options => '{"algorithms": ["popularity"]}');
SELECT count(*) FILTER (WHERE phase LIKE '%half_life%') >= 3 AS decayed, count(*) FILTER (WHERE phase = 'try popularity') AS plain FROM persona.training_log WHERE model = 'timed' AND phase LIKE 'try %';
-- What is better by less than a standard error does not lead: the default stays, though a step from it measured more.
CREATE TABLE noisy AS -- Three tastes, md5 as repeatable dice.
SELECT u AS visitor, i AS page FROM generate_series(1, 120) AS u, generate_series(1, 60) AS i
WHERE ('x' || substr(md5(u || '/' || i), 1, 4))::bit(16)::int < 65536 * CASE WHEN u % 3 = i % 3 THEN 0.5 ELSE 0.15 END * (1 - i / 120.0);
SELECT algorithm FROM persona.train_recommender('steady', 'noisy', 'visitor', 'page', options => '{"algorithms": ["ease"]}');
SELECT position('first version; ' || substr(first.phase, 5) || ' of ' IN deploy_reason) = 1 AS the_first, best.validation > first.validation AS though_not_the_best
FROM persona.versions v, LATERAL (SELECT phase, validation FROM persona.training_log WHERE model = 'steady' AND phase LIKE 'try %' LIMIT 1) AS first,
     LATERAL (SELECT max(validation) AS validation FROM persona.training_log WHERE model = 'steady' AND phase LIKE 'try %') AS best
WHERE v.model = 'steady';
-- Retraining tries again, evaluate measures what was chosen at another cutoff.
SELECT version, deployed FROM persona.retrain('near', '{"budget": "1 hour", "deploy": "always"}');
SELECT count(*) > 0 AS figures FROM persona.evaluate('near', k => 3);
-- From where the model reads now.
CREATE VIEW renamed AS SELECT visitor, page AS site FROM visit;
SELECT persona.alter_model('near', 'renamed', '{"item_column": "site"}');
SELECT count(*) > 0 AS figures FROM persona.evaluate('near', k => 3);
-- Nothing to hold out.
CREATE TABLE single AS SELECT u AS visitor, u % 3 AS page FROM generate_series(1, 30) AS u;
SELECT algorithm, metric, deploy_reason FROM persona.train_recommender('unknown', 'single', 'visitor', 'page');
SELECT count(*) FROM persona.recommend('unknown', 1, 2);

\set VERBOSITY terse
SELECT persona.train_popularity('x', 'purchase', 'customer', 'product', half_life => 10);
SELECT persona.train_popularity('x', 'purchase', 'customer', 'product', time_column => 'bought_on', half_life => 0);
SELECT persona.train_popularity('x', 'purchase', 'customer', 'product', time_column => 'bought_on', half_life => 'Infinity');
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', budget => '0');
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', budget => '-1 day');
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', budget => NULL);
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', options => '{"algorithms": ["sorcery"]}');
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', options => '{"algorithms": "als"}');
SELECT persona.train_recommender('x', 'visit', 'visitor', 'page', options => '{"holdout": "none"}');
SELECT persona.train_recommender('x', 'visit', 'nobody', 'page');
SELECT persona.retrain('near', '{"budget": "soon"}');
DROP SCHEMA automatic CASCADE;
