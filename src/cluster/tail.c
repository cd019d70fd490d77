/* cluster/tail.c - the steps of one shard's reading
 *
 * One request at a time. Each step has what is asked, what is done with the reply while it is there,
 * and what follows when all is done. Whatever is lost on the way (a connection, a reply that is of no
 * use) begins with a greeting again.
 */
#include "cluster/tail.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/mend.h"
#include "cluster/tail_inside.h"

#define BLOCK_MS 1000u
#define LOOK_EVERY_MS 1000u
#define BACK_MS 60000u /* behind what was read, on another Redis process */
#define AGAIN_MS 50u   /* after what went wrong */
#define HELD_MS 100u   /* while the journal takes nothing */
#define NEWER_MS 1000u /* a shard that stands still is looked at so often */
#define LOAD_MS 100u
#define LOAD_SOME 25u /* entries in LOAD_MS from which on reads are apart */
#define LOAD_MUCH 100u
#define APART_SOME_MS 4u
#define APART_MUCH_MS 10u

static void go_on(struct tail *t);

/* --- state -------------------------------------------------------------------- */

const char *follow_state_text(enum follow_state state)
{
	static const char *const texts[] = {
		[FOLLOW_SEARCHING] = "searching",
		[FOLLOW_BEHIND] = "behind",
		[FOLLOW_LIVE] = "live",
		[FOLLOW_UNSAFE] = "unsafe",
		[FOLLOW_HELD] = "held",
		[FOLLOW_NEWER] = "newer",
	};

	return texts[state];
}

static uint64_t now_of(const struct tail *t)
{
	return loop_now_ms(t->core->loop);
}

uint64_t tail_clock(const struct tail *t)
{
	return t->greeted_clock + (now_of(t) - t->greeted_ms);
}

static void enter(struct tail *t, enum follow_state state)
{
	count_set(&t->figures.state, t->is_newer ? FOLLOW_NEWER : state);
}

static bool has_batch(const struct tail *t)
{
	return t->is_ready && t->at < t->n;
}

/* What is done, when all that was read is. */
static void catch_up_mark(struct tail *t)
{
	if (!has_batch(t) && t->read.at.place >= t->done.place)
		t->done = t->read.at;
}

static void tell_lag(struct tail *t)
{
	uint64_t from = place_ms(t->done.place), to = place_ms(t->read.newest.last);
	uint64_t ordinal = t->done.ordinal, added = t->read.newest.added;

	count_set(&t->figures.lag_ms, to > from && t->done.place ? to - from : 0);
	if (t->done.is_counted)
		count_set(&t->figures.lag_entries, added > ordinal ? added - ordinal : 0);
}

/* What is retained may have changed in what was missed. */
static void tell_missed(struct tail *t, uint64_t missed)
{
	if (missed == 0)
		return;
	t->wants_round = true;
	count_add(&t->figures.missed, missed);
	log_warn("cluster", "missed",
		"shard=%u messages=%llu the stream was trimmed before they were read", t->shard,
		(unsigned long long)missed);
}

/* --- asking ----------------------------------------------------------------------- */

static void rest(struct tail *t, uint64_t ms)
{
	timer_start(t->core->loop, &t->pause, ms);
}

static struct buf *begin(struct tail *t, enum tail_step step)
{
	t->step = step;
	t->was_refused = true;
	t->request.acknowledge = 0;
	t->request.block_ms = 0;
	buf_clear(&t->request.command);
	return &t->request.command;
}

static void submit(struct tail *t)
{
	t->is_under_way = redis_lane_submit(t->lane, &t->request) == 0;
	if (!t->is_under_way)
		rest(t, AGAIN_MS);
}

static void confirm(struct tail *t)
{
	resp_words(begin(t, TAIL_CONFIRM), "PING");
	t->request.acknowledge = census_needed(t->core->census, t->shard);
	t->was_refused = false;
	submit(t);
}

static uint32_t apart_ms(struct tail *t)
{
	uint64_t now = now_of(t);
	uint64_t past = now - t->load_ms;

	t->load = past < LOAD_MS ? (uint32_t)(t->load * (LOAD_MS - past) / LOAD_MS) : 0;
	t->load_ms = now;
	return t->load < LOAD_SOME ? 0 : t->load < LOAD_MUCH ? APART_SOME_MS : APART_MUCH_MS;
}

static void read_on(struct tail *t)
{
	bool waits = t->load < LOAD_SOME && !t->is_full;
	struct buf *b = begin(t, TAIL_READ);

	log_read(b, t->shard, place_unpack(t->after), t->ask_for, waits ? BLOCK_MS : 0);
	t->request.block_ms = waits ? BLOCK_MS : 0;
	t->request.acknowledge = waits ? 0 : census_needed(t->core->census, t->shard);
	t->read_ms = now_of(t);
	submit(t);
}

/* Until what Redis had lost is there again, what it has retained is of before. */
static bool is_mending(const struct tail *t)
{
	return t->core->mend && mend_is_busy(t->core->mend, t->shard);
}

/* One step of comparing what is retained. */
static void compare(struct tail *t)
{
	if (t->round.step != RETAINING_ASK) {
		int err = retaining_go_on(&t->round, tail_clock(t));

		/* Without a pause behind the last: others wait for what it is to read now. */
		if (t->round.step == RETAINING_IDLE)
			go_on(t);
		else
			rest(t, err == 0 ? 0 : HELD_MS);
		return;
	}
	retaining_ask(&t->round, begin(t, TAIL_COMPARE));
	t->request.acknowledge = census_needed(t->core->census, t->shard);
	submit(t);
}

/* The next thing to ask; nothing while a batch is there that is not taken. */
static void go_on(struct tail *t)
{
	uint64_t now = now_of(t);

	if (t->is_under_way || has_batch(t))
		return;
	if (t->wants_round) {
		t->wants_round = false;
		retaining_begin(&t->round);
		t->is_full |= t->round.step != RETAINING_IDLE; /* for all that is known by then */
	}
	if (t->connection == 0) {
		resp_words(begin(t, TAIL_GREET), "INFO server");
		submit(t);
	} else if (t->looked_ms == 0 || now - t->looked_ms >= LOOK_EVERY_MS) {
		t->looked_ms = now;
		stream_ask(begin(t, TAIL_LOOK), t->shard);
		submit(t);
	} else if (t->wants_kept) {
		stream_ask_upto(begin(t, TAIL_KEPT), t->shard, t->done.place);
		submit(t);
	} else if (t->round.step != RETAINING_IDLE && !is_mending(t)) {
		compare(t);
	} else {
		t->is_compared |= t->round.step == RETAINING_IDLE;
		if (t->is_newer)
			rest(t, NEWER_MS);
		else
			read_on(t);
	}
}

static void on_pause(struct timer *timer)
{
	go_on(container_of(timer, struct tail, pause));
}

/* --- replies: while they are there ---------------------------------------------------- */

static void on_greeting(struct tail *t, const struct resp *reply)
{
	char run_id[RUN_ID_BYTES];

	if (!run_id_of(reply, run_id))
		return;
	t->is_changed |= memcmp(run_id, t->run_id, sizeof(run_id)) != 0;
	memcpy(t->run_id, run_id, sizeof(run_id));
	t->greeted_clock = server_clock_of(reply);
	if (t->greeted_clock == 0)
		t->greeted_clock = clock_wall_ms();
	t->greeted_ms = now_of(t);
	t->was_refused = false;
}

static void on_kept(struct tail *t, const struct resp *reply)
{
	uint64_t found;

	if (stream_upto_of(reply, &found) < 0)
		return;
	t->was_refused = t->wants_kept = false;
	if (found < t->done.place)
		mend_shard(t->core->mend, t->shard, found, t->done.place, tail_clock(t));
}

static void on_page(struct tail *t, const struct resp *reply)
{
	t->was_refused = retaining_read(&t->round, reply) != 0;
}

static void on_state(struct tail *t, const struct resp *reply)
{
	struct stream_state state;
	uint64_t known;

	if (stream_state_of(reply, &state) < 0)
		return;
	t->was_refused = false;
	if (t->is_changed || state.last < t->after) {
		known = state.last < t->after ? state.last : t->after;
		t->after = place_before(known, BACK_MS);
		t->wants_kept = t->core->mend && t->done.place;
	}
	t->is_changed = false;
	tell_missed(t, ordinal_look(&t->read, &state));
	catch_up_mark(t);
	tell_lag(t);
}

static void on_pong(struct tail *t, const struct resp *reply)
{
	(void)t;
	(void)reply;
}

/* --- replies: when all is done ----------------------------------------------------------- */

/* Reads are so far apart, unless there is more. */
static void read_later(struct tail *t)
{
	uint64_t apart = apart_ms(t);
	uint64_t past = now_of(t) - t->read_ms;

	if (t->is_full || past >= apart)
		go_on(t);
	else
		rest(t, apart - past);
}

static void on_greeted(struct tail *t)
{
	t->connection = t->request.connection;
	t->looked_ms = 0;
	if (t->round.step != RETAINING_IDLE)
		t->wants_round = true;
	go_on(t);
}

static void on_answered(struct tail *t)
{
	go_on(t);
}

static void tell_unsafe(struct tail *t)
{
	count_add(&t->figures.unsafe, 1);
	enter(t, FOLLOW_UNSAFE);
	census_hurry(t->core->census);
}

/* Ordinals of the batch's records from where they stand in it. */
static void count_batch(struct tail *t)
{
	uint64_t missed = 0;
	uint32_t k = 0;

	for (uint32_t i = 0; i < t->count; i++) {
		missed += ordinal_read(&t->read, t->places[i]);
		if (k < t->n && t->ordinals[k] == i + 1)
			t->ordinals[k++] = t->read.at.ordinal;
	}
	tell_missed(t, missed);
}

static void on_confirmed(struct tail *t)
{
	count_add(&t->figures.entries, t->count);
	count_batch(t);
	t->after = t->read_to;
	t->is_ready = true;
	t->ready_ms = now_of(t);
	enter(t, t->is_full ? FOLLOW_BEHIND : FOLLOW_LIVE);
	if (has_batch(t))
		t->on_batch(t);
	else
		go_on(t);
}

static bool is_enough(const struct tail *t)
{
	return t->request.replicas >= census_needed(t->core->census, t->shard);
}

static void on_compared(struct tail *t)
{
	if (is_enough(t))
		retaining_confirm(&t->round);
	else
		tell_unsafe(t);
	go_on(t);
}

static void on_read(struct tail *t)
{
	if (t->count == 0) {
		tell_missed(t, ordinal_nothing(&t->read));
		catch_up_mark(t);
		enter(t, FOLLOW_LIVE);
		read_later(t);
	} else if (is_enough(t)) {
		on_confirmed(t);
	} else {
		confirm(t);
	}
}

static void on_waited(struct tail *t)
{
	if (is_enough(t)) {
		on_confirmed(t);
		return;
	}
	tell_unsafe(t);
	confirm(t);
}

static const struct {
	void (*on_reply)(struct tail *t, const struct resp *reply);
	void (*on_done)(struct tail *t);
} steps[TAIL_STEPS] = {
	[TAIL_GREET] = {on_greeting, on_greeted},
	[TAIL_LOOK] = {on_state, on_answered},
	[TAIL_KEPT] = {on_kept, on_answered},
	[TAIL_COMPARE] = {on_page, on_compared},
	[TAIL_READ] = {tail_read_batch, on_read},
	[TAIL_CONFIRM] = {on_pong, on_waited},
};

static void tell_refusal(struct tail *t, const struct resp *reply)
{
	struct view why = reply->type == RESP_ERROR ? reply->text : VIEW("not such a reply");
	char text[LOG_QUOTE_BYTES];
	uint64_t skipped;

	if (log_allowed(&t->complaints, now_of(t), TAIL_COMPLAIN_EVERY_MS, &skipped))
		log_warn("cluster", "not_followed", "shard=%u skipped=%llu why=%s", t->shard,
			(unsigned long long)skipped, log_quote(why.p, why.n, text));
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct tail *t = container_of(q, struct tail, request);

	steps[t->step].on_reply(t, reply);
	if (t->was_refused)
		tell_refusal(t, reply);
}

/* What was read and not confirmed is read again. */
static void begin_again(struct tail *t, uint64_t pause_ms)
{
	t->connection = 0;
	if (!t->is_ready)
		t->n = t->at = t->count = 0;
	rest(t, pause_ms);
}

static void on_done(struct redis_request *q, int err)
{
	struct tail *t = container_of(q, struct tail, request);
	bool is_same = t->step == TAIL_GREET || q->connection == t->connection;

	t->is_under_way = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err || t->was_refused) {
		enter(t, FOLLOW_SEARCHING);
		/* It may have been more than a reply can be. */
		if (t->step == TAIL_READ && err == ERR_CLOSED && t->ask_for > 1)
			t->ask_for /= 2;
		if (t->step == TAIL_COMPARE && err == ERR_CLOSED)
			retaining_ask_for_less(&t->round);
		begin_again(t, AGAIN_MS);
	} else if (!is_same) {
		begin_again(t, 0);
	} else {
		steps[t->step].on_done(t);
	}
}

/* --- public -------------------------------------------------------------------------------- */

void tail_init(struct tail *t, struct cluster_core *core, uint32_t shard, struct mark from,
	const char run_id[RUN_ID_BYTES])
{
	t->core = core; /* not the whole: figures may be read already */
	t->shard = shard;
	t->after = t->read_to = from.place;
	t->read.at = t->done = from;
	memcpy(t->run_id, run_id, sizeof(t->run_id));
	t->is_ready = true;
	t->ask_for = TAIL_ASK_MOST / 8;
	retaining_init(&t->round, core, shard);
	t->wants_round = true;
	t->pause.on_time = on_pause;
	t->request.on_reply = on_reply;
	t->request.on_done = on_done;
	list_init(&t->request.link);
}

void tail_begin(struct tail *t)
{
	t->lane = redis_lane_open(t->core->redis, claim_slot(t->shard), REDIS_MASTER);
	go_on(t);
}

void tail_fini(struct tail *t)
{
	timer_stop(t->core->loop, &t->pause);
	retaining_fini(&t->round);
	buf_fini(&t->request.command);
	buf_fini(&t->bytes);
	free(t->records);
	free(t->ordinals);
	free(t->places);
}

void tail_took(struct tail *t, uint32_t n)
{
	uint32_t last = t->at + n - 1;

	check(t->is_ready && n <= t->n - t->at);
	if (n == 0)
		return;
	t->at += n;
	if (t->records[last].message.log_id > t->done.place)
		t->done = (struct mark){
			t->records[last].message.log_id, t->ordinals[last], t->read.at.is_counted};
	if (t->at < t->n)
		return;
	catch_up_mark(t);
	read_later(t);
}

void tail_compare(struct tail *t)
{
	t->wants_round = true;
}

void tail_hold(struct tail *t, bool is_held)
{
	if (is_held)
		enter(t, FOLLOW_HELD);
	else if (count_read(&t->figures.state) == FOLLOW_HELD)
		enter(t, FOLLOW_BEHIND);
}

/* Replicas have not said yet whether they have what was read. */
static bool is_unconfirmed(const struct tail *t)
{
	return !t->is_ready && t->count && count_read(&t->figures.state) != FOLLOW_UNSAFE;
}

/* Between two questions about what is retained; it reads on behind the last. */
static bool is_comparing(const struct tail *t)
{
	return t->round.step != RETAINING_IDLE && t->round.step != RETAINING_ASK;
}

bool tail_may_bring(const struct tail *t, uint64_t place)
{
	bool is_unsafe = count_read(&t->figures.state) == FOLLOW_UNSAFE;
	bool is_reading_on = t->is_full && (t->step == TAIL_READ || !is_unsafe);
	bool is_busy = t->is_under_way && (is_reading_on || is_unconfirmed(t));

	return (is_busy || (is_comparing(t) && !is_unsafe)) &&
	       place_ms(t->after) <= place_ms(place) + BACK_MS;
}
