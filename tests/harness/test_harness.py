"""The harness itself, on plain PostgreSQL: without these, a green test elsewhere means little."""

import re
from importlib import import_module

from cluster import ROOT, SqlError


def test_rows_errors_and_notices(cluster):
    session = cluster.session()
    assert session.run("SELECT 1, NULL, E'a\\nb', '' UNION ALL SELECT 2, 'x', 'y', 'z'") == [
        ("1", None, "a\nb", ""),
        ("2", "x", "y", "z"),
    ]
    assert session.run("SELECT 1 WHERE false") == []
    error = session.error("SELECT * FROM nowhere")
    assert (error.sqlstate, error.message) == ("42P01", 'relation "nowhere" does not exist')
    session.run("DO $$ BEGIN RAISE NOTICE 'seen'; END $$")
    assert "seen" in session.notices


def test_two_sessions_lock_and_cancel(cluster):
    one, two = cluster.session(), cluster.session()
    one.run("CREATE TABLE t AS SELECT 1 AS a")
    one.run("BEGIN; LOCK TABLE t")
    two.start("SELECT * FROM t")
    wait = f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {two.pid}"
    while one.value(wait) != "Lock":
        pass
    assert two.busy()
    one.run(f"SELECT pg_cancel_backend({two.pid})")
    try:
        two.wait()
    except SqlError as error:
        assert error.sqlstate == "57014"
    else:
        raise AssertionError("the statement was not cancelled")
    one.run("COMMIT")
    assert two.run("SELECT * FROM t") == [("1",)]


def test_crash_keeps_what_was_committed(cluster):
    session = cluster.session()
    session.run("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
    cluster.restart("immediate")
    session = cluster.session()
    assert session.value("SELECT count(*) FROM t") == "1000"
    cluster.kill(session)
    assert session.error("SELECT 1").sqlstate.startswith(("08", "57"))
    assert cluster.session().value("SELECT count(*) FROM t") == "1000"


def test_standby_replays_and_is_promoted(cluster):
    cluster.session().run("CREATE TABLE t (a int)")
    standby = cluster.standby()
    cluster.session().run("INSERT INTO t SELECT generate_series(1, 1000)")
    cluster.catch_up(standby)
    reader = standby.session()
    assert reader.value("SELECT count(*) FROM t") == "1000"
    assert reader.error("INSERT INTO t VALUES (1)").sqlstate == "25006"
    cluster.stop("immediate")
    standby.promote()
    reader.run("INSERT INTO t VALUES (1)")


def test_alarms_are_seen(cluster):
    cluster.session().run("DO $$ BEGIN RAISE WARNING 'buffer refcount leak'; END $$")
    assert len(cluster.alarms()) == 1
    cluster.expect("buffer refcount leak")
    assert cluster.alarms() == []


def test_the_tests_of_the_promises_exist(_cluster):
    """docs/reliability.md has 31 promises, and every test that it names for one is there."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs/reliability.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 32))
    targets = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for number, tests in rows:
        names = re.findall(r"`([^`]+)`", tests)
        assert names, f"promise {number} has no test"
        for name in names:
            assert exists(name, targets), f"promise {number} names {name}, which is not there"


def exists(name, targets):
    """Whether there is such a test: test_file, test_file.test_name, sql/name, spec/name, crate/name or make target."""
    kind, _, rest = name.partition("/")
    if (ROOT / "crates" / kind).is_dir():
        tests = ROOT / "crates" / kind / "tests"
        return (tests / f"{rest}.rs").exists() or (tests / rest / "main.rs").exists()
    if kind in ("sql", "spec"):
        folder = {"sql": "tests/pg_regress/sql", "spec": "tests/isolation/specs"}[kind]
        return (ROOT / folder / f"{rest}.{kind}").exists()
    if name.startswith("make "):
        return name.split()[1] in targets
    module, _, function = name.partition(".")
    return (ROOT / f"tests/harness/{module}.py").exists() and hasattr(import_module(module), function or "__doc__")
