#!/bin/sh
# Runs tests and closes with "N passed, N failed, N skipped".
#   tests/run.sh BUILD all|unit|e2e|core [END-TO-END FILES]
#   tests/run.sh BUILD containers FILES          one after the other, with all they print
set -u
cd "$(dirname "$0")/.."
build=$1
what=$2
shift 2
passed=0 failed=0 skipped=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT

count() { # text before the number is cmocka's: "[  PASSED  ] 5 test(s)."
	sed -n "s/^\[  $1  \] \([0-9]*\) test(s).*/\1/p" "$out" | head -n 1
}

run_unit() {
	for test in "$build"/tests/*/*_test; do
		timeout 300 "$test" > "$out" 2>&1
		status=$?
		p=$(count PASSED) f=$(count FAILED) s=$(count SKIPPED)
		passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
		if [ $status -ne 0 ] || [ -z "$p" ]; then
			[ "${f:-0}" -gt 0 ] || failed=$((failed + 1))
			echo "--- $test: exit status $status"
			cat "$out"
		fi
	done
	for replay in "$build"/replay/*_fuzz; do
		name=$(basename "$replay")
		if timeout 300 "$replay" "tests/fuzz/corpus/$name" > "$out" 2>&1; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "--- $replay tests/fuzz/corpus/$name"
			cat "$out"
		fi
	done
	echo "unit tests and corpora: $passed passed, $failed failed, $skipped skipped"
}

run_e2e() { # $@: files, none: all
	[ $# -gt 0 ] || set -- tests/e2e
	# They mostly wait, each for brokers and ports of its own.
	run_pytest -n "$(($(nproc) + 2))" "$@"
}

run_pytest() { # $@: options and files
	ISOBAR="$PWD/$build/isobar" /usr/bin/python3 -m pytest -q -p no:cacheprovider \
		--junitxml="$out" "$@"
	status=$?
	figures=$(/usr/bin/python3 - "$out" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suite = next(tree.parse(sys.argv[1]).getroot().iter("testsuite")).attrib
    bad = int(suite["failures"]) + int(suite["errors"])
    print(int(suite["tests"]) - bad - int(suite["skipped"]), bad, int(suite["skipped"]))
except Exception:
    print(0, 1, 0)
PY
)
	# shellcheck disable=SC2086
	set -- $figures
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	[ $status -eq 0 ] || [ "$2" -gt 0 ] || failed=$((failed + 1))
}

case $what in
all) tools/check.sh || failed=$((failed + 1)); run_unit; run_e2e ;;
unit) run_unit ;;
e2e) run_e2e "$@" ;;
core) run_unit; run_e2e "$@" ;;
containers) run_pytest -s "$@" ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ] && { [ -z "${CI:-}" ] || [ $skipped -eq 0 ]; }
