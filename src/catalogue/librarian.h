/* catalogue/librarian.h - keeps the list of discovery metadata on the shelf fresh
 *
 * A thread of its own fetches the catalogues configured, merges what they list, keeps it in a file
 * and puts it on the shelf (wis2/catalogue.h) that the gate asks. Nothing here is ever waited for by
 * a worker.
 *
 *     off      no catalogue is configured                                    everything passes
 *     none     none has given a list yet, and none is on disk                everything passes
 *     current  the last round had success with at least one                  the list is asked
 *     old      it had none: the last good list serves                        the list is asked
 *     expired  no good list for 48 hours                                     everything passes
 *
 * (MD-02; metadata.md, section 4.) The states are rows of catalogue/state.def.
 *
 * Threads: librarian_new() to librarian_free() on one; librarian_figures() on any. settle is called on
 * the librarian's thread.
 */
#ifndef CATALOGUE_LIBRARIAN_H
#define CATALOGUE_LIBRARIAN_H

#include <stdbool.h>
#include <stdint.h>

#include "catalogue/book.h"
#include "catalogue/fetch.h"

enum librarian_state {
#define X(name, text, in_force, why) LIBRARIAN_##name,
#include "catalogue/state.def"
#undef X
	LIBRARIAN_STATE_COUNT
};
const char *librarian_state_text(enum librarian_state s);
bool librarian_state_in_force(enum librarian_state s);
const char *librarian_state_why(enum librarian_state s); /* nothing is asked; "" when a list is */

struct librarian;

struct librarian_rules {
	char *const *urls; /* at most BOOK_LISTS_MOST, each different; copied */
	uint32_t url_count;
	uint64_t refresh_ms;
	uint64_t grace_ms;
};

struct librarian_settings {
	const char *dir;     /* made if there is none; the file is DIR/records */
	struct shelf *shelf; /* borrowed until librarian_free() */
	const struct fetch_limits *limits;
	struct librarian_rules rules;
	/* Returns once no worker uses what was on the shelf before the call. */
	void (*settle)(void *context);
	void *context;
};

/* Reads the file; what it holds is on the shelf when this returns. Fetches nothing yet. */
struct librarian *librarian_new(const struct librarian_settings *settings);
/* The thread; workers run. 0 or ERR_SYSTEM. */
int librarian_start(struct librarian *k);
/* Other catalogues, times from now on; those new are fetched at once. Copies. */
void librarian_apply(struct librarian *k, const struct librarian_rules *rules);
/* Ends a fetch under way and the thread; workers still run. Nothing when it was not started. */
void librarian_stop(struct librarian *k);
/* After librarian_stop(). */
void librarian_free(struct librarian *k);

struct librarian_list_figures {
	char url[256]; /* without credentials; cut to fit */
	uint64_t records;
	uint64_t refused; /* of the last fetch that ended */
	uint64_t age_ms;  /* since it was last good */
	bool has_list;    /* it was good at least once */
	uint64_t fetches;
	uint64_t failures;
	char last_error[FETCH_WHY_BYTES]; /* "" after a good one */
};

struct librarian_figures {
	enum librarian_state state;
	bool has_age; /* there is a list, in force or not */
	uint64_t age_ms;
	uint64_t next_ms; /* until the next round; 0: under way, or off */
	uint64_t pairs;   /* in force */
	uint64_t bytes;   /* of memory, of list and book */
	uint32_t list_count;
	struct librarian_list_figures lists[BOOK_LISTS_MOST];
};
void librarian_figures(struct librarian *k, struct librarian_figures *out);

#endif
