"""Whose code runs, who may do what, and what nobody may read: models of alice, her group, and a stranger."""

from models import extension, interactions, scores, serving, train

# Of the registry; their names are planted as temporary tables.
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


# What somebody might do to a relation of the registry, by kind; {n} is its name, {c} a column, {x} a name of one's own.
READS = ("SELECT * FROM {n}", "TABLE {n}", "COPY {n} TO STDOUT", "COPY (SELECT * FROM {n}) TO STDOUT", "SELECT {c} FROM {n} FOR UPDATE",
         "SELECT NULL::{n}", "SELECT '{n}'::regclass", "CREATE TABLE {x} (LIKE {n})", "CREATE TABLE {x} AS TABLE {n}",
         "CREATE VIEW {x} AS TABLE {n}", "CREATE MATERIALIZED VIEW {x} AS TABLE {n}", "SELECT currtid2('{n}', '(0,1)')",
         "DO $$ BEGIN LOCK TABLE {n} IN ACCESS SHARE MODE; END $$", "CREATE FUNCTION {x}({n}) RETURNS int LANGUAGE sql RETURN 1")  # fmt: skip
WRITES = ("DELETE FROM {n}", "UPDATE {n} SET {c} = NULL", "INSERT INTO {n} SELECT * FROM {n}", "TRUNCATE {n}", "COPY {n} FROM '/dev/null'",
          "DO $$ BEGIN LOCK TABLE {n} IN EXCLUSIVE MODE; END $$", "ALTER TABLE {n} ADD x int", "ALTER TABLE {n} ENABLE ROW LEVEL SECURITY",
          "ALTER TABLE {n} OWNER TO CURRENT_USER", "ALTER TABLE {n} SET SCHEMA public", "ALTER TABLE {n} DISABLE TRIGGER ALL", "DROP TABLE {n}",
          "CREATE RULE {x} AS ON SELECT TO {n} DO INSTEAD SELECT 1", "CREATE RULE {x} AS ON DELETE TO {n} DO INSTEAD NOTHING",
          "CREATE TRIGGER {x} BEFORE INSERT ON {n} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
          "CREATE INDEX {x} ON {n} ({c})", "CREATE POLICY {x} ON {n} USING (true)", "CREATE STATISTICS {x} ON ({c}) FROM {n}",
          "CREATE TABLE {x} () INHERITS ({n})", "CREATE TABLE {x} (a uuid REFERENCES {n} ({c}))", "CREATE PUBLICATION {x} FOR TABLE {n}",
          "COMMENT ON TABLE {n} IS 'x'", "GRANT SELECT ON {n} TO mallory", "CLUSTER {n}", "REINDEX TABLE {n}")  # fmt: skip
KINDS = {
    "r": (READS, WRITES),
    "t": (("SELECT * FROM {n}", "TABLE {n}", "COPY (SELECT * FROM {n}) TO STDOUT"), ("DELETE FROM {n}",)),
    "S": (("SELECT * FROM {n}", "SELECT currval('{n}')"),
          ("SELECT nextval('{n}')", "SELECT setval('{n}', 1)", "ALTER SEQUENCE {n} RESTART", "DROP SEQUENCE {n}", "GRANT USAGE ON SEQUENCE {n} TO mallory")),
    "v": (("SELECT * FROM {n}", "CREATE VIEW {x} AS TABLE {n}"),
          ("CREATE OR REPLACE VIEW {n} AS SELECT 1", "DROP VIEW {n}", "ALTER VIEW {n} OWNER TO CURRENT_USER", "ALTER VIEW {n} SET (security_barrier = false)",
           "CREATE RULE {x} AS ON INSERT TO {n} DO INSTEAD NOTHING",
           "CREATE TRIGGER {x} INSTEAD OF INSERT ON {n} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()")),
    "i": ((), ("REINDEX INDEX {n}", "DROP INDEX {n}", "ALTER INDEX {n} RENAME TO x", "ALTER INDEX {n} SET (fillfactor = 50)")),
}  # fmt: skip
# Of all schemas.
EVERYWHERE = (
    "CREATE TABLE persona_internal.x (a int)", "CREATE FUNCTION persona_internal.x() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE VIEW persona.x AS SELECT 1", "CREATE FUNCTION persona.recommend(text) RETURNS int LANGUAGE sql RETURN 1",
    "DROP SCHEMA persona_internal CASCADE", "ALTER SCHEMA persona RENAME TO x", "GRANT ALL ON SCHEMA persona_internal TO mallory",
    "DROP EXTENSION pg_persona CASCADE", "ALTER EXTENSION pg_persona DROP TABLE persona_internal.chunk", "ALTER EXTENSION pg_persona UPDATE",
    "ALTER FUNCTION persona.recommend OWNER TO mallory", "DROP FUNCTION persona.rollback(text)", "SELECT pg_read_file('base/1/1259')",
    "SELECT * FROM pg_statistic", "CREATE PUBLICATION x FOR ALL TABLES",
)  # fmt: skip


def refused(session, sql):
    """Whether a statement has no right; where one of them passes, its work is undone."""
    session.run("BEGIN")
    try:
        session.run(sql)
        return None
    except Exception as error:
        return error.sqlstate
    finally:
        session.run("ROLLBACK")


def closed(sql, code, who):
    """Whether a refusal is the right one."""
    if who == "keeper" and sql.startswith("GRANT"):
        return code is None  # a WARNING that nothing was granted, as for any table that one may read and does not own
    # Where the key has two columns Postgres sees that first.
    return code == "42501" or code == "42830" and "REFERENCES" in sql and who == "keeper"


def test_registry_is_closed(cluster):
    """Nobody but a superuser writes anything of the registry in any way; the database's owner alone reads it, for pg_dump."""
    root, alice, bob, mallory, keeper = people(cluster)
    # So that no table of the registry is empty.
    alice.run("""CREATE TABLE alice.groups AS SELECT g AS id, g % 2 AS x FROM generate_series(1, 9) g;
                 SELECT persona.train_kmeans('alice.tiers', 'alice.groups', 'id', k => 2); SELECT persona.label_segment('alice.tiers', 1, 'Gold');
                 SELECT persona.attach('alice.for_you'); DELETE FROM alice.events WHERE user_id = (SELECT min(user_id) FROM alice.events)""")
    root.run("INSERT INTO persona_internal.reclaim VALUES (3, gen_random_uuid(), 0)")
    root.run("GRANT ALL ON SCHEMA public TO PUBLIC; ANALYZE")
    relations = root.run("""
        WITH mine AS (SELECT oid, relkind, reltoastrelid FROM pg_class WHERE relnamespace = 'persona_internal'::regnamespace AND relkind <> 'c')
        SELECT c.relkind, c.oid::regclass, quote_ident(coalesce(a.attname, 'x'))
        FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
        WHERE c.oid IN (SELECT oid FROM mine UNION SELECT reltoastrelid FROM mine)
           OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM mine UNION SELECT reltoastrelid FROM mine))""")
    assert {kind for kind, _, _ in relations} == KINDS.keys()
    wrong = []
    for kind, name, column in relations:
        reads, writes = ([sql.replace("{n}", name).replace("{c}", column).replace("{x}", "public.x").replace("RULE public.", "RULE ")
                          .replace("TRIGGER public.", "TRIGGER ").replace("POLICY public.", "POLICY ").replace("INDEX public.", "INDEX ")
                          .replace("PUBLICATION public.", "PUBLICATION ") for sql in each] for each in KINDS[kind])  # fmt: skip
        for who, session, statements in (
            ("alice", alice, reads + writes), ("bob", bob, reads + writes), ("mallory", mallory, reads + writes), ("keeper", keeper, writes),
        ):  # fmt: skip
            # No key of a permanent table may refer to an unlogged one: Postgres says that before it asks for rights.
            wrong += [
                (who, sql, code) for sql in statements
                if not closed(sql, code := refused(session, sql), who) and not ("reclaim" in name and code == "42P16")
            ]
        if kind == "r":
            assert int(keeper.value(f"SELECT count(*) FROM {name}")) > 0
    for session in (alice, bob, mallory):
        wrong += [(sql, code) for sql in EVERYWHERE if (code := refused(session, sql)) != "42501"]
    wrong += [("keeper", sql, code) for sql in EVERYWHERE if not closed(sql, code := refused(keeper, sql), "keeper")]
    assert not wrong, "\n".join(map(str, wrong))
    keeper.run("GRANT ALL ON SCHEMA persona_internal TO mallory; GRANT SELECT ON ALL TABLES IN SCHEMA persona_internal TO mallory")
    assert "no privileges were granted" in keeper.notices and refused(mallory, "TABLE persona_internal.model") == "42501"
    # Statistics hold values of rows: they are shown to those who may read the table.
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        for session in (alice, bob, mallory):
            assert session.run(f"SELECT * FROM {view} WHERE schemaname = 'persona_internal'") == [], view
    assert root.run("SELECT DISTINCT schemaname FROM pg_stats WHERE schemaname = 'persona_internal'")
    # Nothing lies where other doors lead.
    assert root.run("SELECT * FROM pg_largeobject_metadata") == []


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
        for view in ("models", "versions", "metrics", "training_log", "training_progress"):
            session.run(f"SELECT * FROM persona.{view}")
            assert root.run("SELECT pg_catalog.count(*) FROM public.seen WHERE what IS NOT NULL") == [("0",)], view
        session.run("RESET search_path")
    # The view behind check() is there for the owner of the database, whose path may be any.
    root.run("SET search_path = public, pg_catalog, pg_temp")
    assert root.run("SELECT * FROM persona_internal.problems") == []
    root.run("RESET search_path")
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
    # Types, tables and functions that it names.
    keeper.run("""
        CREATE DOMAIN text AS varchar; CREATE DOMAIN uuid AS varchar; CREATE DOMAIN regclass AS pg_catalog.oid; CREATE DOMAIN jsonb AS varchar;
        CREATE DOMAIN anycompatible AS varchar; CREATE TABLE pg_class (oid pg_catalog.oid, relowner pg_catalog.oid);
        CREATE TABLE model (model_id pg_catalog.uuid, relation pg_catalog.oid);
        CREATE FUNCTION has_table_privilege(oid, pg_catalog.text) RETURNS bool LANGUAGE sql AS 'SELECT true';
        CREATE FUNCTION getdatabaseencoding() RETURNS name LANGUAGE sql AS $$ SELECT 'x'::name $$""")
    extension(cluster.session("shop"))
    root = cluster.session("shop")
    root.run("SET search_path = pg_catalog")  # this query, too, would fall into the traps
    taken = root.run("""
        SELECT pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, 0)
        FROM pg_depend d
        WHERE d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'public'::regnamespace
                       UNION SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                       UNION SELECT oid FROM pg_type WHERE typnamespace = 'public'::regnamespace
                       UNION SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
          AND d.deptype = 'n' AND pg_describe_object(d.classid, d.objid, d.objsubid) LIKE '%persona%'""")
    assert taken == [], taken
    assert root.run("SELECT DISTINCT pronamespace::regnamespace FROM pg_proc WHERE probin LIKE '%pg_persona' ORDER BY 1") == [
        ("persona",), ("persona_internal",)]  # fmt: skip
