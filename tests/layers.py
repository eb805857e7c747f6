"""The floors: a folder of src imports from its own floor and those below it, a wing from no other wing, and a crate of the
mathematics from the crates below it."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What each folder of src may import from, beside itself. Whatever is not named is a wing.
BELOW = {"pg": set(), "source": {"pg"}, "values": {"pg"}, "models": {"pg", "source"}}
WING = {"pg", "source", "models"}

# The same for the crates.
CRATES = {
    "base": set(), "values": {"base"}, "features": {"base"}, "vectors": {"base"}, "segments": {"base", "features"},
    "recommenders": {"base", "features", "vectors"}, "tuning": set(),
}  # fmt: skip

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


def wrong_crates():
    """The crates that depend on one that is not below them, or that have no floor yet."""
    for file in sorted((ROOT / "crates").glob("*/Cargo.toml")):
        name = file.parent.name
        if name not in CRATES:
            yield f"crates/{name} is on no floor: tests/layers.py lists them"
            continue
        depends = {each for each, spec in tomllib.loads(file.read_text()).get("dependencies", {}).items() if "path" in spec}
        for other in sorted(depends - CRATES[name]):
            yield f"crates/{name} depends on {other}"


def main():
    folders = [each for each in sorted((ROOT / "src").iterdir()) if each.is_dir()]
    found = [line for folder in folders for line in wrong(folder)] + list(wrong_crates())
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))


main()
