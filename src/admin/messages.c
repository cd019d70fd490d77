/* /api/v1/messages: what has been published, as pages of one document each
 *
 *     request --> question --> history's thread adds to the collection --> the answer, later
 *
 * The request is held meanwhile (net/http_server.h); the document is made on that thread. What may be
 * under way is bounded: questions waiting (broker/history.h), bytes of answers that their readers have
 * not taken yet, answers per address.
 */
#include <stdlib.h>

#include "admin/collection.h"
#include "admin/internal.h"
#include "admin/messages_query.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/addresses.h"
#include "broker/history.h"

#define UNSENT_MOST (64u << 20)    /* bytes of answers of one worker */
#define PER_ADDRESS_MOST 4u        /* held or being sent, of one worker */
#define LATER "Retry-After: 1\r\n" /* RFC 9110, section 10.2.3 */

struct messages {
	struct admin_server *server;
	struct list asked;
};

/* One request held. */
struct asked {
	struct list link;
	struct messages *messages;
	struct http_hold *hold;
	struct messages_query query;
	struct history_question question;
	struct collection collection;
	uint64_t payload_bytes;
};

/* --- refusals --------------------------------------------------------- */

struct refusal {
	int code; /* an error, or an end */
	int status;
	const char *extra;
	const char *text;
};

static const struct refusal not_asked[] = {
	{ERR_BUSY, 503, NULL, "this Global Broker runs in shadow and serves nobody"},
	{ERR_ADMIN, 403, NULL, "this address is banned"},
	{ERR_NOT_FOUND, 403, NULL, "this account may not replay"},
	{ERR_DENIED, 403, NULL, "topic is not wholly inside what this account may read"},
	{ERR_RATE, 429, LATER,
		"the account's messages or bytes a second are used up; ask again later"},
	{0, 500, NULL, "not answered"},
};

static const struct refusal too_much = {
	0, 503, LATER, "too many requests for messages at once; ask again later"};
static const struct refusal too_many_of_one = {
	0, 429, LATER, "too many requests for messages from one address at once; ask again later"};

static const struct refusal not_found[] = {
	{HISTORY_GONE, 410, NULL,
		"the messages behind `after` have been removed, or are older than this account may "
		"replay; begin again with `since`"},
	{HISTORY_NOT_OURS, 400, NULL,
		"after is no position of this journal; begin again with `since`"},
	{HISTORY_DONE, 500, NULL, "not answered"},
};

/* rows: up to one whose code is `last`. */
static const struct refusal *find_refusal(const struct refusal *rows, int code, int last)
{
	while (rows->code != code && rows->code != last)
		rows++;
	return rows;
}

static void refuse(struct http_answer *answer, const struct refusal *why)
{
	answer->extra = why->extra;
	answer_fail(answer, why->status, why->text);
}

/* --- answers ---------------------------------------------------------- */

static void asked_free(struct asked *k)
{
	list_remove(&k->link);
	history_spend(&k->question, k->collection.count, k->payload_bytes);
	collection_fini(&k->collection);
	messages_query_fini(&k->query);
	free(k);
}

static bool on_record(struct history_question *q, const struct history_record *r)
{
	struct asked *k = container_of(q, struct asked, question);
	uint32_t before = k->collection.count;

	if (!collection_add(&k->collection, r->topic, r->time_ms, r->payload))
		return false;
	if (k->collection.count > before)
		k->payload_bytes += r->payload.n;
	return true;
}

static void write_page(struct asked *k, struct http_answer *answer)
{
	struct buf next = {0};

	answer->status = 200;
	answer->type = collection_type(k->query.form);
	if (k->question.end == HISTORY_MORE) {
		messages_query_write(&k->query, k->question.next, &next);
		buf_printf(&answer->fields, "Link: <%.*s>; rel=\"next\"\r\n", /* RFC 8288 */
			VIEW_ARG(buf_view(&next)));
	}
	/* Where who polls goes on, also behind the last page. */
	buf_printf(&answer->fields, "Isobar-After: %llx\r\nCache-Control: no-store\r\n",
		(unsigned long long)k->question.next);
	collection_finish(&k->collection, buf_view(&next), clock_wall_ms(), &answer->body);
	buf_fini(&next);
}

static void on_answer(struct history_question *q)
{
	struct asked *k = container_of(q, struct asked, question);
	struct http_answer answer = {0};

	if (q->end == HISTORY_DONE || q->end == HISTORY_MORE) {
		atomic_fetch_add_explicit(&k->messages->server->admin->messages_served,
			k->collection.count, memory_order_relaxed);
		write_page(k, &answer);
	} else {
		refuse(&answer, find_refusal(not_found, (int)q->end, HISTORY_DONE));
	}
	http_server_answer(k->hold, &answer);
	asked_free(k);
}

/* --- requests --------------------------------------------------------- */

/* NULL: there is room for one more. */
static const struct refusal *find_load(const struct messages *m, const struct http_request *r)
{
	struct http_server_load load = http_server_load(m->server->http, r->peer);

	if (load.unsent_bytes >= UNSENT_MOST)
		return &too_much;
	/* A proxy on this machine is many clients. */
	if (load.of_peer >= PER_ADDRESS_MOST && !address_key_is_loopback(address_key(r->peer)))
		return &too_many_of_one;
	return NULL;
}

/* NULL: it is asked. */
static const struct refusal *ask(struct asked *k, const struct http_request *r)
{
	struct admin_server *s = k->messages->server;
	struct broker_worker *w = broker_worker_of(s->admin->settings.broker, s->loop);
	struct view topic =
		buf_length(&k->query.topic) ? buf_view(&k->query.topic) : (struct view){NULL, 0};
	int err = history_set_account(&k->question, w, r->peer, s->user, topic);

	if (err < 0)
		return find_refusal(not_asked, err, 0);
	k->question.filter = topic.p ? topic : VIEW("#");
	k->question.from = k->query.after;
	k->question.since_ms = k->query.since_ms;
	k->question.until_ms = k->query.until_ms;
	k->question.take = on_record;
	k->question.on_answer = on_answer;
	k->collection.form = k->query.form;
	k->collection.limit = k->query.limit;
	return history_ask(s->admin->history, s->loop, &k->question) < 0 ? &too_much : NULL;
}

void messages_answer(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	const struct journal *j = commit_journal(s->admin->settings.commit);
	struct messages *m = s->messages;
	const struct refusal *why = find_load(m, r);
	struct messages_query query;
	struct asked *k;
	const char *fault;

	if (messages_query_read(r->query, journal_now(j), &query, &fault) < 0) {
		answer_fail(answer, 400, fault);
		return;
	}
	k = mem_new(sizeof(*k));
	k->messages = m;
	k->query = query;
	list_append(&m->asked, &k->link);
	if (why == NULL)
		why = ask(k, r);
	if (why == NULL) {
		k->hold = http_server_hold(r);
		return;
	}
	refuse(answer, why);
	asked_free(k);
}

/* --- life ------------------------------------------------------------- */

struct messages *messages_new(struct admin_server *s)
{
	struct messages *m = mem_new(sizeof(*m));

	m->server = s;
	list_init(&m->asked);
	return m;
}

void messages_free(struct messages *m)
{
	while (!list_is_empty(&m->asked)) {
		struct asked *k = container_of(m->asked.next, struct asked, link);

		http_server_release(k->hold);
		asked_free(k);
	}
	free(m);
}
