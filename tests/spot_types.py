#!/usr/bin/env python3
"""Prints the types without a schema in the bodies of functions that resolve names when they run; fails where there are any.

    tests/spot_types.py SCRIPT

Such a body is one in quotes, of a function without a search path of its own. The line is that of the script.
"""

import re
import sys
from pathlib import Path

# A statement that makes a function or runs a block, up to its body, and the body in dollar quotes.
ROUTINE = re.compile(
    r"^(?P<head>(?:CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)|DO)\b(?:(?!;[ \t]*$).)*?)(?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)(?P<tail>[^;]*);",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
IN_QUOTES = re.compile(r"\bLANGUAGE\s+(plpgsql|sql)\b.*\bAS\s*$", re.DOTALL | re.IGNORECASE)
STRINGS = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
DECLARE = re.compile(r"\bDECLARE\b(.*?)\bBEGIN\b", re.DOTALL | re.IGNORECASE)
# name [CONSTANT] type …
VARIABLE = re.compile(r"^\s*(?P<name>\w+)\s+(?:CONSTANT\s+)?(?P<type>[\w.]+)", re.IGNORECASE)
CAST = re.compile(r"::\s*(?P<type>[\w.]+)|\bCAST\s*\((?:[^()]|\([^()]*\))*?\bAS\s+(?P<cast>[\w.]+)", re.IGNORECASE)
# Words of PL/pgSQL that are no types.
NO_TYPES = {"record", "cursor", "refcursor", "alias", "scroll", "no"}
SCHEMAS = ("pg_catalog.", "persona.", "persona_internal.")


def blank(found):
    """Spaces in place of a comment or a string, so that offsets stay."""
    return re.sub(r"[^\n]", " ", found[0])


def unqualified(body):
    """(offset, text) of each type without a schema."""
    body = STRINGS.sub(blank, body)
    for block in DECLARE.finditer(body):
        at = block.start(1)
        for declaration in block[1].split(";"):
            found = VARIABLE.match(declaration)
            if found and found["type"].lower() not in NO_TYPES and not found["type"].lower().startswith(SCHEMAS):
                yield at + found.start("type"), f"{found['name']} {found['type']}"
            at += len(declaration) + 1
    for found in CAST.finditer(body):
        word = found["type"] or found["cast"]
        if not word.lower().startswith(SCHEMAS):
            yield found.start(), f"::{word}"


def main():
    script = Path(sys.argv[1]).read_text(encoding="utf-8")
    faults = bodies = 0
    for routine in ROUTINE.finditer(script):
        head, around = routine["head"], routine["head"] + routine["tail"]
        block = head.lstrip().upper().startswith("DO")
        if not block and not IN_QUOTES.search(head) or re.search(r"\bSET\s+search_path\b", around, re.IGNORECASE):
            continue
        bodies += 1
        # A block runs once, with the script, whose search path is pinned.
        if block:
            continue
        for offset, text in unqualified(routine["body"]):
            line = script.count("\n", 0, routine.start("body") + offset) + 1
            print(f"{sys.argv[1]}:{line}: type without a schema: {text}")
            faults += 1
    if not bodies:
        print(f"{sys.argv[1]}: no body in quotes was found")
    return 1 if faults or not bodies else 0


if __name__ == "__main__":
    sys.exit(main())
