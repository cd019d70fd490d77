#!/bin/sh
# Makes a Redis Cluster of six nodes, three masters with a replica each, if they are not one yet; ends with 0
# when the cluster serves.
#   create.sh HOST...
set -eu
REDISCLI_AUTH=$(cat /run/secrets/password)
export REDISCLI_AUTH
first=$1

info() { redis-cli -h "$1" cluster info | tr -d '\r' | sed -n "s/^$2://p"; }

if [ "$(info "$first" cluster_known_nodes)" = 1 ]; then
	nodes=
	for host in "$@"; do # by address: that is how they know each other
		nodes="$nodes $(getent hosts "$host" | cut -d ' ' -f 1):6379"
	done
	# shellcheck disable=SC2086
	redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
for host in "$@"; do
	tries=0
	until [ "$(info "$host" cluster_state)" = ok ] && [ "$(info "$host" cluster_known_nodes)" = $# ] &&
		[ "$(info "$host" cluster_slots_ok)" = 16384 ]; do
		tries=$((tries + 1))
		[ $tries -le 120 ] || { echo "create: $host is in no whole cluster" >&2; exit 1; }
		sleep 0.5
	done
done
echo "create: $# nodes, 16384 slots"
