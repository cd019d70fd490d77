#include "broker/group.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "mqtt/filter.h"
#include "mqtt/packet.h"
#include "mqtt/property.h"

#define MATCHES_MOST 65536u /* topics remembered per worker */
#define WANTED_NOT 1u
#define WANTED 2u

/* --- groups ----------------------------------------------------------- */

void groups_init(struct groups *g)
{
	*g = (struct groups){.tree = filter_tree_new(), .segment = UINT32_MAX};
}

static void match_free(struct match *m)
{
	free(m->topic);
	free(m->items);
	free(m);
}

static void drop_matches(struct groups *g)
{
	struct match *m;

	for (size_t at = 0; (m = map_next(&g->matches, &at)) != NULL;)
		match_free(m);
	map_fini(&g->matches);
	g->segment = UINT32_MAX;
}

static void group_free(struct group *group)
{
	buf_fini(&group->key);
	subscriptions_fini(&group->filters);
	accounts_unref(group->accounts);
	free(group->refs);
	wants_fini(&group->wants);
	free(group);
}

void groups_fini(struct groups *g)
{
	struct group *group;

	drop_matches(g);
	for (size_t at = 0; (group = map_next(&g->by_key, &at)) != NULL;)
		group_free(group);
	map_fini(&g->by_key);
	filter_tree_free(g->tree);
	free(g->by_number);
}

static void build_key(struct buf *key, const struct subscriptions *s, uint8_t version,
	const struct account *account, const struct session *alone)
{
	const struct account *deny = account->deny_count ? account : NULL;
	struct subscription one;
	uint32_t at = 0;

	buf_append(key, &version, 1);
	buf_append(key, &deny, sizeof(deny));
	buf_append(key, &alone, sizeof(alone));
	while (subscriptions_next(s, &at, &one)) {
		uint16_t bytes = (uint16_t)one.filter.n;
		uint8_t kept =
			one.options & (SUBSCRIPTION_NO_LOCAL | SUBSCRIPTION_RETAIN_AS_PUBLISHED);

		if (one.share)
			continue;
		buf_append(key, &one.id, sizeof(one.id));
		buf_append(key, &one.qos, 1);
		buf_append(key, &kept, 1);
		buf_append(key, &bytes, sizeof(bytes));
		buf_append(key, one.filter.p, one.filter.n);
	}
}

static void plant(struct groups *g, struct group *group, const struct subscriptions *s)
{
	struct subscription one;
	uint32_t at = 0;
	uint8_t qos = 0;

	while (subscriptions_next(s, &at, &one)) {
		if (one.share)
			continue;
		one.from = 0;
		subscriptions_put(&group->filters, &one);
		filter_tree_add(g->tree, one.filter, group);
		group->has_ids |= one.id != 0;
		/* A session made with MQTT 5 may be gone on with in 3.1.1 [MQTT3-3.3.1-9]. */
		group->as_published |=
			group->version == MQTT_5 && one.options & SUBSCRIPTION_RETAIN_AS_PUBLISHED;
		qos |= one.qos;
	}
	group->is_direct = group->version != MQTT_5 && qos == 0;
}

struct group *group_join(struct groups *g, const struct subscriptions *s, uint8_t version,
	struct accounts *accounts, const struct account *account, struct session *alone)
{
	struct buf key = {0};
	struct group *group;

	build_key(&key, s, version, account, alone);
	group = map_get(&g->by_key, buf_view(&key));
	if (group == NULL) {
		group = mem_new(sizeof(*group));
		group->key = key;
		group->version = version;
		group->accounts = accounts_ref(accounts);
		group->account = account;
		group->alone = alone;
		group->wants.segment = UINT32_MAX;
		list_init(&group->live);
		plant(g, group, s);
		map_put(&g->by_key, buf_view(&group->key), group);
		g->generation++;
	} else {
		buf_fini(&key);
	}
	group->sessions++;
	return group;
}

void group_leave(struct groups *g, struct group *group)
{
	struct subscription one;
	uint32_t at = 0;

	if (--group->sessions)
		return;
	check(!group->is_active && list_is_empty(&group->live));
	while (subscriptions_next(&group->filters, &at, &one))
		filter_tree_remove(g->tree, one.filter, group);
	map_remove(&g->by_key, buf_view(&group->key));
	g->generation++;
	group_free(group);
}

void group_add_ref(struct group *group, uint32_t delta, uint8_t qos)
{
	if (group->ref_count == group->ref_size) {
		group->ref_size = group->ref_size ? group->ref_size * 2 : 64;
		group->refs = mem_resize(group->refs, group->ref_size * sizeof(*group->refs));
	}
	group->refs[group->ref_count++] = (struct group_ref){delta, qos};
}

/* --- matching --------------------------------------------------------- */

/* Highest QoS granted by a filter that matches, -1: none, or denied. Those with one of the options
 * `without` do not count. */
static int granted(const struct subscriptions *s, const struct account *account, struct view topic,
	uint64_t seq, uint8_t without)
{
	struct subscription one;
	uint32_t at = 0;
	int qos = -1;

	if (account->deny_count && account_is_denied(account, topic))
		return -1;
	while (subscriptions_next(s, &at, &one)) {
		/* [MQTT-3.3.2-3], [MQTT-3.3.4-2] */
		if (!one.share && one.qos > qos && one.from <= seq && !(one.options & without) &&
			filter_match(one.filter, topic))
			qos = one.qos;
	}
	return qos;
}

int subscriptions_want(const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq)
{
	int qos = entry->flags & JOURNAL_HIDDEN
			  ? -1
			  : granted(s, account, record_topic(segment, entry), seq, 0);

	return qos < 0 ? qos : qos_least((uint8_t)qos, journal_entry_qos(entry));
}

int subscriptions_want_own(const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq)
{
	int qos = granted(s, account, record_topic(segment, entry), seq,
		SUBSCRIPTION_NO_LOCAL); /* [MQTT-3.8.3-3] */

	return qos < 0 ? qos : qos_least((uint8_t)qos, journal_entry_qos(entry));
}

static void add_item(void *context, void *value)
{
	struct match *m = context;

	for (uint32_t i = m->count; i-- > 0 && m->count - i <= 4;) {
		if (m->items[i].group == value)
			return;
	}
	if (m->count == m->size) {
		m->size = m->size ? m->size * 2 : 4;
		m->items = mem_resize(m->items, m->size * sizeof(*m->items));
	}
	m->items[m->count++] = (struct match_item){value, 0};
}

static int by_group(const void *a, const void *b)
{
	const struct group *x = ((const struct match_item *)a)->group;
	const struct group *y = ((const struct match_item *)b)->group;

	return x < y ? -1 : x > y;
}

/* Asks the tree, then drops repeats and denied groups. */
static void match_fill(struct groups *g, struct match *m)
{
	struct view topic = {m->topic, m->topic_bytes};
	uint32_t kept = 0;

	m->count = 0;
	filter_tree_match(g->tree, topic, add_item, m);
	if (m->count > 1)
		qsort(m->items, m->count, sizeof(*m->items), by_group);
	for (uint32_t i = 0; i < m->count; i++) {
		struct group *group = m->items[i].group;
		int qos;

		if (kept && m->items[kept - 1].group == group)
			continue;
		qos = granted(&group->filters, group->account, topic, UINT64_MAX, 0);
		if (qos >= 0)
			m->items[kept++] = (struct match_item){group, (uint8_t)qos};
	}
	m->count = kept;
	m->generation = g->generation;
}

/* Drops what was not used since the last sweep; everything when that is too little. */
static void sweep_matches(struct groups *g)
{
	struct map kept = {0};
	struct match *m;

	for (size_t at = 0; (m = map_next(&g->matches, &at)) != NULL;) {
		if (m->used && kept.count < MATCHES_MOST / 2) {
			m->used = false;
			map_put(&kept, (struct view){m->topic, m->topic_bytes}, m);
		} else {
			match_free(m);
		}
	}
	map_fini(&g->matches);
	g->matches = kept;
	if (g->by_number_size)
		memset(g->by_number, 0, g->by_number_size * sizeof(*g->by_number));
}

static struct match *match_topic(struct groups *g, struct view topic)
{
	struct match *m = map_get(&g->matches, topic);

	if (m)
		return m;
	if (g->matches.count >= MATCHES_MOST)
		sweep_matches(g);
	m = mem_new(sizeof(*m));
	m->topic = mem_text_of(topic);
	m->topic_bytes = topic.n;
	m->generation = UINT64_MAX;
	map_put(&g->matches, (struct view){m->topic, m->topic_bytes}, m);
	return m;
}

static void open_segment(struct groups *g, uint32_t number)
{
	if (g->by_number_size)
		memset(g->by_number, 0, g->by_number_size * sizeof(*g->by_number));
	g->segment = number;
}

static void number_room(struct groups *g, uint32_t topic)
{
	uint32_t size = g->by_number_size ? g->by_number_size : 256;

	while (size <= topic)
		size *= 2;
	g->by_number = mem_resize(g->by_number, size * sizeof(*g->by_number));
	memset(g->by_number + g->by_number_size, 0,
		(size - g->by_number_size) * sizeof(*g->by_number));
	g->by_number_size = size;
}

const struct match *match_record(
	struct groups *g, const struct journal_segment *segment, const struct journal_entry *entry)
{
	struct match *m;

	if (segment->number != g->segment)
		open_segment(g, segment->number);
	if (entry->topic >= g->by_number_size)
		number_room(g, entry->topic);
	m = g->by_number[entry->topic];
	if (m == NULL) {
		m = match_topic(g, record_topic(segment, entry));
		g->by_number[entry->topic] = m;
	}
	if (m->generation != g->generation)
		match_fill(g, m);
	m->used = true;
	return m;
}

/* --- answers remembered ----------------------------------------------- */

void wants_clear(struct wants *wants)
{
	if (wants->size)
		memset(wants->by_topic, 0, wants->size);
	wants->segment = UINT32_MAX;
}

void wants_fini(struct wants *wants)
{
	free(wants->by_topic);
	*wants = (struct wants){0};
}

static void wants_room(struct wants *wants, uint32_t segment, uint32_t topic)
{
	uint32_t size = wants->size ? wants->size : 64;

	if (wants->segment != segment)
		wants_clear(wants);
	wants->segment = segment;
	while (size <= topic)
		size *= 2;
	if (size == wants->size)
		return;
	wants->by_topic = mem_resize(wants->by_topic, size);
	memset(wants->by_topic + wants->size, 0, size - wants->size);
	wants->size = size;
}

int wants_ask(struct wants *wants, const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry)
{
	uint8_t *want;

	if (entry->flags & JOURNAL_HIDDEN)
		return -1;
	if (wants->segment != segment->number || entry->topic >= wants->size)
		wants_room(wants, segment->number, entry->topic);
	want = &wants->by_topic[entry->topic];
	if (*want == 0) {
		int qos = granted(s, account, record_topic(segment, entry), UINT64_MAX, 0);

		*want = (uint8_t)(qos < 0 ? WANTED_NOT : WANTED + (unsigned)qos);
	}
	/* [MQTT-3.8.4-8] */
	return *want == WANTED_NOT ? -1
				   : qos_least((uint8_t)(*want - WANTED), journal_entry_qos(entry));
}

int group_wants(struct group *group, const struct journal_segment *segment,
	const struct journal_entry *entry)
{
	return wants_ask(&group->wants, &group->filters, group->account, segment, entry);
}

void subscriptions_put_ids(const struct subscriptions *s, struct view topic, uint64_t seq,
	uint8_t without, struct buf *properties)
{
	struct subscription one;
	uint32_t at = 0;

	/* Each matching subscription's identifier, in no order. */
	while (subscriptions_next(s, &at, &one)) {
		/* [MQTT-3.3.4-3], [MQTT-3.3.4-4] */
		if (one.id && !one.share && one.from <= seq && !(one.options & without) &&
			filter_match(one.filter, topic))
			mqtt_put_number(properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, one.id);
	}
}

bool subscriptions_want_as_published(
	const struct subscriptions *s, struct view topic, uint64_t seq, uint8_t without)
{
	struct subscription one;
	uint32_t at = 0;

	while (subscriptions_next(s, &at, &one)) {
		if (one.options & SUBSCRIPTION_RETAIN_AS_PUBLISHED && one.from <= seq &&
			!(one.options & without) && filter_match(one.filter, topic))
			return true;
	}
	return false;
}
