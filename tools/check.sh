#!/bin/sh
# Holds the arrows between rooms (tools/rooms.txt) and the sizes of files (docs/architecture.md).
set -eu
cd "$(dirname "$0")/.."
status=0

arrows=$(for file in src/*/*.c src/*/*.h src/*/*.def; do
	room=$(basename "$(dirname "$file")")
	allowed=$(sed -n "s/^$room://p" tools/rooms.txt)
	grep -q "^$room:" tools/rooms.txt || echo "$file: room $room is not in tools/rooms.txt"
	grep -no '^#include "[^"]*"' "$file" | sed 's/#include "//; s/"$//' | while IFS=: read -r line path; do
		case "$path" in
		*/*) to=${path%%/*} ;;
		*) echo "$file:$line: #include \"$path\" does not name its room"; continue ;;
		esac
		[ "$to" = "$room" ] && continue
		case " $allowed " in
		*" $to "*) ;;
		*) echo "$file:$line: $room may not include $to ($path)" ;;
		esac
	done || true
done)
[ -z "$arrows" ] || { echo "$arrows"; status=1; }

for file in src/*/*.c; do
	case "$file" in *_test.c) continue ;; esac
	lines=$(wc -l < "$file")
	[ "$lines" -le 1000 ] || { echo "$file: $lines lines, 1000 is the limit"; status=1; }
done

todo=$(grep -nw 'TODO\|FIXME\|XXX' src/*/*.c src/*/*.h || true)
[ -z "$todo" ] || { echo "$todo"; status=1; }
tools/rules.sh --check || status=1
/usr/bin/python3 tools/conformance.py --check || status=1
tools/dashboards.py --check || status=1
tools/monitoring.py || status=1

[ $status -eq 0 ] && echo "check: arrows and sizes hold"
exit $status
