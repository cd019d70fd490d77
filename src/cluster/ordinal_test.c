/* What has come by, what was missed, what Redis says meanwhile. */
#include "cluster/ordinal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A step: an entry read at `place` (added 0), or a look that says `added` at `place`; wanted are what is
 * found missed, and the ordinal afterwards (0: not known). */
struct step {
	bool is_look;
	uint64_t place, added, missed, ordinal;
};

#define READ(place, missed, ordinal)             \
	{                                        \
		false, place, 0, missed, ordinal \
	}
#define LOOK(place, added, missed, ordinal)         \
	{                                           \
		true, place, added, missed, ordinal \
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
	{"what comes a second time counts once", {5, 15, true},
		{READ(4, 0, 15), READ(5, 0, 15), READ(6, 0, 16), LOOK(6, 16, 0, 16)}},
	{"where nobody has counted nothing is missed", {5, 0, false},
		{LOOK(5, 30, 0, 30), READ(6, 0, 31)}},
	{"the stream fell back", {9, 19, true},
		{LOOK(4, 3, 0, 3), READ(5, 0, 4), LOOK(5, 4, 0, 4)}},
	{"fewer were added than counted", {9, 19, true}, {LOOK(9, 12, 0, 12), READ(10, 0, 13)}},
};

static void gaps_are_found_and_nothing_else_is_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ordinal o = {.at = rows[i].from};

		for (size_t k = 0; k < STEPS && rows[i].steps[k].place + rows[i].steps[k].is_look;
			k++) {
			const struct step *s = &rows[i].steps[k];
			struct stream_state newest = {s->place, s->added};
			uint64_t missed =
				s->is_look ? ordinal_look(&o, &newest) : ordinal_read(&o, s->place);
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
