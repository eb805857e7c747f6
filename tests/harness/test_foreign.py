"""Foreign code and foreign writers: roles that write or read all data, and whatever a search path can hold, under nightly jobs."""

import re
import time

from cluster import SqlError
from models import PARALLEL, extension, interactions, scores, train
from test_canaries import songs
from test_matrix import CATALOG, FUNCTIONS, OUTSIDE, PLACE, REFUSER, TRIGGER, TUNED, TUNER, WORKER, world
from test_privileges import people

REGISTRY = ("model", "version", "deployment", "metric", "training_log", "output", "label", "chunk", "reclaim", "attachment", "queue")


def writer(root, cluster, database="shop"):
    """A session of a role that may read and write all data of the database."""
    root.run("CREATE ROLE ada LOGIN; GRANT pg_write_all_data, pg_read_all_data TO ada")
    return cluster.session(database, "ada")


def test_no_role_writes_the_registry(cluster):
    """pg_write_all_data writes no table of the registry, whatever the statement and session_replication_role; a superuser does."""
    root, alice, _, _, keeper = people(cluster)
    ada = writer(root, cluster)
    root.run("GRANT SET ON PARAMETER session_replication_role TO ada")
    alice.run("SELECT persona.attach('for_you')")
    tables = {name for (name,) in root.run("SELECT relname FROM pg_class WHERE relnamespace = 'persona_internal'::regnamespace AND relkind = 'r'")}
    assert tables == set(REGISTRY)
    for mode in ("origin", "replica"):
        ada.run(f"SET session_replication_role = {mode}")
        for table in REGISTRY:
            name = f"persona_internal.{table}"
            column = root.value(f"SELECT attname FROM pg_attribute WHERE attrelid = '{name}'::regclass AND attnum = 1")
            for sql in (
                f"INSERT INTO {name} SELECT * FROM {name} LIMIT 0", f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}",
                f"INSERT INTO {name} TABLE {name} ON CONFLICT DO NOTHING",
                f"WITH gone AS (DELETE FROM {name} RETURNING 1) SELECT count(*) FROM gone",
            ):  # fmt: skip
                error = ada.error(sql)
                assert error.sqlstate == "42501" and "HINT:" in error.text, (mode, sql, error.text)
    # Reading is what the other role is for, and pg_dump by the database's owner.
    assert ada.value("SELECT count(*) FROM persona_internal.model") == keeper.value("SELECT count(*) FROM persona_internal.model") == "1"
    root.run("BEGIN; UPDATE persona_internal.model SET last_name = last_name; DELETE FROM persona_internal.queue; ROLLBACK")
    assert root.error("SELECT persona_internal.only_library()").sqlstate == "39P01"


def test_a_sequence_that_was_set_back(cluster):
    """A deployment is the newest one whatever number the sequence gives, which pg_write_all_data may set."""
    root, alice, _, _, _ = people(cluster)
    train(alice, factors=9)
    ada = writer(root, cluster)
    for number in (1, 2, 2**63 - 1):
        ada.run(f"SELECT setval('persona_internal.deployment_deployment_id_seq', {number})")
        alice.run("SELECT persona.deploy('for_you', 1)")
        assert alice.value("SELECT version FROM for_you") == "1"
        alice.run("SELECT persona.deploy('for_you', 2)")
        assert alice.value("SELECT version FROM for_you") == "2"
    assert root.run("SELECT * FROM persona.check()") == []


def test_types_of_the_registry_are_parsed(cluster):
    """A text in the registry that is no type of ids never gets into a statement, whoever wrote it."""
    root, alice, _, _, _ = people(cluster)
    cluster.expect("XX001")
    root.run("CREATE SCHEMA api AUTHORIZATION alice; CREATE ROLE eve")
    calls = ("SELECT persona.recommend_all('alice.for_you')", "SELECT persona.publish('alice.for_you', 'api')",
             "SELECT persona.publish_own('alice.for_you', 'api')")  # fmt: skip
    alice.run("SELECT persona.publish('alice.for_you', 'api'); SELECT persona.recommend_all('alice.for_you'); CREATE TYPE alice.pair AS (a int)")
    kept = root.value("SELECT spec FROM persona_internal.model")
    for bad in (
        "bigint); ALTER ROLE eve SUPERUSER; --", "bigint[], NULL::text[]) r; ALTER ROLE eve SUPERUSER; --", "bigint DEFAULT NULL) RETURNS int LANGUAGE sql RETURN 1; ALTER ROLE eve SUPERUSER; --",
        "", "no such type at all", "alice.pair", "bigint[]", "SETOF bigint", "12345678", "bigint; ALTER ROLE eve SUPERUSER",
    ):  # fmt: skip
        for key in ("user_type", "item_type"):
            root.run(f"UPDATE persona_internal.model SET spec = jsonb_set(spec, '{{{key}}}', to_jsonb($${bad}$$::text))")
            for call in calls:
                error = root.error(call)
                assert error.sqlstate in ("XX001", "42704"), (bad, call, error.text)
            root.run(f"UPDATE persona_internal.model SET spec = $${kept}$$")
            assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'eve'") == "f"
    # Other spellings of the type are the type.
    root.run("""UPDATE persona_internal.model SET spec = spec || '{"user_type": "int8", "item_type": "pg_catalog.text"}'""")
    for call in calls:
        root.run(call)


# What stands first in a search path: domains with the names of types, operators and functions with the signatures of those of
# pg_catalog, and collations. Each says who it runs as.
EVIL = r"""
    CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC;
    CREATE FUNCTION evil.sing(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE 'canary % % % no', pg_catalog.replace(what, ' ', '_'), current_user, session_user; RETURN true; END $$;
    DO $do$
    DECLARE each record; at int := 0;
    BEGIN
      FOR each IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0
                  AND typname ~ '^(bool|int2|int4|int8|float4|float8|text|varchar|bpchar|name|oid|regclass|uuid|jsonb?|bytea|date|timestamptz?|interval|numeric)$'
      LOOP
        EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.sing(''type %1$s''))', each.typname);
      END LOOP;
      FOR each IN SELECT o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r, format_type(o.oprresult, NULL) AS result
                  FROM pg_operator o
                  WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b' AND o.oprcode <> 0
                    AND ARRAY[o.oprleft, o.oprright, o.oprresult] <@ ARRAY['bool', 'int2', 'int4', 'int8', 'float8', 'text', 'name', 'oid', 'uuid', 'jsonb',
                          'timestamptz', 'interval', 'text[]']::regtype[]::oid[]
      LOOP
        at := at + 1;
        EXECUTE format('CREATE FUNCTION evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.sing(%L); RETURN NULL; END $f$',
                       at, each.l, each.r, each.result, 'operator ' || each.oprname);
        EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op_%s, LEFTARG = %s, RIGHTARG = %s)', each.oprname, at, each.l, each.r);
      END LOOP;
      FOR each IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, format_type(p.prorettype, NULL) AS result
                  FROM pg_proc p
                  WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0 AND p.proargmodes IS NULL
                    AND p.prorettype IN (SELECT oid FROM pg_type WHERE typtype = 'b')
                    AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t JOIN pg_type y ON y.oid = t WHERE y.typtype = 'p')
                    AND p.proname ~ ('^(now|clock_timestamp|current_|set_config|has_|pg_has_role|pg_get_|quote_|format|concat|ltrim|replace|encode|to_regclass'
                                 || '|obj_description|timezone|to_char|isfinite|left|lower|array_|cardinality|jsonb_|parse_ident|text|name|int|float)')
      LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.sing(%L); RETURN NULL; END $f$',
                       each.proname, each.arguments, each.result, 'function ' || each.proname);
      END LOOP;
    END $do$;
    CREATE COLLATION evil."C" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE COLLATION evil."default" (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"""

# What alice hangs on her own tables: it runs as alice, once a scan and once a statement.
LOUD = """
    CREATE FUNCTION alice.sing(what text) RETURNS bool LANGUAGE plpgsql AS $$
    DECLARE escaped text := 'no';
    BEGIN
      BEGIN RESET ROLE; escaped := 'yes'; EXCEPTION WHEN OTHERS THEN END;
      RAISE NOTICE 'canary % % % %', what, current_user, session_user, escaped; RETURN true;
    END $$;
    CREATE FUNCTION alice.sing_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.sing('trigger'); RETURN NULL; END $$;
    ALTER TABLE alice.events ENABLE ROW LEVEL SECURITY; ALTER TABLE alice.events FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON alice.events USING ((SELECT alice.sing('policy')));
    ALTER TABLE alice.people ENABLE ROW LEVEL SECURITY; ALTER TABLE alice.people FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON alice.people USING ((SELECT alice.sing('policy')));
    SELECT persona.recommend_all('alice.for_you');
    DO $do$ DECLARE each regclass; BEGIN
      FOREACH each IN ARRAY ARRAY['alice.for_you_recs', 'alice.for_you_trials', 'alice.tiers_members', 'alice.tiers_segments', 'alice.tiers_profile',
                                  'alice.tiers_history']::regclass[] LOOP
        EXECUTE format('CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION alice.sing_trigger()', each);
        EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED
                        FOR EACH ROW EXECUTE FUNCTION alice.sing_trigger()', each);
      END LOOP;
    END $do$"""


def test_nightly_jobs_run_nothing_foreign(cluster):
    """Every function of the extension, called by a superuser whose search path is planted, runs code as its owner or none at all."""
    sessions, model = world(cluster)
    root, alice, mallory = sessions["postgres"], sessions["alice"], sessions["mallory"]
    # A function that the extension gets later is in that table, or this fails.
    known = {name for (name,) in root.run(CATALOG)} - {PLACE, TRIGGER, WORKER, TUNER, OUTSIDE, REFUSER}
    assert known == FUNCTIONS.keys(), (known ^ FUNCTIONS.keys())
    root.run("GRANT CREATE ON DATABASE shop TO mallory; GRANT pg_write_all_data, pg_read_all_data TO mallory")
    mallory.run(EVIL, 120)
    alice.run(LOUD)
    root.run("SET search_path = evil, pg_catalog, public, pg_temp")
    # The trap works: what is not qualified is theirs.
    root.run("SELECT 'x'::text, 1 OPERATOR(=) 2, quote_literal('y'::pg_catalog.text)")
    assert {song.split()[0] for song in songs(root)} == {"type_text", "operator_=", "function_quote_literal"} and "postgres" in root.notices
    heard, mine = [], 0
    for name, (_, call) in FUNCTIONS.items():
        # The casts are the caller's own.
        call = re.sub(r"::(?!pg_catalog|persona|bigint)", "::pg_catalog.", call.replace("{id}", model))
        root.run("BEGIN")
        root.run(f"SELECT * FROM {call}")
        found = songs(root)
        root.run("SET CONSTRAINTS ALL IMMEDIATE")
        found += songs(root)
        root.run("ROLLBACK")
        mine += len(found)
        heard += [(name, song) for song in found if song.split()[1:] != ["alice", "postgres", "no"]]
    # What commits between its steps.
    root.run("BEGIN; SELECT persona.attach('alice.for_you'); COMMIT")
    for call in ("CALL persona.work_queue()", f"CALL persona.tune('alice.for_you', 3, 'grid', '{TUNED}', deploy => 'always')"):
        root.run(call, 120)
        found = songs(root)
        mine += len(found)
        heard += [(call, song) for song in found if song.split()[1:] != ["alice", "postgres", "no"]]
        assert found, call
    assert not heard, "\n".join(map(str, heard[:20]))
    assert mine > 20
    assert root.value("SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles r WHERE r.rolsuper") == "1"


def test_check_waits_for_nobody(cluster):
    """persona.check() answers while views are locked, by whom a forged view belongs to and by a DROP that waits itself."""
    root, alice, _, mallory, _ = people(cluster)
    alice.run("CREATE OR REPLACE VIEW alice.other AS SELECT 1 AS a; SELECT persona.recommend_all('for_you')")
    mallory.run("CREATE VIEW public.forged AS SELECT * FROM persona.model_facts('01234567-0123-4123-8123-0123456789ab')")
    model = root.value("SELECT model_id FROM persona_internal.model")
    mallory.run(f"CREATE VIEW public.copied AS SELECT * FROM persona.model_facts('{model}')")
    healthy = root.run("SELECT * FROM persona.check()")
    assert [row[1] for row in healthy] == ["public.forged"], healthy
    mallory.run("BEGIN")
    for view in ("public.forged", "public.copied"):
        # A view locks what lies below it; a function is nothing.
        mallory.run(f"LOCK TABLE {view} IN ACCESS EXCLUSIVE MODE")
    reader, dropper = cluster.session("shop", "alice"), cluster.session("shop", "alice")
    reader.run("BEGIN; SELECT * FROM alice.for_you")
    dropper.start("DROP VIEW alice.for_you CASCADE")
    waiting = f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {dropper.pid}"
    for _ in range(100):
        if root.value(waiting) == "Lock":
            break
        time.sleep(0.05)
    for session in (root, alice):
        session.run("SET statement_timeout = '3s'")
        found = session.run("SELECT * FROM persona.check()")
        assert found == (healthy if session is root else []), found
        assert session.run("SELECT model FROM persona.models")
    reader.run("ROLLBACK")
    dropper.wait()
    mallory.run("ROLLBACK")


def test_options_stay_out_of_parallel_workers(cluster):
    """What reads a relation for its options or for fresh runs in the leader: temporary tables and views over volatile functions answer."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    session.run("""
        CREATE TABLE everyone AS SELECT g % 100 AS u FROM generate_series(1, 200) g; ANALYZE everyone;
        CREATE TEMP TABLE shown AS SELECT DISTINCT item_id FROM events;
        CREATE FUNCTION looked() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM clock_timestamp(); RETURN EXISTS (SELECT FROM pg_temp.shown); END $$;
        CREATE VIEW counted AS SELECT item_id FROM events WHERE (SELECT looked());
        CREATE TEMP VIEW sold AS SELECT item_id, 1 AS shelf FROM events""")
    session.value(PARALLEL)
    for options in ('{"eligible": "shown"}', '{"eligible": "counted"}', '{"max_per_category": 1, "categories": {"relation": "sold", "category_column": "shelf"}}'):
        for call in (
            f"persona.recommend('for_you', u, 1, options => '{options}')", f"persona.recommend_as('for_you', u, NULL::text, 1, options => '{options}')",
            f"persona.recommend_for_users('for_you', ARRAY[u::text], 1, '{options}')",
            f"persona.recommend_for_items('for_you', ARRAY['item-0' || u % 10], 1, '{options}')",
            f"persona.similar_items('for_you', 'item-0' || u % 10, 1, '{options}')", f"persona.popular_items('for_you', 1 + u % 2, '{options}')",
        ):  # fmt: skip
            assert int(session.value(f"SELECT count(*) FROM everyone, LATERAL {call} r WHERE u < 5")) >= 0, call
    # The source may be one of these, too.
    session.run("CREATE VIEW source AS SELECT user_id, item_id, weight, at FROM events WHERE (SELECT looked()); SELECT persona.alter_model('for_you', 'source')")
    assert int(session.value("SELECT count(*) FROM everyone, LATERAL persona.recommend('for_you', u, 1, fresh => true) r WHERE u < 5")) >= 0
    session.run("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    # What writes no parallel plan allows, in the leader neither.
    session.run("CREATE SEQUENCE looks; CREATE VIEW written AS SELECT item_id FROM events WHERE nextval('looks') > 0")
    written = "SELECT count(*) FROM {} LATERAL persona.recommend('for_you', u, 1, options => '{{\"eligible\": \"written\"}}') r WHERE u < 5"
    assert session.error(written.format("everyone,")).sqlstate == "25000"
    session.run("SET max_parallel_workers_per_gather = 0")
    assert int(session.value(written.format("generate_series(1, 9) u,"))) == 4
    session.run("RESET max_parallel_workers_per_gather")
    # The typed functions read none: workers call them.
    plan = session.run("EXPLAIN SELECT count(*) FROM everyone, LATERAL for_you_recommend(u, 1) r WHERE u < 5")
    assert "Gather" in str(plan)


def test_progress_is_for_whom_it_is(cluster):
    """Who may read all data, or dumps the database, sees no training of others in any way; pg_read_all_stats does."""
    root, alice, _, _, keeper = people(cluster)
    ada = writer(root, cluster)
    root.run("GRANT USAGE ON SCHEMA persona TO ada; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats; CREATE ROLE guest LOGIN")
    alice.run("CREATE VIEW slow AS SELECT user_id, item_id FROM events, LATERAL (SELECT pg_sleep(CASE WHEN user_id = 1 THEN 0.2 ELSE 0 END)) AS s")
    alice.start("SELECT persona.train_als('slow_one', 'slow', 'user_id', 'item_id', factors => 4)")
    again = cluster.session("shop", "alice")
    for _ in range(200):
        if again.run("SELECT * FROM persona.training_progress"):
            break
        time.sleep(0.05)
    functions = [name for (name,) in root.run("""
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'persona_internal'::regnamespace AND p.proname ~ 'progress' AND p.pronargs = 0""")]
    assert functions
    for who, session in (("ada", ada), ("keeper", keeper), ("guest", cluster.session("shop", "guest"))):
        for name in [*functions, "persona.training_progress"]:
            try:
                assert session.run(f"SELECT * FROM {name}") == [], (who, name)
            except SqlError as error:
                assert error.sqlstate == "42501", (who, name, error)
    for session in (root, again, cluster.session("shop", "watcher"), cluster.session("shop", "bob")):
        assert session.run("SELECT model, algorithm FROM persona.training_progress") == [("slow_one", "als")]
    root.run(f"SELECT pg_cancel_backend({alice.pid})")
    try:
        alice.wait()
    except SqlError as error:
        assert error.sqlstate == "57014"


def test_publish_gives_back_what_it_took(cluster):
    """Functions published with SECURITY DEFINER and then without are for PUBLIC again; what the owner revoked stays so."""
    root, alice, _, mallory, _ = people(cluster)
    root.run("CREATE SCHEMA api AUTHORIZATION alice; GRANT USAGE ON SCHEMA api TO PUBLIC")
    alice.run("GRANT SELECT ON for_you TO mallory")
    for definer, code in (("false", None), ("true", "42501"), ("false", None), ("true", "42501"), ("true", "42501"), ("false", None)):
        alice.run(f"SELECT persona.publish('for_you', 'api', {definer})")
        for call in ("for_you_recommend(7)", "for_you_similar_items('item-03')", "for_you_recommend_for_items('{item-03}')"):
            if code:
                assert mallory.error(f"SELECT * FROM api.{call}").sqlstate == code, (definer, call)
            else:
                assert mallory.run(f"SELECT * FROM api.{call}"), (definer, call)
    alice.run("REVOKE EXECUTE ON FUNCTION api.for_you_recommend FROM PUBLIC; SELECT persona.publish('for_you', 'api')")
    assert mallory.error("SELECT * FROM api.for_you_recommend(7)").sqlstate == "42501"


def test_deferred_constraints_of_tables_beside_a_model(cluster):
    """A deferrable key or trigger on tables beside a model is checked at once, as the owner, when somebody else trains."""
    root, alice, _, _, _ = people(cluster)
    alice.run("""
        CREATE TABLE clients AS SELECT g AS id, g % 7 AS x FROM generate_series(1, 60) g; ALTER TABLE clients ADD PRIMARY KEY (id);
        SELECT persona.train_kmeans('tiers', 'clients', 'id', k => 2, deploy => 'always'); SELECT persona.recommend_all('for_you');
        CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'canary late % % no', current_user, session_user; RETURN NULL; END $$;
        ALTER TABLE tiers_members ADD CONSTRAINT known FOREIGN KEY (id) REFERENCES clients DEFERRABLE INITIALLY DEFERRED;
        CREATE TABLE notes (segment_id int REFERENCES tiers_segments DEFERRABLE INITIALLY DEFERRED);
        CREATE CONSTRAINT TRIGGER "Late one" AFTER INSERT OR UPDATE OR DELETE ON tiers_members DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION say();
        CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON for_you_recs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION say()""")
    alice.run("INSERT INTO clients SELECT g, g % 5 FROM generate_series(61, 90) g")
    root.run("SELECT persona.retrain('alice.tiers', '{\"k\": 3}'); SELECT persona.recommend_all('alice.for_you', 3)")
    heard = songs(root)
    assert heard and set(heard) == {"late alice postgres no"}, heard
    root.run("SELECT persona.label_segment('alice.tiers', 1, 'Gold'); SELECT persona.deploy('alice.tiers', 1)")
    assert set(songs(root)) == {"late alice postgres no"}
    # What the constraint says counts.
    alice.run("ALTER TABLE tiers_members DROP CONSTRAINT known; INSERT INTO clients VALUES (91, 1); CREATE TABLE few AS SELECT id FROM clients WHERE id <= 90")
    alice.run("ALTER TABLE few ADD PRIMARY KEY (id); ALTER TABLE tiers_members ADD FOREIGN KEY (id) REFERENCES few DEFERRABLE INITIALLY DEFERRED")
    assert root.error("SELECT persona.retrain('alice.tiers')").sqlstate == "23503"
    # The owner's own trainings defer, as ever.
    alice.run("BEGIN; SELECT persona.retrain('tiers'); INSERT INTO few VALUES (91); COMMIT")
    assert "late alice alice no" in songs(alice)


def test_grants_at_once(cluster):
    """grant_model and revoke_model beside a plain GRANT on the view or a table of the model wait for it and are right."""
    root, alice, bob, _, _ = people(cluster)
    alice.run("SELECT persona.recommend_all('for_you')")
    for relation in ("for_you", "for_you_recs"):
        for call, kept in (("grant_model", True), ("revoke_model", False)):
            alice.run(f"BEGIN; GRANT SELECT, INSERT ON alice.{relation} TO keeper")
            bob.start(f"SELECT persona.{call}('alice.for_you', 'mallory')")
            for _ in range(100):
                if root.value(f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {bob.pid}") == "Lock":
                    break
                time.sleep(0.05)
            alice.run("COMMIT")
            bob.wait()
            for each in ("for_you", "for_you_recs"):
                assert root.value(f"SELECT has_table_privilege('mallory', 'alice.{each}', 'SELECT')") == ("t" if kept else "f")
            assert root.value(f"SELECT has_table_privilege('keeper', 'alice.{relation}', 'SELECT')") == "t"
            alice.run(f"REVOKE ALL ON alice.{relation} FROM keeper")


def test_everybody_gets_his_own(cluster):
    """A function of publish_own answers for the user whom the session names: no argument and no right makes it another one."""
    root, alice, _, mallory, _ = people(cluster)
    root.run("CREATE SCHEMA api AUTHORIZATION alice; GRANT USAGE ON SCHEMA api TO PUBLIC; CREATE ROLE web LOGIN; REVOKE USAGE ON SCHEMA persona, alice FROM PUBLIC")
    root.run("GRANT USAGE ON SCHEMA persona TO alice")
    alice.run("SELECT persona.publish_own('for_you', 'api'); SELECT persona.publish_own('for_you', 'api')")
    web = cluster.session("shop", "web")
    own = "SELECT item_id, rank, source FROM api.for_you_recommend_own(5)"
    assert web.error(own).sqlstate == "42501"
    alice.run("GRANT EXECUTE ON FUNCTION api.for_you_recommend_own TO web; SELECT persona.publish_own('for_you', 'api')")
    of = {user: alice.run(f"SELECT item_id, rank, source FROM persona.recommend('for_you', {user}, 5)") for user in ("7", "42", "NULL::bigint")}
    assert of["7"] != of["42"] and {row[2] for row in of["NULL::bigint"]} == {"popular"}
    # Nobody is named: what is popular.
    assert web.run(own) == of["NULL::bigint"]
    for user in ("7", "42"):
        web.run(f"SELECT set_config('request.jwt.claims', '{{\"role\": \"web\", \"sub\": \"{user}\"}}', false)")
        assert web.run(own) == of[user]
        assert len(web.run("SELECT * FROM api.for_you_recommend_own(k => 2)")) == 2
    for claims in ("", "{}", '{"sub": null}', '{"sub": ""}', "[1, 2]", '"7"', '{"sub": 100000}'):
        web.run(f"SELECT set_config('request.jwt.claims', '{claims}', false)")
        assert web.run(own) == of["NULL::bigint"], claims
    for claims in ("no json", '{"sub": "seven"}', '{"sub": "7 OR true"}', '{"sub": {"a": 7}}'):
        web.run(f"SELECT set_config('request.jwt.claims', '{claims}', false)")
        assert web.error(own).sqlstate == "22P02", claims
    # No form takes somebody else's id, and nothing else is open.
    for call in ("api.for_you_recommend_own(user_id => 7)", "api.for_you_recommend_own(7, 5)", "api.for_you_recommend_own(5, '7')"):
        assert web.error(f"SELECT * FROM {call}").sqlstate == "42883", call
    for sql in ("SELECT * FROM alice.for_you", "SELECT * FROM persona.recommend('alice.for_you', 42)", "SELECT * FROM persona.user_factors('alice.for_you')",
                "SELECT * FROM alice.for_you_recommend(42)", "SELECT * FROM persona._recommend('alice.for_you', 42, 1, NULL::text[], NULL::text[])"):  # fmt: skip
        assert web.error(sql).sqlstate == "42501", sql
    # A setting that is the id itself, and the one that nobody but a superuser can change.
    alice.run("SELECT persona.publish_own('for_you', 'api', 'app.user_id', NULL)")
    web.run("SET app.user_id = '42'")
    assert web.run(own) == of["42"]
    alice.run("""CREATE TABLE visits AS SELECT CASE user_id WHEN 7 THEN 'web' WHEN 42 THEN 'mallory' ELSE 'u' || user_id END AS who, item_id FROM events;
                 SELECT persona.train_als('by_role', 'visits', 'who', 'item_id', factors => 8);
                 SELECT persona.publish_own('by_role', 'api', 'session_authorization', NULL); GRANT EXECUTE ON FUNCTION api.by_role_recommend_own TO PUBLIC""")
    mine = "SELECT item_id, rank, source FROM api.by_role_recommend_own(5)"
    for who, session in (("web", web), ("mallory", mallory)):
        assert session.run(mine) == alice.run(f"SELECT item_id, rank, source FROM persona.recommend('by_role', '{who}', 5)")
    assert web.run(mine) != mallory.run(mine)
    assert web.error("SET SESSION AUTHORIZATION mallory").sqlstate == "42501"
    assert web.error("SET session_authorization = 'mallory'").sqlstate == "42501" and web.error("SET ROLE mallory").sqlstate == "42501"
    # What cannot be.
    assert alice.error("SELECT persona.publish_own('for_you', 'api', 'user_id', NULL)").sqlstate == "42704"
    assert alice.error("SELECT persona.publish_own('for_you', 'api', NULL)").sqlstate == "22004"
    assert mallory.error("SELECT persona.publish_own('alice.for_you', 'api')").sqlstate == "42501"
    assert root.run("SELECT * FROM persona.check()") == []
    for setting in ("x.y'', true); DROP TABLE alice.events; --", "a..b", ".a", "a.1", "a b.c", "", "a." + "b" * 300):
        assert alice.error(f"SELECT persona.publish_own('for_you', 'api', '{setting}')").sqlstate == "42704", setting
    assert alice.error("SELECT persona.publish_own('for_you', 'api', claim => '')").sqlstate == "22023"
    # A claim that looks like SQL is a key.
    alice.run("SELECT persona.publish_own('for_you', 'api', claim => $$a'; DROP TABLE alice.events; --$$)")
    web.run("""SELECT set_config('request.jwt.claims', '{"a''; DROP TABLE alice.events; --": "7"}', false)""")
    assert web.run(own) == of["7"]
    # They go with their model, and follow its new versions and names.
    alice.run("ALTER VIEW by_role RENAME TO renamed")
    assert web.run(mine)
    alice.run("SELECT persona.drop_model('renamed'); SELECT persona.drop_model('for_you')")
    assert root.run("SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'api'::regnamespace") == []


def test_a_dump_of_what_is_closed(cluster):
    """pg_dump and pg_restore carry the registry as before, also into tables that are emptied first, and its triggers stay."""
    root, alice, _, _, _ = people(cluster)
    before = scores(alice, "for_you")
    dump = cluster.directory / "dump"
    cluster.command("pg_dump", *cluster.address(), "-Fc", "-f", dump, "shop")
    cluster.session().run("CREATE DATABASE copy TEMPLATE template0 ENCODING 'UTF8'")
    cluster.command("pg_restore", *cluster.address(), "--exit-on-error", "-d", "copy", dump)
    copy = cluster.session("copy")
    assert scores(copy, "alice.for_you") == before
    triggers = "SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgname = 'only_library' ORDER BY 1"
    assert len(root.run(triggers)) == len(REGISTRY)
    assert copy.run(triggers) == root.run(triggers)
    copy.run("DELETE FROM persona_internal.chunk")
    cluster.command("pg_restore", *cluster.address(), "--exit-on-error", "--data-only", "--disable-triggers", "-t", "chunk", "-d", "copy", dump)
    assert scores(copy, "alice.for_you") == before
    ada = writer(root, cluster, "copy")
    assert ada.error("DELETE FROM persona_internal.chunk").sqlstate == "42501"


def test_what_a_later_release_wrote(cluster):
    """A kind or a trainer that this library does not have is 0A000 with its name: never another one, and never damaged."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    session.run("UPDATE persona_internal.model SET spec = spec || '{\"trainer\": \"train_oracle\"}'")
    error = session.error("SELECT persona.retrain('for_you')")
    assert error.sqlstate == "0A000" and "persona.train_oracle()" in error.message, error
    session.run("UPDATE persona_internal.model SET spec = spec || '{\"trainer\": \"train_als\"}', kind = 'oracle'")
    for sql in (
        "SELECT persona.retrain('for_you')", "SELECT persona.evaluate('for_you', 1)", "SELECT persona.deploy('for_you', 1)",
        "SELECT persona.update_model('for_you')", "SELECT persona.attach('for_you')", "CALL persona.tune('for_you')",
        "SELECT persona.alter_model('for_you', 'events')", "SELECT persona.drop_model('for_you')",
    ):  # fmt: skip
        error = session.error(sql)
        assert error.sqlstate == "0A000" and "oracle" in error.message, (sql, error)
    session.run("UPDATE persona_internal.model SET kind = 'recommender'")
    assert session.value("SELECT version FROM persona.retrain('for_you')") == "2"
