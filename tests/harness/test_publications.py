"""Logical replication beside models: subscribers keep getting the user's tables where their administrator follows docs/dba.md."""

import re
import time

from cluster import ROOT
from models import extension, interactions, live, scores, train


def advice():
    """The blocks of the page's section, each a list of (on the publisher or on a subscriber, statement)."""
    section = (ROOT / "docs/dba.md").read_text().split("## Publications\n")[1].split("\n## ")[0]
    blocks = []
    for block in re.findall(r"```sql\n(.*?)```", section, re.DOTALL):
        steps, where = [], None
        for line in map(str.strip, block.strip().splitlines()):
            if line.startswith("-- "):
                where = "publisher" if line.startswith("-- on the publisher") else "subscriber"
            else:
                steps.append((where, line))
        blocks.append(steps)
    return blocks


def follow(steps, publisher, *subscribers):
    for where, sql in steps:
        for session in [publisher] if where == "publisher" else subscribers:
            session.run(sql)


def shop(cluster):
    """A publisher of all tables, a subscriber that will have the extension and one that will not."""
    cluster.configure({"wal_level": "logical", "wal_retrieve_retry_interval": "100ms", "max_worker_processes": 20, "max_logical_replication_workers": 10})
    cluster.restart()
    publisher, equipped, plain = (cluster.database(name) for name in ("publisher", "equipped", "plain"))
    interactions(publisher, rows=1000)
    publisher.run("ALTER TABLE events ADD PRIMARY KEY (at); CREATE PUBLICATION everything FOR ALL TABLES")
    for name, subscriber in (("equipped", equipped), ("plain", plain)):
        subscriber.run("CREATE TABLE events (user_id bigint, item_id text, weight int, at timestamptz PRIMARY KEY)")
        publisher.run(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
        subscriber.run(f"""
            CREATE SUBSCRIPTION shop CONNECTION 'host={cluster.host} port={cluster.port} user=postgres dbname=publisher'
            PUBLICATION everything WITH (create_slot = false, slot_name = '{name}')""")
    arrive(publisher, equipped, plain)
    return publisher, equipped, plain


def rows(session):
    return int(session.value("SELECT count(*) FROM events"))


def arrived(publisher, subscriber, seconds):
    """Whether all rows of the publisher come to a subscriber in this time."""
    end = time.monotonic() + seconds
    while rows(subscriber) != rows(publisher):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def arrive(publisher, *subscribers):
    """A new row of the user comes to every subscriber."""
    publisher.run("INSERT INTO events SELECT 7, 'item-01', 1, max(at) + interval '1 minute' FROM events")
    for subscriber in subscribers:
        assert arrived(publisher, subscriber, 20)


def unsubscribe(*subscribers):
    for subscriber in subscribers:
        subscriber.run("DROP SUBSCRIPTION shop")


def test_schemas_are_published_in_time(cluster):
    """With the schemas published by name, both kinds of subscribers get the tables, and models are trained on either side."""
    publisher, equipped, plain = shop(cluster)
    follow(advice()[0], publisher, equipped, plain)
    assert publisher.run("SELECT pubname FROM pg_publication") == [("shop_tables",)]
    for session in (publisher, equipped):
        extension(session)
        train(session)
    arrive(publisher, equipped, plain)
    for session in (publisher, equipped):
        assert train(session, factors=12) == [("2", "t")]
    arrive(publisher, equipped, plain)
    # The same rows and settings: trained apart, they answer alike; each has its own registry.
    assert scores(publisher) == scores(equipped)
    assert equipped.value("SELECT persona.rollback('for_you')") == "1" and live(publisher) == 2
    assert plain.value("SELECT to_regnamespace('persona_internal')") is None
    assert equipped.run("SELECT * FROM persona.check()") == []
    unsubscribe(equipped, plain)


def test_all_tables_were_published(cluster):
    """Where a training came first, the page's advice brings a stopped subscriber on its way and cleans the other one."""
    publisher, equipped, plain = shop(cluster)
    # What Postgres says when a subscription changes while its tables are being copied.
    cluster.expect("subscription table")
    in_time, stopped, copied = advice()
    for session in (publisher, equipped):
        extension(session)
    train(publisher)
    publisher.run("INSERT INTO events SELECT 7, 'item-01', 1, max(at) + interval '1 minute' FROM events")
    assert arrived(publisher, equipped, 20)
    assert equipped.run("SELECT * FROM persona_internal.model") == []
    assert train(equipped) == [("1", "t")]
    # It does stop, and for the reason that the page names.
    assert not arrived(publisher, plain, 2)
    assert 'logical replication target relation "persona_internal.model" does not exist' in cluster.log.read_text()
    follow(stopped, publisher, plain)
    arrive(publisher, equipped, plain)
    assert train(publisher, factors=12) == [("2", "t")]
    arrive(publisher, equipped, plain)
    # The other one refreshes, and has rows of models that are not its own.
    equipped.run("ALTER SUBSCRIPTION shop REFRESH PUBLICATION")
    end = time.monotonic() + 20
    while equipped.value("SELECT count(*) FROM persona_internal.model") != "2":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert equipped.run("SELECT * FROM persona.check()") != []
    follow(in_time, publisher, equipped, plain)
    assert publisher.run("SELECT pubname FROM pg_publication") == [("shop_tables",)]
    arrive(publisher, equipped, plain)
    plain.run("DROP EXTENSION pg_persona")
    follow(copied, publisher, equipped)
    for number in (3, 4):
        assert train(publisher, factors=8 + number) == [(str(number), "t")]
        assert train(equipped, factors=8 + number) == [(str(number - 2), "t")]
        arrive(publisher, equipped, plain)
    assert scores(equipped) == scores(publisher)
    assert equipped.run("SELECT * FROM persona.check()") == []
    unsubscribe(equipped, plain)
