/* cli/certificate.c - certificates of the listeners: loaded, replaced while running, watched until they end
 *
 * What new connections of a listener get is one TLS context; it is made anew when one of its files has
 * changed, and the old one goes with the last connection that began with it. Ticket keys are the
 * server's, so that sessions are resumed across all of this.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/server.h"

#define DAY_S 86400
#define WARN_FROM_S (30 * DAY_S)
#define WARN_EVERY_MS (DAY_S * 1000ull)

/* --- files ------------------------------------------------------------ */

static struct file_mark mark_of(const char *path)
{
	struct stat status;

	if (path == NULL || stat(path, &status) < 0)
		return (struct file_mark){.size = -1};
	return (struct file_mark){status.st_mtim, status.st_ino, status.st_size};
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
	return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->inode == b->inode && a->size == b->size;
}

static bool has_changed(const struct config *c, struct served *at)
{
	const char *paths[3] = {config_certificate(c, &at->config), config_key_file(c, &at->config),
		config_client_ca(c, &at->config)};
	bool changed = false;

	for (int i = 0; i < 3; i++) {
		struct file_mark now = mark_of(paths[i]);

		changed |= !same_mark(&now, &at->marks[i]);
		at->marks[i] = now;
	}
	return changed;
}

struct tls_context *certificate_load(struct server *s, const struct config *c, struct served *at)
{
	bool is_mqtt = at->config.url.scheme == URL_MQTTS;
	struct tls_server_settings settings = {
		.certificate = config_certificate(c, &at->config),
		.key = config_key_file(c, &at->config),
		.client_ca = config_client_ca(c, &at->config),
		.client_certificate_required = at->config.client_certificate_required,
		.alpn = is_mqtt ? "mqtt" : "http/1.1",
		.tickets = s->tickets,
	};
	struct tls_context *context = NULL;
	char *why = NULL;

	(void)has_changed(c, at);
	if (tls_server_new(&context, &settings, &why) == 0)
		return context;
	log_error("cli", "certificate_refused", "listener=%s why=\"%s\"%s",
		at->shown ? at->shown : at->config.text, why ? why : "",
		at->tls ? ": the one in force stays" : "");
	free(why);
	return NULL;
}

/* --- replacing -------------------------------------------------------- */

struct tls_change {
	struct served *at;
	struct server *server;
};

static void change_tls(struct worker *w, void *argument)
{
	struct tls_change *change = argument;
	struct worker_listener *l = &change->at->workers[w - change->server->workers];

	tls_unref(l->tls);
	l->tls = tls_ref(change->at->tls);
}

static void renew(struct server *s, struct served *at)
{
	struct tls_context *fresh = certificate_load(s, s->config, at);

	if (fresh == NULL)
		return;
	tls_unref(at->tls);
	at->tls = fresh;
	at->warned_ms = 0;
	for (uint32_t n = 0; n < s->worker_count; n++)
		server_on_loop(&s->workers[n], change_tls, &(struct tls_change){at, s});
	log_info("cli", "certificate_loaded", "listener=%s file=%s expires=%lld", at->shown,
		config_certificate(s->config, &at->config), (long long)tls_expires(fresh));
}

/* --- watching --------------------------------------------------------- */

/* Once a day from 30 days before its end, and after it. */
static void warn_of_end(const struct config *c, struct served *at, uint64_t now_ms)
{
	int64_t left = tls_expires(at->tls) - (int64_t)(clock_wall_ms() / 1000);
	const char *file = config_certificate(c, &at->config);

	if (left >= WARN_FROM_S || (at->warned_ms && now_ms - at->warned_ms < WARN_EVERY_MS))
		return;
	at->warned_ms = now_ms;
	if (left > 0)
		log_warn("cli", "certificate_expires", "listener=%s file=%s days=%lld", at->shown,
			file, (long long)(left / DAY_S));
	else
		log_error("cli", "certificate_expired", "listener=%s file=%s: clients refuse it",
			at->shown, file);
}

static void show_ends(struct server *s)
{
	struct admin_certificate *list = mem_new((s->served_count + 1) * sizeof(*list));
	unsigned n = 0;

	for (uint32_t i = 0; i < s->served_count; i++) {
		struct served *at = &s->served[i];

		if (at->tls)
			list[n++] = (struct admin_certificate){at->shown,
				config_certificate(s->config, &at->config), tls_expires(at->tls)};
	}
	admin_set_certificates(s->admin, list, n);
	free(list);
}

void certificates_look(struct server *s, bool always)
{
	uint64_t now_ms = clock_mono_ms();

	tls_tickets_turn(s->tickets, now_ms);
	for (uint32_t i = 0; i < s->served_count; i++) {
		struct served *at = &s->served[i];

		if (at->tls && (always || has_changed(s->config, at)))
			renew(s, at);
		if (at->tls)
			warn_of_end(s->config, at, now_ms);
	}
	show_ends(s);
}
