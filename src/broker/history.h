/* broker/history.h - what has been published, for those who ask by another door than MQTT
 *
 * A question is a filter and a stretch of the journal, asked for an account; its records are handed
 * out in the order of the journal, by the same rights as a replay over MQTT: what the account may
 * read, less what is denied it, as far back as it may replay. Hidden records and messages past their
 * expiry are left out.
 *
 *     worker --ask--> waiting ... --scan, on the history's thread--> on_answer, on the worker again
 *
 * The scan may wait for the disk, therefore the thread, which leaves the processors to the others first. A question ends with its stretch, when its
 * owner has enough, or when its share of entries or time is used up; `next` says where to go on.
 *
 * Threads: history_ask() and on_answer on the question's loop, take() on the history's thread.
 */
#ifndef BROKER_HISTORY_H
#define BROKER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "journal/journal.h"
#include "net/loop.h"

#define HISTORY_WAITING_MOST 16u        /* questions that wait, of all workers */
#define HISTORY_SCAN_ENTRIES (4u << 20) /* looked at for one question */
#define HISTORY_SCAN_MS 500u /* likewise; one record that the disk gives late is not cut short */
#define HISTORY_START UINT64_MAX /* from: where `since` is */

struct history;
struct history_record {
	struct view topic; /* borrowed for the call, like the payload */
	struct view payload;
	uint64_t time_ms; /* journal's clock */
};

enum history_end {
	HISTORY_DONE, /* the stretch has been looked at to its end */
	HISTORY_MORE, /* not yet: ask again from `next` */
	HISTORY_GONE, /* the record `from` was removed, or is older than the account may replay */
	HISTORY_NOT_OURS, /* the journal has not come to `from` yet */
};

/* The owner's memory, until on_answer or history_free(). */
struct history_question {
	/* asked; history_set_account() fills the first two */
	struct accounts *accounts; /* one reference, the question's */
	const struct account *account;
	struct view filter;    /* valid; borrowed */
	uint64_t from;         /* position, or HISTORY_START */
	uint64_t since_ms;     /* 0: as far back as the account may replay */
	uint64_t until_ms;     /* records before this time */
	uint32_t entries_most; /* looked at; 0: HISTORY_SCAN_ENTRIES */
	/* False: enough, this record was not taken. */
	bool (*take)(struct history_question *q, const struct history_record *r);
	void (*on_answer)(struct history_question *q);
	/* answered */
	enum history_end end;
	uint64_t next;
	/* the history's */
	struct loop *loop;
	struct task task;
	struct list link;
};

/* The account of this name, {NULL,0}: who stands for those without one (the anonymous account, else
 * `everyone` when its password is public). 0; ERR_BUSY: in shadow nothing is served; ERR_ADMIN: the
 * peer's address is banned; ERR_NOT_FOUND: no such account, or it may not replay; ERR_DENIED: the
 * filter is not wholly inside what it may read (not asked with filter {NULL,0}, which stands for all
 * of that); ERR_RATE: the account's rates are used up for now. */
int history_set_account(struct history_question *q, const struct broker_worker *w,
	const struct address *peer, struct view user, struct view filter);
/* The account's rates count what was handed out; then drops the reference to it. */
void history_spend(struct history_question *q, uint64_t messages, uint64_t bytes);

/* Starts the thread. The journal outlives the history. */
struct history *history_new(struct journal *j);
/* Ends the thread, after the question under way. What was asked and not answered is the owner's
 * again. Loops do not run any more. */
void history_free(struct history *h);

/* 0: on_answer comes, not from inside. ERR_BUSY: too many wait, nothing happened. */
int history_ask(struct history *h, struct loop *l, struct history_question *q);

/* Answers at once, on this thread; the reader is registered and quiet. */
void history_scan(struct journal_reader *r, struct history_question *q);

#endif
