#include "cli/top_sample.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "wis2/datetime.h"

#define NUMBER_LONGEST 40u

/* --- JSON ------------------------------------------------------------- */

static const json_t *at(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

static double real_at(const json_t *object, const char *name)
{
	double value = json_number_value(at(object, name));

	return value > 0 && value < 1e18 ? value : 0;
}

static uint64_t number_at(const json_t *object, const char *name)
{
	return (uint64_t)real_at(object, name);
}

static void text_at(const json_t *object, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(at(object, name));

	snprintf(out, size, "%s", text ? text : "");
}

static uint64_t time_at(const json_t *object, const char *name)
{
	const char *text = json_string_value(at(object, name));
	struct datetime when;

	return text && datetime_parse(view_of(text), &when) ? datetime_ms(&when) : 0;
}

static json_t *read_object(struct view page)
{
	json_t *root = json_loadb(page.p, page.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

static void read_node(struct top_node *node, const json_t *one)
{
	text_at(one, "name", node->name, sizeof(node->name));
	text_at(one, "state", node->state, sizeof(node->state));
	text_at(one, "mode", node->mode, sizeof(node->mode));
	node->alive = json_is_true(at(one, "alive"));
	node->silent_s = real_at(one, "silent_seconds");
	node->received = real_at(one, "received_per_second");
	node->published = real_at(one, "published_per_second");
	node->delivered = real_at(one, "delivered_per_second");
	node->lag_s = real_at(one, "lag_seconds");
	node->clients = number_at(one, "clients");
	node->sources = number_at(one, "sources_connected");
}

static bool is_well(const struct top_node *node)
{
	return node->alive && strcmp(node->mode, "ok") == 0;
}

static int by_need(const void *a, const void *b)
{
	const struct top_node *x = a, *y = b;
	int order = is_well(x) - is_well(y);

	return order ? order : strcmp(x->name, y->name);
}

/* null on one machine */
static void read_cluster(struct top_sample *s, const json_t *cluster)
{
	const json_t *total = at(cluster, "total"), *list = at(cluster, "nodes");
	size_t n = json_array_size(list);

	n = n < TOP_NODES_MOST ? n : TOP_NODES_MOST;
	free(s->nodes);
	s->nodes = mem_new((n + 1) * sizeof(*s->nodes));
	s->node_count = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		read_node(&s->nodes[i], json_array_get(list, i));
	qsort(s->nodes, n, sizeof(*s->nodes), by_need);
	s->total = (struct top_total){.known = json_array_size(list),
		.alive = number_at(at(total, "nodes"), "alive"),
		.clients = number_at(total, "clients"),
		.sessions = number_at(total, "sessions"),
		.received = real_at(total, "received_per_second"),
		.published = real_at(total, "published_per_second"),
		.delivered = real_at(total, "delivered_per_second")};
}

bool top_read_status(struct top_sample *s, struct view page)
{
	json_t *root = read_object(page);
	const json_t *sources = at(root, "sources");
	const json_t *clients = at(root, "clients");
	const json_t *journal = at(root, "journal");

	if (root == NULL)
		return false;
	text_at(root, "centre_id", s->centre_id, sizeof(s->centre_id));
	text_at(root, "version", s->version, sizeof(s->version));
	text_at(root, "phase", s->phase, sizeof(s->phase));
	s->uptime_s = number_at(root, "uptime_seconds");
	s->sources_total = number_at(sources, "total");
	s->sources_connected = number_at(sources, "connected");
	s->connections = number_at(clients, "connections");
	s->offline = number_at(clients, "sessions_offline");
	s->behind = number_at(clients, "behind");
	s->delivered = number_at(clients, "delivered");
	s->delivered_bytes = number_at(clients, "delivered_bytes");
	s->journal_bytes = number_at(journal, "bytes");
	s->journal_s = number_at(journal, "oldest_seconds");
	s->held = json_is_true(at(journal, "held"));
	s->failed = json_is_true(at(journal, "failed"));
	s->ids = number_at(at(root, "antiloop"), "ids");
	read_cluster(s, at(root, "cluster"));
	json_decref(root);
	return true;
}

static void read_source(struct top_source *source, const json_t *one)
{
	text_at(one, "name", source->name, sizeof(source->name));
	text_at(one, "centre_id", source->centre, sizeof(source->centre));
	text_at(one, "state", source->state, sizeof(source->state));
	if (json_is_false(at(one, "enabled")))
		snprintf(source->state, sizeof(source->state), "disabled");
	source->received = number_at(one, "received");
	source->published = number_at(one, "published");
	source->duplicates = number_at(one, "duplicates");
	source->refused = number_at(one, "invalid_topic") + number_at(one, "invalid_format") +
			  number_at(one, "no_metadata") + number_at(one, "foreign");
	source->last_ms = time_at(one, "last_message");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct top_source *)a)->name, ((const struct top_source *)b)->name);
}

bool top_read_sources(struct top_sample *s, struct view page)
{
	json_t *root = read_object(page);
	json_t *list = json_object_get(root, "sources");
	size_t n = json_array_size(list);

	if (!json_is_array(list)) {
		json_decref(root);
		return false;
	}
	n = n < TOP_SOURCES_MOST ? n : TOP_SOURCES_MOST;
	free(s->sources);
	s->sources = mem_new((n + 1) * sizeof(*s->sources));
	s->count = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		read_source(&s->sources[i], json_array_get(list, i));
	qsort(s->sources, n, sizeof(*s->sources), by_name);
	json_decref(root);
	return true;
}

const struct top_source *top_find(const struct top_sample *s, const char *name)
{
	struct top_source key;

	snprintf(key.name, sizeof(key.name), "%s", name);
	return s->count ? bsearch(&key, s->sources, s->count, sizeof(key), by_name) : NULL;
}

/* --- metrics ----------------------------------------------------------- */

/* The number at the end of a line; 0 when there is none. */
static double value_of(struct view text)
{
	char copy[NUMBER_LONGEST];
	double value;

	if (text.n == 0 || text.n >= sizeof(copy))
		return 0;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	value = strtod(copy, NULL);
	return value >= 0 && value < 1e18 ? value : 0; /* not NaN either */
}

/* The sources of a centre, each leading to the next. */
static void join_centres(struct top_sample *s, struct map *centres)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct top_source *source = &s->sources[i];
		struct view centre = view_of(source->centre);

		source->same = map_get(centres, centre);
		map_put(centres, centre, source);
	}
}

/* NAME{centre_id="CENTRE"} VALUE; centre-ids have nothing that would be escaped. Each source of the
 * centre gets it: the metric knows centres only. */
static void read_delay(const struct map *centres, struct view line, struct view name, bool is_sum)
{
	struct top_source *source;
	double value;

	if (!view_starts_with(line, name))
		return;
	line = view_skip(line, name.n);
	source = map_get(centres, view_cut(&line, '"'));
	if (source == NULL || !view_starts_with(line, VIEW("} ")))
		return;
	value = value_of(view_skip(line, 2));
	for (; source; source = source->same)
		*(is_sum ? &source->delay_sum : &source->delay_count) = value;
}

void top_read_metrics(struct top_sample *s, struct view page)
{
	const struct view lag = VIEW("isobar_lag_most_seconds ");
	const struct view sum = VIEW("isobar_publication_delay_seconds_sum{centre_id=\"");
	const struct view count_of = VIEW("isobar_publication_delay_seconds_count{centre_id=\"");
	struct map centres = {0};

	join_centres(s, &centres);
	while (page.n) {
		struct view line = view_cut(&page, '\n');

		if (view_starts_with(line, lag))
			s->lag_s = value_of(view_skip(line, lag.n));
		read_delay(&centres, line, sum, true);
		read_delay(&centres, line, count_of, false);
	}
	map_fini(&centres);
}

void top_sample_fini(struct top_sample *s)
{
	free(s->sources);
	free(s->nodes);
	*s = (struct top_sample){0};
}
