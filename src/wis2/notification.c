/* The top object of a notification, and the rules across objects. How a payload is read is told in
 * judge.c, what is nested in judge_x.c. */
#include "wis2/notification.h"

#include <string.h>

#include "wis2/judge.h"

#define CORE_CONFORMANCE "http://wis.wmo.int/spec/wnm/1/conf/core"

static bool is_nil(const struct uuid *id)
{
	static const struct uuid nil;

	return memcmp(id, &nil, sizeof(nil)) == 0;
}

/* WNM-12 */
static void check_id(struct judge *g)
{
	const struct json_value *id = judge_member(g, MEMBER_ID, KIND_STRING);

	if (id == NULL)
		return;
	g->out->id_text = id->raw;
	g->out->has_id = uuid_parse(judge_text(g, id), &g->out->id);
	if (!g->out->has_id)
		judge_broken(g, RULE_WNM_12, id->offset, "not a UUID of 36 characters");
	else if (g->options->mode == MODE_STRICT && is_nil(&g->out->id))
		judge_broken(g, RULE_WNM_12, id->offset, "the UUID is all zeros");
}

/* WNM-14 */
void judge_conforms_to(struct judge *g, const struct json_value *v)
{
	g->names_core = judge_has_element(g, VIEW(CORE_CONFORMANCE));
	if (!g->names_core)
		judge_broken(g, RULE_WNM_14, v->offset, "does not name " CORE_CONFORMANCE);
}

/* WNM-13, WNM-15 */
static void check_version(struct judge *g, uint32_t top)
{
	const struct json_value *version = judge_member(g, MEMBER_VERSION, KIND_STRING);
	bool has_version = g->members[MEMBER_VERSION].kind != KIND_NONE;
	bool has_conforms_to = g->members[MEMBER_CONFORMS_TO].kind != KIND_NONE;

	/* A conformsTo that names another thing is its own fault (WNM-14) before it is one too many. */
	if (has_version && has_conforms_to && g->names_core)
		judge_broken(g, RULE_WNM_13, g->members[MEMBER_VERSION].offset,
			"version stands next to conformsTo");
	else if (!has_version && !has_conforms_to)
		judge_broken(g, RULE_WNM_13, top, "neither conformsTo nor version is present");
	if (version && !judge_text_is(g, version, VIEW("v04")))
		judge_broken(g, RULE_WNM_15, version->offset, "not v04");
}

/* WNM-44, WNM-47: the rules that depend on the topic. */
static void check_topic_rules(struct judge *g)
{
	const struct json_value *metadata_id = &g->members[MEMBER_METADATA_ID];
	const struct json_value *properties = judge_member(g, MEMBER_PROPERTIES, KIND_OBJECT);
	bool is_empty = metadata_id->kind == KIND_STRING && metadata_id->raw.n == 0;

	if (properties == NULL)
		return;
	if (g->options->metadata_topic && g->out->is_deletion &&
		(metadata_id->kind == KIND_NONE || is_empty))
		judge_broken(g, RULE_WNM_44, is_empty ? metadata_id->offset : properties->offset,
			"a deletion on a metadata topic without metadata_id");
	if (g->options->cache_topic && g->members[MEMBER_GLOBAL_CACHE].kind == KIND_NONE)
		judge_broken(g, RULE_WNM_47, properties->offset,
			"a message on a cache topic without global-cache");
}

static void check_top(struct judge *g, uint32_t top)
{
	const struct json_value *type = judge_member(g, MEMBER_TYPE, KIND_STRING);

	if (type && !judge_text_is(g, type, VIEW("Feature")))
		judge_broken(g, RULE_WNM_10, type->offset, "not Feature");
	check_id(g);
	check_version(g, top);
	check_topic_rules(g);
}

static void judge_top(struct judge *g, const struct json_value *top)
{
	g->names_core = false;
	if (judge_object(g, TOP, top))
		check_top(g, top->offset);
}

enum rule notification_judge(struct view payload, const struct notification_options *options,
	struct notification *out, struct findings *found)
{
	struct judge g;

	g.options = options;
	g.modes = options->rule_modes ? options->rule_modes : rule_table_modes();
	g.out = out;
	g.found = found;
	g.top = judge_top;
	g.text_rule = RULE_NONE;
	return judge_payload(&g, payload);
}
