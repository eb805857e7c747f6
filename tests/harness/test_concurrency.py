"""Sessions of every kind are served while another trains, deploys, rolls back, drops and makes the model again."""

import random
import threading
import time

from cluster import SqlError
from models import PARALLEL, extension, interactions, train

# Number and answer of a version under one snapshot.
SERVE = """
    SELECT f.version, string_agg(r.item_id || ' ' || r.score, ', ' ORDER BY r.rank)
    FROM for_you f, persona.recommend('for_you', 7, 3) r GROUP BY f.version"""

# The same by what may run in a parallel worker: the function behind those beside the model.
IN_WORKERS = SERVE.replace(
    "persona.recommend('for_you', 7, 3)",
    "persona._recommend('for_you'::regclass, 7::bigint, 3, NULL::text[], NULL::text[])",
)

# What a session may meet: the model is dropped just now (as a model, as a view).
GONE = {"42704", "42P01"}

# What a standby may answer besides: a conflict of a query or a connection with the recovery.
CONFLICT = {"40001", "08006"}

CLASSES = 7


def factors(version):
    """What a version is trained with, so that its answer is known from its number."""
    return 4 + version % CLASSES


class Stage:
    """A model, its known answers, and the history of what was live when."""

    def __init__(self, cluster):
        self.session = cluster.session()
        extension(self.session)
        interactions(self.session, rows=1200)
        self.known = {}
        for version in range(1, CLASSES + 1):
            self.train(version)
            self.known[version % CLASSES] = self.session.run(SERVE)[0][1]
        assert len(set(self.known.values())) == CLASSES
        self.session.run("SELECT persona.drop_model('for_you')")
        self.train(1)
        # (sent, answered, version that serves from then on; None without a model)
        self.history = [[0.0, time.monotonic(), 1]]
        self.newest, self.stored = 1, [1]
        self.over = False
        self.problems = []

    def train(self, version):
        options = "{\"keep_versions\": 3}"
        assert train(self.session, factors=factors(version), iterations=2, holdout="none", options=options) == [(str(version), "t")]

    def change(self, live, sql):
        """A change of what is live, with the time in which it happened."""
        entry = [time.monotonic(), float("inf"), live]
        self.history.append(entry)
        sql() if callable(sql) else self.session.run(sql)
        entry[1] = time.monotonic()

    def write(self, seconds, chance):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over:
            kind, live = chance.random(), self.history[-1][2]
            stored = [row[0] for row in self.session.run("SELECT version FROM persona.versions WHERE is_stored AND NOT is_live")]
            if kind < 0.03:
                self.change(None, "SELECT persona.drop_model('for_you')")
                time.sleep(chance.uniform(0, 0.02))
                self.newest = 0
            if kind < 0.5 or not stored:
                self.newest += 1
                self.change(self.newest, lambda: self.train(self.newest))
            elif kind < 0.9:
                version = int(chance.choice(stored))
                self.change(version, f"SELECT persona.deploy('for_you', {version})")
            else:
                # A change that its own transaction undoes is none.
                self.session.run(f"BEGIN; SELECT persona.deploy('for_you', {stored[0]}); ROLLBACK")
                assert self.session.run(SERVE)[0][0] == str(live)
            time.sleep(chance.uniform(0, 0.03))
        self.over = True

    def was_live(self, version, begin, end):
        """Whether the version may have been live at some moment between."""
        history = [list(entry) for entry in self.history]
        afterwards = [entry[1] for entry in history[1:]] + [float("inf")]
        return any(
            live == version and sent <= end and until >= begin
            for (sent, _, live), until in zip(history, afterwards)
        )  # fmt: skip

    def right(self, row):
        version, answer = row
        assert answer == self.known[int(version) % CLASSES], f"version {version} does not answer {answer}"
        return int(version)


class Reader(threading.Thread):
    """A session that is served without an end; `turn` is one turn of it and answers the versions that it saw."""

    def __init__(self, stage, cluster, allowed=GONE, setup="SELECT 1"):
        super().__init__(daemon=True)
        self.stage, self.cluster, self.allowed, self.setup = stage, cluster, allowed, setup
        self.seen, self.errors, self.turns = set(), {}, 0
        self.start()

    def connect(self):
        session = self.cluster.session()
        session.run(self.setup)
        return session

    def run(self):
        session = self.connect()
        try:
            while not self.stage.over:
                try:
                    self.seen |= set(self.turn(session))
                    self.turns += 1
                except SqlError as error:
                    assert error.sqlstate in self.allowed, error.text
                    self.errors[error.sqlstate] = self.errors.get(error.sqlstate, 0) + 1
                    if session.process.poll() is not None or error.sqlstate == "08006":
                        session = self.connect()
                    else:
                        session.run("ROLLBACK")
        except Exception as problem:  # noqa: BLE001: told by the test, which looks at all of them
            self.stage.problems.append(f"{type(self).__name__}: {problem!r}")
            self.stage.over = True
            # Its transaction would hold the model against a drop.
            session.close()

    def timely(self, versions, begin, end):
        for version in versions:
            assert self.stage.was_live(version, begin, end), f"version {version} was not live then"
        return versions


class ReadCommitted(Reader):
    """Each statement sees what is committed when it begins."""

    serve = SERVE

    def turn(self, session):
        begin = time.monotonic()
        versions = [self.stage.right(row) for row in session.run(self.serve)]
        return self.timely(versions, begin, time.monotonic())


class Held(Reader):
    """A snapshot that is held serves one version, however long."""

    level = "REPEATABLE READ"

    def turn(self, session):
        begin = time.monotonic()
        # The view is locked with the first statement: what the snapshot sees stays.
        session.run(f"BEGIN ISOLATION LEVEL {self.level}")
        rows = session.run(SERVE)
        end = time.monotonic()
        for _ in range(5):
            time.sleep(0.02)
            assert session.run(SERVE) == rows, "the snapshot did not keep its version"
        session.run("COMMIT")
        return self.timely([self.stage.right(row) for row in rows], begin, end)


class Serializable(Held):
    level = "SERIALIZABLE"


class Late(Reader):
    """A snapshot that was taken long before its first look at the model. A model that is newer is not in its view."""

    def turn(self, session):
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        begin = time.monotonic()
        session.run("SELECT count(*) FROM events")
        end = time.monotonic()
        time.sleep(0.15)
        versions = [self.stage.right(row) for row in session.run(SERVE)]
        session.run("COMMIT")
        return self.timely(versions, begin, end)


class Loop(Reader):
    """The statements of a PL/pgSQL loop."""

    def turn(self, session):
        begin = time.monotonic()
        versions = [self.stage.right(row) for row in session.run("SELECT * FROM serve_loop()")]
        return self.timely(versions, begin, time.monotonic())


class AfterRollback(Reader):
    """What a session deployed and took back does not come back."""

    def turn(self, session):
        session.run("BEGIN; SAVEPOINT s")
        rows = session.run("SELECT min(version) FROM persona.versions WHERE is_stored")
        if rows[0][0] is not None:
            try:
                session.run(f"SELECT persona.deploy('for_you', {rows[0][0]})")
            except SqlError as error:
                if error.sqlstate in self.allowed:
                    raise
                # Pruned by the training that committed between the two statements.
                assert error.sqlstate == "55000" and "is no longer stored" in error.message, error.text
                session.run("ROLLBACK")
                return []
            own = [self.stage.right(row) for row in session.run(SERVE)]
            assert own == [int(rows[0][0])], own
        session.run("ROLLBACK TO s")
        begin = time.monotonic()
        versions = [self.stage.right(row) for row in session.run(SERVE)]
        end = time.monotonic()
        session.run("COMMIT")
        return self.timely(versions, begin, end)


class Standby(Reader):
    """A standby serves what it has replayed."""

    def turn(self, session):
        return [self.stage.right(row) for row in session.run(SERVE)]


class StandbyHeld(Reader):
    """The same with a snapshot that is held."""

    def turn(self, session):
        session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        rows = session.run(SERVE)
        time.sleep(0.1)
        assert session.run(SERVE) == rows, "the snapshot of the standby did not keep its version"
        session.run("COMMIT")
        return [self.stage.right(row) for row in rows]


def stress(cluster, seconds):
    stage = Stage(cluster)
    stage.session.run(f"""
        CREATE FUNCTION serve_loop() RETURNS TABLE (version int, answer text) LANGUAGE plpgsql AS $$
        BEGIN FOR i IN 1..20 LOOP RETURN QUERY {SERVE}; PERFORM pg_sleep(0.005); END LOOP; END $$""")
    standby = cluster.standby({"max_standby_streaming_delay": "200ms"})
    cluster.catch_up(standby)
    session = cluster.session()
    session.run(PARALLEL)
    assert "Workers Launched: 1" in "".join(row[0] for row in session.run(f"EXPLAIN (ANALYZE) {IN_WORKERS}"))
    readers = [kind(stage, cluster) for kind in (ReadCommitted, Held, Serializable, Late, Loop, AfterRollback)]
    readers.append(type("Parallel", (ReadCommitted,), {"serve": IN_WORKERS})(stage, cluster, setup=PARALLEL))
    readers += [kind(stage, standby, GONE | CONFLICT) for kind in (Standby, StandbyHeld)]
    try:
        stage.write(seconds, random.Random(11))
    finally:
        stage.over = True
        for reader in readers:
            reader.join(30)
    told = ", ".join(f"{type(each).__name__} {each.turns} of {len(each.seen)} versions {each.errors or ''}".strip() for each in readers)
    print(f"       {len(stage.history)} changes; turns: {told}", flush=True)
    assert not stage.problems, stage.problems
    for each in readers:
        assert not each.is_alive() and each.turns >= 10 and len(each.seen) >= 3, type(each).__name__
    assert stage.session.run("SELECT * FROM persona.check()") == []


def test_serving_under_change(cluster):
    """Every answer is that of the version which its snapshot sees; the only errors are those that are documented."""
    stress(cluster, 12)


def test_long_serving_under_change(cluster):
    """The same for five minutes."""
    stress(cluster, 300)
