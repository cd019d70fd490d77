#!/bin/sh
# A Global Broker with simulated WIS2 Nodes as its sources: `make run`.
#   tools/demo.sh ISOBAR
# Data goes to ./isobar-data, or to the folder named by ISOBAR_DATA. Ctrl-C ends everything.
set -eu

isobar=$1
data=${ISOBAR_DATA:-$PWD/isobar-data}
case $data in /*) ;; *) data=$PWD/$data ;; esac
folder=$(mktemp -d "${TMPDIR:-/tmp}/isobar-demo.XXXXXX")
nodes=10
simulator='' broker='' reader='' ended=''

# Ends both, the broker first so that it can still tell its sources; called once.
finish() {
	status=$?
	trap '' INT TERM
	trap - EXIT
	for pid in $broker $simulator; do
		kill -TERM "$pid" 2>/dev/null || true
	done
	for pid in $broker $simulator $reader; do
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$folder"
	[ -z "$ended" ] || status=0
	exit "$status"
}
trap finish EXIT
trap 'ended=yes; exit 0' INT TERM

# Both run in the background of this script, where a shell without job control lets them ignore
# Ctrl-C: they are told by finish() instead, and in order.
"$isobar" simulate --list-centres --nodes "$nodes" > "$folder/centres"
mkfifo "$folder/said" "$folder/log"
"$isobar" simulate --listen mqtt://127.0.0.1:0 --nodes "$nodes" --rate 50 --duplicates 0.2 \
	--invalid 0.02 > "$folder/said" 2> "$folder/simulate.log" &
simulator=$!
exec 3< "$folder/said"
url=
while IFS= read -r line <&3; do
	case $line in listening\ *) url=${line#listening }; break ;; esac
done
if [ -z "$url" ]; then
	echo "demo: the simulated WIS2 Nodes did not start:" >&2
	cat "$folder/simulate.log" >&2
	exit 3
fi
cat <&3 > /dev/null &
reader=$!
exec 3<&-

# Defaults all through: the file only says where the data goes and names the sources' folder.
mkdir "$folder/sources.d"
while IFS= read -r centre; do
	printf 'centre_id: %s\nurl: %s\n' "$centre" "$url" > "$folder/sources.d/$centre.yaml"
done < "$folder/centres"
printf 'data_dir: "%s"\n' "$data" > "$folder/isobar.yaml"

"$isobar" run -c "$folder/isobar.yaml" 2> "$folder/log" &
broker=$!
exec 4< "$folder/log"
ready='' taken=''
while IFS= read -r line <&4; do
	printf '%s\n' "$line" >&2
	case $line in
	*' cli ready '*) ready=yes; break ;;
	*' cannot_listen '*) taken=yes ;;
	esac
done
if [ -z "$ready" ]; then
	[ -z "$taken" ] || echo "demo: the broker needs 127.0.0.1:1883 (MQTT) and 127.0.0.1:8080" \
		"(HTTP) for itself; stop what listens there (another broker?) and try again" >&2
	wait "$broker" || exit $?
	exit 3
fi

cat <<TEXT

Isobar serves $nodes simulated WIS2 Nodes, 50 notifications a second.
  overview   http://127.0.0.1:8080/
  metrics    http://127.0.0.1:8080/metrics
  MQTT       mqtt://everyone:everyone@127.0.0.1:1883
Subscribe in another terminal:
  $isobar sub -b mqtt://everyone:everyone@127.0.0.1:1883 'origin/a/wis2/#'
TEXT
if command -v mosquitto_sub > /dev/null; then
	echo "  mosquitto_sub -h 127.0.0.1 -u everyone -P everyone -v -t 'origin/a/wis2/#'"
fi
echo "Ctrl-C ends it; data is in $data"
echo

# What the broker logs from here on, until it ends by itself or this script is told to.
cat <&4 >&2 &
reader="$reader $!"
exec 4<&-
wait "$broker"
