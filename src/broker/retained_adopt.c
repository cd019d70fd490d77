/* What the cluster has retained and this machine missed: taken over, and what it lost there dropped.
 *
 * A message is taken over as a hidden record, as a revival is: those who are connected did not
 * subscribe to the past. The cluster's thread alone changes topics that are not under $SYS, so a topic
 * is still as it was found when the lock is taken again.
 */
#include "base/error.h"
#include "broker/broker.h"
#include "broker/retained_inside.h"
#include "broker/worker.h"
#include "commit/retaining.h"

#define DROP_LOOK 4096u /* topics in one piece */

static bool has(void *context, struct view topic, uint64_t place, uint32_t round)
{
	struct retained *r = context;
	struct retained_topic *t;
	bool is_known;

	pthread_mutex_lock(&r->lock);
	t = retained_set_find(&r->set, topic);
	is_known = t && t->place >= place;
	if (t)
		t->round = round;
	pthread_mutex_unlock(&r->lock);
	return is_known;
}

static bool has_room(struct retained *r, const struct journal_message *m)
{
	size_t bytes = m->topic.n + m->payload.n + m->properties.n;
	bool fits;

	pthread_mutex_lock(&r->lock);
	fits = retained_fits(r, m->topic, bytes);
	pthread_mutex_unlock(&r->lock);
	return fits;
}

static int take(void *context, const struct journal_message *m, uint32_t round)
{
	struct retained *r = context;
	struct journal_message copy = *m;
	struct retained_topic *t;
	uint64_t seq;
	int err;

	if (!has_room(r, m))
		return ERR_QUOTA;
	copy.flags |= JOURNAL_RETAIN | JOURNAL_HIDDEN;
	copy.log_id = 0; /* the shared log's own record of it may still come */
	err = commit_append(r->commit, &copy, &seq);
	if (err)
		return err == ERR_TOO_LARGE ? ERR_QUOTA : err;
	pthread_mutex_lock(&r->lock);
	t = retained_put(r, m, seq, journal_now(r->journal));
	if (t) {
		t->is_adopted = true;
		t->round = round;
		retained_note_change(r, t);
	}
	pthread_mutex_unlock(&r->lock);
	return 0;
}

static void drop(void *context, uint32_t shard, uint64_t from, uint32_t round, struct buf *cursor)
{
	struct retained *r = context;
	struct retained_topic *next;
	struct retained_topic *t;

	pthread_mutex_lock(&r->lock);
	t = retained_set_from(&r->set, buf_view(cursor), true);
	buf_clear(cursor);
	for (uint32_t looked = 1; t && looked <= DROP_LOOK; t = next, looked++) {
		next = t->next[0];
		if (next && looked == DROP_LOOK)
			retained_move_to(cursor, retained_topic_name(t));
		if (t->place && t->shard == shard && t->place >= from && t->round != round)
			retained_forget(r, t);
	}
	pthread_mutex_unlock(&r->lock);
}

struct retaining_host broker_retaining_host(struct broker *b)
{
	return (struct retaining_host){has, take, drop, b->retained};
}
