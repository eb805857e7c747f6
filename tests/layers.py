"""The floors of the library: a file imports from its own floor and from those below it, and a wing from no other wing."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What each folder of src may import from, beside itself. Whatever is not named is a wing.
BELOW = {"pg": set(), "source": {"pg"}, "values": {"pg"}, "models": {"pg", "source"}}
WING = {"pg", "source", "models"}

PATH = re.compile(r"\bcrate::(\w+)")
SEVERAL = re.compile(r"\buse crate::\{([^}]*)\}")


def imported(text):
    """The folders that a file names."""
    code = re.sub(r"//[^\n]*", "", text)
    return set(PATH.findall(code)) | {name.split("::")[0].strip() for each in SEVERAL.findall(code) for name in each.split(",") if name.strip()}


def wrong(folder):
    """What a folder imports and must not."""
    allowed = BELOW.get(folder.name, WING) | {folder.name}
    for file in sorted(folder.rglob("*.rs")):
        for name in sorted(imported(file.read_text()) - allowed):
            yield f"{file.relative_to(ROOT)} imports {name}"


def main():
    folders = [each for each in sorted((ROOT / "src").iterdir()) if each.is_dir()]
    found = [line for folder in folders for line in wrong(folder)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))


main()
