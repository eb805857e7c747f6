"""Models of 8 MB and more are served from one file that all connections map: who writes it, and what befalls it."""

import os
import subprocess
import time
from pathlib import Path

from cluster import SqlError, alive
from models import PARALLEL, extension, same, scores, serving, train
from test_survival import hold

PREFIX = "pgsql_tmp_persona."


def big(session, model="for_you", users=100_003, **options):
    """A model of about 20 MB whose versions differ by their `factors`."""
    if session.value("SELECT to_regclass('many')") is None:
        session.run(f"""
            CREATE TABLE many AS
            SELECT g * 7919 % {users} AS user_id, 'item-' || lpad((g * 31 % 997 % 100)::text, 2, '0') AS item_id, 1 AS weight,
                   timestamptz '2024-01-01 00:00+00' + g * interval '1 second' AS at
            FROM generate_series(1::bigint, {users * 3}) g""")
    options = {"iterations": 1, "holdout": "none", "factors": 32, **options}
    return train(session, model, "many", **options)


def database(cluster):
    """A session in a database with the model; the server runs with a lock on nothing."""
    session = cluster.session()
    session.run("CREATE EXTENSION IF NOT EXISTS pg_persona")
    big(session)
    return session


def files(cluster):
    """The image files of a server, by name."""
    found = Path(cluster.data).glob(f"base/pgsql_tmp/{PREFIX}*.*.*")
    return {path.name: path for path in found if not path.name.startswith(f"{PREFIX}progress")}


def only(cluster):
    (path,) = files(cluster).values()
    return path


def mapped(session):
    """Inodes of the image files that a session's backend has mapped."""
    lines = Path(f"/proc/{session.pid}/maps").read_text().splitlines()
    return {line.split()[4] for line in lines if PREFIX in line}


def leave(session):
    """Closes a session and waits until its backend has gone, and with it what it had mapped."""
    session.close()
    while alive(session.pid):
        time.sleep(0.01)


def written(session):
    """Bytes that a session's backend has passed to write()."""
    facts = dict(line.split(": ") for line in Path(f"/proc/{session.pid}/io").read_text().splitlines())
    return int(facts["wchar"])


def everything(session):
    """What every serving function answers from the model."""
    queries = {name: sql for name, sql in serving().items() if name != "evaluate"}
    queries["user_factors"] = "SELECT md5(string_agg(u::text, '')) FROM persona.user_factors('for_you') u"
    return {name: session.run(sql) for name, sql in queries.items()}


def damage(path, offset):
    """Overwrites some bytes of a file in place."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 4096)


def stop_while_writing(cluster, session):
    """Lets the session serve and holds its backend when it has written all of the file and not yet published it."""
    hold(cluster, session, "image written", "SELECT item_id, score FROM persona.recommend('for_you', 7, 3)")


def test_one_file_for_all_connections(cluster):
    """Twenty connections that need a new version at once write one file and map it; training has written it already."""
    session = database(cluster)
    path, size = only(cluster), int(session.value("SELECT bytes FROM for_you"))
    assert path.stat().st_size == size and path.stat().st_mode & 0o777 == 0o600
    assert mapped(session) == set(), "a training needs no map"
    first = scores(session)
    assert mapped(session) == {str(path.stat().st_ino)}
    os.unlink(path)
    many = [cluster.session() for _ in range(20)]
    before = sum(written(each) for each in many)
    for each in many:
        each.start("SELECT item_id, score FROM persona.recommend('for_you', 7, 3)")
    assert all(each.wait() == first for each in many)
    assert sum(written(each) for each in many) - before < 1.5 * size
    assert {inode for each in many for inode in mapped(each)} == {str(only(cluster).stat().st_ino)}
    # An image below 8 MB has no file.
    big(session, "small", factors=4)
    assert len(scores(session, "small")) == 3 and len(files(cluster)) == 1


def test_a_file_removed_while_it_is_served(cluster):
    """Who has it mapped keeps it; the next connection writes it again."""
    session = database(cluster)
    before = everything(session)
    os.unlink(only(cluster))
    same(everything(session), before)
    assert files(cluster) == {}
    same(everything(cluster.session()), before)
    assert len(files(cluster)) == 1


def test_waiters_and_a_writer_that_ends(cluster):
    """A waiter can be cancelled; where the writer is terminated half way another one takes over."""
    cluster.faults()
    session = database(cluster)
    first = scores(session)
    os.unlink(only(cluster))
    writer, waiter, third = cluster.session(), cluster.session(), cluster.session()
    stop_while_writing(cluster, writer)
    waiter.run("SET statement_timeout = 300")
    begin = time.monotonic()
    assert waiter.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "57014"
    assert time.monotonic() - begin < 1.3
    third.start("SELECT item_id, score FROM persona.recommend('for_you', 7, 3)")
    time.sleep(0.2)
    assert third.busy()
    session.run(f"SELECT pg_terminate_backend({writer.pid})")
    assert third.wait() == first
    try:
        writer.wait()
    except SqlError as error:
        assert error.sqlstate == "57P01"
    assert [name for name in files(cluster) if name.endswith(".new")] == []
    assert scores(waiter) == first


def test_a_killed_writer(cluster):
    """kill -9 of the backend that writes: the server restarts without the file, and the next request writes it."""
    cluster.faults()
    session = database(cluster)
    first = scores(session)
    os.unlink(only(cluster))
    writer = cluster.session()
    stop_while_writing(cluster, writer)
    cluster.kill(writer)
    assert files(cluster) == {}
    session = cluster.session()
    assert scores(session) == first and len(files(cluster)) == 1


def test_cancel_of_a_writer(cluster):
    """A writer that is cancelled leaves no part of a file, and nobody in the way."""
    session = database(cluster)
    first = scores(session)
    left = 0
    for milliseconds in range(1, 41):
        for path in files(cluster).values():
            os.unlink(path)
        fresh = cluster.session()
        fresh.run(f"SET statement_timeout = {milliseconds}")
        try:
            fresh.run("SELECT * FROM persona.recommend('for_you', 7)")
        except SqlError as error:
            assert error.sqlstate == "57014"
            left += 1
        assert [name for name in files(cluster) if name.endswith(".new")] == []
        fresh.run("RESET statement_timeout")
        assert scores(fresh) == first
        fresh.close()
    assert left > 0, "no writer was cancelled"


def test_crash_restart(cluster):
    """A crash and a restart remove the files; what is served afterwards is the same."""
    session = database(cluster)
    before = everything(session)
    cluster.kill(cluster.session())
    assert files(cluster) == {}
    same(everything(cluster.session()), before)
    for mode in ("immediate", "fast"):
        cluster.restart(mode)
        assert files(cluster) == {}
        same(everything(cluster.session()), before)
    assert "unexpected file found" not in cluster.log.read_text()


def test_damaged_files(cluster):
    """A file that is damaged where it is looked at is written again at once; prewarm finds damage anywhere."""
    session = database(cluster)
    before, size = everything(session), int(session.value("SELECT bytes FROM for_you"))
    session.close()
    for what in ("header", "table", "short", "long", "empty", "hole"):
        path = only(cluster)
        if what in ("header", "table"):
            damage(path, 0 if what == "header" else 64)
        elif what == "hole":
            # Of the right length, all zeros: what an unsafe rename leaves after a power failure.
            os.truncate(path, 0)
            os.truncate(path, size)
        else:
            os.truncate(path, {"short": size - 4096, "long": size + 64, "empty": 0}[what])
        same(everything(cluster.session()), before)
        assert only(cluster).stat().st_size == size
        for each in cluster.sessions:
            each.close()
    # A valid header and damaged contents: wrong answers perhaps, but answers, from every function.
    for part in range(1, 20):
        damage(only(cluster), size * part // 20)
    session = cluster.session()
    for name in ("recommend('for_you', 7, 5)", "recommend('for_you', 7000000, 5)", "similar_items('for_you', 'item-03', 5)",
                 "recommend_for_items('for_you', '{item-03,item-04}', 5)", "similar_users('for_you', 7, 5)",
                 "popular_items('for_you', 5)", "item_factors('for_you')", "user_factors('for_you')"):  # fmt: skip
        try:
            session.run(f"SELECT * FROM persona.{name}")
        except SqlError as error:
            # Ids that are no text any more.
            assert error.sqlstate in ("22021", "XX001"), (name, error.text)
    assert session.value("SELECT persona.prewarm('for_you')") == str(size)
    same(everything(session), before)
    same(everything(cluster.session()), before)


def test_damaged_data_do_not_go_live(cluster):
    """Stored pieces that were damaged are found when the file is written: XX001, no file, the old version serves."""
    cluster.expect("XX001")
    session = database(cluster)
    first = scores(session)
    big(session, factors=33, deploy="never")
    # Corruption on disk, as seen by the library.
    session.run("""UPDATE persona_internal.chunk SET payload = set_byte(payload, 5000, 255 - get_byte(payload, 5000))
                   WHERE ordinal = 400 AND image_id = (SELECT image_id FROM persona_internal.version WHERE version = 2)""")
    assert session.error("SELECT persona.deploy('for_you', 2)").sqlstate == "XX001"
    assert scores(cluster.session()) == first and len(files(cluster)) == 1


def test_no_space(cluster):
    """A full file system: served from private memory within its limit, else 53100; with space again, from the file."""
    session = database(cluster)
    first, folder = scores(session), Path(cluster.data) / "base/pgsql_tmp"
    become = [] if os.getuid() == 0 else ["sudo"]
    subprocess.run([*become, "mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", folder], check=True)
    try:
        fresh = cluster.session()
        assert scores(fresh) == first and mapped(fresh) == set() and files(cluster) == {}
        # Nobody asked is told; who runs the server is.
        assert fresh.notices == "" and 'model "for_you" is served from private memory' in cluster.log.read_text()
        fresh = cluster.session()
        fresh.run("LOAD 'pg_persona'; SET persona.max_memory = '16MB'")
        error = fresh.error("SELECT * FROM persona.recommend('for_you', 7)")
        assert error.sqlstate == "53100" and "MB of it are not for shared images" in error.text and "persona.max_image_cache" in error.text
        assert files(cluster) == {}
        assert scores(session) == first
        # A training needs no file either, and leaves no part of one.
        assert big(session, factors=33) == [("2", "t")] and files(cluster) == {}
        second = scores(session)
        assert second != first
        subprocess.run([*become, "mount", "-o", "remount,size=256m", folder], check=True)
        assert scores(fresh) == second and len(files(cluster)) == 1 and len(mapped(fresh)) == 1
    finally:
        for each in cluster.sessions:
            each.close()
        subprocess.run([*become, "umount", "-l", folder], check=True)


def test_the_limit_of_all_files(cluster):
    """persona.max_image_cache bounds the files: what was opened longest ago makes room; 0 maps nothing."""
    session = database(cluster)
    size = int(session.value("SELECT bytes FROM for_you"))
    for model in ("two", "three"):
        big(session, model, factors=32)
    of = {model: session.value(f"""SELECT image_id FROM persona_internal.version JOIN persona_internal.model USING (model_id)
                                   WHERE last_name = 'public.{model}'""").replace("-", "") for model in ("for_you", "two", "three")}  # fmt: skip

    def there():
        return {model for model, image in of.items() if any(image in name for name in files(cluster))}

    assert there() == {"for_you", "two", "three"}
    time.sleep(0.05)
    fresh = cluster.session()
    before = {model: scores(fresh, model) for model in ("two", "for_you", "three")}
    leave(fresh)
    cluster.configure({"persona.max_image_cache": f"{size * 5 // 2 >> 10}kB"})
    session.run("SELECT pg_reload_conf()")
    for path in files(cluster).values():
        if of["three"] in path.name:
            os.unlink(path)
    # "two" was opened before "for_you".
    fresh = cluster.session()
    assert scores(fresh, "three") == before["three"] and there() == {"for_you", "three"}
    assert scores(session) == before["for_you"]
    # A limit below one image: private memory.
    for limit in ("1MB", "0"):
        fresh = cluster.session()
        fresh.run(f"LOAD 'pg_persona'; SET persona.max_image_cache = '{limit}'")
        assert scores(fresh, "two") == before["two"] and mapped(fresh) == set()
        fresh.run("SET persona.max_memory = '4MB'")
        fresh = cluster.session()
        fresh.run(f"LOAD 'pg_persona'; SET persona.max_image_cache = '{limit}'; SET persona.max_memory = '4MB'")
        error = fresh.error("SELECT * FROM persona.recommend('two', 7)")
        assert (error.sqlstate, "persona.max_memory" in error.text) == ("53100" if limit != "0" else "53200", True), error.text
    session.run("CREATE ROLE mallory LOGIN")
    assert cluster.session(user="mallory").error("LOAD 'pg_persona'; SET persona.max_image_cache = 0").sqlstate == "42501"


def test_files_of_dead_versions(cluster):
    """Deleted versions, dropped models and databases, and trainings that were rolled back leave no file for long."""
    session = database(cluster)
    scores(session)
    for factors in (33, 34, 35):
        big(session, factors=factors)
        assert len(files(cluster)) <= 2, "the live version and the one before"
    before = files(cluster)
    session.run("BEGIN; SELECT persona.drop_model('for_you'); ROLLBACK")
    assert files(cluster) == before
    session.run("BEGIN")
    big(session, factors=36)
    uncommitted = set(files(cluster)) - set(before)
    assert len(uncommitted) == 1
    session.run("ROLLBACK")
    # Its image is nobody's; the next one to write removes it.
    big(session, factors=37)
    assert not uncommitted & set(files(cluster)) and len(files(cluster)) == 2
    session.run("SELECT persona.drop_model('for_you')")
    assert files(cluster) == {}
    other = cluster.database("other")
    extension(other)
    big(other)
    assert len(files(cluster)) == 1
    for each in cluster.sessions:
        each.close()
    session = cluster.session()
    session.run("DROP DATABASE other")
    big(session)
    assert len(files(cluster)) == 1
    # Old versions are not kept mapped beyond the transaction.
    for factors in (34, 35, 36, 37):
        big(session, factors=factors)
        scores(session)
    assert len(mapped(session)) == 1


def test_an_old_snapshot(cluster):
    """A snapshot that sees a deleted version keeps its file, or writes it again, and the newest version keeps its own."""
    one, two = database(cluster), cluster.session()
    two.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    first = scores(two)
    old = only(cluster).name
    for factors in (33, 34, 35):
        big(one, factors=factors)
    other = cluster.session()
    newest = scores(other)
    # Its mapping would keep the file of a version that is deleted later.
    other.close()
    assert old in files(cluster) and scores(two) == first
    two.run("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    live = scores(one)
    for factors in (36, 37, 38):
        big(one, factors=factors)
    names = set(files(cluster))
    assert scores(two) == live == newest
    serving = one.value("SELECT replace(image_id::text, '-', '') FROM persona_internal.deployment ORDER BY deployment_id DESC LIMIT 1")
    assert len(set(files(cluster)) - names) <= 1 and any(serving in name for name in files(cluster))
    two.run("COMMIT")
    assert scores(two) == scores(one) != live


def test_in_a_parallel_worker(cluster):
    """A parallel worker that needs the file writes it."""
    session = database(cluster)
    first = scores(session)
    session.close()
    os.unlink(only(cluster))
    session = cluster.session()
    session.run(PARALLEL)
    assert session.run("SELECT item_id, score FROM for_you_recommend(7, 3)") == first
    assert mapped(session) == set() and len(files(cluster)) == 1


def test_on_a_standby(cluster):
    """A standby writes files of its own, follows deploys and drops, takes prewarm, and goes on after a promotion."""
    primary = database(cluster)
    standby = cluster.standby()
    assert files(standby) == {}, "a base backup carries none"
    cluster.catch_up(standby)
    reader = standby.session()
    same(everything(reader), everything(primary))
    assert len(files(standby)) == 1 and len(mapped(reader)) == 1
    for factors in (33, 34, 35):
        big(primary, factors=factors)
        cluster.catch_up(standby)
        other = standby.session()
        assert other.value("SELECT persona.prewarm('for_you')") == primary.value("SELECT bytes FROM for_you")
        leave(other)
        assert scores(reader) == scores(primary)
        assert len(files(standby)) <= 2
    last = scores(reader)
    os.unlink(next(iter(files(standby).values())))
    cluster.stop("immediate")
    standby.promote()
    assert scores(reader) == last == scores(standby.session())
    assert big(reader, factors=36) == [("5", "t")]
    assert scores(standby.session()) == scores(reader) != last


def test_prewarm(cluster):
    """For whoever may be served; 42501 for others, 42704 without a model, 55000 without a version."""
    session = database(cluster)
    session.run("CREATE ROLE web LOGIN; CREATE ROLE mallory LOGIN; GRANT USAGE ON SCHEMA persona TO web, mallory; GRANT SELECT ON for_you TO web")
    assert cluster.session(user="web").value("SELECT persona.prewarm('for_you')") == session.value("SELECT bytes FROM for_you")
    assert cluster.session(user="mallory").error("SELECT persona.prewarm('for_you')").sqlstate == "42501"
    assert session.error("SELECT persona.prewarm('nobody')").sqlstate == "42704"
    assert session.error("SELECT persona.prewarm(NULL)").sqlstate == "22004"
    big(session, "waiting", factors=5, deploy="never")
    assert session.error("SELECT persona.prewarm('waiting')").sqlstate == "55000"
    # It takes no transaction id and works where nothing may be written.
    session.run("BEGIN READ ONLY; SELECT persona.prewarm('for_you')")
    assert session.value("SELECT pg_current_xact_id_if_assigned()") is None
    session.run("COMMIT")


def private(session):
    """Bytes of memory that the session's backend shares with nobody, files and page tables apart."""
    lines = Path(f"/proc/{session.pid}/smaps_rollup").read_text().splitlines()[1:]
    facts = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
    return facts["Pss_Anon"]


def test_fifty_connections(cluster):
    """400 MB for fifty connections: one copy, at most 2 MB of private memory each, and a first answer without a wait."""
    session = cluster.session()
    extension(session)
    session.run("LOAD 'pg_persona'; SET persona.max_memory = '4GB'")
    big(session, users=1_180_021, factors=64)
    size = int(session.value("SELECT bytes FROM for_you"))
    assert size > 400 << 20, size
    first = scores(session)
    before, after, seconds, many = [], [], [], [cluster.session() for _ in range(50)]
    for each in many:
        before.append(private(each))
        begin = time.monotonic()
        assert scores(each) == first
        seconds.append(time.monotonic() - begin)
        for user in range(20):
            each.run(f"SELECT * FROM persona.recommend('for_you', {user * 977})")
    after = [private(each) for each in many]
    more = [b - a for a, b in zip(before, after)]
    seconds.sort()
    print(
        f"       {size >> 20} MB: private memory {max(after) / 2**20:.2f} MB at most, {max(more) / 2**20:.2f} MB of it by serving; "
        f"first answer p50 {seconds[25] * 1000:.1f} ms, max {seconds[-1] * 1000:.1f} ms",
        flush=True,
    )
    assert max(more) <= 2 << 20, more
    assert len({inode for each in many for inode in mapped(each)}) == 1
    # 5 ms on a quiet machine, library loaded and all; a copy of the image would take 200 ms.
    assert seconds[25] < 0.05, seconds
