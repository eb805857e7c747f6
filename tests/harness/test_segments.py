"""Models of segments: what their tables show while others train, crash, dump, restore and roll back."""

import re
import time

from models import extension
from test_dumps import dump, restore
from test_survival import amcheck, hold, sound

TABLES = ("tiers_members", "tiers_segments", "tiers_profile", "tiers_history")
# The points between the first row that is written to a table and the commit.
BETWEEN = ("members", "history", "segments", "profile", "version", "metrics", "deployed", "pruned")


def people(session, name="people", rows=600):
    """A table of three clear groups."""
    session.run(f"""
        CREATE TABLE {name} AS
        SELECT g::bigint AS id, (g % 3) * 100 + g % 7 AS a, (g % 3 = 2)::int * 50.0 + g % 5 AS b FROM generate_series(1, {rows}) g;
        ALTER TABLE {name} ADD PRIMARY KEY (id)""")


def train(session, model="tiers", relation="people", k=3):
    return session.run(f"SELECT version, deployed FROM persona.train_kmeans('{model}', '{relation}', 'id', k => {k}, n_init => 2)")


def shop(cluster, faults=False):
    """Two versions of a model, of three and of four segments; the second is live."""
    if faults:
        cluster.faults()
    session = cluster.session()
    if not faults:
        extension(session)
    people(session)
    train(session)
    assert train(session, k=4) == [("2", "t")]
    return session


def state(session, tables=TABLES, rows=True):
    """What the tables show, with the place of each row, and what is live."""
    place = "ctid, xmin::text, " if rows else ""
    seen = {table: session.run(f"SELECT {place}* FROM {table} ORDER BY 1, 2, 3") for table in tables}
    seen["live"] = session.run("SELECT version FROM tiers")
    seen["answers"] = session.run("SELECT persona.assign('tiers', ARRAY[a, b]) FROM people ORDER BY id")
    seen["registry"] = session.run("SELECT model_id, version FROM persona_internal.version ORDER BY 2")
    seen["labels"] = session.run("SELECT * FROM persona_internal.label")
    return seen


def agree(session, model="tiers", relation="people"):
    """The tables are those of the live version and the rows of now."""
    wrong = session.run(f"""
        SELECT p.id, m.segment_id FROM {relation} p FULL JOIN {model}_members m USING (id)
        WHERE m.segment_id IS DISTINCT FROM persona.assign('{model}', ARRAY[p.a, p.b])""")
    assert wrong == [], wrong[:5]
    assert session.run(f"""
        SELECT segment_id FROM {model}_segments s
        WHERE members <> (SELECT count(*) FROM {model}_members m WHERE m.segment_id = s.segment_id)""") == []
    assert session.run(f"""
        SELECT id FROM {model}_members m FULL JOIN (SELECT * FROM {model}_history WHERE exited_at IS NULL) h USING (id)
        WHERE m.segment_id IS DISTINCT FROM h.segment_id""") == []
    assert session.run(f"SELECT DISTINCT segment_id FROM {model}_profile ORDER BY 1") == session.run(
        f"SELECT segment_id FROM {model}_segments WHERE retired_at IS NULL AND members > 0 ORDER BY 1")  # fmt: skip


RETRAIN = "SELECT version FROM persona.retrain('tiers', '{\"k\": 3}')"
CHANGES = (
    *((point, RETRAIN) for point in BETWEEN),
    *((point, "SELECT persona.rollback('tiers')") for point in ("members", "history", "segments", "profile", "after rollback")),
    *((point, "SELECT persona.deploy('tiers', 1)") for point in ("members", "profile", "after deployment")),
)


def test_crash_between_the_steps_of_a_deployment(cluster):
    """kill -9 with some tables written and others not, by training, rollback and deploy: all show the old version."""
    session = shop(cluster, faults=True)
    amcheck(session)
    before = state(session)
    for point, sql in CHANGES:
        hold(cluster, session, point, sql)
        cluster.kill(session)
        session = cluster.session()
        assert state(session) == before, (point, sql)
        agree(session)
    sound(session)
    session.run("SELECT persona.rollback('tiers')")
    agree(session)
    assert state(session) != before


def test_errors_between_the_steps_of_a_deployment(cluster):
    """An error or a cancel at each step leaves nothing, also within a transaction that goes on."""
    cluster.expect("fault point ")
    session, watch = shop(cluster, faults=True), cluster.session()
    before = state(session)
    for point, sql in CHANGES:
        session.run(f"SET persona.fault = '{point}:error'")
        assert session.error(sql).sqlstate == "38000", point
        session.run("RESET persona.fault")
        assert state(session) == before, (point, sql)
        session.run(f"BEGIN; SAVEPOINT s; SET LOCAL persona.fault = '{point}:error'")
        assert session.error(sql).sqlstate == "38000", point
        session.run("ROLLBACK TO s; COMMIT")
        assert state(session) == before, (point, sql)
        hold(cluster, session, point, sql)
        watch.run(f"SELECT pg_cancel_backend({session.pid})")
        try:
            session.wait(5)
            raise AssertionError(f"no error at {point}")
        except Exception as error:
            assert getattr(error, "sqlstate", None) == "57014", (point, error)
        session.run("RESET persona.fault")
        assert state(session) == before, (point, sql)
    session.run(RETRAIN)
    agree(session)


def test_cancel_while_members_are_written(cluster):
    """Cancel and statement_timeout within the statement that writes the members are prompt and leave nothing."""
    session = cluster.session()
    extension(session)
    people(session, rows=60_000)
    train(session)
    # A slow source: a row takes 1 ms, but not for the training.
    session.run("""
        CREATE FUNCTION slow(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
          IF current_setting('slow.source', true) = 'yes' THEN PERFORM pg_sleep(0.001); END IF; RETURN $1; END $$;
        CREATE VIEW crawl AS SELECT slow(id) AS id, a, b FROM people;
        SELECT persona.alter_model('tiers', 'crawl')""")
    before, watch = state(session), cluster.session()
    # A deployment reads the source in that statement alone.
    session.run("SET slow.source = 'yes'; SET statement_timeout = '300ms'")
    assert session.error("SELECT persona.deploy('tiers', 1)").sqlstate == "57014"
    session.run("RESET statement_timeout")
    session.start("SELECT persona.deploy('tiers', 1)")
    time.sleep(0.3)
    sent = time.monotonic()
    watch.run(f"SELECT pg_cancel_backend({session.pid})")
    try:
        session.wait(5)
        raise AssertionError("it was not cancelled")
    except Exception as error:
        assert getattr(error, "sqlstate", None) == "57014", error
    assert time.monotonic() - sent < 1
    assert state(watch) == before
    session.run("RESET slow.source; SELECT persona.deploy('tiers', 1)")
    agree(session)


def test_readers_see_one_version(cluster):
    """Dashboards at REPEATABLE READ and open cursors read on undisturbed while trainings commit, and never a mixture."""
    session = shop(cluster)
    dashboard, cursor, open_eyes = cluster.session(), cluster.session(), cluster.session()
    dashboard.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = state(dashboard)
    cursor.run("BEGIN; DECLARE c CURSOR FOR SELECT id, segment_id FROM tiers_members ORDER BY id")
    rows = cursor.run("FETCH 100 FROM c")
    open_eyes.run("SET statement_timeout = '2s'")
    for k in (2, 5, 3):
        # Nobody waits for a reader, and no reader waits for a training that has not committed.
        session.run("SET statement_timeout = '10s'; BEGIN")
        train(session, k=k)
        live = open_eyes.value("SELECT version FROM tiers")
        mixture = """SELECT count(*) FROM tiers_members m LEFT JOIN tiers_segments s ON s.segment_id = m.segment_id AND s.retired_at IS NULL
                     WHERE s.segment_id IS NULL OR m.label <> s.label"""
        assert open_eyes.value(mixture) == "0"
        session.run("COMMIT")
        assert open_eyes.value(mixture) == "0" and open_eyes.value("SELECT version FROM tiers") != live
        assert state(dashboard) == before
    rows += cursor.run("FETCH ALL FROM c")
    assert rows == [(row[2], row[3]) for row in sorted(before["tiers_members"], key=lambda row: int(row[2]))]
    dashboard.run("COMMIT")
    assert state(dashboard) != before
    agree(session)


def test_old_snapshots_write_nothing(cluster):
    """A training, deployment or label in a transaction whose snapshot is older than a deployment is 40001: compared with what it
    sees, it would leave rows of the other version in the tables."""
    session, other = shop(cluster), cluster.session()
    for call in ("SELECT version FROM persona.retrain('tiers', '{\"k\": 4}')", "SELECT persona.deploy('tiers', 2)",
                 "SELECT persona.label_segment('tiers', 1, 'Gold')"):  # fmt: skip
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            session.run(f"BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM tiers_members")
            assert other.value("SELECT persona.rollback('tiers')") == "1"
            assert session.error(call).sqlstate == "40001", (call, level)
            session.run("ROLLBACK")
            agree(session)
            # Without another one it goes through, and again in the same transaction.
            session.run(f"BEGIN ISOLATION LEVEL {level}; SELECT persona.deploy('tiers', 2)")
            agree(session)
            session.run("SELECT persona.deploy('tiers', 2); COMMIT")
            agree(session)


def test_grants_and_views_outlive_trainings(cluster):
    """Grants, views, indexes, foreign keys and publications of the tables stay, whatever goes live."""
    session = shop(cluster)
    session.run("""
        CREATE ROLE web LOGIN; SELECT persona.grant_model('tiers', 'web'); CREATE INDEX ON tiers_members (segment_id);
        CREATE VIEW sizes AS SELECT label, count(*) FROM tiers_members GROUP BY 1; GRANT SELECT ON sizes TO web;
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM tiers_profile; ALTER TABLE tiers_members ADD note text""")
    session.run("UPDATE tiers_members SET note = 'seen' WHERE id = 7")
    web = cluster.session(user="web")
    oids = "SELECT oid, relname, relacl::text FROM pg_class WHERE relname ~ '^(tiers|sizes|kept)' ORDER BY oid"
    before = session.run(oids)
    for call in (RETRAIN, "SELECT persona.rollback('tiers')", "SELECT persona.deploy('tiers', 2)", "SELECT version FROM persona.retrain('tiers')"):
        session.run(call)
        assert session.run(oids) == before, call
        assert web.run("SELECT sum(count) FROM sizes") == [("600",)]
        assert all(web.run(f"SELECT * FROM {table} LIMIT 1") for table in TABLES)
        assert web.error("DELETE FROM tiers_members").sqlstate == "42501"
        assert session.value("SELECT note FROM tiers_members WHERE id = 7") == "seen"
        agree(session)


def test_two_trainings_at_once(cluster):
    """Of two trainings of a model the second is refused at once; deployments wait for the first."""
    session, other = shop(cluster), cluster.session()
    session.run("BEGIN; SELECT version FROM persona.retrain('tiers', '{\"k\": 5}')")
    assert other.error(RETRAIN).sqlstate == "55P03"
    assert other.error("SELECT persona.train_kmeans('tiers', 'people', 'id')").sqlstate == "55P03"
    other.start("SELECT persona.deploy('tiers', 1)")
    time.sleep(0.3)
    assert other.busy()
    session.run("COMMIT")
    # Two versions are kept: the deployment that waited sees what has become of its version.
    try:
        other.wait(10)
    except Exception as error:
        assert getattr(error, "sqlstate", None) == "55000", error
    agree(session)
    # Of two first trainings one makes the model.
    session.run("BEGIN")
    train(session, "fresh")
    assert other.error("SELECT persona.train_kmeans('fresh', 'people', 'id')").sqlstate == "55P03"
    session.run("ROLLBACK")
    assert train(other, "fresh") == [("1", "t")]


def test_a_training_within_a_training(cluster):
    """What a source or a trigger calls while members are placed cannot break the placing."""
    session = shop(cluster)
    session.run("""
        CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          PERFORM persona._place('{1}'), persona._place('{1,2,3,4,5,6,7,8,9}'), persona._place('{}'), persona._place('{NaN,1}');
          PERFORM persona.retrain('public.second'); RETURN NULL; END $$""")
    train(session, "second")
    session.run("CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON tiers_members FOR EACH STATEMENT EXECUTE FUNCTION nested()")
    # Rows that nobody has are noticed, whoever asked for them.
    assert session.error(RETRAIN).sqlstate == "23505"
    agree(session)
    session.run("""
        CREATE OR REPLACE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          PERFORM persona.retrain('public.second'); RETURN NULL; END $$""")
    session.run(RETRAIN)
    agree(session)
    agree(session, "second")
    assert session.error("SELECT persona._place('{1,2}')").sqlstate == "55000"


def test_standby_assigns(cluster):
    """A standby shows the tables and assigns as the primary does, and follows a deployment."""
    session = shop(cluster)
    standby = cluster.standby()
    cluster.catch_up(standby)
    reader = standby.session()
    assert state(reader) == state(session)
    agree(reader)
    distances = "SELECT * FROM persona.segment_distances('tiers', '{3,4}')"
    assert reader.run(distances) == session.run(distances)
    assert reader.value("SELECT persona.assign_row('tiers', '{\"a\": 3, \"b\": 4}')") == session.value("SELECT persona.assign('tiers', '{3,4}')")
    session.run("SELECT persona.rollback('tiers')")
    cluster.catch_up(standby)
    assert state(reader) == state(session)
    for call in ("persona.rollback('tiers')", "persona.label_segment('tiers', 1, 'x')", "persona.train_kmeans('tiers', 'people', 'id')",
                 "persona.train_rfm('r', 'people', 'id', 'a', 'b')"):  # fmt: skip
        assert reader.error(f"SELECT {call}").sqlstate == "25006", call
    cluster.stop("immediate")
    standby.promote()
    reader.run("SELECT persona.deploy('tiers', 2)")
    agree(reader)


def keepers(cluster):
    """The same in a database of its owner `keeper`, no superuser; dumps are hers."""
    cluster.session().run("CREATE ROLE keeper LOGIN CREATEDB; CREATE ROLE web LOGIN")
    cluster.session().run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    cluster.session("shop").run("GRANT USAGE ON SCHEMA persona TO PUBLIC")
    keeper = cluster.session("shop", "keeper")
    people(keeper)
    train(keeper)
    train(keeper, k=4)
    keeper.run("SELECT persona.label_segment('tiers', 1, 'Gold'); SELECT persona.grant_model('tiers', 'web')")
    return keeper


def test_dump_and_restore(cluster):
    """A dump keeps the tables bound to their model, under the names of its moment, with labels and grants."""
    keeper = keepers(cluster)
    keeper.run("CREATE SCHEMA stats; ALTER TABLE tiers_members RENAME TO who; ALTER TABLE tiers_history SET SCHEMA stats; CREATE TABLE tiers_members (x int)")
    tables = ("who", "stats.tiers_history", "tiers_segments", "tiers_profile")
    before = state(keeper, tables, rows=False)
    copy = restore(cluster, dump(cluster, "-Fc"))
    assert state(copy, tables, rows=False) == before
    again = cluster.session("copy", "keeper")
    assert again.value("SELECT version FROM persona.retrain('tiers')") == "3"
    # Nothing differs, so that nothing is written: neither members nor their history.
    same = state(copy, tables, rows=False)
    assert all(same[table] == before[table] for table in tables)
    again.run("SELECT persona.rollback('tiers'); SELECT persona.retrain('tiers', '{\"k\": 3}')")
    assert copy.run("SELECT label FROM tiers_segments WHERE segment_id = 1") == [("Gold",)]
    assert copy.value("SELECT count(DISTINCT segment_id) FROM who") == "3"
    assert copy.run("SELECT * FROM persona.check()") == []
    assert cluster.session("copy", "web").value("SELECT count(*) FROM who") == "600"
    again.run("SELECT persona.drop_model('tiers')")
    assert copy.run("SELECT relname FROM pg_class WHERE relname ~ '^(tiers|who)' AND relkind IN ('r', 'v')") == [("tiers_members",)]


def test_restore_without_the_registry(cluster):
    """Where the registry was left out, the next training takes the tables over: grants and history stay, no id is used twice."""
    keeper = keepers(cluster)
    keeper.run("SELECT persona.retrain('tiers', '{\"k\": 2}')")
    highest = int(keeper.value("SELECT max(segment_id) FROM tiers_segments"))
    copy = restore(cluster, dump(cluster, "-Fc", "--exclude-table-data=persona_internal.*"))
    oids = copy.run("SELECT oid, relname FROM pg_class WHERE relname LIKE 'tiers%' AND relkind = 'r'")
    assert copy.error("SELECT persona.assign('tiers', '{1,2}')").sqlstate == "55000"
    again = cluster.session("copy", "keeper")
    # Ids of another type are not those of these tables.
    again.run("CREATE TABLE texts AS SELECT id::text, a, b FROM people")
    assert again.error("SELECT persona.train_kmeans('tiers', 'texts', 'id')").sqlstate == "42P07"
    assert train(again) == [("1", "t")]
    agree(again)
    assert copy.run("SELECT oid, relname FROM pg_class WHERE relname LIKE 'tiers%' AND relkind = 'r'") == oids
    ids = [int(each) for (each,) in copy.run("SELECT segment_id FROM tiers_segments WHERE retired_at IS NULL")]
    assert len(ids) == 3 and min(ids) > highest, (ids, highest)
    # Closed, not forgotten.
    assert int(copy.value("SELECT count(*) FROM tiers_history WHERE exited_at IS NOT NULL")) >= 600
    assert cluster.session("copy", "web").value("SELECT count(*) FROM tiers_members") == "600"
    assert copy.run("SELECT * FROM persona.check()") == []


def test_rfm_goes_back_to_its_reference_time(cluster):
    """A rollback scores the purchases of now at the reference time of its version; later ones do not count."""
    session = cluster.session()
    extension(session)
    session.run("""
        CREATE TABLE orders AS SELECT g % 40 AS customer, timestamptz '2024-01-01 00:00+00' + g * interval '1 hour' AS at, g % 9 + 1 AS amount
        FROM generate_series(1, 2000) g""")
    session.run("SELECT persona.train_rfm('r', 'orders', 'customer', 'at', 'amount', as_of => '2024-02-01 00:00+00')")
    rows = "SELECT customer, segment_id, recency_days, frequency, monetary, r_score, f_score, m_score FROM r_members ORDER BY 1"
    first = session.run(rows)
    session.run("SELECT persona.retrain('r', '{\"as_of\": null}'); INSERT INTO orders VALUES (7, '2025-01-01', 1), (99, '2025-01-01', 1)")
    assert session.run(rows) != first
    assert session.value("SELECT persona.rollback('r')") == "1"
    assert session.run(rows) == [*first, ("99", *[None] * 7)]
    assert re.match("no purchase", session.value("SELECT reason FROM r_members WHERE customer = 99"))
