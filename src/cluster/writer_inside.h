/* cluster/writer_inside.h - of the writer alone: writer.c makes calls, outage.c goes on without Redis
 *
 *     shard: queue of entries --> call: up to BATCH_MOST entries of one kind, one at a time
 */
#ifndef CLUSTER_WRITER_INSIDE_H
#define CLUSTER_WRITER_INSIDE_H

#include "base/log.h"
#include "cluster/intake.h"
#include "cluster/writer.h"

#define BATCH_MOST 128u
#define WRITER_PORTS 256u

struct call {
	struct redis_request request;
	uint64_t since_ms; /* 0: idle */
	uint32_t count;    /* entries; 0 with a time: nobody waits for its answer any more */
	bool good;         /* the last reply was one of the script */
	bool is_again;     /* to be made again after a pause */
	bool only_trims;   /* it was made for no message: no replica has to have it */
	struct entry *entries[BATCH_MOST];
};

struct shard {
	struct writer *writer;
	uint32_t number;
	struct entry *first; /* not in a call */
	struct entry *last;
	uint64_t trimmed_ms;
	uint64_t mended; /* messages of it that were put back */
	struct call call;
};

struct answers {
	struct commit_port *port;
	struct commit_answer *list;
	uint32_t count;
	uint32_t size;
};

/* In the spool, and answered when that is safe. */
struct spooled {
	uint64_t upto;
	struct commit_port *port;
	uint32_t ticket;
};

struct legacy;

struct writer {
	struct cluster_core *core;
	struct intake *intake;
	struct legacy *legacy; /* NULL: our own claims are all */
	char sha[REDIS_SHA_BYTES];
	bool has_begun;
	uint64_t queued_ms; /* before that: when the first entry came */
	struct shard *shards;
	struct answers answers[WRITER_PORTS]; /* of this turn, by number of port */
	struct deferred flush;
	struct task inbox;
	struct timer again;
	struct timer look;
	struct log_limit error_log;
	struct writer_figures figures;
	/* outage.c */
	uint64_t out_since_ms;
	struct spool *spool; /* NULL: hold */
	struct task spool_progress;
	atomic_bool progress_posted;
	struct entry *backlog; /* to go to the spool, oldest first */
	struct entry *backlog_last;
	struct spooled *spooled; /* waiting for a sync, oldest first */
	uint32_t spooled_count;
	uint32_t spooled_size;
	uint32_t draining; /* entries of the spool that are not answered */
};

/* --- writer.c ------------------------------------------------------------ */

static inline enum cluster_state writer_state(const struct writer *w)
{
	return (enum cluster_state)count_read(&w->figures.state);
}

void writer_answer(
	struct writer *w, struct commit_port *port, uint32_t ticket, enum commit_outcome outcome);
/* On its first step; writer_pump() then sends it. */
void writer_take(struct writer *w, struct entry *e);
/* Behind what waits for its shard; writer_pump() sends it. */
void writer_queue(struct writer *w, struct entry *e);
void writer_pump(struct writer *w);
/* The entry is answered, with `first`: it is gone. */
void writer_settle(struct writer *w, struct entry *e);
/* A reply that is no answer, now and then; e may be NULL. */
void writer_log_reply(struct writer *w, const struct entry *e, const struct resp *reply);

/* --- outage.c ------------------------------------------------------------ */

int outage_new(struct writer *w, char **why);
void outage_begin(struct writer *w);
void outage_free(struct writer *w);
/* Now and then: is the store out of reach, is it back? */
void outage_look(struct writer *w);
/* While spooling or draining: behind what is in the spool. */
void outage_take(struct writer *w, struct entry *e);
/* After some outage_take(). */
void outage_spool(struct writer *w);
/* An entry of the spool was answered. */
void outage_on_drained(struct writer *w, bool first);

#endif
