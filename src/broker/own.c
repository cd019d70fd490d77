#include "broker/own.h"

#include "broker/client.h"
#include "broker/worker.h"

static bool has_no_local(const struct subscriptions *s)
{
	struct subscription one;
	uint32_t at = 0;

	while (subscriptions_next(s, &at, &one)) {
		if (one.options & SUBSCRIPTION_NO_LOCAL)
			return true;
	}
	return false;
}

/* After 16.7 million sessions that publish numbers are given again. */
static void give_number(struct session *s)
{
	uint32_t n =
		atomic_fetch_add_explicit(&s->worker->broker->origins, 1, memory_order_relaxed);

	s->origin = n % JOURNAL_ORIGIN_MOST + 1;
	s->origin_from = journal_tail(s->worker->journal);
}

uint32_t session_origin(struct session *s)
{
	if (s->origin == 0)
		give_number(s);
	return s->origin;
}

struct session *session_alone(struct session *s)
{
	bool no_local = has_no_local(&s->subscriptions);

	return no_local || s->client->alias_maximum ? s : NULL;
}
