#!/bin/sh
# Makes a Debian repository of packages and all they need, for machines that have no mirror, and packs it.
#   collect.sh [--refresh] FOLDER PACKAGE...      FOLDER/packages/, FOLDER/packages.tar; a PACKAGE may be a .deb file
# Take a machine of the same Debian release and architecture, with its package lists up to date. Does nothing when it
# has been done for the same packages; --refresh does it all the same, for security updates.
set -eu
refresh=no
[ "$1" != --refresh ] || { refresh=yes; shift; }
folder=$1
shift
mkdir -p "$folder/packages/partial"
cd "$folder"
wanted=$(for package in "$@"; do
	case $package in /*.deb) sha256sum "$package" ;; *) echo "$package" ;; esac
done)
[ "$refresh" = no ] && [ -e packages.tar ] && [ "$wanted" = "$(cat wanted 2> /dev/null)" ] && exit 0

# An empty status file makes apt fetch even what this machine has installed, as the others may not have it.
rm -f packages.tar
status=$(mktemp)
trap 'rm -f "$status"' EXIT
apt() {
	apt-get -q -y -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::State::status="$status" \
		-o Dir::Cache::archives="$PWD/packages" --no-install-recommends "$@"
}
apt install --download-only "$@"
for package in "$@"; do
	case $package in /*.deb) cp "$package" packages ;; esac
done
# What was fetched before and is needed no more, or in another version now, goes.
needed=" $(apt -s install "$@" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' | tr '\n' ' ')"
cd packages
for deb in ./*.deb; do
	# shellcheck disable=SC2016
	this=$(dpkg-deb -W --showformat='${Package}=${Version}' "$deb")
	case $needed in *" $this "*) ;; *) rm "$deb" && continue ;; esac
	dpkg-deb -f "$deb"
	printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum < "$deb" | cut -d ' ' -f 1)"
done > Packages
cd ..
rm -rf packages/partial
tar --sort=name --owner=0 --group=0 -cf packages.tar packages
echo "$wanted" > wanted
echo fetched
