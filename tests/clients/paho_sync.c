/* The Paho C client that waits (MQTTClient) as an agent (agent.h): orders block until their answer
 * has come, only the acknowledgements of publishes are heard of later. */
#include <MQTTClient.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent.h"
#include "paho.h"

struct library {
	struct agent *agent;
	MQTTClient client;
	bool is_v5;
	bool was_told; /* the server's DISCONNECT said why the connection ended */
};

/* --- what comes by itself */

static int on_message(void *context, char *topic, int length, MQTTClient_message *message)
{
	char *name = paho_topic(topic, length);

	(void)context;
	agent_message(name, message->payload, (size_t)message->payloadlen, message->qos,
		message->retained, paho_from_properties(&message->properties));
	free(name);
	MQTTClient_freeMessage(&message);
	MQTTClient_free(topic);
	return 1;
}

static void on_delivered(void *context, MQTTClient_deliveryToken token)
{
	agent_acknowledged(((struct library *)context)->agent, token, 0);
}

static void on_published(
	void *context, int token, int type, MQTTProperties *properties, enum MQTTReasonCodes code)
{
	(void)type, (void)properties;
	agent_acknowledged(((struct library *)context)->agent, token, (int)code);
}

static void lost(struct library *l, int code)
{
	if (!l->was_told)
		agent_tell(json_pack("{s:s, s:i}", "event", "lost", "code", code));
	l->was_told = true;
}

static void on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes code)
{
	(void)properties;
	lost(context, (int)code);
}

static void on_lost(void *context, char *cause)
{
	(void)cause;
	lost(context, 0);
}

/* --- orders */

static int code_of(MQTTResponse response)
{
	int code = (int)response.reasonCode;

	MQTTResponse_free(response);
	return code;
}

static void create(struct library *l, const json_t *order)
{
	MQTTClient_createOptions options = MQTTClient_createOptions_initializer;
	char *url = paho_url(order);

	if (l->client)
		MQTTClient_destroy(&l->client);
	agent_forget(l->agent);
	l->was_told = false;
	options.MQTTVersion = order_number(order, "version");
	MQTTClient_createWithOptions(&l->client, url, order_text(order, "id"),
		MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
	/* MQTT 5 has on_published, which knows the reason code */
	MQTTClient_setCallbacks(l->client, l, on_lost, on_message, l->is_v5 ? NULL : on_delivered);
	if (l->is_v5) {
		MQTTClient_setPublished(l->client, l, on_published);
		MQTTClient_setDisconnected(l->client, l, on_disconnected);
	}
	free(url);
}

static MQTTClient_connectOptions options_of(const struct library *l, const json_t *order)
{
	MQTTClient_connectOptions four = MQTTClient_connectOptions_initializer;
	MQTTClient_connectOptions five = MQTTClient_connectOptions_initializer5;
	MQTTClient_connectOptions options = l->is_v5 ? five : four;

	options.username = order_text(order, "user");
	options.password = order_text(order, "password");
	options.keepAliveInterval = order_number(order, "keep_alive");
	options.reliable = 0;
	if (l->is_v5) {
		options.cleanstart = order_number(order, "clean");
	} else {
		options.MQTTVersion = MQTTVERSION_3_1_1;
		options.cleansession = order_number(order, "clean");
	}
	return options;
}

void library_connect(struct library *l, int n, const json_t *order)
{
	const json_t *last = json_object_get(order, "will");
	MQTTClient_connectOptions options;
	MQTTClient_SSLOptions tls = MQTTClient_SSLOptions_initializer;
	MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
	MQTTProperties properties = paho_to_properties(json_object_get(order, "properties"));
	MQTTProperties of_will = paho_to_properties(json_object_get(last, "properties"));
	size_t length;
	void *payload = order_bytes(last, "payload", &length);
	int code;

	l->is_v5 = order_number(order, "version") == 5;
	create(l, order);
	options = options_of(l, order);
	tls.trustStore = order_text(order, "ca");
	tls.verify = 1;
	will.topicName = order_text(last, "topic");
	will.qos = order_number(last, "qos");
	will.retained = order_number(last, "retain");
	will.payload.data = payload;
	will.payload.len = (int)length;
	options.ssl = paho_is_tls(order) ? &tls : NULL;
	options.will = last ? &will : NULL;
	code = l->is_v5 ? code_of(MQTTClient_connect5(
				  l->client, &options, &properties, last ? &of_will : NULL))
			: MQTTClient_connect(l->client, &options);
	agent_answer_connect(n, code, options.returned.sessionPresent);
	MQTTProperties_free(&properties);
	MQTTProperties_free(&of_will);
	free(payload);
}

static int subscribe_v4(struct library *l, char *filter, int qos)
{
	int code = MQTTClient_subscribeMany(l->client, 1, &filter, &qos);

	return code == MQTTCLIENT_SUCCESS ? qos : code;
}

void library_subscribe(struct library *l, int n, const json_t *order)
{
	const char *filter = order_text(order, "filter");
	int qos = order_number(order, "qos");

	agent_answer(n, l->is_v5
				? code_of(MQTTClient_subscribe5(l->client, filter, qos, NULL, NULL))
				: subscribe_v4(l, (char *)(uintptr_t)filter, qos));
}

void library_unsubscribe(struct library *l, int n, const json_t *order)
{
	const char *filter = order_text(order, "filter");

	agent_answer(n, l->is_v5 ? code_of(MQTTClient_unsubscribe5(l->client, filter, NULL))
				 : MQTTClient_unsubscribe(l->client, filter));
}

void library_publish(struct library *l, int n, const json_t *order)
{
	const char *topic = order_text(order, "topic");
	MQTTClient_message message = MQTTClient_message_initializer;
	MQTTClient_deliveryToken token = 0;
	size_t length;
	void *payload = order_bytes(order, "payload", &length);
	int code;

	message.payload = payload;
	message.payloadlen = (int)length;
	message.qos = order_number(order, "qos");
	message.retained = order_number(order, "retain");
	if (l->is_v5)
		message.properties = paho_to_properties(json_object_get(order, "properties"));
	code = l->is_v5 ? code_of(MQTTClient_publishMessage5(l->client, topic, &message, &token))
			: MQTTClient_publishMessage(l->client, topic, &message, &token);
	if (code || !message.qos)
		agent_answer(n, code);
	else
		agent_sent(l->agent, token, n);
	MQTTProperties_free(&message.properties);
	free(payload);
}

void library_disconnect(struct library *l, int n, const json_t *order)
{
	(void)order;
	agent_answer(
		n, l->is_v5 ? MQTTClient_disconnect5(l->client, 1000, MQTTREASONCODE_SUCCESS, NULL)
			    : MQTTClient_disconnect(l->client, 1000));
}

struct library *library_new(struct agent *a)
{
	struct library *l = calloc(1, sizeof(*l));

	l->agent = a;
	return l;
}
