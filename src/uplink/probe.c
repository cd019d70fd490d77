/* uplink/probe.c - the way back from a backup address
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
 * takes connections but not ours, the client comes back to the backup, and each such setback doubles
 * the pause.
 */
#include "base/error.h"
#include "base/log.h"
#include "uplink/uplink.h"

#define REACHED_ENOUGH 2u
#define SETBACKS_COUNTED 6u /* the pause grows to 64 times its length */

static struct uplink *uplink_of(struct uplink_probe *p)
{
	return container_of(p, struct uplink, probe);
}

static void pause(struct uplink_probe *p)
{
	struct uplink *u = uplink_of(p);

	timer_start(u->loop, &p->timer, u->means->times.probe_ms << p->setbacks);
}

static void note(struct uplink_probe *p, bool reached)
{
	struct uplink *u = uplink_of(p);

	p->reached = reached ? p->reached + 1 : 0;
	if (p->reached < REACHED_ENOUGH) {
		pause(p);
		return;
	}
	log_info(u->handler->room, "returns", "%s to its first address, which can be reached again",
		u->label);
	p->reached = 0;
	p->returning = true;
	uplink_leave(u);
}

static void on_open(struct conn *c)
{
	struct uplink_probe *p = container_of(c, struct uplink_probe, conn);

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
	struct uplink_probe *p = container_of(c, struct uplink_probe, conn);

	(void)err;
	(void)why;
	p->has_conn = false;
	note(p, p->is_open);
}

static const struct conn_handler handler = {
	.on_open = on_open, .on_bytes = on_bytes, .on_close = on_close};

static void on_answer(void *context, const struct address *addresses, int n, const char *why)
{
	struct uplink_probe *p = context;
	struct uplink *u = uplink_of(p);
	const struct address *to = &addresses[n > 0 ? p->turn++ % (unsigned)n : 0];
	struct conn_options options = {.url = &p->url};

	(void)why;
	p->query = NULL;
	p->is_open = false;
	if (n > 0 && conn_open(&p->conn, u->loop, to, uplink_local_for(u, to),
			     p->url.tls ? u->plan->tls[0].context : NULL,
			     p->url.tls ? p->url.host : NULL, &options, &handler) == 0) {
		p->has_conn = true;
		timer_start(u->loop, &p->timer, u->means->times.handshake_ms);
	} else {
		note(p, false);
	}
}

static void on_time(struct timer *t)
{
	struct uplink_probe *p = container_of(t, struct uplink_probe, timer);
	struct uplink *u = uplink_of(p);
	const char *why;

	if (p->has_conn)
		conn_close(&p->conn, ERR_TIMEOUT, NULL);
	else if (url_parse(view_of(u->plan->endpoints[0].url), &p->url, &why) == 0 &&
		 (!p->url.tls || u->plan->tls[0].context))
		p->query = resolve_start(
			u->means->resolver, u->loop, p->url.host, p->url.port, on_answer, p);
}

void uplink_probe_init(struct uplink_probe *p)
{
	p->timer.on_time = on_time;
}

void uplink_probe_begin(struct uplink *u)
{
	struct uplink_probe *p = &u->probe;
	bool is_first = u->endpoint_at <= 1;

	if (is_first)
		p->setbacks = 0;
	else if (p->returning && p->setbacks < SETBACKS_COUNTED)
		p->setbacks++;
	p->returning = false;
	p->reached = 0;
	if (!is_first)
		pause(p);
}

void uplink_probe_end(struct uplink *u)
{
	struct uplink_probe *p = &u->probe;

	timer_stop(u->loop, &p->timer);
	if (p->query)
		resolve_cancel(p->query);
	p->query = NULL;
	if (p->has_conn)
		conn_abort(&p->conn);
	p->has_conn = false;
}
