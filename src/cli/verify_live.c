/* `isobar verify --from`: live traffic, judged and summed.
 *
 *     de-dwd: 1200 messages, 3 invalid
 *       2 WNM-35: neither datetime nor a period is present, /properties
 *           origin/a/wis2/de-dwd/data/core/weather/...  id 0f8fad5b-...
 *
 * A message counts once, under the lowest-numbered rule of its topic, else of its text, as in the
 * metrics of a Global Broker. The first of each rule stands as an example.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/signals.h"
#include "cli/verify.h"
#include "wis2/json.h"

#define CENTRES_MOST 2000u /* further ones are summed as one */
#define OTHERS "(others)"
#define NO_CENTRE "(none)"
#define SHOWN_LONGEST 200 /* characters of a peer's text */

struct broken {
	uint64_t count;
	struct finding first;
	char *topic; /* owned: of the first */
	char *id;    /* owned: as written, or NULL */
};

struct centre {
	char *name; /* owned */
	uint64_t received;
	uint64_t invalid;
	struct broken rules[RULE_COUNT];
};

struct live {
	const struct verify_settings *settings;
	struct client_target target;
	struct client_settings client_settings;
	struct loop *loop;
	struct cli_client client;
	struct signals signals;
	struct timer timer;
	struct view *filters;
	uint32_t filter_count;
	struct centre **centres; /* in order of name */
	uint32_t centre_count;
	uint64_t left; /* messages to come; 0: no end */
	bool ended;
	int status;
};

/* --- the sums --------------------------------------------------------- */

/* Its place, or where it would be. */
static uint32_t place_of(const struct live *l, struct view name, bool *found)
{
	uint32_t low = 0, high = l->centre_count;

	*found = false;
	while (low < high && !*found) {
		uint32_t middle = (low + high) / 2;
		struct view other = view_of(l->centres[middle]->name);
		size_t n = name.n < other.n ? name.n : other.n;
		int order = n ? memcmp(name.p, other.p, n) : 0;

		order = order ? order : (name.n > other.n) - (name.n < other.n);
		*found = order == 0;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return high;
}

static struct centre *centre_of(struct live *l, struct view name)
{
	bool found;
	uint32_t at;

	if (name.n == 0)
		name = VIEW(NO_CENTRE);
	at = place_of(l, name, &found);
	if (found)
		return l->centres[at];
	if (l->centre_count >= CENTRES_MOST && !view_equal(name, VIEW(OTHERS)))
		return centre_of(l, VIEW(OTHERS));
	l->centres = mem_resize(l->centres, (l->centre_count + 1) * sizeof(struct centre *));
	memmove(&l->centres[at + 1], &l->centres[at],
		(l->centre_count - at) * sizeof(struct centre *));
	l->centres[at] = mem_new(sizeof(struct centre));
	l->centres[at]->name = mem_text_of(name);
	l->centre_count++;
	return l->centres[at];
}

static struct view cut(struct view text)
{
	return (struct view){text.p, text.n < SHOWN_LONGEST ? text.n : SHOWN_LONGEST};
}

static void count_broken(struct centre *centre, const struct finding *finding, struct view topic,
	const struct notification *note)
{
	struct broken *b = &centre->rules[finding->rule];

	centre->invalid++;
	if (b->count++)
		return;
	b->first = *finding;
	b->first.nearest = (struct view){0};
	b->topic = mem_text_of(cut(topic));
	b->id = note->id_text.p ? mem_text_of(cut(note->id_text)) : NULL;
}

static void judge(struct live *l, struct view topic, struct view payload)
{
	struct findings of_topic, of_message;
	struct notification note;
	struct topic_parts parts;
	struct centre *centre;

	verify_topic(l->settings, topic, &parts, &of_topic);
	verify_message(l->settings, &parts, payload, &note, &of_message);
	centre = centre_of(l, cut(parts.centre));
	centre->received++;
	if (of_topic.count)
		count_broken(centre, &of_topic.at[0], topic, &note);
	else if (of_message.count)
		count_broken(centre, &of_message.at[0], topic, &note);
}

/* --- the report ------------------------------------------------------- */

static struct view text_or_empty(const char *text)
{
	return text ? view_of(text) : VIEW("");
}

static void put_broken_json(struct buf *out, const struct broken *b)
{
	buf_printf(out, "{\"rule\":\"%s\",\"count\":%llu,\"reason\":", rule_id(b->first.rule),
		(unsigned long long)b->count);
	buf_json_string(out, view_of(b->first.reason));
	if (b->first.level)
		buf_printf(out, ",\"level\":%u", b->first.level);
	buf_text(out, ",\"path\":");
	buf_json_string(out, view_of(b->first.path));
	buf_text(out, ",\"topic\":");
	buf_json_string(out, view_of(b->topic));
	buf_text(out, ",\"id\":");
	buf_json_string(out, text_or_empty(b->id));
	buf_text(out, "}");
}

static void put_centre_json(struct buf *out, const struct centre *c)
{
	const char *separator = "";

	buf_text(out, "{\"centre_id\":");
	buf_json_string(out, view_of(c->name));
	buf_printf(out, ",\"received\":%llu,\"invalid\":%llu,\"broken\":[",
		(unsigned long long)c->received, (unsigned long long)c->invalid);
	for (unsigned r = 1; r < RULE_COUNT; r++) {
		if (c->rules[r].count == 0)
			continue;
		buf_text(out, separator);
		put_broken_json(out, &c->rules[r]);
		separator = ",";
	}
	buf_text(out, "]}\n");
}

/* A peer's text for a terminal: as JSON would have it, without the quotes. */
static void put_plain(struct buf *out, const char *text)
{
	struct buf quoted = {0};

	buf_json_string(&quoted, text_or_empty(text));
	buf_append(out, buf_bytes(&quoted) + 1, buf_length(&quoted) - 2);
	buf_fini(&quoted);
}

static void put_centre_text(struct buf *out, const struct centre *c)
{
	put_plain(out, c->name);
	buf_printf(out, ": %llu messages, %llu invalid\n", (unsigned long long)c->received,
		(unsigned long long)c->invalid);
	for (unsigned r = 1; r < RULE_COUNT; r++) {
		const struct broken *b = &c->rules[r];

		if (b->count == 0)
			continue;
		buf_printf(out, "  %llu %s: %s", (unsigned long long)b->count,
			rule_id((enum rule)r), b->first.reason);
		if (b->first.level)
			buf_printf(out, ", level %u", b->first.level);
		else if (b->first.path[0])
			buf_printf(out, ", %s", b->first.path);
		buf_text(out, "\n      ");
		put_plain(out, b->topic);
		buf_text(out, b->id ? "  id " : "");
		put_plain(out, b->id);
		buf_text(out, "\n");
	}
}

/* Prints and frees the sums; true when something was invalid. */
static bool report(struct live *l)
{
	struct buf out = {0};
	uint64_t received = 0, invalid = 0;

	for (uint32_t i = 0; i < l->centre_count; i++) {
		struct centre *c = l->centres[i];

		(l->settings->json ? put_centre_json : put_centre_text)(&out, c);
		received += c->received;
		invalid += c->invalid;
		for (unsigned r = 0; r < RULE_COUNT; r++) {
			free(c->rules[r].topic);
			free(c->rules[r].id);
		}
		free(c->name);
		free(c);
	}
	if (!l->settings->json)
		buf_printf(&out, "%llu messages of %u centres, %llu invalid\n",
			(unsigned long long)received, l->centre_count, (unsigned long long)invalid);
	if (buf_length(&out))
		fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	buf_fini(&out);
	free(l->centres);
	return invalid > 0;
}

/* --- the connection --------------------------------------------------- */

static void end(struct live *l)
{
	l->ended = true;
	cli_client_close(&l->client);
}

static void on_time(struct timer *t)
{
	end(container_of(t, struct live, timer));
}

static void on_signal(struct signals *signals, int number)
{
	(void)number;
	end(container_of(signals, struct live, signals));
}

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	struct live *l = container_of(c, struct live, client);

	(void)connack;
	cli_client_subscribe(c, l->filters, l->filter_count, 1);
}

static void judge_suback(struct live *l, const struct mqtt_packet *p)
{
	struct view codes = p->list.items;

	for (uint32_t i = 0; i < l->filter_count && i < codes.n; i++) {
		char *why;

		if ((uint8_t)codes.p[i] < 0x80)
			continue;
		why = cli_client_reason(MQTT_5, p, (uint8_t)codes.p[i]);
		fprintf(stderr, "isobar verify: %.*s refused: %s\n", VIEW_ARG(l->filters[i]), why);
		free(why);
		l->status = CLI_ENVIRONMENT;
	}
	if (l->status)
		end(l);
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *p)
{
	struct live *l = container_of(c, struct live, client);

	if (p->type == MQTT_SUBACK)
		judge_suback(l, p);
	if (p->type != MQTT_PUBLISH || l->ended)
		return;
	judge(l, p->publish.topic, p->publish.payload);
	if (l->left && --l->left == 0)
		end(l);
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	struct live *l = container_of(c, struct live, client);

	(void)err;
	if (!l->ended) {
		fprintf(stderr, "isobar verify: %s: %s\n", l->target.shown, why);
		l->status = CLI_ENVIRONMENT;
	}
	loop_stop(l->loop);
}

static void run(struct live *l, uint64_t for_ms)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};

	l->loop = loop_new();
	l->signals.on_signal = on_signal;
	l->timer.on_time = on_time;
	if (l->loop == NULL || signals_open(&l->signals, l->loop) < 0) {
		perror("isobar verify");
		l->status = CLI_ENVIRONMENT;
		return;
	}
	if (cli_client_open(&l->client, l->loop, &l->client_settings, &handler) == 0) {
		timer_start(l->loop, &l->timer, for_ms);
		loop_run(l->loop);
		timer_stop(l->loop, &l->timer);
	} else {
		perror("isobar verify");
		l->status = CLI_ENVIRONMENT;
	}
	signals_close(&l->signals);
	loop_free(l->loop);
}

int verify_live(const struct verify_live *live, const struct verify_settings *settings, int count,
	char **filters)
{
	struct live l = {.settings = settings, .left = live->count};
	bool invalid;

	if (count == 0) {
		fprintf(stderr,
			"isobar verify: --from URL needs a filter, such as origin/a/wis2/#\n");
		return CLI_USAGE;
	}
	l.filters = mem_new((size_t)count * sizeof(*l.filters));
	for (; l.filter_count < (uint32_t)count; l.filter_count++)
		l.filters[l.filter_count] = view_of(filters[l.filter_count]);
	l.status = cli_client_target_open(&l.target, &live->where);
	l.client_settings = (struct client_settings){
		.target = &l.target, .version = MQTT_5, .keep_alive_s = 60};
	if (l.status == CLI_DONE)
		run(&l, live->for_ms);
	invalid = report(&l);
	cli_client_target_close(&l.target);
	free(l.filters);
	return l.status ? l.status : invalid ? CLI_NO : CLI_DONE;
}
