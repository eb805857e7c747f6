#!/usr/bin/env bash
# The package lists of this machine as rows for COPY.
#   docs/demo_data.sh packages     name, one-line description, section
#   docs/demo_data.sh uses         package, package that it depends on or recommends
# Of alternatives (a | b) the first counts; versions and architectures are cut off.
set -euo pipefail

table=${1:?packages or uses}
lists=$(mktemp)
trap 'rm -f "$lists"' EXIT
apt-cache dumpavail > "$lists"
if [[ $(grep -c '^Package: ' "$lists") -lt 1000 ]]; then
  echo "demo: this machine has no package lists: run 'apt-get update' first" >&2
  exit 1
fi

awk -v table="$table" '
  function field(text) { gsub(/\\/, "\\\\", text); gsub(/\t/, " ", text); return text }
  function value() { return substr($0, index($0, ": ") + 2) }
  function flush(    count, parts, i, item, used) {
    # A package that stands in two suites is taken once.
    if (name != "" && !(name in seen)) {
      seen[name]
      if (table == "packages") {
        print field(name) "\t" field(title) "\t" field(section)
      } else {
        count = split(needs, parts, /, */)
        for (i = 1; i <= count; i++) {
          item = parts[i]
          sub(/[ :(|].*/, "", item)
          if (item != "" && item != name && !(item in used)) { used[item]; print field(name) "\t" field(item) }
        }
      }
    }
    name = title = section = needs = ""
  }
  /^Package: / { flush(); name = value() }
  /^Description(-[A-Za-z_]+)?: / { title = value() }
  /^Section: / { section = value() }
  /^(Depends|Recommends): / { needs = needs ", " value() }
  END { flush() }
' "$lists"
