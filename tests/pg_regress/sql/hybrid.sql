-- Items and users that nobody has interactions with yet, recommended by what is known of them.
SET client_min_messages = warning;
CREATE SCHEMA hybrid;
SET search_path = hybrid;
SET persona.max_threads = 2;

-- Listeners with an even number hear records with an even number, which are jazz; the others hear rock.
CREATE TABLE heard AS
SELECT u, i FROM generate_series(1, 40) AS u, generate_series(1, 30) AS i WHERE (u + i) % 2 = 0 AND (u * 7 + i * 3) % 5 <> 0;
CREATE TYPE sort AS ENUM ('jazz', 'rock');
CREATE TABLE records AS
SELECT i, (CASE WHEN i % 2 = 0 THEN 'jazz' ELSE 'rock' END)::sort AS sort, 1950 + i * 2 AS year, i % 3 = 0 AS live,
       ARRAY[CASE WHEN i % 2 = 0 THEN 'trumpet' ELSE 'guitar' END, NULL, 'sound'] AS tags,
       (i / 7.0)::numeric AS length, now() AS "at"
FROM generate_series(1, 30) AS i;
-- Nobody has heard these two; of the third nothing is known, and the fourth has no id.
INSERT INTO records VALUES (101, 'jazz', 1980, false, '{trumpet}', 3, now()), (102, 'rock', NULL, NULL, '{guitar}', 'NaN', now()),
                           (103, NULL, NULL, NULL, NULL, NULL, now()), (NULL, 'rock', 1, true, '{}', 1, now());
CREATE TABLE people AS SELECT u, CASE WHEN u % 2 = 0 THEN 'club' ELSE 'garage' END AS place FROM generate_series(1, 40) AS u;
INSERT INTO people VALUES (201, 'club'), (202, 'garage');

SELECT version, rows_used, deployed FROM persona.train_als('m', 'heard', 'u', 'i', factors => 4, options => '{
  "item_features": {"relation": "records", "id_column": "i", "columns": ["sort", "year", "live", "tags", "length"]},
  "user_features": {"relation": "people", "id_column": "u", "columns": ["place"]}}');
-- The new record of a listener's sort comes before all records of the other one; its source says why it is there.
SELECT u, bool_and(item_id::int % 2 = 1 - (u + 1) % 2) FILTER (WHERE rank <= 3 AND item_id::int < 100) AS own_sort,
       string_agg(item_id, ',' ORDER BY item_id::int) FILTER (WHERE source = 'content') AS content,
       min(rank) FILTER (WHERE item_id = (CASE WHEN u % 2 = 0 THEN 101 ELSE 102 END)::text)
         < min(rank) FILTER (WHERE item_id::int < 100 AND item_id::int % 2 <> u % 2) AS new_first
FROM generate_series(1, 4) AS u, persona.recommend('m', u, 100) AS r GROUP BY u ORDER BY u;
-- New listeners are served by their profile; who is not known at all gets what is popular.
SELECT u, bool_and(item_id::int % 2 = (u + 1) % 2) AS own_sort, string_agg(DISTINCT source, ',') AS source
FROM (VALUES (201), (202)) AS new(u), persona.recommend('m', u, 5) AS r WHERE item_id::int < 100 GROUP BY u ORDER BY u;
SELECT string_agg(DISTINCT source, ',') AS source FROM persona.recommend('m', 999, 5);
SELECT item_id::int % 2 AS sort, source FROM persona.similar_items('m', 101, 3);
SELECT persona.recommend_all('m', 3) AS rows;
SELECT count(*) AS rows, count(*) FILTER (WHERE source = 'content') AS content FROM m_recs WHERE u > 200;
SELECT count(*) FILTER (WHERE item_id IN ('101', '102', '103')) AS new_ones, count(*) AS items FROM persona.popular_items('m', 30);
SELECT persona.score('m', 201, 101) > persona.score('m', 201, 102) AS by_both;
SELECT (hyperparameters->>'content_users')::int AS users, (hyperparameters->>'content_items')::int AS items,
       (hyperparameters->>'item_features_unexplained')::float8 < 0.7 AS explained
FROM persona.versions WHERE model = 'm' AND version = 1;

-- Rows in another order give the same answers to the last bit.
CREATE TABLE shuffled AS SELECT * FROM records ORDER BY i * 7 % 11, i;
SELECT version FROM persona.train_als('n', 'heard', 'u', 'i', factors => 4, options => '{
  "item_features": {"relation": "hybrid.shuffled", "id_column": "i", "columns": ["sort", "year", "live", "tags", "length"]},
  "user_features": {"relation": "people", "id_column": "u", "columns": ["place"]}}');
SELECT count(*) AS different FROM (SELECT * FROM persona.item_factors('m') EXCEPT SELECT * FROM persona.item_factors('n')) AS d;

-- A retraining reads the same relations, from wherever it is started; a new record becomes known by it.
INSERT INTO records VALUES (104, 'jazz', 1990, true, '{trumpet}', 2, now());
SET search_path = public;
SELECT version FROM persona.retrain('hybrid.m');
SELECT spec->'options'->'item_features'->>'relation' AS relation FROM persona_internal.model WHERE last_name = 'hybrid.m';
SELECT count(*) AS known FROM persona.recommend('hybrid.m', 2, 100) WHERE item_id = '104' AND source = 'content';
SET search_path = hybrid;
-- Other trainers of factors take them, too.
SELECT version FROM persona.train_bpr('b', 'heard', 'u', 'i', factors => 4, options => '{
  "item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT string_agg(item_id, ',' ORDER BY item_id::int) AS content FROM persona.recommend('b', 2, 100) WHERE source = 'content';

-- The choice by itself: among those that learn from features, whatever else would rank better.
SELECT algorithm IN ('als', 'warp') AS of_factors, deployed,
       deploy_reason ~ '^first version; (als|warp) .* of \d+ tried that learn from features: (als|warp) .*, (als|warp) 0\.\d{4} \(means of 3 splits\)$' AS told
FROM persona.train_recommender('chosen', 'heard', 'u', 'i', options => '{
  "item_features": {"relation": "records", "id_column": "i", "columns": ["sort", "tags"]},
  "user_features": {"relation": "people", "id_column": "u", "columns": ["place"]}}');
SELECT phase FROM persona.training_log WHERE model = 'chosen' AND phase LIKE 'only %';
SELECT string_agg(DISTINCT split_part(phase, ' ', 2), ',') AS tried FROM persona.training_log WHERE model = 'chosen' AND phase LIKE 'try %';
SELECT string_agg(item_id, ',' ORDER BY item_id::int) AS content FROM persona.recommend('chosen', 2, 100) WHERE source = 'content';
SELECT DISTINCT source FROM persona.recommend('chosen', 201, 5);
SELECT count(*) > 0 AS figures FROM persona.evaluate('chosen', k => 3);
-- Training it again reads them again.
INSERT INTO records VALUES (105, 'jazz', 1990, true, '{trumpet}', 2, now());
SELECT version, algorithm IN ('als', 'warp') AS of_factors FROM persona.retrain('chosen', '{"deploy": "always"}');
SELECT count(*) AS known FROM persona.recommend('chosen', 2, 100) WHERE item_id = '105' AND source = 'content';
-- A version that alone learned from features is not followed.
SELECT version FROM persona.train_als('plain', 'heard', 'u', 'i', factors => 4);
SELECT version, deployed FROM persona.retrain('plain', '{"deploy": "always", "item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT persona.update_model('plain');
-- An update reads them again: a new record is known though nobody has heard it, one that somebody has heard is trained,
-- and so is a listener of whom only the profile was known.
CREATE TABLE played AS SELECT u, i, '2024-01-01'::timestamptz AS at FROM heard;
SELECT version FROM persona.train_als('live', 'played', 'u', 'i', time_column => 'at', factors => 4, holdout => 'none', options => '{
  "item_features": {"relation": "records", "id_column": "i", "columns": ["sort", "tags"]},
  "user_features": {"relation": "people", "id_column": "u", "columns": ["place"]}}');
SELECT version, deploy_reason FROM persona.update_model('live');
CREATE VIEW sources AS SELECT u, string_agg(item_id, ',' ORDER BY item_id::int) FILTER (WHERE item_id::int > 100) AS new_records,
  string_agg(item_id, ',' ORDER BY item_id::int) FILTER (WHERE item_id::int > 100 AND source = 'content') AS by_content, min(source) FILTER (WHERE item_id::int < 100) AS others
FROM generate_series(2, 302, 100) AS u, persona.recommend('live', u, 100) AS r GROUP BY u ORDER BY u;
SELECT * FROM sources;
INSERT INTO records VALUES (106, 'jazz', 1990, true, '{trumpet}', 2, now());
SELECT version, iterations, rows_used FROM persona.update_model('live');
SELECT version, deploy_reason FROM persona.update_model('live');
SELECT * FROM sources;
INSERT INTO played SELECT u, 101, now() FROM generate_series(4, 40, 2) AS u;
INSERT INTO played SELECT u, i, now() FROM unnest('{202,302}'::int[]) AS u, unnest('{2,4,6,10}'::int[]) AS i;
SELECT version, iterations, rows_used FROM persona.update_model('live');
SELECT version, deploy_reason FROM persona.update_model('live', '{"late": "0"}');
SELECT * FROM sources;
SELECT count(*) FILTER (WHERE sort = 'jazz') >= 4 AS of_jazz FROM persona.recommend('live', 302, 5) AS r JOIN records ON i = item_id::int;
SELECT hyperparameters->'content_users' AS users, hyperparameters->'content_items' AS items, hyperparameters->'users_updated' AS updated
FROM persona.versions WHERE model = 'live' AND is_live;
DELETE FROM people WHERE u = 201;
DELETE FROM records WHERE i = 102;
SELECT version, iterations, rows_used FROM persona.update_model('live', '{"late": "0"}');
SELECT hyperparameters->'content_users' AS users, hyperparameters->'content_items' AS items FROM persona.versions WHERE model = 'live' AND is_live;
SELECT persona.drop_model('live');
-- The same by stochastic gradients, which go on with what they have summed up of each row.
SELECT version FROM persona.train_sgd('live', 'played', 'u', 'i', time_column => 'at', loss => 'warp', factors => 4, holdout => 'none', options => '{
  "patience": 3, "item_features": {"relation": "records", "id_column": "i", "columns": ["sort", "tags"]}}');
SELECT version, deploy_reason FROM persona.update_model('live', '{"late": "0"}');
INSERT INTO played SELECT 303, i, now() FROM unnest('{1,3,5,9}'::int[]) AS i;
INSERT INTO records VALUES (107, 'rock', NULL, NULL, '{guitar}', 1, now());
SELECT version, rows_used FROM persona.update_model('live', '{"late": "0"}');
SELECT iterations = (hyperparameters->>'best_epoch')::int AS as_the_training FROM persona.versions WHERE model = 'live' AND is_live;
SELECT string_agg(DISTINCT source, ',') AS sources, count(*) FILTER (WHERE item_id = '107') AS known FROM persona.recommend('live', 303, 100);
SELECT version, deploy_reason FROM persona.update_model('live', '{"late": "0"}');
SELECT persona.drop_model('live');
INSERT INTO people VALUES (201, 'club');
INSERT INTO records VALUES (102, 'rock', NULL, NULL, '{guitar}', 'NaN', now());
-- Only some of them.
SELECT algorithm FROM persona.train_recommender('warped', 'heard', 'u', 'i', options => '{
  "algorithms": ["warp"], "item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
-- A search for settings goes on from what was chosen, with the features.
CALL persona.tune('chosen', trials => 2, method => 'random', deploy => 'always');
SELECT spec->>'trainer' <> 'train_recommender' AS settled, spec->'options'->'item_features'->>'relation' AS items, spec->'options'->'user_features'->>'relation' AS users
FROM persona_internal.model WHERE last_name = 'hybrid.chosen';
SELECT count(*) AS content FROM persona.recommend('chosen', 2, 100) WHERE source = 'content';

-- What is refused.
CREATE FUNCTION try(features jsonb, call text DEFAULT 'train_als', more text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  hint text;
  state text;
  message text;
BEGIN
  EXECUTE format('SELECT persona.%I(''x'', ''hybrid.heard'', ''u'', ''i'', options => %L%s)', call,
                 jsonb_build_object('item_features', features), more);
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN state || ' ' || message || coalesce(' / ' || nullif(hint, ''), '');
END $$;
\pset format unaligned
SELECT try(of) FROM (VALUES
  ('3'::jsonb), ('{}'), ('{"relation": "records"}'), ('{"relation": "records", "id_column": "i"}'),
  ('{"relation": "records", "id_column": "i", "columns": []}'), ('{"relation": "records", "id_column": "i", "columns": "sort"}'),
  ('{"relation": "records", "id_column": "i", "column": ["sort"]}'),
  ('{"relation": "nothing", "id_column": "i", "columns": ["sort"]}'),
  ('{"relation": "records", "id_column": "id", "columns": ["sort"]}'),
  ('{"relation": "records", "id_column": "i", "columns": ["sorts"]}'),
  ('{"relation": "records", "id_column": "i", "columns": ["at"]}'),
  ('{"relation": "records", "id_column": "i", "columns": ["sort", "sort"]}'),
  ('{"relation": "records", "id_column": "i", "columns": ["i"]}'),
  ('{"relation": "records", "id_column": "sort", "columns": ["year"]}'),
  ('{"relation": "heard", "id_column": "i", "columns": ["u"]}')) AS v(of);
SELECT try('{"relation": "records", "id_column": "i", "columns": ["sort"]}', 'train_ease');
SELECT persona.train_recommender('x', 'heard', 'u', 'i', options => '{
  "algorithms": ["als", "ease"], "item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT persona.train_recommender('x', 'heard', 'u', 'i', options => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sorts"]}}');
SELECT try('{"relation": "records", "id_column": "i", "columns": ["sort"]}', 'train_als', ', feedback => ''explicit'', value_column => ''i''');
\pset format aligned
-- A relation without any of the items teaches nothing and adds nothing.
CREATE TABLE others AS SELECT 1000 + n AS i, n AS x FROM generate_series(1, 5) AS n;
SELECT version FROM persona.train_als('o', 'heard', 'u', 'i', factors => 4, options => '{"item_features": {"relation": "others", "id_column": "i", "columns": ["x"]}}');
SELECT count(*) AS items FROM persona.item_factors('o');
-- A relation that is gone stops a retraining, until another one is named. The columns of it are checked.
DROP TABLE others;
SELECT persona.retrain('o');
SELECT level, message, hint FROM persona.check() WHERE model = 'hybrid.o';
SELECT persona.alter_model('o', column_map => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sorts"]}}');
SELECT persona.alter_model('o', column_map => '{"item_features": {"relation": "nothing", "id_column": "i", "columns": ["sort"]}}');
SELECT persona.alter_model('o', column_map => '{"item_features": {"relation": "records"}}');
SELECT persona.alter_model('o', column_map => '{"item_feature": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT persona.alter_model('o', column_map => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT spec->'options'->'item_features'->>'relation' AS relation FROM persona_internal.model WHERE last_name = 'hybrid.o';
SELECT count(*) FROM persona.check() WHERE model = 'hybrid.o' AND level <> 'warning' OR message LIKE 'its item_features%';
SELECT version FROM persona.retrain('o', '{"deploy": "always"}');
SELECT count(*) > 0 AS content FROM persona.recommend('o', 2, 100) WHERE source = 'content';
-- And none, which an update can follow again.
SELECT persona.alter_model('o', column_map => '{"item_features": null}');
SELECT version FROM persona.retrain('o', '{"deploy": "always"}');
SELECT count(*) AS content FROM persona.recommend('o', 2, 100) WHERE source = 'content';
-- Not of a trainer that cannot learn from them, nor of ratings, nor beside algorithms that do not.
SELECT version FROM persona.train_ease('e', 'heard', 'u', 'i', holdout => 'none');
SELECT persona.alter_model('e', column_map => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT version FROM persona.train_als('r', 'heard', 'u', 'i', 'i', feedback => 'explicit', factors => 2, holdout => 'none');
SELECT persona.alter_model('r', column_map => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SELECT version FROM persona.train_recommender('t', 'heard', 'u', 'i', options => '{"algorithms": ["popularity"]}');
SELECT persona.alter_model('t', column_map => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
-- The relation is read with the rights of the model's owner, whoever starts the training.
CREATE ROLE regress_persona_hybrid;
GRANT USAGE ON SCHEMA persona TO regress_persona_hybrid;
GRANT USAGE, CREATE ON SCHEMA hybrid TO regress_persona_hybrid;
GRANT SELECT ON heard TO regress_persona_hybrid;
PREPARE theirs AS SELECT version FROM persona.train_als('theirs', 'heard', 'u', 'i', factors => 4,
  options => '{"item_features": {"relation": "records", "id_column": "i", "columns": ["sort"]}}');
SET ROLE regress_persona_hybrid;
EXECUTE theirs;
RESET ROLE;
GRANT SELECT ON records TO regress_persona_hybrid;
SET ROLE regress_persona_hybrid;
EXECUTE theirs;
RESET ROLE;
REVOKE SELECT ON records FROM regress_persona_hybrid;
SELECT persona.retrain('theirs');
SELECT persona.drop_model('theirs');
DROP OWNED BY regress_persona_hybrid;
DROP ROLE regress_persona_hybrid;
DROP SCHEMA hybrid CASCADE;
