"""Versions that follow the rows: cancelled at any moment, beside a training, and a source that other sessions change."""

import random
import time

from models import extension, interactions, scores, train
from test_cancel import LATEST, big, ended, nothing_left

UPDATE = "SELECT version FROM persona.update_model('big', '{\"late\": \"0\"}')"


def test_cancel_an_update_at_any_moment(cluster):
    """pg_cancel_backend ends an update as promptly as a training, and nothing of it is left."""
    session, chance = big(cluster, 1_000_000), random.Random(9)
    watch = cluster.session()
    session.run("""
        ALTER TABLE events ADD at timestamptz DEFAULT '2024-01-01'; CREATE INDEX ON events (user_id);
        SELECT persona.train_als('big', 'events', 'user_id', 'item_id', time_column => 'at', factors => 16,
                                 iterations => 1, holdout => 'none');
        INSERT INTO events SELECT g % 1000, g % 5000, '2024-01-02' FROM generate_series(1, 10000) g""", timeout=300)
    before = scores(session, "big")
    begin = time.monotonic()
    session.run(f"BEGIN; {UPDATE}; ROLLBACK")
    whole, late, phases = time.monotonic() - begin, [], set()
    for _ in range(40):
        session.start(f"BEGIN; {UPDATE}; ROLLBACK")
        time.sleep(chance.uniform(0, whole))
        phases.update(phase for (phase,) in watch.run("SELECT phase FROM persona.training_progress"))
        sent = time.monotonic()
        watch.run(f"SELECT pg_cancel_backend({session.pid})")
        end = ended(session, "57014")
        session.run("ROLLBACK")
        # It was over before the cancel came.
        if end is None:
            continue
        late.append(end - sent)
        nothing_left(cluster, session, watch, versions=1)
        assert scores(session, "big") == before
        if len(late) == 12:
            break
    print(f"       an update takes {whole:.2f} s; {sorted(phases)}: {sorted(round(each * 1000) for each in late)} ms", flush=True)
    assert len(late) >= 4 and len(phases) >= 2, (late, phases)
    assert max(late) < LATEST, late


def test_updates_and_trainings_exclude_each_other(cluster):
    """55P03 while another session trains or updates; afterwards it is as if they came one after the other."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    train(one)
    one.run("INSERT INTO events VALUES (777, 'item-03', 1, '2025-01-01')")
    one.run("BEGIN")
    assert one.value("SELECT version FROM persona.update_model('for_you')") == "2"
    assert two.error("SELECT persona.update_model('for_you')").sqlstate == "55P03"
    assert two.error("SELECT persona.retrain('for_you')").sqlstate == "55P03"
    # Nobody else is served by it yet.
    known = "SELECT count(*) FROM persona.user_factors('for_you') WHERE id = '777'"
    assert (one.value(known), two.value(known)) == ("1", "0")
    one.run("COMMIT")
    assert two.value(known) == "1"
    assert two.run("SELECT version, deploy_reason FROM persona.update_model('for_you')") == [("2", "nothing changed")]
    two.run("SELECT persona.rollback('for_you')")
    assert two.value(known) == "0"
    # What is live is what is followed.
    assert two.run("SELECT version FROM persona.update_model('for_you')") == [("3",)]
    assert two.value(known) == "1"


def test_a_row_that_commits_late_is_found(cluster):
    """A transaction that was open while an update ran is within "late"; without it its row would be lost."""
    one, two = cluster.session(), cluster.session()
    extension(one)
    interactions(one)
    train(one)
    two.run("BEGIN; INSERT INTO events VALUES (778, 'item-03', 1, '2025-01-01 00:00')")
    one.run("INSERT INTO events VALUES (777, 'item-03', 1, '2025-01-01 00:30')")
    assert one.value("SELECT version FROM persona.update_model('for_you')") == "2"
    two.run("COMMIT")
    known = "SELECT count(*) FROM persona.user_factors('for_you') WHERE id = '778'"
    assert one.run("SELECT version, deploy_reason FROM persona.update_model('for_you', '{\"late\": \"1 minute\"}')") == [("2", "nothing changed")]
    assert one.value("SELECT version FROM persona.update_model('for_you')") == "3"
    assert one.value(known) == "1"
