"""Whose code runs, who may do what, and what nobody may read: models of alice, her group, and a stranger."""

from models import extension, interactions, scores, serving, train

TABLES = ("model", "version", "deployment", "metric", "training_log", "chunk")


def people(cluster):
    """alice with a model `for_you` in her schema, bob of her group, mallory a stranger, keeper who owns the database."""
    cluster.session().run("""
        CREATE ROLE keeper LOGIN; CREATE ROLE staff; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN IN ROLE alice;
        CREATE ROLE mallory LOGIN""")
    cluster.session().run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    root = cluster.session("shop")
    extension(root)
    root.run("""
        GRANT USAGE ON SCHEMA persona TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;
        CREATE SCHEMA alice AUTHORIZATION alice; GRANT USAGE ON SCHEMA alice TO PUBLIC""")
    alice = cluster.session("shop", "alice")
    alice.run("SET search_path = alice, public")
    interactions(alice)
    train(alice)
    return root, alice, cluster.session("shop", "bob"), cluster.session("shop", "mallory"), cluster.session("shop", "keeper")


def test_views_of_persona_are_for_everybody(cluster):
    """USAGE on schema persona is all that a role needs to read the views, which show it its own models only."""
    _, alice, bob, mallory, _ = people(cluster)
    for view in ("models", "versions", "metrics", "training_log"):
        assert alice.run(f"SELECT * FROM persona.{view}"), view
        assert bob.run(f"SELECT * FROM persona.{view}"), view
        assert mallory.run(f"SELECT * FROM persona.{view}") == [], view
    assert mallory.run("SELECT * FROM persona.training_progress") == []


def test_strangers_see_nothing(cluster):
    """Without SELECT on its view nobody is served by a model or learns its facts, not even by its id."""
    root, alice, _, mallory, _ = people(cluster)
    root.run("GRANT SELECT ON ALL TABLES IN SCHEMA persona TO PUBLIC")
    model_id = root.value("SELECT model_id FROM persona_internal.model")
    assert mallory.error(f"SELECT * FROM persona.model_facts('{model_id}')").sqlstate == "42501"
    for name, sql in serving("alice.for_you").items():
        assert mallory.error(sql).sqlstate == "42501", name
    for call in (
        "retrain('alice.for_you')", "deploy('alice.for_you', 1)", "rollback('alice.for_you')", "drop_model('alice.for_you')",
        "alter_model('alice.for_you', 'alice.events')", "grant_model('alice.for_you', 'mallory')",
        "revoke_model('alice.for_you', 'alice')", "train_als('alice.for_you', 'alice.events', 'user_id', 'item_id')",
    ):  # fmt: skip
        assert mallory.error(f"SELECT persona.{call}").sqlstate == "42501", call
    for view in ("models", "versions", "metrics", "training_log"):
        # A function that looks at every row it is given sees none of another's.
        mallory.run(f"""CREATE OR REPLACE FUNCTION peek(persona.{view}) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS
                        $$ BEGIN RAISE NOTICE 'peeked'; RETURN true; END $$""")
        assert mallory.run(f"SELECT * FROM persona.{view} v WHERE peek(v)") == [] and "peeked" not in mallory.notices, view
    # SELECT is the right to be served, and no more.
    alice.run("GRANT SELECT ON for_you TO mallory")
    assert len(scores(mallory, "alice.for_you")) == 3
    assert mallory.run("SELECT model FROM persona.models") == [("alice.for_you",)]
    assert mallory.error("SELECT persona.retrain('alice.for_you')").sqlstate == "42501"
    alice.run("REVOKE SELECT ON for_you FROM mallory")
    assert mallory.error("SELECT * FROM persona.recommend('alice.for_you', 7)").sqlstate == "42501"


def test_grant_model_is_enough_for_a_web_role(cluster):
    """grant_model and USAGE on the two schemas are all that a role needs for every serving function; revoke takes it."""
    _, alice, _, mallory, _ = people(cluster)
    alice.run("SELECT persona.grant_model('for_you', 'mallory')")
    for name, sql in serving("alice.for_you").items():
        assert mallory.run(sql), name
    alice.run("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA alice FROM PUBLIC; SELECT persona.revoke_model('for_you', 'mallory')")
    for name, sql in serving("alice.for_you").items():
        assert mallory.error(sql).sqlstate == "42501", name


def test_functions_of_strangers_are_not_beside_a_model(cluster):
    """A function that a stranger hangs on a model neither goes with it nor keeps its owner from granting and dropping."""
    _, alice, _, mallory, _ = people(cluster)
    mallory.run("""
        CREATE FUNCTION public.hook() RETURNS bigint LANGUAGE sql BEGIN ATOMIC
        SELECT count(*) FROM persona._recommend('alice.for_you'::regclass, 1, 5, NULL::text[], NULL::text[]); END""")
    alice.run("SELECT persona.grant_model('for_you', 'bob')")
    # As for any view that something of somebody else depends on.
    error = alice.error("SELECT persona.drop_model('for_you')")
    assert error.sqlstate == "2BP01", error.text
    # No advice to take over a function that a stranger wrote.
    assert alice.run("SELECT * FROM persona.check()") == []


def test_a_view_over_a_model(cluster):
    """A view over a model shows its facts to those who may be served by the model, and to nobody else."""
    root, alice, _, mallory, _ = people(cluster)
    alice.run("CREATE VIEW facts AS SELECT version, value FROM for_you; GRANT SELECT ON facts TO mallory")
    assert mallory.error("SELECT * FROM alice.facts").sqlstate == "42501"
    alice.run("GRANT SELECT ON for_you TO mallory")
    assert len(mallory.run("SELECT * FROM alice.facts")) == 1


def test_registry_is_closed(cluster):
    """Neither the owner of a model nor a stranger reads or writes a table of the registry; the database's owner reads."""
    _, alice, bob, mallory, keeper = people(cluster)
    for table in TABLES:
        name = f"persona_internal.{table}"
        for session in (alice, bob, mallory):
            for sql in (
                f"SELECT * FROM {name}", f"TABLE {name}", f"INSERT INTO {name} DEFAULT VALUES", f"DELETE FROM {name}",
                f"UPDATE {name} SET model_id = NULL", f"TRUNCATE {name}", f"COPY {name} TO STDOUT", f"DO $$ BEGIN LOCK {name}; END $$",
                f"ALTER TABLE {name} ADD x int", f"DROP TABLE {name}",
            ):  # fmt: skip
                error = session.error(sql)
                assert error.sqlstate == "42501" or (table == "chunk" and error.sqlstate == "42703"), (sql, error)
        assert int(keeper.value(f"SELECT count(*) FROM {name}")) > 0
        assert keeper.error(f"DELETE FROM {name}").sqlstate == "42501"
    for function in ("training_progress()", "visible_progress()", "library_functions()"):
        assert mallory.error(f"SELECT * FROM persona_internal.{function}").sqlstate == "42501"
    assert mallory.error("SELECT * FROM persona_internal.problems").sqlstate == "42501"
    assert keeper.value("SELECT last_value > 0 FROM persona_internal.deployment_deployment_id_seq") == "t"


def test_training_runs_as_the_owner_of_the_model(cluster):
    """A function in alice's source runs as alice, whoever starts the training, and finds no way out of it."""
    root, alice, bob, _, _ = people(cluster)
    alice.run("""
        CREATE TABLE canary (who text, session text, path text, escaped text);
        CREATE FUNCTION sing(bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
        DECLARE escaped text := 'no';
        BEGIN
          -- Under SECURITY_RESTRICTED_OPERATION none of these may work.
          BEGIN SET ROLE NONE; escaped := 'set role none'; EXCEPTION WHEN OTHERS THEN END;
          BEGIN RESET ROLE; escaped := 'reset role'; EXCEPTION WHEN OTHERS THEN END;
          BEGIN SET SESSION AUTHORIZATION DEFAULT; escaped := 'authorization'; EXCEPTION WHEN OTHERS THEN END;
          BEGIN CREATE TEMP TABLE trap (a int); escaped := 'temp table'; EXCEPTION WHEN OTHERS THEN END;
          BEGIN EXECUTE 'ALTER ROLE alice SUPERUSER'; escaped := 'superuser'; EXCEPTION WHEN OTHERS THEN END;
          BEGIN EXECUTE 'SELECT 1 FROM persona_internal.chunk'; escaped := 'registry'; EXCEPTION WHEN OTHERS THEN END;
          RAISE NOTICE 'canary % % % %', current_user, session_user, escaped, current_setting('search_path');
          RETURN $1;
        END $$;
        CREATE VIEW singing AS SELECT CASE WHEN at = min(at) OVER () THEN sing(user_id) ELSE user_id END AS user_id,
                                      item_id, weight, at FROM events;
        SELECT persona.alter_model('for_you', 'singing')""")
    for session, who in ((root, "postgres"), (bob, "bob")):
        for call in (
            "persona.retrain('alice.for_you')",
            "persona.train_als('alice.for_you', 'alice.singing', 'user_id', 'item_id', 'weight', 'at')",
            "persona.evaluate('alice.for_you', k => 7)",
        ):
            session.run(f"SELECT {call}")
            seen = [line for line in session.notices.splitlines() if "canary" in line]
            assert seen and all(f"canary alice {who} no " in line for line in seen), (call, seen)
            assert all("pg_catalog" in line for line in seen), (call, seen)
        # And everything is as it was.
        assert session.run("SELECT current_user, session_user") == [(who, who)]
        assert "alice" not in session.value("SHOW search_path")
    assert root.run("SELECT DISTINCT trained_by FROM persona_internal.version") == [("alice",)]
    assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'") == "f"


def test_identity_returns_after_an_error(cluster):
    """A training as somebody else that fails, also inside a savepoint or an exception block, leaves the caller itself."""
    root, alice, _, _, _ = people(cluster)
    alice.run("CREATE VIEW broken AS SELECT 1 / (user_id - user_id) AS user_id, item_id, weight, at FROM events")
    alice.run("SELECT persona.alter_model('for_you', 'broken')")
    same = [("postgres", "postgres")]
    assert root.error("SELECT persona.retrain('alice.for_you')").sqlstate == "22012"
    assert root.run("SELECT current_user, session_user") == same
    root.run("""DO $$ BEGIN PERFORM persona.retrain('alice.for_you');
                EXCEPTION WHEN division_by_zero THEN CREATE TEMP TABLE t AS SELECT current_user AS who; END $$""")
    assert root.run("SELECT who, current_user FROM t") == same
    assert root.value("SELECT current_setting('search_path')") == '"$user", public'


def test_the_owner_reads_only_what_she_may(cluster):
    """A superuser who trains alice's model from a table that alice may not read gets alice's 42501."""
    root, _, _, _, _ = people(cluster)
    root.run("CREATE TABLE secret AS TABLE alice.events")
    assert root.error("SELECT persona.train_als('alice.for_you', 'secret', 'user_id', 'item_id')").sqlstate == "42501"
    assert root.value("SELECT count(*) FROM persona_internal.version") == "1"


def test_nothing_of_the_search_path_runs_as_another(cluster):
    """Functions, operators, types and temporary tables that a caller's search path finds first are never taken."""
    root, alice, _, mallory, _ = people(cluster)
    mallory.run("CREATE TABLE public.seen (what text); GRANT ALL ON public.seen TO PUBLIC")
    for number, (operator, left, right, result) in enumerate((
        ("=", "uuid", "uuid", "bool"), ("=", "oid", "oid", "bool"), ("=", "int", "int", "bool"), ("<>", "oid", "int", "bool"),
        ("=", "text", "text", "bool"), ("=", "name", "name", "bool"), ("=", "text[]", "text[]", "bool"),
        ("=", "oid", "regnamespace", "bool"), ("=", "oid", "regclass", "bool"), ("=", "bigint", "bigint", "bool"),
        ("<", "float8", "float8", "bool"), ("||", "text", "text", "text"), ("->>", "jsonb", "text", "text"),
    )):  # fmt: skip
        mallory.run(f"""
            CREATE FUNCTION trap{number}({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.seen VALUES ('{operator}({left}, {right})'); RETURN NULL; END $$;
            CREATE OPERATOR {operator} (FUNCTION = trap{number}, LEFTARG = {left}, RIGHTARG = {right})""")
    mallory.run("""
        CREATE FUNCTION now() RETURNS timestamptz LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO public.seen VALUES ('now'); RETURN NULL; END $$;
        CREATE FUNCTION recommend(text, anycompatible, int) RETURNS SETOF text LANGUAGE plpgsql AS
          $$ BEGIN INSERT INTO public.seen VALUES ('recommend'); RETURN; END $$;
        CREATE FUNCTION has_table_privilege(oid, text) RETURNS bool LANGUAGE sql AS 'SELECT true'""")
    for session in (root, alice):
        # The worst path there is: theirs before pg_catalog, with temporary tables of the registry's names.
        session.run("SET search_path = public, pg_catalog, pg_temp")
        for table in (*TABLES, "pg_class"):
            session.run(f"CREATE TEMP TABLE {table} (model_id pg_catalog.uuid, oid oid)")
        for call in (
            "SELECT persona.train_als('alice.fresh', 'alice.events', 'user_id', 'item_id')",
            "SELECT persona.retrain('alice.fresh')", "SELECT persona.rollback('alice.fresh')",
            "SELECT persona.deploy('alice.fresh', 2)", "SELECT persona.grant_model('alice.fresh', 'keeper')",
            "SELECT persona.alter_model('alice.fresh', column_map => '{}')",
            "SELECT count(*) FROM persona.recommend('alice.fresh', 7)", "SELECT count(*) FROM alice.fresh_recommend(7)",
            "SELECT count(*) FROM alice.fresh", "SELECT count(*) FROM persona.evaluate('alice.fresh')",
            "SELECT count(*) FROM persona.check()", "SELECT persona.revoke_model('alice.fresh', 'keeper')",
            "SELECT persona.drop_model('alice.fresh')",
        ):  # fmt: skip
            session.run(call)
            assert root.run("SELECT pg_catalog.count(*) FROM public.seen WHERE what IS NOT NULL") == [("0",)], call
        session.run("RESET search_path")
    assert root.run("SELECT * FROM public.seen") == []


def test_types_of_the_search_path(cluster):
    """A type of the search path named like one of pg_catalog is never taken for it."""
    root, alice, _, mallory, _ = people(cluster)
    mallory.run("CREATE DOMAIN public.text AS varchar; CREATE DOMAIN public.uuid AS varchar; CREATE DOMAIN public.regclass AS oid")
    for session in (root, alice):
        session.run("SET search_path = public, pg_catalog")
        session.run("SELECT persona.train_als('alice.fresh', 'alice.events', 'user_id', 'item_id')")
        assert session.run("SELECT * FROM alice.fresh_recommend(7)")
        for call in ("grant_model('alice.fresh', 'mallory')", "revoke_model('alice.fresh', 'mallory')", "drop_model('alice.fresh')"):
            session.run(f"SELECT persona.{call}")


def test_installation_takes_nothing_from_the_search_path(cluster):
    """Operators and functions that lie in public before CREATE EXTENSION are not built into its views and functions."""
    cluster.session().run("CREATE ROLE keeper LOGIN")
    cluster.session().run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    keeper = cluster.session("shop", "keeper")
    # The operators that the scripts write down, for types that pg_catalog meets by a cast only: an exact match wins.
    polymorphic = [("text[]", "text[]"), ("oid", "regclass"), ("oid", "regnamespace"), ("uuid[]", "uuid[]"), ("int", "oid")]
    names = [("text", "int"), ("text", "bigint"), ("text", "regprocedure"), ("text", "regclass"), ("text", "name")]
    traps = [("=", *pair, "bool") for pair in polymorphic] + [("<>", *pair, "bool") for pair in polymorphic]
    traps += [("||", *pair, "text") for pair in names]
    for number, (operator, left, right, result) in enumerate(traps):
        keeper.run(f"""
            CREATE FUNCTION trap{number}({left}, {right}) RETURNS {result} LANGUAGE sql AS 'SELECT NULL::{result}';
            CREATE OPERATOR {operator} (FUNCTION = trap{number}, LEFTARG = {left}, RIGHTARG = {right})""")
    extension(cluster.session("shop"))
    root = cluster.session("shop")
    root.run("SET search_path = pg_catalog")  # this query, too, would fall into the traps
    taken = root.run("""
        SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0), d.refobjid::regoperator
        FROM pg_depend d JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
        WHERE o.oprcode::text LIKE 'public.trap%' AND d.classid <> 'pg_operator'::regclass""")
    assert taken == [], taken
