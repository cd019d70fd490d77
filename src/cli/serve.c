/* cli/serve.c - listeners of all workers
 *
 * Every worker has its own socket on the same address (SO_REUSEPORT), so the kernel spreads the
 * connections. A first bind without SO_REUSEPORT finds out whether somebody else is there already:
 * with it, two brokers of the same user would share the clients between them unnoticed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/server.h"

/* --- opening ---------------------------------------------------------- */

static void accept_mqtt(void *context, int fd, const struct address *peer)
{
	struct worker_listener *l = context;

	broker_accept(l->worker->broker, fd, peer, l->tls);
}

static void accept_websocket(void *context, int fd, const struct address *peer)
{
	struct worker_listener *l = context;

	http_server_accept(l->worker->web, fd, peer, l->tls);
}

static void accept_http(void *context, int fd, const struct address *peer)
{
	struct worker_listener *l = context;

	admin_accept(l->worker->server->admin, l->worker->loop, fd, peer, l->tls);
}

static listener_on_accept *const acceptors[] = {
	[URL_MQTT] = accept_mqtt,
	[URL_MQTTS] = accept_mqtt,
	[URL_WS] = accept_websocket,
	[URL_WSS] = accept_websocket,
	[URL_HTTP] = accept_http,
	[URL_HTTPS] = accept_http,
};

static int cannot_listen(const struct config_listener *l)
{
	log_error("cli", "cannot_listen", "url=%s why=\"%s\"", l->text, strerror(errno));
	return ERR_SYSTEM;
}

/* Fails with EADDRINUSE when anybody listens there, whatever options they set. */
static int probe(const struct address *at)
{
	int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	int why;

	if (fd < 0)
		return ERR_SYSTEM;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (at->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &at->any, address_length(at)) < 0) {
		why = errno;
		close(fd);
		errno = why;
		return ERR_SYSTEM;
	}
	close(fd);
	return 0;
}

struct opening {
	struct server *server;
	struct served *at;
	int err;
	int why;
};

static void open_here(struct worker *w, void *argument)
{
	struct opening *o = argument;
	struct worker_listener *l = &o->at->workers[w - o->server->workers];

	l->worker = w;
	l->tls = o->at->tls ? tls_ref(o->at->tls) : NULL;
	o->err = listener_open(&l->listener, w->loop, &o->at->at, o->server->worker_count > 1,
		acceptors[o->at->config.url.scheme], l);
	o->why = errno;
	if (o->err == 0)
		o->at->at = listener_address(l->listener);
}

/* Port 0 is a free one for the first worker and that same one for the others. */
static int open_all(struct server *s, struct served *at)
{
	struct opening o = {s, at, 0, 0};

	for (uint32_t i = 0; i < s->worker_count && o.err == 0; i++)
		server_on_loop(&s->workers[i], open_here, &o);
	errno = o.why;
	return o.err;
}

static char *copy(const char *text)
{
	return mem_text(text);
}

static void copy_listener(struct config_listener *to, const struct config_listener *from)
{
	*to = *from;
	to->text = copy(from->text);
	to->certificate = copy(from->certificate);
	to->key = copy(from->key);
	to->client_ca = copy(from->client_ca);
}

static void forget(struct served *at)
{
	tls_unref(at->tls);
	free(at->workers);
	free(at->shown);
	free(at->config.text);
	free(at->config.certificate);
	free(at->config.key);
	free(at->config.client_ca);
	*at = (struct served){0};
}

int served_open(struct server *s, const struct config *c, const struct config_listener *l,
	struct served *out)
{
	char address[ADDRESS_TEXT_BYTES];

	*out = (struct served){0};
	copy_listener(&out->config, l);
	out->workers = mem_new(s->worker_count * sizeof(*out->workers));
	if (!address_parse(view_of(l->url.host), l->url.port, &out->at))
		errno = EADDRNOTAVAIL;
	else if (probe(&out->at) == 0 &&
		 (!l->url.tls || (out->tls = certificate_load(s, c, out)) != NULL)) {
		if (open_all(s, out) == 0) {
			address_format(&out->at, address);
			out->shown = mem_printf("%s://%s", url_scheme_name(l->url.scheme), address);
			log_info("cli", "listener", "url=%s", out->shown);
			return 0;
		}
	}
	if (!l->url.tls || out->tls)
		cannot_listen(l);
	served_close(s, out);
	return ERR_SYSTEM;
}

static void close_here(struct worker *w, void *argument)
{
	struct opening *o = argument;
	struct worker_listener *l = &o->at->workers[w - o->server->workers];

	if (l->listener)
		listener_close(l->listener);
	tls_unref(l->tls);
	*l = (struct worker_listener){0};
}

void served_close(struct server *s, struct served *at)
{
	if (at->workers == NULL)
		return;
	for (uint32_t i = 0; i < s->worker_count; i++)
		server_on_loop(&s->workers[i], close_here, &(struct opening){s, at, 0, 0});
	forget(at);
}

/* --- comparing -------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool served_is(const struct served *at, const struct config_listener *l)
{
	const struct config_listener *have = &at->config;

	return have->url.scheme == l->url.scheme && have->url.port == l->url.port &&
	       same_text(have->url.host, l->url.host) &&
	       same_text(have->certificate, l->certificate) && same_text(have->key, l->key) &&
	       same_text(have->client_ca, l->client_ca) &&
	       have->client_certificate == l->client_certificate &&
	       have->client_certificate_required == l->client_certificate_required;
}
