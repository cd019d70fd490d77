/* Properties and addresses of the Paho C libraries: see paho.h. */
#include "paho.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

static MQTTLenString len_string(const char *text, size_t n)
{
	MQTTLenString s = {(int)n, (char *)(uintptr_t)text};

	return s;
}

static void add(MQTTProperties *list, const struct agent_property *p, const json_t *from)
{
	MQTTProperty made = {.identifier = (enum MQTTPropertyCodes)p->id};
	unsigned number = (unsigned)order_number(from, p->name);
	const char *text = order_text(from, p->name);
	char *bytes = NULL;
	size_t n;

	switch (p->type) {
	case AGENT_BYTE:
		made.value.byte = (unsigned char)number;
		break;
	case AGENT_TWO_BYTES:
		made.value.integer2 = (unsigned short)number;
		break;
	case AGENT_FOUR_BYTES:
		made.value.integer4 = number;
		break;
	case AGENT_TEXT:
		made.value.data = len_string(text, strlen(text));
		break;
	case AGENT_BINARY:
		bytes = order_bytes(from, p->name, &n);
		made.value.data = len_string(bytes, n);
		break;
	}
	MQTTProperties_add(list, &made); /* it copies */
	free(bytes);
}

MQTTProperties paho_to_properties(const json_t *from)
{
	MQTTProperties list = MQTTProperties_initializer;
	json_t *pair;
	size_t i;

	for (const struct agent_property *p = agent_properties; p->name; p++)
		if (json_object_get(from, p->name))
			add(&list, p, from);
	json_array_foreach(json_object_get(from, "user"), i, pair)
	{
		const char *name = json_string_value(json_array_get(pair, 0));
		const char *value = json_string_value(json_array_get(pair, 1));
		MQTTProperty made = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};

		made.value.data = len_string(name, strlen(name));
		made.value.value = len_string(value, strlen(value));
		MQTTProperties_add(&list, &made);
	}
	return list;
}

static json_t *from_property(const struct agent_property *p, const MQTTProperty *found)
{
	switch (p->type) {
	case AGENT_BYTE:
		return json_integer(found->value.byte);
	case AGENT_TWO_BYTES:
		return json_integer(found->value.integer2);
	case AGENT_FOUR_BYTES:
		return json_integer(found->value.integer4);
	case AGENT_TEXT:
		return json_stringn(found->value.data.data, (size_t)found->value.data.len);
	case AGENT_BINARY:
		return agent_hex(found->value.data.data, (size_t)found->value.data.len);
	}
	return NULL;
}

json_t *paho_from_properties(const MQTTProperties *list)
{
	json_t *made = json_object(), *user = json_array();

	for (int i = 0; i < list->count; i++) {
		const MQTTProperty *found = &list->array[i];
		const struct agent_property *p = agent_properties;

		while (p->name && p->id != (int)found->identifier)
			p++;
		if (p->name)
			json_object_set_new(made, p->name, from_property(p, found));
		if (found->identifier == MQTTPROPERTY_CODE_USER_PROPERTY)
			json_array_append_new(user,
				json_pack("[s%, s%]", found->value.data.data,
					(size_t)found->value.data.len, found->value.value.data,
					(size_t)found->value.value.len));
	}
	json_object_set_new(made, "user", user);
	return made;
}

char *paho_url(const json_t *order)
{
	static const struct {
		const char *scheme, *theirs, *path;
	} rows[] = {
		{"mqtt", "tcp", ""},
		{"mqtts", "ssl", ""},
		{"ws", "ws", "/mqtt"},
		{"wss", "wss", "/mqtt"},
	};
	char *url = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(rows[i].scheme, order_text(order, "scheme")) &&
			asprintf(&url, "%s://127.0.0.1:%d%s", rows[i].theirs,
				order_number(order, "port"), rows[i].path) < 0)
			abort();
	return url;
}

bool paho_is_tls(const json_t *order)
{
	const char *scheme = order_text(order, "scheme");

	return !strcmp(scheme, "mqtts") || !strcmp(scheme, "wss");
}

char *paho_topic(const char *topic, int n)
{
	return n ? strndup(topic, (size_t)n) : strdup(topic);
}
