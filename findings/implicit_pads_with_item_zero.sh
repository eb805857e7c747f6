#!/usr/bin/env bash
# Package: implicit 0.7.3, alternating least squares, with numpy 2.4.6 and scipy 1.17.1.
#
# Behaviour: recommend() returns as many rows as were asked for, also where a user has fewer items left. First come the
# items the user already has, which were to be filtered out, with the score -3.4e38 (the least 32-bit float). After
# the last item the rest is filled with item 0 and the score 0, once for each missing row.
#
# Why it surprises: one expects a short list, or a mark such as -1. Item 0 is a real item, it comes up several times,
# here the user already has it, and its score of 0 is above the scores of the rows before it.
#
# What follows: whoever compares with implicit drops the rows past the number of items and those of the score -3.4e38;
# a filter on the score alone keeps the filling. Users with many items of a small catalogue are the ones it meets.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check implicit==0.7.3 numpy==2.4.6 scipy==1.17.1

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from scipy.sparse import csr_matrix
from implicit.cpu.als import AlternatingLeastSquares

has = csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=np.float32))
model = AlternatingLeastSquares(factors=2, iterations=5, random_state=1, num_threads=1)
model.fit(has, show_progress=False)
items, scores = model.recommend(0, has[0], N=7, filter_already_liked_items=True)
print("user 0 has items 0 and 1 of 4, and asks for 7")
for item, score in zip(items, scores):
    print(f"item {item} score {score:.4g}")

assert len(items) == 7
assert sorted(items[:2].tolist()) == [2, 3]
assert sorted(items[2:4].tolist()) == [0, 1]
assert (scores[2:4] == np.finfo(np.float32).min).all()
assert items[4:].tolist() == [0, 0, 0] and scores[4:].tolist() == [0, 0, 0]
PYTHON
