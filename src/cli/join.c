/* cli/join.c - this machine's part in a cluster: what the cluster asks of the server, and tells it */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/everywhere.h"
#include "cli/server.h"
#include "cluster/cluster.h"
#include "cluster/tally_book.h"
#include "commit/retaining.h"
#include "commit/roaming.h"
#include "commit/sharing.h"

#define SPOOL_PART 4 /* of journal.size, may lie in the spool */

static void on_holding(void *context, const char *source, uint32_t slot, bool is_voice)
{
	struct server *s = context;

	sources_hold(s->sources, view_of(source), slot == CLUSTER_NOT_HELD ? SOURCE_NOT_HELD : slot,
		is_voice);
}

void join_sessions(struct server *s)
{
	struct roaming_host host = broker_roaming_host(s->broker);
	struct roaming roaming = cluster_roaming(s->cluster, &host);
	struct sharing_host sharing_host = broker_sharing_host(s->broker);
	struct sharing sharing = cluster_sharing(s->cluster, &sharing_host);
	struct retaining_host retaining_host = broker_retaining_host(s->broker);
	struct sys_annex annex = admin_annex(s->cluster);

	broker_set_roaming(s->broker, &roaming);
	broker_set_sharing(s->broker, &sharing);
	broker_set_annex(s->broker, &annex);
	cluster_set_retaining(s->cluster, &retaining_host);
}

void join_targets(struct server *s)
{
	struct sharing_host host = publisher_sharing_host(s->publisher);
	struct sharing sharing = cluster_targets(s->cluster, &host);

	publisher_set_sharing(s->publisher, &sharing);
}

static void on_source(void *context, const struct source_view *v)
{
	const struct source_figures *f = v->figures;
	const struct tally one = {.source = v->name,
		.centre = v->centre_id,
		.connected = count_read(&f->connected) != 0,
		.is_held = count_read(&f->holder) != 0,
		.is_voice = count_read(&f->is_voice) != 0,
		.slot = (uint32_t)(count_read(&f->holder) - 1),
		.figures = {
			[TALLY_RECEIVED] = count_read(&f->received),
			[TALLY_PUBLISHED] = count_read(&f->published),
			[TALLY_INVALID_TOPIC] = count_read(&f->checks[CHECK_TOPIC]),
			[TALLY_INVALID_FORMAT] = count_read(&f->checks[CHECK_MESSAGE]),
			[TALLY_NO_METADATA] = count_read(&f->checks[CHECK_METADATA]),
			[TALLY_REPEATS] = count_read(&f->duplicates),
			[TALLY_AHEAD] = count_read(&f->ahead),
			[TALLY_LAST_MS] = count_read(&f->last_message_ms),
		}};

	tally_book_add(context, &one);
}

/* The thread of the cluster ends before the sources go. */
static void on_tally(void *context, struct tally_book *book)
{
	struct server *s = context;

	sources_each(s->sources, on_source, book);
}

static void add_source(void *context, const struct source_view *v)
{
	struct cluster_vitals *out = context;
	const struct source_figures *f = v->figures;

	out->received += count_read(&f->received) + count_read(&f->standby_received);
	out->sources_held += count_read(&f->holder) != 0;
	out->sources_connected += count_read(&f->connected) != 0;
}

static void on_vitals(void *context, struct cluster_vitals *out)
{
	struct server *s = context;
	struct broker_figures b;
	struct commit_figures c;
	struct journal_figures j;

	broker_figures(s->broker, &b);
	commit_figures(s->commit, &c);
	journal_figures(commit_journal(s->commit), &j);
	out->uptime_ms = clock_mono_ms() - s->started_ms;
	out->sessions = b.sessions;
	out->offline = b.sessions_offline;
	out->behind = b.behind;
	out->received = b.received;
	out->published = c.first;
	out->delivered = b.delivered;
	out->journal_failed = j.failed;
	out->journal_held = j.held;
	sources_each(s->sources, add_source, out);
}

static void on_order(void *context, struct view text)
{
	struct server *s = context;

	everywhere_take(s->everywhere, text);
}

void server_share_sources(struct server *s)
{
	const struct config *c = s->config;
	const char **names = mem_new((c->source_count + 1) * sizeof(*names));
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->source_count; i++)
		if (c->sources[i].enabled)
			names[n++] = c->sources[i].name;
	if (s->cluster)
		cluster_set_sources(s->cluster, names, n);
	free(names);
}

int join_cluster(struct server *s)
{
	const struct config *c = s->config;
	const struct config_cluster *from = &c->cluster;
	char *dir = mem_printf("%s/cluster", c->data_dir);
	struct cluster_settings settings = {
		.commit = s->commit,
		.resolver = s->resolver = resolver_new(),
		.redis = from->redis,
		.redis_count = from->redis_count,
		.tls_ca = from->tls_ca,
		.tls_verify = from->tls_verify,
		.node = from->node,
		.dir = dir,
		.version = ISOBAR_VERSION,
		.on_holding = on_holding,
		.on_tally = on_tally,
		.on_order = on_order,
		.on_vitals = on_vitals,
		.context = s,
		.roles = config_cluster_roles(from),
		.replicas = from->replicas,
		.advertise = from->advertise,
		.window_ms = c->window_ms,
		.stream_keep_ms = from->stream_keep_ms,
		.stream_bytes = from->stream_bytes,
		.acknowledge = from->acknowledge,
		.on_failure = from->on_failure,
		.compatible = c->compatible,
		.spool_bytes = c->journal_size_bytes / SPOOL_PART,
		.sync = c->journal_sync,
		.sync_ms = c->journal_sync_ms,
	};
	char *why = NULL;
	int err = 0;

	if (from->redis_count) {
		s->everywhere = everywhere_new(s);
		err = cluster_new(&s->cluster, &settings, &why);
	}
	if (err < 0)
		log_error("cli", "cannot_join_cluster", "why=\"%s\"", why ? why : err_text(err));
	free(why);
	free(dir);
	return err;
}
