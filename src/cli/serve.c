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

static struct arrival on(const struct worker_listener *l, const struct arrival *a)
{
	struct arrival with = *a;

	with.tls = l->tls;
	return with;
}

static void accept_mqtt(void *context, const struct arrival *a)
{
	struct worker_listener *l = context;
	struct arrival with = on(l, a);

	broker_accept(l->worker->broker, &with);
}

static void accept_websocket(void *context, const struct arrival *a)
{
	struct worker_listener *l = context;
	struct arrival with = on(l, a);

	http_server_accept(l->worker->web, &with);
}

static void accept_http(void *context, const struct arrival *a)
{
	struct worker_listener *l = context;
	struct arrival with = on(l, a);

	admin_accept(l->worker->server->admin, l->worker->loop, &with);
}

static listener_on_accept *const acceptors[] = {
	[URL_MQTT] = accept_mqtt,
	[URL_MQTTS] = accept_mqtt,
	[URL_WS] = accept_websocket,
	[URL_WSS] = accept_websocket,
	[URL_HTTP] = accept_http,
	[URL_HTTPS] = accept_http,
};

static void accept_balanced(void *context, const struct arrival *a)
{
	struct worker_listener *l = context;

	porch_arrive(l->porch, a);
}

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

/* Where TLS is ours, so is the verdict on certificates. */
static enum porch_names names_of(const struct config_listener *l)
{
	if (l->url.tls || !l->client_certificate)
		return PORCH_NAMES_IGNORED;
	return l->client_certificate_required ? PORCH_NAMES_REQUIRED : PORCH_NAMES_TAKEN;
}

static struct porch *make_porch(struct worker_listener *l, const struct served *at)
{
	const struct config_listener *config = &at->config;
	struct server *s = l->worker->server;
	struct porch_settings settings = {
		.names = names_of(config), .counts = &s->porch_counts[l->worker - s->workers]};
	struct address_block *trusted = mem_new(config->proxy_network_count * sizeof(*trusted));
	struct porch *porch;

	for (uint32_t i = 0; i < config->proxy_network_count; i++)
		if (address_block_parse(
			    view_of(config->proxy_networks[i]), &trusted[settings.trusted_count]))
			settings.trusted_count++;
	settings.trusted = trusted;
	porch = porch_new(l->worker->loop, &at->at, &settings, acceptors[config->url.scheme], l);
	free(trusted);
	return porch;
}

static void open_here(struct worker *w, void *argument)
{
	struct opening *o = argument;
	struct worker_listener *l = &o->at->workers[w - o->server->workers];
	bool is_balanced = o->at->config.proxy_network_count > 0;

	l->worker = w;
	l->tls = o->at->tls ? tls_ref(o->at->tls) : NULL;
	o->err = listener_open(&l->listener, w->loop, &o->at->at, o->server->worker_count > 1,
		is_balanced ? accept_balanced : acceptors[o->at->config.url.scheme], l);
	o->why = errno;
	if (o->err < 0)
		return;
	o->at->at = listener_address(l->listener);
	if (is_balanced)
		l->porch = make_porch(l, o->at);
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

static void forget(struct served *at)
{
	tls_unref(at->tls);
	free(at->workers);
	free(at->shown);
	config_listener_fini(&at->config);
	*at = (struct served){0};
}

int served_open(struct server *s, const struct config *c, const struct config_listener *l,
	struct served *out)
{
	char address[ADDRESS_TEXT_BYTES];

	*out = (struct served){0};
	config_listener_copy(&out->config, l);
	out->workers = mem_new(s->worker_count * sizeof(*out->workers));
	if (!address_parse(view_of(l->url.host), l->url.port, &out->at))
		errno = EADDRNOTAVAIL;
	else if (probe(&out->at) == 0 &&
		 (!l->url.tls || (out->tls = certificate_load(s, c, out)) != NULL)) {
		if (open_all(s, out) == 0) {
			address_format(&out->at, address);
			out->shown = mem_printf("%s://%s", url_scheme_name(l->url.scheme), address);
			log_info("cli", "listener", "url=%s%s", out->shown,
				l->proxy_network_count ? " behind=proxy_protocol" : "");
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
	porch_free(l->porch);
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

static bool same_networks(const struct config_listener *a, const struct config_listener *b)
{
	if (a->proxy_network_count != b->proxy_network_count)
		return false;
	for (uint32_t i = 0; i < a->proxy_network_count; i++)
		if (strcmp(a->proxy_networks[i], b->proxy_networks[i]) != 0)
			return false;
	return true;
}

bool served_is(const struct served *at, const struct config_listener *l)
{
	const struct config_listener *have = &at->config;

	return have->url.scheme == l->url.scheme && have->url.port == l->url.port &&
	       same_text(have->url.host, l->url.host) &&
	       same_text(have->certificate, l->certificate) && same_text(have->key, l->key) &&
	       same_text(have->client_ca, l->client_ca) && same_networks(have, l) &&
	       have->client_certificate == l->client_certificate &&
	       have->client_certificate_required == l->client_certificate_required;
}
