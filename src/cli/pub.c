/* cli/pub.c - `isobar pub`: publishes files, one after the other, and says what the broker answered
 *
 * The next file is sent when the one before has its answer, so that each answer is printed beside
 * the file it belongs to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/lone_client.h"
#include "wis2/notification.h"
#include "wis2/topic.h"

#define PAYLOAD_LARGEST (4u << 20)

struct pub {
	struct lone_client lone;
	const char *topic;
	uint64_t timeout_ms;
	bool retain;
	bool verify;

	struct timer patience;
	char **files;
	int file_count;
	int at; /* file under way */
};

#define COMMAND "isobar pub"
#define AT(member) offsetof(struct pub, lone.member)

static const struct argument rows[] = {
	LONE_CLIENT_ROW_BROKER(AT),
	{'t', "topic", ARGUMENT_TEXT, offsetof(struct pub, topic), 0, 0, "TOPIC",
		"topic to publish on"},
	{'r', "retain", ARGUMENT_FLAG, offsetof(struct pub, retain), 0, 0, NULL,
		"set the retain flag"},
	{0, "verify", ARGUMENT_FLAG, offsetof(struct pub, verify), 0, 0, NULL,
		"judge topic and messages first and send no invalid one"},
	LONE_CLIENT_ROWS_SESSION(AT),
	{0, "timeout", ARGUMENT_DURATION, offsetof(struct pub, timeout_ms), 0, 0, "TIME",
		"how long to wait for each answer (30s)"},
	LONE_CLIENT_ROWS_WIRE(AT),
};
static const struct argument_table table = {"isobar pub [options] -t TOPIC FILE...",
	"Publishes each FILE (- is stdin) as one message and prints the broker's answer.", rows,
	sizeof(rows) / sizeof(rows[0])};

/* --- files ------------------------------------------------------------ */

/* 0, or an exit status after saying why. */
static int read_file(const char *name, struct buf *out)
{
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	int status = CLI_DONE;
	size_t n = 1;

	if (f == NULL) {
		fprintf(stderr, "isobar pub: %s: %s\n", name, strerror(errno));
		return CLI_USAGE;
	}
	while (n > 0 && buf_length(out) <= PAYLOAD_LARGEST) {
		n = fread(buf_reserve(out, 65536), 1, 65536, f);
		buf_grown(out, n);
	}
	if (ferror(f) || buf_length(out) > PAYLOAD_LARGEST) {
		fprintf(stderr, "isobar pub: %s: %s\n", name,
			ferror(f) ? strerror(errno) : "more than 4 MiB");
		status = CLI_USAGE;
	}
	if (f != stdin)
		fclose(f);
	return status;
}

static bool judge(const struct pub *p, const char *file, struct view payload)
{
	struct hierarchy *h = hierarchy_built_in();
	struct topic_options topic_options = {.test_centres = true};
	struct notification_options options = {.mode = MODE_STANDARD};
	struct topic_parts parts;
	struct notification note;
	struct findings found;
	enum rule rule = topic_judge(h, view_of(p->topic), &topic_options, &parts, &found);

	options.metadata_topic = parts.kind == TOPIC_METADATA;
	options.cache_topic = parts.is_cache;
	if (rule == RULE_NONE)
		rule = notification_judge(payload, &options, &note, &found);
	hierarchy_unref(h);
	if (rule != RULE_NONE)
		printf("%s: not sent: %s: %s\n", file, rule_id(rule), rule_text(rule));
	return rule == RULE_NONE;
}

/* --- one after the other ---------------------------------------------- */

static void end(struct pub *p, int status)
{
	if (status)
		p->lone.status = status;
	lone_client_end(&p->lone);
}

/* True: something is under way; false: this file is done with. */
static bool send_file(struct pub *p, const char *file)
{
	struct buf payload = {0};
	int status = read_file(file, &payload);
	int sent = 0;
	bool send = status == CLI_DONE && (!p->verify || judge(p, file, buf_view(&payload)));

	if (send) {
		sent = cli_client_publish(&p->lone.client, view_of(p->topic), buf_view(&payload),
			(uint8_t)p->lone.qos, p->retain);
		if (sent == 0)
			printf("%s: sent\n", file);
		else if (sent < 0)
			printf("%s: not sent: %s\n", file, err_text(sent));
	}
	if (!send || sent < 0)
		p->lone.status = status ? status : CLI_NO;
	buf_fini(&payload);
	return sent > 0;
}

static void send_next(struct pub *p)
{
	while (p->at < p->file_count) {
		if (send_file(p, p->files[p->at])) {
			timer_start(p->lone.loop, &p->patience, p->timeout_ms);
			return;
		}
		p->at++;
	}
	end(p, CLI_DONE);
}

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	(void)connack;
	send_next(container_of(c, struct pub, lone.client));
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *packet)
{
	struct pub *p = container_of(c, struct pub, lone.client);
	bool refused;
	char *text;

	if (packet->type != MQTT_PUBACK && packet->type != MQTT_PUBREC &&
		packet->type != MQTT_PUBCOMP)
		return;
	refused = packet->ack.reason >= 0x80;
	if (packet->type == MQTT_PUBREC && !refused)
		return; /* PUBCOMP follows */
	text = cli_client_reason(p->lone.version, packet, packet->ack.reason);
	printf("%s: %s: %s\n", p->files[p->at], refused ? "refused" : "taken", text);
	free(text);
	if (refused)
		p->lone.status = CLI_NO;
	timer_stop(p->lone.loop, &p->patience);
	p->at++;
	send_next(p);
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	struct pub *p = container_of(c, struct pub, lone.client);
	/* MQTT 3.1.1 has no other way to refuse a PUBLISH than to close [MQTT3-3.3.5-2]. */
	bool under_way = p->patience.place != 0;

	timer_stop(p->lone.loop, &p->patience);
	lone_client_closed(&p->lone, COMMAND, err, why, under_way ? CLI_NO : CLI_ENVIRONMENT);
}

static void on_patience(struct timer *t)
{
	struct pub *p = container_of(t, struct pub, patience);

	fprintf(stderr, "isobar pub: %s: no answer\n", p->files[p->at]);
	end(p, CLI_ENVIRONMENT);
}

static void on_signal(struct signals *signals, int number)
{
	(void)number;
	end(container_of(signals, struct pub, lone.signals), CLI_NO);
}

int cli_pub(int argc, char **argv)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};
	struct pub p = {
		.lone = LONE_CLIENT_DEFAULT, .timeout_ms = 30000, .patience.on_time = on_patience};
	int first = arguments_read(&table, argc, argv, &p);

	if (first < 0)
		return arguments_status(first);
	if (p.topic == NULL || first == argc) {
		fprintf(stderr,
			"isobar pub: a topic (-t) and at least one file; see isobar pub --help\n");
		return CLI_USAGE;
	}
	p.files = argv + first;
	p.file_count = argc - first;
	return lone_client_run(&p.lone, COMMAND, &handler, on_signal);
}
