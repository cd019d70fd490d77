/* Pages as a broker gives them, and others; and the frames made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/top_frame.h"

#define STATUS                                                                                    \
	"{\"centre_id\":\"io-x-global-broker\",\"version\":\"0.1.0\",\"phase\":\"serving\","      \
	"\"uptime_seconds\":93784,\"sources\":{\"total\":2,\"connected\":1},\"clients\":{"        \
	"\"connections\":7,\"sessions_offline\":3,\"behind\":2,\"delivered\":1000,"               \
	"\"delivered_bytes\":2097152},\"journal\":{\"bytes\":1610612736,\"oldest_seconds\":7200," \
	"\"held\":false},\"antiloop\":{\"ids\":42}}"
#define SOURCES                                                                                   \
	"{\"sources\":[{\"name\":\"b\",\"centre_id\":\"de-dwd\",\"state\":\"connected\","         \
	"\"enabled\":true,\"received\":100,\"published\":60,\"duplicates\":30,\"invalid_topic\":" \
	"4,"                                                                                      \
	"\"invalid_format\":3,\"no_metadata\":2,\"foreign\":1,"                                   \
	"\"last_message\":\"1970-01-01T00:16:35Z\"},"                                             \
	"{\"name\":\"a\",\"centre_id\":\"jp-jma\",\"state\":\"waiting\",\"enabled\":false,"       \
	"\"received\":5000000,\"published\":0,\"last_message\":null}]}"
#define METRICS                                                                      \
	"# HELP x\nisobar_lag_most_seconds 1.5\n"                                    \
	"isobar_publication_delay_seconds_bucket{centre_id=\"de-dwd\",le=\"1\"} 3\n" \
	"isobar_publication_delay_seconds_sum{centre_id=\"de-dwd\"} 250\n"           \
	"isobar_publication_delay_seconds_count{centre_id=\"de-dwd\"} 100\n"

static struct top_sample sample(const char *status, const char *sources, const char *metrics)
{
	struct top_sample s = {.at_ms = 11000, .wall_ms = 1000000};

	assert_true(top_read_status(&s, view_of(status)));
	assert_true(top_read_sources(&s, view_of(sources)));
	top_read_metrics(&s, view_of(metrics));
	return s;
}

/* The frame as a text; the caller frees. */
static char *frame(
	struct top_view *v, const struct top_sample *now, const struct top_sample *before)
{
	struct buf out = {0};
	char *text;

	top_frame(v, now, before, &out);
	text = strndup((const char *)buf_bytes(&out), buf_length(&out));
	buf_fini(&out);
	return text;
}

static const char *line(const char *text, unsigned n)
{
	while (n-- && text)
		text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
	return text;
}

static bool starts(const char *text, const char *with)
{
	return text && strncmp(text, with, strlen(with)) == 0;
}

static void figures_are_read_from_the_pages(void **state)
{
	struct top_sample s = sample(STATUS, SOURCES, METRICS);

	(void)state;
	assert_string_equal(s.centre_id, "io-x-global-broker");
	assert_int_equal(s.uptime_s, 93784);
	assert_int_equal(s.connections, 7);
	assert_int_equal(s.delivered_bytes, 2097152);
	assert_int_equal(s.ids, 42);
	assert_true(s.lag_s == 1.5);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.sources[0].name, "a"); /* in order */
	assert_string_equal(s.sources[0].state, "disabled");
	assert_int_equal(s.sources[1].refused, 10);
	assert_int_equal(s.sources[1].last_ms, 995000);
	assert_true(s.sources[1].delay_sum == 250 && s.sources[1].delay_count == 100);
	top_sample_fini(&s);
}

static void what_is_no_such_page_is_refused(void **state)
{
	static const char *const pages[] = {
		"", "x", "[]", "{", "{\"sources\":3}", "null", "{\"sources\":{},\"sources\":{}}"};

	(void)state;
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		struct top_sample s = {0};

		assert_false(top_read_sources(&s, view_of(pages[i])));
		top_sample_fini(&s);
	}
}

static void odd_figures_count_as_nothing(void **state)
{
	static const char *const values[] = {"NaN", "-1", "", "x", "1e300", "+Inf"};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char text[64];
		struct top_sample s = {.lag_s = 7};

		snprintf(text, sizeof(text), "isobar_lag_most_seconds %s\n", values[i]);
		top_read_metrics(&s, view_of(text));
		assert_true(s.lag_s == 0);
	}
}

static void rates_are_over_the_time_between_two_samples(void **state)
{
	struct top_sample before = sample(STATUS, SOURCES, METRICS);
	struct top_sample now = sample(STATUS, SOURCES, METRICS);
	struct top_view v = {.width = 80};
	char *text;

	(void)state;
	before.at_ms = 1000; /* ten seconds before */
	now.delivered += 2000;
	now.delivered_bytes += 10 << 20;
	now.sources[1].received += 15;
	now.sources[1].refused = 3; /* began anew */
	now.sources[1].delay_sum += 30;
	now.sources[1].delay_count += 15;
	text = frame(&v, &now, &before);
	assert_true(starts(line(text, 0), "io-x-global-broker 0.1.0 serving  up 1d02h03m\n"));
	assert_true(starts(line(text, 1),
		"sources 1 of 2  in 1.5/s  published 0.0/s  repeats 0.0/s  refused 0.3/s\n"));
	assert_true(starts(line(text, 2),
		"subscribers 7  offline 3  behind 2  out 200.0/s 1.0 MiB/s  lag 1.5s\n"));
	assert_true(starts(line(text, 3), "journal 1.5 GiB  holds 2.0h  antiloop 42 ids\n"));
	assert_true(starts(line(text, 5), "a "));
	assert_non_null(
		strstr(line(text, 6), "connected      1.5    0.0    0.0    0.3   2.0s   5.0s\n"));
	free(text);
	top_sample_fini(&now);
	top_sample_fini(&before);
}

static void sources_are_sorted_and_scrolled(void **state)
{
	struct top_sample s = sample(STATUS, SOURCES, METRICS), none = {0};
	struct top_view v = {.width = 80, .height = 5 + 2, .order = TOP_BY_LAST};
	char *text = frame(&v, &s, &none);

	(void)state;
	assert_true(starts(line(text, 5), "b ")); /* the other has had none */
	assert_true(starts(line(text, 6), "by last; sort:"));
	free(text);
	v.first = 100;
	text = frame(&v, &s, &none);
	assert_int_equal(v.first, 1);
	assert_true(starts(line(text, 5), "a "));
	free(text);
	top_sample_fini(&s);
}

#define NODE(name, state, alive, mode)                                                       \
	"{\"name\":\"" name "\",\"state\":\"" state "\",\"alive\":" alive ",\"mode\":" mode  \
	",\"silent_seconds\":75.2,\"received_per_second\":20.5,\"published_per_second\":10," \
	"\"delivered_per_second\":30,\"lag_seconds\":0.5,\"clients\":7,\"sources_connected\":4}"
#define CLUSTER                                                                           \
	"{\"cluster\":{\"node\":\"a\",\"total\":{\"nodes\":{\"alive\":2},\"clients\":14," \
	"\"published_per_second\":20,\"delivered_per_second\":60},\"nodes\":[" NODE(      \
		"a", "alive", "true", "\"ok\"") "," NODE("b", "dead", "false",            \
		"null") "," NODE("c", "draining", "true", "\"degraded\"") "]}}"

static void nodes_of_a_cluster_stand_in_the_head_those_not_well_first(void **state)
{
	struct top_sample s = sample(CLUSTER, SOURCES, METRICS), none = {0};
	struct top_view v = {.width = 80, .height = 5 + 5 + 2};
	char *text = frame(&v, &s, &none);

	(void)state;
	assert_int_equal(top_head_lines(&s), 5 + 5);
	assert_true(starts(line(text, 4), "whole cluster: nodes alive 2 of 3  subscribers 14  "
					  "published 20.0/s  out 60.0/s\n"));
	assert_true(starts(line(text, 5), "NODE "));
	assert_true(starts(line(text, 6), "b                  dead                for  75.2s\n"));
	assert_true(starts(line(text, 7), "c                  draining degraded "));
	assert_true(starts(line(text, 8), "a                  alive ok              20.5   10.0   "
					  "30.0   0.5s      4      7\n"));
	assert_true(starts(line(text, 9), "SOURCE "));
	assert_true(starts(line(text, 10), "a ")); /* a source */
	free(text);
	top_sample_fini(&s);
}

static void of_many_nodes_some_are_shown(void **state)
{
	struct top_sample s = sample(CLUSTER, SOURCES, METRICS), none = {0};
	struct top_view v = {.width = 80};
	char *text;

	(void)state;
	s.nodes = mem_resize(s.nodes, 20 * sizeof(*s.nodes));
	for (uint32_t i = 3; i < 20; i++)
		s.nodes[i] = s.nodes[2];
	s.node_count = 20;
	text = frame(&v, &s, &none);
	assert_true(starts(line(text, top_head_lines(&s) - 2), "and 12 more nodes\n"));
	assert_true(starts(line(text, top_head_lines(&s) - 1), "SOURCE "));
	free(text);
	top_sample_fini(&s);
}

static void every_key_of_the_table_is_an_order(void **state)
{
	enum top_order order;

	(void)state;
	assert_true(top_order_of('y', &order));
	assert_int_equal(order, TOP_BY_DELAY);
	assert_false(top_order_of('q', &order));
	assert_false(top_order_of('\0', &order));
}

static void no_line_is_wider_than_the_screen_nor_has_control_bytes(void **state)
{
	static const uint32_t widths[] = {0, 40, 79, 80, 200, 100000};
	struct top_sample s = sample(STATUS, SOURCES, METRICS), none = {0};

	(void)state;
	strcpy(s.sources[0].name, "evil\033[2J\nname\xff");
	strcpy(s.centre_id, "\033]0;x\a");
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		struct top_view v = {.width = widths[i]};
		char *text = frame(&v, &s, &none);
		uint32_t most = v.width;

		for (const char *p = text, *end; (end = strchr(p, '\n')) != NULL; p = end + 1)
			assert_true((size_t)(end - p) <= most);
		for (const char *p = text; *p; p++)
			assert_true(*p == '\n' || (*p >= ' ' && *p < 0x7f));
		assert_non_null(strstr(text, "evil\\x1b"));
		free(text);
	}
	top_sample_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_read_from_the_pages),
		cmocka_unit_test(what_is_no_such_page_is_refused),
		cmocka_unit_test(odd_figures_count_as_nothing),
		cmocka_unit_test(rates_are_over_the_time_between_two_samples),
		cmocka_unit_test(sources_are_sorted_and_scrolled),
		cmocka_unit_test(nodes_of_a_cluster_stand_in_the_head_those_not_well_first),
		cmocka_unit_test(of_many_nodes_some_are_shown),
		cmocka_unit_test(every_key_of_the_table_is_an_order),
		cmocka_unit_test(no_line_is_wider_than_the_screen_nor_has_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
