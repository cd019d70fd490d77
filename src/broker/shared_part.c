/* broker/shared_part.c - what the cluster asks about groups and tells them */
#include "broker/shared_part.h"

#include <stdlib.h>

#include "base/mem.h"
#include "broker/broker.h"
#include "commit/follow.h"

/* What was read of a group under its locks. */
struct glance {
	struct buf key;
	uint64_t from; /* UINT64_MAX: it has its vectors */
	uint64_t upto; /* all before it was dealt, or passed over, and acknowledged */
	bool is_news;
};

/* Of a group that has ended and owned shards. */
struct end {
	struct list link; /* in shareds->ended */
	struct buf key;
	uint64_t upto;
	struct shared_part part;
};

struct shared_part *shared_part_new(struct broker *b, uint64_t from)
{
	struct shared_part *p;

	if (b->sharing.changed == NULL)
		return NULL;
	p = mem_new(sizeof(*p));
	p->number = ++b->shareds.parts;
	p->from = from;
	p->had_local = from;
	return p;
}

static const struct journal_entry *entry_at(const struct journal *j, uint64_t seq)
{
	const struct journal_segment *segment = journal_find(j, seq);

	return segment ? &segment->entries[seq - segment->base] : NULL;
}

bool shared_part_is_others(const struct shared_part *p, const struct broker_worker *w, uint64_t seq)
{
	const struct journal_entry *e = entry_at(w->journal, seq);

	return e && e->log_id && p->state[e->shard] == SHARE_NONE;
}

void shared_tell(const struct shared *g)
{
	const struct sharing *sharing = &g->broker->sharing;

	if (sharing->changed)
		sharing->changed(sharing->context);
}

/* --- how far ----------------------------------------------------------------- */

static uint64_t least_of(const struct buf *positions, uint64_t least)
{
	for (uint32_t i = 0; i < positions_count(positions); i++) {
		if (positions_at(positions, i) < least)
			least = positions_at(positions, i);
	}
	return least;
}

static bool is_seated(const struct shared *g)
{
	for (unsigned i = 0; i < g->broker->worker_count; i++) {
		if (!list_is_empty(&g->desks[i].members))
			return true;
	}
	return false;
}

/* The least that may not be acknowledged, see shared_store.c; when nobody has anything in flight the
 * cursor says it exactly. */
static uint64_t acknowledged_upto(const struct shared *g)
{
	uint64_t least;

	if (!is_seated(g))
		return least_of(&g->returned, g->cursor);
	least = least_of(&g->returned, g->safe < g->cursor ? g->safe : g->cursor);
	least = least_of(&g->redealt[1], least_of(&g->redealt[0], least));
	for (unsigned i = 0; i < g->broker->worker_count; i++) {
		const struct list *members = &g->desks[i].members;

		for (struct list *at = members->next; at != members; at = at->next) {
			const struct shared_member *m =
				container_of(at, struct shared_member, seat);

			least = least_of(&m->open, least_of(&m->hand, least));
		}
	}
	return least;
}

static void look(struct shared *g, struct glance *out)
{
	struct shared_part *p = g->part;

	pthread_mutex_lock(&g->lock);
	buf_append(&out->key, buf_bytes(&g->key), buf_length(&g->key));
	out->from = p->is_placed ? UINT64_MAX : p->from;
	out->upto = acknowledged_upto(g);
	out->is_news = p->owned && out->upto != p->known;
	pthread_mutex_unlock(&g->lock);
}

static struct vector vector_at(struct broker *b, uint64_t seq)
{
	struct journal_reader *r = &b->shareds.reader;
	struct vector v;

	journal_reader_enter(r);
	commit_vector_at(b->commit, r, seq, &v);
	journal_reader_leave(r);
	return v;
}

static void advance_acked(struct shared_part *p, const struct vector *upto)
{
	for (unsigned k = 0; k < VECTOR_SHARDS; k++) {
		uint64_t place = upto->place[k];

		if (place > p->had.place[k])
			place = p->had.place[k];
		if (p->state[k] != SHARE_NONE && place > p->acked.place[k])
			p->acked.place[k] = place;
	}
}

/* The walks over the index are done without a lock, as workers take these. */
static void bring_up(struct broker *b, const struct glance *glance, struct sharing_group *out)
{
	struct shareds *all = &b->shareds;
	struct vector from = {{0}};
	struct vector upto = {{0}};
	struct shared *g;

	if (glance->from != UINT64_MAX)
		from = vector_at(b, glance->from);
	if (glance->is_news)
		upto = vector_at(b, glance->upto);
	pthread_mutex_lock(&all->lock);
	g = map_get(&all->groups, buf_view(&glance->key));
	if (g) {
		struct shared_part *p = g->part;

		pthread_mutex_lock(&g->lock);
		if (glance->from != UINT64_MAX && p->from == glance->from && !p->is_placed) {
			p->had = p->acked = from;
			p->is_placed = true;
		}
		if (glance->is_news && p->is_placed) {
			advance_acked(p, &upto);
			p->known = glance->upto;
		}
		out->key = buf_view(&glance->key);
		out->number = p->is_placed ? p->number : 0;
		out->is_seated = is_seated(g);
		out->acked = p->acked;
		out->dealt = p->had;
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&all->lock);
}

static void end_free(struct end *e)
{
	list_remove(&e->link);
	buf_fini(&e->key);
	free(e);
}

void shared_part_end(struct shared *g)
{
	struct end *e;

	if (g->part == NULL || g->part->owned == 0)
		return;
	e = mem_new(sizeof(*e));
	list_init(&e->link);
	buf_append(&e->key, buf_bytes(&g->key), buf_length(&g->key));
	pthread_mutex_lock(&g->lock);
	e->upto = acknowledged_upto(g);
	e->part = *g->part;
	pthread_mutex_unlock(&g->lock);
	list_append(&g->broker->shareds.ended, &e->link);
}

void shared_part_forget_ends(struct shareds *all)
{
	while (!list_is_empty(&all->ended))
		end_free(container_of(all->ended.next, struct end, link));
}

static void tell_ends(struct broker *b, struct list *ended,
	void (*on_group)(void *asker, const struct sharing_group *g), void *asker)
{
	while (!list_is_empty(ended)) {
		struct end *e = container_of(ended->next, struct end, link);
		struct vector upto = vector_at(b, e->upto);

		advance_acked(&e->part, &upto);
		if (e->part.is_placed)
			on_group(asker, &(struct sharing_group){.key = buf_view(&e->key),
						.number = e->part.number,
						.is_over = true,
						.acked = e->part.acked,
						.dealt = e->part.had});
		end_free(e);
	}
}

static void each(
	void *context, void (*on_group)(void *asker, const struct sharing_group *g), void *asker)
{
	struct broker *b = context;
	struct shareds *all = &b->shareds;
	struct glance *glances;
	struct shared *g;
	struct list ended;
	size_t n = 0;

	list_init(&ended);
	pthread_mutex_lock(&all->lock);
	list_splice(&ended, &all->ended);
	glances = mem_new((all->groups.count + 1) * sizeof(*glances));
	for (size_t at = 0; (g = map_next(&all->groups, &at)) != NULL;)
		look(g, &glances[n++]);
	pthread_mutex_unlock(&all->lock);
	tell_ends(b, &ended, on_group, asker);
	for (size_t i = 0; i < n; i++) {
		struct sharing_group group = {.number = 0};

		bring_up(b, &glances[i], &group);
		if (group.number)
			on_group(asker, &group);
		buf_fini(&glances[i].key);
	}
	free(glances);
}

/* --- whose ------------------------------------------------------------------- */

/* Where to go on for the shards that come to be owned: false: none does. */
static bool left_at(
	const struct shared_part *p, const struct sharing_parts *parts, struct vector *out)
{
	bool is_any = false;

	for (unsigned k = 0; k < VECTOR_SHARDS; k++) {
		out->place[k] = UINT64_MAX;
		if (parts->state[k] != SHARE_OWNED || p->state[k] == SHARE_OWNED)
			continue;
		out->place[k] = p->state[k] == SHARE_NONE ? parts->place.place[k] : p->had.place[k];
		is_any = true;
	}
	return is_any;
}

/* What lies there of shards that change hands is dealt by who gets them. */
static void forget_returned(struct shared *g, const struct sharing_parts *parts)
{
	struct shared_part *p = g->part;
	struct buf kept = {0};

	for (uint32_t i = 0; i < positions_count(&g->returned); i++) {
		uint64_t seq = positions_at(&g->returned, i);
		const struct journal_entry *e = entry_at(g->broker->journal, seq);

		if (e == NULL || e->log_id == 0 ||
			(p->state[e->shard] != SHARE_NONE && parts->state[e->shard] != SHARE_NONE))
			positions_add(&kept, seq);
	}
	buf_fini(&g->returned);
	g->returned = kept;
}

static void take_parts(struct shared *g, const struct sharing_parts *parts, uint64_t back)
{
	struct shared_part *p = g->part;

	forget_returned(g, parts);
	p->owned = 0;
	for (unsigned k = 0; k < VECTOR_SHARDS; k++) {
		if (p->state[k] == SHARE_NONE && parts->state[k] == SHARE_OWNED)
			p->had.place[k] = p->acked.place[k] = parts->place.place[k];
		p->state[k] = parts->state[k];
		p->owned += p->state[k] != SHARE_NONE;
	}
	if (back < g->cursor) {
		g->cursor = back;
		g->safe = back < g->safe ? back : g->safe;
		g->noted = back < g->noted ? back : g->noted;
	}
	shared_save(g);
	shared_call_all(g);
}

/* The state of a shard changes on this thread alone, so it is the same in both looks. */
static void set(void *context, struct view key, const struct sharing_parts *parts)
{
	struct broker *b = context;
	struct shareds *all = &b->shareds;
	struct journal_reader *r = &all->reader;
	uint64_t back = UINT64_MAX;
	struct vector left;
	bool is_gain = false;
	struct shared *g;

	pthread_mutex_lock(&all->lock);
	g = map_get(&all->groups, key);
	if (g)
		is_gain = left_at(g->part, parts, &left);
	pthread_mutex_unlock(&all->lock);
	journal_reader_enter(r);
	if (is_gain)
		back = commit_first_beyond(b->commit, r, &left);
	pthread_mutex_lock(&all->lock);
	g = map_get(&all->groups, key);
	if (g) {
		pthread_mutex_lock(&g->lock);
		take_parts(g, parts, back);
		pthread_mutex_unlock(&g->lock);
		shared_wake(g);
	}
	pthread_mutex_unlock(&all->lock);
	journal_reader_leave(r);
}

/* --- life ---------------------------------------------------------------------- */

struct sharing_host broker_sharing_host(struct broker *b)
{
	return (struct sharing_host){each, set, b};
}

void broker_set_sharing(struct broker *b, const struct sharing *sharing)
{
	struct shared *g;

	b->sharing = *sharing;
	journal_reader_open(b->journal, &b->shareds.reader);
	for (size_t at = 0; (g = map_next(&b->shareds.groups, &at)) != NULL;)
		g->part = shared_part_new(b, least_of(&g->returned, g->cursor));
}
