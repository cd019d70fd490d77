# Turns data/centres.txt and data/topics.txt into C tables, as wis2/hierarchy.h describes them.
#
#   awk -f tools/hierarchy.awk data/centres.txt data/topics.txt > hierarchy_data.h
#
# Nodes are numbered breadth first, so that the children of each stand together in the order of
# their names; node 0 is the root above the disciplines. Names are kept once, in one text.

function fail(text) {
	print FILENAME ":" FNR ": " text > "/dev/stderr"
	failed = 1
	exit 1
}

# The place of a name in the text of all names.
function place(name) {
	if (!(name in at)) {
		at[name] = pool_length
		pool_length += length(name)
		pool[++pools] = name
	}
	return at[name]
}

function print_name(name, comment) {
	printf "\t{%d, %d}, /* %s */\n", place(name), length(name), comment
}

FNR == 1 { files++ }
/^# Version: / { version[files] = $3 }
/^#/ || /^$/ { next }

{
	name = $0
	sub(/.*\//, "", name)
	if (name !~ /^[a-z0-9]+(-[a-z0-9]+)*$/)
		fail("not a name of the hierarchy: " name)
	if (last[files] != "" && last[files] >= $0)
		fail("not in order, or there twice: " $0)
	last[files] = $0
}

files == 1 {
	centres[++centre_count] = $0
	next
}

{
	parent = substr($0, 1, length($0) - length(name) - 1)
	if (parent != "" && !(parent in known))
		fail("the level above is missing: " $0)
	known[$0] = 1
	child[parent, ++children[parent]] = $0
}

END {
	if (failed)
		exit 1
	if (version[1] == "" || version[1] != version[2]) {
		print "the two files name no version, or different ones" > "/dev/stderr"
		exit 1
	}
	queue[0] = ""
	count = 1
	for (n = 0; n < count; n++) {
		first[n] = count
		for (i = 1; i <= children[queue[n]]; i++)
			queue[count++] = child[queue[n], i]
	}

	print "/* Made by tools/hierarchy.awk from data/centres.txt and data/topics.txt. */"
	printf "#define HIERARCHY_VERSION \"%s\"\n", version[1]
	printf "#define HIERARCHY_CENTRES %du\n", centre_count
	printf "#define HIERARCHY_NODES %du\n\n", count
	print "static const struct hierarchy_name hierarchy_centres[HIERARCHY_CENTRES] = {"
	for (i = 1; i <= centre_count; i++)
		print_name(centres[i], centres[i])
	print "};\n\nstatic const struct hierarchy_name hierarchy_nodes[HIERARCHY_NODES] = {"
	print_name("", "root")
	for (n = 1; n < count; n++) {
		name = queue[n]
		sub(/.*\//, "", name)
		print_name(name, queue[n])
	}
	print "};\n\nstatic const struct hierarchy_branch hierarchy_branches[HIERARCHY_NODES] = {"
	for (n = 0; n < count; n++)
		printf "\t{%d, %d},\n", first[n], children[queue[n]]
	print "};\n\nstatic const char hierarchy_text[] ="
	for (i = 1; i <= pools; i++)
		printf "\t\"%s\"\n", pool[i]
	print "\t;"
}
