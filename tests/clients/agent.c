/* Orders in, answers and events out: see agent.h. */
#include "agent.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 65536, NOTHING = 0 };

struct agent {
	pthread_mutex_t lock;
	int order[TOKENS]; /* of a token that waits for its acknowledgement; they begin at 1 */
	int code[TOKENS];  /* plus 2, of an acknowledgement that waits for its order */
};

const struct agent_property agent_properties[] = {
	{"payload_format", 1, AGENT_BYTE},
	{"expiry", 2, AGENT_FOUR_BYTES},
	{"content_type", 3, AGENT_TEXT},
	{"response_topic", 8, AGENT_TEXT},
	{"correlation", 9, AGENT_BINARY},
	{"session_expiry", 17, AGENT_FOUR_BYTES},
	{"receive_maximum", 33, AGENT_TWO_BYTES},
	{"alias_maximum", 34, AGENT_TWO_BYTES},
	{"alias", 35, AGENT_TWO_BYTES},
	{NULL, 0, AGENT_BYTE},
};

/* --- answers and events */

void agent_tell(json_t *event)
{
	char *line = json_dumps(event, JSON_COMPACT);

	flockfile(stdout);
	fputs(line, stdout);
	fputc('\n', stdout);
	fflush(stdout);
	funlockfile(stdout);
	free(line);
	json_decref(event);
}

void agent_answer(int n, int code)
{
	agent_tell(json_pack("{s:i, s:i}", "n", n, "code", code));
}

void agent_answer_connect(int n, int code, bool session_present)
{
	agent_tell(json_pack("{s:i, s:i, s:b}", "n", n, "code", code, "present", session_present));
}

void agent_forget(struct agent *a)
{
	pthread_mutex_lock(&a->lock);
	memset(a->order, 0, sizeof(a->order));
	memset(a->code, 0, sizeof(a->code));
	pthread_mutex_unlock(&a->lock);
}

void agent_sent(struct agent *a, int token, int n)
{
	int code;

	pthread_mutex_lock(&a->lock);
	code = a->code[token];
	a->code[token] = NOTHING;
	a->order[token] = code == NOTHING ? n : NOTHING;
	pthread_mutex_unlock(&a->lock);
	if (code != NOTHING)
		agent_answer(n, code - 2);
}

void agent_acknowledged(struct agent *a, int token, int code)
{
	int n;

	pthread_mutex_lock(&a->lock);
	n = a->order[token];
	a->order[token] = NOTHING;
	a->code[token] = n == NOTHING ? code + 2 : NOTHING;
	pthread_mutex_unlock(&a->lock);
	if (n != NOTHING)
		agent_answer(n, code);
}

void agent_message(
	const char *topic, const void *payload, size_t n, int qos, bool retain, json_t *properties)
{
	agent_tell(json_pack("{s:s, s:s, s:o, s:i, s:b, s:o*}", "event", "message", "topic", topic,
		"payload", agent_hex(payload, n), "qos", qos, "retain", retain, "properties",
		properties));
}

/* --- fields of orders */

const char *order_text(const json_t *order, const char *name)
{
	const char *text = json_string_value(json_object_get(order, name));

	return text ? text : "";
}

int order_number(const json_t *order, const char *name)
{
	const json_t *value = json_object_get(order, name);

	return json_is_true(value) ? 1 : (int)json_integer_value(value);
}

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void *order_bytes(const json_t *order, const char *name, size_t *n)
{
	const char *hex = order_text(order, name);
	unsigned char *bytes;

	*n = strlen(hex) / 2;
	bytes = malloc(*n + 1);
	for (size_t i = 0; i < *n; i++)
		bytes[i] = (unsigned char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
	bytes[*n] = 0;
	return bytes;
}

json_t *agent_hex(const void *bytes, size_t n)
{
	const unsigned char *from = bytes;
	char *hex = malloc(2 * n + 1);
	json_t *text;

	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[from[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[from[i] & 15];
	}
	text = json_stringn(hex, 2 * n);
	free(hex);
	return text;
}

/* --- orders */

static const struct {
	const char *name;
	void (*act)(struct library *l, int n, const json_t *order);
} orders[] = {
	{"connect", library_connect},
	{"subscribe", library_subscribe},
	{"unsubscribe", library_unsubscribe},
	{"publish", library_publish},
	{"disconnect", library_disconnect},
};

static void take(struct library *l, const json_t *order)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (!strcmp(orders[i].name, order_text(order, "do")))
			orders[i].act(l, order_number(order, "n"), order);
}

int main(void)
{
	struct agent *a = calloc(1, sizeof(*a));
	struct library *l;
	char *line = NULL;
	size_t size = 0;

	pthread_mutex_init(&a->lock, NULL);
	l = library_new(a);
	while (getline(&line, &size, stdin) > 0) {
		json_t *order = json_loads(line, 0, NULL);

		take(l, order);
		json_decref(order);
	}
	/* No good-bye: a library's threads may still be at work. */
	_Exit(0);
}
