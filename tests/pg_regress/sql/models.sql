-- The life of a model.
SET client_min_messages = warning;
CREATE ROLE regress_persona_owner;
CREATE ROLE regress_persona_heir;
CREATE ROLE regress_persona_reader;
CREATE ROLE regress_persona_member IN ROLE regress_persona_owner;
GRANT USAGE ON SCHEMA persona TO regress_persona_owner, regress_persona_heir, regress_persona_reader;
CREATE SCHEMA models AUTHORIZATION regress_persona_owner;
CREATE SCHEMA elsewhere AUTHORIZATION regress_persona_owner;
GRANT USAGE ON SCHEMA models, elsewhere TO regress_persona_reader, regress_persona_heir;
SET ROLE regress_persona_owner;
SET search_path = models;

-- A checkerboard without its diagonal; after flip() a user's items are those of the other colour.
CREATE TABLE likes (u int, i int, at timestamptz);
CREATE FUNCTION flip(odd int) RETURNS void LANGUAGE sql AS $$
  TRUNCATE likes;
  INSERT INTO likes SELECT u, i, timestamptz '2024-01-01' + i * interval '1 hour'
  FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = odd AND u <> i;
$$;
-- Which rows a model answers from: the own number first, or one of the other colour.
CREATE FUNCTION serves(model text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN (item_id::int + 7) % 2 = 0 THEN 'own colour' ELSE 'other colour' END
  FROM persona.recommend(model, 7, 1, remove_seen => false) $$;
SELECT flip(0);

-- Versions 1, 2, 3; rollback walks back through them, and says when there is nothing older.
SELECT version, deployed, deploy_reason FROM persona.train_als('m', 'likes', 'u', 'i', factors => 4, holdout => 'none', options => '{"keep_versions": 3}');
SELECT flip(1);
SELECT version, deployed, deploy_reason FROM persona.retrain('m');
SELECT version, deployed, deploy_reason FROM persona.retrain('m');
SELECT serves('m');
SELECT persona.rollback('m');
SELECT serves('m');
SELECT persona.rollback('m');
SELECT serves('m');
SELECT persona.rollback('m');
SELECT version, is_live, is_stored FROM persona.versions WHERE model = 'm' ORDER BY version;
-- Deploy goes anywhere, also to where one came from; a rollback then returns to what was live before.
SELECT persona.deploy('m', 3);
SELECT version FROM m;
SELECT persona.deploy('m', 2);
SELECT persona.rollback('m');
SELECT persona.rollback('m');
SELECT persona.rollback('m');
SELECT persona.deploy('m', 1);
SELECT version, algorithm, rows_used, metric, value, baseline, bytes > 0 AS has_bytes, trained_at <= clock_timestamp() AS is_past FROM m;

-- keep_versions: what is pruned cannot come back, what is live is never pruned.
SELECT version FROM persona.retrain('m', '{"keep_versions": 2}');
SELECT version, is_live, is_stored FROM persona.versions WHERE model = 'm' ORDER BY version;
SELECT version FROM persona.retrain('m');
SELECT version, is_live, is_stored FROM persona.versions WHERE model = 'm' ORDER BY version;
SELECT persona.deploy('m', 1);
SELECT version, deployed FROM persona.retrain('m', '{"deploy": "never", "keep_versions": 1}');
SELECT version, is_live, is_stored FROM persona.versions WHERE model = 'm' ORDER BY version;
SELECT persona.rollback('m');
SELECT persona.deploy('m', 6);
SELECT serves('m');

-- Options of retrain hold for that version only.
SELECT version FROM persona.retrain('m', '{"factors": 3, "seed": 7, "deploy": "auto", "keep_versions": 2, "cg_steps": 2, "regularization": 0.5, "alpha": 2, "iterations": 4}');
SELECT version, iterations FROM persona.retrain('m');
SELECT hyperparameters - 'rows_with_null' - 'rows_not_finite' - 'rows_not_positive' FROM persona.versions WHERE model = 'm' ORDER BY version DESC LIMIT 1;
SELECT max(array_length(factors, 1)) FROM persona.item_factors('m');
SELECT persona.drop_model('m');
SELECT to_regclass('m') IS NULL AS view_gone, to_regproc('m_recommend') IS NULL AS function_gone;
SELECT count(*) FROM persona.versions WHERE model = 'm';

-- The guard: a version that ranks much worse than the live one stays down; 'always' takes it; 'never' takes none.
SELECT flip(0);
SELECT deployed, value > baseline AS above_popularity, live_value FROM persona.train_als('guarded', 'likes', 'u', 'i', factors => 4);
CREATE TABLE random_likes AS
SELECT u, i, timestamptz '2024-01-01' AS at FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE ('x' || substr(md5(u || '/' || i), 1, 4))::bit(16)::int % 2 = 0;
SELECT persona.alter_model('guarded', 'random_likes');
SELECT deployed, deploy_reason ~ '^(not above popularity: 0\.\d{4} against 0\.\d{4}|more than 2 % below version 1: 0\.\d{4} against 0\.\d{4})$' AS says_why, value < live_value AS worse
FROM persona.retrain('guarded');
SELECT version, is_live FROM persona.versions WHERE model = 'guarded' ORDER BY version;
SELECT deployed, deploy_reason FROM persona.retrain('guarded', '{"deploy": "never"}');
-- It says so with a WARNING, whose figures are not this test's business.
SET client_min_messages = error;
SELECT deployed, deploy_reason FROM persona.retrain('guarded', '{"deploy": "always"}');
SET client_min_messages = warning;
SELECT persona.alter_model('guarded', 'likes');
SELECT deployed, deploy_reason FROM persona.retrain('guarded', '{"deploy": "auto", "holdout": "none"}');
SELECT persona.retrain('guarded', '{"holdout": "time"}');
SELECT persona.alter_model('guarded', column_map => '{"time_column": "at"}');
SELECT deployed, deploy_reason FROM persona.retrain('guarded', '{"holdout": "time"}');
SELECT persona.drop_model('guarded');
-- Figures of different splits are not compared.
SELECT deployed FROM persona.train_als('splits', 'likes', 'u', 'i', factors => 4);
SELECT hyperparameters -> 'split' AS split FROM persona.versions WHERE model = 'splits';
SELECT deployed, deploy_reason FROM persona.train_als('splits', 'likes', 'u', 'i', time_column => 'at', factors => 4, holdout => 'time');
SELECT deployed, live_value IS NOT NULL AS compared FROM persona.retrain('splits');
SELECT persona.drop_model('splits');
-- Popularity is its own baseline, and follows its rows all the same.
SELECT deployed, value = baseline AS equal FROM persona.train_popularity('popular', 'likes', 'u', 'i');
SELECT deployed, value = baseline AS equal, deploy_reason ~ '^not worse than version 1' AS not_worse FROM persona.retrain('popular');
SELECT persona.drop_model('popular');
-- What a version that is stored needs is a deployment.
SELECT deployed FROM persona.train_als('never', 'likes', 'u', 'i', factors => 4, deploy => 'never');
SELECT hint FROM persona.check() WHERE model ~ 'never';
SELECT persona.drop_model('never');

-- evaluate: stored figures at five cutoffs, a refit for any other, or where nothing is stored.
SELECT metric, value > baseline AS above_popularity FROM persona.train_als('e', 'likes', 'u', 'i', factors => 4, holdout => 'hash');
SELECT metric, k, slice, value BETWEEN 0 AND 1 AS in_range, baseline BETWEEN 0 AND 1 AS baseline_in_range, ci_low <= value AS low, value <= ci_high AS high, users
FROM persona.evaluate('e') ORDER BY metric;
SELECT count(*), bool_and(m.value = e.value AND m.baseline = e.baseline AND m.ci_low IS NOT DISTINCT FROM e.ci_low) AS same
FROM persona.metrics AS m JOIN persona.evaluate('e') AS e USING (metric) WHERE m.model = 'e';
SELECT k, count(*), bool_and(is_live) FROM persona.metrics WHERE model = 'e' GROUP BY k ORDER BY k;
-- All of a colour fits into 10 places: each held-out item is found, so hit rate and recall are 1.
SELECT metric, value FROM persona.evaluate('e', 1, 20) WHERE metric IN ('hit_rate@20', 'recall@20', 'coverage@20') ORDER BY metric;
SELECT count(*), min(users), max(users), bool_and(value BETWEEN 0 AND 1 OR metric LIKE 'novelty%') FROM persona.evaluate('e', k => 7);
SELECT metric FROM persona.evaluate('e', k => 7) ORDER BY metric;
SELECT count(*) FROM persona.versions WHERE model = 'e';
SELECT (persona.retrain('e', '{"holdout": "none"}')).metric IS NULL AS unmeasured;
SELECT count(*), bool_and(value BETWEEN 0 AND 1 OR metric LIKE 'novelty%') FROM persona.evaluate('e');
SELECT version, count(*) FROM persona.evaluate('e', 1) GROUP BY version;
-- Version 1 has 4 factors; with one factor and one iteration, figures differ. A refit of a version takes that version's settings.
SELECT (persona.retrain('e', '{"holdout": "hash", "factors": 1, "iterations": 1, "deploy": "never"}')).version;
SELECT bool_and(a.value = b.value) AS same FROM persona.evaluate('e', 1, 7) AS a JOIN persona.evaluate('e', 3, 7) AS b USING (metric);
SELECT (persona.retrain('e', '{"holdout": "none", "factors": 4, "iterations": 15, "deploy": "auto"}')).version;
SELECT phase, iteration IS NOT NULL AS is_iteration, count(*), bool_and(seconds >= 0) AS timed, bool_and(loss > 0) AS has_loss
FROM persona.training_log WHERE model = 'e' AND version = 1 GROUP BY 1, 2 ORDER BY min(phase), 2;
-- The loss of alternating least squares never rises.
SELECT bool_and(loss <= before * 1.000001) AS falling FROM
  (SELECT loss, lag(loss) OVER (ORDER BY iteration) AS before FROM persona.training_log WHERE model = 'e' AND version = 2 AND iteration IS NOT NULL) AS l;
SELECT count(*) FROM persona.training_progress;
SELECT kind, algorithm, version, owner, relation, rows_used, rows_skipped, users, items, metric, value FROM persona.models WHERE model = 'e';

-- Who sees and may do what.
SET ROLE regress_persona_reader;
SELECT count(*) FROM persona.models WHERE model LIKE '%e';
SELECT count(*) FROM persona.versions;
SELECT count(*) FROM persona.metrics;
SELECT count(*) FROM persona.training_log;
SELECT count(*) FROM persona."check"();
SELECT e_recommend(7, 1);
SET ROLE regress_persona_owner;
SELECT persona.grant_model('e', 'regress_persona_reader');
SET ROLE regress_persona_reader;
SELECT item_id FROM e_recommend(7, 1);
SELECT version FROM e;
SELECT count(*) FROM persona.evaluate('e', 1);
SELECT model, owner FROM persona.models;
SELECT count(*) > 0 AS sees FROM persona.metrics;
SELECT persona.grant_model('e', 'regress_persona_heir');
SET ROLE regress_persona_owner;
SELECT persona.revoke_model('e', 'regress_persona_reader');
SET ROLE regress_persona_reader;
SELECT e_recommend(7, 1);
SELECT count(*) FROM persona.models;
SET ROLE regress_persona_owner;
SELECT persona.grant_model('e', 'public');
SET ROLE regress_persona_reader;
SELECT item_id FROM e_recommend(7, 1);
SET ROLE regress_persona_heir;
SELECT item_id FROM e_recommend(7, 1);
SET ROLE regress_persona_owner;
SELECT persona.revoke_model('e', 'PUBLIC');
SET ROLE regress_persona_heir;
SELECT e_recommend(7, 1);
-- GRANT SELECT on the view alone is the right to be served, whatever was revoked before.
SET ROLE regress_persona_owner;
GRANT SELECT ON e TO regress_persona_heir;
SET ROLE regress_persona_heir;
SELECT item_id FROM e_recommend(7, 1);
SELECT item_id FROM persona.recommend('e', 7, 1);
SET ROLE regress_persona_owner;
REVOKE SELECT ON e FROM regress_persona_heir;
-- The word public is everybody; a role whose name only looks like it is a role.
RESET ROLE;
CREATE ROLE "Public";
SET ROLE regress_persona_owner;
SELECT persona.grant_model('e', 'Public');
SELECT has_table_privilege('regress_persona_reader', 'e', 'SELECT') AS everybody, has_table_privilege('Public', 'e', 'SELECT') AS that_role;
SELECT persona.revoke_model('e', 'Public');
REVOKE ALL ON e FROM PUBLIC;
RESET ROLE;
DROP OWNED BY "Public";
DROP ROLE "Public";
-- A member of the owner owns the model too; what it trains stays the owner's.
SET ROLE regress_persona_member;
SELECT (persona.retrain('e')).version;
SELECT trained_by, version FROM persona.versions WHERE model = 'e' ORDER BY version DESC LIMIT 1;
SELECT owner FROM persona.models WHERE model = 'e';
SET ROLE regress_persona_owner;

-- Names: the model follows its view, and its functions follow the model.
ALTER VIEW e RENAME TO f;
SELECT item_id FROM persona.recommend('f', 7, 1);
SELECT item_id FROM e_recommend(7, 1);
SELECT persona.recommend('e', 7, 1);
SELECT model FROM persona.models;
SELECT (persona.retrain('f')).model;
ALTER VIEW f SET SCHEMA elsewhere;
SELECT item_id FROM persona.recommend('elsewhere.f', 7, 1);
SELECT item_id FROM e_recommend(7, 1);
SELECT model FROM persona.models;
SELECT (persona.retrain('elsewhere.f')).version;
ALTER VIEW elsewhere.f SET SCHEMA models;
ALTER VIEW f RENAME TO e;
-- Two models swap their names.
SELECT flip(1);
SELECT (persona.train_als('other', 'likes', 'u', 'i', factors => 4)).version;
SELECT serves('e'), serves('other');
ALTER VIEW e RENAME TO temporary;
ALTER VIEW other RENAME TO e;
ALTER VIEW temporary RENAME TO other;
SELECT serves('e'), serves('other');
SELECT version FROM e;
SELECT (persona.retrain('e')).version;
SELECT serves('e'), serves('other');
-- The functions kept their names: other_recommend answers from what is called e now.
SELECT (item_id + 7) % 2 AS colour FROM other_recommend(7, 1, candidates => '{7,8}');
-- Under the name of a model that moved away, a new one is trained, if its functions' names are free.
ALTER VIEW e RENAME TO moved;
SELECT (persona.train_als('e', 'likes', 'u', 'i', factors => 4)).version;
SELECT persona.drop_model('moved');
SELECT to_regproc('other_recommend') IS NULL AS gone, to_regproc('e_recommend') IS NOT NULL AS kept;
ALTER VIEW other RENAME TO e;
SELECT serves('e');

-- A relation that takes the name, and one with the model's uuid in its body, are no models.
ALTER VIEW e RENAME TO hidden;
CREATE TABLE e AS SELECT 1 AS version;
SELECT persona.recommend('e', 7);
SELECT persona.train_als('e', 'likes', 'u', 'i');
DROP TABLE e;
DO $$ BEGIN EXECUTE replace(pg_get_viewdef('hidden'), 'SELECT', 'CREATE VIEW models.forged AS SELECT'); END $$;
SELECT version = (SELECT version FROM hidden) AS facts FROM forged;
SELECT persona.recommend('forged', 7);
SELECT persona.drop_model('forged');
GRANT SELECT ON forged TO regress_persona_reader;
SET ROLE regress_persona_reader;
-- A view runs its functions as the reader, who has no right to the model itself.
SELECT * FROM forged;
SELECT persona.recommend('forged', 7);
SELECT persona.recommend('hidden', 7);
SET ROLE regress_persona_owner;
DROP VIEW forged;
ALTER VIEW hidden RENAME TO e;

-- Owners change.
RESET ROLE;
GRANT CREATE, USAGE ON SCHEMA models TO regress_persona_heir;
ALTER VIEW models.e OWNER TO regress_persona_heir;
SET ROLE regress_persona_owner;
SELECT persona.recommend('e', 7);
SELECT persona.rollback('e');
SET ROLE regress_persona_heir;
SELECT item_id FROM persona.recommend('e', 7, 1);
SELECT level, model, message, hint FROM persona."check"() ORDER BY message;
-- The new owner may not read the source.
SELECT persona.retrain('e');
RESET ROLE;
GRANT SELECT ON likes TO regress_persona_heir;
-- A superuser trains it as its owner.
SELECT (persona.retrain('e')).version > 1 AS trained;
SELECT trained_by FROM persona.versions WHERE model = 'e' ORDER BY version DESC LIMIT 1;
REVOKE SELECT ON likes FROM regress_persona_heir;
SELECT persona.retrain('e');
GRANT SELECT ON likes TO regress_persona_heir;
REASSIGN OWNED BY regress_persona_heir TO regress_persona_owner;
SELECT count(*) FROM persona."check"();
SELECT owner FROM persona.models WHERE model = 'e';
SET ROLE regress_persona_owner;
SELECT (persona.retrain('e')).deploy_reason IS NOT NULL AS trained;

-- DROP VIEW by hand: the functions hold the view; with CASCADE they go too, and the name is free.
DROP VIEW e;
DROP VIEW e CASCADE;
SELECT persona.recommend('e', 7);
SELECT to_regproc('e_recommend') IS NULL AS gone;
SELECT count(*) FROM persona."check"();
RESET ROLE;
SELECT level, model, message, hint FROM persona."check"();
SET ROLE regress_persona_owner;
SELECT version FROM persona.train_als('e', 'likes', 'u', 'i', factors => 4);
RESET ROLE;
SELECT count(*) FROM persona."check"();
SELECT count(*) FROM persona_internal.model;
SELECT count(DISTINCT image_id) FROM persona_internal.chunk;
SET ROLE regress_persona_owner;

-- check() in every problem that it can report.
SELECT (persona.train_als('held', 'likes', 'u', 'i', factors => 4, deploy => 'never')).deployed;
CREATE TABLE source (u int, i int, v int, at timestamptz);
INSERT INTO source SELECT u, i, 1, at FROM likes;
SELECT (persona.train_als('sourced', 'source', 'u', 'i', 'v', 'at', factors => 4)).version;
SELECT (persona.train_als('gone', 'source', 'u', 'i', 'v', 'at', factors => 4)).version;
CREATE TABLE vanishing AS SELECT * FROM source;
SELECT persona.alter_model('gone', 'vanishing');
DROP TABLE vanishing;
ALTER TABLE source RENAME v TO weight;
ALTER TABLE source DROP COLUMN at;
\pset format unaligned
SELECT level, model, message, hint FROM persona."check"() ORDER BY level, model, message;
RESET ROLE;
UPDATE persona_internal.version SET value = 0.1, baseline = 0.2 WHERE model_id = (SELECT model_id FROM persona_internal.model WHERE last_name = 'models.e');
DELETE FROM persona_internal.chunk WHERE image_id = (SELECT image_id FROM persona_internal.version v JOIN persona_internal.model m USING (model_id) WHERE last_name = 'models.sourced');
SET ROLE regress_persona_owner;
SELECT level, model, message, hint FROM persona."check"() WHERE model IN ('models.e', 'models.sourced') ORDER BY level, model, message;
\pset format aligned
-- Serving says the same as check(), in a new session: this one may still have it in memory.
\c -
SET client_min_messages = warning;
SET ROLE regress_persona_owner;
SET search_path = models;
SELECT persona.recommend('sourced', 7);
SELECT persona.alter_model('sourced', column_map => '{"value_column": "weight", "time_column": null}');
SELECT (persona.retrain('sourced', '{"deploy": "always"}')).version;
SELECT count(*) FROM sourced_recommend(7);
SELECT persona.deploy('held', 1);
SELECT persona.alter_model('gone', 'likes', '{"value_column": null}');
SELECT level, model FROM persona."check"() ORDER BY level, model;
-- A model without a version that can serve, and a reader who is not concerned.
SET ROLE regress_persona_reader;
SELECT count(*) FROM persona."check"();
SET ROLE regress_persona_owner;
SELECT persona.drop_model(m) FROM unnest('{held,sourced,gone,e}'::text[]) AS m;

-- Transactions. A training rolled back leaves nothing.
BEGIN;
SELECT (persona.train_als('t', 'likes', 'u', 'i', factors => 4)).version;
SELECT serves('t');
SELECT item_id FROM t_recommend(7, 1, candidates => '{7,8}');
ROLLBACK;
SELECT persona.recommend('t', 7);
SELECT to_regproc('t_recommend') IS NULL AS gone;
RESET ROLE;
SELECT count(*) FROM persona_internal.model;
SELECT count(*) FROM persona_internal.chunk;
SET ROLE regress_persona_owner;
-- The old answers stay.
SELECT flip(0);
SELECT version FROM persona.train_als('t', 'likes', 'u', 'i', factors => 4, holdout => 'none');
SELECT serves('t');
BEGIN;
SELECT flip(1);
SELECT version, deployed FROM persona.retrain('t');
SELECT serves('t');
ROLLBACK;
SELECT serves('t');
SELECT version, is_live FROM persona.versions WHERE model = 't';
-- ROLLBACK TO SAVEPOINT takes one of two trainings back.
BEGIN;
SELECT flip(1);
SELECT version FROM persona.retrain('t');
SAVEPOINT one;
SELECT flip(0);
SELECT version FROM persona.retrain('t');
SELECT serves('t');
ROLLBACK TO one;
SELECT serves('t');
SELECT persona.rollback('t');
SELECT serves('t');
COMMIT;
SELECT serves('t');
SELECT version, is_live FROM persona.versions WHERE model = 't' ORDER BY version;
-- Deploy and rollback are taken back as well.
BEGIN;
SELECT persona.deploy('t', 2);
SELECT serves('t');
ROLLBACK;
SELECT serves('t');
BEGIN;
SAVEPOINT s;
SELECT persona.drop_model('t');
SELECT persona.recommend('t', 7);
ROLLBACK TO s;
SELECT serves('t');
COMMIT;
-- A failed training fails nothing else.
BEGIN;
SAVEPOINT s;
SELECT persona.retrain('t', '{"factors": 0}');
ROLLBACK TO s;
SELECT serves('t');
SELECT version FROM persona.retrain('t');
COMMIT;
-- In a function, with an exception caught.
DO $$ BEGIN
  BEGIN PERFORM persona.retrain('t', '{"iterations": 0}'); EXCEPTION WHEN invalid_parameter_value THEN NULL; END;
  PERFORM persona.retrain('t');
END $$;
SELECT max(version) FROM persona.versions WHERE model = 't';
-- READ ONLY serves.
BEGIN READ ONLY;
SELECT serves('t');
SELECT version FROM t;
COMMIT;
-- A cursor opened before a training serves what it began with.
BEGIN;
DECLARE before CURSOR FOR SELECT version FROM t;
SELECT version > 3 AS newer FROM persona.retrain('t');
FETCH before;
CLOSE before;
COMMIT;

-- A model in a schema that is dropped: gone with it.
CREATE TABLE elsewhere.likes AS SELECT * FROM likes;
SELECT version FROM persona.train_als('elsewhere.x', 'elsewhere.likes', 'u', 'i', factors => 4);
DROP SCHEMA elsewhere CASCADE;
SELECT persona.recommend('elsewhere.x', 7);
SELECT model FROM persona.models ORDER BY model;
-- Temporary models end with the session; a temporary source does not outlive it either.
CREATE TEMP TABLE passing AS SELECT * FROM likes;
SELECT version FROM persona.train_als('from_temporary', 'passing', 'u', 'i', factors => 4);
SELECT persona.drop_model('from_temporary');

-- What an owner named is run as that owner, in a restricted operation, also when a superuser starts it.
CREATE VIEW owners AS SELECT u, i FROM likes WHERE current_user = 'regress_persona_owner';
SELECT persona.alter_model('t', 'owners');
RESET ROLE;
SELECT rows_used = (SELECT count(*) FROM likes) AS as_owner FROM persona.retrain('t');
SELECT current_user = session_user AS back, current_setting('search_path') AS search_path;
SET ROLE regress_persona_owner;
CREATE FUNCTION plants() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE planted (); RETURN true; END $$;
CREATE VIEW planting AS SELECT u, i FROM likes WHERE plants();
SELECT persona.alter_model('t', 'planting');
RESET ROLE;
\set SHOW_CONTEXT never
SELECT persona.retrain('t');
SELECT persona.evaluate('t', k => 7);
SELECT current_user = session_user AS back, current_setting('search_path') AS search_path;
-- An error in the source is caught like any other; the caller is who it was.
DO $$ BEGIN
  FOR n IN 1..3 LOOP
    BEGIN PERFORM persona.retrain('t'); EXCEPTION WHEN insufficient_privilege THEN
      IF current_user <> session_user THEN RAISE EXCEPTION 'still %', current_user; END IF;
    END;
  END LOOP;
END $$;
SET ROLE regress_persona_owner;
SELECT serves('t');

-- A source with row security: the owner learns from what the owner may see.
CREATE TABLE secret (u int, i int);
INSERT INTO secret SELECT u, i FROM likes;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret FORCE ROW LEVEL SECURITY;
CREATE POLICY tens ON secret USING (u <= 10);
SELECT count(*) FROM secret;
SELECT rows_used = (SELECT count(*) FROM secret) AS visible FROM persona.train_als('s', 'secret', 'u', 'i', factors => 4);
RESET ROLE;
SELECT rows_used < (SELECT count(*) FROM secret) AS as_owner FROM persona.retrain('s');
SET ROLE regress_persona_owner;
SELECT persona.drop_model('s');
SELECT persona.drop_model('t');
RESET ROLE;
SELECT count(*) FROM persona_internal.chunk;
SELECT count(*) FROM persona_internal.training_log;
SELECT count(*) FROM persona_internal.deployment;
DROP SCHEMA models CASCADE;
DROP OWNED BY regress_persona_owner, regress_persona_heir, regress_persona_reader, regress_persona_member;
DROP ROLE regress_persona_owner, regress_persona_heir, regress_persona_reader, regress_persona_member;
