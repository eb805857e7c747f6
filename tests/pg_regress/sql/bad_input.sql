-- Every argument of every function of the extension, and of those beside a model, with values that nobody expects.
-- A line is a function, an argument, what came of it, and the values for which it did: a SQLSTATE, the number of
-- rows, or null. A function without sample arguments below shows as such: give it some.
SET client_min_messages = warning;
CREATE SCHEMA bad;
SET search_path = bad;
SET persona.max_threads = 1;

-- A checkerboard: users are integers, items are texts.
CREATE TABLE likes (user_id int, item_id text, value real, gone int, extra jsonb, taken_at timestamptz);
INSERT INTO likes SELECT u, 'i' || i, 1, 1, '{}', timestamptz '2024-01-01' + i * interval '1 hour'
FROM generate_series(1, 10) AS u, generate_series(1, 10) AS i WHERE (u + i) % 2 = 0 AND u <> i;
ALTER TABLE likes DROP COLUMN gone;
SELECT (persona.train_als('m', 'likes', 'user_id', 'item_id', time_column => 'taken_at', factors => 2, iterations => 2, holdout => 'none')).version;
SELECT (persona.retrain('m')).version;
-- A search for its settings: a trial that ended, and one that runs.
SELECT persona._tune_begin('m', 3, 'grid', '{"factors": [2, 3, 4]}', 1, 'never', 42, '{}');
SELECT persona._tune_next('m', 3, NULL), persona._tune_measure('m', 1), persona._tune_next('m', 3, NULL);
-- Three groups, and their tables beside them.
CREATE TABLE people (id int PRIMARY KEY, a float8, b interval);
INSERT INTO people SELECT g, g % 3, g * interval '1 day' FROM generate_series(1, 12) g;
SELECT (persona.train_kmeans('s', 'people', 'id', k => 3)).version;

-- Relations of every kind.
CREATE SEQUENCE numbers;
CREATE INDEX likes_index ON likes (user_id);
CREATE TYPE pair AS (user_id int, item_id text);
CREATE VIEW likes_view AS SELECT * FROM likes;
CREATE MATERIALIZED VIEW likes_matview AS SELECT * FROM likes;
CREATE MATERIALIZED VIEW likes_unfilled AS SELECT * FROM likes WITH NO DATA;
CREATE TABLE likes_parts (LIKE likes) PARTITION BY LIST (user_id);
CREATE TABLE likes_part PARTITION OF likes_parts DEFAULT;
INSERT INTO likes_parts SELECT * FROM likes;
CREATE INDEX likes_parts_index ON likes_parts (user_id);
CREATE FOREIGN DATA WRAPPER bad_wrapper;
CREATE SERVER bad_server FOREIGN DATA WRAPPER bad_wrapper;
CREATE FOREIGN TABLE likes_foreign (user_id int, item_id text) SERVER bad_server;
CREATE TEMP TABLE likes_temp AS SELECT * FROM likes;
CREATE TYPE mood AS ENUM ('i1', 'i2');
CREATE DOMAIN never AS int CHECK (VALUE IS NULL);

-- Arguments with which each function answers.
CREATE TABLE sample (function regprocedure, arguments text[]);
INSERT INTO sample
SELECT p.oid, a.arguments
FROM (VALUES
  ('_recommend', $$'m'::regclass | 1 | 3 | NULL::text[] | NULL::text[]$$),
  ('_recommend_for_items', $$'m'::regclass | '{i1,i3}'::text[] | 3$$),
  ('_place', $$'{1,2}'::float8[]$$),
  ('_similar_items', $$'m'::regclass | 'i1'::text | 3$$),
  ('alter_model', $$'m'::text | 'likes'::regclass | '{}'::jsonb$$),
  ('attach', $$'m'::text | '{}'::jsonb$$),
  ('assign', $$'s'::text | '{1,2}'::float8[]$$),
  ('assign_row', $$'s'::text | '{"a": 1, "b": "2 days"}'::jsonb$$),
  ('check', $$$$),
  ('deploy', $$'m'::text | 1$$),
  ('detach', $$'m'::text$$),
  ('drop_model', $$'m'::text$$),
  ('evaluate', $$'m'::text | 1 | 10 | '{}'::jsonb$$),
  ('explain', $$'m'::text | 1 | 'i1'::text | '{}'::jsonb$$),
  ('grant_model', $$'m'::text | 'public'::name$$),
  ('item_factors', $$'m'::text$$),
  ('label_segment', $$'s'::text | 1 | 'x'::text$$),
  ('library_functions', $$$$),
  ('m_recommend', $$1 | 3 | NULL::text[] | NULL::text[]$$),
  ('m_recommend_for_items', $$'{i1,i3}'::text[] | 3$$),
  ('m_similar_items', $$'i1'::text | 3$$),
  ('model_facts', $$(SELECT model_id FROM persona_internal.model WHERE relation = 'm'::regclass::oid)$$),
  ('model_of', $$'m'::regclass::oid$$),
  ('popular_items', $$'m'::text | 3 | '{}'::jsonb$$),
  ('prewarm', $$'m'::text$$),
  ('publish', $$'m'::text | 'public'::name | false$$),
  ('prune', $$'m'::text | 10::int$$),
  ('publish_own', $$'m'::text | 'public'::name | 'app.user_id'::text | NULL::text$$),
  ('recommend', $$'m'::text | 1 | 3 | NULL::text[] | NULL::text[] | true | false | '{}'::jsonb$$),
  ('_recommend_all', $$'m'::regclass | 3 | NULL::int[] | NULL::text[]$$),
  ('recommend_all', $$'m'::text | 3$$),
  ('recommend_as', $$'m'::text | 1 | NULL::text | 3 | NULL::text[] | NULL::text[] | true | false | '{}'::jsonb$$),
  ('recommend_for_items', $$'m'::text | '{i1,i3}'::text[] | 3 | '{}'::jsonb$$),
  ('recommend_for_users', $$'m'::text | '{1,2}'::text[] | 3 | '{}'::jsonb$$),
  ('relation_in', $$'bad.m'::cstring$$),
  ('relation_out', $$'m'::regclass::oid::persona_internal.relation$$),
  ('retrain', $$'m'::text | '{}'::jsonb$$),
  ('revoke_model', $$'m'::text | 'public'::name$$),
  ('rollback', $$'m'::text$$),
  ('score', $$'m'::text | 1 | 'i1'::text$$),
  ('segment_distances', $$'s'::text | '{1,2}'::float8[]$$),
  ('similar_items', $$'m'::text | 'i1'::text | 3 | '{}'::jsonb$$),
  ('similar_users', $$'m'::text | 1 | 3 | '{}'::jsonb$$),
  ('update_model', $$'m'::text | '{}'::jsonb$$),
  ('train_als', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | 'implicit'::text | 2 | NULL::float8 | NULL::float8 | 1 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_bpr', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | 2 | NULL::float8 | NULL::float8 | 1 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_ease', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | NULL::float8 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_item_knn', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | 'cosine'::text | 3 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_popularity', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | NULL::float8 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_recommender', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | '1 microsecond'::interval | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('train_kmeans', $$'x'::text | 'people'::regclass | 'id'::name | '{a,b}'::name[] | 2 | 'standard'::text | 2 | 10 | 1e-4::float8 | 'none'::text | 'auto'::text | 42::int8 | NULL::text | '{}'::jsonb$$),
  ('train_rfm', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'taken_at'::name | 'value'::name | NULL::name | NULL::timestamptz | 5 | 'auto'::text | '{}'::jsonb$$),
  ('train_sgd', $$'x'::text | 'likes'::regclass | 'user_id'::name | 'item_id'::name | 'value'::name | 'taken_at'::name | 'warp'::text | 'adagrad'::text | 2 | NULL::float8 | NULL::float8 | 1 | 'none'::text | 'auto'::text | 42::int8 | '{}'::jsonb$$),
  ('training_progress', $$$$),
  ('_tune_begin', $$'m'::text | 3 | 'grid'::text | '{"factors": [2, 3, 4]}'::jsonb | 1 | 'never'::text | 42::int8 | '{}'::jsonb$$),
  ('_tune_finish', $$'m'::regclass | 'never'::text$$),
  ('_tune_measure', $$'m'::regclass | 2$$),
  ('_tune_next', $$'m'::regclass | 3 | NULL::text$$),
  ('user_factors', $$'m'::text$$),
  ('still_runs', $$1 | '2024-01-01'::timestamptz$$)
) AS s (name, text), LATERAL (SELECT string_to_array(s.text, ' | ')) AS a (arguments)
JOIN pg_proc p ON p.pronargs = cardinality(a.arguments)
WHERE p.proname = s.name AND p.pronamespace IN ('persona'::regnamespace, 'persona_internal'::regnamespace, 'bad'::regnamespace);

-- Values by the type of the argument.
CREATE TABLE value (type text, name text, expression text);
INSERT INTO value VALUES
  ('text', 'null', 'NULL::text'), ('text', 'empty', '''''::text'), ('text', 'blanks', '''   ''::text'), ('text', 'newline', 'E''\n''::text'),
  ('text', 'quote', '''''''''::text'), ('text', 'double quote', '''"''::text'), ('text', 'two double quotes', '''""''::text'),
  ('text', 'injection', '''m; DROP TABLE bad.likes''::text'), ('text', 'quoted injection', '''"m"";DROP TABLE bad.likes;--"''::text'),
  ('text', 'format', '''%I %s %n $1''::text'), ('text', 'backslash', 'E''\\''::text'), ('text', 'dots', '''a.b.c.d''::text'),
  ('text', 'unicode', '''üש𝔘''::text'), ('text', 'right to left', 'U&''\202Em\202C''::text'), ('text', 'a relation', '''likes''::text'),
  ('text', 'a schema that is not', '''nowhere.m''::text'), ('text', 'padded', '''  m  ''::text'), ('text', 'upper case', '''M''::text'),
  ('text', 'quoted', '''"m"''::text'), ('text', '1 MB', 'repeat(''x'', 1048576)'), ('text', '10 MB', 'repeat(''x'', 10485760)'),
  ('text[]', 'null', 'NULL::text[]'), ('text[]', 'empty', '''{}''::text[]'), ('text[]', 'null element', '''{NULL}''::text[]'),
  ('text[]', 'some null', '''{i1,NULL,i3}''::text[]'), ('text[]', 'unknown', '''{nobody,"",   "🛒"}''::text[]'),
  ('text[]', 'two dimensions', '''{{i1,i2},{i3,i4}}''::text[]'), ('text[]', 'lower bound', '''[5:6]={i1,i3}''::text[]'),
  ('text[]', 'repeated', '''{i1,i1,i1}''::text[]'), ('text[]', '1 MB element', 'ARRAY[repeat(''i'', 1048576)]'),
  ('text[]', 'numbers', '''{1,2}''::text[]'), ('text[]', 'repeated numbers', '''{1,01,+1}''::text[]'),
  ('text[]', 'a million', 'array_fill(''1''::text, ''{1000000}'')'), ('text[]', 'a million others', '(SELECT array_agg(''i'' || g) FROM generate_series(1, 1000000) g)'),
  ('integer', 'null', 'NULL::int'), ('integer', 'min', '(-2147483648)'), ('integer', '-1', '(-1)'), ('integer', '0', '0'),
  ('integer', '1', '1'), ('integer', '1000', '1000'), ('integer', 'max', '2147483647'),
  ('bigint', 'null', 'NULL::int8'), ('bigint', 'min', '(-9223372036854775808)'), ('bigint', '-1', '(-1::int8)'), ('bigint', '0', '0::int8'),
  ('bigint', 'max', '9223372036854775807'),
  ('double precision', 'null', 'NULL::float8'), ('double precision', 'NaN', '''NaN''::float8'), ('double precision', 'infinity', '''Infinity''::float8'),
  ('double precision', '-infinity', '''-Infinity''::float8'), ('double precision', '0', '0::float8'), ('double precision', '-0', '''-0''::float8'),
  ('double precision', '-1', '-1::float8'), ('double precision', 'denormal', '5e-324::float8'), ('double precision', '1e308', '1e308::float8'),
  ('double precision[]', 'null', 'NULL::float8[]'), ('double precision[]', 'empty', '''{}''::float8[]'), ('double precision[]', 'null element', '''{1,NULL}''::float8[]'),
  ('double precision[]', 'not finite', '''{NaN,Infinity}''::float8[]'), ('double precision[]', 'extremes', '''{1.7e308,-5e-324}''::float8[]'),
  ('double precision[]', 'two dimensions', '''{{1},{2}}''::float8[]'), ('double precision[]', 'lower bound', '''[5:6]={1,2}''::float8[]'), ('double precision[]', 'three', '''{1,2,3}''::float8[]'),
  ('double precision[]', 'a million', 'array_fill(1::float8, ''{1000000}'')'),
  ('interval', 'null', 'NULL::interval'), ('interval', '0', '''0''::interval'), ('interval', 'before', '''-1 year''::interval'), ('interval', 'longest', '''178000000 years''::interval'),
  ('interval', 'a day back and an hour on', '''-1 day 1 hour''::interval'),
  ('name[]', 'null', 'NULL::name[]'), ('name[]', 'empty', '''{}''::name[]'), ('name[]', 'null element', '''{a,NULL}''::name[]'), ('name[]', 'twice', '''{a,a}''::name[]'),
  ('name[]', 'the id', '''{id}''::name[]'), ('name[]', 'unknown', '''{nothing}''::name[]'), ('name[]', 'system column', '''{ctid}''::name[]'), ('name[]', 'injection', '''{"a, pg_sleep(1)"}''::name[]'),
  ('name[]', 'two dimensions', '''{{a,b}}''::name[]'), ('name[]', '2000 names', 'array_fill(''a''::name, ''{2000}'')'),
  ('timestamp with time zone', 'null', 'NULL::timestamptz'), ('timestamp with time zone', 'infinity', '''infinity''::timestamptz'), ('timestamp with time zone', '-infinity', '''-infinity''::timestamptz'),
  ('timestamp with time zone', 'earliest', '''4714-11-24 00:00+00 BC''::timestamptz'), ('timestamp with time zone', 'latest', '''294276-12-31 23:59:59.999999+00''::timestamptz'),
  ('boolean', 'null', 'NULL::bool'), ('boolean', 'true', 'true'), ('boolean', 'false', 'false'),
  ('name', 'null', 'NULL::name'), ('name', 'empty', '''''::name'), ('name', 'blank', ''' ''::name'), ('name', 'upper case', '''USER_ID''::name'),
  ('name', 'quoted', '''"user_id"''::name'), ('name', 'injection', '''user_id, pg_sleep(1)''::name'), ('name', 'double quote', '''"''::name'),
  ('name', 'format', '''%I %s $1''::name'), ('name', 'system column', '''ctid''::name'), ('name', 'dropped column', '''........pg.dropped.4........''::name'),
  ('name', '63 bytes', 'repeat(''x'', 63)::name'), ('name', 'cut', '(''user_id'' || repeat(''x'', 100))::name'), ('name', 'unicode', '''üש𝔘''::name'),
  ('name', 'star', '''*''::name'), ('name', 'integer column', '''user_id''::name'), ('name', 'text column', '''item_id''::name'), ('name', 'jsonb column', '''extra''::name'),
  ('name', 'timestamptz column', '''taken_at''::name'), ('name', 'public', '''PUBLIC''::name'), ('name', 'current_user', '''current_user''::name'),
  ('name', 'none', '''none''::name'), ('name', 'a role', '''pg_monitor''::name'),
  ('regclass', 'null', 'NULL::regclass'), ('regclass', '0', '0::oid::regclass'), ('regclass', 'nothing', '4000000000::oid::regclass'),
  ('regclass', 'table', '''likes''::regclass'), ('regclass', 'view', '''likes_view''::regclass'), ('regclass', 'materialized view', '''likes_matview''::regclass'),
  ('regclass', 'unfilled', '''likes_unfilled''::regclass'), ('regclass', 'partitioned', '''likes_parts''::regclass'), ('regclass', 'foreign table', '''likes_foreign''::regclass'),
  ('regclass', 'temporary', '''likes_temp''::regclass'), ('regclass', 'sequence', '''numbers''::regclass'), ('regclass', 'index', '''likes_index''::regclass'),
  ('regclass', 'partitioned index', '''likes_parts_index''::regclass'), ('regclass', 'composite type', '''pair''::regclass'), ('regclass', 'people', '''people''::regclass'), ('regclass', 'catalog', '''pg_class''::regclass'),
  ('regclass', 'toast table', '(SELECT reltoastrelid::regclass FROM pg_class WHERE oid = ''likes''::regclass)'),
  ('regclass', 'the model', '''m''::regclass'), ('regclass', 'registry', '''persona_internal.chunk''::regclass'),
  ('jsonb', 'null', 'NULL::jsonb'), ('jsonb', '{}', '''{}''::jsonb'), ('jsonb', '[]', '''[]''::jsonb'), ('jsonb', 'string', '''"x"''::jsonb'),
  ('jsonb', 'number', '''1''::jsonb'), ('jsonb', 'true', '''true''::jsonb'), ('jsonb', 'json null', '''null''::jsonb'), ('jsonb', 'array of objects', '''[{}]''::jsonb'),
  ('jsonb', 'unknown key', '''{"colour": 1}''::jsonb'), ('jsonb', 'empty key', '''{"": 1}''::jsonb'), ('jsonb', 'key of 1 MB', 'jsonb_build_object(repeat(''x'', 1048576), 1)'),
  ('jsonb', '1e400', '''{"cg_steps": 1e400}''::jsonb'), ('jsonb', '200 levels', '(''{"cg_steps":'' || repeat(''['', 200) || repeat('']'', 200) || ''}'')::jsonb'),
  ('jsonb', 'unicode key', '''{"\ud834\udd1e": 1}''::jsonb'),
  ('jsonb', 'option', '''{"cg_steps": 2}''::jsonb'), ('jsonb', 'option twice', '''{"cg_steps": 101, "cg_steps": 2}''::jsonb'), ('jsonb', 'option null', '''{"cg_steps": null}''::jsonb'),
  ('jsonb', 'option 1e1', '''{"cg_steps": 1e1}''::jsonb'), ('jsonb', 'option 2.0', '''{"cg_steps": 2.0}''::jsonb'), ('jsonb', 'option 1.5', '''{"cg_steps": 1.5}''::jsonb'), ('jsonb', 'option 0', '''{"cg_steps": 0}''::jsonb'),
  ('jsonb', 'option -1', '''{"cg_steps": -1}''::jsonb'), ('jsonb', 'option 1e300', '''{"cg_steps": 1e300}''::jsonb'), ('jsonb', 'option 20 digits', '''{"cg_steps": 12345678901234567890}''::jsonb'),
  ('jsonb', 'option object', '''{"cg_steps": {}}''::jsonb'),
  ('jsonb', 'split', '''{"split": 1}''::jsonb'), ('jsonb', 'split by user', '''{"split": "user"}''::jsonb'), ('jsonb', 'slices', '''{"slices": ["activity", "popularity"]}''::jsonb'),
  ('jsonb', 'slices null', '''{"slices": [null]}''::jsonb'), ('jsonb', 'bootstrap 1e300', '''{"bootstrap": 1e300}''::jsonb'), ('jsonb', 'bootstrap', '''{"bootstrap": 100}''::jsonb'),
  ('jsonb', 'group', '''{"group_relation": "likes", "group_id": "user_id", "group_column": "value"}''::jsonb'),
  ('jsonb', 'group injection', '''{"group_relation": "m; DROP TABLE bad.likes", "group_id": "user_id, 1", "group_column": "value)"}''::jsonb'),
  ('uuid', 'null', 'NULL::uuid'), ('uuid', 'zero', '''00000000-0000-0000-0000-000000000000''::uuid'), ('uuid', 'max', '''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid'),
  ('cstring', 'null', 'NULL::cstring'), ('cstring', 'empty', '''''::cstring'), ('cstring', 'minus', '''-''::cstring'), ('cstring', 'nothing', '''nowhere.nothing''::cstring'),
  ('cstring', 'dots', '''a.b.c.d''::cstring'), ('cstring', 'double quote', '''"''::cstring'), ('cstring', '1 MB', 'repeat(''x'', 1048576)::cstring'),
  ('oid', 'null', 'NULL::oid'), ('oid', '0', '0::oid'), ('oid', 'max', '4294967295::oid'), ('oid', 'table', '''likes''::regclass::oid'), ('oid', 'index', '''likes_index''::regclass::oid'),
  ('oid', 'other view', '''likes_view''::regclass::oid'),
  ('persona_internal.relation', 'null', 'NULL::persona_internal.relation'), ('persona_internal.relation', '0', '0::oid::persona_internal.relation'),
  ('persona_internal.relation', 'nothing', '4000000000::oid::persona_internal.relation'), ('persona_internal.relation', 'index', '''likes_index''::regclass::oid::persona_internal.relation');
-- One id of every type, for what takes any.
INSERT INTO value
SELECT type, name, expression
FROM (VALUES ('anycompatible'), ('anyelement')) AS t (type),
     (VALUES ('null', 'NULL'), ('null of integer', 'NULL::int'), ('literal', '''1'''), ('smallint', '1::int2'), ('integer', '1'), ('bigint', '1::int8'),
       ('integer max', '2147483647'), ('bigint min', '(-9223372036854775808)'), ('-1', '(-1)'), ('numeric', '1::numeric'), ('numeric 1.0', '1.0'), ('numeric 1.5', '1.5'),
       ('numeric NaN', '''NaN''::numeric'), ('numeric infinity', '''Infinity''::numeric'), ('numeric 1e300', '1e300::numeric'), ('numeric 1e-300', '1e-300::numeric'),
       ('real', '1::float4'), ('double precision', '1::float8'), ('NaN', '''NaN''::float8'), ('text', '''i1''::text'), ('text of a number', '''1''::text'), ('padded number', ''' 1 ''::text'),
       ('empty text', '''''::text'), ('1 MB', 'repeat(''x'', 1048576)'), ('varchar', '''i1''::varchar(9)'), ('char', '''i1''::char(9)'), ('"char"', '''i''::"char"'), ('name', '''i1''::name'),
       ('enum', '''i1''::mood'), ('domain', 'NULL::never'), ('uuid', '''00000000-0000-0000-0000-000000000001''::uuid'), ('date', 'date ''2024-01-01'''), ('date infinity', 'date ''infinity'''),
       ('timestamptz', 'timestamptz ''infinity'''), ('boolean', 'true'), ('jsonb', '''1''::jsonb'), ('bytea', '''\x00''::bytea'), ('money', '1::money'), ('oid', '1::oid'),
       ('regclass', '''likes''::regclass'), ('array', '''{1}''::int[]'), ('text array', '''{i1}''::text[]'), ('range', '''[1,2)''::int4range'), ('row', 'ROW(1, 2)'), ('table row', '(SELECT l FROM likes l LIMIT 1)')) AS v (name, expression);
INSERT INTO value SELECT 'anyarray', name, expression FROM value WHERE type = 'text[]';
INSERT INTO value VALUES ('anyarray', 'untyped', '''{i1}'''), ('anyarray', 'integers', '''{1}''::int[]'), ('anyarray', 'uuids', 'ARRAY[''00000000-0000-0000-0000-000000000001''::uuid]'),
  ('anyarray', 'varchar', '''{i1}''::varchar[]'), ('anyarray', 'names', '''{i1}''::name[]'), ('anyarray', 'enums', '''{i1}''::mood[]'), ('anyarray', 'reals', '''{1}''::float4[]'), ('anyarray', 'not an array', '1');
INSERT INTO value SELECT 'anycompatiblearray', name, expression FROM value WHERE type = 'anyarray';

-- Runs a call, takes back what it did, and says what came of it; the session must serve afterwards.
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE outcome text; n bigint; nulls bigint;
BEGIN
  BEGIN
    EXECUTE 'SELECT count(*), count(*) FILTER (WHERE to_jsonb(x) IS NULL) FROM ' || call || ' AS x' INTO n, nulls;
    RAISE EXCEPTION USING ERRCODE = 'PV000',
      MESSAGE = CASE WHEN n = 1 AND nulls = 1 THEN 'null' WHEN n = 1 THEN '1 row' ELSE n || ' rows' END;
  EXCEPTION
    WHEN SQLSTATE 'PV000' THEN outcome := SQLERRM;
    WHEN OTHERS THEN outcome := SQLSTATE;
  END;
  IF (SELECT array_agg(r.item_id) FROM m_recommend(1) AS r) IS DISTINCT FROM (SELECT items FROM served) THEN
    outcome := outcome || ', and serves no more';
  END IF;
  RETURN outcome;
END $$;
CREATE TABLE served AS SELECT array_agg(item_id) AS items FROM m_recommend(1);
SELECT cardinality(items) FROM served;

CREATE VIEW function AS
SELECT p.oid, p.oid::regprocedure AS function, p.proargtypes, s.arguments,
       CASE WHEN count(*) OVER (PARTITION BY p.proname, p.pronargs) = 1 THEN p.proname::text ELSE p.oid::regprocedure::text END AS name
FROM pg_proc p LEFT JOIN sample s ON s.function = p.oid
-- What is immutable works on the values of a query alone; the tests stats, scale, rfm, page_hinkley and quantiles
-- have its bad input.
-- Triggers and procedures are no functions of a query: the test attach has theirs.
WHERE p.provolatile <> 'i' AND p.prorettype <> 'trigger'::regtype AND p.prokind <> 'p' AND p.oid IN (SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
                  AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_persona'))
   OR p.oid IN (SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass('m'));

-- The samples themselves.
SELECT f.name, CASE WHEN f.arguments IS NULL THEN 'NO SAMPLE ARGUMENTS'
                    ELSE attempt(f.function::regproc || '(' || array_to_string(f.arguments, ', ') || ')') END AS outcome
FROM function f ORDER BY f.name COLLATE "C";

-- Each argument, the others being those of the sample.
CREATE TABLE outcome AS
SELECT f.name AS function, coalesce(p.proargnames[a.n], '$' || a.n) AS argument, a.n, v.name AS value,
       attempt(f.function::regproc || '(' || array_to_string(f.arguments[:a.n - 1] || v.expression || f.arguments[a.n + 1:], ', ') || ')') AS outcome
FROM function f
JOIN pg_proc p USING (oid)
CROSS JOIN LATERAL unnest(f.proargtypes) WITH ORDINALITY AS a (type, n)
LEFT JOIN value v ON v.type = CASE WHEN a.type::regtype::text = 'regclass' THEN 'regclass' ELSE a.type::regtype::text END
WHERE f.arguments IS NOT NULL;
SELECT function, argument FROM outcome WHERE value IS NULL;
\pset format unaligned
\pset fieldsep ' | '
SELECT function, argument, outcome, string_agg(value, ', ' ORDER BY value COLLATE "C") AS "values"
FROM outcome GROUP BY function, n, argument, outcome ORDER BY function COLLATE "C", n, outcome COLLATE "C";
-- An internal error is a bug; so are data that are damaged, a crash, a lost right.
SELECT * FROM outcome WHERE outcome !~ '^(\d+ rows?|null|(0A|02|22|3F|42|53|54|55)\w{3})$';
-- What a training is told of items and users.
-- What is known of the items, odd in every column, and of two that nobody has.
CREATE TABLE things (id text PRIMARY KEY, size float8, word text, words text[]);
INSERT INTO things VALUES ('i1', 'NaN', '', '{a,NULL,""}'), ('i2', 1e308, NULL, NULL), ('i3', -1e308, 'a', '{}'), ('i4', 'Infinity', repeat('x', 10000), '{{a,b},{c,d}}'),
  ('i5', 5e-324, 'a', '[5:6]={a,b}'), ('new', 0, 'a', '{a,a,a}'), ('', NULL, NULL, array_fill('a'::text, '{10000}'));
CREATE TABLE told (name text, options text);
INSERT INTO told VALUES
  ('odd rows', '{"item_features": {"relation": "things", "id_column": "id", "columns": ["size", "word", "words"]}}'),
  ('of both', '{"user_features": {"relation": "people", "id_column": "id", "columns": ["a", "b"]}, "item_features": {"relation": "things", "id_column": "id", "columns": ["word"]}}'),
  ('null', '{"item_features": null}'), ('a text', '{"item_features": "things"}'), ('an array', '{"item_features": ["things"]}'),
  ('no columns', '{"item_features": {"relation": "things", "id_column": "id", "columns": []}}'), ('no id', '{"item_features": {"relation": "things", "columns": ["size"]}}'),
  ('a column twice', '{"item_features": {"relation": "things", "id_column": "id", "columns": ["size", "size"]}}'),
  ('the id', '{"item_features": {"relation": "things", "id_column": "id", "columns": ["id"]}}'),
  ('no relation', '{"item_features": {"relation": "nowhere", "id_column": "id", "columns": ["size"]}}'),
  ('no column', '{"item_features": {"relation": "things", "id_column": "id", "columns": ["colour"]}}'),
  ('other ids', '{"item_features": {"relation": "people", "id_column": "id", "columns": ["a"]}}'),
  ('a jsonb', '{"item_features": {"relation": "likes", "id_column": "item_id", "columns": ["extra"]}}'),
  ('ids twice', '{"item_features": {"relation": "likes", "id_column": "item_id", "columns": ["value"]}}'),
  ('no rows', '{"item_features": {"relation": "nothing", "id_column": "id", "columns": ["size"]}}'),
  ('an index', '{"item_features": {"relation": "likes_index", "id_column": "user_id", "columns": ["user_id"]}}'),
  ('the model', '{"item_features": {"relation": "m", "id_column": "version", "columns": ["version"]}}'),
  ('injection', '{"item_features": {"relation": "things", "id_column": "id", "columns": ["size FROM things; DROP TABLE likes; --"]}}'),
  ('a name of 1 MB', jsonb_build_object('item_features', jsonb_build_object('relation', repeat('x', 1048576), 'id_column', 'id', 'columns', '["size"]'::jsonb)));
CREATE TABLE nothing AS SELECT * FROM things WHERE false;
SELECT name, attempt(format($$persona.train_als('x', 'likes', 'user_id', 'item_id', factors => 2, iterations => 1, holdout => 'none', options => %L)$$, options)) AS als,
       attempt(format($$persona.train_bpr('x', 'likes', 'user_id', 'item_id', factors => 2, iterations => 1, holdout => 'none', options => %L)$$, options)) AS bpr,
       attempt(format($$persona.train_ease('x', 'likes', 'user_id', 'item_id', holdout => 'none', options => %L)$$, options)) AS ease
FROM told ORDER BY name COLLATE "C";
-- Numbers that are not finite, or too far apart, leave answers finite.
SELECT (persona.train_als('informed', 'likes', 'user_id', 'item_id', factors => 2, holdout => 'none', options => (SELECT options::jsonb FROM told WHERE name = 'odd rows'))).version;
SELECT count(*) AS items, bool_and(abs(score) < 1e6) AS finite FROM persona.recommend('informed', 1, 99, remove_seen => false);
SELECT persona.drop_model('informed');
-- 100 MB, here and there.
SELECT call, attempt(format(call, 'repeat(''x'', 104857600)')) AS outcome
FROM (VALUES ('persona.recommend(%s, 1)'), ('persona.recommend(''m'', %s)'), ('persona.similar_items(''m'', %s)'),
             ('persona.recommend(''m'', 1, exclude => ARRAY[%s])'), ('persona.recommend(''m'', 1, options => jsonb_build_object(%s, 1))'),
             ('persona.alter_model(''m'', column_map => jsonb_build_object(''user_column'', %s))'),
             ('persona.train_als(''x'', ''likes'', ''user_id'', ''item_id'', holdout => %s)')) AS v (call);
-- Nothing was left behind, nothing was dropped.
SELECT count(*) FROM likes;
SELECT model, version FROM persona.models ORDER BY 1;
SELECT label, count(*) FROM s_members GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM persona.versions;

SELECT persona.drop_model('m'), persona.drop_model('s');
DROP FOREIGN DATA WRAPPER bad_wrapper CASCADE;
DROP SCHEMA bad CASCADE;
