/* What clients publish: judged by the account's gate, committed in one batch per read, acknowledged in
 * the order of the packets once it counts. */
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/client.h"
#include "broker/own.h"
#include "broker/persist.h"
#include "broker/retained.h"
#include "commit/gate.h"
#include "commit/metadata.h"
#include "wis2/rule.h"

#define REQUESTS_FIRST 64u
#define PENDING_MOST 8192u  /* not decided yet, QoS 0 included */
#define REQUESTS_MOST 1024u /* in one batch: far below what a journal segment takes */

/* --- acknowledgements ------------------------------------------------- */

static struct client_ack *ack_at(struct client *c, uint32_t token)
{
	return &c->acks[token & (c->ack_size - 1)];
}

/* Room was checked by check_room(). Gives the token. */
static uint32_t ack_add(struct client *c, struct client_ack ack)
{
	uint32_t token = c->ack_start + c->ack_count;

	if (c->ack_count == c->ack_size) {
		uint32_t size = c->ack_size ? c->ack_size * 2 : 16;
		struct client_ack *acks = mem_new(size * sizeof(*acks));

		for (uint32_t i = 0; i < c->ack_count; i++)
			acks[(c->ack_start + i) & (size - 1)] = *ack_at(c, c->ack_start + i);
		free(c->acks);
		c->acks = acks;
		c->ack_size = size;
	}
	c->ack_count++;
	c->acks_open += ack.packet_id != 0;
	*ack_at(c, token) = ack;
	return token;
}

/* Names the rule that refused the message, if the client wants to know and its maximum packet size
 * allows. */
static void put_rule(const struct client *c, const struct client_ack *ack, struct buf *block)
{
	const char *parts[] = {rule_id(ack->rule), ": ", rule_text(ack->rule)};
	struct buf text = {0};

	for (unsigned i = 0; i < 3; i++)
		buf_text(&text, parts[i]);
	if (buf_length(&text) + 16 < c->largest) /* [MQTT-3.4.2-2], [MQTT-3.5.2-2] */
		mqtt_put_text(block, MQTT_PROPERTY_REASON_STRING, buf_view(&text));
	buf_fini(&text);
}

static void send_ack(struct client *c, const struct client_ack *ack)
{
	struct mqtt_packet p = {.type = ack->qos == 2 ? MQTT_PUBREC : MQTT_PUBACK};
	struct buf block = {0};

	p.ack.packet_id = ack->packet_id; /* [MQTT-2.2.1-5] */
	p.ack.reason = ack->reason;       /* [MQTT-3.4.2-1], [MQTT-3.5.2-1] */
	if (ack->rule != RULE_NONE && c->wants_problem_info)
		put_rule(c, ack, &block);
	p.properties.raw = buf_view(&block);
	client_send(c, &p);
	buf_fini(&block);
}

static void send_decided(struct client *c)
{
	/* [MQTT-4.6.0-2], [MQTT-4.6.0-3] */
	while (c->ack_count && ack_at(c, c->ack_start)->is_decided) {
		const struct client_ack *ack = ack_at(c, c->ack_start);

		c->ack_start++;
		c->ack_count--;
		if (ack->packet_id == 0)
			continue;
		c->acks_open--;
		c->unreleased += ack->qos == 2 && ack->reason == 0 && !ack->is_repeat &&
				 received_has(&c->session->received, ack->packet_id);
		send_ack(c, ack); /* [MQTT-3.3.4-1] */
	}
}

/* Forgets the acknowledgements from this token on, and that their messages were taken. */
static void take_back(struct client *c, uint32_t token)
{
	while (c->ack_start + c->ack_count != token) {
		const struct client_ack *ack = ack_at(c, c->ack_start + --c->ack_count);

		c->acks_open -= ack->packet_id != 0;
		if (ack->qos == 2 && !ack->is_repeat)
			received_remove(&c->session->received, ack->packet_id);
	}
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct client *c = container_of(o, struct client, owner);

	if (outcome == COMMIT_FIRST)
		count_add(&c->worker->counts.published, 1);
	ack_at(c, token)->is_decided = true; /* [MQTT-4.3.2-4], [MQTT-4.3.3-8] */
	send_decided(c);
	conn_resume(&c->conn);
}

static bool is_repeat(const struct client *c, const struct mqtt_packet *p)
{
	return p->publish.qos == 2 && received_has(&c->session->received, p->publish.packet_id);
}

/* Does one more PUBLISH fit? QoS 1 until PUBACK and QoS 2 until PUBCOMP count against receive maximum
 * (MQTT 5, 4.9); who knows none (3.1.1), or publishes at QoS 0 faster than it can be committed, is read
 * later, but not for want of a PUBREL that would come behind. */
static int check_room(struct client *c, const struct mqtt_packet *p)
{
	bool is_v5 = c->version == MQTT_5;
	uint32_t most = is_v5 ? c->told_maximum : c->worker->limits.receive_maximum;
	bool is_over = p->publish.qos && !is_repeat(c, p) &&
		       c->acks_open + (is_v5 ? c->unreleased : 0) >= most;

	if (is_over && is_v5)
		return client_fault(
			c, ERR_RECEIVE_MAXIMUM, "more open than receive maximum allows");
	if (!is_over && c->ack_count < PENDING_MOST)
		return 0;
	conn_pause(&c->conn);
	return ERR_HELD;
}

/* --- properties ------------------------------------------------------- */

/* Passed on unchanged, in their order: all but the alias, which
 * belongs to the connection, the expiry, which counts down and is kept as a number, and what stands
 * with a will for the server. */
bool publish_forwards(enum mqtt_property which)
{
	return which != MQTT_PROPERTY_TOPIC_ALIAS &&
	       which != MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL &&
	       which != MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER &&
	       which != MQTT_PROPERTY_WILL_DELAY_INTERVAL;
}

/* Appends them to the worker's buffer. It may move while it grows, so the view's pointer is only an
 * offset until bind_properties(). */
static struct view keep_properties(struct client *c, const struct mqtt_packet *p, uint32_t batched)
{
	struct buf *kept = &c->worker->properties;
	struct mqtt_property_item item;
	struct view rest = p->properties.raw;
	size_t start;

	if (batched == 0)
		buf_clear(kept);
	start = buf_length(kept);
	if (p->properties.present == 0)
		return (struct view){NULL, 0};
	while (mqtt_next_property(&rest, &item)) {
		/* [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20] */
		if (publish_forwards(item.which))
			buf_append(kept, item.raw.p, item.raw.n);
	}
	return (struct view){(const char *)(uintptr_t)start, buf_length(kept) - start};
}

static void bind_properties(struct broker_worker *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct view *v = &w->requests[i].message.properties;

		v->p = v->n ? (const char *)buf_bytes(&w->properties) + (uintptr_t)v->p : NULL;
	}
}

/* --- one packet ------------------------------------------------------- */

static void add_request(struct client *c, const struct mqtt_packet *p, bool claim,
	const struct uuid *id, uint32_t token, uint32_t n)
{
	struct broker_worker *w = c->worker;
	struct commit_request *r;

	if (n == w->request_size) {
		w->request_size = w->request_size ? w->request_size * 2 : REQUESTS_FIRST;
		w->requests = mem_resize(w->requests, w->request_size * sizeof(*w->requests));
	}
	r = &w->requests[n];
	*r = (struct commit_request){
		.publisher = view_of(c->account->user), .claim = claim, .token = token};
	r->message = (struct journal_message){
		.topic = p->publish.topic,
		.payload = p->publish.payload,
		.properties = keep_properties(c, p, n),
		.id = *id,
		.publisher = c->account->number,
		.origin = session_origin(c->session),
		.qos = p->publish.qos,
		.flags = publish_flags(p->publish.topic, claim, p->publish.retain),
		.expiry_s = mqtt_number(&p->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0),
	};
}

/* Refused for good: MQTT 5 says so in the PUBACK or PUBREC, which frees the packet identifier. 3.1.1
 * has no words for it, only to acknowledge or to close: who may not publish there is closed; a message
 * that breaks a rule is acknowledged and gone, as it would come again with every reconnection, and
 * stand before all that is good. */
static int refuse(struct client *c, const struct mqtt_packet *p, int err, enum rule rule)
{
	const char *why = rule == RULE_NONE ? err_text(err) : rule_text(rule);
	char topic[LOG_QUOTE_BYTES];
	char id[LOG_QUOTE_BYTES];
	struct view client_id = session_client_id(c->session);

	count_add(&c->worker->counts.refused, 1);
	log_info("broker", "publish-refused", "client_id=%s topic=%s why=\"%s\"",
		log_quote(client_id.p, client_id.n, id),
		log_quote(p->publish.topic.p, p->publish.topic.n, topic), why);
	if (c->version != MQTT_5 && rule == RULE_NONE) /* [MQTT3-3.3.5-2] */
		return client_fault(c, err, why);
	if (p->publish.qos) {
		ack_add(c, (struct client_ack){.packet_id = p->publish.packet_id,
				   .rule = (uint16_t)rule,
				   .qos = p->publish.qos,
				   .reason = err_reason_code(err),
				   .is_decided = true});
		send_decided(c);
	}
	return 0;
}

/* The message was taken before: not published again, whatever DUP says, but answered again. The answer
 * stands behind that of the first, if that is not decided yet. */
static int take_repeat(struct client *c, const struct mqtt_packet *p)
{
	ack_add(c, (struct client_ack){.packet_id = p->publish.packet_id,
			   .qos = 2,
			   .is_decided = true,
			   .is_repeat = true});
	send_decided(c);
	return 0;
}

/* Puts the topic in that an alias stands for, or lets it stand for this topic. What is not committed
 * yet borrows the topic that the alias stood for, so it is committed first. */
static int resolve_alias(struct client *c, struct mqtt_packet *p, uint32_t *batched)
{
	uint32_t alias = mqtt_number(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS, 0);
	struct view named;

	if (!mqtt_has(&p->properties, MQTT_PROPERTY_TOPIC_ALIAS))
		return 0;
	if (alias > ALIAS_NAMES) /* [MQTT-3.3.2-9] */
		return client_fault(
			c, ERR_TOPIC_ALIAS, "topic alias above the maximum [MQTT-3.3.2-9]");
	named = alias_topic(c->names, alias);
	if (p->publish.topic.n == 0 && named.n == 0)
		return client_fault(
			c, ERR_PROTOCOL, "topic alias without a topic (MQTT 5, 3.3.2.3.4)");
	if (p->publish.topic.n == 0) {
		p->publish.topic = named; /* [MQTT-3.3.2-12] */
		return 0;
	}
	if (view_equal(p->publish.topic, named))
		return 0;
	if (named.n && client_commit(c, batched) == ERR_HELD)
		return ERR_HELD;
	if (alias_name(&c->names, alias, p->publish.topic) < 0)
		return client_fault(c, ERR_QUOTA, "the topics of all topic aliases are too long");
	return 0;
}

int publish_judge(struct broker_worker *w, const struct account *a, struct view client_id,
	struct view topic, struct view payload, struct gate_verdict *v)
{
	v->claim = false;
	v->rule = RULE_NONE;
	v->identity = (struct uuid){0};
	if (!account_may_write(a, client_id, topic))
		return ERR_DENIED;
	if (!gate_is_wis2(topic)) {
		uuid_random(&v->identity);
		return 0;
	}
	gate_judge(w->hierarchy, &a->policy, topic, payload, v);
	metadata_judge(w->broker->shelf, &a->policy, payload, v);
	if (v->pass)
		return 0;
	return v->check == CHECK_TOPIC     ? ERR_TOPIC
	       : v->check == CHECK_MESSAGE ? ERR_PAYLOAD
					   : ERR_DENIED;
}

uint8_t publish_flags(struct view topic, bool claim, bool retain)
{
	/* [MQTT-3.3.1-8]. Under origin/, cache/ and monitor/ the retain flag is cleared. */
	return claim ? JOURNAL_CLAIMED : retain && !gate_is_wis2(topic) ? JOURNAL_RETAIN : 0;
}

int publish_check_retained(struct broker_worker *w, uint8_t flags, struct view topic,
	size_t payload, size_t properties)
{
	if (!(flags & JOURNAL_RETAIN) || payload == 0)
		return 0;
	return retained_check(w->broker->retained, topic, topic.n + payload + properties);
}

/* Notes the packet for the batch, and at QoS 2 its identifier until PUBREL. */
static void take_request(struct client *c, const struct mqtt_packet *p,
	const struct gate_verdict *v, uint32_t *batched)
{
	struct client_ack ack = {.packet_id = p->publish.packet_id, .qos = p->publish.qos};

	if (ack.qos == 0)
		ack.packet_id = 0;
	if (ack.qos == 2) {
		received_add(&c->session->received, ack.packet_id); /* [MQTT-4.3.3-10] */
		persist_touch(c->session);
	}
	add_request(c, p, v->claim, &v->identity, ack_add(c, ack), *batched);
	(*batched)++;
}

int client_on_publish(struct client *c, struct mqtt_packet *p, uint32_t *batched)
{
	struct gate_verdict v;
	int err = resolve_alias(c, p, batched);

	if (err)
		return err;
	if (*batched == REQUESTS_MOST && client_commit(c, batched) == ERR_HELD)
		return ERR_HELD;
	err = check_room(c, p);
	if (err)
		return err;
	if (is_repeat(c, p)) /* [MQTT-4.3.3-10] */
		return take_repeat(c, p);
	err = publish_judge(c->worker, c->account, session_client_id(c->session), p->publish.topic,
		p->publish.payload, &v);
	if (err == 0)
		err = publish_check_retained(c->worker,
			publish_flags(p->publish.topic, v.claim, p->publish.retain),
			p->publish.topic, p->publish.payload.n, p->properties.raw.n);
	/* What stands before a refused packet is committed first, so that nothing is judged twice. */
	if (err && client_commit(c, batched) == ERR_HELD)
		return ERR_HELD;
	count_add(&c->worker->counts.received, 1);
	if (err)
		return refuse(c, p, err, v.rule);
	take_request(c, p, &v, batched);
	return 0;
}

/* --- the batch -------------------------------------------------------- */

int client_commit(struct client *c, uint32_t *batched)
{
	uint32_t n = *batched;

	*batched = 0;
	send_decided(c);
	if (n == 0)
		return 0;
	bind_properties(c->worker, n);
	if (commit_submit(c->worker->port, &c->owner, c->worker->requests, n) == 0)
		return 0;
	/* Nothing was taken: the packets stay in the connection and are shown again. */
	c->is_held = true;
	take_back(c, c->worker->requests[0].token);
	count_drop(&c->worker->counts.received, n);
	conn_pause(&c->conn);
	commit_wait(c->worker->port, &c->waiter);
	return ERR_HELD;
}

static void on_ready(struct commit_waiter *waiter)
{
	conn_resume(&container_of(waiter, struct client, waiter)->conn);
}

void client_publish_init(struct client *c)
{
	c->owner.on_done = on_done;
	c->waiter.on_ready = on_ready;
	list_init(&c->waiter.link);
}

void client_publish_fini(struct client *c)
{
	commit_forget(c->worker->port, &c->owner);
	commit_wait_cancel(&c->waiter);
	free(c->acks);
	alias_names_free(c->names);
	alias_sent_free(c->aliases);
}
