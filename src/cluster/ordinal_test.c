/* What has come by, what was missed, what Redis says meanwhile. */
#include "cluster/ordinal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum kind { KIND_END, KIND_READ, KIND_LOOK, KIND_NOTHING };

/* A step: an entry read at `place`, a look that says `added` at `place`, or a read that finds nothing;
 * wanted are what is found missed, and the ordinal afterwards (0: not known). */
struct step {
	enum kind kind;
	uint64_t place, added, missed, ordinal;
};

#define READ(place, missed, ordinal)                 \
	{                                            \
		KIND_READ, place, 0, missed, ordinal \
	}
#define LOOK(place, added, missed, ordinal)              \
	{                                                \
		KIND_LOOK, place, added, missed, ordinal \
	}
#define NOTHING(missed, ordinal)                    \
	{                                           \
		KIND_NOTHING, 0, 0, missed, ordinal \
	}
#define STEPS 6

static const struct {
	const char *name;
	struct mark from;
	struct step steps[STEPS];
} rows[] = {
	{"an empty stream", {0, 0, false}, {LOOK(0, 0, 0, 0), READ(5, 0, 1), READ(6, 0, 2)}},
	{"a new node comes to a trimmed stream: it has missed nothing", {0, 0, false},
		{LOOK(9, 20, 0, 0), READ(8, 0, 0), READ(9, 0, 20), READ(10, 0, 21)}},
	{"all there", {7, 17, true}, {LOOK(9, 19, 0, 17), READ(8, 0, 18), READ(9, 0, 19)}},
	{"two trimmed", {5, 15, true}, {LOOK(9, 19, 0, 15), READ(8, 0, 16), READ(9, 2, 19)}},
	{"the newest of then trimmed too", {5, 15, true},
		{LOOK(9, 19, 0, 15), READ(11, 4, 20), LOOK(11, 21, 1, 21)}},
	{"all trimmed, nothing left", {5, 15, true},
		{LOOK(9, 19, 0, 15), LOOK(12, 22, 0, 15), READ(13, 7, 23)}},
	{"all trimmed, and that is seen", {5, 15, true},
		{LOOK(9, 19, 0, 15), NOTHING(4, 19), LOOK(9, 19, 0, 19), READ(10, 0, 20)}},
	{"nothing new is no gap", {5, 15, true}, {LOOK(5, 15, 0, 15), NOTHING(0, 15)}},
	{"nothing at all, where nobody has counted", {0, 0, false},
		{LOOK(9, 19, 0, 0), NOTHING(0, 19)}},
	{"what comes a second time counts once", {5, 15, true},
		{READ(4, 0, 15), READ(5, 0, 15), READ(6, 0, 16), LOOK(6, 16, 0, 16)}},
	{"where nobody has counted nothing is missed", {5, 0, false},
		{LOOK(5, 30, 0, 30), READ(6, 0, 31)}},
	{"the stream fell back", {9, 19, true},
		{LOOK(4, 3, 0, 3), READ(5, 0, 4), LOOK(5, 4, 0, 4)}},
	{"fewer were added than counted", {9, 19, true}, {LOOK(9, 12, 0, 12), READ(10, 0, 13)}},
};

static uint64_t go(struct ordinal *o, const struct step *s)
{
	struct stream_state newest = {s->place, s->added};

	return s->kind == KIND_LOOK   ? ordinal_look(o, &newest)
	       : s->kind == KIND_READ ? ordinal_read(o, s->place)
				      : ordinal_nothing(o);
}

static void gaps_are_found_and_nothing_else_is_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ordinal o = {.at = rows[i].from};

		for (size_t k = 0; k < STEPS && rows[i].steps[k].kind; k++) {
			const struct step *s = &rows[i].steps[k];
			uint64_t missed = go(&o, s);
			uint64_t ordinal = o.at.is_counted ? o.at.ordinal : 0;

			if (missed != s->missed || ordinal != s->ordinal)
				fail_msg("%s, step %zu: missed %lu of %lu, ordinal %lu of %lu",
					rows[i].name, k, missed, s->missed, ordinal, s->ordinal);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gaps_are_found_and_nothing_else_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
