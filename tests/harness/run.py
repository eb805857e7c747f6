#!/usr/bin/env python3
"""Runs the functions test_* of tests/harness/test_*.py, each on a cluster of its own.

    tests/harness/run.py [WORD …]      only tests whose 'file.function' contains one of the words

A test takes the running cluster. It fails by any exception, and by what it leaves in a server log (see alarms.py).
The log of a failed test is kept and named. Tests named test_long_… run where LONG=1 is set, or a WORD names them.
"""

import importlib
import inspect
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from cluster import Cluster

HERE = Path(__file__).resolve().parent


def discover(words):
    """(name, function) of every test, in the order of the files."""
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            full = f"{path.stem}.{name}"
            # A word that only names the file does not ask for its long tests.
            named = any(word in name for word in words)
            wanted = not words or any(word in full for word in words)
            if name.startswith("test_long_") and not named:
                wanted = wanted and os.environ.get("LONG") == "1"
            if name.startswith("test_") and wanted:
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
    for name, function in discover(sys.argv[1:]):
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
