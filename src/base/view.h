/* base/view.h - received text as a pair of pointer and length, passed by value
 *
 * A view borrows its bytes: it is valid as long as what it points into, and is
 * never NUL-terminated. An absent text is {NULL, 0}; an empty one has a pointer.
 */
#ifndef BASE_VIEW_H
#define BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct view {
	const char *p;
	size_t n;
};

/* A view of a string literal. */
#define VIEW(literal) ((struct view){"" literal, sizeof(literal) - 1})

/* For printf's "%.*s". */
#define VIEW_ARG(v) (int)(v).n, (v).n ? (v).p : ""

static inline struct view view_of(const char *text)
{
	return (struct view){text, text ? strlen(text) : 0};
}

static inline bool view_equal(struct view a, struct view b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool view_starts_with(struct view v, struct view prefix)
{
	return v.n >= prefix.n && (prefix.n == 0 || memcmp(v.p, prefix.p, prefix.n) == 0);
}

static inline bool view_ends_with(struct view v, struct view suffix)
{
	return v.n >= suffix.n &&
	       (suffix.n == 0 || memcmp(v.p + v.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* By bytes, a shorter one before those it begins: below, 0 or above 0. */
static inline int view_order(struct view a, struct view b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int difference = n ? memcmp(a.p, b.p, n) : 0;

	return difference ? difference : (a.n > b.n) - (a.n < b.n);
}

/* What is left after the first n bytes; n may exceed the length. */
static inline struct view view_skip(struct view v, size_t n)
{
	return n >= v.n ? (struct view){v.p ? v.p + v.n : NULL, 0}
			: (struct view){v.p + n, v.n - n};
}

/* Cuts the text before the first `separator` off the front of *rest and gives it.
 * Without a separator gives everything and leaves *rest with p == NULL; loop with
 * `while (rest.p)`. */
static inline struct view view_cut(struct view *rest, char separator)
{
	const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
	struct view head = *rest;

	if (end == NULL) {
		*rest = (struct view){NULL, 0};
		return head;
	}
	head.n = (size_t)(end - head.p);
	*rest = (struct view){end + 1, rest->n - head.n - 1};
	return head;
}

#endif
