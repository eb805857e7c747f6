"""Memory that callers and relations size stays within `persona.max_memory`, and errors say what they are about and no more."""

from calls import prepare
from models import train
from test_cancel import highest

MB = 1 << 20


def grown(cluster, statements, sql):
    """Megabytes that a statement takes at most in a session of its own, beyond those of the session; None for 53200."""
    session = cluster.session()
    session.run(statements)
    session.run("SELECT count(*) FROM persona.recommend('for_you', 1)")
    before = highest(session)
    try:
        session.run(sql, timeout=300)
    finally:
        after = highest(session)
        session.close()
    return (after - before) // MB


def test_lists_of_users(cluster):
    """Five million texts, 40 MB of them: read where they stand, each user answered once."""
    prepare(cluster.session())
    texts = "array_fill('17'::text, ARRAY[5000000])"
    alone = grown(cluster, "", f"SELECT pg_column_size({texts})")
    answered = grown(cluster, "", f"SELECT count(*) FROM persona.recommend_for_users('for_you', {texts}, 1)")
    print(f"       {alone} MB for the array, {answered} MB with its answer", flush=True)
    assert answered < alone + 32


def test_recommend_all(cluster):
    """A table for 300,000 users within 64 MB and what Postgres takes by itself."""
    session = cluster.session()
    prepare(session)
    session.run("""CREATE TABLE many AS SELECT g AS user_id, 'i' || g % 1000 AS item_id, 1 AS weight, now() AS at
                   FROM generate_series(1, 300000) g""")
    train(session, "broad", "many", factors=8, holdout="none", iterations=1)
    taken = grown(cluster, "SET persona.max_memory = '64MB'", "SELECT persona.recommend_all('broad', 5)")
    print(f"       {taken} MB, of 64 MB allowed", flush=True)
    assert taken < 100


def test_few_rows_of_many_columns(cluster):
    """What 300 rows of 900 columns need is two megabytes."""
    session = cluster.session()
    prepare(session)
    columns = ", ".join(f"(g * {n + 7} % 101)::float8 AS c{n}" for n in range(900))
    session.run(f"CREATE TABLE broad AS SELECT g AS id, {columns} FROM generate_series(1, 300) g")
    session.run("SET persona.max_memory = '48MB'")
    named = ", ".join(f"c{n}" for n in range(900))
    assert session.run(f"SELECT version FROM persona.train_kmeans('wide', 'broad', 'id', '{{{named}}}', k => 2)") == [("1",)]


def test_details_are_no_backtraces(cluster):
    """A server that somebody started with RUST_BACKTRACE tells clients no more than any other."""
    cluster.environment = {"RUST_BACKTRACE": "full", "RUST_LIB_BACKTRACE": "1"}
    cluster.restart()
    session = cluster.session()
    prepare(session)
    for sql in (
        "SELECT * FROM persona.recommend('no such model', 1)",
        "SELECT * FROM persona.recommend('for_you', 1, options => '{\"eligible\": \"nowhere\"}')",
        "SELECT persona.score('for_you', '1'::text, 'item-01'), 1 / (SELECT count(*) FROM persona.recommend('for_you', 'x'))",
    ):
        text = session.error(sql).text
        assert not any(word in text for word in ("backtrace", "rust_begin", "panic_any", "std::")), text
