#!/bin/sh
# What certbot has renewed is taken into use on this machine at once; the others get it with the next run of site.yml.
set -eu
umask 077
[ "${RENEWED_LINEAGE##*/}" = isobar ] || exit 0
# Isobar looks at them every two seconds, in any order.
install -g "$(stat -c %G /etc/isobar)" -m 640 "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" /etc/isobar/
[ -d /etc/haproxy/certs ] || exit 0
cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" > /etc/haproxy/isobar.pem.new
chgrp haproxy /etc/haproxy/isobar.pem.new
chmod 640 /etc/haproxy/isobar.pem.new
mv /etc/haproxy/isobar.pem.new /etc/haproxy/certs/isobar.pem
systemctl reload haproxy
