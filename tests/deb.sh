#!/usr/bin/env bash
# Packs what `make` staged as a Debian package: tests/deb.sh EXTENSION VERSION PG_MAJOR
set -euo pipefail
cd "$(dirname "$0")/.."

extension=$1 version=$2 major=$3
package=postgresql-$major-${extension//_/-}
architecture=$(dpkg --print-architecture)
work=target/deb/$major root=target/deb/$major/root

rm -rf "$work" && mkdir -p "$root/DEBIAN" "$work/debian"
make -s install DESTDIR="$PWD/$root"
install -D -m 644 LICENSE "$root/usr/share/doc/$package/copyright"
install -D -m 644 README.md CHANGELOG.md -t "$root/usr/share/doc/$package"

# The versions of the C library the build really needs; dpkg-shlibdeps wants a source package around it.
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$package" "$package" > "$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O "root$("${PG_CONFIG:-pg_config}" --pkglibdir)/$extension.so" | sed 's/^shlibs:Depends=//')

cat > "$root/DEBIAN/control" <<CONTROL
Package: $package
Version: $version-1
Section: database
Priority: optional
Architecture: $architecture
Depends: postgresql-$major${libraries:+, $libraries}
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Maintainer: pg_persona developers
Description: personalization beside the data, for PostgreSQL $major
 Recommendations, segments, drift and experiments as SQL functions,
 aggregates and tables.
CONTROL
dpkg-deb --root-owner-group --build "$root" "target/${package}_${version}-1_$architecture.deb"
