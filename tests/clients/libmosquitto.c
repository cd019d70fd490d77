/* libmosquitto as an agent (agent.h). Its loop is turned by a thread of ours, because the one it
 * offers connects again by itself, which would hide how a connection ended. */
#include "agent.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct library {
	struct agent *agent;
	struct mosquitto *client;
	pthread_t thread;
	bool has_thread;
	int connecting;    /* the order that waits for CONNACK, or 0 */
	int disconnecting; /* the order that waits for the end, or 0 */
	bool is_v5;
};

/* --- properties */

static void add(mosquitto_property **list, const struct agent_property *p, const json_t *from)
{
	size_t n;
	void *bytes;

	switch (p->type) {
	case AGENT_BYTE:
		mosquitto_property_add_byte(list, p->id, (uint8_t)order_number(from, p->name));
		break;
	case AGENT_TWO_BYTES:
		mosquitto_property_add_int16(list, p->id, (uint16_t)order_number(from, p->name));
		break;
	case AGENT_FOUR_BYTES:
		mosquitto_property_add_int32(list, p->id, (uint32_t)order_number(from, p->name));
		break;
	case AGENT_TEXT:
		mosquitto_property_add_string(list, p->id, order_text(from, p->name));
		break;
	case AGENT_BINARY:
		bytes = order_bytes(from, p->name, &n);
		mosquitto_property_add_binary(list, p->id, bytes, (uint16_t)n);
		free(bytes);
		break;
	}
}

/* The caller frees them. */
static mosquitto_property *to_properties(const json_t *from)
{
	mosquitto_property *list = NULL;
	json_t *pair;
	size_t i;

	for (const struct agent_property *p = agent_properties; p->name; p++)
		if (json_object_get(from, p->name))
			add(&list, p, from);
	json_array_foreach(json_object_get(from, "user"), i, pair)
	{
		mosquitto_property_add_string_pair(&list, AGENT_USER_PROPERTY,
			json_string_value(json_array_get(pair, 0)),
			json_string_value(json_array_get(pair, 1)));
	}
	return list;
}

static json_t *from_property(const struct agent_property *p, const mosquitto_property *list)
{
	uint8_t one;
	uint16_t two;
	uint32_t four;
	char *text = NULL;
	void *bytes = NULL;
	json_t *value = NULL;

	if (p->type == AGENT_BYTE && mosquitto_property_read_byte(list, p->id, &one, false))
		value = json_integer(one);
	if (p->type == AGENT_TWO_BYTES && mosquitto_property_read_int16(list, p->id, &two, false))
		value = json_integer(two);
	if (p->type == AGENT_FOUR_BYTES && mosquitto_property_read_int32(list, p->id, &four, false))
		value = json_integer(four);
	if (p->type == AGENT_TEXT && mosquitto_property_read_string(list, p->id, &text, false))
		value = json_string(text);
	if (p->type == AGENT_BINARY &&
		mosquitto_property_read_binary(list, p->id, &bytes, &two, false))
		value = agent_hex(bytes, two);
	free(text);
	free(bytes);
	return value;
}

static json_t *from_properties(const mosquitto_property *list)
{
	json_t *made = json_object(), *user = json_array();
	char *name, *value;
	bool skip = false;

	for (const struct agent_property *p = agent_properties; p->name; p++) {
		json_t *found = from_property(p, list);

		if (found)
			json_object_set_new(made, p->name, found);
	}
	while ((list = mosquitto_property_read_string_pair(
			list, AGENT_USER_PROPERTY, &name, &value, skip))) {
		json_array_append_new(user, json_pack("[s, s]", name, value));
		free(name);
		free(value);
		skip = true;
	}
	json_object_set_new(made, "user", user);
	return made;
}

/* --- callbacks, on the loop's thread */

static void on_connect(struct mosquitto *m, void *context, int code, int flags,
	const mosquitto_property *properties)
{
	struct library *l = context;

	(void)m, (void)properties;
	agent_answer_connect(l->connecting, code, flags & 1);
	l->connecting = 0;
}

static void on_disconnect(
	struct mosquitto *m, void *context, int code, const mosquitto_property *properties)
{
	struct library *l = context;

	(void)m, (void)properties;
	if (l->disconnecting)
		agent_answer(l->disconnecting, code);
	else if (l->connecting)
		agent_answer_connect(l->connecting, -1, false);
	else
		agent_tell(
			json_pack("{s:s, s:i}", "event", "lost", "code", code >= 128 ? code : 0));
	l->disconnecting = l->connecting = 0;
}

static void on_publish(struct mosquitto *m, void *context, int token, int code,
	const mosquitto_property *properties)
{
	(void)m, (void)properties;
	agent_acknowledged(((struct library *)context)->agent, token, code);
}

static void on_subscribe(struct mosquitto *m, void *context, int token, int count, const int *codes,
	const mosquitto_property *properties)
{
	(void)m, (void)properties;
	agent_acknowledged(((struct library *)context)->agent, token, count == 1 ? codes[0] : -1);
}

static void on_unsubscribe(
	struct mosquitto *m, void *context, int token, const mosquitto_property *properties)
{
	(void)m, (void)properties;
	agent_acknowledged(((struct library *)context)->agent, token, 0);
}

static void on_message(struct mosquitto *m, void *context, const struct mosquitto_message *message,
	const mosquitto_property *properties)
{
	(void)m, (void)context;
	agent_message(message->topic, message->payload, (size_t)message->payloadlen, message->qos,
		message->retain, from_properties(properties));
}

/* --- orders */

static void *turn(void *context)
{
	struct library *l = context;

	while (mosquitto_loop(l->client, 1000, 1) == MOSQ_ERR_SUCCESS)
		;
	return NULL;
}

static void set_will(struct library *l, const json_t *will)
{
	mosquitto_property *list =
		l->is_v5 ? to_properties(json_object_get(will, "properties")) : NULL;
	size_t n;
	void *payload = order_bytes(will, "payload", &n);

	mosquitto_will_set_v5(l->client, order_text(will, "topic"), (int)n, payload,
		order_number(will, "qos"), order_number(will, "retain"), list);
	free(payload);
}

static void prepare(struct library *l, const json_t *order)
{
	struct mosquitto *m = l->client;

	mosquitto_threaded_set(m, true);
	mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, order_number(order, "version"));
	mosquitto_username_pw_set(m, order_text(order, "user"), order_text(order, "password"));
	mosquitto_connect_v5_callback_set(m, on_connect);
	mosquitto_disconnect_v5_callback_set(m, on_disconnect);
	mosquitto_publish_v5_callback_set(m, on_publish);
	mosquitto_subscribe_v5_callback_set(m, on_subscribe);
	mosquitto_unsubscribe_v5_callback_set(m, on_unsubscribe);
	mosquitto_message_v5_callback_set(m, on_message);
	if (!strcmp(order_text(order, "scheme"), "mqtts"))
		mosquitto_tls_set(m, order_text(order, "ca"), NULL, NULL, NULL, NULL);
	if (json_object_get(order, "will"))
		set_will(l, json_object_get(order, "will"));
}

static void end(struct library *l)
{
	if (l->has_thread) {
		mosquitto_disconnect(l->client);
		pthread_join(l->thread, NULL);
	}
	if (l->client)
		mosquitto_destroy(l->client);
	l->has_thread = false;
}

void library_connect(struct library *l, int n, const json_t *order)
{
	const char *id = order_text(order, "id");
	mosquitto_property *list = NULL;

	end(l);
	agent_forget(l->agent);
	l->is_v5 = order_number(order, "version") == 5;
	l->client = mosquitto_new(*id ? id : NULL, order_number(order, "clean"), l);
	l->disconnecting = 0;
	l->connecting = n;
	prepare(l, order);
	if (l->is_v5)
		list = to_properties(json_object_get(order, "properties"));
	if (mosquitto_connect_bind_v5(l->client, "127.0.0.1", order_number(order, "port"),
		    order_number(order, "keep_alive"), NULL, list))
		agent_answer_connect(n, -1, false);
	else
		l->has_thread = !pthread_create(&l->thread, NULL, turn, l);
	mosquitto_property_free_all(&list);
}

void library_subscribe(struct library *l, int n, const json_t *order)
{
	int token;

	if (mosquitto_subscribe(
		    l->client, &token, order_text(order, "filter"), order_number(order, "qos")))
		agent_answer(n, -1);
	else
		agent_sent(l->agent, token, n);
}

void library_unsubscribe(struct library *l, int n, const json_t *order)
{
	int token;

	if (mosquitto_unsubscribe(l->client, &token, order_text(order, "filter")))
		agent_answer(n, -1);
	else
		agent_sent(l->agent, token, n);
}

void library_publish(struct library *l, int n, const json_t *order)
{
	mosquitto_property *list =
		l->is_v5 ? to_properties(json_object_get(order, "properties")) : NULL;
	const char *topic = order_text(order, "topic");
	size_t length;
	void *payload = order_bytes(order, "payload", &length);
	int token;

	if (mosquitto_publish_v5(l->client, &token, *topic ? topic : NULL, (int)length, payload,
		    order_number(order, "qos"), order_number(order, "retain"), list))
		agent_answer(n, -1);
	else
		agent_sent(l->agent, token, n);
	mosquitto_property_free_all(&list);
	free(payload);
}

void library_disconnect(struct library *l, int n, const json_t *order)
{
	(void)order;
	l->disconnecting = n;
	if (mosquitto_disconnect(l->client)) {
		l->disconnecting = 0;
		agent_answer(n, -1);
	}
}

struct library *library_new(struct agent *a)
{
	struct library *l = calloc(1, sizeof(*l));

	mosquitto_lib_init();
	l->agent = a;
	return l;
}
