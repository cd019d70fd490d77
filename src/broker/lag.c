#include "broker/lag.h"

#include "broker/client.h"
#include "broker/worker.h"

#define LAG_EVERY_MS 5000u

/* Age of the record a session is at. Cold index pages are not touched on a worker: there the age is
 * taken in proportion between the journal's ends. */
static uint64_t age_us(
	const struct broker_worker *w, uint64_t position, uint64_t tail, uint64_t oldest_ms)
{
	uint64_t head = journal_head(w->journal);
	const struct journal_segment *segment;
	uint64_t now = journal_now(w->journal);

	if (position >= tail)
		return 0;
	if (!journal_is_warm(w->journal, position))
		return tail == head ? 0 : oldest_ms * (tail - position) / (tail - head) * 1000;
	segment = journal_find(w->journal, position);
	if (segment == NULL)
		return oldest_ms * 1000;
	return (now - segment->entries[position - segment->base].time_ms) * 1000;
}

static void look(struct timer *t)
{
	struct broker_worker *w = container_of(t, struct broker_worker, lag.timer);
	uint64_t messages[HISTOGRAM_BUCKETS] = {0};
	uint64_t us[HISTOGRAM_BUCKETS] = {0};
	uint64_t message_sum = 0;
	uint64_t us_sum = 0;
	uint64_t us_most = 0;
	uint64_t tail = journal_tail(w->journal);
	struct journal_figures figures;

	journal_figures(w->journal, &figures);
	journal_reader_enter(&w->reader);
	for (struct list *link = w->clients.next; link != &w->clients; link = link->next) {
		const struct session *s = container_of(link, struct client, link)->session;
		uint64_t position;
		uint64_t behind;
		uint64_t age;

		if (s == NULL) /* not past CONNECT yet */
			continue;
		position = session_position(s);
		if (shared_position(s) < position)
			position = shared_position(s);
		behind = position < tail ? tail - position : 0;
		age = age_us(w, position, tail, figures.oldest_ms);
		messages[histogram_bucket(behind)]++;
		us[histogram_bucket(age)]++;
		message_sum += behind;
		us_sum += age;
		us_most = age > us_most ? age : us_most;
	}
	journal_reader_leave(&w->reader);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count_set(&w->lag.messages[i], messages[i]);
		count_set(&w->lag.us[i], us[i]);
	}
	count_set(&w->lag.message_sum, message_sum);
	count_set(&w->lag.us_sum, us_sum);
	count_set(&w->lag.us_most, us_most);
	timer_start(w->loop, t, LAG_EVERY_MS);
}

void lag_start(struct broker_worker *w)
{
	w->lag.timer.on_time = look;
	timer_start(w->loop, &w->lag.timer, LAG_EVERY_MS);
}

void lag_stop(struct broker_worker *w)
{
	timer_stop(w->loop, &w->lag.timer);
}

void broker_lag(struct broker *b, struct broker_lag *out)
{
	*out = (struct broker_lag){0};
	for (unsigned n = 0; n < b->worker_count; n++) {
		const struct lag *lag = &b->workers[n].lag;

		for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
			out->messages[i] += count_read(&lag->messages[i]);
			out->us[i] += count_read(&lag->us[i]);
		}
		out->message_sum += count_read(&lag->message_sum);
		out->us_sum += count_read(&lag->us_sum);
		if (count_read(&lag->us_most) > out->us_most)
			out->us_most = count_read(&lag->us_most);
	}
}
