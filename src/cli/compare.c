/* cli/compare.c - `isobar compare`: does this broker publish what that one does?
 *
 *     ours    running here, in shadow or not: its journal and its rejects, asked for by the control socket
 *             (control_watch.c); or any broker, by --ours URL
 *     theirs  any broker, by --theirs URL
 *
 * Both are matched by identity (compare.h). Nothing is changed on either side: theirs sees a subscriber, ours
 * an operator who asks five times a second.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/compare.h"
#include "cli/control.h"
#include "cli/signals.h"
#include "cli/verify.h"
#include "commit/gate.h"
#include "mqtt/filter.h"

#define ASK_MS 200u
#define KNOWN_AT_ONCE 300u /* ids, in an order of CONTROL_ORDER_BYTES */
#define AGAIN_MS 2000u
#define FOR_MS 600000u
#define WITHIN_MS 120000u

/* A broker that is heard as a subscriber. */
struct listener_side {
	struct comparison *of;
	enum compare_side side;
	struct client_options where;
	struct client_target target;
	struct client_settings settings;
	struct cli_client client;
	struct timer again;
	bool is_open;
	bool is_ready; /* subscribed */
};

struct comparison {
	struct listener_side sides[2];
	const char *file;
	const char *ca;
	bool insecure;
	bool json;
	uint64_t for_ms;
	uint64_t within_ms;
	struct verify_settings rules;

	struct config *config; /* of ours, when it runs here; NULL: --ours */
	char *ours_shown;
	uint64_t next; /* record to ask for */
	bool has_next;
	uint64_t refused; /* number of the last one known */
	bool has_refused;
	int64_t ahead_ms; /* wall clock minus the journal's */
	json_t *records;  /* of an answer, before it is known when it was given */
	uint64_t skipped;

	struct view filters[ARGUMENT_LIST_MOST];
	uint32_t filter_count;
	struct loop *loop;
	struct signals signals;
	struct timer end;
	struct timer ask;
	struct compare sums;
	uint64_t begun_ms;
	bool has_begun;
	bool ended;
	int status;
};

#define FIELD(name) offsetof(struct comparison, name)
#define THEIRS(name) offsetof(struct comparison, sides[COMPARE_THEIRS].where.name)
#define OURS(name) offsetof(struct comparison, sides[COMPARE_OURS].where.name)

static const struct argument rows[] = {
	{0, "theirs", ARGUMENT_TEXT, THEIRS(url), 0, 0, "URL", "the broker to compare with"},
	{'u', "username", ARGUMENT_TEXT, THEIRS(user), 0, 0, "USER",
		"there, instead of the URL's; empty: none"},
	{'P', "password-file", ARGUMENT_TEXT, THEIRS(password_file), 0, 0, "FILE",
		"there: its first line is the password"},
	{'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",
		"ours: configuration of the broker that runs here (default: "
		"/etc/isobar/isobar.yaml)"},
	{0, "ours", ARGUMENT_TEXT, OURS(url), 0, 0, "URL",
		"ours: a broker elsewhere instead, heard as a subscriber"},
	{0, "ours-username", ARGUMENT_TEXT, OURS(user), 0, 0, "USER", "the same for --ours"},
	{0, "ours-password-file", ARGUMENT_TEXT, OURS(password_file), 0, 0, "FILE",
		"the same for --ours"},
	{0, "for", ARGUMENT_DURATION, FIELD(for_ms), 1, UINT32_MAX, "TIME",
		"how long (default: 10m)"},
	{0, "within", ARGUMENT_DURATION, FIELD(within_ms), 1, UINT32_MAX, "TIME",
		"how much later the other may be with the same (default: 2m)"},
	{0, "json", ARGUMENT_FLAG, FIELD(json), 0, 0, NULL,
		"one JSON object a line: each centre, then the total"},
	{0, "ca", ARGUMENT_TEXT, FIELD(ca), 0, 0, "FILE",
		"certificates to trust with mqtts:// and wss:// (the system's)"},
	{0, "insecure", ARGUMENT_FLAG, FIELD(insecure), 0, 0, NULL,
		"do not verify servers' certificates"},
};

static const struct argument_table table = {"isobar compare [options] --theirs URL [FILTER...]",
	"Compares what two brokers publish, by identity: for each centre what both had, who was "
	"first\n"
	"and by how much, what one alone had, and the rule by which ours refused what theirs let\n"
	"through. Ours may run in shadow. FILTER defaults to origin/a/wis2/# and cache/a/wis2/#.\n"
	"Exit status 1 when they differ.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- both sides ------------------------------------------------------- */

static struct view centre_in(struct view topic)
{
	for (int level = 1; level < 4; level++)
		(void)view_cut(&topic, '/');
	return view_cut(&topic, '/');
}

static bool is_asked_for(const struct comparison *c, struct view topic)
{
	for (uint32_t i = 0; i < c->filter_count; i++) {
		if (filter_match(c->filters[i], topic))
			return true;
	}
	return false;
}

static void finish(struct comparison *c)
{
	if (c->ended)
		return;
	c->ended = true;
	timer_stop(c->loop, &c->ask);
	for (unsigned i = 0; i < 2; i++) {
		timer_stop(c->loop, &c->sides[i].again);
		if (c->sides[i].is_open)
			cli_client_close(&c->sides[i].client);
	}
	if (!c->sides[0].is_open && !c->sides[1].is_open)
		loop_stop(c->loop);
}

static bool is_ready(const struct comparison *c)
{
	return c->sides[COMPARE_THEIRS].is_ready &&
	       (c->config ? c->has_next : c->sides[COMPARE_OURS].is_ready);
}

/* From here on both sides are heard. */
static void begin_when_ready(struct comparison *c)
{
	if (!is_ready(c))
		return;
	if (c->has_begun) {
		compare_gap_ends(&c->sums, clock_mono_ms());
		return;
	}
	c->has_begun = true;
	c->begun_ms = clock_mono_ms();
	compare_init(&c->sums, c->within_ms, c->begun_ms);
	timer_start(c->loop, &c->end, c->for_ms);
	fprintf(stderr, "isobar compare: %s and %s are heard; the report comes in %llu s\n",
		c->ours_shown, c->sides[COMPARE_THEIRS].target.shown,
		(unsigned long long)c->for_ms / 1000);
}

/* --- a subscriber's side ---------------------------------------------- */

/* Two brokers elsewhere: a rule that the message breaks is all there is to know. */
static enum rule judge(const struct comparison *c, struct view topic, struct view payload,
	struct notification *note)
{
	struct findings of_topic, of_message;
	struct topic_parts parts;

	verify_topic(&c->rules, topic, &parts, &of_topic);
	verify_message(&c->rules, &parts, payload, note, &of_message);
	if (c->config)
		return RULE_NONE; /* the broker says by which it refused it, if it did */
	return of_topic.count     ? of_topic.at[0].rule
	       : of_message.count ? of_message.at[0].rule
				  : RULE_NONE;
}

static void on_message(struct listener_side *s, struct view topic, struct view payload)
{
	struct notification note = {.has_id = false};
	struct compare_message m = {.centre = centre_in(topic), .at_ms = clock_wall_ms()};

	if (!s->of->has_begun || s->of->ended)
		return;
	m.rule = judge(s->of, topic, payload, &note);
	m.id = note.has_id ? note.id : gate_identity_of_bytes(topic, payload);
	compare_take(&s->of->sums, s->side, &m, clock_mono_ms());
}

static void on_connected(struct cli_client *client, const struct mqtt_packet *connack)
{
	struct listener_side *s = container_of(client, struct listener_side, client);

	(void)connack;
	cli_client_subscribe(client, s->of->filters, s->of->filter_count, 1);
}

static void judge_suback(struct listener_side *s, const struct mqtt_packet *p)
{
	struct view codes = p->list.items;

	for (uint32_t i = 0; i < s->of->filter_count && i < codes.n; i++) {
		char *why;

		if ((uint8_t)codes.p[i] < 0x80)
			continue;
		why = cli_client_reason(MQTT_5, p, (uint8_t)codes.p[i]);
		fprintf(stderr, "isobar compare: %s: %.*s refused: %s\n", s->target.shown,
			VIEW_ARG(s->of->filters[i]), why);
		free(why);
		s->of->status = CLI_ENVIRONMENT;
	}
	if (s->of->status) {
		finish(s->of);
		return;
	}
	s->is_ready = true;
	begin_when_ready(s->of);
}

static void on_packet(struct cli_client *client, const struct mqtt_packet *p)
{
	struct listener_side *s = container_of(client, struct listener_side, client);

	if (p->type == MQTT_SUBACK)
		judge_suback(s, p);
	else if (p->type == MQTT_PUBLISH)
		on_message(s, p->publish.topic, p->publish.payload);
}

/* It was heard: whoever compares for a day does not stop at a broken connection. */
static void try_again(struct listener_side *s, const char *why)
{
	struct comparison *c = s->of;

	if (s->is_ready) {
		fprintf(stderr, "isobar compare: %s: %s; trying again\n", s->target.shown, why);
		compare_gap(&c->sums, clock_mono_ms());
	}
	s->is_ready = false;
	timer_start(c->loop, &s->again, AGAIN_MS);
}

static void on_close(struct cli_client *client, int err, const char *why)
{
	struct listener_side *s = container_of(client, struct listener_side, client);
	struct comparison *c = s->of;

	(void)err;
	s->is_open = false;
	if (!c->ended && c->has_begun) {
		try_again(s, why);
		return;
	}
	if (!c->ended) {
		fprintf(stderr, "isobar compare: %s: %s\n", s->target.shown, why);
		c->status = CLI_ENVIRONMENT;
		finish(c);
	}
	if (!c->sides[0].is_open && !c->sides[1].is_open)
		loop_stop(c->loop);
}

static void open_side(struct comparison *c, enum compare_side side)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};
	struct listener_side *s = &c->sides[side];

	s->settings = (struct client_settings){
		.target = &s->target, .version = MQTT_5, .keep_alive_s = 60};
	if (cli_client_open(&s->client, c->loop, &s->settings, &handler) == 0) {
		s->is_open = true;
		return;
	}
	perror("isobar compare");
	c->status = CLI_ENVIRONMENT;
	finish(c);
}

static void on_again(struct timer *t)
{
	struct listener_side *s = container_of(t, struct listener_side, again);

	open_side(s->of, s->side);
}

/* --- the broker that runs here ---------------------------------------- */

static const char *text_in(const json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));

	return text ? text : "";
}

static void take_record(struct comparison *c, const json_t *line)
{
	struct view topic = view_of(text_in(line, "topic"));
	struct compare_message m = {.centre = centre_in(topic),
		.at_ms = (uint64_t)(json_integer_value(json_object_get(line, "time")) +
				    c->ahead_ms)};

	if (c->has_begun && is_asked_for(c, topic) &&
		uuid_parse(view_of(text_in(line, "id")), &m.id))
		compare_take(&c->sums, COMPARE_OURS, &m, clock_mono_ms());
}

static void on_record(void *context, struct view text, json_t *line)
{
	struct comparison *c = context;
	const json_t *next = json_object_get(line, "next");
	json_t *record;
	size_t i;

	(void)text;
	if (next == NULL) {
		json_array_append(c->records, line);
		return;
	}
	c->ahead_ms = (int64_t)clock_wall_ms() - json_integer_value(json_object_get(line, "now"));
	c->skipped += (uint64_t)json_integer_value(json_object_get(line, "skipped"));
	c->next = (uint64_t)json_integer_value(next);
	json_array_foreach(c->records, i, record)
	{
		take_record(c, record);
	}
}

static void on_refused(void *context, struct view text, json_t *line)
{
	struct comparison *c = context;
	const json_t *next = json_object_get(line, "next");
	enum rule rule = rule_by_id(view_of(text_in(line, "rule")));
	struct uuid id;

	(void)text;
	if (next) {
		c->refused = (uint64_t)json_integer_value(next);
		c->has_refused = true;
	} else if (c->has_begun && rule && uuid_parse(view_of(text_in(line, "id")), &id)) {
		compare_refused(&c->sums, &id, rule, clock_mono_ms());
	}
}

static json_t *order(const char *name, bool has_from, uint64_t from)
{
	return has_from ? json_pack("{s:s, s:I}", "order", name, "from", (json_int_t)from)
			: json_pack("{s:s}", "order", name);
}

static int ask_ours(struct comparison *c)
{
	uint64_t before;
	int status;

	do { /* as long as there is more */
		before = c->next;
		c->records = json_array();
		status = control_ask(
			c->config, "compare", order("records", c->has_next, c->next), on_record, c);
		json_decref(c->records);
		c->records = NULL;
	} while (status == CLI_DONE && c->has_next && c->next - before >= 1000);
	c->has_next = true;
	if (status == CLI_DONE)
		status = control_ask(c->config, "compare",
			order("refused", c->has_refused, c->refused), on_refused, c);
	return status;
}

static void on_known(void *context, struct view text, json_t *line)
{
	struct comparison *c = context;
	struct uuid id;

	(void)text;
	if (uuid_parse(view_of(text_in(line, "id")), &id))
		compare_known(&c->sums, &id);
}

/* What ours has not published by now it may have published long ago. */
static int ask_known(struct comparison *c)
{
	struct uuid ids[KNOWN_AT_ONCE];
	char text[UUID_TEXT_BYTES + 1];
	int status = CLI_DONE;
	uint32_t n;

	while (status == CLI_DONE && (n = compare_ask(&c->sums, ids, KNOWN_AT_ONCE)) > 0) {
		json_t *list = json_array();

		for (uint32_t i = 0; i < n; i++) {
			uuid_format(&ids[i], text);
			json_array_append_new(list, json_string(text));
		}
		status = control_ask(c->config, "compare",
			json_pack("{s:s, s:o}", "order", "known", "ids", list), on_known, c);
	}
	return status;
}

static void on_ask(struct timer *t)
{
	struct comparison *c = container_of(t, struct comparison, ask);

	c->status = ask_ours(c);
	if (c->status == CLI_DONE && c->has_begun)
		c->status = ask_known(c);
	if (c->has_begun)
		compare_settle(&c->sums, clock_mono_ms());
	if (c->status) {
		finish(c);
		return;
	}
	if (!c->has_begun)
		begin_when_ready(c);
	timer_start(c->loop, t, ASK_MS);
}

/* --- the whole -------------------------------------------------------- */

static void on_end(struct timer *t)
{
	finish(container_of(t, struct comparison, end));
}

static void on_signal(struct signals *signals, int number)
{
	(void)number;
	finish(container_of(signals, struct comparison, signals));
}

/* 0 or an exit status. True words: what it means when no rule is known. */
static int report(struct comparison *c)
{
	struct buf out = {0};
	struct compare_words words = {c->ours_shown, c->sides[COMPARE_THEIRS].target.shown,
		c->config ? "it did not reach us" : "valid by our rules",
		clock_mono_ms() - c->begun_ms};
	bool same;

	if (!c->has_begun)
		return c->status ? c->status : CLI_NO;
	compare_end(&c->sums, clock_mono_ms());
	same = c->json ? compare_report_json(&c->sums, &words, &out)
		       : compare_report_text(&c->sums, &words, &out);
	fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	buf_fini(&out);
	compare_fini(&c->sums);
	if (c->skipped)
		fprintf(stderr,
			"isobar compare: %llu of our messages were removed before they were read\n",
			(unsigned long long)c->skipped);
	return c->status ? c->status : same ? CLI_DONE : CLI_NO;
}

static int run(struct comparison *c)
{
	c->loop = loop_new();
	c->signals.on_signal = on_signal;
	c->end.on_time = on_end;
	c->ask.on_time = on_ask;
	if (c->loop == NULL || signals_open(&c->signals, c->loop) < 0) {
		perror("isobar compare");
		return CLI_ENVIRONMENT;
	}
	open_side(c, COMPARE_THEIRS);
	if (c->config)
		timer_start(c->loop, &c->ask, 0);
	else if (!c->ended)
		open_side(c, COMPARE_OURS);
	if (c->sides[0].is_open || c->sides[1].is_open)
		loop_run(c->loop);
	timer_stop(c->loop, &c->end);
	timer_stop(c->loop, &c->ask);
	signals_close(&c->signals);
	loop_free(c->loop);
	return report(c);
}

/* Where ours is: by its data_dir, or a URL. */
static int find_ours(struct comparison *c)
{
	struct buf faults = {0};
	int status = CLI_DONE;

	if (c->sides[COMPARE_OURS].where.url) {
		status = cli_client_target_open(
			&c->sides[COMPARE_OURS].target, &c->sides[COMPARE_OURS].where);
		c->ours_shown = mem_text(c->sides[COMPARE_OURS].target.shown);
		return status;
	}
	(void)config_load(c->file, &c->config, &faults);
	if (config_is_readable(c->config)) {
		c->ours_shown = mem_printf("the broker of %s", c->config->data_dir);
	} else {
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
		status = CLI_USAGE;
	}
	buf_fini(&faults);
	return status;
}

static int set_filters(struct comparison *c, int n, char **filters)
{
	static const char *const defaults[] = {"origin/a/wis2/#", "cache/a/wis2/#"};

	if (n > (int)ARGUMENT_LIST_MOST) {
		fprintf(stderr, "isobar compare: at most %u filters\n", ARGUMENT_LIST_MOST);
		return CLI_USAGE;
	}
	for (int i = 0; i < n; i++) {
		c->filters[c->filter_count++] = view_of(filters[i]);
		if (filter_is_valid(view_of(filters[i])))
			continue;
		fprintf(stderr, "isobar compare: %s: not a topic filter\n", filters[i]);
		return CLI_USAGE;
	}
	for (int i = 0; n == 0 && i < 2; i++)
		c->filters[c->filter_count++] = view_of(defaults[i]);
	return CLI_DONE;
}

static int prepare(struct comparison *c, int n, char **filters)
{
	struct listener_side *theirs = &c->sides[COMPARE_THEIRS];
	int status = set_filters(c, n, filters);

	for (unsigned i = 0; i < 2; i++) {
		c->sides[i].of = c;
		c->sides[i].side = (enum compare_side)i;
		c->sides[i].again.on_time = on_again;
		c->sides[i].where.ca = c->ca;
		c->sides[i].where.insecure = c->insecure;
	}
	if (status == CLI_DONE && theirs->where.url == NULL) {
		fprintf(stderr, "isobar compare: --theirs URL is missing: compare with what?\n");
		status = CLI_USAGE;
	}
	if (status == CLI_DONE && !verdict_load_hierarchy("compare", &c->rules.known))
		status = CLI_USAGE;
	if (status == CLI_DONE)
		status = find_ours(c);
	if (status == CLI_DONE)
		status = cli_client_target_open(&theirs->target, &theirs->where);
	return status;
}

int cli_compare(int argc, char **argv)
{
	struct comparison c = {.for_ms = FOR_MS,
		.within_ms = WITHIN_MS,
		.rules = {.test_centres = true, .mode = MODE_STANDARD}};
	int at = arguments_read(&table, argc, argv, &c);
	int status;

	if (at < 0)
		return arguments_status(at);
	status = prepare(&c, argc - at, argv + at);
	if (status == CLI_DONE)
		status = run(&c);
	cli_client_target_close(&c.sides[COMPARE_OURS].target);
	cli_client_target_close(&c.sides[COMPARE_THEIRS].target);
	hierarchy_unref(c.rules.known.hierarchy);
	config_free(c.config);
	free(c.ours_shown);
	return status;
}
