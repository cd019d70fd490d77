/* cli/reload.c - SIGHUP: a new configuration without dropping a client that may stay
 *
 * New listeners are opened first: when one cannot be, nothing has changed yet and the old
 * configuration stays. Then everything else follows, which cannot fail.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/server.h"

/* --- what needs a restart --------------------------------------------- */

static bool differ(const char *a, const char *b)
{
	return strcmp(a, b) != 0;
}

static bool bind_differs(const struct config *a, const struct config *b)
{
	if (a->bind_count != b->bind_count)
		return true;
	for (uint32_t i = 0; i < a->bind_count; i++)
		if (differ(a->bind[i], b->bind[i]))
			return true;
	return false;
}

static void warn_restart(const struct config *old, const struct config *new)
{
	const struct {
		const char *key;
		bool changed;
	} rows[] = {
		{"centre_id", differ(old->centre_id, new->centre_id)},
		{"data_dir", differ(old->data_dir, new->data_dir)},
		{"workers", old->workers != new->workers},
		{"journal.keep", old->journal_keep_ms != new->journal_keep_ms},
		{"journal.size", old->journal_size_bytes != new->journal_size_bytes},
		{"journal.sync", old->journal_sync != new->journal_sync ||
					 old->journal_sync_ms != new->journal_sync_ms},
		{"antiloop.window", old->window_ms != new->window_ms},
		{"antiloop.ids", old->ids != new->ids},
		{"antiloop.compatible", old->compatible != new->compatible},
		{"bind", bind_differs(old, new)},
		{"cluster", config_cluster_differs(&old->cluster, &new->cluster)},
		{"shadow", old->shadow != new->shadow},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].changed)
			log_warn("cli", "needs_restart", "key=%s", rows[i].key);
}

/* --- listeners -------------------------------------------------------- */

static struct served *find_served(struct server *s, const struct config_listener *l)
{
	for (uint32_t i = 0; i < s->served_count; i++)
		if (s->served[i].workers && served_is(&s->served[i], l))
			return &s->served[i];
	return NULL;
}

/* An address in use under other settings is free only once that one is closed. */
static void close_replaced(struct server *s, const struct config_listener *l)
{
	for (uint32_t i = 0; i < s->served_count; i++) {
		const struct url *url = &s->served[i].config.url;

		if (s->served[i].workers && l->url.port && url->port == l->url.port &&
			strcmp(url->host, l->url.host) == 0)
			served_close(s, &s->served[i]);
	}
}

/* Opens what is new into fresh[]; those kept are moved there at the end. */
static int open_new(struct server *s, const struct config *new, struct served *fresh)
{
	for (uint32_t i = 0; i < new->listener_count; i++) {
		if (find_served(s, &new->listeners[i]))
			continue;
		close_replaced(s, &new->listeners[i]);
		if (served_open(s, new, &new->listeners[i], &fresh[i]) < 0)
			return ERR_SYSTEM;
	}
	return 0;
}

/* After a failure: the new ones go, and what was closed for them comes back. */
static void take_back(struct server *s, const struct config *new, struct served *fresh)
{
	for (uint32_t i = 0; i < new->listener_count; i++)
		served_close(s, &fresh[i]);
	for (uint32_t i = 0; i < s->config->listener_count; i++)
		if (i < s->served_count && s->served[i].workers == NULL &&
			find_served(s, &s->config->listeners[i]) == NULL)
			(void)served_open(s, s->config, &s->config->listeners[i], &s->served[i]);
}

static void keep_listeners(struct server *s, const struct config *new, struct served *fresh)
{
	for (uint32_t i = 0; i < new->listener_count; i++) {
		struct served *have = fresh[i].workers ? NULL : find_served(s, &new->listeners[i]);

		if (have) {
			fresh[i] = *have;
			*have = (struct served){0};
		}
	}
}

static void close_old(struct server *s)
{
	for (uint32_t i = 0; i < s->served_count; i++) {
		if (s->served[i].workers)
			log_info("cli", "listener_closed", "url=%s", s->served[i].shown);
		served_close(s, &s->served[i]);
	}
	free(s->served);
}

/* --- the whole -------------------------------------------------------- */

static void apply(struct server *s, struct config *new)
{
	struct hierarchy *hierarchy = server_hierarchy(new);
	struct config *old = s->config;
	struct librarian_rules rules = server_librarian_rules(new);
	struct broker_settings broker;

	warn_restart(old, new);
	if (differ(hierarchy_version(old->hierarchy), hierarchy_version(new->hierarchy)))
		log_info("cli", "topic_hierarchy", "version=%s before=%s",
			hierarchy_version(new->hierarchy), hierarchy_version(old->hierarchy));
	new->shadow = old->shadow;
	s->config = new;
	broker = server_broker_settings(new, hierarchy);
	broker_apply(s->broker, &broker);
	server_tell_admin(s);
	reports_set_hierarchy(s->reports, hierarchy);
	librarian_apply(s->librarian, &rules);
	upgrade_apply(s, new);
	admin_set_hierarchy(s->admin, hierarchy);
	sources_set_hierarchy(s->sources, hierarchy);
	sources_apply(s->sources, new->sources, new->source_count);
	server_publish(s);
	server_share_sources(s);
	certificates_look(s, true);
	log_configure(new->log_level, new->log_json);
	hierarchy_unref(hierarchy);
	config_free(old);
}

int server_reload(struct server *s, struct config **config)
{
	struct config *new = *config;
	struct served *fresh = mem_new((new->listener_count + 1) * sizeof(*fresh));

	*config = NULL;
	if (open_new(s, new, fresh) < 0) {
		take_back(s, new, fresh);
		free(fresh);
		config_free(new);
		return ERR_SYSTEM;
	}
	keep_listeners(s, new, fresh);
	close_old(s);
	s->served = fresh;
	s->served_count = new->listener_count;
	apply(s, new);
	server_await_turns(s); /* whoever reads "reloaded" finds it in force on every worker */
	log_info("cli", "reloaded", "file=%s sources=%u accounts=%u listeners=%u",
		new->file ? new->file : "built-in", new->source_count, new->accounts->count,
		s->served_count);
	return 0;
}
