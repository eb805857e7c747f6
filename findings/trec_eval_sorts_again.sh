#!/usr/bin/env bash
# Package: pytrec_eval-terrier 0.5.11, the trec_eval measures as a Python module, with numpy 2.4.6 and scipy 1.17.1.
#
# Behaviour: a run is sorted again by score. Scores are kept as 32-bit floats, and equal ones are put in falling order
# of the document's id as a text, whatever the order in which the run gives them.
#
# Why it surprises: Python passes 64-bit floats. A ranking by the second of the last event has no equal scores, yet
# 1700000001 and 1700000000 are one 32-bit float, and so the older item wins by its name. As texts, "9" is above "10".
#
# What follows: hand it ranks (for example 1000 - position) and not raw scores, and do not expect its figures where
# scores tie: this project puts equal scores in the order of ids, numbers by value.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pytrec_eval-terrier==0.5.11 numpy==2.4.6 scipy==1.17.1

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore - <<'PYTHON'
import pytrec_eval


def reciprocal_rank(relevant, run):
    judge = pytrec_eval.RelevanceEvaluator({"user": {relevant: 1}}, {"recip_rank"})
    return judge.evaluate({"user": run})["user"]["recip_rank"]


newest_first = {"10": 1700000001.0, "9": 1700000000.0}
by_time = reciprocal_rank("10", newest_first)
later = reciprocal_rank("10", {"10": 1700000256.0, "9": 1700000000.0})
by_position = reciprocal_rank("10", {item: 1000.0 - i for i, item in enumerate(newest_first)})
tied = [reciprocal_rank(item, {"10": 1.0, "11": 1.0, "9": 1.0}) for item in ("9", "11", "10")]
print(f"item 10 is relevant and one second newer than item 9: reciprocal rank {by_time}")
print(f"the same, but 256 seconds newer: {later}")
print(f"the first ranking, given as positions: {by_position}")
print(f"items 9, 11, 10 with equal scores, each as the relevant one: {tied}")

assert by_time == 0.5
assert later == 1.0 and by_position == 1.0
assert [round(1 / value) for value in tied] == [1, 2, 3]
PYTHON
