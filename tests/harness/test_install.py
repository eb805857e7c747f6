"""Creating and dropping the extension, and copies of databases."""

from models import answers, extension, interactions, live, same, scores, train


def test_drop_and_create_again(cluster):
    """DROP EXTENSION … CASCADE takes the models, and only them; created again, the open session trains from 1."""
    session, other = cluster.session(), cluster.session()
    extension(session)
    interactions(session)
    train(session)
    train(session, factors=12)
    scores(other)
    assert session.error("DROP EXTENSION pg_persona").sqlstate == "2BP01"
    session.run("DROP EXTENSION pg_persona CASCADE")
    for each in (session, other):
        assert each.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "3F000"
        assert each.error("SELECT * FROM for_you_recommend(7)").sqlstate == "42883"
    assert session.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'persona%'") == []
    assert session.value("SELECT count(*) FROM events") == "4000"
    extension(session)
    assert train(session, factors=16) == [("1", "t")]
    assert scores(session) == scores(other)
    assert session.run("SELECT * FROM persona.check()") == []


def test_create_in_one_transaction_with_a_training(cluster):
    """The extension and a model in one transaction, committed or not."""
    session = cluster.session()
    interactions(session)
    session.run("BEGIN")
    extension(session)
    train(session)
    assert len(scores(session)) == 3
    session.run("ROLLBACK")
    assert session.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'persona%'") == []
    session.run("BEGIN")
    extension(session)
    train(session)
    session.run("COMMIT")
    assert len(scores(cluster.session())) == 3


def test_other_encodings_are_refused(cluster):
    """A database that is not UTF8 is refused with its encoding in the message, and nothing is left behind."""
    for encoding in ("LATIN1", "SQL_ASCII"):
        cluster.session().run(f"CREATE DATABASE {encoding} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
        session = cluster.session(encoding.lower())
        error = session.error("CREATE EXTENSION pg_persona")
        assert error.sqlstate == "0A000" and error.message == f"pg_persona needs a database in encoding UTF8, not {encoding}"
        assert session.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'persona%'") == []


def test_squatters_are_refused(cluster):
    """Where somebody holds a schema of ours, CREATE EXTENSION fails instead of moving in."""
    cluster.session().run("CREATE ROLE mallory")
    for schema in ("persona", "persona_internal"):
        session = cluster.database(f"with_{schema}")
        session.run(f"CREATE SCHEMA {schema} AUTHORIZATION mallory")
        assert session.error("CREATE EXTENSION pg_persona").sqlstate == "42P06"
        for other in ("public", schema):
            assert session.error(f"CREATE EXTENSION pg_persona WITH SCHEMA {other}").sqlstate == "0A000"
        session.run(f"DROP SCHEMA {schema}")
        extension(session)


def test_a_database_without_public(cluster):
    """The extension has schemas of its own: it needs no schema public and does not go with it."""
    session = cluster.database("private")
    session.run("DROP SCHEMA public")
    extension(session)
    session = cluster.database("reset")
    extension(session)
    session.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert session.value("SELECT count(*) FROM pg_extension WHERE extname = 'pg_persona'") == "1"


def test_copy_of_a_database(cluster):
    """CREATE DATABASE … TEMPLATE copies models that serve, train and are dropped apart from the original."""
    source = cluster.database("shop")
    extension(source)
    interactions(source)
    train(source)
    train(source, factors=12)
    before = answers(source, "for_you")
    source.close()
    root = cluster.session()
    root.run("CREATE DATABASE copy TEMPLATE shop")
    source, copy = cluster.session("shop"), cluster.session("copy")
    same(answers(copy, "for_you"), before)
    # The same oids in two databases: their locks are two.
    source.run("BEGIN")
    train(source, factors=16)
    assert train(copy, factors=20) == [("3", "t")]
    source.run("COMMIT")
    assert scores(source) != scores(copy)
    copy.run("SELECT persona.rollback('for_you')")
    assert (live(source), live(copy)) == (3, 2)
    copy.run("SELECT persona.drop_model('for_you')")
    assert live(source) == 3 and source.run("SELECT * FROM persona.check()") == []
    copy.close()
    root.run("DROP DATABASE copy")
    assert live(source) == 3


def test_progress_is_of_one_database(cluster):
    """A training is seen in its own database only, by its role and by members of pg_read_all_stats."""
    cluster.session().run("CREATE ROLE alice LOGIN; CREATE ROLE mallory LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_read_all_stats")
    shop, other = cluster.database("shop"), cluster.database("other")
    for session in (shop, other):
        extension(session)
        session.run("""
            GRANT USAGE ON SCHEMA persona TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC;
            GRANT SELECT ON ALL TABLES IN SCHEMA persona TO PUBLIC""")
    alice = cluster.session("shop", "alice")
    interactions(alice)
    alice.run("CREATE VIEW slow AS SELECT e.user_id, e.item_id FROM events e, pg_sleep(3)")
    alice.start("SELECT version FROM persona.train_als('for_you', 'slow', 'user_id', 'item_id')")
    mallory, monitor = cluster.session("shop", "mallory"), cluster.session("shop", "monitor")
    seen = "SELECT pid, model FROM persona.training_progress"
    row = [(str(alice.pid), "for_you")]
    for _ in range(100):
        if shop.run(seen):
            break
    assert shop.run(seen) == row and monitor.run(seen) == row
    assert mallory.run(seen) == [] and other.run(seen) == []
    assert cluster.session("shop", "alice").run(seen) == row
    alice.wait()
    assert shop.run(seen) == []
