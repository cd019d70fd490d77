/* The nodes of a cluster as JSON: each by itself, all together, and who holds which source. */
#include <jansson.h>

#include "admin/internal.h"
#include "base/clock.h"

static const struct {
	const char *name;
	unsigned unit;
} figures[NODE_FIGURES] = {
#define X(symbol, word, name, unit, join, topic) [NODE_##symbol] = {name, unit},
#include "cluster/node_figure.def"
#undef X
};

static json_t *value_of(enum node_figure f, uint64_t value)
{
	if (value == NODE_UNTOLD)
		return json_null();
	if (f == NODE_MODE)
		return json_string(node_mode_text(value));
	if (f == NODE_REDIS)
		return json_string(cluster_redis_text(value));
	if (figures[f].unit == 1)
		return json_integer((json_int_t)value);
	return json_real((double)value / figures[f].unit);
}

static json_t *roles_of(const struct node *n)
{
	json_t *roles = json_array();

	if (n->roles & NODE_SOURCES)
		json_array_append_new(roles, json_string("sources"));
	if (n->roles & NODE_SUBSCRIBERS)
		json_array_append_new(roles, json_string("subscribers"));
	return roles;
}

struct node_list {
	json_t *list;
	uint64_t now_ms;
};

static void add_node(void *context, const struct node *n)
{
	struct node_list *to = context;
	uint64_t silent_ms = to->now_ms > n->changed_ms ? to->now_ms - n->changed_ms : 0;
	json_t *one = json_pack("{s:s, s:s, s:b, s:b, s:f, s:o, s:s, s:s}", "name", n->name,
		"state", node_state_text(node_state(n)), "alive", n->alive, "draining", n->draining,
		"silent_seconds", (double)silent_ms / 1000, "roles", roles_of(n), "version",
		n->version, "advertise", n->advertise);

	for (unsigned f = 0; f < NODE_FIGURES; f++)
		json_object_set_new(
			one, figures[f].name, value_of((enum node_figure)f, n->figures[f]));
	json_array_append_new(to->list, one);
}

/* --- sources, wherever they are held ------------------------------------ */

static void count_holding(void *context, const struct holding *h)
{
	struct holding_count *n = context;

	if (n->source == NULL || strcmp(n->source, h->source) != 0) {
		n->source = h->source;
		n->held++;
		n->is_counted = false;
	}
	n->connected += h->connected && !n->is_counted;
	n->is_counted |= h->connected;
}

void holdings_count(struct cluster *c, struct holding_count *out)
{
	*out = (struct holding_count){0};
	cluster_each_holding(c, count_holding, out);
}

static void add_holding(void *context, const struct holding *h)
{
	json_t *sources = context;
	json_t *list = json_object_get(sources, h->source);

	if (list == NULL) {
		list = json_array();
		json_object_set_new(sources, h->source, list);
	}
	json_array_append_new(
		list, json_pack("{s:s, s:i, s:b, s:b}", "node", h->node, "slot", (int)h->slot,
			      "voice", (int)h->is_voice, "connected", (int)h->connected));
}

json_t *holders_index(const struct admin *a)
{
	json_t *sources = json_object();

	if (a->settings.cluster)
		cluster_each_holding(a->settings.cluster, add_holding, sources);
	return sources;
}

json_t *holders_of(const struct admin *a, const json_t *index, const char *source)
{
	json_t *list = json_object_get(index, source);

	if (a->settings.cluster == NULL)
		return json_null();
	return list ? json_incref(list) : json_array();
}

/* --- all together --------------------------------------------------------- */

static json_t *total_of(struct cluster *c, const struct nodes_sum *sum)
{
	struct holding_count n;
	json_t *total = json_object(), *states = json_object();

	for (unsigned i = 0; i < NODE_STATES; i++)
		json_object_set_new(states, node_state_text((enum node_state)i),
			json_integer((json_int_t)sum->states[i]));
	json_object_set_new(total, "nodes", states);
	for (unsigned f = 0; f < NODE_FIGURES; f++)
		if (sum->figures[f] != NODE_UNTOLD)
			json_object_set_new(total, figures[f].name,
				value_of((enum node_figure)f, sum->figures[f]));
	holdings_count(c, &n);
	json_object_set_new(total, "sources_held", json_integer(n.held));
	json_object_set_new(total, "sources_connected", json_integer(n.connected));
	return total;
}

json_t *nodes_document(const struct admin *a)
{
	struct cluster *c = a->settings.cluster;
	struct node_list to = {json_array(), clock_mono_ms()};
	struct cluster_figures f;
	struct nodes_sum sum;
	uint64_t age_ms = cluster_sum(c, &sum);

	cluster_figures(c, &f);
	cluster_each_node(c, add_node, &to);
	return json_pack("{s:s, s:o, s:o, s:o}", "node", f.node, "age_seconds",
		age_ms == UINT64_MAX ? json_null() : json_real((double)age_ms / 1000), "total",
		total_of(c, &sum), "nodes", to.list);
}
