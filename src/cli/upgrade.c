/* cli/upgrade.c - from an HTTP request to an MQTT client: WebSocket on every kind of listener
 *
 *     http, https --> admin --> upgrade_answer() --.
 *     ws, wss ------> worker->web -----------------+--> 101 --> take() --> broker
 *
 * The rooms between which a connection changes hands know nothing of each other: net/ makes frames,
 * admin asks us first, the broker gets a connection like any other.
 *
 * **Invariant:** a worker's rules are read and changed on its loop only.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/server.h"
#include "mqtt/packet.h"
#include "net/conn.h"

static size_t packet_bytes(const uint8_t *p, size_t n)
{
	int64_t length = mqtt_packet_length(p, n, UINT32_MAX);

	return length > 0 ? (size_t)length : 0;
}

static void take(void *context, struct conn *c)
{
	struct worker *w = context;

	conn_begin_websocket(c, packet_bytes);
	broker_accept_open(w->broker, c);
}

static bool answer_at(struct worker *w, const struct http_request *r, struct http_answer *answer)
{
	answer->take = take;
	answer->take_context = w;
	return websocket_answer(&w->rules, r, answer);
}

bool upgrade_answer(
	void *context, struct loop *l, const struct http_request *r, struct http_answer *answer)
{
	struct server *s = context;

	for (uint32_t i = 0; i < s->worker_count; i++)
		if (s->workers[i].loop == l)
			return answer_at(&s->workers[i], r, answer);
	return false;
}

/* On ws and wss there is nothing else. */
static void on_request(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer)
{
	(void)body;
	if (answer_at(context, r, answer))
		return;
	answer->status = 404;
	answer->type = "text/plain; charset=utf-8";
	buf_text(&answer->body, "404 Not Found: MQTT over WebSocket is at another path\n");
}

/* --- rules ------------------------------------------------------------ */

static char **copy_texts(char *const *texts, uint32_t n)
{
	char **copy = mem_new((n + 1) * sizeof(*copy));

	for (uint32_t i = 0; i < n; i++)
		copy[i] = mem_text(texts[i]);
	return copy;
}

static void free_texts(char *const *texts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(texts[i]);
	free((char **)(uintptr_t)texts);
}

static void free_rules(struct websocket_rules *r)
{
	free_texts(r->paths, r->path_count);
	free_texts(r->origins, r->origin_count);
	*r = (struct websocket_rules){0};
}

static void change_rules(struct worker *w, void *argument)
{
	const struct config *c = argument;

	http_server_set_most(w->web, c->limits.connections);
	free_rules(&w->rules);
	w->rules = (struct websocket_rules){
		.paths = copy_texts(c->websocket_paths, c->websocket_path_count),
		.path_count = c->websocket_path_count,
		.origins = copy_texts(c->websocket_origins, c->websocket_origin_count),
		.origin_count = c->websocket_origin_count,
	};
}

void upgrade_apply(struct server *s, const struct config *c)
{
	for (uint32_t i = 0; i < s->worker_count; i++)
		server_on_loop(&s->workers[i], change_rules, (void *)(uintptr_t)c);
}

/* --- life ------------------------------------------------------------- */

void upgrade_start(struct server *s)
{
	/* A crowd that comes back at once is in the TLS handshake for a while. */
	struct http_server_settings settings = {.connections_most = s->config->limits.connections};

	for (uint32_t i = 0; i < s->worker_count; i++) {
		struct worker *w = &s->workers[i];

		w->web = http_server_new(w->loop, &settings, on_request, w);
	}
	upgrade_apply(s, s->config);
}

void upgrade_stop(struct server *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++) {
		http_server_free(s->workers[i].web);
		s->workers[i].web = NULL;
		free_rules(&s->workers[i].rules);
	}
}
