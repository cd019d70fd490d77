#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

void check_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "isobar: invariant broken: %s (%s:%d)\n", what, file, line);
	abort();
}

void *mem_new(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);

	check(p != NULL);
	return p;
}

void *mem_resize(void *p, size_t bytes)
{
	void *grown = realloc(p, bytes);

	check(grown != NULL);
	return grown;
}

char *mem_text(const char *text)
{
	return text ? mem_text_of(view_of(text)) : NULL;
}

char *mem_text_of(struct view v)
{
	char *copy = mem_new(v.n + 1);

	if (v.n)
		memcpy(copy, v.p, v.n);
	return copy;
}

char *mem_printf(const char *format, ...)
{
	va_list args;
	char *text = NULL;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	check(n >= 0);
	return text;
}
