"""Load: pgbench asks models of everything while other sessions train, update, deploy, roll back and make a model anew."""

import threading
import time

from cluster import SqlError
from models import extension, interactions, train
from test_images import big, files
from test_segments import people

# One transaction of an application: four statements.
SCRIPT = r"""
\set u random(0, 99)
\set i random(10, 49)
\set a random(0, 300)
BEGIN;
SELECT * FROM for_you_recommend(:u, 10);
SELECT * FROM persona.recommend('large', :u::bigint, 10, fresh => true);
SELECT * FROM persona.similar_items('for_you', 'item-' || :i::int, 10);
SELECT persona.assign('tiers', ARRAY[:a::int, 3]);
COMMIT;
"""

# What a model that is dropped and made anew may answer: there is none, or its GRANT is still to come.
GONE = {"42704", "42501"}


def stage(cluster):
    """The models, and a role `web` that only has the right to be served."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session, iterations=2, holdout="none")
    train(session, factors=12, iterations=2, holdout="none")
    big(session, "large", users=50_003)
    session.run("CREATE INDEX ON many (user_id); SELECT persona.attach('for_you'); CALL persona.work_queue()")
    people(session)
    session.run("SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', k => 3, n_init => 2); CREATE ROLE web LOGIN")
    session.run("GRANT USAGE ON SCHEMA persona TO web; GRANT SELECT ON many TO web")
    for model in ("for_you", "large", "tiers"):
        session.run(f"SELECT persona.grant_model('{model}', 'web')")
    return session


class Loop(threading.Thread):
    """A session that repeats its turn until the load is over; counts what it did and what it was refused."""

    def __init__(self, load, turn, user="postgres", allowed=(), pause=0.05):
        super().__init__(daemon=True)
        self.load, self.turn, self.allowed, self.pause = load, turn, set(allowed), pause
        self.session = load.cluster.session(user=user)
        self.turns, self.refused, self.problem = 0, {}, None
        self.start()

    def run(self):
        try:
            while not self.load.over.wait(self.pause):
                self.once()
        except Exception as error:  # noqa: BLE001: shown by the load
            self.problem = error

    def once(self):
        try:
            self.turn(self.session, self.turns)
            self.turns += 1
        except SqlError as error:
            if error.sqlstate not in self.allowed:
                raise
            self.refused[error.sqlstate] = self.refused.get(error.sqlstate, 0) + 1


def deploy(session, turn):
    """The newest version, then the one before it."""
    session.run("SELECT persona.deploy('for_you', (SELECT max(version) FROM persona.versions WHERE model = 'for_you' AND is_stored))")
    session.run("SELECT persona.rollback('for_you')")


def again(session, turn):
    """Drops the model `brief` and makes it anew; the right to it comes a moment later."""
    train(session, "brief", factors=4, iterations=1, holdout="none")
    session.run("SELECT persona.grant_model('brief', 'web')")
    time.sleep(0.1)
    session.run("SELECT persona.drop_model('brief')")


def write(session, turn):
    """Rows of a known and of a new user, queued for one model and fresh for the other."""
    session.run(f"INSERT INTO events SELECT u, 'item-10', 1, now() FROM (VALUES ({turn % 100}), ({1000 + turn})) v (u)")
    session.run(f"INSERT INTO many VALUES ({turn % 100}, 'item-11', 1, now())")


class Load:
    """Everything that goes on beside pgbench, and what the server had written before."""

    def __init__(self, cluster, session):
        self.cluster, self.session, self.over = cluster, session, threading.Event()
        busy = {"55P03"}  # trained by another one of these loops
        # A deployment may meet a version that is pruned meanwhile, a rollback one that nothing was live before.
        stale = busy | {"42704", "55000"}
        # After a rollback the queue says that anything may have changed, and the update that all has to be read.
        behind = busy | {"55000"}
        self.facts = session.run("SELECT pg_current_wal_lsn(), (SELECT count(*) FROM persona.versions), clock_timestamp()")[0]
        self.loops = [
            Loop(self, lambda s, t: s.run(f"SELECT persona.retrain('for_you', '{{\"factors\": {8 + t % 5}}}')"), allowed=busy),
            Loop(self, lambda s, t: s.run("SELECT persona.update_model('for_you')"), allowed=behind),
            Loop(self, lambda s, t: s.run("SELECT persona.retrain('large')"), allowed=busy, pause=1),
            Loop(self, lambda s, t: s.run(f"SELECT persona.retrain('tiers', '{{\"k\": {3 + t % 3}}}')"), allowed=busy, pause=0.5),
            Loop(self, lambda s, t: s.run("CALL persona.work_queue()")),
            Loop(self, deploy, allowed=stale),
            Loop(self, again),
            Loop(self, write),
            Loop(self, lambda s, t: s.run("SELECT * FROM persona.recommend('brief', 7)"), user="web", allowed=GONE, pause=0.005),
        ]
        self.retraining, self.brief = self.loops[0], self.loops[-1]

    def run(self, clients, seconds, rate=None):
        """pgbench for so long; the times of its transactions, in ms, sorted."""
        directory = self.cluster.directory
        script = directory / "load.sql"
        script.write_text(SCRIPT)
        prefix = f"load.{clients}.{time.monotonic_ns()}"
        printed = self.cluster.command(
            "pgbench", "-n", "-M", "prepared", "-f", script, "-c", str(clients), "-j", "2", "-T", str(seconds),
            "-h", self.cluster.host, "-p", str(self.cluster.port), "-U", "web", "-l", f"--log-prefix={prefix}",
            *(["-R", str(rate)] if rate else []), "postgres",
        )  # fmt: skip
        assert "aborted" not in printed and "ERROR" not in printed, printed
        # client, number, microseconds, script, seconds, microseconds, and with a rate how late it began
        lines = [line.split() for log in directory.glob(f"{prefix}*") for line in log.read_text().splitlines()]
        assert all(line[2].isdigit() for line in lines), "a transaction failed"
        times = sorted((int(line[2]) - (int(line[6]) if rate else 0)) / 1000 for line in lines)
        self.tell(f"{clients} connections" + (f" at {rate}/s" if rate else ""), seconds, times)
        return times

    def tell(self, who, seconds, times):
        at = [times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.99, 1)]
        mapped = [path.stat().st_size for path in files(self.cluster).values() if path.exists()]
        print(f"       {who}, {seconds} s: {len(times)} transactions, 0 failed, p50/p99/max {at[0]:.1f}/{at[1]:.1f}/{at[2]:.0f} ms, "
              f"{len(times) * 4 / seconds:.0f} statements/s, {len(mapped)} image files of {sum(mapped) / 1e6:.0f} MB", flush=True)  # fmt: skip

    def end(self):
        """Ends the loops; none of them may have met another error than it expects."""
        self.over.set()
        for loop in self.loops:
            loop.join(60)
        problems = [loop.problem for loop in self.loops if loop.problem]
        assert not problems, [getattr(problem, "text", repr(problem)) for problem in problems]
        assert not any(loop.is_alive() for loop in self.loops), "a loop does not end"
        lsn, versions, began = self.facts
        wal, seconds, made = self.session.run(f"""
            SELECT pg_size_pretty(pg_current_wal_lsn() - '{lsn}'), extract(epoch FROM clock_timestamp() - '{began}')::int,
                   (SELECT sum(version) FROM (SELECT max(version) AS version FROM persona.versions GROUP BY model) v)""")[0]
        print(f"       in all {seconds} s: {made} versions of models that stay, {self.loops[6].turns} models made and dropped, "
              f"{wal} of WAL; turns {[loop.turns for loop in self.loops]}, refused {[loop.refused for loop in self.loops]}", flush=True)  # fmt: skip


def check(cluster, load):
    """Something happened of everything, and nothing is broken."""
    assert all(loop.turns for loop in load.loops), [loop.turns for loop in load.loops]
    session = cluster.session()
    session.run("CALL persona.work_queue()")
    assert session.notices == "" and session.run("SELECT pending, lost FROM persona.queue") == [("0", "f")]
    assert session.run("SELECT * FROM persona.check()") == []
    stored = session.value("SELECT count(DISTINCT c.image_id) FROM persona_internal.chunk c LEFT JOIN persona_internal.version v USING (image_id) WHERE v.image_id IS NULL")
    assert stored == "0", "pieces that no version owns"
    web = cluster.session(user="web")
    for model in ("for_you", "large"):
        assert len(web.run(f"SELECT * FROM persona.recommend('{model}', 7, 10)")) == 10


def scenario(cluster, *steps):
    session = stage(cluster)
    load = Load(cluster, session)
    try:
        for step in steps:
            assert len(load.run(**step)) > 0
    finally:
        load.over.set()
    load.end()
    check(cluster, load)


def test_load(cluster):
    """8 connections as fast as they can and 32 at a rate: no statement fails, whatever happens to the models."""
    scenario(cluster, dict(clients=8, seconds=8), dict(clients=32, seconds=8, rate=50))


def test_long_load(cluster):
    """The same for minutes, and of 100 connections."""
    cluster.configure({"max_connections": 150})
    cluster.restart()
    scenario(cluster, dict(clients=8, seconds=100), dict(clients=32, seconds=180, rate=500), dict(clients=100, seconds=150, rate=500))
