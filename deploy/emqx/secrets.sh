#!/bin/sh
# Makes what is missing below deploy/emqx/secrets: users, cookie, password of the dashboard, a certificate.
# Touches nothing that is there.      HOST=emqx.example.org secrets.sh      HOST: the name in the certificate
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets/tls
chmod 711 secrets secrets/tls
random() { openssl rand -hex 24; }

[ -e secrets/gb.password ] || random > secrets/gb.password
# Read by the container's user, whose number is 1000.
[ -e secrets/users.csv ] || {
	printf 'user_id,password,is_superuser\neveryone,everyone,false\ngb,%s,false\n' "$(cat secrets/gb.password)" \
		> secrets/users.csv
	chmod 644 secrets/users.csv
}
[ -e secrets/cluster.env ] ||
	printf 'EMQX_NODE__COOKIE=%s\nEMQX_DASHBOARD__DEFAULT_PASSWORD=%s\n' "$(random)" "$(random)" > secrets/cluster.env
[ -e secrets/tls/privkey.pem ] || {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-subj "/CN=${HOST:-localhost}" -addext "subjectAltName=DNS:${HOST:-localhost},IP:127.0.0.1" \
		-keyout secrets/tls/privkey.pem -out secrets/tls/fullchain.pem 2> /dev/null
	chmod 644 secrets/tls/privkey.pem secrets/tls/fullchain.pem
	echo "SELF-SIGNED, no client trusts it: put a certificate into deploy/emqx/secrets/tls"
}
echo "Isobar publishes there as gb, with the password in deploy/emqx/secrets/gb.password"
