#!/bin/sh
# Loads archives of `docker save` that have come, or come anew, since the last time; says which.
#   load.sh FOLDER
set -eu
for archive in "$1"/*.tar; do
	[ -e "$archive" ] && ! [ "$archive.loaded" -nt "$archive" ] || continue
	docker load -q -i "$archive"
	touch "$archive.loaded"
done
