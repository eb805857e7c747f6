-- Models of segments by k-means: what they find, what they refuse, and what their tables say over trainings.
CREATE SCHEMA km;
SET search_path = km;
SET persona.max_threads = 1;
\pset format unaligned
\pset fieldsep ' | '
-- Errors are shown by code, message, detail and hint.
CREATE FUNCTION fails(call text) RETURNS TABLE(code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'SELECT FROM ' || call;
  code := 'no error'; RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN NEXT;
END $$;

\echo '== three clear groups'
-- Around (0, 0), (100, 0) and (0, 1000), each with 20 rows whose mean is the centre.
CREATE TABLE people (id int PRIMARY KEY, a float8, b float8);
INSERT INTO people
SELECT 20 * g + i, (ARRAY[0, 100, 0])[g + 1] + (i % 5 - 2), (ARRAY[0, 0, 1000])[g + 1] + 10 * (i % 4 - 1.5)
FROM generate_series(0, 2) g, generate_series(0, 19) i;
SELECT model, version, algorithm, rows_used, rows_skipped, converged, metric, round(value::numeric, 6) AS value, baseline, live_value, deployed, deploy_reason
FROM persona.train_kmeans('tiers', 'people', 'id', k => 3);
SELECT segment_id, label, members, round(share::numeric, 6) AS share, round(mean_distance::numeric, 6) AS mean_distance, model_version, retired_at
FROM tiers_segments ORDER BY 1;
-- Each group is one segment, and no two have the same.
SELECT id / 20 AS "group", count(*), count(DISTINCT segment_id), count(DISTINCT label) FROM tiers_members GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT segment_id) FROM tiers_members;
-- Means, deviations and distances beside plain SQL.
SELECT count(*) AS rows,
       bool_and(abs(p.mean - q.mean) < 1e-9 AND abs(p.population_mean - q.population) < 1e-9 AND abs(p.z - (q.mean - q.population) / q.deviation) < 1e-9) AS same
FROM tiers_profile p
JOIN (SELECT DISTINCT m.segment_id, f.feature, avg(f.x) OVER (PARTITION BY m.segment_id, f.feature) AS mean,
             avg(f.x) OVER (PARTITION BY f.feature) AS population, stddev_pop(f.x) OVER (PARTITION BY f.feature) AS deviation
      FROM people JOIN tiers_members m USING (id), LATERAL (VALUES ('a', a), ('b', b)) f (feature, x)) q USING (segment_id, feature);
SELECT count(*), bool_and(abs(m.distance - sqrt(((p.a - c.a) / d.a) ^ 2 + ((p.b - c.b) / d.b) ^ 2)) < 1e-5) AS distances
FROM people p JOIN tiers_members m USING (id)
JOIN (SELECT segment_id, avg(a) AS a, avg(b) AS b FROM people JOIN tiers_members USING (id) GROUP BY 1) c USING (segment_id),
     (SELECT stddev_pop(a) AS a, stddev_pop(b) AS b FROM people) d;
SELECT bool_and(abs(s.share - n / 60.0) < 1e-12 AND s.members = n AND abs(s.mean_distance - d) < 1e-9) FROM tiers_segments s
JOIN (SELECT segment_id, count(*) AS n, avg(distance) AS d FROM tiers_members GROUP BY 1) m USING (segment_id);
SELECT version, algorithm, rows_used, rows_skipped, metric, round(value::numeric, 6) AS value, baseline FROM persona.versions;
SELECT hyperparameters - '{inertia}'::text[] AS hyperparameters, round((hyperparameters ->> 'inertia')::numeric, 6) AS inertia FROM persona.versions;
SELECT metric, k, slice, is_live, round(value::numeric, 6) AS value FROM persona.metrics ORDER BY 1, 2;
SELECT version, slice, metric, k, round(value::numeric, 6) AS value, baseline, users FROM persona.evaluate('tiers') ORDER BY metric;
SELECT model, algorithm, version, metric, round(value::numeric, 6) AS value, rows_used FROM persona.models;
SELECT algorithm, version, rows_used, metric FROM tiers;
SELECT phase, count(*) FILTER (WHERE iteration IS NULL) AS phases, count(*) FILTER (WHERE iteration IS NOT NULL) > 0 AS iterations, bool_and(seconds >= 0) FROM persona.training_log GROUP BY 1 ORDER BY phase COLLATE "C";
SELECT * FROM persona.check();
-- The tables, as psql shows them.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(c.oid, a.attnum) IS NOT NULL AS comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relname LIKE 'tiers%' AND c.relkind = 'r' ORDER BY c.relname, a.attnum;
SELECT conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'tiers%' AND contype = 'p' ORDER BY 1;

\echo '== asking'
SELECT count(*), bool_and(m.segment_id = persona.assign('tiers', ARRAY[p.a, p.b])) AS assign,
       bool_and(m.segment_id = persona.assign_row('tiers', to_jsonb(p))) AS assign_row,
       bool_and((m.segment_id, m.label, m.distance) = (SELECT d.segment_id, d.label, d.distance FROM persona.segment_distances('tiers', ARRAY[p.a, p.b]) d LIMIT 1)) AS nearest
FROM people p JOIN tiers_members m USING (id);
SELECT count(*), bool_and(distance >= before) AS rising FROM (SELECT distance, lag(distance, 1, 0.0) OVER () AS before FROM persona.segment_distances('tiers', '{3,4}')) d;
SELECT persona.assign('tiers', '{1,NULL}'), persona.assign('tiers', '{1,NaN}'), persona.assign('tiers', '{-Infinity,1}'), persona.assign('tiers', NULL),
       persona.assign_row('tiers', '{"a": null, "b": 1}'), persona.assign_row('tiers', NULL);
SELECT count(*) FROM persona.segment_distances('tiers', '{1,NULL}');
SELECT count(*) FROM persona.segment_distances('tiers', NULL);
SELECT persona.assign_row('tiers', '{"a": "1e2", "b": false, "c": []}') = persona.assign('tiers', '{100,0}') AS texts;
SELECT f.* FROM unnest(ARRAY[
  $$persona.assign('tiers', '{1}')$$, $$persona.assign('tiers', '{}')$$, $$persona.assign('tiers', '{1,2,3}')$$, $$persona.assign(NULL, '{1,2}')$$,
  $$persona.assign('nothing', '{1,2}')$$, $$persona.assign_row('tiers', '{"a": 1}')$$, $$persona.assign_row('tiers', '{"a": 1, "B": 1}')$$,
  $$persona.assign_row('tiers', '{"a": 1, "b": []}')$$, $$persona.assign_row('tiers', '{"a": 1, "b": "much"}')$$, $$persona.assign_row('tiers', '{"a": 1, "b": "1 parsec"}')$$,
  $$persona.assign_row('tiers', '[1]')$$, $$persona.segment_distances('tiers', '{1}')$$, $$persona._place('{1,2}')$$]) call, fails(call) f;

\echo '== what recommenders answer'
CREATE TABLE likes AS SELECT i % 7 AS user_id, i % 11 AS item_id, now() AS at FROM generate_series(1, 60) i;
SELECT f.code, f.message, f.hint FROM unnest(ARRAY[
  $$persona.recommend('tiers', 1)$$, $$persona.similar_items('tiers', 1)$$, $$persona.popular_items('tiers')$$, $$persona.score('tiers', 1, 'x')$$,
  $$persona.item_factors('tiers')$$, $$persona.user_factors('tiers')$$, $$persona.recommend_for_items('tiers', '{1}')$$, $$persona.recommend_for_users('tiers', '{1}')$$, $$persona.similar_users('tiers', 1)$$,
  $$persona.evaluate('tiers', k => 0)$$,
  $$persona.train_als('tiers', 'likes', 'user_id', 'item_id')$$]) call, fails(call) f;
SELECT version FROM persona.train_als('shop', 'likes', 'user_id', 'item_id', factors => 2, iterations => 1, holdout => 'none');
SELECT f.code, f.message, f.hint FROM unnest(ARRAY[
  $$persona.assign('shop', '{1,2}')$$, $$persona.assign_row('shop', '{}')$$, $$persona.segment_distances('shop', '{1}')$$, $$persona.label_segment('shop', 1, 'x')$$,
  $$persona.train_kmeans('shop', 'people', 'id')$$, $$persona.train_rfm('tiers', 'likes', 'user_id', 'at', 'item_id')$$]) call, fails(call) f;
SELECT persona.drop_model('shop');

\echo '== another training of the same rows writes none'
CREATE TABLE was AS SELECT 'm' AS of, id AS a, segment_id AS b, ctid AS place, xmin::text AS writer FROM tiers_members
  UNION ALL SELECT 's', segment_id, NULL, ctid, xmin::text FROM tiers_segments UNION ALL SELECT 'p', segment_id, NULL, ctid, xmin::text FROM tiers_profile
  UNION ALL SELECT 'h', id, segment_id, ctid, xmin::text FROM tiers_history;
CREATE VIEW written AS SELECT of, count(*) FROM (
  SELECT 'm' AS of, ctid AS place, xmin::text AS writer FROM tiers_members UNION ALL SELECT 's', ctid, xmin::text FROM tiers_segments
  UNION ALL SELECT 'p', ctid, xmin::text FROM tiers_profile UNION ALL SELECT 'h', ctid, xmin::text FROM tiers_history) n
  WHERE NOT EXISTS (SELECT FROM was w WHERE (w.of, w.place, w.writer) = (n.of, n.place, n.writer)) GROUP BY of ORDER BY of;
SELECT version, deployed, deploy_reason FROM persona.retrain('tiers');
SELECT * FROM written;
-- In another physical order, too: one that the sums of floats would notice.
CREATE TABLE shuffled AS SELECT * FROM people ORDER BY md5(id::text);
SELECT persona.alter_model('tiers', relation => 'shuffled');
SELECT version FROM persona.retrain('tiers');
SELECT * FROM written;
SELECT DISTINCT hyperparameters ->> 'inertia' = first_value(hyperparameters ->> 'inertia') OVER (ORDER BY version) AS same FROM persona.versions;

\echo '== one row moves to another group'
UPDATE shuffled SET a = 100, b = 5 WHERE id = 0;
SELECT version FROM persona.retrain('tiers');
SELECT m.id, m.model_version, (SELECT segment_id FROM tiers_members WHERE id = 20) = m.segment_id AS as_20 FROM tiers_members m WHERE id IN (0, 20) ORDER BY 1;
SELECT id, segment_id = (SELECT segment_id FROM tiers_members WHERE id = 1) AS first, exited_at IS NULL AS open, exited_at = lead(entered_at) OVER (ORDER BY entered_at) AS gapless,
       previous_segment_id = lag(segment_id) OVER (ORDER BY entered_at) AS previous FROM tiers_history WHERE id = 0 ORDER BY entered_at;
SELECT count(*) FILTER (WHERE exited_at IS NULL) AS open, count(*) FILTER (WHERE exited_at IS NOT NULL) AS closed FROM tiers_history;
SELECT count(DISTINCT id) FROM was w JOIN tiers_members m ON (m.id, m.segment_id) = (w.a, w.b) WHERE w.of = 'm';

\echo '== all rows move a little'
CREATE TABLE earlier AS TABLE tiers_members;
UPDATE shuffled SET a = a + id % 3, b = b * 1.1 + 7;
SELECT version FROM persona.retrain('tiers');
SELECT count(*), bool_and(t.segment_id = m.segment_id) AS segments, bool_and(t.distance = m.distance) AS distances FROM earlier t JOIN tiers_members m USING (id);
SELECT count(*) FROM tiers_history WHERE exited_at IS NULL AND entered_at < (SELECT max(assigned_at) FROM tiers_members);

\echo '== rows that come, go, and cannot be placed'
INSERT INTO shuffled VALUES (100, NULL, 1), (101, 1, 'NaN'), (102, '-Infinity', 1), (103, 100, 0), (104, NULL, 'NaN');
DELETE FROM shuffled WHERE id = 59;
UPDATE shuffled SET b = NULL WHERE id = 58;
SELECT rows_used, rows_skipped FROM persona.retrain('tiers');
SELECT id, segment_id IS NOT NULL AS placed, label IS NOT NULL AS labelled, distance IS NOT NULL AS near, reason FROM tiers_members WHERE id >= 57 ORDER BY 1;
SELECT id, exited_at IS NULL AS open, previous_segment_id FROM tiers_history WHERE id >= 57 ORDER BY 1;
SELECT hyperparameters -> 'rows_with_null' AS with_null, hyperparameters -> 'rows_not_finite' AS not_finite FROM persona.versions ORDER BY version DESC LIMIT 1;
-- And back.
UPDATE shuffled SET b = 1000 WHERE id = 58;
SELECT version FROM persona.retrain('tiers');
SELECT count(*), count(*) FILTER (WHERE exited_at IS NULL) AS open, count(DISTINCT segment_id) FROM tiers_history WHERE id = 58;

\echo '== labels'
SELECT segment_id AS gold FROM tiers_members WHERE id = 40 \gset
SELECT label AS generated FROM tiers_segments WHERE segment_id = :gold \gset
SELECT persona.label_segment('tiers', :gold, 'Gold');
SELECT label, count(*) FROM tiers_members WHERE segment_id = :gold GROUP BY 1;
SELECT label FROM tiers_segments WHERE segment_id = :gold;
SELECT label FROM persona.segment_distances('tiers', '{0,1000}') LIMIT 1;
DELETE FROM was;
INSERT INTO was SELECT 'm', id, segment_id, ctid, xmin::text FROM tiers_members UNION ALL SELECT 's', segment_id, NULL, ctid, xmin::text FROM tiers_segments
  UNION ALL SELECT 'p', segment_id, NULL, ctid, xmin::text FROM tiers_profile UNION ALL SELECT 'h', id, segment_id, ctid, xmin::text FROM tiers_history;
SELECT version FROM persona.retrain('tiers');
SELECT * FROM written;
SELECT label FROM tiers_segments WHERE segment_id = :gold;
SELECT persona.label_segment('tiers', :gold, NULL);
SELECT label = :'generated' FROM tiers_segments WHERE segment_id = :gold;
SELECT f.* FROM unnest(ARRAY[
  $$persona.label_segment('tiers', 99, 'x')$$, $$persona.label_segment('tiers', -1, 'x')$$, $$persona.label_segment('tiers', NULL, 'x')$$, $$persona.label_segment('tiers', 1, '')$$,
  $$persona.label_segment('tiers', 1, E' \n')$$, $$persona.label_segment('tiers', 1, repeat('ü', 201))$$, $$persona.label_segment(NULL, 1, 'x')$$,
  $$persona.label_segment('nothing', 1, 'x')$$]) call, fails(call) f;
SELECT persona.label_segment('tiers', 1, repeat('ü', 200)), persona.label_segment('tiers', 1, 'It''s "one"; --');
SELECT label FROM tiers_segments WHERE segment_id = 1;

\echo '== segments retire, and their ids are nobody else''s'
SELECT version FROM persona.retrain('tiers', '{"k": 2}');
SELECT count(*) FILTER (WHERE retired_at IS NULL) AS live, count(*) FILTER (WHERE retired_at IS NOT NULL AND members = 0 AND share = 0 AND mean_distance IS NULL) AS retired, max(segment_id) FROM tiers_segments;
SELECT count(DISTINCT segment_id) FROM tiers_profile;
SELECT count(*) FROM tiers_history h JOIN tiers_segments s USING (segment_id) WHERE s.retired_at IS NOT NULL AND h.exited_at IS NULL;
SELECT version FROM persona.retrain('tiers', '{"k": 3}');
SELECT segment_id, members > 0 AS members, retired_at IS NULL AS live, created_at < (SELECT max(created_at) FROM tiers_segments) AS old FROM tiers_segments ORDER BY 1;
-- What was only tried has had its ids too.
SELECT version, deployed, deploy_reason FROM persona.retrain('tiers', '{"k": 6, "deploy": "never"}');
SELECT max(segment_id) FROM tiers_segments;
SELECT (hyperparameters ->> 'next_segment_id')::int AS tried FROM persona.versions ORDER BY version DESC LIMIT 1 \gset
SELECT version FROM persona.retrain('tiers', '{"k": 5}');
SELECT min(segment_id) >= :tried AS "fresh ids" FROM tiers_segments WHERE model_version = (SELECT version FROM tiers) AND created_at = (SELECT max(created_at) FROM tiers_segments);

\echo '== back and forth, with the rows of now'
DROP VIEW written;
SELECT persona.drop_model('tiers');
SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', '{a,b}', 3);
CREATE TABLE first AS TABLE tiers_members;
SELECT version FROM persona.retrain('tiers', '{"k": 2}');
INSERT INTO people VALUES (60, 1, 1);
SELECT persona.rollback('tiers');
SELECT count(*), bool_and((f.segment_id, f.label, f.distance) = (m.segment_id, m.label, m.distance)) AS same, bool_and(m.model_version = 1) AS version FROM first f JOIN tiers_members m USING (id);
SELECT segment_id = (SELECT segment_id FROM first WHERE id = 1) AS placed, model_version FROM tiers_members WHERE id = 60;
SELECT count(*), count(*) FILTER (WHERE retired_at IS NULL) AS live FROM tiers_segments;
SELECT persona.deploy('tiers', 2);
SELECT count(DISTINCT segment_id) FROM tiers_members;
SELECT count(*) FROM (SELECT id, count(*) FILTER (WHERE exited_at IS NULL) FROM tiers_history GROUP BY 1 HAVING count(*) FILTER (WHERE exited_at IS NULL) <> 1) wrong;
-- Undone, nothing is left of it.
BEGIN;
SELECT persona.deploy('tiers', 1);
SELECT count(DISTINCT segment_id) FROM tiers_members;
ROLLBACK;
SELECT count(DISTINCT segment_id), (SELECT version FROM tiers) FROM tiers_members;
-- Twice in one transaction and in one statement, also where the transaction has one snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT persona.deploy('tiers', 1);
SELECT persona.deploy('tiers', 2), (SELECT version FROM persona.retrain('tiers', '{"k": 3}'));
COMMIT;
SELECT count(DISTINCT segment_id), (SELECT version FROM tiers) FROM tiers_members;
SELECT count(*) FROM (SELECT id FROM tiers_history WHERE exited_at IS NULL GROUP BY 1 HAVING count(*) <> 1) wrong;
DELETE FROM people WHERE id = 60;

\echo '== how many segments'
SELECT version, round(value::numeric, 4) AS value FROM persona.train_kmeans('chosen', 'people', 'id');
SELECT metric, k, round(value::numeric, 4) AS value FROM persona.metrics WHERE model = 'chosen' AND metric = 'silhouette' ORDER BY k;
SELECT count(*) FROM chosen_segments;
SELECT version FROM persona.retrain('chosen', '{"k_max": 2}');
SELECT hyperparameters -> 'k' AS k FROM persona.versions WHERE model = 'chosen' ORDER BY version;
SELECT persona.drop_model('chosen');

\echo '== fewer rows that differ than segments'
CREATE TABLE few (id text, x int, constant float8);
INSERT INTO few SELECT 'r' || i, i % 2, 1e9 FROM generate_series(1, 9) i;
SELECT rows_used, metric, value FROM persona.train_kmeans('few_m', 'few', 'id', k => 5);
SELECT segment_id, label, members, mean_distance FROM few_m_segments ORDER BY 1;
SELECT segment_id, feature, mean, population_mean, round(z::numeric, 6) AS z FROM few_m_profile ORDER BY 1, 2;
SELECT version FROM persona.retrain('few_m', '{"k": null}');
SELECT count(*) FROM few_m_segments WHERE retired_at IS NULL;
UPDATE few SET x = 7;
SELECT version, metric, value FROM persona.retrain('few_m', '{"k": null}');
SELECT count(DISTINCT segment_id), count(*) FROM few_m_members;
SELECT version, metric, value FROM persona.retrain('few_m', '{"k": 1}');
DELETE FROM few WHERE id <> 'r1';
SELECT version, rows_used FROM persona.retrain('few_m', '{"k": 3}');
SELECT members, share, mean_distance FROM few_m_segments WHERE retired_at IS NULL;
DELETE FROM few;
SELECT f.* FROM fails($$persona.retrain('few_m')$$) f;
-- A version that goes live beside an empty table has no members.
SELECT persona.deploy('few_m', (SELECT version FROM few_m));
SELECT count(*), (SELECT count(*) FROM few_m_profile) AS profile, (SELECT count(*) FROM few_m_history WHERE exited_at IS NULL) AS open FROM few_m_members;
SELECT members, share, mean_distance FROM few_m_segments WHERE retired_at IS NULL;
SELECT persona.drop_model('few_m');

\echo '== columns of every type'
CREATE DOMAIN cents AS numeric(12, 2);
CREATE DOMAIN flag AS bool;
CREATE DOMAIN span AS interval;
CREATE TABLE wide (id date, s smallint, i int, l bigint, r real, d float8, n numeric, b bool, v interval, cents cents, flag flag, span span);
INSERT INTO wide SELECT date '2024-01-01' + g, g % 3, g % 3, (g % 3)::bigint << 40, (g % 3) / 3.0, (g % 3) / 3.0, (g % 3) / 3.0, g % 3 = 1,
  make_interval(years => g % 3, months => g % 7, days => g, secs => g * 0.5), (g % 3) / 3.0, g % 3 = 2, make_interval(hours => g % 3) FROM generate_series(1, 30) g;
SELECT rows_used FROM persona.train_kmeans('wide_m', 'wide', 'id', k => 3);
SELECT count(*), bool_and(m.segment_id = persona.assign_row('wide_m', to_jsonb(w))) AS assign_row,
       bool_and(m.segment_id = persona.assign('wide_m', ARRAY[s, i, l, r, d, n, b::int, extract(epoch FROM v) / 86400, cents, flag::int, extract(epoch FROM span) / 86400]::float8[])) AS assign
FROM wide w JOIN wide_m_members m USING (id);
SELECT feature, round(population_mean::numeric, 6) AS mean FROM wide_m_profile WHERE segment_id = 1 ORDER BY 1;
SELECT round(avg(extract(epoch FROM v) / 86400), 6) AS days FROM wide;
-- Intervals are read in any style, and months count as in EXTRACT.
SET intervalstyle = iso_8601;
SELECT bool_and(m.segment_id = persona.assign_row('wide_m', to_jsonb(w))) FROM wide w JOIN wide_m_members m USING (id);
RESET intervalstyle;
SELECT persona.drop_model('wide_m');
-- What is no number is refused by name, whether it was named or not.
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE kinds (id int, x int, t text, at timestamptz, day date, u uuid, j jsonb, a float8[], e mood, m money, "Größe ""x""" bit);
SELECT f.* FROM unnest('{t,at,day,u,j,a,e,m,"Größe \"x\""}'::text[]) c, LATERAL fails(format($$persona.train_kmeans('m', 'kinds', 'id', ARRAY['x', %L]::name[])$$, c)) f;
SELECT f.* FROM fails($$persona.train_kmeans('m', 'kinds', 'id')$$) f;
CREATE TABLE alone (id int);
SELECT f.* FROM unnest(ARRAY[
  $$persona.train_kmeans('m', 'alone', 'id')$$, $$persona.train_kmeans('m', 'people', 'id', '{}')$$, $$persona.train_kmeans('m', 'people', 'id', '{a,a}')$$,
  $$persona.train_kmeans('m', 'people', 'id', '{a,id}')$$, $$persona.train_kmeans('m', 'people', 'id', '{a,NULL}')$$, $$persona.train_kmeans('m', 'people', 'id', '{c}')$$,
  $$persona.train_kmeans('m', 'people', 'ID')$$, $$persona.train_kmeans('m', 'people', 'a')$$, $$persona.train_kmeans('m', 'people', 'id', k => 0)$$,
  $$persona.train_kmeans('m', 'people', 'id', k => 10001)$$, $$persona.train_kmeans('m', 'people', 'id', scaling => 'l2')$$, $$persona.train_kmeans('m', 'people', 'id', n_init => 0)$$,
  $$persona.train_kmeans('m', 'people', 'id', max_iterations => 0)$$, $$persona.train_kmeans('m', 'people', 'id', tolerance => -1)$$, $$persona.train_kmeans('m', 'people', 'id', tolerance => 'NaN')$$,
  $$persona.train_kmeans('m', 'people', 'id', holdout => 'time')$$, $$persona.train_kmeans('m', 'people', 'id', deploy => 'perhaps')$$, $$persona.train_kmeans('m', 'people', 'id', features => 'f')$$,
  $$persona.train_kmeans('m', 'people', 'id', options => '{"k_max": 1}')$$, $$persona.train_kmeans('m', 'people', 'id', options => '{"k": 3}')$$, $$persona.train_kmeans('m', 'alone', NULL)$$,
  $$persona.train_kmeans('m', 'kinds', 'id', '{x}')$$, $$persona.retrain('tiers', '{"feature_columns": ["a"]}')$$]) call, fails(call) f;
SELECT count(*) FROM pg_class WHERE relnamespace = 'km'::regnamespace AND relname LIKE 'm%' AND relkind IN ('r', 'v');

\echo '== ids of every type, NULL among them'
CREATE DOMAIN code AS varchar(9) CHECK (VALUE <> '');
CREATE FUNCTION ids_of(type text, expression text) RETURNS TABLE(column_type text, members bigint, joined bigint, skipped bigint) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE typed (id %s, x int)', type);
  EXECUTE format('INSERT INTO typed SELECT %s, g %% 2 FROM generate_series(0, 1) g', expression);
  INSERT INTO typed VALUES (NULL, 1), (NULL, 0);
  SELECT rows_skipped INTO skipped FROM persona.train_kmeans('typed_m', 'typed', 'id', k => 2);
  -- The second time members are compared and not only written.
  UPDATE typed SET x = 1 - x;
  PERFORM persona.retrain('typed_m');
  SELECT format_type(atttypid, atttypmod) INTO column_type FROM pg_attribute WHERE attrelid = 'typed_m_members'::regclass AND attnum = 1;
  SELECT count(*) INTO members FROM typed_m_members;
  SELECT count(*) INTO joined FROM typed_m_members m JOIN typed USING (id) WHERE m.segment_id = persona.assign('typed_m', ARRAY[x]);
  PERFORM persona.drop_model('typed_m');
  DROP TABLE typed;
  RETURN NEXT;
END $$;
SELECT t.type, i.* FROM (VALUES ('smallint', 'g'), ('integer', 'g'), ('bigint', 'g'), ('uuid', 'md5(g::text)::uuid'), ('text', '''ü'' || g'), ('text COLLATE "C"', 'g::text'), ('varchar(3)', 'g'),
  ('char(9)', '''long '' || g'), ('date', '(ARRAY[''infinity'', ''-infinity'']::date[])[g + 1]'), ('date', '''2024-01-01''::date + g'), ('mood', '(enum_range(NULL::mood))[g + 1]'), ('code', '''c'' || g')) t (type, expression), ids_of(type, expression) i;
SELECT f.code, f.message FROM unnest('{float8,numeric,jsonb,timestamptz,bool,int[]}'::text[]) type, LATERAL fails(format('ids_of(%L, ''NULL'')', type)) f;

\echo '== ids that are not unique'
CREATE TABLE twice (id int, x int);
INSERT INTO twice VALUES (1, 1), (2, 2), (2, 3);
SELECT f.* FROM fails($$persona.train_kmeans('m', 'twice', 'id')$$) f;
-- An index that does not say it of every row.
CREATE UNIQUE INDEX ON twice (id) WHERE x < 3;
CREATE UNIQUE INDEX ON twice (id, x);
SELECT f.code, f.message FROM fails($$persona.train_kmeans('m', 'twice', 'id')$$) f;
CREATE TABLE parent (id int PRIMARY KEY, x int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 2);
SELECT f.code FROM fails($$persona.train_kmeans('m', 'parent', 'id', k => 1)$$) f;
UPDATE twice SET id = 3 WHERE x = 3;
SELECT version FROM persona.train_kmeans('m', 'twice', 'id', k => 2);
DROP INDEX twice_id_idx;
UPDATE twice SET id = 2 WHERE x = 3;
SELECT f.code, f.message FROM unnest(ARRAY[$$persona.retrain('m')$$, $$persona.deploy('m', 1)$$]) call, fails(call) f;
SELECT id, segment_id IS NOT NULL AS placed FROM m_members ORDER BY 1;
SELECT persona.drop_model('m');

\echo '== names that the tables need'
CREATE TABLE named (segment_id int, label int, distance int, model_version int, assigned_at int, reason int, previous_segment_id int, entered_at int, exited_at int, frequency int, n int, id int);
INSERT INTO named SELECT g, g, g, g, g, g, g, g, g, g, g, g FROM generate_series(1, 4) g;
SELECT f.* FROM unnest('{segment_id,label,distance,model_version,assigned_at,reason,previous_segment_id,entered_at,exited_at}'::text[]) c, LATERAL fails(format($$persona.train_kmeans('m', 'named', %L, k => 2)$$, c)) f LIMIT 1;
SELECT c, f.code FROM unnest('{segment_id,label,distance,model_version,assigned_at,reason,previous_segment_id,entered_at,exited_at}'::text[]) c, LATERAL fails(format($$persona.train_kmeans('m', 'named', %L, k => 2)$$, c)) f;
SELECT c, f.code FROM unnest('{frequency,n}'::text[]) c, LATERAL fails(format($$persona.train_kmeans('m_%1$s', 'named', %1$L, k => 2)$$, c)) f;
SELECT persona.retrain('m_n') IS NOT NULL, persona.retrain('m_frequency') IS NOT NULL;
SELECT persona.drop_model('m_n'), persona.drop_model('m_frequency');
-- A relation that stands in the way.
CREATE TABLE m_profile (x int);
SELECT f.* FROM fails($$persona.train_kmeans('m', 'people', 'id', k => 2)$$) f;
DROP TABLE m_profile;

\echo '== numbers at the edges'
CREATE TABLE edges (id int, x float8, y numeric);
INSERT INTO edges VALUES (1, 1e308, 1), (2, -1e308, 2), (3, 5e-324, 3), (4, -0.0, 4);
SELECT s, f.* FROM unnest('{none,standard,min_max,robust}'::text[]) s, LATERAL fails(format($$persona.train_kmeans('edge_%1$s', 'edges', 'id', '{x}', 2, scaling => %1$L)$$, s)) f;
SELECT count(DISTINCT segment_id) FILTER (WHERE segment_id IS NOT NULL) AS segments, count(*) FROM edge_standard_members;
SELECT id, segment_id IS NOT NULL AS placed, reason FROM edge_min_max_members ORDER BY 1;
INSERT INTO edges VALUES (5, 1, 1e400);
SELECT f.code, left(f.message, 20) AS message, right(f.message, 40) AS rest FROM fails($$persona.train_kmeans('edge2', 'edges', 'id', '{y}', 2)$$) f;
SELECT persona.drop_model('edge_standard'), persona.drop_model('edge_min_max');

\echo '== other columns, another name of the ids'
CREATE TABLE moved AS SELECT id AS customer, a AS "A b", b, a * 2 AS c FROM people;
SELECT f.* FROM unnest(ARRAY[
  $$persona.alter_model('tiers', 'moved')$$, $$persona.alter_model('tiers', 'moved', '{"id_column": "customer"}')$$, $$persona.alter_model('tiers', column_map => '{"feature_columns": "a"}')$$,
  $$persona.alter_model('tiers', column_map => '{"feature_columns": ["a", 1]}')$$, $$persona.alter_model('tiers', column_map => '{"features": ["a"]}')$$,
  $$persona.alter_model('tiers', column_map => '{"id_column": null}')$$, $$persona.alter_model('tiers', column_map => '{"feature_columns": ["nothing"]}')$$,
  $$persona.alter_model('tiers', column_map => '{"id_column": "a"}')$$]) call, fails(call) f;
SELECT persona.alter_model('tiers', 'moved', '{"id_column": "customer", "feature_columns": ["A b", "b"]}');
SELECT version FROM persona.retrain('tiers');
SELECT count(*), bool_and(m.segment_id = persona.assign_row('tiers', to_jsonb(x))) FROM moved x JOIN tiers_members m ON m.id = x.customer;
SELECT persona.alter_model('tiers', column_map => '{"feature_columns": null}');
SELECT version FROM persona.retrain('tiers');
SELECT hyperparameters -> 'feature_columns' FROM persona.versions WHERE model = 'tiers' ORDER BY version DESC LIMIT 1;
SELECT DISTINCT feature FROM tiers_profile ORDER BY 1;
SELECT persona.rollback('tiers');
SELECT DISTINCT feature FROM tiers_profile ORDER BY 1;
-- A version whose features are gone cannot go live.
ALTER TABLE moved DROP COLUMN c;
SELECT f.code, f.message FROM fails($$persona.deploy('tiers', (SELECT max(version) FROM persona.versions WHERE model = 'tiers'))$$) f;
DROP TABLE moved;
SELECT f.code, f.message, f.hint FROM unnest(ARRAY[$$persona.retrain('tiers')$$, $$persona.rollback('tiers')$$]) call, fails(call) f;
SELECT level, model, message, hint FROM persona.check();
SELECT persona.alter_model('tiers', 'people', '{"id_column": "id", "feature_columns": ["a", "b"]}');
SELECT version FROM persona.retrain('tiers');

\echo '== grants, owners, dependent views'
CREATE ROLE km_reader;
GRANT USAGE ON SCHEMA km TO km_reader;
SELECT persona.grant_model('tiers', 'km_reader');
SELECT c.relname, has_table_privilege('km_reader', c.oid, 'SELECT') AS may_read, has_table_privilege('km_reader', c.oid, 'INSERT') AS may_write FROM pg_class c WHERE relname LIKE 'tiers%' AND relkind IN ('r', 'v') ORDER BY 1;
SELECT version FROM persona.retrain('tiers');
SELECT count(*) FROM pg_class c WHERE relname LIKE 'tiers%' AND relkind IN ('r', 'v') AND has_table_privilege('km_reader', c.oid, 'SELECT');
SELECT persona.revoke_model('tiers', 'km_reader');
SELECT count(*) FROM pg_class c WHERE relname LIKE 'tiers%' AND relkind IN ('r', 'v') AND has_table_privilege('km_reader', c.oid, 'SELECT');
CREATE VIEW gold AS SELECT id FROM tiers_members WHERE segment_id = 1;
SELECT f.code, f.message FROM fails($$persona.drop_model('tiers')$$) f;
SELECT count(*) FROM pg_class WHERE relname LIKE 'tiers%' AND relkind IN ('r', 'v');
ALTER TABLE tiers_history OWNER TO km_reader;
SELECT level, model, message, hint FROM persona.check();
ALTER TABLE tiers_history OWNER TO CURRENT_USER;
ALTER TABLE tiers_history RENAME TO past;
SELECT version FROM persona.retrain('tiers');
SELECT count(*) > 0 FROM past;
DROP TABLE past;
SELECT level, model, message, hint FROM persona.check();
SELECT f.* FROM fails($$persona.retrain('tiers')$$) f;
DROP VIEW gold;
SELECT persona.drop_model('tiers');
SELECT relname FROM pg_class WHERE relname LIKE 'tiers%';
SELECT (SELECT count(*) FROM persona_internal.model) AS models, (SELECT count(*) FROM persona_internal.output) AS tables, (SELECT count(*) FROM persona_internal.label) AS labels, (SELECT count(*) FROM persona_internal.chunk) AS chunks;

\echo '== a view that is dropped by hand'
-- Its tables stay, and no training takes them over: they are told of until they are gone.
SELECT version FROM persona.train_kmeans('lost', 'people', 'id', k => 3);
DROP VIEW lost;
SELECT level, model, message, hint FROM persona.check();
SELECT f.* FROM fails($$persona.train_kmeans('lost', 'people', 'id', k => 3)$$) f;
SELECT version FROM persona.train_kmeans('found', 'people', 'id', k => 3);
SELECT level, model, message, hint FROM persona.check();
SELECT (SELECT count(*) FROM persona_internal.model) AS models, (SELECT count(DISTINCT model_id) FROM persona_internal.version) AS with_versions,
       (SELECT count(*) FROM persona_internal.output) AS tables;
-- Whose tables they are may see it, too; others do not.
GRANT USAGE ON SCHEMA persona TO km_reader;
SET ROLE km_reader;
SELECT count(*) FROM persona.check();
RESET ROLE;
ALTER TABLE lost_history OWNER TO km_reader;
SET ROLE km_reader;
SELECT model, message FROM persona.check();
RESET ROLE;
REVOKE USAGE ON SCHEMA persona FROM km_reader;
DO $$ BEGIN EXECUTE (SELECT hint FROM persona.check()); END $$;
SELECT level, model, message, hint FROM persona.check();
SELECT version FROM persona.train_kmeans('lost', 'people', 'id', k => 3);
SELECT count(*) FROM persona.check();
SELECT (SELECT count(*) FROM persona_internal.model) AS models, (SELECT count(*) FROM persona_internal.output) AS tables;
SELECT persona.drop_model(m) FROM unnest('{lost,found}'::text[]) AS m;
-- Tables of somebody's own.
CREATE TABLE mine_profile ();
SELECT f.* FROM fails($$persona.train_kmeans('mine', 'people', 'id', k => 3)$$) f;

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA km CASCADE;
DROP ROLE km_reader;
