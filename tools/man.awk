# Text as the program prints it, as the body of a man page: lines that begin at the left and end with a colon or
# stand alone are headings where `section` says so; the rest stays as it is.
#   isobar help | awk -f tools/man.awk -v title=ISOBAR -v number=1 -v name="isobar - ..."
function roff(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	if (text ~ /^[.']/) text = "\\&" text
	return text
}
BEGIN {
	printf ".TH %s %s \"\" \"isobar %s\"\n.SH NAME\n%s\n", title, number, version, name
}
/^@/ { # @ HEADING
	if (open) print ".fi"
	printf ".SH \"%s\"\n.nf\n", roff(substr($0, 3))
	open = 1
	next
}
{ print roff($0) }
END {
	if (open) print ".fi"
	print ".SH SEE ALSO\n" see
}
