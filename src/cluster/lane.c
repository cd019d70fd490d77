/* cluster/lane.c - what is sent in order, and sent again in order
 *
 *	submit ---> queue ---------> under way at `link` ---> done
 *	              ^                      |
 *	              |   when nothing is    | "elsewhere", "later", connection lost
 *	              |   under way any more v
 *	              +------------------- again
 *
 * **Invariant:** all that is under way of a lane is at one link; while `again` is not empty nothing
 * of the queue is sent. Everything in `again` is older than the queue and younger ones stand behind
 * older ones, as replies come in the order of sending.
 *
 * After a refusal one request is under way at a time, until one is done: a node that refuses the first of
 * a pipeline and does the second would turn their order round. That is how a slot arrives: its new
 * node says TRYAGAIN until the moment in which it is its master.
 */
#include "cluster/internal.h"

#include "base/check.h"
#include "base/error.h"

#define PAUSE_FIRST_MS 5u
#define PAUSE_MOST_MS 200u
#define TURNS_AT_ONCE 2u /* so many redirects are followed without a pause */

void lane_init(struct redis_lane *lane, struct redis *r, uint16_t slot)
{
	*lane = (struct redis_lane){.redis = r, .slot = slot};
	list_init(&lane->queue);
	list_init(&lane->again);
	list_init(&lane->in_busy);
	list_init(&lane->in_own);
}

static void become_busy(struct redis_lane *lane)
{
	if (list_is_empty(&lane->in_busy))
		list_append(&lane->redis->busy, &lane->in_busy);
	redis_later(lane->redis);
}

int lane_submit(struct redis_lane *lane, struct redis_request *q)
{
	struct redis *r = lane->redis;
	size_t bytes = buf_length(&q->command);
	uint32_t limit_ms = q->limit_ms ? q->limit_ms : r->config.answer_ms;

	if (lane->closed || r->outstanding >= r->config.requests_most ||
		bytes > r->config.bytes_most - r->bytes)
		return ERR_FULL;
	r->outstanding++;
	r->bytes += bytes;
	count_add(&r->figures.submitted, 1);
	q->lane = lane;
	q->ask = NULL;
	q->due_ms = loop_now_ms(r->config.loop) + limit_ms;
	q->sent_ms = 0;
	q->skip = 0;
	q->replicas = 0;
	q->behind = 0;
	q->unknown = false;
	list_append(&lane->queue, &q->link);
	become_busy(lane);
	return 0;
}

/* --- sending -------------------------------------------------------------- */

static struct redis_request *first(struct list *l)
{
	return list_is_empty(l) ? NULL : container_of(l->next, struct redis_request, link);
}

/* The node that has the lane's slot now; NULL: nobody knows. */
static struct redis_node *wanted_node(const struct redis_lane *lane)
{
	struct redis_node *master = lane->redis->masters[lane->slot];

	if (master == NULL || lane->route == REDIS_MASTER)
		return master;
	/* A replica that still is one of this master is not changed for another. */
	if (lane->link && lane->link->node->master == master && lane->link->node->mapped)
		return lane->link->node;
	return map_replica(lane->redis, master);
}

static struct link *own_link(struct redis_lane *lane)
{
	struct redis_node *node = wanted_node(lane);

	if (lane->link && lane->link->node != node && lane->under_way == 0) {
		link_drop(lane->link);
		lane->link = NULL;
	}
	if (lane->link == NULL && node)
		lane->link = link_new(lane->redis, node, lane);
	return lane->link;
}

static struct link *route(struct redis_lane *lane, const struct redis_request *q)
{
	struct redis *r = lane->redis;

	if (q->ask)
		return map_link(r, q->ask, lane->line);
	if (lane->own)
		return own_link(lane);
	if (lane->slot == REDIS_ANY_SLOT)
		return lane->under_way ? lane->link : redis_any_link(r);
	return r->masters[lane->slot] ? map_link(r, r->masters[lane->slot], lane->line) : NULL;
}

/* What has to be repeated goes before what has not been sent. */
static void take_up_again(struct redis_lane *lane)
{
	list_splice(&lane->again, &lane->queue);
	list_splice(&lane->queue, &lane->again);
}

static void send_one(struct redis_lane *lane, struct link *l, struct redis_request *q)
{
	list_remove(&q->link);
	if (q->sent_ms)
		count_add(&lane->redis->figures.repeated, 1);
	lane->under_way++;
	if (!lane->own)
		lane->link = l;
	link_send(l, q);
}

bool lane_pump(struct redis_lane *lane, uint64_t now_ms)
{
	struct redis_request *q;

	if (lane->under_way == 0)
		take_up_again(lane);
	if (!list_is_empty(&lane->again) || now_ms < lane->not_before_ms)
		return true;
	while ((q = first(&lane->queue)) != NULL) {
		struct link *l = route(lane, q);

		if (lane->under_way && (l != lane->link || lane->is_careful))
			return true;
		if (l == NULL || l->state != LINK_READY)
			return false;
		if (!link_takes(l, q))
			return true;
		send_one(lane, l, q);
	}
	list_remove(&lane->in_busy);
	return true;
}

/* --- replies -------------------------------------------------------------- */

static void send_again(struct redis_lane *lane, struct redis_request *q)
{
	list_append(&lane->again, &q->link);
	become_busy(lane);
}

static void settled(struct redis_request *q, int err)
{
	q->lane->under_way--;
	redis_finish(q->lane->redis, q, err);
}

/* A lane that is sent to and fro, or refused, takes its time. */
static void pause_lane(struct redis_lane *lane)
{
	struct redis *r = lane->redis;
	uint64_t pause_ms = PAUSE_FIRST_MS << (lane->turns < 8 ? lane->turns : 8);

	if (pause_ms > PAUSE_MOST_MS)
		pause_ms = PAUSE_MOST_MS;
	lane->turns++;
	lane->not_before_ms =
		loop_now_ms(r->config.loop) + pause_ms / 2 + redis_chance(r) % (uint32_t)pause_ms;
}

static void on_redirect(struct link *l, struct redis_request *q, const struct slot_redirect *to)
{
	struct redis_lane *lane = q->lane;
	struct redis *r = lane->redis;
	struct redis_node *node = map_node(r, &to->to, l->node);

	count_add(to->ask ? &r->figures.asked : &r->figures.moved, 1);
	if (to->ask) {
		/* One's own connection is not left for another: it asks again until the slot has moved. */
		q->ask = lane->own ? NULL : node;
	} else {
		redis_want_map(r);
		if (lane->slot != REDIS_ANY_SLOT && node) {
			node->master = NULL;
			r->masters[lane->slot] = node;
		}
	}
	/* The replies to what was sent with it say the same and are not further turns. */
	if (!list_is_empty(&lane->again))
		return;
	if (lane->turns++ >= TURNS_AT_ONCE)
		pause_lane(lane);
}

static void on_refusal(struct link *l, struct redis_request *q)
{
	(void)l;
	count_add(&q->lane->redis->figures.refused, 1);
	if (list_is_empty(&q->lane->again))
		pause_lane(q->lane);
}

static void on_refusal_by_cluster(struct link *l, struct redis_request *q)
{
	redis_want_map(q->lane->redis);
	on_refusal(l, q);
}

static void on_no_script(struct link *l, struct redis_request *q)
{
	l->node->forgot = true;
	on_refusal(l, q);
}

/* Errors that are about the cluster and not about the command: it has not been done. */
static const struct {
	struct view code;
	void (*on_fault)(struct link *l, struct redis_request *q);
} faults[] = {
	{VIEW("TRYAGAIN"), on_refusal},
	{VIEW("BUSY"), on_refusal},
	{VIEW("CLUSTERDOWN"), on_refusal_by_cluster},
	{VIEW("LOADING"), on_refusal_by_cluster},
	{VIEW("MASTERDOWN"), on_refusal_by_cluster},
	{VIEW("READONLY"), on_refusal_by_cluster},
	{VIEW("UNBLOCKED"), on_refusal_by_cluster},
	{VIEW("NOSCRIPT"), on_no_script},
};

/* True: the request has to be sent again. */
static bool is_fault(struct link *l, struct redis_request *q, const struct resp *reply)
{
	struct view rest = reply->text, code;
	struct slot_redirect to;

	if (reply->type != RESP_ERROR)
		return false;
	if (slot_redirect_of(rest, &to)) {
		on_redirect(l, q, &to);
		return true;
	}
	code = view_cut(&rest, ' ');
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (!view_equal(code, faults[i].code))
			continue;
		faults[i].on_fault(l, q);
		return true;
	}
	return false;
}

void lane_on_reply(struct link *l, struct redis_request *q, const struct resp *reply)
{
	struct redis_lane *lane = q->lane;

	q->ask = NULL;
	if (is_fault(l, q, reply)) {
		redis_note_fault(lane->redis, reply->text);
		lane->is_careful = true;
		lane->under_way--;
		send_again(lane, q);
		return;
	}
	if (reply->type == RESP_ERROR)
		redis_tell_fault(lane->redis, l->node, reply->text);
	lane->is_careful = false;
	lane->turns = 0;
	q->connection = l->number;
	if (q->on_reply)
		q->on_reply(q, reply);
	if (q->acknowledge)
		list_append(&l->answered, &q->link);
	else
		settled(q, 0);
}

void lane_settle(struct redis_request *q, int64_t replicas)
{
	if (replicas < 0 && q->repeatable) {
		q->lane->under_way--;
		send_again(q->lane, q);
		return;
	}
	q->replicas = replicas < 0 ? 0 : (uint32_t)replicas;
	settled(q, 0);
}

void lane_on_lost(struct redis_request *q, bool was_answered)
{
	q->ask = NULL;
	q->skip = 0;
	q->behind = 0;
	q->unknown = true;
	if (q->repeatable && !q->lane->closed) {
		q->lane->under_way--;
		send_again(q->lane, q);
		return;
	}
	settled(q, was_answered ? 0 : q->lane->closed ? ERR_SHUTDOWN : ERR_CLOSED);
}

/* --- giving up ------------------------------------------------------------ */

static void expire_list(struct redis *r, struct list *l, uint64_t now_ms)
{
	struct list late, *next;

	list_init(&late);
	for (struct list *at = l->next; at != l; at = next) {
		struct redis_request *q = container_of(at, struct redis_request, link);

		next = at->next;
		if (now_ms < q->due_ms)
			continue;
		list_remove(at);
		list_append(&late, at);
	}
	while (!list_is_empty(&late)) {
		struct redis_request *q = first(&late);

		list_remove(&q->link);
		redis_finish(r, q, ERR_TIMEOUT);
	}
}

void lane_expire(struct redis_lane *lane, uint64_t now_ms)
{
	expire_list(lane->redis, &lane->again, now_ms);
	expire_list(lane->redis, &lane->queue, now_ms);
}

void lane_fail(struct redis_lane *lane, int err)
{
	struct list all;

	list_init(&all);
	list_splice(&all, &lane->again);
	list_splice(&all, &lane->queue);
	while (!list_is_empty(&all)) {
		struct redis_request *q = first(&all);

		list_remove(&q->link);
		redis_finish(lane->redis, q, err);
	}
}
