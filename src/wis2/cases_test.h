/* wis2/cases_test.h - reads the case files of tests/data: lines of tab-separated fields */
#ifndef WIS2_CASES_TEST_H
#define WIS2_CASES_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/view.h"

/* Resolves \n \r \t \\ and \xHH in place; gives the length. */
static inline size_t case_unescape(char *text)
{
	static const char from[] = "nrt\\", to[] = "\n\r\t\\";
	char *out = text;

	for (const char *in = text; *in;) {
		const char *short_form = *in == '\\' && in[1] ? strchr(from, in[1]) : NULL;

		if (*in != '\\') {
			*out++ = *in++;
		} else if (short_form) {
			*out++ = to[short_form - from];
			in += 2;
		} else {
			char digits[3] = {in[2], in[3], '\0'};

			*out++ = (char)strtol(digits, NULL, 16);
			in += 4;
		}
	}
	return (size_t)(out - text);
}

/* Reads the next case: `count` fields, the last one unescaped into *last. The fields live in *line,
 * which the caller frees at the end. False behind the last case. */
static inline bool case_next(
	FILE *file, char **line, size_t *size, char **fields, size_t count, struct view *last)
{
	ssize_t n;

	do {
		n = getline(line, size, file);
	} while (n > 0 && (*line)[0] == '#');
	if (n <= 0)
		return false;
	(*line)[n - 1] = '\0';
	fields[0] = *line;
	for (size_t i = 1; i < count; i++) {
		char *tab = strchr(fields[i - 1], '\t');

		if (tab == NULL)
			return false;
		*tab = '\0';
		fields[i] = tab + 1;
	}
	*last = (struct view){fields[count - 1], case_unescape(fields[count - 1])};
	return true;
}

#endif
