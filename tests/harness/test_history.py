"""What a long past costs: nothing that a training notices. Versions, facts and pieces are kept within bounds."""

from statistics import median

from models import extension, live, scores, train
from test_dumps import dump, restore

PAGES = "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()"

UPDATE = "SELECT version, deployed FROM persona.update_model('for_you')"


def pages(session, sql):
    """The pages that a statement looks at: what it costs, on a machine as busy as it may be."""
    session.run("SELECT pg_stat_force_next_flush()")
    before = int(session.value(PAGES))
    session.run(sql, timeout=600)
    session.run("SELECT pg_stat_force_next_flush()")
    return int(session.value(PAGES)) - before


def interactions(session, users=4000):
    """Some for each user: what a version takes is a matter of users."""
    session.run(f"""
        CREATE TABLE events AS
        SELECT (g % {users})::bigint AS user_id, 'item-' || lpad((g % 13 + g % 37)::text, 2, '0') AS item_id, 1 + g % 3 AS weight,
               timestamptz '2024-01-01 00:00+00' + g * interval '1 second' AS at
        FROM generate_series(1, 3 * {users}) g""")


def change(session):
    """A row that the next update finds."""
    session.run("INSERT INTO events SELECT 7, 'item-07', 1, max(at) + interval '1 second' FROM events")


def update(session):
    """The pages that an update looks at, which must have made a version."""
    change(session)
    before = live(session)
    looked_at = pages(session, UPDATE)
    assert live(session) == before + 1
    return looked_at


def quiet(cluster):
    """A session without anybody else who looks at pages."""
    cluster.configure({"autovacuum": "off"})
    cluster.restart()
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session, factors=32)
    return session


def lengthen(session, versions):
    """Puts this many updates, their logs and deployments between the only version and one that is like it and live."""
    session.run(f"""
        INSERT INTO persona_internal.version
        SELECT (jsonb_populate_record(v, jsonb_build_object(
            'version', n, 'image_id', CASE WHEN n > {versions} THEN v.image_id ELSE gen_random_uuid() END,
            'metric', null, 'value', null, 'baseline', null, 'stored', n > {versions},
            'hyperparameters', v.hyperparameters || jsonb_build_object('updated_from', n - 1, 'measured_version', 1)))).*
        FROM persona_internal.version v, generate_series(2, {versions} + 1) n""", timeout=600)
    session.run("UPDATE persona_internal.version SET stored = false WHERE version = 1")
    session.run(f"""
        INSERT INTO persona_internal.training_log (model_id, version, ordinal, phase, seconds)
        SELECT model_id, n, 1, 'write', 1 FROM persona_internal.model, generate_series(2, {versions} + 1) n""", timeout=600)
    session.run("""
        INSERT INTO persona_internal.deployment
        SELECT d.deployment_id + v.version - 1, d.model_id, v.version, v.image_id, d.deployment_id + v.version - 2, 'train', d.deployed_by, d.deployed_at
        FROM persona_internal.version v, persona_internal.deployment d WHERE v.version > 1""", timeout=600)
    session.run("VACUUM ANALYZE", timeout=600)


def cost_of_a_history(cluster, versions):
    session = quiet(cluster)
    young = median([update(session) for _ in range(10)][5:])
    training = pages(session, "SELECT persona.retrain('for_you')")
    asked = pages(session, "SELECT * FROM persona.check()")
    session.run("SELECT persona.drop_model('for_you')")
    train(session, factors=32)
    lengthen(session, versions)
    assert live(session) == versions + 1
    old = [update(session) for _ in range(10)]
    assert max(old) <= 1.5 * young, (old, young)
    assert pages(session, "SELECT persona.retrain('for_you')") <= 1.5 * training
    assert pages(session, "SELECT * FROM persona.check()") <= 1.5 * asked
    # What is too much goes twenty a training, or at once; the version that was measured stays.
    left = int(session.value("SELECT count(*) FROM persona.versions"))
    assert left <= versions + 12 - 11 * 20
    ((model, removed, images),) = session.run("SELECT * FROM persona.prune('for_you')", timeout=600)
    assert (model, int(removed), images) == ("for_you", left - 10_001, "0")
    assert session.value("SELECT count(*) FROM persona.versions WHERE version = 1") == "1"


def test_cost_of_twenty_thousand_versions(cluster):
    cost_of_a_history(cluster, 20_000)


def test_long_cost_of_half_a_million_versions(cluster):
    cost_of_a_history(cluster, 500_000)


def test_updates_that_do_not_say_what_was_measured(cluster):
    """Of an earlier build: each looks back a little further, and a training to the end."""
    session = quiet(cluster)
    young = median([update(session) for _ in range(6)])
    session.run("SELECT persona.drop_model('for_you')")
    train(session, factors=32)
    lengthen(session, 1000)
    session.run("UPDATE persona_internal.version SET hyperparameters = hyperparameters - 'measured_version'")
    for after in range(12):
        assert update(session) <= 2 * young
        found = session.value("SELECT hyperparameters -> 'measured_version' FROM persona.versions WHERE is_live")
        assert int(found) == max(1, 901 - 99 * after), found
    value = session.value("SELECT value FROM persona.versions WHERE version = 1")
    assert session.value("SELECT live_value FROM persona.retrain('for_you')") == value


def test_cost_under_an_old_snapshot(cluster):
    """Its rows stay, and nobody looks at them; nobody frees their pages; it serves what it saw."""
    session, old = quiet(cluster), cluster.session()
    young = median([update(session) for _ in range(10)][5:])
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = scores(old)
    later = [update(session) for _ in range(120)]
    assert max(later[-10:]) <= 1.5 * young, (later[-10:], young)
    train(session, factors=12)
    # From no memory: the pieces are read again.
    old.run("SELECT persona.prewarm('for_you')")
    assert scores(old) == before != scores(session)
    old.run("COMMIT")
    assert scores(old) == scores(session)
    # All is free for the next ones.
    table = "SELECT pg_relation_size('persona_internal.chunk')"
    before = session.value(table)
    for _ in range(20):
        update(session)
    assert session.value(table) == before
    session.run("VACUUM persona_internal.chunk")
    for _ in range(3):
        update(session)
    assert int(session.value("SELECT count(*) FROM persona_internal.reclaim")) < 3


def size(session):
    return int(session.value("SELECT pg_total_relation_size('persona_internal.chunk')"))


def back_to_back(cluster, users, megabytes):
    """Trainings without a break, at the settings that a server has."""
    session = cluster.session()
    extension(session)
    session.run(f"""
        CREATE TABLE events AS SELECT g AS user_id, 'item-' || g % 50 AS item_id, 1 AS weight,
          timestamptz '2024-01-01 00:00+00' + g * interval '1 second' AS at FROM generate_series(1, {users}) g""")
    train(session, holdout="none", iterations=1, factors=32)
    assert int(session.value("SELECT bytes FROM persona.versions")) >= megabytes << 20
    for _ in range(199):
        session.run("SELECT persona.retrain('for_you')", timeout=600)
    kept = int(session.value("SELECT sum(bytes) FROM persona.versions WHERE is_stored"))
    assert size(session) <= 4 * kept, (size(session), kept)
    assert session.run("SELECT * FROM persona.check()") == []
    assert int(session.value("SELECT persona.prewarm('for_you')")) >= megabytes << 20


def test_space_of_trainings_back_to_back(cluster):
    back_to_back(cluster, 12_000, 2)


def test_long_space_of_trainings_back_to_back(cluster):
    back_to_back(cluster, 90_000, 15)


def test_pages_of_a_dropped_model_are_used_again(cluster):
    session = quiet(cluster)
    train(session, "other", factors=200)
    before = size(session)
    for _ in range(5):
        session.run("SELECT persona.drop_model('other')")
        train(session, "other", factors=200)
    assert size(session) <= 2.2 * before


def test_keep_log(cluster):
    """Facts of the newest versions alone, and of those that matter still."""
    session = quiet(cluster)
    train(session, options='{"keep_log": 5, "keep_versions": 3}')
    measured = live(session)
    for _ in range(20):
        update(session)
    newest = live(session)
    versions = [int(version) for (version,) in session.run("SELECT version FROM persona.versions ORDER BY 1")]
    assert versions == [measured, *range(newest - 4, newest + 1)]
    for table in ("metric", "training_log"):
        found = {int(version) for (version,) in session.run(f"SELECT DISTINCT version FROM persona_internal.{table}")}
        assert found <= set(versions) and measured in found
    lines = session.run("SELECT version FROM persona_internal.deployment ORDER BY deployment_id")
    assert [int(version) for (version,) in lines] == versions[1:]
    # The guard still has something to compare with.
    value = session.value(f"SELECT value FROM persona.versions WHERE version = {measured}")
    assert session.value("SELECT live_value FROM persona.retrain('for_you', '{\"deploy\": \"never\"}')") == value
    # Back and forth among what is stored.
    assert [session.value("SELECT persona.rollback('for_you')") for _ in range(2)] == [str(newest - 1), str(newest - 2)]
    assert session.error("SELECT persona.rollback('for_you')").sqlstate == "55000"
    session.run(f"SELECT persona.deploy('for_you', {newest})")
    assert live(session) == newest
    assert session.error("SELECT persona.deploy('for_you', 1)").sqlstate == "42704"
    change(session)
    assert session.run(UPDATE) == [(str(newest + 2), "t")]
    assert session.run("SELECT * FROM persona.check()") == []
    assert session.error("SELECT persona.retrain('for_you', '{\"keep_log\": 0}')").sqlstate == "22023"


def test_what_is_live_stays(cluster):
    """However old it is, and whatever was measured before it."""
    session = quiet(cluster)
    train(session, deploy="never", options='{"keep_log": 1, "keep_versions": 1}')
    for _ in range(5):
        session.run("SELECT persona.retrain('for_you')")
    assert live(session) == 1
    assert session.run("SELECT version, is_stored FROM persona.versions ORDER BY 1") == [("1", "t"), ("7", "t")]
    # Two in turn, for ever.
    for _ in range(10):
        session.run("SELECT persona.deploy('for_you', 7); SELECT persona.deploy('for_you', 1)")
    assert session.run("SELECT * FROM persona.prune('for_you')") == [("for_you", "0", "0")]
    assert session.value("SELECT persona.rollback('for_you')") == "7"
    assert session.run("SELECT * FROM persona.prune('for_you')") == [("for_you", "1", "1")]
    assert live(session) == 7 and scores(session)
    for _ in range(3):
        session.run("SELECT persona.retrain('for_you', '{\"deploy\": \"always\"}')")
    assert session.value("SELECT count(*) FROM persona_internal.deployment") == "1"


def test_prune(cluster):
    """Owners prune their models now, and nobody else's."""
    root = quiet(cluster)
    root.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT USAGE ON SCHEMA persona TO PUBLIC; GRANT CREATE ON SCHEMA public TO alice; GRANT SELECT ON events, for_you TO alice")
    alice, bob = cluster.session(user="alice"), cluster.session(user="bob")
    train(alice, "hers")
    train(alice, "second")
    for _ in range(6):
        alice.run("SELECT persona.retrain('hers')")
        root.run("SELECT persona.retrain('for_you')")
    assert alice.run("SELECT * FROM persona.prune('hers', 4)") == [("hers", "3", "0")]
    assert alice.run("SELECT * FROM persona.prune('hers', 4)") == [("hers", "0", "0")]
    assert alice.run("SELECT version FROM persona.versions WHERE model = 'hers' ORDER BY 1") == [("4",), ("5",), ("6",), ("7",)]
    # All of hers, and no other.
    assert alice.run("SELECT * FROM persona.prune(keep_log => 2) ORDER BY 1") == [("public.hers", "2", "0"), ("public.second", "0", "0")]
    assert bob.run("SELECT * FROM persona.prune(keep_log => 1)") == []
    assert root.value("SELECT count(*) FROM persona.versions WHERE model = 'for_you'") == "7"
    # Of the option: nothing is too old.
    assert root.run("SELECT * FROM persona.prune('for_you')") == [("for_you", "0", "0")]
    for session, call, sqlstate in (
        (alice, "persona.prune('for_you')", "42501"), (bob, "persona.prune('hers')", "42501"),
        (alice, "persona.prune('nothing')", "42704"), (alice, "persona.prune('hers', 0)", "22023"),
        (alice, "persona.prune('hers', 1000001)", "22023"),
    ):  # fmt: skip
        assert session.error(f"SELECT * FROM {call}").sqlstate == sqlstate, call
    assert root.error("BEGIN READ ONLY; SELECT * FROM persona.prune()").sqlstate == "25006"
    root.run("ROLLBACK")
    # Whoever locks a model keeps nobody from pruning others.
    alice.run("BEGIN; SELECT persona.rollback('hers')")
    assert {row[0] for row in root.run("SELECT * FROM persona.prune()")} == {"public.for_you", "public.second"}
    alice.run("ROLLBACK")
    assert len(root.run("SELECT * FROM persona.prune(keep_log => 2)")) == 3
    assert root.run("SELECT * FROM persona.check()") == []


def test_a_dump_of_a_pruned_model(cluster):
    cluster.session().run("CREATE ROLE keeper LOGIN CREATEDB")
    cluster.session().run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    keeper = cluster.session("shop", "keeper")
    keeper.run("SELECT 1")
    cluster.session("shop").run("GRANT USAGE ON SCHEMA persona TO PUBLIC")
    interactions(keeper)
    train(keeper)
    for _ in range(5):
        update(keeper)
    assert keeper.run("SELECT * FROM persona.prune('for_you', 2)") == [("for_you", "3", "0")]
    before, facts = scores(keeper), keeper.run("SELECT * FROM persona.versions ORDER BY version")
    copy = restore(cluster, dump(cluster, "-Fc"))
    assert scores(copy) == before and copy.run("SELECT * FROM persona.versions ORDER BY version") == facts
    update(copy)
    assert copy.value("SELECT persona.rollback('for_you')") == "6"
    assert scores(copy) == before
    # Without pieces the flag says what is not so, until the next training.
    bare = restore(cluster, dump(cluster, "-Fc", "--exclude-table-data=persona_internal.chunk"), "bare")
    assert bare.value("SELECT count(*) FROM persona.versions WHERE is_stored") == "0"
    bare.run("SELECT persona.retrain('for_you')")
    assert bare.run("SELECT version FROM persona.versions WHERE is_stored") == [("7",)]
    assert bare.value("SELECT count(*) FROM persona_internal.version WHERE stored") == "2"


def test_versions_that_say_they_are_stored(cluster):
    """As all do of a dump that does not tell: a few at a time lose what they never had."""
    session = quiet(cluster)
    lengthen(session, 1000)
    session.run("UPDATE persona_internal.version SET stored = true WHERE version > 1")
    stored = "SELECT count(*) FROM persona_internal.version WHERE stored"
    update(session)
    assert 900 < int(session.value(stored)) < 1000
    session.run("SELECT * FROM persona.prune('for_you')")
    assert session.value(stored) == "2"
    assert session.value("SELECT persona.rollback('for_you')") == "1001"
    assert scores(session)
