"""Which role may call which function and read which relation of the extension: all that the catalog knows, none forgotten."""

from models import extension, interactions, train

# The roles. All but the outsiders have USAGE on schema persona; all have USAGE on the schema of the model.
ROLES = ("postgres", "alice", "bob", "web", "typed", "mallory", "outsider", "keeper")
ROOT = {"postgres"}
OWNERS = ROOT | {"alice", "bob"}  # the owner of the model, a member of that role
SERVED = OWNERS | {"web"}  # granted by grant_model
TYPED = SERVED | {"typed"}  # the same without USAGE on schema persona
CALLERS = {"postgres", "alice", "bob", "web", "mallory", "keeper"}  # USAGE on schema persona
DUMPERS = ROOT | {"keeper"}  # the owner of the database, who reads the registry for pg_dump

M, S = "'alice.for_you'", "'alice.tiers'"
# What the model is tuned by.
TUNED = '{"factors": [2, 4, 8]}'
# Each function of the extension: who may, and calls that answer. {id} is the id of the model.
FUNCTIONS = {
    'persona."check"()': (CALLERS, 'persona."check"()'),
    "persona._recommend(regclass,anycompatible,integer,anyarray,anyarray)":
        (SERVED, f"persona._recommend({M}, 7, 5, NULL::text[], NULL::text[])"),
    "persona._recommend_for_items(regclass,anyarray,integer)":
        (SERVED, f"persona._recommend_for_items({M}, '{{item-03}}'::text[], 5)"),
    "persona._similar_items(regclass,anyelement,integer)": (SERVED, f"persona._similar_items({M}, 'item-03'::text, 5)"),
    "persona.assign(text,double precision[])": (SERVED, f"persona.assign({S}, '{{1,2}}')"),
    "persona.assign_row(text,jsonb)": (SERVED, f"persona.assign_row({S}, '{{\"a\": 1, \"b\": 2}}')"),
    "persona.label_segment(text,integer,text)": (OWNERS, f"persona.label_segment({S}, 1, 'Gold')"),
    "persona.segment_distances(text,double precision[])": (SERVED, f"persona.segment_distances({S}, '{{1,2}}')"),
    "persona.train_kmeans(text,regclass,name,name[],integer,text,integer,integer,double precision,text,text,bigint,text,jsonb)":
        (OWNERS, f"persona.train_kmeans({S}, 'alice.people', 'id', k => 2)"),
    "persona.train_rfm(text,regclass,name,name,name,name,timestamp with time zone,integer,text,jsonb)":
        (OWNERS, "persona.train_rfm('alice.best', 'alice.events', 'user_id', 'at', 'weight')"),
    "persona.attach(text,jsonb)": (OWNERS, f"persona.attach({M})"),
    "persona.detach(text)": (OWNERS, f"persona.detach({M})"),
    "persona.alter_model(text,regclass,jsonb)": (OWNERS, f"persona.alter_model({M}, 'alice.events', '{{}}')"),
    "persona.deploy(text,integer)": (OWNERS, f"persona.deploy({M}, 1)"),
    "persona.drop_model(text)": (OWNERS, f"persona.drop_model({M})"),
    "persona.evaluate(text,integer,integer,jsonb)": (SERVED, f"persona.evaluate({M})"),
    "persona.explain(text,anycompatible,text,jsonb)": (SERVED, f"persona.explain({M}, 7, 'item-03')"),
    "persona.explain(text,anycompatible,anyelement,jsonb)": (SERVED, f"persona.explain({M}, 7, 'item-03'::varchar)"),
    "persona.publish(text,name,boolean)": (OWNERS, f"persona.publish({M}, 'alice_api')"),
    "persona.publish_own(text,name,text,text)": (OWNERS, f"persona.publish_own({M}, 'alice_api')"),
    "persona.grant_model(text,name)": (OWNERS, f"persona.grant_model({M}, 'mallory')"),
    "persona.item_factors(text)": (SERVED, f"persona.item_factors({M})"),
    "persona.model_facts(uuid)": (SERVED, "persona.model_facts('{id}')"),
    "persona.popular_items(text,integer,jsonb)": (SERVED, f"persona.popular_items({M})"),
    "persona.prewarm(text)": (SERVED, f"persona.prewarm({M})"),
    "persona.prune(text,integer)": (OWNERS, f"persona.prune({M})"),
    "persona.recommend(text,anycompatible,integer,text[],text[],boolean,boolean,jsonb)": (SERVED, f"persona.recommend({M}, 7)"),
    "persona.recommend_as(text,anycompatible,anyelement,integer,text[],text[],boolean,boolean,jsonb)":
        (SERVED, f"persona.recommend_as({M}, 7, NULL::text)"),
    "persona.recommend_for_items(text,text[],integer,jsonb)": (SERVED, f"persona.recommend_for_items({M}, '{{item-03}}')"),
    "persona.recommend_for_users(text,text[],integer,jsonb)": (SERVED, f"persona.recommend_for_users({M}, '{{7}}')"),
    "persona.retrain(text,jsonb)": (OWNERS, f"persona.retrain({M})"),
    "persona.update_model(text,jsonb)": (OWNERS, f"persona.update_model({M})"),
    "persona.revoke_model(text,name)": (OWNERS, f"persona.revoke_model({M}, 'web')"),
    "persona.rollback(text)": (OWNERS, f"persona.rollback({M})"),
    "persona.score(text,anycompatible,anyelement)": (SERVED, f"persona.score({M}, 7, 'item-03'::varchar)"),
    "persona.score(text,anycompatible,text)": (SERVED, f"persona.score({M}, 7, 'item-03')"),
    "persona.similar_items(text,anycompatible,integer,jsonb)": (SERVED, f"persona.similar_items({M}, 'item-03')"),
    "persona.similar_users(text,anycompatible,integer,jsonb)": (SERVED, f"persona.similar_users({M}, 7)"),
    "persona._tune_begin(text,integer,text,jsonb,integer,text,bigint,jsonb)":
        (OWNERS, f"persona._tune_begin({M}, 3, 'grid', '{TUNED}', 1, 'never', 42, '{{}}')"),
    "persona._tune_next(regclass,integer,text)": (OWNERS, f"persona._tune_next({M}, 3, NULL)"),
    "persona._tune_measure(regclass,integer)": (OWNERS, f"persona._tune_measure({M}, 2)"),
    "persona._tune_finish(regclass,text)": (OWNERS, f"persona._tune_finish({M}, 'never')"),
    "persona.train_als(text,regclass,name,name,name,name,text,integer,double precision,double precision,integer,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_als({M}, 'alice.events', 'user_id', 'item_id', factors => 4, iterations => 1)"),
    "persona.recommend_all(text,integer)": (OWNERS, f"persona.recommend_all({M}, 3)"),
    "persona._recommend_all(regclass,integer,anyarray,anycompatiblearray)":
        (SERVED, f"persona._recommend_all({M}, 3, NULL::bigint[], NULL::text[])"),
    "persona.train_bpr(text,regclass,name,name,name,name,integer,double precision,double precision,integer,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_bpr({M}, 'alice.events', 'user_id', 'item_id', factors => 4, iterations => 1)"),
    "persona.train_ease(text,regclass,name,name,name,name,double precision,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_ease({M}, 'alice.events', 'user_id', 'item_id')"),
    "persona.train_item_knn(text,regclass,name,name,name,name,text,integer,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_item_knn({M}, 'alice.events', 'user_id', 'item_id')"),
    "persona.train_popularity(text,regclass,name,name,name,name,double precision,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_popularity({M}, 'alice.events', 'user_id', 'item_id')"),
    "persona.train_recommender(text,regclass,name,name,name,name,interval,text,bigint,jsonb)":
        (OWNERS, f"persona.train_recommender({M}, 'alice.events', 'user_id', 'item_id')"),
    "persona.train_sgd(text,regclass,name,name,name,name,text,text,integer,double precision,double precision,integer,text,text,bigint,jsonb)":
        (OWNERS, f"persona.train_sgd({M}, 'alice.events', 'user_id', 'item_id', factors => 4, iterations => 1)"),
    "persona.user_factors(text)": (SERVED, f"persona.user_factors({M})"),
    "persona_internal.library_functions()": (DUMPERS, "persona_internal.library_functions()"),
    "persona_internal.model_of(oid)": (DUMPERS, f"persona_internal.model_of({M}::regclass)"),
    "persona_internal.relation_in(cstring)": (DUMPERS, "persona_internal.relation_in('alice.for_you')"),
    "persona_internal.relation_out(persona_internal.relation)":
        (DUMPERS, f"persona_internal.relation_out({M}::regclass::oid::persona_internal.relation)"),
    "persona_internal.still_runs(integer,timestamp with time zone)": (DUMPERS, "persona_internal.still_runs(1, NULL)"),
    "persona_internal.training_progress()": (DUMPERS, "persona_internal.training_progress()"),
    "alice.for_you_recommend(bigint,integer,text[],text[])": (TYPED, "alice.for_you_recommend(7)"),
    "alice.for_you_recommend_for_items(text[],integer)": (TYPED, "alice.for_you_recommend_for_items('{item-03}')"),
    "alice.for_you_similar_items(text,integer)": (TYPED, "alice.for_you_similar_items('item-03')"),
}  # fmt: skip

# Each relation that may be read from, and by whom. Composite types are none.
RELATIONS = {
    **{f"persona.{view}": CALLERS for view in ("models", "versions", "metrics", "training_log", "training_progress", "queue")},
    **{f"persona_internal.{table}": DUMPERS for table in ("model", "version", "deployment", "metric", "training_log", "chunk", "reclaim", "output", "label", "attachment", "queue", "source_table", "moved")},
    "persona_internal.deployment_deployment_id_seq": DUMPERS,
    "persona_internal.problems": DUMPERS,
    "alice.for_you": TYPED,
    # Granted by grant_model, and to nobody else.
    "alice.for_you_trials": SERVED,
    "alice.tiers": SERVED,
    **{f"alice.tiers_{table}": SERVED for table in ("members", "segments", "profile", "history")},
}
# Answers nobody outside of a deployment.
PLACE = "persona._place(double precision[])"
# No functions of a query: the trigger of attached tables, the procedure that works queues off, and the one that tunes.
TRIGGER, WORKER = "persona._queue_changes()", "persona.work_queue(text,double precision)"
OUTSIDE = "persona._outside_block(text)"  # their first step
REFUSER = "persona_internal.only_library()"  # the trigger of the tables of the registry
TUNER = "persona.tune(text,integer,text,jsonb,interval,integer,text,bigint,jsonb)"
# Of the views that everybody may read, these show something to those who may be served only.
FILTERED = ("persona.models", "persona.versions", "persona.metrics", "persona.training_log")

CATALOG = """
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_persona')
      -- What is immutable, and aggregates and window functions over it, sees its arguments alone: see below.
      AND p.provolatile <> 'i'
    UNION SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'alice'::regnamespace"""
CLASSES = """
    SELECT c.oid::regclass FROM pg_class c
    WHERE c.relnamespace IN ('persona'::regnamespace, 'persona_internal'::regnamespace) AND c.relkind NOT IN ('c', 'i', 'I')
       OR c.relnamespace = 'alice'::regnamespace AND c.relname ~ '^(for_you|tiers)' AND c.relkind IN ('r', 'v')"""

# What a refusal must not tell: anything but the name that the caller wrote.
SECRETS = ("events", "item-", "user_id", "ndcg", "version 2", "persona_internal.")


def world(cluster):
    """A session of each role by name, two versions of a model, and its id."""
    root = cluster.session()
    root.run("""
        CREATE ROLE keeper LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN IN ROLE alice;
        CREATE ROLE web LOGIN; CREATE ROLE typed LOGIN; CREATE ROLE mallory LOGIN; CREATE ROLE outsider LOGIN""")
    root.run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    sessions = {role: cluster.session("shop", role) for role in ROLES}
    sessions["postgres"].run("""
        GRANT USAGE ON SCHEMA persona TO alice, web, mallory, keeper;
        CREATE SCHEMA alice AUTHORIZATION alice; CREATE SCHEMA alice_api AUTHORIZATION alice; GRANT USAGE ON SCHEMA alice TO PUBLIC""")
    alice = sessions["alice"]
    alice.run("SET search_path = alice")
    interactions(alice)
    train(alice)
    train(alice, factors=10)
    # One trial that ended, one that runs.
    alice.run(f"""SELECT persona._tune_begin('for_you', 3, 'grid', '{TUNED}', 1, 'never', 42, '{{}}');
                  SELECT persona._tune_next('for_you', 3, NULL); SELECT persona._tune_measure('for_you', 1);
                  SELECT persona._tune_next('for_you', 3, NULL)""")
    alice.run("""CREATE TABLE people AS SELECT g AS id, g % 3 AS a, g % 2 AS b FROM generate_series(1, 30) g;
                 SELECT persona.train_kmeans('tiers', 'people', 'id', k => 2); SELECT persona.grant_model('tiers', 'web');
                 SELECT persona.train_rfm('best', 'events', 'user_id', 'at', 'weight')""")
    alice.run("RESET search_path; SELECT persona.grant_model('alice.for_you', 'web'); GRANT SELECT ON alice.for_you TO typed")
    return sessions, sessions["postgres"].value("SELECT model_id FROM persona_internal.model WHERE kind = 'recommender'")


def attempt(session, sql):
    """'ok', or the SQLSTATE and what was said; the transaction is rolled back."""
    session.run("BEGIN")
    try:
        session.run(sql)
        return "ok"
    except Exception as error:
        return f"{error.sqlstate} {error.text}"
    finally:
        session.run("ROLLBACK")


def compare(name, sql, allowed, attempts):
    """The roles that differ from what the table says."""
    wrong = []
    for role, outcome in attempts.items():
        if role in allowed:
            if outcome != "ok":
                wrong.append(f"{role} may not {name}: {outcome}")
        elif not outcome.startswith("42501 "):
            wrong.append(f"{role} may {name}: {outcome}")
        elif any(secret in outcome.replace(sql, "") for secret in SECRETS if secret not in sql):
            wrong.append(f"{role} learns from {name}: {outcome}")
    return wrong


def test_every_function_by_every_role(cluster):
    """Functions of the extension and beside a model: who may call them, logged in as the role and by SET ROLE."""
    sessions, model = world(cluster)
    root = sessions["postgres"]
    known = {name for (name,) in root.run(CATALOG)}
    known -= {PLACE, TRIGGER, WORKER, TUNER, OUTSIDE, REFUSER}
    assert known == FUNCTIONS.keys(), ("not in the table", known - FUNCTIONS.keys(), "gone", FUNCTIONS.keys() - known)
    for role, session in sessions.items():
        assert session.error("SELECT persona._place('{1,2}')").sqlstate == ("55000" if role in CALLERS else "42501"), role
        assert session.error("SELECT persona._queue_changes()").sqlstate == ("39P01" if role in CALLERS else "42501"), role
        assert session.error("SELECT persona_internal.only_library()").sqlstate == ("39P01" if role in DUMPERS else "42501"), role
        # Everybody with USAGE may work off what is theirs; nothing is attached here.
        if role in CALLERS:
            session.run("CALL persona.work_queue()")
        else:
            assert session.error("CALL persona.work_queue()").sqlstate == "42501", role
    switched = cluster.session("shop")
    wrong = []
    for name, (allowed, call) in FUNCTIONS.items():
        sql = f"SELECT count(*) FROM {call.replace('{id}', model)}"
        wrong += compare(name, sql, allowed, {role: attempt(session, sql) for role, session in sessions.items()})
        for role in ROLES:
            switched.run(f"SET ROLE {role}")
            wrong += compare(f"{name} after SET ROLE", sql, allowed, {role: attempt(switched, sql)})
            switched.run("RESET ROLE")
    assert not wrong, "\n".join(wrong)
    # It commits, and so comes last.
    call = f"CALL persona.tune({M}, 3, 'grid', '{TUNED}')"
    for role, session in sessions.items():
        if role in OWNERS:
            session.run(call)
        else:
            refused = session.error(call)
            assert refused.sqlstate == "42501" and not any(secret in refused.text for secret in SECRETS), (role, refused)
    owner = "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname IN ('for_you', 'for_you_trials')"
    assert root.run(owner) == [("alice",)]


def test_functions_of_values(cluster):
    """What is immutable sees its arguments alone: it is for everybody with USAGE on schema persona."""
    sessions, _ = world(cluster)
    refused = sessions["postgres"].run("""
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'persona'::regnamespace AND p.provolatile = 'i' AND NOT has_function_privilege('mallory', p.oid, 'EXECUTE')""")
    assert refused == []
    sql = "SELECT persona.mean(persona.stats_agg(x)) FROM (VALUES (1.0::float8), (3)) v (x)"
    for role, session in sessions.items():
        if role in CALLERS:
            assert session.run(sql) == [("2",)], role
        else:
            assert session.error(sql).sqlstate == "42501", role


def test_every_relation_by_every_role(cluster):
    """Views of schema persona show to each role what it may be served by; the registry is read by those who dump it, and written by none."""
    sessions, _ = world(cluster)
    known = {name for (name,) in sessions["postgres"].run(CLASSES)}
    assert known == RELATIONS.keys(), ("not in the table", known - RELATIONS.keys(), "gone", RELATIONS.keys() - known)
    wrong = []
    for name, allowed in RELATIONS.items():
        sql = f"SELECT * FROM {name}"
        wrong += compare(f"read {name}", sql, allowed, {role: attempt(session, sql) for role, session in sessions.items()})
    assert not wrong, "\n".join(wrong)
    for name in FILTERED:
        for role in CALLERS:
            rows = int(sessions[role].value(f"SELECT count(*) FROM {name}"))
            assert (rows > 0) == (role in SERVED), (name, role, rows)
    assert all(sessions[role].run("SELECT * FROM persona.check()") == [] for role in CALLERS)


def test_wrappers(cluster):
    """A function with SECURITY DEFINER lends its owner's right to be served, and a view or a plain function lends nothing."""
    sessions, _ = world(cluster)
    alice, mallory = sessions["alice"], sessions["mallory"]
    calls = {
        "recommend": "SELECT r.item_id FROM persona.recommend('alice.for_you', 7) r",
        "typed": "SELECT r.item_id FROM alice.for_you_recommend(7) r",
        "similar": "SELECT r.item_id FROM persona.similar_items('alice.for_you', 'item-03') r",
        "view": "SELECT algorithm FROM alice.for_you",
    }
    for name, sql in calls.items():
        body = f"RETURNS SETOF text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp BEGIN ATOMIC {sql}; END"
        alice.run(f"CREATE FUNCTION alice.lend_{name}() {body}; ALTER FUNCTION alice.lend_{name}() SECURITY DEFINER")
        alice.run(f"CREATE FUNCTION alice.plain_{name}() {body}; CREATE VIEW alice.view_{name} AS {sql}")
        alice.run(f"GRANT SELECT ON alice.view_{name} TO mallory")
        assert mallory.run(f"SELECT * FROM alice.lend_{name}()") == alice.run(sql), name
        assert mallory.error(f"SELECT * FROM alice.plain_{name}()").sqlstate == "42501", name
        assert mallory.error(f"SELECT * FROM alice.view_{name}").sqlstate == "42501", name
    # The other way round: nobody becomes the caller. Mallory's definer function asks mallory's right when alice calls it.
    sessions["postgres"].run("CREATE SCHEMA mallory AUTHORIZATION mallory; GRANT USAGE ON SCHEMA mallory TO PUBLIC")
    mallory.run("""CREATE FUNCTION mallory.trap() RETURNS bigint LANGUAGE sql SECURITY DEFINER
                   AS $$ SELECT count(*) FROM persona.recommend('alice.for_you', 7) $$""")
    assert alice.error("SELECT mallory.trap()").sqlstate == "42501"
    # An owner's definer function retrains for whom she lets.
    alice.run("""CREATE FUNCTION alice.nightly() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
                 AS $$ SELECT version FROM persona.retrain('alice.for_you') $$""")
    assert mallory.value("SELECT alice.nightly()") == "3"
    assert alice.value("SELECT trained_by FROM persona.versions WHERE version = 3") == "alice"


def used(session, model="for_you"):
    """Rows that a retrain uses."""
    return int(session.value(f"SELECT rows_used FROM persona.retrain('{model}')"))


def test_row_security(cluster):
    """Trained is what the owner of the model sees through row-level security, whoever starts it and whatever the caller sees."""
    sessions, _ = world(cluster)
    root, alice, bob = sessions["postgres"], sessions["alice"], sessions["bob"]
    root.run("CREATE SCHEMA logs AUTHORIZATION keeper; GRANT USAGE ON SCHEMA logs TO alice, bob; SET search_path = logs")
    root.run("""
        CREATE TABLE logs.seen AS TABLE alice.events; ALTER TABLE logs.seen OWNER TO keeper; GRANT SELECT ON logs.seen TO alice, bob;
        ALTER TABLE logs.seen ENABLE ROW LEVEL SECURITY;
        CREATE POLICY alice ON logs.seen TO alice USING (current_user <> 'alice' OR user_id < 50);
        CREATE POLICY bob ON logs.seen TO bob USING (user_id < 10)""")
    visible = int(alice.value("SELECT count(*) FROM logs.seen"))
    assert 0 < visible < int(root.value("SELECT count(*) FROM logs.seen"))
    alice.run("SELECT persona.train_als('alice.rls', 'logs.seen', 'user_id', 'item_id', iterations => 1)")
    for session in (alice, root, bob):
        assert used(session, "alice.rls") == visible
    # A caller who has switched row security off gets alice's error and not all rows.
    root.run("SET row_security = off")
    assert root.error("SELECT persona.retrain('alice.rls')").sqlstate == "42501"
    assert root.error("SELECT persona.evaluate('alice.rls', k => 7)").sqlstate == "42501"
    root.run("RESET row_security")
    # The owner of a table passes its policies by, until they are forced upon her.
    alice.run("ALTER TABLE alice.events ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON alice.events USING (user_id >= 90)")
    total = int(root.value("SELECT count(*) FROM alice.events"))
    assert used(root, "alice.for_you") == total
    alice.run("ALTER TABLE alice.events FORCE ROW LEVEL SECURITY")
    forced = int(alice.value("SELECT count(*) FROM alice.events"))
    assert 0 < forced < total
    for session in (alice, root, bob):
        assert used(session, "alice.for_you") == forced


def test_column_grants(cluster):
    """SELECT on the columns that are read is enough; one without it is the owner's 42501, also when a superuser trains."""
    sessions, _ = world(cluster)
    root, alice = sessions["postgres"], sessions["alice"]
    root.run("""CREATE SCHEMA logs; GRANT USAGE ON SCHEMA logs TO alice; CREATE TABLE logs.seen AS TABLE alice.events;
                GRANT SELECT (user_id, item_id) ON logs.seen TO alice""")
    train_sql = "SELECT persona.train_als('alice.part', 'logs.seen', 'user_id', 'item_id'{})"
    alice.run(train_sql.format(""))
    for session in (alice, root):
        for more in (", 'weight'", ", time_column => 'at'"):
            assert session.error(train_sql.format(more)).sqlstate == "42501", more
        assert used(session, "alice.part") > 0
    root.run("REVOKE SELECT (item_id) ON logs.seen FROM alice")
    assert root.error("SELECT persona.retrain('alice.part')").sqlstate == "42501"
    # What is stored is served all the same: nobody needs a right on the source for that.
    assert len(alice.run("SELECT * FROM alice.part_recommend(7)")) == 10
