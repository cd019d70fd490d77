/* Whatever comes and goes: each source gets its holders, two never have one slot, little moves. */
#include "cluster/holders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define NODES 7u
#define SOURCES 200u

/* A cluster in one place: every node sees `nodes`, and leases[] is what Redis has. */
struct world {
	struct nodes nodes;
	uint32_t replicas;
	char *leases[SOURCES][HOLDERS_MOST];
	uint64_t starts;
};

static void name_of(char out[16], const char *kind, uint32_t i)
{
	snprintf(out, 16, "%s-%u", kind, i);
}

static void world_init(struct world *w, uint32_t nodes, uint32_t replicas)
{
	*w = (struct world){.replicas = replicas};
	w->nodes.list = mem_new(NODES * sizeof(*w->nodes.list));
	w->nodes.count = nodes;
	for (uint32_t i = 0; i < nodes; i++) {
		char name[16];

		name_of(name, "node", i);
		w->nodes.list[i] = (struct node){.name = mem_text(name),
			.start = ++w->starts,
			.roles = NODE_SOURCES,
			.alive = true};
	}
}

static void world_fini(struct world *w)
{
	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < HOLDERS_MOST; k++)
			free(w->leases[i][k]);
	}
	nodes_fini(&w->nodes);
}

static char *run_of(const struct node *node)
{
	struct buf b = {0};
	char *run;

	node_run(&b, node->name, node->start);
	run = mem_text_of(buf_view(&b));
	buf_fini(&b);
	return run;
}

static void see(const struct world *w, uint32_t source, struct leases *out)
{
	for (uint32_t k = 0; k < HOLDERS_MOST; k++)
		out->run[k] = w->leases[source][k];
}

/* One decision of one node, carried out. True: it asked for something. */
static bool step(struct world *w, const struct node *node, uint32_t source, bool settled,
	struct holder_step *out)
{
	char *run = run_of(node);
	const struct holder_terms terms = {&w->nodes, node->name, run, w->replicas, settled};
	struct leases leases;
	char name[16];

	name_of(name, "source", source);
	see(w, source, &leases);
	holder_decide(&terms, name, &leases, out);
	if (out->swap == HOLDER_NONE) {
		free(run);
		return false;
	}
	free(w->leases[source][out->swap]);
	w->leases[source][out->swap] = out->release ? NULL : run;
	if (out->release)
		free(run);
	return true;
}

static void settle(struct world *w, bool settled)
{
	struct holder_step s;
	unsigned rounds = 0;
	bool again = true;

	while (again) {
		again = false;
		assert_true(++rounds < 10);
		for (uint32_t i = 0; i < SOURCES; i++) {
			for (uint32_t k = 0; k < w->nodes.count; k++) {
				if (w->nodes.list[k].alive)
					again |= step(w, &w->nodes.list[k], i, settled, &s);
			}
		}
	}
}

static uint32_t serving(const struct world *w)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->nodes.count; i++)
		n += node_serves(&w->nodes.list[i], NODE_SOURCES);
	return n;
}

/* Each source has as many different holders as there can be, one of them its voice. Who is about to
 * leave and has nobody to take over holds on besides. */
static void check_all(struct world *w)
{
	uint32_t want = serving(w) < w->replicas ? serving(w) : w->replicas;

	for (uint32_t i = 0; i < SOURCES; i++) {
		uint32_t holders = 0, voices = 0, slots = 0;

		for (uint32_t k = 0; k < w->nodes.count; k++) {
			struct holder_step s;

			if (!w->nodes.list[k].alive)
				continue;
			assert_false(step(w, &w->nodes.list[k], i, true, &s));
			voices += s.voice;
			if (s.slot == HOLDER_NONE)
				continue;
			assert_false(slots >> s.slot & 1);
			slots |= 1u << s.slot;
			holders += node_serves(&w->nodes.list[k], NODE_SOURCES);
		}
		assert_int_equal(holders, want);
		assert_int_equal(voices, slots ? 1 : 0);
	}
}

struct snapshot {
	char runs[SOURCES][HOLDERS_MOST][32];
};

static void take_snapshot(const struct world *w, struct snapshot *s)
{
	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < HOLDERS_MOST; k++)
			snprintf(s->runs[i][k], sizeof(s->runs[i][k]), "%s",
				w->leases[i][k] ? w->leases[i][k] : "");
	}
}

/* Leases that are another's than before. */
static uint32_t moved_since(const struct world *w, const struct snapshot *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < HOLDERS_MOST; k++)
			n += strcmp(s->runs[i][k], w->leases[i][k] ? w->leases[i][k] : "") != 0;
	}
	return n;
}

static void each_source_gets_its_holders(void **state)
{
	(void)state;
	for (uint32_t nodes = 1; nodes <= NODES; nodes++) {
		for (uint32_t replicas = 1; replicas <= 4; replicas++) {
			struct world w;

			world_init(&w, nodes, replicas);
			settle(&w, false);
			check_all(&w);
			world_fini(&w);
		}
	}
}

static void the_load_is_shared(void **state)
{
	uint32_t held[NODES] = {0};
	struct world w;

	(void)state;
	world_init(&w, 5, 2);
	settle(&w, true);
	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < 2; k++)
			held[nodes_by_run(&w.nodes, view_of(w.leases[i][k])) - w.nodes.list]++;
	}
	for (uint32_t k = 0; k < 5; k++)
		assert_in_range(held[k], SOURCES * 2 / 5 / 2, SOURCES * 2 / 5 * 2);
	world_fini(&w);
}

static void a_death_moves_what_the_dead_had_and_nothing_else(void **state)
{
	struct snapshot before;
	uint32_t had = 0;
	struct world w;

	(void)state;
	world_init(&w, 5, 2);
	settle(&w, true);
	take_snapshot(&w, &before);
	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < 2; k++)
			had += strncmp(w.leases[i][k], "node-3/", 7) == 0;
	}
	w.nodes.list[3].alive = false;
	settle(&w, false); /* at once: the view need not settle for it */
	check_all(&w);
	assert_int_equal(moved_since(&w, &before), had);
	/* The same machine comes back as another run, and gets back what it had. */
	w.nodes.list[3].alive = true;
	w.nodes.list[3].start = ++w.starts;
	settle(&w, true);
	check_all(&w);
	assert_int_equal(moved_since(&w, &before), had);
	world_fini(&w);
}

static void a_newcomer_takes_its_share_and_nothing_else_moves(void **state)
{
	struct snapshot before;
	uint32_t has = 0;
	struct world w;

	(void)state;
	world_init(&w, 5, 2);
	w.nodes.list[4].alive = false;
	settle(&w, true);
	take_snapshot(&w, &before);
	w.nodes.list[4].alive = true;
	settle(&w, false);
	assert_int_equal(moved_since(&w, &before), 0); /* not before the view has settled */
	settle(&w, true);
	check_all(&w);
	for (uint32_t i = 0; i < SOURCES; i++) {
		for (uint32_t k = 0; k < 2; k++)
			has += strncmp(w.leases[i][k], "node-4/", 7) == 0;
	}
	assert_int_equal(moved_since(&w, &before), has);
	assert_true(has > 0);
	world_fini(&w);
}

static void who_leaves_holds_on_until_another_has_taken_over(void **state)
{
	struct holder_step s;
	struct world w;
	uint32_t i = 0;

	(void)state;
	world_init(&w, 3, 2);
	settle(&w, true);
	while (strncmp(w.leases[i][0], "node-1/", 7) != 0)
		i++;
	w.nodes.list[1].draining = true;
	assert_false(step(&w, &w.nodes.list[1], i, true, &s));
	assert_int_equal(s.slot, 0);
	for (uint32_t k = 0; k < 3; k += 2)
		step(&w, &w.nodes.list[k], i, false, &s); /* taken at once, not when settled */
	assert_false(step(&w, &w.nodes.list[1], i, false, &s));
	assert_int_equal(s.slot, HOLDER_NONE);
	settle(&w, false);
	check_all(&w);
	world_fini(&w);
}

static void fewer_replicas_release_the_higher_slots(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 4, 3);
	settle(&w, true);
	w.replicas = 1;
	settle(&w, true);
	check_all(&w);
	for (uint32_t i = 0; i < SOURCES; i++)
		assert_true(w.leases[i][0] && !w.leases[i][1] && !w.leases[i][2]);
	world_fini(&w);
}

/* Of what there is one of: all see the same node, the next one when that goes, and all get their share. */
static void one_living_node_takes_care(void **state)
{
	uint32_t share[NODES] = {0};
	struct world w;

	(void)state;
	world_init(&w, NODES, 1);
	for (uint32_t i = 0; i < SOURCES; i++) {
		char name[16];
		struct node *first;
		const struct node *next;

		name_of(name, "run", i);
		first = &w.nodes.list[holder_first(&w.nodes, name) - w.nodes.list];
		share[first - w.nodes.list]++;
		first->draining = true;
		next = holder_first(&w.nodes, name);
		assert_ptr_not_equal(next, first);
		first->draining = false;
		first->alive = false;
		assert_ptr_equal(holder_first(&w.nodes, name), next);
		first->alive = true;
	}
	for (uint32_t i = 0; i < NODES; i++) {
		assert_in_range(share[i], SOURCES / NODES / 3, SOURCES / NODES * 3);
		w.nodes.list[i].alive = false;
	}
	assert_null(holder_first(&w.nodes, "run"));
	world_fini(&w);
}

static void any_story_ends_well(void **state)
{
	const char *seed = getenv("ISOBAR_SEED");
	unsigned number = seed ? (unsigned)strtoul(seed, NULL, 10) : 20261123;
	struct world w;

	(void)state;
	srand(number);
	world_init(&w, NODES, 2);
	for (unsigned i = 0; i < 60; i++) {
		struct node *node = &w.nodes.list[(unsigned)rand() % NODES];

		switch (rand() % 4) {
		case 0:
			node->alive = false;
			break;
		case 1:
			if (!node->alive)
				node->start = ++w.starts;
			node->alive = true;
			node->draining = false;
			break;
		case 2:
			node->draining = node->alive;
			break;
		default:
			w.replicas = 1 + (unsigned)rand() % 3;
		}
		settle(&w, rand() % 2);
		settle(&w, true);
		if (serving(&w))
			check_all(&w);
	}
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_source_gets_its_holders),
		cmocka_unit_test(the_load_is_shared),
		cmocka_unit_test(a_death_moves_what_the_dead_had_and_nothing_else),
		cmocka_unit_test(a_newcomer_takes_its_share_and_nothing_else_moves),
		cmocka_unit_test(who_leaves_holds_on_until_another_has_taken_over),
		cmocka_unit_test(fewer_replicas_release_the_higher_slots),
		cmocka_unit_test(one_living_node_takes_care),
		cmocka_unit_test(any_story_ends_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
