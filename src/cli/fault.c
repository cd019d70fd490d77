/* cli/fault.c - the list of configuration faults
 *
 * Nearest names are found by edit distance, so that a slip of the finger is answered with the name
 * that was meant: at most a third of the letters may differ.
 */
#include "cli/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 64u

void fault_add(struct faults *f, struct place at, const char *key, const char *format, ...)
{
	va_list args;

	if (++f->count > FAULTS_MOST)
		return;
	buf_text(f->text, at.file);
	if (at.line)
		buf_printf(f->text, ":%u:%u", at.line, at.column);
	buf_printf(f->text, ": %s%s", key, *key ? ": " : "");
	va_start(args, format);
	buf_vprintf(f->text, format, args);
	va_end(args);
	buf_text(f->text, "\n");
}

void faults_end(struct faults *f)
{
	if (f->count > FAULTS_MOST)
		buf_printf(f->text, "and %u more faults\n", f->count - FAULTS_MOST);
}

const char *fault_value(struct view value, char out[FAULT_VALUE_BYTES * 4 + 8])
{
	size_t shown = value.n > FAULT_VALUE_BYTES ? FAULT_VALUE_BYTES : value.n;
	char *to = out;

	*to++ = '"';
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
			to += snprintf(to, 5, "\\x%02x", c);
		else
			*to++ = (char)c;
	}
	memcpy(to, shown < value.n ? "...\"" : "\"", shown < value.n ? 5 : 2);
	return out;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Levenshtein distance; both at most NAME_BYTES. */
static unsigned distance(struct view a, struct view b)
{
	unsigned row[NAME_BYTES + 1];

	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 0; i < a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < b.n; j++) {
			unsigned replaced = diagonal + (a.p[i] != b.p[j]);

			diagonal = row[j + 1];
			row[j + 1] = least(replaced, least(row[j], diagonal) + 1);
		}
	}
	return row[b.n];
}

const char *nearest_name(struct view given, const char *const *names, size_t n)
{
	const char *best = NULL;
	unsigned best_distance = (unsigned)given.n / 3 + 2;

	if (given.n > NAME_BYTES)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct view name = view_of(names[i]);
		unsigned d = name.n > NAME_BYTES ? best_distance : distance(given, name);

		if (d < best_distance && d < name.n) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
