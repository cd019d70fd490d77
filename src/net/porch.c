/* net/porch.c
 *
 * Bytes are looked at without taking them (MSG_PEEK) until the header is whole, then just the header is
 * taken. A balancer sends it with its first segment, so as a rule it is there at once or at the first edge,
 * and one that comes in many pieces is looked at again for each, all of PROXY_HEADER_MOST at most.
 */
#include "net/porch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/proxy_header.h"

#define LIMIT_MS 10000u
#define WAITING_MOST 4096u
#define LOG_EVERY_MS 10000u
#define NAME_BYTES 256u /* of a common name, and the NUL (at most 64 characters by X.520) */

struct porch {
	struct loop *loop;
	listener_on_accept *on_accept;
	void *context;
	struct address_block *trusted;
	uint32_t trusted_count;
	uint32_t limit_ms;
	uint32_t most;
	uint32_t count;
	enum porch_names names;
	struct list waiting;
	struct porch_counts *counts;
	struct log_limit limits[PORCH_REFUSAL_COUNT];
	char at[ADDRESS_TEXT_BYTES];
};

/* Somebody trusted whose header is not whole yet. */
struct guest {
	struct io io;
	struct list link;
	struct timer limit;
	struct porch *porch;
	struct address peer;
};

const char *porch_refusal_text(enum porch_refusal r)
{
	static const char *const words[] = {
#define X(name, word) word,
		PORCH_REFUSALS(X)
#undef X
	};

	return words[r];
}

static void refuse(
	struct porch *p, const struct address *peer, enum porch_refusal reason, const char *why)
{
	char address[ADDRESS_TEXT_BYTES];
	uint64_t skipped;

	count_add(&p->counts->refused[reason], 1);
	if (!log_allowed(&p->limits[reason], loop_now_ms(p->loop), LOG_EVERY_MS, &skipped))
		return;
	address_format(peer, address);
	log_warn("net", "proxy_refused", "listener=%s peer=%s reason=%s why=\"%s\" more=%llu",
		p->at, address, porch_refusal_text(reason), why, (unsigned long long)skipped);
}

/* --- the header -------------------------------------------------------- */

enum look {
	LOOK_AGAIN, /* more has to come */
	LOOK_GONE,  /* closed by its other end, or refused */
	LOOK_WHOLE,
};

/* What is in the socket stays there. */
static enum look look(struct porch *p, int fd, const struct address *peer,
	struct proxy_header *header, size_t *used)
{
	uint8_t *bytes = loop_scratch(p->loop);
	const char *why = NULL;
	ssize_t n;

	do
		n = recv(fd, bytes, PROXY_HEADER_MOST, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return LOOK_AGAIN;
	if (n <= 0)
		return LOOK_GONE;
	n = proxy_header_parse(bytes, (size_t)n, header, &why);
	if (n < 0)
		refuse(p, peer, PORCH_HEADER, why);
	if (n <= 0)
		return n < 0 ? LOOK_GONE : LOOK_AGAIN;
	*used = (size_t)n;
	return LOOK_WHOLE;
}

/* Into bytes that are not the header's, whose texts are still in use. */
static bool take_header(struct porch *p, int fd, size_t n)
{
	uint8_t *behind = loop_scratch(p->loop) + PROXY_HEADER_MOST;

	return recv(fd, behind, n, MSG_DONTWAIT) == (ssize_t)n;
}

static void log_header(
	const struct porch *p, const struct address *peer, const struct proxy_header *h)
{
	char via[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
	char alpn[LOG_QUOTE_BYTES], authority[LOG_QUOTE_BYTES], name[LOG_QUOTE_BYTES];

	if (!log_enabled(LOG_DEBUG))
		return;
	address_format(peer, via);
	address_format(h->has_client ? &h->client : peer, client);
	log_debug("net", "proxied",
		"listener=%s via=%s client=%s tls=%d alpn=%s authority=%s name=%s", p->at, via,
		client, h->tls, log_quote(h->alpn.p, h->alpn.n, alpn),
		log_quote(h->authority.p, h->authority.n, authority),
		log_quote(h->name.p, h->name.n, name));
}

/* Nobody's name: "" */
static void copy_name(const struct porch *p, struct view name, char out[NAME_BYTES])
{
	size_t n = p->names != PORCH_NAMES_IGNORED && name.n < NAME_BYTES ? name.n : 0;

	if (n)
		memcpy(out, name.p, n);
	out[n] = '\0';
}

/* Takes fd. */
static void let_in(struct porch *p, int fd, const struct address *peer,
	const struct proxy_header *h, size_t used)
{
	char name[NAME_BYTES];
	struct arrival a = {
		.fd = fd, .peer = h->has_client ? &h->client : peer, .tls_before = h->tls};

	if (!take_header(p, fd, used)) {
		close(fd);
		return;
	}
	log_header(p, peer, h);
	copy_name(p, h->name, name);
	if (p->names == PORCH_NAMES_REQUIRED && name[0] == '\0') {
		refuse(p, a.peer, PORCH_CERTIFICATE,
			"the load balancer names no verified client certificate");
		close(fd);
		return;
	}
	a.name = name[0] ? name : NULL;
	p->on_accept(p->context, &a);
}

/* --- those who wait ---------------------------------------------------- */

/* Gives the descriptor, which is in no loop any more. */
static int guest_free(struct guest *g)
{
	int fd = g->io.fd;

	timer_stop(g->porch->loop, &g->limit);
	loop_remove(g->porch->loop, &g->io);
	list_remove(&g->link);
	g->porch->count--;
	free(g);
	return fd;
}

static void on_ready(struct io *io, unsigned what)
{
	struct guest *g = container_of(io, struct guest, io);
	struct porch *p = g->porch;
	struct address peer = g->peer;
	struct proxy_header header;
	size_t used;
	enum look seen = look(p, io->fd, &peer, &header, &used);

	if (seen == LOOK_WHOLE)
		let_in(p, guest_free(g), &peer, &header, used);
	else if (seen == LOOK_GONE || what & IO_HANGUP) /* nothing more comes */
		close(guest_free(g));
}

static void on_late(struct timer *t)
{
	struct guest *g = container_of(t, struct guest, limit);

	refuse(g->porch, &g->peer, PORCH_LATE, "the PROXY header did not come in time");
	close(guest_free(g));
}

/* Takes fd. */
static void let_wait(struct porch *p, int fd, const struct address *peer)
{
	struct guest *g;

	if (p->count >= p->most) {
		refuse(p, peer, PORCH_CROWDED, "too many wait for their PROXY header");
		close(fd);
		return;
	}
	g = mem_new(sizeof(*g));
	g->io = (struct io){fd, on_ready};
	g->limit.on_time = on_late;
	g->porch = p;
	g->peer = *peer;
	if (loop_add(p->loop, &g->io) < 0) {
		close(fd);
		free(g);
		return;
	}
	list_append(&p->waiting, &g->link);
	p->count++;
	timer_start(p->loop, &g->limit, p->limit_ms);
}

static bool is_trusted(const struct porch *p, const struct address *peer)
{
	for (uint32_t i = 0; i < p->trusted_count; i++)
		if (address_is_in(peer, &p->trusted[i]))
			return true;
	return false;
}

void porch_arrive(struct porch *p, const struct arrival *a)
{
	struct proxy_header header;
	size_t used;
	enum look seen;

	if (!is_trusted(p, a->peer)) {
		refuse(p, a->peer, PORCH_UNTRUSTED, "not in proxy_protocol_from");
		close(a->fd);
		return;
	}
	seen = look(p, a->fd, a->peer, &header, &used);
	if (seen == LOOK_WHOLE)
		let_in(p, a->fd, a->peer, &header, used);
	else if (seen == LOOK_AGAIN)
		let_wait(p, a->fd, a->peer);
	else
		close(a->fd);
}

/* --- life -------------------------------------------------------------- */

struct porch *porch_new(struct loop *l, const struct address *at,
	const struct porch_settings *settings, listener_on_accept *on_accept, void *context)
{
	struct porch *p = mem_new(sizeof(*p));

	p->loop = l;
	p->on_accept = on_accept;
	p->context = context;
	p->trusted = mem_new((settings->trusted_count + 1) * sizeof(*p->trusted));
	p->trusted_count = settings->trusted_count;
	for (uint32_t i = 0; i < p->trusted_count; i++)
		p->trusted[i] = settings->trusted[i];
	p->names = settings->names;
	p->limit_ms = settings->limit_ms ? settings->limit_ms : LIMIT_MS;
	p->most = settings->most ? settings->most : WAITING_MOST;
	p->counts = settings->counts;
	list_init(&p->waiting);
	address_format(at, p->at);
	return p;
}

void porch_free(struct porch *p)
{
	if (p == NULL)
		return;
	while (!list_is_empty(&p->waiting))
		close(guest_free(container_of(p->waiting.next, struct guest, link)));
	free(p->trusted);
	free(p);
}
