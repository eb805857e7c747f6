-- Models that follow their source: what each kind of statement queues, and what cannot be followed.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA attached;
SET search_path = attached;

CREATE TABLE orders (user_id bigint, item_id text, at timestamptz, PRIMARY KEY (user_id, item_id));
INSERT INTO orders SELECT u, 'item-' || (u / 5 + i) % 20, timestamptz '2024-01-01 00:00+00' + u * interval '1 hour'
FROM generate_series(1, 60) u, generate_series(1, 8) i;
SELECT deployed FROM persona.train_als('shop', 'orders', 'user_id', 'item_id', factors => 4, iterations => 2, holdout => 'none');

-- What is queued, in words, and the queue is emptied by hand of the superuser.
CREATE FUNCTION queued(OUT users text, OUT everything bool) LANGUAGE sql AS $$
  WITH taken AS (DELETE FROM persona_internal.queue RETURNING user_ids)
  SELECT (SELECT string_agg(DISTINCT u, ' ' ORDER BY u) FROM taken, unnest(user_ids) u), bool_or(user_ids IS NULL) FROM taken $$;
CREATE FUNCTION triggers(OUT relation regclass, OUT trigger text, OUT enabled "char") RETURNS SETOF record LANGUAGE sql AS $$
  SELECT tgrelid::regclass, regexp_replace(tgname, '_[0-9a-f]{32}_', '_ID_'), tgenabled FROM pg_trigger
  WHERE tgfoid = 'persona._queue_changes()'::regprocedure ORDER BY tgrelid::regclass::text, tgname $$;

-- Nothing is queued of a model that is not attached; detaching it does nothing.
SELECT persona.detach('shop');
INSERT INTO orders VALUES (1, 'new', now());
SELECT * FROM persona.queue;

-- The first work-off reads everything: nobody knows what changed before.
SELECT persona.attach('shop');
SELECT model, pending, lost, oldest IS NOT NULL AS waits FROM persona.queue;
SELECT * FROM triggers();
-- Again: nothing changes.
SELECT * FROM queued();
SELECT persona.attach('shop');
SELECT * FROM triggers();
SELECT model, pending, lost FROM persona.queue;

-- Every kind of statement.
INSERT INTO orders VALUES (101, 'item-1', now());
SELECT * FROM queued();
INSERT INTO orders VALUES (101, 'item-2', now()), (102, 'item-2', now()), (101, 'item-3', now());
SELECT * FROM queued();
COPY orders FROM stdin;
103	item-1	2024-01-01
104	item-1	2024-01-01
\.
SELECT * FROM queued();
INSERT INTO orders VALUES (101, 'item-1', now()), (105, 'item-1', now()) ON CONFLICT (user_id, item_id) DO UPDATE SET at = excluded.at;
SELECT * FROM queued();
INSERT INTO orders VALUES (101, 'item-1', now()) ON CONFLICT DO NOTHING;
SELECT * FROM queued();
MERGE INTO orders o USING (VALUES (101, 'item-1'), (102, 'item-2'), (106, 'item-1')) v (user_id, item_id) ON o.user_id = v.user_id AND o.item_id = v.item_id
WHEN MATCHED AND o.user_id = 102 THEN DELETE WHEN MATCHED THEN UPDATE SET at = now() WHEN NOT MATCHED THEN INSERT VALUES (v.user_id, v.item_id, now());
SELECT * FROM queued();
UPDATE orders SET at = now() WHERE user_id = 103;
SELECT * FROM queued();
-- The key itself: both users changed.
UPDATE orders SET user_id = 203 WHERE user_id = 103;
SELECT * FROM queued();
DELETE FROM orders WHERE user_id IN (203, 104);
SELECT * FROM queued();
-- Nothing changed.
DELETE FROM orders WHERE user_id = -1;
UPDATE orders SET at = now() WHERE false;
SELECT * FROM queued();
-- A data-modifying CTE, and what it feeds.
WITH gone AS (DELETE FROM orders WHERE user_id = 105 RETURNING *) INSERT INTO orders SELECT 107, item_id, at FROM gone;
SELECT * FROM queued();
-- A statement that is rolled back queues nothing.
BEGIN; INSERT INTO orders VALUES (108, 'item-1', now()); SAVEPOINT s; INSERT INTO orders VALUES (109, 'item-1', now()); ROLLBACK TO s; COMMIT;
SELECT * FROM queued();
-- More users of one statement than fit into a row: each once.
BEGIN; INSERT INTO orders SELECT g, 'many', now() FROM generate_series(10001, 11000) g; UPDATE orders SET at = now() WHERE item_id = 'many';
SELECT pending FROM persona.queue;
SELECT count(*) > 10 AS rows, count(DISTINCT u) AS users FROM persona_internal.queue, unnest(user_ids) u;
ROLLBACK;
-- Anything may have changed.
BEGIN; TRUNCATE orders; SELECT pending, lost FROM persona.queue; ROLLBACK;

-- A retraining that goes live works the queue off; one that does not leaves it.
INSERT INTO orders VALUES (110, 'item-1', now());
SELECT deployed FROM persona.retrain('shop', '{"deploy": "never"}');
SELECT pending FROM persona.queue;
SELECT deployed FROM persona.retrain('shop', '{"deploy": "always"}');
SELECT pending, lost FROM persona.queue;
SELECT source = 'model' AS known FROM persona.recommend('shop', 110, 1);
INSERT INTO orders VALUES (111, 'item-1', now());
CALL persona.work_queue();
SELECT pending, lost FROM persona.queue;
SELECT source = 'model' AS known FROM persona.recommend('shop', 111, 1);

-- Rows that were written as they were: nothing has changed, and nothing waits any more.
UPDATE orders SET at = at WHERE user_id = 111;
SELECT pending FROM persona.queue;
SELECT deploy_reason FROM persona.update_model('shop');
SELECT pending FROM persona.queue;
-- An update that does not go live leaves the queue as it is.
SELECT deployed FROM persona.train_als('held', 'orders', 'user_id', 'item_id', factors => 4, iterations => 2, holdout => 'none', deploy => 'never');
SELECT persona.deploy('held', 1), persona.attach('held');
SELECT * FROM queued();
INSERT INTO orders VALUES (119, 'item-1', now());
SELECT version, deployed FROM persona.update_model('held');
SELECT model, pending FROM persona.queue ORDER BY 1;
-- What a version has read and did not go live is not read again until something comes in; deployed, it has it.
SELECT persona.detach('held'), persona.attach('held');
CALL persona.work_queue('held');
CALL persona.work_queue('held');
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
INSERT INTO orders VALUES (119, 'item-2', now());
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
CALL persona.work_queue('held');
CALL persona.work_queue('held');
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
INSERT INTO orders VALUES (119, 'item-3', now());
SELECT persona.deploy('held', 4);
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
CALL persona.work_queue('held');
CALL persona.work_queue('held');
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
SELECT version, is_live, hyperparameters -> 'updated_from' AS updated_from FROM persona.versions WHERE model = 'held' ORDER BY 1;
-- What the newer one read is for the next work-off where an older one is deployed, which has read less.
INSERT INTO orders VALUES (119, 'item-4', now());
CALL persona.work_queue('held');
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
SELECT persona.deploy('held', 4);
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
SELECT persona.rollback('held');
SELECT pending, lost, kept_back FROM persona.queue WHERE model = 'held';
SELECT persona.drop_model('held');
DELETE FROM persona_internal.queue;

-- Another source, or another column: everything is to be read, and persona.check() tells what is not followed.
CREATE TABLE other AS SELECT * FROM orders;
SELECT persona.alter_model('shop', relation => 'other');
SELECT lost FROM persona.queue;
SELECT level, message, hint FROM persona.check();
SELECT persona.attach('shop');
SELECT DISTINCT relation FROM triggers();
SELECT * FROM persona.check();
SELECT * FROM queued();
INSERT INTO orders VALUES (112, 'item-1', now());
SELECT * FROM queued();
INSERT INTO other VALUES (113, 'item-1', now());
SELECT * FROM queued();

-- Never the statement: what goes wrong is a warning, and the next work-off reads everything.
\set VERBOSITY terse
ALTER TABLE other RENAME COLUMN user_id TO buyer;
INSERT INTO other VALUES (114, 'item-1', now());
\set VERBOSITY default
SELECT count(*) FROM other WHERE buyer = 114;
SELECT * FROM queued();
SELECT message FROM persona.check();
SELECT persona.alter_model('shop', column_map => '{"user_column": "buyer"}');
SELECT * FROM queued();
INSERT INTO other VALUES (115, 'item-1', now());
SELECT * FROM queued();
SELECT * FROM persona.check();
-- Without its trigger for one kind of statement.
SELECT tgname FROM pg_trigger WHERE tgrelid = 'other'::regclass AND tgname ~ 'delete' \gset
ALTER TABLE other DISABLE TRIGGER :tgname;
SELECT message FROM persona.check();
SELECT persona.attach('shop');
SELECT message FROM persona.check();
SELECT DISTINCT enabled FROM triggers();

-- A trigger that somebody makes on a table of his own queues nothing for a foreign model.
CREATE TABLE mine (user_id bigint);
SELECT model_id FROM persona_internal.model WHERE last_name = 'attached.shop' \gset
SELECT * FROM queued();
CREATE TRIGGER sneak AFTER INSERT ON mine REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION persona._queue_changes(:'model_id');
CREATE TRIGGER wrong AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION persona._queue_changes('x');
\set VERBOSITY terse
INSERT INTO mine VALUES (1);
\set VERBOSITY default
SELECT count(*) FROM persona_internal.queue;
DROP TABLE mine;
SELECT persona._queue_changes();

-- Detached: no trigger, no queue.
SELECT * FROM queued();
SELECT persona.detach('shop');
SELECT * FROM triggers();
SELECT * FROM persona.queue;

-- Partitions: a statement on the source and one on a partition are both seen; a partition that comes later is told of.
CREATE TABLE events (day date, user_id bigint, item_id text) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') PARTITION BY RANGE (user_id);
CREATE TABLE events_1_low (item_id text, day date, user_id bigint);
ALTER TABLE events_1 ATTACH PARTITION events_1_low FOR VALUES FROM (0) TO (1000000);
INSERT INTO events SELECT '2024-01-02', user_id, item_id FROM orders WHERE user_id < 61;
SELECT deployed FROM persona.train_als('parts', 'events', 'user_id', 'item_id', factors => 4, iterations => 2, holdout => 'none');
SELECT persona.attach('parts', '{"replica": true}');
SELECT * FROM triggers();
SELECT * FROM queued();
INSERT INTO events VALUES ('2024-01-03', 301, 'item-1');
SELECT * FROM queued();
INSERT INTO events_1 VALUES ('2024-01-03', 302, 'item-1');
SELECT * FROM queued();
INSERT INTO events_1_low VALUES ('item-1', '2024-01-03', 303);
SELECT * FROM queued();
TRUNCATE events_1_low;
SELECT * FROM queued();
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
SELECT message, hint FROM persona.check();
INSERT INTO events_2 VALUES ('2024-02-03', 304, 'item-1');
SELECT * FROM queued();
-- Called again it follows that too, keeps the option, and has everything read.
SELECT persona.attach('parts');
SELECT relation, count(*) FROM triggers() GROUP BY 1 ORDER BY 1;
SELECT * FROM queued();
INSERT INTO events_2 VALUES ('2024-02-03', 305, 'item-1');
UPDATE events SET day = '2024-01-05' WHERE user_id = 305;
SELECT * FROM queued();
-- So it has where a partition has left.
ALTER TABLE events DETACH PARTITION events_2;
SELECT persona.attach('parts');
SELECT relation FROM triggers() GROUP BY 1 ORDER BY 1;
SELECT * FROM queued();
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
SELECT persona.attach('parts');
SELECT * FROM queued();
-- As a subscriber applies changes: row by row.
SET session_replication_role = replica;
INSERT INTO events_2 VALUES ('2024-02-03', 306, 'item-1');
UPDATE events_2 SET user_id = 307 WHERE user_id = 306;
SELECT * FROM queued();
DELETE FROM events_2 WHERE user_id = 307;
SELECT * FROM queued();
TRUNCATE events_2;
RESET session_replication_role;
SELECT * FROM queued();
SELECT persona.attach('parts', '{"replica": false}');
SELECT DISTINCT enabled FROM triggers();
SELECT message FROM persona.check();
-- Dropping the model drops the triggers; dropping the source takes them along.
SELECT persona.drop_model('parts');
SELECT * FROM triggers();
INSERT INTO events VALUES ('2024-01-03', 301, 'item-1');
SELECT count(*) FROM persona_internal.queue;

-- Inheritance.
CREATE TABLE old_orders () INHERITS (orders);
SELECT persona.alter_model('shop', 'orders', '{"user_column": "user_id"}');
SELECT persona.attach('shop');
SELECT * FROM queued();
INSERT INTO old_orders VALUES (401, 'item-1', now());
SELECT * FROM queued();
UPDATE orders SET at = now() WHERE user_id = 401;
SELECT * FROM queued();

-- Ids of other types, in the form that the model knows them by.
SET DateStyle = german;
CREATE TYPE colour AS ENUM ('red', 'blue');
CREATE DOMAIN small AS int CHECK (VALUE > 0);
CREATE TABLE typed (d date, u uuid, c char(5), e colour, s small, i text);
INSERT INTO typed SELECT date '2024-01-01' + g % 9, md5((g % 9)::text)::uuid, 'c' || g % 9, 'red', 1 + g % 9, 'item-' || g % 7 FROM generate_series(1, 100) g;
SELECT persona.detach('shop');
DO $$
DECLARE a text;
BEGIN
  FOREACH a IN ARRAY '{d,u,c,e,s}'::text[] LOOP
    PERFORM persona.train_als('by_' || a, 'typed', a, 'i', factors => 2, iterations => 1, holdout => 'none', deploy => 'always');
    PERFORM persona.attach('by_' || a);
  END LOOP;
END $$;
DELETE FROM persona_internal.queue;
INSERT INTO typed VALUES ('24.12.2024', '00000000-0000-0000-0000-0000000000AB', 'x', 'blue', 7, 'item-1');
INSERT INTO typed VALUES (NULL, NULL, NULL, NULL, NULL, 'item-1');
SELECT m.last_name, q.user_ids FROM persona_internal.queue q JOIN persona_internal.model m USING (model_id) ORDER BY 1;
RESET DateStyle;
-- All of them are brought up to date by one call.
CALL persona.work_queue();
SELECT model, pending, lost FROM persona.queue ORDER BY 1;

-- What cannot be followed.
CREATE VIEW seen AS SELECT * FROM orders;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders;
SELECT persona.alter_model('shop', 'seen');
SELECT persona.attach('shop');
SELECT persona.alter_model('shop', 'kept');
SELECT persona.attach('shop');
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far (user_id bigint, item_id text, at timestamptz) SERVER nowhere;
SELECT persona.alter_model('shop', 'far');
SELECT persona.attach('shop');
CREATE FOREIGN TABLE events_far PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2025-02-01') SERVER nowhere;
SELECT persona.alter_model('shop', 'events');
SELECT persona.attach('shop');
DROP FOREIGN TABLE events_far;
SELECT persona.attach('shop');
-- The model is gone but for its triggers.
DROP VIEW shop CASCADE;
SELECT count(*) FROM triggers() WHERE relation = 'events'::regclass;
DELETE FROM persona_internal.queue;
SET client_min_messages = error;
INSERT INTO events VALUES ('2024-01-03', 308, 'item-1') RETURNING user_id;
SET client_min_messages = warning;
SELECT count(*) FROM persona_internal.queue;

-- Only for the owner of both.
CREATE ROLE attach_owner; CREATE ROLE attach_other;
GRANT USAGE ON SCHEMA persona TO attach_owner, attach_other;
GRANT USAGE, CREATE ON SCHEMA attached TO attach_owner; GRANT USAGE ON SCHEMA attached TO attach_other;
GRANT SELECT, TRIGGER ON other TO attach_owner;
SET ROLE attach_owner;
SELECT deployed FROM persona.train_als('hers', 'other', 'buyer', 'item_id', factors => 2, iterations => 1, holdout => 'none');
SELECT persona.attach('hers');
RESET ROLE;
ALTER TABLE other OWNER TO attach_owner;
SET ROLE attach_owner;
SELECT persona.attach('hers');
GRANT SELECT, INSERT ON other TO attach_other;
SET ROLE attach_other;
SELECT persona.attach('hers');
SELECT persona.detach('hers');
-- Who has no right on anything but the table inserts into it.
INSERT INTO other VALUES (501, 'item-1', now());
SELECT * FROM persona.queue;
CALL persona.work_queue();
CALL persona.work_queue('hers');
SELECT * FROM persona_internal.queue;
RESET ROLE;
SELECT model, pending FROM persona.queue WHERE model = 'hers';
-- Who may only be served sees the queue, and does not train.
SELECT persona.grant_model('hers', 'attach_other');
SET ROLE attach_other;
SELECT model, pending FROM persona.queue;
CALL persona.work_queue();
CALL persona.work_queue('hers');
RESET ROLE;
-- The triggers belong to the model: its owner ends them on a table that is no longer hers.
ALTER TABLE other OWNER TO CURRENT_USER;
SET ROLE attach_owner;
SELECT persona.drop_model('hers');
RESET ROLE;
SELECT count(*) FROM triggers() WHERE relation = 'other'::regclass;

-- Nor are triggers made on a partition of somebody else.
CREATE TABLE hers_too (user_id bigint, item_id text) PARTITION BY RANGE (user_id);
CREATE TABLE hers_not PARTITION OF hers_too FOR VALUES FROM (0) TO (1000);
INSERT INTO hers_too SELECT user_id, item_id FROM orders WHERE user_id < 61;
ALTER TABLE hers_too OWNER TO attach_owner;
SET ROLE attach_owner;
SELECT deployed FROM persona.train_als('hers', 'hers_too', 'user_id', 'item_id', factors => 2, iterations => 1, holdout => 'none');
SELECT persona.attach('hers');
SELECT persona.drop_model('hers');
RESET ROLE;

-- A procedure that cannot run in a transaction block.
INSERT INTO typed VALUES ('2024-12-24', NULL, NULL, NULL, NULL, 'item-1');
BEGIN;
CALL persona.work_queue();
ROLLBACK;
CALL persona.work_queue(max_seconds => 0);
CALL persona.work_queue(max_seconds => 'NaN');
CALL persona.work_queue('orders');
CALL persona.work_queue('nowhere');
CALL persona.work_queue('a.b.c.d');
SELECT persona.attach('by_d', '{"replicas": true}');
SELECT persona.attach('by_d', '{"replica": 1}');
SELECT persona.attach('nowhere');
SELECT persona.attach('orders');
SELECT persona.attach(NULL);
SELECT persona.detach(NULL);
CREATE TABLE people AS SELECT g AS id, g % 3 AS a FROM generate_series(1, 12) g;
SELECT deployed FROM persona.train_kmeans('groups', 'people', 'id', k => 3);
SELECT persona.attach('groups');
CALL persona.work_queue('by_d', 60);
SELECT pending FROM persona.queue WHERE model = 'by_d';
-- One that fails is a warning, and the next one goes on.
INSERT INTO typed VALUES ('2024-12-24', '00000000-0000-0000-0000-0000000000AC', NULL, NULL, NULL, 'item-1');
UPDATE persona_internal.model SET spec = jsonb_set(spec, '{item_column}', '"no such"') WHERE last_name = 'attached.by_d';
\set VERBOSITY terse
CALL persona.work_queue();
\set VERBOSITY default
SELECT model, pending FROM persona.queue WHERE model IN ('by_d', 'by_u') ORDER BY 1;

-- What a newer version took from the queue, an older one has not seen: after a rollback everything is read.
CREATE TABLE walks AS SELECT u, i, i + 500 AS other FROM generate_series(1, 60) AS u, generate_series(1, 20) AS i WHERE u % 2 = i % 2 AND u % 10 <> i / 2;
SELECT version FROM persona.train_als('walks_model', 'walks', 'u', 'i', factors => 4, holdout => 'none');
SELECT persona.attach('walks_model');
CALL persona.work_queue('walks_model');
INSERT INTO walks VALUES (1000, 2), (1000, 4), (1000, 6);
CALL persona.work_queue('walks_model');
SELECT persona.rollback('walks_model');
SELECT lost FROM persona.queue WHERE model = 'walks_model';
CALL persona.work_queue('walks_model');
SELECT max(source) AS source FROM persona.recommend('walks_model', 1000, 1);
SELECT persona.deploy('walks_model', version) FROM persona.versions WHERE model = 'walks_model' AND is_stored AND NOT is_live;
SELECT lost FROM persona.queue WHERE model = 'walks_model';
CALL persona.work_queue('walks_model');
SELECT persona.alter_model('walks_model', column_map => '{"item_column": "other"}');
SELECT lost FROM persona.queue WHERE model = 'walks_model';

SET client_min_messages = warning;
DROP SCHEMA attached CASCADE;
DROP SERVER nowhere; DROP FOREIGN DATA WRAPPER nothing;
DROP OWNED BY attach_owner, attach_other;
DROP ROLE attach_owner, attach_other;
