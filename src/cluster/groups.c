/* cluster/groups.c - a turn of all groups, and one call each
 *
 *     tick: host.each() --> crew of each group: seated, acked, dealt
 *           crew that is due --> steps --> group.lua --> table --> parts --> host.set()
 */
#include "cluster/groups.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/group_script.h" /* made of group.lua by tools/embed.awk */
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/shares.h"

#define GROUP_KEY "isobar:group:"
#define CHANGE_MS 10u /* changes that come together are one turn */
#define CHANGE_WORDS 4u

/* A group with sessions on this node, or that had some. */
struct crew {
	struct redis_request q;
	struct groups *groups;
	struct buf key;
	uint64_t number; /* of the broker's object */
	uint64_t due_ms;
	uint64_t woken_ms;          /* when who has its shards was last woken */
	uint64_t ending_ms[SHARDS]; /* since when a shard is ENDING */
	struct vector acked;
	struct vector dealt;
	struct share_table table;
	struct sharing_parts parts; /* as the broker was told */
	bool is_listed;             /* by the broker, in this turn */
	bool is_seated;
	bool is_busy;
	bool is_leaving; /* the call under way says that there is no session any more */
};

struct groups {
	struct cluster_core *core;
	struct members *members;
	struct mail *mail;
	struct sharing_host host;
	char sha[REDIS_SHA_BYTES];
	char run[SHARE_RUN_BYTES];
	bool has_begun;
	struct map crews;
	struct timer timer;
	struct task task;
	_Atomic bool is_posted;
};

const char *groups_script(void)
{
	return group_lua;
}

/* --- one call ------------------------------------------------------------------ */

static void crew_free(struct crew *c)
{
	buf_fini(&c->q.command);
	buf_fini(&c->key);
	share_table_fini(&c->table);
	free(c);
}

static void add_change(
	struct buf *b, uint32_t shard, const char *from, const char *to, const uint64_t *place)
{
	char text[24] = "";

	if (place)
		snprintf(text, sizeof(text), "%016" PRIx64, *place);
	resp_number(b, shard);
	resp_bytes(b, view_of(from));
	resp_bytes(b, view_of(to));
	resp_bytes(b, view_of(text));
}

/* Nothing of the shard is under way any more, or has been for too long. */
static bool has_ended(const struct crew *c, uint32_t shard)
{
	uint64_t now = loop_now_ms(c->groups->core->loop);

	return !c->is_seated || c->acked.place[shard] >= c->dealt.place[shard] ||
	       now - c->ending_ms[shard] >= GROUPS_END_MS;
}

/* What is said of a shard of this node's; true: a change was added. */
static bool say_own(struct crew *c, uint32_t shard, const char *to, struct buf *b)
{
	const struct share_row *row = &c->table.shards[shard];
	const uint64_t *acked = &c->acked.place[shard];

	if (c->parts.state[shard] == SHARE_NONE)
		return false;
	if (strcmp(to, row->run) == 0 && *acked <= row->place)
		return false;
	add_change(b, shard, row->run, to, *acked > row->place ? acked : NULL);
	return true;
}

/* The next state of a shard that this node owns. True: it has become another. */
static bool turn_shard(struct crew *c, uint32_t shard, enum share_step step)
{
	uint8_t *state = &c->parts.state[shard];
	uint8_t was = *state;

	if (step == SHARE_HAND_OVER && was == SHARE_OWNED) {
		*state = SHARE_ENDING;
		c->ending_ms[shard] = loop_now_ms(c->groups->core->loop);
	} else if (step == SHARE_STAY && was == SHARE_ENDING) {
		*state = SHARE_OWNED;
	}
	return *state != was;
}

/* Appends what is to change in Redis; gives how many changes. */
static uint32_t say_shards(struct crew *c, struct buf *b)
{
	const struct nodes *nodes = members_nodes(c->groups->members);
	const char *me = c->groups->run;
	bool is_other = false;
	uint32_t n = 0;

	if (!c->table.is_read || nodes_by_run(nodes, view_of(me)) == NULL)
		return 0;
	for (uint32_t k = 0; k < c->groups->core->shards; k++) {
		const char *owner = c->table.shards[k].run;
		const char *to;
		enum share_step step =
			share_decide(&c->table, nodes, buf_view(&c->key), k, me, &to);

		if (step == SHARE_CLAIM) {
			add_change(b, k, "", to, &c->acked.place[k]);
			n++;
		} else if (step == SHARE_TAKE) {
			add_change(b, k, owner, me, NULL);
			n++;
		} else if (strcmp(owner, me) == 0) {
			bool is_turned = turn_shard(c, k, step);
			bool goes = step == SHARE_HAND_OVER && !is_turned && has_ended(c, k);

			is_other |= is_turned;
			n += say_own(c, k, goes ? to : me, b);
		}
	}
	if (is_other)
		c->groups->host.set(c->groups->host.context, buf_view(&c->key), &c->parts);
	return n;
}

static void call(struct crew *c)
{
	struct groups *s = c->groups;
	struct view start = view_of(s->run);
	struct buf *b = &c->q.command;
	struct buf key = {0};
	struct buf changes = {0};
	uint16_t slot = rows_key(&key, GROUP_KEY, buf_view(&c->key));
	uint32_t n = c->is_listed ? say_shards(c, &changes) : 0;

	view_cut(&start, '/');
	buf_clear(b);
	resp_begin(b, 8 + CHANGE_WORDS * n);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(s->sha));
	resp_number(b, 1);
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, view_of(s->core->settings->node));
	resp_bytes(b, start);
	resp_bytes(b, !c->is_listed ? VIEW("") : c->is_seated ? VIEW("seated") : VIEW("held"));
	resp_number(b, c->is_listed ? GROUPS_KEEP_MS : GROUPS_GRACE_MS);
	buf_append(b, buf_bytes(&changes), buf_length(&changes));
	buf_fini(&key);
	buf_fini(&changes);
	c->is_leaving = !c->is_listed;
	c->due_ms = loop_now_ms(s->core->loop) + GROUPS_EVERY_MS;
	c->is_busy = redis_submit(s->core->redis, slot, &c->q) == 0;
}

/* The next turn of all is so near at least. */
static void turn_within(struct groups *s, uint64_t pause_ms)
{
	if (s->timer.due_ms > loop_now_ms(s->core->loop) + pause_ms)
		timer_start(s->core->loop, &s->timer, pause_ms);
}

/* --- its answer ------------------------------------------------------------------ */

/* Who rests would hear only within a minute that its shards are wanted here. */
static void wake_holders(struct crew *c)
{
	struct groups *s = c->groups;
	uint64_t now = loop_now_ms(s->core->loop);
	const char *woken = "";

	if (now < c->woken_ms + GROUPS_EVERY_MS)
		return;
	for (uint32_t k = 0; k < s->core->shards; k++) {
		const char *owner = c->table.shards[k].run;
		struct view run = view_of(owner);
		const char *to;

		if (strcmp(owner, woken) == 0 || !share_is_resting(&c->table, owner) ||
			share_decide(&c->table, members_nodes(s->members), buf_view(&c->key), k,
				s->run, &to) != SHARE_AWAIT)
			continue;
		mail_send(s->mail, view_cut(&run, '/'),
			&(struct letter){VIEW("wanted"), buf_view(&c->key), 0, {NULL, 0}});
		woken = owner;
		c->woken_ms = now;
	}
}

static void on_wanted(void *context, const struct letter *letter)
{
	struct groups *s = context;
	struct crew *c = map_get(&s->crews, letter->key);

	if (c == NULL)
		return;
	c->due_ms = 0;
	turn_within(s, CHANGE_MS);
}

/* How long until it is asked again. */
static uint64_t pause_of(const struct crew *c)
{
	const struct nodes *nodes = members_nodes(c->groups->members);
	const char *me = c->groups->run;
	uint64_t pause = c->is_seated ? GROUPS_EVERY_MS : GROUPS_HELD_MS;

	for (uint32_t k = 0; k < c->groups->core->shards; k++) {
		const char *to;
		enum share_step step =
			share_decide(&c->table, nodes, buf_view(&c->key), k, me, &to);

		if (step == SHARE_CLAIM || step == SHARE_TAKE)
			return nodes_by_run(nodes, view_of(me)) ? CHANGE_MS : GROUPS_SOON_MS;
		if (step != SHARE_STAY)
			pause = GROUPS_SOON_MS;
	}
	return pause;
}

/* By what Redis says; a shard that it does not know stays as it is. True: something has changed. */
static bool take_parts(struct crew *c)
{
	bool is_other = false;

	for (uint32_t k = 0; k < c->groups->core->shards; k++) {
		const struct share_row *row = &c->table.shards[k];
		uint8_t *state = &c->parts.state[k];

		c->parts.place.place[k] = row->place;
		if (row->run[0] == '\0')
			continue;
		if (strcmp(row->run, c->groups->run) != 0 && *state != SHARE_NONE) {
			*state = SHARE_NONE;
			is_other = true;
		} else if (strcmp(row->run, c->groups->run) == 0 && *state == SHARE_NONE) {
			*state = SHARE_OWNED;
			is_other = true;
		}
	}
	return is_other;
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct crew *c = container_of(q, struct crew, q);

	if (!c->is_leaving)
		share_table_take(&c->table, reply);
}

static void on_done(struct redis_request *q, int err)
{
	struct crew *c = container_of(q, struct crew, q);
	struct groups *s = c->groups;
	uint64_t pause;

	if (err == ERR_SHUTDOWN)
		return;
	c->is_busy = false;
	if (err)
		return;
	if (c->is_leaving) {
		/* One that has come again meanwhile is new. */
		map_remove(&s->crews, buf_view(&c->key));
		crew_free(c);
		return;
	}
	if (take_parts(c))
		s->host.set(s->host.context, buf_view(&c->key), &c->parts);
	wake_holders(c);
	pause = pause_of(c);
	c->due_ms = loop_now_ms(s->core->loop) + pause;
	turn_within(s, pause);
}

/* --- a turn of all ----------------------------------------------------------------- */

static struct crew *crew_of(struct groups *s, struct view key)
{
	struct crew *c = map_get(&s->crews, key);

	if (c)
		return c;
	c = mem_new(sizeof(*c));
	c->groups = s;
	buf_append(&c->key, key.p, key.n);
	c->q.repeatable = true;
	c->q.on_reply = on_reply;
	c->q.on_done = on_done;
	map_put(&s->crews, buf_view(&c->key), c);
	return c;
}

static void on_group(void *asker, const struct sharing_group *g)
{
	struct crew *c = crew_of(asker, g->key);

	if (c->number != g->number) {
		c->number = g->number;
		c->parts = (struct sharing_parts){0};
		c->due_ms = 0;
	}
	if (c->is_seated != g->is_seated)
		c->due_ms = 0;
	c->is_listed = true;
	c->is_seated = g->is_seated;
	c->acked = g->acked;
	c->dealt = g->dealt;
}

static void on_time(struct timer *t)
{
	struct groups *s = container_of(t, struct groups, timer);
	uint64_t now = loop_now_ms(s->core->loop);
	struct crew *c;

	timer_start(s->core->loop, t, GROUPS_SOON_MS);
	for (size_t at = 0; (c = map_next(&s->crews, &at)) != NULL;)
		c->is_listed = false;
	s->host.each(s->host.context, on_group, s);
	for (size_t at = 0; (c = map_next(&s->crews, &at)) != NULL;) {
		if (!c->is_busy && (c->due_ms <= now || !c->is_listed))
			call(c);
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

/* --- life ---------------------------------------------------------------------------- */

struct groups *groups_new(struct cluster_core *core, struct members *members, struct mail *mail)
{
	struct groups *s = mem_new(sizeof(*s));
	struct buf run = {0};

	s->core = core;
	s->members = members;
	s->mail = mail;
	mail_listen(mail, "wanted", on_wanted, s);
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
	struct crew *c;

	if (s == NULL)
		return;
	for (size_t at = 0; (c = map_next(&s->crews, &at)) != NULL;)
		crew_free(c);
	map_fini(&s->crews);
	free(s);
}
