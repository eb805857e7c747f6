#!/usr/bin/env bash
# The data of docs/demo.sql as rows for COPY.
#   docs/demo_data.sh packages     of this machine's package lists: name, one-line description, section
#   docs/demo_data.sh uses         package, package that it depends on or recommends
#   docs/demo_data.sh orders       of a shop, as CSV: customer, date, number of CDs, dollars
# Of alternatives (a | b) in the package lists the first counts; versions and architectures are cut off.
set -euo pipefail

table=${1:?packages, uses or orders}

# CDNOW, 69,659 orders of 23,570 customers who first bought in early 1997, as a Python package ships it (MIT licence).
# It is fetched once; where it cannot be, there are no rows and a line says so.
orders() {
  local folder=target/demo file=CDNOW_master.txt pip=(python3 -m pip)
  local wheel=lifetimes==0.11.3 hash=261e3dc89977c2b60767ca6728aaa29d429de0c814635070a749c36555895da8
  if [[ ! -s $folder/$file ]]; then
    mkdir -p "$folder"
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
      if python3 -m venv "$folder/venv" >/dev/null 2>&1; then pip=("$folder/venv/bin/pip"); fi
    fi
    if "${pip[@]}" download --quiet --disable-pip-version-check --retries 1 --timeout 10 --no-deps \
        --only-binary :all: --dest "$folder" --require-hashes -r <(echo "$wheel --hash=sha256:$hash") 2>"$folder/log"; then
      python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
        "$folder"/[Ll]ifetimes-*.whl "lifetimes/datasets/$file" >"$folder/part"
      mv "$folder/part" "$folder/$file"
      rm -rf "$folder"/[Ll]ifetimes-*.whl "$folder/venv"
    else
      echo "demo: no orders: pip could not get $wheel (see $folder/log); or put $file of it into $folder" >&2
      return
    fi
  fi
  awk 'NR > 1 { print $1 "," $2 "," $3 "," $4 }' "$folder/$file"
}
if [[ $table == orders ]]; then orders; exit; fi

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
