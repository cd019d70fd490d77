#!/bin/sh
# Makes the secrets of a compose file that are missing in /secrets, a folder for each service; touches none
# that is there. Each container sees its own folder only, as /run/secrets. Files can be read by every user of
# the container, whatever its number: what keeps others on this machine out is /secrets itself.
#   HOST=isobar.example.org secrets.sh one|cluster      HOST: the name in the certificate
set -eu
umask 022
cd /secrets
chmod 700 . 2>/dev/null || true     # refused where another owns it: then its mode is theirs

have() { # FILE
	mkdir -p "$(dirname "$1")"
	[ -e "$1" ] || { echo "secrets: $1 is made"; return 1; }
}
random() { openssl rand -hex 24; }
put() { # FILE, from stdin; whole or not at all
	cat > "$1.new"
	mv "$1.new" "$1"
}

have isobar/privkey.pem || {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-subj "/CN=$HOST" -addext "subjectAltName=DNS:$HOST,IP:127.0.0.1" \
		-keyout isobar/privkey.new -out isobar/fullchain.pem 2> /dev/null
	chmod 644 isobar/privkey.new
	mv isobar/privkey.new isobar/privkey.pem
	echo "secrets: SELF-SIGNED, no client trusts it: put a certificate into isobar/fullchain.pem and privkey.pem"
}
have grafana/admin_password || random | put grafana/admin_password

[ "$1" = cluster ] || exit 0
have redis/password || random | put redis/password
password=$(cat redis/password)
have redis/auth.conf || printf 'requirepass %s\nmasterauth %s\n' "$password" "$password" | put redis/auth.conf
for n in 1 2 3 4 5 6; do
	have "isobar/redis-$n.url" || echo "redis://:$password@redis$n:6379" | put "isobar/redis-$n.url"
done
