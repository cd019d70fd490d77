/* net/resolve.c
 *
 * A query is, in turn, waiting (in the queue), asked (a thread calls getaddrinfo()),
 * answered (posted to its loop) and told. It always stands in one of the resolver's
 * two lists until it is freed, so that resolver_free() finds all of them.
 *
 * getaddrinfo() may take as long as the name servers' time limits; nobody waits for
 * its threads: they hold a reference, and the last one out frees the resolver.
 */
#include "net/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define THREADS 2

struct resolver {
	pthread_mutex_t lock; /* all that follows, and `link` and `asked` of queries */
	pthread_cond_t more;
	struct list waiting;
	struct list others; /* asked or answered */
	unsigned refs;      /* the owner and the threads */
	bool started;
	bool ended;
};

struct resolve_query {
	struct task task;
	struct list link;
	struct resolver *resolver;
	struct loop *loop;
	resolve_on_answer *on_answer;
	void *context;
	char *host;
	uint16_t port;
	bool asked;     /* a thread works with it: not to be freed by others */
	bool cancelled; /* the loop's thread only */
	int count;
	const char *why;
	struct address addresses[RESOLVE_ADDRESSES];
};

/* --- the threads ------------------------------------------------------- */

static void query_free(struct resolve_query *q)
{
	free(q->host);
	free(q);
}

static void take_addresses(struct resolve_query *q, const struct addrinfo *found)
{
	for (; found && q->count < RESOLVE_ADDRESSES; found = found->ai_next) {
		if (found->ai_addrlen > sizeof(struct address))
			continue;
		memcpy(&q->addresses[q->count++], found->ai_addr, found->ai_addrlen);
	}
	if (q->count == 0)
		q->why = "no usable address";
}

static void look_up(struct resolve_query *q)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char port[8];
	int result;

	snprintf(port, sizeof(port), "%u", q->port);
	result = getaddrinfo(q->host, port, &hints, &found);
	if (result == 0)
		take_addresses(q, found);
	else
		q->why = gai_strerror(result);
	if (found)
		freeaddrinfo(found);
}

/* Under the lock. */
static void unref(struct resolver *r)
{
	bool last = --r->refs == 0;

	pthread_mutex_unlock(&r->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->more);
	free(r);
}

static struct resolve_query *next_query(struct resolver *r)
{
	struct resolve_query *q;

	while (list_is_empty(&r->waiting) && !r->ended)
		pthread_cond_wait(&r->more, &r->lock);
	if (r->ended)
		return NULL;
	q = container_of(r->waiting.next, struct resolve_query, link);
	list_remove(&q->link);
	list_append(&r->others, &q->link);
	q->asked = true;
	return q;
}

static void *run_thread(void *context)
{
	struct resolver *r = context;
	struct resolve_query *q;

	pthread_mutex_lock(&r->lock);
	while ((q = next_query(r)) != NULL) {
		pthread_mutex_unlock(&r->lock);
		look_up(q);
		pthread_mutex_lock(&r->lock);
		q->asked = false;
		if (r->ended)
			query_free(q); /* its loop may be gone */
		else
			loop_post(q->loop, &q->task);
	}
	unref(r);
	return NULL;
}

/* Signals are for the threads that expect them. Under the lock. */
static void start_threads(struct resolver *r)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < THREADS; i++) {
		pthread_t id;

		if (pthread_create(&id, &attr, run_thread, r) == 0)
			r->refs++;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	r->started = r->refs > 1;
}

/* --- the owner's side -------------------------------------------------- */

struct resolver *resolver_new(void)
{
	struct resolver *r = mem_new(sizeof(*r));

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->more, NULL);
	list_init(&r->waiting);
	list_init(&r->others);
	r->refs = 1;
	return r;
}

static void free_queries(struct list *queries)
{
	struct list *at = queries->next;

	while (at != queries) {
		struct resolve_query *q = container_of(at, struct resolve_query, link);

		at = at->next;
		list_remove(&q->link);
		if (!q->asked)
			query_free(q);
	}
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	free_queries(&r->waiting);
	free_queries(&r->others);
	pthread_cond_broadcast(&r->more);
	unref(r);
}

static void leave(struct resolve_query *q)
{
	pthread_mutex_lock(&q->resolver->lock);
	list_remove(&q->link);
	pthread_mutex_unlock(&q->resolver->lock);
}

static void on_posted(struct task *t)
{
	struct resolve_query *q = container_of(t, struct resolve_query, task);

	leave(q);
	if (!q->cancelled)
		q->on_answer(q->context, q->addresses, q->count, q->why);
	query_free(q);
}

static void enqueue(struct resolver *r, struct resolve_query *q)
{
	pthread_mutex_lock(&r->lock);
	if (!r->started)
		start_threads(r);
	list_append(r->started ? &r->waiting : &r->others, &q->link);
	if (r->started) {
		pthread_cond_signal(&r->more);
	} else {
		q->why = "no thread for the name look-up";
		loop_post(q->loop, &q->task);
	}
	pthread_mutex_unlock(&r->lock);
}

/* What needs no look-up: an address, or "localhost", which is always the loopback whatever the
 * machine's files say (RFC 6761, section 6.3). */
static int parse_known(const char *host, uint16_t port, struct address *out)
{
	if (address_parse(view_of(host), port, &out[0]))
		return 1;
	if (strcasecmp(host, "localhost") != 0)
		return 0;
	address_parse(VIEW("127.0.0.1"), port, &out[0]);
	address_parse(VIEW("::1"), port, &out[1]);
	return 2;
}

static void answer_known(struct resolver *r, struct resolve_query *q)
{
	pthread_mutex_lock(&r->lock);
	list_append(&r->others, &q->link);
	pthread_mutex_unlock(&r->lock);
	loop_post(q->loop, &q->task);
}

struct resolve_query *resolve_start(struct resolver *r, struct loop *l, const char *host,
	uint16_t port, resolve_on_answer *on_answer, void *context)
{
	struct resolve_query *q = mem_new(sizeof(*q));

	q->task.run = on_posted;
	list_init(&q->link);
	q->resolver = r;
	q->loop = l;
	q->on_answer = on_answer;
	q->context = context;
	q->host = mem_text(host);
	q->port = port;
	q->count = parse_known(host, port, q->addresses);
	if (q->count)
		answer_known(r, q);
	else
		enqueue(r, q);
	return q;
}

static bool is_waiting(const struct resolver *r, const struct resolve_query *q)
{
	for (const struct list *at = r->waiting.next; at != &r->waiting; at = at->next)
		if (at == &q->link)
			return true;
	return false;
}

void resolve_cancel(struct resolve_query *q)
{
	struct resolver *r;
	bool waiting;

	if (q == NULL)
		return;
	r = q->resolver;
	pthread_mutex_lock(&r->lock);
	waiting = is_waiting(r, q);
	if (waiting)
		list_remove(&q->link);
	pthread_mutex_unlock(&r->lock);
	q->cancelled = true;
	if (waiting)
		query_free(q);
}
