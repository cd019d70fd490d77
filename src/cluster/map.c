/* cluster/map.c - which nodes there are, and which of them has which slot
 *
 * Nodes are known by "host:port" as the cluster announces them; seeds as they are configured. A node
 * that the map no longer names loses its connection, and is forgotten when nothing refers to it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster/internal.h"

struct redis_node *map_node(
	struct redis *r, const struct slot_node *at, const struct redis_node *from)
{
	struct view host = at->host.n ? at->host : from ? view_of(from->host) : VIEW("");
	char name[NODE_NAME_BYTES];
	struct redis_node *node;

	if (host.n == 0 || host.n >= sizeof(node->host))
		return NULL;
	snprintf(name, sizeof(name), "%.*s:%u", VIEW_ARG(host), at->port);
	node = map_get(&r->nodes, view_of(name));
	if (node || r->nodes.count >= NODES_MOST)
		return node;
	node = mem_new(sizeof(*node));
	memcpy(node->name, name, sizeof(name));
	memcpy(node->host, host.p, host.n);
	node->port = at->port;
	map_put(&r->nodes, view_of(node->name), node);
	return node;
}

struct link *map_link(struct redis *r, struct redis_node *node, uint32_t line)
{
	if (node->links[line] == NULL) {
		node->links[line] = link_new(r, node, NULL);
		node->links[line]->quiet = line > 0;
	}
	return node->links[line];
}

struct redis_node *map_replica(struct redis *r, const struct redis_node *master)
{
	struct redis_node *node, *found = NULL;
	uint32_t seen = 0;

	for (size_t at = 0; (node = map_next(&r->nodes, &at)) != NULL;)
		if (node->master == master && node->mapped && redis_chance(r) % ++seen == 0)
			found = node;
	return found;
}

/* --- applying ----------------------------------------------------------------- */

static void apply_range(
	struct redis *r, const struct slot_range *range, const struct redis_node *from)
{
	struct redis_node *master = NULL, *node;
	struct slot_node at;

	for (uint32_t i = 0; i < range->nodes; i++) {
		if (!slot_range_node(range, i, &at) || (node = map_node(r, &at, from)) == NULL)
			continue;
		node->mapped = true;
		if (i == 0)
			master = node;
		node->master = node == master ? NULL : master;
	}
	for (uint32_t slot = range->first; master && slot <= range->last; slot++) {
		r->covered += r->masters[slot] == NULL;
		r->masters[slot] = master;
	}
}

static bool is_referred_to(struct redis *r, const struct redis_node *node)
{
	struct list *at;

	for (at = r->links.next; at != &r->links; at = at->next)
		if (container_of(at, struct link, in_redis)->node == node)
			return true;
	return false;
}

static void drop_links(struct redis_node *node)
{
	for (uint32_t i = 0; i < REDIS_CONNECTIONS_MOST; i++) {
		if (node->links[i])
			link_drop(node->links[i]);
		node->links[i] = NULL;
	}
}

/* One that nothing refers to any more; its shared connections are ended first. */
static struct redis_node *find_forgotten(struct redis *r)
{
	struct redis_node *node;

	for (size_t at = 0; (node = map_next(&r->nodes, &at)) != NULL;) {
		if (node->mapped || node->seed)
			continue;
		drop_links(node);
		if (!is_referred_to(r, node))
			return node;
	}
	return NULL;
}

static void forget_asking(struct list *requests, const struct redis_node *node)
{
	for (struct list *at = requests->next; at != requests; at = at->next) {
		struct redis_request *q = container_of(at, struct redis_request, link);

		if (q->ask == node)
			q->ask = NULL;
	}
}

static void forget_node(struct redis *r, struct redis_node *node)
{
	struct redis_node *other;

	for (struct list *at = r->busy.next; at != &r->busy; at = at->next) {
		struct redis_lane *lane = container_of(at, struct redis_lane, in_busy);

		forget_asking(&lane->queue, node);
		forget_asking(&lane->again, node);
	}
	for (size_t at = 0; (other = map_next(&r->nodes, &at)) != NULL;)
		if (other->master == node)
			other->master = NULL;
	map_remove(&r->nodes, view_of(node->name));
	free(node);
}

static void tell(struct redis *r, uint32_t masters, uint32_t replicas, enum redis_state state)
{
	if (state == count_read(&r->figures.state) && masters == r->master_count &&
		replicas == r->replica_count)
		return;
	log_event(state == REDIS_WHOLE ? LOG_INFO : LOG_WARN, "cluster", "redis_slots",
		"state=%s slots=%u masters=%u replicas=%u", redis_state_text(state), r->covered,
		masters, replicas);
	r->master_count = masters;
	r->replica_count = replicas;
	count_set(&r->figures.state, state);
}

static void sum_up(struct redis *r)
{
	uint32_t masters = 0, replicas = 0;
	struct redis_node *node;

	for (size_t at = 0; (node = map_next(&r->nodes, &at)) != NULL;) {
		masters += node->mapped && node->master == NULL;
		replicas += node->mapped && node->master != NULL;
	}
	tell(r, masters, replicas, r->covered == SLOTS ? REDIS_WHOLE : REDIS_PARTIAL);
}

static bool is_master(const struct redis_node *node)
{
	return node->mapped && node->master == NULL;
}

/* Whose successor the map names is not waited for. */
static void leave_silent(struct redis *r)
{
	for (struct list *at = r->links.next; at != &r->links; at = at->next) {
		struct link *l = container_of(at, struct link, in_redis);

		if (l->is_silent && !is_master(l->node))
			link_leave(r, l->node);
	}
}

void map_apply(struct redis *r, const struct resp *reply, const struct redis_node *from)
{
	struct redis_node *node;
	struct slot_range range;

	for (size_t at = 0; (node = map_next(&r->nodes, &at)) != NULL;)
		node->mapped = false;
	memset(r->masters, 0, sizeof(r->masters));
	r->covered = 0;
	for (uint32_t i = 0; i < reply->count; i++)
		if (slot_range_of(reply, i, &range))
			apply_range(r, &range, from);
	leave_silent(r);
	while ((node = find_forgotten(r)) != NULL)
		forget_node(r, node);
	count_add(&r->figures.maps, 1);
	sum_up(r);
}
