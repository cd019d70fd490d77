#!/bin/sh
# Restarts the Redis instances of this machine, one after the other; each has to be whole again before the next.
#   restart.sh ADDRESS PORT...      REDISCLI_AUTH: password; OPTIONS: of redis-cli
set -eu
address=$1
shift
[ -n "${REDISCLI_AUTH:-}" ] || unset REDISCLI_AUTH

ask() { # PORT COMMAND...
	# shellcheck disable=SC2086
	redis-cli $OPTIONS -h "$address" -p "$@" 2> /dev/null | tr -d '\r'
}

whole() { # PORT: in its cluster, and up to date; an instance without a cluster only has to answer
	[ "$alone" = no ] || { [ "$(ask "$1" ping)" = PONG ]; return; }
	ask "$1" cluster info | grep -q '^cluster_state:ok' &&
		ask "$1" info replication | grep -q '^role:master\|^master_link_status:up'
}

for port in "$@"; do
	alone=yes
	# Of nodes.conf, as the instance may not answer by the settings it is to get.
	[ "$(grep -c 'master\|slave' "/var/lib/redis/$port/nodes.conf" 2> /dev/null || true)" -gt 1 ] && alone=no
	systemctl restart "redis-server@$port"
	tries=0
	until whole "$port"; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "redis-server@$port is not whole again after a minute" >&2; exit 1; }
		sleep 0.2
	done
done
