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
#define WARN_EVERY_MS (DAY_S * 1000ull)
#define PATIENCE_MS 10000u /* with files that do not fit */

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

static const char *certificate_of(const struct config *c, const struct served *at)
{
	return at->is_own ? c->own_certificate : config_certificate(c, &at->config);
}

static const char *key_of(const struct config *c, const struct served *at)
{
	return at->is_own ? c->own_key : config_key_file(c, &at->config);
}

static bool has_changed(const struct config *c, struct served *at)
{
	const char *paths[3] = {
		certificate_of(c, at), key_of(c, at), config_client_ca(c, &at->config)};
	bool changed = false;

	for (int i = 0; i < 3; i++) {
		struct file_mark now = mark_of(paths[i]);

		changed |= !same_mark(&now, &at->marks[i]);
		at->marks[i] = now;
	}
	return changed;
}

static bool make_own(const struct config *c, char **why)
{
	int made = own_certificate_keep(c, why);

	if (made > 0)
		log_info("cli", "certificate_made", "file=%s", c->own_certificate);
	return made >= 0;
}

/* NULL: *why is a text to free(). */
static struct tls_context *load(
	struct server *s, const struct config *c, struct served *at, char **why)
{
	bool is_mqtt = at->config.url.scheme == URL_MQTTS;
	struct tls_server_settings settings = {
		.certificate = certificate_of(c, at),
		.key = key_of(c, at),
		.client_ca = config_client_ca(c, &at->config),
		.client_certificate_required = at->config.client_certificate_required,
		.alpn = is_mqtt ? "mqtt" : "http/1.1",
		.tickets = s->tickets,
	};
	struct tls_context *context = NULL;

	if (at->is_own && !make_own(c, why))
		return NULL;
	(void)has_changed(c, at);
	return tls_server_new(&context, &settings, why) == 0 ? context : NULL;
}

static const char *name_of(const struct served *at)
{
	return at->shown ? at->shown : at->config.text;
}

static void tell_refused(const struct served *at, const char *why)
{
	log_error("cli", "certificate_refused", "listener=%s why=\"%s\"%s", name_of(at),
		why ? why : "", at->tls ? ": the one in force stays" : "");
}

static void tell_self_signed(
	const struct config *c, const struct served *at, const struct tls_context *t)
{
	if (tls_is_self_signed(t))
		log_warn("cli", "self_signed",
			"listener=%s file=%s: clients cannot verify it; get one and set "
			"tls.certificate and tls.key",
			name_of(at), certificate_of(c, at));
}

struct tls_context *certificate_load(struct server *s, const struct config *c, struct served *at)
{
	char *why = NULL;
	struct tls_context *context;

	at->is_own = config_lacks_certificate(c, &at->config);
	context = load(s, c, at, &why);
	if (context)
		tell_self_signed(c, at, context);
	else
		tell_refused(at, why);
	free(why);
	return context;
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

/* Whoever replaces key and chain one after the other is given time. */
static void on_misfit(struct served *at, const char *why, bool at_once, uint64_t now_ms)
{
	if (at->misfit_ms == 0)
		at->misfit_ms = now_ms;
	if (at->misfit_told || (!at_once && now_ms - at->misfit_ms < PATIENCE_MS))
		return;
	at->misfit_told = true;
	tell_refused(at, why);
}

static void take(struct server *s, struct served *at, struct tls_context *fresh)
{
	tls_unref(at->tls);
	at->tls = fresh;
	at->warned_ms = 0;
	at->misfit_ms = 0;
	at->misfit_told = false;
	for (uint32_t n = 0; n < s->worker_count; n++)
		server_on_loop(&s->workers[n], change_tls, &(struct tls_change){at, s});
	log_info("cli", "certificate_loaded", "listener=%s file=%s expires=%lld", at->shown,
		certificate_of(s->config, at), (long long)tls_expires(fresh));
	tell_self_signed(s->config, at, fresh);
}

static void renew(struct server *s, struct served *at, bool at_once, uint64_t now_ms)
{
	char *why = NULL;
	struct tls_context *fresh = load(s, s->config, at, &why);

	if (fresh)
		take(s, at, fresh);
	else
		on_misfit(at, why, at_once, now_ms);
	free(why);
}

/* --- watching --------------------------------------------------------- */

/* Once a day from 30 days before its end, and after it. */
static void warn_of_end(const struct config *c, struct served *at, uint64_t now_ms)
{
	int64_t left = tls_expires(at->tls) - (int64_t)(clock_wall_ms() / 1000);
	const char *file = certificate_of(c, at);

	if (left >= CERTIFICATE_WARN_S || (at->warned_ms && now_ms - at->warned_ms < WARN_EVERY_MS))
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
			list[n++] =
				(struct admin_certificate){at->shown, certificate_of(s->config, at),
					tls_expires(at->tls), tls_is_self_signed(at->tls)};
	}
	admin_set_certificates(s->admin, list, n);
	free(list);
}

/* Is there something to load: other files, those that did not fit the last time, or one of ours near its end? */
static bool is_due(const struct config *c, struct served *at, bool always)
{
	int64_t left = tls_expires(at->tls) - (int64_t)(clock_wall_ms() / 1000);

	/* A real one that is away for a moment is no reason to go back to one of ours. */
	at->is_own = config_lacks_certificate(c, &at->config) && (at->is_own || always);
	if (has_changed(c, at)) {
		at->misfit_ms = 0;
		at->misfit_told = false;
		return true;
	}
	return always || at->misfit_ms || (left < CERTIFICATE_WARN_S && at->is_own);
}

void certificates_look(struct server *s, bool always)
{
	uint64_t now_ms = clock_mono_ms();

	tls_tickets_turn(s->tickets, now_ms);
	for (uint32_t i = 0; i < s->served_count; i++) {
		struct served *at = &s->served[i];

		if (at->tls && is_due(s->config, at, always))
			renew(s, at, always, now_ms);
		if (at->tls)
			warn_of_end(s->config, at, now_ms);
	}
	show_ends(s);
}
