/* Sessions an address has left behind, limits.sessions_per_address of them.
 *
 * The oldest ends when there is one more: it is the one most likely given up, and a client that makes
 * itself a new identifier at each start so pushes out its own litter, not those who come back. It may
 * belong to another worker, or be taken up again just now: only its key travels, and who finds it
 * connected lets it be.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/session.h"
#include "broker/worker.h"

struct leftover {
	struct task task;
	struct broker_worker *at;
	struct buf key;
};

static void log_end(const struct session *s)
{
	char quoted[LOG_QUOTE_BYTES];
	struct view id = session_client_id(s);

	log_info("broker", "session-ended", "client_id=%s why=\"limits.sessions_per_address\"",
		log_quote(id.p, id.n, quoted));
}

static void end_leftover(struct task *task)
{
	struct leftover *l = container_of(task, struct leftover, task);
	struct broker_worker *owner;
	struct session *s = session_find(l->at, buf_view(&l->key), &owner);

	if (s == NULL && owner) {
		l->at = owner;
		loop_post(owner->loop, task);
		return;
	}
	if (s && s->state == SESSION_OFFLINE) {
		log_end(s);
		session_end(s);
	}
	buf_fini(&l->key);
	free(l);
}

static void on_over(void *context, struct list *oldest)
{
	const struct session *s = container_of(oldest, struct session, link);
	struct leftover *l = mem_new(sizeof(*l));

	l->task.run = end_leftover;
	l->at = context;
	buf_append(&l->key, s->key, s->key_bytes);
	loop_post(l->at->loop, &l->task);
}

void session_leave_behind(struct session *s)
{
	struct broker_worker *w = s->worker;
	bool is_any = w->limits.loopback_leaves_any && address_key_is_loopback(s->address);

	if (s->address)
		addresses_leave_behind(&w->broker->addresses, s->address, &s->link,
			is_any ? 0 : w->limits.sessions_per_address, on_over, w);
}
