#include "broker/lost.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/session.h"
#include "broker/store.h"
#include "broker/sys.h"
#include "broker/worker.h"
#include "mqtt/filter.h"

struct lost {
	struct store_job job;
	struct broker *broker;
	struct accounts *accounts; /* one reference */
	const struct account *account;
	struct subscriptions subscriptions; /* a copy */
	char *client_id;                    /* owned */
	uint64_t from;
	uint64_t head;
	uint64_t wanted;
};

static bool is_denied(const struct account *a, struct view topic)
{
	for (uint32_t i = 0; i < a->deny_count; i++) {
		if (filter_match(view_of(a->deny[i]), topic))
			return true;
	}
	return false;
}

static void on_topic(void *context, struct view topic, uint64_t n)
{
	struct lost *l = context;
	struct subscription one;
	uint32_t at = 0;

	while (subscriptions_next(&l->subscriptions, &at, &one)) {
		if (one.share || one.from >= l->head || !filter_match(one.filter, topic))
			continue;
		if (!is_denied(l->account, topic))
			l->wanted += n;
		return;
	}
}

static void log_lost(const struct lost *l, bool exact)
{
	struct view id = view_of(l->client_id);
	char quoted[LOG_QUOTE_BYTES];

	log_warn("broker", "session-lost-records", "client_id=%s records=%llu wanted=%llu exact=%d",
		log_quote(id.p, id.n, quoted), (unsigned long long)(l->head - l->from),
		(unsigned long long)l->wanted, exact);
}

/* Exact when the journal can tell, no subscription is younger and nothing more was removed since. */
static void run(struct store_job *job)
{
	struct lost *l = container_of(job, struct lost, job);
	struct journal *j = l->broker->journal;
	bool exact = false;

	journal_removed(j, l->from, on_topic, l, &exact);
	exact = exact && l->subscriptions.youngest <= l->from && journal_head(j) == l->head;
	/* What else stood in the first segment had been delivered. */
	if (l->wanted > l->head - l->from)
		l->wanted = l->head - l->from;
	atomic_fetch_add_explicit(&l->broker->lost, l->wanted, memory_order_relaxed);
	log_lost(l, exact);
	sys_tell_lost(l->broker, view_of(l->client_id), l->head - l->from, l->wanted, exact);
	free(l->client_id);
	subscriptions_fini(&l->subscriptions);
	accounts_unref(l->accounts);
	free(l);
}

void lost_count(struct broker *b, const struct lost_range *range)
{
	struct lost *l = mem_new(sizeof(*l));

	l->job.run = run;
	l->broker = b;
	l->accounts = accounts_ref(range->accounts);
	l->account = range->account;
	l->from = range->from;
	l->head = range->head;
	l->client_id = mem_text_of(range->who); /* never with a NUL (MQTT 5, 1.5.4) */
	subscriptions_restore(
		&l->subscriptions, subscriptions_view(range->subscriptions), UINT64_MAX);
	if (l->broker->store)
		store_run(l->broker->store, &l->job);
	else
		run(&l->job); /* nobody is kept waiting: no network */
}
