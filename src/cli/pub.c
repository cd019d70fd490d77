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
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/signals.h"
#include "wis2/notification.h"
#include "wis2/topic.h"

#define PAYLOAD_LARGEST (4u << 20)

struct pub {
	struct client_options where;
	const char *topic;
	const char *id;
	uint64_t qos;
	uint64_t timeout_ms;
	uint8_t version;
	bool retain;
	bool verify;

	struct loop *loop;
	struct cli_client client;
	struct client_target target;
	struct client_settings settings;
	struct signals signals;
	struct timer patience;
	char **files;
	int file_count;
	int at; /* file under way */
	bool ended;
	int status;
};

static const struct argument rows[] = {
	{'b', "broker", ARGUMENT_TEXT, offsetof(struct pub, where.url), 0, 0, "URL",
		"where to connect (mqtt://everyone:everyone@127.0.0.1:1883)"},
	{'t', "topic", ARGUMENT_TEXT, offsetof(struct pub, topic), 0, 0, "TOPIC",
		"topic to publish on"},
	{'q', "qos", ARGUMENT_NUMBER, offsetof(struct pub, qos), 0, 2, "QOS",
		"0, 1 (default) or 2"},
	{'r', "retain", ARGUMENT_FLAG, offsetof(struct pub, retain), 0, 0, NULL,
		"set the retain flag"},
	{0, "verify", ARGUMENT_FLAG, offsetof(struct pub, verify), 0, 0, NULL,
		"judge topic and messages first and send no invalid one"},
	{'u', "username", ARGUMENT_TEXT, offsetof(struct pub, where.user), 0, 0, "USER",
		"instead of the URL's; empty: none"},
	{'P', "password-file", ARGUMENT_TEXT, offsetof(struct pub, where.password_file), 0, 0,
		"FILE", "its first line is the password"},
	{'i', "id", ARGUMENT_TEXT, offsetof(struct pub, id), 0, 0, "ID",
		"client identifier (a random one)"},
	{0, "timeout", ARGUMENT_DURATION, offsetof(struct pub, timeout_ms), 0, 0, "TIME",
		"how long to wait for each answer (30s)"},
	{0, "protocol", ARGUMENT_PROTOCOL, offsetof(struct pub, version), 0, 0, "VERSION",
		"5 (default) or 3.1.1"},
	{0, "ca", ARGUMENT_TEXT, offsetof(struct pub, where.ca), 0, 0, "FILE",
		"certificates to trust with mqtts:// and wss:// (the system's)"},
	{0, "insecure", ARGUMENT_FLAG, offsetof(struct pub, where.insecure), 0, 0, NULL,
		"do not verify the server's certificate"},
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
	p->ended = true;
	if (status)
		p->status = status;
	cli_client_close(&p->client);
}

/* True: something is under way; false: this file is done with. */
static bool send_file(struct pub *p, const char *file)
{
	struct buf payload = {0};
	int status = read_file(file, &payload);
	int sent = 0;
	bool send = status == CLI_DONE && (!p->verify || judge(p, file, buf_view(&payload)));

	if (send) {
		sent = cli_client_publish(&p->client, view_of(p->topic), buf_view(&payload),
			(uint8_t)p->qos, p->retain);
		if (sent == 0)
			printf("%s: sent\n", file);
		else if (sent < 0)
			printf("%s: not sent: %s\n", file, err_text(sent));
	}
	if (!send || sent < 0)
		p->status = status ? status : CLI_NO;
	buf_fini(&payload);
	return sent > 0;
}

static void send_next(struct pub *p)
{
	while (p->at < p->file_count) {
		if (send_file(p, p->files[p->at])) {
			timer_start(p->loop, &p->patience, p->timeout_ms);
			return;
		}
		p->at++;
	}
	end(p, CLI_DONE);
}

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	(void)connack;
	send_next(container_of(c, struct pub, client));
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *packet)
{
	struct pub *p = container_of(c, struct pub, client);
	bool refused;
	char *text;

	if (packet->type != MQTT_PUBACK && packet->type != MQTT_PUBREC &&
		packet->type != MQTT_PUBCOMP)
		return;
	refused = packet->ack.reason >= 0x80;
	if (packet->type == MQTT_PUBREC && !refused)
		return; /* PUBCOMP follows */
	text = cli_client_reason(p->version, packet, packet->ack.reason);
	printf("%s: %s: %s\n", p->files[p->at], refused ? "refused" : "taken", text);
	free(text);
	if (refused)
		p->status = CLI_NO;
	timer_stop(p->loop, &p->patience);
	p->at++;
	send_next(p);
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	struct pub *p = container_of(c, struct pub, client);
	bool was_refused = err == ERR_DENIED || err == ERR_CREDENTIALS;

	/* MQTT 3.1.1 has no other way to refuse a PUBLISH than to close [MQTT3-3.3.5-2]. */
	bool under_way = p->patience.place != 0;

	if (!p->ended) {
		fprintf(stderr, "isobar pub: %s: %s\n", p->target.shown, why);
		p->status = was_refused || under_way ? CLI_NO : CLI_ENVIRONMENT;
	}
	timer_stop(p->loop, &p->patience);
	loop_stop(p->loop);
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
	end(container_of(signals, struct pub, signals), CLI_NO);
}

static int run(struct pub *p)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};

	p->loop = loop_new();
	p->signals.on_signal = on_signal;
	p->patience.on_time = on_patience;
	if (p->loop == NULL || signals_open(&p->signals, p->loop) < 0) {
		perror("isobar pub");
		return CLI_ENVIRONMENT;
	}
	if (cli_client_open(&p->client, p->loop, &p->settings, &handler) == 0) {
		loop_run(p->loop);
	} else {
		perror("isobar pub");
		p->status = CLI_ENVIRONMENT;
	}
	signals_close(&p->signals);
	loop_free(p->loop);
	return p->status;
}

int cli_pub(int argc, char **argv)
{
	struct pub p = {.where = {.url = "mqtt://127.0.0.1:1883"},
		.qos = 1,
		.version = MQTT_5,
		.timeout_ms = 30000};
	int first = arguments_read(&table, argc, argv, &p);
	int status;

	if (first < 0)
		return arguments_status(first);
	if (p.topic == NULL || first == argc) {
		fprintf(stderr,
			"isobar pub: a topic (-t) and at least one file; see isobar pub --help\n");
		return CLI_USAGE;
	}
	p.files = argv + first;
	p.file_count = argc - first;
	status = cli_client_target_open(&p.target, &p.where);
	p.settings = (struct client_settings){
		.target = &p.target, .id = p.id, .version = p.version, .keep_alive_s = 60};
	if (status == CLI_DONE)
		status = run(&p);
	cli_client_target_close(&p.target);
	return status;
}
