/* source/probe.c - the way back from a backup address
 *
 *     connected by a later address --> pause --> look up and connect to the first, say nothing, close
 *                                        ^                  |
 *                                        +-- failed, or reached for the first time
 *                                                           | reached twice in a row
 *                                                           v
 *                                     DISCONNECT, and begin again with the first address
 *
 * Nothing is lost by it: both brokers keep a session for this client, so what the first published
 * meanwhile waits there, and what is not yet acknowledged here stays here. When the first address
 * takes connections but not ours, the source comes back to the backup, and each such setback doubles
 * the pause.
 */
#include "base/error.h"
#include "base/log.h"
#include "source/internal.h"

#define REACHED_ENOUGH 2u
#define SETBACKS_COUNTED 6u /* the pause grows to 64 times its length */

static struct source *source_of(struct source_probe *p)
{
	return container_of(p, struct source, probe);
}

static void pause(struct source_probe *p)
{
	struct source *s = source_of(p);

	timer_start(s->worker->loop, &p->timer, s->set->times.probe_ms << p->setbacks);
}

static void note(struct source_probe *p, bool reached)
{
	struct source *s = source_of(p);

	p->reached = reached ? p->reached + 1 : 0;
	if (p->reached < REACHED_ENOUGH) {
		pause(p);
		return;
	}
	log_info("source", "returns", "name=%s to its first address, which can be reached again",
		s->name);
	p->reached = 0;
	p->returning = true;
	source_acknowledge(s);
	source_say_disconnect(s, 0);
	source_drop(s, NEXT_ROUND, 0, NULL);
}

static void on_open(struct conn *c)
{
	struct source_probe *p = container_of(c, struct source_probe, conn);

	p->is_open = true;
	conn_close(c, 0, NULL);
}

static ssize_t on_bytes(struct conn *c, const uint8_t *bytes, size_t n)
{
	(void)c;
	(void)bytes;
	return (ssize_t)n;
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct source_probe *p = container_of(c, struct source_probe, conn);

	(void)err;
	(void)why;
	p->has_conn = false;
	note(p, p->is_open);
}

static const struct conn_handler handler = {
	.on_open = on_open, .on_bytes = on_bytes, .on_close = on_close};

static void on_answer(void *context, const struct address *addresses, int n, const char *why)
{
	struct source_probe *p = context;
	struct source *s = source_of(p);
	const struct address *to = &addresses[n > 0 ? p->turn++ % (unsigned)n : 0];
	struct conn_options options = {.url = &p->url};
	struct address room;

	(void)why;
	p->query = NULL;
	p->is_open = false;
	if (n > 0 && conn_open(&p->conn, s->worker->loop, to, source_local_for(s, to, &room),
			     p->url.tls ? s->setup->tls : NULL, p->url.tls ? p->url.host : NULL,
			     &options, &handler) == 0) {
		p->has_conn = true;
		timer_start(s->worker->loop, &p->timer, s->set->times.handshake_ms);
	} else {
		note(p, false);
	}
}

static void on_time(struct timer *t)
{
	struct source_probe *p = container_of(t, struct source_probe, timer);
	struct source *s = source_of(p);
	const char *why;

	if (p->has_conn)
		conn_close(&p->conn, ERR_TIMEOUT, NULL);
	else if (url_parse(view_of(s->setup->config.endpoints[0].url), &p->url, &why) == 0)
		p->query = resolve_start(
			s->set->resolver, s->worker->loop, p->url.host, p->url.port, on_answer, p);
}

void source_probe_init(struct source_probe *p)
{
	p->timer.on_time = on_time;
}

void source_probe_begin(struct source *s)
{
	struct source_probe *p = &s->probe;
	bool is_first = s->endpoint_at <= 1;

	if (is_first)
		p->setbacks = 0;
	else if (p->returning && p->setbacks < SETBACKS_COUNTED)
		p->setbacks++;
	p->returning = false;
	p->reached = 0;
	if (!is_first)
		pause(p);
}

void source_probe_end(struct source *s)
{
	struct source_probe *p = &s->probe;

	timer_stop(s->worker->loop, &p->timer);
	if (p->query)
		resolve_cancel(p->query);
	p->query = NULL;
	if (p->has_conn)
		conn_abort(&p->conn);
	p->has_conn = false;
}
