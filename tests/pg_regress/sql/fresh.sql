-- fresh => true: what a user has at this moment, read with the rights of whoever asks.
SET client_min_messages = warning;
CREATE ROLE regress_persona_reader;
CREATE SCHEMA fresh;
SET search_path = fresh;
GRANT USAGE ON SCHEMA fresh, persona TO regress_persona_reader;

-- Even users have the even items, odd ones the odd items, but for their own number.
CREATE TABLE board (u int, i int, n real, at timestamptz);
INSERT INTO board SELECT u, i, 1, '2024-01-01' FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
CREATE INDEX ON board (u);
SELECT version FROM persona.train_als('m', 'board', 'u', 'i', 'n', 'at', factors => 4, holdout => 'none');
SELECT version FROM persona.train_item_knn('near', 'board', 'u', 'i', holdout => 'none');
CREATE FUNCTION first(model text, who int, fresh bool) RETURNS TABLE (rows bigint, items text, sources text) LANGUAGE sql AS $$
  SELECT count(*), string_agg(item_id, ' ' ORDER BY item_id::int), string_agg(DISTINCT source, ' ' ORDER BY source)
  FROM persona.recommend(model, who, 5, fresh => fresh) $$;

-- Somebody whom the model does not know: popular items, and with rows of this minute those of the same colour.
SELECT * FROM first('m', 77, false);
INSERT INTO board VALUES (77, 2, 1, now()), (77, 4, 1, now()), (77, 6, 1, now()), (77, 8, 1, now()), (77, 10, 1, now());
SELECT sources FROM first('m', 77, false);
SELECT * FROM first('m', 77, true);
SELECT * FROM first('near', 77, true);
SELECT string_agg(item_id::text, ' ' ORDER BY item_id) AS items, max(source) AS source
FROM persona.recommend_as('m', 77, NULL::int, 5, fresh => true);
-- What the user has does not come, unless asked for; other filters hold.
SELECT count(*) AS rows, count(*) FILTER (WHERE item_id IN ('2', '4', '6', '8', '10')) AS own FROM persona.recommend('m', 77, 100, fresh => true);
SELECT count(*) AS rows FROM persona.recommend('m', 77, 100, remove_seen => false, fresh => true);
SELECT string_agg(item_id, ' ' ORDER BY item_id::int) FROM persona.recommend('m', 77, 3, exclude => '{12,14}', fresh => true);
SELECT item_id FROM persona.recommend('m', 77, 3, candidates => '{2,12}', fresh => true);

-- A known user who has changed sides: the training does not know, the rows of now do.
DELETE FROM board WHERE u = 1;
INSERT INTO board SELECT 1, i, 1, now() FROM unnest('{2,4,6,8,10}'::int[]) AS i;
SELECT items FROM first('m', 1, true);
-- No rows: as without fresh. Nor of items that the model knows.
DELETE FROM board WHERE u = 3;
SELECT a = b AS same, (a).sources FROM first('m', 3, true) AS a, first('m', 3, false) AS b;
INSERT INTO board VALUES (3, 999, 1, now());
SELECT a = b AS same FROM first('m', 3, true) AS a, first('m', 3, false) AS b;
SELECT * FROM first('m', NULL, true);
SELECT * FROM first('m', 404, true);

-- Rows of one pair are summed, and skipped where a training would skip them.
CREATE FUNCTION best() RETURNS real LANGUAGE sql AS $$ SELECT max(score) FROM persona.recommend('m', 50, 1, fresh => true) $$;
INSERT INTO board VALUES (50, 2, 6, now());
CREATE TABLE one AS SELECT best() AS score;
UPDATE board SET n = 4 WHERE u = 50;
INSERT INTO board VALUES (50, 2, 2, now());
SELECT best() = score AS summed FROM one;
INSERT INTO board VALUES (50, 2, 'NaN', now()), (50, 2, 0, now()), (50, 2, -1, now()), (50, 4, NULL, now()), (50, NULL, 1, now()), (50, 4, 1, NULL);
SELECT best() = score AS skipped FROM one;
UPDATE board SET n = 1 WHERE u = 50 AND n > 0;
SELECT best() < score AS less FROM one;

-- Of ratings the newest of a pair counts.
CREATE TABLE rated AS SELECT u, i, CASE WHEN u % 3 = i % 3 THEN 5 ELSE 2 END AS stars, timestamptz '2024-01-01' AS at FROM board WHERE u <= 20;
SELECT version FROM persona.train_als('stars', 'rated', 'u', 'i', 'stars', 'at', feedback => 'explicit', factors => 2, holdout => 'none');
INSERT INTO rated VALUES (70, 1, 1, '2024-01-03'), (70, 2, 5, '2024-01-03');
CREATE TABLE as_rated AS SELECT * FROM persona.recommend('stars', 70, 10, fresh => true);
INSERT INTO rated VALUES (70, 1, 5, '2024-01-02');
SELECT count(*) AS rows, max(source) AS source, (SELECT count(*) FROM (TABLE as_rated EXCEPT SELECT * FROM persona.recommend('stars', 70, 10, fresh => true)) AS d) AS differ FROM as_rated;

-- The snapshot is that of the statement: rows of the same statement are not seen, those of the transaction are.
BEGIN;
WITH new AS (INSERT INTO board VALUES (60, 2, 1, now()) RETURNING u)
SELECT r.source FROM new, LATERAL persona.recommend('m', u, 1, fresh => true) AS r;
SELECT sources FROM first('m', 60, true);
ROLLBACK;
SELECT sources FROM first('m', 60, true);

-- An id is a constant, never SQL; one beyond the type of the column is nobody's.
SELECT sources FROM first('m', 2147483647, true);
SELECT count(*) FROM persona.recommend('m', 9223372036854775807, 3, fresh => true);
SELECT count(*) FROM persona.recommend('m', (-9223372036854775808)::bigint, 3, fresh => true);
CREATE TYPE mood AS ENUM ('happy', 'so''so');
CREATE TABLE words ("the ""user""" text, "it em" mood);
INSERT INTO words VALUES ('a', 'happy'), ('b', 'so''so'), ('x'' OR true --', 'happy');
SELECT version FROM persona.train_als('words_model', 'words', 'the "user"', 'it em', factors => 2, holdout => 'none');
SELECT item_id, source FROM persona.recommend('words_model', 'x'' OR true --', 5, fresh => true);
SELECT item_id, source FROM persona.recommend('words_model', '\'' OR true --', 5, fresh => true) ORDER BY item_id;
-- A user id of an enum: a word that is none is nobody's.
SELECT version FROM persona.train_als('moods', 'words', 'it em', 'the "user"', factors => 2, holdout => 'none');
SELECT count(*), max(source) FROM persona.recommend('moods', 'happy', 5, fresh => true);
SELECT count(*), max(source) FROM persona.recommend('moods', 'sad', 5, fresh => true);

-- An operator that somebody planted is not found.
CREATE FUNCTION no(int, bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE OPERATOR fresh.= (LEFTARG = int, RIGHTARG = bigint, FUNCTION = no);
SET search_path = fresh, pg_catalog;
SELECT count(*) FROM persona.recommend('m', 77, 3, fresh => true);
SET search_path = fresh;
DROP OPERATOR fresh.= (int, bigint);

-- The rights are the caller's: SELECT on the model alone does not read its source.
SELECT persona.grant_model('m', 'regress_persona_reader');
SET ROLE regress_persona_reader;
SELECT count(*) FROM persona.recommend('m', 77, 3);
\set VERBOSITY sqlstate
SELECT count(*) FROM persona.recommend('m', 77, 3, fresh => true);
\set VERBOSITY default
RESET ROLE;
GRANT SELECT (u, i, n, at) ON board TO regress_persona_reader;
SET ROLE regress_persona_reader;
SELECT * FROM first('m', 77, true);
RESET ROLE;
-- So is row-level security.
ALTER TABLE board ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON board TO regress_persona_reader USING (u <> 77);
SELECT sources FROM first('m', 77, true);
SET ROLE regress_persona_reader;
SELECT sources FROM first('m', 77, true);
RESET ROLE;

-- The source changed.
ALTER TABLE board RENAME COLUMN i TO item;
DO $$ BEGIN PERFORM persona.recommend('m', 77, 3, fresh => true);
EXCEPTION WHEN undefined_column THEN RAISE WARNING 'the column is gone: %', SQLERRM; END $$;
SELECT persona.alter_model('m', column_map => '{"item_column": "item"}');
SELECT sources FROM first('m', 77, true);
ALTER TABLE board ALTER item TYPE text;
SELECT sources FROM first('m', 77, true);
ALTER TABLE board RENAME TO elsewhere;
SELECT sources FROM first('m', 77, true);
SELECT sources FROM first('m', 77, false);

DROP SCHEMA fresh CASCADE;
DROP OWNED BY regress_persona_reader;
DROP ROLE regress_persona_reader;
