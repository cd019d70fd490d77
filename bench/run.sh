#!/bin/bash
# Isobar beside Debian's mosquitto: fan-out, latency, intake, idle memory.
#
#   bench/run.sh BUILD/isobar      (make bench)
#
# What is measured and how to read it stands in bench/README.md. Settings by environment:
#   BENCH_SUBSCRIBERS 100   BENCH_MESSAGES 20000 (fan-out)   BENCH_PAIRS 3   BENCH_SIZE 1200
#   BENCH_SECONDS 10 (latency)   BENCH_INTAKE 200000 (intake)   BENCH_SOURCE_PROTOCOL 5
#   BENCH_TIMEOUT 300 (each run)
#   BENCH_PARTS "fan_out_0 fan_out_1 latency intake idle stopped resume"; of the last two: bench/live.sh
# Exit status: 0 when both brokers delivered the same exact counts and everything was taken in.
set -eu
isobar=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
result=$(dirname "$isobar")/bench.json
: "${BENCH_SUBSCRIBERS:=100}" "${BENCH_MESSAGES:=20000}" "${BENCH_PAIRS:=3}" "${BENCH_SIZE:=1200}"
: "${BENCH_SECONDS:=10}" "${BENCH_INTAKE:=200000}" "${BENCH_TIMEOUT:=300}" "${BENCH_SOURCE_PROTOCOL:=5}"
: "${BENCH_PARTS:=fan_out_0 fan_out_1 latency intake idle stopped resume}"

dir=$(mktemp -d)
lines=$dir/lines            # one JSON object a line: {"what":..., "broker":..., "result":...}
mosquitto_pid='' isobar_pid=''
stop_all() {
	for pid in $mosquitto_pid $isobar_pid; do
		kill -CONT "$pid" 2> /dev/null || true
		kill "$pid" 2> /dev/null || true
	done
	for pid in $mosquitto_pid $isobar_pid; do
		wait "$pid" 2> /dev/null || true
	done
	rm -rf "$dir"
}
trap stop_all EXIT
trap 'exit 3' INT TERM

# What was measured until then is shown all the same.
die() {
	echo "bench: $*" >&2
	/usr/bin/python3 "$here/summary.py" "$lines" "$result" || true
	exit 1
}

# Broker on core 0, load on core 1, where there are two.
if [ "$(nproc)" -ge 2 ] && command -v taskset > /dev/null; then
	broker_core='taskset -c 0' load_core='taskset -c 1'
else
	broker_core='' load_core=''
	echo "bench: one core only: broker and load share it" >&2
fi
command -v mosquitto > /dev/null || PATH=$PATH:/usr/sbin
command -v mosquitto > /dev/null || die "mosquitto is not installed"

free_port() {
	/usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_port() { # PORT PID
	for _ in $(seq 200); do
		if (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; then
			return
		fi
		kill -0 "$2" 2> /dev/null || die "a broker ended at its start: $(tail -n 5 "$dir"/*.log)"
		sleep 0.05
	done
	die "nothing listens on port $1"
}

# --- the two brokers --------------------------------------------------------

mosquitto_port=$(free_port)
cat > "$dir/mosquitto.conf" <<CONF
listener $mosquitto_port 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
set_tcp_nodelay true
log_type none
CONF

isobar_port=$(free_port)
http_port=$(free_port)
cat > "$dir/isobar.yaml" <<CONF
data_dir: $dir/data
workers: 1
listeners: ["mqtt://127.0.0.1:$isobar_port", "http://127.0.0.1:$http_port"]
accounts_file: $dir/accounts.yaml
sources: $dir/sources.d
limits: {sessions_per_address: 0}
journal: {keep: 24h, size: 4GiB, sync: 1s}
log: {level: warn}
CONF
cat > "$dir/accounts.yaml" <<CONF
- user: bench
  password: bench
  read: ["#"]
  write: ["#"]
CONF
mkdir "$dir/sources.d"

start_mosquitto() { # CORE
	$1 mosquitto -c "$dir/mosquitto.conf" > "$dir/mosquitto.log" 2>&1 &
	mosquitto_pid=$!
	wait_port "$mosquitto_port" "$mosquitto_pid"
}

stop_mosquitto() {
	kill "$mosquitto_pid"
	wait "$mosquitto_pid" 2> /dev/null || true
	mosquitto_pid=''
}

start_isobar() {
	$broker_core "$isobar" run -c "$dir/isobar.yaml" > "$dir/isobar.log" 2>&1 &
	isobar_pid=$!
	wait_port "$http_port" "$isobar_pid"
}

stop_isobar() { # "keep" leaves the journal
	kill "$isobar_pid"
	wait "$isobar_pid" 2> /dev/null || true
	isobar_pid=''
	[ "${1:-}" = keep ] || rm -rf "$dir/data"
}

url_of() {
	case $1 in
	mosquitto) echo "mqtt://127.0.0.1:$mosquitto_port" ;;
	isobar) echo "mqtt://bench:bench@127.0.0.1:$isobar_port" ;;
	esac
}

note() { # WHAT BROKER JSON
	printf '{"what":"%s","broker":"%s","result":%s}\n' "$1" "$2" "$3" >> "$lines"
}

# A fresh broker, one run of the load generator against it.
measure() { # WHAT BROKER OPTIONS...
	local what=$1 broker=$2 pid line
	shift 2
	if [ "$broker" = mosquitto ]; then
		start_mosquitto "$broker_core"
		pid=$mosquitto_pid
	else
		start_isobar
		pid=$isobar_pid
	fi
	line=$($load_core "$isobar" bench -b "$(url_of "$broker")" --pid "$pid" \
		--timeout "${BENCH_TIMEOUT}s" --size "$BENCH_SIZE" "$@") ||
		die "$broker, $what: not everything arrived once and in order: $line"
	"stop_$broker"
	note "$what" "$broker" "$line"
	echo "  $what, $broker: done" >&2
}

# --- (a) fan-out, (b) latency -------------------------------------------------

fan_out() { # QOS
	local pair broker
	for pair in $(seq "$BENCH_PAIRS"); do
		for broker in mosquitto isobar; do
			measure "fan-out QoS $1" "$broker" -s "$BENCH_SUBSCRIBERS" -q "$1" --publish-qos 1 \
				-m "$BENCH_MESSAGES" --ahead 1000
		done
	done
}

latency() {
	local broker
	for broker in mosquitto isobar; do
		measure "latency" "$broker" -s 1 -q 1 -r 1000 -m $((1000 * BENCH_SECONDS))
	done
}

# --- (c) intake ---------------------------------------------------------------

metric() { # NAME: sum over its samples
	/usr/bin/python3 - "$http_port" "$1" <<'PY'
import sys, urllib.request
total = 0.0
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=10) as answer:
    for line in answer.read().decode().splitlines():
        if line.startswith(sys.argv[2] + "{") or line.startswith(sys.argv[2] + " "):
            total += float(line.rsplit(" ", 1)[1])
print(int(total))
PY
}

wait_metric() { # NAME LEAST: until it is there, or has not moved for 15 seconds
	local value last='' since=$SECONDS
	while value=$(metric "$1") && [ "$value" -lt "$2" ]; do
		[ "$value" = "$last" ] || since=$SECONDS
		last=$value
		[ $((SECONDS - since)) -lt 15 ] ||
			die "$1 stays at $value, $2 expected: $(tail -n 3 "$dir/isobar.log")"
		sleep 0.05
	done
}

cpu_seconds() { # PID: of all its threads (clock_getcpuclockid(3), to the nanosecond)
	/usr/bin/python3 -c 'import sys, time
print(time.clock_gettime(~int(sys.argv[1]) << 3 | 2))' "$1"
}

# What a real mosquitto has queued for the session of one source is taken in by one worker: first
# the session is made, then the queue is filled, then Isobar comes back and takes it. Mosquitto
# stands still while Isobar starts, so that the start is not counted.
intake() {
	local before after seconds began
	cat > "$dir/sources.d/io-wis2dev-11-test.yaml" <<CONF
centre_id: io-wis2dev-11-test
kind: node
url: mqtt://127.0.0.1:$mosquitto_port
protocol: $BENCH_SOURCE_PROTOCOL
CONF
	start_mosquitto "$load_core"
	start_isobar
	wait_metric wmo_wis2_gb_connected_flag 1
	stop_isobar keep
	$load_core "$isobar" bench -b "$(url_of mosquitto)" -s 0 -q 1 -m "$BENCH_INTAKE" \
		--size "$BENCH_SIZE" --timeout "${BENCH_TIMEOUT}s" > /dev/null ||
		die "intake: mosquitto did not take the messages"
	kill -STOP "$mosquitto_pid"
	start_isobar
	before=$(cpu_seconds "$isobar_pid")
	began=$(date +%s.%N)
	kill -CONT "$mosquitto_pid"
	wait_metric wmo_wis2_gb_messages_published_total "$BENCH_INTAKE"
	after=$(cpu_seconds "$isobar_pid")
	seconds=$(echo "$began $(date +%s.%N)" | awk '{print $2 - $1}')
	[ "$(metric wmo_wis2_gb_messages_published_total)" -eq "$BENCH_INTAKE" ] ||
		die "intake: more was published than sent"
	note intake isobar "$(echo "$BENCH_INTAKE $before $after $seconds" | awk '{ cpu = $3 - $2
		printf "{\"messages\":%d,\"cpu_seconds\":%.3f,\"per_cpu_second\":%.0f,\"seconds\":%.2f}",
			$1, cpu, $1 / cpu, $4 }')"
	stop_isobar
	stop_mosquitto
	rm -f "$dir"/sources.d/*
	echo "  intake: done" >&2
}

# --- (d) idle memory ------------------------------------------------------------

idle() {
	start_isobar
	sleep 2
	note idle isobar "$(awk '/^RssAnon/ {a = $2} /^RssFile/ {f = $2}
		END {printf "{\"anon_kib\":%d,\"file_kib\":%d}", a, f}' "/proc/$isobar_pid/status")"
	stop_isobar
}

. "$here/live.sh"

echo "mosquitto ($(mosquitto -h | sed -n '1s/.*version //p')):"
sed 's/^/    /' "$dir/mosquitto.conf"
echo "isobar ($("$isobar" version | head -n 1)):"
sed 's/^/    /' "$dir/isobar.yaml"
for part in $BENCH_PARTS; do
	case $part in
	fan_out_0) fan_out 0 ;;
	fan_out_1) fan_out 1 ;;
	latency | intake | idle | stopped | resume) $part ;;
	*) die "BENCH_PARTS: $part is none of fan_out_0 fan_out_1 latency intake idle stopped resume" ;;
	esac
done
/usr/bin/python3 "$here/summary.py" "$lines" "$result"
