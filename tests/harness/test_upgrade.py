"""pg_upgrade, and ALTER EXTENSION UPDATE: models of every kind go on where they stood."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from cluster import BINDIR
from models import answers, extension, interactions, same, scores, serving, train
from test_images import big, files
from test_segments import people

MODELS = ("for_you", '"For Two"', "large", "follows")
SEGMENTS = ("tiers", "worth")
QUEUE = "SELECT model, pending, oldest, lost FROM persona.queue"

# What the registry holds in itself, and who may do what with the relations and functions of models.
KEPT = {
    "labels": "SELECT * FROM persona_internal.label ORDER BY 1, 2",
    "outputs": "SELECT model_id, word, relation::oid FROM persona_internal.output ORDER BY 1, 2",
    "deployments": "SELECT * FROM persona_internal.deployment ORDER BY 1",
    "queue": QUEUE,
    "relations": "SELECT oid, relname, relowner::regrole, relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') ORDER BY 2",
    "functions": "SELECT oid::regprocedure, proowner::regrole, proacl FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY oid::regprocedure::text",
    "triggers": "SELECT tgrelid::regclass, tgname, tgargs FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
}


def own(session, owner):
    """Gives the model of all its versions to a role; the functions beside a model have owners of their own, check() tells."""
    session.run(f"ALTER VIEW for_you OWNER TO {owner}; ALTER TABLE events OWNER TO {owner}; SELECT persona.grant_model('for_you', 'public')")
    hints = [row[0] for row in session.run("SELECT hint FROM persona.check()")]
    assert len(hints) == 3, hints
    for hint in hints:
        session.run(hint)


def every_kind(cluster):
    """A database with models of each kind: small and mapped, attached with a queue, segments with a label, given away and granted."""
    session = cluster.database("shop")
    session.run("CREATE ROLE alice LOGIN; CREATE ROLE web LOGIN")
    extension(session)
    interactions(session)
    train(session)
    train(session, factors=12)
    train(session, '"For Two"', factors=6)
    big(session, "large")
    assert len(files(cluster)) == 1
    interactions(session, "moving", rows=2000)
    train(session, "follows", "moving", iterations=2)
    session.run("SELECT persona.attach('follows')")
    session.run("CALL persona.work_queue()")
    session.run("INSERT INTO moving SELECT 1001, item_id, 1, now() FROM moving WHERE user_id = 7")
    people(session)
    session.run("SELECT version FROM persona.train_kmeans('tiers', 'people', 'id', k => 3, n_init => 2); SELECT persona.retrain('tiers', '{\"k\": 4}')")
    session.run("SELECT persona.label_segment('tiers', segment_id, 'Gold') FROM (SELECT min(segment_id) AS segment_id FROM tiers_members) m")
    session.run("SELECT persona.train_rfm('worth', 'events', 'user_id', 'at', 'weight')")
    session.run("SELECT persona.grant_model('tiers', 'web'); GRANT USAGE ON SCHEMA persona TO web")
    own(session, "alice")
    return session


def everything(session):
    """What all models answer and all tables of segments show."""
    found = answers(session, "for_you", '"For Two"', "follows")
    large = {f"large: {name}": sql for name, sql in serving("large").items() if name not in ("evaluate", "user_factors")}
    large["large: user_factors"] = "SELECT md5(string_agg(u::text, '')) FROM persona.user_factors('large') u"
    for model in SEGMENTS:
        for table in ("members", "segments", "profile", "history"):
            large[f"{model}_{table}"] = f"SELECT * FROM {model}_{table} ORDER BY 1, 2, 3"
    large["assign"] = "SELECT persona.assign('tiers', ARRAY[a, b]), persona.assign('worth', ARRAY[a, b, a]) FROM people ORDER BY id"
    return found | {name: session.run(sql) for name, sql in (large | KEPT).items()}


def upgrade(cluster, *options, bindir=BINDIR):
    """Runs pg_upgrade into a new data directory, in which the cluster goes on."""
    old = cluster.bindir
    for each in cluster.sessions:
        each.close()
    cluster.stop()
    new = cluster.directory / "new"
    cluster.bindir = bindir
    # Checksums are those of the old cluster, -k; since PostgreSQL 18 they are the default.
    cluster.command("initdb", "-D", new, "-U", "postgres", "-A", "trust", "-N", "-k")
    cluster.command("pg_upgrade", "-b", old, "-B", bindir, "-d", cluster.data, "-D", new, "-U", "postgres", "-j", "2", *options)
    shutil.copyfile(cluster.data / "postgresql.conf", new / "postgresql.conf")
    shutil.rmtree(cluster.data)
    os.rename(new, cluster.data)
    cluster.start()


def go_on(cluster, session, before):
    """Trainings, updates, rollbacks, labels and dumps continue what came over."""
    web = cluster.session("shop", "web")
    assert web.value("SELECT count(*) FROM tiers_members") == "600"
    assert web.error("SELECT * FROM persona.recommend('large', 7)").sqlstate == "42501"
    alice = cluster.session("shop", "alice")
    alice_trains = "SELECT version FROM persona.retrain('for_you', '{\"factors\": 16}')"
    assert alice.error(alice_trains).sqlstate == "42501", "USAGE was not hers before"
    session.run("GRANT USAGE ON SCHEMA persona TO alice")
    assert alice.run(alice_trains) == [("3",)]
    assert alice.value("SELECT persona.rollback('for_you')") == "2"
    same(answers(session, "for_you", views=False), {k: v for k, v in before.items() if k.startswith("for_you: ")})
    # The queue is worked off, and the trigger queues what comes next.
    assert session.run("SELECT model, pending, lost FROM persona.queue") == [("follows", "1", "f")]
    session.run("CALL persona.work_queue()")
    assert session.notices == "" and session.run("SELECT pending, lost FROM persona.queue") == [("0", "f")]
    assert session.value("SELECT source FROM persona.recommend('follows', 1001, 1)") == "model"
    session.run("INSERT INTO moving SELECT 1002, item_id, 1, now() FROM moving WHERE user_id = 7")
    assert session.run("SELECT pending, lost FROM persona.queue") == [("1", "f")]
    # Numbers that are given are not given again.
    segment = session.value("SELECT max(segment_id) FROM tiers_segments")
    assert session.value("SELECT version FROM persona.retrain('tiers', '{\"k\": 6}')") == "3"
    assert int(session.value("SELECT max(segment_id) FROM tiers_segments")) > int(segment)
    assert session.value("SELECT count(*) FROM tiers_segments WHERE label = 'Gold'") == "1"
    assert session.value("SELECT version FROM persona.retrain('worth')") == "2"
    assert session.value("SELECT version FROM persona.retrain('large', '{\"factors\": 24}')") == "2"
    assert session.value("SELECT persona.rollback('large')") == "1"
    assert scores(session, "large") == [row[:2] for row in before["large: recommend"][:3]]
    assert session.run("SELECT * FROM persona.check()") == []


def check_upgrade(cluster, *options, bindir=BINDIR):
    session = every_kind(cluster)
    before = everything(session)
    assert before["check"] == [], before["check"]
    upgrade(cluster, *options, bindir=bindir)
    session = cluster.session("shop")
    same(everything(session), before)
    go_on(cluster, session, before)
    # Oids of the old cluster are kept; a dump of the new one is bound by names all the same.
    before, path = scores(session), str(cluster.directory / "dump")
    cluster.command("pg_dump", *cluster.address(), "-Fc", "-f", path, "shop")
    cluster.session().run("CREATE DATABASE copy TEMPLATE template0 ENCODING 'UTF8'")
    cluster.command("pg_restore", *cluster.address(), "-e", "-d", "copy", path)
    assert scores(cluster.session("copy")) == before


def test_pg_upgrade(cluster):
    """pg_upgrade keeps models of every kind: all answer the same, train on, follow, roll back, and dumps of the new cluster bind again."""
    check_upgrade(cluster)


def test_pg_upgrade_with_links(cluster):
    """The same where the files are linked and not copied."""
    check_upgrade(cluster, "--link")


def newer():
    """The programs of each newer major version beside this one that the extension is installed for."""
    mine = re.search(r"\d+", subprocess.check_output([BINDIR / "postgres", "--version"], text=True))[0]
    for config in sorted(BINDIR.parents[1].glob("*/bin/pg_config")):
        if config.parent.parent.name.isdigit() and int(config.parent.parent.name) > int(mine):
            share = subprocess.check_output([config, "--sharedir"], text=True).strip()
            if (Path(share) / "extension/pg_persona.control").exists():
                yield config.parent


def test_pg_upgrade_to_newer_majors(cluster):
    """The same from this major version to each newer one that is installed with the extension."""
    found = list(newer())
    if not found:
        print("       skipped: no newer PostgreSQL with pg_persona is installed beside this one", flush=True)
    for bindir in found[-1:]:
        check_upgrade(cluster, bindir=bindir)


# What the script of a release may do: columns at the end, new and replaced functions and views.
NEXT = """
ALTER TABLE persona_internal.model ADD COLUMN note text NOT NULL DEFAULT '';
CREATE FUNCTION persona.noted(model text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN (SELECT m.note FROM persona_internal.model m WHERE m.relation = model::regclass::oid);
CREATE OR REPLACE FUNCTION persona.prewarm(model text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_prewarm';
"""


def test_an_update_of_the_extension(cluster):
    """ALTER EXTENSION UPDATE to a made-up next version: open sessions serve on, models train, follow their source and are dropped."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    version = one.value("SELECT extversion FROM pg_extension WHERE extname = 'pg_persona'")
    share = Path(subprocess.check_output([BINDIR / "pg_config", "--sharedir"], text=True).strip()) / "extension"
    script = share / f"pg_persona--{version}--{version}.harness{os.getpid()}.sql"
    if not os.access(share, os.W_OK):
        print(f"       skipped: no right to put a script into {share}", flush=True)
        return
    interactions(one)
    train(one, iterations=2)
    one.run("SELECT persona.attach('for_you'); CALL persona.work_queue()")
    before = {name: two.run(sql) for name, sql in serving().items()}
    try:
        script.write_text(NEXT)
        one.run(f"ALTER EXTENSION pg_persona UPDATE TO '{script.stem.split('--')[2]}'")
    finally:
        script.unlink(missing_ok=True)
    for session in (one, two, cluster.session()):
        same({name: session.run(sql) for name, sql in serving().items()}, before)
        assert session.value("SELECT persona.noted('for_you')") == ""
        assert session.run("SELECT * FROM persona.check()") == []
    two.run("INSERT INTO events SELECT 1001, item_id, 1, now() FROM events WHERE user_id = 7")
    two.run("CALL persona.work_queue()")
    assert two.notices == "" and one.value("SELECT source FROM persona.recommend('for_you', 1001, 1)") == "model"
    assert train(two, "other") == [("1", "t")]
    assert one.value("SELECT persona.rollback('for_you')") and one.value("SELECT persona.prewarm('for_you')")
    two.run("SELECT persona.drop_model('for_you'), persona.drop_model('other'); DROP EXTENSION pg_persona")
    assert one.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'persona%'") == []
