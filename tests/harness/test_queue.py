"""Models that follow their source: what is queued, by whom, through crashes, dumps and replication; no statement ever fails of it."""

import random
import threading
import time

from cluster import SqlError
from models import extension, interactions, train
from test_cancel import highest
from test_dumps import dump, restore
from test_races import until_blocked
from test_survival import hold, marker

QUEUE = "SELECT pending, lost FROM persona.queue WHERE model ~ 'for_you'"
EMPTY, LOST = [("0", "f")], [("0", "t")]
WORK = "CALL persona.work_queue()"


def attached(session):
    """A model that follows `events`, up to date."""
    interactions(session, rows=2000)
    train(session, iterations=2, holdout="none")
    session.run("SELECT persona.attach('for_you')")
    assert session.run(QUEUE) == LOST
    session.run(WORK)
    assert session.run(QUEUE) == EMPTY


def insert(user):
    return f"INSERT INTO events SELECT {user}, item_id, 1, now() FROM events WHERE user_id = 7"


def known(session, *users):
    """Which of the users the model has learned."""
    return {user for user in users if session.value(f"SELECT source FROM persona.recommend('for_you', {user}, 1)") == "model"}


def release(cluster, session):
    marker(cluster, session).unlink()


def test_late_commits(cluster):
    """Rows of a transaction that ends after a work-off began come with the next one, however old they are."""
    cluster.faults()
    session, late, worker = cluster.session(), cluster.session(), cluster.session()
    attached(session)
    late.run("BEGIN; " + insert(1001))
    session.run(insert(1002))
    session.run(WORK)
    assert known(session, 1001, 1002) == {1002} and session.run(QUEUE) == EMPTY
    late.run("COMMIT")
    assert session.run(QUEUE) == [("1", "f")]
    # Committed while the work-off holds what it has read.
    late.run("BEGIN; " + insert(1003))
    hold(cluster, worker, "encoded", WORK)
    late.run("COMMIT")
    late.run(insert(1004))
    release(cluster, worker)
    worker.wait()
    assert known(session, 1001, 1003, 1004) == {1001} and session.run(QUEUE) == [("2", "f")]
    session.run(WORK)
    assert known(session, 1003, 1004) == {1003, 1004} and session.run(QUEUE) == EMPTY


def test_nobody_waits(cluster):
    """Writers wait for no other writer and for no work-off; a second worker leaves out what the first one trains."""
    cluster.faults()
    session, other, worker = cluster.session(), cluster.session(), cluster.session()
    attached(session)
    other.run("SET statement_timeout = '5s'; SET lock_timeout = '1s'")
    session.run("BEGIN; " + insert(1001))
    other.run(insert(1001))
    hold(cluster, worker, "published", WORK)
    other.run(insert(1002))
    session.run("COMMIT")
    assert other.run(QUEUE) == [("3", "f")]
    # Busy is no error and no warning.
    other.run(WORK)
    assert other.notices == "" and other.run(QUEUE) == [("3", "f")]
    release(cluster, worker)
    worker.wait()
    assert other.run(QUEUE) == [("2", "f")]
    other.run("RESET statement_timeout")
    other.run(WORK)
    assert known(other, 1001, 1002) == {1001, 1002}


def test_writers_and_workers(cluster):
    """Six sessions write, commit, roll back and hold transactions open, two work off: at the end nobody is forgotten."""
    session = cluster.session()
    extension(session)
    attached(session)
    committed, problems, over = set(), [], threading.Event()

    def write(number):
        mine, chance = cluster.session(), random.Random(number)
        try:
            for step in range(25):
                user = 2000 + number * 100 + step
                mine.run("BEGIN; " + insert(user))
                time.sleep(chance.random() * 0.05)
                keep = chance.random() < 0.8
                mine.run("COMMIT" if keep else "ROLLBACK")
                if keep:
                    committed.add(user)
        except Exception as error:
            problems.append(error)

    def work():
        mine = cluster.session()
        try:
            while not over.is_set():
                mine.run(WORK)
                if mine.notices:
                    problems.append(mine.notices)
        except SqlError as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    workers = [threading.Thread(target=work) for _ in range(2)]
    for thread in writers + workers:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in workers:
        thread.join()
    assert not problems, problems
    # Nobody read everything, which a worker that finds the other one at work must not do either.
    whole = "SELECT version FROM persona_internal.version WHERE version > 2 AND NOT hyperparameters ? 'updated_from'"
    assert session.run(whole) == []
    # A version that did not go live leaves the queue; one that must, empties it.
    session.run("SELECT persona.retrain('for_you', '{\"deploy\": \"always\"}') FROM persona.queue WHERE oldest IS NOT NULL")
    assert session.run(QUEUE) == EMPTY
    everybody = {2000 + number * 100 + step for number in range(6) for step in range(25)}
    assert len(committed) > 60 and known(session, *everybody) == committed


def test_statements_older_than_a_training(cluster):
    """What began before another session's work-off, and gets the lock after it, forgets nothing that that one has read."""
    session, slow = cluster.session(), cluster.session()
    extension(session)
    attached(session)
    again = "train_als('for_you', 'events', 'user_id', 'item_id', value_column => 'weight', time_column => 'at', deploy => 'always')"
    calls = ("update_model('for_you')", "retrain('for_you')", again)
    for number, call in enumerate(calls):
        came, went = 1001 + 10 * number, 1002 + 10 * number
        session.run(insert(went) + "; SELECT pg_advisory_lock(1)")
        slow.start(f"SELECT pg_advisory_lock(1), persona.{call}")
        until_blocked(cluster)
        session.run(f"{insert(came)}; DELETE FROM events WHERE user_id = {went}")
        session.run(WORK)
        assert known(session, came, went) == {came} and session.run(QUEUE) == EMPTY
        session.run("SELECT pg_advisory_unlock(1)")
        slow.wait()
        slow.run("SELECT pg_advisory_unlock(1)")
        assert known(session, came, went) == {came} and session.run(QUEUE) == EMPTY, (call, session.run(QUEUE))
        # The snapshot of a whole transaction cannot be renewed.
        session.run(insert(came))
        slow.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events")
        session.run(f"DELETE FROM events WHERE user_id = {came}")
        session.run(WORK)
        assert slow.error(f"SELECT persona.{call}").sqlstate == "40001", call
        slow.run("ROLLBACK")


def warned(session, sql):
    """Runs a statement that succeeds and warns once."""
    session.run(sql)
    assert session.notices.count("WARNING:") == 1, session.notices
    return session.notices


def test_what_goes_wrong_is_a_warning(cluster):
    """An error or a panic in the trigger, and a queue that is gone, never fail the statement; a cancel does."""
    cluster.expect("fault point ")
    cluster.faults()
    session, watch = cluster.session(), cluster.session()
    attached(session)
    count = "SELECT count(*) FROM events WHERE user_id = 1001"
    rows = 0
    for action in ("error", "panic"):
        session.run(f"SET persona.fault = 'queue:{action}'")
        said = warned(session, insert(1001))
        assert "fault point queue" in said and "reads the whole source" in said, said
        rows += 20
        assert session.value(count) == str(rows) and watch.run(QUEUE) == LOST
        # Within a transaction, which goes on.
        session.run("BEGIN; CREATE TABLE kept (a int)")
        warned(session, insert(1001))
        session.run("SAVEPOINT s")
        warned(session, insert(1001))
        session.run("ROLLBACK TO s; COMMIT; DROP TABLE kept")
        rows += 20
        assert session.value(count) == str(rows)
        session.run("RESET persona.fault")
        session.run(WORK)
        assert session.run(QUEUE) == EMPTY and known(session, 1001) == {1001}
    # Not even the mark: told in the one warning.
    session.run("ALTER TABLE events RENAME user_id TO who; SET persona.fault = 'mark:error'")
    said = warned(session, "INSERT INTO events SELECT * FROM events LIMIT 1")
    assert "does not exist" in said and "Not even that" in said, said
    session.run("RESET persona.fault; ALTER TABLE events RENAME who TO user_id")
    for table in ("queue", "attachment", "model"):
        session.run(f"ALTER TABLE persona_internal.{table} RENAME TO away")
        assert "Not even that" in warned(session, insert(1001)) or table == "model"
        session.run(f"ALTER TABLE persona_internal.away RENAME TO {table}")
    assert session.run(QUEUE) == EMPTY
    # Cancels and terminations pass.
    hold(cluster, session, "queue", insert(1009))
    watch.run(f"SELECT pg_cancel_backend({session.pid})")
    try:
        session.wait()
        raise AssertionError("the statement was not cancelled")
    except SqlError as error:
        assert error.sqlstate == "57014"
    assert watch.value("SELECT count(*) FROM events WHERE user_id = 1009") == "0"
    hold(cluster, session, "queue", insert(1009))
    watch.run(f"SELECT pg_terminate_backend({session.pid})")
    try:
        session.wait()
        raise AssertionError("the session goes on")
    except SqlError as error:
        assert error.sqlstate in ("57P01", "08006")


def test_crashes(cluster):
    """A crash in the trigger loses the statement with its queue; one in a work-off keeps the queue with the old version."""
    cluster.faults()
    session = cluster.session()
    attached(session)
    session.run("SET persona.fault = 'queue:kill'")
    session.start(insert(1001))
    cluster.recovered(session.pid)
    session = cluster.session()
    assert session.value("SELECT count(*) FROM events WHERE user_id = 1001") == "0" and session.run(QUEUE) == EMPTY
    session.run(insert(1001))
    for point in ("encoded", "after deployment", "published"):
        session.run(f"SET persona.fault = '{point}:kill'")
        session.start(WORK)
        cluster.recovered(session.pid)
        session = cluster.session()
        assert session.run(QUEUE) == [("1", "f")] and known(session, 1001) == set(), point
    session.run(WORK)
    assert session.run(QUEUE) == EMPTY and known(session, 1001) == {1001}


def test_dump(cluster):
    """A dump by the owner of the database has triggers, attachment and queue: what waited there waits here."""
    cluster.session().run("CREATE ROLE keeper LOGIN CREATEDB; CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    cluster.session("shop").run("GRANT USAGE ON SCHEMA persona TO PUBLIC")
    keeper = cluster.session("shop", "keeper")
    attached(keeper)
    keeper.run(insert(1001))
    keeper.run("ALTER TABLE events RENAME TO happened; ALTER VIEW for_you RENAME TO for_you_too")
    copy = restore(cluster, dump(cluster, "-Fc"))
    assert copy.run(QUEUE) == [("1", "f")]
    # The spec names the table by the name that it had.
    assert [message for (message,) in copy.run("SELECT message FROM persona.check()")] == ["its source public.events does not exist"]
    copy = cluster.session("copy", "keeper")
    copy.run("ALTER TABLE happened RENAME TO events; ALTER VIEW for_you_too RENAME TO for_you")
    assert copy.run("SELECT * FROM persona.check()") == []
    copy.run(insert(1002))
    assert copy.notices == "" and copy.run(QUEUE) == [("2", "f")]
    copy.run(WORK)
    assert copy.run(QUEUE) == EMPTY and known(copy, 1001, 1002) == {1001, 1002}
    copy.run("SELECT persona.detach('for_you')")
    assert copy.value("SELECT count(*) FROM pg_trigger WHERE tgname ~ '^persona_'") == "0"
    # Section by section, and as data into what is there: the triggers queue what the restore brings in.
    keeper.run("ALTER TABLE happened RENAME TO events; ALTER VIEW for_you_too RENAME TO for_you")
    path = dump(cluster, "-Fc", "-t", "events", "--data-only")
    keeper.run("TRUNCATE events")
    cluster.command("pg_restore", *cluster.address(), "-e", "-d", "shop", path)
    assert keeper.value("SELECT pending > 90 AND lost FROM persona.queue") == "t"


def test_subscriber(cluster):
    """With the option `replica`, what logical replication brings in is queued as well; without it, nothing is."""
    cluster.configure({"wal_level": "logical", "wal_retrieve_retry_interval": "100ms"})
    cluster.restart()
    publisher, subscriber = cluster.database("publisher"), cluster.database("subscriber")
    interactions(publisher, rows=1000)
    publisher.run("ALTER TABLE events REPLICA IDENTITY FULL; CREATE PUBLICATION shop FOR TABLE events")
    extension(subscriber)
    attached(subscriber)
    publisher.run("SELECT pg_create_logical_replication_slot('shop', 'pgoutput')")
    subscriber.run(f"""
        CREATE SUBSCRIPTION shop CONNECTION 'host={cluster.host} port={cluster.port} user=postgres dbname=publisher'
        PUBLICATION shop WITH (create_slot = false, slot_name = 'shop', copy_data = false)""")

    def arrives(sql, condition):
        publisher.run(sql)
        for _ in range(400):
            if subscriber.value(f"SELECT {condition}") == "t":
                return
            time.sleep(0.05)
        raise TimeoutError(condition)

    def count(user):
        return f"(SELECT count(*) FROM events WHERE user_id = {user})"

    arrives(insert(1001), f"{count(1001)} = 10")
    assert subscriber.run(QUEUE) == EMPTY
    subscriber.run("SELECT persona.attach('for_you', '{\"replica\": true}')")
    subscriber.run(WORK)
    assert known(subscriber, 1001) == {1001} and subscriber.run(QUEUE) == EMPTY
    arrives(insert(1002), f"{count(1002)} = 10")
    arrives("UPDATE events SET user_id = 1003 WHERE user_id = 1002", f"{count(1003)} = 10")
    arrives("DELETE FROM events WHERE user_id = 1003", f"{count(1003)} = 0")
    users = subscriber.run("SELECT DISTINCT unnest(user_ids) FROM persona_internal.queue ORDER BY 1")
    assert users == [("1002",), ("1003",)], users
    # Local statements are queued once, by the triggers for statements.
    subscriber.run(WORK)
    subscriber.run(insert(1004))
    assert subscriber.run(QUEUE) == [("1", "f")]
    arrives("TRUNCATE events", "(SELECT count(*) FROM events) = 0")
    assert subscriber.value("SELECT lost FROM persona.queue") == "t"
    subscriber.run("DROP SUBSCRIPTION shop")


def test_the_extension_goes(cluster):
    """DROP EXTENSION CASCADE takes the triggers along, and statements go on; DROP TABLE of the source leaves a model that works."""
    session = cluster.session()
    extension(session)
    attached(session)
    session.run("CREATE TABLE kept AS SELECT * FROM events; DROP TABLE events")
    assert session.value("SELECT message FROM persona.check()") == "its source public.events does not exist"
    assert known(session, 7) == {7}
    session.run("ALTER TABLE kept RENAME TO events")
    assert session.value("SELECT message FROM persona.check()") == "changes of public.events are not queued"
    session.run("SELECT persona.attach('for_you')")
    session.run("DROP EXTENSION pg_persona CASCADE")
    session.run(insert(1001))
    assert "WARNING" not in session.notices
    assert session.value("SELECT count(*) FROM pg_trigger WHERE tgname ~ '^persona_'") == "0"


def test_a_queue_that_is_too_long_heals(cluster):
    """More changed users than the memory has room for: the model is trained from all rows, within the limit, and once."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session, holdout="none")
    session.run("SELECT persona.attach('for_you')")
    session.run("CALL persona.work_queue()")
    session.run("INSERT INTO events SELECT g, 'item-01', 1, now() FROM generate_series(1000, 600999) g")
    session.run("DELETE FROM events WHERE user_id >= 1000")
    session = cluster.session()
    session.run("SET persona.max_memory = '8MB'; SELECT count(*) FROM persona.recommend('for_you', 1)")
    before = highest(session)
    error = session.error("SELECT persona.update_model('for_you')")
    assert (error.sqlstate, "has room for" in error.message) == ("53200", True), error
    session.run("CALL persona.work_queue()")
    assert "WARNING" not in session.notices, session.notices
    assert "is trained from all rows: more users" in cluster.log.read_text()
    assert session.run("SELECT oldest, lost FROM persona.queue") == [(None, "f")]
    assert session.value("SELECT count(*) FROM persona_internal.queue") == "0"
    grown = highest(session) - before
    print(f"       {grown >> 20} MB at most, of 8 MB allowed", flush=True)
    assert grown < 64 << 20
    # What comes in while a version is being made, by the same transaction too, waits for the next one.
    session.run("""BEGIN; SELECT persona.retrain('for_you'); INSERT INTO events VALUES (77, 'item-03', 1, now()); COMMIT""")
    assert session.value("SELECT pending FROM persona.queue") == "1"


def test_tables_that_ddl_changes(cluster):
    """No trigger fires when DDL takes rows away, brings them or writes them anew: the next work-off reads everything, once."""
    session = cluster.session()
    extension(session)
    interactions(session, "loose", rows=2000)
    session.run("""
        CREATE TABLE events (LIKE loose) PARTITION BY RANGE (user_id);
        CREATE TABLE low PARTITION OF events FOR VALUES FROM (0) TO (40);
        CREATE TABLE middle PARTITION OF events FOR VALUES FROM (40) TO (70);
        CREATE TABLE high PARTITION OF events FOR VALUES FROM (70) TO (1000);
        INSERT INTO events TABLE loose;
        CREATE TABLE new (LIKE loose);
        INSERT INTO new SELECT 1001, item_id, 1, now() FROM loose WHERE user_id = 7""")
    train(session, iterations=2, holdout="none")
    session.run("SELECT persona.attach('for_you')")
    session.run(WORK)
    for ddl in (
        "DROP TABLE middle", "ALTER TABLE events DETACH PARTITION high", "ALTER TABLE events ATTACH PARTITION new FOR VALUES FROM (1000) TO (2000)",
        "ALTER TABLE events ALTER weight TYPE bigint USING weight * 2", "VACUUM FULL low",
    ):  # fmt: skip
        assert session.run(QUEUE) == EMPTY, ddl
        session.run(ddl)
        assert session.run(QUEUE) == LOST and session.value("SELECT oldest > now() - interval '1 minute' FROM persona.queue") == "t", ddl
        session.run(WORK)
        assert session.notices == "" and session.run(QUEUE) == EMPTY, ddl
        rows = session.value("SELECT count(*) FROM events")
        assert session.value("SELECT rows_used FROM persona.versions WHERE is_live") == rows, ddl
    assert known(session, 7, 50, 1001) == {7, 1001}
    # One that is only kept back is said once, and deployed it has what it read.
    session.run("DROP TABLE new; SELECT persona.retrain('for_you', '{\"deploy\": \"never\"}')")
    kept, lost = session.run("SELECT kept_back, lost FROM persona.queue")[0]
    assert kept == session.value("SELECT max(version) FROM persona.versions") and lost == "t"
    session.run(f"SELECT persona.deploy('for_you', {kept})")
    assert session.run(QUEUE) == EMPTY and known(session, 7, 1001) == {7}


def test_what_a_version_read_that_is_gone(cluster):
    """A version that was kept back and is stored no longer can not be deployed: what it read waits again."""
    session = cluster.session()
    extension(session)
    attached(session)
    session.run(insert(1001))
    never = "SELECT version FROM persona.retrain('for_you', '{\"deploy\": \"never\", \"keep_versions\": 1}')"
    kept = session.value(never)
    assert session.value("SELECT kept_back FROM persona.queue") == kept
    session.run("UPDATE persona_internal.version SET stored = false WHERE version = " + kept)
    assert session.value("SELECT kept_back FROM persona.queue") is None
    session.run(WORK)
    assert known(session, 1001) == {1001} and session.run(QUEUE) == EMPTY
