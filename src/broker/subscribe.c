#include "base/error.h"
#include "base/log.h"
#include "broker/client.h"
#include "broker/promise.h"
#include "broker/replay.h"
#include "broker/retained.h"
#include "broker/shared.h"
#include "broker/walk.h"
#include "mqtt/filter.h"
#include "mqtt/reason.h"

/* One SUBSCRIBE being answered. */
struct answer {
	struct client *client;
	struct view since;    /* MQTT 5: user property "since"; {NULL,0} when absent */
	uint32_t id;          /* subscription identifier, 0: none */
	uint64_t replay_from; /* UINT64_MAX: no replay */
};

static int check_room(const struct client *c, const struct mqtt_subscription *asked)
{
	const struct subscriptions *s = &c->session->subscriptions;
	const struct broker_limits *limits = &c->worker->limits;

	if (s->count >= limits->subscriptions_per_session)
		return ERR_QUOTA;
	if (s->bytes + asked->filter.n > limits->subscription_bytes_per_session)
		return ERR_QUOTA;
	return 0;
}

/* Where a replay begins, not further back than the account may. */
static int find_replay(struct answer *a, struct view since, uint64_t *from)
{
	struct client *c = a->client;
	struct journal *j = c->worker->journal;
	uint64_t now = journal_now(j);
	uint64_t oldest = now > c->account->replay_ms ? now - c->account->replay_ms : 0;
	uint64_t at;

	if (c->account->replay_ms == 0)
		return ERR_DENIED;
	if (!replay_parse_since(since, now, &at))
		return ERR_FILTER;
	journal_reader_enter(&c->worker->reader);
	*from = journal_seq_at(j, at > oldest ? at : oldest);
	journal_reader_leave(&c->worker->reader);
	return 0;
}

/* `from` of a shared subscription means nothing: the group has the position. */
static int add_shared(struct answer *a, const struct mqtt_subscription *asked)
{
	struct client *c = a->client;
	struct subscription one = {.filter = asked->filter,
		.id = a->id,
		.qos = qos_least(asked->qos, c->account->max_qos), /* [MQTT-3.8.4-7] */
		.share = shared_next_number(c->session)};

	if (one.share == 0)
		return ERR_QUOTA;
	if (asked->retain_as_published)
		one.options |= SUBSCRIPTION_RETAIN_AS_PUBLISHED;
	if (!subscriptions_put(&c->session->subscriptions, &one))
		c->worker->broker->subscriptions++;
	return one.qos;
}

/* $share/NAME/FILTER: rights are those on FILTER, and nothing retained is sent. */
static int subscribe_shared(
	struct answer *a, const struct mqtt_subscription *asked, struct view filter)
{
	struct client *c = a->client;
	int err;

	if (a->since.p || view_starts_with(filter, VIEW("$replay/")))
		return ERR_SHARED;
	if (!account_may_read(c->account, session_client_id(c->session), filter))
		return ERR_DENIED;
	err = check_room(c, asked);
	return err < 0 ? err : add_shared(a, asked);
}

/* Retain Handling: 0 every time, as in 3.1.1, 1 for a new subscription only, 2 never. A replay gets what
 * was published, not what is. */
static bool wants_retained(const struct client *c, const struct mqtt_subscription *asked)
{
	const struct session *s = c->session;

	/* [MQTT-3.3.1-10], [MQTT-3.3.1-11] */
	if (asked->retain_handling == 2 ||
		(asked->retain_handling == 1 &&
			subscriptions_has(&s->subscriptions, asked->filter)))
		return walk_is_pending(s, asked->filter);
	/* [MQTT-3.3.1-9], [MQTT-3.8.4-4] */
	return retained_may_match(c->worker->broker->retained, asked->filter);
}

static int add_subscription(
	struct answer *a, const struct mqtt_subscription *asked, uint64_t from, bool is_replay)
{
	struct client *c = a->client;
	struct session *s = c->session;
	struct subscription one = {.filter = asked->filter, .id = a->id, .from = from};
	uint8_t most = c->account->max_qos; /* everyone's is 1 (GB-30) */

	one.qos = asked->qos < most ? asked->qos : most; /* [MQTT-3.8.4-7] */
	if (asked->no_local)
		one.options |= SUBSCRIPTION_NO_LOCAL;
	if (asked->retain_as_published)
		one.options |= SUBSCRIPTION_RETAIN_AS_PUBLISHED;
	if (!is_replay && wants_retained(c, asked))
		one.options |= SUBSCRIPTION_WALKS;
	if (one.options & SUBSCRIPTION_WALKS &&
		!(asked->retain_handling && walk_is_pending(s, asked->filter)))
		walk_add(s, asked->filter, from);
	if (from < session_position(s))
		subscriptions_not_before(&s->subscriptions, session_position(s));
	if (!subscriptions_put(&s->subscriptions, &one))
		c->worker->broker->subscriptions++;
	return one.qos;
}

/* The granted QoS, or an error. */
static int do_subscribe(struct answer *a, struct mqtt_subscription *asked)
{
	struct client *c = a->client;
	struct view group;
	struct view filter;
	struct view since = a->since;
	uint64_t from = commit_tail(
		c->worker->broker->commit); /* what was published before is not for it */
	int err;

	err = filter_cut_share(asked->filter, &group, &filter);
	if (err)
		return err < 0 ? err : subscribe_shared(a, asked, filter);
	err = replay_cut(asked->filter, &since, &filter);
	if (err < 0)
		return err;
	if (err > 0)
		asked->filter = filter;
	if (!filter_is_valid(asked->filter))
		return ERR_FILTER;
	if (!account_may_read(c->account, session_client_id(c->session), asked->filter))
		return ERR_DENIED;
	err = check_room(c, asked);
	if (err == 0 && since.p)
		err = find_replay(a, since, &from);
	if (err < 0)
		return err;
	if (from < a->replay_from && since.p)
		a->replay_from = from;
	return add_subscription(a, asked, from, since.p != NULL);
}

static uint8_t code_of(const struct client *c, int result)
{
	if (result >= 0)
		return (uint8_t)result;
	return c->version == MQTT_5 ? err_reason_code(result) : 0x80; /* [MQTT-3.9.3-2] */
}

static void log_refused(const struct client *c, struct view filter, int err)
{
	char quoted[LOG_QUOTE_BYTES];
	char id[LOG_QUOTE_BYTES];
	struct view client_id = session_client_id(c->session);

	log_info("broker", "subscribe-refused", "client_id=%s filter=%s why=\"%s\"",
		log_quote(client_id.p, client_id.n, id), log_quote(filter.p, filter.n, quoted),
		err_text(err));
}

/* Value of the user property "since", {NULL,0} when absent. */
static struct view since_of(const struct mqtt_packet *p)
{
	struct mqtt_property_item item;
	struct view rest = p->properties.raw;

	if (!mqtt_has(&p->properties, MQTT_PROPERTY_USER_PROPERTY))
		return (struct view){NULL, 0};
	while (mqtt_next_property(&rest, &item)) {
		if (item.which == MQTT_PROPERTY_USER_PROPERTY &&
			view_equal(item.name, VIEW("since")))
			return item.text;
	}
	return (struct view){NULL, 0};
}

/* Is one of the filters below $SYS, and may the client read it? */
static bool asks_sys(const struct client *c, struct view rest)
{
	struct mqtt_subscription asked;

	while (mqtt_next_subscription(&rest, &asked)) {
		if (sys_is_asked(asked.filter) &&
			account_may_read(c->account, session_client_id(c->session), asked.filter))
			return true;
	}
	return false;
}

int client_on_subscribe(struct client *c, const struct mqtt_packet *p)
{
	struct answer a = {.client = c, .replay_from = UINT64_MAX, .since = since_of(p)};
	struct mqtt_packet suback = {.type = MQTT_SUBACK};
	struct mqtt_subscription asked;
	struct view rest = p->list.items;
	struct buf codes = {0};

	if (asks_sys(c, p->list.items))
		sys_refresh(c->worker);
	a.id = mqtt_number(&p->properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, 0);
	while (mqtt_next_subscription(&rest, &asked)) { /* [MQTT-3.8.4-5] */
		struct view whole = asked.filter;
		int result = do_subscribe(&a, &asked);
		uint8_t code = code_of(c, result);

		if (result < 0)
			log_refused(c, whole, result);
		buf_append(&codes, &code, 1); /* [MQTT-3.8.4-6], [MQTT-3.9.3-1] */
	}
	/* [MQTT-2.2.1-6], [MQTT-3.8.4-2] */
	suback.list = (struct mqtt_list){
		p->list.packet_id, buf_view(&codes), (uint32_t)buf_length(&codes)};
	session_regroup(c->session);
	promise_send(c, &suback); /* [MQTT-3.8.4-1] */
	buf_fini(&codes);
	if (a.replay_from != UINT64_MAX)
		session_rewind(c->session, a.replay_from);
	return 0;
}

int client_on_unsubscribe(struct client *c, const struct mqtt_packet *p)
{
	struct mqtt_packet unsuback = {.type = MQTT_UNSUBACK};
	struct view rest = p->list.items;
	struct view filter;
	struct view since;
	struct buf codes = {0};

	while (mqtt_next_filter(&rest, &filter)) { /* [MQTT-3.10.4-6] */
		bool found;
		uint8_t code;

		replay_cut(filter, &since, &filter);
		found = subscriptions_remove(&c->session->subscriptions, filter);
		/* [MQTT-3.11.3-2] */
		code = found ? MQTT_RC_SUCCESS : MQTT_RC_NO_SUBSCRIPTION_EXISTED;
		walk_remove(c->session, filter);
		if (found)
			c->worker->broker->subscriptions--;
		buf_append(&codes, &code, 1); /* [MQTT-3.11.3-1] */
	}
	unsuback.list.packet_id = p->list.packet_id; /* [MQTT-2.2.1-6], [MQTT-3.10.4-5] */
	if (c->version == MQTT_5) {                  /* 3.1.1 answers without codes */
		unsuback.list.items = buf_view(&codes);
		unsuback.list.count = (uint32_t)buf_length(&codes);
	}
	session_regroup(c->session); /* [MQTT-3.10.4-2] */
	promise_send(c, &unsuback);  /* [MQTT-3.10.4-4] */
	buf_fini(&codes);
	return 0;
}
