/* A will is one allocation: the struct, then topic, payload and properties. What stands in a row is the
 * same, with lengths for the views. Once it is taken by the journal nothing of it is kept: that it
 * counts is told to the worker's one owner.
 */
#include "broker/will.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/client.h"
#include "broker/own.h"
#include "broker/persist.h"
#include "broker/worker.h"
#include "commit/gate.h"
#include "wis2/rule.h"

struct will_head {
	uint64_t delay_ms;
	uint32_t expiry_s; /* 0: none */
	uint32_t qos;
	uint32_t topic_bytes;
	uint32_t payload_bytes;
	uint32_t property_bytes;
	uint32_t retain;
};
_Static_assert(sizeof(struct will_head) == 32, "no padding, as its bytes are stored");

struct will {
	struct will_head head;
	struct timer delay;      /* runs while the session is offline */
	struct session *session; /* whose delay runs */
	struct list link;        /* in worker->wills.waiting, then with: */
	struct uuid id;
	uint32_t origin;
	uint16_t publisher;
	bool claim;
};

/* --- its parts -------------------------------------------------------- */

static const char *text_of(const struct will *will)
{
	return (const char *)(will + 1);
}

static struct view topic_of(const struct will *will)
{
	return (struct view){text_of(will), will->head.topic_bytes};
}

static struct view payload_of(const struct will *will)
{
	return (struct view){text_of(will) + will->head.topic_bytes, will->head.payload_bytes};
}

static struct view properties_of(const struct will *will)
{
	size_t before = (size_t)will->head.topic_bytes + will->head.payload_bytes;

	return (struct view){text_of(will) + before, will->head.property_bytes};
}

static size_t text_bytes(const struct will_head *h)
{
	return (size_t)h->topic_bytes + h->payload_bytes + h->property_bytes;
}

static void on_delay_over(struct timer *t);

static struct will *will_of(const struct will_head *head, const char *text)
{
	size_t n = text_bytes(head);
	struct will *will = mem_new(sizeof(*will) + n);

	will->head = *head;
	will->delay.on_time = on_delay_over;
	list_init(&will->link);
	memcpy(will + 1, text, n);
	return will;
}

/* In their order and unchanged; the delay is the server's alone. */
static void keep_properties(const struct mqtt_will *m, struct buf *text)
{
	struct view rest = m->properties.raw;
	struct mqtt_property_item item;

	if (m->properties.present == 0)
		return;
	while (mqtt_next_property(&rest, &item)) {
		if (publish_forwards(item.which)) /* [MQTT-3.1.3-10] */
			buf_append(text, item.raw.p, item.raw.n);
	}
}

struct will *will_new(const struct mqtt_will *m)
{
	const struct mqtt_properties *p = &m->properties;
	struct will_head head = {
		.delay_ms = mqtt_number(p, MQTT_PROPERTY_WILL_DELAY_INTERVAL, 0) * 1000ull,
		.expiry_s = mqtt_number(p, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0),
		.qos = m->qos,
		.retain = m->retain,
		.topic_bytes = (uint32_t)m->topic.n,
		.payload_bytes = (uint32_t)m->payload.n,
	};
	struct buf text = {0};
	struct will *will;

	buf_append(&text, m->topic.p, m->topic.n);
	buf_append(&text, m->payload.p, m->payload.n);
	keep_properties(m, &text);
	head.property_bytes = (uint32_t)(buf_length(&text) - m->topic.n - m->payload.n);
	will = will_of(&head, (const char *)buf_bytes(&text));
	buf_fini(&text);
	return will;
}

void will_free(struct will **will)
{
	free(*will);
	*will = NULL;
}

/* --- publishing ------------------------------------------------------- */

/* Taken or refused for good: freed. ERR_HELD: not now. */
static int submit(struct broker_worker *w, struct will *will)
{
	struct commit_request r = {
		.publisher = accounts_name(w->accounts, will->publisher), .claim = will->claim};
	int err;

	r.message = (struct journal_message){
		.topic = topic_of(will),
		.payload = payload_of(will),
		.properties = properties_of(will),
		.id = will->id,
		.publisher = will->publisher,
		.origin = will->origin,
		.qos = (uint8_t)will->head.qos,
		/* [MQTT-3.1.2-14], [MQTT-3.1.2-15] */
		.flags = publish_flags(topic_of(will), will->claim, will->head.retain != 0),
		.expiry_s = will->head.expiry_s,
	};
	err = commit_submit(w->port, &w->wills.owner, &r, 1);
	if (err == ERR_HELD)
		return err;
	if (err)
		count_add(&w->counts.refused, 1);
	list_remove(&will->link);
	free(will);
	return 0;
}

static void submit_waiting(struct broker_worker *w)
{
	struct list *waiting = &w->wills.waiting;

	while (!list_is_empty(waiting)) {
		if (submit(w, container_of(waiting->next, struct will, link)) == ERR_HELD) {
			commit_wait(w->port, &w->wills.waiter);
			return;
		}
	}
}

/* As a PUBLISH is judged, by the account as it is now. */
static int judge(struct session *s, struct will *will, enum rule *rule)
{
	struct broker_worker *w = s->worker;
	struct view user = session_user(s);
	const struct account *a = accounts_find(w->accounts, user.n > 0, user);
	struct gate_verdict v;
	int err;

	*rule = RULE_NONE;
	if (a == NULL)
		return ERR_DENIED;
	err = publish_judge(w, a, session_client_id(s), topic_of(will), payload_of(will), &v);
	*rule = v.rule;
	will->claim = v.claim;
	will->id = v.identity;
	will->publisher = a->number;
	will->origin = session_origin(s);
	if (err == 0)
		err = publish_check_retained(w,
			publish_flags(topic_of(will), v.claim, will->head.retain != 0),
			topic_of(will), will->head.payload_bytes, will->head.property_bytes);
	return err;
}

static void log_refused(const struct session *s, const struct will *will, int err, enum rule rule)
{
	struct view client_id = session_client_id(s);
	char id[LOG_QUOTE_BYTES];
	char topic[LOG_QUOTE_BYTES];

	log_info("broker", "will-refused", "client_id=%s topic=%s why=\"%s\"",
		log_quote(client_id.p, client_id.n, id),
		log_quote(text_of(will), will->head.topic_bytes, topic),
		rule == RULE_NONE ? err_text(err) : rule_text(rule));
}

/* Published once: the session has none any more. */
static void publish(struct session *s)
{
	struct broker_worker *w = s->worker;
	struct will *will = s->will;
	enum rule rule;
	int err;

	timer_stop(w->loop, &will->delay);
	s->will = NULL; /* [MQTT-3.1.2-10] */
	count_add(&w->counts.received, 1);
	err = judge(s, will, &rule);
	if (err) {
		count_add(&w->counts.refused, 1);
		log_refused(s, will, err, rule);
		free(will);
		return;
	}
	list_append(&w->wills.waiting, &will->link);
	submit_waiting(w);
}

/* --- life ------------------------------------------------------------- */

static void on_delay_over(struct timer *t)
{
	struct session *s = container_of(t, struct will, delay)->session;

	publish(s);
	persist_save(s);
}

void will_connected(struct session *s, struct will **will)
{
	will_pause(s); /* [MQTT-3.1.3-9] */
	will_free(&s->will);
	s->will = *will; /* [MQTT-3.1.2-7] */
	*will = NULL;
}

void will_disconnected(struct session *s)
{
	struct will *will = s->will;
	uint64_t now = loop_wall_ms(s->worker->loop);
	uint64_t gone = now > s->offline_ms ? now - s->offline_ms : 0;

	if (will == NULL)
		return;
	if (will->head.delay_ms == 0) {
		publish(s); /* [MQTT-3.1.2-8] */
		return;
	}
	will->session = s;
	timer_start(s->worker->loop, &will->delay,
		gone < will->head.delay_ms ? will->head.delay_ms - gone : 0);
}

void will_session_ended(struct session *s)
{
	if (s->will)
		publish(s); /* [MQTT-3.1.2-8] */
}

void will_pause(struct session *s)
{
	if (s->will)
		timer_stop(s->worker->loop, &s->will->delay);
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct broker_worker *w = container_of(o, struct broker_worker, wills.owner);

	(void)token;
	if (outcome == COMMIT_FIRST)
		count_add(&w->counts.published, 1);
}

static void on_ready(struct commit_waiter *waiter)
{
	submit_waiting(container_of(waiter, struct broker_worker, wills.waiter));
}

void wills_init(struct broker_worker *w)
{
	w->wills.owner.on_done = on_done;
	w->wills.waiter.on_ready = on_ready;
	list_init(&w->wills.waiter.link);
	list_init(&w->wills.waiting);
}

void wills_fini(struct broker_worker *w)
{
	struct list *waiting = &w->wills.waiting;
	unsigned lost = 0;

	commit_forget(w->port, &w->wills.owner);
	commit_wait_cancel(&w->wills.waiter);
	for (; !list_is_empty(waiting); lost++) {
		struct will *will = container_of(waiting->next, struct will, link);

		list_remove(&will->link);
		free(will);
	}
	if (lost)
		log_error(
			"broker", "wills-lost", "count=%u why=\"the journal took no more\"", lost);
}

/* --- in the store ----------------------------------------------------- */

void will_encode(const struct will *will, struct buf *out)
{
	if (will == NULL)
		return;
	buf_append(out, &will->head, sizeof(will->head));
	buf_append(out, text_of(will), text_bytes(&will->head));
}

int will_decode(struct view bytes, struct will **will)
{
	struct will_head head;

	if (bytes.n == 0) {
		*will = NULL;
		return 0;
	}
	if (bytes.n < sizeof(head))
		return ERR_CORRUPT;
	memcpy(&head, bytes.p, sizeof(head));
	if (text_bytes(&head) != bytes.n - sizeof(head) || head.qos > 2 || head.topic_bytes == 0)
		return ERR_CORRUPT;
	*will = will_of(&head, bytes.p + sizeof(head));
	return 0;
}
