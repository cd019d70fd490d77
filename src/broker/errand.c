/* broker/errand.c - a list under a lock: begun and ended once a CONNECT or SUBSCRIBE, never by messages */
#include "broker/errand.h"

void errands_init(struct errands *all)
{
	pthread_mutex_init(&all->lock, NULL);
	list_init(&all->list);
}

void errands_fini(struct errands *all)
{
	while (!list_is_empty(&all->list)) {
		struct errand *e = container_of(all->list.next, struct errand, link);

		e->drop(e);
	}
	pthread_mutex_destroy(&all->lock);
}

void errand_begin(struct errands *all, struct errand *e, void (*drop)(struct errand *e))
{
	e->all = all;
	e->drop = drop;
	list_init(&e->link);
	pthread_mutex_lock(&all->lock);
	list_append(&all->list, &e->link);
	pthread_mutex_unlock(&all->lock);
}

void errand_end(struct errand *e)
{
	pthread_mutex_lock(&e->all->lock);
	list_remove(&e->link);
	pthread_mutex_unlock(&e->all->lock);
}
