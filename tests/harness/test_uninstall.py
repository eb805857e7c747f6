"""Replacing and removing what is in use: the library under running sessions, the extension, a database."""

import shutil
import subprocess
import threading
import time
from pathlib import Path

from cluster import ROOT, SqlError
from models import extension, interactions, scores, train
from test_survival import hold, marker

# The extension, its schemas, functions or the model may be gone at any moment; a training may meet another one.
GONE = {"3F000", "42883", "42704", "42P01", "42710", "42P06", "55P03", "55000", "40P01"}


def test_new_library_under_running_sessions(cluster):
    """`make install` puts a new file in the place of the old one: open sessions go on with that, new ones load the new."""
    library, share = cluster.directory / "lib", cluster.directory / "share"
    stage = ROOT / "target" / "stage" / (cluster.data / "PG_VERSION").read_text().strip()

    def install(*options):
        subprocess.run(
            ["make", "-s", "install", f"PKGLIBDIR={library}", f"SHAREDIR={share}", *options],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    install()
    session = cluster.session()
    extension(session)
    session.run(f"UPDATE pg_proc SET probin = '{library}/pg_persona.so' WHERE probin = '$libdir/pg_persona'")
    session.close()
    old = cluster.session()
    interactions(old)
    train(old)
    before = scores(old)
    # The next release: the same with something that can be told from outside.
    next_stage = cluster.directory / "stage"
    shutil.copytree(stage, next_stage)
    shutil.copyfile(stage / "fault" / "pg_persona.so", next_stage / "pg_persona.so")
    install(f"STAGE={next_stage}")
    new = cluster.session()
    assert scores(old) == scores(new) == before
    known = "SELECT count(*) FROM pg_settings WHERE name = 'persona.fault'"
    assert (old.value(known), new.value(known)) == ("0", "1")
    assert "pg_persona.so (deleted)" in Path(f"/proc/{old.pid}/maps").read_text()
    # All of the old library may be needed yet: its pages come from the old file.
    assert train(old, factors=12) == [("2", "t")]
    assert train(new, factors=16) == [("3", "t")]
    assert scores(old) == scores(new) != before


def test_drop_database_under_a_training(cluster):
    """DROP DATABASE is refused while a session trains; WITH (FORCE) ends the training, and nobody else's session."""
    root, other = cluster.session(), cluster.database("other")
    extension(other)
    interactions(other)
    train(other)
    for point in ("fit", "piece", "after deployment"):
        shop = cluster.database("shop")
        shop.close()
        cluster.faults("shop")
        shop = cluster.session("shop")
        interactions(shop)
        hold(cluster, shop, point, "SELECT version FROM persona.train_als('for_you', 'events', 'user_id', 'item_id', factors => 8)")
        # Postgres itself waits 5 s for the others to leave.
        if point == "fit":
            assert root.error("DROP DATABASE shop").sqlstate == "55006"
        begin = time.monotonic()
        root.run("DROP DATABASE shop WITH (FORCE)")
        assert time.monotonic() - begin < 4
        try:
            shop.wait()
        except SqlError as error:
            assert error.sqlstate == "57P01"
        else:
            raise AssertionError("the training outlived its database")
        marker(cluster, shop).unlink(missing_ok=True)
        assert len(scores(other)) == 3


def test_drop_extension_under_a_training(cluster):
    """DROP EXTENSION … CASCADE while a training stands anywhere: one of them waits or fails with an error that says why."""
    outcomes = {}
    for point in ("read", "fit", "encoded", "piece", "version", "published"):
        cluster.faults()
        session, root = cluster.session(), cluster.session()
        session.run("DROP TABLE IF EXISTS events")
        interactions(session)
        train(session)
        hold(cluster, session, point, "SELECT version FROM persona.retrain('for_you', '{\"deploy\": \"always\"}')")
        root.start("DROP EXTENSION pg_persona CASCADE")
        time.sleep(0.3)
        waited = root.busy()
        marker(cluster, session).unlink()
        try:
            outcome = session.wait()
            assert outcome == [("2",)]
        except SqlError as error:
            assert error.sqlstate in ("42P01", "55000", "3F000", "40P01"), error.text
            outcome = error.sqlstate
        try:
            root.wait()
        except SqlError as error:
            # Each waited for the other: Postgres lets one of them go on.
            assert error.sqlstate == "40P01", error.text
            root.run("DROP EXTENSION pg_persona CASCADE")
        outcomes[point] = (outcome, "waited" if waited else "at once")
        assert root.run("SELECT relname FROM pg_class WHERE relname IN ('for_you', 'chunk', 'model')") == []
        assert root.run("SELECT proname FROM pg_proc WHERE proname LIKE 'for_you%'") == []
        assert root.run(f"SELECT locktype FROM pg_locks WHERE pid = {session.pid}") == []
        session.close()
        root.close()
    print(f"       {outcomes}", flush=True)


class Busy(threading.Thread):
    """Runs statements in turn until it is told to stop; keeps what it must not meet."""

    def __init__(self, session, *statements):
        super().__init__(daemon=True)
        self.session, self.statements = session, statements
        self.over, self.done, self.errors, self.problem = False, 0, {}, None
        self.start()

    def run(self):
        while not self.over:
            for sql in self.statements:
                try:
                    self.session.run(sql)
                    self.done += 1
                except SqlError as error:
                    self.errors[error.sqlstate] = self.errors.get(error.sqlstate, 0) + 1
                    time.sleep(0.01)
                    if error.sqlstate not in GONE and not any(text in error.message for text in PLANNER):
                        self.problem = self.problem or error.text
                        if error.sqlstate == "08006":
                            return
                except Exception as problem:  # noqa: BLE001: told by the test
                    self.problem = self.problem or repr(problem)
                    return


# Postgres plans a call without a lock on the function, whatever extension it is of.
PLANNER = ("cache lookup failed for function", "cache lookup failed for type")

# Scalar results alone: the parser of Postgres itself looks a composite one up without a lock and answers XX000 where its
# type has just been dropped, whatever function it belongs to.
TRAIN = "SELECT persona.train_als('{}', 'events', 'user_id', 'item_id', factors => 4, iterations => 1, holdout => 'none') IS NOT NULL"


def comes_and_goes(cluster, times):
    for text in PLANNER:
        cluster.expect(text)
    root = cluster.session()
    interactions(root, rows=500)
    busy = [
        Busy(cluster.session(), "SELECT persona.score('for_you', 7, 'item-01')", "SELECT persona.score('other', 7, 'item-01')"),
        Busy(cluster.session(), "SELECT version FROM for_you", "SELECT * FROM for_you_recommend(7)"),
        Busy(cluster.session(), TRAIN.format("for_you"), "SELECT persona.rollback('for_you')"),
        Busy(cluster.session(), TRAIN.format("other"), "SELECT persona.drop_model('other')"),
    ]
    again = 0
    for _ in range(times):
        extension(root)
        time.sleep(0.02)
        for _ in range(50):
            try:
                root.run("DROP EXTENSION pg_persona CASCADE")
                break
            except SqlError as error:
                # Deadlocks are resolved by whoever meets them.
                assert error.sqlstate == "40P01", error.text
                again += 1
    for each in busy:
        each.over = True
    for each in busy:
        each.join(20)
    print(f"       drops repeated {again}; " + ", ".join(f"{each.done} done {each.errors}" for each in busy), flush=True)
    assert not [each.problem for each in busy if each.problem], [each.problem for each in busy]
    assert all(each.done for each in busy)
    # Nothing is left, and all can begin anew.
    assert root.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'persona%'") == []
    assert root.run("SELECT relname FROM pg_class WHERE relname IN ('for_you', 'other')") == []
    assert root.run("SELECT proname FROM pg_proc WHERE proname ~ '^(for_you|other)_'") == []
    assert root.run("SELECT locktype, relation::regclass FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype <> 'virtualxid'") == []
    extension(root)
    assert train(root) == [("1", "t")]
    assert [path.name for path in cluster.data.glob("base/pgsql_tmp/*persona*")] == []


def test_the_extension_comes_and_goes(cluster):
    """CREATE and DROP EXTENSION … CASCADE again and again, while others are served and train: errors that say why, no crash."""
    comes_and_goes(cluster, 50)


def test_long_the_extension_comes_and_goes(cluster):
    """The same five hundred times."""
    comes_and_goes(cluster, 500)
