#include "admin/collection.h"

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "wis2/json.h"

/* --- features --------------------------------------------------------- */

static bool is_nullable(uint8_t kind, uint8_t otherwise)
{
	return kind == KIND_NULL || kind == otherwise;
}

/* Members of the outermost object; each of the three must be right. */
static bool has_members(struct json *j)
{
	bool has_type = false;
	bool has_geometry = false;
	bool has_properties = false;
	struct json_value name;
	struct json_value v;

	while (json_member(j, &name) && json_value(j, &v)) {
		if (view_equal(name.raw, VIEW("type")))
			has_type = v.kind == KIND_STRING && view_equal(v.raw, VIEW("Feature"));
		else if (view_equal(name.raw, VIEW("geometry")))
			has_geometry = is_nullable(v.kind, KIND_OBJECT);
		else if (view_equal(name.raw, VIEW("properties")))
			has_properties = is_nullable(v.kind, KIND_OBJECT);
		json_pass(j, &v);
	}
	return has_type && has_geometry && has_properties;
}

bool collection_is_feature(struct view text)
{
	struct json_value root;
	struct json j;

	if (text.n > JSON_LARGEST)
		return false;
	json_init(&j, text);
	if (!json_value(&j, &root) || root.kind != KIND_OBJECT)
		return false;
	json_open(&j);
	return has_members(&j) && json_finish(&j) && !j.too_deep;
}

/* --- documents -------------------------------------------------------- */

static void put_time(struct buf *out, uint64_t time_ms)
{
	char time[CLOCK_TEXT_BYTES];

	clock_format(time_ms, time);
	buf_printf(out, "\"%s\"", time);
}

static void put_topic_and_time(struct buf *out, struct view topic, uint64_t time_ms)
{
	buf_text(out, "{\"topic\":");
	buf_json_string(out, topic);
	buf_text(out, ",\"time\":");
	put_time(out, time_ms);
}

static void put_base64(struct buf *out, struct view bytes)
{
	size_t n = (bytes.n + 2) / 3 * 4;

	/* One more, as it ends what it writes with a NUL. */
	EVP_EncodeBlock(buf_reserve(out, n + 1), (const unsigned char *)bytes.p, (int)bytes.n);
	buf_grown(out, n);
}

static void add_line(struct buf *out, struct view topic, uint64_t time_ms, struct view payload)
{
	bool is_text = utf8_valid_prefix(payload.p, payload.n) == payload.n;

	put_topic_and_time(out, topic, time_ms);
	if (is_text) {
		buf_text(out, ",\"payload\":");
		buf_json_string(out, payload);
	} else {
		buf_text(out, ",\"payload_base64\":\"");
		put_base64(out, payload);
		buf_text(out, "\"");
	}
	buf_text(out, "}\n");
}

static void add_feature(
	struct collection *c, struct view topic, uint64_t time_ms, struct view payload)
{
	if (c->count) {
		buf_text(&c->text, ",\n");
		buf_text(&c->records, ",\n");
	}
	buf_append(&c->text, payload.p, payload.n);
	put_topic_and_time(&c->records, topic, time_ms);
	buf_text(&c->records, "}");
}

bool collection_add(struct collection *c, struct view topic, uint64_t time_ms, struct view payload)
{
	if (c->count == c->limit ||
		buf_length(&c->text) + buf_length(&c->records) >= COLLECTION_BYTES)
		return false;
	if (c->form == COLLECTION_GEOJSON && !collection_is_feature(payload)) {
		c->omitted++;
		return true;
	}
	if (c->form == COLLECTION_LINES)
		add_line(&c->text, topic, time_ms, payload);
	else
		add_feature(c, topic, time_ms, payload);
	c->count++;
	return true;
}

/* Members of OGC API - Features, Part 1 (17-069r4), section 7.15, and two of our own. */
static void finish_geojson(
	const struct collection *c, struct view next, uint64_t now_ms, struct buf *out)
{
	buf_printf(out,
		"{\"type\":\"FeatureCollection\",\"numberReturned\":%u,\"numberOmitted\":%u,"
		"\"timeStamp\":",
		c->count, c->omitted);
	put_time(out, now_ms);
	buf_text(out, ",\"links\":[");
	if (next.n) {
		buf_text(out, "{\"rel\":\"next\",\"type\":\"application/geo+json\",\"href\":");
		buf_json_string(out, next);
		buf_text(out, "}");
	}
	buf_text(out, "],\n\"records\":[");
	buf_append(out, buf_bytes(&c->records), buf_length(&c->records));
	buf_text(out, "],\n\"features\":[");
	buf_append(out, buf_bytes(&c->text), buf_length(&c->text));
	buf_text(out, "]}\n");
}

void collection_finish(struct collection *c, struct view next, uint64_t now_ms, struct buf *out)
{
	if (c->form == COLLECTION_GEOJSON)
		finish_geojson(c, next, now_ms, out);
	else
		buf_append(out, buf_bytes(&c->text), buf_length(&c->text));
	collection_fini(c);
}

void collection_fini(struct collection *c)
{
	buf_fini(&c->text);
	buf_fini(&c->records);
}

const char *collection_type(enum collection_form form)
{
	return form == COLLECTION_LINES ? "application/x-ndjson" : "application/geo+json";
}
