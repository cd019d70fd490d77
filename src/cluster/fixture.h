/* cluster/fixture.h - for *_test.c only: a Redis of one machine that answers as each test wants
 *
 *     module under test --> struct redis --> played: notes the command, serve() --> played_say()
 *
 * What belongs to the connection (CLUSTER SLOTS, SCRIPT LOAD, READONLY, PING, WAIT and the mark before it), and INFO memory, is
 * answered here, unless `first` does it; all else is noted, and the test's. With `is_silent` nothing is answered any more; a
 * visit that is_blocked reads no further until played_unblock(); played_cut() ends all connections. A
 * second machine is made by played_listen(). A call of a script is noted as "EVALSHA KEY ARGUMENT ...", a command of more words as it
 * came, each with a line end, a NUL as '~'.
 */
#ifndef CLUSTER_FIXTURE_H
#define CLUSTER_FIXTURE_H

#include "net/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cluster/core.h"
#include "net/conn.h"
#include "net/listener.h"

#define PLAYED_VISITS_MOST 256u

struct played;

/* A connection to it. */
struct played_visit {
	struct conn conn;
	struct played *played;
	struct resp_reader *reader;
	bool is_blocked;
	bool is_closed;
	unsigned marks; /* the test's */
};

/* c: the command, borrowed; a script's key and arguments begin at item 3. */
typedef void played_serve(struct played_visit *v, const struct resp *c);

struct played {
	struct loop *loop;
	struct resolver *resolver;
	struct redis *redis; /* the client, to this machine */
	struct listener *listener;
	struct tls_context *tls; /* NULL: plain */
	uint16_t port;
	struct played_visit *visits[PLAYED_VISITS_MOST];
	uint32_t visit_count;
	bool (*first)(struct played_visit *v,
		const struct resp *c); /* true: it was the test's; may be NULL */
	played_serve *serve;
	void *context;
	const struct played *lower,
		*upper; /* who has which half of the slots; NULL: this one all */
	struct buf asked;
	uint32_t replicas;  /* that WAIT finds */
	const char *memory; /* what INFO memory says; NULL: that it has no bound */
	uint32_t waits;
	bool is_silent;
};

/* --- answers ------------------------------------------------------------ */

static inline void played_say(struct played_visit *v, const char *text)
{
	conn_push(&v->conn, text, strlen(text));
}

static inline void played_integer(struct played_visit *v, int64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), ":%lld\r\n", (long long)n);
	played_say(v, text);
}

static inline void played_bulk(struct played_visit *v, struct view text)
{
	struct buf b = {0};

	buf_printf(&b, "$%zu\r\n", text.n);
	buf_append(&b, text.p, text.n);
	buf_text(&b, "\r\n");
	conn_push(&v->conn, buf_bytes(&b), buf_length(&b));
	buf_fini(&b);
}

/* Its n elements follow. */
static inline void played_array(struct played_visit *v, uint32_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "*%u\r\n", n);
	played_say(v, text);
}

/* --- what was asked ------------------------------------------------------- */

static inline struct view played_word(const struct resp *c, uint32_t i)
{
	return i < c->count ? c->items[i].text : (struct view){NULL, 0};
}

static inline bool played_is(const struct resp *c, const char *word)
{
	return view_equal(played_word(c, 0), view_of(word));
}

/* What is written before WAIT (cluster/mark.h). */
static inline bool played_is_mark(const struct resp *c)
{
	struct view key = c->count == 5 ? c->items[1].text : VIEW("");

	return played_is(c, "SET") && key.n > 6 && memcmp(key.p + key.n - 6, "}:mark", 6) == 0;
}

static inline void played_note(struct played *p, const struct resp *c)
{
	bool is_script = played_is(c, "EVALSHA");

	for (uint32_t i = 0; i < c->count; i++) {
		struct view word = c->items[i].text;

		if (is_script && (i == 1 || i == 2))
			continue;
		buf_text(&p->asked, i ? " " : "");
		for (size_t k = 0; k < word.n; k++)
			buf_printf(&p->asked, "%c", word.p[k] ? word.p[k] : '~');
	}
	buf_text(&p->asked, "\n");
}

static inline bool played_was_asked(const struct played *p, const char *text)
{
	return memmem(buf_bytes(&p->asked), buf_length(&p->asked), text, strlen(text)) != NULL;
}

/* How often this stands in what was asked. */
static inline uint32_t played_count(const struct played *p, const char *text)
{
	struct view rest = buf_view(&p->asked);
	const char *at;
	uint32_t n = 0;

	for (; rest.n && (at = memmem(rest.p, rest.n, text, strlen(text))) != NULL; n++)
		rest = view_skip(rest, (size_t)(at - rest.p) + strlen(text));
	return n;
}

/* Exactly this was gathered; then nothing is. */
static inline void expect_text(struct buf *gathered, const char *want)
{
	buf_append(gathered, "", 1);
	assert_string_equal((const char *)buf_bytes(gathered), want);
	buf_clear(gathered);
}

/* Exactly so often. */
static inline void played_expect(const struct played *p, const char *text, uint32_t n)
{
	if (played_count(p, text) != n)
		print_error("wanted %u times: %s\nwas asked:\n%.*s", n, text,
			VIEW_ARG(buf_view(&p->asked)));
	assert_int_equal(played_count(p, text), n);
}

struct played_wish {
	const struct played *played;
	const char *text;
	uint32_t n;
};

static inline bool played_has(void *wish)
{
	const struct played_wish *w = wish;

	return played_count(w->played, w->text) >= w->n;
}

/* Until this was asked n times since the last buf_clear(&p->asked). */
static inline void played_await(struct played *p, const char *text, uint32_t n)
{
	struct played_wish wish = {p, text, n};

	drive_until(p->loop, played_has, &wish);
}

/* What the client was given and has not told the end of. */
static inline uint64_t played_open_requests(const struct played *p)
{
	const struct redis_figures *f = redis_figures(p->redis);

	return count_read(&f->submitted) - count_read(&f->answered) - count_read(&f->failed);
}

static inline bool played_is_settled(void *wish)
{
	const struct played_wish *w = wish;

	return played_open_requests(w->played) == w->n;
}

/* Until all requests but so many, which the test has left without an answer, have ended. */
static inline void played_settle(struct played *p, uint32_t n)
{
	struct played_wish wish = {p, NULL, n};

	drive_until(p->loop, played_is_settled, &wish);
}

static inline void played_on_filler_done(struct redis_request *q, int err)
{
	(void)err;
	buf_fini(&q->command);
	free(q);
}

/* The client takes nothing more, until the loop has run. */
static inline void played_fill(struct played *p)
{
	struct redis_request *q;

	do {
		q = mem_new(sizeof(*q));
		q->on_done = played_on_filler_done;
		resp_words(&q->command, "PING");
	} while (redis_submit(p->redis, 0, q) == 0);
	played_on_filler_done(q, 0);
}

/* --- the machine ------------------------------------------------------------ */

static inline void played_slots(struct played_visit *v)
{
	const struct played *p = v->played;
	char text[128];

	if (p->lower)
		snprintf(text, sizeof(text),
			"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
			"*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
			p->lower->port, p->upper->port);
	else
		snprintf(text, sizeof(text),
			"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", p->port);
	played_say(v, text);
}

static inline void played_obey(struct played_visit *v, const struct resp *c)
{
	struct played *p = v->played;

	if (p->first && p->first(v, c))
		return;
	if (played_is(c, "CLUSTER"))
		played_slots(v);
	else if (played_is(c, "SCRIPT"))
		played_say(v, "$1\r\nx\r\n");
	else if (played_is(c, "READONLY") || played_is(c, "PING") || played_is_mark(c))
		played_say(v, "+OK\r\n");
	else if (played_is(c, "INFO") && view_equal(played_word(c, 1), VIEW("memory")))
		played_bulk(v, view_of(p->memory ? p->memory : "maxmemory:0\r\n"));
	else if (played_is(c, "WAIT")) {
		p->waits++;
		played_integer(v, p->replicas);
	} else {
		played_note(p, c);
		p->serve(v, c);
	}
}

static inline void played_obey_all(struct played_visit *v)
{
	const struct resp *command;

	while (!v->is_blocked && v->conn.state == CONN_OPEN && resp_next(v->reader, &command) > 0)
		played_obey(v, command);
}

static inline ssize_t played_on_bytes(struct conn *c, const uint8_t *bytes, size_t n)
{
	struct played_visit *v = container_of(c, struct played_visit, conn);

	if (v->played->is_silent)
		return (ssize_t)n;
	resp_feed(v->reader, bytes, n);
	played_obey_all(v);
	return (ssize_t)n;
}

/* Says this to all who are blocked, and goes on. */
static inline void played_unblock(struct played *p, const char *answer)
{
	for (uint32_t i = 0; i < p->visit_count; i++) {
		struct played_visit *v = p->visits[i];

		if (!v->is_blocked || v->is_closed)
			continue;
		v->is_blocked = false;
		played_say(v, answer);
		played_obey_all(v);
		conn_flush(&v->conn);
	}
}

static inline void played_on_close(struct conn *c, int err, const char *why)
{
	(void)err, (void)why;
	container_of(c, struct played_visit, conn)->is_closed = true;
}

static const struct conn_handler played_handler = {
	.on_bytes = played_on_bytes, .on_close = played_on_close};

static inline void played_on_accept(void *context, const struct arrival *a)
{
	struct played *p = context;
	struct played_visit *v = mem_new(sizeof(*v));
	struct conn_options options = {0};

	v->played = p;
	v->reader = resp_reader_new(1u << 20);
	assert_true(p->visit_count < PLAYED_VISITS_MOST);
	p->visits[p->visit_count++] = v;
	assert_int_equal(conn_accept(&v->conn, p->loop,
				 &(struct arrival){.fd = a->fd, .peer = a->peer, .tls = p->tls},
				 &options, &played_handler),
		0);
}

/* All connections end, as when the machine is restarted; it takes new ones. */
static inline void played_cut(struct played *p)
{
	for (uint32_t i = 0; i < p->visit_count; i++) {
		if (!p->visits[i]->is_closed)
			conn_close(&p->visits[i]->conn, 0, NULL);
	}
}

/* p is zero but for what the test wants of it; a machine without a client of its own. */
static inline void played_listen(struct played *p, struct loop *loop)
{
	struct address at = loopback(0);

	p->loop = loop;
	assert_int_equal(listener_open(&p->listener, loop, &at, true, played_on_accept, p), 0);
	at = listener_address(p->listener);
	p->port = address_port(&at);
}

/* p is zero but for what the test wants of it. config: what is to differ, NULL: nothing. */
static inline void played_open(struct played *p, const struct redis_config *config)
{
	struct redis_seed seed = {"127.0.0.1", 0};
	struct redis_config c = config ? *config : (struct redis_config){0};

	played_listen(p, loop_new());
	p->resolver = resolver_new();
	seed.port = p->port;
	c.loop = p->loop;
	c.resolver = p->resolver;
	c.seeds = &seed;
	c.seed_count = 1;
	if (c.pause_most_ms == 0)
		c.pause_most_ms = 20;
	p->redis = redis_new(&c);
}

/* First the client, which tells ERR_SHUTDOWN to what is under way; then the modules are freed; then
 * played_close(). */
static inline void played_end_client(struct played *p)
{
	if (p->redis)
		redis_free(p->redis);
	p->redis = NULL;
}

/* After played_listen(). */
static inline void played_hang_up(struct played *p)
{
	listener_close(p->listener);
	for (uint32_t i = 0; i < p->visit_count; i++) {
		if (!p->visits[i]->is_closed)
			conn_abort(&p->visits[i]->conn);
		resp_reader_free(p->visits[i]->reader);
		free(p->visits[i]);
	}
	buf_fini(&p->asked);
}

static inline void played_close(struct played *p)
{
	played_end_client(p);
	played_hang_up(p);
	loop_free(p->loop);
	resolver_free(p->resolver);
}

#endif
