# docs/rules.md from the table of rules: awk -f tools/rules.awk src/wis2/rule.def
#
# A row is X(NAME, "id", CHECK_..., MODE_..., "what is required", "source") or
# CONDUCT("id", "what Isobar does", "source"), over one or more lines.
# Text is joined until a row's closing bracket; a bracket, comma or escaped quote inside a string is
# part of the string.

BEGIN {
	checks["CHECK_TOPIC"] = "topic"
	checks["CHECK_CENTRE"] = "centre"
	checks["CHECK_MESSAGE"] = "message"
	checks["CHECK_METADATA"] = "metadata"
	modes["MODE_LENIENT"] = "lenient"
	modes["MODE_STANDARD"] = "standard"
	modes["MODE_STRICT"] = "strict"
	modes["MODE_OFF"] = "off"
	checks["CONDUCT"] = "-"
	modes["CONDUCT"] = "-"
	families["GB"] = "Global Broker"
	families["WTH"] = "Topics"
	families["WNM"] = "Notifications"
	families["MD"] = "Discovery metadata"
	families["ISO"] = "Rules of no standard"
	families["MON"] = "Monitoring events"
	print "<!-- Made by tools/rules.sh from src/wis2/rule.def: change that, then run it again. -->"
	print "# Rules"
	print ""
	print "Every rule a message can break. The id stands in the log (`rule=`), in the metric"
	print "`isobar_rejected_total{rule=}`, in `isobar verify` and in `isobar topic`."
	print ""
	print "- **check**: the key under `checks:` that decides what becomes of a message that breaks the rule:"
	print "  `discard` (the default), `verify` (counted, let through) or `off`. A single rule is set apart by"
	print "  its id: `checks: {rules: {WNM-65: verify}}`."
	print "- **from**: the mildest `checks.message_mode` in which the rule counts: `lenient` rules always do,"
	print "  `standard` rules do in `standard` (the default) and `strict`. `off`: only when `checks.rules`"
	print "  asks for it."
	print "- `-` in both: a rule about the broker. No message breaks it, and no setting changes it."
	print ""
	print "A message that breaks several rules is counted once, under the lowest-numbered one that decides."
	print "`isobar verify` names them all:"
	print ""
	print "```sh"
	print "isobar verify message.json"
	print "isobar verify -t origin/a/wis2/ca-eccc-msc/data/core/weather/surface-based-observations/synop message.json"
	print "```"
	print ""
	print "WTH is Manual on WIS, Volume II, Appendix D (WIS2 Topic Hierarchy); WNM is Appendix E (WIS2"
	print "Notification Message); schema is the JSON Schema published with it."
}

# Comments and what is no row.
!inside && !/^(X|CONDUCT)\(/ { next }

{
	row = inside ? row " " trimmed($0) : $0
	inside = !is_whole(row)
	if (!inside)
		show(row)
}

END {
	if (inside || count == 0) {
		print "rules.awk: no whole row in " FILENAME > "/dev/stderr"
		exit 1
	}
	differences()
}

function differences()
{
	print "\n## Where other readers differ\n"
	print "Held by `tests/e2e/test_differential.py` on mutants of every valid message (`make differential`: all"
	print "of them)."
	print ""
	print "| reader | what it says | Isobar | why |"
	print "|---|---|---|---|"
	print "| jansson | refuses a number no double can hold (`1e400`) | valid where no rule asks for the value | RFC 8259, 9 leaves the range open; members without a rule are free (WNM-71) |"
	print "| jansson | refuses a NUL in a member\047s name | valid | the name is a legal JSON string |"
	print "| jansson | takes nesting to 2048 | WNM-06 from depth 65 | limit of Isobar |"
	print "| jansson | refuses unpaired `\\u` surrogates as no JSON | WNM-07, a rule of its own | RFC 8259, 8.2 calls them unpredictable |"
	print "| python3-jsonschema | sees no bytes: takes byte-order mark, UTF-16, `NaN`, unpaired surrogates, any size and depth | WNM-01, 02, 03, 06, 07 | the schema begins where Python\047s reader ends |"
	print "| JSON Schema of WNM | takes what only the text of the standard demands | rules from `standard` on | not expressible, or not expressed |"
	print "| date-time formats of many validators | refuse second 60 | valid where UTC is at 23:59 | RFC 3339, 5.6 and 5.7 |"
	print "| a plain reading of the rules | names WNM-19 to WNM-21 beside WNM-17 and WNM-18 or not | may name them | of coordinates that are none the numbers may still be looked at; the verdict is the same |"
}

function trimmed(s)
{
	sub(/^[ \t]+/, "", s)
	return s
}

# Does the bracket of X( close outside of strings?
function is_whole(s,    i, c, quoted)
{
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		if (quoted && c == "\\")
			i++
		else if (c == "\"")
			quoted = !quoted
		else if (!quoted && c == ")")
			return 1
	}
	return 0
}

# Splits at commas outside of strings into field[1..]; quotes are taken off.
function split_row(s, field,    i, c, quoted, n)
{
	s = substr(s, index(s, "(") + 1)
	n = 1
	field[1] = ""
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		if (quoted && c == "\\")
			field[n] = field[n] substr(s, ++i, 1)
		else if (c == "\"")
			quoted = !quoted
		else if (!quoted && c == ")")
			break
		else if (!quoted && c == ",")
			field[++n] = ""
		else if (quoted || (c != " " && c != "\t"))
			field[n] = field[n] c
	}
	return n
}

function cell(s)
{
	gsub(/\|/, "\\|", s)
	gsub(/</, "\\&lt;", s)
	return s
}

function show(s,    f, family)
{
	if (s ~ /^CONDUCT/) {
		if (split_row(s, f) != 3) {
			print "rules.awk: not a row of three fields: " s > "/dev/stderr"
			exit 1
		}
		f[6] = f[3]
		f[5] = f[2]
		f[2] = f[1]
		f[3] = f[4] = "CONDUCT"
	} else if (split_row(s, f) != 6 || !(f[3] in checks) || !(f[4] in modes)) {
		print "rules.awk: not a row of six fields: " s > "/dev/stderr"
		exit 1
	}
	family = f[2]
	sub(/-.*/, "", family)
	if (family != last) {
		printf "\n## %s\n\n", family in families ? families[family] : family
		print "| id | check | from | what is required | source |"
		print "|---|---|---|---|---|"
		last = family
	}
	printf "| %s | %s | %s | %s | %s |\n", f[2], checks[f[3]], modes[f[4]], cell(f[5]), cell(f[6])
	count++
}
