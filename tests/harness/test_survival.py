"""Crashes, errors and panics at every step that writes: the old version serves on, nothing of the new one stays."""

import os
import random
import re
import threading
import time
from pathlib import Path

from cluster import ROOT, SqlError, alive
from models import answers, extension, interactions, live, same, scores, train

# Phases of the work on another thread, and points on the main thread, of a further version of a model.
WITHIN = ("sort", "split", "holdout fit", "evaluate", "fit", "encode")
TRAINING = (
    "read", "sorted", "encoded", "piece", "written", "version", "metrics", "before deployment", "after deployment", "deployed",
    "pruned", "published",
)  # fmt: skip
FIRST = ("view", "functions")
FILE = ("image allocated", "image written", "image checked")
DEPLOY = ("deploy locked", "before deployment", "after deployment")
ROLLBACK = ("deploy locked", "before rollback", "after rollback")
DROP = ("drop locked", "drop functions", "drop view", "drop rows")

# Between the tables of a model of segments.
TABLES = ("members", "history", "segments", "profile")

# The image of `wide` takes two pieces, so that "piece" is in the middle of them.
RETRAIN = "SELECT version FROM persona.train_als('for_you', 'wide', 'user_id', 'item_id', factors => 48, iterations => 1, deploy => 'always')"
# Its image is above 8 MB, so that it goes into a file beside the server's temporary files.
LARGE = "SELECT version FROM persona.train_als('for_you', 'large', 'user_id', 'item_id', factors => 48, iterations => 1, holdout => 'none', deploy => 'always')"
FRESH = "SELECT version FROM persona.train_als('fresh', 'events', 'user_id', 'item_id', factors => 8, iterations => 2)"
# Another number of segments than what is live, so that all tables change.
SEGMENTS = "SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', k => {segments}, n_init => 1)"

# Reads what a table tells of the items.
FEATURES = """SELECT version FROM persona.train_als('for_you', 'wide', 'user_id', 'item_id', factors => 8, iterations => 1, deploy => 'always',
  options => '{{"item_features": {{"relation": "goods", "id_column": "id", "columns": ["kind"]}}}}')"""
# Reads which segment a user has.
OF_SEGMENTS = """SELECT version FROM persona.train_als('for_you', 'wide', 'user_id', 'item_id', factors => 8, iterations => 1, deploy => 'always',
  options => '{{"segments": {{"relation": "people", "id_column": "id", "segment_column": "a"}}}}')"""
# Follows rows that were written while it was trained.
UPDATE = "SELECT version FROM persona.update_model('follow')"
# Reads what is told of the items, and finds that nothing changed.
COMPARE = "SELECT version FROM persona.update_model('told')"

POINTS = [
    *((point, RETRAIN) for point in (*WITHIN, *TRAINING)),
    *((point, FRESH) for point in FIRST),
    *((point, SEGMENTS) for point in ("match", *TABLES)),
    *((point, FEATURES) for point in ("sort features", "map features")),
    *((point, OF_SEGMENTS) for point in ("sort segments", "encode segments")),
    *((point, UPDATE) for point in ("sort users", "merge")),
    ("compare", COMPARE),
    *((point, LARGE) for point in FILE),
    *((point, "SELECT persona.deploy('for_you', {other})") for point in DEPLOY),
    *((point, "SELECT persona.rollback('for_you')") for point in ROLLBACK),
    *((point, "SELECT persona.drop_model('for_you')") for point in DROP),
]


def shop(cluster):
    """Two versions of a model in a database whose functions have fault points."""
    cluster.faults()
    session = cluster.session()
    amcheck(session)
    interactions(session)
    session.run("""
        CREATE TABLE wide AS SELECT g % 6000 AS user_id, 'item-' || (g % 50 + g / 6000 * 7) % 50 AS item_id
        FROM generate_series(1::bigint, 24000) g""")
    session.run("CREATE TABLE large AS SELECT g AS user_id, 'item-' || g % 50 AS item_id FROM generate_series(1::bigint, 42000) g")
    session.run("CREATE TABLE people AS SELECT g AS id, g % 5 AS a, g % 7 AS b FROM generate_series(1, 500) g")
    session.run("CREATE TABLE goods AS SELECT 'item-' || g AS id, 'kind ' || g % 3 AS kind FROM generate_series(1, 60) g")
    session.run("CREATE TABLE sorts AS SELECT g AS id, 'kind ' || g % 3 AS kind FROM generate_series(0, 12) g")
    session.run("CREATE TABLE timed AS SELECT g % 50 AS user_id, g / 50 AS item_id, now() AS at FROM generate_series(1, 400) g")
    session.run("SELECT persona.train_als('follow', 'timed', 'user_id', 'item_id', time_column => 'at', factors => 4)")
    session.run("""SELECT persona.train_als('told', 'timed', 'user_id', 'item_id', time_column => 'at', factors => 4,
      options => '{"item_features": {"relation": "sorts", "id_column": "id", "columns": ["kind"]}}')""")
    session.run(SEGMENTS.format(segments=2))
    train(session, factors=8)
    train(session, factors=12)
    return session


def statement(session, sql):
    """The statement, which may name the version that is stored and not live."""
    other = session.value("SELECT version FROM persona.versions WHERE model = 'for_you' AND is_stored AND NOT is_live LIMIT 1")
    return sql.format(other=other, segments=3)


def marker(cluster, session):
    return cluster.data / f"base/pgsql_tmp/pgsql_tmp_persona.fault.{session.pid}"


def hold(cluster, session, point, sql):
    """Starts a statement and waits until it stands at a point."""
    session.run(f"SET persona.fault = '{point}:wait'")
    session.start(sql)
    for _ in range(4000):
        if marker(cluster, session).exists():
            return
        assert session.busy(), (point, session.wait())
        time.sleep(0.005)
    raise TimeoutError(f"point {point} was not reached")


def state(session):
    """All that a client can see of the models, and what stands in the tables behind."""
    tables = "model", "version", "deployment", "metric", "training_log", "output"
    seen = answers(session, "for_you")
    seen |= {table: session.run(f"SELECT * FROM persona_internal.{table} ORDER BY 1, 2, 3") for table in tables}
    seen["chunk"] = session.run("SELECT image_id, ordinal, md5(payload) FROM persona_internal.chunk ORDER BY 1, 2")
    for table in TABLES:
        seen[f"tiers_{table}"] = session.run(f"SELECT ctid, xmin, * FROM tiers_{table} ORDER BY 1")
    seen["objects"] = session.run("""
        SELECT oid::regclass::text, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT oid::regprocedure::text, 'f' FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1""")
    return seen


def amcheck(session):
    """Makes the extension that looks through tables and indexes; the server of a wheel comes without (see debian_folder.sh)."""
    if session.run("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
        session.run("CREATE EXTENSION amcheck")
    else:
        print("       without amcheck, which this server does not have", flush=True)


def sound(session):
    """Tables and indexes of the registry and its TOAST tables are whole, every row is in every index."""
    assert session.run("SELECT * FROM persona.check()") == []
    if session.value("SELECT to_regprocedure('bt_index_check(regclass,boolean)')") is None:
        return
    session.run("""
        WITH tables AS (
          SELECT oid FROM pg_class WHERE relnamespace = 'persona_internal'::regnamespace AND relkind = 'r'
          UNION ALL
          SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'persona_internal'::regnamespace AND reltoastrelid <> 0)
        SELECT bt_index_check(i.indexrelid, true) FROM tables JOIN pg_index i ON i.indrelid = tables.oid""")
    assert session.run("""
        SELECT c.relname, h.* FROM pg_class c, verify_heapam(c.oid) h
        WHERE c.relnamespace = 'persona_internal'::regnamespace AND c.relkind = 'r'""") == []


def works_on(cluster, session):
    """The next training goes through and leaves no file behind."""
    session.run("RESET persona.fault")
    version = int(session.value("SELECT max(version) FROM persona.versions WHERE model = 'for_you'")) + 1
    assert train(session, factors=8 + version % 5) == [(str(version), "t")]
    left = [path.name for path in cluster.data.glob("base/pgsql_tmp/*") if "persona" in path.name]
    assert left == [], left


def test_every_point_of_the_source_is_tested(_cluster):
    """A fault point that no test strikes is no use."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    named = set(re.findall(r'\b(?:point|Within::of)\("([^"]+)"\)', source)) | set(re.findall(r'\.phase\("([^"]+)"', source))
    # Those of the trigger of attached tables are struck by test_queue, where a statement must not fail.
    assert named - {"look up", "queue", "mark"} == {point for point, _ in POINTS}, named


def test_only_the_test_build_has_fault_points(cluster):
    """What is installed knows no such setting and holds no such word; the test build does, or nothing here is tested."""
    words = b"fault point", b"persona.fault"
    installed = Path(cluster.command("pg_config", "--pkglibdir").strip()) / "pg_persona.so"
    assert not any(word in installed.read_bytes() for word in words)
    session = cluster.session()
    session.run("LOAD 'pg_persona'")
    assert session.error("SET persona.fault = 'fit:kill'").sqlstate == "42602"
    session.close()
    cluster.faults()
    assert all(word in (cluster.directory / "pg_persona_fault.so").read_bytes() for word in words)
    session = cluster.session()
    session.run("SELECT persona.\"check\"()")
    session.run("SELECT * FROM persona.models; SELECT 'x'::persona_internal.relation; SET persona.fault = 'fit:kill'")
    # Nobody but a superuser arms one.
    session.run("CREATE ROLE eve LOGIN; SET ROLE eve")
    assert session.error("SET persona.fault = 'fit:kill'").sqlstate == "42501"


def test_kill_at_every_point(cluster):
    """kill -9 of the backend, and at some points a stop of the server without a checkpoint: all is as it was before."""
    session = shop(cluster)
    for number, (point, sql) in enumerate(POINTS):
        before = state(session)
        hold(cluster, session, point, statement(session, sql))
        if number % 7 == 3:
            cluster.restart("immediate")
        else:
            cluster.kill(session)
        session = cluster.session()
        same(state(session), before)
        works_on(cluster, session)
        if number % 4 == 0:
            sound(session)
    sound(session)
    # It is no accident that nothing happened: with nobody killed, the image does have two pieces.
    assert session.run(RETRAIN)
    assert int(session.value("SELECT max(ordinal) FROM persona_internal.chunk")) > 0


def test_the_process_kills_itself(cluster):
    """The action `kill` strikes without anybody watching, in the middle of the work and of the writes."""
    session = shop(cluster)
    for point in ("fit", "piece", "after deployment"):
        before = state(session)
        pid = session.pid
        session.run(f"SET persona.fault = '{point}:kill'")
        assert session.error(RETRAIN).sqlstate in ("08006", "57P02")
        cluster.recovered(pid)
        session = cluster.session()
        same(state(session), before)
    works_on(cluster, session)
    sound(session)


def threads(session):
    return len(os.listdir(f"/proc/{session.pid}/task"))


def fails(cluster, session, watch, point, action, sql, sqlstate):
    """A statement fails at a point; the session is as before, alone in its process and without locks."""
    before = state(session)
    session.run(f"SET persona.fault = '{point}:{action}'")
    error = session.error(sql)
    assert error.sqlstate == sqlstate and f"fault point {point}" in error.message, (point, action, error.text)
    session.run("RESET persona.fault")
    # The kernel may still take a thread down that has returned.
    limit = time.monotonic() + 0.2
    while threads(session) > 1 and time.monotonic() < limit:
        time.sleep(0.001)
    assert threads(session) == 1, (point, action)
    assert watch.run(f"SELECT locktype, relation::regclass FROM pg_locks WHERE pid = {session.pid}") == [], (point, action)
    assert watch.run("SELECT * FROM persona.training_progress") == []
    assert watch.run("SHOW search_path") == session.run("SHOW search_path")
    assert session.run("SELECT current_user, session_user") == [("postgres", "postgres")]
    same(state(session), before)


def test_error_and_panic_at_every_point(cluster):
    """An error is an error, a panic is one of XX000; both leave nothing and end nobody else's session."""
    cluster.expect("fault point ")
    session = shop(cluster)
    watch = cluster.session()
    for point, sql in POINTS:
        for action, sqlstate in (("error", "38000"), ("panic", "XX000")):
            fails(cluster, session, watch, point, action, statement(session, sql), sqlstate)
    works_on(cluster, session)
    assert threads(watch) == 1 and watch.value("SELECT 1") == "1"


def test_panic_in_a_thread(cluster):
    """A panic of the work in its own thread is an error of the statement: XX000, no thread left, no crash."""
    cluster.expect("fault point ")
    session = shop(cluster)
    watch = cluster.session()
    for point in ("look up", *WITHIN):
        fails(cluster, session, watch, point, "thread-panic", RETRAIN, "XX000")
    works_on(cluster, session)


def test_failures_within_a_transaction(cluster):
    """ROLLBACK TO and a PL/pgSQL handler undo a training that failed; the transaction goes on and commits."""
    cluster.expect("fault point ")
    session = shop(cluster)
    before = scores(session)
    for point in ("fit", "piece", "after deployment", "published"):
        for action in ("error", "panic"):
            session.run(f"BEGIN; CREATE TABLE kept (a int); SAVEPOINT s; SET LOCAL persona.fault = '{point}:{action}'")
            session.error(RETRAIN)
            session.run("ROLLBACK TO s")
            assert scores(session) == before
            session.run(f"SET LOCAL persona.fault = '{point}:{action}'")
            session.run(f"DO $$ BEGIN PERFORM version FROM ({RETRAIN}) t; EXCEPTION WHEN OTHERS THEN NULL; END $$")
            assert scores(session) == before
            session.run("RESET persona.fault; COMMIT")
            session.run("DROP TABLE kept")
    works_on(cluster, session)


def test_cancel_and_terminate_at_every_point(cluster):
    """A backend that is cancelled or terminated where it stands leaves nothing, and the server does not restart."""
    session, watch = shop(cluster), cluster.session()
    start = watch.value("SELECT pg_postmaster_start_time()")
    before = state(watch)
    for number, (point, sql) in enumerate(POINTS):
        victim = cluster.session()
        hold(cluster, victim, point, statement(watch, sql))
        how, sqlstate = (("cancel", "57014"), ("terminate", "57P01"))[number % 2]
        watch.run(f"SELECT pg_{how}_backend({victim.pid})")
        try:
            victim.wait(5)
        except SqlError as error:
            assert error.sqlstate == sqlstate, error.text
        else:
            raise AssertionError(f"{how} at {point} was not heard")
        while how == "terminate" and alive(victim.pid):
            time.sleep(0.005)
        # A thread that stands there takes its marker away when it is told: it has ended before the statement and the process.
        assert point not in WITHIN or not marker(cluster, victim).exists(), f"{how} at {point} left a thread behind"
        victim.close()
        marker(cluster, victim).unlink(missing_ok=True)
    same(state(watch), before)
    works_on(cluster, session)
    sound(watch)
    assert watch.value("SELECT pg_postmaster_start_time()") == start


class Writer(threading.Thread):
    """Trains and deploys without an end; knows which version the last commit made live and which the next one would."""

    def __init__(self, session, known):
        super().__init__(daemon=True)
        self.session, self.known = session, known
        self.seen = self.next = live(session)
        self.newest = int(session.value("SELECT max(version) FROM persona.versions"))
        self.commits = 0
        self.start()

    def run(self):
        try:
            while True:
                for step in (self.train, self.train, self.deploy):
                    step()
                    self.seen = self.next
                    self.commits += 1
        except SqlError as error:
            self.end = error

    def train(self):
        self.next = self.newest + 1
        assert train(self.session, factors=factors(self.next)) == [(str(self.next), "t")]
        self.newest = self.next

    def deploy(self):
        self.next = self.newest - 1
        self.session.run(f"SELECT persona.deploy('for_you', {self.next})")

    def lost(self):
        """Ends the writer: its connection is gone."""
        self.session.process.kill()
        self.join(20)
        assert not self.is_alive()

    def check(self, session):
        """What is live is what the writer saw last, or what it did not hear of any more; and it answers as it must."""
        version = live(session)
        assert version in (self.seen, self.next), (version, self.seen, self.next)
        assert scores(session) == self.known[factors(version)], version
        assert session.run("SELECT * FROM persona.check()") == []


def factors(version):
    """What a version is trained with, so that its answers are known from its number."""
    return 6 + version % 3


def known_answers(session):
    """The answers by factors: the same rows and settings give the same bits."""
    known = {}
    for each in (6, 7, 8):
        train(session, "known", factors=each)
        known[each] = scores(session, "known")
    session.run("SELECT persona.drop_model('known')")
    return known


def stream(cluster):
    session = cluster.session()
    extension(session)
    amcheck(session)
    interactions(session, rows=1500)
    known = known_answers(session)
    train(session, factors=factors(1))
    return session, known


def power(cluster, times):
    session, known = stream(cluster)
    chance, commits = random.Random(7), 0
    for _ in range(times):
        writer = Writer(cluster.session(), known)
        time.sleep(chance.uniform(0.05, 0.5))
        cluster.lose_power()
        writer.lost()
        commits += writer.commits
        cluster.start()
        session = cluster.session()
        writer.check(session)
        sound(session)
    print(f"       {commits} commits between {times} power failures", flush=True)
    assert commits > times


def test_power_loss(cluster):
    """Every process at once is gone, at any moment of a stream of trainings and deploys."""
    power(cluster, 8)


def test_long_power_loss(cluster):
    """The same fifty times."""
    power(cluster, 50)


def test_a_commit_is_kept(cluster):
    """What a client has seen committed is there after a crash in the next instant; what it has not, is not."""
    session, known = stream(cluster)
    for version in (2, 3, 4):
        train(session, factors=factors(version))
        cluster.lose_power()
        cluster.start()
        session = cluster.session()
        assert live(session) == version and scores(session) == known[factors(version)]
        session.run("BEGIN")
        train(session, factors=10)
        cluster.restart("immediate")
        session = cluster.session()
        assert live(session) == version and scores(session) == known[factors(version)]


def test_promotion_in_the_middle_of_a_stream(cluster):
    """A standby that is promoted under a stream of trainings and deploys has all that a client saw; open sessions go on."""
    session, known = stream(cluster)
    standby = cluster.standby()
    cluster.configure({"synchronous_standby_names": "*", "synchronous_commit": "remote_apply"})
    cluster.command("pg_ctl", "reload", "-D", cluster.data)
    reader = standby.session()
    cluster.catch_up(standby)
    assert scores(reader) == known[factors(1)]
    writer = Writer(cluster.session(), known)
    while writer.commits < 5:
        # One statement, one snapshot: the version and what it answers.
        version, item = reader.run("SELECT version, (SELECT item_id || score FROM persona.recommend('for_you', 7, 1)) FROM for_you")[0]
        assert item == "".join(known[factors(int(version))][0])
    standby.promote()
    writer.lost()
    cluster.stop("immediate")
    writer.check(reader)
    assert train(reader, factors=12)[0][1] == "t"
    assert scores(reader) == scores(standby.session()) not in known.values()
    assert standby.session().value("SELECT persona.rollback('for_you')")
    assert scores(reader) in known.values()


def test_fast_shutdown_at_a_point(cluster):
    """A fast shutdown ends a training that stands anywhere within 5 s."""
    session = shop(cluster)
    for point in ("fit", "piece", "after deployment"):
        before = state(session)
        hold(cluster, session, point, RETRAIN)
        begin = time.monotonic()
        cluster.stop("fast")
        assert time.monotonic() - begin < 5
        cluster.start()
        session = cluster.session()
        same(state(session), before)
    works_on(cluster, session)
