/* A group's row in the store: its position, and what is before it and not surely elsewhere.
 *
 *        safe            noted          cursor
 *          |  two checkpoints at most     |
 *   -------+---------------+--------------+----> tail
 *
 * What was dealt lies in hands and windows, and the windows are looked at by each worker in its own
 * time. So the row's position is `safe`: where the cursor stood (`noted`) before all workers began a
 * checkpoint that is over by now. What was dealt behind it is dealt again after a crash. The row lists
 * what is before it and not acknowledged: what waits, what is in hands, what windows held at QoS 1 at
 * the last checkpoint (`open`), and what was dealt anew since (redealt[0]: since `noted`, [1]: in the
 * round before). What is in flight at QoS 2 stands in the session's row.
 *
 * **Invariant:** what the group wants and nobody has acknowledged is behind the row's position, in
 * the row's list, or at QoS 2 in a session's row.
 */
#include <xxhash.h>

#include "base/clock.h"
#include "broker/shared_group.h"
#include "broker/store.h"

static void list_before(const struct shared *g, const struct buf *from, struct buf *out)
{
	for (uint32_t i = 0; i < positions_count(from); i++) {
		if (positions_at(from, i) < g->safe)
			positions_add(out, positions_at(from, i));
	}
}

static void list_members(const struct shared *g, struct buf *out)
{
	for (unsigned i = 0; i < g->broker->worker_count; i++) {
		const struct list *members = &g->desks[i].members;

		for (struct list *link = members->next; link != members; link = link->next) {
			const struct shared_member *m =
				container_of(link, struct shared_member, seat);

			list_before(g, &m->hand, out);
			list_before(g, &m->open, out);
		}
	}
}

/* More than fit into a row are dealt again from the first that does not. */
static uint64_t cut_slots(struct buf *slots, uint64_t position)
{
	if (positions_count(slots) <= UINT16_MAX)
		return position;
	position = positions_at(slots, UINT16_MAX);
	slots->end = slots->start + UINT16_MAX * (uint32_t)sizeof(uint64_t);
	return position;
}

void shared_save(struct shared *g)
{
	struct store *store = g->broker->store;
	struct buf slots = {0};
	struct buf bytes = {0};
	struct row row = {.key = buf_view(&g->key)};
	uint64_t hash;

	if (store == NULL)
		return;
	list_before(g, &g->returned, &slots);
	list_before(g, &g->redealt[0], &slots);
	list_before(g, &g->redealt[1], &slots);
	list_members(g, &slots);
	positions_sort(&slots);
	row.position = cut_slots(&slots, g->safe);
	row.slots = buf_view(&slots);
	row_encode(&row, &bytes);
	hash = XXH3_64bits(buf_bytes(&bytes), buf_length(&bytes)) | 1; /* 0: not stored */
	if (hash != g->saved_hash)
		store_put(store, row.key, buf_view(&bytes), true);
	g->saved_hash = hash;
	buf_fini(&slots);
	buf_fini(&bytes);
}

/* --- checkpoints -------------------------------------------------------- */

static void look_at_member(struct shared_member *m)
{
	const struct inflight *w = &m->session->window;

	buf_clear(&m->open);
	buf_append(&m->open, buf_bytes(&m->hand), buf_length(&m->hand));
	for (uint16_t i = 0; i < w->count; i++) {
		if (inflight_share(w, i) == m->number && inflight_qos(w, i) == 1)
			positions_add(&m->open, inflight_seq(w, i));
	}
}

static void look_at_desk(struct shared_desk *d)
{
	pthread_mutex_lock(&d->group->lock);
	for (struct list *link = d->members.next; link != &d->members; link = link->next)
		look_at_member(container_of(link, struct shared_member, seat));
	pthread_mutex_unlock(&d->group->lock);
}

static uint64_t least_begun(const struct broker *b)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < b->worker_count; i++) {
		uint64_t begun = count_read(&b->workers[i].shared.checkpoint_ms);

		if (begun < least)
			least = begun;
	}
	return least;
}

static void advance(struct shared *g, uint64_t begun_ms)
{
	struct buf before = g->redealt[1];

	if (begun_ms <= g->noted_ms)
		return;
	g->safe = g->noted;
	g->redealt[1] = g->redealt[0];
	g->redealt[0] = before;
	buf_clear(&g->redealt[0]);
	g->noted = g->cursor;
	g->noted_ms = clock_mono_ms();
}

void shared_checkpoint(struct broker_worker *w, uint64_t begun_ms)
{
	struct shareds *all = &w->broker->shareds;
	struct list *link;
	struct shared *g;

	for (link = w->shared.desks.next; link != &w->shared.desks; link = link->next)
		look_at_desk(container_of(link, struct shared_desk, link));
	count_set(&w->shared.checkpoint_ms, begun_ms);
	if (w->number != 0)
		return;
	begun_ms = least_begun(w->broker);
	pthread_mutex_lock(&all->lock);
	for (size_t at = 0; (g = map_next(&all->groups, &at)) != NULL;) {
		pthread_mutex_lock(&g->lock);
		advance(g, begun_ms);
		shared_save(g);
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&all->lock);
}

void shared_save_all(struct broker *b)
{
	struct shareds *all = &b->shareds;
	struct shared *g;

	pthread_mutex_lock(&all->lock);
	for (size_t at = 0; (g = map_next(&all->groups, &at)) != NULL;) {
		pthread_mutex_lock(&g->lock);
		g->safe = g->noted = g->cursor;
		buf_clear(&g->redealt[0]);
		buf_clear(&g->redealt[1]);
		shared_save(g);
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&all->lock);
}

/* --- start -------------------------------------------------------------- */

bool shared_is_row(const struct row *row)
{
	size_t at = session_key_bytes(row->key);

	return at < row->key.n && row->key.p[at] == '\0' &&
	       memchr(row->key.p + at, '/', row->key.n - at);
}

void shared_load(struct broker *b, const struct row *row, uint64_t tail)
{
	struct shared *g;
	struct buf slots = {0};

	pthread_mutex_lock(&b->shareds.lock);
	g = shared_find(b, row->key, row->position);
	g->cursor = row->position < tail ? row->position : tail;
	g->safe = g->noted = g->cursor;
	g->saved_hash = 1;
	buf_append(&slots, row->slots.p, row->slots.n);
	positions_sort(&slots);
	for (uint32_t i = 0; i < positions_count(&slots); i++) {
		if (positions_at(&slots, i) < tail)
			positions_add(&g->returned, positions_at(&slots, i));
	}
	pthread_mutex_unlock(&b->shareds.lock);
	buf_fini(&slots);
}

/* A message that stays with its session is not dealt to another. */
static void keep_with_session(struct shared *g, const struct shared_member *m)
{
	const struct inflight *w = &m->session->window;
	struct buf kept = {0};

	for (uint32_t n = 0; n < positions_count(&g->returned); n++) {
		uint64_t seq = positions_at(&g->returned, n);
		bool is_open = false;

		for (uint16_t i = 0; i < w->count && !is_open; i++)
			is_open = inflight_share(w, i) == m->number && inflight_seq(w, i) == seq;
		if (!is_open)
			positions_add(&kept, seq);
	}
	buf_fini(&g->returned);
	g->returned = kept;
}

/* Behind the cursor everything is dealt again anyway. */
static void drop_behind_cursor(struct shared *g)
{
	uint32_t n = positions_count(&g->returned);

	while (n && positions_at(&g->returned, n - 1) >= g->cursor)
		n--;
	g->returned.end = g->returned.start + n * (uint32_t)sizeof(uint64_t);
}

static void settle_session(const struct session *s)
{
	for (struct shared_member *m = s->shared; m && s->window.count; m = m->next)
		keep_with_session(m->group, m);
}

void shared_loaded(struct broker *b)
{
	struct shareds *all = &b->shareds;
	struct shared *g;
	struct session *s;
	struct buf unheld = {0};

	for (size_t at = 0; (s = map_next(&b->registry.sessions, &at)) != NULL;)
		settle_session(s);
	pthread_mutex_lock(&all->lock);
	for (size_t at = 0; (g = map_next(&all->groups, &at)) != NULL;) {
		drop_behind_cursor(g);
		shared_save(g);
		if (g->holders == 0)
			buf_append(&unheld, &g, sizeof(struct shared *));
	}
	for (size_t at = 0; at < buf_length(&unheld); at += sizeof(struct shared *)) {
		memcpy(&g, buf_bytes(&unheld) + at, sizeof(struct shared *));
		shared_end_unheld(g);
	}
	pthread_mutex_unlock(&all->lock);
	buf_fini(&unheld);
}
