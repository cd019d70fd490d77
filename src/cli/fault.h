/* cli/fault.h - what is wrong with a configuration, where, and what would be right
 *
 * One line a fault: "file:line:column: key: what is wrong; what would be right". All are
 * collected, so that an operator corrects a file once. Values that may be secret never come here.
 */
#ifndef CLI_FAULT_H
#define CLI_FAULT_H

#include <stdint.h>

#include "base/buf.h"

#define FAULTS_MOST 200u     /* further ones are only counted */
#define FAULT_VALUE_BYTES 96 /* of a value shown */

struct faults {
	struct buf *text; /* borrowed: lines are appended */
	uint32_t count;
};

/* A place in a file; line and column from 1, 0: the file as a whole. */
struct place {
	const char *file;
	uint32_t line;
	uint32_t column;
};

/* key "" when there is none; what and right by format: "%s is wrong; right is this". */
void fault_add(struct faults *f, struct place at, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Closes the list: says how many were left out. */
void faults_end(struct faults *f);

/* A value made safe to show, in quotes, cut at FAULT_VALUE_BYTES. Gives out. */
const char *fault_value(struct view value, char out[FAULT_VALUE_BYTES * 4 + 8]);

/* The name nearest to `given` among n, or NULL when none is near. */
const char *nearest_name(struct view given, const char *const *names, size_t n);

#endif
