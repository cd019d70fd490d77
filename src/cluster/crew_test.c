/* Three nodes that feed a target, and a Redis played here: the target has one feeder at any time, whoever
 * dies, leaves or is not connected, and who comes next goes on where all is acknowledged. */
#include "cluster/crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define NODES 3u
#define TURN_MS 250u

/* What stands in the hash. */
struct redis_row {
	char run[SHARE_RUN_BYTES];
	uint64_t place;
	bool is_named;
};

struct player {
	struct crew crew;
	char run[SHARE_RUN_BYTES];
	bool is_there; /* its process lives */
};

struct world {
	struct nodes nodes; /* as all see it */
	struct player players[NODES];
	struct redis_row rows[SHARDS];
	char seats[NODES][8]; /* "": has said nothing */
	uint64_t now_ms;
	bool is_away; /* Redis is */
	bool whole;
};

static void world_init(struct world *w, bool whole)
{
	*w = (struct world){.now_ms = 1000000, .whole = whole};
	w->nodes.list = mem_new(NODES * sizeof(*w->nodes.list));
	w->nodes.count = NODES;
	for (uint32_t i = 0; i < NODES; i++) {
		struct player *p = &w->players[i];
		char name[2] = {(char)('a' + i), '\0'};

		w->nodes.list[i] =
			(struct node){.name = mem_text(name), .start = i + 1, .alive = true};
		snprintf(p->run, sizeof(p->run), "%s/%016x", name, i + 1);
		p->is_there = true;
		p->crew.key = VIEW("target");
		p->crew.is_seated = p->crew.reaches = true;
	}
}

static void world_fini(struct world *w)
{
	for (uint32_t i = 0; i < NODES; i++)
		share_table_fini(&w->players[i].crew.table);
	nodes_fini(&w->nodes);
}

/* --- Redis --------------------------------------------------------------------- */

static struct view next_argument(struct view *rest)
{
	size_t n;

	assert_true(rest->n && rest->p[0] == '$');
	n = strtoul(rest->p + 1, NULL, 10);
	view_cut(rest, '\n');
	*rest = view_skip(*rest, n + 2);
	return (struct view){rest->p - n - 2, n};
}

/* As group.lua does. */
static void swap_all(struct world *w, struct view changes)
{
	while (changes.n) {
		uint64_t shard = strtoul(next_argument(&changes).p, NULL, 10);
		struct view from = next_argument(&changes);
		struct view to = next_argument(&changes);
		struct view place = next_argument(&changes);
		struct redis_row *row = &w->rows[shard];

		if (!view_equal(view_of(row->run), from))
			continue;
		if (from.n == 0 && row->is_named && strtoull(place.p, NULL, 16) >= row->place)
			place = VIEW("");
		row->is_named = true;
		snprintf(row->run, sizeof(row->run), "%.*s", (int)to.n, to.p);
		if (place.n)
			row->place = strtoull(place.p, NULL, 16);
	}
}

static void read_all(struct world *w, struct player *p)
{
	struct resp items[2 * (NODES + SHARDS)];
	struct resp reply = {.type = RESP_ARRAY, .items = items};
	char texts[NODES + SHARDS][2][SHARE_RUN_BYTES + 24];
	uint32_t n = 0;

	for (uint32_t i = 0; i < NODES; i++) {
		if (w->seats[i][0] == '\0')
			continue;
		snprintf(texts[n][0], sizeof(texts[n][0]), "%c", 'a' + (char)i);
		snprintf(texts[n++][1], sizeof(texts[n][1]), "%016x %s", i + 1, w->seats[i]);
	}
	for (uint32_t k = 0; k < SHARDS; k++) {
		if (w->rows[k].run[0] == '\0')
			continue;
		snprintf(texts[n][0], sizeof(texts[n][0]), "#%u", k);
		snprintf(texts[n++][1], sizeof(texts[n][1]), "%s %016llx", w->rows[k].run,
			(unsigned long long)w->rows[k].place);
	}
	for (uint32_t i = 0; i < 2 * n; i++)
		items[i] = (struct resp){.type = RESP_STRING, .text = view_of(texts[i / 2][i % 2])};
	reply.count = 2 * n;
	share_table_take(&p->crew.table, &reply, w->now_ms);
}

/* --- nodes --------------------------------------------------------------------- */

static struct crew_terms terms_of(struct world *w, struct player *p)
{
	return (struct crew_terms){&w->nodes, p->run, w->now_ms, SHARDS, w->whole};
}

/* One call. */
static void call(struct world *w, uint32_t i)
{
	struct player *p = &w->players[i];
	struct crew_terms terms = terms_of(w, p);
	struct buf changes = {0};
	bool is_other;

	if (!p->is_there || w->is_away)
		return;
	p->crew.heard_ms = w->now_ms;
	crew_say(&p->crew, &terms, &changes, &is_other);
	snprintf(w->seats[i], sizeof(w->seats[i]), "%s",
		share_seat_text(crew_seat(&p->crew, &terms)));
	swap_all(w, buf_view(&changes));
	buf_fini(&changes);
	read_all(w, p);
	crew_take(&p->crew, &terms);
}

static uint32_t fed_by(const struct world *w, uint32_t i)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < SHARDS; k++)
		n += w->players[i].is_there && w->players[i].crew.parts.state[k] == SHARE_OWNED;
	return n;
}

/* How far it got, when nothing is dealt there any more. */
static void call_last(struct world *w, uint32_t i)
{
	struct crew_terms terms = terms_of(w, &w->players[i]);
	struct buf changes = {0};

	crew_say_last(&w->players[i].crew, &terms, &changes);
	swap_all(w, buf_view(&changes));
	buf_fini(&changes);
}

/* Turns of all; at each moment a shard of the target has one feeder at most, and so has the target. */
static void pass(struct world *w, uint64_t ms)
{
	for (uint64_t end = w->now_ms + ms; w->now_ms < end; w->now_ms += TURN_MS) {
		for (uint32_t i = 0; i < NODES; i++) {
			uint32_t feeders = 0;

			call(w, i);
			for (uint32_t k = 0; k < NODES; k++)
				feeders += fed_by(w, k) > 0;
			if (w->whole)
				assert_true(feeders <= 1);
		}
	}
}

static void settle(struct world *w)
{
	pass(w, 3000);
}

static uint32_t feeder(const struct world *w)
{
	for (uint32_t i = 0; i < NODES; i++) {
		if (fed_by(w, i) == SHARDS)
			return i;
	}
	return NODES;
}

static void set_places(struct world *w, uint32_t i, uint64_t acked, uint64_t dealt)
{
	for (uint32_t k = 0; k < SHARDS; k++) {
		w->players[i].crew.acked.place[k] = acked;
		w->players[i].crew.dealt.place[k] = dealt;
	}
}

static void assert_places(const struct world *w, uint64_t want)
{
	for (uint32_t k = 0; k < SHARDS; k++)
		assert_int_equal(w->rows[k].place, want);
}

static void set_dead(struct world *w, uint32_t i)
{
	w->players[i].is_there = false;
	w->nodes.list[i].alive = false;
}

/* --- tests ---------------------------------------------------------------------- */

static void a_new_target_has_one_feeder_and_begins_where_it_was_found(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, true);
	for (uint32_t i = 0; i < NODES; i++)
		set_places(&w, i, 40, 40);
	settle(&w);
	assert_true(feeder(&w) < NODES);
	assert_places(&w, 40);
	world_fini(&w);
}

static void what_a_dead_node_had_is_taken_at_the_place_written_last(void **state)
{
	uint32_t first, second;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	set_places(&w, first, 70, 90);
	pass(&w, 500);
	set_dead(&w, first);
	pass(&w, 500);
	second = feeder(&w);
	assert_true(second < NODES && second != first);
	assert_places(&w, 70);
	assert_int_equal(w.players[second].crew.parts.place.place[3], 70);
	world_fini(&w);
}

static void who_leaves_hands_over_when_nothing_is_open(void **state)
{
	uint32_t first;
	struct crew_terms terms;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	terms = terms_of(&w, &w.players[first]);
	assert_false(crew_owes(&w.players[first].crew, &terms));
	set_places(&w, first, 70, 90);
	w.players[first].crew.acked.place[5] = 90; /* one shard has nothing open, and waits */
	w.nodes.list[first].draining = true;
	assert_true(crew_owes(&w.players[first].crew, &terms));
	pass(&w, 1000);
	assert_int_equal(fed_by(&w, first), 0); /* nothing new */
	for (uint32_t i = 0; i < NODES; i++)
		assert_int_equal(fed_by(&w, i), 0);
	set_places(&w, first, 90, 90);
	pass(&w, 500);
	assert_true(feeder(&w) < NODES && feeder(&w) != first);
	assert_false(crew_owes(&w.players[first].crew, &terms));
	assert_places(&w, 90);
	world_fini(&w);
}

static void who_gets_no_answer_hands_over_what_was_acknowledged_in_time(void **state)
{
	uint32_t first;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	set_places(&w, first, 70, 90);
	w.nodes.list[first].draining = true;
	pass(&w, CREW_END_MS - 500);
	assert_int_equal(feeder(&w), NODES);
	pass(&w, 1500);
	assert_true(feeder(&w) < NODES && feeder(&w) != first);
	assert_places(&w, 70);
	world_fini(&w);
}

static void who_is_not_connected_leaves_it_to_one_that_is(void **state)
{
	uint32_t first;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	w.players[first].crew.is_seated = false;
	pass(&w, 1500);
	assert_true(feeder(&w) < NODES && feeder(&w) != first);
	w.players[first].crew.is_seated = true;
	pass(&w, 1500);
	assert_int_equal(feeder(&w), first);
	world_fini(&w);
}

static void while_nobody_is_connected_it_stays_but_not_with_a_dead_node(void **state)
{
	uint32_t first;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	for (uint32_t i = 0; i < NODES; i++)
		w.players[i].crew.is_seated = false;
	pass(&w, 5000);
	assert_int_equal(feeder(&w), first);
	set_dead(&w, first);
	pass(&w, 1000);
	assert_true(feeder(&w) < NODES && feeder(&w) != first);
	world_fini(&w);
}

static void a_journal_that_falls_short_gets_it_last_of_all(void **state)
{
	uint32_t first, other;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	other = (first + 1) % NODES;
	for (uint32_t i = 0; i < NODES; i++) {
		w.players[i].crew.is_seated = i == other;
		w.players[i].crew.reaches = i != other;
		w.players[i].crew.seated_ms = w.now_ms;
	}
	pass(&w, CREW_SHORT_MS - 1000);
	assert_int_equal(feeder(&w), first); /* it may be back soon, and has more */
	pass(&w, 3000);
	assert_int_equal(feeder(&w), other); /* better than nobody */
	w.players[first].crew.is_seated = true;
	pass(&w, 2000);
	assert_int_equal(feeder(&w), first);
	world_fini(&w);
}

static void while_redis_is_away_nobody_gives_or_takes(void **state)
{
	uint32_t first;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	w.is_away = true;
	w.players[first].crew.is_seated = false;
	pass(&w, 20000);
	assert_int_equal(feeder(&w), first);
	w.is_away = false;
	pass(&w, 1000);
	assert_true(feeder(&w) < NODES && feeder(&w) != first);
	world_fini(&w);
}

static void what_redis_forgot_goes_on_where_it_is_known_to_be(void **state)
{
	uint32_t first;
	struct world w;

	(void)state;
	world_init(&w, true);
	settle(&w);
	first = feeder(&w);
	set_places(&w, first, 70, 70);
	pass(&w, 1000);
	memset(w.rows, 0, sizeof(w.rows));
	memset(w.seats, 0, sizeof(w.seats));
	set_dead(&w, first);
	pass(&w, 1000);
	assert_true(feeder(&w) < NODES);
	assert_places(&w, 70);
	world_fini(&w);
}

static void shards_of_a_group_go_one_by_one_and_each_has_one_owner(void **state)
{
	struct world w;
	uint32_t n = 0;

	(void)state;
	world_init(&w, false);
	settle(&w);
	for (uint32_t i = 0; i < NODES; i++) {
		assert_true(fed_by(&w, i) > 0);
		n += fed_by(&w, i);
	}
	assert_int_equal(n, SHARDS);
	set_dead(&w, 0);
	pass(&w, 1000);
	assert_int_equal(fed_by(&w, 1) + fed_by(&w, 2), SHARDS);
	world_fini(&w);
}

static void a_group_that_is_new_on_several_nodes_begins_at_the_least_place_of_all(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, false);
	set_places(&w, 0, 60, 60);
	set_places(&w, 1, 40, 40);
	set_places(&w, 2, 50, 50);
	call(&w, 0);
	w.now_ms += CREW_GATHER_MS - 1; /* the others have subscribed as long ago, and say so now */
	call(&w, 0);
	call(&w, 1);
	call(&w, 2);
	assert_int_equal(fed_by(&w, 0) + fed_by(&w, 1) + fed_by(&w, 2), 0);
	assert_places(&w, 40);
	settle(&w);
	assert_int_equal(fed_by(&w, 0) + fed_by(&w, 1) + fed_by(&w, 2), SHARDS);
	for (uint32_t k = 0; k < SHARDS; k++) {
		for (uint32_t i = 0; i < NODES; i++) {
			if (w.players[i].crew.parts.state[k] == SHARE_OWNED)
				assert_int_equal(w.players[i].crew.parts.place.place[k], 40);
		}
	}
	world_fini(&w);
}

static void a_shard_of_which_one_journal_knows_nothing_begins_at_0(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, false);
	set_places(&w, 0, 60, 60);
	settle(&w);
	assert_places(&w, 0);
	world_fini(&w);
}

static void who_joins_a_group_that_others_deal_changes_no_place(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, false);
	w.players[2].is_there = false;
	set_places(&w, 0, 60, 60);
	set_places(&w, 1, 60, 60);
	settle(&w);
	w.players[2].is_there = true;
	set_places(&w, 2, 10, 10);
	call(&w, 2);
	assert_places(&w, 60);
	world_fini(&w);
}

/* One node that deals a group, and is to leave: with nobody else there. */
static void leave_alone(struct world *w)
{
	world_init(w, false);
	for (uint32_t i = 1; i < NODES; i++)
		w->players[i].is_there = false;
	set_places(w, 0, 60, 60);
	settle(w);
	assert_int_equal(fed_by(w, 0), SHARDS);
	set_places(w, 0, 60, 90);
	w->nodes.list[0].draining = true;
	pass(w, 500);
}

static void who_leaves_a_group_that_nobody_else_can_deal_deals_no_more_and_writes_all(void **state)
{
	struct crew_terms terms;
	struct world w;

	(void)state;
	leave_alone(&w);
	terms = terms_of(&w, &w.players[0]);
	assert_int_equal(fed_by(&w, 0), 0);
	assert_true(crew_owes(&w.players[0].crew, &terms));
	set_places(&w, 0, 90, 90);
	assert_true(crew_owes(&w.players[0].crew, &terms)); /* Redis has not heard */
	pass(&w, 500);
	assert_false(crew_owes(&w.players[0].crew, &terms));
	assert_places(&w, 90);
	world_fini(&w);
}

static void who_leaves_waits_for_what_was_dealt_until_the_host_had_heard_of_it(void **state)
{
	struct crew_terms terms;
	struct world w;

	(void)state;
	leave_alone(&w);
	set_places(&w, 0, 90, 90);
	w.nodes.list[0].draining = false;
	pass(&w, 500);
	assert_int_equal(fed_by(&w, 0), SHARDS);
	w.nodes.list[0].draining = true;
	call(&w, 0);
	terms = terms_of(&w, &w.players[0]);
	assert_int_equal(fed_by(&w, 0), 0);
	assert_true(crew_owes(&w.players[0].crew, &terms));
	pass(&w, 500);
	terms = terms_of(&w, &w.players[0]);
	assert_false(crew_owes(&w.players[0].crew, &terms));
	world_fini(&w);
}

static void who_is_back_finds_the_shards_where_the_one_that_left_wrote(void **state)
{
	struct world w;

	(void)state;
	leave_alone(&w);
	set_places(&w, 0, 90, 90);
	pass(&w, 500);
	set_dead(&w, 0);
	w.players[1].is_there = true;
	settle(&w);
	assert_int_equal(fed_by(&w, 1), SHARDS);
	assert_int_equal(w.players[1].crew.parts.place.place[3], 90);
	world_fini(&w);
}

static void last_words_are_the_places_and_whose_the_shards_are_to_be(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, false);
	w.players[2].is_there = false;
	settle(&w);
	set_places(&w, 0, 70, 90);
	w.nodes.list[0].draining = true;
	call_last(&w, 0);
	for (uint32_t k = 0; k < SHARDS; k++) {
		bool was_first = w.players[0].crew.parts.state[k] != SHARE_NONE;

		assert_string_equal(w.rows[k].run, w.players[1].run);
		assert_int_equal(w.rows[k].place, was_first ? 70 : 0);
	}
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_target_has_one_feeder_and_begins_where_it_was_found),
		cmocka_unit_test(what_a_dead_node_had_is_taken_at_the_place_written_last),
		cmocka_unit_test(who_leaves_hands_over_when_nothing_is_open),
		cmocka_unit_test(who_gets_no_answer_hands_over_what_was_acknowledged_in_time),
		cmocka_unit_test(who_is_not_connected_leaves_it_to_one_that_is),
		cmocka_unit_test(while_nobody_is_connected_it_stays_but_not_with_a_dead_node),
		cmocka_unit_test(a_journal_that_falls_short_gets_it_last_of_all),
		cmocka_unit_test(while_redis_is_away_nobody_gives_or_takes),
		cmocka_unit_test(what_redis_forgot_goes_on_where_it_is_known_to_be),
		cmocka_unit_test(
			a_group_that_is_new_on_several_nodes_begins_at_the_least_place_of_all),
		cmocka_unit_test(a_shard_of_which_one_journal_knows_nothing_begins_at_0),
		cmocka_unit_test(who_joins_a_group_that_others_deal_changes_no_place),
		cmocka_unit_test(
			who_leaves_a_group_that_nobody_else_can_deal_deals_no_more_and_writes_all),
		cmocka_unit_test(
			who_leaves_waits_for_what_was_dealt_until_the_host_had_heard_of_it),
		cmocka_unit_test(who_is_back_finds_the_shards_where_the_one_that_left_wrote),
		cmocka_unit_test(last_words_are_the_places_and_whose_the_shards_are_to_be),
		cmocka_unit_test(shards_of_a_group_go_one_by_one_and_each_has_one_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
