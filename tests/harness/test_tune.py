"""Searches for settings: cancelled, crashed, and by two sessions at once."""

from cluster import SqlError
from models import extension, interactions, train
from test_survival import hold

SPACE = '{"factors": {"min": 2, "max": 40}}'
TRIALS = "SELECT trial, state, settings, value, error FROM {}_trials ORDER BY trial"


def tune(model, trials=5):
    return f"CALL persona.tune('{model}', {trials}, 'random', '{SPACE}', deploy => 'always')"


def newest(session):
    return session.value("SELECT max(version) FROM persona.versions WHERE model = 'for_you'")


def test_cancel_and_resume(cluster):
    """A cancelled search keeps its trials and goes on from them; what ran then counts as failed, nothing is tried twice."""
    cluster.faults()
    session, other = cluster.session(), cluster.session()
    interactions(session)
    train(session)
    train(session, model="whole")
    session.run(tune("whole"))
    whole = session.run(TRIALS.format("whole"))
    assert [row[1] for row in whole] == ["finished"] * 5, whole

    # Two trials, then one that is cancelled.
    session.run(tune("for_you", 2))
    assert newest(session) == "2"
    hold(cluster, session, "holdout fit", tune("for_you"))
    assert other.run(TRIALS.format("for_you"))[:2] == whole[:2]
    assert [row[:3] for row in other.run(TRIALS.format("for_you"))[2:]] == [("3", "running", whole[2][2])]
    # Meanwhile nobody else tunes or drops it, and everybody is served.
    assert other.error(tune("for_you")).sqlstate == "55P03"
    assert other.error("SELECT persona.drop_model('for_you')").sqlstate == "55P03"
    assert len(other.run("SELECT * FROM persona.recommend('for_you', 7, 3)")) == 3
    other.run(f"SELECT pg_cancel_backend({session.pid})")
    try:
        session.wait()
    except SqlError as error:
        assert error.sqlstate == "57014", error
    else:
        raise AssertionError("the search was not cancelled")
    session.run("RESET persona.fault")
    assert newest(other) == "2"

    # Another session goes on: the third trial is lost, the others are those of the search that nobody cancelled.
    other.run(tune("for_you"))
    found = other.run(TRIALS.format("for_you"))
    assert found[2] == ("3", "failed", whole[2][2], None, "interrupted"), found[2]
    assert found[:2] + found[3:] == whole[:2] + whole[3:], (found, whole)
    assert newest(other) == "3"


def test_crash_and_resume(cluster):
    """The same after the server crashed in the middle of a trial; what a trial fails with does not end the search."""
    cluster.faults()
    session, watch = cluster.session(), cluster.session()
    interactions(session)
    train(session)
    session.run("SET persona.fault = 'holdout fit:error'")
    session.error(tune("for_you", 2))
    session.run("RESET persona.fault")
    hold(cluster, session, "holdout fit", tune("for_you", 4))
    cluster.kill(session)
    watch = cluster.session()
    assert watch.run(TRIALS.format("for_you"))[2][1] == "running"
    watch.run(tune("for_you"))
    found = watch.run(TRIALS.format("for_you"))
    assert [row[1] for row in found] == ["failed"] * 3 + ["finished"] * 2, found
    assert [row[4] for row in found[:3]] == ["38000: fault point holdout fit"] * 2 + ["interrupted"], found
    assert watch.run("SELECT * FROM persona.check() WHERE level <> 'warning'") == []


def test_stolen_trial(cluster):
    """Whoever comes between two steps of another search goes on with it; the other one ends with 55P03 and writes nothing."""
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    session.run(tune("for_you", 1))
    trial = session.value("SELECT persona._tune_next('for_you', 3, NULL)")
    assert session.value("SELECT persona._tune_next('for_you', 3, NULL)") == "3"
    assert session.error(f"SELECT persona._tune_measure('for_you', {trial})").sqlstate == "55P03"
    session.run("SELECT persona._tune_measure('for_you', 3)")
    states = [row[1] for row in session.run(TRIALS.format("for_you"))]
    assert states == ["finished", "failed", "finished"], states
