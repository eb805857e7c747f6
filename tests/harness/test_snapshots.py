"""Which version a statement serves: the one that its snapshot sees, whatever other sessions do meanwhile."""

import time

from models import PARALLEL, SERIAL, extension, interactions, live, scores, train


def model(cluster):
    """Two sessions, a model with versions 1 and 2 of which 1 serves; what each answers."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    train(one)
    first = scores(one)
    train(one, factors=12, deploy="never")
    one.run("SELECT persona.deploy('for_you', 2)")
    second = scores(one)
    one.run("SELECT persona.rollback('for_you')")
    assert scores(two) == first != second
    return one, two, first, second


def test_repeatable_read_keeps_its_version(cluster):
    """A snapshot keeps its version through deploys, rollbacks and prunings by others, also one not loaded before."""
    one, two, first, second = model(cluster)
    fresh = cluster.session()
    for session in (two, fresh):
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        session.run("SELECT 1")
    assert scores(two) == first
    one.run("SELECT persona.deploy('for_you', 2)")
    assert scores(two) == first and live(two) == 1
    one.run("SELECT persona.rollback('for_you')")
    for factors in (13, 14, 15):
        train(one, factors=factors)
    one.run("VACUUM persona_internal.chunk, persona_internal.deployment, persona_internal.version")
    assert not one.run("SELECT 1 FROM persona.versions WHERE version = 1 AND is_stored")
    # `two` has the image in its memory, `fresh` has to read the pieces that are deleted for everybody else.
    for session in (two, fresh):
        assert scores(session) == first and live(session) == 1
        assert session.run("SELECT version FROM persona.models") == [("1",)]
        session.run("COMMIT")
        assert scores(session) == scores(one) != first
    assert second != first


def test_evaluate_keeps_to_the_snapshot(cluster):
    """Stored figures are those of the version that the statement's snapshot sees: no refit, no right to train needed."""
    one, _, _, _ = model(cluster)
    one.run("CREATE ROLE web LOGIN; GRANT USAGE ON SCHEMA persona TO web; GRANT SELECT ON for_you TO web")
    web = cluster.session(user="web")
    web.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = web.run("SELECT * FROM persona.evaluate('for_you')")
    assert before
    train(one, factors=16)
    assert web.run("SELECT * FROM persona.evaluate('for_you')") == before


def test_a_transaction_keeps_the_model_it_used(cluster):
    """What a transaction was served by stays until it ends, as with any view: DROP and RENAME wait for it."""
    one, two, first, _ = model(cluster)
    for level in ("READ COMMITTED", "REPEATABLE READ"):
        two.run(f"BEGIN ISOLATION LEVEL {level}")
        assert scores(two) == first
        for change in ("SELECT persona.drop_model('for_you')", "ALTER VIEW for_you RENAME TO gone"):
            assert one.error(f"BEGIN; SET LOCAL lock_timeout = '100ms'; {change}; COMMIT").sqlstate == "55P03"
            one.run("ROLLBACK")
        assert scores(two) == first
        two.run("COMMIT")
    # A training that runs holds no lock on the view: renaming it does not wait for hours.
    one.run("SELECT persona.drop_model('for_you')")
    assert two.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"


def test_renames_are_seen_by_the_next_statement(cluster):
    """Two models that swap their names swap for the next statement of another session."""
    one, two, first, _ = model(cluster)
    train(one, "other", factors=6)
    other = scores(one, "other")
    assert scores(two) == first
    one.run("""BEGIN; ALTER VIEW for_you RENAME TO third; ALTER VIEW other RENAME TO for_you;
               ALTER VIEW third RENAME TO other; COMMIT""")
    assert scores(two) == other and scores(two, "other") == first
    one.run("DROP FUNCTION for_you_recommend; ALTER VIEW for_you RENAME TO gone")
    assert two.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"


def test_read_committed_sees_the_next_statement(cluster):
    """In READ COMMITTED each statement of a transaction serves what is deployed when it begins."""
    one, two, first, second = model(cluster)
    two.run("BEGIN")
    assert scores(two) == first
    one.run("BEGIN; SELECT persona.deploy('for_you', 2)")
    assert scores(one) == second and scores(two) == first
    one.run("COMMIT")
    assert scores(two) == second
    one.run("SELECT persona.rollback('for_you')")
    assert scores(two) == first


def test_after_a_write_of_the_same_transaction(cluster):
    """A transaction that has written keeps one version within a statement, although others deploy during it."""
    one, two, first, second = model(cluster)
    two.run("CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1)")
    two.start("""
        SELECT count(*), count(DISTINCT score)
        FROM generate_series(1, 10) g, pg_sleep(0.1 + 0 * g), persona.recommend('for_you', 7, 1 + 0 * g)""")
    time.sleep(0.5)
    one.run("SELECT persona.deploy('for_you', 2)")
    train(one, factors=14)
    assert two.wait() == [("10", "1")]
    assert scores(two) == scores(one)
    assert first != second


def test_in_a_loop_of_plpgsql(cluster):
    """A VOLATILE function sees a deploy in its next statement, a STABLE one serves a single version."""
    one, two, _, _ = model(cluster)
    for volatility in ("volatile", "stable"):
        two.run(f"""
            CREATE FUNCTION {volatility}_loop() RETURNS text LANGUAGE plpgsql {volatility} AS $$
            DECLARE seen text[]; score real;
            BEGIN
              FOR i IN 1..30 LOOP
                score := (SELECT r.score FROM persona.recommend('for_you', 7, 1) r);
                IF score::text <> ALL (seen) IS NOT FALSE THEN seen := seen || score::text; END IF;
                PERFORM pg_sleep(0.05);
              END LOOP;
              RETURN array_length(seen, 1);
            END $$""")
    for volatility, versions in (("volatile", "2"), ("stable", "1")):
        two.start(f"SELECT {volatility}_loop()")
        time.sleep(0.6)
        one.run("SELECT persona.deploy('for_you', 2)")
        assert two.wait() == [(versions,)], volatility
        one.run("SELECT persona.rollback('for_you')")


def test_rollback_to_savepoint(cluster):
    """Training, deploying and dropping are undone by ROLLBACK TO, in the cache of the session as well."""
    one, two, first, second = model(cluster)
    one.run("BEGIN; SAVEPOINT s; SELECT persona.deploy('for_you', 2)")
    assert scores(one) == second
    one.run("ROLLBACK TO s")
    assert scores(one) == first
    train(one, factors=15)
    assert scores(one) not in (first, second) and live(one) == 3
    one.run("ROLLBACK TO s")
    assert scores(one) == first and live(one) == 1
    one.run("SELECT persona.drop_model('for_you')")
    assert one.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"
    one.run("ROLLBACK TO s")
    assert scores(one) == first
    train(one, "other", factors=4)
    one.run("ROLLBACK")
    assert scores(two) == first
    assert one.run("SELECT model FROM persona.models") == [("for_you",)]


def test_prepared_transactions(cluster):
    """A training or a deploy in a prepared transaction is seen from COMMIT PREPARED on; its locks hold until then."""
    cluster.configure({"max_prepared_transactions": 5})
    cluster.restart()
    one, two, first, second = model(cluster)
    one.run("BEGIN; SELECT persona.deploy('for_you', 2)")
    one.run("PREPARE TRANSACTION 'deploy'")
    assert scores(one) == first and scores(two) == first
    two.run("SET statement_timeout = 300")
    assert two.error("SELECT persona.rollback('for_you')").sqlstate == "57014"
    one.run("COMMIT PREPARED 'deploy'")
    assert scores(one) == second and scores(two) == second
    one.run("BEGIN")
    train(one, factors=15)
    one.run("PREPARE TRANSACTION 'train'")
    assert two.error("SELECT persona.retrain('for_you')").sqlstate == "55P03"
    cluster.restart("immediate")
    one = cluster.session()
    assert scores(one) == second
    assert one.error("SELECT persona.retrain('for_you')").sqlstate == "55P03"
    one.run("COMMIT PREPARED 'train'")
    assert live(one) == 3 and scores(one) != second


def test_two_trainings_and_a_deploy(cluster):
    """A second training is refused at once (55P03); deploy and rollback do not wait for a training that reads and fits."""
    one, two, _, second = model(cluster)
    one.run("CREATE VIEW slow AS SELECT e.* FROM events e, pg_sleep(3)")
    one.start("SELECT deployed FROM persona.train_als('for_you', 'slow', 'user_id', 'item_id', deploy => 'always')")
    time.sleep(1)
    error = two.error("SELECT persona.retrain('for_you')", timeout=1)
    assert error.sqlstate == "55P03" and "persona.training_progress" in error.text
    assert two.error("SELECT persona.drop_model('for_you')", timeout=1).sqlstate == "55P03"
    two.run("SELECT persona.deploy('for_you', 2)", timeout=1)
    assert scores(two) == second and one.busy()
    assert two.value("SELECT phase FROM persona.training_progress") == "read"
    assert one.wait() == [("t",)]
    assert live(two) == 3
    # What was live before it is what it returns to.
    assert two.value("SELECT persona.rollback('for_you')") == "2"


def test_two_first_trainings(cluster):
    """Two sessions that train a new name: one makes the model, the other is refused, no half of a model stays."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    one.run("BEGIN")
    train(one)
    error = two.error("SELECT persona.train_als('for_you', 'events', 'user_id', 'item_id')", timeout=5)
    assert error.sqlstate == "55P03"
    one.run("ROLLBACK")
    assert train(two) == [("1", "t")]
    assert one.value("SELECT count(*) FROM persona_internal.version") == "1"


def test_a_transaction_serves_what_it_deployed(cluster):
    """What a transaction itself deploys or rolls back to serves it, although its snapshot is older than that version."""
    one, two, first, _ = model(cluster)
    two.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    train(one, factors=14)
    third = scores(one)
    assert scores(two) == first and live(two) == 1
    # The version is not this transaction's business yet.
    assert two.error("SAVEPOINT s; SELECT * FROM persona.evaluate('for_you', version => 3)").sqlstate == "42704"
    two.run("ROLLBACK TO s; SELECT persona.deploy('for_you', 3)")
    fresh = two.run("SELECT version, (SELECT array_agg((item_id, score)) FROM persona.recommend('for_you', 7, 3)) FROM for_you")
    assert scores(two) == third and live(two) == 3 and fresh[0][0] == "3"
    assert two.run("SELECT * FROM persona.evaluate('for_you')") == one.run("SELECT * FROM persona.evaluate('for_you')")
    two.run(PARALLEL)
    assert scores(two) == third
    two.run("COMMIT")
    two.run(SERIAL)
    # The same with a rollback to a version that came and went live meanwhile.
    two.run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1")
    train(one, factors=15)
    fourth = scores(one)
    train(one, factors=16)
    assert two.value("SELECT persona.rollback('for_you')") == "4"
    assert scores(two) == fourth and live(two) == 4
    two.run("ROLLBACK")
    assert scores(two) == scores(one) != fourth


def test_a_model_made_after_the_snapshot(cluster):
    """A name is looked up as it is now; a model that it finds serves, also where the snapshot is older than the model."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    two.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    train(one)
    assert scores(two) == scores(one)
    two.run(PARALLEL)
    assert scores(two) == scores(one)
