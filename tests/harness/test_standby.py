"""Models on a streaming standby: the same answers, without a transaction id, also after a promotion."""

from models import PARALLEL, VIEWS, answers, extension, interactions, live, same, scores, serving, train


def test_serving_assigns_no_transaction_id(cluster):
    """No serving function and no view takes a transaction id: serving writes no WAL and works on a standby."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    for name, sql in (serving() | VIEWS).items():
        session.run("BEGIN")
        session.run(sql)
        assert session.value("SELECT pg_current_xact_id_if_assigned()") is None, name
        session.run("COMMIT")


def test_serving_in_a_parallel_worker(cluster):
    """Serving functions are PARALLEL SAFE, so they must answer alike in a worker."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    query = "SELECT u, r.item_id, r.score FROM generate_series(0, 99) u, persona.recommend('for_you', u, 3) r"
    query = f"SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM ({query}) x"
    leader = session.value(query)
    assert session.value(PARALLEL) == "on"
    assert "Workers Launched: 1" in "".join(row[0] for row in session.run(f"EXPLAIN (ANALYZE) {query}"))
    assert session.value(query) == leader


def test_standby_serves_and_follows(cluster):
    """A standby answers as the primary does and sees each deploy, rollback and drop once it is replayed."""
    primary = cluster.session()
    extension(primary)
    interactions(primary)
    train(primary)
    standby = cluster.standby()
    cluster.catch_up(standby)
    reader = standby.session()
    same(answers(reader, "for_you"), answers(primary, "for_you"))
    first = scores(reader)

    def follow():
        cluster.catch_up(standby)
        return scores(reader)

    train(primary, factors=12)
    second = follow()
    assert second == scores(primary) != first
    primary.run("SELECT persona.rollback('for_you')")
    assert follow() == first and live(reader) == 1
    primary.run("SELECT persona.deploy('for_you', 2)")
    assert follow() == second and live(reader) == 2
    same(answers(reader, "for_you"), answers(primary, "for_you"))
    primary.run("SELECT persona.drop_model('for_you')")
    cluster.catch_up(standby)
    assert reader.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"
    assert reader.run("SELECT * FROM persona.models") == []


def test_writes_on_a_standby(cluster):
    """Whatever writes fails on a standby as an INSERT does: 25006, no internal error, no talk of locks."""
    primary = cluster.session()
    extension(primary)
    interactions(primary)
    train(primary)
    standby = cluster.standby()
    cluster.catch_up(standby)
    reader = standby.session()
    wrong = []
    for write in (
        "train_als('new', 'events', 'user_id', 'item_id')", "retrain('for_you')", "deploy('for_you', 1)",
        "rollback('for_you')", "alter_model('for_you', 'events')", "grant_model('for_you', 'public')",
        "revoke_model('for_you', 'public')", "drop_model('for_you')",
    ):  # fmt: skip
        error = reader.error(f"SELECT persona.{write}")
        if error.sqlstate != "25006":
            wrong.append((write, error.sqlstate, error.message))
    assert not wrong, wrong
    # A refit writes nothing.
    assert reader.run("SELECT * FROM persona.evaluate('for_you', k => 7)")


def test_promoted_standby_trains(cluster):
    """After a failover the open sessions of the new primary serve on, train, deploy and roll back."""
    primary = cluster.session()
    extension(primary)
    interactions(primary)
    train(primary)
    train(primary, factors=12)
    standby = cluster.standby()
    cluster.catch_up(standby)
    one, two = standby.session(), standby.session()
    before = scores(one)
    assert scores(two) == before
    cluster.stop("immediate")
    standby.promote()
    assert scores(one) == before
    assert train(one, factors=16) == [("3", "t")]
    assert scores(two) == scores(one) != before
    assert two.value("SELECT persona.rollback('for_you')") == "2"
    assert scores(one) == before
    assert one.run("SELECT * FROM persona.check()") == []
