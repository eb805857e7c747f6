#!/usr/bin/env python3
"""Runs the functions test_* of tests/harness/test_*.py, each on a cluster of its own.

    tests/harness/run.py [WORD …]             only tests whose 'file.function' contains one of the words
    tests/harness/run.py --long [WORD …]      the tests test_long_*, which take many minutes

A test takes the running cluster. It fails by any exception, and by what it leaves in a server log
(see alarms.py). The log of a failed test is kept and named.
"""

import importlib
import inspect
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from cluster import Cluster

HERE = Path(__file__).resolve().parent


def discover(words, long):
    """(name, function) of every test, in the order of the files: the long ones or the others."""
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            full = f"{path.stem}.{name}"
            if name.startswith("test_long_") != long:
                continue
            if name.startswith("test_") and (not words or any(word in full for word in words)):
                yield full, function


def attempt(function):
    """None, or what went wrong."""
    with Cluster() as cluster:
        try:
            function(cluster)
            problem = None
        except Exception:  # noqa: BLE001: whatever it is, the other tests still run
            problem = traceback.format_exc()
        if alarms := cluster.alarms():
            problem = (problem or "") + "in the server log:\n" + "\n".join(alarms[:20])
        if problem:
            kept = Path(tempfile.gettempdir()) / f"{function.__name__}.log"
            shutil.copyfile(cluster.log, kept)
            problem += f"\nserver log: {kept}"
        return problem


def main():
    passed = failed = 0
    words = [word for word in sys.argv[1:] if word != "--long"]
    for name, function in discover(words, "--long" in sys.argv[1:]):
        begin = time.monotonic()
        problem = attempt(function)
        print(f"{'FAILED' if problem else 'ok':<7}{name} ({time.monotonic() - begin:.1f} s)", flush=True)
        if problem:
            print(problem, flush=True)
        passed, failed = passed + (not problem), failed + bool(problem)
    print(f"harness: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
