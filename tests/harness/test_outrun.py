"""What others rename, replace, deploy or commit while a call waits for a lock or works: it means the model and the tables that it
found, and forgets nothing that they have written."""

from cluster import SqlError
from models import extension, interactions, train
from test_queue import EMPTY, QUEUE, WORK, attached, insert, known, release
from test_races import outcome, until_blocked
from test_survival import hold

SWAP = "BEGIN; ALTER VIEW a RENAME TO t; ALTER VIEW b RENAME TO a; ALTER VIEW t RENAME TO b; COMMIT"
KEPT = "SELECT kept_back FROM persona.queue"
NEVER = """SELECT persona.retrain('for_you', '{"deploy": "never"}')"""
LIVE = "SELECT version FROM for_you"


def while_it_waits(cluster, waiting, sql, other, begin, end="COMMIT"):
    """Begins a transaction in `other`, starts a call that waits for it, ends it: what came of the call."""
    other.run("BEGIN; " + begin)
    waiting.start(sql)
    until_blocked(cluster)
    other.run(end)
    return outcome(waiting)


def two_models(session):
    """Models `a` of users below 100 and `b` of users from 5000 on."""
    extension(session)
    for model, plus in (("a", 0), ("b", 5000)):
        interactions(session, f"ev_{model}", 2000)
        session.run(f"UPDATE ev_{model} SET user_id = user_id + {plus}")
        train(session, model, f"ev_{model}", iterations=2, holdout="none")


def test_models_that_swap_names(cluster):
    """A call that waits while two models swap their names goes on with the one that it found."""
    session, other, holder = cluster.session(), cluster.session(), cluster.session()
    two_models(session)
    spec = "SELECT spec->>'relation' FROM persona_internal.model WHERE relation::oid = '{}'::regclass"
    users = "SELECT min(user_id) FROM (SELECT user_id FROM ev_a UNION SELECT user_id FROM ev_b) u WHERE (SELECT source FROM persona.recommend('{}', user_id, 1)) = 'model'"
    for call, table in (("retrain('a')", "queue"), ("update_model('a')", "deployment"), ("retrain('a')", "attachment")):
        before = {session.value(spec.format(model)): session.value(f"SELECT version FROM {model}") for model in "ab"}
        found = session.value(spec.format("a"))
        session.run(f"INSERT INTO {found} SELECT min(user_id) + 99, '{call[:6]}', 1, now() FROM {found}")
        holder.run(f"BEGIN; LOCK TABLE persona_internal.{table} IN ACCESS EXCLUSIVE MODE")
        session.start(f"SELECT persona.{call}")
        until_blocked(cluster)
        other.run(SWAP)
        holder.run("COMMIT")
        session.wait()
        for model in "ab":
            source = session.value(spec.format(model))
            grown = int(session.value(f"SELECT version FROM {model}")) - int(before[source])
            assert grown == (source == found), (call, model, source)
            assert session.value(users.format(model)) == ("0" if source == "public.ev_a" else "5000"), (call, model)


def test_a_search_across_a_swap(cluster):
    """The steps of persona.tune() are all of the model that the first one found."""
    session, other = cluster.session(), cluster.session()
    two_models(session)
    session.start("CALL persona.tune('a', trials => 60, method => 'random', deploy => 'never')")
    for _ in range(200):
        if other.run("SELECT to_regclass('a_trials')") != [(None,)]:
            break
    other.run(SWAP)
    session.wait(120)
    assert session.value("SELECT count(*) FROM a_trials") == "60"
    assert session.run("SELECT model, count(*) FROM persona.versions GROUP BY 1 ORDER BY 1") == [("a", "1"), ("b", "2")]


def test_nobody_becomes_the_owner_of_another_model(cluster):
    """Renames between the looks of a call never make it run as the owner of a model that is not the caller's."""
    root = cluster.session()
    extension(root)
    root.run("CREATE ROLE eve LOGIN; CREATE SCHEMA eve AUTHORIZATION eve; GRANT USAGE ON SCHEMA persona TO eve")
    interactions(root, "events", 500)
    train(root, "m", "events", iterations=2, holdout="none")
    one, two = cluster.session(user="eve"), cluster.session(user="eve")
    for session in (one, two):
        session.run("SET search_path = eve, public")
    interactions(one, "src", 500)
    one.run("""
        CREATE FUNCTION f(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
          IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE eve SUPERUSER'; END IF;
          RETURN $1; END $$;
        CREATE VIEW v AS SELECT f(user_id) AS user_id, item_id, weight, at FROM src""")
    train(one, "eve.m", "eve.v", iterations=2, holdout="none")
    calls = (
        (two, "train_als('m', 'eve.v', 'user_id', 'item_id', factors => 4, holdout => 'none', deploy => 'always')"),
        (two, "evaluate('m', k => 7)"),
        (root, "retrain('eve.m')"),
        (root, "update_model('eve.m')"),
    )
    for session, call in calls:
        for attempt in range(25):
            one.run("BEGIN; SELECT persona.alter_model('eve.m', relation => 'eve.v')" if attempt % 2 else "BEGIN")
            session.start(f"SELECT persona.{call}")
            one.run("ALTER VIEW eve.m RENAME TO m2; COMMIT")
            outcome(session)
            one.run("ALTER VIEW eve.m2 RENAME TO m")
    assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'eve'") == "f"
    assert root.value("SELECT version FROM public.m") == "1"
    owners = "SELECT nspname, relowner::regrole FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'v' AND relname = 'm' ORDER BY 1"
    assert root.run(owners) == [("eve", "eve"), ("public", "postgres")]


def test_tables_that_change_places(cluster):
    """A table that takes the name of one beside a model while a call waits is neither written nor dropped."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    interactions(session)
    train(session)
    session.run("SELECT persona.recommend_all('for_you', 3); CREATE TABLE precious AS SELECT * FROM for_you_recs; UPDATE precious SET score = 0")
    places = "ALTER TABLE for_you_recs RENAME TO old_recs; ALTER TABLE precious RENAME TO for_you_recs"
    session.run("DELETE FROM for_you_recs")
    while_it_waits(cluster, session, "SELECT persona.recommend_all('for_you', 3)", other, places)
    assert session.run("SELECT count(*) > 100, max(score) FROM for_you_recs") == [("t", "0")]
    assert session.value("SELECT max(score) > 0 FROM old_recs") == "t"
    session.run("ALTER TABLE for_you_recs RENAME TO precious; ALTER TABLE old_recs RENAME TO for_you_recs")
    while_it_waits(cluster, session, "SELECT persona.drop_model('for_you')", other, places)
    assert session.run("SELECT to_regclass('for_you_recs') IS NULL, to_regclass('old_recs') IS NULL") == [("f", "t")]


def test_a_deployment_by_hand_beside_a_training(cluster):
    """Changes that neither the deployed version nor the one that goes live has read stay in the queue."""
    cluster.faults()
    session, worker = cluster.session(), cluster.session()
    attached(session)
    session.run(insert(1001))
    session.run(NEVER)
    kept = session.value(KEPT)
    session.run(insert(1002))
    hold(cluster, worker, "encoded", NEVER)
    session.run(f"SELECT persona.deploy('for_you', {kept})")
    release(cluster, worker)
    worker.wait()
    worker.run("RESET persona.fault")
    assert session.run(QUEUE) == [("1", "f")] and known(session, 1001, 1002) == {1001}
    session.run(insert(1003))
    session.run(WORK)
    assert session.run(QUEUE) == EMPTY and known(session, 1001, 1002, 1003) == {1001, 1002, 1003}


def test_a_rollback_during_an_update(cluster):
    """An update of a version that was taken back meanwhile does not go live, and the next work-off begins with what serves."""
    cluster.faults()
    session, worker = cluster.session(), cluster.session()
    attached(session)
    train(session, iterations=3, holdout="none")
    session.run("SELECT persona.retrain('for_you')")
    assert session.run(QUEUE) == EMPTY
    session.run(insert(1001))
    before = session.value(LIVE)
    hold(cluster, worker, "encoded", "SELECT deployed, deploy_reason FROM persona.update_model('for_you')")
    back = session.value("SELECT persona.rollback('for_you')")
    release(cluster, worker)
    assert int(back) < int(before) and worker.wait() == [("f", f"version {back} was deployed meanwhile")]
    assert session.value(LIVE) == back and session.run(KEPT) == [(None,)]
    session.run(WORK)
    assert session.run(QUEUE) == EMPTY and known(session, 1001) == {1001}


def test_a_direct_training_reads_the_queue(cluster):
    """A trainer that is called by its name does to the queue what a retraining does."""
    session = cluster.session()
    extension(session)
    attached(session)
    session.run(insert(1001))
    session.run(NEVER)
    assert train(session, iterations=2, holdout="none", deploy="never")[0][0] == session.value(KEPT)
    assert train(session, iterations=2, holdout="none")[0][1] == "t" and session.run(QUEUE) == EMPTY


def test_attach_and_detach_wait(cluster):
    """What a transaction that they wait for made or dropped counts: partitions, triggers, the table itself."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    trigger = "SELECT tgname FROM pg_trigger WHERE tgname ~ '^persona_.*insert'"
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname ~ '^persona_'"
    for call in ("attach", "detach", "drop_model"):
        for what in ("DROP TRIGGER {} ON events", "DROP TABLE events"):
            session.run("DROP TABLE IF EXISTS events CASCADE")
            attached(session)
            begin = what.format(session.value(trigger))
            came = while_it_waits(cluster, session, f"SELECT persona.{call}('for_you')", other, begin)
            if call == "attach" and "TABLE" in what:
                assert "42P01" in str(came), came
                session.run("SELECT persona.drop_model('for_you')")
                continue
            assert came == [(None,)], (call, what, came)
            assert session.value(triggers) == ("4" if call == "attach" else "0"), (call, what)
            if call == "attach":
                assert session.run(QUEUE) == [("0", "t")]
            if call != "drop_model":
                session.run("SELECT persona.drop_model('for_you')")
    session.run("""
        DROP TABLE IF EXISTS events; CREATE TABLE parts (user_id bigint, item_id text, weight int, at timestamptz) PARTITION BY RANGE (user_id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500)""")
    interactions(session, rows=2000)
    session.run("INSERT INTO parts SELECT * FROM events")
    train(session, relation="parts", iterations=2, holdout="none")
    begin = "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (5000)"
    while_it_waits(cluster, session, "SELECT persona.attach('for_you')", other, begin)
    assert session.value(triggers) == "12"


def test_rows_of_a_transaction_that_a_training_waited_for(cluster):
    """A partition, or a table, that is emptied and filled again meanwhile is read as it is then."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    interactions(session, "src", 2000)
    session.run("""
        CREATE TABLE events (user_id bigint, item_id text, weight int, at timestamptz) PARTITION BY RANGE (user_id);
        CREATE TABLE e1 PARTITION OF events FOR VALUES FROM (0) TO (50); CREATE TABLE e2 PARTITION OF events FOR VALUES FROM (50) TO (5000);
        INSERT INTO events SELECT * FROM src; CREATE VIEW seen AS SELECT * FROM events; CREATE TABLE plain AS SELECT * FROM src""")
    fill = {
        "events": "TRUNCATE e2; INSERT INTO e2 SELECT * FROM src WHERE user_id >= 50",
        "seen": "TRUNCATE e2; INSERT INTO e2 SELECT * FROM src WHERE user_id >= 50",
        "plain": "TRUNCATE plain; INSERT INTO plain SELECT * FROM src",
    }
    for relation, again in fill.items():
        first = f"SELECT rows_used FROM persona.train_als('m_{relation}', '{relation}', 'user_id', 'item_id', factors => 4, holdout => 'none')"
        for sql in (first, f"SELECT rows_used FROM persona.retrain('m_{relation}')"):
            assert while_it_waits(cluster, session, sql, other, again) == [("2000",)], (relation, sql)


def test_old_snapshots_write_nothing(cluster):
    """In REPEATABLE READ what writes for a model that others have changed since the snapshot is 40001."""
    session, old = cluster.session(), cluster.session()
    extension(session)
    attached(session)
    newest = "SELECT persona.deploy('for_you', (SELECT max(version) FROM persona.versions))"
    attach, detach = "SELECT persona.attach('for_you')", "SELECT persona.detach('for_you')"
    changes = ((NEVER, attach), (newest, attach), (detach, attach), (attach, detach))
    calls = ("recommend_all('for_you', 3)", "drop_model('for_you')", "detach('for_you')", "attach('for_you')", "deploy('for_you', 1)", "rollback('for_you')", "update_model('for_you')", "retrain('for_you')", "alter_model('for_you', relation => 'events')")
    for change, before in changes:
        for isolation in ("REPEATABLE READ", "SERIALIZABLE"):
            session.run(before)
            old.run(f"BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM for_you")
            session.run(change)
            for call in calls:
                # Of a model that is not attached, a transaction may deploy what it does not see.
                if change == detach and call[:6] in ("deploy", "rollba"):
                    continue
                old.run("SAVEPOINT s")
                error = old.error(f"SELECT persona.{call}")
                assert error.sqlstate == "40001", (change, call, error.text)
                old.run("ROLLBACK TO s")
            old.run("ROLLBACK")
    # What the transaction has done itself it may go on with, also within one statement.
    session.run(WORK)
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM for_you")
    old.run("SELECT persona.retrain('for_you'), persona.rollback('for_you'), persona.detach('for_you'), persona.attach('for_you')")
    old.run("SELECT persona.recommend_all('for_you', 3)")
    old.run("COMMIT")


def test_writers_by_the_columns_of_before(cluster):
    """alter_model waits for who has queued users by another column, and then everything is read."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    interactions(session, rows=2000)
    session.run("ALTER TABLE events ADD other bigint; UPDATE events SET other = user_id + 3000")
    train(session, iterations=2, holdout="none")
    session.run("SELECT persona.attach('for_you')")
    session.run(WORK)
    writes = "INSERT INTO events SELECT 1001, item_id, 1, now(), 4001 FROM events WHERE user_id = 7"
    alters = """SELECT persona.alter_model('for_you', column_map => '{"user_column": "other"}')"""
    while_it_waits(cluster, session, alters, other, writes)
    session.run(WORK)
    assert known(session, 3007, 4001) == {3007, 4001}


def test_grants_and_publications_at_once(cluster):
    """Two at once wait for each other."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    interactions(session)
    train(session)
    session.run("CREATE ROLE web; CREATE SCHEMA api")
    for sql in ("SELECT persona.grant_model('for_you', 'web')", "SELECT persona.publish('for_you', 'api')", "SELECT persona.publish('for_you', 'api')"):
        assert while_it_waits(cluster, session, sql, other, sql) == [(None,)], sql


def test_the_search_of_another_owner(cluster):
    """A superuser tunes a model of somebody else, whose name only the search path finds."""
    root = cluster.session()
    extension(root)
    root.run("CREATE ROLE alice LOGIN; CREATE SCHEMA alice AUTHORIZATION alice; GRANT USAGE ON SCHEMA persona TO alice")
    alice = cluster.session(user="alice")
    alice.run("SET search_path = alice")
    interactions(alice)
    train(alice)
    root.run("SET search_path = alice")
    root.run("CALL persona.tune('for_you', trials => 2, method => 'random', deploy => 'never')")
    assert root.run("SELECT DISTINCT state FROM for_you_trials") == [("finished",)]
    try:
        assert root.run("SELECT count(*) > 0 FROM persona.evaluate('for_you', k => 7)") == [("t",)]
    except SqlError as error:
        raise AssertionError(error.text) from error
