#include "cluster/roll.h"

#include "base/mem.h"

void roll_init(struct roll *r, const char *own)
{
	*r = (struct roll){.own = own};
	pthread_mutex_init(&r->lock, NULL);
}

void roll_fini(struct roll *r)
{
	nodes_fini(&r->nodes);
	pthread_mutex_destroy(&r->lock);
}

/* With the lock. */
static void put_own(struct roll *r)
{
	for (uint32_t i = 0; r->has_figures && i < r->nodes.count; i++)
		if (strcmp(r->nodes.list[i].name, r->own) == 0)
			memcpy(r->nodes.list[i].figures, r->figures, sizeof(r->figures));
}

void roll_set(struct roll *r, const struct nodes *nodes)
{
	pthread_mutex_lock(&r->lock);
	nodes_copy(&r->nodes, nodes);
	put_own(r);
	pthread_mutex_unlock(&r->lock);
}

void roll_set_own(struct roll *r, const uint64_t figures[NODE_FIGURES])
{
	pthread_mutex_lock(&r->lock);
	memcpy(r->figures, figures, sizeof(r->figures));
	r->has_figures = true;
	put_own(r);
	pthread_mutex_unlock(&r->lock);
}

void roll_each(
	struct roll *r, void (*on_node)(void *context, const struct node *node), void *context)
{
	pthread_mutex_lock(&r->lock);
	for (uint32_t i = 0; i < r->nodes.count; i++)
		on_node(context, &r->nodes.list[i]);
	pthread_mutex_unlock(&r->lock);
}

uint64_t roll_sum(struct roll *r, struct nodes_sum *out)
{
	uint64_t taken_ms;

	pthread_mutex_lock(&r->lock);
	nodes_sum(&r->nodes, out);
	taken_ms = r->nodes.taken_ms;
	pthread_mutex_unlock(&r->lock);
	return taken_ms;
}

char *roll_elsewhere(struct roll *r)
{
	const char *found = NULL;
	char *copy;

	pthread_mutex_lock(&r->lock);
	for (uint32_t i = 0; i < r->nodes.count && (found == NULL || found[0] == '\0'); i++) {
		const struct node *node = &r->nodes.list[r->elsewhere++ % r->nodes.count];

		if (node_serves(node, NODE_SUBSCRIBERS) && strcmp(node->name, r->own) != 0)
			found = node->advertise;
	}
	copy = mem_text(found);
	pthread_mutex_unlock(&r->lock);
	return copy;
}
