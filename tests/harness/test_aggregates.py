"""Every aggregate and window function that the extension has: in parallel as in one process, over windows as computed anew.

They are found in the catalogue, so that a new one is tested by being there; one with an argument that nothing is known of
here fails the test.
"""

import math
import re

from cluster import SqlError
from models import extension

# What is given for an argument, by its name or its type.
ARGUMENTS = {
    "min_instances": "5", "delta": "0.005", "threshold": "50", "alpha": "0.9999", "mode": "'both'", "num_buckets": "7",
    "float8": "x", "float8[]": "ARRAY[x, i, NULL, -x]", "timestamptz": "at", "date": "at::date", "text": "kind", "anyelement": "i % 40",
}  # fmt: skip

# Further arguments of accessors, by type.
FURTHER = {"float8": "0.3", "int4": "2", "timestamptz": "timestamptz '2025-01-01'", "date": "date '2025-01-01'"}

# Random values (z), with 10 % of NULL, and what may stand among them; below 8192 rows summaries are exact.
VALUES = {
    "plain": "z",
    "with NULL": "CASE WHEN i % 10 <> 0 THEN z END",
    "huge": "CASE WHEN i % 7 = 0 THEN z * 1e17 ELSE z END",
    "with NaN": "CASE WHEN i % 53 = 0 THEN 'NaN' ELSE z END",
    "infinite": "CASE i % 97 WHEN 0 THEN 'Infinity' WHEN 1 THEN '-Infinity' ELSE z END",
    "nothing but NULL": "NULL::float8",
    "few": "CASE WHEN i < 3 THEN z END",
}

CATALOGUE = """
    SELECT p.proname, a.aggcombinefn::oid <> 0, p.prorettype::regtype, p.proargnames::text[],
           array_to_string(ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY u (t, n) ORDER BY n), ';'),
           array_to_string(p.proargnames, ';')
    FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
    WHERE p.pronamespace = 'persona'::regnamespace AND p.prokind = '{kind}' ORDER BY 1, 5"""

SHORT = {"double precision": "float8", "double precision[]": "float8[]", "timestamp with time zone": "timestamptz", "integer": "int4"}

PARALLEL = {
    "parallel_setup_cost": "0", "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0", "max_parallel_workers_per_gather": "3",
    "parallel_leader_participation": "off",
}  # fmt: skip


def functions(session, kind):
    """(name with schema, mergeable, type of the result, arguments) of the aggregates ('a') or window functions ('w')."""
    for name, mergeable, result, _, types, names in session.run(CATALOGUE.format(kind=kind)):
        given = []
        for position, each in enumerate(types.split(";")):
            word = names.split(";")[position] if names else ""
            short = SHORT.get(each, each)
            known = ARGUMENTS.get(word) or ARGUMENTS.get(short) or (short.replace("persona.", "a_") if short.startswith("persona.") else None)
            assert known, f"say here what is given for the argument {word} {each} of {name}"
            given.append(known)
        yield f"persona.{name}", mergeable == "t", result, ", ".join(given)


def accessors(session, kind):
    """Everything that can be read of a summary `s` of a type, as SQL, but for summaries in it; of other types, the value as text."""
    found = session.run(f"""
        SELECT proname, array_to_string(ARRAY(SELECT t::regtype::text FROM unnest(proargtypes[1:]) WITH ORDINALITY u (t, n) ORDER BY n), ';')
        FROM pg_proc JOIN pg_type r ON r.oid = prorettype
        WHERE pronamespace = 'persona'::regnamespace AND prokind = 'f' AND proargtypes[0] = '{kind}'::regtype
          AND NOT (r.typnamespace = pronamespace AND r.typtype = 'b') ORDER BY 1, 2""")
    calls = []
    for name, types in found:
        further = [FURTHER.get(SHORT.get(each, each), "s" if each == kind else None) for each in types.split(";") if each]
        assert all(further), f"say here what is given for the arguments {types} of {name}"
        calls.append(f"persona.{name}({', '.join(['s', *further])})::text")
    return ", ".join(calls) or "s::text"


def data(session, values, rows=6000):
    """Rows in five parts, of random numbers, and for each type of summary a column that has one of every five rows."""
    session.run(f"""
        DROP TABLE IF EXISTS data; SELECT setseed(0.4);
        CREATE TABLE data AS SELECT *, row_number() OVER (PARTITION BY p ORDER BY i) AS n, {values} AS x FROM (
          SELECT i, i * 31 % 5 AS p, (random() * 1000)::float8 AS z, 'k' || (random() * 30)::int AS kind,
                 timestamptz '2024-01-01' + random() * interval '300 days' AS at FROM generate_series(1, {rows}) i OFFSET 0) q;
        ALTER TABLE data SET (parallel_workers = 3)""")
    known = list(functions(session, "a"))
    summaries = {result: (name, given) for name, mergeable, result, given in known if mergeable and not given.startswith("a_")}
    for result, (name, given) in summaries.items():
        column = result.replace("persona.", "a_")
        make = f"CREATE TABLE wider AS SELECT *, CASE WHEN i % 5 = 0 THEN {name}(GIVEN) OVER (PARTITION BY i / 5) END AS {column} FROM data"
        try:
            session.run(make.replace("GIVEN", given))
        except SqlError as error:
            assert error.sqlstate.startswith("22"), error.text
            # Of values that the aggregate refuses there are no summaries.
            session.run(make.replace("GIVEN", re.sub(r"\bx\b", "z", given)))
        session.run("DROP TABLE data; ALTER TABLE wider RENAME TO data")
    session.run("ALTER TABLE data SET (parallel_workers = 3); ANALYZE data")


def outcome(session, query):
    """The rows of a query, or the SQLSTATE of what it fails with, which is one of bad data."""
    try:
        return session.run(query)
    except SqlError as error:
        assert error.sqlstate.startswith("22"), error.text
        return error.sqlstate


def near(left, right):
    """Equal, floats up to their last digits."""
    if left == right:
        return True
    try:
        return math.isclose(float(left), float(right), rel_tol=1e-9, abs_tol=1e-9)
    except (TypeError, ValueError):
        return False


def alike(left, right):
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return len(left) == len(right) and all(near(a, b) for one, two in zip(left, right) for a, b in zip(one, two))


def test_parallel_is_serial(cluster):
    """Each aggregate that can be merged gives in three workers what it gives in one process; the others stay out of them."""
    session = cluster.session()
    extension(session)
    known = list(functions(session, "a"))
    assert sum(mergeable for _, mergeable, _, _ in known) >= 10
    for what, values in VALUES.items():
        data(session, values)
        for name, mergeable, result, given in known:
            call = f"{name}({given}{'' if mergeable else ' ORDER BY i'})"
            query = f"SELECT {accessors(session, result)} FROM (SELECT {call} AS s FROM data) q"
            serial = outcome(session, query)
            for setting, value in PARALLEL.items():
                session.run(f"SET {setting} = {value}")
            plan = "\n".join(row[0] for row in session.run(f"EXPLAIN {query}"))
            assert mergeable == ("Partial Aggregate" in plan and "Finalize" in plan), (call, plan)
            parallel = outcome(session, query)
            for setting in PARALLEL:
                session.run(f"RESET {setting}")
            assert alike(serial, parallel), (what, call, serial, parallel)
            assert what in ("with NaN", "infinite") or not isinstance(serial, str), (what, call, serial)


def test_aggregates_can_travel(cluster):
    """What can be merged has a state that is an SQL type, so that other servers can send it: Citus asks this, and a table of parts."""
    session = cluster.session()
    extension(session)
    rows = session.run("""
        SELECT aggfnoid::regprocedure FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
        WHERE p.pronamespace = 'persona'::regnamespace AND a.aggcombinefn::oid <> 0 AND (a.aggtranstype = 'internal'::regtype OR p.proparallel <> 's')""")
    assert rows == [], rows


FRAMES = ("ROWS BETWEEN 7 PRECEDING AND 2 FOLLOWING", "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN 3 FOLLOWING AND 9 FOLLOWING")
BOUNDS = ("e.n BETWEEN d.n - 7 AND d.n + 2", "e.n <= d.n", "e.n BETWEEN d.n + 3 AND d.n + 9")


def test_windows_are_as_computed_anew(cluster):
    """Each aggregate over moving frames gives, to the last bit, what a query for each row gives."""
    session = cluster.session()
    extension(session)
    for what, values in VALUES.items():
        data(session, values, rows=300)
        session.run("CREATE INDEX ON data (p, n)")
        for name, _, _, given in functions(session, "a"):
            for frame, bounds in zip(FRAMES, BOUNDS):
                over = outcome(session, f"SELECT i, ({name}({given}) OVER (PARTITION BY p ORDER BY n {frame}))::text FROM data ORDER BY i")
                query = f"SELECT {name}({given} ORDER BY n) FROM data e WHERE e.p = d.p AND {bounds}"
                anew = outcome(session, f"SELECT i, ({query})::text FROM data d ORDER BY i")
                assert over == anew, (what, name, given, frame, over[:3], anew[:3])


def test_window_functions_see_their_partition_only(cluster):
    """Each window function gives a row the same beside other partitions and as in its partition alone."""
    session = cluster.session()
    extension(session)
    known = list(functions(session, "w"))
    assert len(known) >= 5
    for what, values in VALUES.items():
        data(session, values, rows=1500)
        for name, _, _, given in known:
            call = f"{name}({given})"
            beside = outcome(session, f"SELECT p, i, {call} OVER (PARTITION BY p ORDER BY i) FROM data ORDER BY 1, 2")
            alone = [outcome(session, f"SELECT p, i, {call} OVER (ORDER BY i) FROM data WHERE p = {part} ORDER BY 1, 2") for part in range(5)]
            if isinstance(beside, str):
                assert beside in alone, (what, call, beside, alone)
            else:
                assert beside == [row for rows in alone for row in rows], (what, call)
                assert any(row[2] is not None for row in beside) or what == "nothing but NULL", (what, call)
