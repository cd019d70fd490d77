/* properties: times, identification, integrity, inline content (WNM-30 to WNM-59). */
#include "wis2/judge.h"

#include "base/utf8.h"
#include "wis2/datetime.h"
#include "wis2/inline_data.h"
#include "wis2/number.h"
#include "wis2/record.h"

#define CONTENT_LARGEST 4096 /* WNM-56, WNM-57 */

/* A time and the rules it is under. */
struct time_rules {
	enum member member;
	enum rule form; /* an RFC 3339 date-time */
	enum rule utc;
};

/* False when the member is absent, of another kind, or no date-time. */
static bool check_time(struct judge *g, const struct time_rules *rules, struct datetime *out)
{
	const struct json_value *v = judge_member(g, rules->member, KIND_STRING);

	if (v == NULL)
		return false;
	if (!datetime_parse(judge_text(g, v), out)) {
		judge_broken(g, rules->form, v->offset, "not an RFC 3339 date-time");
		return false;
	}
	if (!out->is_utc)
		judge_broken(g, rules->utc, v->offset, "not in UTC");
	else if (!out->is_plain && g->options->mode == MODE_STRICT)
		judge_broken(g, rules->utc, v->offset, "not written with T and Z");
	return true;
}

static void check_pubtime(struct judge *g)
{
	static const struct time_rules rules = {MEMBER_PUBTIME, RULE_WNM_31, RULE_WNM_32};
	struct datetime t;

	if (!check_time(g, &rules, &t))
		return;
	g->out->has_pubtime = true;
	g->out->pubtime_ms = datetime_ms(&t);
}

static bool has(const struct judge *g, enum member m)
{
	return g->members[m].kind != KIND_NONE;
}

/* WNM-35, WNM-36, WNM-40: which of the three are there. */
static void check_which_times(struct judge *g, uint32_t properties)
{
	bool datetime = has(g, MEMBER_DATETIME);
	bool start = has(g, MEMBER_START_DATETIME);
	bool end = has(g, MEMBER_END_DATETIME);

	if (!datetime && !(start && end))
		judge_broken(g, RULE_WNM_35, properties,
			start || end ? "one bound of the period is missing, and datetime"
				     : "neither datetime nor a period is present");
	if (datetime && start && end)
		judge_broken(g, RULE_WNM_36, g->members[MEMBER_DATETIME].offset,
			"datetime stands next to a period");
	if (datetime && start != end)
		judge_broken(g, RULE_WNM_40,
			g->members[start ? MEMBER_START_DATETIME : MEMBER_END_DATETIME].offset,
			"one bound of a period stands next to datetime");
}

static void check_times(struct judge *g, uint32_t properties)
{
	static const struct time_rules datetime = {MEMBER_DATETIME, RULE_WNM_37, RULE_WNM_39};
	static const struct time_rules start = {MEMBER_START_DATETIME, RULE_WNM_38, RULE_WNM_39};
	static const struct time_rules end = {MEMBER_END_DATETIME, RULE_WNM_38, RULE_WNM_39};
	struct datetime t, from, to;
	bool has_start, has_end;

	check_which_times(g, properties);
	check_time(g, &datetime, &t);
	has_start = check_time(g, &start, &from);
	has_end = check_time(g, &end, &to);
	if (has_start && has_end && datetime_compare(&from, &to) > 0)
		judge_broken(g, RULE_WNM_41, g->members[MEMBER_START_DATETIME].offset,
			"start_datetime is after end_datetime");
}

/* WNM-34, WNM-43 */
static void check_names(struct judge *g)
{
	const struct json_value *data_id = judge_member(g, MEMBER_DATA_ID, KIND_STRING);
	const struct json_value *metadata_id = judge_member(g, MEMBER_METADATA_ID, KIND_STRING);

	if (data_id) {
		g->out->data_id = data_id->raw;
		if (data_id->raw.n == 0)
			judge_broken(g, RULE_WNM_34, data_id->offset, "data_id is empty");
	}
	if (metadata_id == NULL)
		return;
	g->out->metadata_id = metadata_id->raw;
	if (judge_asks(g, RULE_WNM_43) && metadata_id_centre(judge_text(g, metadata_id)).p == NULL)
		judge_broken(g, RULE_WNM_43, metadata_id->offset,
			"not of the form urn:wmo:md:{centre-id}:{local id}");
}

void judge_properties(struct judge *g, const struct json_value *v)
{
	if (!judge_object(g, PROPERTIES, v))
		return;
	check_pubtime(g);
	check_times(g, v->offset);
	check_names(g);
}

/* Bytes of a method's digest; 0 for an unknown method. */
static int32_t digest_bytes(struct view method)
{
	static const struct {
		struct view name;
		int32_t bytes;
	} methods[] = {
		{{"sha256", 6}, 32},
		{{"sha384", 6}, 48},
		{{"sha512", 6}, 64},
		{{"sha3-256", 8}, 32},
		{{"sha3-384", 8}, 48},
		{{"sha3-512", 8}, 64},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (view_equal(method, methods[i].name))
			return methods[i].bytes;
	}
	return 0;
}

/* WNM-50, WNM-52 */
void judge_integrity(struct judge *g, const struct json_value *v)
{
	const struct json_value *method, *value;
	int32_t bytes = 0;

	if (!judge_object(g, INTEGRITY, v))
		return;
	method = judge_member(g, MEMBER_INTEGRITY_METHOD, KIND_STRING);
	value = judge_member(g, MEMBER_INTEGRITY_VALUE, KIND_STRING);
	if (method)
		bytes = digest_bytes(judge_text(g, method));
	if (method && bytes == 0)
		judge_broken(g, RULE_WNM_50, method->offset, "not a known method");
	if (value && bytes && judge_asks(g, RULE_WNM_52) &&
		base64_decode(judge_text(g, value), NULL) != bytes)
		judge_broken(g, RULE_WNM_52, value->offset,
			"not base64 of as many bytes as the method gives");
}

enum encoding { ENCODING_UTF8, ENCODING_BASE64, ENCODING_GZIP, ENCODING_UNKNOWN };

static enum encoding content_encoding(struct judge *g, const struct json_value *v)
{
	static const struct view names[] = {{"utf-8", 5}, {"base64", 6}, {"gzip", 4}};
	unsigned i = 0;

	while (i < ENCODING_UNKNOWN && !judge_text_is(g, v, names[i]))
		i++;
	return (enum encoding)i;
}

static size_t count_characters(struct view text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	return n;
}

/* WNM-56: bytes, or in lenient mode characters. */
static void check_content_length(struct judge *g, const struct json_value *value)
{
	struct view text = {NULL, value->raw.n};

	if (text.n <= CONTENT_LARGEST)
		return;
	text = judge_text(g, value);
	if (g->options->mode == MODE_LENIENT)
		text.n = count_characters(text);
	if (text.n > CONTENT_LARGEST)
		judge_broken(g, RULE_WNM_56, value->offset, "the value is longer than 4096");
}

/* WNM-57, WNM-58. False when there is no size to compare with. */
static bool check_content_size(struct judge *g, int64_t *size)
{
	const struct json_value *v = judge_member(g, MEMBER_CONTENT_SIZE, KIND_NUMBER);

	if (v == NULL)
		return false;
	if (!number_integer(v->raw, size)) {
		judge_broken(g, RULE_WNM_57, v->offset, "not an integer");
		return false;
	}
	if (*size > CONTENT_LARGEST)
		judge_broken(g, RULE_WNM_57, v->offset, "more than 4096");
	if (*size < 0)
		judge_broken(g, RULE_WNM_58, v->offset, "negative");
	return true;
}

/* How many bytes the value stands for, or -1 when it cannot be decoded. */
static int64_t decoded_length(struct view text, enum encoding encoding)
{
	uint8_t data[JSON_LARGEST];
	int32_t n;

	if (encoding == ENCODING_UTF8)
		return (int64_t)text.n;
	n = base64_decode(text, data);
	return n < 0 || encoding == ENCODING_BASE64 ? n : gzip_length(data, (size_t)n);
}

void judge_content(struct judge *g, const struct json_value *v)
{
	const struct json_value *encoding, *value;
	enum encoding coding = ENCODING_UNKNOWN;
	int64_t size, decoded;
	bool has_size;

	if (!judge_object(g, CONTENT, v))
		return;
	encoding = judge_member(g, MEMBER_CONTENT_ENCODING, KIND_STRING);
	value = judge_member(g, MEMBER_CONTENT_VALUE, KIND_STRING);
	if (encoding)
		coding = content_encoding(g, encoding);
	if (encoding && coding == ENCODING_UNKNOWN)
		judge_broken(g, RULE_WNM_54, encoding->offset, "not utf-8, base64 or gzip");
	if (value)
		check_content_length(g, value);
	has_size = check_content_size(g, &size);
	if (!has_size || value == NULL || coding == ENCODING_UNKNOWN || !judge_asks(g, RULE_WNM_59))
		return;
	decoded = decoded_length(judge_text(g, value), coding);
	if (decoded < 0 || decoded != size)
		judge_broken(g, RULE_WNM_59, value->offset,
			"does not decode to as many bytes as size says");
}
