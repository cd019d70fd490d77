# Turns a text file into a C array: awk -v name=NAME -f tools/embed.awk FILE
BEGIN { printf "static const char %s[] =\n", name }
{
	gsub(/\\/, "&&")
	gsub(/"/, "\\\\&")
	printf "\t\"%s\\n\"\n", $0
}
END { print "\t;" }
