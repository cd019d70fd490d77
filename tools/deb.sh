#!/bin/sh
# Makes the Debian package from a built program, with dpkg's own tools and no debhelper.
#   tools/deb.sh PROGRAM VERSION FOLDER      FOLDER/isobar_VERSION_ARCH.deb
# Whom to ask about the package is who builds it, MAINTAINER="Name <address>" in the environment; the
# name it has without is of a domain that nobody has (RFC 2606).
set -eu
program=$1 version=$2 out=$3
cd "$(dirname "$0")/.."
arch=$(dpkg --print-architecture)
root=$out/root
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/etc/isobar/sources.d" "$out/debian"
from=deploy/debian
maintainer=${MAINTAINER:-Isobar maintainers <maintainers@isobar.example.org>}
umask 022

tools/man.sh "$program" "$version" "$out/man"
put() { # MODE FILE PLACE
	install -D -m "$1" "$2" "$root/$3"
}
put 755 "$program" usr/bin/isobar
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/isobar"
put 644 "$from/isobar.service" lib/systemd/system/isobar.service
put 644 "$from/isobar.sysusers" usr/lib/sysusers.d/isobar.conf
put 644 "$from/isobar.tmpfiles" usr/lib/tmpfiles.d/isobar.conf
put 644 "$from/isobar.yaml" etc/isobar/isobar.yaml
put 644 "$from/copyright" usr/share/doc/isobar/copyright
put 644 "$out/man/isobar.bash" usr/share/bash-completion/completions/isobar
put 644 "$out/man/isobar.1" usr/share/man/man1/isobar.1
put 644 "$out/man/isobar.yaml.5" usr/share/man/man5/isobar.yaml.5
put 644 CHANGELOG.md usr/share/doc/isobar/CHANGELOG.md
printf 'isobar (%s) stable; urgency=medium\n\n  * What changed stands in CHANGELOG.md.gz.\n\n -- %s  %s\n' \
	"$version" "$maintainer" "$(date -R -r VERSION)" > "$root/usr/share/doc/isobar/changelog"
gzip -9n "$root"/usr/share/man/man*/* "$root"/usr/share/doc/isobar/[cC][hH]*
for script in postinst prerm postrm; do put 755 "$from/$script" "DEBIAN/$script"; done
echo /etc/isobar/isobar.yaml > "$root/DEBIAN/conffiles"
(cd "$root" && find usr lib -type f -exec md5sum {} + | sort -k 2 > DEBIAN/md5sums)

# What the program is linked with says what it depends on.
printf 'Source: isobar\n\nPackage: isobar\nArchitecture: any\n' > "$out/debian/control"
libraries=$(cd "$out" && dpkg-shlibdeps -O "root/usr/bin/isobar" | sed 's/^shlibs:Depends=//')
size=$(du -k -s --exclude=DEBIAN "$root" | cut -f 1)
cat > "$root/DEBIAN/control" <<EOF
Package: isobar
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size
Depends: $libraries, init-system-helpers (>= 1.54~), procps, systemd | systemd-standalone-sysusers
Section: net
Priority: optional
Description: WIS2 Global Broker
 An MQTT broker on an append-only journal for the WMO Information System 2.0: it
 takes notifications from WIS2 Nodes, judges them by the rules of WIS2, drops
 duplicates, and serves them to any number of subscribers.
EOF
touch -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y VERSION)}" "$root"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/isobar_${version}_$arch.deb"
