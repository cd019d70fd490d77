/* cli/generate.c - writes notifications member by member
 *
 * The text is written once without content to learn what room is left, then the inline content
 * takes that room: base64 without padding, so that steps are four characters. What exceeds the
 * largest content (WNM-56) goes into a further member, which every checker ignores (WNM-71).
 */
#include "cli/generate.h"

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"

#define CONTENT_MOST 4096u /* characters of properties.content.value, WNM-56 */
#define BASE64_OF_64_BYTES 86
#define OVERSIZE_BYTES 9000u

#define CONTENT_BEGIN ",\"content\":{\"encoding\":\"base64\",\"value\":\""
#define CONTENT_END "\",\"size\":"
#define PADDING_BEGIN ",\"_padding\":\""

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const struct dataset {
	const char *topic;
	const char *type;
	const char *ending;
} datasets[] = {
#define X(topic, type, ending) {topic, type, ending},
#include "cli/dataset.def"
#undef X
};

static const char *const broken_rules[BROKEN_COUNT] = {
	[BROKEN_NOT] = "",
#define X(name, rule) [BROKEN_##name] = (rule),
#include "cli/broken.def"
#undef X
};

uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
	return random_next(r) % bound;
}

double random_share(struct random *r)
{
	return (double)(random_next(r) >> 11) * 0x1p-53;
}

void random_uuid(struct random *r, struct uuid *out)
{
	uint64_t half[2] = {random_next(r), random_next(r)};

	memcpy(out->b, half, sizeof(out->b));
	out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x40); /* RFC 9562, section 5.4 */
	out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80);
}

const char *broken_rule(enum broken b)
{
	return broken_rules[b];
}

uint32_t generate_dataset_count(void)
{
	return (uint32_t)(sizeof(datasets) / sizeof(datasets[0]));
}

void generate_centre(uint32_t i, char out[GENERATE_CENTRE_BYTES])
{
	int n = snprintf(
		out, GENERATE_CENTRE_BYTES, "io-wis2dev-%u-test", i < 10 ? i + 11 : i + 90);

	check(n > 0 && n < GENERATE_CENTRE_BYTES);
}

void generate_topic(const struct generate_request *q, struct buf *out)
{
	const char *dataset = datasets[q->dataset].topic;

	if (q->broken == BROKEN_TOPIC)
		dataset = "data/core/weather/surface-based-observation/synop"; /* no final s */
	if (q->broken == BROKEN_FOREIGN)
		buf_printf(out, "origin/a/wis2/io-wis2dev-999-test/%s", dataset);
	else
		buf_printf(out, "origin/a/wis2/%.*s/%s", VIEW_ARG(q->centre), dataset);
}

static void put_base64(struct random *r, uint32_t characters, struct buf *out)
{
	uint8_t *p = buf_reserve(out, characters);

	for (uint32_t i = 0; i < characters; i++)
		p[i] = (uint8_t)base64[random_next(r) >> 58];
	buf_grown(out, characters);
}

struct times {
	char pubtime[CLOCK_TEXT_BYTES + 1];
	char datetime[CLOCK_TEXT_BYTES];
};

/* Everything that is drawn or derived once, so that both writings are alike. */
struct story {
	const struct generate_request *q;
	const struct dataset *about;
	struct times times;
	uint32_t station;
	double longitude;
	double latitude;
	uint32_t elevation;
	uint32_t content; /* characters of inline content */
	uint32_t padding; /* characters of the further member */
};

static void put_geometry(const struct story *s, struct buf *out)
{
	buf_printf(out, "\"geometry\":{\"type\":\"Point\",\"coordinates\":[%.5f,%.5f,%u]},",
		s->longitude, s->latitude, s->elevation);
}

static void put_content(struct random *r, const struct story *s, struct buf *out)
{
	if (s->content == 0)
		return;
	buf_text(out, CONTENT_BEGIN);
	put_base64(r, s->content, out);
	buf_printf(out, CONTENT_END "%u}", s->content / 4 * 3);
}

static void put_properties(struct random *r, const struct story *s, struct buf *out)
{
	const struct generate_request *q = s->q;

	buf_printf(out, "\"properties\":{\"data_id\":\"wis2/%.*s/%s/WIGOS_0-20000-0-%05u_%llu\",",
		VIEW_ARG(q->centre), s->about->topic, s->station, (unsigned long long)q->serial);
	buf_printf(out, "\"metadata_id\":\"urn:wmo:md:%.*s:%s\",", VIEW_ARG(q->centre),
		strrchr(s->about->topic, '/') + 1);
	if (q->broken != BROKEN_DATETIME)
		buf_printf(out, "\"datetime\":\"%s\",", s->times.datetime);
	buf_printf(out, "\"pubtime\":\"%s\",", s->times.pubtime);
	buf_text(out, "\"integrity\":{\"method\":\"sha512\",\"value\":\"");
	put_base64(r, BASE64_OF_64_BYTES - 1, out);
	buf_printf(out, "A==\"},\"wigos_station_identifier\":\"0-20000-0-%05u\"", s->station);
	put_content(r, s, out);
	buf_text(out, "},");
}

static void put_links(const struct story *s, struct buf *out)
{
	const struct generate_request *q = s->q;
	const char *relation = q->broken == BROKEN_RELATION ? "a_random_rel" : "canonical";

	buf_printf(out,
		"\"links\":[{\"rel\":\"%s\",\"type\":\"%s\",\"href\":\"https://"
		"wis2box.%.*s.example.org/data/"
		"%.10s/wis/%.*s/%s/WIGOS_0-20000-0-%05u_%llu.%s\",\"length\":%u},",
		relation, s->about->type, VIEW_ARG(q->centre), s->times.pubtime,
		VIEW_ARG(q->centre), s->about->topic, s->station, (unsigned long long)q->serial,
		s->about->ending, s->content ? s->content / 4 * 3 : 4711);
	buf_printf(out,
		"{\"rel\":\"via\",\"type\":\"text/html\",\"href\":\"https://oscar.wmo.int/surface/"
		"#/search/"
		"station/stationReportDetails/0-20000-0-%05u\"}]",
		s->station);
}

static void put_payload(struct random *r, const struct story *s, struct buf *out)
{
	const struct generate_request *q = s->q;

	buf_printf(out, "{\"id\":\"%s%.*s\"%.*s,", q->broken == BROKEN_ID ? "urn:x-" : "",
		VIEW_ARG(q->id), VIEW_ARG(q->extra));
	if (q->broken != BROKEN_CONFORMS_TO)
		buf_text(out, "\"conformsTo\":[\"http://wis.wmo.int/spec/wnm/1/conf/core\"],");
	buf_text(out, "\"type\":\"Feature\",");
	put_geometry(s, out);
	put_properties(r, s, out);
	put_links(s, out);
	if (s->padding) {
		buf_text(out, PADDING_BEGIN);
		put_base64(r, s->padding, out);
		buf_text(out, "\"");
	}
	if (q->broken != BROKEN_JSON)
		buf_text(out, "}");
}

/* How much content and padding bring `plain` bytes to what was asked for. */
static void fill(struct story *s, size_t plain)
{
	const size_t content_frame = strlen(CONTENT_BEGIN CONTENT_END "9999}");
	const size_t padding_frame = strlen(PADDING_BEGIN "\"");
	size_t size = s->q->broken == BROKEN_OVERSIZE ? OVERSIZE_BYTES : s->q->size_bytes;
	size_t room = size > plain + content_frame ? size - plain - content_frame : 0;

	s->content = (uint32_t)(room > CONTENT_MOST ? CONTENT_MOST : room & ~(size_t)3);
	if (room >= CONTENT_MOST + padding_frame)
		s->padding = (uint32_t)(room - CONTENT_MOST - padding_frame);
}

static void tell_times(const struct generate_request *q, struct times *t)
{
	const uint64_t ten_minutes = 600000;

	clock_format(q->wall_ms, t->pubtime);
	clock_format(q->wall_ms / ten_minutes * ten_minutes, t->datetime);
	if (q->broken == BROKEN_PUBTIME)
		memcpy(t->pubtime + 19, "+01:00", sizeof("+01:00")); /* in place of ".123Z" */
}

void generate_payload(struct random *r, const struct generate_request *q, struct buf *out)
{
	struct story s = {.q = q, .about = &datasets[q->dataset]};
	struct random dry = {0};
	struct buf plain = {0};

	tell_times(q, &s.times);
	s.station = (uint32_t)random_below(r, 100000);
	s.longitude = (double)random_below(r, 36000000) / 1e5 - 180;
	s.latitude = (double)random_below(r, 18000000) / 1e5 - 90;
	s.elevation = (uint32_t)random_below(r, 4000);
	put_payload(&dry, &s, &plain);
	fill(&s, buf_length(&plain));
	buf_fini(&plain);
	put_payload(r, &s, out);
}
