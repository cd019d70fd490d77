#include "admin/collection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "wis2/json.h"

#define FEATURE "{\"type\":\"Feature\",\"geometry\":null,\"properties\":{}}"
#define TIME 1795327200250u
#define TIME_TEXT "2026-11-22T06:00:00.250Z"

static void what_is_a_feature(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} rows[] = {
		{FEATURE, true},
		{" \n" FEATURE "\r\n", true},
		{"{\"properties\":null,\"geometry\":{\"type\":\"Point\",\"coordinates\":[1,2]},"
		 "\"type\":\"Feature\",\"links\":[{}]}",
			true},
		{FEATURE FEATURE, false},
		{FEATURE "x", false},
		{"[" FEATURE "]", false},
		{"{\"type\":\"feature\",\"geometry\":null,\"properties\":{}}", false},
		{"{\"type\":[\"Feature\"],\"geometry\":null,\"properties\":{}}", false},
		{"{\"type\":\"Feature\",\"geometry\":[],\"properties\":{}}", false},
		{"{\"type\":\"Feature\",\"geometry\":null,\"properties\":1}", false},
		{"{\"geometry\":null,\"properties\":{}}", false},
		{"{\"type\":\"Feature\",\"properties\":{}}", false},
		{"{\"type\":\"Feature\",\"geometry\":null}", false},
		{"{\"type\":\"Feature\",\"geometry\":null,\"properties\":{}", false},
		{"{\"type\":\"Feature\",\"geometry\":null,\"properties\":{\"a\":\"\xff\"}}", false},
		{"{\"specversion\":\"1.0\"}", false},
		{"null", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (collection_is_feature(view_of(rows[i].text)) != rows[i].want)
			fail_msg("%s: wanted %d", rows[i].text, rows[i].want);
}

/* A feature of n bytes. */
static char *feature_of(size_t n)
{
	const char *head = "{\"type\":\"Feature\",\"geometry\":null,\"properties\":{\"a\":\"";
	char *text = mem_new(n + 1);
	size_t at = strlen(head);

	memset(text, 'x', n);
	memcpy(text, head, at);
	memcpy(text + n - 3, "\"}}", 3);
	return text;
}

static void a_feature_is_at_most_as_long_as_a_notification(void **state)
{
	char *text = feature_of(JSON_LARGEST + 1);
	char *fits = feature_of(JSON_LARGEST);

	(void)state;
	assert_true(collection_is_feature(view_of(fits)));
	assert_false(collection_is_feature(view_of(text)));
	free(text);
	free(fits);
}

static void assert_text(struct buf *got, const char *want)
{
	buf_append(got, "", 1);
	assert_string_equal((const char *)buf_bytes(got), want);
	buf_fini(got);
}

static void a_collection_has_payloads_as_they_are_and_topics_beside_them(void **state)
{
	struct collection c = {.limit = 10};
	struct buf out = {0};

	(void)state;
	assert_true(collection_add(&c, VIEW("a/\"b"), TIME, VIEW(" " FEATURE "\n")));
	assert_true(collection_add(&c, VIEW("a"), TIME, VIEW("no feature")));
	assert_true(collection_add(&c, VIEW("c"), TIME, VIEW(FEATURE)));
	collection_finish(&c, VIEW("/next?a&b"), TIME, &out);
	assert_text(&out,
		"{\"type\":\"FeatureCollection\",\"numberReturned\":2,\"numberOmitted\":1,"
		"\"timeStamp\":\"" TIME_TEXT "\",\"links\":[{\"rel\":\"next\",\"type\":"
		"\"application/geo+json\",\"href\":\"/next?a&b\"}],\n"
		"\"records\":[{\"topic\":\"a/\\\"b\",\"time\":\"" TIME_TEXT "\"},\n"
		"{\"topic\":\"c\",\"time\":\"" TIME_TEXT "\"}],\n"
		"\"features\":[ " FEATURE "\n,\n" FEATURE "]}\n");
}

static void an_empty_collection_is_a_document_too(void **state)
{
	struct collection c = {.limit = 10};
	struct buf out = {0};

	(void)state;
	collection_finish(&c, (struct view){NULL, 0}, TIME, &out);
	assert_text(&out,
		"{\"type\":\"FeatureCollection\",\"numberReturned\":0,\"numberOmitted\":0,"
		"\"timeStamp\":\"" TIME_TEXT
		"\",\"links\":[],\n\"records\":[],\n\"features\":[]}\n");
}

static void lines_hold_any_bytes(void **state)
{
	struct collection c = {.form = COLLECTION_LINES, .limit = 10};
	struct buf out = {0};

	(void)state;
	assert_true(collection_add(&c, VIEW("a"), TIME, VIEW("{\n\"b\":1}")));
	assert_true(collection_add(&c, VIEW("a"), TIME, VIEW("\0\x7f")));
	assert_true(collection_add(&c, VIEW("a"), TIME, VIEW("\xff\xfe\xfd\xfc")));
	assert_true(collection_add(&c, VIEW("a"), TIME, VIEW("")));
	collection_finish(&c, (struct view){NULL, 0}, TIME, &out);
	assert_text(&out,
		"{\"topic\":\"a\",\"time\":\"" TIME_TEXT "\",\"payload\":\"{\\n\\\"b\\\":1}\"}\n"
		"{\"topic\":\"a\",\"time\":\"" TIME_TEXT "\",\"payload\":\"\\u0000\\u007f\"}\n"
		"{\"topic\":\"a\",\"time\":\"" TIME_TEXT "\",\"payload_base64\":\"//79/A==\"}\n"
		"{\"topic\":\"a\",\"time\":\"" TIME_TEXT "\",\"payload\":\"\"}\n");
}

static void a_full_collection_takes_nothing_more(void **state)
{
	struct collection few = {.limit = 2};
	struct collection large = {.form = COLLECTION_LINES, .limit = 1000000};
	char *text = feature_of(8000);
	struct view payload = view_of(text);

	(void)state;
	assert_true(collection_add(&few, VIEW("a"), TIME, payload));
	assert_true(collection_add(&few, VIEW("a"), TIME, VIEW("left out")));
	assert_true(collection_add(&few, VIEW("a"), TIME, payload));
	assert_false(collection_add(&few, VIEW("a"), TIME, payload));
	assert_false(collection_add(&few, VIEW("a"), TIME, VIEW("left out")));
	assert_int_equal(few.count, 2);
	assert_int_equal(few.omitted, 1);
	while (collection_add(&large, VIEW("a"), TIME, payload))
		assert_true(large.count <= COLLECTION_BYTES / 8000 + 1);
	assert_true(buf_length(&large.text) >= COLLECTION_BYTES);
	collection_fini(&few);
	collection_fini(&large);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_feature),
		cmocka_unit_test(a_feature_is_at_most_as_long_as_a_notification),
		cmocka_unit_test(a_collection_has_payloads_as_they_are_and_topics_beside_them),
		cmocka_unit_test(an_empty_collection_is_a_document_too),
		cmocka_unit_test(lines_hold_any_bytes),
		cmocka_unit_test(a_full_collection_takes_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
