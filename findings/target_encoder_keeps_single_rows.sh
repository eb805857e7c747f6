#!/usr/bin/env bash
# Package: scikit-learn 1.9.1, TargetEncoder, with numpy 2.4.6 and scipy 1.17.1.
#
# Behaviour: smooth="auto" shrinks a category towards the mean of all by the spread of the targets within the category.
# One row has no spread, and so a category of one row is not shrunk at all: it gets its own target as its code.
#
# Why it surprises: shrinking exists for rare categories, and one expects the rarest to be pulled most. Here it is the
# other way round: 50 rows are pulled a little, the single row not by one digit.
#
# What follows: with long tails of items or places, set smooth to a number (its weight in rows), which pulls the single
# row half way at 1. A golden file of such codes for comparisons must say which of the two it holds.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from sklearn.preprocessing import TargetEncoder

places = np.array(["a"] * 50 + ["b"] * 49 + ["once"]).reshape(-1, 1)
spent = np.append(np.arange(99) % 10 / 10, 100.0)
auto = TargetEncoder(target_type="continuous").fit(places, spent).encodings_[0]
one = TargetEncoder(target_type="continuous", smooth=1).fit(places, spent).encodings_[0]
print(f"mean of all {spent.mean():.3f}; means of a {spent[:50].mean():.6f}, once {spent[99]:.6f}")
print(f"auto:       a {auto[0]:.6f}, once {auto[2]:.6f}")
print(f"smooth = 1: a {one[0]:.6f}, once {one[2]:.6f}")

assert auto[2] == 100.0
assert round(float(auto[0]), 6) == 0.450017
assert round(float(one[2]), 4) == 50.7205
PYTHON
