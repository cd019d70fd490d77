/* tests/clients/agent.h - an MQTT client library as a process that takes orders.
 *
 * The end-to-end tests say what clients do once, for every library: each library is wrapped in a
 * program of this shape, and the test speaks to it in lines of JSON.
 *
 *     stdin    {"n": 7, "do": "subscribe", "filter": "a/#", "qos": 1}        an order
 *     stdout   {"n": 7, "code": 1}                                           its answer
 *              {"event": "message", "topic": "a/b", "payload": "3f00", ...}  what comes by itself
 *              {"event": "lost", "code": 142}
 *
 * Payloads and correlation data are hexadecimal. "code" is the server's return or reason code, -1
 * when the library could not say or could not do it. Orders: connect, subscribe, unsubscribe,
 * publish, disconnect; tests/e2e/harness/agents.py lists their fields. An order to connect begins
 * anew with a client of its own. End of file ends the process.
 *
 * Threads: orders are taken on the main thread; answers and events may come from any.
 */
#ifndef TESTS_CLIENTS_AGENT_H
#define TESTS_CLIENTS_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct agent;

/* --- what agent.c gives to a library's file */

enum agent_type { AGENT_BYTE, AGENT_TWO_BYTES, AGENT_FOUR_BYTES, AGENT_TEXT, AGENT_BINARY };

/* An MQTT 5 property: its name in orders and events, its number in the standard (2.2.2.2). */
struct agent_property {
	const char *name;
	int id;
	enum agent_type type;
};

/* Ends with a row without a name. User properties are apart: "user": [["name", "value"], ...] */
extern const struct agent_property agent_properties[];

enum { AGENT_USER_PROPERTY = 38 };

/* Takes the event and prints it. */
void agent_tell(json_t *event);

void agent_answer(int n, int code);
void agent_answer_connect(int n, int code, bool session_present);

/* The library has given order n this token; the acknowledgement of a token has come. Either may be
 * said first; once both are said, the order is answered. Tokens are 0..65535. */
void agent_sent(struct agent *a, int token, int n);
void agent_acknowledged(struct agent *a, int token, int code);

/* Another client begins: tokens mean nothing any more. */
void agent_forget(struct agent *a);

/* From an order: "" or 0 when it is not there. Borrowed from the order. */
const char *order_text(const json_t *order, const char *name);
int order_number(const json_t *order, const char *name);

/* Bytes written in hexadecimal; the caller frees them. */
void *order_bytes(const json_t *order, const char *name, size_t *n);
json_t *agent_hex(const void *bytes, size_t n);

/* A message's event; takes properties, which may be NULL. */
void agent_message(
	const char *topic, const void *payload, size_t n, int qos, bool retain, json_t *properties);

/* --- what a library's file gives to agent.c */

struct library;

struct library *library_new(struct agent *a);
void library_connect(struct library *l, int n, const json_t *order);
void library_subscribe(struct library *l, int n, const json_t *order);
void library_unsubscribe(struct library *l, int n, const json_t *order);
void library_publish(struct library *l, int n, const json_t *order);
void library_disconnect(struct library *l, int n, const json_t *order);

#endif
