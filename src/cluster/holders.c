/* cluster/holders.c - rendezvous hashing, and the one step that brings the leases nearer to it */
#include "cluster/holders.h"

#include <xxhash.h>

#include "base/check.h"

/* The nodes that are to hold a source, best first. */
struct wanted {
	const struct node *node[HOLDERS_MOST];
	uint64_t weight[HOLDERS_MOST];
	uint32_t count;
};

uint64_t holder_weight(struct view what, const char *node)
{
	return XXH64(node, strlen(node), XXH64(what.p, what.n, 0));
}

static void rank(struct wanted *w, uint32_t most, const struct node *node, uint64_t weight)
{
	uint32_t at = w->count < most ? w->count++ : most;

	while (at > 0 && w->weight[at - 1] < weight) {
		if (at < most) {
			w->node[at] = w->node[at - 1];
			w->weight[at] = w->weight[at - 1];
		}
		at--;
	}
	if (at < most) {
		w->node[at] = node;
		w->weight[at] = weight;
	}
}

static void want(const struct holder_terms *t, const char *source, struct wanted *out)
{
	out->count = 0;
	for (uint32_t i = 0; i < t->nodes->count; i++) {
		const struct node *node = &t->nodes->list[i];

		if (node_serves(node, NODE_SOURCES))
			rank(out, t->replicas, node, holder_weight(view_of(source), node->name));
	}
}

/* Its place in the order, or HOLDER_NONE. */
static uint32_t rank_of(const struct wanted *w, const char *name)
{
	for (uint32_t i = 0; i < w->count; i++) {
		if (strcmp(w->node[i]->name, name) == 0)
			return i;
	}
	return HOLDER_NONE;
}

static bool is_mine(const struct holder_terms *t, const char *run)
{
	return run && strcmp(run, t->run) == 0;
}

/* Nobody has it, or who has it is gone, or lives and is not to have it. */
static bool may_take(const struct holder_terms *t, const struct wanted *w, const char *run)
{
	const struct node *holder = run ? nodes_by_run(t->nodes, view_of(run)) : NULL;

	if (holder == NULL)
		return true;
	return holder->draining || (t->settled && rank_of(w, holder->name) == HOLDER_NONE);
}

static uint32_t slot_to_take(const struct holder_terms *t, const struct wanted *w,
	uint32_t own_rank, const struct leases *leases)
{
	for (uint32_t i = 0; i < t->replicas; i++) {
		/* Each begins at the slot of his place in the order, so that two seldom want the same. */
		uint32_t slot = (own_rank + i) % t->replicas;

		if (may_take(t, w, leases->run[slot]))
			return slot;
	}
	return HOLDER_NONE;
}

static uint32_t voice_of(const struct holder_terms *t, const struct leases *leases)
{
	for (uint32_t slot = 0; slot < HOLDERS_MOST; slot++) {
		const char *run = leases->run[slot];

		if (run && (is_mine(t, run) || nodes_by_run(t->nodes, view_of(run))))
			return slot;
	}
	return HOLDER_NONE;
}

/* While it is about to leave, or not wanted any more, a holder goes on until another has taken over. */
void holder_decide(const struct holder_terms *t, const char *source, const struct leases *leases,
	struct holder_step *out)
{
	struct wanted wanted;
	uint32_t own_rank;

	check(t->replicas >= 1 && t->replicas <= HOLDERS_MOST);
	want(t, source, &wanted);
	own_rank = rank_of(&wanted, t->node);
	*out = (struct holder_step){.slot = HOLDER_NONE, .swap = HOLDER_NONE};
	for (uint32_t slot = 0; slot < HOLDERS_MOST; slot++) {
		if (!is_mine(t, leases->run[slot]))
			continue;
		if (slot < t->replicas && out->slot == HOLDER_NONE) {
			out->slot = slot;
		} else {
			out->swap = slot;
			out->release = true;
		}
	}
	if (out->slot == HOLDER_NONE && out->swap == HOLDER_NONE && own_rank != HOLDER_NONE)
		out->swap = slot_to_take(t, &wanted, own_rank, leases);
	out->voice = out->slot != HOLDER_NONE && voice_of(t, leases) == out->slot;
}

const struct node *holder_first(const struct nodes *nodes, const char *what)
{
	const struct node *first = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < nodes->count; i++) {
		const struct node *node = &nodes->list[i];
		uint64_t weight = holder_weight(view_of(what), node->name);

		if (!node->alive || node->draining || (first && weight <= most))
			continue;
		first = node;
		most = weight;
	}
	return first;
}
