/* cluster/cluster.c - the thread: loop, Redis client, modules; what is seen of them: cluster/cluster_view.c
 *
 *     searching --> Redis answers, {isobar}:cluster is of our kind --> modules begin --> serving
 *                                                      is not: nothing is written, degraded
 *
 * {isobar}:cluster is "<version> <shards>", written by the first node that comes. Another number of
 * shards would put an id elsewhere, where it has not been seen.
 */
#include "cluster/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/cluster_inside.h"
#include "cluster/follower.h"
#include "cluster/groups.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/mend.h"
#include "cluster/orders.h"
#include "cluster/sessions.h"
#include "cluster/tally.h"
#include "cluster/writer.h"
#include "net/address.h"
#include "net/tls.h"

#define CLUSTER_KEY "{isobar}:cluster"
#define CLUSTER_FORMAT 1
#define LOOK_EVERY_MS 250u
#define AGREE_EVERY_MS 1000u
#define FINISH_MS 1000u

#define SCRIPTS (1 + MEMBERS_SCRIPTS + SESSIONS_SCRIPTS + 1 + ORDERS_SCRIPTS + 1)

/* --- is it of our kind? ---------------------------------------------------- */

static void begin_modules(struct cluster *c)
{
	census_begin(c->core.census);
	writer_begin(c->writer);
	follower_begin(c->follower);
	members_begin(c->members);
	mail_begin(c->mail);
	sessions_begin(c->sessions);
	tally_begin(c->tallies);
	orders_begin(c->orders);
	groups_begin(c->groups);
	groups_begin(c->targets);
}

static void on_agreement(struct redis_request *q, const struct resp *reply)
{
	struct cluster *c = container_of(q, struct cluster, agree);
	char quoted[LOG_QUOTE_BYTES];
	enum cluster_kind before = c->kind;

	if (reply->type == RESP_NIL ||
		(reply->type == RESP_STRING && view_equal(reply->text, view_of(c->agreed_on))))
		c->kind = KIND_OURS;
	else if (reply->type == RESP_STRING)
		c->kind = KIND_OTHER;
	if (c->kind == KIND_OTHER && before != KIND_OTHER)
		log_error("cluster", "other_cluster",
			"%s=%s wanted=\"%s\": nothing is written there", CLUSTER_KEY,
			log_quote(reply->text.p, reply->text.n, quoted), c->agreed_on);
}

static void on_agreement_done(struct redis_request *q, int err)
{
	struct cluster *c = container_of(q, struct cluster, agree);

	if (err == ERR_SHUTDOWN)
		return;
	if (c->kind == KIND_OURS)
		begin_modules(c);
	else
		timer_start(c->core.loop, &c->agree_timer, AGREE_EVERY_MS);
}

static void ask_agreement(struct timer *t)
{
	struct cluster *c = container_of(t, struct cluster, agree_timer);

	if (redis_submit(c->core.redis, slot_of(VIEW(CLUSTER_KEY)), &c->agree) != 0)
		timer_start(c->core.loop, t, AGREE_EVERY_MS);
}

static void agreement_init(struct cluster *c)
{
	snprintf(c->agreed_on, sizeof(c->agreed_on), "%d %u", CLUSTER_FORMAT, c->core.shards);
	c->agree.repeatable = true;
	c->agree.on_reply = on_agreement;
	c->agree.on_done = on_agreement_done;
	resp_begin(&c->agree.command, 5);
	resp_bytes(&c->agree.command, VIEW("SET"));
	resp_bytes(&c->agree.command, VIEW(CLUSTER_KEY));
	resp_bytes(&c->agree.command, view_of(c->agreed_on));
	resp_bytes(&c->agree.command, VIEW("NX"));
	resp_bytes(&c->agree.command, VIEW("GET"));
	c->agree_timer.on_time = ask_agreement;
}

/* --- how it is ---------------------------------------------------------------- */

static const char not_reached[] = "Redis has not been reached yet";

static const char *degraded_why(const struct cluster *c)
{
	const char *why = cluster_state_why(c);

	if (c->kind == KIND_OTHER)
		return "the Redis Cluster belongs to an Isobar cluster of another kind";
	if (why)
		return why;
	if (c->kind == KIND_UNKNOWN)
		return not_reached;
	if (census_silent(c->core.census))
		return "Redis is out of reach";
	if (members_is_cut_off(c->members))
		return "Redis does not answer";
	if (census_short(c->core.census))
		return "Redis replicas are missing: messages count without them";
	if (census_evicting(c->core.census))
		return "Redis drops claims when it is full (maxmemory-policy is not noeviction): "
		       "messages may be published twice";
	return follower_degraded(c->follower);
}

/* What was delivered without Redis may have got another place among what others published. An outage may
 * have come and gone since the last look. */
static void look_back(struct cluster *c)
{
	const struct writer_figures *w = writer_figures(c->writer);
	uint64_t outages = count_read(&w->outages);

	if (c->settings.on_failure != CLUSTER_LOCAL || outages == c->outages ||
		count_read(&w->state) != CLUSTER_OPEN)
		return;
	follower_compare(c->follower);
	c->outages = outages;
}

/* A fault that goes and comes while it is degraded is told once. */
static void tell_state(struct cluster *c, const char *why, const char *fault)
{
	bool is_news = why != c->told || (fault && fault != c->told_fault);

	atomic_store(&c->fault, fault);
	if (is_news && why)
		log_warn("cluster", "degraded", "why=\"%s\" redis=\"%s\"", why, fault ? fault : "");
	else if (is_news)
		log_info("cluster", "serving", "node=%s redis=%s", c->settings.node,
			redis_state_text(REDIS_WHOLE));
	c->told = why;
	if (fault || why == NULL)
		c->told_fault = fault;
}

static void on_look(struct timer *t)
{
	struct cluster *c = container_of(t, struct cluster, look);
	const char *why;

	look_back(c);
	why = degraded_why(c);
	atomic_store(&c->degraded, why);
	count_set(&c->short_shards, census_short(c->core.census));
	count_set(&c->evicting_shards, census_evicting(c->core.census));
	tell_state(c, why, why ? redis_fault(c->core.redis) : NULL);
	timer_start(c->core.loop, t, LOOK_EVERY_MS);
}

/* --- settings ------------------------------------------------------------------- */

static void copy_settings(struct cluster *c, const struct cluster_settings *from)
{
	char **redis = mem_new((from->redis_count + 1) * sizeof(*redis));

	for (uint32_t i = 0; i < from->redis_count; i++)
		redis[i] = mem_text(from->redis[i]);
	c->settings = *from;
	c->settings.redis = redis;
	c->settings.tls_ca = mem_text(from->tls_ca);
	c->settings.node = mem_text(from->node);
	c->settings.dir = mem_text(from->dir);
	c->settings.advertise = mem_text(from->advertise);
	c->settings.version = mem_text(from->version);
}

static void free_settings(struct cluster_settings *s)
{
	for (uint32_t i = 0; i < s->redis_count; i++)
		free(s->redis[i]);
	free((void *)s->redis);
	free((void *)s->tls_ca);
	free((void *)s->node);
	free((void *)s->dir);
	free((void *)s->advertise);
	free((void *)s->version);
}

/* --- the client -------------------------------------------------------------------- */

/* Its user and password are those of the first address. */
static int make_client(struct cluster *c, char **why)
{
	static const char *scripts[SCRIPTS];
	uint32_t n = c->settings.redis_count;
	struct url *urls = mem_new(n * sizeof(*urls));
	struct redis_seed *seeds = mem_new(n * sizeof(*seeds));
	struct tls_client_settings tls = {
		.verify = c->settings.tls_verify, .ca = c->settings.tls_ca};
	const char *fault = NULL;
	int err = 0;

	for (uint32_t i = 0; i < n && err == 0; i++) {
		err = url_parse(view_of(c->settings.redis[i]), &urls[i], &fault);
		seeds[i] = (struct redis_seed){urls[i].host, urls[i].port};
	}
	if (err)
		*why = mem_text(fault);
	else if (urls[0].tls)
		err = tls_client_new(&c->tls, &tls, why);
	scripts[0] = claim_script();
	memcpy(&scripts[1], members_scripts, sizeof(members_scripts));
	sessions_scripts(&scripts[1 + MEMBERS_SCRIPTS]);
	scripts[1 + MEMBERS_SCRIPTS + SESSIONS_SCRIPTS] = groups_script();
	memcpy(&scripts[SCRIPTS - 1 - ORDERS_SCRIPTS], orders_scripts, sizeof(orders_scripts));
	scripts[SCRIPTS - 1] = tally_script;
	if (err == 0)
		c->core.redis = redis_new(&(struct redis_config){.loop = c->core.loop,
			.resolver = c->settings.resolver,
			.seeds = seeds,
			.seed_count = n,
			.tls = c->tls,
			.user = urls[0].user[0] ? urls[0].user : NULL,
			.password = urls[0].password[0] ? urls[0].password : NULL,
			.scripts = scripts,
			.script_count = SCRIPTS});
	explicit_bzero(urls, n * sizeof(*urls));
	free(urls);
	free(seeds);
	return err;
}

/* --- among the others ---------------------------------------------------------------- */

static void on_holding(void *context, const char *source, uint32_t slot, bool is_voice)
{
	struct cluster *c = context;

	if (c->settings.on_holding)
		c->settings.on_holding(c->settings.context, source, slot, is_voice);
}

static void on_nodes(void *context, const struct nodes *nodes, bool changed)
{
	struct cluster *c = context;
	uint32_t alive = 0;

	roll_set(&c->roll, nodes);
	if (!changed)
		return;
	for (uint32_t i = 0; i < nodes->count; i++)
		alive += nodes->list[i].alive;
	log_info("cluster", "nodes", "alive=%u known=%u", alive, nodes->count);
	tally_set_nodes(c->tallies, nodes);
	groups_look(c->groups);
	groups_look(c->targets);
}

/* While this node is about to leave: others are to deal and feed what it does. */
static bool owes(void *context)
{
	struct cluster *c = context;

	return groups_owe(c->groups) || groups_owe(c->targets);
}

static void on_figures(void *context, uint64_t figures[NODE_FIGURES])
{
	struct cluster *c = context;
	struct cluster_vitals own = {0};
	struct cluster_figures cluster;

	if (c->settings.on_vitals)
		c->settings.on_vitals(c->settings.context, &own);
	cluster_figures(c, &cluster);
	vitals_take(&c->vitals, &cluster, &own, c->settings.on_failure, loop_now_ms(c->core.loop),
		figures);
	roll_set_own(&c->roll, figures);
}

void cluster_set_sources(struct cluster *c, const char *const *names, uint32_t n)
{
	members_set_sources(c->members, names, n);
}

int cluster_tell_order(struct cluster *c, const char *about, struct view text)
{
	return orders_tell(c->orders, about, text);
}

char *cluster_elsewhere(struct cluster *c)
{
	return roll_elsewhere(&c->roll);
}

static void on_left(void *context)
{
	struct cluster *c = context;

	pthread_mutex_lock(&c->lock);
	c->has_left = true;
	pthread_cond_signal(&c->left);
	pthread_mutex_unlock(&c->lock);
}

static void begin_leaving(struct task *t)
{
	struct cluster *c = container_of(t, struct cluster, leave_task);

	if (c->kind == KIND_OURS)
		members_leave(c->members, c->leave_limit_ms, on_left);
	else
		on_left(c);
}

/* members_leave() keeps its limit whatever Redis does. */
void cluster_leave(struct cluster *c, uint64_t limit_ms)
{
	if (c == NULL || !c->is_running)
		return;
	log_info("cluster", "leaving", "node=%s", c->settings.node);
	c->leave_limit_ms = limit_ms;
	loop_post(c->core.loop, &c->leave_task);
	pthread_mutex_lock(&c->lock);
	while (!c->has_left)
		pthread_cond_wait(&c->left, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

struct roaming cluster_roaming(struct cluster *c, const struct roaming_host *host)
{
	sessions_set_host(c->sessions, host);
	return sessions_roaming(c->sessions);
}

void cluster_set_retaining(struct cluster *c, const struct retaining_host *host)
{
	c->retaining = *host;
	c->core.retaining = &c->retaining;
}

struct sharing cluster_sharing(struct cluster *c, const struct sharing_host *host)
{
	groups_set_host(c->groups, host);
	return groups_sharing(c->groups);
}

struct sharing cluster_targets(struct cluster *c, const struct sharing_host *host)
{
	groups_set_host(c->targets, host);
	return groups_sharing(c->targets);
}

/* --- life ------------------------------------------------------------------------------ */

static int make_modules(struct cluster *c, char **why)
{
	struct commit_log log;
	int err;

	c->core.census = census_new(&c->core);
	err = writer_new(&c->writer, &c->core, why);
	if (err < 0)
		return err;
	c->core.mend = mend_new(&c->core, c->writer);
	c->follower = follower_new(&c->core);
	c->tallies = tally_new(&c->core);
	c->orders = orders_new(&c->core);
	c->members = members_new(&(struct members_config){.loop = c->core.loop,
		.redis = c->core.redis,
		.node = c->settings.node,
		.start = c->core.start,
		.roles = c->settings.roles,
		.version = c->settings.version,
		.advertise = c->settings.advertise,
		.replicas = c->settings.replicas,
		.on_holding = on_holding,
		.on_nodes = on_nodes,
		.on_figures = on_figures,
		.owes = owes,
		.context = c});
	c->mail = mail_new(&c->core);
	c->sessions = sessions_new(&c->core, c->members, c->mail);
	c->groups = groups_new(&c->core, c->members, c->mail, GROUPS_SHARED);
	c->targets = groups_new(&c->core, c->members, NULL, GROUPS_TARGETS);
	log = writer_log(c->writer);
	commit_set_log(c->core.commit, &log);
	return 0;
}

int cluster_new(struct cluster **out, const struct cluster_settings *settings, char **why)
{
	struct cluster *c = mem_new(sizeof(*c));
	int err = ERR_SYSTEM;

	copy_settings(c, settings);
	roll_init(&c->roll, c->settings.node);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->left, NULL);
	c->core = (struct cluster_core){.settings = &c->settings,
		.loop = loop_new(),
		.commit = settings->commit,
		.start = clock_wall_ms(),
		.shards = SHARDS};
	c->core.name = mem_printf("%s/%llu", c->settings.node, (unsigned long long)c->core.start);
	if (c->core.loop == NULL)
		*why = mem_text(strerror(errno));
	else
		err = make_client(c, why);
	agreement_init(c);
	c->leave_task.run = begin_leaving;
	c->look.on_time = on_look;
	c->told = not_reached;
	atomic_init(&c->degraded, not_reached);
	if (err == 0)
		err = make_modules(c, why);
	if (err < 0)
		cluster_free(c);
	else
		*out = c;
	return err;
}

static void *run(void *argument)
{
	struct cluster *c = argument;

	ask_agreement(&c->agree_timer);
	writer_start(c->writer);
	timer_start(c->core.loop, &c->look, LOOK_EVERY_MS);
	loop_run(c->core.loop);
	return NULL;
}

int cluster_start(struct cluster *c)
{
	int err = pthread_create(&c->thread, NULL, run, c);

	if (err) {
		log_error("cluster", "cannot_start_thread", "why=\"%s\"", strerror(err));
		return ERR_SYSTEM;
	}
	c->is_running = true;
	pthread_setname_np(c->thread, "cluster");
	log_info("cluster", "starting", "node=%s redis=%u shards=%u acknowledge=%u",
		c->settings.node, c->settings.redis_count, c->core.shards, c->settings.acknowledge);
	return 0;
}

void cluster_stop(struct cluster *c)
{
	if (c == NULL || !c->is_running)
		return;
	groups_finish(c->groups, GROUPS_FINISH_MS);
	groups_finish(c->targets, GROUPS_FINISH_MS);
	tally_finish(c->tallies, FINISH_MS);
	loop_stop(c->core.loop);
	pthread_join(c->thread, NULL);
	c->is_running = false;
}

void cluster_free(struct cluster *c)
{
	if (c == NULL)
		return;
	if (c->core.redis)
		redis_free(c->core.redis);
	follower_free(c->follower);
	sessions_free(c->sessions);
	groups_free(c->groups);
	groups_free(c->targets);
	mail_free(c->mail);
	members_free(c->members);
	tally_free(c->tallies);
	orders_free(c->orders);
	roll_fini(&c->roll);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->left);
	mend_free(c->core.mend);
	if (c->writer)
		writer_free(c->writer);
	if (c->core.census)
		census_free(c->core.census);
	buf_fini(&c->agree.command);
	if (c->tls)
		tls_unref(c->tls);
	if (c->core.loop)
		loop_free(c->core.loop);
	free(c->core.name);
	free_settings(&c->settings);
	free(c);
}
