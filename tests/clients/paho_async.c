/* The Paho C client that does not wait (MQTTAsync) as an agent (agent.h). */
#include <MQTTAsync.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent.h"
#include "paho.h"

struct library {
	MQTTAsync client;
	bool is_v5;
	bool was_told; /* the server's DISCONNECT said why the connection ended */
};

/* --- how orders end; the context is the order's number */

static int number_of(void *context)
{
	return (int)(intptr_t)context;
}

static void done(void *context, MQTTAsync_successData *data)
{
	agent_answer(number_of(context), data ? data->alt.qos : 0);
}

static void done_without_qos(void *context, MQTTAsync_successData *data)
{
	(void)data;
	agent_answer(number_of(context), 0);
}

static void done_v5(void *context, MQTTAsync_successData5 *data)
{
	agent_answer(number_of(context), (int)data->reasonCode);
}

static void failed(void *context, MQTTAsync_failureData *data)
{
	agent_answer(number_of(context), data ? data->code : -1);
}

static void failed_v5(void *context, MQTTAsync_failureData5 *data)
{
	agent_answer(number_of(context), data->reasonCode ? (int)data->reasonCode : data->code);
}

static void connected(void *context, MQTTAsync_successData *data)
{
	agent_answer_connect(number_of(context), 0, data->alt.connect.sessionPresent);
}

static void connected_v5(void *context, MQTTAsync_successData5 *data)
{
	agent_answer_connect(number_of(context), 0, data->alt.connect.sessionPresent);
}

static MQTTAsync_responseOptions answer_to(
	const struct library *l, int n, MQTTAsync_onSuccess *in_v4)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

	options.context = (void *)(intptr_t)n;
	if (l->is_v5) {
		options.onSuccess5 = done_v5;
		options.onFailure5 = failed_v5;
	} else {
		options.onSuccess = in_v4;
		options.onFailure = failed;
	}
	return options;
}

/* --- what comes by itself */

static int on_message(void *context, char *topic, int length, MQTTAsync_message *message)
{
	char *name = paho_topic(topic, length);

	(void)context;
	agent_message(name, message->payload, (size_t)message->payloadlen, message->qos,
		message->retained, paho_from_properties(&message->properties));
	free(name);
	MQTTAsync_freeMessage(&message);
	MQTTAsync_free(topic);
	return 1;
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

static void create(struct library *l, const json_t *order)
{
	MQTTAsync_createOptions four = MQTTAsync_createOptions_initializer;
	MQTTAsync_createOptions five = MQTTAsync_createOptions_initializer5;
	char *url = paho_url(order);

	if (l->client)
		MQTTAsync_destroy(&l->client);
	l->was_told = false;
	MQTTAsync_createWithOptions(&l->client, url, order_text(order, "id"),
		MQTTCLIENT_PERSISTENCE_NONE, NULL, l->is_v5 ? &five : &four);
	MQTTAsync_setCallbacks(l->client, l, on_lost, on_message, NULL);
	MQTTAsync_setDisconnected(l->client, l, on_disconnected);
	free(url);
}

static MQTTAsync_connectOptions options_of(const struct library *l, int n, const json_t *order)
{
	MQTTAsync_connectOptions four = MQTTAsync_connectOptions_initializer;
	MQTTAsync_connectOptions five = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_connectOptions options = l->is_v5 ? five : four;

	options.context = (void *)(intptr_t)n;
	options.username = order_text(order, "user");
	options.password = order_text(order, "password");
	options.keepAliveInterval = order_number(order, "keep_alive");
	if (l->is_v5) {
		options.cleanstart = order_number(order, "clean");
		options.onSuccess5 = connected_v5;
		options.onFailure5 = failed_v5;
	} else {
		options.MQTTVersion = MQTTVERSION_3_1_1;
		options.cleansession = order_number(order, "clean");
		options.onSuccess = connected;
		options.onFailure = failed;
	}
	return options;
}

void library_connect(struct library *l, int n, const json_t *order)
{
	const json_t *last = json_object_get(order, "will");
	MQTTAsync_connectOptions options;
	MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
	MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
	MQTTProperties properties = paho_to_properties(json_object_get(order, "properties"));
	MQTTProperties of_will = paho_to_properties(json_object_get(last, "properties"));
	size_t length;
	void *payload = order_bytes(last, "payload", &length);

	l->is_v5 = order_number(order, "version") == 5;
	create(l, order);
	options = options_of(l, n, order);
	tls.trustStore = order_text(order, "ca");
	tls.verify = 1;
	will.topicName = order_text(last, "topic");
	will.qos = order_number(last, "qos");
	will.retained = order_number(last, "retain");
	will.payload.data = payload;
	will.payload.len = (int)length;
	options.ssl = paho_is_tls(order) ? &tls : NULL;
	options.will = last ? &will : NULL;
	options.connectProperties = l->is_v5 ? &properties : NULL;
	options.willProperties = l->is_v5 && last ? &of_will : NULL;
	if (MQTTAsync_connect(l->client, &options))
		agent_answer_connect(n, -1, false);
	MQTTProperties_free(&properties);
	MQTTProperties_free(&of_will);
	free(payload);
}

void library_subscribe(struct library *l, int n, const json_t *order)
{
	MQTTAsync_responseOptions options = answer_to(l, n, done);

	if (MQTTAsync_subscribe(
		    l->client, order_text(order, "filter"), order_number(order, "qos"), &options))
		agent_answer(n, -1);
}

void library_unsubscribe(struct library *l, int n, const json_t *order)
{
	MQTTAsync_responseOptions options = answer_to(l, n, done_without_qos);

	if (MQTTAsync_unsubscribe(l->client, order_text(order, "filter"), &options))
		agent_answer(n, -1);
}

void library_publish(struct library *l, int n, const json_t *order)
{
	MQTTAsync_responseOptions options = answer_to(l, n, done_without_qos);
	MQTTAsync_message message = MQTTAsync_message_initializer;
	size_t length;
	void *payload = order_bytes(order, "payload", &length);

	message.payload = payload;
	message.payloadlen = (int)length;
	message.qos = order_number(order, "qos");
	message.retained = order_number(order, "retain");
	if (l->is_v5)
		message.properties = paho_to_properties(json_object_get(order, "properties"));
	if (MQTTAsync_sendMessage(l->client, order_text(order, "topic"), &message, &options))
		agent_answer(n, -1);
	MQTTProperties_free(&message.properties);
	free(payload);
}

void library_disconnect(struct library *l, int n, const json_t *order)
{
	MQTTAsync_disconnectOptions four = MQTTAsync_disconnectOptions_initializer;
	MQTTAsync_disconnectOptions five = MQTTAsync_disconnectOptions_initializer5;
	MQTTAsync_disconnectOptions options = l->is_v5 ? five : four;

	(void)order;
	options.timeout = 1000;
	options.context = (void *)(intptr_t)n;
	if (l->is_v5)
		options.onSuccess5 = done_v5;
	else
		options.onSuccess = done_without_qos;
	if (MQTTAsync_disconnect(l->client, &options))
		agent_answer(n, -1);
}

struct library *library_new(struct agent *a)
{
	(void)a;
	return calloc(1, sizeof(struct library));
}
