/* Each rule on both sides of its boundary: one valid message, one piece of its text replaced. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "wis2/notification.h"

#define LINK                                                                               \
	"{\"rel\":\"canonical\",\"type\":\"text/plain\",\"length\":53,\"href\":\"https://" \
	"example.org/1\"}"
#define CONF "\"http://wis.wmo.int/spec/wnm/1/conf/core\""
#define DIGEST "\"4knFVQQKbvCvCyqKCW5x3mbw7Gl3bd4yT7sGxEqAwVk=\""

static const char base[] =
	"{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"conformsTo\":[" CONF
	"],\"type\":\"Feature\","
	"\"geometry\":{\"type\":\"Point\",\"coordinates\":[6,46,371.5]},"
	"\"properties\":{\"pubtime\":\"2026-03-21T12:07:44Z\",\"datetime\":\"2026-03-21T12:00:"
	"00Z\","
	"\"data_id\":\"d/1\",\"metadata_id\":\"urn:wmo:md:de-dwd:synop\","
	"\"integrity\":{\"method\":\"sha256\",\"value\":" DIGEST "},"
	"\"content\":{\"encoding\":\"utf-8\",\"size\":3,\"value\":\"abc\"}},\"links\":[" LINK "]}";

/* The text with the first `from` replaced by `to`. */
static struct view change(char *out, size_t size, const char *from, const char *to)
{
	const char *at = strstr(base, from);
	int n;

	if (at == NULL)
		fail_msg("not in the message: %s", from);
	n = snprintf(out, size, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
	assert_true(n > 0 && (size_t)n < size);
	return (struct view){out, (size_t)n};
}

static enum rule judge(struct view payload, enum rule_mode mode, struct findings *found)
{
	struct notification_options options = {.mode = mode};
	struct notification note;

	return notification_judge(payload, &options, &note, found);
}

struct row {
	const char *from, *to;
	enum rule rule; /* broken from `mode` on; RULE_NONE: valid in every mode */
	enum rule_mode mode;
};

#define COORDINATES "\"coordinates\":[6,46,371.5]"
#define GEOMETRY "{\"type\":\"Point\",\"coordinates\":[6,46,371.5]}"
#define POLYGON(rings) "{\"type\":\"Polygon\",\"coordinates\":" rings "}"
#define PUBTIME "\"pubtime\":\"2026-03-21T12:07:44Z\","
#define DATETIME "\"datetime\":\"2026-03-21T12:00:00Z\""
#define METADATA_ID "\"metadata_id\":\"urn:wmo:md:de-dwd:synop\""
#define INTEGRITY "{\"method\":\"sha256\",\"value\":" DIGEST "}"
#define CONTENT "{\"encoding\":\"utf-8\",\"size\":3,\"value\":\"abc\"}"
#define START(t) "\"start_datetime\":\"2026-03-21T" t "\""
#define END(t) "\"end_datetime\":\"2026-03-21T" t "\""
#define SECURITY(schemes) "\"security\":{" schemes "},\"type\":\"text/plain\""
#define VALID RULE_NONE, MODE_LENIENT
#define LENIENT(n) RULE_WNM_##n, MODE_LENIENT
#define STANDARD(n) RULE_WNM_##n, MODE_STANDARD
#define STRICT(n) RULE_WNM_##n, MODE_STRICT

static const struct row rows[] = {
	{"{\"id\"", " \n{\"id\"", VALID}, {"{\"id\"", "\xef\xbb\xbf{\"id\"", LENIENT(02)},
	{"text/plain", "\xc3\xa9", VALID}, {"text/plain", "\xc3", LENIENT(02)},
	{"text/plain", "\xed\xa0\x80", LENIENT(02)}, {"]}", "]},", LENIENT(03)},
	{"371.5", "0371.5", LENIENT(03)},
	{"\"Feature\",", "\"Feature\",\"type\":\"Feature\",", STANDARD(05)},
	{"53", "53,\"x\":{\"a\":[{\"b\":1,\"\\u0062\":2}]}", STANDARD(05)},
	{"text/plain", "\\ud83d\\ude00", VALID}, {"text/plain", "\\ud83d", LENIENT(07)},
	{"\"Feature\"", "\"F\\u0065ature\"", VALID}, {"\"Feature\"", "\"feature\"", LENIENT(10)},
	{"\"type\":\"Feature\",", "", LENIENT(10)}, {"\"Feature\"", "null", LENIENT(10)},
	{"\"id\"", "\"ID\"", LENIENT(11)},
	{"\"0f8fad5b-d9cb-469f-a165-70867728950e\"", "1", LENIENT(11)}, {"0f8f", "0F8F", VALID},
	{"0f8f", "0g8f", LENIENT(12)}, {"950e\"", "950e\\u0000\"", LENIENT(12)},
	{"0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000000",
		STRICT(12)},
	{"0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000001", VALID},
	{"\"conformsTo\":[" CONF "],", "", LENIENT(13)},
	{"\"conformsTo\":[" CONF "],", "\"version\":\"v04\",", VALID},
	{"\"conformsTo\":", "\"version\":\"v04\",\"conformsTo\":", LENIENT(13)},
	{"[" CONF "]", "[1,{\"a\":[]},null," CONF "]", VALID}, {"[" CONF "]", CONF, LENIENT(14)},
	{"http://wis", "http:\\/\\/wis", VALID}, {"http://wis", "https://wis", LENIENT(14)},
	{"conf/core", "conf/core/", LENIENT(14)}, {"[" CONF "]", "[]", LENIENT(14)},
	{"\"conformsTo\":[" CONF "]", "\"version\":\"v03\"", LENIENT(15)},
	{"\"conformsTo\":[" CONF "]", "\"version\":4", LENIENT(15)}, {GEOMETRY, "null", VALID},
	{GEOMETRY, "{}", LENIENT(16)}, {GEOMETRY, "false", LENIENT(16)},
	{"\"Point\"", "\"point\"", LENIENT(16)}, {"\"geometry\":" GEOMETRY ",", "", LENIENT(16)},
	{"\"type\":\"Point\"," COORDINATES, COORDINATES ",\"type\":\"Point\"", VALID},
	{"\"type\":\"Point\"," COORDINATES, "\"coordinates\":[6,200],\"type\":\"Point\"",
		STANDARD(20)},
	{"\"type\":\"Point\"," COORDINATES, "\"coordinates\":[\"6\",2],\"type\":\"Point\"",
		LENIENT(17)},
	{"[6,46,371.5]", "[6,46]", VALID}, {"[6,46,371.5]", "[6]", LENIENT(17)},
	{"[6,46,371.5]", "[6,46,true]", LENIENT(17)}, {"[6,46,371.5]", "{}", LENIENT(17)},
	{"," COORDINATES, "", LENIENT(17)}, {"[6,46,371.5]", "null", LENIENT(17)},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1,1],[0,0]]]"), VALID},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1,1],[0.0,0e1]]]"), VALID},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[0,0]]]"), LENIENT(18)},
	{GEOMETRY, POLYGON("[[0,0],[1,0],[1,1],[0,0]]"), LENIENT(18)},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1],[0,0]]]"), LENIENT(18)},
	{GEOMETRY, "{\"type\":\"Polygon\"}", LENIENT(18)},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1,1],[0,1]]]"), STANDARD(19)},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1,1],[0,0,0]]]"), STANDARD(19)},
	{GEOMETRY, POLYGON("[[[0,0],[1,0],[1,91],[0,0]]]"), STANDARD(20)}, {"[6,", "[180,", VALID},
	{"[6,", "[-180,", VALID}, {"[6,", "[180.1,", STANDARD(20)}, {"6,46", "6,-90", VALID},
	{"6,46", "6,-90.1", STANDARD(20)}, {"371.5", "1e999", STANDARD(20)},
	{"371.5", "1,2", STRICT(21)}, {GEOMETRY, POLYGON("[]"), STRICT(21)},
	{"\"properties\":{", "\"properties\":null,\"p\":{", LENIENT(22)},
	{PUBTIME, "", LENIENT(30)}, {PUBTIME, "\"pubtime\":1,", LENIENT(30)},
	{PUBTIME, "\"pubtime\":\"\",", LENIENT(31)},
	{PUBTIME, "\"pubtime\":\"2026-03-21T12:07:44.123456789Z\",", VALID},
	{PUBTIME, "\"pubtime\":\"2026-03-21T12:07:44+01:00\",", STANDARD(32)},
	{PUBTIME, "\"pubtime\":\"2026-03-21T12:07:44+00:00\",", STRICT(32)},
	{PUBTIME, "\"pubtime\":\"2026-03-21t12:07:44Z\",", STRICT(32)},
	{"\"data_id\":\"d/1\",", "", LENIENT(33)}, {"\"d/1\"", "null", LENIENT(33)},
	{"\"d/1\"", "\"\"", STANDARD(34)},
	{DATETIME, START("00:00:00Z") "," END("06:00:00Z"), VALID}, {DATETIME ",", "", LENIENT(35)},
	{DATETIME, START("00:00:00Z"), LENIENT(35)}, {DATETIME, END("00:00:00Z"), LENIENT(35)},
	{DATETIME, DATETIME "," START("00:00:00Z") "," END("06:00:00Z"), LENIENT(36)},
	{DATETIME, "\"datetime\":null", VALID}, {DATETIME, "\"datetime\":false", LENIENT(37)},
	{DATETIME, "\"datetime\":\"yesterday\"", LENIENT(37)},
	{DATETIME, START("00:00:00Z") ",\"end_datetime\":null", LENIENT(38)},
	{DATETIME, START("00:00:00Z") ",\"end_datetime\":\"..\"", LENIENT(38)},
	{DATETIME, START("00:00:00+01:00") "," END("06:00:00Z"), STANDARD(39)},
	{DATETIME, "\"datetime\":\"2026-03-21T12:00:00z\"", STRICT(39)},
	{DATETIME, DATETIME "," END("06:00:00Z"), STRICT(40)},
	{DATETIME, START("06:00:00.1Z") "," END("06:00:00.1Z"), VALID},
	{DATETIME, START("06:00:00.1Z") "," END("06:00:00Z"), STRICT(41)},
	{METADATA_ID ",", "", VALID}, {METADATA_ID, "\"metadata_id\":null", LENIENT(42)},
	{METADATA_ID, "\"metadata_id\":\"urn:wmo:md:de-dwd:\"", STRICT(43)},
	{METADATA_ID, "\"metadata_id\":\"urn:wmo:md:de-dwd\"", STRICT(43)},
	{METADATA_ID, "\"metadata_id\":\"urn:wmo:md:de-dwd:a:b\"", VALID},
	{METADATA_ID, "\"metadata_id\":\"urn:wmo:md:de-dwd:a b\"", STRICT(43)},
	{METADATA_ID, "\"metadata_id\":\"urn:wmo:md:de-dwd:a;b\"", STRICT(43)},
	{DATETIME, DATETIME ",\"producer\":\"x\"", VALID},
	{DATETIME, DATETIME ",\"producer\":{}", LENIENT(45)},
	{DATETIME, DATETIME ",\"global-cache\":\"x\"", VALID},
	{DATETIME, DATETIME ",\"global-cache\":true", LENIENT(46)},
	{DATETIME, DATETIME ",\"cache\":false", VALID},
	{DATETIME, DATETIME ",\"cache\":0", LENIENT(48)},
	{INTEGRITY, "{\"method\":\"sha256\"}", LENIENT(49)}, {INTEGRITY, "[]", LENIENT(49)},
	{"sha256", "sha3-256", VALID}, {"sha256", "SHA256", LENIENT(50)},
	{DIGEST, "1", LENIENT(51)}, {"sha256", "sha384", STRICT(52)}, {"wVk=", "wVk", STRICT(52)},
	{CONTENT, "{\"encoding\":\"utf-8\",\"size\":3}", LENIENT(53)},
	{CONTENT, "null", LENIENT(53)}, {"\"utf-8\"", "\"UTF-8\"", LENIENT(54)},
	{"\"abc\"", "[]", LENIENT(55)}, {"\"size\":3", "\"size\":3.0", VALID},
	{"\"size\":3", "\"size\":3.5", LENIENT(57)}, {"\"size\":3", "\"size\":\"3\"", LENIENT(57)},
	{"\"size\":3", "\"size\":4096", STRICT(59)}, {"\"size\":3", "\"size\":4097", LENIENT(57)},
	{"\"size\":3", "\"size\":-1", STANDARD(58)}, {"\"size\":3", "\"size\":1e999", LENIENT(57)},
	{"\"abc\"", "\"\\u00e9c\"", VALID},
	{"\"utf-8\",\"size\":3,\"value\":\"abc\"", "\"base64\",\"size\":3,\"value\":\"YWJj\"",
		VALID},
	{"\"utf-8\",\"size\":3,\"value\":\"abc\"", "\"base64\",\"size\":4,\"value\":\"YWJj\"",
		STRICT(59)},
	{"\"utf-8\",\"size\":3,\"value\":\"abc\"", "\"gzip\",\"size\":3,\"value\":\"YWJj\"",
		STRICT(59)},
	{"[" LINK "]", "[]", LENIENT(60)}, {"[" LINK "]", LINK, LENIENT(60)},
	{",\"links\":[" LINK "]", "", LENIENT(60)}, {"[" LINK "]", "[" LINK ",1]", LENIENT(61)},
	{"\"rel\":\"canonical\",", "", LENIENT(61)}, {"\"canonical\"", "null", LENIENT(62)},
	{"\"https://example.org/1\"", "null", LENIENT(63)}, {"https://", "HTTPS://", VALID},
	{"https://", "ftp://", VALID}, {"https://", "sftp://", VALID},
	{"https://", "file://", STANDARD(64)}, {"https://", "https:///", STANDARD(64)},
	{"https://example.org/1", "https://", STANDARD(64)},
	{"https://", "https://?", STANDARD(64)}, {"https://example.org/1", "https://h", VALID},
	{"\"canonical\"", "\"update\"", VALID}, {"\"canonical\"", "\"deletion\"", VALID},
	{"\"canonical\"", "\"Canonical\"", STANDARD(65)},
	{"\"canonical\"", "\"item\"", STANDARD(65)},
	{"[" LINK "]", "[" LINK "," LINK "]", STRICT(66)}, {"\"text/plain\"", "1", LENIENT(67)},
	{"\"length\":53", "\"length\":5e1", VALID},
	{"\"length\":53", "\"length\":5.5", LENIENT(67)},
	{"\"length\":53", "\"length\":null", LENIENT(67)},
	{"\"length\":53", "\"length\":-1", STANDARD(68)}, {"\"length\":53", "\"length\":-0", VALID},
	{"\"type\":\"text/plain\"", SECURITY(""), VALID},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":1"), LENIENT(69)},
	{"\"type\":\"text/plain\"", SECURITY("\"a b\":1,\"\":2"), VALID},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{}"), LENIENT(69)},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"$ref\":\"x\"}"), VALID},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"$ref\":1}"), LENIENT(69)},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"apiKey\",\"name\":\"k\",\"in\":\"query\"}"), VALID},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"apiKey\",\"name\":\"k\",\"in\":\"path\"}"),
		LENIENT(69)},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"type\":\"apiKey\",\"name\":\"k\"}"),
		LENIENT(69)},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"http\",\"scheme\":\"basic\",\"x-y\":1,"
			 "\"description\":\"d\"}"),
		VALID},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"http\",\"scheme\":\"basic\",\"y\":1}"), LENIENT(69)},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"http\",\"scheme\":\"bearer\","
			 "\"bearerFormat\":\"JWT\"}"),
		VALID},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"http\",\"scheme\":\"basic\","
			 "\"bearerFormat\":\"JWT\"}"),
		LENIENT(69)},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"type\":\"oauth2\",\"flows\":{\"x\":1}}"),
		VALID},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"type\":\"oauth2\",\"flows\":\"x\"}"),
		LENIENT(69)},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"openIdConnect\","
			 "\"openIdConnectUrl\":\"u\"}"),
		VALID},
	{"\"type\":\"text/plain\"", SECURITY("\"a\":{\"type\":\"mutualTLS\"}"), LENIENT(69)},
	{"\"type\":\"text/plain\"",
		SECURITY("\"a\":{\"type\":\"http\",\"scheme\":\"basic\",\"name\":\"n\"}"),
		LENIENT(69)},
	{"org/1", "org/a b", STRICT(70)}, {"org/1", "org/{a}", STRICT(70)},
	{"org/1", "org/%20~", VALID}, {"org/1", "org/\xc3\xa9", STRICT(70)},
	{"53", "53,\"\":null,\"__proto__\":1e999,\"ID\":{}", VALID}, /* WNM-71 */
};

static void each_rule_has_both_its_sides(void **state)
{
	char text[4096];
	struct findings found;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct view payload = change(text, sizeof(text), r->from, r->to);

		for (unsigned mode = MODE_LENIENT; mode <= MODE_STRICT; mode++) {
			enum rule rule = judge(payload, (enum rule_mode)mode, &found);
			enum rule want = mode >= r->mode ? r->rule : RULE_NONE;

			/* In a stricter mode a lower rule may be broken too. */
			if (rule != want && !(mode > r->mode && rule != RULE_NONE && r->rule))
				fail_msg("row %zu, %s, mode %u: got %s, want %s", i, r->to, mode,
					rule_id(rule), rule_id(want));
		}
	}
}

static void sizes_are_counted_as_received(void **state)
{
	static char text[NOTIFICATION_LARGEST + 2];
	struct findings found;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, base, sizeof(base) - 1);
	assert_int_equal(
		judge((struct view){text, NOTIFICATION_LARGEST}, MODE_STRICT, &found), RULE_NONE);
	assert_int_equal(judge((struct view){text, NOTIFICATION_LARGEST + 1}, MODE_LENIENT, &found),
		RULE_WNM_01);
	assert_int_equal(judge((struct view){text, 0}, MODE_LENIENT, &found), RULE_WNM_01);
	assert_int_equal(judge((struct view){NULL, 0}, MODE_LENIENT, &found), RULE_WNM_01);
	assert_int_equal(judge(VIEW("[]"), MODE_LENIENT, &found), RULE_WNM_04);
	assert_int_equal(judge(VIEW("\"x\""), MODE_LENIENT, &found), RULE_WNM_04);
	assert_int_equal(judge(VIEW("\xff\xfe{\0}\0"), MODE_LENIENT, &found), RULE_WNM_02);
}

/* The value of content, `n` characters of `unit`. */
static struct view with_content(char *text, size_t size, const char *unit, size_t n)
{
	static char value[9000];
	size_t length = 0;

	value[length++] = '"';
	for (size_t i = 0; i < n; i++)
		length += (size_t)sprintf(value + length, "%s", unit);
	value[length++] = '"';
	value[length] = '\0';
	return change(text, size, "\"abc\"", value);
}

static void inline_content_is_counted_in_bytes_or_characters(void **state)
{
	static const struct {
		const char *unit;
		size_t n;
		enum rule lenient, standard;
	} cases[] = {
		{"a", 4096, RULE_NONE, RULE_NONE},
		{"a", 4097, RULE_WNM_56, RULE_WNM_56},
		{"\xc3\xa9", 2048, RULE_NONE, RULE_NONE},
		{"\xc3\xa9", 2049, RULE_NONE, RULE_WNM_56},
		{"\\n", 3000, RULE_NONE, RULE_NONE},
	};
	static char text[12000];
	struct findings found;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct view payload = with_content(text, sizeof(text), cases[i].unit, cases[i].n);

		assert_int_equal(judge(payload, MODE_LENIENT, &found), cases[i].lenient);
		assert_int_equal(judge(payload, MODE_STANDARD, &found), cases[i].standard);
	}
}

static void depth_64_is_taken_and_65_is_not(void **state)
{
	char nested[160], text[2048];
	struct findings found;

	(void)state;
	for (int depth = 63; depth <= 64; depth++) {
		struct view payload;

		snprintf(nested, sizeof(nested), "\"n\":%.*s%.*s,\"id\"", depth,
			"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", depth,
			"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
		payload = change(text, sizeof(text), "\"id\"", nested);
		assert_int_equal(judge(payload, MODE_LENIENT, &found),
			depth == 63 ? RULE_NONE : RULE_WNM_06);
	}
}

static void rules_on_the_topic_depend_on_it(void **state)
{
	static const struct {
		const char *from, *to;
		bool metadata, cache;
		enum rule_mode mode;
		enum rule want;
	} cases[] = {
		{"canonical", "deletion", true, false, MODE_STANDARD, RULE_NONE},
		{METADATA_ID ",", "", true, false, MODE_STANDARD, RULE_NONE},
		{"canonical", "canonical", false, true, MODE_STANDARD, RULE_NONE},
		{"canonical", "canonical", false, true, MODE_STRICT, RULE_WNM_47},
		{DATETIME, DATETIME ",\"global-cache\":\"x\"", false, true, MODE_STRICT, RULE_NONE},
	};
	static const char deletion[] = "{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\","
				       "\"version\":\"v04\",\"type\":\"Feature\",\"geometry\":null,"
				       "\"properties\":{\"data_id\":\"d\","
				       "\"pubtime\":\"2026-03-21T12:07:44Z\",\"datetime\":null%s},"
				       "\"links\":[{\"rel\":\"deletion\",\"href\":\"http://h\"}]}";
	struct notification_options options;
	struct notification note;
	struct findings found;
	char text[2048];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		options = (struct notification_options){.mode = cases[i].mode,
			.metadata_topic = cases[i].metadata,
			.cache_topic = cases[i].cache};
		assert_int_equal(
			notification_judge(change(text, sizeof(text), cases[i].from, cases[i].to),
				&options, &note, &found),
			cases[i].want);
	}
	options = (struct notification_options){.mode = MODE_STANDARD, .metadata_topic = true};
	snprintf(text, sizeof(text), deletion, "");
	assert_int_equal(notification_judge(view_of(text), &options, &note, &found), RULE_WNM_44);
	assert_true(note.is_deletion);
	snprintf(text, sizeof(text), deletion, ",\"metadata_id\":\"\"");
	assert_int_equal(notification_judge(view_of(text), &options, &note, &found), RULE_WNM_44);
	options.metadata_topic = false;
	assert_int_equal(notification_judge(view_of(text), &options, &note, &found), RULE_NONE);
}

/* Where a repeated name is no error, the last one counts, whole objects included. */
static void the_last_of_repeated_members_counts_in_lenient_mode(void **state)
{
	static const struct {
		const char *from, *to;
		enum rule want;
	} cases[] = {
		{"\"type\":\"Feature\"", "\"type\":1,\"type\":\"Feature\"", RULE_NONE},
		{"\"type\":\"Feature\"", "\"type\":\"Feature\",\"type\":1", RULE_WNM_10},
		{"\"links\":[", "\"links\":[{\"rel\":1}],\"links\":[", RULE_NONE},
		{"\"links\":[", "\"links\":[" LINK "],\"l\\u0069nks\":[1],\"links\":[", RULE_NONE},
		{"\"properties\":{", "\"properties\":{\"pubtime\":1},\"properties\":{", RULE_NONE},
		{"\"conformsTo\":", "\"version\":\"v04\",\"conformsTo\":1,\"conformsTo\":",
			RULE_WNM_13},
		{"\"Point\",", "\"Polygon\",\"type\":\"Point\",", RULE_NONE},
		{"\"Point\",", "\"Point\",\"coordinates\":[1],", RULE_NONE},
		{PUBTIME, PUBTIME "\"pubtime\":\"x\",", RULE_WNM_31},
	};
	char text[4096];
	struct findings found;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct view payload = change(text, sizeof(text), cases[i].from, cases[i].to);

		if (judge(payload, MODE_LENIENT, &found) != cases[i].want)
			fail_msg("%s: %s", cases[i].to,
				rule_id(judge(payload, MODE_LENIENT, &found)));
		if (strstr(cases[i].to, "version") == NULL)
			assert_int_equal(judge(payload, MODE_STANDARD, &found), RULE_WNM_05);
	}
}

static void what_was_read_on_the_way_is_given(void **state)
{
	struct notification_options options = {.mode = MODE_STANDARD};
	struct notification note;
	struct findings found;
	struct uuid id;

	(void)state;
	assert_int_equal(notification_judge(view_of(base), &options, &note, &found), RULE_NONE);
	assert_true(uuid_parse(VIEW("0f8fad5b-d9cb-469f-a165-70867728950e"), &id));
	assert_true(note.has_id && memcmp(&note.id, &id, sizeof(id)) == 0);
	assert_true(note.has_pubtime);
	assert_int_equal(note.pubtime_ms, 1774094864000);
	assert_false(note.is_deletion);
	assert_true(view_equal(note.data_id, VIEW("d/1")));
	assert_true(view_equal(note.metadata_id, VIEW("urn:wmo:md:de-dwd:synop")));
	assert_true(view_equal(note.id_text, VIEW("0f8fad5b-d9cb-469f-a165-70867728950e")));
	assert_true(view_equal(note.content, VIEW("\"content\":" CONTENT)));
	assert_int_equal(
		notification_judge(VIEW("{\"id\":5}"), &options, &note, &found), RULE_WNM_10);
	assert_false(note.has_id || note.has_pubtime);
	assert_null(note.id_text.p);
	assert_null(note.content.p);
}

static void all_broken_rules_are_listed_with_their_places(void **state)
{
	static const struct {
		enum rule rule;
		const char *path;
		size_t offset;
	} want[] = {
		{RULE_WNM_10, "", 0},
		{RULE_WNM_11, "/id", 6},
		{RULE_WNM_13, "", 0},
		{RULE_WNM_16, "", 0},
		{RULE_WNM_30, "/properties", 21},
		{RULE_WNM_33, "/properties", 21},
		{RULE_WNM_37, "/properties/datetime", 33},
		{RULE_WNM_61, "/links/0", 47},
		{RULE_WNM_62, "/links/0/rel", 54},
		{RULE_WNM_65, "/links", 46},
	};
	static const char text[] =
		"{\"id\":5,\"properties\":{\"datetime\":\"x\"},\"links\":[{\"rel\":1},{}]}";
	struct notification_options options = {.mode = MODE_STANDARD, .all = true};
	struct notification note;
	struct findings found;

	(void)state;
	assert_int_equal(notification_judge(view_of(text), &options, &note, &found), RULE_WNM_10);
	assert_int_equal(found.count, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < found.count; i++) {
		assert_string_equal(rule_id(found.at[i].rule), rule_id(want[i].rule));
		assert_string_equal(found.at[i].path, want[i].path);
		assert_int_equal(found.at[i].offset, want[i].offset);
	}
}

static void content_that_cannot_be_decoded_has_no_size_not_even_a_negative_one(void **state)
{
	static const char text[] = "{\"properties\":{\"content\":{\"encoding\":\"base64\","
				   "\"size\":-1,\"value\":\"!!!!\"}}}";
	struct notification_options options = {.mode = MODE_STRICT, .all = true};
	struct notification note;
	struct findings found;
	bool has_59 = false;

	(void)state;
	notification_judge(view_of(text), &options, &note, &found);
	for (size_t i = 0; i < found.count; i++)
		has_59 |= found.at[i].rule == RULE_WNM_59;
	assert_true(has_59);
}

static void a_rule_can_be_switched_off_or_made_stricter(void **state)
{
	uint8_t modes[RULE_COUNT];
	struct notification_options options = {.mode = MODE_STANDARD, .rule_modes = modes};
	struct notification note;
	struct findings found;
	char text[2048];
	struct view payload = change(text, sizeof(text), "\"canonical\"", "\"item\"");

	(void)state;
	for (unsigned r = 0; r < RULE_COUNT; r++)
		modes[r] = (uint8_t)rule_mode((enum rule)r);
	assert_int_equal(notification_judge(payload, &options, &note, &found), RULE_WNM_65);
	modes[RULE_WNM_65] = MODE_OFF;
	assert_int_equal(notification_judge(payload, &options, &note, &found), RULE_NONE);
	payload = change(text, sizeof(text), "org/1", "org/a b");
	modes[RULE_WNM_70] = MODE_LENIENT;
	assert_int_equal(notification_judge(payload, &options, &note, &found), RULE_WNM_70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_has_both_its_sides),
		cmocka_unit_test(sizes_are_counted_as_received),
		cmocka_unit_test(inline_content_is_counted_in_bytes_or_characters),
		cmocka_unit_test(depth_64_is_taken_and_65_is_not),
		cmocka_unit_test(rules_on_the_topic_depend_on_it),
		cmocka_unit_test(the_last_of_repeated_members_counts_in_lenient_mode),
		cmocka_unit_test(what_was_read_on_the_way_is_given),
		cmocka_unit_test(all_broken_rules_are_listed_with_their_places),
		cmocka_unit_test(
			content_that_cannot_be_decoded_has_no_size_not_even_a_negative_one),
		cmocka_unit_test(a_rule_can_be_switched_off_or_made_stricter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
