"""Everybody answers alike: search is exact, and sessions, standbys and restores agree, with rows that came a moment ago."""

import math

from models import extension, interactions, same, train
from test_conformance import TRAINERS, json, lists
from test_dumps import dump, restore
from test_segments import people

# Data on which an approximate search would go astray.
SHAPES = {
    "random": "g * 7919 % 97",
    "clustered": "g % 4 * 25 + g * 31 % 5",
    "duplicates": "g % 100 % 3 * 40 + g / 100 % 9",
    "no variance": "g / 100 % 30",
}


def dot(left, right):
    return math.fsum(a * b for a, b in zip(left, right))


def factors(session, whose):
    rows = session.run(f"SELECT id, factors FROM persona.{whose}('m')")
    return {name: [float(each) for each in text.strip("{}").split(",")] for name, text in rows}


def answered(session, query):
    """The lists of (item, score) of each name in the first column."""
    found = {}
    for name, item, score in session.run(query):
        found.setdefault(name, []).append((item, float(score)))
    return found


def check_exact(found, scores, count, what):
    """The lists hold the best scores there are, in order; among equal ones any may come."""
    differ = found.keys() ^ {name for name, others in scores.items() if others}
    assert found and not differ, (what, differ)
    for name, hits in found.items():
        best = sorted(scores[name].values(), reverse=True)[:count]
        assert len(hits) == len(best), (what, name, hits, best)
        for (item, score), expected in zip(hits, best):
            assert math.isclose(score, expected, rel_tol=1e-4, abs_tol=1e-5), (what, name, item, score, expected)
            assert math.isclose(score, scores[name][item], rel_tol=1e-4, abs_tol=1e-5), (what, name, item, score)


def test_search_is_exact(cluster):
    """Recommendations and similar items are those of a comparison with all factors: random, clustered, equal, without variance."""
    session = cluster.session()
    extension(session)
    for shape, item in SHAPES.items():
        session.run(f"""
            DROP TABLE IF EXISTS shaped;
            CREATE TABLE shaped AS SELECT g % 100 AS user_id, 'item-' || ({item}) AS item_id, 1 + g % 3 AS weight,
                   timestamptz '2024-01-01' + g * interval '1 minute' AS at FROM generate_series(1, 3000) g WHERE g % 100 % 3 < 2 OR g < 1500""")
        train(session, "m", "shaped", holdout="none")
        for step in ("trained", "updated"):
            users, items = factors(session, "user_factors"), factors(session, "item_factors")
            own = set(session.run("SELECT user_id, item_id FROM shaped"))
            scores = {u: {i: dot(users[u], items[i]) for i in items if (u, i) not in own} for u in users}
            found = answered(session, f"""
                SELECT u, r.item_id, r.score FROM unnest('{{{",".join(users)}}}'::int[]) u, persona.recommend('m', u, 7) r
                WHERE r.source = 'model' ORDER BY 1, r.rank""")  # fmt: skip
            check_exact(found, scores, 7, (shape, step, "recommend"))
            length = {i: math.sqrt(dot(items[i], items[i])) for i in items}
            cosines = {i: {j: dot(items[i], items[j]) / (length[i] * length[j]) for j in items if j != i} for i in items}
            found = answered(session, """
                SELECT i.id, r.item_id, r.score FROM persona.item_factors('m') i, persona.similar_items('m', i.id, 7) r ORDER BY 1, r.rank""")
            check_exact(found, cosines, 7, (shape, step, "similar_items"))
            session.run("INSERT INTO shaped SELECT 1000 + user_id % 9, item_id, 1, '2024-02-01' FROM shaped WHERE user_id < 20; SELECT persona.update_model('m')")
        session.run("SELECT persona.drop_model('m')")


def everything(session, models):
    """What all users get of each model, and which segment all rows belong to."""
    found = {model: lists(session, model) for model in models}
    found["similar"] = [session.run(f"SELECT * FROM persona.similar_items('{model}', 'item-03', 5)") for model in models]
    found["segments"] = session.run("SELECT persona.assign('tiers', ARRAY[a, b]) FROM people ORDER BY id")
    found["members"] = session.run("SELECT id, segment_id FROM tiers_members ORDER BY id")
    return found


def test_sessions_standbys_and_restores_agree(cluster):
    """Sessions that hold older versions, new ones, a standby and a restored dump answer alike after each change, whatever the trainer."""
    cluster.session().run("CREATE ROLE keeper LOGIN CREATEDB; CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    cluster.session("shop").run("GRANT USAGE ON SCHEMA persona TO PUBLIC")
    one, two = cluster.session("shop", "keeper"), cluster.session("shop", "keeper")
    interactions(one, rows=2000)
    people(one)
    one.run("SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', k => 3, n_init => 2)")
    ways = {trainer.replace("train_", "m_"): (trainer, ways[0]) for trainer, ways in TRAINERS.items()}
    for model, (trainer, way) in ways.items():
        one.run(f"""
            SELECT persona.{trainer}('{model}', 'events', 'user_id', 'item_id', value_column => 'weight', time_column => 'at', deploy => 'always',
                                     {way["call"]})""")
    standby = cluster.standby()
    cluster.catch_up(standby)
    reader = standby.session("shop", "keeper")

    def agree(what):
        cluster.catch_up(standby)
        right = everything(one, ways)
        for session in (two, reader, cluster.session("shop", "keeper"), standby.session("shop", "keeper")):
            same(everything(session, ways), right)
        assert all(right.values()), what
        return right

    first = agree("trained")
    for model, (_, way) in ways.items():
        two.run(f"SELECT persona.retrain('{model}', {json(way['again'])})")
    two.run("SELECT persona.retrain('tiers', '{\"k\": 4}')")
    second = agree("trained again")
    assert second["m_als"] != first["m_als"] and second["segments"] != first["segments"]
    for model in (*ways, "tiers"):
        two.run(f"SELECT persona.rollback('{model}')")
    same(agree("rolled back"), first)
    one.run("INSERT INTO events VALUES (7, 'item-40', 9, '2024-02-01')")
    for model, (_, way) in ways.items():
        one.run(f"SELECT persona.{'update_model' if way.get('updates') else 'retrain'}('{model}')")
    updated = agree("updated")
    copy = restore(cluster, dump(cluster, "-Fc"))
    same(everything(copy, ways), updated)


CALLS = {
    "recommend": "SELECT item_id FROM persona.recommend('for_you', 7, 5, fresh => true)",
    "typed": "SELECT item_id FROM for_you_recommend(7, 5, fresh => true)",
    "eligible": "SELECT item_id FROM persona.recommend('for_you', 7, 5, options => '{\"eligible\": \"stock\"}')",
    "similar": "SELECT item_id FROM persona.similar_items('for_you', 'item-03', 5, options => '{\"eligible\": \"stock\"}')",
}


def test_rows_of_a_moment_ago(cluster):
    """Rows that come and go count from the next statement on at READ COMMITTED, within the own snapshot at REPEATABLE READ."""
    one, two, three = cluster.session(), cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    train(one)
    one.run("CREATE TABLE stock AS SELECT DISTINCT item_id FROM events; CREATE INDEX ON events (user_id)")
    typed = one.value("SELECT count(*) FROM pg_proc WHERE proname = 'for_you_recommend' AND 'fresh' = ANY (proargnames)") != "0"
    calls = {name: sql for name, sql in CALLS.items() if typed or name != "typed"}
    for name, sql in calls.items():
        before = [session.run(sql) for session in (one, two, three)]
        assert before[0] == before[1] == before[2] and len(before[0]) == 5, name
        (item,) = before[0][0]
        live = name in ("recommend", "typed")
        change = f"INSERT INTO events VALUES (7, '{item}', 1, '2024-02-01')" if live else f"DELETE FROM stock WHERE item_id = '{item}'"
        undo = "DELETE FROM events WHERE at = '2024-02-01'" if live else f"INSERT INTO stock VALUES ('{item}')"
        two.run("BEGIN")
        three.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        one.run(f"BEGIN; {change}")
        # Its own transaction knows it, nobody else does.
        assert (item,) not in one.run(sql) and two.run(sql) == three.run(sql) == before[0], name
        one.run("COMMIT")
        assert (item,) not in two.run(sql), (name, "READ COMMITTED")
        assert three.run(sql) == before[0], (name, "REPEATABLE READ")
        one.run(undo)
        assert two.run(sql) == before[0] and three.run(sql) == before[0], name
        # Its own rows count at REPEATABLE READ, too, and those of a savepoint until it is undone.
        three.run(f"COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SAVEPOINT s; {change}")
        assert (item,) not in three.run(sql) and two.run(sql) == before[0], name
        three.run("ROLLBACK TO s")
        assert three.run(sql) == before[0], name
        for session in (two, three):
            session.run("COMMIT")
            assert session.run(sql) == before[0], name
    assert one.run("SELECT * FROM persona.check()") == []
