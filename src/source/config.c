/* source/config.c - kinds, and a source's configuration as a value: default, copy, compare */
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "source/internal.h"

static const struct {
	const char *text;
	unsigned channels;
	bool any_centre;
	struct view topics; /* separated by NUL, %c for the centre-id */
} kinds[SOURCE_KIND_COUNT] = {
#define X(name, text, channels, any_centre, topics) \
	[SOURCE_##name] = {text, channels, any_centre, VIEW(topics)},
#include "source/kind.def"
#undef X
};

const char *source_kind_text(enum source_kind k)
{
	return (unsigned)k < SOURCE_KIND_COUNT ? kinds[k].text : "?";
}

bool source_kind_by_text(struct view text, enum source_kind *out)
{
	for (unsigned k = 0; k < SOURCE_KIND_COUNT; k++) {
		if (view_equal(text, view_of(kinds[k].text))) {
			*out = (enum source_kind)k;
			return true;
		}
	}
	return false;
}

/* --- the configuration as a value ------------------------------------- */

void source_config_default(struct source_config *c)
{
	*c = (struct source_config){
		.kind = SOURCE_NODE,
		.tls_verify = true,
		.protocol = MQTT_5,
		.qos = 1,
		.receive_maximum = 100,
		.enabled = true,
	};
	gate_settings_default(&c->checks);
}

static void free_texts(char **texts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

void source_config_fini(struct source_config *c)
{
	for (uint32_t i = 0; i < c->endpoint_count; i++)
		uplink_endpoint_fini(&c->endpoints[i]);
	free(c->endpoints);
	free_texts(c->topics, c->topic_count);
	free_texts(c->centres, c->centre_count);
	free_texts(c->bind, c->bind_count);
	free(c->name);
	free(c->centre_id);
	free(c->username);
	free(c->password);
	free(c->tls_ca);
	free(c->tls_max);
	*c = (struct source_config){0};
}

char **source_copy_texts(char *const *texts, uint32_t n)
{
	char **copy = mem_new(n * sizeof(*copy));

	for (uint32_t i = 0; i < n; i++)
		copy[i] = mem_text(texts[i]);
	return copy;
}

static void copy_endpoint(struct uplink_endpoint *to, const struct uplink_endpoint *from)
{
	*to = *from;
	to->url = mem_text(from->url);
	to->username = mem_text(from->username);
	to->password = mem_text(from->password);
	to->tls_ca = mem_text(from->tls_ca);
	to->tls_max = mem_text(from->tls_max);
}

void source_config_copy(struct source_config *to, const struct source_config *from)
{
	*to = *from;
	to->name = mem_text(from->name);
	to->centre_id = mem_text(from->centre_id);
	to->username = mem_text(from->username);
	to->password = mem_text(from->password);
	to->tls_ca = mem_text(from->tls_ca);
	to->tls_max = mem_text(from->tls_max);
	to->endpoints = mem_new(from->endpoint_count * sizeof(*to->endpoints));
	for (uint32_t i = 0; i < from->endpoint_count; i++)
		copy_endpoint(&to->endpoints[i], &from->endpoints[i]);
	to->topics = source_copy_texts(from->topics, from->topic_count);
	to->centres = source_copy_texts(from->centres, from->centre_count);
	to->bind = source_copy_texts(from->bind, from->bind_count);
}

static bool text_equal(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool texts_equal(char *const *a, uint32_t n, char *const *b, uint32_t m)
{
	for (uint32_t i = 0; i < n && n == m; i++) {
		if (!text_equal(a[i], b[i]))
			return false;
	}
	return n == m;
}

static bool endpoint_equal(const struct uplink_endpoint *a, const struct uplink_endpoint *b)
{
	return text_equal(a->url, b->url) && text_equal(a->username, b->username) &&
	       text_equal(a->password, b->password) && a->has_tls == b->has_tls &&
	       a->tls_verify == b->tls_verify && text_equal(a->tls_ca, b->tls_ca) &&
	       text_equal(a->tls_max, b->tls_max) && a->tls_legacy == b->tls_legacy;
}

static bool endpoints_equal(const struct source_config *a, const struct source_config *b)
{
	for (uint32_t i = 0; i < a->endpoint_count && a->endpoint_count == b->endpoint_count; i++) {
		if (!endpoint_equal(&a->endpoints[i], &b->endpoints[i]))
			return false;
	}
	return a->endpoint_count == b->endpoint_count;
}

static bool checks_equal(const struct gate_settings *a, const struct gate_settings *b)
{
	return memcmp(a->checks, b->checks, sizeof(a->checks)) == 0 &&
	       memcmp(a->rules, b->rules, sizeof(a->rules)) == 0 &&
	       a->message_mode == b->message_mode && a->leaf_only == b->leaf_only &&
	       a->metadata_subtopics == b->metadata_subtopics &&
	       a->test_centres == b->test_centres &&
	       a->metadata_any_owner == b->metadata_any_owner &&
	       a->metadata_fallback == b->metadata_fallback;
}

static bool connection_equal(const struct source_config *a, const struct source_config *b)
{
	return endpoints_equal(a, b) && text_equal(a->username, b->username) &&
	       text_equal(a->password, b->password) && a->tls_verify == b->tls_verify &&
	       text_equal(a->tls_ca, b->tls_ca) && text_equal(a->tls_max, b->tls_max) &&
	       a->tls_legacy == b->tls_legacy && a->protocol == b->protocol && a->qos == b->qos &&
	       a->receive_maximum == b->receive_maximum &&
	       texts_equal(a->bind, a->bind_count, b->bind, b->bind_count);
}

bool source_config_equal(const struct source_config *a, const struct source_config *b)
{
	return text_equal(a->centre_id, b->centre_id) && a->kind == b->kind &&
	       connection_equal(a, b) &&
	       texts_equal(a->topics, a->topic_count, b->topics, b->topic_count) &&
	       texts_equal(a->centres, a->centre_count, b->centres, b->centre_count) &&
	       a->rate == b->rate && a->strip_content == b->strip_content &&
	       a->until_ms == b->until_ms && a->enabled == b->enabled &&
	       checks_equal(&a->checks, &b->checks);
}

/* --- what follows from it --------------------------------------------- */

static char *filter_for(const char *pattern, const char *centre_id)
{
	const char *at = strstr(pattern, "%c");

	if (at == NULL)
		return mem_text(pattern);
	return mem_printf("%.*s%s%s", (int)(at - pattern), pattern, centre_id, at + 2);
}

static void add_filters(struct source_filters *f, struct view patterns, const char *centre_id)
{
	for (struct view rest = patterns; rest.p;) {
		struct view pattern = view_cut(&rest, '\0');

		f->texts = mem_resize(f->texts, (f->count + 1) * sizeof(*f->texts));
		f->texts[f->count++] = filter_for(pattern.p, centre_id);
	}
}

/* A node is subscribed to under its own centre-id and those it may speak for, not to # (WTH-21). */
void source_filters_for(struct source_filters *f, const struct source_config *c)
{
	*f = (struct source_filters){0};
	if (c->topic_count) {
		f->texts = source_copy_texts(c->topics, c->topic_count);
		f->count = c->topic_count;
		return;
	}
	add_filters(f, kinds[c->kind].topics, c->centre_id);
	if (kinds[c->kind].any_centre)
		return;
	for (uint32_t i = 0; i < c->centre_count; i++)
		add_filters(f, kinds[c->kind].topics, c->centres[i]);
}

void source_filters_fini(struct source_filters *f)
{
	free_texts(f->texts, f->count);
	*f = (struct source_filters){0};
}

/* Does one of the topics given lie under this channel? */
static bool asks_for(const struct source_config *c, struct view channel)
{
	for (uint32_t i = 0; i < c->topic_count; i++) {
		if (view_starts_with(view_of(c->topics[i]), channel))
			return true;
	}
	return false;
}

/* Events of a service come only where its `topics` name them: of a node about itself, of any about
 * its own centre unless level 4 is free to its kind (topics.md, section 4). */
static unsigned channels_for(const struct source_config *c)
{
	return kinds[c->kind].channels | (asks_for(c, VIEW("monitor/")) ? GATE_MONITOR : 0);
}

void source_policy_for(struct gate_policy *p, const struct source_config *c)
{
	*p = (struct gate_policy){
		.settings = c->checks,
		.channels = channels_for(c),
		.any_centre = kinds[c->kind].any_centre,
		.metadata_only = c->kind == SOURCE_CATALOGUE,
		.own_metadata = c->kind == SOURCE_CACHE && asks_for(c, VIEW("origin/")),
		.centre_count = c->centre_count + 1,
	};
	p->centres = mem_new(p->centre_count * sizeof(*p->centres));
	p->centres[0] = mem_text(c->centre_id);
	for (uint32_t i = 0; i < c->centre_count; i++)
		p->centres[i + 1] = mem_text(c->centres[i]);
	gate_policy_compile(p);
}
