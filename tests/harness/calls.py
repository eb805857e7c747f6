"""Calls of every function of the extension, made from the catalog: a new function joins by existing.

    Each call is SQL with usable arguments; large() gives the same call once for each parameter that can be made large.
"""

from cluster import SqlError
from models import extension, interactions, train

# Usable arguments, by the name of the parameter and else by its type.
BY_NAME = {
    "model": "'for_you'",
    "model_id": "(SELECT model_id FROM ids)",
    "relation": "'events'",
    "user_column": "'user_id'",
    "item_column": "'item_id'",
    "id_column": "'user_id'",
    "value_column": "'weight'",
    "time_column": "'at'",
    "amount_column": "'weight'",
    "order_column": "NULL",
    "user_id": "7",
    "user_ids": "'{1,2,7000}'",
    "users": "NULL::bigint[]",
    "item_id": "'item-03'::text",
    "item_type": "NULL::text",
    "items": "'{item-03,item-04}'::text[]",
    "exclude": "'{item-05}'::text[]",
    "candidates": "'{item-01,item-02,item-03}'::text[]",
    "feature_columns": "'{weight}'",
    "features": "'{1}'",
    "record": "'{\"weight\": 1}'",
    "role": "'reader'",
    "schema": "'api'",
    "method": "'random'",
    "trials": "2",
    "space": "NULL",
    "version": "2",
    "k": "3",
    "factors": "4",
    "iterations": "2",
    "budget": "'2 s'",
    "options": "'{}'",
    "column_map": "'{}'",
    "bins": "4",
    "p": "0.5",
    "number": "1",
    "segment_id": "1",
    "label": "'x'",
    "mode": "'both'",
    "threshold": "50",
    "min_instances": "30",
    "procedure": "'x'",
    "order_id": "1",
    "feedback": "'implicit'",
    "holdout": "'none'",
    "deploy": "'always'",
    "similarity": "'cosine'",
    "scaling": "'standard'",
    "loss": "'warp'",
    "optimizer": "'adagrad'",
    "alpha": "0.99",
    "learning_rate": "0.05",
    "setting": "'app.user_id'",
    "claim": "NULL",
    "pid": "1",
    "num_buckets": "4",
    "max_seconds": "1",
}
BY_TYPE = {
    "text": "'x'",
    "name": "'x'",
    "date": "date '2024-01-05'",
    "timestamp with time zone": "timestamptz '2024-01-05 00:00+00'",
    "double precision": "1.5",
    "double precision[]": "'{1.5,2.5}'",
    "integer": "1",
    "bigint": "1",
    "boolean": "false",
    "jsonb": "'{}'",
    "interval": "'1 s'",
    "oid": "'for_you'::regclass::oid",
    "regclass": "'for_you'",
    "uuid": "(SELECT model_id FROM ids)",
    "anyelement": "'item-03'::text",
    "anycompatible": "7",
    "anyarray": "'{item-03}'::text[]",
    "anycompatiblearray": "'{item-03}'::text[]",
    "persona.stats": "(SELECT persona.stats_agg(x) FROM generate_series(1.0, 99) n CROSS JOIN LATERAL (SELECT n::float8) v (x))",
    "persona.column_stats": "(SELECT persona.stats_agg(ARRAY[x, 2 * x]) FROM generate_series(1.0, 99) n CROSS JOIN LATERAL (SELECT n::float8) v (x))",
    "persona.quantiles": "(SELECT persona.quantile_agg(x) FROM generate_series(1.0, 99) n CROSS JOIN LATERAL (SELECT n::float8) v (x))",
    "persona.categories": "(SELECT persona.category_agg(x::text) FROM generate_series(1, 9) x)",
    "persona.rfm": "(SELECT persona.rfm_agg(date '2024-01-01' + x, x::float8) FROM generate_series(1, 9) x)",
}

# Models of segments have functions of their own.
OF_SEGMENTS = ("assign", "assign_row", "segment_distances", "label_segment")

# Functions that no SQL calls: those of types, states of aggregates and triggers.
INTERNAL = ("internal", "cstring", "trigger")

# What a large argument is, by the type of its parameter; {n} is its length.
LARGE = {
    "text": ["repeat('x', {n})"],
    "text[]": ["array_fill('17'::text, ARRAY[{n}])", "(SELECT array_agg('item-' || i) FROM generate_series(1, {n}) i)"],
    "anyarray": ["array_fill('item-17'::text, ARRAY[{n}])"],
    "anycompatiblearray": ["array_fill('item-17'::text, ARRAY[{n}])"],
    "double precision[]": ["array_fill(1.5::float8, ARRAY[{n}])"],
    "name[]": ["array_fill('weight'::name, ARRAY[{n} / 8])"],
    "anycompatible": ["repeat('x', {n})"],
    "jsonb": [
        "(SELECT jsonb_build_object('eligible', jsonb_agg('{{}}'::jsonb)) FROM generate_series(1, {n}) i)",
        "(SELECT jsonb_object_agg(i::text, 1) FROM generate_series(1, {n} / 4) i)",
    ],
}

FUNCTIONS = """
    SELECT p.prokind, p.oid::regproc::text, p.proretset,
           coalesce(array_to_string(ARRAY(
             SELECT coalesce(nullif(p.proargnames[i], ''), '?') || '=' || format_type(p.proargtypes[i - 1], NULL)
             FROM generate_series(1, p.pronargs) i), ';'), ''), format_type(p.prorettype, NULL)
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_persona'
    WHERE p.pronamespace = 'persona'::regnamespace
    UNION ALL
    SELECT p.prokind, p.oid::regproc::text, p.proretset,
           array_to_string(ARRAY(
             SELECT p.proargnames[i] || '=' || format_type(p.proargtypes[i - 1], NULL)
             FROM generate_series(1, p.pronargs) i), ';'), 'record'
    FROM pg_proc p WHERE p.proname ~ '^for_you_'
    ORDER BY 2, 4"""

# What builds tables and models anew or removes them: called last, and each in a transaction that is rolled back.
CHANGES = ("drop_model", "detach", "revoke_model")


def prepare(session):
    """Models for all functions: for_you, which is attached, and the segments `tiers`; and a role of each right."""
    extension(session)
    interactions(session)
    train(session)
    train(session)
    session.run("CREATE TABLE people AS SELECT user_id, sum(weight)::float8 AS weight FROM events GROUP BY 1")
    session.run("SELECT persona.train_kmeans('tiers', 'people', 'user_id', '{weight}', k => 3)")
    session.run("SELECT persona.attach('for_you')")
    session.run("CALL persona.work_queue()")
    session.run("CREATE TABLE ids AS SELECT model_id FROM persona_internal.model LIMIT 1")
    session.run("CREATE SCHEMA api; CREATE ROLE nobody LOGIN; CREATE ROLE reader LOGIN")
    session.run("GRANT USAGE ON SCHEMA persona TO nobody, reader; GRANT SELECT ON for_you, tiers, ids TO reader")
    session.run("GRANT SELECT ON ids TO nobody")


class Call:
    """A function with usable arguments."""

    def __init__(self, kind, name, returns_set, parameters):
        self.kind, self.name, self.returns_set = kind, name, returns_set
        self.parameters = [tuple(each.split("=", 1)) for each in parameters.split(";") if each]
        self.arguments = [self.usable(*each) for each in self.parameters]

    def usable(self, parameter, type_name):
        short = self.name.split(".")[-1]
        if parameter == "model" and short in OF_SEGMENTS:
            return "'tiers'"
        if parameter == "model" and short.startswith("train_"):
            return f"'new_{short}'"
        if parameter == "relation" and short == "train_kmeans":
            return "'people'"
        if parameter == "features" and type_name == "text":
            return "NULL"
        if self.kind in "aw" and parameter == "x":
            return {"double precision": "i::float8", "double precision[]": "ARRAY[i, i + 1.0]::float8[]"}[type_name]
        # The weight of what was seen, which here is no rate of forgetting.
        if parameter == "alpha" and short.startswith("train_"):
            return "10"
        found = BY_NAME.get(parameter) or BY_TYPE.get(type_name, "NULL")
        return found if "(" in found or type_name.startswith("any") else f"{found}::{type_name}"

    def sql(self, arguments=None):
        """The statement. Rows are counted, not shown."""
        listed = ", ".join(arguments or self.arguments)
        if self.kind == "p":
            return f"CALL {self.name}({listed})"
        if self.kind == "w":
            return f"SELECT count(s) FROM (SELECT {self.name}({listed}) OVER () AS s FROM generate_series(1, 500) i) w"
        if self.kind == "a":
            return f"SELECT count(a) FROM (SELECT {self.name}({listed}) AS a FROM generate_series(1, 500) i) w"
        if self.returns_set:
            return f"SELECT count(*) FROM {self.name}({listed})"
        return f"SELECT count(f) FROM (SELECT {self.name}({listed}) AS f OFFSET 0) w"

    def large(self, n):
        """(parameter, the argument alone, the statement) for each parameter that can be large."""
        for at, (parameter, type_name) in enumerate(self.parameters):
            for pattern in LARGE.get(type_name, []):
                argument = pattern.format(n=n)
                yield parameter, argument, self.sql([*self.arguments[:at], argument, *self.arguments[at + 1 :]])


def calls(session):
    """Every function and procedure that SQL may call, those that remove things last."""
    found = []
    for kind, name, returns_set, parameters, result in session.run(FUNCTIONS):
        types = [each.split("=", 1)[1] for each in parameters.split(";") if each]
        if not set(INTERNAL) & {*types, result} and name.split(".")[-1] not in CHANGES:
            found.append(Call(kind, name, returns_set == "t", parameters))
    assert len(found) > 90, f"only {len(found)} functions were found"
    return found


# Steps of procedures, which answer only inside them, and a search that the test leaves no time for.
STEPS = ("_place", "_tune_begin", "_tune_finish", "_tune_measure", "_tune_next", "tune")


def unusable(session):
    """The names of functions whose arguments are not usable."""
    wrong = []
    for call in calls(session):
        session.run("BEGIN") if call.kind != "p" else None
        try:
            session.run(call.sql())
        except SqlError as error:
            if call.name.split(".")[-1] not in STEPS:
                wrong.append(f"{error.sqlstate} {error.message}: {call.sql()}")
        session.run("ROLLBACK") if call.kind != "p" else None
    return wrong
