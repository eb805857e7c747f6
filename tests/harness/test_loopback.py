"""postgres_fdw: models of tables of another server, and aggregates that run there."""

from models import extension, interactions, same, train

LOOPBACK = """
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw
      OPTIONS (host '{host}', port '{port}', dbname 'far', extensions 'pg_persona', fetch_size '1000');
    CREATE USER MAPPING FOR postgres SERVER loopback OPTIONS (user 'postgres');
    CREATE SCHEMA away;
    IMPORT FOREIGN SCHEMA public LIMIT TO (events, stock) FROM SERVER loopback INTO away"""

# What is pushed down, and how it must agree: in itself, or up to rounding.
AGGREGATES = {
    "stats_agg(weight)": "persona.mean(s), persona.stddev(s), persona.min(s), persona.max(s), persona.num_vals(s)",
    "stats_agg(ARRAY[weight, user_id]::float8[])": "persona.mean(s, 1), persona.kurtosis(s, 2), persona.num_columns(s)",
    "rfm_agg(at, weight)": "persona.frequency(s), persona.monetary(s), persona.first_at(s), persona.last_at(s)",
    "rfm_agg(at, weight, item_id)": "persona.frequency(s), persona.monetary(s)",
    "quantile_agg(weight)": "persona.quantile(s, 0.3), persona.quantile(s, 0.9), persona.num_vals(s)",
    "category_agg(item_id)": "persona.num_vals(s)",
}


def servers(cluster):
    """A session with the extension whose schema `away` shows tables of another database, and a session there."""
    far, near = cluster.database("far"), cluster.database("near")
    for session in (far, near):
        extension(session)
    interactions(far)
    far.run("CREATE TABLE stock AS SELECT DISTINCT item_id FROM events WHERE right(item_id, 1)::int % 2 = 0")
    near.run(LOOPBACK.format(host=cluster.host, port=cluster.port))
    return far, near


def everybody(session, options="", seen=""):
    return session.run(f"""
        SELECT u, r.item_id, r.score, r.rank FROM generate_series(0, 99) u, persona.recommend('for_you', u, 3{seen}{options}) r ORDER BY 1, 4""")


def test_models_of_foreign_tables(cluster):
    """A training, fresh, eligible and update_model read a foreign table as they read the table itself."""
    far, near = servers(cluster)
    assert train(far) == train(near, relation="away.events") == [("1", "t")]
    same({"all": everybody(near)}, {"all": everybody(far)})
    stock = ", options => '{\"eligible\": \"%s\"}'"
    eligible = everybody(near, stock % "away.stock")
    same({"eligible": eligible}, {"eligible": everybody(far, stock % "stock")})
    assert eligible and all(int(item[-1]) % 2 == 0 for _, item, _, _ in eligible)
    # What another session commits there is fresh here in the next statement.
    fresh, first = ", fresh => true", near.value("SELECT item_id FROM persona.recommend('for_you', 7, 1)")
    same({"fresh": everybody(near, fresh)}, {"fresh": everybody(far, fresh)})
    far.run(f"INSERT INTO events VALUES (7, '{first}', 1, '2024-02-01'), (1001, 'item-03', 1, '2024-02-01'), (1001, 'item-04', 1, '2024-02-01')")
    assert (first,) not in near.run("SELECT item_id FROM persona.recommend('for_you', 7, 5, fresh => true)")
    assert near.value("SELECT source FROM persona.recommend('for_you', 1001, 1)") == "popular"
    for session in (far, near):
        assert session.value("SELECT version FROM persona.update_model('for_you')") == "2"
        assert session.value("SELECT source FROM persona.recommend('for_you', 1001, 1)") == "model"
    same({"updated": everybody(near)}, {"updated": everybody(far)})
    assert near.run("SELECT version FROM persona.retrain('for_you')") == [("3",)]
    # Triggers cannot stand on it; the server there is gone: an error that names it, and the model serves.
    error = near.error("SELECT persona.attach('for_you')")
    assert error.sqlstate == "0A000", error.text
    near.run("ALTER SERVER loopback OPTIONS (SET dbname 'nowhere'); SELECT postgres_fdw_disconnect_all()")
    assert near.error("SELECT persona.retrain('for_you')").sqlstate == "08001"
    assert len(everybody(near)) == 300
    near.run("ALTER SERVER loopback OPTIONS (SET dbname 'far')")
    assert near.run("SELECT version FROM persona.retrain('for_you')") == [("4",)]


def test_aggregates_are_pushed_down(cluster):
    """The server option `extensions` lets aggregates and their accessors run where the rows are; the figures are the same."""
    far, near = servers(cluster)
    for call, accessors in AGGREGATES.items():
        query = f"SELECT {accessors} FROM (SELECT persona.{call} AS s FROM %s) q"
        plan = "\n".join(row[0] for row in near.run("EXPLAIN (VERBOSE, COSTS off) " + query % "away.events"))
        remote = plan.partition("Remote SQL: ")[2]
        assert f"persona.{call.split('(')[0]}(" in remote, plan
        there, here = near.run(query % "away.events"), far.run(query % "events")
        assert there == here, (call, there, here)
    grouped = "SELECT user_id, persona.mean(persona.stats_agg(weight)) FROM %s GROUP BY user_id HAVING persona.num_vals(persona.stats_agg(weight)) > 1 ORDER BY 1"
    plan = "\n".join(row[0] for row in near.run("EXPLAIN (VERBOSE, COSTS off) " + grouped % "away.events"))
    assert "HAVING" in plan.partition("Remote SQL: ")[2] and near.run(grouped % "away.events") == far.run(grouped % "events")
    # A condition with an accessor is one of theirs, too.
    far.run("CREATE TABLE kept AS SELECT user_id, persona.stats_agg(weight) AS s FROM events GROUP BY user_id")
    near.run("IMPORT FOREIGN SCHEMA public LIMIT TO (kept) FROM SERVER loopback INTO away")
    kept = "SELECT user_id FROM %s WHERE persona.mean(s) > 2 ORDER BY 1"
    plan = "\n".join(row[0] for row in near.run("EXPLAIN (VERBOSE, COSTS off) " + kept % "away.kept"))
    assert "persona.mean(s) > " in plan.partition("Remote SQL: ")[2], plan
    assert near.run(kept % "away.kept") == far.run(kept % "kept") != []
    # Summaries merge across servers.
    merged = "SELECT persona.mean(persona.rollup(s)) FROM away.kept"
    assert abs(float(near.value(merged)) - float(far.value("SELECT avg(weight) FROM events"))) < 1e-12
