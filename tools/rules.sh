#!/bin/sh
# Makes docs/rules.md from src/wis2/rule.def. With --check: writes nothing, fails if they differ.
set -eu
cd "$(dirname "$0")/.."
page=docs/rules.md
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
awk -f tools/rules.awk src/wis2/rule.def > "$fresh"

case ${1:-} in
'')
	mkdir -p "$(dirname "$page")"
	cat "$fresh" > "$page"
	;;
--check)
	cmp -s "$fresh" "$page" ||
		{ echo "$page: differs from src/wis2/rule.def; run tools/rules.sh" >&2; exit 1; }
	;;
*)
	echo "usage: tools/rules.sh [--check]" >&2
	exit 2
	;;
esac
