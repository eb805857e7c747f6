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
    """The functions beside a model are PARALLEL SAFE, so they must answer alike in a worker."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    query = "SELECT u, r.item_id, r.score FROM generate_series(0, 99) u, for_you_recommend(u, 3) r"
    query = f"SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM ({query}) x"
    leader = session.value(query)
    assert session.value(PARALLEL) == "on"
    assert "Workers Launched: 1" in "".join(row[0] for row in session.run(f"EXPLAIN (ANALYZE) {query}"))
    assert session.value(query) == leader


# What reads relations of the moment, and what explains.
LIVE = {
    "fresh": "persona.recommend('for_you', u, 3, fresh => true)",
    "eligible": "persona.recommend('for_you', u, 3, options => '{\"eligible\": \"stock\"}')",
    "categories": """persona.recommend('for_you', u, 3, fresh => true, options => '{"max_per_category": 1, "diversity": 0.3,
                     "categories": {"relation": "stock", "category_column": "shelf"}}')""",
    "explain": "persona.explain('for_you', u, 'item-03')",
}


def stock(session):
    """Half of the items, on three shelves."""
    session.run("""
        CREATE TABLE stock AS SELECT DISTINCT item_id, right(item_id, 1)::int % 3 AS shelf FROM events WHERE right(item_id, 1)::int % 2 = 0;
        CREATE INDEX ON events (user_id)""")


def momentary(session):
    """What a hundred users get of each."""
    return {name: session.run(f"SELECT u, r::text FROM generate_series(0, 99) u, {call} r ORDER BY 1, 2") for name, call in LIVE.items()}


def test_live_data_in_a_parallel_worker(cluster):
    """What explains does so in a worker as in the leader; what may read relations, of options or the source, stays in the leader, and what writes is alone."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    stock(session)
    session.run("BEGIN; INSERT INTO events VALUES (7, 'item-40', 1, '2024-02-01'); DELETE FROM stock WHERE item_id = 'item-04'")
    leader = momentary(session)
    assert all(leader.values()) and ("item-04" not in str(leader["eligible"])) and ("item-40" not in str([row for row in leader["fresh"] if row[0] == "7"]))
    assert session.value(PARALLEL) == "on"
    labels = dict(session.run("SELECT proname, min(proparallel::text) FROM pg_proc WHERE pronamespace = 'persona'::regnamespace GROUP BY 1"))
    for name, call in LIVE.items():
        safe = name == "explain"
        assert labels[call.split("(")[0].removeprefix("persona.")] == ("s" if safe else "r"), call
        # Nobody but the worker runs the plan: the leader only gathers.
        plan = "".join(row[0] for row in session.run(f"EXPLAIN (ANALYZE) SELECT u, r::text FROM generate_series(0, 99) u, {call} r"))
        assert ("Workers Launched: 1" in plan and "Single Copy: true" in plan) == safe and ("Gather" in plan) == safe, (name, plan)
    same(momentary(session), leader)
    for name, call in {"recommend_all": "persona.recommend_all('for_you', 3)", "update_model": "persona.update_model('for_you')",
                       "evaluate": "persona.evaluate('for_you')", "retrain": "persona.retrain('for_you')"}.items():  # fmt: skip
        assert labels[name] == "u", name
        assert "Gather" not in "".join(row[0] for row in session.run(f"EXPLAIN SELECT * FROM {call}")), name
    session.run("ROLLBACK")


def test_live_data_on_a_standby(cluster):
    """Fresh, eligible, categories and explain answer on a standby from the rows that it has replayed."""
    primary = cluster.session()
    extension(primary)
    interactions(primary)
    train(primary)
    stock(primary)
    standby = cluster.standby()
    cluster.catch_up(standby)
    reader = standby.session()
    before = momentary(primary)
    assert all(before.values())
    same(momentary(reader), before)
    primary.run("INSERT INTO events VALUES (7, 'item-40', 9, '2024-02-01'); DELETE FROM stock WHERE item_id = 'item-04'")
    cluster.catch_up(standby)
    after = momentary(primary)
    assert after["fresh"] != before["fresh"] and after["eligible"] != before["eligible"] and after["explain"] == before["explain"]
    same(momentary(reader), after)
    # Beside workers of the standby, too.
    assert reader.value(PARALLEL) == "on"
    same(momentary(reader), after)


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
        "revoke_model('for_you', 'public')", "drop_model('for_you')", "update_model('for_you')", "recommend_all('for_you')",
        "attach('for_you')", "detach('for_you')", "publish('for_you', 'public')",
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
