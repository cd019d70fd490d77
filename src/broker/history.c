/* One thread, one queue. For each segment it is remembered which of its topics are wanted, so that a
 * topic is read from the packets once and an entry that is not wanted costs one look at the index.
 *
 * **Invariant:** a question is in the queue, with the thread, or posted to its loop; in each case its
 * loop alone may free it, once the thread has ended.
 */
#include "broker/history.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/bans.h"
#include "broker/group.h"
#include "broker/throttle.h"
#include "broker/worker.h"
#include "mqtt/filter.h"

#define CLOCK_EVERY 256u /* entries between two looks at the clock */
#define NICE 10          /* of this thread alone (nice(2) is by thread in Linux) */
#define SLACK_MS \
	600000u /* most that who goes on from a position may be behind the account's `replay` */

struct history {
	struct journal *journal;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	struct list waiting;
	uint32_t count;
	bool is_stopping;
};

/* --- rights ----------------------------------------------------------- */

static const struct account *find_account(const struct accounts *list, struct view user)
{
	const struct account *a;

	if (user.p)
		return accounts_find(list, true, user);
	a = accounts_find(list, false, user);
	if (a)
		return a;
	a = accounts_find(list, true, VIEW("everyone"));
	return a && a->password ? a : NULL;
}

int history_set_account(struct history_question *q, const struct broker_worker *w,
	const struct address *peer, struct view user, struct view filter)
{
	const struct account *a = find_account(w->accounts, user);

	if (w->broker->shadow)
		return ERR_BUSY;
	if (bans_has(w->broker->bans, peer, (struct view){NULL, 0}))
		return ERR_ADMIN;
	if (a == NULL || a->replay_ms == 0)
		return ERR_NOT_FOUND;
	/* There is no client identifier: a right with %c gives nothing. */
	if (filter.p && !account_may_read(a, (struct view){NULL, 0}, filter))
		return ERR_DENIED;
	if (a->throttle && throttle_is_empty(a->throttle, loop_now_ms(w->loop)))
		return ERR_RATE;
	q->accounts = accounts_ref(w->accounts);
	q->account = a;
	return 0;
}

void history_spend(struct history_question *q, uint64_t messages, uint64_t bytes)
{
	if (q->account && q->account->throttle)
		throttle_spend(q->account->throttle, messages, bytes);
	accounts_unref(q->accounts);
	q->accounts = NULL;
	q->account = NULL;
}

/* --- the scan --------------------------------------------------------- */

struct scan {
	struct history_question *question;
	const struct journal_segment *segment;
	uint8_t *wanted; /* by topic number of the segment: 0 not asked yet, 1 no, 2 yes */
	uint32_t size;
	uint64_t now_ms; /* journal's clock */
};

static void scan_forget(struct scan *s)
{
	if (s->size)
		memset(s->wanted, 0, s->size);
}

static void scan_room(struct scan *s, uint32_t topic)
{
	uint32_t size = s->size ? s->size : 256;

	if (topic < s->size)
		return;
	while (size <= topic)
		size *= 2;
	s->wanted = mem_resize(s->wanted, size);
	memset(s->wanted + s->size, 0, size - s->size);
	s->size = size;
}

static bool is_wanted(struct scan *s, const struct journal_entry *e)
{
	const struct history_question *q = s->question;
	uint8_t *wanted;

	scan_room(s, e->topic);
	wanted = &s->wanted[e->topic];
	if (*wanted == 0) {
		struct view topic = record_topic(s->segment, e);

		*wanted = filter_match(q->filter, topic) && account_may_read(q->account,
								    (struct view){NULL, 0}, topic)
				  ? 2
				  : 1;
	}
	return *wanted == 2;
}

/* [MQTT-3.3.2-5] */
static bool is_expired(const struct scan *s, const struct journal_entry *e)
{
	return e->expiry_s && s->now_ms >= e->time_ms + e->expiry_s * 1000ull;
}

/* False: the owner has enough. */
static bool hand_out(struct scan *s, const struct journal_entry *e)
{
	const uint8_t *packet = s->segment->packets + e->offset;
	struct history_record r = {.topic = record_topic(s->segment, e), .time_ms = e->time_ms};

	r.payload.p = r.topic.p + r.topic.n;
	r.payload.n = e->packet_bytes - (size_t)(r.payload.p - (const char *)packet);
	return s->question->take(s->question, &r);
}

/* Where the stretch begins; false: not where it was asked from. */
static bool find_start(const struct journal *j, struct history_question *q, uint64_t now_ms)
{
	uint64_t back = q->account->replay_ms;
	uint64_t oldest_ms = now_ms > back ? now_ms - back : 0;
	uint64_t oldest = journal_seq_at(j, oldest_ms);
	/* Who began at the bound is not overtaken by it between two pages. */
	uint64_t slack_ms = back / 10 < SLACK_MS ? back / 10 : SLACK_MS;
	uint64_t reached = journal_seq_at(j, oldest_ms > slack_ms ? oldest_ms - slack_ms : 0);
	uint64_t since = q->since_ms > oldest_ms ? journal_seq_at(j, q->since_ms) : oldest;

	if (q->from != HISTORY_START && q->from > journal_tail(j))
		q->end = HISTORY_NOT_OURS;
	else if (q->from != HISTORY_START && q->from < reached)
		q->end = HISTORY_GONE;
	else if (q->from == HISTORY_START || (q->since_ms && q->from < since))
		q->next = since;
	else
		q->next = q->from;
	return q->end == HISTORY_DONE;
}

/* Looks at q->next. False: the question ends here, before this record. */
static bool look(struct scan *s, const struct journal *j)
{
	struct history_question *q = s->question;
	const struct journal_entry *e;

	if (s->segment == NULL || q->next >= s->segment->end) {
		s->segment = journal_find(j, q->next);
		scan_forget(s);
	}
	if (s->segment == NULL) { /* removed meanwhile: who goes on from here is told */
		q->end = HISTORY_MORE;
		return false;
	}
	e = &s->segment->entries[q->next - s->segment->base];
	if (e->time_ms >= q->until_ms) /* times never go back */
		return false;
	if (e->flags & JOURNAL_HIDDEN || is_expired(s, e) || !is_wanted(s, e))
		return true;
	if (hand_out(s, e))
		return true;
	q->end = HISTORY_MORE;
	return false;
}

void history_scan(struct journal_reader *r, struct history_question *q)
{
	const struct journal *j = r->journal;
	uint64_t until_mono_ms = clock_mono_ms() + HISTORY_SCAN_MS;
	uint32_t most = q->entries_most ? q->entries_most : HISTORY_SCAN_ENTRIES;
	struct scan s = {.question = q, .now_ms = journal_now(j)};
	uint64_t tail;
	uint32_t n = 0;

	q->end = HISTORY_DONE;
	journal_reader_enter(r);
	tail = journal_tail(j);
	if (find_start(j, q, s.now_ms)) {
		while (q->next < tail && q->end == HISTORY_DONE && look(&s, j)) {
			q->next++;
			if (++n == most ||
				(n % CLOCK_EVERY == 0 && clock_mono_ms() >= until_mono_ms))
				q->end = q->next < tail ? HISTORY_MORE : HISTORY_DONE;
		}
	}
	journal_reader_leave(r);
	free(s.wanted);
}

/* --- the thread ------------------------------------------------------- */

static void on_task(struct task *t)
{
	struct history_question *q = container_of(t, struct history_question, task);

	q->on_answer(q);
}

static struct history_question *next_question(struct history *h)
{
	struct history_question *q = NULL;

	pthread_mutex_lock(&h->lock);
	while (!h->is_stopping && list_is_empty(&h->waiting))
		pthread_cond_wait(&h->wake, &h->lock);
	if (!h->is_stopping) {
		q = container_of(h->waiting.next, struct history_question, link);
		list_remove(&q->link);
		h->count--;
	}
	pthread_mutex_unlock(&h->lock);
	return q;
}

static void *run(void *argument)
{
	struct history *h = argument;
	struct journal_reader reader;
	struct history_question *q;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	journal_reader_open(h->journal, &reader);
	while ((q = next_question(h)) != NULL) {
		history_scan(&reader, q);
		loop_post(q->loop, &q->task);
	}
	journal_reader_close(&reader);
	return NULL;
}

int history_ask(struct history *h, struct loop *l, struct history_question *q)
{
	int err = 0;

	q->loop = l;
	q->task.run = on_task;
	pthread_mutex_lock(&h->lock);
	if (h->count == HISTORY_WAITING_MOST) {
		err = ERR_BUSY;
	} else {
		list_append(&h->waiting, &q->link);
		h->count++;
		pthread_cond_signal(&h->wake);
	}
	pthread_mutex_unlock(&h->lock);
	return err;
}

struct history *history_new(struct journal *j)
{
	struct history *h = mem_new(sizeof(*h));

	h->journal = j;
	list_init(&h->waiting);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->wake, NULL);
	pthread_create(&h->thread, NULL, run, h);
	pthread_setname_np(h->thread, "history");
	return h;
}

void history_free(struct history *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->lock);
	h->is_stopping = true;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
