#!/bin/sh
# Installs the Debian packages of tools/packages.txt that are missing.
#   tools/packages.sh PURPOSE...
set -eu
cd "$(dirname "$0")"

missing=
for purpose in "$@"; do
	while read -r has package unless command; do
		[ "$has" = "$purpose" ] || continue
		[ "$unless" = unless ] && command -v "$command" >/dev/null && continue
		dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
			missing="$missing $package"
	done < packages.txt
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	echo "These Debian packages are missing; install them as root:$missing" >&2
	exit 3
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# A policy that starts no service while installing: tests start their own.
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
