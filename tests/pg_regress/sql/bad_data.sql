-- Sources that nobody expects: what is learned from, what is left out, and which ids come back.
SET client_min_messages = warning;
CREATE SCHEMA baddata;
SET search_path = baddata;
SET persona.max_threads = 1;
SET DateStyle = ISO;

-- Trains on a query and takes it back: a SQLSTATE, or rows used, rows left out by reason, and the ids as text. Each id must be
-- served, with scores that are finite, by the generic and by the typed functions.
CREATE FUNCTION shown(ids text[]) RETURNS text LANGUAGE sql AS
$$SELECT array_agg(CASE WHEN length(id) > 40 THEN left(id, 10) || '... ' || length(id) ELSE id END ORDER BY n)::text
  FROM unnest(ids) WITH ORDINALITY AS a (raw, n), LATERAL (SELECT encode(convert_to(raw, 'UTF8'), 'escape')) AS e (id)$$;
CREATE FUNCTION learn(query text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text; all_users text[]; all_items text[]; strange bigint;
BEGIN
  EXECUTE 'CREATE VIEW source AS ' || query;
  -- Some rank below popularity, which is said by a warning.
  SET LOCAL client_min_messages = error;
  EXECUTE 'SELECT (persona.train_als(''d'', ''source'', ''u'', ''i'', factors => 2, iterations => 2' || arguments || ')).version';
  SET LOCAL client_min_messages = warning;
  all_users := ARRAY(SELECT id FROM persona.user_factors('d'));
  all_items := ARRAY(SELECT id FROM persona.item_factors('d'));
  SELECT format('%s used, %s null, %s not finite, %s not above 0 | %s | %s', v.rows_used, v.hyperparameters ->> 'rows_with_null',
                v.hyperparameters ->> 'rows_not_finite', v.hyperparameters ->> 'rows_not_positive', shown(all_users), shown(all_items))
  INTO answer FROM persona.versions v WHERE v.model = 'd';
  SELECT count(*) INTO strange FROM persona.recommend_for_users('d', all_users, 100)
  WHERE score IN ('NaN', 'Infinity', '-Infinity') OR score IS NULL OR item_id <> ALL (all_items);
  IF strange > 0 THEN answer := answer || ' | ' || strange || ' STRANGE ROWS'; END IF;
  -- All that a user has not, by the typed functions: the known users are known there too.
  EXECUTE 'SELECT count(*) FROM (SELECT DISTINCT u FROM source WHERE u IS NOT NULL AND u::text = ANY ($1)) AS s, d_recommend(s.u, 100) AS r
           WHERE r.score IN (''NaN'', ''Infinity'', ''-Infinity'') OR r.source <> ''model'' OR r.item_id::text <> ALL ($2)'
  INTO strange USING all_users, all_items;
  IF strange > 0 THEN answer := answer || ' | ' || strange || ' STRANGE TYPED ROWS'; END IF;
  RAISE EXCEPTION USING ERRCODE = 'PV000', MESSAGE = answer;
EXCEPTION
  WHEN SQLSTATE 'PV000' THEN RETURN SQLERRM;
  WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

CREATE TYPE mood AS ENUM ('sad', 'ok', '');
ALTER TYPE mood ADD VALUE 'happy' BEFORE 'ok';
ALTER TYPE mood RENAME VALUE 'sad' TO 'Sad, "very"';
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN given AS text NOT NULL;
CREATE DOMAIN code AS char(6) CHECK (VALUE <> '');
CREATE TABLE big AS SELECT g AS u, repeat(chr(96 + g), 10 * 1048576) AS i FROM generate_series(1, 3) g;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

CREATE TABLE data (n int GENERATED ALWAYS AS IDENTITY, what text, query text, arguments text DEFAULT '');
-- How many rows there are.
INSERT INTO data (what, query) VALUES
  ('no row', 'SELECT 1 AS u, 1 AS i WHERE false'),
  ('one row', 'SELECT 1 AS u, 1 AS i'),
  ('one row many times', 'SELECT 1 AS u, 1 AS i FROM generate_series(1, 1000)'),
  ('one user', 'SELECT 1 AS u, g AS i FROM generate_series(1, 5) g'),
  ('one item', 'SELECT g AS u, 1 AS i FROM generate_series(1, 5) g'),
  ('everybody has everything', 'SELECT a AS u, b AS i FROM generate_series(1, 3) a, generate_series(1, 3) b'),
  ('nobody shares anything', 'SELECT g AS u, g AS i FROM generate_series(1, 4) g'),
  ('all users NULL', 'SELECT NULL::int AS u, 1 AS i FROM generate_series(1, 3)'),
  ('all items NULL', 'SELECT 1 AS u, NULL::int AS i FROM generate_series(1, 3)'),
  ('some NULL', 'SELECT * FROM (VALUES (1, 1), (NULL, 2), (2, NULL), (NULL, NULL), (2, 1)) AS v (u, i)');
-- Values, of each type that may hold them.
INSERT INTO data (what, query, arguments)
SELECT 'values of type ' || type, format('SELECT * FROM (VALUES (1, 1, 1::%1$s), (1, 2, 2), (2, 1, 1), %2$s) AS v (u, i, v)', type, rows), ', value_column => ''v'''
FROM (VALUES ('smallint', '(2, 2, -32768), (2, 3, 32767), (3, 1, 0), (3, 2, NULL)'), ('integer', '(2, 2, -2147483648), (2, 3, 2147483647), (3, 1, 0), (3, 2, NULL)'),
  ('bigint', '(2, 2, -9223372036854775808), (2, 3, 1000000), (3, 1, 0), (3, 2, NULL)'),
  ('real', '(2, 2, ''NaN''), (2, 3, ''Infinity''), (3, 1, ''-Infinity''), (3, 2, ''-0''), (3, 3, ''1e-45''), (4, 1, ''-1e-45''), (4, 2, NULL)'),
  ('double precision', '(2, 2, ''NaN''), (2, 3, ''Infinity''), (3, 1, ''-Infinity''), (3, 2, ''-0''), (3, 3, ''5e-324''), (4, 1, ''1e308''), (4, 2, ''-1e308''), (4, 3, NULL)'),
  ('numeric', '(2, 2, ''NaN''), (2, 3, ''Infinity''), (3, 1, ''-Infinity''), (3, 2, ''0''), (3, 3, ''1e-16000''), (4, 1, ''1e131071''), (4, 2, ''-1e131071''), (4, 3, NULL)'),
  ('numeric(3, 1)', '(2, 2, -0.1), (2, 3, 99.9), (3, 1, 0.0)')) AS v (type, rows);
INSERT INTO data (what, query, arguments) VALUES
  ('all values NULL', 'SELECT g AS u, g AS i, NULL::int AS v FROM generate_series(1, 3) g', ', value_column => ''v'''),
  ('all values NaN', 'SELECT g AS u, g AS i, float8 ''NaN'' AS v FROM generate_series(1, 3) g', ', value_column => ''v'''),
  ('all values negative', 'SELECT g AS u, g AS i, -g AS v FROM generate_series(1, 3) g', ', value_column => ''v'''),
  ('the largest real', 'SELECT a AS u, b AS i, real ''3.4e38'' AS v FROM generate_series(1, 3) a, generate_series(1, 3) b', ', value_column => ''v'''),
  ('a sum beyond real', 'SELECT a AS u, b AS i, real ''3.4e38'' AS v FROM generate_series(1, 3) a, generate_series(1, 3) b, generate_series(1, 3) c', ', value_column => ''v'''),
  ('bigint max', 'SELECT a AS u, b AS i, 9223372036854775807 AS v FROM generate_series(1, 3) a, generate_series(1, 3) b', ', value_column => ''v'''),
  ('the smallest reals', 'SELECT a AS u, b AS i, real ''1e-45'' AS v FROM generate_series(1, 3) a, generate_series(1, 3) b', ', value_column => ''v''');
-- Times; the newest rows are held out.
INSERT INTO data (what, query, arguments)
SELECT 'times of type ' || type, format('SELECT v.u, v.i, v.t::%s AS t FROM (VALUES (1, 1, %L), (1, 2, %L), (1, 3, %L), (2, 1, %L), (2, 2, %L), (2, 3, NULL), (3, 1, %L)) AS v (u, i, t)',
       type, infinity, minus, early, late, early, late), ', time_column => ''t'', holdout => ''time'''
FROM (VALUES ('timestamptz', 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31'), ('timestamp', 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31'),
             ('date', 'infinity', '-infinity', '4713-01-01 BC', '5874897-12-31'), ('bigint', '9223372036854775807', '-9223372036854775808', '-1', '0')) AS v (type, infinity, minus, early, late);
-- Ids of every type at its ends.
INSERT INTO data (what, query)
SELECT 'ids of type ' || type, format('SELECT v.id::%s AS u, v.id::%1$s AS i FROM (VALUES %s) AS v (id)', type, ids)
FROM (VALUES ('smallint', '(-32768), (32767), (0), (-1), (NULL)'), ('integer', '(-2147483648), (2147483647), (0), (-1)'),
  ('bigint', '(-9223372036854775808), (9223372036854775807), (0), (-1)'),
  ('date', '(''infinity''), (''-infinity''), (''4713-01-01 BC''), (''5874897-12-31''), (''0001-12-31 BC''), (''0001-01-01''), (''9999-12-31''), (''10000-01-01'')'),
  ('uuid', '(''ffffffffffffffffffffffffffffffff''), (''{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}''), (''00000000-0000-0000-0000-000000000000'')'),
  ('text', '(''''), ('' ''), (''  a ''), (E''\n''), (E''\t''), (''NULL''), (''"''), (E''\\''), (''{}''), (''A''), (''a''), (''ä''), (U&''a\0308''), (U&''\202E''), (''𝔘''), (U&''\FEFF''), (E''\x01'')'),
  ('varchar(2)', '(''''), ('' ''), (''ab''), (''äö'')'), ('char(5)', '(''''), ('' ''), (''a''), (''a  ''), (''  a'')'), ('char', '(''a''), ('''')'),
  ('name', '(''a'')'), ('"char"', '(''a'')'), ('bytea', '(''a'')'), ('boolean', '(true)'), ('oid', '(1)'), ('numeric', '(1)'), ('timestamptz', '(now())'), ('int[]', '(''{1}'')'),
  ('mood', '(''happy''), (''Sad, "very"''), (''''), (''ok'')'), ('positive', '(2147483647), (1)'), ('given', '(''''), (''x'')'), ('code', '(''a''), (''ab  '')')) AS v (type, ids);
INSERT INTO data (what, query) VALUES
  ('ids of 10 MB', 'SELECT a.u, b.i FROM big a, big b WHERE a.u <> b.u'),
  ('domains beside each other', 'SELECT g::positive AS u, (''i'' || h)::given AS i FROM generate_series(1, 3) g, generate_series(1, 3) h WHERE g <> h'),
  ('a domain that a view breaks', 'SELECT (g - 2)::positive AS u, g AS i FROM generate_series(1, 3) g'),
  ('an error in the middle', 'SELECT 10 / (3 - g) AS u, g AS i FROM generate_series(1, 5) g'),
  ('a column of type unknown', 'SELECT ''x'' AS u, 1 AS i'),
  ('a system column', 'SELECT tableoid AS u, 1 AS i FROM data');

SELECT what, learn(query, arguments) AS outcome FROM data ORDER BY n;

-- Ids that stop being good: a label that was renamed, a domain that became stricter. Serving checks them, as any cast does.
CREATE TABLE moods AS SELECT m AS u, m AS i FROM unnest(enum_range(NULL::mood)) AS m;
SELECT (persona.train_als('by_mood', 'moods', 'u', 'i', factors => 2, holdout => 'none')).rows_used;
SELECT item_id FROM by_mood_recommend(NULL, 9) ORDER BY item_id;
ALTER TYPE mood RENAME VALUE 'happy' TO 'glad';
SELECT item_id FROM by_mood_recommend(NULL, 9) ORDER BY item_id;
SELECT item_id FROM persona.recommend('by_mood', NULL, 9) ORDER BY item_id COLLATE "C";
SELECT item_id FROM persona.recommend('by_mood', 'happy', 1);
SELECT (persona.retrain('by_mood')).version;
SELECT item_id FROM by_mood_recommend(NULL, 9) ORDER BY item_id;
CREATE TABLE positives AS SELECT g::positive AS u, g::positive AS i FROM generate_series(1, 3) g;
SELECT (persona.train_als('by_positive', 'positives', 'u', 'i', factors => 2, holdout => 'none')).rows_used;
ALTER DOMAIN positive ADD CHECK (VALUE > 1) NOT VALID;
SELECT item_id FROM by_positive_recommend(NULL, 9);
SELECT item_id FROM persona.recommend('by_positive', NULL, 9);

SELECT persona.drop_model('by_mood'), persona.drop_model('by_positive');
DROP SCHEMA baddata CASCADE;
