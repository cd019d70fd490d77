/* A walk stands in its worker's list of walks with the client it looks at next; a client that goes moves the
 * walks that stand at it one further.
 */
#include "broker/roster.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/client.h"

#define LOOKED_AT_A_TURN 2048u
#define TOLD_A_TURN 256u

/* The worker's number stands in front of a client's serial number. */
#define SERIAL_BITS 48

struct walk_on {
	struct task task;
	struct list link; /* in worker->roster.walks; alone between workers */
	struct errand errand;
	struct broker *broker;
	unsigned worker;
	struct client *next; /* NULL: the end of this worker's */
	struct roster_query query;
	char *user;
	char *client_id;
	struct address_block from;
	struct roster_walker walker;
	uint64_t count;
	uint64_t last; /* number told last */
};

/* --- one client ------------------------------------------------------- */

static const char *transport_of(const struct conn *c)
{
	if (c->websocket)
		return conn_is_secret(c) ? "wss" : "ws";
	return conn_is_secret(c) ? "mqtts" : "mqtt";
}

static void tell(struct walk_on *w, const struct client *c)
{
	const struct session *s = c->session;
	uint64_t tail = journal_tail(c->worker->journal);
	uint64_t position = session_position(s);
	struct roster_client shown = {
		.number = c->number,
		.peer = &c->conn.peer,
		.client_id = session_client_id(s),
		.user = c->account->user,
		.protocol = c->version == MQTT_5 ? "5" : "3.1.1",
		.transport = transport_of(&c->conn),
		.state = s->state == SESSION_LIVE ? "live" : "behind",
		.connected_ms = c->connected_s * 1000ull,
		.keep_alive_s = c->keep_alive_s,
		.subscriptions = s->subscriptions.count,
		.lag = position < tail ? tail - position : 0,
		.in_flight = s->window.count,
		.bytes_in = c->conn.bytes_in,
		.bytes_out = c->conn.bytes_out,
	};

	w->walker.each(w->walker.context, &shown);
}

static bool is_meant(const struct walk_on *w, const struct client *c)
{
	struct view id = c->session ? session_client_id(c->session) : client_asked_id(c);

	if (!conn_is_open(&c->conn))
		return false;
	if (w->query.from && !address_is_in(&c->conn.peer, &w->from))
		return false;
	if (w->client_id && !view_equal(view_of(w->client_id), id))
		return false;
	if (w->user == NULL)
		return true;
	return c->account && c->account->user && strcmp(c->account->user, w->user) == 0;
}

static void look_at(struct walk_on *w, struct client *c, unsigned *told)
{
	bool is_shown = c->is_connected && c->session;

	if (c->number <= w->query.after || !is_meant(w, c) || (!is_shown && !w->query.kick))
		return;
	if (is_shown && w->walker.each)
		tell(w, c);
	if (w->query.kick)
		client_fault(c, ERR_ADMIN, "closed by an operator");
	w->count++;
	w->last = c->number;
	(*told)++;
}

/* --- the way ---------------------------------------------------------- */

static bool is_full(const struct walk_on *w)
{
	return w->query.limit && w->count >= w->query.limit;
}

static struct client *client_behind(struct broker_worker *at, const struct list *link)
{
	return link->next == &at->clients ? NULL : container_of(link->next, struct client, link);
}

static void walk_free(struct walk_on *w)
{
	list_remove(&w->link);
	errand_end(&w->errand);
	free(w->user);
	free(w->client_id);
	free(w);
}

static void drop(struct errand *e)
{
	walk_free(container_of(e, struct walk_on, errand));
}

static void end(struct walk_on *w)
{
	w->walker.on_end(w->walker.context, w->count, is_full(w) ? w->last : 0);
	walk_free(w);
}

static void go_on(struct task *task);

static void post_to(struct walk_on *w, unsigned worker)
{
	w->worker = worker;
	w->task.run = go_on;
	loop_post(w->broker->workers[worker].loop, &w->task);
}

static void arrive(struct task *task)
{
	struct walk_on *w = container_of(task, struct walk_on, task);
	struct broker_worker *at = &w->broker->workers[w->worker];

	w->next = client_behind(at, &at->clients);
	list_append(&at->roster.walks, &w->link);
	go_on(task);
}

static void leave(struct walk_on *w)
{
	list_remove(&w->link);
	if (++w->worker == w->broker->worker_count) {
		end(w);
		return;
	}
	w->task.run = arrive;
	loop_post(w->broker->workers[w->worker].loop, &w->task);
}

static void go_on(struct task *task)
{
	struct walk_on *w = container_of(task, struct walk_on, task);
	struct broker_worker *at = &w->broker->workers[w->worker];
	unsigned told = 0;

	for (unsigned i = 0; i < LOOKED_AT_A_TURN && told < TOLD_A_TURN && w->next; i++) {
		struct client *c = w->next;

		w->next = client_behind(at, &c->link);
		look_at(w, c, &told);
		if (is_full(w)) {
			end(w);
			return;
		}
	}
	if (w->next)
		post_to(w, w->worker);
	else
		leave(w);
}

void roster_walk(
	struct broker *b, const struct roster_query *query, const struct roster_walker *walker)
{
	struct walk_on *w = mem_new(sizeof(*w));

	list_init(&w->link);
	w->broker = b;
	w->query = *query;
	w->user = mem_text(query->user);
	w->client_id = mem_text(query->client_id);
	if (query->from)
		w->from = *query->from;
	w->walker = *walker;
	w->worker = (unsigned)(query->after >> SERIAL_BITS);
	if (w->worker >= b->worker_count)
		w->worker = b->worker_count - 1;
	w->task.run = arrive;
	errand_begin(&b->errands, &w->errand, drop);
	loop_post(b->workers[w->worker].loop, &w->task);
}

/* --- what clients do -------------------------------------------------- */

uint64_t roster_number(struct broker_worker *w)
{
	return (uint64_t)w->number << SERIAL_BITS | ++w->roster.last;
}

void roster_pass(struct broker_worker *w, const struct client *c)
{
	for (struct list *l = w->roster.walks.next; l != &w->roster.walks; l = l->next) {
		struct walk_on *walk = container_of(l, struct walk_on, link);

		if (walk->next == c)
			walk->next = client_behind(w, &c->link);
	}
}

/* --- shown ------------------------------------------------------------ */

static void put_text(struct buf *out, const char *name, struct view text)
{
	buf_printf(out, "\"%s\":", name);
	if (text.p)
		buf_json_string(out, text);
	else
		buf_text(out, "null");
	buf_text(out, ",");
}

static void put_number(struct buf *out, const char *name, uint64_t n)
{
	buf_printf(out, "\"%s\":%llu,", name, (unsigned long long)n);
}

void roster_write(const struct roster_client *c, struct buf *out)
{
	char address[ADDRESS_TEXT_BYTES];
	char time[CLOCK_TEXT_BYTES];

	address_format(c->peer, address);
	clock_format(c->connected_ms, time);
	buf_text(out, "{");
	put_number(out, "number", c->number);
	put_text(out, "client_id", c->client_id);
	put_text(out, "user", view_of(c->user));
	put_text(out, "address", view_of(address));
	put_text(out, "transport", view_of(c->transport));
	put_text(out, "protocol", view_of(c->protocol));
	put_text(out, "connected_since", view_of(time));
	put_text(out, "state", view_of(c->state));
	put_number(out, "keep_alive_seconds", c->keep_alive_s);
	put_number(out, "subscriptions", c->subscriptions);
	put_number(out, "lag_messages", c->lag);
	put_number(out, "in_flight", c->in_flight);
	put_number(out, "received_bytes", c->bytes_in);
	put_number(out, "sent_bytes", c->bytes_out);
	buf_cut(out, buf_length(out) - 1);
	buf_text(out, "}");
}
