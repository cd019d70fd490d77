/* wis2/catalogue.h - is there a discovery metadata record for this topic? (MD-01 to MD-05)
 *
 * A list of what the records of the Global Discovery Catalogues name: (record id, tail) and
 * (centre-id, tail), the tail being a topic from level 5 down, so that one record stands for the
 * origin and the cache channel. It is filled by one thread, then put on a shelf and changed no more;
 * workers ask what lies on the shelf.
 *
 *     catalogue_new, catalogue_add ...          one thread
 *     shelf_put   ---> struct shelf --->        shelf_ask     any worker, no lock, no allocation
 *        ^ gives the list that lay there        shelf_notice
 *
 * The list put away may still be in use by a worker that is inside shelf_ask(): whoever takes it
 * frees it once every worker's loop has made a turn (cli/server.c).
 *
 * A pair is held as 128 bits of seeded XXH3, twice (by record, by centre): 64 to 128 bytes with the
 * room of the table. The seed is the process's secret, so that no sender can look for a text that
 * meets another's pair.
 */
#ifndef WIS2_CATALOGUE_H
#define WIS2_CATALOGUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define CATALOGUE_PAIRS_MOST 500000u   /* records times channels */
#define CATALOGUE_PATTERNS_MOST 10000u /* of these with wildcards */
#define CATALOGUE_PATTERNS_OF_ONE 64u  /* ... of one record, and of one centre */

struct catalogue;

struct catalogue *catalogue_new(void);
void catalogue_free(struct catalogue *c);

/* A record names this tail, which may be an MQTT filter. Copies what it keeps. False: one of the
 * bounds above is reached, or id is not of the form urn:wmo:md:{centre-id}:{local id}. */
bool catalogue_add(struct catalogue *c, struct view id, struct view tail);

struct catalogue_size {
	size_t pairs; /* (centre-id, tail), each once */
	size_t bytes; /* of memory */
};
struct catalogue_size catalogue_size(const struct catalogue *c);

enum catalogue_answer {
	CATALOGUE_YES,       /* a record exists; or there is no list to ask */
	CATALOGUE_BY_CENTRE, /* metadata_id is unknown, but its centre has a record for the topic */
	CATALOGUE_NO,        /* no record */
	CATALOGUE_FOREIGN,   /* metadata_id belongs to another centre */
};

struct catalogue_question {
	struct view metadata_id; /* n == 0: the message names none */
	struct view centre;      /* level 4 of the topic */
	struct view tail;        /* from level 5 */
	bool any_owner;          /* checks.metadata_owner: any */
	bool fallback;           /* checks.metadata_fallback: yes */
};
enum catalogue_answer catalogue_ask(
	const struct catalogue *c, const struct catalogue_question *question);

/* --- the shelf -------------------------------------------------------- */

#define SHELF_GONE 64u /* deletions noticed between two fetches; beyond, the oldest are forgotten */

struct shelf {
	_Atomic(struct catalogue *) list; /* NULL: nothing to judge by, everything passes */
	uint64_t seed;                    /* of `gone` */
	atomic_bool noticed;              /* a metadata notification has passed */
	atomic_bool missed;               /* a message had no record */
	atomic_uint gone_at;
	_Atomic uint64_t gone[SHELF_GONE]; /* hashes of metadata_ids deleted; 0: none */
};

void shelf_init(struct shelf *s);
/* Frees the list; no worker asks any more. */
void shelf_fini(struct shelf *s);

/* Puts the list there (NULL: none) and gives the one that lay there. One thread. */
struct catalogue *shelf_put(struct shelf *s, struct catalogue *list);

enum catalogue_answer shelf_ask(struct shelf *s, const struct catalogue_question *question);

/* A notification on a metadata topic has passed: the lists are worth fetching again. gone: the
 * metadata_id it deletes, {NULL,0}: none. */
void shelf_notice(struct shelf *s, struct view gone);

/* As in `gone`. */
uint64_t shelf_hash(const struct shelf *s, struct view metadata_id);

#endif
