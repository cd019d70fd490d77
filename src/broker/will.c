/* A will is one allocation: the struct, then topic, payload and properties. What stands in a row is the
 * same, with lengths for the views, and its identifier. Once the journal has taken it it waits in
 * `submitted` until it counts; then the cluster may forget it.
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
#include "commit/roaming.h"
#include "wis2/rule.h"

struct will_head {
	uint64_t delay_ms;
	uint32_t expiry_s; /* 0: none */
	uint32_t qos;
	uint32_t topic_bytes;
	uint32_t payload_bytes;
	uint32_t property_bytes;
	uint32_t flags; /* enum head_flag, or-ed */
};
enum head_flag { HEAD_RETAIN = 1, HEAD_IDENTITY = 2 }; /* rows of 0.1.0 had no identity */
_Static_assert(sizeof(struct will_head) == 32, "no padding, as its bytes are stored");

struct will {
	struct will_head head;
	struct uuid identity;    /* its own */
	struct timer delay;      /* runs while the session is offline */
	struct session *session; /* whose delay runs */
	struct list link;        /* in worker->wills.waiting, then ->submitted, with: */
	struct buf key;          /* of the session */
	struct buf run;          /* of the machine whose client it was; empty: this one's */
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

static bool is_retained(const struct will *will)
{
	return will->head.flags & HEAD_RETAIN;
}

/* By its session's key. */
static struct view user_of(const struct will *will)
{
	struct view rest = buf_view(&will->key);

	return view_cut(&rest, '\0');
}

static struct view client_id_of(const struct will *will)
{
	struct view key = buf_view(&will->key);

	return view_skip(key, session_key_bytes(key));
}

static size_t text_bytes(const struct will_head *h)
{
	return (size_t)h->topic_bytes + h->payload_bytes + h->property_bytes;
}

static void on_delay_over(struct timer *t);

static struct will *will_of(
	const struct will_head *head, const struct uuid *identity, const char *text)
{
	size_t n = text_bytes(head);
	struct will *will = mem_new(sizeof(*will) + n);

	will->head = *head;
	will->head.flags |= HEAD_IDENTITY;
	will->identity = *identity;
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
		.flags = m->retain ? HEAD_RETAIN : 0,
		.topic_bytes = (uint32_t)m->topic.n,
		.payload_bytes = (uint32_t)m->payload.n,
	};
	struct buf text = {0};
	struct uuid identity;
	struct will *will;

	uuid_random(&identity);
	buf_append(&text, m->topic.p, m->topic.n);
	buf_append(&text, m->payload.p, m->payload.n);
	keep_properties(m, &text);
	head.property_bytes = (uint32_t)(buf_length(&text) - m->topic.n - m->payload.n);
	will = will_of(&head, &identity, (const char *)buf_bytes(&text));
	buf_fini(&text);
	return will;
}

void will_free(struct will **will)
{
	if (*will) {
		buf_fini(&(*will)->key);
		buf_fini(&(*will)->run);
	}
	free(*will);
	*will = NULL;
}

/* --- kept by the cluster ---------------------------------------------- */

/* As it is with this session now. */
static void tell_cluster(struct session *s)
{
	const struct roaming *roaming = &s->worker->broker->roaming;
	struct roaming_will told = {.bytes = {NULL, 0}};
	struct buf bytes = {0};

	if (roaming->will == NULL)
		return;
	if (s->will) {
		will_encode(s->will, &bytes);
		told.id = s->will->identity;
		told.delay_ms = s->will->head.delay_ms;
		/* It is over with the session at the latest [MQTT-3.1.2-8]. */
		if (told.delay_ms > s->expiry_ms)
			told.delay_ms = s->expiry_ms;
		told.bytes = buf_view(&bytes);
	}
	roaming->will(roaming->context, session_key(s), &told);
	buf_fini(&bytes);
}

/* It is done with, published or not. */
static void finish(struct broker_worker *w, struct will *will)
{
	const struct roaming *roaming = &w->broker->roaming;

	if (roaming->will_done)
		roaming->will_done(roaming->context, buf_view(&will->run), buf_view(&will->key),
			&will->identity);
	list_remove(&will->link);
	will_free(&will);
}

/* --- publishing ------------------------------------------------------- */

/* 0: taken, or refused for good. ERR_HELD: not now. */
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
		.flags = publish_flags(topic_of(will), will->claim, is_retained(will)),
		.expiry_s = will->head.expiry_s,
	};
	err = commit_submit(w->port, &w->wills.owner, &r, 1);
	if (err == ERR_HELD)
		return err;
	if (err) {
		count_add(&w->counts.refused, 1);
		finish(w, will);
		return 0;
	}
	list_remove(&will->link);
	list_append(&w->wills.submitted, &will->link);
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
static int judge(struct broker_worker *w, struct will *will, enum rule *rule)
{
	struct view user = user_of(will);
	const struct account *a = accounts_find(w->accounts, user.n > 0, user);
	struct gate_verdict v;
	int err;

	*rule = RULE_NONE;
	if (a == NULL)
		return ERR_DENIED;
	err = publish_judge(w, a, client_id_of(will), topic_of(will), payload_of(will), &v);
	*rule = v.rule;
	will->claim = v.claim;
	will->id = gate_is_wis2(topic_of(will)) ? v.identity : will->identity;
	will->publisher = a->number;
	if (err == 0)
		err = publish_check_retained(w,
			publish_flags(topic_of(will), v.claim, is_retained(will)), topic_of(will),
			will->head.payload_bytes, will->head.property_bytes);
	return err;
}

static void log_refused(const struct will *will, int err, enum rule rule)
{
	struct view client_id = client_id_of(will);
	char id[LOG_QUOTE_BYTES];
	char topic[LOG_QUOTE_BYTES];

	log_info("broker", "will-refused", "client_id=%s topic=%s why=\"%s\"",
		log_quote(client_id.p, client_id.n, id),
		log_quote(text_of(will), will->head.topic_bytes, topic),
		rule == RULE_NONE ? err_text(err) : rule_text(rule));
}

/* With its key and origin. */
static void publish_here(struct broker_worker *w, struct will *will)
{
	enum rule rule;
	int err;

	count_add(&w->counts.received, 1);
	err = judge(w, will, &rule);
	if (err) {
		count_add(&w->counts.refused, 1);
		log_refused(will, err, rule);
		finish(w, will);
		return;
	}
	list_append(&w->wills.waiting, &will->link);
	submit_waiting(w);
}

/* Published once: the session has none any more. */
static void publish(struct session *s)
{
	struct broker_worker *w = s->worker;
	struct will *will = s->will;

	timer_stop(w->loop, &will->delay);
	s->will = NULL; /* [MQTT-3.1.2-10] */
	buf_append(&will->key, s->key, s->key_bytes);
	will->origin = session_origin(s);
	publish_here(w, will);
}

/* --- of clients of machines that died --------------------------------- */

struct legacy {
	struct task task;
	struct broker_worker *worker;
	struct buf run;
	struct buf key;
	struct buf bytes;
	struct uuid id;
	struct errand errand;
};

static void publish_legacy(struct legacy *l)
{
	struct broker_worker *w = l->worker;
	const struct roaming *roaming = &w->broker->roaming;
	struct will *will = NULL;

	if (will_decode(buf_view(&l->bytes), &will) < 0 || will == NULL) {
		log_error("broker", "will-unreadable", "why=\"%s\"", err_text(ERR_CORRUPT));
		roaming->will_done(roaming->context, buf_view(&l->run), buf_view(&l->key), &l->id);
		return;
	}
	buf_append(&will->run, buf_bytes(&l->run), buf_length(&l->run));
	buf_append(&will->key, buf_bytes(&l->key), buf_length(&l->key));
	publish_here(w, will);
}

static void legacy_free(struct legacy *l)
{
	errand_end(&l->errand);
	buf_fini(&l->run);
	buf_fini(&l->key);
	buf_fini(&l->bytes);
	free(l);
}

/* Redis has it still. */
static void legacy_drop(struct errand *e)
{
	legacy_free(container_of(e, struct legacy, errand));
}

static void on_legacy(struct task *task)
{
	struct legacy *l = container_of(task, struct legacy, task);

	publish_legacy(l);
	legacy_free(l);
}

/* On the cluster's thread. */
void will_inherit(void *broker, struct view run, struct view key, const struct roaming_will *will)
{
	struct broker *b = broker;
	struct legacy *l = mem_new(sizeof(*l));

	l->task.run = on_legacy;
	l->worker = &b->workers[0];
	l->id = will->id;
	buf_append(&l->run, run.p, run.n);
	buf_append(&l->key, key.p, key.n);
	buf_append(&l->bytes, will->bytes.p, will->bytes.n);
	errand_begin(&b->errands, &l->errand, legacy_drop);
	loop_post(l->worker->loop, &l->task);
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
	bool had_one = s->will != NULL;

	will_pause(s); /* [MQTT-3.1.3-9] */
	will_free(&s->will);
	s->will = *will; /* [MQTT-3.1.2-7] */
	*will = NULL;
	if (had_one || s->will)
		tell_cluster(s);
}

void will_forget(struct session *s)
{
	if (s->will == NULL)
		return;
	will_pause(s);
	will_free(&s->will);
	tell_cluster(s);
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
	finish(w, container_of(w->wills.submitted.next, struct will, link));
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
	list_init(&w->wills.submitted);
}

/* Gives how many there were. */
static unsigned free_all(struct list *wills)
{
	unsigned n = 0;

	for (; !list_is_empty(wills); n++) {
		struct will *will = container_of(wills->next, struct will, link);

		list_remove(&will->link);
		will_free(&will);
	}
	return n;
}

void wills_fini(struct broker_worker *w)
{
	unsigned lost;

	commit_forget(w->port, &w->wills.owner);
	commit_wait_cancel(&w->wills.waiter);
	free_all(&w->wills.submitted);
	lost = free_all(&w->wills.waiting);
	if (lost && w->broker->roaming.will == NULL) /* else the cluster has them */
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
	buf_append(out, &will->identity, sizeof(will->identity));
}

int will_decode(struct view bytes, struct will **will)
{
	struct will_head head;
	struct uuid identity;
	size_t text, more;

	if (bytes.n == 0) {
		*will = NULL;
		return 0;
	}
	if (bytes.n < sizeof(head))
		return ERR_CORRUPT;
	memcpy(&head, bytes.p, sizeof(head));
	text = text_bytes(&head);
	more = head.flags & HEAD_IDENTITY ? sizeof(identity) : 0;
	if (text + more != bytes.n - sizeof(head) || head.qos > 2 || head.topic_bytes == 0)
		return ERR_CORRUPT;
	if (more)
		memcpy(&identity, bytes.p + sizeof(head) + text, more);
	else
		uuid_random(&identity);
	*will = will_of(&head, &identity, bytes.p + sizeof(head));
	return 0;
}
