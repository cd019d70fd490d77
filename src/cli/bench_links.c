/* cli/bench_links.c - the load generator's connections
 *
 * A subscriber never sees a decoded packet: its stream tells the mark of each message, which moves
 * a counter. Acknowledgements of everything read at once leave in one write.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/bench.h"

#define OPENING_MOST 100u          /* connections being opened at a time */
#define UNSENT_MOST (256u * 1024u) /* bytes a publisher keeps back */

/* --- receiving -------------------------------------------------------- */

static void count_message(struct bench_link *l, const struct bench_packet *p)
{
	struct bench *b = l->bench;
	const struct bench_mark *m = &p->mark;
	uint64_t topics = b->config.topics;
	uint64_t number = m->sequence;

	if (!p->is_marked || m->run != b->run ||
		m->publisher >= b->config.counts[BENCH_PUBLISHER] ||
		l->filter->rank[number % topics] < 0) {
		b->foreign++;
		return;
	}
	if (l->filter->matched != topics)
		number = number / topics * l->filter->matched +
			 (uint64_t)l->filter->rank[number % topics];
	b->received++;
	if (sequence_take(&l->sequences[m->publisher], number))
		b->delivered++;
	latency_add(&b->latency, l->now_ns > m->time_ns ? l->now_ns - m->time_ns : 0, 1);
}

static void put_ack(struct bench_link *l, uint8_t first, uint16_t id)
{
	uint8_t bytes[4] = {first, 2, (uint8_t)(id >> 8), (uint8_t)id};

	buf_append(conn_out(&l->client.conn), bytes, sizeof(bytes));
}

static void take_publish(struct bench_link *l, const struct bench_packet *p)
{
	if (l->role == BENCH_SUBSCRIBER)
		count_message(l, p);
	if (p->qos)
		put_ack(l, p->qos == 1 ? MQTT_PUBACK << 4 : MQTT_PUBREC << 4, p->packet_id);
}

static void take_suback(struct bench_link *l, const struct bench_packet *p)
{
	if (p->reason >= 0x80)
		conn_close(&l->client.conn, ERR_DENIED, "subscription refused");
	else
		bench_on_ready(l);
}

static void take_settled(struct bench_link *l, const struct bench_packet *p)
{
	l->settled++;
	l->bench->settled++;
	l->refused += p->reason >= 0x80;
}

static void take_pubrec(struct bench_link *l, const struct bench_packet *p)
{
	if (p->reason >= 0x80)
		take_settled(l, p);
	else
		put_ack(l, MQTT_PUBREL << 4 | 2, p->packet_id);
}

static void take_pubrel(struct bench_link *l, const struct bench_packet *p)
{
	put_ack(l, MQTT_PUBCOMP << 4, p->packet_id);
}

static void take_disconnect(struct bench_link *l, const struct bench_packet *p)
{
	char *why = mem_printf("DISCONNECT with reason 0x%02x", p->reason);

	conn_close(&l->client.conn, ERR_CLOSED, why);
	free(why);
}

static void (*const takers[16])(struct bench_link *l, const struct bench_packet *p) = {
	[MQTT_PUBLISH] = take_publish,
	[MQTT_PUBACK] = take_settled,
	[MQTT_PUBREC] = take_pubrec,
	[MQTT_PUBREL] = take_pubrel,
	[MQTT_PUBCOMP] = take_settled,
	[MQTT_SUBACK] = take_suback,
	[MQTT_DISCONNECT] = take_disconnect,
};

static void on_told(void *context, const struct bench_packet *p)
{
	struct bench_link *l = context;

	if (takers[p->type])
		takers[p->type](l, p);
}

static ssize_t on_stream(struct cli_client *c, const uint8_t *p, size_t n)
{
	struct bench_link *l = container_of(c, struct bench_link, client);
	ssize_t took;

	l->now_ns = clock_mono_ns();
	took = bench_stream_take(&l->stream, p, n, on_told, l);
	conn_pushed(&c->conn);
	return took;
}

/* --- publishing ------------------------------------------------------- */

/* May one more message be sent by anybody now? */
static bool is_due(const struct bench *b, uint64_t now_ns)
{
	const struct bench_config *c = &b->config;
	double each = (double)b->expected / (double)c->messages;

	if (c->rate && (double)b->sent >= (double)(now_ns - b->start_ns) * 1e-9 * (double)c->rate)
		return false;
	if (c->ahead && (double)b->sent * each - (double)b->delivered >= (double)c->ahead * each &&
		each > 0)
		return false;
	return true;
}

static void send_one(struct bench_link *l)
{
	struct bench *b = l->bench;
	bool is_acked = b->config.publish_qos > 0;
	struct bench_mark mark = {b->run, (uint16_t)l->number, l->sent, clock_mono_ns()};

	if (is_acked)
		l->last_id = (uint16_t)(l->last_id == 65535 ? 1 : l->last_id + 1);
	bench_put(&b->templates[l->sent % b->config.topics], &mark, l->last_id,
		conn_out(&l->client.conn));
	l->sent++;
	b->sent++;
	if (!is_acked) {
		l->settled++;
		b->settled++;
	}
}

static bool may_send(const struct bench_link *l)
{
	uint64_t window = l->bench->config.window;

	if (window > l->client.server_receive_maximum)
		window = l->client.server_receive_maximum;
	return l->sent < l->share && l->sent - l->settled < window &&
	       conn_pending(&l->client.conn) < UNSENT_MOST && conn_is_open(&l->client.conn);
}

static bool publish_some(struct bench_link *l)
{
	bool sent = false;

	while (may_send(l) && is_due(l->bench, clock_mono_ns())) {
		send_one(l);
		sent = true;
	}
	if (sent) {
		conn_pushed(&l->client.conn);
		conn_flush(&l->client.conn);
	}
	return sent && may_send(l) && is_due(l->bench, clock_mono_ns());
}

bool bench_publish(struct bench *b)
{
	bool more = false;

	for (uint32_t i = b->publisher_at; i < b->link_count; i++)
		more |= publish_some(&b->links[i]);
	return more;
}

/* --- life ------------------------------------------------------------- */

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	struct bench_link *l = container_of(c, struct bench_link, client);

	if (l->bench->config.resume && !connack->connack.session_present)
		conn_close(&c->conn, ERR_CLOSED, "no session to resume");
	else if (l->bench->config.resume)
		bench_on_ready(l);
	else if (l->role == BENCH_SUBSCRIBER || l->role == BENCH_STOPPED)
		cli_client_subscribe(c, &l->filter->text, 1, (uint8_t)l->bench->config.qos);
	else
		bench_on_ready(l);
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	bench_on_gone(container_of(c, struct bench_link, client), err, why);
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *p)
{
	(void)c, (void)p; /* on_stream takes everything */
}

void bench_open_more(struct bench *b)
{
	static const struct client_handler handler = {.on_connected = on_connected,
		.on_packet = on_packet,
		.on_stream = on_stream,
		.on_close = on_close};

	while (b->opened < b->to_open &&
		(b->config.resume || b->opened - b->ready < OPENING_MOST)) {
		struct bench_link *l = &b->links[b->opened++];
		int err = cli_client_open(&l->client, b->loop,
			l->id ? &l->settings : &b->settings[l->role], &handler);

		if (err < 0) {
			bench_on_gone(l, err, "cannot connect");
			return;
		}
	}
}

void bench_close_all(struct bench *b)
{
	for (uint32_t i = 0; i < b->opened; i++) {
		if (!b->links[i].is_gone)
			cli_client_close(&b->links[i].client);
	}
}

static void set_up_subscriber(struct bench *b, struct bench_link *l)
{
	uint64_t publishers = b->config.counts[BENCH_PUBLISHER];

	l->sequences = mem_new((publishers ? publishers : 1) * sizeof(*l->sequences));
	if (b->config.name == NULL)
		return;
	l->id = mem_printf("%s%u", b->config.name, l->number);
	l->settings = b->settings[BENCH_SUBSCRIBER];
	l->settings.id = l->id;
}

/* What is resumed was published before. */
static void set_up_publisher(struct bench *b, struct bench_link *l)
{
	const struct bench_config *c = &b->config;
	uint64_t publishers = c->counts[BENCH_PUBLISHER];

	l->share = c->messages / publishers + (l->number < c->messages % publishers);
	if (!c->resume)
		return;
	l->sent = l->settled = l->share;
	b->sent += l->share;
	b->settled += l->share;
}

static void set_up(struct bench *b, struct bench_link *l, enum bench_role role, uint32_t number)
{
	const struct bench_config *c = &b->config;

	l->bench = b;
	l->role = role;
	l->number = number;
	l->stream.version = c->version;
	l->filter = &b->filters[number % c->filters.count];
	if (role == BENCH_SUBSCRIBER)
		set_up_subscriber(b, l);
	if (role == BENCH_PUBLISHER)
		set_up_publisher(b, l);
}

uint64_t bench_filter_expected(
	const struct bench *b, const struct bench_filter *f, uint64_t messages)
{
	uint64_t topics = b->config.topics;

	return messages / topics * f->matched + f->before[messages % topics];
}

static void expect(struct bench *b)
{
	b->expected = 0;
	for (uint32_t i = 0; i < b->config.counts[BENCH_SUBSCRIBER]; i++) {
		for (uint32_t p = b->publisher_at; p < b->link_count; p++)
			b->expected +=
				bench_filter_expected(b, b->links[i].filter, b->links[p].share);
	}
}

void bench_links_new(struct bench *b)
{
	uint64_t count = 0;
	uint32_t at = 0;

	for (unsigned role = 0; role < BENCH_ROLES; role++)
		count += b->config.counts[role];
	b->link_count = (uint32_t)count;
	b->links = mem_new((count ? count : 1) * sizeof(*b->links));
	b->publisher_at = (uint32_t)(count - b->config.counts[BENCH_PUBLISHER]);
	b->to_open = b->config.resume ? b->publisher_at : b->link_count;
	for (unsigned role = 0; role < BENCH_ROLES; role++) {
		for (uint32_t i = 0; i < b->config.counts[role]; i++)
			set_up(b, &b->links[at++], role, i);
	}
	expect(b);
}

void bench_end_publishing(struct bench *b)
{
	for (uint32_t p = b->publisher_at; p < b->link_count; p++)
		b->links[p].share = b->links[p].sent;
	b->config.messages = b->sent;
	expect(b);
}

void bench_links_free(struct bench *b)
{
	for (uint32_t i = 0; i < b->link_count; i++) {
		struct bench_link *l = &b->links[i];

		for (uint32_t p = 0; l->sequences && p < b->config.counts[BENCH_PUBLISHER]; p++)
			sequence_fini(&l->sequences[p]);
		free(l->sequences);
		free(l->id);
	}
	free(b->links);
}
