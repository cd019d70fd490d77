#include "cluster/tally.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/tally_book.h"
#include "cluster/tally_script.h" /* made of tally.lua by tools/embed.awk */

#define TOTALS_KEY "{isobar}:tally"
#define LISTS_KEY "{isobar}:tally:nodes"
#define TOLD_KEY "{isobar}:tally:of:" /* and the node's name */
#define EVERY_MS 1000u
#define LIMIT_MS 2000u
#define ALL_EVERY_MS 60000u      /* all lines, should Redis have lost some */
#define JUDGE_EVERY_MS 3000u     /* longer than what belongs together is told apart */
#define LINES_A_SECOND 1000u     /* of a larger sheet less often */
#define TOLD_KEEP_MS 2592000000u /* of a node that does not come back: 30 days */

const char *const tally_script = tally_lua;

struct tallies {
	struct cluster_core *core;
	struct redis_request request;
	struct timer timer;
	char sha[REDIS_SHA_BYTES];
	char *told_key;
	struct tally_book *book;
	struct nodes nodes;
	struct buf list; /* as confirmed */
	struct buf next_list;
	bool begun;
	bool asking;
	bool taken; /* the reply was ours */
	uint64_t all_due_ms;
	uint64_t judge_due_ms;
	struct task finish_task;
	bool ending; /* one more is to be sent, and no other */
	bool is_last;
	pthread_mutex_t lock; /* of these */
	pthread_cond_t finished;
	bool has_finished;
	struct tally_sheet sheet;
};

/* --- telling ---------------------------------------------------------------- */

static void count_sources(struct tallies *t)
{
	const struct cluster_settings *s = t->core->settings;

	tally_book_begin(t->book);
	if (s->on_tally)
		s->on_tally(s->context, t->book);
	tally_book_end(t->book);
}

/* Empty: as told last. */
static struct view new_list(struct tallies *t, bool all)
{
	buf_clear(&t->next_list);
	tally_book_list(t->book, t->core->start, &t->next_list);
	if (!all && view_equal(buf_view(&t->list), buf_view(&t->next_list)))
		return VIEW("");
	return buf_view(&t->next_list);
}

/* Before Redis is known to be ours nothing is sent. */
static void tell(struct tallies *t)
{
	uint64_t now = loop_now_ms(t->core->loop);
	struct buf *b = &t->request.command;
	struct buf lines = {0};
	bool all = now >= t->all_due_ms;
	uint32_t n;

	if (t->asking || !t->begun)
		return;
	count_sources(t);
	n = tally_book_changes(t->book, all, &lines);
	buf_clear(b);
	resp_begin(b, 11 + 2 * n);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(t->sha));
	resp_number(b, 3);
	resp_bytes(b, VIEW(TOTALS_KEY));
	resp_bytes(b, VIEW(LISTS_KEY));
	resp_bytes(b, view_of(t->told_key));
	resp_bytes(b, view_of(t->core->settings->node));
	resp_number(b, t->core->start);
	resp_bytes(b, new_list(t, all));
	resp_number(b, TALLY_SUMS);
	resp_number(b, TOLD_KEEP_MS);
	buf_append(b, buf_bytes(&lines), buf_length(&lines));
	buf_fini(&lines);
	t->taken = false;
	t->asking = redis_submit(t->core->redis, slot_of(VIEW(TOTALS_KEY)), &t->request) == 0;
	if (t->asking && all)
		t->all_due_ms = now + ALL_EVERY_MS;
}

/* --- the answer --------------------------------------------------------------- */

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct tallies *t = container_of(q, struct tallies, request);

	pthread_mutex_lock(&t->lock);
	t->taken = tally_sheet_take(
		&t->sheet, reply, &t->nodes, t->core->settings->node, t->core->start);
	pthread_mutex_unlock(&t->lock);
}

static void confirm(struct tallies *t)
{
	uint64_t now = loop_now_ms(t->core->loop);

	tally_book_confirm(t->book);
	buf_clear(&t->list);
	buf_append(&t->list, buf_bytes(&t->next_list), buf_length(&t->next_list));
	if (now < t->judge_due_ms)
		return;
	tally_book_judge(t->book, &t->sheet); /* only this thread writes it */
	t->judge_due_ms = now + JUDGE_EVERY_MS;
}

static void end_finishing(struct tallies *t)
{
	pthread_mutex_lock(&t->lock);
	t->has_finished = true;
	pthread_cond_signal(&t->finished);
	pthread_mutex_unlock(&t->lock);
}

static void tell_last(struct tallies *t)
{
	t->is_last = true;
	tell(t);
	if (!t->asking)
		end_finishing(t);
}

static void on_done(struct redis_request *q, int err)
{
	struct tallies *t = container_of(q, struct tallies, request);
	t->asking = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err == 0 && t->taken)
		confirm(t);
	else
		t->all_due_ms = 0;
	if (t->is_last)
		end_finishing(t);
	else if (t->ending)
		tell_last(t);
	else
		timer_start(
			t->core->loop, &t->timer, EVERY_MS * (1 + t->sheet.count / LINES_A_SECOND));
}

static void on_time(struct timer *timer)
{
	struct tallies *t = container_of(timer, struct tallies, timer);

	tell(t);
	if (!t->asking)
		timer_start(t->core->loop, &t->timer, EVERY_MS);
}

/* --- the end ---------------------------------------------------------------- */

/* What is under way may not have the last counts: when it is answered, one more is sent. */
static void finish(struct task *task)
{
	struct tallies *t = container_of(task, struct tallies, finish_task);

	timer_stop(t->core->loop, &t->timer);
	t->ending = true;
	if (!t->asking)
		tell_last(t);
}

void tally_finish(struct tallies *t, uint64_t limit_ms)
{
	struct timespec by;

	clock_gettime(CLOCK_MONOTONIC, &by);
	by.tv_sec += (time_t)(limit_ms / 1000);
	loop_post(t->core->loop, &t->finish_task);
	pthread_mutex_lock(&t->lock);
	while (!t->has_finished &&
		pthread_cond_clockwait(&t->finished, &t->lock, CLOCK_MONOTONIC, &by) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&t->lock);
}

/* --- public ------------------------------------------------------------------- */

struct tallies *tally_new(struct cluster_core *core)
{
	struct tallies *t = mem_new(sizeof(*t));

	t->core = core;
	t->told_key = mem_printf("%s%s", TOLD_KEY, core->settings->node);
	t->book = tally_book_new();
	t->timer.on_time = on_time;
	t->finish_task.run = finish;
	t->request.repeatable = true;
	t->request.limit_ms = LIMIT_MS;
	t->request.on_reply = on_reply;
	t->request.on_done = on_done;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->finished, NULL);
	redis_script_sha(tally_lua, t->sha);
	return t;
}

void tally_begin(struct tallies *t)
{
	t->begun = true;
	tell(t);
	if (!t->asking)
		timer_start(t->core->loop, &t->timer, EVERY_MS);
}

void tally_free(struct tallies *t)
{
	if (t == NULL)
		return;
	buf_fini(&t->request.command);
	buf_fini(&t->list);
	buf_fini(&t->next_list);
	tally_book_free(t->book);
	tally_sheet_fini(&t->sheet);
	nodes_fini(&t->nodes);
	pthread_cond_destroy(&t->finished);
	pthread_mutex_destroy(&t->lock);
	free(t->told_key);
	free(t);
}

void tally_set_nodes(struct tallies *t, const struct nodes *nodes)
{
	nodes_copy(&t->nodes, nodes);
}

void tally_each(
	struct tallies *t, void (*on_tally)(void *context, const struct tally *t), void *context)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->sheet.count; i++)
		on_tally(context, &t->sheet.lines[i]);
	pthread_mutex_unlock(&t->lock);
}

void tally_each_holding(
	struct tallies *t, void (*on_one)(void *context, const struct holding *h), void *context)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->sheet.holding_count; i++)
		on_one(context, &t->sheet.holdings[i]);
	pthread_mutex_unlock(&t->lock);
}
