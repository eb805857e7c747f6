"""Two sessions that cross each other on purpose: what was looked up must still be meant when it is used."""

import time

from cluster import SqlError
from models import extension, interactions, scores, train


def outcome(session):
    """What a started statement answers, or the SQLSTATE it fails with."""
    try:
        return session.wait()
    except SqlError as error:
        return error.sqlstate


def until_blocked(cluster, sessions=1):
    """Waits until so many sessions wait for a lock."""
    root = cluster.session()
    for _ in range(100):
        if int(root.value("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")) >= sessions:
            return
        time.sleep(0.05)
    raise AssertionError("nobody waits")


def attacker(cluster):
    """A session of eve, who may make schemas of her own, and two more of hers."""
    root = cluster.session()
    extension(root)
    root.run("CREATE ROLE eve LOGIN; GRANT USAGE ON SCHEMA persona TO PUBLIC; GRANT CREATE ON DATABASE postgres TO eve")
    return [root, *(cluster.session(user="eve") for _ in range(3))]


def test_columns_that_change_under_the_reader(cluster):
    """A relation that another takes the name of between the check of its types and its first row is refused: reading
    text as bigint would crash the server, and bigint as text would show its memory."""
    _, one, two, three = attacker(cluster)
    one.run("""CREATE SCHEMA a; CREATE TABLE a.t (u text, i text); INSERT INTO a.t SELECT g % 10, g % 7 FROM generate_series(1, 100) g;
               CREATE SCHEMA b; CREATE TABLE b.t (u bigint, i bigint); INSERT INTO b.t SELECT g % 10, g % 7 FROM generate_series(1, 100) g""")
    for other in ("b", "a"):
        one.run("CREATE SCHEMA held")
        # The training waits for the schema that its model would stand in; meanwhile the sources swap.
        two.run("BEGIN; DROP SCHEMA held")
        one.start("SELECT persona.train_als('held.m', 'a.t', 'u', 'i', factors => 4, holdout => 'none')")
        until_blocked(cluster)
        three.run("BEGIN; ALTER SCHEMA a RENAME TO c; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA c RENAME TO b; COMMIT")
        two.run("ROLLBACK")
        assert outcome(one) == "42804", other
        one.run("DROP SCHEMA held CASCADE")


def test_a_leftover_view_is_trained_as_its_owner(cluster):
    """Whoever makes a view look like that of a lost model gains nothing when a superuser trains under its name."""
    root, eve, _, _ = attacker(cluster)
    eve.run("""
        CREATE SCHEMA eve; CREATE TABLE eve.e (u bigint, i bigint); INSERT INTO eve.e SELECT g % 10, g % 7 FROM generate_series(1, 100) g;
        CREATE FUNCTION eve.f(bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN
          IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE eve SUPERUSER'; END IF; RETURN $1; END$$;
        CREATE VIEW eve.v AS SELECT eve.f(u) AS u, i FROM eve.e;
        CREATE VIEW eve.m AS SELECT * FROM persona.model_facts('00000000-0000-4000-8000-000000000000'::uuid)""")
    root.run("SELECT persona.train_als('eve.m', 'eve.v', 'u', 'i', factors => 4, holdout => 'none')")
    assert root.value("SELECT rolsuper FROM pg_roles WHERE rolname = 'eve'") == "f"
    assert root.run("SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE proname LIKE 'm\\_%'") == [("eve",)]
    assert eve.run("SELECT count(*) FROM eve.m_recommend(99, 3)") == [("3",)]


def model(cluster):
    root = cluster.session()
    extension(root)
    interactions(root)
    train(root)
    train(root, factors=9)
    return root, cluster.session(), cluster.session(), cluster.session()


def test_deploy_rollback_and_drop_do_not_deadlock(cluster):
    """All take the view before the deploy lock."""
    root, one, two, three = model(cluster)
    one.run("BEGIN; SELECT persona.deploy('for_you', 1)")
    two.start("SELECT persona.rollback('for_you')")
    until_blocked(cluster)
    three.start("SELECT persona.drop_model('for_you')")
    until_blocked(cluster, 2)
    assert one.run("SELECT count(*) FROM persona.recommend('for_you', 7)") == [("10",)]
    one.run("COMMIT")
    assert outcome(two) == [("2",)]
    assert outcome(three) != "40P01"


def test_drop_means_the_model_that_it_found(cluster):
    """A name that goes to another view while drop_model waits takes nothing else with it."""
    root, one, two, _ = model(cluster)
    root.run("CREATE VIEW precious AS SELECT 1 AS x")
    one.run("BEGIN; SELECT FROM persona.recommend('for_you', 7)")
    two.start("SELECT persona.drop_model('for_you')")
    until_blocked(cluster)
    one.run("ALTER VIEW for_you RENAME TO away; ALTER VIEW precious RENAME TO for_you; COMMIT")
    assert outcome(two) != "42P01"
    assert root.run("SELECT * FROM for_you") == [("1",)]
    assert root.value("SELECT to_regclass('away')") is None
    assert root.value("SELECT count(*) FROM persona_internal.chunk") == "0"


def test_retrain_begins_with_what_alter_model_wrote(cluster):
    """Neither overwrites the other: one of them waits or is refused."""
    root, one, two, _ = model(cluster)
    interactions(root, "other")
    one.run("BEGIN; SELECT persona.alter_model('for_you', 'other')")
    two.start("SELECT version FROM persona.retrain('for_you')")
    assert outcome(two) == "55P03"
    one.run("COMMIT")
    two.run("SELECT persona.retrain('for_you')")
    assert root.value("SELECT relation FROM persona.models") == "public.other"
    assert len(scores(root)) > 0
