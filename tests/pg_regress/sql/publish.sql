-- The typed functions in an API schema, called as PostgREST calls.
SET client_min_messages = warning;
CREATE ROLE regress_owner;
CREATE ROLE regress_web;
CREATE ROLE regress_guest;
GRANT USAGE ON SCHEMA persona TO regress_owner;
CREATE SCHEMA publish AUTHORIZATION regress_owner;
CREATE SCHEMA api AUTHORIZATION regress_owner;
CREATE SCHEMA "Api 2" AUTHORIZATION regress_owner;
CREATE SCHEMA closed;
GRANT USAGE ON SCHEMA api, "Api 2" TO regress_web, regress_guest;
SET ROLE regress_owner;
SET search_path = publish;
CREATE TABLE board AS SELECT u::bigint, i FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
SELECT version FROM persona.train_als('m', 'board', 'u', 'i', factors => 4, holdout => 'none');

SELECT persona.publish('m', 'api');
-- Again changes nothing.
SELECT persona.publish('m', 'api');
SELECT p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), provolatile, proparallel, prosecdef, proconfig, proacl, proowner::regrole
FROM pg_proc p WHERE pronamespace = 'api'::regnamespace ORDER BY 1;
-- No two functions of a name, no word of PostgREST among the arguments.
SELECT count(*), count(DISTINCT proname), bool_or(proargnames && '{select,order,limit,offset,columns,and,or,not,on_conflict}') FROM pg_proc WHERE pronamespace = 'api'::regnamespace;

-- A web role without any right to the schemas of the model and of the extension: SELECT on the view alone.
SET ROLE regress_web;
PREPARE rpc (json) AS
WITH pgrst_args AS (SELECT * FROM json_to_record($1) AS _(user_id bigint, k int))
SELECT item_id, rank, source FROM api.m_recommend(user_id => (SELECT user_id FROM pgrst_args LIMIT 1), k => (SELECT k FROM pgrst_args LIMIT 1));
EXECUTE rpc('{"user_id": 7, "k": 1}');
RESET ROLE;
GRANT SELECT ON publish.m TO regress_web;
SET ROLE regress_web;
EXECUTE rpc('{"user_id": 7, "k": 1}');
WITH pgrst_args AS (SELECT * FROM json_to_record('{"items": [1, 3], "k": 2}') AS _(items int[], k int))
SELECT count(*), bool_and(item_id % 2 = 1) FROM api.m_recommend_for_items(items => (SELECT items FROM pgrst_args LIMIT 1), k => (SELECT k FROM pgrst_args LIMIT 1));
WITH pgrst_args AS (SELECT * FROM json_to_record('{"item_id": 1}') AS _(item_id int))
SELECT count(*) FROM api.m_similar_items(item_id => (SELECT item_id FROM pgrst_args LIMIT 1));
SELECT * FROM publish.board;

-- Security definer: EXECUTE alone, once it is granted.
SET ROLE regress_owner;
SELECT persona.publish('m', 'Api 2', security_definer => true);
SELECT p.oid::regprocedure, prosecdef, proconfig, proacl FROM pg_proc p WHERE pronamespace = '"Api 2"'::regnamespace ORDER BY 1;
SET ROLE regress_guest;
SELECT count(*) FROM "Api 2".m_recommend(7);
SET ROLE regress_owner;
GRANT EXECUTE ON FUNCTION "Api 2".m_recommend TO regress_guest;
-- Grants survive another call.
SELECT persona.publish('m', 'Api 2', true);
SET ROLE regress_guest;
SELECT item_id FROM "Api 2".m_recommend(7, 1);
SELECT count(*) FROM api.m_recommend(7);
SET ROLE regress_owner;

-- Renames are followed; the functions keep their names.
ALTER VIEW m RENAME TO renamed;
SELECT item_id FROM api.m_recommend(7, 1);
ALTER VIEW renamed RENAME TO m;

-- Names that are taken, by anything that was not published from this model.
RESET ROLE;
CREATE SCHEMA taken AUTHORIZATION regress_owner;
SET ROLE regress_owner;
CREATE FUNCTION taken.m_similar_items(a text) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT persona.publish('m', 'taken');
SELECT persona.publish('m', 'publish');
SELECT count(*) FROM pg_proc WHERE pronamespace = 'taken'::regnamespace;
-- Errors.
SELECT persona.publish('m', 'nowhere');
SELECT persona.publish('m', 'closed');
SELECT persona.publish('m', NULL);
SELECT persona.publish(NULL, 'api');
SELECT persona.publish('board', 'api');
SELECT persona.publish('nothing', 'api');
CREATE TABLE people AS SELECT g AS id, g % 3 AS a FROM generate_series(1, 30) AS g;
SELECT version FROM persona.train_kmeans('s', 'people', 'id', k => 2);
SELECT persona.publish('s', 'api');
RESET ROLE;
GRANT USAGE ON SCHEMA persona, publish TO regress_web;
SET ROLE regress_web;
SELECT persona.publish('publish.m', 'api');
-- A superuser publishes as the owner.
RESET ROLE;
SELECT persona.publish('publish.m', 'api', true);
SELECT DISTINCT proowner::regrole, prosecdef FROM pg_proc WHERE pronamespace = 'api'::regnamespace;
SELECT level, message FROM persona."check"() WHERE model ~ 'publish';

-- What somebody wrote on top is not dropped, and keeps the model; what was published goes with it.
SET ROLE regress_owner;
CREATE FUNCTION taken.own() RETURNS SETOF int LANGUAGE sql BEGIN ATOMIC SELECT item_id FROM api.m_recommend(7); END;
SELECT persona.drop_model('m');
DROP FUNCTION taken.own();
SELECT persona.drop_model('m');
SELECT count(*) FROM pg_proc WHERE pronamespace IN ('api'::regnamespace, '"Api 2"'::regnamespace);
-- What runs with the rights of its owner does not follow ALTER VIEW OWNER TO: it is told, and made anew. What stands on top by
-- somebody else is theirs.
SELECT version FROM persona.train_als('late', 'board', 'u', 'i', factors => 4, holdout => 'none');
SELECT persona.publish('late', 'api', true);
RESET ROLE;
CREATE ROLE regress_heir;
GRANT USAGE ON SCHEMA persona TO regress_heir;
GRANT USAGE, CREATE ON SCHEMA publish, api TO regress_heir;
GRANT SELECT ON publish.board TO regress_heir;
CREATE FUNCTION taken.own_recommend() RETURNS SETOF int LANGUAGE sql SECURITY DEFINER
  BEGIN ATOMIC SELECT r.item_id FROM persona._recommend('publish.late'::regclass, 1::bigint, 3, NULL::int[], NULL::int[]) AS r; END;
SELECT count(*) FROM persona."check"() WHERE model = 'publish.late';
ALTER VIEW publish.late OWNER TO regress_heir;
SELECT level, message, hint FROM persona."check"() WHERE model = 'publish.late' AND message LIKE '%DEFINER%';
SELECT count(*) FROM persona."check"() WHERE model = 'publish.late' AND message LIKE 'function % beside it belongs to %';
SELECT DISTINCT split_part(hint, '; and when all of them are dropped: ', 2) AS publish FROM persona."check"() WHERE message LIKE '%DEFINER%' \gset
DO $$ DECLARE hint text; BEGIN
  FOR hint IN SELECT split_part(c.hint, ';', 1) FROM persona."check"() AS c WHERE model = 'publish.late' LOOP EXECUTE hint; END LOOP;
END $$;
:publish
SELECT count(*) FROM persona."check"() WHERE model = 'publish.late';
SELECT proname, proowner::regrole, prosecdef FROM pg_proc WHERE pronamespace = 'api'::regnamespace ORDER BY 1;
DROP FUNCTION taken.own_recommend();
-- A view cannot go without what was published of it.
DROP VIEW publish.late;
DROP VIEW publish.late CASCADE;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'api'::regnamespace;
DROP OWNED BY regress_heir CASCADE;
DROP ROLE regress_heir;
DROP OWNED BY regress_owner, regress_web, regress_guest CASCADE;
DROP SCHEMA closed;
DROP ROLE regress_owner, regress_web, regress_guest;
