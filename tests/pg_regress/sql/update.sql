-- update_model: a version that follows the rows that changed.
SET client_min_messages = warning;
CREATE ROLE regress_persona_other;
CREATE SCHEMA follow;
SET search_path = follow;

-- Even users have the even items, odd ones the odd items, two of them each not.
CREATE TABLE board (u int, i int, n real, at timestamptz);
INSERT INTO board SELECT u, i, 1, '2024-01-01' FROM generate_series(1, 40) AS u, generate_series(1, 20) AS i
WHERE (u + i) % 2 = 0 AND (u + i) % 10 <> 0;
CREATE INDEX ON board (u);
CREATE FUNCTION trained(model text) RETURNS TABLE (version int, rows_used bigint, users bigint, items bigint) LANGUAGE sql AS $$
  SELECT version, rows_used, users, items FROM persona.versions WHERE versions.model = trained.model ORDER BY version $$;
CREATE FUNCTION first(model text, who int) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(item_id, ' ' ORDER BY item_id::int) || ' ' || max(source) FROM persona.recommend(model, who, 5) $$;
SELECT version FROM persona.train_als('m', 'board', 'u', 'i', 'n', 'at', factors => 4, holdout => 'none');

-- Nothing changed: nothing is written, and the answer is the live version.
SELECT model, version, algorithm, rows_used, deployed, deploy_reason FROM persona.update_model('m');
SELECT * FROM trained('m');

-- Somebody new, an item that is new, and somebody who has changed sides.
CREATE TABLE before AS SELECT * FROM persona.user_factors('m');
INSERT INTO board SELECT 77, i, 1, '2024-01-02' FROM unnest('{2,4,6,8,21}'::int[]) AS i;
DELETE FROM board WHERE u = 1;
INSERT INTO board SELECT 1, i, 1, '2024-01-02' FROM unnest('{2,4,6,8,10}'::int[]) AS i;
SELECT first('m', 77);
SELECT version, algorithm, rows_used, iterations, metric, deployed, deploy_reason FROM persona.update_model('m');
SELECT * FROM trained('m');
-- Which five of the even items, rounding says.
SELECT who, count(*), bool_and(item_id::int % 2 = 0) AS even, max(source) AS source
FROM unnest('{77,1}'::int[]) AS who, persona.recommend('m', who, 5) GROUP BY who ORDER BY who DESC;
SELECT count(*) FROM persona.recommend('m', 3, 30) WHERE item_id = '21';
SELECT users_updated, rows_read_again, updated_from
FROM persona.versions, jsonb_to_record(hyperparameters) AS r(users_updated int, rows_read_again int, updated_from int)
WHERE model = 'm' AND version = 2;
-- Who did not change has the same factors.
SELECT a.factors = b.factors AS same, count(*), min(id) FROM before AS b JOIN persona.user_factors('m') AS a USING (id) GROUP BY 1 ORDER BY 1;
-- What a training would learn of the same rows.
SELECT version, rows_used FROM persona.train_als('whole', 'board', 'u', 'i', 'n', 'at', factors => 4, holdout => 'none');
SELECT m, u, bool_and(r.item_id::int IN (10, 12, 14, 16, 18, 20)) AS even FROM unnest('{m,whole}'::text[]) AS m, unnest('{1,77}'::int[]) AS u, LATERAL persona.recommend(m, u, 5) AS r GROUP BY m, u ORDER BY m, u;
SELECT (SELECT users FROM trained('whole')) = users AS users, (SELECT items FROM trained('whole')) = items AS items FROM trained('m') WHERE version = 2;

-- Late rows count within "late": an hour, or as told.
INSERT INTO board VALUES (78, 1, 1, '2024-01-01 23:30'), (79, 1, 1, '2024-01-01 12:00');
SELECT version FROM persona.update_model('m');
SELECT first('m', 79);
SELECT version, deploy_reason FROM persona.update_model('m', '{"late": "1 day"}');
SELECT users FROM trained('m') WHERE version = 4;
-- Updates keep as many versions as the model was told to; and what a version has seen is seen, though its row is gone.
CREATE TABLE recent AS SELECT u, i, at FROM board WHERE u < 30;
INSERT INTO recent VALUES (1, 2, '2024-03-01 12:00');
SELECT version FROM persona.train_als('kept', 'recent', 'u', 'i', time_column => 'at', factors => 4, holdout => 'none', options => '{"keep_versions": 4}');
UPDATE recent SET at = '2024-03-01 11:30' WHERE u = 1 AND i = 2;
INSERT INTO recent VALUES (2, 1, '2024-03-01 11:40');
SELECT version FROM persona.update_model('kept');
INSERT INTO recent VALUES (3, 2, '2024-03-01 11:50');
SELECT version FROM persona.update_model('kept');
INSERT INTO recent VALUES (4, 1, '2024-03-01 13:00');
SELECT version FROM persona.update_model('kept');
SELECT version, timestamptz '2000-01-01 00:00+00' + (hyperparameters ->> 'newest_time')::bigint * interval '1 microsecond' AS newest
FROM persona.versions WHERE model = 'kept' ORDER BY version;
-- A row that lies in the future does not hide those of now.
INSERT INTO board VALUES (80, 1, 1, '2124-01-01'), (80, 3, 1, 'infinity');
SELECT version FROM persona.update_model('m');
INSERT INTO board VALUES (81, 1, 1, now());
SELECT version, rows_used FROM persona.update_model('m');
SELECT count(*) FROM persona.user_factors('m') WHERE id = '81';
-- Values count: rows of a pair are summed.
SELECT score > 0 AS positive FROM persona.recommend('m', 81, 1);
CREATE TABLE one AS SELECT persona.score('m', 81, 3) AS score;
INSERT INTO board VALUES (81, 1, 50, now());
SELECT version FROM persona.update_model('m');
SELECT persona.score('m', 81, 3) > score AS more FROM one;
-- Who has no rows any more is gone, where somebody is read again.
DELETE FROM board WHERE u = 81;
SELECT deploy_reason FROM persona.update_model('m');
INSERT INTO board VALUES (81, NULL, 1, now());
SELECT version, rows_skipped FROM persona.update_model('m');
SELECT count(*) FROM persona.user_factors('m') WHERE id = '81';
-- A retraining begins with the settings of before.
SELECT version, iterations FROM persona.retrain('m');

-- Stochastic gradients go on where they ended: somebody new is placed as a training would, the others stay.
CREATE TABLE halves AS SELECT u, i, '2024-01-01'::timestamptz AS at
FROM generate_series(1, 80) AS u, generate_series(1, 30) AS i WHERE u % 2 = i % 2 AND (u + i) % 7 <> 0;
SELECT version FROM persona.train_bpr('pairs', 'halves', 'u', 'i', time_column => 'at', factors => 4, iterations => 100, holdout => 'none');
SELECT version FROM persona.train_sgd('ranks', 'halves', 'u', 'i', time_column => 'at', loss => 'warp', factors => 4, holdout => 'none');
SELECT version FROM persona.train_sgd('odds', 'halves', 'u', 'i', time_column => 'at', loss => 'logistic', optimizer => 'adam',
  learning_rate => 0.01, factors => 4, iterations => 100, holdout => 'none', options => '{"biases": false, "batch_size": 8}');
CREATE TABLE unmoved AS SELECT m, id, factors FROM unnest('{pairs,ranks,odds}'::text[]) AS m,
  LATERAL (SELECT * FROM persona.user_factors(m)) AS f(id, factors);
INSERT INTO halves SELECT u, i, now() FROM unnest('{901,902}'::int[]) AS u, generate_series(1, 16) AS i WHERE u % 2 = i % 2;
SELECT m, version, algorithm, iterations, rows_used, deploy_reason
FROM unnest('{pairs,ranks,odds}'::text[]) AS m, LATERAL persona.update_model(m);
SELECT m, u, count(*), sum((item_id::int % 2 = u % 2)::int) >= 6 AS of_the_half, max(source) AS source
FROM unnest('{pairs,ranks,odds}'::text[]) AS m, unnest('{901,902}'::int[]) AS u, LATERAL persona.recommend(m, u, 7)
GROUP BY m, u ORDER BY m, u;
SELECT m, count(*), count(*) FILTER (WHERE f.factors = b.factors) AS unmoved FROM unmoved AS b,
  LATERAL (SELECT * FROM persona.user_factors(b.m)) AS f(id, factors) WHERE f.id = b.id GROUP BY m ORDER BY m;
DROP TABLE halves CASCADE;

-- Models of neighbours and of popularity are fitted on all entries: the same as a training.
SELECT version FROM persona.train_item_knn('near', 'board', 'u', 'i', NULL, 'at', holdout => 'none');
SELECT version FROM persona.train_ease('ease', 'board', 'u', 'i', NULL, 'at', regularization => 5, holdout => 'none');
SELECT version FROM persona.train_popularity('most', 'board', 'u', 'i', NULL, 'at', holdout => 'none');
INSERT INTO board SELECT u, 5, 1, now() FROM generate_series(90, 99) AS u;
INSERT INTO board SELECT u, 7, 1, now() FROM generate_series(90, 95) AS u;
SELECT version, algorithm FROM unnest('{near,ease,most}'::text[]) AS m, LATERAL persona.update_model(m);
SELECT version FROM persona.train_item_knn('near2', 'board', 'u', 'i', NULL, 'at', holdout => 'none');
SELECT version FROM persona.train_ease('ease2', 'board', 'u', 'i', NULL, 'at', regularization => 5, holdout => 'none');
SELECT version FROM persona.train_popularity('most2', 'board', 'u', 'i', NULL, 'at', holdout => 'none');
SELECT m, count(*) AS rows, count(*) FILTER (WHERE a IS DISTINCT FROM b) AS differ
FROM unnest('{near,ease,most}'::text[]) AS m, generate_series(1, 100) AS u,
     LATERAL (SELECT array_agg(r ORDER BY rank) AS a FROM persona.recommend(m, u, 10) AS r) AS a,
     LATERAL (SELECT array_agg(r ORDER BY rank) AS b FROM persona.recommend(m || '2', u, 10) AS r) AS b
GROUP BY m ORDER BY m;

-- Ratings: somebody new, somebody who thinks otherwise now, and of a pair the newest; 0 is a rating.
CREATE TABLE stars (u int, i int, n real, at timestamptz);
INSERT INTO stars SELECT u, i, CASE WHEN (u + i) % 2 = 0 THEN 5 ELSE 1 END, '2024-01-01' FROM generate_series(1, 40) AS u, generate_series(1, 20) AS i
WHERE (u + i) % 4 <> 0;
SELECT version FROM persona.train_als('rated', 'stars', 'u', 'i', 'n', 'at', feedback => 'explicit', factors => 2, holdout => 'none');
CREATE TABLE before_rated AS SELECT * FROM persona.user_factors('rated');
INSERT INTO stars SELECT 77, i, CASE WHEN i % 2 = 1 THEN 5 ELSE 0 END, '2024-01-02' FROM generate_series(1, 12) AS i;
INSERT INTO stars SELECT 2, i, CASE WHEN i % 2 = 1 THEN 5 ELSE 1 END, '2024-01-02' FROM generate_series(1, 12) AS i;
SELECT persona.score('rated', 2, 14) > persona.score('rated', 2, 15) AS even_before;
SELECT version, algorithm, rows_used, iterations, metric FROM persona.update_model('rated');
SELECT version, rows_used FROM persona.train_als('rated2', 'stars', 'u', 'i', 'n', 'at', feedback => 'explicit', factors => 2, holdout => 'none');
SELECT u, bool_and(persona.score('rated', u, i) > persona.score('rated', u, i + 1)) AS odd, max(abs(persona.score('rated', u, i) - persona.score('rated2', u, i))) < 0.3 AS as_a_training
FROM unnest('{2,77}'::int[]) AS u, generate_series(13, 19, 2) AS i GROUP BY u ORDER BY u;
SELECT a.factors = b.factors AS same, count(*), min(id) FROM before_rated AS b JOIN persona.user_factors('rated') AS a USING (id) GROUP BY 1 ORDER BY 1;
SELECT version, deploy_reason FROM persona.update_model('rated');

-- Ids of other types, names that need quotes, dates and numbers as times.
CREATE TYPE mood AS ENUM ('happy', 'so"so\');
CREATE TABLE words ("the ""user""" text, "it em" mood, day date);
INSERT INTO words SELECT 'user "' || n || '\', 'happy', '2024-01-01' FROM generate_series(1, 9) AS n;
SELECT version FROM persona.train_als('words_model', 'words', 'the "user"', 'it em', time_column => 'day', factors => 2, holdout => 'none');
INSERT INTO words VALUES ('user "1\', 'so"so\', '2024-01-01'), ('{"}', 'happy', '2024-01-02'), ('NULL', 'happy', '2024-01-02'), ('', 'happy', '2024-01-02');
SELECT version, rows_used FROM persona.update_model('words_model');
SELECT id FROM persona.user_factors('words_model') WHERE id !~ 'user' ORDER BY id;
CREATE TABLE numbers (u uuid, i varchar(9), tick bigint);
INSERT INTO numbers SELECT gen_random_uuid(), 'i' || n % 3, n FROM generate_series(1, 30) AS n;
SELECT version FROM persona.train_als('ticks', 'numbers', 'u', 'i', time_column => 'tick', factors => 2, holdout => 'none');
INSERT INTO numbers VALUES (gen_random_uuid(), 'i1', 30), (gen_random_uuid(), 'i1', 25);
SELECT version, rows_used FROM persona.update_model('ticks');
SELECT version, rows_used FROM persona.update_model('ticks', '{"late": 5}');

-- A version that train_recommender chose.
SELECT version, algorithm FROM persona.train_recommender('chosen', 'board', 'u', 'i', NULL, 'at', options => '{"algorithms": ["ease"]}');
INSERT INTO board VALUES (300, 2, 1, now());
SELECT version, algorithm FROM persona.update_model('chosen');

-- Where the source is attached, the queue tells who changed: deletes and rows without a time, too.
CREATE TABLE likes AS SELECT u, i FROM board WHERE u <= 40;
SELECT version FROM persona.train_als('queued', 'likes', 'u', 'i', factors => 4, holdout => 'none');
SELECT persona.attach('queued');
SELECT model, pending, lost FROM persona.queue;
SELECT version FROM persona.retrain('queued', '{"deploy": "always"}');
DELETE FROM likes WHERE u = 7;
INSERT INTO likes VALUES (500, 2), (500, 4), (500, 6);
UPDATE likes SET i = 4 WHERE u = 8 AND i = 6;
SELECT version, rows_used FROM persona.update_model('queued');
SELECT count(*) AS rows, count(DISTINCT u) AS users FROM likes;
SELECT id FROM persona.user_factors('queued') WHERE id IN ('7', '500') ORDER BY id;
SELECT count(*) AS waiting FROM persona_internal.queue;
SELECT version, deploy_reason FROM persona.update_model('queued');

-- What cannot be.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE FUNCTION fails(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE state text; message text; hint text;
BEGIN
  EXECUTE command;
  RETURN NEXT 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN NEXT state || ' ' || message;
  IF hint <> '' THEN RETURN NEXT '   HINT ' || hint; END IF;
END $$;
\set VERBOSITY default
\pset tuples_only
SELECT fails($$SELECT persona.update_model('nothing')$$);
SELECT fails($$SELECT persona.update_model(NULL)$$);
SELECT fails($$SELECT persona.update_model('m', '{"latte": "1 day"}')$$);
SELECT fails($$SELECT persona.update_model('m', '{"late": "a while"}')$$);
SELECT fails($$SELECT persona.update_model('ticks', '{"late": -1}')$$);
SELECT fails($$SELECT persona.update_model('m', '{"late": "-1 day"}')$$);
SELECT fails($$SELECT persona.update_model('m', '{"late": "101 years"}')$$);
SELECT fails($$SELECT persona.update_model('m', '{"late": 5}')$$);
SELECT fails($$SELECT persona.update_model('queued', '{"late": "-1 day"}')$$);
SELECT version FROM persona.train_als('timeless', 'board', 'u', 'i', factors => 2, holdout => 'none');
SELECT fails($$SELECT persona.update_model('timeless')$$);
SELECT version FROM persona.train_popularity('lately', 'board', 'u', 'i', NULL, 'at', half_life => 7, holdout => 'none');
SELECT fails($$SELECT persona.update_model('lately')$$);
TRUNCATE likes;
SELECT fails($$SELECT persona.update_model('queued')$$);
CREATE TABLE facts AS SELECT DISTINCT i, i % 2 AS parity FROM board;
SELECT version FROM persona.train_als('hybrid', 'board', 'u', 'i', NULL, 'at', factors => 2, holdout => 'none',
  options => '{"item_features": {"relation": "facts", "id_column": "i", "columns": ["parity"]}}');
SELECT version, iterations FROM persona.update_model('hybrid');
DROP TABLE facts;
SELECT fails($$SELECT persona.update_model('hybrid')$$);
SELECT persona.grant_model('m', 'regress_persona_other');
GRANT USAGE ON SCHEMA follow, persona TO regress_persona_other;
SET ROLE regress_persona_other;
SELECT fails($$SELECT persona.update_model('follow.m')$$);
RESET ROLE;
ALTER TABLE board RENAME COLUMN n TO amount;
SELECT fails($$SELECT persona.update_model('m')$$);
ALTER TABLE board RENAME TO elsewhere;
SELECT fails($$SELECT persona.update_model('m')$$);
BEGIN READ ONLY;
SELECT fails($$SELECT persona.update_model('m')$$);
ROLLBACK;
\pset tuples_only off

-- Nor can times tell what another relation or another column has.
CREATE TABLE north AS SELECT u, i, i + 100 AS other, now() - interval '1 day' AS at FROM generate_series(1, 20) AS u, generate_series(1, 10) AS i WHERE (u + i) % 2 = 0;
SELECT version FROM persona.train_als('moves', 'north', 'u', 'i', time_column => 'at', factors => 2, holdout => 'none');
SELECT persona.alter_model('moves', column_map => '{"item_column": "other"}');
SELECT persona.update_model('moves');
SELECT version FROM persona.retrain('moves');
SELECT version, deploy_reason FROM persona.update_model('moves');
SELECT persona.rollback('moves');
SELECT persona.update_model('moves');

-- An update is not measured: what is trained after it is held against the version that it followed.
CREATE TABLE tastes AS SELECT u, i, now() - interval '1 day' AS at
FROM generate_series(1, 60) AS u, generate_series(1, 30) AS i WHERE (u + i) % 2 = 0 AND (u * 7 + i * 3) % 5 <> 0;
SELECT version, value > baseline AS better FROM persona.train_als('guarded', 'tastes', 'u', 'i', time_column => 'at', factors => 4);
INSERT INTO tastes VALUES (61, 2, now());
SELECT version, value, deployed FROM persona.update_model('guarded');
SELECT version, deployed, live_value > value AS worse, deploy_reason ~ '^(not above popularity|more than 2 % below version 1)' AS held_back
FROM persona.retrain('guarded', '{"regularization": 1000000}');
-- The rows of the first training again, and so its figure, whatever the processor.
DELETE FROM tastes WHERE u = 61;
SELECT version, deployed, live_value IS NOT NULL AS compared, deploy_reason ~ '^not worse than version 1: ' AS with_the_first FROM persona.retrain('guarded');

DROP SCHEMA follow CASCADE;
DROP OWNED BY regress_persona_other;
DROP ROLE regress_persona_other;
