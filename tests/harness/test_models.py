"""Which model a name is: the relation that bears the name now, and no other one that bore it or will."""

import time

from models import beside, extension, interactions, live, scores, serving, train


def two_models(cluster):
    """A session, and what its models `for_you` and `other` answer."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    train(session, "other", factors=6)
    return session, scores(session), scores(session, "other")


def test_rename_swap_and_move(cluster):
    """ALTER VIEW … RENAME and SET SCHEMA change the name of a model, and all that is done by name follows at once."""
    session, first, other = two_models(cluster)
    session.run("ALTER VIEW for_you RENAME TO third; ALTER VIEW other RENAME TO for_you; ALTER VIEW third RENAME TO other")
    assert scores(session) == other and scores(session, "other") == first
    session.run("CREATE SCHEMA shop; ALTER VIEW for_you SET SCHEMA shop; ALTER VIEW shop.for_you RENAME TO \"A.b\"")
    assert session.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"
    name = 'shop."A.b"'
    assert scores(session, name) == other
    assert train(session, name, factors=16) == [("2", "t")]
    assert session.value(f"SELECT persona.rollback('{name}')") == "1"
    assert session.run("SELECT model FROM persona.models ORDER BY 1") == [("other",), (name,)]
    # The functions keep their names; they are part of the model, whatever theirs is.
    assert session.run("SELECT item_id, score FROM other_recommend(7, 3)") == other
    session.run(f"SELECT persona.drop_model('{name}')")
    assert session.error("SELECT * FROM other_recommend(7)").sqlstate == "42883"
    assert session.run("SELECT item_id, score FROM for_you_recommend(7, 3)") == first


def test_the_search_path_decides(cluster):
    """Two models of one name in two schemas are found as two tables would be."""
    session, first, _ = two_models(cluster)
    session.run("CREATE SCHEMA shop; SET search_path = shop, public")
    assert scores(session) == first
    train(session, "shop.for_you", factors=10)
    assert scores(session) != first and scores(session, "public.for_you") == first
    session.run("SET search_path = public")
    assert scores(session) == first
    assert session.run("SELECT model FROM persona.models ORDER BY 1") == [("for_you",), ("other",), ("shop.for_you",)]


def test_a_foreign_relation_inherits_nothing(cluster):
    """A relation that takes the name of a dropped model is not that model; no serving function takes it for one."""
    session, _, other = two_models(cluster)
    session.run("DROP VIEW for_you CASCADE; CREATE VIEW for_you AS SELECT 1 AS version")
    for name, sql in serving().items():
        if name != "view" and not name.startswith("typed"):
            assert session.error(sql).sqlstate == "42704", name
    assert session.error("SELECT persona.retrain('for_you')").sqlstate == "42704"
    assert session.error("SELECT persona.train_als('for_you', 'events', 'user_id', 'item_id')").sqlstate == "42P07"
    assert session.run("SELECT model, message FROM persona.check()") == [("public.for_you", "its view is gone")]
    session.run("DROP VIEW for_you")
    # The next first training clears up what the dropped view left.
    assert train(session, factors=12) == [("1", "t")]
    assert session.run("SELECT * FROM persona.check()") == []
    for table in ("model", "version", "deployment"):
        assert session.value(f"SELECT count(*) FROM persona_internal.{table}") == "2", table
    assert session.value("SELECT count(DISTINCT image_id) FROM persona_internal.chunk") == "2"
    assert scores(session, "other") == other


def test_a_restore_gives_no_model_away(cluster):
    """A relation of somebody else that bears the model's name where a dump is restored does not become the model."""
    source = cluster.database("shop")
    extension(source)
    interactions(source)
    train(source)
    path = str(cluster.directory / "dump")
    cluster.command("pg_dump", *cluster.address(), "-Fc", "-f", path, "shop")
    copy = cluster.database("copy")
    extension(copy)
    copy.run("CREATE ROLE mallory LOGIN; GRANT CREATE ON SCHEMA public TO mallory; GRANT USAGE ON SCHEMA persona TO mallory")
    mallory = cluster.session("copy", "mallory")
    mallory.run("CREATE VIEW for_you AS SELECT 1 AS version")
    try:
        cluster.command("pg_restore", *cluster.address(), "--no-owner", "-d", "copy", path)
    except RuntimeError as error:
        assert 'relation "for_you" already exists' in str(error)
    assert mallory.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"
    assert mallory.error("SELECT persona.drop_model('for_you')").sqlstate == "42704"


def test_a_restore_onto_a_forged_view(cluster):
    """What the pages warn of: a view of the model's name with the model's id, made before the restore, is what the restore finds."""
    source = cluster.database("shop")
    extension(source)
    interactions(source)
    train(source)
    model = source.value("SELECT model_id FROM persona_internal.model")
    path = str(cluster.directory / "dump")
    cluster.command("pg_dump", *cluster.address(), "-Fc", "-f", path, "shop")
    source.run("CREATE ROLE mallory LOGIN")
    for database, option in (("stopped", "--exit-on-error"), ("bound", "--no-owner")):
        copy = cluster.database(database)
        extension(copy)
        copy.run("GRANT CREATE ON SCHEMA public TO mallory; GRANT USAGE ON SCHEMA persona TO mallory")
        mallory = cluster.session(database, "mallory")
        mallory.run(f"CREATE VIEW for_you AS SELECT * FROM persona.model_facts('{model}')")
        try:
            cluster.command("pg_restore", *cluster.address(), option, "-d", database, path)
            raise AssertionError("the restore said nothing")
        except RuntimeError as error:
            assert 'relation "for_you" already exists' in str(error)
        if database == "stopped":
            assert mallory.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "55000"
            continue
        told = copy.run("SELECT message FROM persona.check()")
        assert len(told) == 3 and all(message.endswith("beside it belongs to postgres") for (message,) in told), told


def test_names_that_need_quotes(cluster):
    """Names are parsed as SQL parses them, with quotes, capitals, dots, umlauts and words of SQL in them."""
    session = cluster.session()
    extension(session)
    interactions(session)
    for name, found in (('"We""ird; --"', None), ('"O\'\'Brien"', '"O\'Brien"'), ('"Ünï.x"', None), ("select", '"select"')):
        assert train(session, name) == [("1", "t")]
        found = found or name
        assert scores(session, name) == session.run(f"SELECT item_id, score FROM {beside(found, '_recommend')}(7, 3)")
        assert (found,) in session.run("SELECT model FROM persona.models")
        session.run(f"SELECT persona.drop_model('{name}')")
    assert session.error("SELECT persona.train_als('" + "x" * 41 + "', 'events', 'user_id', 'item_id')").sqlstate == "42602"
    for name in ("", '"', "a.b.c.d", "public."):
        assert session.error(f"SELECT * FROM persona.recommend('{name}', 7)").sqlstate in ("42602", "42601"), name


def test_first_trainings_do_not_wait_for_each_other(cluster):
    """The first training of a model does not wait for that of another, also where a dropped view left something behind."""
    session, _, _ = two_models(cluster)
    session.run("DROP VIEW other CASCADE; BEGIN")
    train(session, "one", factors=4)
    second = cluster.session()
    begin = time.monotonic()
    second.run("SET statement_timeout = '5s'")
    assert train(second, "two", factors=4) == [("1", "t")]
    assert time.monotonic() - begin < 4
    session.run("COMMIT")
    assert session.value("SELECT count(*) FROM persona_internal.model") == "3"


def test_owner_changes(cluster):
    """ALTER VIEW … OWNER TO and REASSIGN OWNED hand the model over with its functions; DROP OWNED leaves no model."""
    session, first, _ = two_models(cluster)
    session.run("""
        CREATE ROLE alice LOGIN; CREATE ROLE carol LOGIN; GRANT CREATE ON SCHEMA public TO alice, carol;
        GRANT USAGE ON SCHEMA persona TO PUBLIC; ALTER TABLE events OWNER TO alice; ALTER VIEW for_you OWNER TO alice""")
    hints = session.run("SELECT hint FROM persona.check() WHERE message LIKE 'function % belongs to %'")
    assert len(hints) == 3
    for (hint,) in hints:
        session.run(hint)
    alice, carol = cluster.session(user="alice"), cluster.session(user="carol")
    assert train(alice, factors=12) == [("2", "t")]
    assert alice.value("SELECT persona.rollback('for_you')") == "1"
    session.run("REASSIGN OWNED BY alice TO carol")
    assert alice.error("SELECT persona.rollback('for_you')").sqlstate == "42501"
    carol.run("SELECT persona.deploy('for_you', 2)")
    assert live(carol) == 2 and scores(carol) != first
    session.run("SELECT persona.drop_model('other'); DROP OWNED BY carol")
    assert session.run("SELECT model FROM persona.models") == []
