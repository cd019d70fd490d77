/* broker/errand.h - memory that is on its way between threads
 *
 * What has been posted to a loop, or waits for another thread's answer, is lost when the loops end before
 * it comes back: a loop drops its tasks unrun. So it is listed here meanwhile, and freed with the broker.
 *
 *     errand_begin() --posted, asked ...--> back: errand_end(), freed
 *                                    never: errands_fini() --> drop()
 *
 * Threads: begin and end on any; errands_fini() when all threads have ended, the cluster's too.
 */
#ifndef BROKER_ERRAND_H
#define BROKER_ERRAND_H

#include <pthread.h>

#include "base/list.h"

/* Part of struct broker. */
struct errands {
	pthread_mutex_t lock;
	struct list list;
};

/* Part of what is on its way. */
struct errand {
	struct errands *all;
	struct list link;
	/* Frees what the errand is part of, errand_end() included; looks at no client. */
	void (*drop)(struct errand *e);
};

void errands_init(struct errands *all);
void errands_fini(struct errands *all);

void errand_begin(struct errands *all, struct errand *e, void (*drop)(struct errand *e));
void errand_end(struct errand *e);

#endif
