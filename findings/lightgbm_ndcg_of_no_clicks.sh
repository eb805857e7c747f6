#!/usr/bin/env bash
# Packages: LightGBM 4.7.0 and scikit-learn 1.9.1, with numpy 2.4.6 and scipy 1.17.1.
#
# Behaviour: for the same scores and labels the two disagree on nDCG where a query has no relevant row. LightGBM counts
# such a query as 1, a perfect ranking; scikit-learn counts it as 0. LightGBM's MAP counts it as 1 too.
#
# Why it surprises: both call the measure nDCG, and both agree on queries with a relevant row. Here the only query with
# a relevant row is ranked wrongly, and LightGBM still reports 0.75. The more queries nobody clicked in, the nearer to
# 1 it comes, whatever the model does, and early stopping watches that number.
#
# What follows: leave queries without a relevant row out before figures of the two are compared, or before nDCG of
# LightGBM is set beside that of this project, which takes users with held-out items.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check lightgbm==4.7.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore - <<'PYTHON'
import lightgbm as lgb
import numpy as np
from sklearn.metrics import ndcg_score


def measure(clicks):
    queries = len(clicks)
    rows = np.array([[0.0], [1.0]] * queries)
    train = lgb.Dataset(np.array([[0.0], [1.0]] * 40), label=np.array([0, 1] * 40), group=[2] * 40)
    valid = lgb.Dataset(rows, label=np.ravel(clicks), group=[2] * queries, reference=train)
    seen = {}
    model = lgb.train(
        {"objective": "lambdarank", "metric": ["ndcg", "map"], "eval_at": [1], "min_data_in_leaf": 1,
         "num_threads": 1, "verbose": -1},
        train, 3, valid_sets=[valid], callbacks=[lgb.record_evaluation(seen)])
    scores = model.predict(rows).reshape(queries, 2)
    assert (scores[:, 1] > scores[:, 0]).all()
    last = {name: float(values[-1]) for name, values in seen["valid_0"].items()}
    return last["ndcg@1"], last["map@1"], float(ndcg_score(clicks, scores, k=1))


for name, clicks, expected in [
    ("one query, ranked wrongly", [[1, 0]], (0.0, 0.0, 0.0)),
    ("one query, ranked rightly", [[0, 1]], (1.0, 1.0, 1.0)),
    ("the wrong one, and three without a click", [[1, 0], [0, 0], [0, 0], [0, 0]], (0.75, 0.75, 0.0)),
]:
    got = measure(clicks)
    print(f"{name}: LightGBM ndcg@1 {got[0]}, map@1 {got[1]}; scikit-learn ndcg@1 {got[2]}")
    assert got == expected, (got, expected)
PYTHON
