#!/usr/bin/env bash
# Packages: river 0.26.1 and scikit-learn 1.9.1, with numpy 2.4.6 and scipy 1.17.1.
#
# Behaviour: river's streaming ROCAUC keeps counts at 10 fixed thresholds, spread evenly over 0 to 1, and not at
# quantiles of the scores. Probabilities that all lie below the first inner threshold (1/9) look alike to it.
#
# Why it surprises: AUC depends on the order of the scores alone. Click rates of a few per cent that put every click
# above every other row get 0.5, which reads as guessing, where the exact value is 1. The same scores times ten get
# the exact 1, so that a monotone change of the scores moves the figure.
#
# What follows: for rare events give n_thresholds a size at which the scores fall apart (1000 is enough here), or
# compute AUC from ranks, as this project does. A streamed 0.5 says nothing on a model of rare clicks.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check river==0.26.1 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore - <<'PYTHON'
from river import metrics
from sklearn.metrics import roc_auc_score

clicked = [False] * 900 + [True] * 100
rates = [0.01 + 0.00001 * i for i in range(900)] + [0.05 + 0.0001 * i for i in range(100)]


def streamed(scores, **options):
    auc = metrics.ROCAUC(**options)
    for truth, score in zip(clicked, scores):
        auc.update(truth, score)
    return auc.get()


exact = roc_auc_score(clicked, rates)
plain = streamed(rates)
fine = streamed(rates, n_thresholds=1000)
scaled = streamed([10 * rate for rate in rates])
print(f"rates {min(rates):.3f} to {max(rates):.3f}")
print(f"scikit-learn {exact}, river {plain}")
print(f"river with 1000 thresholds {fine}, river on the rates times ten {scaled}")

assert exact == 1.0
assert plain == 0.5
assert abs(fine - 1.0) < 1e-9
assert abs(scaled - 1.0) < 1e-9
PYTHON
