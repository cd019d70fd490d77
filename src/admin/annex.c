/* The cluster below $SYS/cluster/: what all nodes have together, and a row of topics for each node.
 *
 *	$SYS/cluster/nodes/alive	2
 *	$SYS/cluster/clients/connected	120
 *	$SYS/cluster/nodes/NAME/state	alive
 *	$SYS/cluster/nodes/NAME/clients/connected	60
 *
 * Of a node that does not live only state, version and address are told.
 */
#include <inttypes.h>
#include <stdio.h>

#include "admin/admin.h"
#include "admin/internal.h"
#include "broker/sys.h"

#define ROOT "$SYS/cluster/"

static const struct {
	const char *topic;
	unsigned unit;
} figures[NODE_FIGURES] = {
#define X(symbol, word, name, unit, join, topic) [NODE_##symbol] = {topic, unit},
#include "cluster/node_figure.def"
#undef X
};

struct telling {
	sys_say *say;
	void *to;
	struct buf topic;
	struct buf text;
};

/* What stands in t->text, about this below what `node` says; NULL: of all nodes. */
static void tell(struct telling *t, const char *node, const char *what)
{
	buf_clear(&t->topic);
	if (node)
		buf_printf(&t->topic, ROOT "nodes/%s/%s", node, what);
	else
		buf_printf(&t->topic, ROOT "%s", what);
	t->say(t->to, buf_view(&t->topic), buf_view(&t->text));
	buf_clear(&t->text);
}

static void tell_text(struct telling *t, const char *node, const char *what, const char *text)
{
	buf_text(&t->text, text);
	tell(t, node, what);
}

static void tell_number(struct telling *t, const char *node, const char *what, uint64_t value)
{
	buf_printf(&t->text, "%" PRIu64, value);
	tell(t, node, what);
}

static void tell_figure(struct telling *t, const char *node, enum node_figure f, uint64_t value)
{
	const char *what = figures[f].topic;

	if (value == NODE_UNTOLD)
		return;
	if (f == NODE_MODE) {
		tell_text(t, node, what, node_mode_text(value));
	} else if (f == NODE_REDIS) {
		tell_text(t, node, what, cluster_redis_text(value));
	} else if (f == NODE_UPTIME) {
		buf_printf(&t->text, "%" PRIu64 " seconds", value);
		tell(t, node, what);
	} else if (figures[f].unit == 1) {
		tell_number(t, node, what, value);
	} else {
		buf_printf(&t->text, "%.1f", (double)value / figures[f].unit);
		tell(t, node, what);
	}
}

static void tell_node(void *context, const struct node *n)
{
	struct telling *t = context;

	tell_text(t, n->name, "state", node_state_text(node_state(n)));
	tell_text(t, n->name, "version", n->version);
	if (n->advertise[0])
		tell_text(t, n->name, "advertise", n->advertise);
	for (unsigned f = 0; n->alive && f < NODE_FIGURES; f++)
		tell_figure(t, n->name, (enum node_figure)f, n->figures[f]);
}

static void tell_all(void *context, sys_say *say, void *to)
{
	struct cluster *c = context;
	struct telling t = {.say = say, .to = to};
	struct holding_count n;
	struct nodes_sum sum;

	(void)cluster_sum(c, &sum);
	for (unsigned i = 0; i < NODE_STATES; i++) {
		char what[32];

		snprintf(what, sizeof(what), "nodes/%s", node_state_text((enum node_state)i));
		tell_number(&t, NULL, what, sum.states[i]);
	}
	for (unsigned f = 0; f < NODE_FIGURES; f++)
		tell_figure(&t, NULL, (enum node_figure)f, sum.figures[f]);
	holdings_count(c, &n);
	tell_number(&t, NULL, figures[NODE_HELD].topic, n.held);
	tell_number(&t, NULL, figures[NODE_CONNECTED].topic, n.connected);
	cluster_each_node(c, tell_node, &t);
	buf_fini(&t.topic);
	buf_fini(&t.text);
}

struct sys_annex admin_annex(struct cluster *c)
{
	return (struct sys_annex){tell_all, c};
}
