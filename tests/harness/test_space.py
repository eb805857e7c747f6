"""Space is what the settings say: shared images that anybody maps are files that everybody sees and that count, nobody keeps
what is stale, and the last part of a disk is never taken."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from cluster import SqlError
from models import same, scores
from test_images import PREFIX, big, database, everything, files, leave, mapped, only

# How long a connection of most of these tests keeps a map.
IDLE = 1.0


def idle_after(cluster, seconds):
    cluster.configure({"persona.image_idle_timeout": f"{int(seconds * 1000)}ms"})
    cluster.session().run("SELECT pg_reload_conf()")


def eventually(what, within=5.0):
    """Waits until something is true; asks once more at the end."""
    deadline = time.monotonic() + within
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert what()


def taken(cluster):
    """Bytes of all image files that have a name or that any process of the server maps, by inode; and the names of those
    that are mapped and deleted."""
    found = {str(path.stat().st_ino): path.stat().st_size for path in files(cluster).values()}
    postmaster = int((cluster.data / "postmaster.pid").read_text().split()[0])
    deleted = set()
    for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in lines:
            if PREFIX in line:
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                found.setdefault(line.split()[4], end - begin)
                if line.endswith("(deleted)"):
                    deleted.add(line)
    return sum(found.values()), deleted


def limit(cluster, size):
    cluster.configure({"persona.max_image_cache": f"{int(size) >> 10}kB"})
    cluster.session().run("SELECT pg_reload_conf()")


def test_a_pool_stays_within_the_limit(cluster):
    """Twelve idle connections and ten versions: what is mapped is a file with a name, all together stay within the setting,
    and the live version is shared again as soon as the others have let go."""
    session = database(cluster)
    size = int(session.value("SELECT bytes FROM for_you"))
    idle_after(cluster, 300)
    limit(cluster, 4.2 * size)
    pool = [cluster.session() for _ in range(12)]
    most = 0
    for seed in range(10):
        # A third of the pool is served now, and the others keep what they have.
        for each in pool[seed % 3 :: 3]:
            scores(each)
        big(session, seed=seed)
        bytes, deleted = taken(cluster)
        most = max(most, bytes)
        assert deleted == set()
        assert bytes <= 4.2 * size, (bytes / size, sorted(files(cluster)))
    assert most > 3 * size, "nobody kept an older version"
    newest = scores(session)
    assert all(scores(each) == newest for each in pool)
    bytes, deleted = taken(cluster)
    assert deleted == set() and bytes <= 4.2 * size
    # Nobody maps anything when the time of idle connections is over, and the next request is served as before.
    idle_after(cluster, IDLE)
    for each in [session, *pool]:
        scores(each)
    eventually(lambda: all(mapped(each) == set() for each in [session, *pool]), IDLE + 5)
    big(session, seed=11)
    assert len(files(cluster)) == 2
    idle_after(cluster, 300)
    newest = scores(session)
    assert all(scores(each) == newest for each in pool)
    assert {inode for each in pool for inode in mapped(each)} == mapped(session) and len(mapped(session)) == 1


def test_no_room_beside_what_others_map(cluster):
    """What others map makes no room: private memory, said in the log, and the file after some seconds; what a backend maps
    itself is not in its own way."""
    session = database(cluster)
    size = int(session.value("SELECT bytes FROM for_you"))
    big(session, "two")
    for path in files(cluster).values():
        os.unlink(path)
    limit(cluster, 1.5 * size)
    other, fresh = cluster.session(), cluster.session()
    first, second = scores(fresh), scores(fresh, "two")
    assert len(mapped(fresh)) == 1 == len(files(cluster)), "the second has taken the place of the first"
    assert scores(other, "two") == second
    assert scores(fresh) == first and mapped(fresh) == set() and len(mapped(other)) == 1
    assert 'model "for_you" is served from private memory' in cluster.log.read_text()
    leave(other)
    fresh.run("SELECT pg_sleep(10)")
    assert scores(fresh) == first and len(files(cluster)) == 1
    assert mapped(fresh) == {str(only(cluster).stat().st_ino)}
    assert cluster.log.read_text().count("is served from private memory") == 1


def test_an_idle_connection_maps_nothing(cluster):
    """After a commit, an abort, an error that took the timer away, and while it does other things; its answers stay."""
    session = database(cluster)
    before = everything(session)
    idle_after(cluster, IDLE)
    fresh = cluster.session()

    def gone():
        return mapped(fresh) == set()

    same(everything(fresh), before)
    assert len(mapped(fresh)) == 1
    eventually(gone, IDLE + 1)
    same(everything(fresh), before)
    for end in ("SELECT 1/0", "BEGIN; SELECT 1; ROLLBACK", "PREPARE p AS SELECT 1; DISCARD ALL"):
        scores(fresh)
        assert len(mapped(fresh)) == 1
        try:
            fresh.run(end)
        except SqlError as error:
            assert error.sqlstate == "22012"
        eventually(gone, IDLE + 1)
    # An error within a savepoint is the end of no transaction, and takes the timer away.
    scores(fresh)
    fresh.run("BEGIN; SAVEPOINT a")
    scores(fresh)
    assert fresh.error("SELECT 1/0").sqlstate == "22012"
    fresh.run("ROLLBACK TO a; COMMIT")
    assert len(mapped(fresh)) == 1
    eventually(gone, IDLE + 1)
    # Nor do errors that come again and again, each of which takes the timer away.
    scores(fresh)
    deadline = time.monotonic() + 3 * IDLE
    while time.monotonic() < deadline and not gone():
        assert fresh.error("SELECT 1/0").sqlstate == "22012"
        time.sleep(IDLE / 5)
    assert gone()
    # A connection that is never idle and is not served from this model any more.
    first = scores(fresh)
    deadline = time.monotonic() + 2 * IDLE
    while time.monotonic() < deadline and not gone():
        fresh.run("SELECT 1")
    assert gone()
    # One that is never idle and is served keeps its map.
    scores(fresh)
    inode = mapped(fresh)
    deadline = time.monotonic() + 3 * IDLE
    while time.monotonic() < deadline:
        assert scores(fresh) == first and mapped(fresh) == inode
    # 0 keeps it.
    idle_after(cluster, 0)
    keeps = cluster.session()
    scores(keeps)
    time.sleep(2 * IDLE)
    assert len(mapped(keeps)) == 1


def test_idle_in_a_transaction(cluster):
    """A transaction keeps what it was served from, deleted or not, however long it waits; its end lets go."""
    session = database(cluster)
    idle_after(cluster, 0.3)
    old = cluster.session()
    scores(old)
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = everything(old)
    for factors in (33, 34, 35):
        big(session, factors=factors)
    time.sleep(1)
    assert len(mapped(old)) == 1 and taken(cluster)[1] == set()
    same(everything(old), before)
    assert scores(old) != scores(session)
    old.run("COMMIT")
    eventually(lambda: mapped(old) == set(), 2)
    assert scores(old) == scores(session)
    # The file of the deleted version goes with the next one.
    big(session, factors=36)
    assert len(files(cluster)) == 2


def test_two_versions(cluster):
    """Deploy and rollback: within a transaction both versions stay, after it only the one that was served last."""
    session = database(cluster)
    first = scores(session)
    big(session, factors=33)
    second = scores(session)
    assert len(mapped(session)) == 1
    session.run("BEGIN")
    assert scores(session) == second
    session.run("SELECT persona.rollback('for_you')")
    assert scores(session) == first and len(mapped(session)) == 2
    session.run("SELECT persona.deploy('for_you', 2)")
    assert scores(session) == second and len(mapped(session)) == 2
    session.run("ROLLBACK")
    assert len(mapped(session)) == 1 and scores(session) == second
    session.run("SELECT persona.rollback('for_you')")
    assert scores(session) == first and len(mapped(session)) == 1 and len(files(cluster)) == 2


def test_the_last_part_of_a_disk(cluster):
    """A file that would leave less than 128 MB of a disk is not written; with more space it is, some seconds later."""
    session = database(cluster)
    first, folder = scores(session), Path(cluster.data) / "base/pgsql_tmp"
    leave(session)
    become = [] if os.getuid() == 0 else ["sudo"]
    mount = [*become, "mount", "-t", "tmpfs", "-o", "size=140m,mode=0777", "tmpfs", folder]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        print("       skipped: no file system can be mounted here", flush=True)
        return
    try:
        fresh = cluster.session()
        assert scores(fresh) == first and mapped(fresh) == set() and files(cluster) == {}
        assert "The disk has 140 MB free, and 128 MB of it are not for shared images." in cluster.log.read_text()
        subprocess.run([*become, "mount", "-o", "remount,size=160m", folder], check=True)
        assert scores(fresh) == first and mapped(fresh) == set(), "not at once"
        assert scores(cluster.session()) == first and len(files(cluster)) == 1
        fresh.run("SELECT pg_sleep(10)")
        assert scores(fresh) == first and len(mapped(fresh)) == 1
    finally:
        for each in cluster.sessions:
            each.close()
        subprocess.run([*become, "umount", "-l", folder], check=True)


def test_a_storm_of_timers(cluster):
    """With a time of 1 ms the timer strikes between and within statements, beside new versions: the same answers throughout."""
    session = database(cluster)
    queries = ("recommend('for_you', 7, 5)", "similar_items('for_you', 'item-03', 5)", "similar_users('for_you', 7, 5)", "popular_items('for_you', 5)")

    def answers(session):
        return {query: session.run(f"SELECT * FROM persona.{query}") for query in queries}

    before = answers(session)
    idle_after(cluster, 0.001)
    pool = [cluster.session() for _ in range(3)]
    deadline = time.monotonic() + 8
    maps, rounds = set(), 0
    while time.monotonic() < deadline:
        for each in pool:
            same(answers(each), before)
            each.run("BEGIN")
            same(answers(each), before)
            maps.add(("within", len(mapped(each))))
            each.run("ROLLBACK")
            time.sleep(0.005)
            maps.add(("after", len(mapped(each))))
            rounds += 1
    assert rounds > 3 and ("after", 0) in maps and ("within", 0) not in maps, (rounds, maps)
    # Versions come and go meanwhile.
    for factors in (33, 34, 35):
        session.start(f"""SELECT version FROM persona.train_als('for_you', 'many', 'user_id', 'item_id', value_column => 'weight', time_column => 'at',
          deploy => 'always', iterations => 1, holdout => 'none', factors => {factors})""")
        while session.busy():
            assert all(len(scores(each)) == 3 for each in pool)
        session.wait()
        newest = scores(session)
        assert all(scores(each) == newest for each in pool)
    assert taken(cluster)[1] == set()


def test_where_threads_are_refused(cluster):
    """A new connection writes and checks a file itself, and can be cancelled."""
    session = database(cluster)
    first = scores(session)
    leave(session)

    def alone():
        fresh = cluster.session()
        # As the server's user: it has other processes, and nobody else may be allowed to.
        cluster.command(shutil.which("prlimit"), "--nproc=1", "--pid", str(fresh.pid))
        return fresh

    os.unlink(only(cluster))
    fresh = alone()
    assert scores(fresh) == first and len(mapped(fresh)) == 1 == len(files(cluster))
    assert int(fresh.value("SELECT persona.prewarm('for_you')")) > 8 << 20
    # From private memory too.
    fresh = alone()
    fresh.run("LOAD 'pg_persona'; SET persona.max_image_cache = 0")
    assert scores(fresh) == first and mapped(fresh) == set()
    cancelled = 0
    for milliseconds in range(1, 41):
        for path in files(cluster).values():
            os.unlink(path)
        fresh = alone()
        fresh.run(f"SET statement_timeout = {milliseconds}")
        try:
            fresh.run("SELECT * FROM persona.recommend('for_you', 7)")
        except SqlError as error:
            assert error.sqlstate == "57014", error.text
            cancelled += 1
        fresh.run("RESET statement_timeout")
        assert scores(fresh) == first
        leave(fresh)
    assert cancelled > 0
