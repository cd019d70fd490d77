#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "cli/config_keys.h"

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

static struct config *read_text(const char *text, struct buf *faults)
{
	struct faults list = {faults, 0};
	struct config_reader r = {&list, "f.yaml", "dir/", ""};
	struct config *c = mem_new(sizeof(*c));

	yaml_free(config_read_main(&r, view_of(text), c));
	faults_end(&list);
	return c;
}

static struct config *read_good(const char *text)
{
	struct buf faults = {0};
	struct config *c = read_text(text, &faults);

	if (buf_length(&faults))
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	buf_fini(&faults);
	return c;
}

static void addresses_alone_make_a_cluster_with_every_default(void **state)
{
	struct config *c = read_good("cluster: {redis: [redis://10.0.0.1:6379]}\n");
	const struct config_cluster *k = &c->cluster;

	(void)state;
	assert_int_equal(k->redis_count, 1);
	assert_string_equal(k->redis[0], "redis://10.0.0.1:6379");
	assert_true(config_is_node_name(view_of(k->node)));
	assert_int_equal(config_cluster_roles(k), NODE_SOURCES | NODE_SUBSCRIBERS);
	assert_int_equal(k->replicas, 2);
	assert_int_equal(k->stream_keep_ms, 3600000);
	assert_int_equal(k->stream_bytes, 8ull << 30);
	assert_int_equal(k->acknowledge, 1);
	assert_int_equal(k->on_failure, CLUSTER_HOLD);
	assert_true(k->tls_verify);
	assert_null(k->tls_ca);
	assert_null(k->advertise);
	config_free(c);
}

static void what_is_written_is_kept(void **state)
{
	struct config *c = read_good(
		"cluster:\n"
		"  redis: [\"rediss://gb:p%40ss@[::1]:7000\", rediss://gb:p%40ss@b]\n"
		"  node: wbroker_02.example\n  roles: [subscribers]\n  replicas: 3\n"
		"  stream: {keep: 90m, size: 1GiB}\n  advertise: mqtts://b2.example.org:8883\n"
		"  acknowledge: 0\n  on_store_failure: local\n  tls: {verify: no}\n");
	const struct config_cluster *k = &c->cluster;

	(void)state;
	assert_int_equal(k->redis_count, 2);
	assert_string_equal(k->node, "wbroker_02.example");
	assert_int_equal(config_cluster_roles(k), NODE_SUBSCRIBERS);
	assert_int_equal(k->replicas, 3);
	assert_int_equal(k->stream_keep_ms, 90 * 60000);
	assert_int_equal(k->stream_bytes, 1u << 30);
	assert_string_equal(k->advertise, "mqtts://b2.example.org:8883");
	assert_int_equal(k->acknowledge, 0);
	assert_int_equal(k->on_failure, CLUSTER_LOCAL);
	assert_false(k->tls_verify);
	config_free(c);
}

static const struct {
	const char *name;
	const char *text;
	const char *want;
} faulty[] = {
	{"no addresses", "cluster: {node: a}\n",
		"f.yaml:1:10: cluster.redis: is missing; addresses such as [redis://10.0.0.1:6379] "
		"are right\n"},
	{"unknown key", "cluster: {redis: [redis://a], nodes: 3}\n",
		"f.yaml:1:31: cluster.nodes: unknown key; cluster.node is the nearest one known\n"},
	{"another kind of address", "cluster:\n  redis: [http://10.0.0.1]\n",
		"f.yaml:2:11: cluster.redis: the value is of another kind of address; addresses "
		"such as redis://10.0.0.1:6379 or rediss://user:password@host:6379 are right\n"},
	{"a database", "cluster:\n  redis: [redis://10.0.0.1/1]\n",
		"f.yaml:2:11: cluster.redis: the value has a path: a Redis Cluster has one "
		"database only; addresses such as redis://10.0.0.1:6379 or "
		"rediss://user:password@host:6379 are right\n"},
	{"mixed", "cluster:\n  redis: [redis://a, rediss://b]\n",
		"f.yaml:2:22: cluster.redis: is rediss:// where the first is redis://; the same "
		"for all is right\n"},
	{"two passwords", "cluster:\n  redis:\n    - redis://:one@a\n    - redis://:two@b\n",
		"f.yaml:4:7: cluster.redis: has another user or password than the first; the same "
		"for all is right\n"},
	{"an empty list", "cluster: {redis: []}\n",
		"f.yaml:1:18: cluster.redis: is empty; addresses such as [redis://10.0.0.1:6379] "
		"are right, or no cluster at all for one machine\n"},
	{"a user alone", "cluster:\n  redis: [redis://gb@a]\n",
		"f.yaml:2:11: cluster.redis: has a user and no password; "
		"redis://user:password@host:6379, or redis://:password@host:6379 where there is "
		"only a password, is right\n"},
	{"a password for every client",
		"cluster: {redis: [redis://a], advertise: \"mqtts://ops:secret@b:8883\"}\n",
		"f.yaml:1:42: cluster.advertise: has a user or password, and every client would "
		"be told; an address without is right\n"},
	{"no roles", "cluster: {redis: [redis://a], roles: []}\n",
		"f.yaml:1:38: cluster.roles: is empty; sources, subscribers, or both are right\n"},
	{"a role", "cluster: {redis: [redis://a], roles: [publishers]}\n",
		"f.yaml:1:39: cluster.roles: \"publishers\" is not among the words known; sources, "
		"subscribers are right\n"},
	{"a name with a slash", "cluster: {redis: [redis://a], node: a/b}\n",
		"f.yaml:1:37: cluster.node: \"a/b\" is not a name of a machine; 1 to 63 characters "
		"in a-z A-Z 0-9 - _ . such as wbroker01 are right\n"},
	{"a mode", "cluster: {redis: [redis://a], on_store_failure: drop}\n",
		"f.yaml:1:49: cluster.on_store_failure: \"drop\" is not among the words known; "
		"hold, spool, local are right\n"},
	{"a CA that is not there", "cluster: {redis: [rediss://a], tls: {ca: none.pem}}\n",
		"f.yaml:1:37: cluster.tls.ca: cannot be used: dir/none.pem: No such file or "
		"directory; system, or a PEM file, is right\n"},
};

static void every_fault_is_told_with_its_place(void **state)
{
	uint32_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(faulty); i++) {
		struct buf faults = {0};
		struct config *c = read_text(faulty[i].text, &faults);

		if (!view_equal(buf_view(&faults), view_of(faulty[i].want))) {
			print_error("%s:\ngot  %.*swant %s", faulty[i].name,
				VIEW_ARG(buf_view(&faults)), faulty[i].want);
			wrong++;
		}
		buf_fini(&faults);
		config_free(c);
	}
	assert_int_equal(wrong, 0);
}

static void a_changed_key_makes_another_cluster(void **state)
{
	static const char *const rows[] = {
		"redis: [redis://a, redis://c]",
		"redis: [redis://a]",
		"redis: [redis://a, redis://b]\n  node: y",
		"redis: [redis://a, redis://b]\n  roles: [sources]",
		"redis: [redis://a, redis://b]\n  replicas: 1",
		"redis: [redis://a, redis://b]\n  stream: {keep: 2h}",
		"redis: [redis://a, redis://b]\n  stream: {size: 1GiB}",
		"redis: [redis://a, redis://b]\n  advertise: mqtt://x",
		"redis: [redis://a, redis://b]\n  acknowledge: 2",
		"redis: [redis://a, redis://b]\n  on_store_failure: spool",
		"redis: [redis://a, redis://b]\n  tls: {verify: no}",
	};
	struct config *base = read_good("cluster:\n  redis: [redis://a, redis://b]\n");

	(void)state;
	assert_false(config_cluster_differs(&base->cluster, &base->cluster));
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *text = mem_printf("cluster:\n  %s\n", rows[i]);
		struct config *c = read_good(text);

		if (!config_cluster_differs(&base->cluster, &c->cluster))
			fail_msg("%s", rows[i]);
		config_free(c);
		free(text);
	}
	config_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_alone_make_a_cluster_with_every_default),
		cmocka_unit_test(what_is_written_is_kept),
		cmocka_unit_test(a_changed_key_makes_another_cluster),
		cmocka_unit_test(every_fault_is_told_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
