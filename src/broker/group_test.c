#include "broker/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/segment_of.h"

struct fixture {
	struct groups groups;
	struct accounts *accounts;
	struct gate_settings checks;
	struct made_segment made;
};

static void start(struct fixture *f)
{
	*f = (struct fixture){0};
	gate_settings_default(&f->checks);
	f->accounts = accounts_public(&f->checks);
	groups_init(&f->groups);
}

static void end(struct fixture *f)
{
	groups_fini(&f->groups);
	accounts_unref(f->accounts);
	made_fini(&f->made);
}

static struct group *join(
	struct fixture *f, uint8_t version, const char *const *filters, uint8_t qos)
{
	struct subscriptions s = {0};
	struct group *group;

	for (int i = 0; filters[i]; i++)
		subscriptions_put(&s, &(struct subscription){.filter = view_of(filters[i]),
					      .qos = qos,
					      .from = (uint64_t)i * 7});
	group = group_join(&f->groups, &s, version, f->accounts, &f->accounts->list[0], NULL);
	subscriptions_fini(&s);
	return group;
}

static void sessions_with_equal_filters_share_a_group(void **state)
{
	const char *const ab[] = {"a/#", "b", NULL};
	const char *const ba[] = {"b", "a/#", NULL};
	const char *const a[] = {"a/#", NULL};
	struct fixture f;
	struct group *first;

	(void)state;
	start(&f);
	first = join(&f, 4, ab, 1);
	assert_ptr_equal(join(&f, 4, ba, 1), first);
	assert_ptr_not_equal(join(&f, 5, ab, 1), first);
	assert_ptr_not_equal(join(&f, 4, ab, 0), first);
	assert_ptr_not_equal(join(&f, 4, a, 1), first);
	assert_int_equal(first->sessions, 2);
	end(&f);
}

static void only_qos_0_of_version_3_is_served_with_the_journals_bytes(void **state)
{
	const char *const filters[] = {"a", NULL};
	struct fixture f;

	(void)state;
	start(&f);
	assert_true(join(&f, 4, filters, 0)->is_direct);
	assert_false(join(&f, 4, filters, 1)->is_direct);
	assert_false(join(&f, 5, filters, 0)->is_direct);
	end(&f);
}

static void a_match_names_each_group_once_with_its_best_qos(void **state)
{
	struct fixture f;
	struct subscriptions s = {0};
	struct group *group;
	const struct match *m;

	(void)state;
	start(&f);
	subscriptions_put(&s, &(struct subscription){.filter = VIEW("a/#"), .qos = 0});
	subscriptions_put(&s, &(struct subscription){.filter = VIEW("a/+"), .qos = 1});
	group = group_join(&f.groups, &s, 4, f.accounts, &f.accounts->list[0], NULL);
	made_add(&f.made, 0, "a/b", "x", "", 1);
	m = match_record(&f.groups, &f.made.segment, &f.made.entries[0]);
	assert_int_equal(m->count, 1);
	assert_ptr_equal(m->items[0].group, group);
	assert_int_equal(m->items[0].qos, 1);
	subscriptions_fini(&s);
	end(&f);
}

static void matches_follow_groups_that_come_and_go(void **state)
{
	const char *const filters[] = {"a/b", NULL};
	const char *const wild[] = {"+/b", NULL};
	struct fixture f;
	struct group *group;

	(void)state;
	start(&f);
	made_add(&f.made, 3, "a/b", "x", "", 1);
	assert_int_equal(match_record(&f.groups, &f.made.segment, &f.made.entries[0])->count, 0);
	group = join(&f, 4, filters, 1);
	join(&f, 4, wild, 1);
	assert_int_equal(match_record(&f.groups, &f.made.segment, &f.made.entries[0])->count, 2);
	group_leave(&f.groups, group);
	assert_int_equal(match_record(&f.groups, &f.made.segment, &f.made.entries[0])->count, 1);
	end(&f);
}

static void a_topic_number_means_another_topic_in_another_segment(void **state)
{
	const char *const filters[] = {"a", NULL};
	struct fixture f;
	struct group *group;
	struct made_segment other = {0};

	(void)state;
	start(&f);
	group = join(&f, 4, filters, 1);
	made_add(&f.made, 0, "a", "x", "", 1);
	made_add(&other, 0, "b", "x", "", 1);
	other.segment.number = 2;
	assert_int_equal(match_record(&f.groups, &f.made.segment, &f.made.entries[0])->count, 1);
	assert_int_equal(match_record(&f.groups, &other.segment, &other.entries[0])->count, 0);
	assert_int_equal(group_wants(group, &f.made.segment, &f.made.entries[0]), 1);
	assert_int_equal(group_wants(group, &other.segment, &other.entries[0]), -1);
	assert_int_equal(group_wants(group, &f.made.segment, &f.made.entries[0]), 1);
	made_fini(&other);
	end(&f);
}

static void what_is_delivered_is_at_most_as_published(void **state)
{
	const char *const filters[] = {"a", NULL};
	struct fixture f;
	struct group *group;

	(void)state;
	start(&f);
	group = join(&f, 4, filters, 1);
	made_add(&f.made, 0, "a", "x", "", 0);
	made_add(&f.made, 0, "a", "x", "", 2);
	assert_int_equal(group_wants(group, &f.made.segment, &f.made.entries[0]), 0);
	assert_int_equal(group_wants(group, &f.made.segment, &f.made.entries[1]), 1);
	end(&f);
}

static void a_filter_does_not_match_records_before_it_was_made(void **state)
{
	struct subscriptions s = {0};
	struct fixture f;

	(void)state;
	start(&f);
	subscriptions_put(&s, &(struct subscription){.filter = VIEW("a"), .qos = 1, .from = 10});
	made_add(&f.made, 0, "a", "x", "", 1);
	assert_int_equal(subscriptions_want(
				 &s, &f.accounts->list[0], &f.made.segment, &f.made.entries[0], 9),
		-1);
	assert_int_equal(subscriptions_want(
				 &s, &f.accounts->list[0], &f.made.segment, &f.made.entries[0], 10),
		1);
	subscriptions_fini(&s);
	end(&f);
}

static void more_topics_than_are_remembered_still_match(void **state)
{
	const char *const filters[] = {"t/#", NULL};
	struct fixture f;

	(void)state;
	start(&f);
	join(&f, 4, filters, 1);
	for (uint32_t i = 0; i < 70000; i++) {
		struct made_segment made = {0};
		char topic[32];

		snprintf(topic, sizeof(topic), "t/%u", i);
		made_add(&made, i, topic, "x", "", 1);
		assert_int_equal(
			match_record(&f.groups, &made.segment, &made.entries[0])->count, 1);
		made_fini(&made);
	}
	assert_true(f.groups.matches.count <= 65536);
	end(&f);
}

static void what_a_subscriber_published_skips_its_no_local_filters(void **state)
{
	struct subscriptions s = {0};
	struct made_segment made = {0};
	struct account account = {0};

	(void)state;
	made_add(&made, 0, "a/b", "x", "", 2);
	made_add(&made, 1, "a/c", "x", "", 2);
	subscriptions_put(
		&s, &(struct subscription){
			    .filter = VIEW("a/#"), .qos = 2, .options = SUBSCRIPTION_NO_LOCAL});
	subscriptions_put(&s, &(struct subscription){.filter = VIEW("a/b"), .qos = 1});
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(
			subscriptions_want(&s, &account, &made.segment, &made.entries[i], i), 2);
	assert_int_equal(
		subscriptions_want_own(&s, &account, &made.segment, &made.entries[0], 0), 1);
	assert_int_equal(
		subscriptions_want_own(&s, &account, &made.segment, &made.entries[1], 1), -1);
	subscriptions_fini(&s);
	made_fini(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_subscriber_published_skips_its_no_local_filters),
		cmocka_unit_test(sessions_with_equal_filters_share_a_group),
		cmocka_unit_test(only_qos_0_of_version_3_is_served_with_the_journals_bytes),
		cmocka_unit_test(a_match_names_each_group_once_with_its_best_qos),
		cmocka_unit_test(matches_follow_groups_that_come_and_go),
		cmocka_unit_test(a_topic_number_means_another_topic_in_another_segment),
		cmocka_unit_test(what_is_delivered_is_at_most_as_published),
		cmocka_unit_test(a_filter_does_not_match_records_before_it_was_made),
		cmocka_unit_test(more_topics_than_are_remembered_still_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
