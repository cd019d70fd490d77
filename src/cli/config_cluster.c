/* cli/config_cluster.c - `cluster:` as a whole: what must fit together
 *
 * The addresses are doors to one Redis Cluster, so one user and one way (plain or TLS) holds for all.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/config_keys.h"
#include "net/tls.h"

#define REDIS_MOST 64u

static const struct yaml *at_key(const struct yaml *cluster, const char *name)
{
	const struct yaml *at = config_find(cluster, name);

	return at ? at : cluster;
}

/* The i-th address, or the list. */
static const struct yaml *at_address(const struct yaml *list, uint32_t i)
{
	return list->kind == YAML_LIST && i < list->count ? list->items[i] : list;
}

static bool is_empty(const struct yaml *list)
{
	return list->kind == YAML_LIST && list->count == 0;
}

static void judge_address(const struct config_reader *r, const struct yaml *at,
	const struct url *first, const struct url *u)
{
	if (u->tls != first->tls)
		config_fault(r, at, "cluster.redis",
			"is %s:// where the first is %s://; the same for all is right",
			url_scheme_name(u->scheme), url_scheme_name(first->scheme));
	else if (strcmp(u->user, first->user) != 0 || strcmp(u->password, first->password) != 0)
		config_fault(r, at, "cluster.redis",
			"has another user or password than the first; the same for all is right");
}

/* All have been judged one by one: they can be parsed. */
static void judge_redis(
	const struct config_reader *r, const struct yaml *list, const struct config_cluster *c)
{
	struct url first, u;
	const char *why;

	if (c->redis_count > REDIS_MOST)
		config_fault(r, list, "cluster.redis", "are %u; at most %u are taken",
			c->redis_count, REDIS_MOST);
	if (url_parse(view_of(c->redis[0]), &first, &why) < 0)
		return;
	if (first.user[0] && first.password[0] == '\0')
		config_fault(r, at_address(list, 0), "cluster.redis",
			"has a user and no password; redis://user:password@host:6379, or "
			"redis://:password@host:6379 where there is only a password, is right");
	for (uint32_t i = 1; i < c->redis_count; i++)
		if (url_parse(view_of(c->redis[i]), &u, &why) == 0)
			judge_address(r, at_address(list, i), &first, &u);
}

/* Every client is told it. */
static void judge_advertise(
	const struct config_reader *r, const struct yaml *cluster, const struct config_cluster *c)
{
	struct url u;
	const char *why;

	if (c->advertise == NULL || url_parse(view_of(c->advertise), &u, &why) < 0)
		return;
	if (u.user[0] || u.password[0])
		config_fault(r, at_key(cluster, "advertise"), "cluster.advertise",
			"has a user or password, and every client would be told; an address "
			"without is right");
	explicit_bzero(&u, sizeof(u));
}

static void judge_tls(
	const struct config_reader *r, const struct yaml *cluster, const struct config_cluster *c)
{
	struct tls_client_settings settings = {.verify = c->tls_verify, .ca = c->tls_ca};
	struct tls_context *tls = NULL;
	char *why = NULL;

	if (c->tls_ca == NULL)
		return;
	if (tls_client_new(&tls, &settings, &why) < 0)
		config_fault(r, at_key(cluster, "tls"), "cluster.tls.ca",
			"cannot be used: %s; system, or a PEM file, is right", why);
	else
		tls_unref(tls);
	free(why);
}

static void set_node(
	const struct config_reader *r, const struct yaml *cluster, struct config_cluster *c)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (c->node || config_find(cluster, "node"))
		return;
	if (gethostname(name, sizeof(name) - 1) == 0 && config_is_node_name(view_of(name)))
		c->node = mem_text(name);
	else
		config_fault(r, cluster, "cluster.node",
			"is missing, and the host name is of no use; such as wbroker01 is right");
}

void config_judge_cluster(
	const struct config_reader *r, const struct yaml *root, struct config *config)
{
	const struct yaml *cluster = config_find(root, "cluster");
	const struct yaml *roles = config_find(cluster, "roles");
	const struct yaml *redis = config_find(cluster, "redis");
	struct config_cluster *c = &config->cluster;

	if (cluster == NULL || cluster->kind != YAML_MAP)
		return;
	if (redis == NULL)
		config_fault(r, cluster, "cluster.redis",
			"is missing; addresses such as [redis://10.0.0.1:6379] are right");
	else if (is_empty(redis))
		config_fault(r, redis, "cluster.redis",
			"is empty; addresses such as [redis://10.0.0.1:6379] are right, or no "
			"cluster at all for one machine");
	else if (c->redis_count)
		judge_redis(r, redis, c);
	if (roles && is_empty(roles))
		config_fault(r, roles, "cluster.roles",
			"is empty; sources, subscribers, or both are right");
	set_node(r, cluster, c);
	judge_advertise(r, cluster, c);
	judge_tls(r, cluster, c);
}

unsigned config_cluster_roles(const struct config_cluster *c)
{
	unsigned roles = 0;

	for (uint32_t i = 0; i < c->role_count; i++)
		roles |= strcmp(c->roles[i], "sources") == 0 ? NODE_SOURCES : NODE_SUBSCRIBERS;
	return roles;
}

static bool texts_differ(char *const *a, uint32_t n, char *const *b, uint32_t m)
{
	for (uint32_t i = 0; i < n && i < m; i++)
		if (strcmp(a[i], b[i]) != 0)
			return true;
	return n != m;
}

static bool text_differs(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

bool config_cluster_differs(const struct config_cluster *a, const struct config_cluster *b)
{
	return texts_differ(a->redis, a->redis_count, b->redis, b->redis_count) ||
	       texts_differ(a->roles, a->role_count, b->roles, b->role_count) ||
	       text_differs(a->tls_ca, b->tls_ca) || text_differs(a->node, b->node) ||
	       text_differs(a->advertise, b->advertise) || a->tls_verify != b->tls_verify ||
	       a->replicas != b->replicas || a->stream_keep_ms != b->stream_keep_ms ||
	       a->stream_bytes != b->stream_bytes || a->acknowledge != b->acknowledge ||
	       a->on_failure != b->on_failure;
}
