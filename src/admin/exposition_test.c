#include "admin/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void assert_text(struct buf *out, const char *want)
{
	buf_append(out, "", 1);
	assert_string_equal((const char *)buf_bytes(out), want);
	buf_fini(out);
}

static void a_counter_has_its_suffix_where_each_format_wants_it(void **state)
{
	struct buf out = {0};
	struct buf labels = {0};
	struct exposition e = {&out, true};

	(void)state;
	exposition_label(&labels, "centre_id", VIEW("de-dwd"));
	exposition_label(&labels, "report_by", VIEW("xx-testland-global-broker"));
	exposition_family(&e, METRIC_RECEIVED);
	exposition_count(&e, METRIC_RECEIVED, &labels, 1042);
	exposition_end(&e);
	assert_text(&out,
		"# HELP wmo_wis2_gb_messages_received Number of messages received by broker\n"
		"# TYPE wmo_wis2_gb_messages_received counter\n"
		"wmo_wis2_gb_messages_received_total{centre_id=\"de-dwd\","
		"report_by=\"xx-testland-global-broker\"} 1042\n# EOF\n");
	e.is_openmetrics = false;
	exposition_family(&e, METRIC_RECEIVED);
	exposition_end(&e);
	assert_text(&out,
		"# HELP wmo_wis2_gb_messages_received_total Number of messages received by broker\n"
		"# TYPE wmo_wis2_gb_messages_received_total counter\n");
	buf_fini(&labels);
}

static void label_values_are_escaped(void **state)
{
	struct buf labels = {0};

	(void)state;
	exposition_label(&labels, "rule", VIEW("a\"b\\c\nd"));
	assert_text(&labels, "rule=\"a\\\"b\\\\c\\nd\"");
}

static void histogram_buckets_add_up(void **state)
{
	uint64_t buckets[HISTOGRAM_BUCKETS] = {[0] = 2, [3] = 1, [HISTOGRAM_BUCKETS - 1] = 4};
	struct buf out = {0};
	struct exposition e = {&out, false};

	(void)state;
	exposition_histogram(&e, METRIC_LAG_MESSAGES, NULL, buckets, 10, 1.0);
	buf_append(&out, "", 1);
	assert_non_null(strstr((const char *)buf_bytes(&out), "_bucket{le=\"1\"} 2\n"));
	assert_non_null(strstr((const char *)buf_bytes(&out), "_bucket{le=\"4\"} 2\n"));
	assert_non_null(strstr((const char *)buf_bytes(&out), "_bucket{le=\"8\"} 3\n"));
	assert_non_null(strstr((const char *)buf_bytes(&out), "_bucket{le=\"+Inf\"} 7\n"));
	assert_non_null(strstr((const char *)buf_bytes(&out), "isobar_lag_messages_sum 10\n"));
	assert_non_null(strstr((const char *)buf_bytes(&out), "isobar_lag_messages_count 7\n"));
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_counter_has_its_suffix_where_each_format_wants_it),
		cmocka_unit_test(label_values_are_escaped),
		cmocka_unit_test(histogram_buckets_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
