-- Ids of every type that may be one, in every form that an argument can have.
SET client_min_messages = warning;
CREATE SCHEMA ids;
SET search_path = ids;
SET persona.max_threads = 1;

-- 16 users and 16 items on a checkerboard without its diagonal: the one item missing of a user's own colour comes first.
CREATE VIEW board AS
SELECT u, i FROM generate_series(1, 16) AS u, generate_series(1, 16) AS i WHERE (u + i) % 2 = 0 AND u <> i;

CREATE TYPE letter AS ENUM ('p', 'o', 'n', 'm', 'l', 'k', 'j', 'i', 'h', 'g', 'f', 'e', 'd', 'c', 'b', 'a');
CREATE DOMAIN small_id AS int CHECK (VALUE > 0);
CREATE DOMAIN short_id AS text CHECK (length(VALUE) < 20);
CREATE DOMAIN shorter_id AS short_id;

-- One table a type; users and items have it. The order of the ids is that of the numbers, except for the enum's labels.
CREATE TABLE t_smallint AS SELECT u::smallint AS user_id, i::smallint AS item_id FROM board;
CREATE TABLE t_int AS SELECT u AS user_id, i AS item_id FROM board;
CREATE TABLE t_bigint AS SELECT u::bigint AS user_id, i::bigint AS item_id FROM board;
CREATE TABLE t_uuid AS SELECT lpad(to_hex(u), 32, '0')::uuid AS user_id, lpad(to_hex(i), 32, '0')::uuid AS item_id FROM board;
CREATE TABLE t_text AS SELECT lpad(u::text, 3, '0') AS user_id, lpad(i::text, 3, '0') AS item_id FROM board;
CREATE TABLE t_varchar AS SELECT lpad(u::text, 3, '0')::varchar(9) AS user_id, lpad(i::text, 3, '0')::varchar(9) AS item_id FROM board;
CREATE TABLE t_char AS SELECT lpad(u::text, 3, '0')::char(9) AS user_id, lpad(i::text, 3, '0')::char(9) AS item_id FROM board;
CREATE TABLE t_date AS SELECT date '2023-12-31' + u AS user_id, date '2023-12-31' + i AS item_id FROM board;
CREATE TABLE t_enum AS SELECT chr(96 + u)::letter AS user_id, chr(96 + i)::letter AS item_id FROM board;
CREATE TABLE t_small_id AS SELECT u::small_id AS user_id, i::small_id AS item_id FROM board;
CREATE TABLE t_shorter_id AS SELECT lpad(u::text, 3, '0')::shorter_id AS user_id, lpad(i::text, 3, '0')::shorter_id AS item_id FROM board;
-- Mixed: the two sides need not agree.
CREATE TABLE t_mixed AS SELECT lpad(to_hex(u), 32, '0')::uuid AS user_id, i::smallint AS item_id FROM board;

CREATE TABLE kinds (kind text);
INSERT INTO kinds VALUES ('smallint'), ('int'), ('bigint'), ('uuid'), ('text'), ('varchar'), ('char'), ('date'), ('enum'),
  ('small_id'), ('shorter_id'), ('mixed');
SELECT kind, (t).version, (t).rows_used, (t).rows_skipped
FROM kinds, LATERAL persona.train_als('m_' || kind, ('t_' || kind)::regclass, 'user_id', 'item_id', factors => 8) AS t
ORDER BY kind;

-- What the typed functions take and give: the types of the columns.
SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, split_part(pg_get_function_result(oid), ',', 1) AS first_column
FROM pg_proc WHERE pronamespace = 'ids'::regnamespace AND proname LIKE '%\_recommend'
ORDER BY proname;

-- The first recommendation of user 3 is item 3, written as the type writes it.
SELECT kind, r.item_id, r.score > 0.5 AS high, r.rank, r.source
FROM (VALUES ('smallint', '3'), ('int', '3'), ('bigint', '3'), ('uuid', '00000000-0000-0000-0000-000000000003'), ('text', '003'),
             ('varchar', '003'), ('char', '003'), ('date', '2024-01-03'), ('enum', 'c'), ('small_id', '3'), ('shorter_id', '003'),
             ('mixed', '00000000-0000-0000-0000-000000000003')) AS v (kind, user_id),
     LATERAL persona.recommend('m_' || kind, v.user_id, 1) AS r
ORDER BY kind;

-- The same order of ids gives the same factors, whatever their type; the enum goes by label, which is the same order here.
SELECT kind, bool_and(abs(a.factor - b.factor) < 1e-5) AS same, count(*)
FROM kinds,
     LATERAL (SELECT row_number() OVER () AS row, factors FROM persona.item_factors('m_int')) AS x,
     LATERAL (SELECT row_number() OVER () AS row, factors FROM persona.item_factors('m_' || kind)) AS y,
     LATERAL unnest(x.factors) WITH ORDINALITY AS a (factor, n),
     LATERAL unnest(y.factors) WITH ORDINALITY AS b (factor, n)
WHERE x.row = y.row AND a.n = b.n
GROUP BY kind ORDER BY kind;

-- From a table, a view, a materialized view and a partitioned table: the same model.
CREATE VIEW v_int AS SELECT user_id, item_id FROM t_int ORDER BY item_id DESC, user_id;
CREATE MATERIALIZED VIEW w_int AS SELECT * FROM v_int;
CREATE TABLE p_int (item_id int, dropped int, user_id int) PARTITION BY RANGE (user_id);
CREATE TABLE p_int_low PARTITION OF p_int FOR VALUES FROM (1) TO (8);
CREATE TABLE p_int_high (user_id int, item_id int);
ALTER TABLE p_int DROP COLUMN dropped;
ALTER TABLE p_int ATTACH PARTITION p_int_high FOR VALUES FROM (8) TO (17);
INSERT INTO p_int (user_id, item_id) SELECT * FROM t_int;
SELECT (persona.train_als('m_view', 'v_int', 'user_id', 'item_id', factors => 8)).rows_used;
SELECT (persona.train_als('m_matview', 'w_int', 'user_id', 'item_id', factors => 8)).rows_used;
SELECT (persona.train_als('m_partitioned', 'p_int', 'user_id', 'item_id', factors => 8)).rows_used;
SELECT v.model, bool_and(f = v.f) AS same
FROM (SELECT 'view' AS model, f FROM persona.user_factors('m_view') AS f
      UNION ALL SELECT 'matview', f FROM persona.user_factors('m_matview') AS f
      UNION ALL SELECT 'partitioned', f FROM persona.user_factors('m_partitioned') AS f) AS v
JOIN persona.user_factors('m_int') AS f ON (f).id = (v.f).id
GROUP BY v.model ORDER BY v.model;

-- All forms of user_id. Item 3 each time.
SELECT item_id FROM persona.recommend('m_int', 3, 1);
SELECT item_id FROM persona.recommend('m_int', '3', 1);
SELECT item_id FROM persona.recommend('m_int', ' 3 ', 1);
SELECT item_id FROM persona.recommend('m_int', 3::smallint, 1);
SELECT item_id FROM persona.recommend('m_int', 3::bigint, 1);
SELECT item_id FROM persona.recommend('m_int', 3::numeric, 1);
SELECT item_id FROM persona.recommend('m_int', 3.00, 1);
SELECT item_id FROM persona.recommend('m_int', '3'::text, 1);
SELECT item_id FROM persona.recommend('m_int', '3'::varchar, 1);
SELECT item_id FROM persona.recommend('m_int', '3'::char(5), 1);
SELECT item_id FROM persona.recommend('m_int', '3'::name, 1);
SELECT item_id FROM persona.recommend('m_int', 3::small_id, 1);
SELECT item_id FROM persona.recommend('m_uuid', '00000000-0000-0000-0000-000000000003', 1);
SELECT item_id FROM persona.recommend('m_uuid', '{00000000000000000000000000000003}', 1);
SELECT item_id FROM persona.recommend('m_uuid', '00000000-0000-0000-0000-000000000003'::uuid, 1);
SELECT item_id FROM persona.recommend('m_date', '2024-01-03', 1);
SELECT item_id FROM persona.recommend('m_date', date '2024-01-03', 1);
SELECT item_id FROM persona.recommend('m_enum', 'c', 1);
SELECT item_id FROM persona.recommend('m_enum', 'c'::letter, 1);
SELECT item_id FROM persona.recommend('m_char', '003', 1);
SELECT item_id FROM persona.recommend('m_char', '003      '::char(9), 1);
SELECT item_id FROM persona.recommend('m_text', '003'::char(9), 1);
SELECT item_id FROM persona.recommend('m_shorter_id', '003'::shorter_id, 1);
PREPARE untyped AS SELECT item_id FROM persona.recommend('m_int', $1, 1);
EXECUTE untyped ('3');
PREPARE untyped_everything AS SELECT item_id FROM persona.recommend($1, $2, $3);
EXECUTE untyped_everything ('m_uuid', '00000000-0000-0000-0000-000000000003', 1);
PREPARE typed_int (int) AS SELECT item_id FROM persona.recommend('m_int', $1, 1);
EXECUTE typed_int (3);
PREPARE typed_bigint (bigint) AS SELECT item_id FROM persona.recommend('m_int', $1, 1);
EXECUTE typed_bigint (3);
PREPARE typed_function AS SELECT item_id FROM m_int_recommend($1, 1);
EXECUTE typed_function (3);
SET plan_cache_mode = force_generic_plan;
EXECUTE untyped ('3');
EXECUTE typed_function (3);
RESET plan_cache_mode;

-- Typed functions: in FROM, LATERAL, the SELECT list; by name; joined without a cast; wider arguments are refused by Postgres.
SELECT item_id, rank, source FROM m_int_recommend(3, 1);
SELECT item_id, pg_typeof(item_id), pg_typeof(score), pg_typeof(rank) FROM m_smallint_recommend(3::smallint, 1);
SELECT (m_uuid_recommend('00000000-0000-0000-0000-000000000003', 1)).item_id;
SELECT u, r.item_id FROM generate_series(1, 4) AS u, LATERAL m_int_recommend(u, 1) AS r ORDER BY u;
SELECT u, m_int_recommend(u, 0) FROM generate_series(1, 2) AS u ORDER BY u;
SELECT t.item_id, count(*) FROM m_int_recommend(user_id => 3, k => 1) AS r JOIN t_int AS t USING (item_id) GROUP BY t.item_id;
SELECT count(*) FROM m_enum_recommend('c', exclude => '{c}') AS r WHERE item_id = 'c';
SELECT item_id FROM m_date_recommend(NULL, 1, candidates => ARRAY[date '2024-01-09']);
SELECT count(*) FROM m_char_recommend('003', 16) AS r JOIN t_char AS t ON t.item_id = r.item_id AND t.user_id = '005';
SELECT item_id FROM m_int_recommend(3::bigint, 1);
SELECT item_id % 2 AS odd FROM m_int_similar_items(3, 1) AS r;
SELECT count(*) FROM m_uuid_similar_items('00000000-0000-0000-0000-000000000003', 100);
SELECT item_id % 2 AS odd, count(*) FROM m_int_recommend_for_items('{1,3}', 6) GROUP BY 1;
SELECT item_id FROM m_shorter_id_recommend('003', 1);
SELECT item_id FROM m_small_id_recommend(3, 1);
SELECT item_id FROM m_mixed_recommend('00000000-0000-0000-0000-000000000003', 1);

-- recommend_as: the same with a type of the caller's choice.
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_int', 3, NULL::bigint, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_smallint', '3', NULL::int, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_bigint', 3, NULL::smallint, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_uuid', '00000000-0000-0000-0000-000000000003', NULL::uuid, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_uuid', '00000000-0000-0000-0000-000000000003', NULL::text, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_date', date '2024-01-03', NULL::date, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_enum', 'c', NULL::letter, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_text', '003', NULL::varchar, 1);
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_small_id', 3, NULL::int, 1);
-- The result is the domain's base type: anyelement does not keep domains in arrays, but it keeps them here.
SELECT item_id, pg_typeof(item_id) FROM persona.recommend_as('m_small_id', 3, NULL::small_id, 1);

-- score in all its forms: one value.
SELECT count(DISTINCT s) FROM (VALUES
  (persona.score('m_int', 3, 3)), (persona.score('m_int', '3', '3')), (persona.score('m_int', 3, '3')), (persona.score('m_int', '3', 3)),
  (persona.score('m_int', 3::bigint, 3::smallint)), (persona.score('m_int', 3::numeric, '3'::text))) AS v (s);
SELECT persona.score('m_uuid', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000003') > 0.5 AS high;
SELECT persona.score('m_date', date '2024-01-03', date '2024-01-03') > 0.5 AS high;
SELECT persona.score('m_enum', 'c', 'c'::letter) > 0.5 AS high;

-- Quoted, mixed-case and Unicode names of everything.
CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."Käufe ""2024""" AS SELECT u AS "User", i AS "Der Artikel""s" FROM board;
SELECT (persona.train_als('"Odd Schema"."Für Dich"', '"Odd Schema"."Käufe ""2024"""', 'User', 'Der Artikel"s', factors => 8)).model;
SELECT item_id FROM persona.recommend('"Odd Schema"."Für Dich"', 3, 1);
SELECT item_id FROM "Odd Schema"."Für Dich_recommend"(3, 1);
SELECT model, relation FROM persona.models WHERE model LIKE '%Odd%';
SELECT (persona.retrain('"Odd Schema"."Für Dich"')).version;
-- A reserved word, and the longest name there is: 40 bytes.
SELECT (persona.train_als('select', 't_int', 'user_id', 'item_id', factors => 8)).model;
SELECT item_id FROM persona.recommend('select', 3, 1);
SELECT item_id FROM select_recommend(3, 1);
SELECT (persona.train_als('"' || repeat('ж', 20) || '"', 't_int', 'user_id', 'item_id', factors => 8)).version;
SELECT proname FROM pg_proc WHERE pronamespace = 'ids'::regnamespace AND proname LIKE 'ж%' ORDER BY proname;
-- Names fold as in SQL.
SELECT item_id FROM persona.recommend('M_INT', 3, 1);
SELECT item_id FROM persona.recommend('Ids.M_Int', 3, 1);
\set VERBOSITY sqlstate
SELECT item_id FROM persona.recommend('"M_INT"', 3, 1);
\set VERBOSITY default

-- Text ids of every kind: empty, blanks, Unicode, quotes, long. Two users share each pair of items.
CREATE TABLE words (user_id text, item_id text);
INSERT INTO words
SELECT u, i FROM unnest(ARRAY['', ' ', U&'\00E9', U&'e\0301', '日本', '🎉', 'O''Reilly', E'tab\tline\n', '{"a": 1}', repeat('long', 2000)]) AS u,
                 unnest(ARRAY['', ' ', '  ', 'NULL', 'ß', '\', '"quoted"', 'a,b', '{}', repeat('x', 3000)]) AS i;
SELECT (persona.train_als('m_words', 'words', 'user_id', 'item_id', factors => 2, holdout => 'none')).rows_used;
-- é as one and as two characters are two ids: bytes decide.
SELECT count(*) AS users, count(DISTINCT id) FROM persona.user_factors('m_words');
SELECT left(item_id, 12) AS item_id, length(item_id), score, rank, source FROM m_words_recommend('unknown', 3, candidates => '{"", "NULL", " "}');
SELECT count(*) FROM m_words_recommend('unknown', 20);
SELECT left(item_id, 12) AS item_id, length(item_id), rank FROM m_words_recommend('unknown', 20) ORDER BY rank;
SELECT bool_and(source = 'model'), count(*) FROM words AS w, LATERAL persona.recommend('m_words', w.user_id, 1, remove_seen => false);
-- NULL in quotes is a word, NULL without is none.
SELECT count(*) FROM m_words_recommend('unknown', 20, exclude => '{"NULL"}');
SELECT count(*) FROM m_words_recommend('unknown', 20, exclude => '{NULL}');

-- The ends of the integers; negative numbers stand before positive ones.
CREATE TABLE extremes (user_id bigint, item_id smallint);
INSERT INTO extremes SELECT u, i FROM unnest('{-9223372036854775808,-1,0,1,9223372036854775807}'::bigint[]) AS u,
                                      unnest('{-32768,-1,0,1,32767}'::smallint[]) AS i;
SELECT (persona.train_als('m_extremes', 'extremes', 'user_id', 'item_id', factors => 2, holdout => 'none')).rows_used;
SELECT id FROM persona.user_factors('m_extremes');
SELECT item_id, score, rank, source FROM m_extremes_recommend(5, 5);
SELECT source, count(*) FROM persona.recommend('m_extremes', '-9223372036854775808', remove_seen => false) GROUP BY source;
SELECT source, count(*) FROM persona.recommend('m_extremes', 9223372036854775807, remove_seen => false) GROUP BY source;
SELECT persona.recommend('m_extremes', 9223372036854775808);
-- Beyond smallint and within bigint: an unknown item, no error.
SELECT persona.score('m_extremes', 1, 70000) IS NULL AS unknown;

-- Dates at their ends.
CREATE TABLE days (user_id date, item_id date);
INSERT INTO days SELECT u, i FROM unnest('{-infinity,infinity,4713-01-01 BC,5874897-12-31,2000-01-01}'::date[]) AS u,
                                  unnest('{-infinity,infinity,0001-01-01 BC,1999-12-31}'::date[]) AS i;
SELECT (persona.train_als('m_days', 'days', 'user_id', 'item_id', factors => 2, holdout => 'none')).rows_used;
SELECT id FROM persona.user_factors('m_days');
SELECT item_id, rank FROM m_days_recommend('2024-01-01') ORDER BY rank;
SELECT source FROM m_days_similar_items('infinity', 1);

-- An enum that gets a new label, and one whose labels move: ids are labels.
ALTER TYPE letter ADD VALUE 'z';
SELECT source FROM m_enum_recommend('z', 1);
ALTER TYPE letter RENAME VALUE 'c' TO 'C';
SELECT item_id FROM persona.recommend('m_enum', 'c', 1);
SELECT count(*) FROM m_enum_recommend('e', 16);
ALTER TYPE letter RENAME VALUE 'C' TO 'c';
SELECT item_id FROM m_enum_recommend('c', 1);

SELECT persona.drop_model(model) FROM persona.models ORDER BY model;
DROP SCHEMA ids, "Odd Schema" CASCADE;
