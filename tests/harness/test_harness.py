"""The harness itself, on plain PostgreSQL: without these, a green test elsewhere means little."""

import re
from importlib import import_module
from pathlib import Path

from cluster import SqlError


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


def test_the_tests_of_the_promises_exist(cluster):
    """Every test that docs/reliability.md names is there."""
    root = Path(__file__).resolve().parents[2]
    names = re.findall(r"`(test_[a-z0-9_.]+)`", (root / "docs/reliability.md").read_text())
    assert len(names) > 30
    for name in names:
        module, _, function = name.partition(".")
        assert hasattr(import_module(module), function or "__doc__"), name
