"""Refused memory is an ERROR: of every function, however little the system gives, and whoever calls."""

import os
import resource
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from calls import calls, prepare, unusable
from cluster import SqlError
from models import train

MB = 1 << 20

# Bytes that a backend may have beyond what it has.
HEADROOM = (0, 4 * MB, 40 * MB, 160 * MB)

# What says that memory, a thread or a mapped library was refused, that a limit was met, or that an argument is no good.
CLEAN = ("53", "54", "22", "42", "55", "25", "0A", "58", "P0", "57014", "02", "23", "2D", "3F")


class Limits:
    """Sets the address space that a backend may have: as the server's user, who alone may do so without being privileged."""

    PROGRAM = """import resource, sys
for line in sys.stdin:
    pid, size = map(int, line.split())
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    print(flush=True)"""

    def __init__(self, cluster):
        become = ["runuser", "-u", cluster.user, "--"] if os.getuid() == 0 else []
        command = [*become, "/usr/bin/env", "python3", "-c", self.PROGRAM]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def set(self, pid, size):
        self.process.stdin.write(f"{pid} {size}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline(), "the limit could not be set"

    @contextmanager
    def headroom(self, session, most):
        """The session's backend can grow by `most` bytes."""
        status = Path(f"/proc/{session.pid}/status").read_text()
        size = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:")) * 1024
        self.set(session.pid, size + most)
        try:
            yield
        finally:
            if Path(f"/proc/{session.pid}").exists():
                self.set(session.pid, resource.RLIM_INFINITY)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def started(session):
    return session.value("SELECT pg_postmaster_start_time()::text || (SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'checkpointer')")


class Refused:
    """Statements under a limit, in a session that is rolled back to where it was."""

    def __init__(self, cluster, user="postgres", model="for_you"):
        self.cluster, self.user, self.model = cluster, user, model
        self.session, self.outcomes, self.problems = None, {}, []
        self.limits = Limits(cluster)
        self.connect()

    def connect(self):
        self.session = self.cluster.session(user=self.user)
        # The library is loaded, and what every session needs is there.
        self.session.run("SET statement_timeout = '20s'")
        self.session.run("SELECT count(*) FROM persona.models")
        self.try_to_run(f"SELECT count(*) FROM persona.recommend('{self.model}', 1, 3)")

    def try_to_run(self, sql):
        try:
            self.session.run(sql)
            return "ok"
        except SqlError as error:
            return error.sqlstate

    def check(self, sql, most, in_block=True):
        if in_block:
            self.session.run("BEGIN")
        with self.limits.headroom(self.session, most):
            try:
                self.session.run(sql)
                outcome = "ok"
            except SqlError as error:
                outcome = error.sqlstate
                if outcome.startswith("08") or not outcome.startswith(CLEAN):
                    self.problems.append(f"{self.user}, {most >> 20} MB: {outcome} {error.message[:200]}: {sql[:200]}")
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if outcome.startswith("08") or self.session.process.poll() is not None:
            self.session.close()
            self.connect()
        elif in_block:
            self.session.run("ROLLBACK")

    def end(self):
        self.limits.close()
        shown = ", ".join(f"{state} {count}" for state, count in sorted(self.outcomes.items()))
        print(f"       as {self.user}: {shown}", flush=True)
        assert not self.problems, "\n".join(self.problems[:20])


def run(cluster, user, large):
    session = cluster.session()
    before = started(session)
    refused = Refused(cluster, user)
    for call in calls(session):
        for most in HEADROOM:
            refused.check(call.sql(), most, call.kind != "p")
        for _, _, sql in call.large(large):
            for most in HEADROOM[1:3]:
                refused.check(sql, most, call.kind != "p")
    refused.end()
    assert refused.outcomes.get("53200", 0) > 20, "memory was hardly ever refused"
    assert started(session) == before, "the server restarted"


def test_arguments_are_usable(cluster):
    """Otherwise the tests of what functions do with them would test messages alone."""
    session = cluster.session()
    prepare(session)
    wrong = unusable(session)
    assert not wrong, "\n".join(wrong)


def test_refused_memory_of_nobody(cluster):
    prepare(cluster.session())
    run(cluster, "nobody", 1_000_000)


def test_refused_memory_of_a_reader(cluster):
    prepare(cluster.session())
    run(cluster, "reader", 1_000_000)


def test_refused_memory_of_the_owner(cluster):
    prepare(cluster.session())
    run(cluster, "postgres", 200_000)


def test_refused_memory_in_triggers(cluster):
    """An INSERT into an attached table never brings the server down."""
    session = cluster.session()
    prepare(session)
    before = started(session)
    refused = Refused(cluster)
    for rows in (1, 1000, 300_000, 900_000):
        for most in (0, MB, 4 * MB, 40 * MB, 80 * MB, 120 * MB, 160 * MB, 200 * MB):
            refused.check(f"""
                INSERT INTO events SELECT g, 'item-01', 1, now() FROM generate_series(1000, 999 + {rows}) g""", most)
    refused.end()
    assert started(session) == before
    # What came in while there was memory is queued, and is worked off.
    session.run("INSERT INTO events VALUES (5001, 'item-01', 1, now())")
    session.run("CALL persona.work_queue()")
    assert session.value("SELECT count(*) FROM persona.queue WHERE oldest IS NOT NULL") == "0"


def test_refused_memory_of_large_models(cluster):
    """Answers whose size the model decides: a hundred thousand items and users."""
    session = cluster.session()
    prepare(session)
    session.run("""CREATE TABLE many AS SELECT g AS user_id, 'i' || g % 100000 AS item_id, 1 AS weight, now() AS at
                   FROM generate_series(1, 200000) g""")
    train(session, "large", "many", factors=32, holdout="none", iterations=1)
    before = started(session)
    refused = Refused(cluster, model="large")
    for sql in (
        "SELECT count(*) FROM persona.recommend('large', 5, 100000)",
        "SELECT count(*) FROM persona.recommend('large', 5, 100000, options => '{\"diversity\": 0.5, \"offset\": 1000}')",
        "SELECT count(*) FROM persona.similar_items('large', 'i5', 100000)",
        "SELECT count(*) FROM persona.similar_users('large', 5, 200000)",
        "SELECT count(*) FROM persona.popular_items('large', 100000)",
        "SELECT count(*) FROM persona.recommend_for_items('large', (SELECT array_agg('i' || g) FROM generate_series(1, 90000) g), 100000)",
        "SELECT count(*) FROM persona.recommend('large', 5, 10, fresh => true)",
        "SELECT persona.recommend_all('large', 3)",
        "SELECT count(*) FROM persona.retrain('large')",
        "SELECT persona.prewarm('large')",
    ):
        for most in (0, 2 * MB, 4 * MB, 8 * MB, 20 * MB, 40 * MB, 80 * MB):
            refused.check(sql, most)
    refused.end()
    assert started(session) == before


def test_a_limit_below_what_is_used(cluster):
    """The system goes back on what it gave, while a training runs: it ends with an error, or goes on."""
    session = cluster.session()
    prepare(session)
    session.run("CREATE TABLE many AS SELECT g % 40000 AS user_id, 'i' || g % 5003 AS item_id, 1 AS weight, now() AS at FROM generate_series(1, 400000) g")
    before = started(session)
    refused = Refused(cluster)
    for moment in (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2):
        for less in (8 * MB, 200 * MB):
            refused.session.run("BEGIN")
            refused.session.start("SELECT version FROM persona.train_als('many', 'many', 'user_id', 'item_id', factors => 64, iterations => 30)")
            time.sleep(moment)
            with refused.limits.headroom(refused.session, -less):
                try:
                    refused.session.wait()
                except SqlError as error:
                    assert error.sqlstate.startswith(CLEAN), (moment, less, error)
            refused.session.run("ROLLBACK")
    refused.end()
    assert started(session) == before
