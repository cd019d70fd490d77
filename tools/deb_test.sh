#!/bin/sh
# Installs the package into a fresh Debian, starts it, upgrades it, removes it. Needs root and a Debian mirror;
# nothing runs in there but the package. systemd does not run in a chroot: the unit is checked by
# `systemd-analyze verify`, its start and stop by hand, as it says.
#   tools/deb_test.sh PROGRAM VERSION FOLDER
set -eu
if [ "${INSIDE:-}" != yes ]; then
	cd "$(dirname "$0")/.."
	out=$(realpath -m "$3")
	mkdir -p "$out"
	tools/deb.sh "$1" "$2" "$out/first"
	tools/deb.sh "$1" "$2+next" "$out/next"
	[ -e "$out/base/etc/debian_version" ] ||
		debootstrap --variant=minbase "${SUITE:-bookworm}" "$out/base" > "$out/debootstrap.log"
	rm -rf "$out/debian"
	cp -a "$out/base" "$out/debian"
	cp "$out"/first/*.deb "$out"/next/*.deb tools/deb_test.sh "$out/debian/root/"
	cp /etc/resolv.conf "$out/debian/etc/resolv.conf"
	# Processes and mounts in there end with it.
	exec unshare --mount --pid --fork --kill-child sh -c \
		'mount -t proc proc "$1/proc" && mount -o bind /dev "$1/dev" && exec chroot "$1" /usr/bin/env INSIDE=yes \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive bash /root/deb_test.sh "$2"' sh "$out/debian" "$2"
fi

fail() { echo "deb_test: $*" >&2; exit 1; }

start() {
	install -d -o isobar -g isobar -m 750 /var/lib/isobar    # StateDirectory=
	setpriv --reuid isobar --regid isobar --init-groups --no-new-privs isobar run 2>> /root/log &
	pid=$!
	for _ in $(seq 100); do isobar health > /dev/null 2>&1 && return; sleep 0.1; done
	cat /root/log >&2
	fail "it is not ready"
}

stop() {
	kill -TERM "$pid"
	wait "$pid" || fail "it ended with status $?"
}

# Connects by MQTT 3.1.1 with a session that lasts; prints whether it was there already (01) or not (00).
session() {
	exec 3<> /dev/tcp/127.0.0.1/1883
	printf '\x10\x21\0\4MQTT\4\xc0\0\x3c\0\1k\0\010everyone\0\010everyone' >&3
	head -c 4 <&3 | od -An -tx1 | { read -r type length present code; [ "$type$length$code" = 200200 ] && echo "$present"; }
	exec 3>&-
}

apt-get -q update > /root/apt.log 2>&1 || fail "no Debian mirror: $(tail -n 3 /root/apt.log)"
apt-get -qy install --no-install-recommends "/root/isobar_$1_$(dpkg --print-architecture).deb" >> /root/apt.log 2>&1 ||
	{ cat /root/apt.log >&2; fail "it does not install"; }
id isobar > /dev/null || fail "no user"
[ "$(stat -c '%U:%G %a' /etc/isobar/isobar.yaml)" = "root:isobar 640" ] || fail "rights of the configuration"
isobar check > /dev/null || fail "the default configuration"
systemd-analyze verify isobar.service 2>&1 | grep -v 'man isobar' | grep -q isobar && fail "the unit"
gzip -t /usr/share/man/man1/isobar.1.gz /usr/share/man/man5/isobar.yaml.5.gz
bash -n /usr/share/bash-completion/completions/isobar
echo "installed: $(isobar version | head -n 1)"

start
echo secret | isobar account add ops --admin > /dev/null || fail "account add"
[ "$(stat -c '%U:%G %a' /etc/isobar/accounts.yaml)" = "root:isobar 640" ] || fail "rights of the accounts"
[ "$(session)" = 00 ] || fail "no session"
echo "started, told of an account, a session made"

echo '# of the operator' >> /etc/isobar/isobar.yaml
dpkg -i /root/isobar_*+next_*.deb >> /root/apt.log 2>&1 || { cat /root/apt.log >&2; fail "it does not upgrade"; }
grep -q '# of the operator' /etc/isobar/isobar.yaml || fail "the configuration was replaced"
stop
start
[ "$(session)" = 01 ] || fail "the session is lost"
echo "upgraded: configuration and session are there"

stop
dpkg -r isobar >> /root/apt.log 2>&1 || fail "it does not go"
[ ! -e /usr/bin/isobar ] && [ -e /var/lib/isobar/journal ] && [ -e /etc/isobar/isobar.yaml ] || fail "what is left"
dpkg -P isobar >> /root/apt.log 2>&1 || fail "it cannot be purged"
[ ! -e /var/lib/isobar ] && [ ! -e /etc/isobar/isobar.yaml ] || fail "what is left after a purge"
echo "removed and purged"
echo "1 passed, 0 failed, 0 skipped"
