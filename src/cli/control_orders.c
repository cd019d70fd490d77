/* A table of orders; each takes the members of its JSON object and writes its lines. What they change is
 * logged here, once, with who did it.
 */
#include "cli/control_orders.h"

#include <errno.h>
#include <jansson.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/bans.h"
#include "broker/roster.h"
#include "broker/snapshot.h"
#include "cli/cli.h"
#include "cli/everywhere.h"

#define LISTED_AT_ONCE 500u
#define NOTICE_BYTES 4000u
#define TIME_BYTES 64u

/* --- answers ---------------------------------------------------------- */

void order_end(struct order *o, int status, const char *error)
{
	buf_printf(&o->lines, "{\"status\":%d", status);
	if (error) {
		buf_text(&o->lines, ",\"error\":");
		buf_json_string(&o->lines, view_of(error));
	}
	buf_text(&o->lines, "}\n");
}

static void put_count(struct order *o, uint64_t n)
{
	buf_printf(&o->lines, "{\"count\":%llu}\n", (unsigned long long)n);
	order_end(o, CLI_DONE, NULL);
}

static void log_order(const struct order *o, const char *order, const char *what, uint64_t n)
{
	char quoted[LOG_QUOTE_BYTES];

	log_info("cli", "operator", "order=%s what=%s count=%llu by=%s", order,
		log_quote(what, strlen(what), quoted), (unsigned long long)n, o->by);
}

static const char *text_in(const json_t *order, const char *name)
{
	return json_string_value(json_object_get(order, name));
}

/* Has been done here: all other nodes are to do it. */
static void share(const struct order *o, const char *about, const json_t *order)
{
	if (!o->is_told)
		everywhere_tell(o->server->everywhere, about, o->by, order);
}

static void share_ban(const struct order *o, const struct ban *ban, const json_t *order)
{
	char *about = mem_printf(
		"ban/%s/%s", ban->kind == BAN_ADDRESS ? "address" : "client_id", ban->what);

	share(o, about, order);
	free(about);
}

/* --- clients ---------------------------------------------------------- */

/* A walk that this thread waits for. */
struct walking {
	struct buf lines;
	sem_t ended;
	uint64_t count;
	uint64_t next;
};

static void on_client(void *context, const struct roster_client *c)
{
	struct walking *w = context;

	roster_write(c, &w->lines);
	buf_text(&w->lines, "\n");
}

static void on_end(void *context, uint64_t n, uint64_t next)
{
	struct walking *w = context;

	w->count = n;
	w->next = next;
	sem_post(&w->ended);
}

static void walk(struct order *o, const struct roster_query *query, struct walking *w)
{
	const struct roster_walker walker = {query->kick ? NULL : on_client, on_end, w};

	sem_init(&w->ended, 0, 0);
	roster_walk(o->server->broker, query, &walker);
	while (sem_wait(&w->ended) < 0 && errno == EINTR)
		;
	sem_destroy(&w->ended);
}

/* Who is meant; false: the address is none, and that is told. */
static bool read_query(struct order *o, const json_t *order, struct roster_query *query,
	struct address_block *block)
{
	const char *address = text_in(order, "address");

	query->user = text_in(order, "user");
	query->client_id = text_in(order, "client_id");
	if (address == NULL)
		return true;
	query->from = block;
	if (address_block_parse(view_of(address), block))
		return true;
	order_end(o, CLI_USAGE,
		"not an address or a block of addresses; such as 192.0.2.0/24 is right");
	return false;
}

static void list_clients(struct order *o, const json_t *order)
{
	struct roster_query query = {.limit = LISTED_AT_ONCE};
	struct address_block block;
	struct walking w = {0};
	bool goes_on = read_query(o, order, &query, &block);

	if (!goes_on)
		return;
	while (goes_on) {
		walk(o, &query, &w);
		buf_append(&o->lines, buf_bytes(&w.lines), buf_length(&w.lines));
		buf_clear(&w.lines);
		query.after = w.next;
		goes_on = w.next && o->send(o);
	}
	buf_fini(&w.lines);
	order_end(o, CLI_DONE, NULL);
}

static const char *what_of(const struct roster_query *q, const json_t *order)
{
	if (q->client_id)
		return q->client_id;
	return q->user ? q->user : text_in(order, "address");
}

static uint64_t kick_all(struct order *o, struct roster_query query)
{
	struct walking w = {0};

	query.kick = true;
	walk(o, &query, &w);
	return w.count;
}

static void kick(struct order *o, const json_t *order)
{
	struct roster_query query = {0};
	struct address_block block;
	uint64_t n;

	if (!read_query(o, order, &query, &block))
		return;
	if (query.user == NULL && query.client_id == NULL && query.from == NULL) {
		order_end(o, CLI_USAGE, "kick whom? client_id, user or address is missing");
		return;
	}
	n = kick_all(o, query);
	log_order(o, "kick", what_of(&query, order), n);
	share(o, "", order);
	put_count(o, n);
}

/* --- bans ------------------------------------------------------------- */

static void put_ban(void *context, const struct ban *ban)
{
	ban_write(ban, &((struct order *)context)->lines);
}

static void list_bans(struct order *o, const json_t *order)
{
	(void)order;
	pthread_mutex_lock(&o->server->bans_lock);
	bans_each(broker_bans(o->server->broker), put_ban, o);
	pthread_mutex_unlock(&o->server->bans_lock);
	order_end(o, CLI_DONE, NULL);
}

/* What stands in the order: one of the two. */
static bool read_ban(struct order *o, const json_t *order, struct ban *ban)
{
	const char *id = text_in(order, "client_id");
	const char *address = text_in(order, "address");

	ban->kind = id ? BAN_CLIENT_ID : BAN_ADDRESS;
	ban->what = (char *)(uintptr_t)(id ? id : address);
	if ((id == NULL) != (address == NULL))
		return true;
	order_end(o, CLI_USAGE, "either client_id or address is right");
	return false;
}

static void put_failure(struct order *o, int err, const char *whom)
{
	char quoted[LOG_QUOTE_BYTES];
	char *text;
	static const struct {
		int err;
		int status;
		const char *text;
	} rows[] = {
		{ERR_CONFIG, CLI_USAGE,
			"cannot be banned; a client identifier, or a block of addresses such as "
			"192.0.2.0/24 without bits behind its prefix, of at most 1024 bytes is "
			"right"},
		{ERR_FULL, CLI_NO, "is one too many: 4096 are banned already; take some back"},
		{ERR_NOT_FOUND, CLI_NO, "is not banned"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].err == err) {
			text = mem_printf(
				"%s %s", log_quote(whom, strlen(whom), quoted), rows[i].text);
			order_end(o, rows[i].status, text);
			free(text);
			return;
		}
	}
	order_end(o, CLI_ENVIRONMENT, strerror(errno));
}

static void ban(struct order *o, const json_t *order)
{
	const char *why = text_in(order, "why");
	struct ban one = {.by = (char *)(uintptr_t)o->by,
		.why = (char *)(uintptr_t)(why ? why : ""),
		.since_ms = clock_wall_ms()};
	struct roster_query query = {0};
	uint64_t n;
	int err;

	if (!read_ban(o, order, &one))
		return;
	pthread_mutex_lock(&o->server->bans_lock);
	err = bans_add(broker_bans(o->server->broker), &one);
	pthread_mutex_unlock(&o->server->bans_lock);
	if (err) {
		put_failure(o, err, one.what);
		return;
	}
	if (one.kind == BAN_ADDRESS && address_block_parse(view_of(one.what), &one.block))
		query.from = &one.block;
	else
		query.client_id = one.what;
	n = kick_all(o, query);
	log_order(o, "ban", one.what, n);
	share_ban(o, &one, order);
	put_count(o, n);
}

static void unban(struct order *o, const json_t *order)
{
	struct ban one = {0};
	int err;

	if (!read_ban(o, order, &one))
		return;
	pthread_mutex_lock(&o->server->bans_lock);
	err = bans_remove(broker_bans(o->server->broker), one.kind, one.what);
	pthread_mutex_unlock(&o->server->bans_lock);
	if (err) {
		put_failure(o, err, one.what);
		return;
	}
	log_order(o, "unban", one.what, 1);
	share_ban(o, &one, order);
	order_end(o, CLI_DONE, NULL);
}

/* --- the rest --------------------------------------------------------- */

static void health(struct order *o, const json_t *order)
{
	bool is_ready = admin_ready(o->server->admin, &o->lines);

	(void)order;
	order_end(o, is_ready ? CLI_DONE : CLI_NO, is_ready ? NULL : "not ready");
}

/* A bound for the event: MON-21. */
static bool is_short(struct order *o, const char *text, size_t most)
{
	char *why;

	if (text && strlen(text) <= most)
		return true;
	why = mem_printf("a text of at most %zu bytes is right, a time of at most %zu",
		(size_t)NOTICE_BYTES, (size_t)TIME_BYTES);
	order_end(o, CLI_USAGE, why);
	free(why);
	return false;
}

static void notice(struct order *o, const json_t *order)
{
	struct event_notice_text text = {EVENT_NOTICE, text_in(order, "text"),
		text_in(order, "from"), text_in(order, "until")};

	if (!is_short(o, text.description, NOTICE_BYTES))
		return;
	if (text.from || text.until) { /* MON-27 */
		text.which = EVENT_MAINTENANCE;
		text.from = text.from ? text.from : "..";
		text.until = text.until ? text.until : "..";
		if (!is_short(o, text.from, TIME_BYTES) || !is_short(o, text.until, TIME_BYTES))
			return;
	}
	if (!reports_tell(o->server->reports, NULL, &text)) {
		order_end(o, CLI_NO, "not published: it runs in shadow, or too many events wait");
		return;
	}
	log_order(o, "notice", text.description, 1);
	order_end(o, CLI_DONE, NULL);
}

/* Files that every node of a cluster is to have as they are here; `reload` follows. */
static void changed(struct order *o, const json_t *order)
{
	const json_t *files = json_object_get(order, "files");

	for (size_t i = 0; i < json_array_size(files); i++) {
		const char *name = json_string_value(json_array_get(files, i));

		if (name)
			everywhere_change(o->server->everywhere, name, o->by);
	}
	order_end(o, CLI_DONE, NULL);
}

/* The main thread waits for signals, and reads the files when this one comes. */
static void reload(struct order *o, const json_t *order)
{
	const char *what = text_in(order, "what");

	log_order(o, "reload", what ? what : "", 1);
	kill(getpid(), SIGHUP);
	order_end(o, CLI_DONE, NULL);
}

/* A line now and then, so that who asked goes on waiting. */
static void say_copying(void *context)
{
	struct order *o = context;

	buf_text(&o->lines, "{\"copying\":true}\n");
	(void)o->send(o);
}

/* For `isobar export`: what only this process may read while it runs, in data_dir/snapshot. */
static void snapshot(struct order *o, const json_t *order)
{
	char *dir = mem_printf("%s/snapshot", o->server->config->data_dir);

	(void)order;
	if (broker_snapshot(o->server->broker, dir, say_copying, o) < 0) {
		order_end(o, CLI_ENVIRONMENT, strerror(errno));
	} else {
		log_order(o, "snapshot", dir, 1);
		order_end(o, CLI_DONE, NULL);
	}
	free(dir);
}

static const struct {
	const char *name;
	void (*carry_out)(struct order *o, const json_t *order);
} orders[] = {
	{"clients", list_clients},
	{"kick", kick},
	{"bans", list_bans},
	{"ban", ban},
	{"unban", unban},
	{"notice", notice},
	{"health", health},
	{"changed", changed},
	{"reload", reload},
	{"snapshot", snapshot},
	{"records", order_records},
	{"refused", order_refused},
	{"known", order_known},
};

bool order_is_shared(const json_t *order)
{
	static const char *const shared[] = {"kick", "ban", "unban"};
	const char *name = text_in(order, "order");

	for (size_t i = 0; name && i < sizeof(shared) / sizeof(shared[0]); i++)
		if (strcmp(shared[i], name) == 0)
			return true;
	return false;
}

void order_carry_out(struct order *o, struct view line)
{
	json_t *order = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	const char *name = text_in(order, "order");
	size_t i = 0;

	while (name && i < sizeof(orders) / sizeof(orders[0]) && strcmp(orders[i].name, name) != 0)
		i++;
	if (name && i < sizeof(orders) / sizeof(orders[0]))
		orders[i].carry_out(o, order);
	else
		order_end(o, CLI_USAGE, "this broker knows no such order");
	json_decref(order);
}
