"""Code that alice hangs on what is hers: it runs as alice under a training, as the caller where he asked for it, or not at all."""

from models import train
from test_privileges import people

# Says who it runs as, and whether it got out of a restricted operation. `sure` may stand in an index.
SING = """
    CREATE FUNCTION alice.sing(what text) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE escaped text := 'no'; attempt text;
    BEGIN
      FOREACH attempt IN ARRAY ARRAY['SET ROLE NONE', 'RESET ROLE', 'SET SESSION AUTHORIZATION DEFAULT', 'CREATE TEMP TABLE trap (a int)',
          'ALTER ROLE alice SUPERUSER', 'SELECT 1 FROM persona_internal.chunk', 'DECLARE held CURSOR WITH HOLD FOR SELECT 1',
          'SET session_preload_libraries = ''x''', 'CREATE TABLE public.trap AS SELECT 1 AS a; ALTER TABLE public.trap OWNER TO postgres'] LOOP
        BEGIN EXECUTE attempt; escaped := attempt; EXCEPTION WHEN OTHERS THEN END;
      END LOOP;
      RAISE NOTICE 'canary % % % %', what, current_user, session_user, escaped;
      RETURN 0;
    END $$;
    CREATE FUNCTION alice.sure(what text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN alice.sing(what) = 0; END $$;
    CREATE FUNCTION alice.sing_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM alice.sing('trigger'); RETURN NEW; END $$;
    CREATE FUNCTION alice.plus(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN $1 + alice.sing('operator'); END $$;
    CREATE OPERATOR alice.### (FUNCTION = alice.plus, LEFTARG = bigint, RIGHTARG = bigint);
    CREATE TYPE alice.boxed AS (id bigint);
    CREATE FUNCTION alice.unbox(alice.boxed) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN $1.id + alice.sing('cast'); END $$;
    CREATE CAST (alice.boxed AS bigint) WITH FUNCTION alice.unbox(alice.boxed);
    CREATE FUNCTION alice.lent() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT alice.sing('definer') $$;
    CREATE DOMAIN alice.checked AS text CHECK (alice.sing('domain') = 0);"""

# One row in 4000 sings: the canary tries nine doors.
def one(expression):
    return f"""CREATE VIEW alice.s AS SELECT CASE WHEN at = min(at) OVER () THEN {expression} ELSE user_id END AS user_id, item_id
               FROM alice.events"""


# Sources of alice by what sings in them; all are relations of the columns user_id and item_id.
LOUD = {
    "view": one("user_id + alice.sing('view')"),
    "operator": one("user_id OPERATOR(alice.###) 1"),
    "cast": one("(ROW(user_id)::alice.boxed)::bigint"),
    "definer": one("user_id + alice.lent()"),
    "domain": "CREATE VIEW alice.s AS SELECT user_id, item_id::alice.checked AS item_id FROM (SELECT * FROM alice.events LIMIT 40) AS e",
    "policy": """CREATE TABLE alice.s AS SELECT * FROM alice.events LIMIT 40; ALTER TABLE alice.s ENABLE ROW LEVEL SECURITY;
                 ALTER TABLE alice.s FORCE ROW LEVEL SECURITY; CREATE POLICY p ON alice.s USING (alice.sing('policy') = 0)""",
    "index": """CREATE TABLE alice.s AS SELECT * FROM alice.events LIMIT 40; CREATE INDEX ON alice.s (user_id) WHERE alice.sure('index')""",
    "constraint": """CREATE TABLE alice.t AS SELECT * FROM alice.events LIMIT 40; ALTER TABLE alice.t ADD CHECK (alice.sure('constraint'));
                     CREATE VIEW alice.s AS SELECT * FROM alice.t WHERE user_id >= 0""",
}  # fmt: skip
# What runs on writes only: nothing here writes to what is hers.
SILENT = {
    "default": "CREATE TABLE alice.s AS SELECT * FROM alice.events LIMIT 40; ALTER TABLE alice.s ALTER user_id SET DEFAULT alice.sing('default')",
    "trigger": """CREATE TABLE alice.s AS SELECT * FROM alice.events LIMIT 40;
                  CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON alice.s FOR EACH STATEMENT EXECUTE FUNCTION alice.sing_trigger()""",
    "rule": """CREATE TABLE alice.s AS SELECT * FROM alice.events LIMIT 40;
               CREATE RULE r AS ON INSERT TO alice.s DO ALSO SELECT alice.sing('rule')""",
    "stored domain": "CREATE TABLE alice.s (user_id bigint, item_id alice.checked); INSERT INTO alice.s SELECT user_id, item_id FROM alice.events LIMIT 40",
}  # fmt: skip


def songs(session):
    """What the last statement of a session made sing."""
    return [line.split("canary ")[1] for line in session.notices.splitlines() if "canary" in line]


def trainings(model="alice.m"):
    """All that reads the rows of a source."""
    return (
        f"SELECT persona.train_als('{model}', 'alice.s', 'user_id', 'item_id', factors => 4, iterations => 1)",
        f"SELECT persona.retrain('{model}')",
        f"SELECT persona.evaluate('{model}', k => 7)",
    )


def test_sources_that_sing(cluster):
    """Whatever kind of code alice hangs on her source runs as alice, in a restricted operation, when others train her model."""
    root, alice, bob, _, _ = people(cluster)
    alice.run(SING)
    for kind, make in {**LOUD, **SILENT}.items():
        alice.run(make)
        alice.run(trainings()[0])
        for session, who in ((root, "postgres"), (bob, "bob")):
            for call in trainings():
                # A session that has planned nothing yet: plans and index expressions are kept.
                fresh = cluster.session("shop", who)
                fresh.run("SET constraint_exclusion = on")
                fresh.run(call)
                heard = songs(fresh)
                assert bool(heard) == (kind in LOUD), (kind, who, call, heard)
                assert all(song == f"{kind} alice {who} no" for song in heard), (kind, who, call, heard)
                assert fresh.run("SELECT current_user, session_user") == [(who, who)]
        # Nothing else that others do to the model reads the source.
        for call in (
            "SELECT persona.alter_model('alice.m', 'alice.s', '{\"user_column\": \"user_id\"}')", "SELECT persona.rollback('alice.m')",
            "SELECT persona.deploy('alice.m', 1)", "SELECT persona.grant_model('alice.m', 'bob')", "SELECT * FROM persona.check()",
            "SELECT * FROM persona.recommend('alice.m', 7)", "SELECT * FROM persona.models", "SELECT persona.drop_model('alice.m')",
        ):  # fmt: skip
            try:
                root.run(call)
            except Exception as error:
                assert error.sqlstate == "55000" and ("rollback" in call or "deploy" in call), (kind, call, error)
            assert songs(root) == [], (kind, call)
        alice.run("DROP VIEW IF EXISTS alice.s CASCADE" if "VIEW alice.s" in make else "DROP TABLE alice.s CASCADE")
        alice.run("DROP TABLE IF EXISTS alice.t")
    assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'") == "f"
    assert root.value("SELECT count(*) FROM pg_class WHERE relname = 'trap' AND relowner = 10") == "0"


def test_a_view_of_a_model_that_sings(cluster):
    """Triggers, rules and another body that alice puts on the view of her model never run by what the library does with it."""
    root, alice, _, _, _ = people(cluster)
    alice.run(SING)
    model = root.value("SELECT model_id FROM persona_internal.model")
    alice.run(f"""
        CREATE OR REPLACE VIEW alice.for_you AS
          SELECT f.algorithm, f.version, f.trained_at, f.rows_used + alice.sing('body') AS rows_used, f.metric, f.value, f.baseline, f.bytes
          FROM persona.model_facts('{model}') AS f;
        CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OR DELETE ON alice.for_you FOR EACH ROW EXECUTE FUNCTION alice.sing_trigger();
        CREATE RULE r AS ON INSERT TO alice.for_you DO ALSO SELECT alice.sing('rule')""")
    for call in (
        "SELECT persona.retrain('alice.for_you', '{\"deploy\": \"always\"}')", "SELECT persona.rollback('alice.for_you')",
        "SELECT persona.deploy('alice.for_you', 2)", "SELECT persona.grant_model('alice.for_you', 'mallory')",
        "SELECT persona.revoke_model('alice.for_you', 'mallory')", "SELECT persona.alter_model('alice.for_you', 'alice.events')",
        "SELECT persona.evaluate('alice.for_you', k => 7)", "SELECT * FROM persona.recommend('alice.for_you', 7)",
        "SELECT * FROM persona.check()", "SELECT * FROM persona.models", "SELECT * FROM persona.versions",
        "SELECT * FROM persona_internal.problems", f"SELECT * FROM persona.model_facts('{model}')",
    ):  # fmt: skip
        root.run(call)
        assert songs(root) == [], call
    # Only who reads the view runs it, like any view.
    root.run("SELECT * FROM alice.for_you")
    assert songs(root)[0].startswith("body postgres postgres")
    root.run("SELECT persona.drop_model('alice.for_you')")
    assert songs(root) == []


def test_a_domain_that_sings_when_served(cluster):
    """The CHECK of a domain of ids runs as who asked for ids of that domain, and for nobody who asked for texts."""
    root, alice, _, mallory, _ = people(cluster)
    alice.run(SING)
    alice.run(SILENT["stored domain"])
    alice.run("SELECT persona.train_als('alice.m', 'alice.s', 'user_id', 'item_id', factors => 4); GRANT SELECT ON alice.m TO mallory")
    for session, who in ((root, "postgres"), (mallory, "mallory"), (alice, "alice")):
        for call in (
            "alice.m_recommend(7)", "persona.recommend_as('alice.m', 7, 'item-03'::alice.checked)",
            "alice.m_recommend_for_items('{item-03}')", "alice.m_similar_items('item-03')",
        ):  # fmt: skip
            session.run(f"SELECT * FROM {call}")
            heard = songs(session)
            assert heard and all(song.startswith(f"domain {who} {who} ") for song in heard), (call, who, heard[:2])
        for call in (
            "persona.recommend('alice.m', 7)", "persona.recommend_for_items('alice.m', '{item-03}')",
            "persona.similar_items('alice.m', 'item-03')", "persona.popular_items('alice.m')", "persona.item_factors('alice.m')",
            "persona.score('alice.m', 7, 'item-03')", "persona.recommend_for_users('alice.m', '{7}')",
        ):  # fmt: skip
            session.run(f"SELECT * FROM {call}")
            assert songs(session) == [], (call, who)


def test_leftovers_are_trained_as_their_owner(cluster):
    """A view whose registry row is gone is taken up as its owner: her source sings as her."""
    root, alice, _, _, _ = people(cluster)
    alice.run(SING)
    alice.run(LOUD["view"])
    train(alice, "alice.m")
    root.run("DELETE FROM persona_internal.model")
    root.run(trainings()[0])
    assert songs(root) == ["view alice postgres no"]


# Sources of segments in which something sings, and what the tables of alice sing when they are written.
def segments(alice):
    alice.run(SING)
    alice.run("""
        CREATE VIEW alice.s AS SELECT u AS id, u % 3 AS a, CASE WHEN u = 1 THEN alice.sing('view') ELSE u END AS b FROM generate_series(1, 30) u;
        SELECT persona.train_kmeans('alice.tiers', 'alice.s', 'id', k => 2)""")
    for table in ("members", "segments", "profile", "history"):
        alice.run(f"""CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON alice.tiers_{table}
                      FOR EACH STATEMENT EXECUTE FUNCTION alice.sing_trigger()""")
    # It sings in the statement that writes the members, beside the model that is placed.
    alice.run("SELECT persona.retrain('alice.tiers', '{\"k\": 3}')")


def test_tables_of_segments_that_sing(cluster):
    """Whoever trains, deploys, rolls back or labels a model of alice's: her source and the triggers of her tables run as she."""
    root, alice, bob, _, _ = people(cluster)
    segments(alice)
    for session, who in ((root, "postgres"), (bob, "bob")):
        for call, singers in (
            ("SELECT persona.retrain('alice.tiers', '{\"k\": 2}')", {"view", "trigger"}), ("SELECT persona.rollback('alice.tiers')", {"view", "trigger"}),
            ("SELECT persona.deploy('alice.tiers', (SELECT max(version) FROM persona.versions WHERE model = 'alice.tiers'))", {"view", "trigger"}),
            ("SELECT persona.retrain('alice.tiers', '{\"k\": 3}')", {"view", "trigger"}),
            ("SELECT persona.label_segment('alice.tiers', 1, 'Gold'), persona.label_segment('alice.tiers', 1, NULL)", {"trigger"}),
            ("SELECT persona.train_kmeans('alice.tiers', 'alice.s', 'id', k => 2)", {"view", "trigger"}),
        ):  # fmt: skip
            fresh = cluster.session("shop", who)
            fresh.run(call)
            heard = songs(fresh)
            assert {song.split()[0] for song in heard} == singers, (who, call, heard)
            assert all(song.endswith(f" alice {who} no") for song in heard), (who, call, heard)
            assert fresh.run("SELECT current_user, session_user") == [(who, who)]
        for call in (
            "SELECT persona.assign('alice.tiers', '{1,2}')", "SELECT * FROM persona.segment_distances('alice.tiers', '{1,2}')",
            "SELECT * FROM persona.check()", "SELECT * FROM alice.tiers_members", "SELECT * FROM persona.evaluate('alice.tiers')",
            "SELECT persona.alter_model('alice.tiers', 'alice.s')", "SELECT persona.grant_model('alice.tiers', 'bob')",
        ):  # fmt: skip
            session.run(call)
            assert songs(session) == [], (who, call)
    root.run("SELECT persona.drop_model('alice.tiers')")
    assert songs(root) == []
    assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'") == "f"
    assert root.value("SELECT count(*) FROM pg_class WHERE relname = 'trap' AND relowner = 10") == "0"
