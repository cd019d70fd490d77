/* cli/arguments.h - options of a command from a table: names, bounds, help and where values go
 *
 * A command describes its options as rows; reading them, refusing what is out of bounds and
 * printing --help come from the same rows. Values land in the command's own struct.
 *
 * Threads: one (getopt_long keeps its place in the process).
 */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum argument_kind {
	ARGUMENT_FLAG,     /* bool: becomes true */
	ARGUMENT_NUMBER,   /* uint64_t within least and most */
	ARGUMENT_SHARE,    /* double 0 to 1, written "0.2" or "20%" */
	ARGUMENT_DURATION, /* uint64_t milliseconds, written "6h", "30m", "10s", "500ms", "10" (s) */
	ARGUMENT_PROTOCOL, /* uint8_t enum mqtt_version, written "5", "3.1.1" or "4" */
	ARGUMENT_TEXT,     /* const char * into argv */
	ARGUMENT_SWITCH, /* bool by one of the two words in `value`, "any|only": the second is true, and
			  * what the option alone means; "--leaf", "--leaf only", "--leaf=any" */
	ARGUMENT_LIST, /* struct argument_list: the option may come several times */
};

#define ARGUMENT_LIST_MOST 64u
struct argument_list {
	const char *items[ARGUMENT_LIST_MOST];
	uint32_t count;
};

struct argument {
	char letter;      /* 0: none */
	const char *name; /* long name */
	enum argument_kind kind;
	size_t offset;  /* of the field in the command's struct */
	uint64_t least; /* bounds of numbers */
	uint64_t most;
	const char *value; /* what help calls the value; NULL for flags */
	const char *help;
};

struct argument_table {
	const char *usage; /* "isobar sub [options] FILTER..." */
	const char *about; /* a sentence or two */
	const struct argument *rows;
	size_t count; /* at most 40 */
};

#define ARGUMENTS_HELP -1  /* --help was asked for and printed: exit status 0 */
#define ARGUMENTS_WRONG -2 /* a fault was printed to stderr: exit status 2 */

/* Fills the struct at `out` (which holds the defaults) from argv. Gives the place of the first
 * operand in argv, ARGUMENTS_HELP or ARGUMENTS_WRONG. Borrows argv as long as *out is used. */
int arguments_read(const struct argument_table *table, int argc, char **argv, void *out);

/* The exit status for a negative result of arguments_read(). */
int arguments_status(int result);

/* "6h", "30m", "10s", "500ms", "2d"; a bare number is seconds. False: not a duration. */
bool argument_duration(const char *text, uint64_t *ms);

#endif
