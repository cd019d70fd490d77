#!/bin/sh
# Man pages and completion from what the program itself says, so that they cannot go stale.
#   tools/man.sh PROGRAM VERSION FOLDER      FOLDER/isobar.1, FOLDER/isobar.yaml.5, FOLDER/isobar.bash
set -eu
program=$1 version=$2 out=$3
tools=$(dirname "$0")
commands=$("$program" help | sed -n 's/^  \([a-z]*\)  *[A-Za-z].*/\1/p')
mkdir -p "$out"

page() { # TITLE NUMBER NAME SEE
	awk -f "$tools/man.awk" -v title="$1" -v number="$2" -v name="$3" -v see="$4" -v version="$version"
}

{
	echo "@ COMMANDS"
	"$program" help
	for command in $commands; do
		[ "$command" = help ] && continue
		echo "@ isobar $command"
		"$program" help "$command"
	done
	echo "@ FILES"
	printf '%s\n' "/etc/isobar/isobar.yaml   configuration, isobar.yaml(5)" \
		"/etc/isobar/sources.d     a file for each source" \
		"/etc/isobar/accounts.yaml accounts" \
		"/var/lib/isobar           journal, sessions, bans; the socket for orders"
} | page ISOBAR 1 'isobar \\- a WIS2 Global Broker' '.BR isobar.yaml (5)' > "$out/isobar.1"

{
	echo "@ KEYS"
	"$program" help configuration
} | page ISOBAR.YAML 5 'isobar.yaml \\- configuration of isobar(1), its sources and accounts' \
	'.BR isobar (1)' > "$out/isobar.yaml.5"

{
	echo '# bash completion for isobar(1); made from its own help'
	echo '_isobar() {'
	echo '	local word=${COMP_WORDS[COMP_CWORD]} words='
	echo '	if [ "$COMP_CWORD" -eq 1 ]; then'
	# shellcheck disable=SC2086
	echo "		words='$(echo $commands)'"
	echo '	else case ${COMP_WORDS[1]} in'
	for command in $commands; do
		options=$("$program" help "$command" | sed -nE 's/^  (-.,|   ) (--[a-z0-9-]+).*/\2/p' | sort -u)
		actions=$("$program" help "$command" | sed -n "s/.*isobar $command \([a-z|]*\) .*/\1/p" |
			tr '|' '\n' | sort -u)
		[ "$command" = help ] && actions="$commands configuration"
		# shellcheck disable=SC2086
		echo "	$command) words='$(echo $actions $options)' ;;"
	done
	echo '	esac; fi'
	echo '	COMPREPLY=($(compgen -W "$words" -- "$word"))'
	echo '	[ -n "${COMPREPLY[*]}" ] || COMPREPLY=($(compgen -f -- "$word"))'
	echo '}'
	echo 'complete -o filenames -F _isobar isobar'
} > "$out/isobar.bash"
