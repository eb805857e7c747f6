"""What the tests of models share: interactions to learn from, and everything that a model answers."""


def extension(session):
    session.run("CREATE EXTENSION pg_persona")


def interactions(session, name="events", rows=4000):
    """A table of interactions in which neighbouring users like neighbouring items, and item-00 is in fashion."""
    session.run(f"""
        CREATE TABLE {name} AS
        SELECT (g % 100)::bigint AS user_id,
               'item-' || lpad((CASE WHEN g % 9 = 0 THEN 0 ELSE (g % 100) / 2 + (g / 100 * 7) % 12 END)::text, 2, '0') AS item_id,
               1 + g % 3 AS weight,
               timestamptz '2024-01-01 00:00+00' + g * interval '1 minute' AS at
        FROM generate_series(1, {rows}) g""")


def train(session, model="for_you", relation="events", factors=8, **options):
    """Trains a version; more `factors` than the last one make other scores."""
    named = {"value_column": "weight", "time_column": "at", "deploy": "always", "iterations": 5, **options}
    words = "".join(f", {name} => '{value}'" for name, value in named.items())
    return session.run(f"""
        SELECT version, deployed FROM persona.train_als(
            '{model}', '{relation}', 'user_id', 'item_id', factors => {factors}{words})""")


def beside(model, suffix):
    """The name of a function beside a model."""
    return f'{model[:-1]}{suffix}"' if model.endswith('"') else f"{model}{suffix}"


def serving(model="for_you"):
    """Every serving function, and the view of the model."""
    return {
        "recommend": f"SELECT * FROM persona.recommend('{model}', 7, 5)",
        "unknown user": f"SELECT * FROM persona.recommend('{model}', 7000, 5)",
        "filters": f"SELECT * FROM persona.recommend('{model}', 7, 5, exclude => '{{item-05}}', remove_seen => false)",
        "recommend_as": f"SELECT * FROM persona.recommend_as('{model}', 7, NULL::text, 5)",
        "recommend_for_items": f"SELECT * FROM persona.recommend_for_items('{model}', '{{item-03,item-04}}', 5)",
        "recommend_for_users": f"SELECT * FROM persona.recommend_for_users('{model}', '{{1,2,7000}}', 3)",
        "similar_items": f"SELECT * FROM persona.similar_items('{model}', 'item-03', 5)",
        "similar_users": f"SELECT * FROM persona.similar_users('{model}', 7, 5)",
        "popular_items": f"SELECT * FROM persona.popular_items('{model}', 5)",
        "score": f"SELECT persona.score('{model}', 7, 'item-03'), persona.score('{model}', 7, 'item-03'::text)",
        "item_factors": f"SELECT * FROM persona.item_factors('{model}')",
        "user_factors": f"SELECT * FROM persona.user_factors('{model}')",
        "evaluate": f"SELECT * FROM persona.evaluate('{model}')",
        "typed recommend": f"SELECT * FROM {beside(model, '_recommend')}(7, 5)",
        "typed similar_items": f"SELECT * FROM {beside(model, '_similar_items')}('item-03', 5)",
        "typed recommend_for_items": f"SELECT * FROM {beside(model, '_recommend_for_items')}('{{item-03}}', 5)",
        "view": f"SELECT * FROM {model}",
    }


# Makes every query use a worker. The second is the name of the setting since PostgreSQL 16.
PARALLEL = """SELECT set_config(name, 'on', false) FROM pg_settings
              WHERE name IN ('force_parallel_mode', 'debug_parallel_query')"""
SERIAL = PARALLEL.replace("'on'", "'off'")

VIEWS = {
    "models": "SELECT * FROM persona.models ORDER BY model",
    "versions": "SELECT * FROM persona.versions ORDER BY model, version",
    "metrics": "SELECT * FROM persona.metrics ORDER BY model, version, metric, k, slice",
    "training_log": "SELECT * FROM persona.training_log",
    "check": "SELECT * FROM persona.check()",
}


def answers(session, *models, views=True):
    """What every serving function and view answers, to compare."""
    queries = {f"{model}: {name}": sql for model in models for name, sql in serving(model).items()}
    found = {name: session.run(sql) for name, sql in (queries | (VIEWS if views else {})).items()}
    for name, rows in found.items():
        assert rows or name == "check", f"{name} has no rows"
    return found


def same(left, right):
    """Fails with the names of what differs, not with megabytes of rows."""
    different = [name for name in left.keys() | right.keys() if left.get(name) != right.get(name)]
    assert not different, {name: (left.get(name, [])[:3], right.get(name, [])[:3]) for name in different}


def scores(session, model="for_you"):
    """A fingerprint of the version that serves."""
    return session.run(f"SELECT item_id, score FROM persona.recommend('{model}', 7, 3)")


def live(session, model="for_you"):
    """The number of the version that serves."""
    return int(session.value(f"SELECT version FROM {model}"))
