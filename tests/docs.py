#!/usr/bin/env python3
"""Runs the SQL of Markdown pages and compares what it prints with what the page shows.

Each page gets a fresh database and one psql session, so that blocks build on each other. A ```sql block is run; a
```text or ```output block after it (before any other fence) is what psql must print, compared line by line but for
trailing blanks. A block without one must run without an error. Two comments, on a line of their own before a block:

    <!-- output varies -->   run it, do not compare (times, seeds, versions)
    <!-- not run -->         show only (other servers, shells, superuser business)

    tests/docs.py [--accept] [--extension NAME] PAGE …

--accept writes what was printed into the output blocks that are there. Connects as PGHOST, PGPORT, PGUSER say.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PSQL = ["psql", "-X", "-q"]
FENCE = re.compile(r"^```(\w*)\s*$")
ERROR = re.compile(r"^(ERROR|FATAL|PANIC): ", re.MULTILINE)
MARK = "==== end of block"
# The superuser of the pages. That of a throw-away cluster has the name of whoever runs this.
USER = "postgres"
BECOME = f"SET SESSION AUTHORIZATION {USER};"


@dataclass
class Block:
    """One ```sql fence; `output` is the line range, within the page, of the output fence after it."""

    line: int
    sql: str
    varies: bool
    output: range | None = None
    printed: str = ""


def read(lines):
    """The runnable blocks of a page."""
    blocks, comment, number = [], None, 0
    after_sql = False
    while number < len(lines):
        line = lines[number].strip()
        fence = FENCE.match(line)
        if fence:
            start = number = number + 1
            while number < len(lines) and lines[number].strip() != "```":
                number += 1
            body = range(start, number)
            if fence[1] == "sql":
                after_sql = comment != "not run"
                if after_sql:
                    text = "\n".join(lines[start:number])
                    blocks.append(Block(start + 1, text, comment == "output varies"))
            else:
                if fence[1] in ("text", "output") and after_sql:
                    blocks[-1].output = body
                after_sql = False
            comment = None
        elif mark := re.fullmatch(r"<!-- (output varies|not run) -->", line):
            comment = mark[1]
        number += 1
    return blocks


def run(page, blocks, extension):
    """Fills in what every block printed, in a database that lives as long as the page is run."""
    database = "docs_" + re.sub(r"\W", "_", page.stem.lower())

    def admin(sql, on="postgres"):
        quiet = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
        subprocess.run([*PSQL, "-d", on, "-v", "ON_ERROR_STOP=1", "-c", BECOME, "-c", sql], check=True, env=quiet)

    admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    admin(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        # A page that shows how to create the extension does it itself.
        shown = re.compile(rf"CREATE\s+EXTENSION\s+(IF\s+NOT\s+EXISTS\s+)?{extension}\b", re.IGNORECASE)
        if extension and not any(shown.search(block.sql) for block in blocks):
            admin(f"CREATE EXTENSION IF NOT EXISTS {extension} CASCADE", database)
        # The semicolon ends a statement whose author forgot it, lest it swallow the next block.
        script = BECOME + "".join(f"{block.sql}\n;\n\\echo {MARK}\n" for block in blocks)
        done = subprocess.run(
            [*PSQL, "-d", database], input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        parts = done.stdout.split(MARK + "\n")
        for block, part in zip(blocks, parts[:-1]):
            block.printed = part
        for block in blocks[len(parts) - 1 :]:
            block.printed = f"FATAL: this block did not end\n{parts[-1]}"
    finally:
        admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def normal(text):
    """Lines without trailing blanks, and without blank lines at either end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def complaint(page, lines, block):
    """Why the block fails, or None."""
    where = f"{page}:{block.line}"
    if block.output is None or block.varies:
        return f"{where}: fails\n{block.printed}" if ERROR.search(block.printed) else None
    shown = normal("\n".join(lines[block.output.start : block.output.stop]))
    printed = normal(block.printed)
    if shown == printed:
        return None
    diff = difflib.unified_diff(shown.split("\n"), printed.split("\n"), where, "printed", lineterm="")
    return "\n".join(diff)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="rewrite the output blocks in place")
    parser.add_argument("--extension", default="pg_persona", help="created in every page's database")
    parser.add_argument("pages", nargs="+", type=Path)
    options = parser.parse_args()

    missing = f"SELECT 'CREATE ROLE {USER} SUPERUSER' WHERE to_regrole('{USER}') IS NULL \\gexec"
    subprocess.run([*PSQL, "-d", "postgres"], input=missing, text=True, check=True)
    passed = failed = 0
    for page in options.pages:
        lines = page.read_text(encoding="utf-8").split("\n")
        blocks = read(lines)
        if not blocks:
            continue
        run(page, blocks, options.extension)
        if options.accept:
            # From the end, so that earlier line numbers stay true.
            for block in reversed(blocks):
                if block.output is not None and not block.varies:
                    lines[block.output.start : block.output.stop] = normal(block.printed).split("\n")
            page.write_text("\n".join(lines), encoding="utf-8")
            blocks = read(lines)
            run(page, blocks, options.extension)
        for block in blocks:
            problem = complaint(page, lines, block)
            if problem:
                print(problem, end="\n\n")
            failed += problem is not None
            passed += problem is None
    print(f"docs: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
