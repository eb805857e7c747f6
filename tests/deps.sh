#!/usr/bin/env bash
# Installs what building and testing need. Says nothing, needs no network and no root when everything is there.
set -euo pipefail

say() { echo "deps: $*" >&2; }

if ! command -v cargo >/dev/null; then
  say "Rust is missing: install rustc and cargo (1.95 or newer) with rustup, then run this again"
  exit 1
fi

pg_config=${PG_CONFIG:-pg_config}
# The major version: that of pg_config, or the one its path names, or Debian's own.
major=$("$pg_config" --version 2>/dev/null | sed -E 's/[^0-9]*([0-9]+).*/\1/') ||
  major=$(sed -nE 's,.*/postgresql/([0-9]+)/.*,\1,p' <<<"$pg_config")

have() { [[ $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null) == *" installed" ]]; }

missing() {
  # A server that Debian did not package may bring its headers itself.
  [[ -x $("$pg_config" --bindir)/postgres ]] || echo "postgresql-$major"
  [[ -e $("$pg_config" --includedir-server)/postgres.h ]] || echo "postgresql-server-dev-$major"
  for package in postgresql-common libclang-dev build-essential; do
    have "$package" || echo "$package"
  done
  command -v python3 >/dev/null || echo python3
  # make check-spot makes a virtual environment; Debian's python3 comes without what that needs.
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
  # make test-long asks for them.
  if [[ -n ${LONG:-} ]]; then
    for package in sqlsmith valgrind; do have "$package" || echo "$package"; done
  fi
} 2>/dev/null

# make demo reads the package lists; small container images come without.
lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

if [[ -n $major && -z $(missing) ]] && lists; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  say "not a Debian machine: PostgreSQL with its server headers and pg_virtualenv, libclang and python3 are yours to install"
  exit 1
fi
root=(); [[ $(id -u) == 0 ]] || root=(sudo)
"${root[@]}" apt-get update -qq
: "${major:=$(apt-cache depends postgresql | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p')}"
mapfile -t packages < <(missing)
if [[ ${#packages[@]} == 0 ]]; then exit 0; fi
say "installing ${packages[*]}"

# Debian starts a cluster when it installs a server. Nothing here needs one, and it would hold port 5432 and memory.
dropin=/etc/postgresql-common/createcluster.d/pg_persona.conf
if ! have "postgresql-$major"; then
  trap '"${root[@]}" rm -f "$dropin"' EXIT
  "${root[@]}" mkdir -p "${dropin%/*}"
  echo 'create_main_cluster = false' | "${root[@]}" tee "$dropin" >/dev/null
fi
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
