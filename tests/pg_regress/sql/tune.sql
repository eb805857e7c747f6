-- persona.tune: what is searched, what is kept, what is refused. The procedure commits, so that nothing here is in a block.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA tune;
SET search_path = tune;

-- A checkerboard without its diagonal: everybody of a colour has the same items but one, their own number. The hidden
-- item of a user is one of the two of the colour that they seem to lack.
CREATE TABLE board AS
SELECT u, i FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
SELECT version, deployed FROM persona.train_ease('m', 'board', 'u', 'i', regularization => 50);

-- A grid: every value once, in order, then the search is at its end, however many trials are left.
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000, 100000]}');
SELECT trial, state, settings, metric, value BETWEEN 0 AND 1 AS is_ndcg, value >= baseline AS not_below_popularity,
       folds = ARRAY[value] AS one_fold, error, seconds > 0 AND finished_at >= started_at AS timed FROM m_trials ORDER BY trial;
-- The value of a trial is what a training with these settings and this holdout measures.
SELECT v.value = (SELECT max(t.value) FROM m_trials t) AS same, v.version,
       v.hyperparameters -> 'regularization' = (SELECT t.settings -> 'regularization' FROM m_trials t ORDER BY t.value DESC, t.trial LIMIT 1) AS best
FROM persona.versions v WHERE v.model = 'm' ORDER BY v.version DESC LIMIT 1;
-- Later retrainings keep what was found.
SELECT version FROM persona.retrain('m');
SELECT count(DISTINCT hyperparameters -> 'regularization') FROM persona.versions WHERE model = 'm' AND version > 1;
-- Once more: nothing is left to try, and a version is trained.
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000, 100000]}', deploy => 'never');
SELECT count(*) FROM m_trials;
SELECT version, deploy_reason FROM persona.versions WHERE model = 'm' ORDER BY version DESC LIMIT 1;

-- Another search is another table of trials.
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000]}');
CALL persona.tune('m', 20, 'random', '{"regularization": [1, 1000, 100000]}');
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000, 100000]}', seed => 7);
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000, 100000]}', folds => 2);
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000, 100000]}', options => '{"levels": 4}');
CALL persona.tune('m', 20, 'grid', '{"regularization": [1, 1000]}', options => '{"restart": true}');
SELECT trial, settings FROM m_trials ORDER BY trial;
-- A search that finds nothing better changes nothing: its version does not go live, and retrainings keep what serves.
CALL persona.tune('m', 20, 'grid', '{"regularization": [100000]}', options => '{"restart": true}');
SELECT version, is_live, deploy_reason ~ '^more than 2 % below version' AS held_back, (hyperparameters ->> 'regularization')::float8 AS regularization
FROM persona.versions WHERE model = 'm' ORDER BY version DESC LIMIT 2;
SELECT version, deployed FROM persona.retrain('m');
SELECT hyperparameters -> 'regularization' AS regularization FROM persona.versions WHERE model = 'm' AND is_live;

-- Of trials that are equal the first is the best: with so few items all neighbours are kept.
CALL persona.tune('m', 20, 'grid', '{"neighbours": [15, 16, 17]}', deploy => 'never', options => '{"restart": true}');
SELECT count(*), count(DISTINCT value) AS different FROM m_trials;
SELECT hyperparameters -> 'neighbours' AS neighbours FROM persona.versions WHERE model = 'm' ORDER BY version DESC LIMIT 1;

-- Ranges in a grid have their ends and what lies between, by ratio where the scale is logarithmic.
CALL persona.tune('m', method => 'grid', space => '{"regularization": {"min": 1, "max": 100, "scale": "log"}, "neighbours": {"min": 3, "max": 5}}', options => '{"restart": true}');
SELECT trial, settings FROM m_trials ORDER BY trial;

-- A search that stopped and went on is the one that did not stop; ten trials are random, after them the estimator draws.
SELECT a.version, b.version FROM persona.train_ease('once', 'board', 'u', 'i') a, persona.train_ease('twin', 'board', 'u', 'i') b;
CALL persona.tune('once', 13);
CALL persona.tune('twin', 4);
CALL persona.tune('twin', 11);
CALL persona.tune('twin', 13);
SELECT count(*), count(DISTINCT a.settings) AS different, bool_and(a.settings = b.settings AND a.value = b.value) AS same
FROM once_trials a JOIN twin_trials b USING (trial);
SELECT bool_and((settings ->> 'regularization')::float8 BETWEEN 1 AND 10000) AS within FROM once_trials;
-- Whoever ran a trial and does not any more: it counts as failed.
UPDATE twin_trials SET state = 'running', value = NULL WHERE trial = 13;
CALL persona.tune('twin', 14);
SELECT trial, state, value IS NULL AS without, error FROM twin_trials WHERE trial >= 13 ORDER BY trial;
-- Rows that do not belong to the search.
UPDATE twin_trials SET settings = '{"regularization": -1}' WHERE trial = 14;
CALL persona.tune('twin', 15);
COMMENT ON TABLE twin_trials IS 'mine';
CALL persona.tune('twin', 15);

-- The first trial has the settings that serve, whether the space holds them or not; a grid has no such one.
SELECT version FROM persona.train_ease('lone', 'board', 'u', 'i', regularization => 7.123456789);
CALL persona.tune('lone', 3, 'random', '{"regularization": [1, 2]}', deploy => 'never');
SELECT trial, live, settings -> 'regularization' = '7.123456789' AS serving, settings -> 'regularization' <@ '[1, 2]' AS of_the_space FROM lone_trials ORDER BY trial;
CALL persona.tune('lone', 12, 'tpe', '{"regularization": {"min": 100, "max": 200}, "neighbours": [4, 5]}', deploy => 'never', options => '{"restart": true}');
SELECT live, count(*), bool_and((settings ->> 'regularization')::float8 BETWEEN 100 AND 200) AS of_the_space FROM lone_trials GROUP BY live ORDER BY live;
SELECT settings FROM lone_trials WHERE live;
-- Those of a version that another trainer made are none of the present one.
SELECT version, deployed FROM persona.train_item_knn('lone', 'board', 'u', 'i', deploy => 'never');
CALL persona.tune('lone', 2, 'random', '{"neighbours": [3, 4]}', deploy => 'never', options => '{"restart": true}');
SELECT count(*), bool_or(live) AS live FROM lone_trials;

-- Several holdouts: the mean of them counts; what is worse than most after some is given up.
CREATE TABLE visits AS SELECT v, p FROM generate_series(1, 300) AS v, generate_series(1, 60) AS p WHERE (v * 7 + p * 13) % 60 < 20 AND (v + p * p) % 3 <> 0;
SELECT version FROM persona.train_ease('pages', 'visits', 'v', 'p');
CALL persona.tune('pages', 12, 'grid', '{"regularization": [1, 10, 100, 1000, 10000, 100000, 1000000]}', folds => 3);
SELECT trial, state, cardinality(folds) AS folds, abs(value - (SELECT avg(f) FROM unnest(folds) f)) < 1e-11 AS mean,
       value < lag(value) OVER (ORDER BY trial) AS worse FROM pages_trials WHERE trial < 7 ORDER BY trial;
SELECT count(*) FILTER (WHERE state = 'abandoned') AS abandoned, count(DISTINCT f.value) AS different
FROM pages_trials LEFT JOIN LATERAL unnest(CASE trial WHEN 1 THEN folds END) AS f (value) ON true;

-- Trials that fail say so, and the search goes on. Here one needs more memory than there is.
CREATE TABLE wide AS SELECT u, (u * 31 + i * i) % 500 AS i FROM generate_series(1, 500) AS u, generate_series(1, 5) AS i;
SELECT version FROM persona.train_als('small', 'wide', 'u', 'i', factors => 4, iterations => 2);
SET persona.max_memory = '4MB';
CALL persona.tune('small', 3, 'grid', '{"factors": [2046, 4]}');
RESET persona.max_memory;
SELECT trial, state, settings, value IS NULL AS without, left(error, 24) AS error FROM small_trials ORDER BY trial;
SELECT hyperparameters -> 'factors' AS factors FROM persona.versions WHERE model = 'small' ORDER BY version DESC LIMIT 1;
-- All of them.
ALTER TABLE wide RENAME TO narrow;
CREATE TABLE wide AS SELECT u, i FROM narrow LIMIT 0;
CALL persona.tune('small', 2, 'grid', '{"factors": [2, 4]}', options => '{"restart": true}');
SELECT trial, state, error FROM small_trials ORDER BY trial;
DROP TABLE wide;
CALL persona.tune('small', 2, 'grid', '{"factors": [2, 4]}', options => '{"restart": true}');
ALTER TABLE narrow RENAME TO wide;

-- Ratings: the root of the mean squared error, of which less is better.
CREATE TABLE stars AS
SELECT u, i, (1 + (u % 3) + (i % 3))::float8 AS r FROM generate_series(1, 30) AS u, generate_series(1, 20) AS i WHERE (u * 7 + i * 3) % 5 > 1;
SELECT version FROM persona.train_als('rated', 'stars', 'u', 'i', 'r', feedback => 'explicit', factors => 2, iterations => 5);
CALL persona.tune('rated', 3, 'grid', '{"regularization": [0.01, 1, 100]}');
SELECT trial, state, metric FROM rated_trials ORDER BY trial;
SELECT v.value = (SELECT min(t.value) FROM rated_trials t) AS least,
       v.hyperparameters -> 'regularization' = (SELECT t.settings -> 'regularization' FROM rated_trials t ORDER BY t.value LIMIT 1) AS best
FROM persona.versions v WHERE v.model = 'rated' ORDER BY v.version DESC LIMIT 1;

-- Each trainer has a space of its own.
CREATE TABLE dated AS SELECT u, i, now() - (u + i) * interval '1 day' AS at FROM board;
SELECT version FROM persona.train_als('als', 'board', 'u', 'i', factors => 4, iterations => 2);
SELECT version FROM persona.train_item_knn('knn', 'board', 'u', 'i');
SELECT version FROM persona.train_bpr('bpr', 'board', 'u', 'i', factors => 4, iterations => 2);
SELECT version FROM persona.train_popularity('pop', 'dated', 'u', 'i', time_column => 'at');
SELECT version FROM persona.train_popularity('plain', 'board', 'u', 'i');
SELECT version FROM persona.train_recommender('auto', 'board', 'u', 'i', options => '{"algorithms": ["ease"], "keep_versions": 5}');
CALL persona.tune('als', 1);
CALL persona.tune('knn', 1);
CALL persona.tune('bpr', 1);
CALL persona.tune('pop', 1);
CALL persona.tune('plain', 1);
CALL persona.tune('rated', 1, options => '{"restart": true}');
CALL persona.tune('auto', 2);
SELECT t.model, k.key FROM (
  SELECT 'als' AS model, settings FROM als_trials UNION ALL SELECT 'knn', settings FROM knn_trials
  UNION ALL SELECT 'bpr', settings FROM bpr_trials UNION ALL SELECT 'pop', settings FROM pop_trials
  UNION ALL SELECT 'rated', settings FROM rated_trials UNION ALL SELECT 'auto', settings FROM auto_trials WHERE trial = 1) t,
  jsonb_object_keys(t.settings) AS k (key) ORDER BY 1, 2;
-- A model of train_recommender is one of the trainer that was chosen from now on: it may be retrained with its settings.
SELECT version, algorithm FROM persona.retrain('auto', '{"regularization": 5}');
SELECT count(*) FROM persona.versions WHERE model = 'auto' AND is_stored;

-- Where the newest rows are held out there is but one holdout.
CALL persona.tune('pop', 1, folds => 2, options => '{"restart": true}');

-- What is refused, before the first trial.
CALL persona.tune('m', 0);
CALL persona.tune('m', 1001);
CALL persona.tune('m', NULL);
CALL persona.tune('m', method => 'grd');
CALL persona.tune('m', folds => 0);
CALL persona.tune('m', deploy => 'perhaps');
CALL persona.tune('m', budget => '0');
CALL persona.tune('m', budget => '-1 second');
CALL persona.tune('m', options => '{"resart": true}');
CALL persona.tune('m', options => '{"levels": 0}');
CALL persona.tune('m', space => '{}');
CALL persona.tune('m', space => '[]');
CALL persona.tune('m', space => '{"regularisation": [1]}');
CALL persona.tune('m', space => '{"holdout": ["time"]}');
CALL persona.tune('m', space => '{"regularization": 1}');
CALL persona.tune('m', space => '{"regularization": []}');
CALL persona.tune('m', space => '{"regularization": [1, 2, 1]}');
CALL persona.tune('m', space => '{"regularization": [-1]}');
CALL persona.tune('m', space => '{"regularization": ["much"]}');
CALL persona.tune('m', space => '{"regularization": {"min": 1}}');
CALL persona.tune('m', space => '{"regularization": {"min": 1, "mx": 2}}');
CALL persona.tune('m', space => '{"regularization": {"min": 2, "max": 1}}');
CALL persona.tune('m', space => '{"regularization": {"min": 0, "max": 1, "scale": "log"}}');
CALL persona.tune('m', space => '{"regularization": {"min": 1, "max": 2, "scale": "lag"}}');
CALL persona.tune('m', space => '{"neighbours": {"min": 1.5, "max": 2}}');
CALL persona.tune('m', space => '{"neighbours": {"min": 1, "max": 100000}}');
CALL persona.tune('knn', space => '{"similarity": {"min": 1, "max": 2}}', options => '{"restart": true}');
CALL persona.tune('nowhere');
CALL persona.tune(NULL);
CALL persona.tune('board');
CREATE TABLE people AS SELECT g AS id, g % 3 AS a FROM generate_series(1, 30) g;
SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', k => 2);
CALL persona.tune('tiers');
-- No trial begins after the budget; what there is counts.
CALL persona.tune('pages', 12, 'grid', '{"regularization": [1, 10, 100, 1000, 10000, 100000, 1000000]}', folds => 3, budget => '1 microsecond');
SELECT count(*) FROM pages_trials;
CALL persona.tune('m', budget => '1 microsecond', options => '{"restart": true}');
SELECT count(*) FROM m_trials;
-- Where it cannot commit.
\set VERBOSITY verbose
BEGIN;
CALL persona.tune('m');
ROLLBACK;
\set VERBOSITY default
CREATE FUNCTION within() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL persona.tune('m', 1); END $$;
CREATE PROCEDURE around() LANGUAGE plpgsql AS $$ BEGIN CALL persona.tune('bpr', 1); END $$;
CREATE PROCEDURE pinned() LANGUAGE plpgsql SET search_path = tune AS $$ BEGIN CALL persona.tune('m', 1); END $$;
SELECT within();
CALL pinned();
DO $$ BEGIN CALL persona.tune('m', 1); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
-- And where it can.
SELECT count(*) FROM persona.versions WHERE model = 'bpr';
CALL around();
DO $$ BEGIN CALL persona.tune('bpr', 1); END $$;
SELECT count(*) FROM persona.versions WHERE model = 'bpr';
SELECT persona._tune_next('plain', 1, NULL);
SELECT persona._tune_measure('als', 1);

-- Its table goes with the model, is granted with it, and is made again where somebody dropped it.
CREATE ROLE tune_reader;
SELECT persona.grant_model('als', 'tune_reader');
SELECT has_table_privilege('tune_reader', 'als_trials', 'SELECT');
DROP TABLE als_trials;
CALL persona.tune('als', 1);
SELECT count(*), bool_and(has_table_privilege('tune_reader', 'als_trials', 'SELECT')) AS granted FROM als_trials;
SELECT persona.drop_model('als');
SELECT to_regclass('als_trials');
SELECT * FROM persona.check() WHERE level <> 'warning';

DROP OWNED BY tune_reader;
DROP ROLE tune_reader;
SET client_min_messages = error;
DROP SCHEMA tune CASCADE;
