# Part of bench/run.sh: is live delivery left alone by those who are not live?
#
#   BENCH_STOPPED_PAIRS 5   BENCH_STOPPED_MESSAGES 40000
#   BENCH_SESSIONS 1000     BENCH_BACKLOG 72000 (20 a second for an hour)   BENCH_RESUME_PAIRS 3
: "${BENCH_STOPPED_PAIRS:=5}" "${BENCH_STOPPED_MESSAGES:=40000}"
: "${BENCH_SESSIONS:=1000}" "${BENCH_BACKLOG:=72000}" "${BENCH_RESUME_PAIRS:=3}"

# --- (e) stopped readers ------------------------------------------------------

# 100 readers of the whole stream; with none, one and 20 more that stop reading, in turn.
stopped() {
	local pair number
	for pair in $(seq "$BENCH_STOPPED_PAIRS"); do
		for number in 0 1 20; do
			measure "stopped $number" isobar -s 100 --stopped "$number" -q 0 --publish-qos 1 \
				-m "$BENCH_STOPPED_MESSAGES" --ahead 1000
		done
	done
}

# --- (f) sessions that come back ----------------------------------------------

# What sessions want: one in fifty everything, the others a tenth or a sixteenth of it.
resume_filters() {
	printf ' -f origin/a/wis2/#'
	for _ in 1 2 3 4; do
		printf ' -f origin/a/wis2/io-wis2dev-%s-test/#' 11 12 13 14 15 16 17 18 19 20
	done
	for _ in 1 2 3 4 5 6 7 8 9; do
		printf ' -f origin/a/wis2/+/data/core/weather/aviation/metar'
	done
}

crowd() { # OPTIONS...: the load generator as those who come back, not in the way of who measures
	nice -n 19 $load_core "$isobar" bench -b "$(url_of isobar)" --timeout "${BENCH_TIMEOUT}s" \
		--size "$BENCH_SIZE" --name back --session-expiry 1h --run 4242 --topics 160 \
		-m "$BENCH_BACKLOG" -q 1 $(resume_filters) "$@" || die "resume: $*: failed"
}

# What is not in use leaves the page cache, as it would within the hour.
drop_cache() {
	local file
	sync
	for file in "$dir"/data/journal/*; do
		dd if="$file" iflag=nocache count=0 status=none
	done
}

# Live traffic until `crowd` is done; both results.
live_beside() { # WHAT COMMAND...
	local what=$1 live=$dir/live.json live_pid
	shift
	$load_core "$isobar" bench -b "$(url_of isobar)" -s 20 -q 1 -r 200 -m 1000000 --timeout 10m \
		--size "$BENCH_SIZE" --pid "$isobar_pid" > "$live" &
	live_pid=$!
	until [ "$(metric isobar_client_publishes_total)" -gt 0 ]; do
		kill -0 "$live_pid" || die "resume: no live traffic"
		sleep 0.05
	done
	"$@"
	kill -INT "$live_pid"
	wait "$live_pid" || die "resume: live subscribers did not get everything: $(cat "$live")"
	note "$what" isobar "$(cat "$live")"
}

resume() {
	local pair seconds
	for pair in $(seq "$BENCH_RESUME_PAIRS"); do
		start_isobar
		crowd -s "$BENCH_SESSIONS" -p 0 > /dev/null
		crowd -s 0 > /dev/null
		stop_isobar keep
		drop_cache
		start_isobar
		live_beside "live beside resume" crowd -s "$BENCH_SESSIONS" --resume > "$dir/crowd.json"
		note resume isobar "$(cat "$dir/crowd.json")"
		seconds=$(sed 's/.*"seconds":\([0-9]*\).*/\1/' "$dir/crowd.json")
		live_beside "live alone" sleep $((seconds + 1))
		stop_isobar
		echo "  resume: done" >&2
	done
}
