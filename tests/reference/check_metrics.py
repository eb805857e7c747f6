#!/usr/bin/env python3
"""Compares rank_metrics() of metrics.sql with metrics.py on made-up rankings: short ones, empty ones, unknown items."""

import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SHARED_DATA"], "reference"))
sys.dont_write_bytecode = True
from metrics import rank_metrics  # noqa: E402

PSQL = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
K = 10

dice = random.Random(1)
known, unknown = range(1, 61), range(61, 71)
split, ranked, expected = [], [], []
for item in known:
    split.append((0, item, "f"))  # user 0 makes every item known and has no test rows
for user in range(1, 201):
    test = dice.sample([*known, *unknown], dice.choice([1, 1, 2, 5, 9, 10, 11, 30]))
    ranking = dice.sample(known, dice.choice([0, 1, 3, 10, 15]))
    split += [(user, item, "t") for item in test]
    ranked += [(user, item, rank) for rank, item in enumerate(ranking, 1)]
    relevant = {item for item in test if item in known}
    if relevant:
        expected.append(rank_metrics(ranking, relevant, K))

script = "BEGIN;\n"
script += "INSERT INTO split VALUES " + ",".join(f"('made-up',{u},{i},'{t}')" for u, i, t in split) + ";\n"
script += "INSERT INTO ranked VALUES " + ",".join(f"('run','made-up',{u},{i},{r})" for u, i, r in ranked) + ";\n"
script += f"SELECT * FROM rank_metrics('run', 'made-up', {K});\nROLLBACK;\n"
printed = subprocess.run(PSQL, input=script, text=True, check=True, stdout=subprocess.PIPE).stdout
users, *values = printed.strip().split("|")

worst = abs(int(users) - len(expected))
for name, value in zip(("ndcg", "precision", "recall"), values, strict=True):
    worst = max(worst, abs(float(value) - sum(one[name] for one in expected) / len(expected)))
subprocess.run(
    [*PSQL, "-c", f"INSERT INTO figures (name, value, at_most) VALUES ('metrics.sql beside metrics.py', {worst}, 1e-12)"],
    check=True,
)
