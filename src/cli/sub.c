/* cli/sub.c - `isobar sub`: prints notifications as they arrive
 *
 * Readably, a line each: when received, how long after pubtime, topic, size, address of the data.
 * With --json one object a line, whose member "payload" is the exact text that was received.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/lone_client.h"
#include "wis2/datetime.h"

#define FILTERS_MOST 64u

struct sub {
	struct lone_client lone;
	const char *since;
	uint64_t count; /* 0: no end */
	uint64_t session_ms;
	bool json;

	struct buf line;
	struct view filters[FILTERS_MOST];
	char *owned[FILTERS_MOST]; /* what filters[] look into */
	uint32_t filter_count;
	uint64_t received;
};

#define COMMAND "isobar sub"
#define AT(member) offsetof(struct sub, lone.member)

static const struct argument rows[] = {
	LONE_CLIENT_ROW_BROKER(AT),
	{'s', "since", ARGUMENT_TEXT, offsetof(struct sub, since), 0, 0, "SINCE",
		"replay first: a duration (6h) or an RFC 3339 time"},
	{'n', "count", ARGUMENT_NUMBER, offsetof(struct sub, count), 1, UINT64_MAX, "COUNT",
		"end after so many"},
	{0, "json", ARGUMENT_FLAG, offsetof(struct sub, json), 0, 0, NULL,
		"one JSON object a line: topic, received, qos, retain, payload (exact text)"},
	LONE_CLIENT_ROWS_SESSION(AT),
	{0, "session", ARGUMENT_DURATION, offsetof(struct sub, session_ms), 0, 0, "TIME",
		"keep the session so long after the end; needs --id"},
	LONE_CLIENT_ROWS_WIRE(AT),
};
static const struct argument_table table = {"isobar sub [options] FILTER...",
	"Subscribes and prints notifications: time, delay since pubtime, topic, size, link.", rows,
	sizeof(rows) / sizeof(rows[0])};

/* --- printing --------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* The link to the data: canonical, update or deletion (WNM-65). */
static const json_t *data_link(const json_t *message)
{
	const json_t *links = json_object_get(message, "links");
	const json_t *found = NULL;
	const json_t *link;
	size_t i;

	json_array_foreach(links, i, link)
	{
		const char *relation = text_at(link, "rel");

		if (relation &&
			(strcmp(relation, "canonical") == 0 || strcmp(relation, "update") == 0 ||
				strcmp(relation, "deletion") == 0)) {
			found = link;
			break;
		}
	}
	return found;
}

static void put_span(struct buf *out, double seconds)
{
	double size = seconds < 0 ? -seconds : seconds;

	if (size < 1000)
		buf_printf(out, "%+8.3fs", seconds);
	else if (size < 2 * 86400)
		buf_printf(out, "%+8.1fh", seconds / 3600);
	else
		buf_printf(out, "%+8.0fd", seconds / 86400);
}

static void put_delay(struct buf *out, const json_t *message, uint64_t now_ms)
{
	const char *pubtime = text_at(json_object_get(message, "properties"), "pubtime");
	struct datetime then;

	if (pubtime == NULL || !datetime_parse(view_of(pubtime), &then))
		buf_text(out, "        -");
	else
		put_span(out, ((double)now_ms - (double)datetime_ms(&then)) / 1000);
}

/* Control characters of a peer never reach the terminal. */
static void put_safe(struct buf *out, struct view text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if ((unsigned char)c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", (unsigned)c);
		else
			buf_append(out, &c, 1);
	}
}

static void put_readable(struct buf *out, const struct mqtt_publish *p, uint64_t now_ms)
{
	json_t *message = json_loadb(p->payload.p, p->payload.n, 0, NULL);
	const json_t *link = data_link(message);
	const json_t *length = json_object_get(link, "length");

	put_delay(out, message, now_ms);
	buf_text(out, "  ");
	put_safe(out, p->topic);
	if (json_is_number(length))
		buf_printf(out, "  %.0f B", json_number_value(length));
	if (link && text_at(link, "href")) {
		buf_printf(out, "  %s",
			strcmp(text_at(link, "rel"), "deletion") == 0 ? "deleted " : "");
		put_safe(out, view_of(text_at(link, "href")));
	} else {
		buf_printf(out, "  (%zu bytes, %s)", p->payload.n,
			message ? "no link to data" : "no JSON");
	}
	json_decref(message);
}

static void put_hex(struct buf *out, struct view bytes)
{
	for (size_t i = 0; i < bytes.n; i++)
		buf_printf(out, "%02x", (unsigned char)bytes.p[i]);
}

static void put_json(struct buf *out, const struct mqtt_publish *p, const char *received)
{
	buf_text(out, "{\"topic\":");
	buf_json_string(out, p->topic);
	buf_printf(out, ",\"received\":\"%s\",\"qos\":%u,\"retain\":%s,", received, p->qos,
		p->retain ? "true" : "false");
	if (utf8_valid_prefix(p->payload.p, p->payload.n) == p->payload.n) {
		buf_text(out, "\"payload\":");
		buf_json_string(out, p->payload);
	} else {
		buf_text(out, "\"payload_hex\":\"");
		put_hex(out, p->payload);
		buf_text(out, "\"");
	}
	buf_text(out, "}");
}

static void print_one(struct sub *s, const struct mqtt_publish *p)
{
	uint64_t now_ms = clock_wall_ms();
	char received[CLOCK_TEXT_BYTES];

	clock_format(now_ms, received);
	buf_clear(&s->line);
	if (s->json) {
		put_json(&s->line, p, received);
	} else {
		buf_printf(&s->line, "%s ", received);
		put_readable(&s->line, p, now_ms);
	}
	buf_text(&s->line, "\n");
	fwrite(buf_bytes(&s->line), 1, buf_length(&s->line), stdout);
}

/* --- the connection --------------------------------------------------- */

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	struct sub *s = container_of(c, struct sub, lone.client);

	(void)connack;
	cli_client_subscribe(c, s->filters, s->filter_count, (uint8_t)s->lone.qos);
}

static void judge_suback(struct sub *s, const struct mqtt_packet *p)
{
	struct view codes = p->list.items;

	for (uint32_t i = 0; i < s->filter_count && i < codes.n; i++) {
		uint8_t reason = (uint8_t)codes.p[i];
		char *why;

		if (reason < 0x80)
			continue;
		why = cli_client_reason(s->lone.version, p, reason);
		fprintf(stderr, "isobar sub: %.*s refused: %s\n", VIEW_ARG(s->filters[i]), why);
		free(why);
		s->lone.status = CLI_NO;
	}
	if (s->lone.status)
		lone_client_end(&s->lone);
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *p)
{
	struct sub *s = container_of(c, struct sub, lone.client);

	if (p->type == MQTT_SUBACK) {
		judge_suback(s, p);
		return;
	}
	if (p->type != MQTT_PUBLISH || s->lone.ended)
		return;
	print_one(s, &p->publish);
	if (++s->received == s->count)
		lone_client_end(&s->lone);
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	struct sub *s = container_of(c, struct sub, lone.client);

	lone_client_closed(&s->lone, COMMAND, err, why, CLI_ENVIRONMENT);
}

static void on_signal(struct signals *signals, int number)
{
	(void)number;
	lone_client_end(&container_of(signals, struct sub, lone.signals)->lone);
}

/* `6h` and a filter become $replay/6h/FILTER (interface.md, "Replay over MQTT"). */
static int take_filters(struct sub *s, int count, char **filters)
{
	if (count < 1 || count > (int)FILTERS_MOST) {
		fprintf(stderr, "isobar sub: from 1 to %u filters; see isobar sub --help\n",
			FILTERS_MOST);
		return CLI_USAGE;
	}
	for (int i = 0; i < count; i++) {
		s->owned[i] = s->since ? mem_printf("$replay/%s/%s", s->since, filters[i])
				       : mem_text(filters[i]);
		s->filters[i] = view_of(s->owned[i]);
	}
	s->filter_count = (uint32_t)count;
	return CLI_DONE;
}

int cli_sub(int argc, char **argv)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};
	struct sub s = {.lone = LONE_CLIENT_DEFAULT};
	int first = arguments_read(&table, argc, argv, &s);
	int status;

	if (first < 0)
		return arguments_status(first);
	s.lone.settings.session_expiry_s = (uint32_t)(s.session_ms / 1000);
	setvbuf(stdout, NULL, _IOLBF, 0);
	status = take_filters(&s, argc - first, argv + first);
	if (status == CLI_DONE)
		status = lone_client_run(&s.lone, COMMAND, &handler, on_signal);
	for (uint32_t i = 0; i < s.filter_count; i++)
		free(s.owned[i]);
	buf_fini(&s.line);
	return status;
}
