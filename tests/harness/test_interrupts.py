"""Every loop over what a caller names looks for interrupts: whatever the argument, a cancel is answered within 250 ms of
processor time. What the processor does for others does not count."""

import os
import time
from pathlib import Path

from calls import calls, prepare
from cluster import SqlError
from models import train

TICK = os.sysconf("SC_CLK_TCK")

# Seconds of the processor after the timeout.
LATE = 0.25

# The timeouts that each statement gets: a loop without a look at interrupts may come late in it.
TIMEOUTS = (0.1, 0.4, 0.8, 1.6)


def processor(session):
    """Seconds that the session's backend has used, its threads among them."""
    fields = Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def used(session, sql):
    """Seconds that a statement took of the processor, and how it ended."""
    before = processor(session)
    try:
        session.run(sql)
        state = "ok"
    except SqlError as error:
        state = error.sqlstate
    return processor(session) - before, state


def late(session, what, sql, alone=0.0, timeouts=TIMEOUTS):
    """Empty, or by how much the statement was late. `alone` is what its argument takes by itself."""
    for timeout in timeouts:
        session.run(f"SET statement_timeout = '{int(timeout * 1000)}ms'")
        for _ in range(3):
            seconds, state = used(session, sql)
            # Who is late is so each time; a machine that is busy elsewhere may make it so once.
            if seconds <= alone + timeout + LATE:
                break
        session.run("SET statement_timeout = 0")
        assert state[:2] not in ("08", "XX"), f"{state} of {sql[:200]}"
        if seconds > alone + timeout + LATE:
            return f"{what}: {seconds:.2f} s for a timeout of {timeout} s, {state}"
        if state != "57014":
            break
    return ""


def test_large_arguments(cluster):
    """Each parameter of each function that can be large, in turn."""
    session = cluster.session()
    prepare(session)
    session.run("SET client_min_messages = error")
    alone, problems, count = {}, [], 0
    for call in calls(session):
        for parameter, argument, sql in call.large(3_000_000):
            if argument not in alone:
                alone[argument] = max(used(session, f"SELECT pg_column_size({argument})")[0] for _ in range(2))
            problems.append(late(session, f"{call.name}({parameter})", sql, 2 * alone[argument], TIMEOUTS[:1]))
            count += 1
    print(f"       {count} large arguments", flush=True)
    assert count > 60
    assert not any(problems), "\n".join(filter(None, problems))


def test_relations_of_options(cluster):
    """What a caller names holds a million rows of one item, or as many categories."""
    session = cluster.session()
    prepare(session)
    session.run("CREATE TABLE one AS SELECT 'item-01' AS item_id, g AS kind FROM generate_series(1, 600000) g")
    session.run("INSERT INTO one SELECT 'item-0' || g % 9, g FROM generate_series(1, 600000) g")
    options = {
        "categories": '{"max_per_category": 1, "categories": {"relation": "one", "category_column": "kind"}}',
        "eligible": '{"eligible": "one"}',
    }
    problems = []
    for what, given in options.items():
        for sql in (
            f"SELECT count(*) FROM persona.recommend('for_you', 7000, 100, options => '{given}')",
            f"SELECT count(*) FROM persona.popular_items('for_you', 100, options => '{given}')",
            f"SELECT count(*) FROM persona.similar_items('for_you', 'item-03', options => '{given}')",
            f"SELECT count(*) FROM persona.recommend_for_users('for_you', '{{1,2,7000}}', 100, options => '{given}')",
        ):
            problems.append(late(session, what, sql))
    # Without a limit it ends, and soon: each pair of item and category is looked at once.
    seconds, state = used(session, f"SELECT count(*) FROM persona.recommend('for_you', 7000, 100, options => '{options['categories']}')")
    assert (state, seconds < 10) == ("ok", True), (state, seconds)
    assert not any(problems), "\n".join(filter(None, problems))


def test_rows_of_one_user(cluster):
    """A user with a million rows, read now and folded in."""
    session = cluster.session()
    prepare(session)
    session.run("""CREATE TABLE much AS SELECT g % 10 AS user_id, 'i' || g % 300000 AS item_id, 1 AS weight, now() AS at
                   FROM generate_series(1, 2000000) g""")
    train(session, "heavy", "much", factors=16, holdout="none", iterations=1)
    session.run("INSERT INTO much SELECT 1000000, 'i' || g % 300000, 1, now() FROM generate_series(1, 2000000) g")
    items = "(SELECT array_agg('i' || g) FROM generate_series(1, 300000) g)"
    alone = used(session, f"SELECT pg_column_size({items})")[0]
    problems = [
        late(session, "fresh", "SELECT count(*) FROM persona.recommend('heavy', 1000000, 10, fresh => true)"),
        late(session, "fold", f"SELECT count(*) FROM persona.recommend_for_items('heavy', {items}, 10)", 2 * alone),
        late(session, "exclude", f"SELECT count(*) FROM persona.recommend('heavy', 1, 10, exclude => {items})", 2 * alone),
        late(session, "depth", "SELECT count(*) FROM persona.recommend('heavy', 1, 300000)"),
        late(session, "diversity", """SELECT count(*) FROM persona.recommend('heavy', 1, 300000, options => '{"diversity": 0.5}')"""),
    ]
    assert not any(problems), "\n".join(filter(None, problems))


def test_queues_of_many(cluster):
    """Reading, working off and giving up a queue of a million users."""
    session = cluster.session()
    prepare(session)
    session.run("INSERT INTO events SELECT g, 'item-01', 1, now() FROM generate_series(1000, 900999) g")
    session.run("INSERT INTO events SELECT g, 'item-01', 1, now() FROM generate_series(1000000, 2000000) g")
    session.run("DELETE FROM events WHERE user_id >= 1000")
    problems = [
        late(session, "update_model", "SELECT persona.update_model('for_you')"),
        late(session, "retrain", "SELECT persona.retrain('for_you')"),
    ]
    assert not any(problems), "\n".join(filter(None, problems))


def test_fast_shutdown_during_serving(cluster):
    """A fast shutdown ends a statement that reads a million categories."""
    session = cluster.session()
    prepare(session)
    session.run("CREATE TABLE one AS SELECT 'item-01' AS item_id, g AS kind FROM generate_series(1, 3000000) g")
    session.start("""SELECT count(*) FROM persona.recommend('for_you', 7000, 100, options =>
        '{"max_per_category": 1, "categories": {"relation": "one", "category_column": "kind"}}')""")
    time.sleep(4)
    begin = time.monotonic()
    cluster.stop("fast")
    assert time.monotonic() - begin < 10
    cluster.start()
    assert cluster.session().value("SELECT count(*) FROM persona.check()") == "0"
