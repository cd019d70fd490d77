/* cluster/groups.c - a turn of all groups, and one call each
 *
 *     tick: host.each() --> crew of each group: seated, acked, dealt
 *           crew that is due --> crew_say() --> group.lua --> crew_take() --> host.set()
 */
#include "cluster/groups.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/crew.h"
#include "cluster/group_script.h" /* made of group.lua by tools/embed.awk */
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "commit/follow.h"

#define CHANGE_MS 10u /* changes that come together are one turn */
#define REACH_EVERY_MS 10000u

static const struct {
	const char *key; /* in Redis, before the group's own */
	bool whole;
} kinds[] = {
	[GROUPS_SHARED] = {"isobar:group:", false},
	[GROUPS_TARGETS] = {"isobar:publish:", true},
};

/* A group with sessions on this node, or that had some; a target that is fed from here, or was; and what
 * is under way about it. */
struct talk {
	struct redis_request q;
	struct groups *groups;
	struct buf key;
	uint64_t number; /* of the host's object */
	uint64_t due_ms;
	uint64_t woken_ms; /* when who has its shards was last woken */
	uint64_t reach_ms; /* when the journal is looked at again */
	struct crew crew;
	bool is_listed; /* by the host, in this turn */
	bool is_busy;
	bool is_blind;   /* the call under way knows nothing of the others yet */
	bool is_leaving; /* it says that there is no session any more */
	bool is_over;  /* the host said how far it got; one that has come again waits for the end */
	bool is_final; /* groups_finish(): said for the last time */
};

struct groups {
	struct cluster_core *core;
	struct members *members;
	struct mail *mail; /* NULL: all ask often enough */
	enum groups_kind kind;
	struct journal_reader reader;
	struct sharing_host host;
	char sha[REDIS_SHA_BYTES];
	char run[SHARE_RUN_BYTES];
	bool has_begun;
	pthread_mutex_t
		lock; /* of the map and the tables, which others read; and of has_finished */
	struct map talks;
	struct timer timer;
	struct task task;
	_Atomic bool is_posted;
	struct task finish_task;
	bool is_finishing;
	bool has_finished;
	pthread_cond_t finished;
};

const char *groups_script(void)
{
	return group_lua;
}

/* --- one call ------------------------------------------------------------------ */

static void talk_free(struct talk *k)
{
	buf_fini(&k->q.command);
	buf_fini(&k->key);
	share_table_fini(&k->crew.table);
	free(k);
}

static struct crew_terms terms_of(const struct groups *s)
{
	return (struct crew_terms){.nodes = members_nodes(s->members),
		.me = s->run,
		.now_ms = loop_now_ms(s->core->loop),
		.shards = s->core->shards,
		.whole = kinds[s->kind].whole};
}

/* Has the journal all that is behind the places that Redis has? */
static bool reaches_back(struct groups *s, const struct share_table *table)
{
	bool reaches = true;
	uint64_t first;

	journal_reader_enter(&s->reader);
	for (uint32_t k = 0; k < s->core->shards && reaches; k++) {
		const struct share_row *row = &table->shards[k];

		reaches = row->run[0] == '\0' ||
			  commit_reaches(s->core->commit, &s->reader, k, row->place, &first);
	}
	journal_reader_leave(&s->reader);
	return reaches;
}

/* Who is connected and was found to reach back stays so: he is not to lose a target for a moment. */
static void look_back(struct talk *k)
{
	struct groups *s = k->groups;
	uint64_t now = loop_now_ms(s->core->loop);

	if (!kinds[s->kind].whole || !k->crew.table.is_read || now < k->reach_ms ||
		(k->crew.reaches && k->crew.is_seated))
		return;
	k->crew.reaches = reaches_back(s, &k->crew.table);
	k->reach_ms = now + REACH_EVERY_MS;
}

static void tell_host(struct talk *k)
{
	const struct sharing_host *host = &k->groups->host;

	if (k->groups->is_finishing)
		return;
	host->set(host->context, buf_view(&k->key), &k->crew.parts);
}

/* Gives how many changes it appends. */
static uint32_t say(struct talk *k, const struct crew_terms *terms, struct buf *changes)
{
	bool is_other = false;
	uint32_t n;

	if (k->is_over || (k->groups->is_finishing && !terms->whole))
		return crew_say_last(&k->crew, terms, changes);
	if (!k->is_listed)
		return 0;
	look_back(k);
	n = crew_say(&k->crew, terms, changes, &is_other);
	if (is_other)
		tell_host(k);
	return n;
}

static struct view seat_text(const struct talk *k, const struct crew_terms *terms)
{
	return k->is_listed ? view_of(share_seat_text(crew_seat(&k->crew, terms))) : VIEW("");
}

static void call(struct talk *k)
{
	struct groups *s = k->groups;
	struct crew_terms terms = terms_of(s);
	struct view start = view_of(s->run);
	struct buf *b = &k->q.command;
	struct buf key = {0};
	struct buf changes = {0};
	uint16_t slot = rows_key(&key, kinds[s->kind].key, buf_view(&k->key));
	uint32_t n = say(k, &terms, &changes);

	view_cut(&start, '/');
	buf_clear(b);
	resp_begin(b, 8 + CREW_CHANGE_WORDS * n);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(s->sha));
	resp_number(b, 1);
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, view_of(s->core->settings->node));
	resp_bytes(b, start);
	resp_bytes(b, seat_text(k, &terms));
	resp_number(b, k->is_listed ? GROUPS_KEEP_MS : GROUPS_GRACE_MS);
	buf_append(b, buf_bytes(&changes), buf_length(&changes));
	buf_fini(&key);
	buf_fini(&changes);
	k->is_leaving = !k->is_listed;
	k->is_blind = !k->crew.table.is_read;
	k->due_ms = terms.now_ms + GROUPS_EVERY_MS;
	k->is_busy = redis_submit(s->core->redis, slot, &k->q) == 0;
}

/* The next turn of all is so near at least. */
static void turn_within(struct groups *s, uint64_t pause_ms)
{
	if (s->timer.due_ms > loop_now_ms(s->core->loop) + pause_ms)
		timer_start(s->core->loop, &s->timer, pause_ms);
}

/* --- its answer ------------------------------------------------------------------ */

/* Who rests would hear only within a minute that its shards are wanted here. */
static void wake_holders(struct talk *k)
{
	struct groups *s = k->groups;
	struct crew_terms terms = terms_of(s);
	const char *woken = "";

	if (s->mail == NULL || terms.now_ms < k->woken_ms + GROUPS_EVERY_MS)
		return;
	for (uint32_t shard = 0; shard < terms.shards; shard++) {
		const char *owner = k->crew.table.shards[shard].run;
		struct view run = view_of(owner);
		const char *to;

		if (strcmp(owner, woken) == 0 || !share_is_resting(&k->crew.table, owner) ||
			crew_step(&k->crew, &terms, shard, &to) != SHARE_AWAIT)
			continue;
		mail_send(s->mail, view_cut(&run, '/'),
			&(struct letter){.kind = VIEW("wanted"), .key = buf_view(&k->key)});
		woken = owner;
		k->woken_ms = terms.now_ms;
	}
}

static void on_wanted(void *context, const struct letter *letter)
{
	struct groups *s = context;
	struct talk *k = map_get(&s->talks, letter->key);

	if (k == NULL)
		return;
	k->due_ms = 0;
	turn_within(s, CHANGE_MS);
}

/* How long until it is asked again. */
static uint64_t pause_of(const struct talk *k)
{
	const struct crew_terms terms = terms_of(k->groups);
	uint64_t pause = k->crew.is_seated || terms.whole ? GROUPS_EVERY_MS : GROUPS_HELD_MS;

	if (k->is_blind)
		pause = GROUPS_SOON_MS;
	for (uint32_t shard = 0; shard < terms.shards; shard++) {
		const char *to;
		enum share_step step = crew_step(&k->crew, &terms, shard, &to);

		if (step == SHARE_TAKE || (step == SHARE_CLAIM && !crew_gathers(&k->crew, &terms)))
			return nodes_by_run(terms.nodes, view_of(terms.me)) ? CHANGE_MS
									    : GROUPS_SOON_MS;
		if (step != SHARE_STAY)
			pause = GROUPS_SOON_MS;
	}
	return pause;
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct talk *k = container_of(q, struct talk, q);

	if (k->is_leaving)
		return;
	pthread_mutex_lock(&k->groups->lock);
	share_table_take(&k->crew.table, reply, loop_now_ms(k->groups->core->loop));
	pthread_mutex_unlock(&k->groups->lock);
}

/* One that has come again meanwhile is new. */
static void end_talk(struct talk *k)
{
	struct groups *s = k->groups;

	pthread_mutex_lock(&s->lock);
	map_remove(&s->talks, buf_view(&k->key));
	pthread_mutex_unlock(&s->lock);
	talk_free(k);
}

static void go_on(struct talk *k)
{
	struct crew_terms terms = terms_of(k->groups);
	uint64_t pause;

	if (crew_take(&k->crew, &terms))
		tell_host(k);
	wake_holders(k);
	pause = pause_of(k);
	k->due_ms = terms.now_ms + pause;
	turn_within(k->groups, pause);
}

static void finish_on(struct groups *s);

static void on_done(struct redis_request *q, int err)
{
	struct talk *k = container_of(q, struct talk, q);
	struct groups *s = k->groups;

	if (err == ERR_SHUTDOWN)
		return;
	k->is_busy = false;
	if (err == 0 && k->is_leaving)
		end_talk(k);
	else if (err == 0)
		go_on(k);
	if (s->is_finishing)
		finish_on(s);
}

/* --- a turn of all ----------------------------------------------------------------- */

static struct talk *talk_of(struct groups *s, struct view key)
{
	struct talk *k = map_get(&s->talks, key);

	if (k)
		return k;
	k = mem_new(sizeof(*k));
	k->groups = s;
	buf_append(&k->key, key.p, key.n);
	k->crew.key = buf_view(&k->key);
	k->q.repeatable = true;
	k->q.on_reply = on_reply;
	k->q.on_done = on_done;
	pthread_mutex_lock(&s->lock);
	map_put(&s->talks, buf_view(&k->key), k);
	pthread_mutex_unlock(&s->lock);
	return k;
}

static void note_end(struct groups *s, const struct sharing_group *g)
{
	struct talk *k = map_get(&s->talks, g->key);

	if (k == NULL || k->number != g->number)
		return;
	k->is_over = true;
	k->crew.is_seated = false;
	k->crew.acked = g->acked;
}

static void on_group(void *asker, const struct sharing_group *g)
{
	struct talk *k = g->is_over ? NULL : talk_of(asker, g->key);

	if (g->is_over)
		note_end(asker, g);
	if (g->is_over || k->is_over)
		return;
	if (k->number != g->number) {
		k->number = g->number;
		k->crew.parts = (struct sharing_parts){0};
		k->crew.named_ms = 0;
		k->crew.is_naming = false;
		k->due_ms = 0;
	}
	if (k->crew.is_seated != g->is_seated) {
		k->due_ms = k->reach_ms = 0;
		k->crew.seated_ms = loop_now_ms(k->groups->core->loop);
	}
	k->is_listed = true;
	k->crew.is_seated = g->is_seated;
	k->crew.heard_ms = loop_now_ms(k->groups->core->loop);
	k->crew.acked = g->acked;
	k->crew.dealt = g->dealt;
}

static void ask_host(struct groups *s)
{
	struct talk *k;

	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;)
		k->is_listed = false;
	s->host.each(s->host.context, on_group, s);
}

static void on_time(struct timer *t)
{
	struct groups *s = container_of(t, struct groups, timer);
	uint64_t now = loop_now_ms(s->core->loop);
	struct talk *k;

	timer_start(s->core->loop, t, GROUPS_SOON_MS);
	ask_host(s);
	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;) {
		if (!k->is_busy && (k->due_ms <= now || !k->is_listed))
			call(k);
	}
}

static void on_change(struct task *task)
{
	struct groups *s = container_of(task, struct groups, task);

	atomic_store(&s->is_posted, false);
	if (s->has_begun)
		turn_within(s, CHANGE_MS);
}

static void changed(void *context)
{
	struct groups *s = context;

	if (!atomic_exchange(&s->is_posted, true))
		loop_post(s->core->loop, &s->task);
}

void groups_look(struct groups *s)
{
	struct talk *k;

	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;)
		k->due_ms = 0;
	if (s->has_begun)
		turn_within(s, CHANGE_MS);
}

/* --- the end ------------------------------------------------------------------------ */

bool groups_owe(const struct groups *s)
{
	struct crew_terms terms = terms_of(s);
	struct talk *k;

	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;) {
		if (crew_owes(&k->crew, &terms))
			return true;
	}
	return false;
}

/* Each is asked for once more, behind what is under way. */
static void finish_on(struct groups *s)
{
	bool is_busy = false;
	struct talk *k;

	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;) {
		if (!k->is_busy && !k->is_final && (k->is_listed || k->is_over)) {
			k->is_final = true;
			call(k);
		}
		is_busy |= k->is_busy;
	}
	if (is_busy)
		return;
	pthread_mutex_lock(&s->lock);
	s->has_finished = true;
	pthread_cond_signal(&s->finished);
	pthread_mutex_unlock(&s->lock);
}

static void finish(struct task *task)
{
	struct groups *s = container_of(task, struct groups, finish_task);

	s->is_finishing = true;
	if (s->has_begun && s->host.each) {
		timer_stop(s->core->loop, &s->timer);
		ask_host(s);
	}
	finish_on(s);
}

void groups_finish(struct groups *s, uint64_t limit_ms)
{
	struct timespec by;

	clock_gettime(CLOCK_MONOTONIC, &by);
	by.tv_sec += (time_t)(limit_ms / 1000);
	loop_post(s->core->loop, &s->finish_task);
	pthread_mutex_lock(&s->lock);
	while (!s->has_finished &&
		pthread_cond_clockwait(&s->finished, &s->lock, CLOCK_MONOTONIC, &by) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&s->lock);
}

/* --- shown ---------------------------------------------------------------------------- */

void groups_each_share(struct groups *s,
	void (*on_share)(void *context, struct view key, uint32_t shard, struct view node),
	void *context)
{
	struct talk *k;

	pthread_mutex_lock(&s->lock);
	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;) {
		for (uint32_t i = 0; i < s->core->shards; i++) {
			struct view run = view_of(k->crew.table.shards[i].run);

			on_share(context, buf_view(&k->key), i, view_cut(&run, '/'));
		}
	}
	pthread_mutex_unlock(&s->lock);
}

/* --- life ---------------------------------------------------------------------------- */

struct groups *groups_new(struct cluster_core *core, struct members *members, struct mail *mail,
	enum groups_kind kind)
{
	struct groups *s = mem_new(sizeof(*s));
	struct buf run = {0};

	s->core = core;
	s->members = members;
	s->kind = kind;
	s->mail = mail;
	if (mail)
		mail_listen(mail, "wanted", on_wanted, s);
	journal_reader_open(commit_journal(core->commit), &s->reader);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->finished, NULL);
	s->finish_task.run = finish;
	node_run(&run, core->settings->node, core->start);
	snprintf(s->run, sizeof(s->run), "%.*s", (int)buf_length(&run),
		(const char *)buf_bytes(&run));
	buf_fini(&run);
	redis_script_sha(group_lua, s->sha);
	s->timer.on_time = on_time;
	s->task.run = on_change;
	return s;
}

void groups_set_host(struct groups *s, const struct sharing_host *host)
{
	s->host = *host;
}

struct sharing groups_sharing(struct groups *s)
{
	return (struct sharing){changed, s};
}

void groups_begin(struct groups *s)
{
	s->has_begun = true;
	if (s->host.each)
		timer_start(s->core->loop, &s->timer, CHANGE_MS);
}

void groups_free(struct groups *s)
{
	struct talk *k;

	if (s == NULL)
		return;
	for (size_t at = 0; (k = map_next(&s->talks, &at)) != NULL;)
		talk_free(k);
	map_fini(&s->talks);
	journal_reader_close(&s->reader);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->finished);
	free(s);
}
