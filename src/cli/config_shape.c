/* cli/config_shape.c - values with a shape of their own: rules, listeners, addresses of sources
 *
 * Lists whose items are an address or a mapping with more to say. An item that is faulty is left
 * out; its fault stops the whole configuration anyway.
 */
#include "cli/config_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wis2/rule.h"

#define ITEMS_MOST 1024u

static bool is_list(struct config_reader *r, const struct config_key *k, const struct yaml *y,
	const char *right)
{
	if (y->kind == YAML_LIST && y->count <= ITEMS_MOST)
		return true;
	if (yaml_is_null(y))
		config_fault(r, y, k->name, "has no value; give %s, [] for none", right);
	else if (y->kind == YAML_LIST)
		config_fault(
			r, y, k->name, "has %u items; at most %u are taken", y->count, ITEMS_MOST);
	else
		config_fault(r, y, k->name, "is not a list; %s is right", right);
	return false;
}

/* --- checks.rules ----------------------------------------------------- */

static void read_rule(struct config_reader *r, const struct config_key *k, const struct yaml *id,
	const struct yaml *mode, int8_t *modes)
{
	enum rule rule = id->kind == YAML_SCALAR ? rule_by_id(view_of(id->text)) : RULE_NONE;
	char shown[FAULT_VALUE_BYTES * 4 + 8];
	struct view rest = view_of(k->words);

	if (rule == RULE_NONE) {
		config_fault(r, id, k->name,
			"no rule has the id %s; ids look like WNM-35 or WTH-07",
			fault_value(view_of(id->kind == YAML_SCALAR ? id->text : ""), shown));
		return;
	}
	for (int8_t i = 0; mode->kind == YAML_SCALAR && rest.p; i++) {
		if (!view_equal(view_cut(&rest, '|'), view_of(mode->text)))
			continue;
		modes[rule] = i;
		return;
	}
	config_fault(r, mode, k->name, "%s for %s is not a mode; discard, verify or off is right",
		fault_value(view_of(mode->text), shown), rule_id(rule));
}

void type_rules(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	int8_t *modes = (int8_t *)owner + k->offset;

	if (y->kind != YAML_MAP) {
		config_fault(r, y, k->name,
			"is not a mapping; such as {WNM-65: verify}, or {}, is right");
		return;
	}
	if (y->count > 2 * ITEMS_MOST) {
		config_fault(r, y, k->name, "more keys than there are rules; each stands once");
		return;
	}
	for (uint32_t i = 0; i + 1 < y->count; i += 2) {
		bool twice = false;

		for (uint32_t j = 0; j < i; j += 2)
			twice |= strcmp(y->items[i]->text, y->items[j]->text) == 0;
		if (twice)
			config_fault(
				r, y->items[i], k->name, "the same rule twice; keep one of them");
		else
			read_rule(r, k, y->items[i], y->items[i + 1], modes);
	}
}

/* --- listeners -------------------------------------------------------- */

static void judge_listener(struct config_reader *r, const struct yaml *y, struct config_listener *l)
{
	bool has_files = l->certificate || l->key || l->client_ca;
	bool is_websocket = l->url.scheme == URL_WS || l->url.scheme == URL_WSS;

	if (is_websocket && strcmp(l->url.path, "/mqtt") != 0) /* what stands for none */
		config_fault(r, y, "listeners",
			"a path on %s; paths of all listeners stand in websocket_paths",
			url_scheme_name(l->url.scheme));
	if (!l->url.tls && has_files)
		config_fault(r, y, "listeners",
			"certificates on %s; they belong to mqtts, wss and https listeners",
			url_scheme_name(l->url.scheme));
	else if (!l->url.tls && l->client_certificate && l->proxy_network_count == 0)
		config_fault(r, y, "listeners",
			"client_certificate on %s; it belongs to mqtts and wss listeners, or "
			"beside "
			"proxy_protocol_from where the load balancer verifies certificates",
			url_scheme_name(l->url.scheme));
}

static bool same_place(const struct config_listener *a, const struct config_listener *b)
{
	return a->url.port != 0 && a->url.port == b->url.port &&
	       strcmp(a->url.host, b->url.host) == 0;
}

static void add_listener(struct config_reader *r, const struct yaml *y, struct config *config,
	struct config_listener *l)
{
	const char *why;

	if (l->text == NULL || url_parse(view_of(l->text), &l->url, &why) < 0) {
		config_listener_fini(l);
		return;
	}
	if (strcmp(l->url.host, "localhost") == 0)
		memcpy(l->url.host, "127.0.0.1", sizeof("127.0.0.1"));
	judge_listener(r, y, l);
	for (uint32_t i = 0; i < config->listener_count; i++)
		if (same_place(&config->listeners[i], l))
			config_fault(r, y, "listeners",
				"the address of line %u again; each stands once",
				config->listeners[i].line);
	l->line = y->line;
	l->column = y->column;
	config->listeners = mem_resize(
		config->listeners, (config->listener_count + 1) * sizeof(*config->listeners));
	config->listeners[config->listener_count++] = *l;
}

static void read_listener(struct config_reader *r, const struct yaml *y, struct config *config)
{
	struct config_reader inner = *r;
	struct config_listener l = {0};
	uint32_t faults = r->faults->count;

	inner.path = "listeners.";
	if (y->kind == YAML_MAP) {
		config_read_map(&inner, SECTION_LISTENER, "", y, &l);
		if (l.text == NULL && faults == r->faults->count)
			config_fault(&inner, y, "url",
				"is missing; such as mqtt://127.0.0.1:1883 is right");
	} else {
		config_read_one(&inner, config_key_find(SECTION_LISTENER, "url"), y, &l);
	}
	add_listener(r, y, config, &l);
}

void type_listeners(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	if (!is_list(r, k, y, "a list of addresses such as - mqtt://127.0.0.1:1883"))
		return;
	for (uint32_t i = 0; i < y->count; i++)
		read_listener(r, y->items[i], owner);
}

/* --- addresses of a source -------------------------------------------- */

static void add_endpoint(struct config_reader *r, const struct yaml *y, struct source_config *s)
{
	struct config_reader inner = *r;
	struct uplink_endpoint e = {0};
	uint32_t faults = r->faults->count;

	config_defaults(SECTION_ENDPOINT, &e);
	if (y->kind == YAML_MAP) {
		inner.path = "urls.";
		e.has_tls = config_find(y, "tls") != NULL;
		config_read_map(&inner, SECTION_ENDPOINT, "", y, &e);
		if (e.url == NULL && faults == r->faults->count)
			config_fault(
				&inner, y, "url", "is missing; such as mqtts://host:8883 is right");
	} else {
		config_read_one(&inner, config_key_find(SECTION_ENDPOINT, "url"), y, &e);
	}
	if (e.url == NULL) {
		uplink_endpoint_fini(&e);
		return;
	}
	s->endpoints = mem_resize(s->endpoints, (s->endpoint_count + 1) * sizeof(*s->endpoints));
	s->endpoints[s->endpoint_count++] = e;
}

static bool is_first_address(struct config_reader *r, const struct config_key *k,
	const struct yaml *y, const struct source_config *s)
{
	if (s->endpoint_count == 0)
		return true;
	config_fault(r, y, k->name, "url and urls are both given; keep one of them");
	return false;
}

void type_endpoint(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	if (!is_first_address(r, k, y, owner))
		return;
	if (y->kind == YAML_SCALAR)
		add_endpoint(r, y, owner);
	else
		config_fault(r, y, k->name, "is not one address; several stand under urls");
}

void type_endpoints(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	if (!is_first_address(r, k, y, owner) ||
		!is_list(r, k, y, "a list of addresses such as - mqtts://host:8883"))
		return;
	if (y->count == 0)
		config_fault(r, y, k->name, "is empty; at least one address is needed");
	for (uint32_t i = 0; i < y->count; i++)
		add_endpoint(r, y->items[i], owner);
}

/* --- publish ---------------------------------------------------------- */

static void add_target(struct config_reader *r, const struct yaml *y, struct config *config,
	struct publish_config *c)
{
	char name[URL_TEXT_BYTES], other[URL_TEXT_BYTES];

	if (!publish_name(c, name)) {
		publish_config_fini(c);
		return;
	}
	if (config->publish_count == PUBLISH_TARGETS)
		config_fault(
			r, y, "publish", "too many brokers; at most %u are fed", PUBLISH_TARGETS);
	for (uint32_t i = 0; i < config->publish_count; i++)
		if (publish_name(&config->publish[i], other) && strcmp(name, other) == 0)
			config_fault(r, y, "publish",
				"%s again; each broker stands once, with all its topics", name);
	config->publish =
		mem_resize(config->publish, (config->publish_count + 1) * sizeof(*config->publish));
	config->publish[config->publish_count++] = *c;
}

static void read_target(struct config_reader *r, const struct yaml *y, struct config *config)
{
	struct config_reader inner = *r;
	struct publish_config c = {0};
	uint32_t faults = r->faults->count;

	inner.path = "publish.";
	config_defaults(SECTION_PUBLISH, &c);
	if (y->kind == YAML_MAP) {
		config_read_map(&inner, SECTION_PUBLISH, "", y, &c);
		if (c.url == NULL && faults == r->faults->count)
			config_fault(&inner, y, "url",
				"is missing; such as mqtts://emqx.example.org:8883 is right");
	} else {
		config_read_one(&inner, config_key_find(SECTION_PUBLISH, "url"), y, &c);
	}
	add_target(r, y, config, &c);
}

void type_publish(
	struct config_reader *r, const struct config_key *k, const struct yaml *y, void *owner)
{
	if (!is_list(r, k, y, "a list of addresses such as - mqtts://emqx.example.org:8883"))
		return;
	for (uint32_t i = 0; i < y->count; i++)
		read_target(r, y->items[i], owner);
}
