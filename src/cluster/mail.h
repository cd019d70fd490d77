/* cluster/mail.h - short letters from node to node, by a stream of each in Redis
 *
 * A letter is a kind, a key and a number; who is away finds it later. A stream keeps some
 * thousand letters; at a start all that are there are read again, so what a letter asks must be harmless
 * twice.
 *
 * Threads: the cluster's loop, or before it runs.
 */
#ifndef CLUSTER_MAIL_H
#define CLUSTER_MAIL_H

#include "cluster/core.h"

struct letter {
	struct view kind; /* "taken", "given", "wanted" */
	struct view key;
	uint64_t number;
	struct view from; /* node */
	bool is_clean;    /* "taken" by a clean start */
};

struct mail;

#define MAIL_KINDS 3u

struct mail *mail_new(struct cluster_core *core);
void mail_begin(struct mail *m);
void mail_free(struct mail *m);

/* What is to be done with letters of this kind; the letter is borrowed. At most MAIL_KINDS. */
void mail_listen(struct mail *m, const char *kind,
	void (*on_letter)(void *context, const struct letter *letter), void *context);

/* To the node of this name. One that cannot be sent is lost. */
void mail_send(struct mail *m, struct view node, const struct letter *letter);

#endif
