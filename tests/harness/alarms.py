#!/usr/bin/env python3
"""What no test may leave in a server log: panics, internal errors, crashes, failed assertions, leaked resources.

    tests/harness/alarms.py FILE …      prints such lines of the logs; fails where there are any

A test that provokes one announces it before, in the same log: DO $$ BEGIN RAISE LOG 'expected in this log: XX001'; END $$;
"""

import re
import sys
from pathlib import Path

ALARMS = re.compile(
    r"PANIC|XX00\d|terminated by (signal|exception)|exited with exit code (?![012]\b)|TRAP:|\bleak|not closed"
    r"|still (active|referenced)|was not released|unexpected file found|could not remove file"
)

# What a client sent may say anything; the rest of a message of several lines is indented.
QUOTED = re.compile(r"^\t|(STATEMENT|QUERY|CONTEXT|LOCATION):  ")

ANNOUNCED = re.compile(r"expected in this log: (.+)$")


def alarms(path, expected=()):
    """The alarming lines of a log, without those that contain one of the expected texts."""
    path = Path(path)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    announced = [found[1] for line in lines if (found := ANNOUNCED.search(line))]
    expected = [*expected, *announced]
    return [
        line for line in lines
        if ALARMS.search(line) and not QUOTED.search(line) and not ANNOUNCED.search(line)
        and not any(text in line for text in expected)
    ]  # fmt: skip


if __name__ == "__main__":
    found = [line for path in sys.argv[1:] for line in alarms(path)]
    print("\n".join(found[:20]), end="\n" if found else "")
    sys.exit(1 if found else 0)
