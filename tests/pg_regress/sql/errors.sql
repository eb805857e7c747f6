-- Every row of the error mapping once: the code first, then message, DETAIL and HINT.
SET client_min_messages = warning;
CREATE ROLE regress_persona_owner;
CREATE ROLE regress_persona_stranger;
CREATE SCHEMA errors AUTHORIZATION regress_persona_owner;
GRANT USAGE ON SCHEMA persona TO regress_persona_owner, regress_persona_stranger;
GRANT USAGE ON SCHEMA errors TO regress_persona_stranger;
SET ROLE regress_persona_owner;
SET search_path = errors;

-- Who shares a colour with what, without the diagonal.
CREATE TABLE likes (user_id int, item_id int, value real, ratio numeric, taken_at timestamptz, extra jsonb, pause interval,
                    "Odd Column" int, flag bool, price float8);
INSERT INTO likes
SELECT u, i, 1, 1, timestamptz '2024-01-01' + i * interval '1 hour', '{}', '1 s', u, true, 1
FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
SELECT (persona.train_als('m', 'likes', 'user_id', 'item_id', factors => 4)).version;

-- Runs a statement and shows what went wrong, with everything that a program or a reader gets.
CREATE FUNCTION fails(statement text) RETURNS TABLE (code text, says text) LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text;
BEGIN
  EXECUTE statement;
  code := 'none'; says := 'no error'; RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  says := message; RETURN NEXT;
  code := NULL;
  IF detail <> '' THEN says := '  DETAIL ' || detail; RETURN NEXT; END IF;
  IF hint <> '' THEN says := '  HINT ' || hint; RETURN NEXT; END IF;
END $$;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' '

-- 42703: columns that are not there, with the nearest that is
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'userid', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'items_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', 'valeu')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', time_column => 'token_at')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'User_Id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'odd column', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'nothing_like_any_of_them')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id; DROP TABLE likes')$$);

-- 0A000: types that cannot hold what they should
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'price', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'ratio', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'extra')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'flag')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', 'extra')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', 'taken_at')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', time_column => 'pause')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', time_column => 'item_id')$$);

-- 0A000: not yet
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', feedback => 'told')$$);

-- 22023: parameters out of range, words that nobody knows
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'user_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', factors => 0)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', factors => 2049)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', factors => -1)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', iterations => 0)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', iterations => 10001)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', iterations => -2147483648)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', regularization => 'NaN')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', regularization => '-Infinity')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', regularization => -0.1)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', alpha => 0)$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', alpha => 'Infinity')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', feedback => 'implict')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', holdout => 'newest')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', holdout => 'time')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', deploy => 'ALWAYS')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"cgsteps": 3}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"colour": "red"}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"cg_steps": 101}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"cg_steps": "3"}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"keep_versions": 0}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '{"threads": 1.5}')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', options => '[]')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1, -1)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1, NULL)$$);
SELECT * FROM fails($$SELECT m_recommend(1, -1)$$);
SELECT * FROM fails($$SELECT m_recommend(1, NULL)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1, options => '{"colour": "red"}')$$);
SELECT * FROM fails($$SELECT persona.popular_items('m', options => '"red"')$$);
SELECT * FROM fails($$SELECT persona.evaluate('m', k => 0)$$);
SELECT * FROM fails($$SELECT persona.evaluate('m', k => NULL)$$);
SELECT (persona.train_als('tuned', 'likes', 'user_id', 'item_id', factors => 4)).version;
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"factor": 8}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"user_column": "item_id"}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"factors": "many"}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"factors": 2.5}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"regularization": "low"}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"alpha": []}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"seed": "lucky"}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"deploy": 1}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"options": {"cg_steps": 2}}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"user": "item_id"}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"user_column": 1}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"user_column": null}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"value_column": 5}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"time_column": ["taken_at"]}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '{"item_column": "user_id"}')$$);
SELECT * FROM fails($$SELECT persona.alter_model('tuned', column_map => '"user_id"')$$);
-- What jsonb takes and JSON readers do not.
SELECT * FROM fails($$SELECT persona.retrain('tuned', '{"alpha": 1e400}')$$);
SELECT * FROM fails($$SELECT persona.retrain('tuned', ('{"alpha":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb)$$);
-- A message does not repeat megabytes.
SELECT code, length(says) FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', 'item_id', holdout => repeat('x', 1000000))$$);
-- None of these made a version or changed a setting.
SELECT count(*) FROM persona.versions WHERE model = 'tuned';

-- 22004: what must be given
SELECT * FROM fails($$SELECT persona.train_als(NULL, 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', NULL, 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', NULL, 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes', 'user_id', NULL)$$);
SELECT * FROM fails($$SELECT persona.recommend(NULL, 1)$$);
SELECT * FROM fails($$SELECT persona.recommend_as(NULL, 1, 1)$$);
SELECT * FROM fails($$SELECT persona.recommend_for_items(NULL, '{1}')$$);
SELECT * FROM fails($$SELECT persona.recommend_for_users(NULL, '{1}')$$);
SELECT * FROM fails($$SELECT persona.similar_items(NULL, 1)$$);
SELECT * FROM fails($$SELECT persona.similar_users(NULL, 1)$$);
SELECT * FROM fails($$SELECT persona.popular_items(NULL)$$);
SELECT * FROM fails($$SELECT persona.score(NULL, 1, 1)$$);
SELECT * FROM fails($$SELECT persona.item_factors(NULL)$$);
SELECT * FROM fails($$SELECT persona.user_factors(NULL)$$);
SELECT * FROM fails($$SELECT persona.evaluate(NULL)$$);
SELECT * FROM fails($$SELECT persona.model_facts(NULL)$$);
SELECT * FROM fails($$SELECT persona.deploy(NULL, 1)$$);
SELECT * FROM fails($$SELECT persona.deploy('m', NULL)$$);
SELECT * FROM fails($$SELECT persona.rollback(NULL)$$);
SELECT * FROM fails($$SELECT persona.retrain(NULL)$$);
SELECT * FROM fails($$SELECT persona.alter_model(NULL)$$);
SELECT * FROM fails($$SELECT persona.drop_model(NULL)$$);
SELECT * FROM fails($$SELECT persona.grant_model(NULL, 'public')$$);
SELECT * FROM fails($$SELECT persona.grant_model('m', NULL)$$);
SELECT * FROM fails($$SELECT persona.revoke_model('m', NULL)$$);

-- 42704: no such model, version or role
SELECT * FROM fails($$SELECT persona.recommend('nothing', 1)$$);
SELECT * FROM fails($$SELECT persona.recommend('nowhere.m', 1)$$);
SELECT * FROM fails($$SELECT persona.recommend('likes', 1)$$);
SELECT * FROM fails($$SELECT persona._recommend('likes', 1, 10, '{}'::int[], '{}'::int[])$$);
SELECT * FROM fails($$SELECT persona.rollback('likes')$$);
SELECT * FROM fails($$SELECT persona.drop_model('likes')$$);
SELECT * FROM fails($$SELECT persona.retrain('nothing')$$);
SELECT * FROM fails($$SELECT persona.deploy('m', 2)$$);
SELECT * FROM fails($$SELECT persona.evaluate('m', 2)$$);
SELECT * FROM fails($$SELECT persona.deploy('m', -1)$$);
SELECT * FROM fails($$SELECT persona.grant_model('m', 'regress_persona_nobody')$$);

-- 42P01, 42809: relations that are not there or have no rows
SELECT * FROM fails($$SELECT persona.train_als('x', 'nothing', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 4000000000::oid::regclass, 'user_id', 'item_id')$$);
CREATE SEQUENCE numbers;
CREATE INDEX likes_index ON likes (user_id);
CREATE TYPE pair AS (user_id int, item_id int);
SELECT * FROM fails($$SELECT persona.train_als('x', 'numbers', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'likes_index', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'pair', 'user_id', 'item_id')$$);

-- 42602, 3F000, 42P07, 42723: names that cannot be taken
SELECT * FROM fails($$SELECT persona.train_als('', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('for you', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('a.b.c.d', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als(repeat('x', 41), 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('"' || repeat('ж', 21) || '"', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('nowhere.x', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.train_als('likes', 'likes', 'user_id', 'item_id')$$);
CREATE FUNCTION taken_similar_items(item_id int, k int) RETURNS int LANGUAGE sql RETURN 1;
SELECT * FROM fails($$SELECT persona.train_als('taken', 'likes', 'user_id', 'item_id')$$);
-- What failed left nothing: the name is free.
SELECT to_regclass('taken') IS NULL AND to_regproc('taken_recommend') IS NULL;
SET search_path = '';
SELECT * FROM errors.fails($$SELECT persona.train_als('x', 'errors.likes', 'user_id', 'item_id')$$);
SET search_path = errors;

-- 42501: no right
SET ROLE regress_persona_stranger;
SELECT * FROM fails($$SELECT persona.recommend('m', 1)$$);
SELECT * FROM fails($$SELECT m_recommend(1)$$);
SELECT * FROM fails($$SELECT persona.recommend_as('m', 1, 1)$$);
SELECT * FROM fails($$SELECT persona.recommend_for_items('m', '{1}')$$);
SELECT * FROM fails($$SELECT m_recommend_for_items('{1}')$$);
SELECT * FROM fails($$SELECT persona.recommend_for_users('m', '{1}')$$);
SELECT * FROM fails($$SELECT persona.similar_items('m', 1)$$);
SELECT * FROM fails($$SELECT m_similar_items(1)$$);
SELECT * FROM fails($$SELECT persona.similar_users('m', 1)$$);
SELECT * FROM fails($$SELECT persona.popular_items('m')$$);
SELECT * FROM fails($$SELECT persona.score('m', 1, 1)$$);
SELECT * FROM fails($$SELECT persona.item_factors('m')$$);
SELECT * FROM fails($$SELECT persona.user_factors('m')$$);
SELECT * FROM fails($$SELECT persona.evaluate('m')$$);
SELECT * FROM fails($$SELECT * FROM m$$);
SELECT * FROM fails($$SELECT persona.retrain('m')$$);
SELECT * FROM fails($$SELECT persona.train_als('m', 'likes', 'user_id', 'item_id')$$);
SELECT * FROM fails($$SELECT persona.deploy('m', 1)$$);
SELECT * FROM fails($$SELECT persona.rollback('m')$$);
SELECT * FROM fails($$SELECT persona.alter_model('m')$$);
SELECT * FROM fails($$SELECT persona.drop_model('m')$$);
SELECT * FROM fails($$SELECT persona.grant_model('m', 'regress_persona_stranger')$$);
SELECT * FROM fails($$SELECT persona.revoke_model('m', 'public')$$);
-- No CREATE on the schema, no SELECT on the source.
SELECT * FROM fails($$SELECT persona.train_als('mine', 'likes', 'user_id', 'item_id')$$);
RESET ROLE;
GRANT CREATE ON SCHEMA errors TO regress_persona_stranger;
SET ROLE regress_persona_stranger;
SELECT * FROM fails($$SELECT persona.train_als('mine', 'likes', 'user_id', 'item_id')$$);
-- SELECT lets somebody be served, nothing more: evaluate would have to fit.
SET ROLE regress_persona_owner;
GRANT SELECT ON m TO regress_persona_stranger;
SET ROLE regress_persona_stranger;
SELECT count(*) FROM m_recommend(1);
SELECT * FROM fails($$SELECT persona.evaluate('m', k => 7)$$);
SELECT * FROM fails($$SELECT persona.retrain('m')$$);
-- The registry is nobody's.
SELECT * FROM fails($$SELECT * FROM persona_internal.model$$);
SELECT * FROM fails($$SELECT persona_internal.training_progress()$$);
SELECT * FROM fails($$SET persona.max_memory = '2GB'$$);
SELECT * FROM fails($$SET persona.max_threads = 1$$);
SET ROLE regress_persona_owner;

-- 55000: not deployed, nothing older, no longer stored
SELECT (persona.train_als('held', 'likes', 'user_id', 'item_id', factors => 4, deploy => 'never')).deployed;
SELECT * FROM fails($$SELECT persona.recommend('held', 1)$$);
SELECT * FROM fails($$SELECT held_recommend(1)$$);
SELECT * FROM fails($$SELECT * FROM held$$);
SELECT * FROM fails($$SELECT persona.evaluate('held')$$);
SELECT * FROM fails($$SELECT persona.rollback('held')$$);
SELECT * FROM fails($$SELECT persona.rollback('m')$$);
SELECT (persona.retrain('m', '{"keep_versions": 1, "deploy": "always"}')).version;
SELECT * FROM fails($$SELECT persona.deploy('m', 1)$$);
SELECT * FROM fails($$SELECT persona.rollback('m')$$);

-- 42804, 22P02, 22003: ids of the wrong type
SELECT * FROM fails($$SELECT persona.recommend('m', 'abc')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', '')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1.5)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1, exclude => '{abc}')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1, candidates => '{1,abc}')$$);
SELECT * FROM fails($$SELECT persona.recommend_for_users('m', '{1,abc}')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 99999999999999999999)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', date '2024-01-01')$$);
SELECT * FROM fails($$SELECT persona.recommend('m', 1.0::float8)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', true)$$);
SELECT * FROM fails($$SELECT persona.recommend('m', '{}'::jsonb)$$);
SELECT * FROM fails($$SELECT persona.recommend_as('m', 1, NULL::uuid)$$);
SELECT * FROM fails($$SELECT persona.recommend_as('m', 1, NULL::float8)$$);
SELECT * FROM fails($$SELECT persona.score('m', 1, NULL::uuid)$$);
SELECT * FROM fails($$SELECT persona.score('m', 1, '00000000-0000-0000-0000-000000000001'::uuid)$$);
CREATE TABLE big (user_id int, item_id int);
INSERT INTO big SELECT u, 100000 + i FROM generate_series(1, 4) u, generate_series(1, 4) i;
SELECT (persona.train_als('bigs', 'big', 'user_id', 'item_id', factors => 2, holdout => 'none')).version;
SELECT * FROM fails($$SELECT persona.recommend_as('bigs', 9, NULL::smallint)$$);
CREATE TABLE words (user_id text, item_id int);
INSERT INTO words SELECT user_id::text, item_id FROM likes;
SELECT * FROM fails($$SELECT persona.train_als('m', 'words', 'user_id', 'item_id')$$);

-- 02000: nothing to learn from, with the counts
CREATE TABLE empty (LIKE likes);
SELECT * FROM fails($$SELECT persona.train_als('x', 'empty', 'user_id', 'item_id')$$);
INSERT INTO empty (user_id, item_id, value)
VALUES (NULL, 1, 1), (1, NULL, 1), (1, 1, NULL), (1, 1, 'NaN'), (1, 1, 'Infinity'), (1, 1, 0), (1, 1, -0.0), (1, 1, -5);
SELECT * FROM fails($$SELECT persona.train_als('x', 'empty', 'user_id', 'item_id', 'value')$$);
SELECT * FROM fails($$SELECT persona.train_als('x', 'empty', 'user_id', 'item_id', time_column => 'taken_at')$$);

-- 22003: numbers that no model can hold
INSERT INTO empty (user_id, item_id, value) SELECT user_id, item_id, 3e38 FROM likes;
SELECT * FROM fails($$SELECT persona.train_als('x', 'empty', 'user_id', 'item_id', 'value', factors => 4, regularization => 0, alpha => 1e300)$$);

-- 42P01, 42703: the source of a model changed
SELECT (persona.train_als('moved', 'big', 'user_id', 'item_id', factors => 2, holdout => 'none')).version;
ALTER TABLE big RENAME item_id TO article_id;
SELECT * FROM fails($$SELECT persona.retrain('moved')$$);
ALTER TABLE big RENAME TO bigger;
SELECT * FROM fails($$SELECT persona.retrain('moved')$$);
SELECT * FROM fails($$SELECT persona.evaluate('moved')$$);
SELECT * FROM fails($$SELECT persona.alter_model('moved', 'bigger')$$);
SELECT * FROM fails($$SELECT persona.alter_model('moved', 'bigger', '{"item_column": "artikle_id"}')$$);
SELECT persona.alter_model('moved', 'bigger', '{"item_column": "article_id"}');
SELECT (persona.retrain('moved')).version;
-- Messages reach clients of every encoding.
ALTER TABLE bigger RENAME TO big;
SET client_encoding = 'LATIN1';
SELECT persona.retrain('moved');
RESET client_encoding;
ALTER TABLE big RENAME TO bigger;
SELECT * FROM fails($$SELECT persona.alter_model('moved', 'words', '{"item_column": "item_id"}')$$);

-- 22P02: a label that an enum no longer has, until the model is trained again
CREATE TYPE letter AS ENUM ('a', 'b', 'c');
CREATE TABLE letters AS SELECT u AS user_id, i AS item_id FROM generate_series(1, 4) AS u, unnest('{a,b,c}'::letter[]) AS i;
SELECT (persona.train_als('by_letter', 'letters', 'user_id', 'item_id', factors => 2, holdout => 'none')).version;
ALTER TYPE letter RENAME VALUE 'c' TO 'z';
SELECT * FROM fails($$SELECT by_letter_recommend(9)$$);
SELECT (persona.retrain('by_letter')).version;
SELECT item_id FROM by_letter_recommend(9);

-- 53200: more than the memory allowed
RESET ROLE;
CREATE TABLE many AS SELECT u AS user_id, i AS item_id FROM generate_series(1, 400) AS u, generate_series(1, 400) AS i;
SET persona.max_memory = '1MB';
SELECT code, regexp_replace(says, '\d+ MB', '# MB', 'g') FROM fails($$SELECT persona.train_als('x', 'many', 'user_id', 'item_id')$$);
RESET persona.max_memory;
CREATE TABLE wide AS SELECT u AS user_id, u AS item_id FROM generate_series(1, 2000) AS u;
SET persona.max_memory = '2MB';
SELECT code, regexp_replace(says, '\d+ MB', '# MB', 'g') FROM fails($$SELECT persona.train_als('x', 'wide', 'user_id', 'item_id', factors => 2048, holdout => 'none')$$);
RESET persona.max_memory;
SELECT (persona.train_als('fat', 'wide', 'user_id', 'item_id', factors => 128, iterations => 1, holdout => 'none')).version;
SET persona.max_memory = '1MB';
SELECT code, regexp_replace(says, '\d+ MB', '# MB', 'g') FROM fails($$SELECT persona.recommend('fat', 1)$$);
RESET persona.max_memory;

-- 2BP01: what others built on
CREATE VIEW shown AS SELECT * FROM fat;
SELECT * FROM fails($$SELECT persona.drop_model('fat')$$);
DROP VIEW shown;
CREATE VIEW shown AS SELECT * FROM fat_recommend(1);
SELECT * FROM fails($$SELECT persona.drop_model('fat')$$);
DROP VIEW shown;

-- 25006: a read-only transaction
BEGIN READ ONLY;
SELECT count(*) FROM fat_recommend(1);
SELECT * FROM fails($$SELECT persona.retrain('fat')$$);
COMMIT;

-- Once as a program sees it.
\set VERBOSITY sqlstate
SELECT persona.recommend('nothing', 1);
SELECT persona.train_als('x', 'likes', 'userid', 'item_id');
-- Once as psql shows it.
\set VERBOSITY default
SELECT persona.recommend('nothing', 1);
SELECT persona.train_als('x', 'likes', 'userid', 'item_id');

SELECT persona.drop_model(m) FROM unnest('{m,tuned,held,bigs,moved,by_letter,fat}'::text[]) AS m;
SELECT count(*) FROM persona_internal.model;
DROP SCHEMA errors CASCADE;
DROP OWNED BY regress_persona_owner, regress_persona_stranger;
DROP ROLE regress_persona_owner, regress_persona_stranger;
