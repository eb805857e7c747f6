"""The life of a model, by every trainer of recommenders: trained, trained again, measured, served, updated, rolled back, dropped."""

from models import beside, extension, interactions, live

# A model of each third of the users beside that of all.
BY_SEGMENT = '{"segments": {"relation": "thirds", "id_column": "user_id", "segment_column": "third"}, "segment_models": "always"}'

# Something that is known of most items.
FEATURES = '{"item_features": {"relation": "sorts", "id_column": "item_id", "columns": ["sort"]}}'

# Every call that trains a recommender, by the name of its trainer; what it says of itself is checked. A trainer that is not
# here fails the test.
#   call: arguments after the four columns. again: what a retraining changes.
#   explains, updates: whether it can, or says 0A000. rates: whether its figure is an error of ratings.
TRAINERS = {
    "train_als": [
        dict(call="factors => 4", again={"factors": 6}, explains=True, updates=True),
        dict(call="feedback => 'explicit', factors => 4", again={"factors": 6}, explains=True, updates=True, rates=True),
        dict(call=f"factors => 4, options => '{BY_SEGMENT}'", again={"factors": 6}, explains=True),
        dict(call=f"factors => 4, options => '{FEATURES}'", again={"factors": 6}, explains=True, updates=True),
    ],
    "train_bpr": [dict(call="factors => 4, iterations => 10", again={"factors": 6}, updates=True)],
    "train_sgd": [
        dict(call="factors => 4, iterations => 10", again={"factors": 6}, updates=True),
        dict(call="loss => 'logistic', factors => 4, iterations => 10", again={"factors": 6}, updates=True),
        dict(call="loss => 'squared', factors => 4, iterations => 10, options => '{\"negatives\": 2}'", again={"factors": 6}, updates=True),
        dict(call=f"factors => 4, iterations => 10, options => '{FEATURES}'", again={"factors": 6}, updates=True),
    ],
    "train_ease": [
        dict(call="regularization => 5", again={"regularization": 50}, explains=True, updates=True),
        dict(call=f"regularization => 5, options => '{BY_SEGMENT}'", again={"regularization": 50}, explains=True),
        dict(call="options => '{\"form\": \"low_rank\", \"factors\": 4, \"iterations\": 10}'", again={"factors": 6}, explains=True),
    ],
    "train_item_knn": [
        dict(call=f"similarity => '{similarity}'", again={"neighbours": 5}, explains=True, updates=True)
        for similarity in ("cosine", "jaccard", "bm25", "tf_idf")
    ],
    "train_popularity": [
        dict(call="holdout => 'time'", again={"seed": 7}, updates=True, same=True),
        dict(call="half_life => 1", again={"half_life": 0.1}),
    ],
    "train_recommender": [dict(call="options => '{\"algorithms\": [\"ease\"]}'", again={"budget": "5 seconds"}, explains=True, updates=True, same=True)],
}  # fmt: skip

SEGMENTS = {"train_kmeans", "train_rfm"}


def json(settings):
    """Settings as jsonb, as SQL."""
    text = ", ".join(f'"{key}": ' + (f'"{value}"' if isinstance(value, str) else str(value)) for key, value in settings.items())
    return "'{" + text + "}'"


def lists(session, model):
    """What everybody is recommended."""
    return session.run(f"""
        SELECT u, r.item_id, r.rank, r.score, r.source FROM generate_series(0, 99) u, persona.recommend('{model}', u, 3) r ORDER BY 1, 3""")


def check_lists(session, model):
    """Three items for everybody, none of them the user's own, and the same in the table of everybody's."""
    found = lists(session, model)
    assert len(found) == 300, len(found)
    own = session.run(f"SELECT count(*) FROM persona.recommend_for_users('{model}', (SELECT array_agg(u::text) FROM generate_series(0, 99) u), 3) r JOIN events e ON e.user_id::text = r.user_id AND e.item_id = r.item_id")
    assert own == [("0",)], own
    assert session.value(f"SELECT persona.recommend_all('{model}', 3)") == str(3 * int(session.value("SELECT count(DISTINCT user_id) FROM events")))
    table = session.run(f"SELECT user_id, item_id, rank, score, source FROM {beside(model, '_recs')} WHERE user_id < 100 ORDER BY 1, 3")
    assert table == found, (table[:3], found[:3])
    return found


def check_figures(session, model, rates):
    """Figures of the stored cutoffs and of another one, within their ranges."""
    name = "rmse" if rates else "ndcg@"
    for k in (10, 3):
        rows = session.run(f"SELECT metric, value, baseline, users FROM persona.evaluate('{model}', k => {k})")
        mine = [row for row in rows if row[0].startswith(name)]
        assert mine and all(0 <= float(value) <= 3 and int(users) > 0 for _, value, _, users in mine), rows
        if not rates:
            assert all(float(value) <= 1 for metric, value, *_ in rows if not metric.startswith("novelty")), rows


def check_explained(session, model, explains, rates):
    """Rows of the user's own items, of ratings after one without an item; or 0A000."""
    item = session.value(f"SELECT item_id FROM persona.recommend('{model}', 7, 1)")
    sql = f"SELECT evidence_item_id, contribution FROM persona.explain('{model}', 7, '{item}')"
    if not explains:
        assert session.error(sql).sqlstate == "0A000"
        return
    rows = session.run(sql)
    own = {item for (item,) in session.run("SELECT DISTINCT item_id FROM events WHERE user_id = 7")}
    assert rows and {item for item, _ in rows} <= own | ({None} if rates else set()), rows


def check_fresh(session, model):
    """What a user has at this moment is not recommended, whatever the model."""
    first = session.value(f"SELECT item_id FROM persona.recommend('{model}', 7, 1, fresh => true)")
    session.run(f"BEGIN; INSERT INTO events VALUES (7, '{first}', 1, '2024-01-05')")
    now = session.run(f"SELECT item_id FROM persona.recommend('{model}', 7, 3, fresh => true)")
    session.run("ROLLBACK")
    assert len(now) == 3 and (first,) not in now, (first, now)


def check_update(session, model, updates):
    """A new user is known afterwards, or 0A000 and nothing changed."""
    before = live(session, model)
    session.run("BEGIN; INSERT INTO events VALUES (7777, 'item-03', 1, '2024-02-01'), (7777, 'item-04', 1, '2024-02-01')")
    if updates:
        assert session.value(f"SELECT version FROM persona.update_model('{model}')") == str(before + 1)
        assert live(session, model) == before + 1
        seen = session.run(f"SELECT item_id FROM persona.recommend('{model}', 7777, 99)")
        assert seen and ("item-03",) not in seen, "the new user's own items are known"
    else:
        assert session.error(f"SELECT persona.update_model('{model}')").sqlstate == "0A000"
    session.run("ROLLBACK")
    assert live(session, model) == before


def check_health(session, model, rates):
    """Nothing to complain of but figures worse than the baseline's; of errors, lower ones are better."""
    ((value, baseline),) = session.run(f"SELECT value, baseline FROM persona.versions WHERE model = '{model}' AND version = {live(session, model)}")
    worse = value is not None and (float(value) > float(baseline) if rates else float(value) < float(baseline))
    words = "errs more than the items' means" if rates else "ranks below popularity"
    found = session.run("SELECT level, message FROM persona.check()")
    assert found == [("warning", f"version {live(session, model)} {words}")] * worse, (found, value, baseline)


def check_life(session, trainer, call, again, explains=False, updates=False, rates=False, same=False):
    model = "m"
    more = "" if "deploy" in call else ", deploy => 'always'"
    time = "" if trainer == "train_recommender" and "budget" in call else ""
    first = session.run(f"""
        SELECT version, deployed FROM persona.{trainer}('{model}', 'events', 'user_id', 'item_id', value_column => 'weight',
                                                        time_column => 'at', {call}{more}{time})""")
    assert first == [("1", "t")], first
    served = check_lists(session, model)
    check_figures(session, model, rates)
    check_explained(session, model, explains, rates)
    check_fresh(session, model)
    assert session.run(f"SELECT version, deployed FROM persona.retrain('{model}', {json(again)})") == [("2", "t")]
    assert (lists(session, model) == served) == same, "a retraining with other settings"
    check_lists(session, model)
    check_update(session, model, updates)
    assert session.value(f"SELECT persona.rollback('{model}')") == "1"
    assert lists(session, model) == served and live(session, model) == 1
    check_health(session, model, rates)
    session.run(f"SELECT persona.drop_model('{model}')")
    assert session.error(f"SELECT * FROM persona.recommend('{model}', 7)").sqlstate == "42704"
    left = "SELECT (SELECT count(*) FROM persona.models), (SELECT count(*) FROM persona_internal.chunk), to_regclass('m'), to_regclass('m_recs')"
    assert session.run(left) == [("0", "0", None, None)]


def test_the_life_of_a_model_by_every_trainer(cluster):
    """One list of all trainers, and everything that a model goes through."""
    session = cluster.session()
    extension(session)
    interactions(session)
    session.run("CREATE TABLE thirds AS SELECT DISTINCT user_id, user_id % 3 AS third FROM events")
    session.run("CREATE TABLE sorts AS SELECT DISTINCT item_id, right(item_id, 1) AS sort FROM events")
    known = {name for (name,) in session.run(r"SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'persona'::regnamespace AND proname LIKE 'train\_%'")}
    assert known == TRAINERS.keys() | SEGMENTS, ("not in the list", known - TRAINERS.keys() - SEGMENTS)
    for trainer, ways in TRAINERS.items():
        for way in ways:
            try:
                check_life(session, trainer, **way)
            except Exception as error:
                raise AssertionError(f"by {trainer}({way['call']})") from error
