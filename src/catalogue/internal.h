/* catalogue/internal.h - the librarian as its files and its tests see it
 *
 *     thread.c  the thread, settings from outside, figures
 *     librarian.c  one turn of it: what is due, a round, what is in force; times are arguments
 */
#ifndef CATALOGUE_INTERNAL_H
#define CATALOGUE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "catalogue/librarian.h"
#include "catalogue/schedule.h"

/* A catalogue configured. */
struct librarian_source {
	char *url;      /* as written */
	char *shown;    /* without credentials */
	unsigned place; /* in the book */
	uint64_t refused;
	uint64_t fetches;
	uint64_t failures;
	char why[FETCH_WHY_BYTES];
};

typedef enum fetch_outcome librarian_fetch(
	struct fetcher *f, const struct fetch_request *request, struct fetch_result *result);

struct librarian {
	struct librarian_settings settings; /* rules are not used behind librarian_new() */
	char *file;
	struct fetcher *fetcher;
	librarian_fetch *fetch; /* fetch_records(), or a test's */
	struct book book;
	struct schedule schedule;
	struct librarian_source sources[BOOK_LISTS_MOST];
	uint32_t source_count;
	uint64_t grace_ms;
	enum librarian_state state;
	bool round_failed; /* the last one, wholly; before the first as well */
	bool on_shelf;
	uint64_t pairs;
	uint64_t list_bytes;
	atomic_bool stopping;

	pthread_t thread;
	bool is_running;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct librarian_rules *pending; /* owned; from librarian_apply(), or NULL */
	struct librarian_figures figures;
};

/* Takes over rules: places in the book, the schedule. */
void librarian_take_rules(
	struct librarian *k, const struct librarian_rules *rules, uint64_t mono_ms);
/* One look at what is due. */
void librarian_turn(struct librarian *k, uint64_t mono_ms, uint64_t wall_ms);
/* What is in force now, by the book and the clock. */
void librarian_judge(struct librarian *k, uint64_t wall_ms);
/* Builds the list anew and puts it on the shelf. */
void librarian_publish(struct librarian *k, uint64_t wall_ms);
/* Reads the file, if there is one. */
void librarian_load(struct librarian *k);
/* Figures for others. */
void librarian_show(struct librarian *k, uint64_t mono_ms, uint64_t wall_ms);

#endif
